"""Maps per box verified: right ones hold, wrong boxes and wrong derivatives are seen."""

from __future__ import annotations

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op

import ovxai
from helpers.box_models import MODELS, NO_OBJECT
from helpers.explained import info_of
from ovxai.graph.names import port_named
from ovxai.verification import verify
from ovxai.verification.boxes import Candidates

F32 = {"INFERENCE_PRECISION_HINT": "f32"}


@pytest.mark.parametrize("name", MODELS)
def test_right_maps_hold(name: str) -> None:
    report = verify(ovxai.insert(MODELS[name](), task="detection", method="gradient", per="box", classes="top:3"), samples=2)
    assert report.ok, report
    checks = {check.name: check.ok for check in report.checks}
    assert checks["saliency_box"] and any(ok for title, ok in checks.items() if title.startswith("derivative by"))


@pytest.mark.parametrize("options", [{"labels": ["a", "b", "c"]}, {"class_activation": "softmax"}])
def test_scores_under_a_softmax_with_no_object_hold(options: dict) -> None:
    model = ovxai.insert(NO_OBJECT(), method="gradient", per="box", classes="top:3", **options)
    report = verify(model)
    assert report.ok, report
    assert any(check.ok for check in report.checks if check.name.startswith("derivative by"))
    model.set_rt_info("sigmoid", ["ovxai", "score_activation"])  # other scores than those
    assert not verify(model).ok


@pytest.mark.parametrize(
    ("combine", "scale", "classes"), [("hirescam", True, "top:2"), ("layercam", False, "top:2"), ("product", True, "top:1")]
)
def test_other_ways_hold(combine: str, scale: bool, classes: str) -> None:
    report = verify(ovxai.insert(MODELS["yolox"](), method="gradient", per="box", combine=combine, scale=scale, classes=classes))
    assert report.ok, report


def test_more_boxes_of_a_class_than_a_hundred_hold() -> None:
    report = verify(ovxai.insert(MODELS["yolox"](), method="gradient", per="box", classes="top:120", combine="hirescam"))
    assert report.ok, report


def test_boxes_that_tie_may_stand_in_any_order() -> None:
    """Of a picture of one grey the cells of a level have one score."""
    model = ovxai.insert(MODELS["yolo-v5"](), method="gradient", per="box", classes="top:5", combine="hirescam", probe=False)
    report = verify(model, np.full(model.inputs[0].get_shape(), 128, np.float32))
    assert report.ok, report


@pytest.mark.parametrize("name", ["queries", "queries, logits", "queries, learned"])
def test_queries_of_a_grey_picture_are_judged_where_they_have_no_twin(name: str) -> None:
    """Inside the picture tokens look the same, and which of them were picked shows nowhere."""
    model = ovxai.insert(MODELS[name](), task="detection", method="gradient", per="box", classes="top:3", probe=False)
    report = verify(model, np.full(model.inputs[0].get_shape(), 128, np.float32))
    assert report.ok, report
    assert any(check.ok for check in report.checks if check.name.startswith("derivative by"))


def test_a_twin_has_class_box_and_score() -> None:
    boxes = np.array([[1.0, 1, 5, 5], [1, 1, 5, 5], [1, 1, 5, 5], [1, 1, 5, 9], [1, 1, 5, 9]])
    scores = np.array([[0.9, 0.1], [0.9, 0.3], [0.8, 0.1], [0.9, 0.1], [0.1, 0.9]])
    assert [Candidates(boxes, scores).has_twin(row, 0.05) for row in range(5)] == [True, True, False, False, False]


def nearly_tied(model: ov.Model) -> np.ndarray:
    """A picture between two of which TopK picks others, as close to where it changes its mind as numbers go."""
    shape = model.inputs[0].get_shape()
    twin = model.clone()
    picks = next(node for node in twin.get_ops() if node.get_type_name() == "TopK")
    run = ov.Core().compile_model(ov.Model([op.result(picks.output(1))], twin.get_parameters(), "picks"), "CPU", F32)
    one, other = (np.random.default_rng(seed).uniform(0, 255, shape).astype(np.float32) for seed in (0, 1))

    def between(share: float) -> np.ndarray:
        return ((1 - share) * one + share * other).astype(np.float32)

    def picked(share: float) -> frozenset[int]:
        return frozenset(run([between(share)])[0].reshape(-1).tolist())

    low, high = 0.0, 1.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (middle, high) if picked(middle) == picked(0.0) else (low, middle)
    assert picked(low) != picked(high)
    return between(low)


def test_what_is_picked_counts_as_fixed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where another token is picked, all queries that look at it jump."""
    plain = MODELS["queries, joined"]()
    picture = nearly_tied(plain)
    model = ovxai.insert(plain, method="gradient", per="box", classes="top:1", probe=False)

    def held() -> list[bool | None]:
        checks = verify(model, picture).checks
        return [check.ok for check in checks if check.name.startswith("derivative by")]

    assert False not in held() and True in held()
    monkeypatch.setattr("ovxai.verification.gradient.choices_between", lambda taps, goals: [])
    assert held().count(True) == 0


def multiplied(port: ov.Output, factor: np.ndarray) -> None:
    """All readers of a port read it times a factor."""
    readers = list(port.get_target_inputs())
    product = op.multiply(port, factor)
    for reader in readers:
        reader.replace_source_output(product.output(0))


def test_a_wrong_derivative_is_seen() -> None:
    model = ovxai.insert(MODELS["yolo-v8"](), method="gradient", per="box", classes="top:3", combine="hirescam")
    node = port_named(model, info_of(model).derivatives[0]).get_node()
    channels = np.linspace(0, 2, 8, dtype=np.float32).reshape(8, 1, 1)
    node.input(0).replace_source_output(op.multiply(node.input_value(0), channels).output(0))
    model.validate_nodes_and_infer_types()
    checks = {check.name: check.ok for check in verify(model).checks}
    assert [ok for name, ok in checks.items() if name.startswith("derivative by")] == [False]


@pytest.mark.parametrize(("name", "factor"), [("saliency_score", 0.99), ("saliency_box", 1.02)])
def test_a_wrong_box_is_seen(name: str, factor: float) -> None:
    model = ovxai.insert(MODELS["yolox"](), method="gradient", per="box", classes="top:2")
    result = model.output(name).get_node()
    names = result.output(0).get_names()
    changed = op.multiply(result.input_value(0), np.float32(factor))
    result.input(0).replace_source_output(changed.output(0))
    result.output(0).get_tensor().set_names(names)
    model.validate_nodes_and_infer_types()
    checks = {check.name: check.ok for check in verify(model).checks}
    assert checks["saliency_box"] is False
