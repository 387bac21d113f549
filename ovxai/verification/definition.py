"""What a map should be: the common form in which every task hands its definition over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


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
