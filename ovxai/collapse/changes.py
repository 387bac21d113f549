"""What an operation makes of a change: T[m] = anchor + change[m], and the result's change from the operands' alone.

    linear in one operand    f(da), without bias           a * b    a0 * db + da * b
    a + b, a - b             da + db, da - db              a / b    (da - (a0 / b0) * db) / b
    square                   da * (2 * a0 + da)            f        f(a0 + da) - f(a0), in one chain of operations

a0, b0: anchors; da, db: changes; b = b0 + db. Never is a change added to its anchor and taken off again across a tensor
that a device stores: between operations a low precision rounds, within a fused chain it does not.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import pairwise

import numpy as np
import openvino as ov
from openvino import opset13 as op

from ovxai.collapse.batched import Lift, applied
from ovxai.collapse.carry import axis_values
from ovxai.collapse.layout import flat_dims, for_each, zero_anchor
from ovxai.collapse.masks import Masks
from ovxai.collapse.operation import Operation
from ovxai.collapse.values import Anchored, Held, Shared, window_axes
from ovxai.graph import emit
from ovxai.graph.dims import Dims
from ovxai.graph.graph import constant_value, source

#: A score's sum over at least LONG channels is taken in PARTS.
LONG, PARTS = 256, 4


class Step:
    """One operation about to be applied to anchors and changes.

    values: Shared, or Mapped and Windowed ones that are anchored. out: extents of the results on windows, without M.
    axes: the window axes of each result.
    """

    def __init__(
        self, operation: Operation, values: Sequence[Held], out: list[Dims], axes: Sequence[tuple[int, ...]], masks: Masks
    ) -> None:
        self.operation = operation
        self.values = values
        self.out = out
        self.axes = axes
        self.masks = masks
        self.varying = [port for port, value in enumerate(values) if not isinstance(value, Shared)]

    def parts(self, port: int) -> Anchored | None:
        """The two parts of an operand; None where no mask changes it."""
        value = self.values[port]
        return None if isinstance(value, Shared) else value.anchored

    def anchor(self, port: int) -> ov.Output:
        """An operand without masks, of its plain rank."""
        parts = self.parts(port)
        return parts.anchor() if parts else self.values[port].out()

    def as_anchor(self, port: int) -> Shared:
        """An operand's anchor in its place."""
        value = self.values[port]
        return Shared(flat_dims(value.dims, window_axes(value)), lambda: self.anchor(port))

    def as_change(self, port: int) -> Held:
        """An operand's change in its place; nothing where no mask changes it."""
        parts, value = self.parts(port), self.values[port]
        if parts is None or isinstance(value, Shared):
            return Shared((), lambda: emit.scalar(0.0, value.out()))
        return replace(value, out=parts.change, anchored=None)

    def applied(self, instead: Mapping[int, Held]) -> list[ov.Output]:
        """The operation with other values at some ports: [M, ...]."""
        values = [instead.get(port, value) for port, value in enumerate(self.values)]
        return applied(Lift(self.operation, values, self.out, self.masks))

    @cached_property
    def anchors(self) -> list[ov.Output]:
        """The results if all that is gated is dark."""
        tensors = [self.anchor(port) for port in range(len(self.values))]
        wanted = [flat_dims(dims, axes) for dims, axes in zip(self.operation.out_dims, self.axes)]
        zero = all(emit.is_zero(tensors[port]) for port in self.varying)
        if zero and self.operation.facts.linear(self.operation) and self._keeps_zero():
            return [zero_anchor(dims, tensors[self.varying[0]]) for dims in wanted]
        if self.operation.facts.shaped or self.operation.kind == "Concat":
            tensors = [for_each(tensor, self.as_anchor(port).dims) for port, tensor in enumerate(tensors)]
        if self.operation.kind == "MatMul" and (sums := _summed_in_parts(self.operation, tensors)):
            return [sums]
        if self.operation.facts.shaped or len(wanted) == 1:
            return [_settled(self.operation.remake(tensors, dims, index)) for index, dims in enumerate(wanted)]
        return emit.clone(self.operation.node, tensors).outputs()

    def _keeps_zero(self) -> bool:
        """Whether nothing but parameters stands beside what varies: a sum with a bias is not zero."""
        return self.operation.facts.change in (through, product, quotient) or len(self.varying) == len(self.values)

    def lined_up(self, port: int, tensor: ov.Output, mapped: bool) -> ov.Output:
        """An operand's tensor with the axes that broadcasting wants: [M or 1, 1.., *its own]."""
        missing = max(value.rank for value in self.values) - self.values[port].rank
        first = [] if mapped else [0]
        return emit.unsqueeze(tensor, [*first, *range(1, 1 + missing)]) if first or missing else tensor

    def change(self, port: int) -> ov.Output:
        """What the masks change of an operand, lined up."""
        parts = self.parts(port)
        if parts is None:
            raise ValueError(f"port {port} does not vary")
        return self.lined_up(port, parts.change(), True)

    def dark(self, port: int) -> ov.Output:
        """The anchor, lined up."""
        return self.lined_up(port, self.anchor(port), False)

    def lit(self, port: int) -> ov.Output:
        """The operand as it is, lined up."""
        return self.lined_up(port, self.values[port].out(), self.parts(port) is not None)


def _summed_in_parts(operation: Operation, tensors: Sequence[ov.Output]) -> ov.Output | None:
    """The product of the scores with its sum over channels in a few parts; None for any other product.

    A device adds the terms of such a sum one after the other. What it rounds (1e-6 of a score of 768 channels, a sixth of it
    in four parts) would stand in the anchor, which is the level of a score under every mask.
    """
    rows, weights = tensors
    shape, flipped = weights.get_partial_shape(), operation.attribute("transpose_b")
    if operation.attribute("transpose_a") or len(shape) != 2 or shape.is_dynamic or not emit.is_constant(weights):
        return None
    channels = shape[1 if flipped else 0].get_length()
    if channels < LONG or not _gives_scores(operation.node):
        return None
    edges = [channels * part // PARTS for part in range(PARTS + 1)]
    last = len(operation.inputs[0].dims) - 1

    def part(start: int, stop: int) -> ov.Output:
        some = emit.slice_axis(rows, last, start, stop)
        return emit.matmul(some, emit.slice_axis(weights, 1 if flipped else 0, start, stop), False, flipped)

    return functools.reduce(emit.add, [part(*ends) for ends in pairwise(edges)])


def _gives_scores(node: ov.Node) -> bool:
    """Whether nothing but a bias or another shape stands between a node and an output of the model."""
    while node.get_type_name() != "Result":
        readers = [reader.get_node() for reader in node.output(0).get_target_inputs()]
        if len(readers) != 1 or readers[0].get_type_name() not in ("Add", "Reshape", "Squeeze", "Convert", "Result"):
            return False
        node = readers[0]
    return True


def _settled(anchor: ov.Output) -> ov.Output:
    """An anchor, as a constant where it is the NormalizeL2 of one.

    OpenVINO does not fold these, and the CPU plugin (2026.4) may hand out other numbers behind an Unsqueeze of one.
    """
    if anchor.get_node().get_type_name() != "NormalizeL2" or not emit.is_constant(anchor):
        return anchor
    return op.constant(emit.worked_out(anchor), dtype=anchor.get_element_type()).output(0)


def difference(step: Step) -> list[ov.Output]:
    """f(a0 + da) - f(a0): right for any operation, and in a low precision as good as what a device fuses."""
    return [emit.subtract(whole, emit.unsqueeze(anchor, [0])) for whole, anchor in zip(step.applied({}), step.anchors)]


def through(step: Step) -> list[ov.Output]:
    """Linear in its data; the other ports hold axes, indices, extents."""
    return step.applied({0: step.as_change(0)}) if step.varying == [0] else difference(step)


def side_by_side(step: Step) -> list[ov.Output]:
    """Concat: what no mask changes has no change."""

    def change(port: int) -> Held:
        value = step.values[port]
        if step.parts(port) is None:
            return Shared(value.dims, lambda: emit.zeros(value.dims, value.out()))
        return step.as_change(port)

    return step.applied({port: change(port) for port in range(len(step.values))})


def chosen(step: Step) -> list[ov.Output]:
    """Select by a condition that no mask changes."""
    if step.parts(0) is not None:
        return difference(step)
    return step.applied({1: step.as_change(1), 2: step.as_change(2)})


def summed(step: Step) -> list[ov.Output]:
    """Add, Subtract: the shared term is the anchor's alone."""
    if len(step.varying) == 2:
        return step.applied({0: step.as_change(0), 1: step.as_change(1)})
    port = step.varying[0]
    change = step.change(port)
    if port == 1 and step.operation.kind == "Subtract":
        change = op.negative(change).output(0)
    wanted = (step.masks.count, *step.out[0])
    own = [1] * (len(step.out[0]) - step.values[port].rank) + [dim.size for dim in step.values[port].dims]
    held = [dim.size for dim in step.operation.out_dims[0]]
    return [change if own == held else emit.broadcast(change, wanted)]


def product(step: Step) -> list[ov.Output]:
    """Multiply, MatMul, convolutions. Of one that comes out of a quantiser, the quantised product is exact and fast."""
    if len(step.varying) == 1:
        port = step.varying[0]
        parts = step.parts(port)
        if parts is not None and parts.stepped and not step.operation.facts.elementwise:
            return difference(step)
        return step.applied({port: step.as_change(port)})
    if step.varying != [0, 1]:
        return difference(step)
    first = step.applied({0: step.as_anchor(0), 1: step.as_change(1)})[0]
    return [emit.add(first, step.applied({0: step.as_change(0)})[0])]


def quotient(step: Step) -> list[ov.Output]:
    """Divide: by a shared number as any linear operation, else (da - (a0 / b0) * db) / b."""
    if step.varying == [0]:
        return step.applied({0: step.as_change(0)})
    ratio = emit.divide(step.dark(0), step.dark(1))
    share = emit.multiply(ratio, step.change(1))
    rest = emit.subtract(step.change(0), share) if 0 in step.varying else op.negative(share).output(0)
    return [emit.divide(rest, step.lit(1))]


def power(step: Step) -> list[ov.Output]:
    """A square in closed form; other powers as any function."""
    exponent = constant_value(source(step.operation.node, 1))
    if step.varying != [0] or exponent is None or np.size(exponent) != 1 or float(np.ravel(exponent)[0]) != 2.0:
        return difference(step)
    return [_of_square(step.dark(0), step.change(0))]


def squared_difference(step: Step) -> list[ov.Output]:
    """SquaredDifference: the square of a difference, whose change is that of Subtract."""
    change = step.change(0) if 0 in step.varying else op.negative(step.change(1)).output(0)
    if len(step.varying) == 2:
        change = emit.subtract(change, step.change(1))
    return [_of_square(emit.subtract(step.dark(0), step.dark(1)), change)]


def _of_square(base: ov.Output, change: ov.Output) -> ov.Output:
    """(c + d)^2 - c^2 = d * (2 * c + d)."""
    return emit.multiply(change, emit.add(emit.multiply(base, emit.scalar(2.0, base)), change))


def _mean(tensor: ov.Output, axes: Sequence[int]) -> ov.Output:
    return op.reduce_mean(tensor, np.array(axes, np.int64), True).output(0)


def _of_length(dark: ov.Output, lit: ov.Output, more: ov.Output) -> ov.Output:
    """How a vector of length 1 changes that is made as long again: (u + m) / r - u, r^2 = 1 + t, t the change of the square.

    dark: u, lit: m, both in units of the anchor's own length. In others, squares of changes can be less than half precision
    has numbers for.
    """
    root = op.sqrt(emit.add(more, emit.scalar(1.0, more))).output(0)
    lost = emit.divide(more, emit.multiply(root, emit.add(root, emit.scalar(1.0, root))))
    return emit.subtract(emit.divide(lit, root), emit.multiply(dark, lost))


def normalised(step: Step) -> list[ov.Output]:
    """MVN, which layer norms are: u = c0 / s0, m = dc / s0, c centred, s0^2 = variance + eps; then as `_of_length` says."""
    axes = axis_values(step.operation.node, 1, step.values[0].rank)
    if step.varying != [0] or axes is None:
        return difference(step)
    behind = [axis + 1 for axis in axes]
    base, change = step.dark(0), step.change(0)
    centred, moved = (emit.subtract(tensor, _mean(tensor, behind)) for tensor in (base, change))
    if not step.operation.attribute("normalize_variance"):
        return [moved]
    if str(step.operation.attribute("eps_mode")).lower() != "inside_sqrt":
        return difference(step)
    eps = emit.scalar(float(step.operation.attribute("eps")), base)
    variance = emit.add(_mean(emit.multiply(centred, centred), behind), eps)
    dark, lit = (emit.multiply(tensor, _per_root(variance)) for tensor in (centred, moved))
    return [_of_length(dark, lit, _mean(_of_square(dark, lit), behind))]


def unit_length(step: Step) -> list[ov.Output]:
    """NormalizeL2: u = a0 / n0, m = da / n0, n0^2 the anchor's sum of squares with its eps; then as `_of_length` says."""
    axes = axis_values(step.operation.node, 1, step.values[0].rank)
    if step.varying != [0] or axes is None or str(step.operation.attribute("eps_mode")).lower() != "add":
        return difference(step)
    behind = [axis + 1 for axis in axes]
    base, change = step.dark(0), step.change(0)
    eps = emit.scalar(float(step.operation.attribute("eps")), base)
    squares = emit.add(emit.reduce_sum(emit.multiply(base, base), behind, True), eps)
    dark, lit = (emit.multiply(tensor, _per_root(squares)) for tensor in (base, change))
    return [_of_length(dark, lit, emit.reduce_sum(_of_square(dark, lit), behind, True))]


def _per_root(square: ov.Output) -> ov.Output:
    return emit.divide(emit.scalar(1.0, square), op.sqrt(square).output(0))


def weights(step: Step) -> list[ov.Output]:
    """Softmax over an axis that keeps its entries: ((e - e0) - w0 * sum(e - e0)) / sum(e), w0 the anchor's weights."""
    axis = int(step.operation.attribute("axis")) % step.values[0].rank + 1
    base, change = step.dark(0), step.change(0)
    top = op.reduce_max(op.maximum(emit.add(base, change), base), np.array([axis]), True).output(0)
    lit = op.exp(emit.subtract(emit.add(base, change), top)).output(0)
    more = emit.subtract(lit, op.exp(emit.subtract(base, top)).output(0))
    share = emit.multiply(emit.unsqueeze(step.anchors[0], [0]), emit.reduce_sum(more, [axis], True))
    return [emit.divide(emit.subtract(more, share), emit.reduce_sum(lit, [axis], True))]
