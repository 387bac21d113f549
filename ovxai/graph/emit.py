"""Make nodes: clones of the model's operations on other inputs, and the few moves everything is written in."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import openvino as ov
from openvino import opset13 as op
from openvino.utils.node_factory import NodeFactory

from ovxai.graph.dims import ONE, Dim, Dims, ints, shape_node, sizes, whole_number
from ovxai.graph.graph import concrete_twin, numbers_of, source, sources

_factories: dict[str, NodeFactory] = {}

#: Up to here entries of an axis are added one by one.
FEW = 2


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
    # As channels last to channels first, which the CPU (2026.4) does three times as fast as any other order.
    pixels = reshape(rows, [ONE, count, ONE, dims[0] * dims[1]])
    return reshape(transpose(pixels, [0, 3, 1, 2]), [*dims, count])


def unsqueeze(tensor: ov.Output, axes: Sequence[int]) -> ov.Output:
    return op.unsqueeze(tensor, ints(axes)).output(0) if axes else tensor


def slice_axis(tensor: ov.Output, axis: int, start: Dim | int, stop: Dim | int) -> ov.Output:
    """tensor[..., start:stop, ...] along `axis`."""
    if _is_single(start, stop):
        # Slices side by side become one VariadicSplit, which copies all of the tensor; one token is cheaper picked.
        return op.gather(tensor, ints([_size(start)]), whole_number(axis)).output(0)
    ends = [ints([edge]) if isinstance(edge, int) else edge.node() for edge in (start, stop)]
    return op.slice(tensor, ends[0], ends[1], ints([1]), ints([axis])).output(0)


def sliced(tensor: ov.Output, starts: ov.Output, stops: ov.Output, axes: Sequence[int]) -> ov.Output:
    """tensor[start:stop] along several axes. starts, stops: i64, one per axis."""
    return op.slice(tensor, starts, stops, ints([1] * len(axes)), ints(axes)).output(0)


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
    tail = op.gather(shape, ints(range(2, rank)), whole_number(0))
    wanted = op.concat([op.shape_of(rows, "i64"), tail], 0)
    index = op.broadcast(unsqueeze(rows, list(range(2, rank))), wanted, broadcast_spec="BIDIRECTIONAL").output(0)
    if not _is_cut(tensor):
        return op.gather_elements(tensor, index, 1).output(0)
    # Plugins drop a Slice right before GatherElements (OpenVINO 2026.4), whatever axes it cuts.
    picked = op.gather_elements(unsqueeze(tensor, [rank]), unsqueeze(index, [rank]), 1)
    return op.squeeze(picked, ints([rank])).output(0)


def _is_cut(tensor: ov.Output) -> bool:
    node = tensor.get_node()
    while node.get_type_name() == "Convert":
        node = node.input_value(0).get_node()
    return node.get_type_name() in ("Slice", "StridedSlice")


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


def few(tensor: ov.Output, axis: int, combine: Callable[[ov.Output, ov.Output], ov.Output]) -> ov.Output | None:
    """Entries of a short axis put together two by two, the axis kept; None where there are many, or nobody knows how many.

    The CPU takes 0.2 us per row to reduce it, whatever its length: cuts and a sum take a tenth of that.
    """
    shape = tensor.get_partial_shape()
    if shape.rank.is_dynamic or shape[axis].is_dynamic or shape[axis].get_length() > FEW:
        return None
    if shape[axis].get_length() == 1:
        return tensor
    pieces = [slice_axis(tensor, axis, start, start + 1) for start in range(shape[axis].get_length())]
    return functools.reduce(combine, pieces)


def sum_over(tensor: ov.Output, axis: int) -> ov.Output:
    """The sum over one axis, which is kept."""
    total = few(tensor, axis, add)
    return reduce_sum(tensor, [axis], True) if total is None else total


def largest_over(tensor: ov.Output, axis: int) -> ov.Output:
    """The largest along one axis, which is kept."""
    found = few(tensor, axis, lambda a, b: op.maximum(a, b).output(0))
    return op.reduce_max(tensor, ints([axis]), True).output(0) if found is None else found


def reduce_sum(tensor: ov.Output, axes: Sequence[int], keep: bool) -> ov.Output:
    return op.reduce_sum(tensor, ints(axes), keep).output(0)


# Work that can be done now: products that no picture reaches, pools of a single entry.
#
# Level 0 of a gated tensor is a constant, and so are its products with weights. The CPU plugin can't compile
# a product of a constant with compressed weights (u8/i8/u4/i4 and a scale), so none is left in the graph.

_SUMS = ("MatMul", "Convolution", "GroupConvolution")
_POOLS = ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin")


def settled(node: ov.Node) -> ov.Node:
    """`node`, or what it comes to: a pool of single entries, a product with zeros or of a constant with compressed weights."""
    if node.get_type_name() in _POOLS:
        return _of_one(node)
    if node.get_type_name() not in _SUMS or not node.get_output_partial_shape(0).is_static:
        return node
    data, weight = source(node, 0), source(node, 1)
    if is_zero(data):
        return _constant(np.zeros(tuple(node.get_output_shape(0))), node)
    if node.get_type_name() != "MatMul" or not (has_whole_numbers(weight) and is_constant(data)):
        return node
    turned = node.get_attributes()
    left, right = (worked_out(port).astype(np.float64) for port in (data, weight))
    left = np.swapaxes(left, -1, -2) if turned["transpose_a"] and left.ndim > 1 else left
    right = np.swapaxes(right, -1, -2) if turned["transpose_b"] and right.ndim > 1 else right
    return _constant((left @ right).reshape(tuple(node.get_output_shape(0))), node)


def _of_one(node: ov.Node) -> ov.Node:
    """A pool over axes of extent 1, which heads after a flattened map keep, copies all rows for nothing."""
    data, shape = source(node, 0), node.get_output_partial_shape(0)
    if not (shape.is_static and data.get_partial_shape().is_static):
        return node
    before, after = tuple(data.get_shape()), tuple(shape.to_shape())
    return op.reshape(data, ints(after), False) if math.prod(before) == math.prod(after) else node


def _constant(values: np.ndarray, like: ov.Node) -> ov.Node:
    return op.constant(values, dtype=like.get_output_element_type(0))


def is_zero(port: ov.Output) -> bool:
    node = port.get_node()
    return node.get_type_name() == "Constant" and port.get_element_type().is_real() and not node.get_data().any()


def is_constant(port: ov.Output) -> bool:
    """Whether no picture reaches it."""
    return all(node.get_type_name() not in ("Parameter", "ReadValue") for node in _above(port))


def has_whole_numbers(port: ov.Output) -> bool:
    """Whether only constants stand above, whole numbers among them."""
    firsts = [node for node in _above(port) if not node.get_input_size()]
    whole = any(node.get_output_element_type(0).is_integral() for node in firsts)
    return whole and all(node.get_type_name() == "Constant" for node in firsts)


def is_the_same_for_all(port: ov.Output) -> bool:
    """Whether of what is fed only shapes count, no values."""
    return all(node.get_type_name() not in ("Parameter", "ReadValue") for node in _above(port, past_shapes=False))


def _above(port: ov.Output, *, past_shapes: bool = True) -> Iterator[ov.Node]:
    """The node of `port` and all that feeds it, nearest first; the first inputs of each go before the others.

    past_shapes: whether what only hands on its shape counts.
    """
    seen: set[str] = set()
    stack = [port.get_node()]
    while stack:
        node = stack.pop()
        if node.get_name() in seen:
            continue
        seen.add(node.get_name())
        yield node
        if past_shapes or node.get_type_name() != "ShapeOf":
            stack.extend(feed.get_node() for feed in reversed(sources(node)))


def entries_above(ports: Iterable[ov.Output]) -> list[ov.Node]:
    """The Parameters that feed `ports`, also those of which only the shape counts."""
    found = {node.get_name(): node for port in ports for node in _above(port) if node.get_type_name() == "Parameter"}
    return list(found.values())


def worked_out(port: ov.Output) -> np.ndarray:
    """The value of a port that no input's values reach: a constant, or what is computed from constants and shapes, in f32."""
    if port.get_node().get_type_name() == "Constant":
        return numbers_of(port.get_node())
    model = concrete_twin(ov.Model([op.result(op.convert(port, "f32"))], entries_above([port]), "constant"), 1)
    feeds = [np.zeros(entry.get_shape(), entry.get_element_type().to_dtype()) for entry in model.inputs]
    return ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(feeds)[0]
