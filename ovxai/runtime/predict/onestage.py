"""Detectors whose export stops before non-maximum suppression: YOLOX, YOLOv8 and its kin, NanoDet, FastestDet."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ovxai.errors import UnsupportedModelError
from ovxai.runtime.facts import ModelFacts
from ovxai.runtime.feed.geometry import Geometry, Size
from ovxai.runtime.predict.boxes import NONE, Instances, in_pixels, suppress

Outputs = Mapping[str, np.ndarray]
#: Below this a candidate is not worth the suppression; every threshold in use lies above.
_FLOOR = 0.05
_IOU = 0.5
_STRIDES = ((8, 16, 32), (8, 16, 32, 64), (8, 16, 32, 64, 128), (4, 8, 16, 32), (16, 32), (8,), (16,), (32,))


def yolox(outputs: Outputs, facts: ModelFacts, geometry: Geometry) -> Instances:
    """One output [P, 5 + K]: centre offset, log size, objectness and class scores (both 0..1), level after level."""
    rows = _first_own(outputs, facts, lambda a: a.ndim == 2 and a.shape[1] > 5)
    grid = _grid(len(rows), geometry.canvas, facts)
    scores = rows[:, 4:5] * rows[:, 5:]
    centre = (rows[:, :2] + grid[:, :2]) * grid[:, 2:]
    half = np.exp(np.clip(rows[:, 2:4], -20, 20)) * grid[:, 2:] / 2
    return _best(np.concatenate([centre - half, centre + half], axis=1), scores, facts)


def yolo_v8(outputs: Outputs, facts: ModelFacts, geometry: Geometry) -> Instances:
    """One output [4 + K (+ mask coefficients), P]: centre and size in pixels, class scores."""
    table = _scores_or_first(outputs, facts, lambda a: a.ndim == 2)
    classes = facts.explained.num_classes
    if (classes and table.shape[0] < 4 + classes) or table.shape[0] > table.shape[1] >= 4 + (classes or 1):  # [P, 4 + K]
        table = table.T
    scores = table[4 : 4 + classes if classes else None].T
    if facts.explained.score_activation == "sigmoid":
        scores = _sigmoid(scores)
    centre, half = table[:2].T, table[2:4].T / 2
    return _best(np.concatenate([centre - half, centre + half], axis=1), scores, facts)


def yolo_v5(outputs: Outputs, facts: ModelFacts, geometry: Geometry) -> Instances:
    """One output [P, 5 + K]: centre and size in pixels, objectness, class scores."""
    rows = _scores_or_first(outputs, facts, lambda a: a.ndim == 2 and a.shape[1] > 5)
    scores = rows[:, 5 : 5 + facts.explained.num_classes if facts.explained.num_classes else None]
    return _best(_corners(rows[:, :4]), rows[:, 4:5] * scores, facts)


def boxes_scores(outputs: Outputs, facts: ModelFacts, geometry: Geometry) -> Instances:
    """Two outputs: boxes [P, 4] in pixels, and class scores [P, K] or [K, P]."""
    name, classes = facts.explained.score_output, facts.explained.num_classes
    scores = np.asarray(outputs[name], np.float32)
    if scores.shape[-1] != classes:
        scores = scores.T
    boxes = _first_own(outputs, facts, lambda a: a.ndim == 2 and a is not outputs[name] and a.shape == (len(scores), 4))
    if facts.explained.score_activation == "sigmoid":
        scores = _sigmoid(scores)
    # Corners are in order in every row; of centres and sizes some row breaks it.
    ordered = bool((boxes[:, :2] <= boxes[:, 2:]).all())
    return _best(in_pixels(boxes if ordered else _corners(boxes), geometry), scores, facts)


def yolo_seg(outputs: Outputs, facts: ModelFacts, geometry: Geometry) -> Instances:
    """Candidates [4 + K + M, P] (YOLOv8) or [P, 5 + K + M] (YOLOv5), and prototypes [M, h, w] that M coefficients mix."""
    prototypes = _first_own(outputs, facts, lambda a: a.ndim == 3)
    table = _first_own(outputs, facts, lambda a: a.ndim == 2)
    eight = facts.explained.prediction_format == "yolo-v8-seg"
    rows, head = (table.T, 4) if eight else (table, 5)
    coefficients = rows[:, -len(prototypes) :]
    scores = rows[:, head : -len(prototypes)] * (1 if eight else rows[:, 4:5])
    centre, half = rows[:, :2], rows[:, 2:4] / 2
    found = _best(np.concatenate([centre - half, centre + half], axis=1), scores, facts)
    paint = functools.partial(_mix, coefficients[found.origin], prototypes, found.boxes, geometry)
    return replace(found, masks=paint)


def _mix(coefficients: np.ndarray, prototypes: np.ndarray, boxes: np.ndarray, geometry: Geometry, index: int) -> np.ndarray:
    """The mask of one object: a mixture of prototypes, cut to its box."""
    values = np.tensordot(coefficients[index], prototypes, axes=1)
    inside = np.zeros(geometry.source, bool)
    x1, y1, x2, y2 = geometry.boxes_to_source(boxes[index : index + 1])[0].round().astype(int)
    inside[y1:y2, x1:x2] = True
    return inside & (geometry.map_to_source(values) > 0)


def _corners(boxes: np.ndarray) -> np.ndarray:
    """Centre and size -> x1, y1, x2, y2."""
    centre, half = boxes[:, :2], boxes[:, 2:4] / 2
    return np.concatenate([centre - half, centre + half], axis=1)


def heatmap(outputs: Outputs, facts: ModelFacts, geometry: Geometry) -> Instances:
    """CenterNet's class heat map [K, h, w]: how sure each class is anywhere. Its boxes are not read."""
    table = np.asarray(outputs[facts.explained.score_output], np.float32)
    scores = table.reshape(len(table), -1).max(axis=1)
    if facts.explained.score_activation == "sigmoid":
        scores = _sigmoid(scores)
    return Instances(None, np.arange(len(scores)), scores)


def per_level(outputs: Outputs, facts: ModelFacts, geometry: Geometry) -> Instances:
    """NanoDet: a level's class scores [P, K] and box-side distributions [P, 4 * bins], fine to coarse."""
    tables = [outputs[name] for name in facts.own if outputs[name].ndim == 2]
    classes = facts.explained.num_classes
    scores = [t for t in tables if t.shape[1] == classes]
    sides = [t for t in tables if t.shape[1] != classes]
    if not scores or [len(t) for t in scores] != [len(t) for t in sides]:
        raise UnsupportedModelError(f"{facts.name}: its outputs are not pairs of class scores and boxes a level")
    boxes = [_distances(side, geometry.canvas) for side in sides]
    values = np.concatenate(scores)
    if facts.explained.score_activation == "sigmoid":
        values = _sigmoid(values)
    return _best(np.concatenate(boxes), values, facts)


def fastestdet(outputs: Outputs, facts: ModelFacts, geometry: Geometry) -> Instances:
    """One output [1 + 4 + K, h, w]: objectness, box against its cell, class probabilities."""
    table = _first_own(outputs, facts, lambda a: a.ndim == 3 and a.shape[0] > 5)
    _, rows, columns = table.shape
    height, width = geometry.canvas
    cells = table.reshape(len(table), -1).T
    grid = _cells(rows, columns, 1)[:, :2]
    centre = (grid + np.tanh(cells[:, 1:3])) * np.float32([width / columns, height / rows])
    half = _sigmoid(cells[:, 3:5]) * np.float32([width, height]) / 2
    scores = np.maximum(cells[:, :1], 0) ** 0.6 * np.maximum(cells[:, 5:], 0) ** 0.4
    return _best(np.concatenate([centre - half, centre + half], axis=1), scores, facts)


def _distances(sides: np.ndarray, canvas: Size) -> np.ndarray:
    """Generalised focal loss: the expected bin of each side, in strides, from the cell's centre."""
    stride = round(math.sqrt(canvas[0] * canvas[1] / len(sides)))
    bins = sides.reshape(len(sides), 4, -1)
    powers = np.exp(bins - bins.max(axis=2, keepdims=True))
    reach = (powers / powers.sum(axis=2, keepdims=True)) @ np.arange(bins.shape[2], dtype=np.float32) * stride
    columns = math.ceil(canvas[1] / stride)
    rows, cols = np.divmod(np.arange(len(sides)), columns)
    # NanoDet's training puts a cell's centre half a pixel before the middle.
    x, y = cols * stride + 0.5 * (stride - 1), rows * stride + 0.5 * (stride - 1)
    return np.stack([x - reach[:, 0], y - reach[:, 1], x + reach[:, 2], y + reach[:, 3]], axis=1)


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(0.5 * values))


def _best(boxes: np.ndarray, scores: np.ndarray, facts: ModelFacts) -> Instances:
    if not scores.size:
        return NONE
    labels = scores.argmax(axis=1)
    best = scores[np.arange(len(scores)), labels]
    kept = suppress(boxes, labels, best, _FLOOR, facts.info.iou_threshold or _IOU)
    return Instances(boxes[kept], labels[kept], best[kept], origin=kept)


def _first_own(outputs: Outputs, facts: ModelFacts, fits) -> np.ndarray:
    for name in facts.own:
        if fits(outputs[name]):
            return np.asarray(outputs[name], np.float32)
    raise UnsupportedModelError(f"{facts.name}: no output has the form {facts.explained.prediction_format}")


def _scores_or_first(outputs: Outputs, facts: ModelFacts, fits) -> np.ndarray:
    """The output that rt_info names, where it is of that form: some exports hand out their raw levels beside it."""
    named = outputs.get(facts.explained.score_output)
    return np.asarray(named, np.float32) if named is not None and fits(named) else _first_own(outputs, facts, fits)


def _grid(count: int, canvas: Size, facts: ModelFacts) -> np.ndarray:
    """[count, 3]: column, row and stride of every cell."""
    for strides in _STRIDES:
        sizes = [(math.ceil(canvas[0] / s), math.ceil(canvas[1] / s)) for s in strides]
        if sum(h * w for h, w in sizes) == count:
            return np.concatenate([_cells(h, w, s) for (h, w), s in zip(sizes, strides)])
    raise UnsupportedModelError(f"{facts.name}: {count} cells are no pyramid over {canvas[0]}x{canvas[1]}")


def _cells(height: int, width: int, stride: int) -> np.ndarray:
    rows, columns = np.divmod(np.arange(height * width), width)
    return np.stack([columns, rows, np.full(height * width, stride)], axis=1).astype(np.float32)
