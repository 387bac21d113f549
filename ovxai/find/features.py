"""Where a model that is explained without its outputs has its features: the last map that a layer reads."""

from __future__ import annotations

from collections.abc import Iterator

import openvino as ov

from ovxai.errors import TargetLayerError
from ovxai.find.site import FeatureSite, No, Request
from ovxai.graph.dims import NCP, Tap
from ovxai.graph.graph import Graph
from ovxai.graph.names import name_of
from ovxai.trace.candidates import named_maps
from ovxai.trace.place import Place, place
from ovxai.trace.walk import Trace, trace

#: Layers with weights, where one of their operands is constant.
_WEIGHING = ("Convolution", "GroupConvolution", "ConvolutionBackpropData", "MatMul")


def find_features(request: Request) -> FeatureSite | No:
    """The named tensor, or the last one in which a layer, or what gathers the positions, finds features of the picture.

    Raises:
        TargetLayerError: a layer was named that holds no features at positions of the picture.
    """
    graph = request.graph
    goals = [graph.model.get_results()[i] for i in range(len(graph.results)) if request.output in (None, i)]
    above = graph.ancestors(goals)
    pictures = request.pictures(above)
    if not pictures:
        return No(request.no_picture())
    traced = trace(graph, pictures[0])
    nodes = [node for node in graph.ops if node.get_name() in above]
    if request.layers:
        port, why = request.layers[0], "asked for by --target-layer"
        spot = place(traced, graph.port_of(port))
        if len(request.layers) > 1:
            raise TargetLayerError(f"target layer: an activation map is of one tensor, not of {len(request.layers)}")
        if isinstance(spot, str):
            name, shape = request.options.target_layer[0], port.get_partial_shape()
            raise TargetLayerError(f"target layer: {name!r} of shape {shape} {spot}; {named_maps(traced, nodes)}")
        return _site(port, spot, why, request)
    found = list(_read_maps(graph, traced, nodes))
    # Rows of a map [N, queries, positions] are an attention's, where there is anything else.
    best = next((one for one in found if one[1].whole and one[1].layout != NCP), next(iter(found), None))
    if best is None:
        return No(named_maps(traced, nodes), near=True)
    return _site(*best, "the last tensor with features at positions of the picture that a layer reads", request)


def _read_maps(graph: Graph, traced: Trace, nodes: list[ov.Node]) -> Iterator[tuple[ov.Output, Place]]:
    """Maps that something with weights reads, or something behind which there are no positions; the last first."""
    for node in reversed(nodes):
        for port in node.outputs():
            spot = place(traced, graph.port_of(port))
            readers = graph.consumers.get(graph.port_of(port), [])
            if not isinstance(spot, str) and any(_gathers(graph, traced, reader) for reader, _ in readers):
                yield port, spot


def _gathers(graph: Graph, traced: Trace, reader: int) -> bool:
    kind = graph.kinds[reader]
    if kind in _WEIGHING and len(graph.live_inputs(reader)) == 1:
        return True
    return kind not in ("Result", "ShapeOf") and not traced.sides_of((reader, 0))


def _site(port: ov.Output, spot: Place, why: str, request: Request) -> FeatureSite:
    tap = Tap(port, spot.layout, spot.grid, spot.prefix)
    line = f"{name_of(port)} [{spot.layout}, {spot.grid[0]}x{spot.grid[1]}]"
    notes = ("one map that belongs to no class: where the features are strong, whatever the model answers", *spot.notes)
    return FeatureSite(tap, output=request.output or 0, why=why, candidates=(line,), notes=notes, frame=spot.frame)
