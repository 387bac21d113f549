"""What a quantisation did, as data."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Side:
    """One model. size: bytes of .xml and .bin. accuracy: share of right top classes, None where no class is known."""

    size: int
    latency_ms: float | None
    accuracy: float | None


@dataclass(frozen=True)
class Fidelity:
    """Correlation of the top class's map with the float model's, picture by picture; computed in f32.

    worst: (picture, correlation), lowest first. agreement: share of pictures with the same top class.
    compared: pictures with a map to compare (a detector may find nothing in some).
    """

    mean: float
    fifth: float
    worst: tuple[tuple[str, float], ...]
    agreement: float
    compared: int
    pictures: int

    @classmethod
    def of(cls, rows: list[tuple[str, float | None, bool]], worst: int = 5) -> Fidelity | None:
        """rows: picture, correlation or None, same top class."""
        known = sorted(((value, name) for name, value, _ in rows if value is not None))
        if not known:
            return None
        values = np.array([value for value, _ in known])
        return cls(
            mean=float(values.mean()),
            fifth=float(np.percentile(values, 5)),
            worst=tuple((name, float(value)) for value, name in known[:worst]),
            agreement=float(np.mean([same for _, _, same in rows])),
            compared=len(known),
            pictures=len(rows),
        )


@dataclass(frozen=True)
class QuantizeReport:
    """before, after: the explained models. latency_ratio: after / before, median over alternating calls.

    held_out: whether the figures are of pictures that were not calibrated with. goal_met: of
    --keep-explanation, None where it was not asked for; float_layers: what it left in float; tried: what
    it tried and what came of it.
    """

    model: str
    recipe: str
    calibrated: int
    held_out: bool
    broken: tuple[str, ...]
    before: Side
    after: Side
    latency_ratio: float | None
    precision: str | None
    fidelity: Fidelity | None
    goal_met: bool | None = None
    float_layers: tuple[str, ...] = ()
    tried: tuple[dict, ...] = ()
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)
