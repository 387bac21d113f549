"""Small instance segmenters of every family, picture to boxes, labels and masks."""

from __future__ import annotations

import numpy as np
import openvino as ov
from openvino import opset13 as op

from helpers.detectors import const, conv, linear, model, pyramid, rows
from helpers.requests import request
from ovxai.find.instances.search import find_instances

SIDES = (64, 96)


def listed(classes=None, mask=(7, 7), batched=True, singleton=False, five=True, kind=np.float32):
    """What stands behind a Mask R-CNN's last op: the instances themselves are the inputs, the picture only a size.

    Every test can so give any instances it likes; with `classes`, NMS-like scores stand above the labels.
    """
    lead = [1] if batched else []
    picture = op.parameter(ov.PartialShape([1, 3, *SIDES]), np.float32)
    boxes = op.parameter(ov.PartialShape([*lead, -1, 4]), np.float32)
    labels = op.parameter(ov.PartialShape([*lead, -1]), np.int64)
    scores = op.parameter(ov.PartialShape([*lead, -1]), np.float32)
    masks = op.parameter(ov.PartialShape([*lead, -1, *([1] if singleton else []), *mask]), kind)
    touch = op.multiply(op.reduce_mean(picture, const(0, 1, 2, 3), False), op.constant(np.float32(0)))
    boxes_out = op.add(boxes, touch)
    if five:
        boxes_out = op.concat([boxes_out, op.unsqueeze(scores, const(len(lead) + 1))], -1)
    outputs = [boxes_out, op.add(labels, const(0)), op.multiply(masks, op.constant(np.ones(1, kind)))]
    if not five:
        outputs.insert(2, op.add(scores, touch))
    toy = model([picture, boxes, labels, scores, masks], outputs)
    if classes:
        toy.set_rt_info(" ".join(f"c{i}" for i in range(classes)), ["model_info", "labels"])
    return toy


def two_stage(classes=3, proposals=5):
    """Mask R-CNN: regions cut from two maps, softmax with a background in front, NMS, a mask a region and class."""
    x, features = pyramid(SIDES, levels=2)
    neck = [op.relu(conv(f, 8)) for f in features]
    towers = [op.relu(conv(f, 8, 3)) for f in neck]
    objectness = op.concat([rows(conv(t, 1), 1) for t in towers], 1)
    deltas = op.concat([rows(conv(t, 4), 4) for t in towers], 1)
    best = op.topk(op.squeeze(objectness, const(2)), op.constant(np.int64(proposals)), 1, "max", "value")
    picked = op.gather(op.squeeze(deltas, const(0)), op.squeeze(best.output(1), const(0)), op.constant(np.int64(0)))
    start = op.sigmoid(op.slice(picked, const(0), const(2), const(1), const(1)))
    extent = op.sigmoid(op.slice(picked, const(2), const(4), const(1), const(1)))
    low = op.multiply(start, op.constant(np.array([[60, 30]], np.float32)))
    boxes = op.concat([low, op.add(low, op.add(op.multiply(extent, op.constant(np.float32(20))), op.constant(np.float32(8))))], 1)
    index = op.constant(np.zeros(proposals, np.int32))
    cut = op.add(*(op.roi_align(f, boxes, index, 4, 4, 2, s, "avg", "asymmetric") for f, s in zip(neck, (0.25, 0.125))))
    flat = op.unsqueeze(op.reshape(cut, const(proposals, -1), False), const(0))
    scores = op.softmax(linear(flat, classes + 1), 2)
    scores = op.slice(scores, const(1), const(classes + 1), const(1), const(2))
    nms = op.non_max_suppression(
        op.unsqueeze(boxes, const(0)), op.transpose(scores, const(0, 2, 1)), op.constant(np.int64(4)),
        op.constant(np.float32(0.5)), op.constant(np.float32(0.0)),
    )  # fmt: skip
    labels = op.gather(nms.output(0), op.constant(np.int64(1)), op.constant(np.int64(1)))
    which = op.gather(nms.output(0), op.constant(np.int64(2)), op.constant(np.int64(1)))
    boxes_out = op.concat([op.gather(boxes, which, op.constant(np.int64(0))),
                           op.slice(nms.output(1), const(2), const(3), const(1), const(1))], 1)  # fmt: skip
    masks = op.sigmoid(conv(op.gather(cut, which, op.constant(np.int64(0))), 1))
    return model(x, [boxes_out, labels, masks])


def end_to_end(width=8):
    """[N, I, 6 + M] (box, score, label, coefficients) and prototypes [N, M, h, w]."""
    picture = op.parameter([1, 3, *SIDES], np.float32)
    table = op.parameter(ov.PartialShape([1, -1, 6 + width]), np.float32)
    prototypes = op.relu(conv(picture, width, 3, 4))
    toy = model([picture, table], [op.multiply(table, op.constant(np.float32(1))), prototypes])
    toy.set_rt_info("a b c", ["model_info", "labels"])
    return toy


def yolo_seg(classes=3, width=8, batch=1, shares=False):
    """YOLOv8-seg: boxes, sigmoid classes and coefficients of three levels, prototypes of the finest.

    shares: boxes are divided by the picture's size, as in TFLite.
    """
    x, features = pyramid(SIDES, batch=batch)
    tables = []
    for i, f in enumerate(features):
        stride = 4 * 2**i
        h, w = SIDES[0] // stride, SIDES[1] // stride
        grid = np.stack(np.meshgrid(np.arange(w), np.arange(h))).astype(np.float32)[None] + 0.5
        box = conv(op.relu(conv(f, 8, 3)), 4)
        centre = op.multiply(
            op.add(op.slice(box, const(0), const(2), const(1), const(1)), op.constant(grid)),
            op.constant(np.float32(stride)),
        )
        extent = op.multiply(op.exp(op.slice(box, const(2), const(4), const(1), const(1))), op.constant(np.float32(2 * stride)))
        if shares:
            sides = op.constant(np.array(SIDES[::-1], np.float32).reshape(1, 2, 1, 1))
            centre, extent = op.divide(centre, sides), op.divide(extent, sides)
        score, mix = conv(op.relu(conv(f, 8, 3)), classes, name=f"cls{i}"), conv(f, width)
        tables.append(op.reshape(op.concat([centre, extent, op.sigmoid(score), mix], 1), const(0, 4 + classes + width, -1), True))
    return model(x, [op.concat(tables, 2), conv(features[0], width)])


def site_of(toy, **options):
    """What the search for instances says of it."""
    return find_instances(request(toy, **options))
