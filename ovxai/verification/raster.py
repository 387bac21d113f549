"""Do the features lie in raster order? A patch of the picture is changed; they should move most at its place of the grid.

A token order that is not the raster's (windows, unrolled stages) gives maps that equal their
definition and still point at the wrong places. Receptive fields are wide, in transformers global, so
this is evidence and no proof: it warns, it never fails.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import openvino as ov

from ovxai.graph.picture import PictureInput
from ovxai.metadata import CLASSIFICATION
from ovxai.verification.classification import RANKS, positions_of
from ovxai.verification.engine import Engine
from ovxai.verification.pictures import Batch
from ovxai.verification.plain import Case, port_named
from ovxai.verification.report import Check

#: Patches to try, as parts of height and width.
PLACES = ((0.15, 0.2), (0.15, 0.8), (0.5, 0.35), (0.5, 0.65), (0.8, 0.2), (0.85, 0.8), (0.3, 0.5))
#: A peak this many times the mean response says something about a place.
CLEAR = 2.5
#: Peaks up to this far from the patch, in parts of the side, are at the right place.
NEAR = 0.2
#: Correlation of expected and found places, in rows and in columns, above which all is well.
RIGHT = 0.75

#: A prepared picture [1, ...] -> its feature map [1, c, h, w].
Features = Callable[[np.ndarray], np.ndarray]
Cell = tuple[int, int]


@dataclass(frozen=True)
class Response:
    """How the features answered to one changed patch.

    expected, found: (row, column) of patch and peak, as parts of the grid. clarity: peak over mean.
    """

    expected: tuple[float, float]
    found: tuple[float, float]
    clarity: float

    @property
    def near(self) -> bool:
        return max(abs(a - b) for a, b in zip(self.expected, self.found, strict=True)) <= NEAR


def check_features(case: Case, batch: Batch) -> list[Check]:
    """On the first target layer of a classifier, on the named map of a detector's neck; none where there is neither."""
    info = case.info
    name = info.target_layers[0] if info.task == CLASSIFICATION else info.feature_layer
    if not info.layout or not name:
        return []
    model = case.plain.clone()
    port = port_named(model, name)
    if port.get_partial_shape().rank.is_dynamic or len(port.get_partial_shape()) != RANKS.get(info.layout):
        return []
    engine = Engine(ov.Model([port], model.get_parameters(), "features"))

    def features(picture: np.ndarray) -> np.ndarray:
        # A static batch is filled with the one picture; its first row is looked at.
        full = Batch(np.repeat(picture, len(batch.pictures), axis=0), batch.ids, apart=True)
        tensor = engine(full.feeds(model, case.place))[0][:1].astype(np.float32)
        return positions_of(info, tensor).to_nchw(tensor)

    return [check_raster(batch.pictures[:1], case.place, features)]


def check_raster(picture: np.ndarray, place: PictureInput, features: Features) -> Check:
    """picture: prepared, [1, ...]."""
    title = "raster order"
    still = features(picture)
    if min(still.shape[2:]) < 2 or still.shape[2] * still.shape[3] < 6:
        return Check(title, None, f"could not tell: a grid of {still.shape[2]} x {still.shape[3]} is too small")
    responses = [_respond(cell, moved) for cell, moved in _moves(picture, place, features, still)]
    clear = [one for one in responses if one.clarity >= CLEAR]
    if len(clear) < 4:
        clarity = np.median([one.clarity for one in responses])
        return Check(title, None, f"could not tell: features move everywhere alike (peak {clarity:.1f} x the mean)")
    near = sum(one.near for one in clear)
    rows, columns = _correlation(clear, 0), _correlation(clear, 1)
    figures = (
        f"{near} of {len(clear)} patches move the features at their own place; correlation {rows:.2f} rows, {columns:.2f} columns"
    )
    if min(rows, columns) > RIGHT:
        return Check(title, True, figures)
    if near >= len(clear) / 2:
        return Check(title, None, f"could not tell: {figures}")
    wrong = next((one for one in clear if not one.near), clear[0])
    where = f"a change at {_percent(wrong.expected)} moved them at {_percent(wrong.found)}"
    return Check(title, None, f"warning: {figures}; {where}")


def _moves(picture: np.ndarray, place: PictureInput, features: Features, still: np.ndarray) -> list[tuple[Cell, np.ndarray]]:
    """(changed cell, how much each cell of the grid moved, compared with how it moves on the average patch)."""
    height, width = still.shape[2:]
    # The patch is one whole cell of the grid, so that its place there is known.
    cells = [(min(int(down * height), height - 1), min(int(across * width), width - 1)) for down, across in PLACES]
    changed = [_changed(picture, place, cell, (height, width)) for cell in cells]
    moved = np.stack([np.abs(features(one) - still).sum(axis=(0, 1)) for one in changed])
    # Some cells move at every change (global pooling inside, dead corners): what counts is where a change stands out.
    usual = np.median(moved, axis=0)
    return list(zip(cells, moved / (usual + 0.1 * usual.mean() + 1e-30), strict=True))


def _respond(cell: Cell, moved: np.ndarray) -> Response:
    """cell: where the picture was changed. moved: [h, w], by how much the features did."""
    height, width = moved.shape
    mean = max(float(moved.mean()), 1e-30)
    peak = divmod(int(moved.argmax()), width)
    return Response(_centre(cell, (height, width)), _centre(peak, (height, width)), float(moved.max()) / mean)


def _changed(picture: np.ndarray, place: PictureInput, cell: Cell, grid: Cell) -> np.ndarray:
    """A copy in which the patch under `cell` is turned to its negative, with strong grain on it."""
    changed = picture.copy()
    spans = []
    for index, cells, size in zip(cell, grid, place.sides(picture.shape), strict=True):
        start = index * size // cells
        spans.append(slice(start, max((index + 1) * size // cells, start + 1)))
    region = (slice(None), slice(None), *spans) if place.planar else (slice(None), *spans)
    low, high = float(picture.min()), float(picture.max())
    grain = np.random.default_rng(7).uniform(-0.5, 0.5, changed[region].shape) * (high - low)
    negative = low + high - changed[region].astype(np.float64) + grain
    changed[region] = np.clip(negative, low, high).astype(picture.dtype)
    return changed


def _centre(cell: Cell, grid: Cell) -> tuple[float, float]:
    return (cell[0] + 0.5) / grid[0], (cell[1] + 0.5) / grid[1]


def _correlation(responses: list[Response], axis: int) -> float:
    expected = np.array([one.expected[axis] for one in responses])
    found = np.array([one.found[axis] for one in responses])
    if expected.std() == 0 or found.std() == 0:
        return 0.0
    return float(np.corrcoef(expected, found)[0, 1])


def _percent(place: tuple[float, float]) -> str:
    return f"row {place[0]:.0%}, column {place[1]:.0%}"
