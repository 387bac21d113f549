"""Coordinates of a tensor's entries along one side of the picture, and the arithmetic that operations do on them.

A `Field` is an array as broad as the tensor along the axes on which the coordinate depends, and of extent 1 along all
others; so a map [N, C, 7, 7] has its rows in an array [1, 1, 7, 1]. What moves entries (reshapes, slices, rolls, windows)
moves the coordinates in the same way, which is why nothing has to be told from sizes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ovxai.graph.graph import Shape

#: The picture's sides, and the pictures of a batch.
HEIGHT, WIDTH, BATCH = "H", "W", "N"
#: Larger arrays are given up: no feature map has so many positions.
MOST_ENTRIES = 1 << 22


class Lost(Exception):
    """An operation leaves no coordinates; says why."""


@dataclass(frozen=True, eq=False)
class Field:
    """Where entries lie along one side.

    side: HEIGHT or WIDTH, in pixels of the input; BATCH, in pictures. centres: of the tensor's rank, NaN for entries that
    are no positions (class tokens). cell: how many pixels one entry covers.
    """

    side: str
    centres: np.ndarray
    cell: float

    @property
    def axes(self) -> frozenset[int]:
        """The axes on which the coordinate depends."""
        return frozenset(axis for axis, size in enumerate(self.centres.shape) if size > 1)

    @property
    def known(self) -> bool:
        """Whether any entry is a position."""
        return not bool(np.isnan(self.centres).all())

    @property
    def ends(self) -> tuple[float, float]:
        """The part of the side that all entries cover together, in pixels."""
        return float(np.nanmin(self.centres)) - self.cell / 2, float(np.nanmax(self.centres)) + self.cell / 2

    def moved(self, centres: np.ndarray, cell: float | None = None) -> Field:
        return replace(self, centres=compact(centres), cell=self.cell if cell is None else cell)


def compact(centres: np.ndarray) -> np.ndarray:
    """Extent 1 along every axis on which nothing depends."""
    for axis, size in enumerate(centres.shape):
        if size > 1:
            first = centres.take([0], axis)
            if np.array_equal(np.broadcast_to(first, centres.shape), centres, equal_nan=True):
                centres = first
    return centres


# Entries change places.


def taken(field: Field, axis: int, index: np.ndarray) -> Field:
    """The entries `index` along `axis`."""
    return field if field.centres.shape[axis] == 1 else field.moved(field.centres.take(index.astype(np.int64), axis))


def strided(field: Field, axis: int, places: range) -> Field:
    """Every so many entries along `axis`: each stands for those that are left out beside it."""
    size, pace = field.centres.shape[axis], abs(places.step)
    if size == 1 or pace == 1 or len(places) < 2:
        return taken(field, axis, np.asarray(places))
    ordered = places if places.step > 0 else places[::-1]
    if ordered[0] < pace and ordered[-1] >= size - pace:  # all of the axis, thinned out
        try:
            thin = spread(field, axis, len(places))
            return thin if places.step > 0 else thin.moved(np.flip(thin.centres, axis))
        except Lost:
            pass
    index = np.asarray(places)
    last = np.clip(index + (pace - 1), 0, size - 1)
    return field.moved((field.centres.take(index, axis) + field.centres.take(last, axis)) / 2, field.cell * pace)


def permuted(field: Field, order: Sequence[int]) -> Field:
    return replace(field, centres=field.centres.transpose(order))


def reshaped(field: Field, before: Shape, after: Shape) -> Field:
    """As the tensor is: axes are split and joined row by row."""
    wide: list[int] = []
    out: list[int] = []
    for left, right in runs(before, after):
        varies = any(field.centres.shape[axis] > 1 for axis in left)
        wide += [before[axis] if varies else 1 for axis in left]
        out += [after[axis] if varies else 1 for axis in right]
    if math.prod(wide) > MOST_ENTRIES:
        raise Lost(f"more than {MOST_ENTRIES} entries are joined with positions")
    if math.prod(out) != math.prod(wide):
        raise Lost(f"a reshape from {list(before)} to {list(after)} does not keep the number of entries")
    return field.moved(np.broadcast_to(field.centres, wide).reshape(out))


def runs(before: Shape, after: Shape) -> list[tuple[list[int], list[int]]]:
    """The shortest runs of neighbouring axes that hold the same number of entries before and after, in order."""
    found: list[tuple[list[int], list[int]]] = []
    left: list[int] = []
    right: list[int] = []
    have = want = 1
    i = j = 0
    while i < len(before) or j < len(after):
        if (have <= want and i < len(before)) or j == len(after):
            left.append(i)
            have, i = have * before[i], i + 1
        else:
            right.append(j)
            want, j = want * after[j], j + 1
        if have == want and left and right:
            found.append((left, right))
            left, right, have, want = [], [], 1, 1
    if left or right:
        found.append((left, right))
    return found


def placed(field: Field, rank: int, places: Sequence[int]) -> Field:
    """In a tensor of `rank` axes, where axis i becomes axis `places[i]`."""
    shape = [1] * rank
    for axis, place in enumerate(places):
        shape[place] = field.centres.shape[axis]
    order = sorted(range(len(places)), key=lambda axis: places[axis])
    return replace(field, centres=field.centres.transpose(order).reshape(shape))


def joined(parts: Sequence[Field | None], sizes: Sequence[int], axis: int) -> Field:
    """One behind the other along `axis`; entries of a part without coordinates are no positions."""
    known = [part for part in parts if part is not None]
    shape = np.broadcast_shapes(*(part.centres.take([0], axis).shape for part in known))
    pieces = []
    for part, size in zip(parts, sizes, strict=True):
        wide = (*shape[:axis], size, *shape[axis + 1 :])
        pieces.append(np.full(wide, np.nan) if part is None else np.broadcast_to(part.centres, wide))
    return known[0].moved(np.concatenate(pieces, axis), min(part.cell for part in known))


# Entries are made of several.


def merged(field: Field, axes: Sequence[int]) -> Field:
    """Each entry made of all along `axes`, which then have extent 1: the middle of what they cover."""
    own = tuple(axis for axis in axes if field.centres.shape[axis] > 1)
    if not own:
        return field
    filled = np.isfinite(field.centres)
    low = np.where(filled, field.centres, np.inf).min(own, keepdims=True)
    high = np.where(filled, field.centres, -np.inf).max(own, keepdims=True)
    some = np.isfinite(low)
    centres = np.where(some, (np.where(some, low, 0) + np.where(some, high, 0)) / 2, np.nan)
    spans = (high - low)[some]
    return field.moved(centres, field.cell + float(spans.max() if spans.size else 0))


def spread(field: Field, axis: int, count: int) -> Field:
    """`count` entries along `axis` that cover together what is covered now.

    Convolutions, pools and resizes keep what the map as a whole covers: their kernels reach beyond the borders that they
    were given, or stay within them by less than one cell.
    """
    size = field.centres.shape[axis]
    if size in (1, count):
        return field
    return _laid(field, axis, 0.0, size / count, count)


def stepped(field: Field, axis: int, start: float, step: float, count: int) -> Field:
    """`count` entries along `axis`, of `step` entries each, from `start` on; what lies beyond the ends is continued."""
    return field if field.centres.shape[axis] == 1 else _laid(field, axis, start, step, count)


def _laid(field: Field, axis: int, start: float, step: float, count: int) -> Field:
    size = field.centres.shape[axis]
    lines = np.moveaxis(field.centres, axis, -1)
    pace = (lines[..., -1:] - lines[..., :1]) / (size - 1)
    straight = lines[..., :1] + pace * np.arange(size)
    off = np.abs(straight - lines)
    if not np.isfinite(off).all() or float(off.max()) > 0.5 * field.cell:
        raise Lost("neighbours along its axis are no neighbours on the picture")
    index = start + step * (np.arange(count) + 0.5) - 0.5
    return field.moved(np.moveaxis(lines[..., :1] + pace * index, -1, axis), field.cell * step)


# Fields of several operands meet.


def near(one: Field, other: Field) -> bool:
    """Whether both say the same of every entry, but for less than a cell (or a pixel); entries that are no positions
    for one of them don't count."""
    off = np.abs(one.centres - other.centres)
    return not bool((off > max(one.cell, other.cell, 1.0) + 1e-6).any())
