"""Derivatives held against differences of the plain model's scores along random directions.

Scores bend (ReLU, MaxPool, a sample that comes into another cell) and in low digits they are rounding, so no one step is right
for all: the shortest is taken that rounding leaves something of, whatever the derivative says.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ovxai.verification.head import Choices
from ovxai.verification.report import Check

#: What is added to a layer -> the targets [N, K], and the size of the numbers that they were worked out from.
At = Callable[[np.ndarray], tuple[np.ndarray, float]]

#: Directions that are tried per layer, and the step along them, in deviations of the features; it is held against twice its
#: length.
DIRECTIONS, STEP = 8, 2.0**-9
#: Where bends of the head lie so close that this step crosses them, shorter ones, as long as rounding leaves something of
#: the differences; where it leaves nothing of those, longer ones.
SHORTER, LONGER = tuple(2.0**-power for power in (11, 13, 15, 17)), (2.0**-7, 2.0**-5)
#: That is, no more than this part.
OF_DIFFERENCE = 0.1
#: A direction counts where its doubt is this part of the size, and a target if half of all directions do: in doubt anything
#: would pass.
SURE = 0.25
#: What differences may be off by: a part of what a random sum of the derivative's entries comes to, and their own doubt.
OF_SIZE, OF_DOUBT = 0.1, 1.0
#: How many deviations of a score's rounding a difference of two may be off by; what it is at least, as a part of the score.
OF_ROUNDING, LEAST_ROUNDING = 1.5, 2.0**-24
#: Rounding is what is left where nothing else changes: at so many places so close together, in its differences of this order.
PLACES, CLOSE, ORDER = 9, 2.0**-20, 3


@dataclass(frozen=True)
class Layer:
    """One target layer. features: as the plain model has it, [N, ...]. derivative: [K, N, ...] of the K targets by it.
    moved: [N, ...] bool, which entries differences are taken of; None: all. unsettled: numbers of axes whose sizes the model
    leaves open. choices: what was chosen behind it in the run that the derivative is of."""

    name: str
    features: np.ndarray
    derivative: np.ndarray
    moved: np.ndarray | None = None
    unsettled: frozenset[int] = frozenset()
    choices: Choices = field(default_factory=dict)

    def directions(self) -> list[np.ndarray]:
        """The same ones each time."""
        random = np.random.default_rng(0)
        found = [self.features.std() * random.standard_normal(self.features.shape) for _ in range(DIRECTIONS)]
        return found if self.moved is None else [direction * self.moved for direction in found]

    def along(self, direction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """[N, K]: how fast the targets change along a direction by the derivative; the sum of squares of what adds up to it."""
        parts = self.derivative * direction
        axes = tuple(range(2, parts.ndim))
        return parts.sum(axis=axes).T, np.square(parts).sum(axis=axes).T


def along_directions(name: str, at: At, layer: Layer) -> Check:
    """Whether differences agree with the derivative; None where they can't tell of any target."""
    found = _looked(name, at, layer)
    if found.ok or layer.features.all():
        return found
    # Where a ReLU has cut to 0 and a MaxPool finds nothing but that, the features lie on a bend themselves. A map is nothing
    # there, whatever the derivative.
    uncut = Layer(layer.name, layer.features, layer.derivative * (layer.features != 0), moved=layer.features != 0)
    other = _looked(name, at, uncut)
    return found if other.ok is None else other


def _looked(name: str, at: At, layer: Layer) -> Check:
    """By one step where that holds, else by the one that fits each target."""
    rounding = _rounding(at, layer)
    seen = _along(at, layer, STEP, rounding)
    check, whole = _judged(name, layer, seen, rounding / STEP)
    if check.ok and whole:
        return check
    for step in SHORTER:
        shorter = _along(at, layer, step, rounding)
        seen = shorter.where(shorter.precise, seen)
        if not shorter.precise.any():
            break
    nothing = ~layer.derivative.any(axis=tuple(range(2, layer.derivative.ndim))).T & ~seen.slopes.any(axis=0)
    for step in LONGER:
        if not (seen.precise | nothing).all():
            seen = seen.where(seen.precise | nothing, _along(at, layer, step, rounding))
    return _judged(name, layer, seen, rounding / STEP)[0]


@dataclass(frozen=True)
class Seen:
    """How fast the targets change along all directions, and how far that is in doubt: [directions, N, K] both. precise:
    [N, K], whether the differences are more than their rounding."""

    slopes: np.ndarray
    doubts: np.ndarray
    precise: np.ndarray

    def where(self, own: np.ndarray, other: Seen) -> Seen:
        """These of the targets `own` [N, K], the other's of the rest."""
        parts = ((self.slopes, other.slopes), (self.doubts, other.doubts), (self.precise, other.precise))
        return Seen(*(np.where(own, mine, others) for mine, others in parts))


def _along(at: At, layer: Layer, step: float, rounding: np.ndarray) -> Seen:
    """In doubt is what another step or the two sides say otherwise, and the rounding."""
    (middle, _), slopes, doubts = at(np.zeros_like(layer.features)), [], []
    for direction in layer.directions():
        (near, bend), (far, _) = (_slope(at, middle, direction, length) for length in (step, 2 * step))
        slopes.append(near)
        doubts.append(np.abs(near - far) + bend + OF_ROUNDING * rounding / step)
    found, typical = np.array(slopes), np.sqrt(np.square(slopes).mean(axis=0))
    precise = OF_ROUNDING * rounding / step <= OF_DIFFERENCE * typical
    return Seen(found, np.array(doubts), precise & (found != 0).all(axis=0))  # of none at all both sides are on one stair


def _slope(at: At, middle: np.ndarray, direction: np.ndarray, step: float) -> tuple[np.ndarray, np.ndarray]:
    """[N, K]: the mean of both sides, and what each is off it. middle: the targets between them."""
    (up, _), (down, _) = at(step * direction), at(-step * direction)
    return (up - down) / (2 * step), np.abs(up - 2 * middle + down) / (2 * step)


def _rounding(at: At, layer: Layer) -> np.ndarray:
    """[N, K]: the deviation of the targets by rounding, from a table of differences (More and Wild, "Estimating computational
    noise", 2011); no less than the last digit of the numbers they come from."""
    direction, size = layer.directions()[0], 0.0
    found = []
    for place in range(PLACES):
        values, size = at((place - PLACES // 2) * CLOSE * direction)
        found.append(values)
    pure = np.diff(np.array(found), ORDER, axis=0)
    return np.maximum(np.sqrt(np.square(pure).mean(axis=0) / math.comb(2 * ORDER, ORDER)), LEAST_ROUNDING * size)


def _judged(name: str, layer: Layer, seen: Seen, rough: np.ndarray) -> tuple[Check, bool]:
    """The mean square of what directions are off by, and whether all targets could be judged that there are. rough: [N, K], what
    rounding comes to."""
    said, squares = (np.array(part) for part in zip(*(layer.along(each) for each in layer.directions()), strict=True))
    size, typical = np.sqrt(squares.mean(axis=0)), np.sqrt(np.square(seen.slopes).mean(axis=0))
    largest = np.maximum(size, typical)
    sure = seen.doubts <= SURE * largest
    judged = (sure.sum(axis=0) >= DIRECTIONS / 2) & (largest > 0)
    used = np.where(judged, sure, True)
    off, doubt = (np.sqrt((np.square(each) * used).sum(axis=0) / used.sum(axis=0)) for each in (said - seen.slopes, seen.doubts))
    allowed = OF_SIZE * size + OF_DOUBT * doubt
    wrong = ~(off <= allowed)  # also what is no number
    whole = bool((judged | (largest == 0)).all())
    if not wrong.any() and not judged.any():
        hidden = np.median(seen.doubts) <= 2 * OF_ROUNDING * np.median(rough)
        why = (
            "the scores hardly depend on it, rounding hides it" if hidden else "the scores bend or jump too close to the features"
        )
        return Check(name, None, f"could not tell: {why}"), whole
    tiny = np.finfo(np.float64).tiny
    worst, share = (float((off / np.maximum(each, tiny))[judged | wrong].max()) for each in (allowed, largest))
    words = (
        f"{DIRECTIONS} differences of the plain model's scores are {share:.2g} of their size off, {worst:.2g} of what is allowed"
    )
    return Check(name, not wrong.any(), words), whole
