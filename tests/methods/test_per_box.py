"""Gradient maps per box: which boxes, in which order, and that the right layers are asked."""

from __future__ import annotations

import numpy as np
import openvino as ov
import pytest

import ovxai
from helpers import classifiers
from helpers import detectors as toys
from helpers.box_models import CLASSES, MODELS, one_picture
from helpers.explained import info_of
from ovxai.errors import OptionError, UnsupportedModelError, UsageError
from ovxai.insertion import insert_with_report
from ovxai.options import InsertOptions

F32 = {"INFERENCE_PRECISION_HINT": "f32"}


def outputs(model: ov.Model, picture: np.ndarray | None = None) -> dict[str, np.ndarray]:
    if picture is None:
        shape = model.inputs[0].get_shape()
        picture = np.random.default_rng(3).uniform(0, 255, shape).astype(np.float32)
    found = ov.Core().compile_model(model, "CPU", F32)([picture])
    return {name: value for port, value in found.items() for name in port.names}


@pytest.mark.parametrize("name", MODELS)
def test_the_best_boxes_have_a_map_each(name: str) -> None:
    model = ovxai.insert(MODELS[name](), task="detection", method="gradient", per="box", classes="top:4")
    found = outputs(model)
    batch = model.inputs[0].get_shape()[0]
    height, width = found["saliency_map"].shape[2:]
    assert found["saliency_map"].shape == (batch, 4, height, width) and found["saliency_map"].dtype == np.uint8
    assert found["saliency_index"].shape == (batch, 1, 4) and found["saliency_index"].dtype == np.int64
    assert found["saliency_box"].shape == (batch, 4, 4) and found["saliency_score"].shape == (batch, 4)
    scores = found["saliency_score"]
    assert (np.diff(scores, axis=1) <= 0).all() and (scores[:, 0] > 0.05).all()
    assert found["saliency_index"].max() < CLASSES
    assert ((found["saliency_index"][:, 0] == -1) == (scores == 0)).all()
    there = found["saliency_map"].max(axis=(2, 3))
    assert (there[scores == 0] == 0).all() and there.any()


def test_the_default_is_five_boxes() -> None:
    model = ovxai.insert(MODELS["yolox"](), method="gradient", per="box")
    assert outputs(model)["saliency_map"].shape[1] == 5
    info = info_of(model)
    assert (info.per, info.target, info.classes, info.held) == ("box", "log-score", "top:5", True)
    assert len(info.derivatives) == 3


def test_finished_boxes_are_those_of_the_models_own_suppression() -> None:
    plain = MODELS["finished"]()
    named, found = outputs(plain), outputs(ovxai.insert(plain, method="gradient", per="box", classes="top:4"))
    order = np.argsort(-named["boxes"][0, :, 4], kind="stable")[:4]
    assert np.allclose(found["saliency_box"][0], named["boxes"][0, order, :4], rtol=1e-4)
    assert np.array_equal(found["saliency_index"][0, 0], named["labels"][0, order])
    assert np.allclose(found["saliency_score"][0], named["boxes"][0, order, 4])


def test_finished_boxes_of_one_picture_get_its_axis() -> None:
    """And there may be fewer than are asked for."""
    plain = MODELS["one picture"]()
    named, found = outputs(plain), outputs(ovxai.insert(plain, method="gradient", per="box", classes="top:10"))
    order = np.argsort(-named["scores"], kind="stable")
    count = len(order)
    assert 4 <= count < 10
    assert np.allclose(found["saliency_score"][0], [*named["scores"][order], *[0] * (10 - count)])
    assert np.allclose(found["saliency_box"][0, :count], named["boxes"][order], rtol=1e-4)
    assert found["saliency_index"][0, 0].tolist() == [*named["labels"][order], *[-1] * (10 - count)]


def test_scores_that_are_made_of_those_that_are_left_are_refused() -> None:
    with pytest.raises(UnsupportedModelError, match=r"scores come from Multiply .* whose size depends on the picture"):
        ovxai.insert(one_picture(doubled=True), method="gradient", per="box")


def test_gradients_of_a_detector_ask_for_boxes() -> None:
    with pytest.raises(OptionError, match='box by box; give per="box"'):
        ovxai.insert(MODELS["finished"](), method="gradient")


def test_a_picture_without_boxes_has_empty_maps() -> None:
    plain = toys.yolo_v8()
    sigmoid = next(node for node in plain.get_ops() if node.get_type_name() == "Sigmoid")
    sigmoid.input(0).replace_source_output(ov.opset13.subtract(sigmoid.input_value(0), np.float32(1e4)).output(0))
    found = outputs(ovxai.insert(plain, method="gradient", per="box", num_classes=3))
    assert (found["saliency_index"] == -1).all() and not found["saliency_score"].any() and not found["saliency_map"].any()


def test_one_box_is_the_first_of_several() -> None:
    one, more = (ovxai.insert(MODELS["yolox"](), method="gradient", per="box", classes=f"top:{k}", scale=False) for k in (1, 3))
    first, all_of_them = outputs(one), outputs(more)
    np.testing.assert_allclose(first["saliency_map"][:, 0], all_of_them["saliency_map"][:, 0], rtol=1e-3, atol=1e-5)
    np.testing.assert_array_equal(first["saliency_box"][:, 0], all_of_them["saliency_box"][:, 0])


def test_without_a_neck_a_layer_counts_with_what_is_made_from_it() -> None:
    assert not info_of(ovxai.insert(MODELS["yolo-v8"](), method="gradient", per="box")).held


def test_a_named_layer() -> None:
    plain = MODELS["yolox"]()
    name = next(node.get_friendly_name() for node in plain.get_ordered_ops() if node.get_type_name() == "Swish")
    model = ovxai.insert(plain, method="gradient", per="box", target_layer=name, combine="layercam")
    assert info_of(model).target_layers == (name,) and not info_of(model).held


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"classes": "0,1"}, "top:K"),
        ({"task": "classification"}, "has no boxes"),
        ({"task": "detection", "per": "class"}, 'per="box"'),
        ({"per": "pixel"}, "per"),
    ],
)
def test_what_does_not_go_together(options: dict[str, str], words: str) -> None:
    plain = classifiers.cnn() if options.get("task") == "classification" else MODELS["yolox"]()
    with pytest.raises((OptionError, UsageError), match=words):
        insert_with_report(plain, InsertOptions(**{"method": "gradient", "per": "box", **options}))  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "there"), [("queries", 7), ("yolo-v5", 300)])
def test_more_boxes_than_there_can_be_are_refused(name: str, there: int) -> None:
    plain = MODELS[name]()
    with pytest.raises(OptionError, match=f"top:400 asks for more than the {there} boxes"):
        ovxai.insert(plain, task="detection", method="gradient", per="box", classes="top:400")


def test_outputs_in_another_form_are_refused() -> None:
    with pytest.raises(UnsupportedModelError, match="maps per box are made of"):
        ovxai.insert(toys.centre_points(), task="detection", method="gradient", per="box")


def test_queries_that_score_no_positions_are_explained_box_by_box_alone() -> None:
    model = ovxai.insert(MODELS["queries, learned"](), method="gradient", per="box", feature_vector=False)
    assert len(info_of(model).target_layers) > 1 and info_of(model).prediction_format == "queries"
    with pytest.raises(UnsupportedModelError, match="no detector"):
        ovxai.insert(MODELS["queries, learned"](), task="detection")


def test_queries_without_boxes_are_refused() -> None:
    plain = MODELS["queries, learned"]()
    plain.remove_result(plain.get_results()[1])
    with pytest.raises(UnsupportedModelError, match="no detector"):
        ovxai.insert(plain, task="detection", method="gradient", per="box")


def test_an_open_size_is_refused() -> None:
    plain = MODELS["yolo-v8"]()
    plain.reshape([1, 3, ov.Dimension(32, 64), ov.Dimension(48, 96)])
    with pytest.raises(UnsupportedModelError, match="fixed"):
        ovxai.insert(plain, task="detection", method="gradient", per="box")
