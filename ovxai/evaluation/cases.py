"""What is looked at in a picture: which class or box is explained, and where its objects are by the annotation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from ovxai.annotations.facts import box_of
from ovxai.errors import UsageError
from ovxai.evaluation.judge import Judge, Target, View
from ovxai.evaluation.metrics import SAME_OBJECT, overlaps
from ovxai.runtime.predict.formats import Prediction

#: What is explained: what the model predicts or what is annotated; and whole classes or single boxes.
TARGETS, PER = ("predicted", "annotated"), ("class", "box")


class Object(Protocol):
    """An annotated object: see `ovxai.annotations`."""

    @property
    def name(self) -> str: ...

    @property
    def crowd(self) -> bool: ...

    def inside(self, height: int, width: int, /) -> np.ndarray | None:
        """[height, width] bool, where it is."""


class Annotated(Protocol):
    """A picture and what is in it: see `ovxai.annotations`."""

    @property
    def path(self) -> Path: ...

    def at(self, height: int, width: int, /) -> Sequence[Object] | None:
        """Its objects, in pixels of the picture at that size; None where the sizes don't fit."""


@dataclass(frozen=True)
class Case:
    """One map that is asked for. region: [H, W] bool over the picture, None where nothing is annotated to hold it against.

    label: of the class. true: whether the annotation says that the class is in the picture; None where it can't say.
    """

    target: Target
    label: str
    region: np.ndarray | None
    true: bool | None


@dataclass(frozen=True)
class Choice:
    """Which maps are asked for.

    target: "predicted" or "annotated" classes; None: annotated of detectors and multi-label models, else the predicted one.
    per: "class" or "box". threshold: of predictions, 0..1. least, most: shares of the picture that an object may cover to
    count: smaller ones are less than a cell, larger ones prove nothing. boxes: at most so many of a picture.
    """

    target: str | None = None
    per: str = "class"
    threshold: float = 0.3
    least: float = 0.01
    most: float = 0.8
    boxes: int = 2

    def __post_init__(self) -> None:
        if self.target not in (None, *TARGETS):
            raise UsageError(f"target: there is no {self.target!r}; choose one of {', '.join(TARGETS)}")
        if self.per not in PER:
            raise UsageError(f"per: there is no {self.per!r}; choose one of {', '.join(PER)}")
        if not 0 <= self.least <= self.most <= 1:
            raise UsageError(f"area: {self.least:g} to {self.most:g} is no part of 0 to 1")


@dataclass
class Tally:
    """What was left out and why, and what else there was to say: reason -> how often."""

    counts: Counter[str] = field(default_factory=Counter)

    def add(self, reason: str, count: int = 1) -> None:
        self.counts[reason] += count

    def lines(self) -> list[str]:
        return [f"{reason}: {count}" for reason, count in sorted(self.counts.items())]


@dataclass(frozen=True)
class Ground:
    """The annotation of one picture, in the model's classes.

    regions: class index -> where its objects are. places: the same one by one, without crowds. every: where any object is,
    None where none has a place. classes: what is in the picture, also where it has no place.
    """

    regions: Mapping[int, np.ndarray]
    places: Mapping[int, Sequence[np.ndarray]]
    every: np.ndarray | None
    classes: frozenset[int]


def ground(items: Sequence[Object], index_of: Mapping[str, int], size: tuple[int, int], choice: Choice, tally: Tally) -> Ground:
    """index_of: name in the annotation -> class of the model; names that are not in it are unknown to the model."""
    places: dict[int, list[np.ndarray]] = {}
    crowds: dict[int, list[np.ndarray]] = {}
    classes, every = set(), np.zeros(size, bool)
    if not items:
        tally.add("pictures without an annotated object")
    for item in items:
        known = index_of.get(item.name)
        if known is None:
            tally.add("objects of classes that the model does not know")
        else:
            classes.add(known)
        region = item.inside(*size)
        if region is None:
            continue
        if not region.any():
            tally.add("objects with no pixel in their picture, left out")
            continue
        share = float(region.mean())
        if not choice.least <= share <= choice.most:
            tally.add(f"objects below {100 * choice.least:.3g} % or above {100 * choice.most:.3g} % of their picture, left out")
            continue
        every |= region
        if item.crowd:
            tally.add("crowd regions: part of their class's region, no objects of their own")
        if known is not None:
            (crowds if item.crowd else places).setdefault(known, []).append(region)
    regions = {known: np.logical_or.reduce([*found, *crowds.get(known, [])]) for known, found in places.items()}
    return Ground(regions, places, every if every.any() else None, frozenset(classes))


def cases_of(judge: Judge, view: View, truth: Ground, known: frozenset[int], choice: Choice, tally: Tally) -> list[Case]:
    """The maps that are asked for of one picture. known: every class of the model that the data set has."""
    facts = judge.facts
    several = not judge.classifies or facts.info.multilabel or facts.info.hierarchical
    by_truth = choice.target == "annotated" or (choice.target is None and several)
    if choice.per == "box":
        return _boxes(judge, view, truth, choice, tally)
    if by_truth:
        wanted = sorted(truth.regions) if not judge.classifies else sorted(truth.classes)
        return [Case(Target(one), facts.label(one), truth.regions.get(one), True) for one in wanted]
    found = judge.predictions(view, choice.threshold)
    indices = list(dict.fromkeys(one.class_index for one in found))
    if not several:
        indices = indices[:1]
    if not indices:
        tally.add("pictures in which the model finds nothing")
    cases = []
    for index in indices:
        region, true = truth.regions.get(index), (index in truth.classes) if index in known else None
        if true is None and judge.classifies:
            region = truth.every
            tally.add("predicted classes that the data set does not have: held against all objects of their picture")
        elif region is None:
            tally.add("predictions without such an object: not in pointing and energy")
        cases.append(Case(Target(index), facts.label(index), region, true))
    return cases


def _boxes(judge: Judge, view: View, truth: Ground, choice: Choice, tally: Tally) -> list[Case]:
    """Predicted boxes of the right class, the surest first, each with the object of those left that it overlaps most."""
    found: list[Case] = []
    free = {index: list(places) for index, places in truth.places.items()}
    for prediction in judge.predictions(view, choice.threshold):
        left = free.get(prediction.class_index, [])
        best = _best_match(prediction, left)
        if best is None:
            tally.add("predicted boxes that match no object, or one that is taken, left out")
            continue
        region = left.pop(best)
        found.append(Case(Target(prediction.class_index, prediction.box), prediction.label, region, True))
        if len(found) == choice.boxes:
            break
    return found


def _best_match(prediction: Prediction, places: Sequence[np.ndarray]) -> int | None:
    """Which of `places` is the object of the prediction's box."""
    if prediction.box is None or not len(places):
        return None
    shares = overlaps([box_of(region) or (0, 0, 0, 0) for region in places], prediction.box)
    best = int(np.argmax(shares))
    return best if shares[best] >= SAME_OBJECT else None
