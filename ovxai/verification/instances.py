"""InstSeg by its definition, instance by instance in NumPy: per class the mean of (binary mask * score)."""

from __future__ import annotations

import numpy as np
import openvino as ov

from ovxai.errors import UnsupportedModelError
from ovxai.metadata import ExplainedInfo
from ovxai.verification.compare import Definition
from ovxai.verification.detection import bilinear
from ovxai.verification.engine import Feeds, values_of
from ovxai.verification.inputs import picture_input
from ovxai.verification.instance_table import BOX, FULL, Instances, read_instances
from ovxai.verification.plain import port_named

STRIDE = 4
THRESHOLD = 0.5
#: The threshold is a jump: cells whose value lies this near to it are left out.
NEAR = 1e-4
#: Rounding of a box's edge, in pixels.
NEAR_EDGE = 1e-2


def instance_segmentation(plain: ov.Model, info: ExplainedInfo, feeds: Feeds) -> Definition:
    """The maps of every class for the pictures in `feeds`."""
    if not info.num_classes:
        raise UnsupportedModelError("rt_info has no num_classes; maps of instances can't be counted")
    place = picture_input(plain)
    fed = feeds[place.index].shape
    picture = tuple(fed[2:] if place.nchw else fed[1:3])
    grid = (
        tuple(int(word) for word in info.map_size.split("x"))
        if info.map_size
        else tuple(max(side // STRIDE, 1) for side in picture)
    )
    found = read_instances(plain, info, feeds, picture)
    if len(found) != fed[0]:
        raise UnsupportedModelError(f"instances of {len(found)} pictures came out for {fed[0]}")
    maps, doubtful = zip(*(_picture(one, info.num_classes, grid, picture) for one in found), strict=True)
    counts = [int(_valid(one).sum()) for one in found]
    notes = (f"instances found: {', '.join(map(str, counts))}",)
    if not any(counts):
        notes = ("no instances on the probe picture: only empty maps were compared; give --image",)
    stacked = np.stack(maps)
    return Definition(
        maps=stacked, features=_features(plain, info, feeds), ranking=stacked.max(axis=(2, 3)),
        doubtful=np.stack(doubtful), notes=notes,
    )  # fmt: skip


def _features(plain: ov.Model, info: ExplainedInfo, feeds: Feeds) -> np.ndarray | None:
    if not info.feature_layer:
        return None
    model = plain.clone()
    return values_of(model, [port_named(model, info.feature_layer)], feeds)[0]


def _valid(found: Instances) -> np.ndarray:
    """[I]: real instances. Padding has no extent, no score or no label, and may hold NaNs."""
    x1, y1, x2, y2 = found.boxes.T
    return (x1 < x2) & (y1 < y2) & (found.scores > 0) & (found.labels >= 0)


def _picture(found: Instances, classes: int, grid: tuple[int, int], picture: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """([K, gh, gw], doubtful cells): mean over each class's instances."""
    total = np.zeros((classes, *grid))
    doubtful = np.zeros((classes, *grid), bool)
    count = np.zeros(classes)
    for index in np.flatnonzero(_valid(found)):
        label = int(found.labels[index])
        if label >= classes:
            continue
        inside, near = _on_grid(found, index, grid, picture)
        total[label] += inside * float(found.scores[index])
        doubtful[label] |= near
        count[label] += 1
    return total / np.maximum(count, 1)[:, None, None], doubtful


def _on_grid(found: Instances, index: int, grid: tuple[int, int], picture: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """(binary mask of one instance on the grid, cells too near to its threshold)."""
    rows, columns = ((np.arange(cells) + 0.5) * side / cells for cells, side in zip(grid, picture, strict=True))
    box = found.boxes[index].astype(np.float64)
    if found.kind == BOX:
        mask = _sigmoid(found.masks[index]) if found.logits else found.masks[index]
        value = _pasted(mask, box, rows, columns)
        return value > THRESHOLD, np.abs(value - THRESHOLD) < NEAR
    if found.kind == FULL:
        value = bilinear(found.masks[index], *grid)
        limit = 0.0 if found.logits else THRESHOLD
        # A sigmoid rises by a quarter at its middle: the same nearness is four times as wide in logits.
        return value > limit, np.abs(value - limit) < (4 * NEAR if found.logits else NEAR)
    prototypes = bilinear(found.prototypes.astype(np.float64), *grid)
    value = np.tensordot(found.masks[index].astype(np.float64), prototypes, axes=1)
    x1, y1, x2, y2 = box
    covered = ((rows >= y1) & (rows < y2))[:, None] & ((columns >= x1) & (columns < x2))[None]
    edge = (_close(rows, y1) | _close(rows, y2))[:, None] | (_close(columns, x1) | _close(columns, x2))[None]
    return (value > 0) & covered, ((np.abs(value) < 4 * NEAR) & covered) | edge


def _close(centres: np.ndarray, line: float) -> np.ndarray:
    return np.abs(centres - line) < NEAR_EDGE


def _pasted(mask: np.ndarray, box: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The mask at each grid point: bilinear between its cells' centres, falling to 0 beyond the outermost ones."""
    x1, y1, x2, y2 = box
    height, width = mask.shape
    down = (rows - y1) / max(y2 - y1, 1e-3) * height - 0.5
    across = (columns - x1) / max(x2 - x1, 1e-3) * width - 0.5
    framed = np.pad(mask, 1)
    down, across = np.clip(down, -1, height) + 1, np.clip(across, -1, width) + 1
    top, left = (
        np.minimum(np.floor(down).astype(int), height),
        np.minimum(np.floor(across).astype(int), width),
    )
    below, right = (down - top)[:, None], (across - left)[None]
    upper = framed[top][:, left] * (1 - right) + framed[top][:, left + 1] * right
    lower = framed[top + 1][:, left] * (1 - right) + framed[top + 1][:, left + 1] * right
    return upper * (1 - below) + lower * below


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))
