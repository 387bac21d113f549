"""Axes whose runs are of different kinds (class token | patches): operations go to each run by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import openvino as ov
from openvino import opset13 as op

from ovxai.collapse.layout import as_mapped, change_of, laid_gate, level_gates
from ovxai.collapse.lazy import once
from ovxai.collapse.masks import Masks
from ovxai.collapse.operation import Operation
from ovxai.collapse.values import ONE, ZERO, Dense, Leveled, Mapped, Part, Refusal, Seen, Segments, Shared, Thunk, Value, Windowed
from ovxai.graph import emit
from ovxai.graph.dims import Dim, Dims, ints

if TYPE_CHECKING:
    from ovxai.collapse.interpreter import Interpreter


def edges(sizes: Sequence[Dim]) -> list[Dim]:
    """Where the runs begin, and where the last one ends."""
    found = [Dim(0)]
    for size in sizes:
        found.append(_sum(found[-1], size))
    return found


def _sum(a: Dim, b: Dim) -> Dim:
    if a.is_static and b.is_static:
        return Dim(a.size + b.size)
    return Dim(a.size + b.size, lambda: op.add(a.node(), b.node()).output(0))


def cut(thunk: Thunk, axis: int, start: Dim, stop: Dim) -> Thunk:
    return once(lambda: emit.slice_axis(thunk(), axis, start, stop))


def with_axis(dims: Dims, axis: int, size: Dim) -> Dims:
    return tuple(size if place == axis else dim for place, dim in enumerate(dims))


def restrict(value: Value, axis: int, start: Dim, stop: Dim) -> Value:
    """The run start:stop of a value that is not gated along `axis`.

    Raises:
        Refusal: it is.
    """
    size = Dim(stop.size - start.size) if start.is_static and stop.is_static else _difference(stop, start)
    dims = with_axis(value.dims, axis, size)
    if isinstance(value, Shared):
        return Shared(dims, cut(value.out, axis, start, stop))
    if isinstance(value, Mapped):
        return Mapped(dims, cut(value.out, axis + 1, start, stop), dense=value.dense, seen=value.seen)
    if isinstance(value, Windowed) and axis not in value.axes:
        return Windowed(dims, value.axes, cut(value.out, axis + 1, start, stop), dense=value.dense, seen=value.seen)
    if isinstance(value, Leveled) and axis not in value.positions:
        levels = {weight: cut(thunk, axis, start, stop) for weight, thunk in value.levels.items()}
        return Leveled(dims, value.positions, levels, value.flat, dense=value.dense, seen=value.seen)
    raise Refusal("single positions are picked out of what is gated")


def _difference(a: Dim, b: Dim) -> Dim:
    return Dim(a.size - b.size, lambda: op.subtract(a.node(), b.node()).output(0))


def segmented(interpreter: Interpreter, operation: Operation) -> list[Value]:
    """Apply an operation run by run along the first segmented axis that it carries.

    Raises:
        Refusal: it mixes the runs and no rule of its own knew how.
    """
    lead, target = _leading(operation)
    sizes = operation.inputs[lead].sizes
    _check_same_runs(operation, target, sizes)
    bounds = edges(sizes)
    parts: list[list[Part]] = [[] for _ in operation.out_dims]
    for run in range(len(sizes)):
        whole = Part(lambda run=run: _Results(interpreter.evaluate(_piece(interpreter, operation, target, sizes, bounds, run))))
        for index, column in enumerate(parts):
            column.append(Part(lambda whole=whole, index=index: whole().values[index]))
    return [
        Segments(dims, target, sizes, tuple(column), plain)
        for dims, column, plain in zip(operation.out_dims, parts, operation.plain)
    ]


def history(values: Iterable[Value]) -> tuple[tuple[Dense, ...], frozenset[Seen]]:
    """What was laid out densely for `values` and what happened on their way, all of their runs included."""
    dense: dict[Dense, None] = {}
    seen: set[Seen] = set()
    for value in values:
        own = history(part() for part in value.parts) if isinstance(value, Segments) else (value.dense, value.seen)
        dense.update(dict.fromkeys(own[0]))
        seen |= own[1]
    return tuple(dense), frozenset(seen)


def join(interpreter: Interpreter, value: Segments) -> Value:
    """All runs as one mapped tensor again, where none of them is gated any more."""
    parts = [part() for part in value.parts]
    if not all(isinstance(part, (Shared, Mapped)) for part in parts) or all(isinstance(part, Shared) for part in parts):
        return value
    masks = interpreter.masks

    def build():
        return emit.concat([as_mapped(part, masks).out() for part in parts], value.axis + 1)

    dense, seen = history([value])
    return Mapped(value.dims, once(build), dense=dense, seen=seen)


class _Results:
    """The values of all outputs of one piece, worked out once."""

    def __init__(self, values: list[Value]) -> None:
        self.values = values


def _leading(operation: Operation) -> tuple[int, int]:
    """The port whose segments lead, and the output axis on which they come out."""
    carried = operation.carried()
    for port, value in enumerate(operation.inputs):
        if isinstance(value, Segments):
            if value.axis not in carried[port]:
                raise operation.mixes("tokens of different kinds")
            return port, carried[port][value.axis]
    raise Refusal("nothing here is made of runs")


def _piece(interpreter: Interpreter, operation: Operation, target: int, sizes: Dims, bounds: list[Dim], run: int) -> Operation:
    carried = operation.carried()
    start, stop, size = bounds[run], bounds[run + 1], sizes[run]
    inputs = []
    for port, value in enumerate(operation.inputs):
        axis = next((a for a, b in carried[port].items() if b == target), None)
        if axis is None or value.dims[axis].size == 1:
            inputs.append(value)
        elif isinstance(value, Segments) and value.axis == axis:
            inputs.append(value.parts[run]())
        else:
            inputs.append(_own_run(interpreter, operation, value, axis, (start, stop)))
    dims = tuple(with_axis(out, target, size) for out in operation.out_dims)
    plain = tuple(None if one is None else cut(one, target, start, stop) for one in operation.plain)
    return Operation(operation.node, tuple(inputs), dims, plain, operation.facts)


def _own_run(interpreter: Interpreter, operation: Operation, value: Value, axis: int, run: tuple[Dim, Dim]) -> Value:
    """An operand that is cut into other runs: its share of this one, laid out densely if need be."""
    try:
        return restrict(value, axis, *run)
    except Refusal as refusal:
        return restrict(interpreter.laid_out(value, operation, str(refusal)), axis, *run)


def _check_same_runs(operation: Operation, target: int, sizes: Dims) -> None:
    for value, axes in zip(operation.inputs, operation.carried()):
        cut_there = isinstance(value, Segments) and axes.get(value.axis) == target
        if cut_there and [one.size for one in value.sizes] != [one.size for one in sizes]:
            raise Refusal("two token axes are cut differently")


# Runs of tokens (class token | patches) as one tensor again, while the gates are all that differs.
#
# T[m] = base + sum over levels of gate[m] * change, where the runs without a gate have gate 1. Work on
# all tokens at once needs no cutting and no joining of tensors that have the masks in front.


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
