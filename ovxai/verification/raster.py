"""Do the features lie in raster order? A patch of the picture is changed; they should move most at its place of the grid.

A token order that is not the raster's (windows, unrolled stages) gives maps that equal their
definition and still point at the wrong places. Receptive fields are wide, in transformers global, so
this is evidence and no proof: it warns, it never fails.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ovxai.verification.inputs import PictureInput
from ovxai.verification.report import Check

#: Patches to try, as parts of height and width.
PLACES = ((0.15, 0.2), (0.15, 0.8), (0.5, 0.35), (0.5, 0.65), (0.8, 0.2), (0.85, 0.8), (0.3, 0.5))
#: A peak this many times the mean response says something about a place.
CLEAR = 2.5
#: Peaks up to this far from the patch, in parts of the side, are at the right place.
NEAR = 0.2

#: Correlation of expected and found places, in rows and in columns, above which all is well.
RIGHT = 0.75

Features = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Response:
    """expected, found: (row, column) as parts of the grid. clarity: peak over mean."""

    expected: tuple[float, float]
    found: tuple[float, float]
    clarity: float

    @property
    def near(self) -> bool:
        return max(abs(a - b) for a, b in zip(self.expected, self.found, strict=True)) <= NEAR


def check_raster(picture: np.ndarray, place: PictureInput, features: Features) -> Check:
    """`features` maps a prepared picture [1, ...] to its feature map [1, c, h, w]."""
    title = "raster order"
    still = features(picture)
    if min(still.shape[2:]) < 2 or still.shape[2] * still.shape[3] < 6:
        return Check(title, None, f"could not tell: a grid of {still.shape[2]} x {still.shape[3]} is too small")
    moves = _moves(picture, place, features, still)
    responses = [_respond(cell, moved) for cell, moved in moves]
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
    return Check(
        title,
        None,
        f"warning: {figures}; a change at {_percent(wrong.expected)} moved them at {_percent(wrong.found)}",
    )


def _moves(
    picture: np.ndarray, place: PictureInput, features: Features, still: np.ndarray
) -> list[tuple[tuple[int, ...], np.ndarray]]:
    """(changed cell, how much each cell of the grid moved, compared with how it moves on the average patch)."""
    grid = still.shape[2:]
    # The patch is one whole cell of the grid, so that its place there is known.
    cells = [tuple(min(int(part * size), size - 1) for part, size in zip(where, grid, strict=True)) for where in PLACES]
    moved = np.stack([np.abs(features(_changed(picture, place, cell, grid)) - still).sum(axis=(0, 1)) for cell in cells])
    # Some cells move at every change (global pooling inside, dead corners): what counts is where a change stands out.
    usual = np.median(moved, axis=0)
    return list(zip(cells, moved / (usual + 0.1 * usual.mean() + 1e-30), strict=True))


def _respond(cell: tuple[int, ...], moved: np.ndarray) -> Response:
    peak = np.unravel_index(int(moved.argmax()), moved.shape)
    mean = max(float(moved.mean()), 1e-30)
    return Response(_centre(cell, moved.shape), _centre(peak, moved.shape), float(moved.max()) / mean)


def _changed(picture: np.ndarray, place: PictureInput, cell: tuple[int, ...], grid: tuple[int, ...]) -> np.ndarray:
    """A copy in which the patch under `cell` is turned to its negative, with strong grain on it."""
    changed = picture.copy()
    axes = picture.shape[2:] if place.nchw else picture.shape[1:3]
    spans = []
    for index, cells, size in zip(cell, grid, axes, strict=True):
        start = index * size // cells
        spans.append(slice(start, max((index + 1) * size // cells, start + 1)))
    region = (slice(None), slice(None), *spans) if place.nchw else (slice(None), *spans)
    low, high = float(picture.min()), float(picture.max())
    grain = np.random.default_rng(7).uniform(-0.5, 0.5, changed[region].shape) * (high - low)
    negative = low + high - changed[region].astype(np.float64) + grain
    changed[region] = np.clip(negative, low, high).astype(picture.dtype)
    return changed


def _centre(cell: tuple[int, ...], grid: tuple[int, ...]) -> tuple[float, float]:
    return tuple((int(index) + 0.5) / size for index, size in zip(cell, grid, strict=True))


def _correlation(responses: list[Response], axis: int) -> float:
    expected = np.array([one.expected[axis] for one in responses])
    found = np.array([one.found[axis] for one in responses])
    if expected.std() == 0 or found.std() == 0:
        return 0.0
    return float(np.corrcoef(expected, found)[0, 1])


def _percent(place: tuple[float, float]) -> str:
    return f"row {place[0]:.0%}, column {place[1]:.0%}"
