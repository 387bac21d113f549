"""Outputs of detectors and instance segmenters -> boxes, labels, scores and masks: those that finish their boxes themselves.

Which format has which decoder stands in `ovxai.runtime.predict.formats`.
"""

from __future__ import annotations

import functools
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

    columns: what the outputs should hold, for messages. only: every candidate with its score for this class is wanted,
    before any suppression; None: each with its best class, after it.
    """

    outputs: Outputs
    facts: ModelFacts
    geometry: Geometry
    columns: str = ""
    only: int | None = None

    @property
    def classes(self) -> int | None:
        return self.facts.explained.num_classes

    def activated(self, scores: np.ndarray) -> np.ndarray:
        """`scores` [..., K] with the sigmoid or softmax that may still be due."""
        due = self.facts.explained.score_activation
        return softmax(scores) if due == "softmax" else sigmoid(scores) if due == "sigmoid" else scores

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
    rows = raw.scored(lambda a: a.ndim == 2 and a.shape[1] >= 6)
    return Instances(in_pixels(rows[:, :4], raw.geometry), rows[:, 5].astype(int), rows[:, 4])


def boxes_angle_table(raw: Raw) -> Instances:
    """Boxes that are turned, as the upright ones around them."""
    rows = raw.scored(lambda a: a.ndim == 2 and a.shape[1] == 7)
    boxes = in_pixels(rows[:, :4], raw.geometry)
    return Instances(around(boxes[:, :2], boxes[:, 2:4], rows[:, 6]), rows[:, 5].astype(int), rows[:, 4])


def boxes_table_masks(raw: Raw) -> Instances:
    rows, prototypes = raw.scored(lambda a: a.ndim == 2 and a.shape[1] > 6), raw.first(lambda a: a.ndim == 3)
    found = boxes_table(raw)
    return replace(found, masks=mixer(found, rows[:, -len(prototypes) :], prototypes, raw))


def boxes_labels_prototypes(raw: Raw) -> Instances:
    prototypes = raw.first(lambda a: a.ndim == 3)
    coefficients = raw.first(lambda a: a.ndim == 2 and a.shape[1] == len(prototypes))
    boxes = raw.called("boxes", lambda a: a.ndim == 2 and a.shape[1] in (4, 5) and a.shape[1] != len(prototypes))
    found = boxes_labels(raw) if boxes.shape[1] == 5 else boxes_labels_scores(raw)
    return replace(found, masks=mixer(found, coefficients, prototypes, raw))


def queries(raw: Raw) -> Instances:
    given = raw.outputs[raw.facts.explained.score_output]
    # Behind the classes a softmax has one more, which is no object.
    scores = raw.activated(np.asarray(given, np.float32))[:, : raw.classes]
    boxes = raw.first(lambda a: a.ndim == 2 and a is not given and a.shape == (len(scores), 4))
    corners = corners_of(boxes) * corner_sides(raw.geometry.canvas)
    labels = scores.argmax(axis=1)
    return Instances(corners, labels, scores[np.arange(len(labels)), labels])


def detection_output(raw: Raw) -> Instances:
    rows = raw.called("boxes", lambda a: a.ndim == 3 and a.shape[2] == 7)[0].astype(np.float32)
    last = np.flatnonzero(rows[:, 0] < 0)  # picture -1: no more rows
    rows = rows[: last[0] if last.size else None]
    return Instances(rows[:, 3:] * corner_sides(raw.geometry.canvas), rows[:, 1].astype(int), rows[:, 2])


def around(centre: np.ndarray, size: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """[K, 4] x1, y1, x2, y2 of the upright boxes around turned ones; angle [K] in radians."""
    cos, sin = np.abs(np.cos(angle)), np.abs(np.sin(angle))
    half = np.stack([size[:, 0] * cos + size[:, 1] * sin, size[:, 0] * sin + size[:, 1] * cos], axis=1) / 2
    return np.concatenate([centre - half, centre + half], axis=1)


def in_pixels(boxes: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Some exports give 0..1; a picture's boxes that all end within the first two pixels mean that."""
    boxes = np.asarray(boxes, np.float32)
    return boxes * corner_sides(geometry.canvas) if boxes.size and np.abs(boxes).max() <= 2.0 else boxes


def corner_sides(canvas: Size) -> np.ndarray:
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


def mixer(found: Instances, coefficients: np.ndarray, prototypes: np.ndarray, raw: Raw) -> Paint:
    """coefficients [K, M] of the prototypes [M, h, w]."""
    boxes = np.zeros((len(found.scores), 4), np.float32) if found.boxes is None else found.boxes
    return functools.partial(_mix, coefficients, prototypes, boxes, raw.geometry)


def _mix(coefficients: np.ndarray, prototypes: np.ndarray, boxes: np.ndarray, geometry: Geometry, index: int) -> np.ndarray:
    """The mask of one object: a mixture of prototypes, cut to its box."""
    values = np.tensordot(coefficients[index], prototypes, axes=1)
    inside = np.zeros(geometry.source, bool)
    x1, y1, x2, y2 = geometry.boxes_to_source(boxes[index : index + 1])[0].round().astype(int)
    inside[y1:y2, x1:x2] = True
    return inside & (geometry.map_to_source(values) > 0)


def corners_of(boxes: np.ndarray) -> np.ndarray:
    """Centre and size -> x1, y1, x2, y2."""
    centre, half = boxes[:, :2], boxes[:, 2:4] / 2
    return np.concatenate([centre - half, centre + half], axis=1)


def softmax(values: np.ndarray) -> np.ndarray:
    """Over the last axis."""
    powers = np.exp(values - values.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def sigmoid(values: np.ndarray) -> np.ndarray:
    """Elementwise; large negative values don't overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * values)))
