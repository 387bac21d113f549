"""Runs of tokens (class token | patches) as one tensor again, while the gates are all that differs.

T[m] = base + sum over levels of gate[m] * change, where the runs without a gate have gate 1. Work on
all tokens at once needs no cutting and no joining of tensors that have the masks in front.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import openvino as ov
from openvino import opset13 as op

from ovxai.collapse import emit
from ovxai.collapse.dims import Dim, ints
from ovxai.collapse.masks import Masks
from ovxai.collapse.physical import change_of, laid_gate, level_gates
from ovxai.collapse.values import ONE, ZERO, Leveled, Segments, Shared, Value


@dataclass(frozen=True)
class Joined:
    """base: what a dark token holds, of extent 1 along the runs if all hold the same. steps: (gate [M, ...], change)."""

    base: ov.Output
    steps: tuple[tuple[ov.Output, ov.Output], ...]

    def laid_out(self) -> ov.Output:
        """[M, *dims]."""
        total = emit.unsqueeze(self.base, [0])
        for gate, change in self.steps:
            total = emit.add(emit.multiply(emit.unsqueeze(change, [0]), gate), total)
        return total

    def in_rows(self, masks: Masks) -> ov.Output:
        """[..., M, N] where the plain tensor is a single row [..., 1, N] of runs: the masks take the row's place."""
        total = self.base
        for gate, change in self.steps:
            total = emit.add(emit.multiply(change, gate_in_rows(gate, masks)), total)
        return total


def gate_in_rows(gate: ov.Output, masks: Masks) -> ov.Output:
    """A gate along one axis of a tensor, [M, .., N, ..], as [M, N]: it broadcasts over whatever is in front."""
    return emit.reshape(gate, [masks.count, Dim(max(dim.get_length() for dim in list(gate.get_partial_shape())[1:]))])


def gated_run(value: Value) -> Leveled | None:
    """The only run that the masks gate, where the others are the same under every mask."""
    if not isinstance(value, Segments) or not all(size.is_static for size in value.sizes):
        return None
    others = [part() for part in value.parts if not isinstance(part(), Shared)]
    single = len(others) == 1 and isinstance(others[0], Leveled) and others[0].positions == (value.axis,)
    return others[0] if single else None


def join_runs(value: Segments, gated: Leveled, masks: Masks) -> Joined:
    """The tensors of `value`, whose only gated run is `gated`."""
    base = gated.levels[ZERO]() if gated.flat else _side_by_side(value, gated.levels[ZERO](), lambda part: part.out())
    steps = []
    for level, gate in level_gates(gated, masks).items():
        laid = laid_gate(value.dims, (value.axis,), masks, gate)
        if gated.flat and not steps:  # the first step carries the other runs too
            steps.append((_padded(laid, value, 1.0), _change_of_all(value, gated, level)))
        else:
            change = _side_by_side(value, change_of(gated, level), lambda part: emit.zeros(part.dims, base))
            steps.append((_padded(laid, value, 0.0), change))
    return Joined(base, tuple(steps))


def _change_of_all(value: Segments, gated: Leveled, level: float) -> ov.Output:
    base = gated.levels[ZERO]()
    if value.plain and level == ONE:
        return emit.subtract(value.plain(), base)
    return _side_by_side(value, change_of(gated, level), lambda part: emit.subtract(part.out(), base))


def _side_by_side(value: Segments, gated: ov.Output, other: Callable[[Shared], ov.Output]) -> ov.Output:
    parts = [part() for part in value.parts]
    return emit.concat([other(part) if isinstance(part, Shared) else gated for part in parts], value.axis)


def _padded(gate: ov.Output, value: Segments, fill: float) -> ov.Output:
    """The gate of one run, [M, ..., size, ...], with `fill` for the runs before and after."""
    where = next(i for i, part in enumerate(value.parts) if isinstance(part(), Leveled))
    sizes = [size.size for size in value.sizes]
    before = [0] * (value.rank + 1)
    after = list(before)
    before[value.axis + 1], after[value.axis + 1] = sum(sizes[:where]), sum(sizes[where + 1 :])
    return op.pad(gate, ints(before), ints(after), "constant", emit.scalar(fill, gate)).output(0)
