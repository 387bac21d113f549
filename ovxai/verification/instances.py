"""InstSeg by its definition, instance by instance in NumPy: per class the mean of (binary mask * score).

The outputs that rt_info names become instances of one form, whatever the family; each is laid on the grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import openvino as ov

from ovxai.errors import UnsupportedModelError
from ovxai.graph.picture import find_picture_input
from ovxai.metadata import ExplainedInfo, ModelInfo
from ovxai.verification.engine import Feeds, comes_from, values_of
from ovxai.verification.maps import Definition, bilinear, parse_size, sampled
from ovxai.verification.plain import port_named

STRIDE = 4
THRESHOLD = 0.5
#: The threshold is a jump: cells whose value lies this near to it are left out. A sigmoid rises by a quarter at its
#: middle, so the same nearness is four times as wide in logits.
NEAR, NEAR_LOGIT = 1e-4, 4e-4
#: Rounding of a box's edge, in pixels.
NEAR_EDGE = 1e-2
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


def instance_segmentation(plain: ov.Model, info: ExplainedInfo, feeds: Feeds) -> Definition:
    """The maps of every class for the pictures in `feeds`.

    Raises:
        TargetLayerError, UnsupportedModelError: rt_info names what the model does not have, or leaves something open.
    """
    if not info.num_classes:
        raise UnsupportedModelError("rt_info has no num_classes; maps of instances can't be counted")
    place = find_picture_input(plain, info)
    fed = feeds[place.index].shape
    height, width = info.network_size or place.sides(fed)
    grid = parse_size(info.map_size) if info.map_size else (max(height // STRIDE, 1), max(width // STRIDE, 1))
    found = read_instances(plain, info, info.num_classes, feeds, (height, width))
    if info.box_unit == "share":
        found = [replace(one, boxes=one.boxes * np.array([width, height, width, height], np.float32)) for one in found]
    if len(found) != fed[0]:
        raise UnsupportedModelError(f"instances of {len(found)} pictures came out for {fed[0]}")
    maps, doubtful = zip(*(_picture(one, info.num_classes, grid, (height, width)) for one in found), strict=True)
    stacked = np.stack(maps)
    return Definition(
        maps=stacked,
        features=_features(plain, info, feeds),
        ranking=stacked.max(axis=(2, 3)),
        doubtful=np.stack(doubtful),
        notes=(_counted(found),),
    )


def _counted(found: list[Instances]) -> str:
    counts = [int(one.valid.sum()) for one in found]
    if not any(counts):
        return "no instances on the probe picture: only empty maps were compared; give --image"
    return f"instances found: {', '.join(map(str, counts))}"


def _features(plain: ov.Model, info: ExplainedInfo, feeds: Feeds) -> np.ndarray | None:
    if not info.feature_layer:
        return None
    model = plain.clone()
    return values_of(model, [port_named(model, info.feature_layer)], feeds)[0]


def _picture(found: Instances, classes: int, grid: tuple[int, int], picture: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """([K, gh, gw], doubtful cells): mean over each class's instances."""
    total = np.zeros((classes, *grid))
    doubtful = np.zeros((classes, *grid), bool)
    count = np.zeros(classes)
    for index in np.flatnonzero(found.valid):
        label = int(found.labels[index])
        if label >= classes:
            continue
        inside, near = _on_grid(found, int(index), grid, picture)
        total[label] += inside * float(found.scores[index])
        doubtful[label] |= near
        count[label] += 1
    return total / np.maximum(count, 1)[:, None, None], doubtful


def _on_grid(found: Instances, index: int, grid: tuple[int, int], picture: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """(binary mask of one instance on the grid, cells too near to its threshold)."""
    rows, columns = ((np.arange(cells) + 0.5) * side / cells for cells, side in zip(grid, picture, strict=True))
    box, mask = found.boxes[index].astype(np.float64), found.masks[index]
    if found.prototypes is not None:
        value = np.tensordot(mask.astype(np.float64), bilinear(found.prototypes.astype(np.float64), *grid), axes=1)
        covered, edge = _covered(box, rows, columns)
        return (value > 0) & covered, ((np.abs(value) < NEAR_LOGIT) & covered) | edge
    if found.full:
        value = bilinear(mask, *grid)
        limit, near = (0.0, NEAR_LOGIT) if found.logits else (THRESHOLD, NEAR)
        return value > limit, np.abs(value - limit) < near
    value = _pasted(_sigmoid(mask) if found.logits else mask, box, rows, columns)
    return value > THRESHOLD, np.abs(value - THRESHOLD) < NEAR


def _covered(box: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which cells' centres lie in the box, and which so near to its edge that rounding decides."""
    x1, y1, x2, y2 = box
    inside = ((rows >= y1) & (rows < y2))[:, None] & ((columns >= x1) & (columns < x2))[None]
    edge = (_close(rows, y1) | _close(rows, y2))[:, None] | (_close(columns, x1) | _close(columns, x2))[None]
    return inside, edge


def _close(centres: np.ndarray, line: float) -> np.ndarray:
    return np.abs(centres - line) < NEAR_EDGE


def _pasted(mask: np.ndarray, box: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The mask at each grid point: bilinear between its cells' centres, falling to 0 beyond the outermost ones."""
    x1, y1, x2, y2 = box
    height, width = mask.shape
    down = (rows - y1) / max(y2 - y1, 1e-3) * height - 0.5
    across = (columns - x1) / max(x2 - x1, 1e-3) * width - 0.5
    # One cell of zeros all around, so places count from one cell earlier.
    return sampled(np.pad(mask, 1), down + 1, across + 1)


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))


def read_instances(plain: ov.Model, info: ExplainedInfo, classes: int, feeds: Feeds, picture: tuple[int, int]) -> list[Instances]:
    """One entry per picture of the batch in `feeds`. classes: how many there are. picture: (height, width) of each.

    Raises:
        UnsupportedModelError: the tensors are not boxes, labels, masks, nor a table with prototypes.
    """
    model = plain.clone()
    ports = [port_named(model, name) for name in info.target_layers]
    of_region = [comes_from(port.get_node(), REGION_OPS) for port in ports]
    if not 0 <= info.explained_output < len(model.get_results()):
        raise UnsupportedModelError(f"rt_info says output {info.explained_output} is explained; the plain part has none")
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


def suppress(boxes: np.ndarray, scores: np.ndarray, iou: float | None, score: float | None, most: int = BEST) -> np.ndarray:
    """Greedy suppression of overlapping boxes, one class at a time.

    boxes: [P, 4], x1, y1, x2, y2. scores: [P, K]. iou, score: thresholds. Gives rows (box, class) of the best
    that are kept, [I, 2], `most` of each class and of all.
    """
    # A threshold of zero is as good as none stated: the inserting side takes the usual one then, too.
    iou, score = iou or IOU, score or SCORE
    kept = []
    for label in range(scores.shape[1]):
        order = [int(i) for i in np.argsort(-scores[:, label], kind="stable") if scores[i, label] > score]
        chosen: list[int] = []
        for index in order:
            if len(chosen) < most and all(_overlap(boxes[index], boxes[other]) <= iou for other in chosen):
                chosen.append(index)
        kept += [(scores[index, label], index, label) for index in chosen]
    kept.sort(key=lambda row: -row[0])
    return np.array([row[1:] for row in kept[:most]], np.int64).reshape(-1, 2)


def _overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union."""
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    if (sides <= 0).any():
        return 0.0
    shared = float(sides[0] * sides[1])
    areas = [float((box[2] - box[0]) * (box[3] - box[1])) for box in (one, other)]
    return shared / (sum(areas) - shared)
