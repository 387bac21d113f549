"""How good maps are, as numbers: how well they are kept by another model, and whether they lie on the objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt

from ovxai.errors import OptionError

#: A map whose values differ by less than this part of the largest carries no evidence.
NO_EVIDENCE = 1e-6
#: Of the pointing game as published, in pixels.
PUBLISHED_TOLERANCE = 15.0
#: Boxes that overlap by this share of their union, or more, show the same object (Pascal VOC's rule).
SAME_OBJECT = 0.5


def common_areas(boxes: npt.ArrayLike, box: Sequence[float]) -> np.ndarray:
    """[P] pixels that boxes [P, 4] share with one box; x1, y1, x2, y2 each."""
    corners = np.asarray(boxes, np.float64).reshape(-1, 4)
    width = np.minimum(corners[:, 2], box[2]) - np.maximum(corners[:, 0], box[0])
    height = np.minimum(corners[:, 3], box[3]) - np.maximum(corners[:, 1], box[1])
    return np.asarray(np.maximum(width, 0) * np.maximum(height, 0))


def overlaps(boxes: npt.ArrayLike, box: Sequence[float]) -> np.ndarray:
    """[P] intersection over union of boxes [P, 4] with one box; x1, y1, x2, y2 each. Empty boxes overlap nothing."""
    corners = np.asarray(boxes, np.float64).reshape(-1, 4)
    common = common_areas(corners, box)
    sides = np.maximum(corners[:, 2:] - corners[:, :2], 0)
    union = sides[:, 0] * sides[:, 1] + max(box[2] - box[0], 0) * max(box[3] - box[1], 0) - common
    return np.asarray(np.where(union > 0, common / np.where(union > 0, union, 1), 0.0))


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


def energy(heat: np.ndarray, inside: np.ndarray) -> float:
    """The share of a map's energy that lies inside the annotated region, 0..1.

    heat: [H, W], not negative, in any units, at the picture's size. inside: [H, W] bool, the region of all objects
    of the map's class. A map of zeros has no energy, and 0 of it inside.

    The "energy-based pointing game" of Wang et al., Score-CAM (arXiv 1910.01279): sum inside over sum everywhere.

    Raises:
        OptionError: two shapes, or negative values, whose sums would mean nothing.
    """
    _check(heat, inside)
    values = heat.astype(np.float64)
    if values.min() < 0:
        raise OptionError("energy: the map holds negative values; scale it to 0..255 first")
    whole = float(values.sum())
    return float(values[inside].sum()) / whole if whole > 0 else 0.0


def energy_over_area(shares: Sequence[float], areas: Sequence[float]) -> float:
    """How many times more energy the regions hold than they would of flat maps; 1 is no better than a flat map.

    shares: `energy` of each map. areas: the share of the picture that its region covers, 0..1. Mean over mean, so that
    a few tiny regions don't outweigh all others.

    Raises:
        OptionError: nothing to compare with: no regions, or all of them empty.
    """
    if not len(areas) or len(shares) != len(areas) or not np.any(areas):
        raise OptionError(f"energy over area: {len(shares)} shares for {len(areas)} regions, or all regions empty")
    return float(np.mean(shares) / np.mean(areas))


def pointing(heat: np.ndarray, inside: np.ndarray, tolerance: float = 0.0) -> float:
    """Whether the map's peak lies inside the annotated region: 1 or 0; of several equal peaks, the share that do.

    heat: [H, W], in any units, at the picture's size; a flat map has no peak and never hits. inside: [H, W] bool, the
    region of all objects of the map's class. tolerance: pixels around the region that still count. The mean over all
    maps is the pointing game's accuracy.

    Zhang et al., "Top-down Neural Attention by Excitation Backprop" (arXiv 1608.00507); its tolerance is
    `PUBLISHED_TOLERANCE`.

    Raises:
        OptionError: two shapes.
    """
    _check(heat, inside)
    top = heat.max()
    if not top > heat.min() or not inside.any():
        return 0.0
    peaks = heat == top
    if not tolerance:
        return float(inside[peaks].mean())
    away = cv2.distanceTransform((~inside).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return float((away[peaks] <= tolerance).mean())


def _check(heat: np.ndarray, inside: np.ndarray) -> None:
    if heat.shape != inside.shape or heat.ndim != 2 or not heat.size:
        raise OptionError(f"a map of shape {list(heat.shape)} and a region of {list(inside.shape)}; give two of one [H, W]")
