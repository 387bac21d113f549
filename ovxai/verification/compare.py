"""How far a map may be from its definition, and how far it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

#: Relative to the maps' mean spread over their cells, and to the largest value anywhere.
OF_SPREAD = 1e-3
OF_LARGEST = 2e-6
#: A map whose values differ by less than this part of them carries no evidence.
NO_EVIDENCE = 1e-6


@dataclass(frozen=True)
class Deviation:
    """Of one picture. units: deviation over tolerance at the worst place, infinite where no tolerance can excuse it."""

    deviation: float
    tolerance: float
    units: float
    worst_class: int | None = None
    worst_cell: tuple[int, int] | None = None
    left_out: int = 0
    on_edge: int = 0
    detail: str = ""


def tolerance_of(maps: np.ndarray) -> float:
    """What one picture's unscaled maps [C, h, w] may be off by."""
    spread = maps.reshape(len(maps), -1).std(axis=1).mean()
    return float(OF_SPREAD * spread + OF_LARGEST * np.abs(maps).max())


def compare_raw(
    found: np.ndarray, wanted: np.ndarray, doubtful: np.ndarray | None = None, between: Between | None = None
) -> Deviation:
    """Unscaled maps of one picture, [C, h, w], against their definition, or against the interval it leaves open."""
    if problem := _unfit(found, wanted):
        return problem
    tolerance = tolerance_of(wanted)
    low, high = between or (wanted, wanted)
    off = _outside(found.astype(np.float64), low, high)
    return _worst(off, np.full(len(wanted), tolerance), doubtful)


def compare_scaled(
    found: np.ndarray,
    wanted: np.ndarray,
    bias: np.ndarray | None = None,
    doubtful: np.ndarray | None = None,
    between: Between | None = None,
) -> Deviation:
    """u8 maps of one picture, [C, h, w], against the definition `wanted`, which is not scaled yet.

    A map without evidence must be all zeros. `bias` [C] is what the logits' last Add contributes: it
    may have been dropped before the evidence was judged, so near the limit either answer is right.
    """
    if problem := _unfit(found, wanted):
        return problem
    low, high = wanted.min(axis=(1, 2)), wanted.max(axis=(1, 2))
    span = high - low
    empty = _empty(wanted, span)
    empty_without_bias = empty if bias is None else _empty(wanted - bias[:, None, None], span)
    zero = ~found.reshape(len(found), -1).any(axis=1)
    for index in np.flatnonzero(empty & empty_without_bias & ~zero):
        return Deviation(
            float(found[index].max()),
            0.0,
            np.inf,
            int(index),
            detail="a map without evidence is not all zeros",
        )
    off = _outside(found.astype(np.float64), *_greys(*(between or (wanted, wanted))))
    off[(empty | empty_without_bias) & zero] = 0
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        allowed = 1 + np.ceil(255 * tolerance_of(wanted) / np.where(span > 0, span, np.inf))
    return _worst(off, np.minimum(allowed, 255), doubtful)


def _greys(low: np.ndarray, high: np.ndarray) -> Between:
    """The darkest and the brightest grey of every cell whose value lies between `low` and `high`.

    A cell is darkest where it is low itself, and the smallest and the largest of its map are as high as they get.
    """
    return _grey(low, high), _grey(high, low)


def _grey(maps: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """`maps` on the scale from the smallest to the largest of `ends`."""
    low, high = (end[:, None, None] for end in (ends.min(axis=(1, 2)), ends.max(axis=(1, 2))))
    return np.clip(np.floor(255 * (maps - low) / np.where(high > low, high - low, 1)), 0, 255)


def _outside(found: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """How far from the interval."""
    return np.maximum(np.maximum(low - found, found - high), 0.0)


def _empty(maps: np.ndarray, span: np.ndarray) -> np.ndarray:
    return span <= NO_EVIDENCE * np.abs(maps).max(axis=(1, 2))


def _unfit(found: np.ndarray, wanted: np.ndarray) -> Deviation | None:
    if found.shape != wanted.shape:
        shapes = f"the map has the shape {list(found.shape)}, the definition {list(wanted.shape)}"
        return Deviation(np.inf, 0.0, np.inf, detail=shapes)
    if not np.isfinite(wanted).all():
        return Deviation(np.inf, 0.0, np.inf, detail="the definition itself is not finite on this picture")
    if not np.isfinite(found).all():
        return Deviation(np.inf, 0.0, np.inf, detail="the map holds values that are not finite")
    return None


def _worst(off: np.ndarray, allowed: np.ndarray, doubtful: np.ndarray | None) -> Deviation:
    if doubtful is not None:
        off = np.where(doubtful, 0, off)
    with np.errstate(divide="ignore", invalid="ignore"):
        units = np.where(off > 0, off / allowed[:, None, None], 0.0)
    place = np.unravel_index(int(units.argmax()), units.shape)
    return Deviation(
        deviation=float(off[place]),
        tolerance=float(allowed[place[0]]),
        units=float(units[place]),
        worst_class=int(place[0]),
        worst_cell=(int(place[1]), int(place[2])),
        left_out=0 if doubtful is None else int(doubtful.sum()),
    )


# A quantiser inside the head is a staircase: where its input lies on an edge, the definition has two values.
#
# Which one a program gets, the order of its sums decides. So the definition is taken again and again with its
# gated tensors, and what its quantisers read, moved by as little as rounding moves them. Every cell gets an interval: what it is at least
# and at most. Away from edges that interval is a point, as good as.
#
# All classes see the same steps under one mask, and a few tries show neither every step nor every combination of them.
# So what they move one class by under a mask is allowed to each class under that mask, beyond its own interval.

#: How far rounding moves a value: gated tensors by two units of f32's last place; what a quantiser reads, relative to
#: the largest value that it tells apart, by what the order of a sum of some hundred products moves it (the root of their
#: number times half a unit of the last place is 2**-20 for 256), and twice that, since a rare large shift is enough for a step.
OF_VALUE, OF_RANGE = 2.0**-22, 2.0**-19
#: Each tie falls either way about half of the times.
TRIES = 24

#: (gated tensors, shifts of what each quantiser reads) -> maps
Rows = Callable[[Sequence[np.ndarray], Sequence[np.ndarray]], np.ndarray]
Between = tuple[np.ndarray, np.ndarray]


def between(maps: np.ndarray, rows: Rows, gated: Sequence[np.ndarray], read: Sequence[tuple[int, ...]]) -> Between:
    """(lowest, highest) value of every cell, like `maps`. rows: the definition. read: shapes of what quantisers read."""
    random = np.random.default_rng(0)
    low, high = maps.copy(), maps.copy()
    for _ in range(TRIES):
        moved = [(tensor * (1 + OF_VALUE * random.standard_normal(tensor.shape))).astype(np.float32) for tensor in gated]
        shifts = [(OF_RANGE * random.standard_normal(shape)).astype(np.float32) for shape in read]
        found = rows(moved, shifts)
        np.minimum(low, found, out=low)
        np.maximum(high, found, out=high)
    step = (high - low).max(axis=1, keepdims=True)
    return low - step, high + step


# What a map should be: the common form in which every task hands its definition over.


@dataclass(frozen=True)
class Definition:
    """maps: [N, C, h, w] f64, all classes, unscaled. features: what `feature_map` should be, [N, c, h, w].

    ranking: [N, C], by which `top:K` chooses. bias: [C], the part of the maps that scaling cancels.
    doubtful: [N, C, h, w] bool, cells where the definition jumps and rounding decides. between: the lowest
    and the highest maps that rounding makes of the definition, where quantisers stand in it; asked for only
    when a map is off, since it takes many times as long.
    """

    maps: np.ndarray
    features: np.ndarray | None = None
    ranking: np.ndarray | None = None
    bias: np.ndarray | None = None
    doubtful: np.ndarray | None = None
    between: Callable[[], tuple[np.ndarray, np.ndarray]] | None = None
    notes: tuple[str, ...] = ()
