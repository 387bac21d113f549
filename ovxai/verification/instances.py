"""InstSeg by its definition, instance by instance in NumPy: per class the mean of (binary mask * score)."""

from __future__ import annotations

import numpy as np
import openvino as ov

from ovxai.errors import UnsupportedModelError
from ovxai.graph.picture import find_picture_input
from ovxai.metadata import ExplainedInfo
from ovxai.verification.engine import Feeds, values_of
from ovxai.verification.instance_table import Instances, read_instances
from ovxai.verification.maps import Definition, bilinear, parse_size, sampled
from ovxai.verification.plain import port_named

STRIDE = 4
THRESHOLD = 0.5
#: The threshold is a jump: cells whose value lies this near to it are left out. A sigmoid rises by a quarter at its
#: middle, so the same nearness is four times as wide in logits.
NEAR, NEAR_LOGIT = 1e-4, 4e-4
#: Rounding of a box's edge, in pixels.
NEAR_EDGE = 1e-2


def instance_segmentation(plain: ov.Model, info: ExplainedInfo, feeds: Feeds) -> Definition:
    """The maps of every class for the pictures in `feeds`.

    Raises:
        TargetLayerError, UnsupportedModelError: rt_info names what the model does not have, or leaves something open.
    """
    if not info.num_classes:
        raise UnsupportedModelError("rt_info has no num_classes; maps of instances can't be counted")
    place = find_picture_input(plain, info)
    fed = feeds[place.index].shape
    height, width = place.sides(fed)
    grid = parse_size(info.map_size) if info.map_size else (max(height // STRIDE, 1), max(width // STRIDE, 1))
    found = read_instances(plain, info, info.num_classes, feeds, (height, width))
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
