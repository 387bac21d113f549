"""Gradient maps of semantic segmentation: of a class's pixels and of one pixel, in every form of scores."""

from __future__ import annotations

import json

import numpy as np
import openvino as ov
import pytest

import ovxai
from helpers import classifiers as toys
from helpers.cli import call
from helpers.explained import info_of
from helpers.runtime_graphs import encoded, picture
from helpers.segmenters import FORMS, segmenter
from helpers.values import numbers
from ovxai.errors import OptionError, TargetLayerError, UnsupportedModelError, UsageError
from ovxai.verification import verify

TASK = "semantic-segmentation"


def run(model: ov.Model, batch: int = 1) -> dict[str, np.ndarray]:
    found = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})([numbers(batch, 3, *toys.SIZE)])
    return {name: np.array(value) for port, value in found.items() for name in port.names}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "options", [{}, {"classes": "top:3", "combine": "hirescam"}, {"classes": "all", "scale": False}, {"pixel": "3,5"}]
)
def test_maps_and_derivatives_hold(form: str, options: dict[str, object]) -> None:
    report = verify(ovxai.insert(segmenter(form), task=TASK, probe=False, **options))  # type: ignore[arg-type]
    assert report.ok, report
    assert any(check.name.startswith("derivative by") and check.ok is not False for check in report.checks)


def test_several_pictures_of_an_open_batch_hold() -> None:
    report = verify(ovxai.insert(segmenter(batch=-1), task=TASK, classes="top:2"), samples=2)
    assert report.ok, report


def test_one_class_alone_holds() -> None:
    explained = ovxai.insert(segmenter(classes=1), task=TASK)
    assert (info_of(explained).target, info_of(explained).score_activation) == ("logit", "sigmoid")
    assert verify(explained).ok


def test_a_wrong_derivative_is_seen() -> None:
    explained = ovxai.insert(segmenter(), task=TASK, probe=False)
    node = next(n for n in explained.get_ops() if n.get_friendly_name() == info_of(explained).derivatives[0])
    wrong = ov.opset13.multiply(node.input_value(0), np.linspace(0, 2, 4, dtype=np.float32))
    node.input(0).replace_source_output(wrong.output(0))
    explained.validate_nodes_and_infer_types()
    assert next(check.ok for check in verify(explained).checks if check.name.startswith("derivative by")) is False


def test_the_class_with_the_most_pixels_by_default() -> None:
    found = run(ovxai.insert(segmenter(), task=TASK))
    sizes = np.bincount(found["scores"].argmax(1).ravel(), minlength=4)
    assert found["saliency_index"].tolist() == [[[int(sizes.argmax())]]]
    assert found["saliency_map"].shape == (1, 1, 6, 8) and found["saliency_map"].max() >= 254


def test_a_class_without_pixels_has_no_map() -> None:
    plain = segmenter()
    bias = next(n for n in plain.get_ordered_ops()[::-1] if n.get_type_name() == "Interpolate").input_value(0).get_node()
    low = ov.opset13.add(bias, np.array([0, 0, 0, -1e3], np.float32).reshape(1, 4, 1, 1))
    plain.get_results()[0].input_value(0).get_node().input(0).replace_source_output(low.output(0))
    found = run(ovxai.insert(plain, task=TASK, classes="3,0"))
    assert found["saliency_index"].tolist()[0][0][0] == -1 and not found["saliency_map"][:, 0].any()
    assert verify(ovxai.insert(plain, task=TASK, classes="top:4")).ok


def test_a_pixel_is_explained_by_its_own_scores() -> None:
    """Each class's map of a pixel is empty where the decoder does not look from there."""
    explained = ovxai.insert(segmenter(), task=TASK, pixel="23,31", classes="all", combine="layercam", target_layer="joined")
    assert (info_of(explained).pixel, info_of(explained).target) == ((23, 31), "log-probability")
    found = run(explained)["saliency_map"][0]
    assert found.shape == (4, 6, 8) and not found[:, :2, :3].any() and found.max() >= 254
    best = run(ovxai.insert(segmenter(), task=TASK, pixel="23,31"))
    assert best["saliency_index"].ravel().tolist() == [int(best["scores"][0, :, 23, 31].argmax())]


def test_rt_info_says_how_it_was_made() -> None:
    info = info_of(ovxai.insert(segmenter(), task=TASK))
    assert (info.task, info.method, info.combine, info.classes) == (TASK, "gradient", "product", "top:1")
    assert (info.num_classes, info.prediction_format, info.score_activation) == (4, "class-maps", "softmax")
    assert info.level_grids == "3x4,6x8"


def test_classes_stand_where_the_graph_says_also_where_there_are_as_many_as_rows() -> None:
    """[1, 24, 32, 24]: sizes do not tell which axis is that of classes."""
    picture = np.random.default_rng(5).integers(0, 256, (24, 32, 3), np.uint8)
    first, last = (
        ovxai.Explainer(ovxai.insert(segmenter(form, classes=24), task=TASK))(picture) for form in ("softmax", "channels-last")
    )
    found, wanted = last.predictions, first.predictions
    assert len(found) == len(wanted) > 1
    for one, other in zip(found, wanted):
        assert one.class_index == other.class_index and one.score == pytest.approx(other.score, abs=1e-3)
        assert one.mask is not None and other.mask is not None and (one.mask == other.mask).all()


# Refusals.


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"pixel": "3;5"}, UsageError, "not Y,X"),
        ({"pixel": "24,0"}, OptionError, "24 rows"),
        ({"pixel": "1,1", "task": "classification", "method": "gradient"}, UnsupportedModelError, "not one score per class"),
        ({"method": "reciprocam"}, UsageError, "reciprocam explains"),
        ({"classes": "9"}, OptionError, "classes 0 to 3"),
        ({"target_layer": "elsewhere"}, TargetLayerError, "elsewhere"),
        ({"per": "box"}, OptionError, "no boxes"),
    ],
)
def test_what_does_not_go_together(options: dict[str, str], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        ovxai.insert(segmenter(), **{"task": TASK, **options})  # type: ignore[arg-type]


def test_a_class_has_no_pixel() -> None:
    with pytest.raises(OptionError, match="classification has no scores of pixels"):
        ovxai.insert(toys.cnn(), task="classification", method="gradient", pixel="1,1")


def test_the_activation_map_of_its_encoder() -> None:
    explained = ovxai.insert(segmenter(), task=TASK, method="activation-map")
    info = info_of(explained)
    assert (info.method, info.target, info.derivatives, info.classes) == ("activation-map", "", (), "all")
    assert verify(explained).ok


def test_a_classifier_has_no_scores_of_pixels() -> None:
    with pytest.raises(UnsupportedModelError, match="not a score per class and pixel"):
        ovxai.insert(toys.cnn(), task=TASK)


def test_numbers_of_classes_are_no_scores() -> None:
    plain = segmenter()
    scores = plain.get_results()[0].input_value(0)
    best = ov.opset13.topk(scores, np.int64(1), 1, "max", "value").output(1)
    with pytest.raises(UnsupportedModelError, match="without ArgMax"):
        ovxai.insert(ov.Model([ov.opset13.result(best)], plain.get_parameters(), "numbers"), task=TASK)


# The command line, and what is painted.


def test_run_outlines_the_classes_and_paints_their_maps(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    ov.save_model(segmenter("softmax"), "m.xml")
    (tmp_path / "a.png").write_bytes(encoded(picture()))
    done = call("insert", "m.xml", "--task", TASK, "--classes", "top:4")
    assert done.exit_code == 0 and "method        gradient" in done.stdout, done.output
    done = call("run", "m_xai.xml", "a.png", "-o", "out", "--threshold", "0")
    assert done.exit_code == 0, done.output
    entries = json.loads((tmp_path / "out" / "manifest.json").read_text())["files"]
    assert entries and all(0 < entry["score"] <= 1 for entry in entries if "score" in entry)
    assert list((tmp_path / "out").rglob("*overlay.png"))
