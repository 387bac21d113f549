"""Outputs of detectors and instance segmenters -> boxes, labels, scores and masks, one decoder per format.

Which format has which decoder stands in `ovxai.runtime.predict.formats`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import cv2
import numpy as np

from ovxai.errors import UnsupportedModelError
from ovxai.runtime.feed.geometry import Geometry, Size
from ovxai.runtime.predict.facts import ModelFacts

Outputs = Mapping[str, np.ndarray]
Fits = Callable[[np.ndarray], bool]
Paint = Callable[[int], np.ndarray]
#: Below this a candidate is not worth the suppression; every threshold in use lies above.
_FLOOR = 0.05
_IOU = 0.5
_STRIDES = ((8, 16, 32), (8, 16, 32, 64), (8, 16, 32, 64, 128), (4, 8, 16, 32), (16, 32), (8,), (16,), (32,))


@dataclass(frozen=True)
class Instances:
    """Objects found in one picture, in the network's own coordinates.

    boxes: [K, 4] x1, y1, x2, y2 in pixels of the network's input; None where they can't be read. labels, scores: [K].
    masks: index -> [H, W] bool over the source picture, made only for those that are wanted.
    origin: [K] rows of the raw output from which they come.
    """

    boxes: np.ndarray | None
    labels: np.ndarray
    scores: np.ndarray
    masks: Paint | None = None
    origin: np.ndarray | None = None


@dataclass(frozen=True)
class Raw:
    """What a model handed out for one picture: name -> array without batch axis, and where the picture lay.

    columns: what the outputs should hold, for messages.
    """

    outputs: Outputs
    facts: ModelFacts
    geometry: Geometry
    columns: str = ""

    @property
    def classes(self) -> int | None:
        return self.facts.explained.num_classes

    def activated(self, scores: np.ndarray) -> np.ndarray:
        """`scores` with the sigmoid that may still be due."""
        return sigmoid(scores) if self.facts.explained.score_activation == "sigmoid" else scores

    def called(self, name: str, fits: Fits) -> np.ndarray:
        """The output called like `name`, else the first one of that form, among the model's own.

        Raises:
            UnsupportedModelError: there is none.
        """
        own = [key for key in self.facts.own if key in self.outputs]
        for key in sorted(own, key=lambda key: name not in key.lower()):
            if fits(self.outputs[key]):
                return self.outputs[key]
        shapes = ", ".join(f"{key} {self.outputs[key].shape}" for key in own)
        raise UnsupportedModelError(
            f"{self.facts.name}: prediction_format says {self.facts.explained.prediction_format}, "
            f"but no output holds {name} ({shapes})"
        )

    def first(self, fits: Fits) -> np.ndarray:
        """The first of the model's own outputs that is of that form, as f32.

        Raises:
            UnsupportedModelError: there is none.
        """
        for name in self.facts.own:
            if fits(self.outputs[name]):
                return np.asarray(self.outputs[name], np.float32)
        form = self.facts.explained.prediction_format
        raise UnsupportedModelError(f"{self.facts.name}: no output has the form {form}: {self.columns}")

    def scored(self, fits: Fits) -> np.ndarray:
        """The output that rt_info names, where it is of that form: some exports hand out their raw levels beside it."""
        named = self.outputs.get(self.facts.explained.score_output)
        return np.asarray(named, np.float32) if named is not None and fits(named) else self.first(fits)


# Detectors that finish their boxes inside the graph: OTX, torchvision, Mask R-CNN, end-to-end YOLO, SSD.


def boxes_labels(raw: Raw) -> Instances:
    boxes = raw.called("boxes", lambda a: a.ndim == 2 and a.shape[1] == 5)
    labels = raw.called("labels", lambda a: a.ndim == 1)
    return Instances(in_pixels(boxes[:, :4], raw.geometry), labels.astype(int), boxes[:, 4].astype(np.float32))


def boxes_labels_scores(raw: Raw) -> Instances:
    boxes = raw.called("boxes", lambda a: a.ndim == 2 and a.shape[1] == 4)
    labels = raw.called("labels", lambda a: a.ndim == 1 and np.issubdtype(a.dtype, np.integer))
    scores = raw.called("scores", lambda a: a.ndim == 1 and np.issubdtype(a.dtype, np.floating))
    return Instances(in_pixels(boxes, raw.geometry), labels.astype(int), scores.astype(np.float32))


def boxes_labels_masks(raw: Raw) -> Instances:
    boxes = raw.called("boxes", lambda a: a.ndim == 2 and a.shape[1] in (4, 5))
    found = boxes_labels(raw) if boxes.shape[1] == 5 else boxes_labels_scores(raw)
    masks = raw.called("masks", lambda a: a.ndim in (3, 4))
    if masks.ndim == 4:  # [K, 1, h, w]
        masks = masks[:, 0]
    return replace(found, masks=_painter(in_pixels(boxes[:, :4], raw.geometry), masks, raw.geometry))


def boxes_table(raw: Raw) -> Instances:
    rows = raw.called("boxes", lambda a: a.ndim == 2 and a.shape[1] == 6).astype(np.float32)
    return Instances(in_pixels(rows[:, :4], raw.geometry), rows[:, 5].astype(int), rows[:, 4])


def detection_output(raw: Raw) -> Instances:
    rows = raw.called("boxes", lambda a: a.ndim == 3 and a.shape[2] == 7)[0].astype(np.float32)
    last = np.flatnonzero(rows[:, 0] < 0)  # picture -1: no more rows
    rows = rows[: last[0] if last.size else None]
    return Instances(rows[:, 3:] * _corner_sides(raw.geometry.canvas), rows[:, 1].astype(int), rows[:, 2])


def in_pixels(boxes: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Some exports give 0..1; a picture's boxes that all end within the first two pixels mean that."""
    boxes = np.asarray(boxes, np.float32)
    return boxes * _corner_sides(geometry.canvas) if boxes.size and np.abs(boxes).max() <= 2.0 else boxes


def _corner_sides(canvas: Size) -> np.ndarray:
    """f32 (width, height, width, height)."""
    return np.array([canvas[1], canvas[0]] * 2, np.float32)


def _painter(boxes: np.ndarray, masks: np.ndarray, geometry: Geometry) -> Paint:
    full = masks.size > 0 and _same_aspect((masks.shape[-2], masks.shape[-1]), geometry.canvas)

    def paint(index: int) -> np.ndarray:
        mask = np.asarray(masks[index], np.float32)
        level = 0.5 if mask.min() >= 0 and mask.max() <= 1 else 0.0  # beyond 0..1 they are logits
        if full:
            return geometry.map_to_source(mask) > level
        return _paste(mask, level, geometry.boxes_to_source(boxes[index : index + 1])[0], geometry.source)

    return paint


def _same_aspect(mask: Size, canvas: Size) -> bool:
    # Box masks are small squares (14, 28); full masks have at least an eighth of the input's size.
    height, width = mask
    large = height * 8 >= canvas[0] and width * 8 >= canvas[1] and min(mask) > 28
    return large and abs(height * canvas[1] - width * canvas[0]) <= max(canvas)


def _paste(mask: np.ndarray, level: float, box: np.ndarray, size: Size) -> np.ndarray:
    whole = np.zeros(size, bool)
    x1, y1 = (int(np.floor(value)) for value in box[:2])
    x2, y2 = (int(np.ceil(value)) for value in box[2:])
    x2, y2 = min(x2, size[1]), min(y2, size[0])
    if x2 <= x1 or y2 <= y1:
        return whole
    whole[y1:y2, x1:x2] = cv2.resize(mask, (x2 - x1, y2 - y1), interpolation=cv2.INTER_LINEAR) > level
    return whole


# Detectors whose export stops before non-maximum suppression: YOLO of all kinds, NanoDet, FastestDet, CenterNet.


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
    return _best(_corners(table[:4].T), raw.activated(scores), raw)


def yolo_v5(raw: Raw) -> Instances:
    rows = raw.scored(lambda a: a.ndim == 2 and a.shape[1] > 5)
    scores = rows[:, 5 : 5 + raw.classes if raw.classes else None]
    return _best(_corners(rows[:, :4]), rows[:, 4:5] * scores, raw)


def boxes_scores(raw: Raw) -> Instances:
    given = raw.outputs[raw.facts.explained.score_output]
    scores = np.asarray(given, np.float32)
    if scores.shape[-1] != raw.classes:
        scores = scores.T
    boxes = raw.first(lambda a: a.ndim == 2 and a is not given and a.shape == (len(scores), 4))
    # Corners are in order in every row; of centres and sizes some row breaks it.
    ordered = bool((boxes[:, :2] <= boxes[:, 2:]).all())
    corners = in_pixels(boxes if ordered else _corners(boxes), raw.geometry)
    return _best(corners, raw.activated(scores), raw)


def yolo_v8_seg(raw: Raw) -> Instances:
    rows, prototypes = raw.first(lambda a: a.ndim == 2).T, raw.first(lambda a: a.ndim == 3)
    return _with_prototypes(rows, rows[:, 4 : -len(prototypes)], prototypes, raw)


def yolo_v5_seg(raw: Raw) -> Instances:
    rows, prototypes = raw.first(lambda a: a.ndim == 2), raw.first(lambda a: a.ndim == 3)
    return _with_prototypes(rows, rows[:, 5 : -len(prototypes)] * rows[:, 4:5], prototypes, raw)


def _with_prototypes(rows: np.ndarray, scores: np.ndarray, prototypes: np.ndarray, raw: Raw) -> Instances:
    """rows: a box first, mask coefficients last. prototypes: [M, h, w]."""
    boxes = _corners(rows[:, :4])
    kept = _kept(boxes, scores, raw)
    coefficients = rows[kept, -len(prototypes) :]
    paint = functools.partial(_mix, coefficients, prototypes, boxes[kept], raw.geometry)
    return replace(_chosen(boxes, scores, kept), masks=paint)


def _mix(coefficients: np.ndarray, prototypes: np.ndarray, boxes: np.ndarray, geometry: Geometry, index: int) -> np.ndarray:
    """The mask of one object: a mixture of prototypes, cut to its box."""
    values = np.tensordot(coefficients[index], prototypes, axes=1)
    inside = np.zeros(geometry.source, bool)
    x1, y1, x2, y2 = geometry.boxes_to_source(boxes[index : index + 1])[0].round().astype(int)
    inside[y1:y2, x1:x2] = True
    return inside & (geometry.map_to_source(values) > 0)


def heatmap(raw: Raw) -> Instances:
    table = np.asarray(raw.outputs[raw.facts.explained.score_output], np.float32)
    scores = table.reshape(len(table), -1).max(axis=1)
    return Instances(None, np.arange(len(scores)), raw.activated(scores))


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


def _corners(boxes: np.ndarray) -> np.ndarray:
    """Centre and size -> x1, y1, x2, y2."""
    centre, half = boxes[:, :2], boxes[:, 2:4] / 2
    return np.concatenate([centre - half, centre + half], axis=1)


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


def sigmoid(values: np.ndarray) -> np.ndarray:
    """Elementwise; large negative values don't overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * values)))


# Suppression.


def _best(boxes: np.ndarray, scores: np.ndarray, raw: Raw) -> Instances:
    """boxes: [P, 4]. scores: [P, K]. What is left of them, the best class each."""
    return _chosen(boxes, scores, _kept(boxes, scores, raw))


def _kept(boxes: np.ndarray, scores: np.ndarray, raw: Raw) -> np.ndarray:
    """Rows that survive."""
    if not scores.size:
        return np.zeros(0, int)
    return suppress(boxes, scores.argmax(axis=1), scores.max(axis=1), _FLOOR, raw.facts.info.iou_threshold or _IOU)


def _chosen(boxes: np.ndarray, scores: np.ndarray, rows: np.ndarray) -> Instances:
    if not rows.size:
        return Instances(np.zeros((0, 4), np.float32), np.zeros(0, int), np.zeros(0, np.float32), origin=rows)
    labels = scores[rows].argmax(axis=1)
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
