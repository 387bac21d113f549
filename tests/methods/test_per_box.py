"""Gradient maps per box: which boxes, in which order, and that the right layers are asked."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op

import ovxai
from helpers import classifiers
from helpers import detectors as toys
from helpers.box_models import CLASSES, MODELS, NO_OBJECT, one_picture
from helpers.explained import info_of
from helpers.levels import at_finest, bell
from ovxai.anew import recorded_options
from ovxai.errors import OptionError, UnsupportedModelError, UsageError
from ovxai.insertion import insert_with_report
from ovxai.metadata import ModelInfo
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
    assert found["saliency_index"].max() < (info_of(model).num_classes or 0)
    assert ((found["saliency_index"][:, 0] == -1) == (scores == 0)).all()
    there = found["saliency_map"].max(axis=(2, 3))
    assert (there[scores == 0] == 0).all() and there.any()


def test_the_default_is_five_boxes() -> None:
    model = ovxai.insert(MODELS["yolox"](), method="gradient", per="box")
    assert outputs(model)["saliency_map"].shape[1] == 5
    info = info_of(model)
    assert (info.per, info.target, info.classes, info.held) == ("box", "log-score", "top:5", True)
    assert len(info.derivatives) == 3


def test_the_product_of_a_box_has_its_surroundings_with_it() -> None:
    """A bell of twice the width over the geometric mean of levels, and the product of levels that darken as they are."""
    plain = MODELS["finished"]()
    asked = InsertOptions(method="gradient", per="box", classes="top:2", scale=False)
    explained = insert_with_report(plain, asked).model
    layers = info_of(explained).target_layers
    assert len(layers) == 3
    each = (replace(asked, combine="hirescam", target_layer=(layer,)) for layer in layers)
    alone = [outputs(insert_with_report(plain, one).model)["saliency_map"].astype(np.float64) for one in each]
    found = outputs(explained)["saliency_map"]
    for box in range(2):
        levels = at_finest([maps[0, box] for maps in alone])
        mean = np.cbrt((levels[0] + 0.05) * (levels[1] + 0.05) * (levels[2] + 0.05))
        wanted = levels[0] * levels[1] * levels[2] + 0.06 * bell(mean, 2)
        np.testing.assert_allclose(found[0, box], wanted, atol=2e-4)


@pytest.mark.parametrize("name", ["finished", "finished, centres"])
def test_finished_boxes_are_those_of_the_models_own_suppression(name: str) -> None:
    """Suppression itself measures boxes of either order alike."""
    plain = MODELS[name]()
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


def test_what_a_branch_hands_out_is_an_output_as_long_as_the_explanation_is_there() -> None:
    plain, straight = MODELS["one picture, branched"](), MODELS["one picture"]()
    made = insert_with_report(plain, InsertOptions(method="gradient", per="box", probe=False))
    assert made.info.extra_outputs[-1] == "kept_branch_0" and any("If" in note for note in made.notes)
    found, wanted = outputs(made.model), outputs(ovxai.insert(straight, method="gradient", per="box"))
    assert all(np.array_equal(found[name], value) for name, value in wanted.items())
    assert len(ovxai.strip(made.model).outputs) == len(plain.outputs)
    assert "kept_branch_0" not in insert_with_report(straight, InsertOptions(method="gradient", per="box")).info.extra_outputs


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


def without_numbers(name: str, rows: slice) -> ov.Model:
    """The scores of some rows are NaN."""
    plain = MODELS[name]()
    if name == "finished":
        port = [node for node in plain.get_ordered_ops() if node.get_type_name() == "Sigmoid"][-1].input(0)
    else:
        port = next(result for result in plain.get_results() if result.get_output_shape(0)[-1] != 4).input(0)
    bad = np.zeros(port.get_shape(), np.float32)
    np.moveaxis(bad, list(bad.shape).index(CLASSES), -1)[0, rows] = np.nan
    port.replace_source_output(op.add(port.get_source_output(), bad).output(0))
    plain.validate_nodes_and_infer_types()
    return plain


@pytest.mark.parametrize("name", ["queries, logits", "boxes-scores", "finished"])
def test_a_score_that_is_no_number_is_no_box(name: str) -> None:
    asked = InsertOptions(task="detection", method="gradient", per="box", classes="top:3", probe=False)
    found = outputs(insert_with_report(without_numbers(name, slice(None)), asked).model)
    assert (found["saliency_index"] == -1).all() and not found["saliency_score"].any() and not found["saliency_map"].any()
    found = outputs(insert_with_report(without_numbers(name, slice(0, 3)), asked).model)
    assert (found["saliency_index"] >= 0).all() and (found["saliency_score"] > 0.05).all()


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


WITH_NOTHING = {**MODELS, "queries, no object": NO_OBJECT}


def exclusive(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize(
    ("name", "options", "read"),
    [
        ("queries, no object", {"labels": ["a", "b", "c"]}, exclusive),
        ("queries, no object", {"num_classes": 3}, exclusive),
        ("queries, no object", {"class_activation": "softmax"}, exclusive),
        ("queries, no object", {"class_activation": "softmax", "labels": ["a", "b", "c"]}, exclusive),
        ("queries, softmax", {}, lambda given: given),
        ("queries, softmax", {"labels": ["a", "b", "c"]}, lambda given: given),
        ("queries, softmax cut", {}, lambda given: given),
        ("queries, softmax cut", {"labels": ["a", "b", "c"]}, lambda given: given),
    ],
)
def test_what_says_that_there_is_nothing_is_no_class(name: str, options: dict, read) -> None:
    plain = WITH_NOTHING[name]()
    model = ovxai.insert(plain, method="gradient", per="box", classes="top:4", **options)
    own, _ = ov.Core().compile_model(plain, "CPU", F32)([picture := shades(plain)]).values()
    found, scores = outputs(model, picture), read(own)[0, :, :CLASSES]
    assert info_of(model).num_classes == CLASSES
    assert info_of(model).score_activation == ("softmax" if "object" in name else "none")
    order = [row for row in np.argsort(-scores.max(axis=1), kind="stable") if scores[row].max() > 0.05][:4]
    assert len(order) > 1
    np.testing.assert_allclose(found["saliency_score"][0, : len(order)], scores.max(axis=1)[order], rtol=1e-4)
    np.testing.assert_array_equal(found["saliency_index"][0, 0, : len(order)], scores.argmax(axis=1)[order])


def test_labels_beside_the_model_tell_that_the_last_score_is_no_class(tmp_path: Path) -> None:
    """As Hugging Face writes them."""
    ov.save_model(NO_OBJECT(), tmp_path / "model.xml")
    config = {"model_type": "detr", "id2label": {"0": "cat", "1": "dog", "2": "bird"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    model = ovxai.insert(tmp_path / "model.xml", method="gradient", per="box", probe=False)
    info = info_of(model)
    assert (info.score_activation, info.class_activation, info.num_classes) == ("softmax", "softmax", 3)
    assert ModelInfo.read(model).labels == ("cat", "dog", "bird")


@pytest.mark.parametrize("options", [{"num_classes": 3}, {"class_activation": "softmax"}, {"class_activation": "sigmoid"}, {}])
def test_an_explanation_that_is_put_on_anew_reads_scores_as_before(options: dict) -> None:
    plain = NO_OBJECT()
    model = ovxai.insert(plain, method="gradient", per="box", probe=False, **options)
    again = insert_with_report(plain, recorded_options(plain, info_of(model), model)).info
    assert (again.score_activation, again.num_classes) == (info_of(model).score_activation, info_of(model).num_classes)


def shades(model: ov.Model) -> np.ndarray:
    return np.random.default_rng(3).uniform(0, 255, model.inputs[0].get_shape()).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "options", "due", "classes"),
    [
        ("queries, no object", {}, "sigmoid", 4),
        ("queries, no object", {"num_classes": 4}, "sigmoid", 4),
        ("queries, no object", {"class_activation": "sigmoid", "num_classes": 3}, "sigmoid", 4),
        ("queries, no object", {"class_activation": "softmax", "num_classes": 4}, "softmax", 4),
        ("queries, softmax", {"num_classes": 4}, "none", 4),
        ("queries, learned", {"labels": ["a", "b", "c"]}, "sigmoid", 3),
    ],
)
def test_all_scores_are_of_classes_where_that_is_said(name: str, options: dict, due: str, classes: int) -> None:
    info = info_of(ovxai.insert(WITH_NOTHING[name](), method="gradient", per="box", probe=False, **options))
    assert (info.score_activation, info.num_classes) == (due, classes)


def test_how_scores_of_queries_were_taken_is_said() -> None:
    def notes(**options) -> str:
        asked = InsertOptions(method="gradient", per="box", probe=False, **options)
        return " ".join(insert_with_report(NO_OBJECT(), asked).notes)

    assert "3 labels for 4 scores of each query: a softmax" in notes(labels=("a", "b", "c"))
    assert "count as sigmoids" in notes() and "--class-activation softmax" in notes()
    assert "sigmoid" not in notes(class_activation="softmax") + notes(num_classes=4)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("queries, softmax", {"class_activation": "sigmoid"}, "gives the scores a softmax"),
        ("queries", {"class_activation": "softmax"}, "gives the scores a sigmoid"),
        ("yolox", {"class_activation": "softmax"}, "of the class scores of queries"),
        ("queries, no object", {"class_activation": "softmax", "num_classes": 2}, "3 class scores per box but 2 labels"),
        ("queries, no object", {"class_activation": "softmax", "per": "class"}, "read for boxes"),
    ],
)
def test_an_activation_that_does_not_fit_is_refused(name: str, options: dict, words: str) -> None:
    with pytest.raises((OptionError, UnsupportedModelError), match=words):
        ovxai.insert(WITH_NOTHING[name](), method="gradient", **{"per": "box", **options})


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
