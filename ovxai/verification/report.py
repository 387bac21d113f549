"""What a verification found, as data."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class PictureRow:
    """One picture's map against its definition.

    deviation, tolerance: in the map's own units, or in grey levels where the maps are scaled.
    units: the largest deviation over what is allowed at that place; up to 1 is exact.
    worst_class, worst_cell: where that was. left_out: cells at which the definition jumps.
    on_edge: cells with a value on the edge between two levels of a quantiser, held against both of its sides.
    noise: what f32 itself moves the definition by, in parts of the maps' mean spread; 0 where it was not asked for.
    """

    picture: int
    batch: int
    deviation: float
    tolerance: float
    units: float
    worst_class: int | None = None
    worst_cell: tuple[int, int] | None = None
    left_out: int = 0
    on_edge: int = 0
    noise: float = 0.0
    detail: str = ""

    @property
    def ok(self) -> bool:
        return self.units <= 1.0


@dataclass(frozen=True)
class Check:
    """One property beside the map. ok None: could not be told, or only a warning; `detail` says which."""

    name: str
    ok: bool | None
    detail: str = ""


@dataclass(frozen=True)
class VerifyReport:
    """The whole verdict.

    ok: every map within its tolerance and no check failed. deviation, tolerance, units: of the worst
    picture. rows: one per picture and batch. checks: outputs kept, features, metadata, places.
    scaled: whether deviations are grey levels. map_shape: (C, h, w). notes: what to know besides.
    """

    ok: bool
    deviation: float
    tolerance: float
    units: float
    scaled: bool
    method: str
    map_shape: tuple[int, ...]
    rows: tuple[PictureRow, ...]
    checks: tuple[Check, ...]
    notes: tuple[str, ...] = ()

    @property
    def outputs_kept(self) -> bool:
        """Whether every output of the plain model came out with its value, beside the explanation."""
        return all(check.ok is not False for check in self.checks if check.name == "original outputs")

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON takes it: infinities become null."""
        document = asdict(self) | {"outputs_kept": self.outputs_kept}
        return _finite(document)


def make_report(
    rows: list[PictureRow],
    checks: list[Check],
    notes: list[str],
    *,
    scaled: bool,
    method: str,
    shape: tuple[int, ...],
) -> VerifyReport:
    """Put the parts together; the verdict follows from them."""
    worst = max(rows, key=lambda row: row.units)
    return VerifyReport(
        ok=all(row.ok for row in rows) and all(check.ok is not False for check in checks),
        deviation=worst.deviation,
        tolerance=worst.tolerance,
        units=worst.units,
        scaled=scaled,
        method=method,
        map_shape=tuple(int(size) for size in shape),
        rows=tuple(rows),
        checks=tuple(checks),
        notes=tuple(notes),
    )


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
