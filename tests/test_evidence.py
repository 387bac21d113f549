"""No evidence is no map, and what is no number is said: whatever the scaling, and whether or not the dark has a score."""

from __future__ import annotations

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op

from helpers.classifiers import finished, linear, mean, picture, trunk
from helpers.values import numbers
from ovxai.insertion import insert_with_report
from ovxai.methods.outputs import to_grey
from ovxai.options import InsertOptions
from ovxai.verification import verify

AXIS = np.array([1])
BATCHES = (1, -1)


def lengths(features: ov.Node, form: str) -> ov.Node:
    """[N, 1], as frameworks write the length of features: none has an epsilon."""
    squares = op.reduce_sum(op.multiply(features, features), AXIS, True)
    return {
        "sqrt": lambda: op.sqrt(squares), "power": lambda: op.power(squares, np.float32(0.5)),
        "l2": lambda: op.reduce_l2(features, AXIS, True), "l1": lambda: op.reduce_l1(features, AXIS, True),
    }[form]()  # fmt: skip


def warnings_of(model: ov.Model, **options) -> str:
    return "\n".join(insert_with_report(model, InsertOptions(**options)).warnings)


@pytest.mark.parametrize("scale", [True, False])
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("form", ["sqrt", "power", "l2", "l1"])
def test_features_over_their_length_have_no_score_in_the_dark(form, batch, scale):
    """0 / 0, as in CLIP's exports: the maps are defined all the same."""
    image = picture(batch)
    features = mean(trunk(image))
    model = finished(linear(op.divide(features, lengths(features, form))), image)
    done = insert_with_report(model, InsertOptions(scale=scale))
    assert verify(done.model).ok and not any("no numbers" in line for line in done.warnings)


@pytest.mark.parametrize("scale", [True, False])
def test_features_times_one_over_their_length(scale):
    image = picture()
    features = mean(trunk(image))
    inverse = op.power(op.reduce_sum(op.multiply(features, features), AXIS, True), np.float32(-0.5))
    assert verify(
        insert_with_report(finished(linear(op.multiply(features, inverse)), image), InsertOptions(scale=scale)).model
    ).ok


@pytest.mark.parametrize("scale", [True, False])
@pytest.mark.parametrize("kind", ["nan", "inf"])
def test_what_is_no_number_is_warned_of_whatever_the_scaling(kind, scale):
    image = picture()
    features = mean(trunk(image))
    odd = op.sqrt(op.subtract(features, np.float32(1e6))) if kind == "nan" else op.exp(op.add(features, np.float32(1e4)))
    assert "no numbers, or infinite" in warnings_of(finished(linear(odd), image), scale=scale)


@pytest.mark.parametrize("scale", [True, False])
def test_maps_without_evidence_are_warned_of_whatever_the_scaling(scale):
    """Features that are the same everywhere but for rounding."""
    image = picture()
    features = trunk(image)
    level = op.reduce_mean(features, np.array([2, 3]), True)
    same = op.add(level, op.multiply(features, np.float32(1e-9)))
    said = warnings_of(finished(linear(mean(op.relu(same))), image), scale=scale)
    assert "every map is constant" in said
    assert "every map is constant" not in warnings_of(finished(linear(mean(features)), image), scale=scale)


@pytest.mark.parametrize(("spread", "seen"), [(1e-6, False), (1e-4, True)])
def test_a_change_that_cancels_its_level_is_judged_by_itself(spread, seen):
    """A score of nearly nothing, made of two large numbers: what is left of their rounding is no evidence."""
    maps = (-5 + spread * np.random.default_rng(0).random((1, 2, 3, 4))).astype(np.float32)
    entry = op.parameter(list(maps.shape), np.float32)
    level = op.constant(np.full((1, 2), 5, np.float32))
    model = ov.Model([op.result(to_grey(entry.output(0), level=level.output(0)))], [entry], "grey")
    found = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(maps)[0]
    assert bool(found.any()) is seen


def test_one_dead_class_among_others_stays_dark():
    image = picture()
    weights = numbers(4, 6, seed=1)
    weights[2] = 0
    model = finished(op.add(op.matmul(mean(trunk(image)), weights, False, True), numbers(4)), image)
    done = insert_with_report(model, InsertOptions())
    assert verify(done.model).ok
    maps = ov.compile_model(done.model, "CPU")(numbers(1, 3, 24, 32))["saliency_map"][0]
    assert [bool(one.any()) for one in maps] == [True, True, False, True]
