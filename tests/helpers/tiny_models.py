"""Tiny classifiers with the mosaic written by hand: every masked copy stands in the graph beside the others."""

from __future__ import annotations

from typing import Any

import numpy as np
import openvino as ov
from openvino import opset13 as op

from helpers.values import named, numbers
from ovxai.graph.surgery import attach_outputs
from ovxai.metadata import ExplainedInfo

CLASSES = 4
WIDTH = 6
KERNEL = np.outer([1, 2, 1], [1, 2, 1]) / 16


def point_masks(height: int, width: int) -> np.ndarray:
    """[M, h, w], one mask per position."""
    return np.eye(height * width, dtype=np.float32).reshape(-1, height, width)


def gaussian_masks(height: int, width: int) -> np.ndarray:
    """[M, h, w], the same with the neighbours let through in part, cut off at the border."""
    masks = np.zeros((height * width, height, width), np.float32)
    for index in range(height * width):
        for down in (-1, 0, 1):
            for across in (-1, 0, 1):
                row, column = index // width + down, index % width + across
                if 0 <= row < height and 0 <= column < width:
                    masks[index, row, column] = KERNEL[down + 1, across + 1]
    return masks


def scaled(saliency: ov.Node) -> ov.Node:
    """[N, C, h, w] -> u8 0..255 per map; zeros where there is no evidence."""
    low, high = op.reduce_min(saliency, [2, 3], True), op.reduce_max(saliency, [2, 3], True)
    span = op.subtract(high, low)
    largest = op.reduce_max(op.abs(saliency), [2, 3], True)
    empty = op.less_equal(span, op.multiply(largest, np.float32(1e-6)))
    grey = op.divide(op.multiply(op.subtract(saliency, low), np.float32(255)), op.select(empty, np.float32(1), span))
    return op.convert(op.select(empty, np.float32(0), grey), "u8")


def explain(model: ov.Model, outputs: dict[str, ov.Node], **facts: Any) -> ov.Model:
    """Attach `outputs` to `model` and write what it says about itself."""
    attach_outputs(model, {name: node.output(0) for name, node in outputs.items()})
    given: dict[str, Any] = {"version": "0", "task": "classification", "method": "reciprocam", "mask": "point", "scaled": False}
    ExplainedInfo(**{**given, "extra_outputs": tuple(outputs), **facts}).write(model)
    return model


class Pooled:
    """Convolution -> [N, WIDTH, 4, 5] -> mean -> FC -> Softmax, as NCHW or NHWC."""

    def __init__(self, batch: int = 1, nhwc: bool = False, element: str = "float32", weights: np.ndarray | None = None) -> None:
        self.nhwc = nhwc
        self.axes = [1, 2] if nhwc else [2, 3]
        self.image = named(op.parameter([batch, 3, 12, 15], np.dtype(element)), "image")
        x = op.convert(self.image, "f32") if element != "float32" else self.image
        x = op.convolution(x, numbers(WIDTH, 3, 3, 3, size=0.3), [3, 3], [0, 0], [0, 0], [1, 1])
        x = op.add(x, numbers(1, WIDTH, 1, 1))
        if nhwc:
            x = op.transpose(x, [0, 2, 3, 1])
        self.features = named(op.relu(x), "features")
        self.weights = numbers(WIDTH, CLASSES) if weights is None else weights
        self.bias = numbers(CLASSES, seed=3)
        pooled = op.reduce_mean(self.features, self.axes, False)
        self.logits = named(op.add(op.matmul(pooled, self.weights, False, False), self.bias), "logits")
        scores = op.softmax(self.logits, 1)
        scores.output(0).get_tensor().set_names({"scores"})
        self.model = ov.Model([op.result(scores)], [self.image], "pooled")
        self.model.set_rt_info("cat dog owl emu", ["model_info", "labels"])

    def saliency(self, masks: np.ndarray | None = None) -> ov.Node:
        """[N, C, 4, 5] by the mosaic."""
        masks = point_masks(4, 5) if masks is None else masks
        form = (20, 4, 5, 1) if self.nhwc else (20, 1, 4, 5)
        copies = op.multiply(op.unsqueeze(self.features, [1]), masks.reshape(form))
        pooled = op.reduce_mean(copies, [axis + 1 for axis in self.axes], False)
        rows = op.add(op.matmul(pooled, self.weights, False, False), self.bias)
        return op.reshape(op.transpose(rows, [0, 2, 1]), [0, CLASSES, 4, 5], True)

    def feature_map(self) -> ov.Node:
        """[N, WIDTH, 4, 5]."""
        return op.transpose(self.features, [0, 3, 1, 2]) if self.nhwc else self.features

    def explained(self, saliency: ov.Node | None = None, feature_map: ov.Node | None = None, **facts: Any) -> ov.Model:
        """With its map, or the one given, as an output. facts: fields of `ExplainedInfo`, instead of the right ones."""
        outputs = {"saliency_map": saliency or self.saliency(), "feature_map": feature_map or self.feature_map()}
        given = {"target_layers": ("features",), "layout": "NHWC" if self.nhwc else "NCHW"}
        return explain(self.model, outputs, **{**given, **facts})


class Tokens:
    """Patches and a class token -> one pre-norm attention block -> norm -> token 0 -> FC, on a 3 x 4 grid."""

    grid = (3, 4)

    def __init__(self, batch: int = 1) -> None:
        self.image = named(op.parameter([batch, 3, 12, 16], np.float32), "image")
        patches = op.convolution(self.image, numbers(WIDTH, 3, 4, 4, size=0.3), [4, 4], [0, 0], [0, 0], [1, 1])
        patches = op.transpose(op.reshape(patches, [0, WIDTH, 12], True), [0, 2, 1])
        # One class token a picture, whatever the batch.
        first = op.multiply(op.reduce_mean(patches, [1], True), np.float32(0))
        tokens = op.concat([op.add(first, numbers(1, 1, WIDTH)), patches], 1)
        self.residual = named(op.add(tokens, numbers(1, 13, WIDTH)), "residual")
        self.normed = named(self.norm(self.residual, 1), "normed")
        self.last = self.block(self.normed, self.residual)
        self.token = op.gather(self.norm(self.last, 3), np.int64(0), np.int64(-2))
        scores = self.head(self.last)
        scores.output(0).get_tensor().set_names({"scores"})
        self.model = ov.Model([op.result(scores)], [self.image], "tokens")

    def norm(self, x: ov.Node, seed: int) -> ov.Node:
        normal = op.mvn(x, [-1], True, 1e-5, "inside_sqrt")
        return op.add(
            op.multiply(normal, 1 + numbers(WIDTH, seed=seed, size=0.2)),
            numbers(WIDTH, seed=seed + 9, size=0.2),
        )

    def block(self, normed: ov.Node, residual: ov.Node) -> ov.Node:
        """Attention and MLP on [any, 13, WIDTH]."""
        q, k, v = (self.heads(normed, seed) for seed in (4, 5, 6))
        mixed = op.matmul(op.softmax(op.matmul(q, k, False, True), -1), v, False, False)
        mixed = op.reshape(op.transpose(mixed, [0, 2, 1, 3]), [0, 0, WIDTH], True)
        x = op.add(residual, op.matmul(mixed, numbers(WIDTH, WIDTH, seed=7), False, False))
        inner = op.gelu(op.matmul(self.norm(x, 2), numbers(WIDTH, 2 * WIDTH), False, False), "erf")
        return op.add(x, op.matmul(inner, numbers(2 * WIDTH, WIDTH), False, False))

    def heads(self, x: ov.Node, seed: int) -> ov.Node:
        split = op.reshape(op.matmul(x, numbers(WIDTH, WIDTH, seed=seed), False, False), [0, 0, 2, WIDTH // 2], True)
        return op.transpose(split, [0, 2, 1, 3])

    def head(self, x: ov.Node) -> ov.Node:
        token = op.gather(self.norm(x, 3), np.int64(0), np.int64(-2))
        return op.add(op.matmul(token, numbers(WIDTH, CLASSES), False, False), numbers(CLASSES, seed=8))

    def saliency(self, ungated: int = 1) -> ov.Node:
        """[N, C, 3, 4] by the mosaic. ungated: what the class token is multiplied by, 1 if all is right."""
        masks = gaussian_masks(*self.grid).reshape(12, 12, 1)
        gates = np.concatenate([np.full((12, 1, 1), ungated, np.float32), masks], axis=1)
        # Copies go into the batch: on [N, M, 13, WIDTH] the CPU plugin's attention fusion crashes (2026.4).
        gated = [
            op.reshape(op.multiply(op.unsqueeze(x, [1]), gates), [-1, 13, WIDTH], False) for x in (self.normed, self.residual)
        ]
        rows = op.reshape(self.head(self.block(*gated)), [-1, 12, CLASSES], False)
        return op.reshape(op.transpose(rows, [0, 2, 1]), [0, CLASSES, *self.grid], True)

    def feature_map(self) -> ov.Node:
        patches = op.slice(self.normed, [1], [13], [1], [1])
        return op.reshape(op.transpose(patches, [0, 2, 1]), [0, WIDTH, *self.grid], True)

    def explained(self, saliency: ov.Node | None = None, vector: bool = False, **facts: Any) -> ov.Model:
        """With its map, or the one given, as an output. vector: with the class token, too. facts: as above."""
        outputs = {"saliency_map": saliency or self.saliency(), "feature_map": self.feature_map()}
        if vector:
            outputs["feature_vector"] = self.token
        given = {
            "method": "vit-reciprocam", "mask": "gaussian", "layout": "NPC", "grid": self.grid,
            "prefix_tokens": 1, "target_layers": ("normed", "residual"),
        }  # fmt: skip
        return explain(self.model, outputs, **{**given, **facts})
