"""How far a map may be from its definition, and how far it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ovxai.verification.ties import Between

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
