"""A tiny two-level detector head with its map made by standard operations, as insertion would."""

from __future__ import annotations

from typing import Any

import numpy as np
import openvino as ov
from openvino import opset13 as op

from helpers.tiny_models import explain
from helpers.values import named, numbers

CLASSES, ANCHORS, WIDTH = 3, 2, 4
GRIDS = ((8, 12), (4, 6))


class Detector:
    """[N, 3, 32, 48] -> class logits on 8 x 12 and 4 x 6 -> scores [N, P, K] after a sigmoid.

    order: "anchor" (channel = a * K + k, rows of K classes) or "class" (channel = k * A + a).
    """

    def __init__(self, batch: int = 1, order: str = "anchor", nhwc: bool = False) -> None:
        self.order, self.nhwc = order, nhwc
        self.image = named(op.parameter([batch, 3, 32, 48], np.float32), "image")
        first = op.relu(op.convolution(self.image, numbers(WIDTH, 3, 4, 4, size=0.3), [4, 4], [0, 0], [0, 0], [1, 1]))
        second = op.relu(op.convolution(first, numbers(WIDTH, WIDTH, 2, 2), [2, 2], [0, 0], [0, 0], [1, 1]))
        self.neck = [named(first, "fine"), named(second, "coarse")]
        self.logits = [named(self._head(x, seed), f"classes{seed}") for seed, x in enumerate(self.neck)]
        scores = op.sigmoid(op.concat([self._rows(x) for x in self.logits], 1))
        scores.output(0).get_tensor().set_names({"scores"})
        self.model = ov.Model([op.result(scores)], [self.image], "detector")

    def _head(self, x: ov.Node, seed: int) -> ov.Node:
        y = op.convolution(x, numbers(ANCHORS * CLASSES, WIDTH, 1, 1, seed=seed), [1, 1], [0, 0], [0, 0], [1, 1])
        y = op.add(y, numbers(1, ANCHORS * CLASSES, 1, 1, seed=seed))
        return op.transpose(y, [0, 2, 3, 1]) if self.nhwc else y

    def _rows(self, x: ov.Node) -> ov.Node:
        """[N, P * A, K] as the detector itself reads its classes."""
        x = x if self.nhwc else op.transpose(x, [0, 2, 3, 1])
        if self.order == "anchor":
            return op.reshape(x, [0, -1, CLASSES], True)
        split = op.reshape(x, [0, 0, 0, CLASSES, ANCHORS], True)
        return op.reshape(op.transpose(split, [0, 1, 2, 4, 3]), [0, -1, CLASSES], True)

    def level(self, index: int, order: str | None = None) -> ov.Node:
        """[N, K, h, w]: the best anchor of a level."""
        x = op.transpose(self.logits[index], [0, 3, 1, 2]) if self.nhwc else self.logits[index]
        grid = GRIDS[index]
        if (order or self.order) == "anchor":
            return op.reduce_max(op.reshape(x, [0, ANCHORS, CLASSES, *grid], True), [1], False)
        return op.reduce_max(op.reshape(x, [0, CLASSES, ANCHORS, *grid], True), [2], False)

    def saliency(self, order: str | None = None, size: tuple[int, int] = GRIDS[1]) -> ov.Node:
        """[N, K, *size]: both levels resized, their mean, softmax. order: how channels are read, right or wrong."""
        same = [
            op.interpolate(
                self.level(index, order), np.array(size, np.int64), "linear_onnx", "sizes", axes=np.array([2, 3], np.int64),
                coordinate_transformation_mode="half_pixel", antialias=False,
            )
            for index in range(2)
        ]  # fmt: skip
        return op.softmax(op.divide(op.add(*same), np.float32(2)), 1)

    def explained(self, saliency: ov.Node | None = None, vector: bool = False, **facts: Any) -> ov.Model:
        """With its map, or the one given. vector: with the neck's means, too. facts: fields of `ExplainedInfo` to be other."""
        outputs = {"saliency_map": saliency or self.saliency(), "feature_map": self.neck[1]}
        if vector:
            outputs["feature_vector"] = op.concat([op.reduce_mean(x, [2, 3], False) for x in self.neck], 1)
        given: dict[str, Any] = {
            "task": "detection", "method": "det-class-probability-map", "mask": "", "layout": "NCHW",
            "target_layers": ("classes0", "classes1"), "feature_layer": "coarse", "num_classes": CLASSES,
            "class_activation": "softmax", "levels": "mean", "map_size": "4x6",
        }  # fmt: skip
        return explain(self.model, outputs, **{**given, **facts})
