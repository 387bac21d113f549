"""Between which values a mean over pictures lies: percentile bootstrap, seeded."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt

#: Resamples, and the share of them that the interval holds.
RESAMPLES, LEVEL = 1000, 0.95
Figure = Callable[[np.ndarray], np.ndarray]


def bootstrap(
    values: npt.ArrayLike, groups: Iterable[int], figure: Figure, seed: int = 0, level: float = LEVEL
) -> tuple[float, float] | None:  # fmt: skip
    """The interval of a figure over several pictures; None where there are fewer than two of them.

    values: one row of numbers per map. groups: the picture of each map: pictures are drawn, with all of their maps, since
    maps of one picture are not independent. figure: sums of rows [R, columns + 1], the last the count of maps, to R figures.
    level: the share of resamples that it holds.

    Efron, "Bootstrap Methods: Another Look at the Jackknife" (Ann. Statist. 1979): the percentile interval.
    """
    of = np.asarray(list(groups))
    rows = np.column_stack([np.asarray(values, np.float64).reshape(len(of), -1), np.ones(len(of))])
    names, members = np.unique(of, return_inverse=True)
    if len(names) < 2:
        return None
    sums = np.zeros((len(names), rows.shape[1]))
    np.add.at(sums, members, rows)
    drawn = np.random.default_rng(seed).integers(0, len(names), (RESAMPLES, len(names)))
    found = figure(sums[drawn].sum(axis=1))
    low, high = np.percentile(found, [50 * (1 - level), 50 * (1 + level)])
    return float(low), float(high)


def mean_of(sums: np.ndarray) -> np.ndarray:
    """Sums of one column -> its mean."""
    return np.asarray(sums[:, 0] / np.maximum(sums[:, -1], 1))


def ratio_of(sums: np.ndarray) -> np.ndarray:
    """Sums of two columns -> mean of the first over mean of the second; 0 where the second is."""
    below = sums[:, 1]
    return np.asarray(np.where(below > 0, sums[:, 0] / np.where(below > 0, below, 1), 0.0))
