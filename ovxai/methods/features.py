"""The feature map and the feature vector of a classifier, in the one form that clients get."""

from __future__ import annotations

import openvino as ov
from openvino import opset13 as op

from ovxai.collapse import emit
from ovxai.collapse.dims import Dim, dims_of
from ovxai.collapse.gate import grid_dims
from ovxai.find.site import ClassifierSite
from ovxai.ir.graph import Graph, source
from ovxai.ir.tap import CHANNEL_AXIS, NCP, NHWC, POSITION_AXES, Tap


def as_float(tensor: ov.Output) -> ov.Output:
    return tensor if tensor.get_element_type() == ov.Type.f32 else op.convert(tensor, "f32").output(0)


def feature_map(tap: Tap, graph: Graph) -> ov.Output:
    """The tap as f32 [N, c, h, w]: channels first, tokens laid out as the grid, prefix tokens left out."""
    dims = dims_of(tap.port, graph.shape(tap.port))
    tensor = tap.port
    if tap.prefix:
        axis = POSITION_AXES[tap.layout][0]
        tensor = emit.slice_axis(tensor, axis, tap.prefix, dims[axis])
    if tap.layout == NHWC:
        tensor = emit.transpose(tensor, [0, 3, 1, 2])
    if tap.is_tokens:
        tensor = tensor if tap.layout == NCP else emit.transpose(tensor, [0, 2, 1])
        tensor = emit.reshape(tensor, [dims[0], dims[CHANNEL_AXIS[tap.layout]], *grid_dims(tap, graph)])
    if tensor.get_node().get_name() == tap.port.get_node().get_name():
        # An output of its own: clients find outputs by name, and one tensor would carry two.
        tensor = op.convert(tensor, "f32").output(0)
    return as_float(tensor)


def feature_vector(site: ClassifierSite, features: ov.Output, graph: Graph) -> ov.Output:
    """f32 [N, c]: the class token as the classifier reads it, or the mean of the features over positions."""
    if site.taps[0].prefix and (token := _classifier_input(site.logits, graph)) is not None:
        dims = dims_of(token, graph.shape(token))
        return as_float(emit.reshape(token, [dims[0], _last(dims)]))
    return op.reduce_mean(features, op.constant([2, 3]), False).output(0)


def _last(dims: tuple[Dim, ...]) -> Dim:
    return max(dims[1:], key=lambda dim: dim.size)


def _classifier_input(logits: ov.Output, graph: Graph) -> ov.Output | None:
    """What the last product with constant weights reads, if it is one vector a picture."""
    here = logits
    while True:
        node = here.get_node()
        if node.get_type_name() == "MatMul" and graph.is_constant(source(node, 1)):
            data = source(node, 0)
            return data if sum(size > 1 for size in graph.shape(data)[1:]) == 1 else None
        if node.get_type_name() not in ("Add", "Multiply", "Divide", "Reshape", "Squeeze", "Convert", "FakeQuantize"):
            return None
        here = source(node, 1) if graph.is_constant(source(node, 0)) else source(node, 0)
