"""Apply an operation to values whose masks lie in front: the results, and their anchors and changes where they are known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovxai.collapse.batched import Lift, applied
from ovxai.collapse.changes import Step, difference
from ovxai.collapse.layout import added, to_windowed, window_dims
from ovxai.collapse.lazy import once
from ovxai.collapse.masks import Masks
from ovxai.collapse.operation import Operation
from ovxai.collapse.values import Anchored, Held, Leveled, Mapped, Past, Refusal, Shared, Value, Windowed, window_axes

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
    held = [step.parts(port) for port in step.varying]
    if (
        not held
        or any(one is None for one in held)
        or not all(out.get_element_type().is_real() for out in operation.node.outputs())
    ):
        return None
    rule = operation.facts.change or difference
    changes = once(lambda: rule(step))
    stepped = operation.kind == "FakeQuantize" or (operation.facts.moves and all(one.stepped for one in held if one))

    def part(index: int) -> Anchored:
        return Anchored(once(lambda: step.anchors[index]), once(lambda: changes()[index]), stepped)

    return [part(index) for index in range(len(operation.out_dims))]


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
