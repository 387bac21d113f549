"""Operations on tensors with the masks as one more axis in front."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import mul

import numpy as np
import openvino as ov
from openvino import opset13 as op

from ovxai.collapse.carry import axis_values, is_pointwise_convolution
from ovxai.collapse.layout import spread_over_masks, window_dims
from ovxai.collapse.masks import Masks
from ovxai.collapse.operation import Operation
from ovxai.collapse.values import Held, Shared, window_axes
from ovxai.errors import UnsupportedModelError
from ovxai.graph import emit
from ovxai.graph.dims import ONE, Dim, Dims, ints, sizes, whole_number
from ovxai.graph.graph import constant_value, source


class Lift:
    """One operation about to be applied to tensors [M, ...]: the tensors, their values, the result's extents."""

    def __init__(self, operation: Operation, values: Sequence[Held], out: list[Dims], masks: Masks) -> None:
        self.operation = operation
        self.node = operation.node
        self.values = values
        self.out = out  # physical, without M
        self.masks = masks
        self.tensors = [value.out() for value in values]

    def is_mapped(self, port: int) -> bool:
        return not isinstance(self.values[port], Shared)

    def rank(self, port: int) -> int:
        return self.values[port].rank

    def inside(self, port: int) -> Dims:
        """Physical extents of an operand, without M."""
        value = self.values[port]
        return window_dims(value.dims, window_axes(value), self.masks)

    def front(self, index: int = 0) -> list[Dim]:
        return [self.masks.count, *self.out[index]]


def applied(lift: Lift) -> list[ov.Output]:
    """The results of an operation on tensors with the masks in front: [M, ...] each."""
    facts = lift.operation.facts
    if facts.lift is not None:
        results = facts.lift(lift)
        return results if isinstance(results, list) else [results]
    parameters = any(lift.is_mapped(port) for port in range(1, len(lift.values)))
    places = any(output.get_target_inputs() for output in lift.node.outputs()[1:])  # of the largest, counted through the batch
    if facts.batched and lift.is_mapped(0) and not parameters and not places:
        return _fold(lift)
    return _unroll(lift)


def _aligned(lift: Lift, port: int, rank: int) -> ov.Output:
    """A mapped operand of lower rank gets its missing axes behind M, where broadcasting wants them."""
    tensor = lift.tensors[port]
    if not lift.is_mapped(port) or lift.rank(port) == rank:
        return tensor
    return emit.unsqueeze(tensor, list(range(1, 1 + rank - lift.rank(port))))


def elementwise(lift: Lift) -> ov.Output:
    rank = max(lift.rank(port) for port in range(len(lift.values)))
    return emit.clone(lift.node, [_aligned(lift, port, rank) for port in range(len(lift.values))]).output(0)


def matmul(lift: Lift) -> ov.Output:
    rank = max(lift.rank(0), lift.rank(1))
    if 1 in (lift.rank(0), lift.rank(1)):
        return _vector_product(lift, max(rank, 2))
    left, right = (Factor(lift.tensors[port], lift.inside(port), lift.is_mapped(port)) for port in (0, 1))
    flips = lift.operation.attribute("transpose_a"), lift.operation.attribute("transpose_b")
    return product(left, right, flips, lift.front())


def _vector_product(lift: Lift, rank: int) -> ov.Output:
    """A vector is a row as the first operand and a column as the second, whatever is said of transposing."""
    operands = []
    for port, tensor in enumerate(lift.tensors):
        mapped = lift.is_mapped(port)
        if lift.rank(port) == 1:
            tensor = emit.unsqueeze(tensor, [port + mapped])
        missing = rank - max(lift.rank(port), 2)
        operands.append(emit.unsqueeze(tensor, list(range(1, 1 + missing))) if mapped else tensor)
    flips = [lift.rank(port) > 1 and lift.operation.attribute(f"transpose_{'ab'[port]}") for port in (0, 1)]
    return emit.reshape(emit.matmul(*operands, *flips), lift.front())


@dataclass(frozen=True)
class Factor:
    """An operand of a product: [M, *dims] where it is mapped, else [*dims]."""

    tensor: ov.Output
    dims: Dims
    mapped: bool

    def of_rank(self, rank: int) -> Factor:
        """Missing axes go behind M, where broadcasting wants them."""
        missing = rank - len(self.dims)
        tensor = emit.unsqueeze(self.tensor, list(range(1, 1 + missing))) if self.mapped else self.tensor
        return Factor(tensor, (ONE,) * missing + self.dims, self.mapped) if self.mapped else self

    def upright(self, flipped: bool) -> Factor:
        """Rows and columns change places if `flipped`."""
        if not flipped:
            return self
        rank = len(self.dims) + self.mapped
        turned = emit.transpose(self.tensor, [*range(rank - 2), rank - 1, rank - 2])
        return Factor(turned, (*self.dims[:-2], self.dims[-1], self.dims[-2]), self.mapped)


def product(left: Factor, right: Factor, flips: tuple[bool, bool], front: Sequence[Dim]) -> ov.Output:
    """A product per mask, [M, ..], of extents `front`: in the rank and the number of products that devices like best."""
    rank = max(len(left.dims), len(right.dims))
    left, right = left.of_rank(rank), right.of_rank(rank)
    if left.mapped and not right.mapped and any(d.size > 1 for d in right.dims[:-2]):
        return _masks_as_rows(left.upright(flips[0]), right, flips[1], front)
    if right.mapped and not left.mapped and rank > 3 and front[-2].size == 1:
        return _masks_as_columns(left, right.upright(not flips[1]), flips[0], front)
    if left.mapped and right.mapped and rank > 3 and _same_batch(left, right):
        return _batch_in_one(left, right, flips, front)
    return emit.matmul(left.tensor, right.tensor, *flips)


def _masks_as_rows(left: Factor, right: Factor, flipped: bool, front: Sequence[Dim]) -> ov.Output:
    """[M, b, i, k] @ [b, k, j] as [b, M*i, k] @ [b, k, j]: one product per batch, not one per mask."""
    rank = len(left.dims)
    masks, *batch, row, column = front
    turned = emit.transpose(left.tensor, [*range(1, rank - 1), 0, rank - 1, rank])
    folded = emit.reshape(turned, [*left.dims[:-2], masks * row, left.dims[-1]])
    apart = emit.reshape(emit.matmul(folded, right.tensor, False, flipped), [*batch, masks, row, column])
    return emit.transpose(apart, [rank - 2, *range(rank - 2), rank - 1, rank])


def _masks_as_columns(left: Factor, right: Factor, flipped: bool, front: Sequence[Dim]) -> ov.Output:
    """[b, i, k] @ [M, b, j, k]^T as [b, i, k] @ [b, M*j, k]^T: the same where what is shared stands first."""
    rank = len(right.dims)
    masks, *batch, row, column = front
    turned = emit.transpose(right.tensor, [*range(1, rank - 1), 0, rank - 1, rank])
    folded = emit.reshape(turned, [*right.dims[:-2], masks * column, right.dims[-1]])
    apart = emit.reshape(emit.matmul(left.tensor, folded, flipped, True), [*batch, row, masks, column])
    return emit.transpose(apart, [rank - 1, *range(rank - 1), rank])


def _same_batch(left: Factor, right: Factor) -> bool:
    """Both have the same extents ahead of rows and columns."""
    return all(a.size == b.size and a.is_static == b.is_static for a, b in zip(left.dims[:-2], right.dims[:-2], strict=True))


def _batch_in_one(left: Factor, right: Factor, flips: tuple[bool, bool], front: Sequence[Dim]) -> ov.Output:
    """[M, a, b, i, k] @ [M, a, b, k, j] as [a*b, M, i, k] @ [a*b, M, k, j].

    ARM's plugin has no f16 product of rank 5; and it puts one together again from plain reshapes, therefore M changes its place.
    """
    whole = math.prod(front[1:-2], start=ONE)
    one, two = (emit.reshape(factor.tensor, [front[0], whole, *factor.dims[-2:]]) for factor in (left, right))
    result = emit.matmul(emit.transpose(one, [1, 0, 2, 3]), emit.transpose(two, [1, 0, 2, 3]), *flips)
    return emit.reshape(emit.transpose(result, [1, 0, 2, 3]), front)


def reshape(lift: Lift) -> ov.Output:
    return emit.reshape(lift.tensors[0], lift.front())


def transpose(lift: Lift) -> ov.Output:
    order = axis_values(lift.node, 1, lift.rank(0)) or list(reversed(range(lift.rank(0))))
    return emit.transpose(lift.tensors[0], [0, *(axis + 1 for axis in order)])


def axes_input(lift: Lift) -> list[ov.Output]:
    """Operations whose axes stand at port 1."""
    if lift.is_mapped(1):
        raise UnsupportedModelError(f"{lift.operation.name}: its axes depend on the picture")
    axes, given = axis_values(lift.node, 1, lift.rank(0)), constant_value(source(lift.node, 1))
    if axes is None or given is None:
        return _unroll(lift)
    moved = np.array([axis + 1 for axis in axes], np.int64).reshape(given.shape)
    inputs = [lift.tensors[0], op.constant(moved).output(0), *lift.tensors[2:]]
    return emit.clone(lift.node, inputs).outputs()


def normalisation(lift: Lift) -> list[ov.Output]:
    """Axes that are kept become one, with the masks.

    The CPU has no MVN of its own for more than two beside those it takes the mean of.
    """
    axes = axis_values(lift.node, 1, lift.rank(0))
    kept = lift.rank(0) - len(axes or ())
    if lift.is_mapped(1) or axes is None or sorted(axes) != list(range(kept, lift.rank(0))):
        return axes_input(lift)
    rows = reduce(mul, lift.out[0][:kept], lift.masks.count)
    folded = emit.reshape(lift.tensors[0], [rows, *lift.out[0][kept:]])
    result = emit.clone(lift.node, [folded, ints(range(1, 1 + len(axes)))]).output(0)
    return [emit.reshape(result, lift.front())]


def axis_attribute(lift: Lift) -> ov.Output:
    axis = int(lift.operation.attribute("axis")) % lift.rank(0) + 1
    return emit.clone(lift.node, lift.tensors, axis=axis).output(0)


def concat(lift: Lift) -> ov.Output:
    axis = int(lift.operation.attribute("axis")) % lift.rank(0) + 1
    tensors = [
        tensor if lift.is_mapped(port) else spread_over_masks(tensor, lift.values[port].dims, lift.masks)
        for port, tensor in enumerate(lift.tensors)
    ]
    return emit.concat(tensors, axis)


def gather(lift: Lift) -> ov.Output:
    axis = axis_values(lift.node, 2, lift.rank(0))
    if axis is None or not lift.is_mapped(0) or lift.is_mapped(1) or lift.node.get_attributes().get("batch_dims"):
        return _unroll(lift)[0]
    return op.gather(lift.tensors[0], lift.tensors[1], whole_number(axis[0] + 1)).output(0)


def slice_(lift: Lift) -> ov.Output:
    axes = axis_values(lift.node, 4, lift.rank(0))
    if axes is None:
        axes = list(range(lift.values[1].dims[0].size))
    inputs = [*lift.tensors[:4], ints([axis + 1 for axis in axes])]
    return emit.clone(lift.node, inputs).output(0)


def strided_slice(lift: Lift) -> ov.Output:
    # Masks may be shorter than the slice, or left out; with one more axis they must agree.
    count = lift.values[1].dims[0].size
    lead = {}
    for name in ("begin_mask", "end_mask", "shrink_axis_mask", "new_axis_mask", "ellipsis_mask"):
        own = list(lift.operation.attribute(name))
        lead[name] = [int(name in ("begin_mask", "end_mask")), *own, *[0] * (count - len(own))]
    whole = [op.convert(op.constant(np.array([v], np.int64)), t.get_element_type()) for v, t in zip((0, 0), lift.tensors[1:3])]
    ends = [op.concat([one, tensor], 0).output(0) for one, tensor in zip(whole, lift.tensors[1:3])]
    steps = [op.concat([op.convert(ints([1]), t.get_element_type()), t], 0).output(0) for t in lift.tensors[3:4]]
    return emit.clone(lift.node, [lift.tensors[0], *ends, *steps], **lead).output(0)


def broadcast(lift: Lift) -> ov.Output:
    return emit.broadcast(_aligned(lift, 0, len(lift.out[0])), tuple(lift.front()))


def convolution(lift: Lift) -> ov.Output | list[ov.Output]:
    """A 1x1 convolution is a product over channels: folding the masks into its batch would be far slower."""
    weight = lift.values[1].dims
    if lift.is_mapped(1) or not is_pointwise_convolution(lift.node, sizes(weight)):
        return _fold(lift) if lift.is_mapped(0) and not lift.is_mapped(1) else _unroll(lift)
    batch, channels, *spatial = lift.values[0].dims
    flat = emit.reshape(lift.tensors[1], [weight[0], weight[1]])
    if all(dim.size == 1 for dim in spatial):
        # Rank 2: of a Reshape from rank 3 to 5 the CPU's low precision transformations can't take the scales along.
        rows = emit.reshape(lift.tensors[0], [lift.masks.count * batch, channels])
        return emit.reshape(emit.matmul(rows, flat, False, True), lift.front())
    rank = lift.rank(0) + 1
    last = emit.transpose(lift.tensors[0], [0, 1, *range(3, rank), 2])
    product = emit.matmul(last, flat, False, True)
    return emit.transpose(product, [0, 1, rank - 1, *range(2, rank - 1)])


def prelu(lift: Lift) -> ov.Output | list[ov.Output]:
    """max(x, 0) + slope * min(x, 0); a slope of one axis lies along the channels (axis 1)."""
    slope = lift.tensors[1]
    rank = lift.rank(0)
    if lift.rank(1) == 1 and lift.values[1].dims[0].size > 1 and rank > 1:
        slope = emit.reshape(slope, [lift.values[1].dims[0], *[ONE] * (rank - 2)])
    zero = emit.scalar(0.0, lift.tensors[0])
    negative = emit.multiply(op.minimum(lift.tensors[0], zero).output(0), slope)
    return op.add(op.maximum(lift.tensors[0], zero), negative).output(0)


def _fold(lift: Lift) -> list[ov.Output]:
    """Masks into the batch, and out of it again."""
    batch, *rest = lift.inside(0)
    folded = emit.reshape(lift.tensors[0], [lift.masks.count * batch, *rest])
    results = emit.clone(lift.node, [folded, *lift.tensors[1:]]).outputs()
    return [emit.reshape(result, lift.front(index)) for index, result in enumerate(results)]


def _unroll(lift: Lift) -> list[ov.Output]:
    """One operation per mask: right for any operation, and the slowest way there is."""
    if not lift.masks.count.is_static:
        raise UnsupportedModelError(
            f"{lift.operation.name} ({lift.operation.kind}) has no rule for a map of dynamic size; "
            "give the model a fixed input size"
        )
    columns: list[list[ov.Output]] = [[] for _ in lift.out]
    for mask in range(lift.masks.count.size):
        row = whole_number(mask)
        inputs = [
            op.gather(tensor, row, whole_number(0)).output(0) if lift.is_mapped(port) else tensor
            for port, tensor in enumerate(lift.tensors)
        ]
        for column, dims, index in zip(columns, lift.out, range(len(lift.out))):
            column.append(emit.unsqueeze(lift.operation.remake(inputs, dims, index), [0]))
    return [emit.concat(column, 0) for column in columns]
