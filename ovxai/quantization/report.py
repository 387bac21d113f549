"""What a quantisation did, as data."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ovxai.evaluation.fidelity import Fidelity


@dataclass(frozen=True)
class Side:
    """One model. size: bytes of .xml and .bin. accuracy: share of right top classes, None where no class is known."""

    size: int
    latency_ms: float | None
    accuracy: float | None


@dataclass(frozen=True)
class Tried:
    """One candidate of --keep-explanation. latency_ratio: its latency over that of the plain INT8 model."""

    recipe: str
    latency_ratio: float
    fidelity: Fidelity | None

    def to_dict(self) -> dict[str, str | float]:
        """What people are told of it, rounded; no figures of maps where there is nothing to compare."""
        row: dict[str, str | float] = {"recipe": self.recipe, "latency over plain INT8": round(self.latency_ratio, 3)}
        if self.fidelity is not None:
            row["mean"] = round(self.fidelity.mean, 4)
            row["5th percentile"] = round(self.fidelity.fifth, 4)
            row["worst"] = round(self.fidelity.worst[0][1], 4)
        return row


@dataclass(frozen=True)
class QuantizeReport:
    """The whole result.

    model: path of what was written. recipe: how it was quantised. calibrated: with how many pictures. held_out:
    whether the figures are of other pictures than those. broken: a line for each picture that could not be read.
    before, after: the explained models. latency_ratio: after / before, median over alternating calls. precision:
    what the device computes in. fidelity: how well the maps are kept, None where there is nothing to compare.
    goal_met: of --keep-explanation, None where it was not asked for; float_layers: what it left in float; tried:
    what it tried and what came of it. notes: what a person should know besides.
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
    tried: tuple[Tried, ...] = ()
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON takes it."""
        return asdict(self) | {"tried": [row.to_dict() for row in self.tried]}
