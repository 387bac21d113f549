"""What a network sees of the picture that is fed, where the graph itself resizes it: the size in which it counts pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import openvino as ov

from ovxai.find.detector.maps import is_linear
from ovxai.graph.dims import NCHW, NHWC, Grid
from ovxai.graph.graph import Graph, Port
from ovxai.graph.picture import PictureInput
from ovxai.metadata import MapFrame
from ovxai.trace.place import place
from ovxai.trace.walk import Trace

#: Padding in front of a convolution; what is wider than that belongs to the picture (a letterbox).
_OF_A_CONVOLUTION = 3


@dataclass(frozen=True)
class NetworkInput:
    """The resized picture. port: where it is made; axes: of its height and width there; size: (h, w) of them.

    frame: which part of the picture as it is fed it covers.
    """

    port: ov.Output
    axes: tuple[int, int]
    size: Grid
    frame: MapFrame


def network_input(graph: Graph, picture: PictureInput, traced: Trace) -> NetworkInput | None:
    """The resized picture of a fixed size; None where the network sees what is fed, or what is made of it has no fixed size."""
    start = graph.position(graph.model.inputs[picture.index].get_node())
    first = next((node for node in range(start, len(graph.ops)) if is_linear(graph, node) and _sees(graph, node, start)), None)
    if first is None:
        return None
    made = [node for node in graph.above(graph.live_inputs(first)) if node > start and _is_whole(graph, node, start)]
    resized = max((node for node in made if graph.kinds[node] == "Interpolate"), default=None)
    if resized is None:
        return None
    # A letterbox is padding behind the resizing.
    padded = [node for node in made if node > resized and graph.kinds[node] == "Pad" and _is_wide(graph, node)]
    port = (max(padded, default=resized), 0)
    spot = place(traced, port)
    if isinstance(spot, str) or spot.layout not in (NCHW, NHWC) or spot.frame.axes != "yx":
        return None
    axes = (2, 3) if spot.layout == NCHW else (1, 2)
    shape = graph.output_of(port).get_partial_shape()
    if any(shape[axis].is_dynamic for axis in axes):
        return None
    size = shape[axes[0]].get_length(), shape[axes[1]].get_length()
    if _scales_back(graph, port[0], [fed / own for fed, own in zip(traced.sides, size, strict=True)]):
        return None
    return NetworkInput(graph.output_of(port), axes, size, spot.frame)


def _sees(graph: Graph, node: int, start: int) -> bool:
    return start in graph.above(graph.live_inputs(node))


def _is_whole(graph: Graph, node: int, start: int) -> bool:
    """Whether the tensor still has the picture's own number of channels, and four axes."""
    picture, shape = graph.shape((start, 0)), graph.shape((node, 0))
    if picture is None or shape is None or len(shape) != 4:
        return False
    return bool({shape[1], shape[3]} & {picture[1], picture[-1]})


def _is_wide(graph: Graph, node: int) -> bool:
    before: Port = graph.inputs[node][0]
    own, out = graph.shape(before), graph.shape((node, 0))
    return own is not None and out is not None and any(b - a >= _OF_A_CONVOLUTION for a, b in zip(own, out))


def _scales_back(graph: Graph, resized: int, ratios: list[float]) -> bool:
    """Whether what is handed out is brought to the picture's own size again, as torchvision does with boxes.

    Told by a factor that is made of the fed picture's size, or by constants that are both of the `ratios` (h, w).
    """
    seen, stack = {resized}, [node for node, _ in graph.results]
    found: set[int] = set()
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        if graph.kinds[node] == "ShapeOf":
            above = graph.inputs[node][0][0]
            if graph.live[above] and above < resized:
                return True
        elif graph.kinds[node] in ("Multiply", "Divide"):
            found |= _matching(graph, node, ratios)
        stack.extend(feed for feed, _ in graph.inputs[node])
    unequal = {i for i, ratio in enumerate(ratios) if ratio != 1}
    return bool(unequal) and found == unequal


def _matching(graph: Graph, node: int, ratios: list[float]) -> set[int]:
    """Which of the ratios an operation multiplies with, or divides by the inverse of."""
    matching: set[int] = set()
    for feed in graph.inputs[node]:
        value = None if graph.live[feed[0]] else graph.value(feed)
        if value is not None and value.size <= 4:
            factors = value.reshape(-1).astype(np.float64)
            factors = 1 / factors[factors != 0] if graph.kinds[node] == "Divide" else factors
            matching |= {i for i, ratio in enumerate(ratios) if ratio != 1 and np.isclose(factors, ratio, rtol=1e-4).any()}
    return matching
