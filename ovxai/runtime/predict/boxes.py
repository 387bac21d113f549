"""Detectors that finish their boxes inside the graph: OTX, torchvision, Mask R-CNN."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from ovxai.errors import UnsupportedModelError
from ovxai.runtime.facts import ModelFacts
from ovxai.runtime.feed.geometry import Geometry

Outputs = Mapping[str, np.ndarray]


def boxes_labels(outputs: Outputs, facts: ModelFacts, geometry: Geometry) -> Instances:
    """Boxes [K, 5] with the score last, labels [K]: what OTX exports."""
    boxes = _pick(outputs, facts, "boxes", lambda a: a.ndim == 2 and a.shape[1] == 5)
    labels = _pick(outputs, facts, "labels", lambda a: a.ndim == 1)
    return Instances(in_pixels(boxes[:, :4], geometry), labels.astype(int), boxes[:, 4].astype(np.float32))


def boxes_labels_scores(outputs: Outputs, facts: ModelFacts, geometry: Geometry) -> Instances:
    """Boxes [K, 4], labels [K], scores [K]: what torchvision exports."""
    boxes = _pick(outputs, facts, "boxes", lambda a: a.ndim == 2 and a.shape[1] == 4)
    labels = _pick(outputs, facts, "labels", lambda a: a.ndim == 1 and np.issubdtype(a.dtype, np.integer))
    scores = _pick(outputs, facts, "scores", lambda a: a.ndim == 1 and np.issubdtype(a.dtype, np.floating))
    return Instances(in_pixels(boxes, geometry), labels.astype(int), scores.astype(np.float32))


def boxes_labels_masks(outputs: Outputs, facts: ModelFacts, geometry: Geometry) -> Instances:
    """Boxes [K, 5] (or [K, 4] and scores [K]), labels [K], masks [K, h, w] of the box or of the picture."""
    boxes = _pick(outputs, facts, "boxes", lambda a: a.ndim == 2 and a.shape[1] in (4, 5))
    with_scores = boxes_labels if boxes.shape[1] == 5 else boxes_labels_scores
    found = with_scores(outputs, facts, geometry)
    masks = _pick(outputs, facts, "masks", lambda a: a.ndim in (3, 4))
    if masks.ndim == 4:  # [K, 1, h, w]
        masks = masks[:, 0]
    return Instances(found.boxes, found.labels, found.scores, _painter(found.boxes, masks, geometry))


def boxes_table(outputs: Outputs, facts: ModelFacts, geometry: Geometry) -> Instances:
    """Rows [K, 6] of x1, y1, x2, y2, score and class: what end-to-end YOLOs hand out."""
    rows = _pick(outputs, facts, "boxes", lambda a: a.ndim == 2 and a.shape[1] == 6).astype(np.float32)
    return Instances(in_pixels(rows[:, :4], geometry), rows[:, 5].astype(int), rows[:, 4])


def detection_output(outputs: Outputs, facts: ModelFacts, geometry: Geometry) -> Instances:
    """Rows [1, K, 7] of OpenVINO's DetectionOutput: picture (-1: no more), class, score, corners as shares of the input."""
    rows = _pick(outputs, facts, "boxes", lambda a: a.ndim == 3 and a.shape[2] == 7)[0].astype(np.float32)
    last = np.flatnonzero(rows[:, 0] < 0)
    rows = rows[: last[0] if last.size else None]
    height, width = geometry.canvas
    return Instances(rows[:, 3:] * np.float32([width, height] * 2), rows[:, 1].astype(int), rows[:, 2])


def _pick(outputs: Outputs, facts: ModelFacts, name: str, fits) -> np.ndarray:
    """The output called like `name`, else the first one of that form, among the model's own."""
    own = [key for key in facts.own if key in outputs]
    for key in sorted(own, key=lambda key: name not in key.lower()):
        if fits(outputs[key]):
            return outputs[key]
    shapes = ", ".join(f"{key} {outputs[key].shape}" for key in own)
    raise UnsupportedModelError(
        f"{facts.name}: prediction_format says {facts.explained.prediction_format}, but no output holds {name} ({shapes})"
    )


def in_pixels(boxes: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Some exports give 0..1; a picture's boxes that all end within the first two pixels mean that."""
    boxes = np.asarray(boxes, np.float32)
    if boxes.size and np.abs(boxes).max() <= 2.0:
        height, width = geometry.canvas
        return boxes * np.float32([width, height, width, height])
    return boxes


def _painter(boxes: np.ndarray, masks: np.ndarray, geometry: Geometry):
    full = masks.size > 0 and _same_aspect(masks.shape[-2:], geometry.canvas)

    def paint(index: int) -> np.ndarray:
        mask = np.asarray(masks[index], np.float32)
        level = 0.5 if mask.min() >= 0 and mask.max() <= 1 else 0.0  # beyond 0..1 they are logits
        if full:
            return geometry.map_to_source(mask) > level
        return _paste(mask, level, geometry.boxes_to_source(boxes[index : index + 1])[0], geometry.source)

    return paint


def _same_aspect(mask: tuple[int, int], canvas: tuple[int, int]) -> bool:
    # Box masks are small squares (14, 28); full masks have at least an eighth of the input's size.
    height, width = mask
    large = height * 8 >= canvas[0] and width * 8 >= canvas[1] and min(mask) > 28
    return large and abs(height * canvas[1] - width * canvas[0]) <= max(canvas)


def _paste(mask: np.ndarray, level: float, box: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    whole = np.zeros(size, bool)
    x1, y1 = (int(np.floor(value)) for value in box[:2])
    x2, y2 = (int(np.ceil(value)) for value in box[2:])
    x2, y2 = min(x2, size[1]), min(y2, size[0])
    if x2 <= x1 or y2 <= y1:
        return whole
    whole[y1:y2, x1:x2] = cv2.resize(mask, (x2 - x1, y2 - y1), interpolation=cv2.INTER_LINEAR) > level
    return whole


# Objects found in one picture, in the network's own coordinates.


@dataclass(frozen=True)
class Instances:
    """boxes: [K, 4] x1, y1, x2, y2 in pixels of the network's input; None where they can't be read. labels, scores: [K].

    masks: index -> [H, W] bool over the source picture, made only for those that are wanted.
    origin: [K] rows of the raw output from which they come.
    """

    boxes: np.ndarray | None
    labels: np.ndarray
    scores: np.ndarray
    masks: Callable[[int], np.ndarray] | None = None
    origin: np.ndarray | None = None


NONE = Instances(np.zeros((0, 4), np.float32), np.zeros(0, int), np.zeros(0, np.float32), origin=np.zeros(0, int))


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
