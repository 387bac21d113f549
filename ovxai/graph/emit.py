"""Make nodes: clones of the model's operations on other inputs, and the few moves everything is written in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import openvino as ov
from openvino import opset13 as op
from openvino.utils.node_factory import NodeFactory

from ovxai.graph.constants import is_zero, settled
from ovxai.graph.dims import ONE, Dim, Dims, ints, shape_node, sizes

_factories: dict[str, NodeFactory] = {}


def clone(node: ov.Node, inputs: Sequence[ov.Output], **overrides: object) -> ov.Node:
    """`node` once more, on other inputs; `overrides` replace attributes such as `axis`."""
    version = node.get_type_info().version_id
    factory = _factories.setdefault(version, NodeFactory(version))
    attributes = {**node.get_attributes(), **overrides}
    return settled(factory.create(node.get_type_name(), list(inputs), attributes))


def scalar(value: float, like: ov.Output) -> ov.Output:
    """A constant of `like`'s element type."""
    return op.constant(np.array(value), dtype=like.get_element_type()).output(0)


def reshape(tensor: ov.Output, dims: Sequence[Dim]) -> ov.Output:
    if _has_shape(tensor, dims):
        return tensor
    return op.reshape(tensor, _pattern(dims), False).output(0)


def _has_shape(tensor: ov.Output, dims: Sequence[Dim]) -> bool:
    shape = tensor.get_partial_shape()
    return (
        shape.is_static
        and all(dim.is_static for dim in dims)
        and tuple(int(size) for size in shape.to_shape()) == tuple(dim.size for dim in dims)
    )


def _pattern(dims: Sequence[Dim]) -> ov.Output:
    # One unknown extent needs no shape arithmetic: -1 says it, and the graph stays small.
    if sum(not dim.is_static for dim in dims) == 1:
        return ints([dim.size if dim.is_static else -1 for dim in dims])
    return shape_node(dims)


def transpose(tensor: ov.Output, order: Sequence[int]) -> ov.Output:
    if list(order) == list(range(len(order))):
        return tensor
    return op.transpose(tensor, ints(order)).output(0)


def rows_to_maps(rows: ov.Output, count: Dim, dims: Dims) -> ov.Output:
    """[M, N, C] -> [N, C, M]. dims: (N, C)."""
    if dims[0] == ONE:  # the CPU is quicker at this order
        return transpose(reshape(rows, [ONE, count, dims[1]]), [0, 2, 1])
    return transpose(rows, [1, 2, 0])


def unsqueeze(tensor: ov.Output, axes: Sequence[int]) -> ov.Output:
    return op.unsqueeze(tensor, ints(axes)).output(0) if axes else tensor


def slice_axis(tensor: ov.Output, axis: int, start: Dim | int, stop: Dim | int) -> ov.Output:
    """tensor[..., start:stop, ...] along `axis`."""
    if _is_single(start, stop):
        # Slices side by side become one VariadicSplit, which copies all of the tensor; one token is cheaper picked.
        return op.gather(tensor, ints([_size(start)]), op.constant(np.int64(axis))).output(0)
    ends = [ints([edge]) if isinstance(edge, int) else edge.node() for edge in (start, stop)]
    return op.slice(tensor, ends[0], ends[1], ints([1]), ints([axis])).output(0)


def _size(edge: Dim | int) -> int:
    return edge if isinstance(edge, int) else edge.size


def _is_single(start: Dim | int, stop: Dim | int) -> bool:
    static = all(isinstance(edge, int) or edge.is_static for edge in (start, stop))
    return static and _size(stop) - _size(start) == 1


def pick_each(tensor: ov.Output, rows: ov.Output) -> ov.Output:
    """tensor [N, C, ...] and rows [N, K] -> [N, K, ...], each picture its own rows.

    GatherElements, since Gather with batch_dims=1 gives wrong values on the CPU (OpenVINO 2026.4)
    where few elements follow the axis.
    """
    rank = len(tensor.get_partial_shape())
    if rank == 2:
        return op.gather_elements(tensor, rows, 1).output(0)
    shape = op.shape_of(tensor, "i64")
    tail = op.gather(shape, ints(range(2, rank)), op.constant(np.int64(0)))
    wanted = op.concat([op.shape_of(rows, "i64"), tail], 0)
    index = op.broadcast(unsqueeze(rows, list(range(2, rank))), wanted, broadcast_spec="BIDIRECTIONAL")
    return op.gather_elements(tensor, index, 1).output(0)


def concat(tensors: Sequence[ov.Output], axis: int) -> ov.Output:
    return tensors[0] if len(tensors) == 1 else op.concat(list(tensors), axis).output(0)


def broadcast(tensor: ov.Output, dims: Dims) -> ov.Output:
    """`tensor` spread to `dims`; every one of its axes is 1 or already fits."""
    return op.broadcast(tensor, shape_node(dims), broadcast_spec="BIDIRECTIONAL").output(0)


def zeros(dims: Dims, like: ov.Output) -> ov.Output:
    if all(dim.is_static for dim in dims):
        return op.constant(np.zeros(sizes(dims)), dtype=like.get_element_type()).output(0)
    return broadcast(scalar(0.0, like), dims)


def as_type(tensor: ov.Output, kind: ov.Type) -> ov.Output:
    return tensor if tensor.get_element_type() == kind else op.convert(tensor, kind).output(0)


def _alike(a: ov.Output, b: ov.Output) -> tuple[ov.Output, ov.Output]:
    """In one type: masks are f32, a model may compute in f16 or f64."""
    kinds = {a.get_element_type(), b.get_element_type()} - {ov.Type.f32}
    return (as_type(a, *kinds), as_type(b, *kinds)) if len(kinds) == 1 else (a, b)


def add(a: ov.Output, b: ov.Output) -> ov.Output:
    if is_zero(a) or is_zero(b):  # only flat level 0 is ever such a constant: it broadcasts into the other
        return a if is_zero(b) else b
    return op.add(*_alike(a, b)).output(0)


def subtract(a: ov.Output, b: ov.Output) -> ov.Output:
    return a if is_zero(b) else op.subtract(*_alike(a, b)).output(0)


def multiply(a: ov.Output, b: ov.Output) -> ov.Output:
    return op.multiply(*_alike(a, b)).output(0)


def divide(a: ov.Output, b: ov.Output) -> ov.Output:
    return op.divide(*_alike(a, b)).output(0)


def matmul(a: ov.Output, b: ov.Output, transpose_a: bool = False, transpose_b: bool = False) -> ov.Output:
    return settled(op.matmul(*_alike(a, b), transpose_a, transpose_b)).output(0)


def reduce_sum(tensor: ov.Output, axes: Sequence[int], keep: bool) -> ov.Output:
    return op.reduce_sum(tensor, ints(axes), keep).output(0)
