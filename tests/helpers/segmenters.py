"""Tiny semantic segmentation models: an encoder of two sizes, a decoder that joins them, scores in each usual form."""

from __future__ import annotations

import numpy as np
import openvino as ov
from openvino import opset13 as op

from helpers import classifiers as toys
from helpers.values import named


def enlarged(x: ov.Node, size: tuple[int, int]) -> ov.Node:
    """[N, C, h, w] at another size."""
    return op.interpolate(x, np.array(size, np.int64), "linear_onnx", "sizes", axes=np.array([2, 3]))


def segmenter(form: str = "logits", batch: int = 1, classes: int = 4) -> ov.Model:
    """[N, 3, 24, 32] -> scores of pixels. form: logits, softmax, log-softmax, sigmoid, channels-last; or softmax-enlarged and
    sigmoid-enlarged, whose probabilities are enlarged afterwards."""
    image = toys.picture(batch)
    fine = op.relu(toys.conv(op.relu(toys.conv(image, 5, 4, 4)), 6, 3, 1, seed=4))
    coarse = fine
    for stride, seed in ((2, 2), (1, 5), (1, 6)):
        coarse = op.relu(toys.conv(coarse, 6, 3, stride, seed=seed))
    joined = named(op.relu(toys.conv(op.concat([enlarged(coarse, (6, 8)), fine], 1), 8, 3, 1, seed=7)), "joined")
    before = {"softmax-enlarged": lambda x: op.softmax(x, 1), "sigmoid-enlarged": op.sigmoid}.get(form, lambda x: x)
    scores = enlarged(before(toys.conv(joined, classes, 1, seed=8)), toys.SIZE)
    after = {
        "softmax": lambda x: op.softmax(x, 1), "log-softmax": lambda x: op.log_softmax(x, 1), "sigmoid": op.sigmoid,
        "channels-last": lambda x: op.softmax(op.transpose(x, np.array([0, 2, 3, 1])), 3),
    }  # fmt: skip
    return toys.finished(after.get(form, lambda x: x)(scores), image)


FORMS = ("logits", "softmax", "log-softmax", "sigmoid", "channels-last", "softmax-enlarged", "sigmoid-enlarged")
