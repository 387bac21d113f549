"""Saliency maps as arrays: what a definition hands over, resizing, grey levels, and how far a map is from what it should be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ovxai.verification.report import Check

#: Relative to the maps' mean spread over their cells, and to the largest value anywhere.
OF_SPREAD = 1e-3
OF_LARGEST = 2e-6
#: A map whose values differ by less than this part of them carries no evidence.
NO_EVIDENCE = 1e-6

#: How many times its own standard deviation the definition's rounding is allowed: of some 100,000 cells the worst one.
OF_NOISE = 5.0

#: (lowest, highest) maps, where the definition leaves an interval open.
Interval = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Noise:
    """How far f32 moves a definition, as standard deviations. cell: of a cell about its map. level: of a whole map, up or
    down, which moves no grey level."""

    cell: float = 0.0
    level: float = 0.0


QUIET = Noise()


@dataclass(frozen=True)
class Definition:
    """What the maps should be: the common form in which every task hands its definition over.

    maps: [N, C, h, w] f64, all classes, unscaled. features: what `feature_map` should be, [N, c, h, w].
    ranking: [N, C], by which `top:K` chooses. bias: [C], the part of the maps that scaling cancels.
    doubtful: [N, C, h, w] bool, cells where the definition jumps and rounding decides. between: the lowest
    and the highest maps that rounding makes of the definition, where quantisers stand in it; asked for only
    when a map is off, since it takes many times as long. noise: one per picture, how far f32 moves the
    definition itself; asked for only then. notes: what a person should know. checks: what else the definition
    had to take for granted, and whether it holds.
    """

    maps: np.ndarray
    features: np.ndarray | None = None
    ranking: np.ndarray | None = None
    bias: np.ndarray | None = None
    doubtful: np.ndarray | None = None
    between: Callable[[], Interval] | None = None
    noise: Callable[[], Sequence[Noise]] | None = None
    notes: tuple[str, ...] = ()
    checks: tuple[Check, ...] = ()


@dataclass(frozen=True)
class Deviation:
    """How far one picture's maps are from their definition.

    deviation, tolerance: at the worst place, in the maps' units, or in grey levels where they are scaled.
    units: deviation over tolerance there, infinite where no tolerance can excuse it. worst_class, worst_cell:
    that place. left_out: cells at which the definition jumps. on_edge: cells held against an interval. noise: the
    definition's own rounding as a part of the maps' mean spread, where it was measured and allowed for.
    """

    deviation: float
    tolerance: float
    units: float
    worst_class: int | None = None
    worst_cell: tuple[int, int] | None = None
    left_out: int = 0
    on_edge: int = 0
    noise: float = 0.0
    detail: str = ""


def parse_size(text: str) -> tuple[int, int]:
    """ "HxW", as rt_info has sizes -> (H, W)."""
    height, width = text.split("x")
    return int(height), int(width)


def sampled(maps: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """[..., h, w] -> [..., R, C]: bilinear, at places counted in cells from the first cell's centre; edges repeated."""
    return _along(_along(maps, columns, -1), rows, -2)


def bilinear(maps: np.ndarray, height: int, width: int) -> np.ndarray:
    """[..., h, w] -> [..., height, width]: half-pixel centres, edges repeated, no antialiasing (ONNX `linear`)."""
    for axis, size in ((-1, width), (-2, height)):
        own = maps.shape[axis]
        if own != size:
            maps = _along(maps, (np.arange(size) + 0.5) * own / size - 0.5, axis)
    return maps


def _along(maps: np.ndarray, places: np.ndarray, axis: int) -> np.ndarray:
    """Linear between the cells of one of the last two axes."""
    last = maps.shape[axis] - 1
    places = np.clip(places, 0, last)
    low = np.floor(places).astype(int)
    share = (places - low)[:, None] if axis == -2 else places - low
    return np.take(maps, low, axis) * (1 - share) + np.take(maps, np.minimum(low + 1, last), axis) * share


def grey_levels(maps: np.ndarray, ends: np.ndarray | None = None) -> np.ndarray:
    """[..., h, w] -> whole numbers 0..255, each map from the smallest to the largest of `ends` (default: of its own)."""
    ends = maps if ends is None else ends
    low, high = ends.min(axis=(-2, -1), keepdims=True), ends.max(axis=(-2, -1), keepdims=True)
    return np.clip(np.floor(255 * (maps - low) / np.where(high > low, high - low, 1)), 0, 255)


def spread_of(maps: np.ndarray) -> float:
    """One picture's maps [C, h, w]: the mean over classes of the standard deviation over cells."""
    return float(maps.reshape(len(maps), -1).std(axis=1).mean())


def tolerance_of(maps: np.ndarray, noise: float = 0.0) -> float:
    """What one picture's unscaled maps [C, h, w] may be off by. noise: the definition's own, a standard deviation."""
    return float(OF_SPREAD * spread_of(maps) + OF_LARGEST * np.abs(maps).max() + OF_NOISE * noise)


def compare_raw(
    found: np.ndarray,
    wanted: np.ndarray,
    doubtful: np.ndarray | None = None,
    between: Interval | None = None,
    noise: Noise = QUIET,
) -> Deviation:
    """Unscaled maps of one picture, [C, h, w], against their definition, or against the interval it leaves open."""
    if problem := _unfit(found, wanted):
        return problem
    low, high = between or (wanted, wanted)
    values = found.astype(np.float64)
    shift = (values - wanted).mean(axis=(1, 2), keepdims=True)
    values = values - np.clip(shift, -OF_NOISE * noise.level, OF_NOISE * noise.level)
    off = _outside(values, low, high)
    return _worst(off, np.full(len(wanted), tolerance_of(wanted, noise.cell)), doubtful)


def compare_scaled(
    found: np.ndarray,
    wanted: np.ndarray,
    bias: np.ndarray | None = None,
    doubtful: np.ndarray | None = None,
    between: Interval | None = None,
    noise: Noise = QUIET,
) -> Deviation:
    """u8 maps of one picture, [C, h, w], against the definition `wanted`, which is not scaled yet.

    A map without evidence must be all zeros. `bias` [C] is what the logits' last Add contributes: it
    may have been dropped before the evidence was judged, so near the limit either answer is right.
    """
    if problem := _unfit(found, wanted):
        return problem
    span = np.ptp(wanted, axis=(1, 2))
    empty = _empty(wanted, span)
    empty_without_bias = empty if bias is None else _empty(wanted - bias[:, None, None], span)
    zero = ~found.reshape(len(found), -1).any(axis=1)
    for index in np.flatnonzero(empty & empty_without_bias & ~zero):
        highest = float(found[index].max())
        return Deviation(highest, 0.0, np.inf, int(index), detail="a map without evidence is not all zeros")
    low, high = between or (wanted, wanted)
    # A cell is darkest where it is low itself, and the smallest and the largest of its map are as high as they get.
    off = _outside(found.astype(np.float64), grey_levels(low, high), grey_levels(high, low))
    off[(empty | empty_without_bias) & zero] = 0
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        allowed = 1 + np.ceil(255 * tolerance_of(wanted, noise.cell) / np.where(span > 0, span, np.inf))
    return _worst(off, np.minimum(allowed, 255), doubtful)


def _outside(found: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """How far from the interval."""
    return np.maximum(np.maximum(low - found, found - high), 0.0)


def _empty(maps: np.ndarray, span: np.ndarray) -> np.ndarray:
    """[C]: whether a map carries no evidence. span: [C], its largest value less its smallest."""
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
    """off: [C, h, w]. allowed: [C]."""
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
