"""Apply an operation to values: per level where positions are still apart, else on tensors with the masks in front.

The results of the latter have their anchors and changes where those of the operands are known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import openvino as ov

from ovxai.collapse.batched import Lift, applied
from ovxai.collapse.carry import Sizes, runs
from ovxai.collapse.changes import Step, difference
from ovxai.collapse.layout import added, expand_levels, flat_dims, stacked_dims, to_windowed, unstacked, window_dims, zero_anchor
from ovxai.collapse.lazy import once
from ovxai.collapse.masks import Masks
from ovxai.collapse.operation import Operation
from ovxai.collapse.values import (
    ONE,
    ZERO,
    Anchored,
    Held,
    Leveled,
    Mapped,
    Merged,
    Past,
    Pooled,
    Refusal,
    Shared,
    Thunk,
    Value,
    Windowed,
    held,
    window_axes,
)
from ovxai.graph import emit
from ovxai.graph.dims import ONE as DIM_ONE
from ovxai.graph.dims import Dims, sizes

if TYPE_CHECKING:
    from ovxai.collapse.interpreter import Interpreter


def lifted(interpreter: Interpreter, operation: Operation) -> list[Value]:
    """Apply an operation to Mapped and Windowed values (and Leveled ones that join a window).

    Raises:
        Refusal: a windowed axis is mixed, or positions are still apart.
    """
    masks = interpreter.masks
    values = _joined(operation, masks)
    axes = [_window_axes(operation.with_inputs(values), index) for index in range(len(operation.out_dims))]
    physical = [window_dims(dims, found, masks) for dims, found in zip(operation.out_dims, axes)]
    whole = once(lambda: applied(Lift(operation, values, physical, masks)))
    parts = _parts(operation, Step(operation, values, physical, axes, masks))
    past = Past(rounded=(f"{operation.name} ({operation.kind})",)) if parts and _rounds(operation) else Past()

    def result(index: int) -> Value:
        dims = operation.out_dims[index]
        apart = parts[index] if parts else None
        out = added(apart) if apart and not apart.stepped else once(lambda: whole()[index])
        if axes[index]:
            return Windowed(dims, axes[index], out, anchored=apart, past=past)
        return Mapped(dims, out, anchored=apart, past=past)

    return [result(index) for index in range(len(operation.out_dims))]


def _parts(operation: Operation, step: Step) -> list[Anchored] | None:
    """Anchor and change of every result; None where an operand's are not known, or the results are no real numbers."""
    operands = [step.parts(port) for port in step.varying]
    if (
        not operands
        or any(parts is None for parts in operands)
        or not all(out.get_element_type().is_real() for out in operation.node.outputs())
    ):
        return None
    rule = operation.facts.change or difference
    changes = once(lambda: rule(step))
    stepped = operation.kind == "FakeQuantize" or (operation.facts.moves and all(parts.stepped for parts in operands if parts))

    def part(index: int) -> Anchored:
        if operation.kind not in _UNDEFINED_OF_NOTHING:
            return Anchored(once(lambda: step.anchors[index]), once(lambda: changes()[index]), stepped)
        # Where the dark has no value, all that is there is the change.
        undefined = once(lambda: _is_no_number(step.anchors[index]))
        nothing = once(lambda: zero_anchor(flat_dims(operation.out_dims[index], step.axes[index]), step.anchors[index]))
        return Anchored(
            once(lambda: nothing() if undefined() else step.anchors[index]),
            once(lambda: step.applied({})[index] if undefined() else changes()[index]),
            stepped,
        )

    return [part(index) for index in range(len(operation.out_dims))]


#: What has no value at zero, such as features by their length.
_UNDEFINED_OF_NOTHING = ("Divide", "Power", "Log")


def _is_no_number(anchor: ov.Output) -> bool:
    """Whether an anchor, whatever picture is fed, holds infinities or what is no number."""
    return emit.is_the_same_for_all(anchor) and not np.isfinite(emit.worked_out(anchor)).all()


def _rounds(operation: Operation) -> bool:
    """Whether the change is taken from sums that a device stores, for want of a rule."""
    return operation.facts.change is None and not operation.facts.elementwise


def _joined(operation: Operation, masks: Masks) -> list[Held]:
    """Leveled operands beside windowed ones become windowed too."""
    windowed = any(isinstance(value, Windowed) for value in operation.inputs)
    joined: list[Held] = []
    for value in operation.inputs:
        if isinstance(value, Leveled) and windowed and len(value.positions) == 1:
            value = to_windowed(value, value.positions[0], masks)
        if not isinstance(value, (Shared, Mapped, Windowed)):
            raise Refusal("what is gated meets what is already mapped")
        joined.append(value)
    return joined


def _window_axes(operation: Operation, index: int) -> tuple[int, ...]:
    carried = operation.carried(index)
    found: set[int] = set()
    for port, value in enumerate(operation.inputs):
        for axis in window_axes(value):
            if axis not in carried[port]:
                raise operation.mixes("positions")
            found.add(carried[port][axis])
    for port, value in enumerate(operation.inputs):
        for axis, target in carried[port].items():
            if target in found and axis not in window_axes(value) and value.dims[axis].size > 1:
                raise Refusal("a term that depends on the position meets classes of positions")
    return tuple(sorted(found))


# --- position by position: once per level -----------------------------------------------------------


def pointwise(interpreter: Interpreter, operation: Operation) -> list[Value]:
    """Per level where everything that varies is Leveled, on mapped tensors otherwise.

    Raises:
        Refusal: the operation mixes positions.
    """
    varying = [value for value in operation.inputs if not isinstance(value, Shared)]
    if any(isinstance(value, Pooled) for value in varying):
        return [_by_window(interpreter, operation)]
    if all(isinstance(value, Leveled) for value in varying):
        return [_leveled(interpreter, operation, index) for index in range(len(operation.out_dims))]
    return lifted(interpreter, operation)


def _by_window(interpreter: Interpreter, operation: Operation) -> Pooled:
    """What was pooled by windows, on the grid of the masks instead of the pool's own."""
    if len(operation.out_dims) > 1 or not all(isinstance(value, (Shared, Pooled)) for value in operation.inputs):
        raise Refusal("what was pooled by windows meets what is gated otherwise")
    carried, dims = operation.carried(), list(operation.out_dims[0])
    cell: tuple[int, ...] = ()
    places: set[int] = set()
    for port, value in enumerate(operation.inputs):
        if not isinstance(value, Pooled):
            continue
        if not operation.facts.any_size or not all(axis in carried[port] for axis in value.inner.positions):
            raise operation.mixes("positions")
        if cell not in ((), value.cell):
            raise Refusal("its operands were pooled by different windows")
        cell = value.cell
        for axis in value.inner.positions:
            places.add(carried[port][axis])
            dims[carried[port][axis]] = value.inner.dims[axis]
    for port, value in enumerate(operation.inputs):
        if isinstance(value, Shared) and any(value.dims[a] != DIM_ONE for a, axis in carried[port].items() if axis in places):
            raise Refusal("a term that depends on the position meets windows of positions")
    inputs = tuple(value.inner if isinstance(value, Pooled) else value for value in operation.inputs)
    fine = replace(operation, inputs=inputs, out_dims=(tuple(dims),), plain=(None,), whole=False)
    result = pointwise(interpreter, fine)[0]
    if not isinstance(result, Leveled) or not result.flat:
        raise operation.mixes("positions")
    return Pooled(operation.out_dims[0], result, cell)


def _leveled(interpreter: Interpreter, operation: Operation, index: int) -> Value:
    carried = operation.carried(index)
    found: dict[int, tuple[int, ...]] = {}
    for port, value in enumerate(operation.inputs):
        if isinstance(value, Leveled):
            moved = _moved(operation, port, value, carried[port], operation.out_dims[index])
            if moved is None:
                return _merged(operation, value, index)
            found[port] = moved
    positions = next(iter(found.values()))
    if any(other != positions for other in found.values()):
        raise Refusal("its operands are gated along different axes")
    return _by_level(interpreter, operation, index, positions)


def _moved(operation: Operation, port: int, value: Leveled, carried: dict[int, int], out: Dims) -> tuple[int, ...] | None:
    """Where the position axes go; None where a Reshape merges them with others."""
    if all(axis in carried for axis in value.positions):
        return tuple(carried[axis] for axis in value.positions)
    if operation.kind != "Reshape" or port != 0:
        raise operation.mixes("positions")
    return _reshaped(value, sizes(out))


def _reshaped(value: Leveled, out: Sizes) -> tuple[int, ...] | None:
    """The position axes behind a Reshape to `out`; None where it merges them with others."""
    positions: list[int] = []
    for before, after in runs(sizes(value.dims), out):
        inside = [axis for axis in value.positions if axis in before]
        if not inside:
            continue
        if len(before) == len(after) == 1 or (before == inside == list(value.positions) and len(after) == 1):
            positions.extend(after)  # moved, or h and w merged in raster order
        elif len(before) == 1 and len(after) == 2 and len(value.positions) == 1:
            positions.extend(after)  # h*w taken apart; the grid's sides are checked below
        elif len(after) == 1:
            return None
        else:
            raise Refusal("a Reshape takes positions apart")
    return tuple(positions)


def _merged(operation: Operation, value: Leveled, index: int) -> Merged:
    dims = operation.out_dims[index]
    for before, after in runs(sizes(value.dims), sizes(dims)):
        if set(before) >= {axis for axis in value.positions if value.dims[axis].size > 1}:
            return Merged(dims, after[0], value, tuple(before))
    raise Refusal("a Reshape takes positions apart")


def _by_level(interpreter: Interpreter, operation: Operation, index: int, positions: tuple[int, ...]) -> Leveled:
    masks = interpreter.masks
    dims = operation.out_dims[index]
    if len(positions) == 2 and (dims[positions[0]].size, dims[positions[1]].size) != (masks.h.size, masks.w.size):
        raise Refusal("a Reshape takes positions apart")
    inputs = operation.inputs
    kept = masks.levels == (ONE,) or (
        operation.facts.linear(operation) and all(v.affine for v in inputs if isinstance(v, Leveled))
    )
    if not kept:
        inputs = tuple(expand_levels(v, masks) if isinstance(v, Leveled) else v for v in inputs)
    flat, plain = _stays_flat(operation, index, positions), operation.plain[index]
    levels = (ZERO, ONE) if kept else (ZERO, *masks.levels)
    stack = None if kept else _stacked(operation, inputs, index, positions, masks)
    joined = {} if stack is None else unstacked(stack, dims, positions, masks)

    def level(weight: float) -> Thunk:
        if weight == ONE and plain is not None:
            return plain
        shape = flat_dims(dims, positions) if flat and weight == ZERO else dims
        if weight == ZERO and not flat and any(v.flat for v in inputs if isinstance(v, Leveled)):
            return once(lambda: _spread(_at_level(operation, inputs, weight, shape, index), dims, positions))
        return once(lambda: _at_level(operation, inputs, weight, shape, index))

    return Leveled(dims, positions, {weight: joined.get(weight) or level(weight) for weight in levels}, flat, stack=stack)


def _stacked(operation: Operation, inputs: Sequence[Value], index: int, positions: tuple[int, ...], masks: Masks) -> Thunk | None:
    """All levels but 0 in one operation; None where an operand tells positions apart, which would have to be repeated."""
    stacks = [value.stack if isinstance(value, Leveled) else held(value).out for value in inputs]
    known = [stack for stack in stacks if stack is not None]
    if len(known) < len(stacks) or _tells_apart(operation, index, positions):
        return None
    shape = stacked_dims(operation.out_dims[index], positions, masks)
    return once(lambda: operation.remake([stack() for stack in known], shape, index))


def _tells_apart(operation: Operation, index: int, positions: Sequence[int]) -> bool:
    """Whether an operand that no mask changes has an extent on the positions."""
    carried = operation.carried(index)
    return any(
        axis in positions and value.dims[a].size > 1
        for port, value in enumerate(operation.inputs) if not isinstance(value, Leveled)
        for a, axis in carried[port].items()
    )  # fmt: skip


def _spread(tensor: ov.Output, dims: Dims, positions: Sequence[int]) -> ov.Output:
    """Level 0 with all its positions, where a term with an extent on some of them (a row's) met a flat one."""
    shape = tensor.get_partial_shape()
    short = any(shape[axis].is_static and shape[axis].get_length() == 1 < dims[axis].size for axis in positions)
    return emit.broadcast(tensor, dims) if short else tensor


def _stays_flat(operation: Operation, index: int, positions: Sequence[int]) -> bool:
    """Level 0 stays the same everywhere unless something with an extent on the positions meets it."""
    flat = all(value.flat for value in operation.inputs if isinstance(value, Leveled))
    return flat and not _tells_apart(operation, index, positions)


def _at_level(operation: Operation, inputs: Sequence[Value], weight: float, dims: Dims, index: int) -> ov.Output:
    tensors = [value.levels[weight]() if isinstance(value, Leveled) else held(value).out() for value in inputs]
    if not operation.facts.spreads and weight == ZERO and dims == operation.out_dims[index]:
        tensors = [emit.broadcast(t, v.dims) if isinstance(v, Leveled) and v.flat else t for t, v in zip(tensors, inputs)]
    return operation.remake(tensors, dims, index)
