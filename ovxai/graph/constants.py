"""Work that can be done now: products that no picture reaches, pools of a single entry.

Level 0 of a gated tensor is a constant, and so are its products with weights. The CPU plugin can't compile
a product of a constant with compressed weights (u8/i8/u4/i4 and a scale), so none is left in the graph.
"""

from __future__ import annotations

import math

import numpy as np
import openvino as ov
from openvino import opset13 as op

from ovxai.graph.dims import ints
from ovxai.graph.graph import source, sources

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
    left, right = (_value(port).astype(np.float64) for port in (data, weight))
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


def _above(port: ov.Output):
    """The node of `port` and all that feeds it, nearest first; the first inputs of each go before the others."""
    seen: set[str] = set()
    stack = [port.get_node()]
    while stack:
        node = stack.pop()
        if node.get_name() in seen:
            continue
        seen.add(node.get_name())
        yield node
        stack.extend(feed.get_node() for feed in reversed(sources(node)))


def _value(port: ov.Output) -> np.ndarray:
    if port.get_node().get_type_name() == "Constant":
        return port.get_node().get_data()
    model = ov.Model([op.result(op.convert(port, "f32"))], [], "constant")
    return ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})({})[0]
