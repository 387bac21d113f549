"""The feature map and the feature vector of a classifier, in the one form that clients get."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import openvino as ov
from openvino import opset13 as op

from ovxai.collapse.gate import grid_dims
from ovxai.find.site import ClassifierSite
from ovxai.graph import emit
from ovxai.graph.dims import Dim, dims_of, ints
from ovxai.graph.graph import Graph, source
from ovxai.graph.tap import CHANNEL_AXIS, NCP, NHWC, POSITION_AXES, Tap


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


# Grey levels, as OTX exports them.

#: A map whose spread is below this share of its largest value says nothing: it is rounding noise.
EVIDENCE = 1e-6


def to_grey(maps: ov.Output, axes: tuple[int, ...] = (2, 3)) -> ov.Output:
    """f32 maps -> u8: 255 * (s - min) / (max - min) over `axes`, truncated; zeros where there is no evidence.

    Min-max over each map by itself. No epsilon is added: it would vanish in f16, and Select does it right.
    """
    low = op.reduce_min(maps, ints(axes), True)
    high = op.reduce_max(maps, ints(axes), True)
    spread = op.subtract(high, low)
    largest = op.maximum(op.abs(low), op.abs(high))
    seen = op.greater(spread, op.multiply(largest, _number(EVIDENCE)))
    safe = op.select(seen, spread, _number(1.0))
    factor = op.select(seen, op.divide(_number(255.0), safe), _number(0.0))
    # Shift before scale: the product then has no large term to cancel, which counts in bf16.
    return op.convert(op.multiply(op.subtract(maps, low), factor), "u8").output(0)


def largest_cells(maps: ov.Output) -> ov.Output:
    """[N, C, h, w] -> [N, C]."""
    return op.reduce_max(maps, ints([2, 3]), False).output(0)


def _number(value: float) -> ov.Node:
    return op.constant(np.float32(value))


# What a method hands back: the new tensors, not yet outputs, and what is to be written about them.


@dataclass(frozen=True)
class Branch:
    """An explanation subgraph that hangs on the model's nodes.

    saliency: f32 [N, C, h, w], not yet scaled to grey levels.
    feature_map: f32 [N, c, h, w]. feature_vector: f32 [N, c]. index: i64 [N, 1, K], which classes.
    strength: f32 [N, C], how strong each map's class is; None: its largest cell tells.
    info: fields of `ExplainedInfo` that the method knows. notes: lines for the person who inserts.
    """

    saliency: ov.Output
    feature_map: ov.Output | None = None
    feature_vector: ov.Output | None = None
    index: ov.Output | None = None
    strength: ov.Output | None = None
    info: dict = field(default_factory=dict)
    notes: tuple[str, ...] = ()
