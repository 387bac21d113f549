"""Where a semantic segmentation model hands out a score per class and pixel, and which maps of its encoder lead there."""

from __future__ import annotations

from dataclasses import dataclass

import openvino as ov

from ovxai.errors import OptionError
from ovxai.find.detector.backbone import not_enlarged
from ovxai.find.site import No, Request, SegmentationSite
from ovxai.graph.dims import Tap
from ovxai.graph.graph import Graph, Port, source
from ovxai.graph.names import output_name
from ovxai.graph.picture import PictureInput, no_picture, picture_inputs
from ovxai.metadata import GRADIENT
from ovxai.options import PRODUCT, parse_pixel
from ovxai.trace.candidates import named_layers, named_maps
from ovxai.trace.place import Place, place
from ovxai.trace.walk import Trace, trace

#: Behind a LogSoftmax scores are as good as before it: another softmax gives the same probabilities.
_ACTIVATIONS = {"Softmax": "softmax", "Sigmoid": "sigmoid"}
#: What changes no score of a pixel; and what moves or mixes scores of pixels, but makes no scores of others.
_WRAPPERS, _MOVERS = ("Convert", "FakeQuantize"), ("Interpolate", "Transpose", "Slice", "StridedSlice", "Pad")
_WEIGHING = ("Convolution", "GroupConvolution", "ConvolutionBackpropData", "GroupConvolutionBackpropData", "MatMul")
#: How many sizes are looked at, from the coarsest on, and how many layers with weights make a size one of the encoder.
_LEVELS, _LAYERS = 3, 2


@dataclass(frozen=True)
class _Readout:
    """scores: [N, C, h, w] or [N, h, w, C], the last tensor before a final activation. axis: that of classes. activation:
    softmax, sigmoid or none. inside: whether that is done to `scores` already."""

    index: int
    scores: ov.Output
    axis: int
    activation: str
    inside: bool
    layers: int

    def classes(self, graph: Graph) -> int:
        return graph.known_shape(self.scores)[self.axis]


def find_segmentation(request: Request) -> SegmentationSite | No:
    """The output with a score per class and pixel; a reason where there is none, or several.

    Raises:
        TargetLayerError: a layer was named that is no feature map. OptionError: a pixel that there is not.
    """
    graph = request.graph
    pictures = picture_inputs(graph.model)
    if not pictures:
        return No(no_picture(graph.model))
    traced = trace(graph, pictures[0])
    asked = range(len(graph.results)) if request.output is None else [request.output]
    tried = [_readout(traced, index) for index in asked]
    found = [one for one in tried if isinstance(one, _Readout)]
    found = [one for one in found if one.classes(graph) == request.classes] or found
    found = [one for one in found if one.layers == max(each.layers for each in found)]  # auxiliary scores leave early
    if not found:
        return No("; ".join(one.reason for one in tried if isinstance(one, No)) or "the model has no outputs")
    if len(found) > 1:
        names = " and ".join(output_name(graph.model, one.index) for one in found)
        return No(f"outputs {names} each hold scores per pixel; say which with --output", near=True)
    return _site(request, traced, pictures[0], found[0])


def _readout(traced: Trace, index: int) -> _Readout | No:
    graph = traced.graph
    port, activation = graph.output_of(graph.results[index]), ""
    while (kind := port.get_node().get_type_name()) in (*_WRAPPERS, *_ACTIVATIONS):
        activation = activation or _ACTIVATIONS.get(kind, "")
        port = source(port.get_node(), 0)
        if kind in _ACTIVATIONS:
            break
    if not port.get_element_type().is_real():
        kind = port.get_element_type().get_type_name()
        return No(f"output {index} holds {kind}, not scores per pixel; export the model without ArgMax")
    found = place(traced, graph.port_of(port))
    if isinstance(found, str) or not found.whole or found.layout not in ("NCHW", "NHWC"):
        words = found if isinstance(found, str) else f"is laid out as {found.layout}"
        return No(f"output {index} of shape {port.get_partial_shape()} {words}, not a score per class and pixel")
    before = "" if activation else _activated_before(port)
    layers = sum(graph.kinds[node] in _WEIGHING for node in graph.above([graph.port_of(port)]))
    return _Readout(index, port, 1 if found.layout == "NCHW" else 3, activation or before, bool(before), layers)


def _activated_before(port: ov.Output) -> str:
    """The activation of scores that were enlarged or turned afterwards."""
    while (kind := port.get_node().get_type_name()) in (*_WRAPPERS, *_MOVERS):
        port = source(port.get_node(), 0)
    return _ACTIVATIONS.get(kind, "")


def _site(request: Request, traced: Trace, picture: PictureInput, readout: _Readout) -> SegmentationSite | No:
    graph, options = request.graph, request.options
    classes = readout.classes(graph)
    levels = named_layers(traced, options.target_layer, request.layers) or _levels(traced, readout.scores)
    taps = tuple(tap for tap, _ in (levels if options.combine == PRODUCT and options.method == GRADIENT else levels[:1]))
    if not taps:
        return No(f"no map of an encoder leads to output {readout.index}; {named_maps(traced, graph.ops)}")
    due = "sigmoid" if classes == 1 or request.model_info.multilabel else "softmax"
    frame = levels[len(taps) - 1][1].frame
    lines = tuple(f"{tap.name} [{tap.layout}, {tap.grid[0]}x{tap.grid[1]}]" for tap, _ in levels)
    why = "asked for by --target-layer" if request.layers else "the last maps of the encoder's coarsest sizes"
    return SegmentationSite(
        scores=readout.scores, axis=readout.axis, classes=classes, taps=taps, output=readout.index,
        score_output=output_name(request.model, readout.index), score_activation="none" if readout.activation else due,
        exclusive=(readout.activation or due) == "softmax" and classes > 1, probable=readout.inside,
        cell=_cell(request, traced, picture, readout), method=options.method, why=why, candidates=lines, frame=frame,
        notes=levels[len(taps) - 1][1].notes,
    )  # fmt: skip


def _levels(traced: Trace, scores: ov.Output) -> list[tuple[Tap, Place]]:
    """Of each of the coarsest sizes the last map, before anything was enlarged, that a layer with weights still reads.

    Sizes at which fewer than two layers work are pools beside the encoder (pyramid pooling).
    """
    graph = traced.graph
    among = graph.above([graph.port_of(scores)])
    whole = not_enlarged(traced, among)
    weighing = [node for node in among if graph.kinds[node] in _WEIGHING]
    read = graph.above([feed for node in weighing for feed in graph.live_inputs(node)])
    by_size: dict[tuple[int, int], list[Port]] = {}
    for port in sorted(whole):
        by_size.setdefault(whole[port].grid, []).append(port)
    deep = {size: ports for size, ports in by_size.items() if sum(graph.kinds[port[0]] in _WEIGHING for port in ports) >= _LAYERS}
    levels = []
    for _, ports in sorted((deep or by_size).items(), key=lambda item: item[0][0] * item[0][1]):
        last = max((port for port in ports if port[0] in read), default=None)
        if last is not None:
            found = whole[last]
            levels.append((Tap(graph.output_of(last), found.layout, found.grid, found.prefix), found))
    return levels[:_LEVELS]


def _cell(request: Request, traced: Trace, picture: PictureInput, readout: _Readout) -> tuple[int, int] | None:
    """Where in the scores the pixel of `--pixel` lies.

    Raises:
        OptionError: the picture does not have it, or its size is open, or scores do not cover it.
    """
    if request.options.pixel is None:
        return None
    y, x = parse_pixel(request.options.pixel)
    if picture.height is None or picture.width is None:
        raise OptionError("pixel: the picture's size is open; reshape the model to a fixed one first")
    if y >= picture.height or x >= picture.width:
        raise OptionError(f"pixel: {y},{x} is outside of the input's {picture.height} rows and {picture.width} columns")
    found = place(traced, request.graph.port_of(readout.scores))
    if isinstance(found, str) or not found.frame.plain:
        raise OptionError("pixel: the scores do not cover the picture as it stands, so that a pixel has no score of its own")
    rows, columns = found.grid
    return int((y + 0.5) * rows / picture.height), int((x + 0.5) * columns / picture.width)
