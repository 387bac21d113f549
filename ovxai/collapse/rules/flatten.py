"""Flatten + MatMul: every position has weights of its own, and uses them once.

T[m] = sum over p of V_0[p] @ W[p] + (V - V_0)[m] @ W[m], all m in one product batched over positions.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import openvino as ov

from ovxai.collapse.carry import is_pointwise_convolution
from ovxai.collapse.layout import anchored_mapped, change_of, flat_dims, level_rows, one_for_all, zero_anchor
from ovxai.collapse.lazy import once
from ovxai.collapse.operation import Operation
from ovxai.collapse.values import ZERO, Leveled, Mapped, Merged, Refusal, Shared, Thunk, Value
from ovxai.graph import emit
from ovxai.graph.dims import Dims, product, sizes

if TYPE_CHECKING:
    from ovxai.collapse.interpreter import Interpreter


def on_merged(interpreter: Interpreter, operation: Operation) -> list[Value] | None:
    """Elementwise operations with scalars go to the value before it was merged."""
    value = next((one for one in operation.inputs if isinstance(one, Merged)), None)
    if value is None:
        return None
    if operation.kind == "Reshape":
        raise Refusal("positions that were merged with channels are taken apart again")
    others = [one for one in operation.inputs if one is not value]
    scalar = all(isinstance(one, Shared) and product(one.dims).size == 1 for one in others)
    if not scalar or len(operation.out_dims[0]) != value.rank:
        raise Refusal("a term per position and channel")
    inputs = tuple(_as_scalar(operand) if isinstance(operand, Shared) else value.inner for operand in operation.inputs)
    inner = Operation(operation.node, inputs, (value.inner.dims,), (None,), operation.facts)
    result = interpreter.evaluate(inner)[0]
    if not isinstance(result, Leveled):
        raise Refusal("it does not leave positions apart")
    return [Merged(operation.out_dims[0], value.axis, result, value.run)]


def _as_scalar(value: Shared) -> Shared:
    return Shared((), once(lambda: emit.reshape(value.out(), ())))


def merged_matmul(interpreter: Interpreter, operation: Operation) -> Value:
    """MatMul of a Merged value with constant weights, the merged axis contracted."""
    data, weight = operation.inputs
    if not isinstance(data, Merged):
        raise Refusal("what was flattened is the second operand of a product")
    if not isinstance(weight, Shared) or weight.rank != 2 or data.axis != data.rank - 1:
        raise Refusal("what was flattened is not multiplied with a plain weight matrix")
    if operation.attribute("transpose_a"):
        raise Refusal("what was flattened is transposed")
    if 0 in data.run:
        raise Refusal("what was flattened is the batch as well")
    inner = data.inner.dims[1:]
    outer = weight.dims[0] if operation.attribute("transpose_b") else weight.dims[1]

    def table() -> ov.Output:
        turned = weight.out() if operation.attribute("transpose_b") else emit.transpose(weight.out(), [1, 0])
        return emit.reshape(turned, [outer, *inner])

    lead = tuple(data.inner.dims[axis] for axis in range(data.inner.rank) if axis not in data.run)
    if any(dim.size != 1 for dim in lead[1:]):
        raise Refusal("what was flattened keeps further axes")
    return positional_product(interpreter, operation, data.inner, once(table), (outer, *inner))


def positional_product(interpreter: Interpreter, operation: Operation, data: Leveled, table: Thunk, dims: Dims) -> Mapped:
    """sum over p of data[n, .., p] . table[o, .., p] under every mask: [M, N, O]."""
    masks = interpreter.masks
    rank = data.rank
    channels = [axis for axis in range(1, rank) if axis not in data.positions]

    def contributions(level: float) -> ov.Output:
        """[N, O, P]: what each position adds at that level."""
        change = change_of(data, level)
        order = [*data.positions, 0, *channels]
        left = emit.reshape(
            emit.transpose(change, order), [masks.positions, data.dims[0], product([data.dims[a] for a in channels])]
        )
        right = emit.reshape(emit.transpose(table(), order), [masks.positions, dims[0], product([dims[a] for a in channels])])
        return emit.rows_to_maps(emit.matmul(left, right, False, True), masks.positions, (data.dims[0], dims[0]))

    out = (data.dims[0], dims[0], masks.positions)
    result = operation.out_dims[0]

    def anchor() -> ov.Output:
        base = data.levels[ZERO]()
        return zero_anchor(result, base) if emit.is_zero(base) else one_for_all(_base_sum(base, data, table(), dims), result)

    def change() -> ov.Output:
        levels = {weight: once(partial(contributions, weight)) for weight in data.levels if weight}
        zero = once(lambda: emit.zeros(flat_dims(out, (2,)), data.levels[ZERO]()))
        total = level_rows(Leveled(out, (2,), {ZERO: zero, **levels}, True), masks)  # [M, N, O]
        return emit.reshape(total, [masks.count, *result])

    return anchored_mapped(result, once(anchor), once(change))


def _base_sum(base: ov.Output, data: Leveled, table: ov.Output, dims: Dims) -> ov.Output:
    """sum over p of V_0[p] @ W[p]: [N, O]."""
    full = emit.broadcast(base, data.dims)
    rest = product(data.dims[1:])
    return emit.matmul(emit.reshape(full, [data.dims[0], rest]), emit.reshape(table, [dims[0], rest]), False, True)


# Convolutions: as large as the map, they are a flatten + MatMul; else position-wise, or refused.
#
# Convolution(F [N, C, h, w], W [O, C, h, w]) -> sum over p of F[p] @ W[p]


def convolution(interpreter: Interpreter, operation: Operation) -> list[Value] | None:
    """A convolution over gated positions whose kernel is more than one of them."""
    data, weight = operation.inputs
    if not isinstance(data, Leveled) or not isinstance(weight, Shared):
        return None
    if is_pointwise_convolution(operation.node, sizes(weight.dims)):
        return None
    whole = sizes(data.dims)[2:] == sizes(weight.dims)[2:] and data.positions == tuple(range(2, data.rank))
    if not whole or any([*operation.attribute("pads_begin"), *operation.attribute("pads_end")]):
        raise Refusal("its kernel mixes neighbouring positions")
    return [positional_product(interpreter, operation, data, weight.out, weight.dims)]
