"""Small detectors of every family, picture to boxes and scores, with heads as exporters write them."""

from __future__ import annotations

import numpy as np
import openvino as ov
from openvino import opset13 as op

from helpers.requests import request
from ovxai.find.detector.search import find_detection

RNG = np.random.default_rng(0)


def const(*values, kind=np.int64):
    """A row of whole numbers."""
    return op.constant(np.array(values, kind))


def conv(x, channels, kernel=1, stride=1, name=None):
    """Convolution and bias with random weights."""
    inside = x.get_output_partial_shape(0)[1].get_length()
    weights = RNG.normal(0, 1 / np.sqrt(inside * kernel * kernel), (channels, inside, kernel, kernel)).astype(np.float32)
    pad = [kernel // 2] * 2
    y = op.convolution(x, op.constant(weights), [stride] * 2, pad, pad, [1, 1])
    y = op.add(y, op.constant(RNG.normal(0, 0.5, (1, channels, 1, 1)).astype(np.float32)))
    if name:
        y.set_friendly_name(name)
    return y


def pyramid(size=(32, 48), levels=3, batch=1, channels=3):
    """The input and `levels` features, each of half the size of the one before, strides 4, 8, 16 ..."""
    x = op.parameter(ov.PartialShape([batch, channels, *size]), np.float32)
    y, features = op.relu(conv(x, 6, 3, 2)), []
    for _ in range(levels):
        y = op.relu(conv(y, 8, 3, 2))
        features.append(y)
    return x, features


def rows(y, columns, anchors=1, class_major=False):
    """[N, A * columns, h, w] -> [N, A * h * w, columns], the way heads do it; open sides read from the tensor."""
    sides = op.gather(op.shape_of(y), const(2, 3), op.constant(np.int64(0)))
    split = (columns, anchors) if class_major else (anchors, columns)
    y = op.reshape(y, op.concat([const(0, *split), sides], 0), True)
    y = op.transpose(y, const(*((0, 3, 4, 2, 1) if class_major else (0, 3, 4, 1, 2))))
    return op.reshape(y, const(0, -1, columns), True)


def model(x, outputs, names=()):
    """x: the input or a list of them. names: of the output tensors."""
    results = [op.result(y) for y in outputs]
    for result, name in zip(results, names):
        result.output(0).get_tensor().set_names({name})
    return ov.Model(results, [x] if not isinstance(x, list) else x, "toy")


def anchored(classes=5, anchors=(2, 2, 2), activation="sigmoid", class_major=False, **kwargs):
    """RetinaNet / SSD: A * K channels a level, rows joined, boxes beside."""
    x, features = pyramid(levels=len(anchors), **kwargs)
    scores = [
        rows(conv(f, a * classes, name=f"cls{i}"), classes, a, class_major) for i, (f, a) in enumerate(zip(features, anchors))
    ]
    boxes = [rows(conv(f, a * 4), 4, a) for f, a in zip(features, anchors)]
    joined = op.concat(scores, 1) if len(scores) > 1 else scores[0]
    scored = op.softmax(joined, 2) if activation == "softmax" else op.sigmoid(joined)
    return model(x, [op.concat(boxes, 1) if len(boxes) > 1 else boxes[0], scored])


def with_nms(classes=4):
    """Centre scores times class scores, a background-free NonMaxSuppression inside."""
    x, features = pyramid()
    towers = [(op.relu(conv(f, 8, 3)), op.relu(conv(f, 8, 3))) for f in features]
    scores = op.concat([rows(conv(c, classes, name=f"cls{i}"), classes) for i, (c, _) in enumerate(towers)], 1)
    centre = op.concat([rows(conv(b, 1), 1) for _, b in towers], 1)
    boxes = op.concat([rows(conv(b, 4), 4) for _, b in towers], 1)
    product = op.multiply(op.sigmoid(scores), op.sigmoid(centre))
    nms = op.non_max_suppression(boxes, op.transpose(product, const(0, 2, 1)), op.constant(np.int64(10)))
    return model(x, [nms.output(0), nms.output(1)])


def yolo_v5(classes=3, anchors=3):
    """One convolution a level: box, objectness and classes of each anchor; decoded, [N, P, 5 + K]."""
    x, features = pyramid()
    parts = []
    for i, f in enumerate(features):
        y = conv(f, anchors * (5 + classes), name=f"head{i}")
        h, w = (d.get_length() for d in f.get_output_partial_shape(0)[2:])
        y = op.transpose(op.reshape(y, const(0, anchors, 5 + classes, h, w), True), const(0, 1, 3, 4, 2))
        y = op.sigmoid(y)
        xy, wh, scores = op.variadic_split(y, op.constant(np.int64(4)), const(2, 2, 1 + classes)).outputs()
        grid = np.stack(np.meshgrid(np.arange(w), np.arange(h)), -1)[None, None].astype(np.float32)
        xy = op.multiply(
            op.add(op.multiply(xy, op.constant(np.float32(2))), op.constant(grid)), op.constant(np.float32(4 * 2**i))
        )
        sizes = op.constant(np.arange(1, 2 * anchors + 1, dtype=np.float32).reshape(1, anchors, 1, 1, 2))
        wh = op.multiply(op.power(op.multiply(wh, op.constant(np.float32(2))), op.constant(np.float32(2))), sizes)
        parts.append(op.reshape(op.concat([xy, wh, scores], 4), const(0, -1, 5 + classes), True))
    return model(x, [op.concat(parts, 1)])


def yolo_v8(classes=3, bins=4, batch=1):
    """Box bins and classes of a level in one tensor, [N, 4 + K, P]; boxes as the mean over bins."""
    x, features = pyramid(batch=batch)
    flat = [op.concat([conv(op.relu(conv(f, 8, 3)), 4 * bins), conv(op.relu(conv(f, 8, 3)), classes, name=f"cls{i}")], 1)
            for i, f in enumerate(features)]  # fmt: skip
    joined = op.concat([op.reshape(y, const(0, 4 * bins + classes, -1), True) for y in flat], 2)
    box, cls = op.variadic_split(joined, op.constant(np.int64(1)), const(4 * bins, classes)).outputs()
    box = op.softmax(op.transpose(op.reshape(box, const(0, 4, bins, -1), True), const(0, 2, 1, 3)), 1)
    mean = op.convolution(
        box, op.constant(np.arange(bins, dtype=np.float32).reshape(1, bins, 1, 1)), [1, 1], [0, 0], [0, 0], [1, 1]
    )
    return model(x, [op.concat([op.reshape(mean, const(0, 4, -1), True), op.sigmoid(cls)], 1)])


def region_yolo(classes=3, anchors=2):
    """YOLOv3 of Open Model Zoo: one operation a level that knows anchors and classes by its attributes."""
    x, features = pyramid()
    heads = [conv(f, anchors * (5 + classes), name=f"head{i}") for i, f in enumerate(features)]
    regions = [
        op.region_yolo(head, coords=4, classes=classes, num=9, do_softmax=False, mask=list(range(anchors)), axis=1, end_axis=3)
        for head in heads
    ]
    return model(x, regions)


def centre_points(classes=3, sigmoid=True):
    """CenterNet: a heatmap a class, sizes and offsets beside, one level."""
    x, features = pyramid(levels=1)
    heat = conv(op.relu(conv(features[0], 8, 3)), classes, name="heat")
    return model(x, [op.sigmoid(heat) if sigmoid else heat, conv(features[0], 2), conv(features[0], 2)])


def linear(y, channels, name=None):
    """Over the last axis."""
    inside = y.get_output_partial_shape(0)[-1].get_length()
    y = op.matmul(y, op.constant(RNG.normal(0, 1, (inside, channels)).astype(np.float32)), False, False)
    y = op.add(y, op.constant(RNG.normal(0, 0.5, (1, 1, channels)).astype(np.float32)))
    if name:
        y.set_friendly_name(name)
    return y


def queries(classes=5, batch=1, size=(32, 48), finished=False, joined=False):
    """RT-DETR: tokens of all levels, scored before TopK picks queries that a decoder turns into boxes.

    finished: positions at the border are masked out, and the best boxes are picked in the graph (D-FINE in OTX). joined: each
    query looks at all others.
    """
    x, features = pyramid(batch=batch, size=size)
    tokens = op.concat([op.transpose(op.reshape(conv(f, 8), const(0, 8, -1), True), const(0, 2, 1)) for f in features], 1)
    if finished:
        tokens = op.multiply(tokens, op.constant((RNG.uniform(size=(1, 126, 1)) > 0.1).astype(np.float32)))
    tokens = op.mvn(op.relu(linear(tokens, 8)), const(2), True, 1e-5, "INSIDE_SQRT")
    scores = linear(tokens, classes, "enc_scores")
    best = op.topk(op.reduce_max(scores, const(2), False), op.constant(np.int64(7)), 1, "max", "value")
    # As torch.gather is exported; Gather with batch_dims crashes the CPU plugin on rows as short as these.
    chosen = op.broadcast(op.unsqueeze(best.output(1), const(2)), const(1, 1, 8), broadcast_spec="BIDIRECTIONAL")
    picked = op.gather_elements(tokens, chosen, 1)
    if joined:
        picked = op.add(picked, op.multiply(op.reduce_mean(picked, const(1), True), np.float32(3)))
    if finished:
        final = op.topk(
            op.reshape(op.sigmoid(linear(picked, classes)), const(0, -1), True),
            op.constant(np.int64(4)),
            1,
            "max",
            "value",
            "i64",
        )
        labels = op.mod(final.output(1), op.constant(np.int64(classes)))
        row = op.unsqueeze(op.divide(final.output(1), op.constant(np.int64(classes))), const(2))
        boxes = op.gather_elements(linear(picked, 4), op.broadcast(row, const(1, 1, 4), broadcast_spec="BIDIRECTIONAL"), 1)
        return model(x, [boxes, labels, final.output(0)])
    return model(x, [op.sigmoid(linear(picked, classes)), linear(picked, 4)])


def single_class(anchors=1):
    """K = 1: the class tower and a centerness on the box tower."""
    x, features = pyramid()
    towers = [(op.relu(conv(f, 8, 3)), op.relu(conv(f, 8, 3))) for f in features]
    cls = op.concat([rows(conv(c, anchors, name=f"cls{i}"), 1, anchors) for i, (c, _) in enumerate(towers)], 1)
    outputs = [op.concat([rows(conv(b, 4 * anchors), 4, anchors) for _, b in towers], 1)]
    if anchors == 1:
        centre = op.concat([rows(conv(b, 1), 1) for _, b in towers], 1)
        outputs.append(op.multiply(op.sigmoid(cls), op.sigmoid(centre)))
    else:
        outputs.append(op.sigmoid(cls))
    return model(x, outputs)


def raw_levels(classes=6, boxes=4):
    """Six outputs without any activation, as deployment exports of RTMDet have them."""
    x, features = pyramid()
    return model(x, [conv(f, classes, name=f"cls{i}") for i, f in enumerate(features)] + [conv(f, boxes) for f in features])


def on_its_side(classes=3):
    """The picture is transposed first, so that the head's rows are the picture's columns."""
    x = op.parameter([1, 3, 32, 48], np.float32)
    y = op.relu(conv(op.transpose(x, const(0, 1, 3, 2)), 8, 3, 4))
    return model(x, [op.sigmoid(conv(y, classes, name="cls0")), conv(y, 4)])


def channels_last(classes=3):
    """A head of MatMuls over [N, h, w, C]."""
    x, features = pyramid(levels=2)
    scores, boxes = [], []
    for i, f in enumerate(features):
        y = op.transpose(f, const(0, 2, 3, 1))
        scores.append(op.reshape(linear(y, classes, f"cls{i}"), const(0, -1, classes), True))
        boxes.append(op.reshape(linear(y, 4), const(0, -1, 4), True))
    return model(x, [op.concat(boxes, 1), op.sigmoid(op.concat(scores, 1))])


def site_of(toy, **options):
    """What the search for a detection head says of it."""
    return find_detection(request(toy, **options))


def summary(site):
    """((anchors, grid) per level, classes, prediction format) of a site."""
    return [(level.anchors, level.grid) for level in site.levels], site.classes, site.prediction_format


GRIDS = [(8, 12), (4, 6), (2, 3)]
