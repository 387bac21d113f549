"""Derivatives the slow way: central differences of a tiny graph, entry by entry, beside the backward pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import openvino as ov
from openvino import opset13 as op

from helpers.values import numbers
from ovxai.backward.interpreter import derivatives
from ovxai.backward.targets import Targets
from ovxai.graph.graph import Graph

_PRECISE = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
_CORE = ov.Core()
#: Step of the differences; with a second one of twice the size the error of the first is of fourth order.
STEP = 1 / 64
#: Inputs keep this far from 0 and from each other's kinks, which are at multiples of a quarter.
AWAY = 0.06

Values = Callable[[np.ndarray], np.ndarray]


def away_from_kinks(values: np.ndarray) -> np.ndarray:
    """Each value at least `AWAY` from every multiple of 1/4."""
    cell = np.floor(values * 4)
    return ((cell + np.clip(values * 4 - cell, 4 * AWAY, 1 - 4 * AWAY)) / 4).astype(np.float32)


def positive(values: np.ndarray) -> np.ndarray:
    return (np.abs(values) + 0.4).astype(np.float32)


def some_nothing(values: np.ndarray) -> np.ndarray:
    """A few of them exactly 0."""
    return np.where(np.abs(values) < 0.12, 0, values).astype(np.float32)


def inside_one(values: np.ndarray) -> np.ndarray:
    """Between -1 and 1."""
    return (0.8 * np.tanh(values)).astype(np.float32)


def above_one(values: np.ndarray) -> np.ndarray:
    return (np.abs(values) + 1.3).astype(np.float32)


def all_apart(values: np.ndarray) -> np.ndarray:
    """In the same order, but a tenth apart, so that small steps don't change which is largest."""
    order = np.argsort(np.argsort(values, axis=None)).reshape(values.shape)
    return (0.1 * (order - values.size / 2) + 0.03).astype(np.float32)


@dataclass(frozen=True)
class Tiny:
    """A graph of a few operations. make: from as many tensors as there are shapes; all of them are derived by."""

    make: Callable[..., ov.Node]
    shapes: Sequence[tuple[int, ...]] = ((2, 5, 3, 4),)
    values: Values = away_from_kinks

    def model(self, dynamic: Sequence[int] = ()) -> ov.Model:
        """dynamic: axes of the first input that are open."""
        first, *rest = self.shapes
        shapes = [[-1 if axis in dynamic else size for axis, size in enumerate(first)], *rest]
        inputs = [op.parameter(ov.PartialShape(list(shape)), np.float32) for shape in shapes]
        return ov.Model([op.result(self.make(*inputs))], inputs, "tiny")

    def feed(self) -> list[np.ndarray]:
        return [self.values(numbers(*shape, seed=place)) for place, shape in enumerate(self.shapes)]


def check(tiny: Tiny, count: int = 1, dynamic: Sequence[int] = ()) -> None:
    """Hold the derivative of `count` random targets by every input against differences."""
    feed = tiny.feed()
    shape = tuple(_run(tiny.model(), feed)[0].shape)
    weights = numbers(count, *shape, seed=7)
    found = backward(tiny.model(dynamic), weights, feed)
    wanted = differences(tiny.model(), weights, feed)
    for place, (ours, truth) in enumerate(zip(found, wanted, strict=True)):
        assert ours.shape == truth.shape
        scale = max(1.0, float(np.abs(truth).max()))
        worst = float(np.abs(ours - truth).max()) / scale
        assert worst < 2e-3, f"input {place}: off by {worst:.2g} of the largest entry"
        assert np.abs(truth).max() > 1e-2, f"input {place}: nothing depends on it"


def backward(model: ov.Model, weights: np.ndarray, feed: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Per input [K, ...]: the derivative of sum(weights[k] * output), by the package. weights: [K, ...output]."""
    graph, targets = Graph(model), Targets(len(weights))
    seed = op.constant(weights if targets.lead else weights[0]).output(0)
    taps = [port.get_node().output(0) for port in model.inputs]
    adjoints = derivatives(graph, {graph.results[0]: seed}, taps, targets)
    results = [op.result(adjoint) for adjoint in adjoints if adjoint is not None]
    assert len(results) == len(taps), "an input has no derivative"
    # The model's own output too: plugins share weights that both ways read, and must not take one way for the other.
    _, *arrays = _run(ov.Model([*model.get_results(), *results], model.get_parameters(), "backward"), feed)
    return [array if targets.lead else array[None] for array in arrays]


def differences(model: ov.Model, weights: np.ndarray, feed: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The same by central differences with steps of two sizes."""
    request = _CORE.compile_model(model, "CPU", _PRECISE).create_infer_request()

    def targets(arrays: Sequence[np.ndarray]) -> np.ndarray:
        value = request.infer(list(arrays))[0].astype(np.float64)
        return np.einsum("ki,i->k", weights.reshape(len(weights), -1).astype(np.float64), value.reshape(-1))

    found = []
    for place, array in enumerate(feed):
        slope = np.zeros((len(weights), array.size))
        for entry in range(array.size):

            def at(step: float, place: int = place, entry: int = entry) -> np.ndarray:
                moved = [np.array(each) for each in feed]
                moved[place].reshape(-1)[entry] += step
                return targets(moved)

            near, far = ((at(step) - at(-step)) / (2 * step) for step in (STEP, 2 * STEP))
            slope[:, entry] = (4 * near - far) / 3
        found.append(slope.reshape(len(weights), *array.shape))
    return found


def _run(model: ov.Model, feed: Sequence[np.ndarray]) -> list[np.ndarray]:
    outputs = _CORE.compile_model(model, "CPU", _PRECISE)(list(feed))
    return [outputs[index] for index in range(len(model.outputs))]
