"""Hand-made explained classifiers that are right must pass; each way of being wrong must fail."""

from __future__ import annotations

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op

from helpers.tiny_models import CLASSES, Pooled, Tokens, explain, scaled
from helpers.values import named, numbers
from ovxai.errors import NotExplainedError, TargetLayerError, UnsupportedModelError
from ovxai.verification import verify


def check(report, name):
    return next(check for check in report.checks if check.name == name)


@pytest.mark.parametrize("nhwc", [False, True])
@pytest.mark.parametrize("batch", [1, 3, -1])
@pytest.mark.parametrize("grey", [False, True])
def test_pooled_head_passes(nhwc, batch, grey):
    tiny = Pooled(batch, nhwc)
    saliency = tiny.saliency()
    report = verify(tiny.explained(scaled(saliency) if grey else saliency, scaled=grey))
    assert report.ok, report
    assert report.units <= 1 and report.outputs_kept and report.scaled is grey
    assert report.map_shape == (CLASSES, 4, 5)
    assert [(row.picture, row.batch) for row in report.rows] == {
        1: [(0, 1)], 3: [(0, 3), (1, 3), (2, 3)], -1: [(0, 1), (0, 2), (1, 2)],
    }[batch]  # fmt: skip


@pytest.mark.parametrize("batch", [1, 2, -1])
def test_class_token_passes(batch):
    report = verify(Tokens(batch).explained(vector=True))
    assert report.ok, report
    assert "class token" in check(report, "feature_vector").detail


@pytest.mark.parametrize("element", ["uint8", "float16"])
def test_other_input_types(element):
    assert verify(Pooled(element=element).explained()).ok


def test_samples_and_image():
    tiny = Pooled().explained()
    assert len(verify(tiny, samples=3).rows) == 3
    photo = np.random.default_rng(0).integers(0, 255, (40, 30, 3), np.uint8)
    assert verify(tiny, photo).ok
    assert verify(tiny, numbers(1, 3, 12, 15)).ok


def test_leaking_batch_fails():
    tiny = Pooled(batch=-1)
    leak = op.reduce_mean(tiny.saliency(), [0], True)
    report = verify(tiny.explained(op.add(op.multiply(leak, np.float32(0)), op.broadcast(leak, op.shape_of(tiny.saliency())))))
    assert not report.ok and report.rows[0].ok and not report.rows[1].ok


def test_wrong_scale_fails():
    tiny = Pooled()
    assert not verify(tiny.explained(op.multiply(tiny.saliency(), np.float32(1.01)))).ok


def test_forgotten_bias_fails_raw_and_passes_scaled():
    tiny = Pooled()
    report = verify(tiny.explained(op.subtract(tiny.saliency(), tiny.bias.reshape(1, -1, 1, 1))))
    assert not report.ok
    tiny = Pooled()
    unbiased = op.subtract(tiny.saliency(), tiny.bias.reshape(1, -1, 1, 1))
    assert verify(tiny.explained(scaled(unbiased), scaled=True)).ok


@pytest.mark.parametrize("grey", [False, True])
def test_turned_map_fails(grey):
    tiny = Pooled()
    rows = op.reshape(
        op.transpose(op.reshape(tiny.saliency(), [1, CLASSES, 4, 5], False), [0, 1, 3, 2]),
        [1, CLASSES, 4, 5],
        False,
    )
    report = verify(tiny.explained(scaled(rows) if grey else rows, scaled=grey))
    assert not report.ok and report.units > 10


def test_transposed_shape_fails():
    tiny = Pooled()
    report = verify(tiny.explained(op.transpose(tiny.saliency(), [0, 1, 3, 2])))
    assert not report.ok and "shape" in report.rows[0].detail


def test_wrong_layer_named():
    tiny = Pooled()
    before = tiny.features.input(0).get_source_output().get_node()
    named(before, "before")
    report = verify(tiny.explained(target_layers=("before",)))
    assert not report.ok
    assert check(report, "feature_map").ok is False


def test_unknown_or_dead_layer_is_an_error():
    with pytest.raises(TargetLayerError, match="nowhere"):
        verify(Pooled().explained(target_layers=("nowhere",)))
    tiny = Pooled()
    named(next(node for node in tiny.model.get_ops() if node.get_type_name() == "Softmax"), "scores")
    with pytest.raises(TargetLayerError, match="logits"):
        verify(tiny.explained(target_layers=("scores",), layout="NCHW"))


def test_ungated_class_token_matters():
    tiny = Tokens()
    assert not verify(tiny.explained(tiny.saliency(ungated=0))).ok


def test_point_is_not_gaussian():
    assert not verify(Tokens().explained(mask="point")).ok


def test_targets_in_the_wrong_order_fail():
    # The map is the same, but feature_map is not the first target.
    report = verify(Tokens().explained(target_layers=("residual", "normed")))
    assert not report.ok and check(report, "feature_map").ok is False


def test_changed_output_fails_against_the_source():
    plain = Pooled().model
    tiny = Pooled()
    moved = op.multiply(tiny.model.get_results()[0].input(0).get_source_output(), np.float32(1.01))
    tiny.model.get_results()[0].input(0).replace_source_output(moved.output(0))
    report = verify(tiny.explained(), plain=plain)
    assert not report.ok
    assert check(report, "original outputs against the source model").ok is False


def test_lost_metadata_fails_against_the_source():
    explained = Pooled().explained()
    source = Pooled().model
    source.set_rt_info("123.675", ["model_info", "mean_values"])
    report = verify(explained, plain=source)
    assert "mean_values" in check(report, "metadata against the source model").detail
    assert not report.ok


def test_wrong_feature_map_fails():
    tiny = Pooled()
    report = verify(tiny.explained(feature_map=op.relu(op.subtract(tiny.features, np.float32(0.1)))))
    assert not report.ok and report.units <= 1


def test_wrong_feature_vector_fails():
    tiny = Tokens()
    tiny.token = op.multiply(tiny.token, np.float32(2))
    report = verify(tiny.explained(vector=True))
    assert check(report, "feature_vector").ok is False and not report.ok


@pytest.mark.parametrize("factor, ok", [(0, True), (1e-3, False)])
def test_map_without_evidence_must_be_zero(factor, ok):
    weights = numbers(6, CLASSES)
    weights[:, 1] = 0
    tiny = Pooled(weights=weights)
    grain = np.zeros((1, CLASSES, 4, 5), np.float32)
    grain[0, 1, 0, 0] = factor
    report = verify(tiny.explained(scaled(op.add(tiny.saliency(), grain)), scaled=True))
    assert report.ok is ok


def test_activation_map():
    tiny = Pooled()
    mean = op.reduce_mean(tiny.features, [1], True)
    assert verify(tiny.explained(scaled(mean), scaled=True, method="activation-map")).ok
    tiny = Pooled()
    assert not verify(tiny.explained(op.reduce_max(tiny.features, [1], True), method="activation-map")).ok


@pytest.mark.parametrize("shift, ok", [(0, True), (1, False)])
def test_top_classes(shift, ok):
    tiny = Pooled()
    best = op.topk(tiny.logits, np.int64(2), 1, "max", "value", index_element_type="i64")
    index = op.mod(op.add(op.unsqueeze(best.output(1), [1]), np.int64(shift)), np.int64(CLASSES))
    saliency = op.gather(tiny.saliency(), op.squeeze(index, [0, 1]), np.int64(1))
    outputs = {"saliency_map": saliency, "feature_map": tiny.feature_map(), "saliency_index": index}
    report = verify(explain(tiny.model, outputs, target_layers=("features",), layout="NCHW", classes="top:2"))
    assert report.ok is ok
    assert check(report, "saliency_index").ok is ok
    assert report.units <= 1


@pytest.mark.parametrize("claimed, ok", [("0,2", True), ("2,0", False), ("0,9", False)])
def test_listed_classes(claimed, ok):
    tiny = Pooled()
    saliency = op.gather(tiny.saliency(), np.array([0, 2]), np.int64(1))
    assert verify(tiny.explained(saliency, classes=claimed)).ok is ok


def test_plain_model_is_refused():
    with pytest.raises(NotExplainedError, match="insert"):
        verify(Pooled().model)


def test_layout_must_fit():
    with pytest.raises(UnsupportedModelError, match="layout"):
        verify(Pooled().explained(layout="NPC"))


def test_sibling_branch_stays_ungated():
    # Squeeze-and-excite behind the features: a second way from the picture to the logits, not gated.
    image = op.parameter([1, 3, 8, 8], np.float32)
    features = named(op.relu(op.convolution(image, numbers(5, 3, 2, 2), [2, 2], [0, 0], [0, 0], [1, 1])), "features")
    gate = op.sigmoid(op.reduce_mean(op.multiply(image, np.float32(3)), [1, 2, 3], True))
    pooled = op.squeeze(op.multiply(op.reduce_mean(features, [2, 3], True), gate), [2, 3])
    logits = op.matmul(pooled, numbers(5, 3), False, False)
    model = ov.Model([op.result(logits)], [image], "branches")
    copies = op.multiply(features, np.eye(16, dtype=np.float32).reshape(16, 1, 4, 4))
    rows = op.matmul(
        op.squeeze(op.multiply(op.reduce_mean(copies, [2, 3], True), gate), [2, 3]),
        numbers(5, 3),
        False,
        False,
    )
    saliency = op.reshape(op.transpose(rows, [1, 0]), [1, 3, 4, 4], False)
    outputs = {"saliency_map": saliency, "feature_map": features}
    assert verify(explain(model, outputs, target_layers=("features",), layout="NCHW")).ok


@pytest.mark.parametrize("shuffled", [False, True])
def test_where_the_features_lie(shuffled):
    # Patches of a 6 x 6 grid whose tokens stand window by window (3 x 3 windows of 2 x 2), as windowed trunks leave them.
    image = op.parameter([1, 3, 24, 24], np.float32)
    x = op.relu(op.convolution(image, numbers(5, 3, 4, 4, size=0.3), [4, 4], [0, 0], [0, 0], [1, 1]))
    if shuffled:
        x = op.transpose(op.reshape(x, [1, 5, 3, 2, 3, 2], False), [0, 1, 2, 4, 3, 5])
    tokens = named(op.transpose(op.reshape(x, [1, 5, 36], False), [0, 2, 1]), "tokens")
    logits = op.matmul(op.reduce_mean(tokens, [1], False), numbers(5, 3), False, False)
    model = ov.Model([op.result(logits)], [image], "windows")
    copies = op.multiply(tokens, np.eye(36, dtype=np.float32).reshape(36, 36, 1))
    rows = op.matmul(op.reduce_mean(copies, [1], False), numbers(5, 3), False, False)
    saliency = op.reshape(op.transpose(rows, [1, 0]), [1, 3, 6, 6], False)
    facts = {"target_layers": ("tokens",), "layout": "NPC", "grid": (6, 6), "prefix_tokens": 0}
    report = verify(explain(model, {"saliency_map": saliency}, **facts))
    assert all(row.ok for row in report.rows)  # the map is what rt_info says; only its places are wrong
    assert check(report, "places").ok is not shuffled and report.ok is not shuffled


def test_another_model_as_the_source_is_told():
    source = Pooled().model
    source.add_results([op.result(source.get_results()[0].input(0).get_source_output())])
    report = verify(Pooled().explained(), plain=source)
    assert not report.ok and "another model?" in check(report, "source model").detail
