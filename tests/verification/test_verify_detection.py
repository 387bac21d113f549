"""Detection maps against the NumPy definition."""

from __future__ import annotations

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op

from helpers.tiny_detector import CLASSES, GRIDS, Detector
from helpers.tiny_models import explain, scaled
from helpers.values import named, numbers
from ovxai.errors import UnsupportedModelError
from ovxai.verification import verify
from ovxai.verification.maps import bilinear


@pytest.mark.parametrize("order", ["anchor", "class"])
@pytest.mark.parametrize("nhwc", [False, True])
@pytest.mark.parametrize("batch", [1, -1])
def test_right_maps_pass(order, nhwc, batch):
    report = verify(Detector(batch, order, nhwc).explained(vector=True))
    assert report.ok, report
    assert report.map_shape == (CLASSES, 4, 6)


def test_scaled_maps_pass():
    tiny = Detector()
    assert verify(tiny.explained(scaled(tiny.saliency()), scaled=True)).ok


@pytest.mark.parametrize("order", ["anchor", "class"])
def test_channels_read_in_the_other_order_fail(order):
    tiny = Detector(order=order)
    other = {"anchor": "class", "class": "anchor"}[order]
    assert not verify(tiny.explained(tiny.saliency(other))).ok


def test_a_level_forgotten_fails():
    tiny = Detector()
    only = op.softmax(tiny.level(1), 1)
    assert not verify(tiny.explained(only)).ok


def test_other_activation_fails():
    assert not verify(Detector().explained(class_activation="sigmoid")).ok
    assert not verify(Detector().explained(levels="max")).ok


def test_map_size_asked_for():
    tiny = Detector()
    report = verify(tiny.explained(tiny.saliency(size=(10, 14)), map_size="10x14"))
    assert report.ok and any("10x14" in note for note in report.notes)


def test_vector_in_the_wrong_order_fails():
    tiny = Detector()
    tiny.neck.reverse()
    feature = tiny.neck[0]
    means = [op.reduce_mean(x, [2, 3], False) for x in tiny.neck]
    outputs = {"saliency_map": tiny.saliency(), "feature_map": feature, "feature_vector": op.concat(means, 1)}
    report = verify(
        explain(
            tiny.model, outputs, task="detection", method="det-class-probability-map", mask="", num_classes=CLASSES,
            target_layers=("classes0", "classes1"), feature_layer="coarse", class_activation="softmax", levels="mean",
        )
    )  # fmt: skip
    assert [check.name for check in report.checks if check.ok is False] == ["feature_vector"]


def test_classes_must_be_counted():
    with pytest.raises(UnsupportedModelError, match="num_classes"):
        verify(Detector().explained(num_classes=None))


def test_token_levels():
    image = op.parameter([1, 3, 64, 96], np.float32)
    fine = op.relu(op.convolution(image, numbers(4, 3, 8, 8, size=0.3), [8, 8], [0, 0], [0, 0], [1, 1]))
    coarse = op.relu(op.convolution(fine, numbers(4, 4, 2, 2), [2, 2], [0, 0], [0, 0], [1, 1]))
    rows = [op.transpose(op.reshape(x, [0, 4, -1], True), [0, 2, 1]) for x in (fine, coarse)]
    logits = named(op.matmul(op.concat(rows, 1), numbers(4, 3), False, False), "logits")
    model = ov.Model([op.result(op.sigmoid(logits))], [image], "queries")
    parts = op.variadic_split(logits, np.int64(1), np.array([96, 24]))
    grids = (8, 12), (4, 6)
    maps = [op.reshape(op.transpose(parts.output(i), [0, 2, 1]), [0, 3, *grid], True) for i, grid in enumerate(grids)]
    small = op.interpolate(
        maps[0],
        np.array([4, 6]),
        "linear_onnx",
        "sizes",
        axes=np.array([2, 3]),
        coordinate_transformation_mode="half_pixel",
    )
    saliency = op.softmax(op.divide(op.add(small, maps[1]), np.float32(2)), 1)
    facts = {
        "task": "detection",
        "method": "det-class-probability-map",
        "mask": "",
        "num_classes": 3,
        "class_activation": "softmax",
    }
    report = verify(explain(model, {"saliency_map": saliency}, target_layers=("logits",), levels="mean", **facts))
    assert report.ok, report


@pytest.mark.parametrize("size", [(4, 6), (13, 7), (3, 40)])
def test_resizing_is_the_runtime_s(size):
    maps = numbers(2, 3, *GRIDS[0])
    given = op.parameter(list(maps.shape), np.float32)
    node = op.interpolate(
        given,
        np.array(size),
        "linear_onnx",
        "sizes",
        axes=np.array([2, 3]),
        coordinate_transformation_mode="half_pixel",
    )
    compiled = ov.Core().compile_model(ov.Model([op.result(node)], [given], "m"), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    wanted = compiled(maps)[0]
    assert np.abs(bilinear(maps, *size) - wanted).max() < 1e-5


@pytest.mark.parametrize("nhwc", [False, True])
def test_one_class_on_one_level(nhwc):
    image = op.parameter([1, 3, 64, 96], np.float32)
    feature = op.relu(op.convolution(image, numbers(4, 3, 8, 8, size=0.3), [8, 8], [0, 0], [0, 0], [1, 1]))
    heat = op.convolution(feature, numbers(1, 4, 1, 1), [1, 1], [0, 0], [0, 0], [1, 1])
    logits = named(op.transpose(heat, [0, 2, 3, 1]) if nhwc else heat, "heat")
    model = ov.Model([op.result(op.sigmoid(logits))], [image], "one")
    facts = {"task": "detection", "method": "det-class-probability-map", "mask": "", "num_classes": 1}
    found = explain(model, {"saliency_map": heat}, target_layers=("heat",), class_activation="softmax", **facts)
    assert verify(found).ok
