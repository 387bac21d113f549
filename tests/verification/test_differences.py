"""Derivatives held against differences: functions that bend, jump, saturate and are rounded; heads whose choices stay."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op

from helpers.values import numbers
from ovxai.graph.names import port_named
from ovxai.verification.differences import Layer, along_directions
from ovxai.verification.engine import values_of
from ovxai.verification.head import choice_key, choices_between, cut_head
from ovxai.verification.report import Check

RANDOM = np.random.default_rng(0)
LAYER = Layer("layer", 1 + np.abs(RANDOM.standard_normal((1, 3, 4, 4))), RANDOM.standard_normal((1, 1, 3, 4, 4)))
#: Directions in which functions bend or jump, and where.
ACROSS = RANDOM.standard_normal((400, LAYER.features.size)) / LAYER.features.size**0.5
WHERE = RANDOM.uniform(2.0**-13, 2.0**-5, 400)

#: (what moves along the derivative, the whole change) -> a score whose slope at no change is that derivative.
Score = Callable[[float, np.ndarray], float]


def jumps(moved: float, change: np.ndarray) -> float:
    """As if another entry were picked."""
    return moved + (ACROSS[0] @ change > 2.0**-11)


def bends(moved: float, change: np.ndarray) -> float:
    return moved + 2 * float(np.maximum(ACROSS @ change - WHERE, 0).sum())


def saturates(moved: float, change: np.ndarray) -> float:
    """Long steps agree with each other, and all are wrong."""
    return moved / 20 + float(np.tanh(400 * moved)) / 400


def rounded(moved: float, change: np.ndarray) -> float:
    return float(np.round((moved + 3) * 2**13 + 0.3 * np.sin(1e7 * moved))) / 2**13


SCORES: dict[str, tuple[Score, float]] = {
    "jumps": (jumps, 1.0),
    "bends": (bends, 1.0),
    "saturates": (saturates, 1.05),
    "rounded": (rounded, 1.0),
}


def held_against(score: Score, factor: float, layer: Layer = LAYER) -> Check:
    """factor: what the derivative is multiplied with."""

    def at(change: np.ndarray) -> tuple[np.ndarray, float]:
        return np.array([[score(float((LAYER.derivative[0] * change).sum()), change.reshape(-1))]]), 1.0

    return along_directions("layer", at, Layer(layer.name, layer.features, factor * layer.derivative))


@pytest.mark.parametrize("name", SCORES)
def test_a_right_derivative_holds(name: str) -> None:
    score, slope = SCORES[name]
    check = held_against(score, slope)
    assert check.ok, check


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("factor", [0.0, 0.05, 0.6, 1.5, -1.0, np.nan])
def test_a_wrong_one_does_not(name: str, factor: float) -> None:
    score, slope = SCORES[name]
    check = held_against(score, slope * factor)
    assert check.ok is False, check


def test_where_every_direction_bends_nothing_can_be_told() -> None:
    def bent(moved: float, change: np.ndarray) -> float:
        return moved + 20 * abs(ACROSS[0] @ change)

    check = held_against(bent, 1.0)
    assert check.ok is None and "bend or jump" in check.detail
    assert held_against(bent, 30.0).ok is False


def test_where_rounding_hides_all_nothing_can_be_told() -> None:
    def hidden(moved: float, change: np.ndarray) -> float:
        return 1e-6 * moved + 1e-6 * float(np.sin(1e9 * moved))

    check = held_against(hidden, 1e-6)
    assert check.ok is None and "rounding" in check.detail


# Heads whose choices stay.


def taken(x: ov.Output) -> ov.Node:
    """The three largest entries of a row, each with a weight of its own."""
    return op.multiply(op.topk(x, np.int64(3), 2, "max", "value").output(0), np.array([[1], [2], [4]], np.float32))


def taken_of_a_part(x: ov.Output) -> ov.Node:
    """The best of all columns but the last."""
    part = op.slice(x, *(np.array([bound]) for bound in (0, 3, 1, 3)))
    return op.topk(part, np.int64(2), -2, "max", "value").output(0)


def suppressed(x: ov.Output) -> ov.Node:
    """What NonMaxSuppression leaves of the boxes that a map holds, in its order."""
    rows = op.reshape(x, np.array([1, 12, 4]), False)
    first, last = op.split(rows, np.int64(2), 2).outputs()
    corners = op.concat([first, op.add(first, op.abs(last))], 2)
    scores = op.reshape(op.reduce_sum(rows, np.array([2])), np.array([1, 1, 12]), False)
    chosen = op.non_max_suppression(corners, scores, np.int64(4), np.float32(0.3), np.float32(-100)).output(0)
    row = op.gather(op.convert(chosen, "i64"), np.int64(2), np.int64(1))
    return op.gather(rows, row, np.int64(1))


CHOICES: dict[str, Callable[[ov.Output], ov.Node]] = {
    "values of TopK": taken,
    "values of TopK of a part": taken_of_a_part,
    "numbers of TopK": lambda x: op.gather_elements(
        x, op.topk(x, np.int64(2), 3, "min", "index", index_element_type="i64").output(1), 3
    ),
    "Floor": lambda x: op.subtract(x, op.floor(x)),
    "whole numbers": lambda x: op.multiply(x, op.convert(op.convert(op.multiply(x, np.float32(3)), "i32"), "f32")),
    "a threshold": lambda x: op.select(op.greater(x, np.float32(0.1)), op.multiply(x, np.float32(3)), op.negative(x)),
    "NonMaxSuppression": suppressed,
}


@pytest.mark.parametrize("name", CHOICES)
def test_choices_stay_as_they_are(name: str) -> None:
    """Each of these is linear while nothing else is chosen."""
    image = op.parameter([1, 3, 4, 4], np.float32)
    tap = op.multiply(image, np.float32(2))
    tap.set_friendly_name("tap")
    model = ov.Model([op.result(CHOICES[name](tap.output(0)))], [image], "choosing")
    feeds, change = {0: numbers(1, 3, 4, 4)}, numbers(1, 3, 4, 4, seed=5)

    twin = model.clone()
    chosen = choices_between([port_named(twin, "tap")], [twin.get_results()[0].input_value(0)])
    choices = dict(zip(map(choice_key, chosen), values_of(twin, chosen, feeds), strict=True))

    def off_a_line(stay: bool) -> float:
        head = cut_head(model, ["tap"], 0, feeds, whole=True, choices=choices if stay else None)
        start, once, twice = (head.outputs([(head.gated[0] + step * change).astype(np.float32)])[0] for step in (0, 0.7, 1.4))
        assert np.abs(once - start).max() > 0.1
        return float(np.abs(twice - 2 * once + start).max())

    assert off_a_line(True) < 1e-4
    assert off_a_line(False) > 0.05
