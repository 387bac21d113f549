"""How well one model's maps are kept by another, such as a float model's by the INT8 model made of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

#: A map whose values differ by less than this part of the largest carries no evidence.
NO_EVIDENCE = 1e-6


class Answer(Protocol):
    """What one model says of one picture.

    top: index of its best class, None where it finds nothing. maps: [C, h, w], one map per class, in any units.
    """

    @property
    def top(self) -> int | None: ...

    @property
    def maps(self) -> np.ndarray: ...


@dataclass(frozen=True)
class Fidelity:
    """Correlation of the map of the reference's top class, over several pictures. All figures are pure numbers.

    mean, fifth: mean and 5th percentile of the correlations, -1..1 (1: kept). worst: (picture, correlation),
    lowest first. agreement: share of pictures with the same top class, 0..1. compared: pictures with a map to
    compare (a detector may find nothing in some). pictures: all of them.
    """

    mean: float
    fifth: float
    worst: tuple[tuple[str, float], ...]
    agreement: float
    compared: int
    pictures: int


def fidelity(names: Sequence[str], reference: Sequence[Answer], other: Sequence[Answer], worst: int = 5) -> Fidelity | None:
    """Compare two models' answers to the same pictures; None where the reference finds nothing in any of them.

    Per picture the map of the class that the *reference* puts first is correlated with the other model's map of
    that class, whatever the other puts first. names: of the pictures, for `Fidelity.worst`. worst: how many to name.

    Adebayo et al., "Sanity Checks for Saliency Maps" (arXiv 1810.03292), compare the maps of a model and of its changed
    copy by rank correlation, among others; here the values count, since values are what is painted.
    """
    known: list[tuple[float, str]] = []
    same = []
    for name, own, theirs in zip(names, reference, other, strict=True):
        same.append(own.top == theirs.top)
        if own.top is not None and own.top < len(own.maps):
            known.append((map_correlation(own.maps[own.top], theirs.maps[own.top]), name))
    if not known:
        return None
    known.sort()
    values = np.array([value for value, _ in known])
    return Fidelity(
        mean=float(values.mean()),
        fifth=float(np.percentile(values, 5)),
        worst=tuple((name, value) for value, name in known[:worst]),
        agreement=float(np.mean(same)),
        compared=len(known),
        pictures=len(same),
    )


def map_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Pearson's correlation over the cells of two maps of one shape, -1..1; scale and offset of either don't matter.

    Flat maps carry no evidence, and correlation is not defined for them: of two flat maps it is 1, of one flat map 0.
    """
    a, b = (values.astype(np.float64).reshape(-1) for values in (first, second))
    a, b = a - a.mean(), b - b.mean()
    flat = [_is_flat(centred, values) for centred, values in ((a, first), (b, second))]
    if any(flat):
        return 1.0 if all(flat) else 0.0
    return float((a @ b) / np.sqrt((a @ a) * (b @ b)))


def _is_flat(centred: np.ndarray, values: np.ndarray) -> bool:
    return bool(np.abs(centred).max() <= NO_EVIDENCE * max(np.abs(values).max(), 1e-30))
