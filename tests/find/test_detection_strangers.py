"""Heads as other projects export them: what must not be taken for classes, and what leaves the graph raw."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op

import ovxai
from helpers.detectors import centre_points, const, conv, model, pyramid, rows, single_class, site_of, yolo_v5, yolo_v8
from ovxai.errors import UnsupportedModelError
from ovxai.verification import verify

SIDES = [(8, 12), (4, 6), (2, 3)]


def pose(classes=1, points=5):
    """YOLO-pose: boxes and classes as ever; keypoints of x, y and an activated visibility each in a tensor beside."""
    plain = yolo_v8(classes)
    joined = plain.get_results()[0].input(0).get_source_output()
    features = [node for node in plain.get_ordered_ops() if node.get_friendly_name().startswith("cls")]
    sources = [node.input(0).get_source_output().get_node().input(0).get_source_output() for node in features]
    maps = op.concat([op.reshape(conv(s.get_node(), 3 * points), const(0, 3 * points, -1), True) for s in sources], 2)
    split = op.reshape(maps, const(0, points, 3, -1), True)
    place, seen = op.variadic_split(split, op.constant(np.int64(2)), const(2, 1)).outputs()
    whole = op.reshape(op.concat([place, op.sigmoid(seen)], 2), const(0, 3 * points, -1), True)
    return model(plain.get_parameters(), [op.concat([joined, whole], 1)])


def raw(classes, boxes, bent=False):
    """A class tensor and a box tensor a level, nothing behind them but, with `bent`, the exp of the sides."""
    x, features = pyramid()
    sides = [conv(f, boxes) for f in features]
    return model(
        x, [conv(f, classes, name=f"cls{i}") for i, f in enumerate(features)] + [op.exp(s) if bent else s for s in sides]
    )


def raw_rows(classes, anchors, landmarks=0):
    x, features = pyramid()
    outputs = [op.concat([rows(conv(f, anchors * k, name=f"head{k}-{i}"), k, anchors) for i, f in enumerate(features)], 1)
               for k in (classes, 4, landmarks) if k]  # fmt: skip
    return model(x, outputs)


def everything_in_one(classes=3, anchors=2):
    """YOLOv3 without its last layers: A * (5 + K) channels a level."""
    x, features = pyramid()
    return model(x, [conv(f, anchors * (5 + classes), name=f"head{i}") for i, f in enumerate(features)])


def all_activated(classes=3, anchors=2):
    """YOLOv5 with its sigmoid over everything and no decoding: [N, A, h, w, 5 + K] a level."""
    x, features = pyramid()
    width, outputs = 5 + classes, []
    for i, f in enumerate(features):
        h, w = (d.get_length() for d in f.get_output_partial_shape(0)[2:])
        y = op.reshape(conv(f, anchors * width, name=f"head{i}"), const(0, anchors, width, h, w), True)
        outputs.append(op.sigmoid(op.transpose(y, const(0, 1, 3, 4, 2))))
    return model(x, outputs)


def down_to_one_cell(classes=6, anchors=(4, 6, 4)):
    """SSD without its softmax, whose last level is a single cell."""
    x, features = pyramid((16, 16), levels=3)
    heads = [[rows(conv(f, a * k, name=f"h{k}-{i}"), k, a) for i, (f, a) in enumerate(zip(features, anchors))]
             for k in (classes, 4)]  # fmt: skip
    return model(x, [op.concat(head, 1) for head in heads])


def enlarged(boxes=4):
    """Segmentation with a second head of four classes."""
    x, features = pyramid(levels=1)
    maps = [conv(features[0], k) for k in (7, boxes)]
    return model(x, [op.interpolate(y, const(32, 48), "linear_onnx", "sizes", axes=const(2, 3)) for y in maps])


@pytest.mark.parametrize("classes", [1, 2])
def test_visibility_of_keypoints_is_no_class(classes):
    site = site_of(pose(classes))
    assert site, site
    assert site.classes == classes and [level.grid for level in site.levels] == SIDES
    assert {level.port.get_node().get_friendly_name() for level in site.levels} == {"cls0", "cls1", "cls2"}
    assert site.prediction_format == "yolo-v8"


@pytest.mark.parametrize(
    "build, classes, anchors",
    [
        (lambda: raw(8, 4, bent=True), 8, 1), (lambda: raw(4, 4, bent=True), 4, 1), (lambda: raw(1, 4, bent=True), 1, 1),
        (lambda: raw(80, 4), 80, 1), (lambda: raw_rows(6, 3), 6, 3), (lambda: raw_rows(1, 3), 1, 3),
    ],
)  # fmt: skip
def test_raw_heads_where_the_boxes_are_known(build, classes, anchors):
    site = site_of(build())
    assert site, site
    assert (site.classes, [level.anchors for level in site.levels]) == (classes, [anchors] * 3)
    assert site.score_activation == "sigmoid"


def test_raw_centre_points_of_four_classes():
    """Two sizes and two offsets, or two classes, four sides and two offsets (FairMOT)."""
    site = site_of(centre_points(4, sigmoid=False))
    assert not site and "4 classes" in site.reason and "2 classes" in site.reason, site
    site = site_of(centre_points(4, sigmoid=False), num_classes=4)
    assert site and site.classes == 4 and site.levels[0].port.get_node().get_friendly_name() == "heat", site


@pytest.mark.parametrize(
    "build, count, channels",
    [
        (lambda: raw(18, 36), 2, tuple((2 * a, 2 * a + 1) for a in range(9))),
        (lambda: raw(64, 4), 64, (tuple(range(64)),)),
        (lambda: raw(80, 64), 80, (tuple(range(80)),)),
        (lambda: everything_in_one(3, 2), 3, ((5, 6, 7), (13, 14, 15))),
        (lambda: all_activated(3, 2), 3, ((5, 6, 7), (13, 14, 15))),
        (lambda: raw_rows(2, 2, landmarks=10), 2, ((0, 1), (2, 3))),
        (lambda: raw_rows(3, 2, landmarks=9), 2, ((0, 1, 2), (3, 4, 5))),
    ],
)  # fmt: skip
def test_two_readings_are_refused_and_the_number_of_classes_settles_it(build, count, channels):
    site = site_of(build())
    assert not site and "--num-classes" in site.reason, site
    site = site_of(build(), num_classes=count)
    assert site, site
    assert site.levels[0].channels == channels


def test_a_level_of_one_cell_is_read_like_its_neighbours():
    site = site_of(down_to_one_cell())
    assert site, site
    assert site.classes == 6 and [(level.anchors, level.grid) for level in site.levels] == [(4, (4, 4)), (6, (2, 2)), (4, (1, 1))]


def test_centre_points_of_two_classes_are_told_by_nothing():
    site = site_of(centre_points(2, sigmoid=False))
    assert not site and "can't be told" in site.reason


def test_maps_that_are_enlarged_are_segmentation():
    site = site_of(enlarged())
    assert not site and "segmentation" in site.reason


def decoded(classes=3, objectness=False, transposed=False):
    """YOLOX and YOLOv6 with their boxes decoded by tables of points and strides; [N, P, 4 + (1 +) K]."""
    x, features = pyramid()
    scores = op.concat([rows(op.sigmoid(conv(f, classes, name=f"cls{i}")), classes) for i, f in enumerate(features)], 1)
    boxes = op.concat([rows(conv(f, 4), 4) for f in features], 1)
    cells = sum(h * w for h, w in SIDES)
    table = op.constant(np.random.default_rng(3).uniform(0, 40, (1, cells, 4)).astype(np.float32))
    parts = [op.add(boxes, table), scores]
    if objectness:
        parts.insert(1, op.sigmoid(op.concat([rows(conv(f, 1), 1) for f in features], 1)))
    y = op.concat(parts, 2)
    return model(x, [op.transpose(y, const(0, 2, 1)) if transposed else y])


def undecoded(classes=3):
    x, features = pyramid()
    levels = [
        [rows(conv(f, 4), 4), rows(op.sigmoid(conv(f, 1)), 1), rows(op.sigmoid(conv(f, classes, name=f"cls{i}")), classes)]
        for i, f in enumerate(features)
    ]
    return model(x, [op.concat([op.concat(level, 2) for level in levels], 1)])


def picked_in_the_graph(classes=1, rows_left=20):
    """End-to-end: the best rows of box, score and label are all that is left."""
    plain = decoded(classes)
    y = plain.get_results()[0].input(0).get_source_output()
    boxes, scores = op.variadic_split(y, op.constant(np.int64(2)), const(4, classes)).outputs()
    best = op.topk(op.reduce_max(scores, const(2), False), op.constant(np.int64(rows_left)), 1, "max", "value")
    wide = op.broadcast(op.unsqueeze(best.output(1), const(2)), const(1, 1, 4), broadcast_spec="BIDIRECTIONAL")
    label = op.convert(op.multiply(op.unsqueeze(best.output(1), const(2)), op.constant(np.int32(0))), "f32")
    table = op.concat([op.gather_elements(boxes, wide, 1), op.unsqueeze(best.output(0), const(2)), label], 2)
    return model(plain.get_parameters(), [table])


def apart(classes=3):
    plain = decoded(classes)
    y = plain.get_results()[0].input(0).get_source_output()
    boxes, scores = op.variadic_split(y, op.constant(np.int64(2)), const(4, classes)).outputs()
    return model(plain.get_parameters(), [boxes, op.transpose(scores, const(0, 2, 1))])


def with_raw_levels():
    """YOLOv5's usual ONNX: the joined table, and every level's convolution beside it."""
    plain = yolo_v5()
    heads = [node for node in plain.get_ordered_ops() if node.get_friendly_name().startswith("head")]
    return model(plain.get_parameters(), [plain.get_results()[0].input(0).get_source_output(), *heads])


def level_by_level(classes=3, bins=4):
    """NanoDet: activated scores of every level, then distributions of the sides, six outputs."""
    x, features = pyramid()
    scores = [rows(op.sigmoid(conv(f, classes, name=f"cls{i}")), classes) for i, f in enumerate(features)]
    return model(x, [*scores, *(rows(conv(f, 4 * bins), 4 * bins) for f in features)])


def centre_points_decoded(classes=3, best=5):
    """CenterNet to its end: the best cells of the heatmap become rows of box, score and label."""
    plain = centre_points(classes)
    heat, sizes, offsets = (result.input(0).get_source_output() for result in plain.get_results())
    top = op.topk(op.reshape(heat, const(0, -1), True), op.constant(np.int64(best)), 1, "max", "value", "i64")
    places = op.mod(top.output(1), op.constant(np.int64(8 * 12)))
    wide = op.broadcast(op.unsqueeze(places, const(1)), const(1, 2, 1), broadcast_spec="BIDIRECTIONAL")
    pairs = [op.transpose(op.gather_elements(op.reshape(y, const(0, 2, -1), True), wide, 2), const(0, 2, 1))
             for y in (sizes, offsets)]  # fmt: skip
    label = op.convert(op.divide(top.output(1), op.constant(np.int64(8 * 12))), "f32")
    return model(
        plain.get_parameters(),
        [op.concat([*pairs, op.unsqueeze(top.output(0), const(2)), op.unsqueeze(label, const(2))], 2)],
    )


FORMS = {
    "centre-points-decoded": (lambda: centre_points_decoded(), "boxes-table"),
    "nanodet": (lambda: level_by_level(), "nanodet"),
    "yolox": (lambda: undecoded(), "yolox"),
    "yolox-decoded": (lambda: decoded(objectness=True), "yolo-v5"),
    "yolo-v8-rows": (lambda: decoded(), "yolo-v8"),
    "yolo-v8": (lambda: decoded(transposed=True), "yolo-v8"),
    "one-class": (lambda: decoded(1, transposed=True), "yolo-v8"),
    "raw-levels-beside": (lambda: with_raw_levels(), "yolo-v5"),
    "end-to-end": (lambda: picked_in_the_graph(), "boxes-table"),
    "apart": (lambda: apart(), "boxes-scores"),
    "not-decoded": (lambda: raw_rows(6, 3), ""),
}


@pytest.mark.parametrize("family", FORMS)
def test_what_the_outputs_hold(family):
    build, form = FORMS[family]
    site = site_of(build())
    assert site, site
    assert site.prediction_format == form


#: The model, and how many classes have to be told.
VERIFIED: dict[str, tuple[Callable[[], ov.Model], int | None]] = {
    "one-class-of-a-wider-tensor": (lambda: yolo_v5(1), None),
    "pose": (lambda: pose(2), None),
    "raw-in-one": (lambda: everything_in_one(3, 2), 3),
    "raw-in-one-class": (lambda: everything_in_one(1, 2), 1),
    "all-activated": (lambda: all_activated(3, 2), 3),
    "raw-rows": (lambda: raw_rows(1, 3), None),
    "one-cell": (lambda: down_to_one_cell(), None),
    "end-to-end": (lambda: picked_in_the_graph(3), None),
}


@pytest.mark.parametrize("family", VERIFIED)
def test_the_map_is_that_of_the_definition(family):
    build, count = VERIFIED[family]
    report = verify(ovxai.insert(build(), probe=False, num_classes=count))
    assert report.ok, report


def test_a_near_miss_is_told_alone_and_is_not_taken_for_a_classifier():
    x, features = pyramid(levels=1)
    towers = [op.relu(conv(features[0], 8, 3)) for _ in range(3)]
    scores = [rows(op.sigmoid(conv(tower, 1)), 1) for tower in towers[:2]]
    toy = model(x, [*scores, rows(conv(towers[2], 4), 4)])
    with pytest.raises(UnsupportedModelError, match="nothing tells class from objectness") as refusal:
        ovxai.insert(toy)
    assert "as classification" not in str(refusal.value) and "as instance" not in str(refusal.value)


def test_labels_that_do_not_fit_are_told_alone():
    with pytest.raises(UnsupportedModelError, match="class-agnostic") as refusal:
        ovxai.insert(single_class(), labels=("a", "b", "c", "d"))
    assert str(refusal.value).count(" as ") == 1
