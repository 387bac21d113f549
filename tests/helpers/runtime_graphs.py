"""Explained models for the runner, made by hand so that what they answer is plain to see, and pictures for them."""

from __future__ import annotations

import json
from typing import Any

import cv2
import numpy as np
import openvino as ov
from openvino import opset13 as op

from ovxai.metadata import ExplainedInfo

LABELS = ("red", "green", "blue")


def picture(height: int = 40, width: int = 60) -> np.ndarray:
    """Grey, with a red square in the upper left, a green one in the upper right, RGB."""
    pixels = np.full((height, width, 3), 60, np.uint8)
    pixels[: height // 2, : width // 2] = (255, 0, 0)
    pixels[: height // 2, width // 2 :] = (0, 220, 0)
    return pixels


def f32(values: object) -> np.ndarray:
    return np.array(values, np.float32)


def u8(values: object) -> np.ndarray:
    return np.array(values, np.uint8)


def i64(values: object) -> np.ndarray:
    return np.array(values, np.int64)


def encoded(pixels: np.ndarray, suffix: str = ".png") -> bytes:
    """The bytes of a picture file. pixels: RGB or grey."""
    return cv2.imencode(suffix, pixels[:, :, ::-1] if pixels.ndim == 3 else pixels)[1].tobytes()


def classifier(
    *,
    size: tuple[int, int] = (16, 24),
    batch: int = 1,
    channels: tuple[int, ...] = (0, 1, 2),
    activation: str = "softmax",
    raw: bool = False,
    model_info: dict[str, str] | None = None,
    **info: Any,
) -> ov.Model:
    """Class c scores the mean of colour channel c, its map is that channel on a coarse grid: what is right is plain to see."""
    image = op.parameter([batch, 3, *size], np.float32, name="image")
    image.output(0).set_names({"image"})
    tiles = op.reshape(image, op.constant(np.array([-1, 3, size[0] // 4, 4, size[1] // 4, 4])), False)
    grid = op.reduce_mean(tiles, np.array([3, 5]), False)
    logits = op.multiply(op.reduce_mean(image, np.array([2, 3]), False), op.constant(np.float32(10)))
    logits.output(0).set_names({"logits"})
    maps = op.gather(grid, op.constant(np.array(channels, np.int64)), op.constant(np.int64(1)))
    if not raw:
        maps = op.convert(op.multiply(maps, op.constant(np.float32(255))), "u8")
    maps.output(0).set_names({"saliency_map"})
    features = op.relu(grid)
    features.output(0).set_names({"feature_map"})
    model = ov.Model([op.result(logits), op.result(maps), op.result(features)], [image], "tiny")
    for key, value in {"labels": " ".join(LABELS), "scale_values": "255", **(model_info or {})}.items():
        model.set_rt_info(value, ["model_info", key])
    facts: dict[str, Any] = {
        "version": "0", "task": "classification", "method": "reciprocam", "target_layers": ("grid",),
        "score_output": "logits", "score_activation": activation, "prediction_format": "scores", "num_classes": 3,
        "scaled": not raw,
    } | info  # fmt: skip
    ExplainedInfo(**facts).write(model)
    return model


def detector(
    boxes: np.ndarray,
    labels: np.ndarray,
    *,
    size: tuple[int, int] = (32, 32),
    scores: np.ndarray | None = None,
    masks: np.ndarray | None = None,
    form: str = "boxes-labels",
    model_info: dict[str, str] | None = None,
    task: str = "detection",
) -> ov.Model:
    """Finds the same objects in every picture: `boxes`, `labels` and so on are its outputs."""
    image = op.parameter([1, 3, *size], np.float32, name="image")
    image.output(0).set_names({"image"})
    # Hangs on the input, so that nothing is folded away together with it.
    zero = op.multiply(op.reduce_mean(image, np.array([0, 1, 2, 3]), False), op.constant(np.float32(0)))
    outputs = {"boxes": op.add(op.constant(boxes.astype(np.float32)), zero), "labels": op.constant(labels.astype(np.int64))}
    if scores is not None:
        outputs["scores"] = op.add(op.constant(scores.astype(np.float32)), zero)
    if masks is not None:
        outputs["masks"] = op.add(op.constant(masks.astype(np.float32)), zero)
    maps = np.zeros((1, 3, 8, 8), np.float32)
    for channel in range(3):
        maps[0, channel, channel] = 255
    outputs["saliency_map"] = op.convert(op.add(op.constant(maps), zero), "u8")
    for name, node in outputs.items():
        node.output(0).set_names({name})
    model = ov.Model([op.result(node) for node in outputs.values()], [image], "finder")
    for key, value in {"labels": " ".join(LABELS), **(model_info or {})}.items():
        model.set_rt_info(value, ["model_info", key])
    ExplainedInfo(
        version="0", task=task, method="det-class-probability-map", target_layers=("cls",), score_output="boxes",
        prediction_format=form, num_classes=3,
    ).write(model)  # fmt: skip
    return model


def box_detector(boxes: np.ndarray, labels: np.ndarray, places: int = 4, size: tuple[int, int] = (32, 32)) -> ov.Model:
    """The same with a map per box, of which `places` are there: the map of the n-th box is hot in row n. boxes: [I, 5]."""
    model = detector(boxes, labels, size=size)
    zero = model.outputs[0].get_node().input_value(0).get_node().input_value(1)
    model.remove_result(model.get_results()[-1])
    count = min(places, len(boxes))
    maps, corners, scores = np.zeros((1, places, 8, 8)), np.zeros((1, places, 4)), np.zeros((1, places))
    index = np.full((1, 1, places), -1)
    maps[0, range(count), range(count)] = 255
    corners[0, :count], scores[0, :count], index[0, 0, :count] = boxes[:count, :4], boxes[:count, 4], labels[:count]
    outputs = {
        "saliency_map": op.convert(op.add(op.constant(f32(maps)), zero), "u8"),
        "saliency_index": op.convert(op.add(op.constant(f32(index)), zero), "i64"),
        "saliency_box": op.add(op.constant(f32(corners)), zero),
        "saliency_score": op.add(op.constant(f32(scores)), zero),
    }
    for name, node in outputs.items():
        node.output(0).set_names({name})
    model.add_results([op.result(node) for node in outputs.values()])
    ExplainedInfo(
        version="0", task="detection", method="gradient", target_layers=("cls",), score_output="boxes",
        prediction_format="boxes-labels", num_classes=3, per="box", classes=f"top:{places}",
    ).write(model)  # fmt: skip
    return model


HIERARCHY = {
    "cls_heads_info": {
        "num_multiclass_heads": 2,
        "num_multilabel_classes": 1,
        "num_single_label_classes": 4,
        "head_idx_to_logits_range": {"0": [0, 2], "1": [2, 4]},
        "all_groups": [["animal", "thing"], ["cat", "dog"], ["wet"]],
        "class_to_group_idx": {"animal": [0, 0], "thing": [0, 1], "cat": [1, 0], "dog": [1, 1], "wet": [2, 0]},
    },
    "label_tree_edges": [["cat", "animal"], ["dog", "animal"]],
}
HIERARCHICAL = {"hierarchical": "True", "hierarchical_config": json.dumps(HIERARCHY)}
