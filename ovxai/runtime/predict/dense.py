"""Outputs of detectors that stop before suppression -> boxes, labels, scores and masks, one decoder per format."""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np

from ovxai.errors import UnsupportedModelError
from ovxai.runtime.feed.geometry import Geometry, Size
from ovxai.runtime.predict.boxes import Instances, Raw, around, corner_sides, corners_of, mixer, sigmoid

#: Below this a candidate is not worth the suppression; every threshold in use lies above.
_FLOOR = 0.05
_IOU = 0.5
_STRIDES = ((8, 16, 32), (8, 16, 32, 64), (8, 16, 32, 64, 128), (4, 8, 16, 32), (16, 32), (8,), (16,), (32,))


def yolox(raw: Raw) -> Instances:
    rows = raw.first(lambda a: a.ndim == 2 and a.shape[1] > 5)
    grid = _pyramid(len(rows), raw)
    scores = rows[:, 4:5] * rows[:, 5:]
    centre = (rows[:, :2] + grid[:, :2]) * grid[:, 2:]
    half = np.exp(np.clip(rows[:, 2:4], -20, 20)) * grid[:, 2:] / 2
    return _best(np.concatenate([centre - half, centre + half], axis=1), scores, raw)


def yolo_v8(raw: Raw) -> Instances:
    table, classes = raw.scored(lambda a: a.ndim == 2), raw.classes
    if (classes and table.shape[0] < 4 + classes) or table.shape[0] > table.shape[1] >= 4 + (classes or 1):  # [P, 4 + K]
        table = table.T
    scores = table[4 : 4 + classes if classes else None].T
    return _best(corners_of(_dense_pixels(table[:4].T, raw.geometry)), raw.activated(scores), raw)


def yolo_v5(raw: Raw) -> Instances:
    rows = raw.scored(lambda a: a.ndim == 2 and a.shape[1] > 5)
    scores = rows[:, 5 : 5 + raw.classes if raw.classes else None]
    return _best(corners_of(_dense_pixels(rows[:, :4], raw.geometry)), rows[:, 4:5] * scores, raw)


def boxes_scores(raw: Raw) -> Instances:
    given = raw.outputs[raw.facts.explained.score_output]
    scores = np.asarray(given, np.float32)
    if scores.shape[-1] != raw.classes:
        scores = scores.T
    boxes = raw.first(lambda a: a.ndim == 2 and a is not given and a.shape == (len(scores), 4))
    # Corners are in order in every row; of centres and sizes some row breaks it.
    ordered = bool((boxes[:, :2] <= boxes[:, 2:]).all())
    corners = _dense_pixels(boxes if ordered else corners_of(boxes), raw.geometry)
    return _best(corners, raw.activated(scores), raw)


def yolo_v8_seg(raw: Raw) -> Instances:
    rows, prototypes = raw.first(lambda a: a.ndim == 2).T, raw.first(lambda a: a.ndim == 3)
    return _with_prototypes(rows, rows[:, 4 : -len(prototypes)], prototypes, raw)


def yolo_v5_seg(raw: Raw) -> Instances:
    rows, prototypes = raw.first(lambda a: a.ndim == 2), raw.first(lambda a: a.ndim == 3)
    return _with_prototypes(rows, rows[:, 5 : -len(prototypes)] * rows[:, 4:5], prototypes, raw)


def _with_prototypes(rows: np.ndarray, scores: np.ndarray, prototypes: np.ndarray, raw: Raw) -> Instances:
    """rows: a box first, mask coefficients last. prototypes: [M, h, w]."""
    boxes = corners_of(_dense_pixels(rows[:, :4], raw.geometry))
    kept = _kept(boxes, scores, raw)
    found = _chosen(boxes, scores, kept, raw)
    return replace(found, masks=mixer(found, rows[kept, -len(prototypes) :], prototypes, raw))


def heatmap(raw: Raw) -> Instances:
    table = np.asarray(raw.outputs[raw.facts.explained.score_output], np.float32)
    scores = table.reshape(len(table), -1).max(axis=1)
    return Instances(None, np.arange(len(scores)), raw.activated(scores))


def east(raw: Raw) -> Instances:
    scores = raw.first(lambda a: a.ndim == 3 and len(a) == 1).reshape(-1, 1)
    sides = raw.first(lambda a: a.ndim == 3 and len(a) == 5)
    _, rows, columns = sides.shape
    height, width = raw.geometry.canvas
    top, right, bottom, left, angle = sides.reshape(5, -1)
    cos, sin = np.cos(angle), np.sin(angle)
    # From the cell to the middle of its box, along the box's own axes.
    across, down = (right - left) / 2, (bottom - top) / 2
    cells = _cells(rows, columns, 1)[:, :2] * np.array([width / columns, height / rows], np.float32)
    centre = cells + np.stack([across * cos + down * sin, down * cos - across * sin], axis=1)
    return _best(around(centre, np.stack([left + right, top + bottom], axis=1), angle), raw.activated(scores), raw)


def nanodet(raw: Raw) -> Instances:
    tables = [raw.outputs[name] for name in raw.facts.own if raw.outputs[name].ndim == 2]
    scores = [table for table in tables if table.shape[1] == raw.classes]
    sides = [table for table in tables if table.shape[1] != raw.classes]
    if not scores or [len(table) for table in scores] != [len(table) for table in sides]:
        raise UnsupportedModelError(f"{raw.facts.name}: its outputs are not pairs of class scores and boxes, one pair per level")
    boxes = np.concatenate([_distances(side, raw.geometry.canvas) for side in sides])
    values = np.concatenate(scores)
    return _best(boxes, raw.activated(values), raw)


def fastestdet(raw: Raw) -> Instances:
    table = raw.first(lambda a: a.ndim == 3 and a.shape[0] > 5)
    _, rows, columns = table.shape
    height, width = raw.geometry.canvas
    cells = table.reshape(len(table), -1).T
    centre = (_cells(rows, columns, 1)[:, :2] + np.tanh(cells[:, 1:3])) * np.array([width / columns, height / rows], np.float32)
    half = sigmoid(cells[:, 3:5]) * np.array([width, height], np.float32) / 2
    scores = np.maximum(cells[:, :1], 0) ** 0.6 * np.maximum(cells[:, 5:], 0) ** 0.4
    return _best(np.concatenate([centre - half, centre + half], axis=1), scores, raw)


def _distances(sides: np.ndarray, canvas: Size) -> np.ndarray:
    """Generalised focal loss: the expected bin of each side, in strides, from the cell's centre."""
    stride = round(math.sqrt(canvas[0] * canvas[1] / len(sides)))
    bins = sides.reshape(len(sides), 4, -1)
    powers = np.exp(bins - bins.max(axis=2, keepdims=True))
    reach = (powers / powers.sum(axis=2, keepdims=True)) @ np.arange(bins.shape[2], dtype=np.float32) * stride
    rows, columns = np.divmod(np.arange(len(sides)), math.ceil(canvas[1] / stride))
    # NanoDet's training puts a cell's centre half a pixel before the middle.
    x, y = columns * stride + 0.5 * (stride - 1), rows * stride + 0.5 * (stride - 1)
    return np.stack([x - reach[:, 0], y - reach[:, 1], x + reach[:, 2], y + reach[:, 3]], axis=1)


def _pyramid(count: int, raw: Raw) -> np.ndarray:
    """[count, 3]: column, row and stride of every cell of all levels."""
    height, width = raw.geometry.canvas
    for strides in _STRIDES:
        sizes = [(math.ceil(height / stride), math.ceil(width / stride)) for stride in strides]
        if sum(rows * columns for rows, columns in sizes) == count:
            return np.concatenate([_cells(rows, columns, stride) for (rows, columns), stride in zip(sizes, strides)])
    raise UnsupportedModelError(f"{raw.facts.name}: {count} cells are no pyramid over {height}x{width}")


def _cells(height: int, width: int, stride: int) -> np.ndarray:
    rows, columns = np.divmod(np.arange(height * width), width)
    return np.stack([columns, rows, np.full(height * width, stride)], axis=1).astype(np.float32)


# Suppression.


def _best(boxes: np.ndarray, scores: np.ndarray, raw: Raw) -> Instances:
    """boxes: [P, 4]. scores: [P, K]. What is left of them, the best class each."""
    return _chosen(boxes, scores, _kept(boxes, scores, raw), raw)


def _kept(boxes: np.ndarray, scores: np.ndarray, raw: Raw) -> np.ndarray:
    """Rows that survive; every one, where all candidates for one class are asked for."""
    if not scores.size:
        return np.zeros(0, int)
    if raw.only is not None:
        return np.arange(len(scores))
    return suppress(boxes, scores.argmax(axis=1), scores.max(axis=1), _FLOOR, raw.facts.info.iou_threshold or _IOU)


def _chosen(boxes: np.ndarray, scores: np.ndarray, rows: np.ndarray, raw: Raw) -> Instances:
    if not rows.size:
        return Instances(np.zeros((0, 4), np.float32), np.zeros(0, int), np.zeros(0, np.float32), origin=rows)
    labels = scores[rows].argmax(axis=1) if raw.only is None else np.full(len(rows), raw.only)
    return Instances(boxes[rows], labels, scores[rows, labels], origin=rows)


def suppress(boxes: np.ndarray, labels: np.ndarray, scores: np.ndarray, floor: float, iou: float) -> np.ndarray:
    """Indices that survive non-maximum suppression within each class; scores below `floor` go first."""
    candidates = np.flatnonzero(scores >= floor)
    if not candidates.size:
        return candidates
    chosen = boxes[candidates]
    corners = np.concatenate([chosen[:, :2], chosen[:, 2:] - chosen[:, :2]], axis=1)
    # cv2 has NMSBoxesBatched only since 4.7 and with other rules for ties: boxes moved far apart by
    # class never overlap, which is the same.
    corners[:, :2] += labels[candidates, None] * (float(np.abs(chosen).max()) * 2 + 1)
    kept = cv2.dnn.NMSBoxes(corners.astype(float).tolist(), scores[candidates].astype(float).tolist(), floor, iou)
    return candidates[np.asarray(kept, int).reshape(-1)]


def _dense_pixels(boxes: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Boxes of all candidates, which cover the picture: where half of their numbers are within 0..2 they are shares of it."""
    boxes = np.asarray(boxes, np.float32)
    numbers = np.abs(boxes[boxes != 0])
    return boxes * corner_sides(geometry.canvas) if numbers.size and np.median(numbers) <= 2.0 else boxes
