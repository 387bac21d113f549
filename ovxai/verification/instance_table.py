"""Instances of every family in one form, from the outputs that rt_info names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import openvino as ov

from ovxai.errors import UnsupportedModelError
from ovxai.metadata import ExplainedInfo, ModelInfo
from ovxai.verification.engine import Feeds, comes_from, values_of
from ovxai.verification.plain import port_named

REGION_OPS = (
    "ROIAlign", "ROIAlignRotated", "ROIPooling", "PSROIPooling", "DeformablePSROIPooling",
    "ExperimentalDetectronROIFeatureExtractor",
)  # fmt: skip
#: Candidates before suppression: what stands in front of the class scores in a row (box, or box and objectness).
CANDIDATES = {"yolo-v8-seg": 4, "yolo-v5-seg": 5}
#: Suppression where model_info does not say; and how many instances a class and a picture keep.
IOU, SCORE, BEST = 0.5, 0.25, 100


@dataclass(frozen=True)
class Instances:
    """Of one picture. I: how many, padding included.

    boxes: [I, 4], x1, y1, x2, y2 in pixels of the input. labels, scores: [I].
    masks: [I, mh, mw], of the box or, where `full`, of the picture; or coefficients [I, M] of `prototypes` [M, h, w].
    logits: whether mask values still lack their sigmoid.
    """

    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    masks: np.ndarray
    full: bool = False
    logits: bool = True
    prototypes: np.ndarray | None = None

    @property
    def valid(self) -> np.ndarray:
        """[I]: real instances. Padding has no extent, no score or no label, and may hold NaNs."""
        x1, y1, x2, y2 = self.boxes.T
        return (x1 < x2) & (y1 < y2) & (self.scores > 0) & (self.labels >= 0)


def read_instances(plain: ov.Model, info: ExplainedInfo, classes: int, feeds: Feeds, picture: tuple[int, int]) -> list[Instances]:
    """One entry per picture of the batch in `feeds`. classes: how many there are. picture: (height, width) of each.

    Raises:
        UnsupportedModelError: the tensors are not boxes, labels, masks, nor a table with prototypes.
    """
    model = plain.clone()
    ports = [port_named(model, name) for name in info.target_layers]
    of_region = [comes_from(port.get_node(), REGION_OPS) for port in ports]
    result = model.get_results()[info.explained_output].input(0).get_source_output()
    *values, scores = values_of(model, [*ports, result], feeds)
    if len(values) == 2 and values[0].ndim == 3 and values[1].ndim == 4:
        if info.prediction_format in CANDIDATES:
            return _from_candidates(values[0], values[1], info.prediction_format, classes, ModelInfo.read(plain))
        return _from_table(values[0], values[1])
    if len(values) not in (3, 4):
        raise UnsupportedModelError(f"rt_info names {len(values)} target layers; instances need boxes, labels and masks")
    boxes, labels, masks, *prototypes = values
    if boxes.ndim == 2:
        boxes, labels, masks, scores = boxes[None], labels[None], masks[None], scores[None]
    scores = boxes[..., 4] if boxes.shape[-1] == 5 else scores
    if scores.ndim != 2 or scores.shape != labels.shape:
        raise UnsupportedModelError(f"scores of shape {list(scores.shape)} do not go with labels of shape {list(labels.shape)}")
    rows = zip(boxes[..., :4], labels, scores, masks, strict=True)
    if prototypes:
        return [Instances(b, n, s, m, prototypes=p) for (b, n, s, m), p in zip(rows, prototypes[0], strict=True)]
    return [_with_masks(b, n, s, m, of_region[2], picture) for b, n, s, m in rows]


def _with_masks(
    boxes: np.ndarray, labels: np.ndarray, scores: np.ndarray, masks: np.ndarray, of_region: bool, picture: tuple[int, int]
) -> Instances:
    """of_region: whether the masks come from an operation that cuts regions out of maps."""
    masks = (masks[:, 0] if masks.ndim == 4 else masks).astype(np.float64)
    full = masks.shape[1:] == picture or (not of_region and _same_aspect(masks.shape[1:], picture))
    finite = masks[np.isfinite(masks)]
    # Probabilities never leave 0..1; logits of any real network do.
    logits = bool(finite.size) and bool(finite.min() < 0 or finite.max() > 1)
    return Instances(boxes, labels, scores, masks, full, logits)


def _same_aspect(sides: Sequence[int], picture: tuple[int, int]) -> bool:
    return abs(sides[0] * picture[1] - sides[1] * picture[0]) <= max(picture)


def _from_table(table: np.ndarray, prototypes: np.ndarray) -> list[Instances]:
    """End-to-end YOLO: rows of box, score, label, coefficients."""
    if table.shape[2] != 6 + prototypes.shape[1]:
        raise UnsupportedModelError(
            f"rows of {table.shape[2]} values do not hold box, score, label and {prototypes.shape[1]} coefficients"
        )
    return [
        Instances(rows[:, :4], rows[:, 5].astype(np.int64), rows[:, 4], rows[:, 6:], prototypes=own)
        for rows, own in zip(table, prototypes, strict=True)
    ]


def _from_candidates(table: np.ndarray, prototypes: np.ndarray, form: str, classes: int, own: ModelInfo) -> list[Instances]:
    """YOLO-seg before suppression: candidates of centre, extent, (objectness,) class scores and coefficients."""
    rows = table.transpose(0, 2, 1) if form == "yolo-v8-seg" else table
    front = CANDIDATES[form]
    if rows.shape[2] != front + classes + prototypes.shape[1]:
        raise UnsupportedModelError(
            f"candidates of {rows.shape[2]} values do not hold {classes} classes and {prototypes.shape[1]} coefficients"
        )
    found = []
    for candidates, maps in zip(rows, prototypes, strict=True):
        centre, half = candidates[:, :2], candidates[:, 2:4] * np.float32(0.5)
        boxes = np.concatenate([centre - half, centre + half], axis=1)
        scores = candidates[:, front : front + classes]
        scores = scores * candidates[:, 4:5] if front == 5 else scores
        kept = suppress(boxes, scores, own.iou_threshold, own.confidence_threshold)
        which, labels = kept[:, 0], kept[:, 1]
        coefficients = candidates[which, front + classes :]
        found.append(Instances(boxes[which], labels, scores[which, labels], coefficients, prototypes=maps))
    return found


def suppress(boxes: np.ndarray, scores: np.ndarray, iou: float | None, score: float | None) -> np.ndarray:
    """Greedy suppression of overlapping boxes, one class at a time.

    boxes: [P, 4], x1, y1, x2, y2. scores: [P, K]. iou, score: thresholds. Gives rows (box, class) of the best
    that are kept, [I, 2].
    """
    # A threshold of zero is as good as none stated: the inserting side takes the usual one then, too.
    iou, score = iou or IOU, score or SCORE
    kept = []
    for label in range(scores.shape[1]):
        order = [int(i) for i in np.argsort(-scores[:, label], kind="stable") if scores[i, label] > score]
        chosen: list[int] = []
        for index in order:
            if len(chosen) < BEST and all(_overlap(boxes[index], boxes[other]) <= iou for other in chosen):
                chosen.append(index)
        kept += [(scores[index, label], index, label) for index in chosen]
    kept.sort(key=lambda row: -row[0])
    return np.array([row[1:] for row in kept[:BEST]], np.int64).reshape(-1, 2)


def _overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union."""
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    if (sides <= 0).any():
        return 0.0
    shared = float(sides[0] * sides[1])
    areas = [float((box[2] - box[0]) * (box[3] - box[1])) for box in (one, other)]
    return shared / (sum(areas) - shared)
