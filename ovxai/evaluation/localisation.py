"""Do maps lie on the objects? Metrics against annotated regions (boxes or masks as areas of the picture)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ovxai.errors import OptionError


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


def pointing(heat: np.ndarray, inside: np.ndarray) -> bool:
    """Whether the map's peak lies inside the annotated region; a flat map has no peak and never hits.

    heat: [H, W], in any units, at the picture's size; of several equal peaks the first counts, row by row.
    inside: [H, W] bool, the region of all objects of the map's class. The share of hits over all maps is the
    pointing game's accuracy.

    Zhang et al., "Top-down Neural Attention by Excitation Backprop" (arXiv 1608.00507), without its tolerance of
    15 pixels around the region.

    Raises:
        OptionError: two shapes.
    """
    _check(heat, inside)
    peak = int(heat.argmax())
    return bool(inside.flat[peak]) and bool(heat.flat[peak] > heat.min())


def _check(heat: np.ndarray, inside: np.ndarray) -> None:
    if heat.shape != inside.shape or heat.ndim != 2 or not heat.size:
        raise OptionError(f"a map of shape {list(heat.shape)} and a region of {list(inside.shape)}; give two of one [H, W]")
