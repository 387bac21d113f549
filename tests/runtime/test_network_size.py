"""Graphs that resize the picture themselves: boxes are counted in the pixels of the network's own size."""

import numpy as np
import pytest
from openvino import Layout, Type
from openvino import opset13 as op
from openvino.preprocess import PrePostProcessor, ResizeAlgorithm

import ovxai
from helpers import detectors
from helpers.detectors import const, conv, model, pyramid, rows
from helpers.instances import yolo_seg
from ovxai import Explainer
from ovxai.metadata import ExplainedInfo
from ovxai.runtime.feed.geometry import fit
from ovxai.verification import verify

INNER = (32, 48)


@pytest.fixture(autouse=True)
def own_weights(monkeypatch):
    """The same ones whichever tests ran before."""
    monkeypatch.setattr(detectors, "RNG", np.random.default_rng(0))


def detector(decoded=True, scale=None):
    """YOLOv8-like, boxes in pixels of 32 x 48; or YOLOX-like rows before decoding. scale: x and y factors of the boxes."""
    x, features = pyramid(INNER, levels=2)
    scores = [rows(op.sigmoid(op.multiply(conv(f, 3), op.constant(np.float32(4)))), 3) for f in features]
    scores = op.concat(scores, 1)
    boxes = op.concat([rows(conv(f, 4), 4) for f in features], 1)
    if not decoded:
        sure = op.concat([rows(conv(f, 1), 1) for f in features], 1)
        sure = op.sigmoid(op.add(op.multiply(sure, op.constant(np.float32(0.1))), op.constant(np.float32(3))))
        return model(x, [op.concat([boxes, sure, scores], 2)])
    cells = scores.get_output_partial_shape(0)[1].get_length()
    middles = np.random.default_rng(1).uniform(8, 30, (1, cells, 4)).astype(np.float32)
    boxes = op.add(boxes, op.constant(middles))
    if scale is not None:
        boxes = op.multiply(boxes, op.constant(np.array([[[*scale, *scale]]], np.float32)))
    return model(x, [op.concat([boxes, scores], 2)])


def resizing(plain, size=(-1, -1)):
    """With the picture resized in the graph, as PrePostProcessor does it; size: of what is fed."""
    steps = PrePostProcessor(plain)
    steps.input().tensor().set_element_type(Type.u8).set_layout(Layout("NHWC")).set_shape([1, *size, 3])
    steps.input().model().set_layout(Layout("NCHW"))
    steps.input().preprocess().convert_element_type(Type.f32).resize(ResizeAlgorithm.RESIZE_LINEAR).scale(255.0)
    return steps.build()


def info_of(explained):
    return ExplainedInfo.read(explained)


@pytest.mark.parametrize("size", [(-1, -1), (64, 96), (40, 40)])
@pytest.mark.parametrize("decoded", [True, False])
def test_boxes_lie_where_those_of_the_plain_graph_lie(size, decoded, monkeypatch):
    if not decoded:
        monkeypatch.setattr("ovxai.runtime.predict.dense._STRIDES", ((4, 8),))
    picture = np.random.default_rng(0).integers(0, 255, (4, 6, 3), np.uint8).repeat(16, 0).repeat(16, 1)
    plain = detector(decoded)
    inside = ovxai.insert(resizing(plain.clone(), size), probe=False)
    assert info_of(inside).network_size == INNER and info_of(inside).network_frame == (0, 0, 1, 1)
    outside = ovxai.insert(plain, probe=False)
    assert info_of(outside).network_size is None
    # In bf16 the size of such a box is off by a share of it: half a pixel of these.
    got = Explainer(inside, precision="f32")(picture).predictions
    want = Explainer(outside, scale_values=255, precision="f32")(picture).predictions
    assert len(got) > 0 and len(want) > 0
    tolerance = 3 if size == (40, 40) else 0.5
    for one in got[:3]:
        assert any(one.class_index == other.class_index and one.box == pytest.approx(other.box, abs=tolerance) for other in want)


def test_boxes_that_the_graph_scales_back_are_left_where_they_are():
    """As torchvision's detectors do it: 64 x 96 is fed, 32 x 48 looked at, boxes come in pixels of 64 x 96."""
    assert info_of(ovxai.insert(resizing(detector(scale=(2, 2)), (64, 96)), probe=False)).network_size is None
    assert info_of(ovxai.insert(resizing(detector(scale=(3, 3)), (64, 96)), probe=False)).network_size == INNER


def test_masks_are_pasted_in_the_networks_own_pixels():
    plain = yolo_seg()
    height, width = plain.inputs[0].shape[2:]
    explained = ovxai.insert(resizing(plain, (2 * height, width // 2)), probe=False)
    assert info_of(explained).network_size == (height, width)
    grid = ovxai.insert(yolo_seg(), probe=False).output("saliency_map").get_partial_shape()
    assert explained.output("saliency_map").get_partial_shape() == grid
    assert verify(explained).ok


def test_a_size_that_is_read_from_the_picture_is_no_network_size():
    x, features = pyramid((-1, -1), levels=1)
    assert x.get_output_partial_shape(0).is_dynamic
    toy = model(x, [op.sigmoid(conv(features[0], 3)), conv(features[0], 4)])
    assert info_of(ovxai.insert(toy, probe=False)).network_size is None


def test_geometry_of_another_size():
    inner = fit((100, 200), (64, 64), "fit_to_window_letterbox").at_size((32, 128))
    assert inner.content == (0, 8, 128, 16)
    assert inner.boxes_to_source(np.array([[0, 8, 128, 24]], np.float32)).tolist() == [[0, 0, 200, 100]]


def test_a_letterbox_in_the_graph_belongs_to_what_the_network_sees():
    """48 x 48 fed, 24 x 48 of it made by resizing, 4 rows of padding above and below."""
    x = op.parameter([1, 3, 48, 48], np.float32)
    small = op.interpolate(x, const(24, 48), "linear_onnx", "sizes", axes=const(2, 3))
    padded = op.pad(small, const(0, 0, 4, 0), const(0, 0, 4, 0), "constant", np.float32(0))
    plain = detector()
    for target in plain.get_parameters()[0].output(0).get_target_inputs():
        target.replace_source_output(padded.output(0))
    done = info_of(ovxai.insert(model(x, [plain.get_results()[0].input(0).get_source_output()]), probe=False))
    assert done.network_size == INNER
    assert done.network_frame == pytest.approx((-1 / 6, 0, 7 / 6, 1), abs=1e-3)
