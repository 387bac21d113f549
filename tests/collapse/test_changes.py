"""Each rule for changes: it is what the definition says, and it keeps its digits beside an anchor that has none to spare."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op
from openvino.utils.node_factory import NodeFactory

from helpers.heads import block, linear, mean
from helpers.oracle import Case, case, exact, gates
from helpers.values import numbers
from ovxai.collapse.functions import _erf, _normal
from ovxai.collapse.gate import grid_dims, walk
from ovxai.collapse.masks import Masks
from ovxai.collapse.values import Mapped
from ovxai.graph.dims import Tap
from ovxai.graph.graph import Graph, source

CHANNELS = 5
WEIGHT = numbers(CHANNELS, 4, seed=3)
SCALE = numbers(CHANNELS, seed=4) + np.float32(2)
OTHER = numbers(CHANNELS, seed=5)
CHOICE = np.array([True, False, True, True, False])
#: What is added behind the pool: of the size of what is gated, and so large that f32 has no digit left for a map's.
SMALL = numbers(CHANNELS, seed=6) + np.float32(1.5)
LARGE = np.round(4 * numbers(CHANNELS, seed=7)) / np.float32(4) + np.float32(3000)

Array = np.ndarray


@dataclass(frozen=True)
class Rule:
    """head: of a pooled tensor [N, C] with a bias. formula: the same in NumPy, in the precision of its argument."""

    head: Callable[[ov.Node], ov.Node]
    formula: Callable[[Array], Array]


def twice(t: ov.Node) -> ov.Node:
    """A second operand that the masks change in another way."""
    return op.multiply(t, SCALE)


def normed(t: ov.Node, eps_mode: str = "inside_sqrt", variance: bool = True) -> ov.Node:
    return op.mvn(t, np.array([1]), variance, 1e-3, eps_mode)


def centred(t: Array) -> Array:
    return t - t.mean(-1, keepdims=True)


def layer_norm(t: Array, inside: bool = True) -> Array:
    variance = (centred(t) ** 2).mean(-1, keepdims=True)
    return centred(t) / (np.sqrt(variance + 1e-3) if inside else np.sqrt(variance) + 1e-3)


def normalised(t: ov.Node, eps_mode: str) -> ov.Node:
    """NormalizeL2; opset13's own function loses the mode (OpenVINO 2026.4)."""
    inputs = [t.output(0), op.constant(np.array([1])).output(0)]
    return NodeFactory("opset1").create("NormalizeL2", inputs, {"eps": 0.5, "eps_mode": eps_mode})


def unit(t: Array, eps_mode: str) -> Array:
    square = (t * t).sum(-1, keepdims=True)
    return t / np.sqrt(np.maximum(square, 0.5) if eps_mode == "max" else square + 0.5)


def softmax(t: Array) -> Array:
    e = np.exp(t - t.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def folded(x: ov.Node) -> ov.Node:
    """[N, C] -> [N, C, 1, 1]"""
    return op.unsqueeze(x, np.array([2, 3]))


#: Rules that work on the change alone.
APART = {
    "Negative": Rule(op.negative, np.negative),
    "Transpose": Rule(lambda t: op.transpose(op.unsqueeze(t, np.array([2])), [0, 2, 1]), lambda t: t[:, None]),
    "Reshape": Rule(lambda t: op.reshape(t, np.array([0, 1, -1]), True), lambda t: t[:, None]),
    "ReduceSum": Rule(lambda t: op.reduce_sum(t, np.array([1]), True), lambda t: t.sum(1, keepdims=True)),
    "ReduceMean": Rule(lambda t: op.reduce_mean(t, np.array([1]), True), lambda t: t.mean(1, keepdims=True)),
    "CumSum": Rule(lambda t: op.cum_sum(t, np.int64(1)), lambda t: t.cumsum(1)),
    "Gather": Rule(lambda t: op.gather(t, np.array([3, 0, 0]), np.int64(1)), lambda t: t[:, [3, 0, 0]]),
    "Split": Rule(lambda t: op.variadic_split(t, np.int64(1), np.array([2, 3])).output(1), lambda t: t[:, 2:]),
    "Concat": Rule(
        lambda t: op.concat([t, op.broadcast(OTHER[None], np.array([2, CHANNELS])), twice(t)], 1),
        lambda t: np.concatenate([t, np.broadcast_to(OTHER, t.shape), t * SCALE], 1),
    ),
    "Select": Rule(lambda t: op.select(CHOICE, t, twice(t)), lambda t: np.where(CHOICE, t, t * SCALE)),
    "Select, one side shared": Rule(lambda t: op.select(CHOICE, OTHER, t), lambda t: np.where(CHOICE, OTHER, t)),
    "Add": Rule(lambda t: op.add(t, OTHER), lambda t: t + OTHER),
    "Add of two": Rule(lambda t: op.add(t, twice(t)), lambda t: t + t * SCALE),
    "Subtract": Rule(lambda t: op.subtract(t, OTHER), lambda t: t - OTHER),
    "Subtract from a constant": Rule(lambda t: op.subtract(OTHER, t), lambda t: OTHER - t),
    "Subtract of two": Rule(lambda t: op.subtract(t, twice(t)), lambda t: t - t * SCALE),
    "Add, broadcasting": Rule(
        lambda t: op.add(op.reduce_sum(t, np.array([1]), True), OTHER), lambda t: t.sum(1, keepdims=True) + OTHER
    ),
    "Multiply": Rule(lambda t: op.multiply(t, OTHER), lambda t: t * OTHER),
    "Multiply of two": Rule(lambda t: op.multiply(t, twice(t)), lambda t: t * (t * SCALE)),
    "MatMul": Rule(lambda t: op.matmul(t, WEIGHT, False, False), lambda t: t @ WEIGHT.astype(t.dtype)),
    "MatMul from the left": Rule(
        lambda t: op.matmul(WEIGHT, op.unsqueeze(t, np.array([2])), True, False),
        lambda t: (t @ WEIGHT.astype(t.dtype))[..., None],
    ),
    "MatMul of two": Rule(
        lambda t: op.matmul(op.unsqueeze(t, np.array([2])), op.unsqueeze(twice(t), np.array([1])), False, False),
        lambda t: t[:, :, None] * (t * SCALE)[:, None],
    ),
    "Convolution": Rule(
        lambda t: op.convolution(folded(t), WEIGHT.T[..., None, None].copy(), [1, 1], [0, 0], [0, 0], [1, 1]),
        lambda t: t @ WEIGHT.astype(t.dtype),
    ),
    "Divide": Rule(lambda t: op.divide(t, SCALE), lambda t: t / SCALE),
    "Divide a constant": Rule(lambda t: op.divide(OTHER * 1000, t), lambda t: (OTHER * 1000) / t),
    "Divide of two": Rule(
        lambda t: op.divide(op.add(t, op.multiply(OTHER, np.float32(1000))), t), lambda t: (t + OTHER * 1000) / t
    ),
    "Power of 2": Rule(lambda t: op.power(t, np.float32(2)), lambda t: t**2),
    "SquaredDifference": Rule(lambda t: op.squared_difference(t, OTHER), lambda t: (t - OTHER) ** 2),
    "SquaredDifference from a constant": Rule(lambda t: op.squared_difference(OTHER, t), lambda t: (OTHER - t) ** 2),
    "SquaredDifference of two": Rule(lambda t: op.squared_difference(t, twice(t)), lambda t: (t - t * SCALE) ** 2),
    "MVN": Rule(normed, layer_norm),
    "MVN without variance": Rule(lambda t: normed(t, variance=False), centred),
    "NormalizeL2": Rule(lambda t: normalised(t, "add"), lambda t: unit(t, "add")),
}
#: Where the result is a function of the sum, and the operation itself stands in the graph once per mask.
OF_THE_SUM = {
    "Power of 3": Rule(lambda t: op.power(t, np.float32(3)), lambda t: t**3),
    "Power of what varies": Rule(lambda t: op.power(np.float32(1.25), t), lambda t: 1.25**t),
    "MVN, eps outside": Rule(lambda t: normed(t, "outside_sqrt"), lambda t: layer_norm(t, inside=False)),
    "NormalizeL2, the larger": Rule(lambda t: normalised(t, "max"), lambda t: unit(t, "max")),
}


def gelu(t: Array) -> Array:
    return t * (0.5 + 0.5 * np.vectorize(math.erf)(t / np.sqrt(2)))


def sigmoid(t: Array) -> Array:
    return 1 / (1 + np.exp(-t))


def about_gelu(t: Array) -> Array:
    return t * (0.5 + 0.5 * np.tanh(np.sqrt(2 / np.pi) * (t + 0.044715 * t**3)))


#: Functions with a change in closed form.
CURVED = {
    "Relu": Rule(op.relu, lambda t: np.maximum(t, 0)),
    "Clamp": Rule(lambda t: op.clamp(t, -0.5, 1.75), lambda t: np.clip(t, -0.5, 1.75)),
    "Sigmoid": Rule(op.sigmoid, sigmoid),
    "Tanh": Rule(op.tanh, np.tanh),
    "Exp": Rule(op.exp, np.exp),
    "Erf": Rule(op.erf, np.vectorize(math.erf)),
    "Sqrt": Rule(lambda t: op.sqrt(op.add(t, np.float32(3))), lambda t: np.sqrt(t + np.float32(3))),
    "HSwish": Rule(op.hswish, lambda t: t * np.clip(t + 3, 0, 6) / 6),
    "HSigmoid": Rule(op.hsigmoid, lambda t: np.clip(t + 3, 0, 6) / 6),
    "Swish": Rule(lambda t: op.swish(t, np.float32(1.5)), lambda t: t * sigmoid(1.5 * t)),
    "Gelu": Rule(lambda t: op.gelu(t, "erf"), gelu),
    "Gelu, by tanh": Rule(lambda t: op.gelu(t, "tanh"), about_gelu),
}
#: A change of its own, but the exponentials are taken of sums.
SOFTMAX = {"Softmax": Rule(lambda t: op.softmax(t, 1), softmax)}
RULES = {**APART, **OF_THE_SUM, **CURVED, **SOFTMAX}
#: The type of what is fused with its sum, or has a closed form instead.
TYPES = {
    "Power of 2": "Power", "Power of 3": "Power", "Power of what varies": "Power", "SquaredDifference": "SquaredDifference",
    "MVN": "MVN", "MVN, eps outside": "MVN", "NormalizeL2": "NormalizeL2", "NormalizeL2, the larger": "NormalizeL2",
    "Softmax": "Softmax",
}  # fmt: skip


def behind_a_pool(rule: Rule, bias: Array, mask: str = "point") -> Case:
    return case(lambda x: rule.head(op.add(mean(x), bias)), mask=mask, batch=2, channels=CHANNELS)


def truth(tiny: Case, rule: Rule, bias: Array, kind: type = np.float64) -> tuple[Array, Array]:
    """The change under every mask [M, N, K], and the level if all is dark [N, K], by hand; kind: computed in."""
    assert tiny.tapped is not None
    features = tiny.tapped[0].astype(np.float64)
    gate = gates(tiny.grid, tiny.mask).astype(np.float64)
    pooled = np.einsum("nchw,mhw->mnc", features, gate) / gate[0].size
    dark = rule.formula(np.broadcast_to(bias, pooled.shape[1:]).astype(kind))
    lit = np.stack([rule.formula((row + bias).astype(kind)) for row in pooled])
    return (lit - dark).reshape(*pooled.shape[:2], -1), dark.reshape(pooled.shape[1], -1)


def mapped(tiny: Case) -> tuple[ov.Model, Mapped]:
    """The scores under every mask, and the model in which they are."""
    model = tiny.model.clone()
    graph = Graph(model)
    tap = Tap(next(node for node in graph.ops if node.get_friendly_name() == "features").output(0), "NCHW", tiny.grid)
    value = walk(graph, [tap], source(model.get_results()[0], 0), Masks(*grid_dims(tap, graph), tiny.mask))
    assert isinstance(value, Mapped)
    return model, value


def parts(tiny: Case) -> ov.Model:
    """A model whose outputs are change and anchor."""
    model, value = mapped(tiny)
    assert value.anchored is not None
    ends = [op.result(value.anchored.change()), op.result(value.anchored.anchor())]
    return ov.Model(ends, model.get_parameters(), "parts")


def values(tiny: Case, model: ov.Model) -> tuple[Array, Array]:
    """change [M, N, K], anchor [N or 1, K]; computed in f32."""
    outputs = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(list(tiny.feed))
    change, anchor = (np.array(outputs[index], np.float64) for index in (0, 1))
    return change.reshape(*change.shape[:2], -1), anchor.reshape(anchor.shape[0], -1)


def error(change: Array, wanted: Array) -> float:
    """In units of the spread of a picture's map, the largest of all; a map that is the same everywhere counts nothing."""
    spread = wanted.std(0)
    apart = np.abs((change - change.mean(0)) - (wanted - wanted.mean(0))).max(0)
    varies = spread > 1e-9 * np.abs(wanted).max()
    return float((apart / np.where(varies, spread, 1))[varies].max())


@pytest.mark.parametrize("mask", ["point", "gaussian"])
@pytest.mark.parametrize("name", RULES)
def test_the_definition_behind_an_anchor(name, mask):
    rule = RULES[name]
    tiny = behind_a_pool(rule, SMALL, mask)
    exact(tiny)
    change, anchor = values(tiny, parts(tiny))
    wanted, dark = truth(tiny, rule, SMALL)
    assert dark.any(), "an anchor of zero proves nothing"
    assert np.allclose(anchor, dark, rtol=1e-5, atol=1e-5)
    assert np.allclose(change, wanted, rtol=1e-4, atol=1e-4 * wanted.std())


@pytest.mark.parametrize("name", APART)
def test_a_large_anchor_takes_no_digit_from_the_change(name):
    tiny = behind_a_pool(APART[name], LARGE)
    wanted, _ = truth(tiny, APART[name], LARGE)
    of_sums, _ = truth(tiny, APART[name], LARGE, np.float32)
    assert error(of_sums.astype(np.float64), wanted) > 1e-3, "sums would do as well: the test shows nothing"
    change, _ = values(tiny, parts(tiny))
    assert error(change, wanted) < 1e-3


@pytest.mark.parametrize("name", TYPES)
def test_which_operations_are_done_per_mask(name):
    """Those of the sum; of the others only what they would be without masks is."""
    tiny = behind_a_pool(RULES[name], SMALL)
    masks = tiny.grid[0] * tiny.grid[1]
    shapes = [node.get_output_shape(0) for node in parts(tiny).get_ordered_ops() if node.get_type_name() == TYPES[name]]
    assert any(shape[0] >= masks for shape in shapes) == (name in OF_THE_SUM)


def test_select_by_a_condition_that_varies():
    """A condition has no change; what hangs on it is not taken apart."""
    rule = Rule(lambda t: op.select(op.greater(t, np.float32(1.5)), t, op.negative(t)), lambda t: np.where(t > 1.5, t, -t))
    tiny = behind_a_pool(rule, SMALL)
    exact(tiny)
    assert mapped(tiny)[1].anchored is None


@pytest.mark.parametrize("mask", ["point", "gaussian"])
def test_select_by_a_condition_per_token(mask):
    """The condition by window, beside tokens that are: the difference of two whole results."""

    def head(n: ov.Node, r: ov.Node) -> ov.Node:
        chosen = op.select(op.greater(r, np.float32(0.1)), block(n, r), r)
        return linear(mean(chosen, (1,)))

    exact(case(head, layout="NPC", channels=6, prefix=1, taps=2, mask=mask, batch=2))


def test_the_level_of_scores_of_many_channels_is_rounded_less_than_by_one_sum():
    """What one sum over the channels rounds would stand in every map of a class."""
    rng = np.random.default_rng(8)
    bias, weight = rng.random(CHANNELS, np.float32) + 1, rng.random((1024, 40), np.float32)
    widen = rng.random((CHANNELS, 1024), np.float32) + 1

    def head(x: ov.Node) -> ov.Node:
        wide = op.matmul(op.add(mean(x), bias), widen, False, False)
        return op.matmul(op.power(wide, np.float32(2)), weight, False, False)

    tiny = case(head, mask="point", channels=CHANNELS)
    _, anchor = values(tiny, parts(tiny))
    wide = ((bias @ widen) ** 2).astype(np.float32)
    exactly = wide.astype(np.float64) @ weight.astype(np.float64)
    data = op.parameter([1, 1024], np.float32)
    once = ov.Model([op.result(op.matmul(data, weight, False, False))], [data], "one sum")
    plain = np.array(ov.Core().compile_model(once, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})([wide[None]])[0])
    level, single = (np.abs(found[0] - exactly).max() / exactly.max() for found in (anchor, plain))
    assert level < 0.7 * single, f"{level:.1e} beside {single:.1e}"


@pytest.mark.parametrize("name", CURVED)
def test_a_function_keeps_the_digits_of_a_small_change(name):
    """A change of a millionth: the difference of two values of f32 has no digit of it right."""
    rule, tiny_share = CURVED[name], np.float32(2.0**-20)
    head = Rule(
        lambda t: rule.head(op.add(op.multiply(t, tiny_share), SMALL)),
        lambda t: rule.formula(t * t.dtype.type(tiny_share) + SMALL),
    )
    tiny = behind_a_pool(head, np.zeros(CHANNELS, np.float32))
    wanted, _ = truth(tiny, head, np.zeros(CHANNELS, np.float32))
    rounded, _ = truth(tiny, head, np.zeros(CHANNELS, np.float32), np.float32)
    varies = wanted.std(0) > 1e-12  # saturated ones have no change
    assert varies.any() and error(rounded.astype(np.float64)[:, varies], wanted[:, varies]) > 1e-2
    change, _ = values(tiny, parts(tiny))
    assert error(change[:, varies], wanted[:, varies]) < 1e-3


def erf(t: Array) -> Array:
    return np.vectorize(math.erf)(t)


@pytest.mark.parametrize(
    ("change", "formula"), [(_erf, erf), (_normal, lambda t: 0.5 + 0.5 * erf(t / np.sqrt(2)))], ids=["erf", "normal"]
)
def test_the_bell_of_either_width_is_followed_as_far_as_its_derivatives_hold(change, formula) -> None:
    base, step = op.parameter([1, -1], np.float32), op.parameter([-1, 1], np.float32)
    found = change(base.output(0), step.output(0))[1]
    model = ov.Core().compile_model(
        ov.Model([op.result(found)], [base, step], "bell"), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    bases, steps = np.linspace(-3, 3, 401, dtype=np.float32)[None], np.linspace(-0.6, 0.6, 241, dtype=np.float32)[:, None]
    wanted = formula(bases.astype(np.float64) + steps) - formula(bases.astype(np.float64))
    assert np.abs(model([bases, steps])[0] - wanted).max() < 2e-6
