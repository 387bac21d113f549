"""The masks: a gate for every position, never stored, only computed from ranges.

Mask m is centred on position m of an h x w grid in raster order. `point` lets that position through
alone; `gaussian` weights it and its neighbours with [1 2 1; 2 4 2; 1 2 1] / 16, cut off at the border.
The weights are few, so one speaks of *levels*: level(m, p) is the weight of position p under mask m.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import openvino as ov
from openvino import opset13 as op

from ovxai.graph.dims import Dim, ints, number, whole_number

POINT = "point"
GAUSSIAN = "gaussian"
_SIDE = (0.25, 0.5, 0.25)  # outer product with itself: the 3x3 kernel


@dataclass(frozen=True)
class Masks:
    """All masks of an h x w grid, or the run start:stop of them (a chunk)."""

    h: Dim
    w: Dim
    kind: str = POINT
    start: int = 0
    stop: int | None = None

    @property
    def positions(self) -> Dim:
        return self.h * self.w

    @property
    def count(self) -> Dim:
        """How many masks."""
        return self.positions if self.stop is None else Dim(self.stop - self.start)

    @property
    def whole(self) -> bool:
        return self.stop is None

    @property
    def levels(self) -> tuple[float, ...]:
        """The gate's values other than 0, in the order in which `window` lists the cells."""
        return (1.0,) if self.kind == POINT else (1 / 16, 1 / 8, 1 / 4)

    @cached_property
    def offsets(self) -> tuple[tuple[int, int, float], ...]:
        """The window's cells: (row offset, column offset, weight), sorted by weight."""
        if self.kind == POINT:
            return ((0, 0, 1.0),)
        cells = [(i - 1, j - 1, _SIDE[i] * _SIDE[j]) for i in range(3) for j in range(3)]
        return tuple(sorted(cells, key=lambda cell: cell[2]))

    @property
    def window(self) -> int:
        """How many positions one mask lets through at the most."""
        return len(self.offsets)

    @cached_property
    def _centres(self) -> tuple[ov.Output, ov.Output]:
        """Row and column of every mask's centre, i64 [M, 1]."""
        first = whole_number(self.start)
        last = op.squeeze(self.positions.node(), ints([0])) if self.stop is None else whole_number(self.stop)
        centre = op.unsqueeze(op.range(first, last, whole_number(1), "i64"), ints([1]))
        width = self.w.node()
        row = op.divide(centre, width)
        return row.output(0), op.subtract(centre, op.multiply(row, width)).output(0)

    @cached_property
    def _cells(self) -> tuple[ov.Output, ov.Output, ov.Output]:
        """Row, column (i64) and presence (boolean) of every window cell, [M, W]."""
        row, column = self._centres
        rows = op.add(row, op.constant(np.array([[c[0] for c in self.offsets]], np.int64)))
        columns = op.add(column, op.constant(np.array([[c[1] for c in self.offsets]], np.int64)))
        inside = [
            op.greater_equal(rows, ints([0])), op.less(rows, self.h.node()),
            op.greater_equal(columns, ints([0])), op.less(columns, self.w.node()),
        ]  # fmt: skip
        present = inside[0]
        for condition in inside[1:]:
            present = op.logical_and(present, condition)
        return rows.output(0), columns.output(0), present.output(0)

    @cached_property
    def window_index(self) -> ov.Output:
        """i64 [M, W]: which position each window cell is; absent cells point at position 0."""
        rows, columns, present = self._cells
        flat = op.add(op.multiply(rows, self.w.node()), columns)
        return op.select(present, flat, ints([0])).output(0)

    @cached_property
    def window_weight(self) -> ov.Output:
        """f32 [1, W]: the gate of each window cell."""
        return op.constant(np.array([[cell[2] for cell in self.offsets]], np.float32)).output(0)

    @cached_property
    def presence(self) -> ov.Output:
        """f32 [M, W]: 1 where the window cell lies on the grid."""
        return op.convert(self._cells[2], "f32").output(0)

    @cached_property
    def multiplicity(self) -> ov.Output:
        """f32 [M, W + 1]: 1 or 0 for each window cell, and how many positions the mask leaves dark."""
        ones = self.presence
        dark = op.subtract(op.convert(self.positions.node(), "f32"), op.reduce_sum(ones, ints([1]), True))
        return op.concat([ones, dark], 1).output(0)

    @cached_property
    def log_multiplicity(self) -> ov.Output:
        """f32 [M, W + 1]: what to add to attention scores; far below any score where there is no such position."""
        many = self.multiplicity
        log = op.log(op.maximum(many, number(1)))
        return op.select(op.greater(many, number(0)), log, number(-1e4)).output(0)

    def _axis_table(self, extent: Dim, apart: int) -> ov.Output:
        """f32 [extent, extent]: 1 where two indices lie `apart` from each other."""
        span = op.range(whole_number(0), op.squeeze(extent.node(), ints([0])), whole_number(1), "i64")
        distance = op.abs(op.subtract(op.unsqueeze(span, ints([1])), op.unsqueeze(span, ints([0]))))
        return op.convert(op.equal(distance, whole_number(apart)), "f32").output(0)

    def gate(self) -> ov.Output:
        """f32 [M, h, w]: the weight of every position under every mask."""
        return self._separable(lambda same, near: op.add(_times(same, _SIDE[1]), _times(near, _SIDE[0])))

    def indicator(self, level: float) -> ov.Output:
        """f32 [M, h, w]: 1 where a position has this level under a mask."""
        return op.convert(op.equal(self.gate(), number(level)), "f32").output(0)

    def _separable(self, mix: Callable[[ov.Output, ov.Output], ov.Node]) -> ov.Output:
        """[M, h, w], the product of one table per side. mix: of the tables of equal and of neighbouring indices."""
        tables = []
        for extent in (self.h, self.w):
            same = self._axis_table(extent, 0)
            tables.append(same if self.kind == POINT else mix(same, self._axis_table(extent, 1)).output(0))
        rows = op.unsqueeze(tables[0], ints([1, 3]))  # [h, 1, h, 1]
        columns = op.unsqueeze(tables[1], ints([0, 2]))  # [1, w, 1, w]
        both = op.multiply(rows, columns)
        gates = op.reshape(both, op.concat([ints([-1]), self.h.node(), self.w.node()], 0), False)
        if self.stop is None:
            return gates.output(0)
        return op.slice(gates, ints([self.start]), ints([self.stop]), ints([1]), ints([0])).output(0)

    def band(self, extent: Dim, level: str) -> ov.Output:
        """f32 [extent, extent] table that sums neighbours along one side: "near" (distance 1) or "blur" (the kernel's side)."""
        near = self._axis_table(extent, 1)
        if level == "near":
            return near
        return op.add(_times(self._axis_table(extent, 0), _SIDE[1]), _times(near, _SIDE[0])).output(0)


def _times(tensor: ov.Output, factor: float) -> ov.Node:
    return op.multiply(tensor, number(factor))
