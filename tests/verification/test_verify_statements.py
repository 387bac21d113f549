"""What rt_info says beside the maps must be so; tables are held column by column, weights one by one."""

from __future__ import annotations

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op

from helpers import detectors
from helpers.classifiers import cnn_with_softmax_and_wrapping
from helpers.detectors import yolo_v8
from helpers.instances import yolo_seg
from helpers.tiny_detector import Detector
from helpers.tiny_models import Pooled
from ovxai.errors import OvxaiError, UnsupportedModelError
from ovxai.graph.surgery import strip_model as strip
from ovxai.insertion import insert
from ovxai.verification import verify
from ovxai.verification.keeping import check_values, check_weights
from ovxai.verification.statements import FORMS, Outputs


def holds(model: ov.Model, **entries: str) -> bool:
    changed = model.clone()
    for key, text in entries.items():
        changed.set_rt_info(text, ["ovxai", key])
    try:
        return verify(changed, places=False).ok
    except OvxaiError as error:
        assert "\n" not in str(error)
        return False


@pytest.fixture(scope="module")
def seeded():
    """The same random heads whichever tests ran before."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(detectors, "RNG", np.random.default_rng(3))
        yield


@pytest.fixture(scope="module")
def classifier():
    return insert(Pooled().model)


@pytest.fixture(scope="module")
def detector(seeded):
    return insert(yolo_v8(), task="detection")


@pytest.fixture(scope="module")
def segmenter(seeded):
    return insert(yolo_seg(), task="instance-segmentation")


@pytest.mark.parametrize("entry", [
    "prediction_format=yolo-v8", "prediction_format=x", "score_activation=softmax", "score_activation=x", "score_output=x",
    "feature_layer=x", "feature_layer=logits", "collapse=x", "collapse=dense", "explained_output=7", "method=x", "num_classes=-1",
])  # fmt: skip
def test_classifier(classifier, entry):
    assert holds(classifier) and not holds(classifier, **dict([entry.split("=")]))


@pytest.mark.parametrize("entry", [
    "prediction_format=yolo-v5", "prediction_format=boxes-labels", "prediction_format=boxes-labels-masks",
    "prediction_format=x", "score_activation=sigmoid", "score_activation=x", "score_output=x", "feature_layer=x",
    "feature_layer=image", "feature_layer=", "collapse=partial", "collapse=x", "explained_output=7",
    "explained_output=-1", "method=x", "num_classes=-1", "num_classes=0",
])  # fmt: skip
def test_detector(detector, entry):
    key, _, text = entry.partition("=")
    if key != "explained_output":
        assert holds(detector)
    assert not holds(detector, **{key: text})


@pytest.mark.parametrize("entry", [
    "prediction_format=boxes-labels", "prediction_format=yolo-v5-seg", "prediction_format=x", "score_activation=sigmoid",
    "score_output=x", "feature_layer=x", "collapse=dense", "explained_output=7", "method=x", "num_classes=-1",
    "explained_output=1", "map_axes=xy", "map_frame=0,0,0.5,1", "layout=NHWC",
])  # fmt: skip
def test_segmenter(segmenter, entry):
    assert holds(segmenter) and not holds(segmenter, **dict([entry.split("=")]))


def test_channels_that_the_tensor_does_not_have():
    tiny = Detector()
    tiny.model = ov.Model([op.result(logits) for logits in tiny.logits], [tiny.image], "bare")
    with pytest.raises(UnsupportedModelError, match="does not fit"):
        verify(tiny.explained(class_channels="0,1,2;3,4,99"))


def test_scores_without_their_activation_are_not_called_done():
    tiny = Pooled()
    bare = ov.Model([op.result(tiny.logits)], [tiny.image], "bare")
    bare.outputs[0].get_tensor().set_names({"logits"})
    explained = insert(bare)
    assert holds(explained) and not holds(explained, score_activation="none")


def test_columns_of_a_table_are_held_one_by_one():
    boxes = np.random.default_rng(0).uniform(0, 640, (6, 5)).astype(np.float32)
    boxes[:, 4] = np.linspace(0.9, 0.2, 6)
    small = boxes * np.array([1, 1, 1, 1, 0.9], np.float32)
    for lead in ((), (1,)):
        table, moved = boxes.reshape(*lead, 6, 5), small.reshape(*lead, 6, 5)
        assert check_values([table * np.float32(1 + 1e-6)], [table], ["boxes"]).ok
        assert not check_values([moved], [table], ["boxes"]).ok
    logits = np.array([[1e-7, 5.0, -3.0]], np.float32)
    assert check_values([logits + np.float32(2e-6)], [logits], ["logits"]).ok


def test_outputs_that_the_plain_model_does_not_repeat_are_named_and_left_out():
    """Random numbers here; memory never written to where detectors find nothing."""
    tiny = Pooled()
    noise = op.random_uniform(np.array([1, 4]), np.float32(0), np.float32(1), "f32", 0, 0)
    noise.output(0).get_tensor().set_names({"noise"})
    loud = ov.Model([*tiny.model.get_results(), op.result(noise)], [tiny.image], "loud")
    report = verify(insert(loud, output=0), places=False)
    kept = next(check for check in report.checks if check.name == "original outputs")
    assert report.ok and kept.detail.endswith("does not repeat: noise") and kept.detail.startswith("1 kept"), kept.detail
    values = np.arange(4, dtype=np.float32)
    steady = lambda: [[values, values]]  # noqa: E731
    assert not check_values([values, values + 1], [values, values], ["a", "b"], steady).ok
    assert not check_values([values + 1, values], [values, values + 1], ["a", "b"], lambda: [[values, values]]).ok


@pytest.mark.parametrize("half", [False, True])
def test_a_changed_weight_shows_where_no_output_does(segmenter, half, tmp_path):
    """No instance on the probe picture: nothing that comes out tells the two apart."""
    ov.save_model(segmenter, tmp_path / "m.xml", compress_to_fp16=half)
    saved = ov.Core().read_model(tmp_path / "m.xml")
    source = strip(segmenter)
    assert check_weights(strip(saved), source).ok
    kernel = first_kernel(saved)
    changed = op.constant(np.asarray(kernel.data) * np.asarray(1.001, kernel.data.dtype))
    for reader in list(kernel.output(0).get_target_inputs()):
        reader.replace_source_output(changed.output(0))
    report = verify(saved, plain=source, places=False)
    assert [check.name for check in report.checks if check.ok is False and check.name.startswith("weights")]


def first_kernel(model: ov.Model) -> ov.Node:
    node = next(one for one in model.get_ordered_ops() if one.get_type_name() == "Convolution")
    while node.get_type_name() != "Constant":
        node = node.input_value(1 if node.get_type_name() == "Convolution" else 0).get_node()
    return node


@pytest.mark.parametrize("method", ["reciprocam", "activation-map"])
def test_scores_behind_a_log_softmax_still_need_a_softmax(method: str) -> None:
    """It gives their probabilities as well as before; that of probabilities would not."""
    assert holds(insert(cnn_with_softmax_and_wrapping("log"), method=method))
    assert not holds(insert(cnn_with_softmax_and_wrapping(), method=method), score_activation="softmax")


# Formats that hold the same columns are told apart by what stands in them.

CELLS = np.stack(np.meshgrid(np.arange(8), np.arange(6)), -1).reshape(1, -1, 2).astype(np.float32)


def table_of(front: np.ndarray, classes: int = 3) -> Outputs:
    scores = np.random.default_rng(0).uniform(0, 1, (1, front.shape[1], 1 + classes)).astype(np.float32)
    rows = np.concatenate([front, scores], 2)
    return Outputs([rows], rows, classes, 1)


def test_centres_in_pixels_are_no_offsets_in_cells():
    pixels = table_of(np.concatenate([8 * CELLS + 4, np.full_like(CELLS, 20)], 2))
    offsets = table_of(np.random.default_rng(1).normal(0, 1, (1, 48, 4)).astype(np.float32))
    assert FORMS["yolo-v5"](pixels) and not FORMS["yolox"](pixels)
    assert FORMS["yolox"](offsets) and not FORMS["yolo-v5"](offsets)


def test_shares_of_the_picture_are_no_pixels():
    scores = np.random.default_rng(2).uniform(0, 1, (1, 48, 3)).astype(np.float32)
    pixels, shares = np.concatenate([8 * CELLS, 8 * CELLS + 20], 2), np.full((1, 48, 4), 0.5, np.float32)
    assert FORMS["queries"](Outputs([scores, shares], scores, 3, 1)) and FORMS["boxes-scores"](
        Outputs([scores, pixels], scores, 3, 1)
    )
    assert not FORMS["queries"](Outputs([scores, pixels], scores, 3, 1))
    beyond = np.concatenate([shares[:, :-1], np.array([[[-0.01, 0.5, 1.04, 1.1]]], np.float32)], 1)
    assert FORMS["queries"](Outputs([scores, beyond], scores, 3, 1))


@pytest.mark.parametrize("toy", ["yolo_v5", "queries", "anchored", "with_nms", "centre_points", "raw_levels", "single_class"])
def test_the_formats_of_heads_hold(toy, seeded):
    assert holds(insert(getattr(detectors, toy)(), task="detection"))


@pytest.mark.parametrize(("key", "text"), [
    ("method", "vit-reciprocam"), ("mask", "gaussian"), ("mask", "round"), ("num_classes", "5"), ("network_frame", "0,0,0.5,1"),
    ("version", ""), ("classes", ""), ("collapse", ""), ("feature_layer", ""), ("score_activation", "sigmoid"),
])  # fmt: skip
def test_entries_that_no_classifier_of_ours_has(classifier, key, text):
    assert not holds(classifier, **{key: text})


def test_a_map_that_no_picture_moves():
    tiny = Pooled()
    still = tiny.explained(saliency=op.constant(np.zeros((1, 4, 4, 5), np.float32)))
    report = verify(still, places=False)
    assert any(check.name == "rt_info" and "every picture" in check.detail for check in report.checks)
