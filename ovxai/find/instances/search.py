"""Where a model's instances are: boxes, labels, scores and masks, with or without a batch axis.

Mask R-CNN and RTMDet-Inst hand out boxes, labels and masks; end-to-end YOLO a table and prototypes; plain YOLO-seg
candidates before suppression and prototypes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import openvino as ov

from ovxai.find.detector.features import last_map
from ovxai.find.detector.maps import REGION_POOLS, HeadMap, behind_regions, head_maps, is_linear
from ovxai.find.detector.scores import choose
from ovxai.find.detector.trail import follow
from ovxai.find.instances.outputs import count_classes, instances_of, lacks_sigmoid, roles
from ovxai.find.site import FULL, PROTOTYPES, Candidates, InstanceSite, No, Request
from ovxai.graph.dims import Grid
from ovxai.graph.graph import Graph, Port
from ovxai.graph.names import output_name

EMPTY_LABEL = "otx_empty_lbl"


def find_instances(request: Request) -> InstanceSite | No:
    """The instances of an instance segmentation model; the model is only read.

    Returns a reason instead where the model has none, or where the number of classes can't be told.
    """
    picture = picture_of(request)
    if isinstance(picture, No):
        return picture
    parameter, axes = picture
    graph, model, given = request.graph, request.model, _label_values(request)
    shape = graph.known_shape(parameter.output(0))
    parts = roles(graph, (shape[axes[0]], shape[axes[1]]))
    if isinstance(parts, No):
        raw = find_candidates(request, given)
        if isinstance(raw, No):
            return raw if raw.near else parts
        return _raw_site(request, raw, parameter, axes)
    results = graph.results
    counted = count_classes(graph, results[parts.labels], results[parts.scores], given)
    if isinstance(counted, No):
        return counted
    classes, where = counted
    if given and given not in (classes, classes - 1):
        return No(f"{where}, but {given} labels are given; give the right --labels or --num-classes", final=True)
    boxes, labels, scores, masks = (output_name(model, n) for n in (parts.boxes, parts.labels, parts.scores, parts.masks))
    return InstanceSite(
        instances=instances_of(graph, parts),
        mask_kind=parts.kind,
        classes=classes,
        logits=parts.kind == PROTOTYPES or lacks_sigmoid(graph, results[parts.masks]),
        picture=parameter.output(0),
        picture_axes=axes,
        prototypes=graph.output_of(results[parts.masks]) if parts.kind == PROTOTYPES else None,
        pyramid=tuple(graph.output_of(port) for port in pyramid(graph)),
        shares=are_shares(graph, parameter, results[parts.boxes], -1),
        score_output=scores,
        output=parts.scores,
        prediction_format="boxes-table-masks"
        if parts.table
        else "boxes-labels-prototypes"
        if parts.kind == PROTOTYPES
        else "boxes-labels-masks",
        why=f"boxes {boxes}, labels {labels}, scores {scores}, {parts.kind} masks {masks}; {where}",
        candidates=tuple(_fact(model, number) for number in range(len(results))),
        notes=(f"full-size masks are read as the model hands them out ({masks})",) if parts.kind == FULL else (),
    )


def picture_of(request: Request) -> tuple[ov.Node, tuple[int, int]] | No:
    """The input that takes the picture, and the axes of its height and width."""
    pictures = request.pictures()
    if not pictures:
        return No(f"no instance masks: {request.no_picture()}")
    return request.model.inputs[pictures[0].index].get_node(), pictures[0].axes


def _label_values(request: Request) -> int | None:
    """How many label values anybody says there are; OTX's empty label is none."""
    given, labels, options = request.classes, request.model_info.labels, request.options
    stated = options.labels or options.num_classes
    return given - 1 if given and labels and not stated and labels[0] == EMPTY_LABEL else given


def _fact(model: ov.Model, number: int) -> str:
    shape = model.outputs[number].get_partial_shape()
    held = "" if shape.rank.is_dynamic else ", ".join(str(dim.get_length()) if dim.is_static else "?" for dim in shape)
    return f"{output_name(model, number)} [{held}] {model.outputs[number].get_element_type().get_type_name()}"


def are_shares(graph: Graph, picture: ov.Node, port: Port, axis: int) -> bool:
    """Whether boxes, the first four columns along `axis`, are shares of the picture: on noise half of them stay within 0..2."""
    if [node for node in graph.above([port]) if graph.kinds[node] == "Parameter"] != [graph.position(picture)]:
        return False  # noise says nothing of boxes that are fed
    seen = [np.abs(np.take(values, range(4), axis)) for values in graph.seen_at(port)]
    numbers = np.concatenate([values[(values > 0) & np.isfinite(values)] for values in seen]) if seen else np.zeros(0)
    return bool(numbers.size) and float(np.median(numbers)) <= 2.0


# YOLO-seg without suppression: candidates [N, 4 + K + M, P] or [N, P, 5 + K + M] beside prototypes [N, M, h, w].

IOU, SCORE = 0.5, 0.25


@dataclass(frozen=True)
class RawInstances:
    """What has still to be suppressed, the prototypes that mix into masks, and which output holds the candidates."""

    candidates: Candidates
    prototypes: ov.Output
    classes: int
    output: int


def _raw_site(request: Request, raw: RawInstances, parameter: ov.Node, axes: tuple[int, int]) -> InstanceSite:
    graph = request.graph
    return InstanceSite(
        instances=raw.candidates,
        mask_kind=PROTOTYPES,
        classes=raw.classes,
        logits=True,
        picture=parameter.output(0),
        picture_axes=axes,
        prototypes=raw.prototypes,
        pyramid=tuple(graph.output_of(port) for port in pyramid(graph)),
        shares=are_shares(graph, parameter, graph.port_of(raw.candidates.table), 1 if raw.candidates.rows_last else -1),
        score_output=output_name(request.model, raw.output),
        output=raw.output,
        prediction_format="yolo-v8-seg" if raw.candidates.rows_last else "yolo-v5-seg",
        why=f"{raw.classes} class scores and {raw.candidates.coefficients} mask coefficients per candidate, and prototypes",
        notes=("candidates are suppressed inside the graph (NonMaxSuppression, then the best 100 per picture)",),
    )


def find_candidates(request: Request, count: int | None) -> RawInstances | No:
    """Two outputs, one a map of M prototypes, the other a table whose classes the detection search can name."""
    graph, info = request.graph, request.model_info
    shapes = [output.get_partial_shape() for output in request.model.outputs]
    maps = [i for i, shape in enumerate(shapes) if shape.rank.is_static and len(shape) == 4 and shape[1].is_static]
    tables = [i for i, shape in enumerate(shapes) if shape.rank.is_static and len(shape) == 3]
    if len(maps) != 1 or len(tables) != 1:
        return No("no candidates with prototypes")
    heads = head_maps(graph)
    scores = choose(follow(graph, heads), count) if heads else No("no maps")
    if isinstance(scores, No):
        return No(scores.reason)
    coefficients, classes = shapes[maps[0]][1].get_length(), scores.classes
    for axis, front in ((1, 4), (2, 5)):
        side = shapes[tables[0]][axis]
        if side.is_static and side.get_length() == front + classes + coefficients:
            table = Candidates(
                graph.output_of(graph.results[tables[0]]), rows_last=axis == 1, objectness=front == 5,
                coefficients=coefficients, iou=info.iou_threshold or IOU, score=info.confidence_threshold or SCORE,
            )  # fmt: skip
            return RawInstances(table, graph.output_of(graph.results[maps[0]]), classes, tables[0])
    return No(
        f"prototypes of {coefficients} channels and {classes} classes, but the other output has no room for both",
        near=True,
    )


# The neck's maps: what regions are cut from, else what the dense heads read.


def pyramid(graph: Graph) -> list[Port]:
    """Maps [N, c, h, w], fine to coarse; empty where there are none."""
    regional = behind_regions(graph)
    heads = [head for head in head_maps(graph) if not regional[head.linear] and head.cells > 1]
    pooled = _pooled_maps(graph)
    if pooled:
        return _fine_to_coarse(graph, [*pooled, *_as_deep(graph, heads, pooled)])
    maps = [_read_by_all(graph, [head for head in heads if head.grid == grid]) for grid in dict.fromkeys(h.grid for h in heads)]
    return _fine_to_coarse(graph, [port for port in maps if port is not None])


def _read_by_all(graph: Graph, heads: list[HeadMap]) -> Port | None:
    """The last map of this grid that every branch reads; None where there is only one branch (a prototype's, say)."""
    if len({head.linear for head in heads}) < 2:
        return None
    common = set.intersection(*(graph.above([head.source]) for head in heads))
    feature = last_map(graph, common, heads[0])
    return feature[0] if feature else None


def _grid_of(graph: Graph, port: Port) -> Grid:
    """(h, w) of a map [N, c, h, w]."""
    shape = graph.known_shape(port)
    return shape[2], shape[3]


def _pooled_maps(graph: Graph) -> list[Port]:
    maps: dict[Port, None] = {}
    for node, kind in enumerate(graph.kinds):
        if kind not in REGION_POOLS or not graph.live[node]:
            continue
        for feed in graph.live_inputs(node):
            shape = graph.shape(feed)
            if shape is not None and len(shape) == 4 and shape[2] * shape[3] > 1:
                maps[feed] = None
    return list(maps)


def _as_deep(graph: Graph, heads: list[HeadMap], pooled: list[Port]) -> list[Port]:
    """Levels that only propose (the coarsest): as far above their head map as the pooled maps are above theirs."""
    grids = {_grid_of(graph, port) for port in pooled}
    depths = (_depth(graph, head, pooled) for head in heads if head.grid in grids)
    depth = next((depth for depth in depths if depth is not None), None)
    if depth is None:
        return []
    extra = {head.grid: _climb(graph, head.source, depth) for head in heads if head.grid not in grids}
    return [port for port in extra.values() if port is not None]


def _depth(graph: Graph, head: HeadMap, pooled: list[Port]) -> int | None:
    return next((depth for depth in range(6) if _climb(graph, head.source, depth) in pooled), None)


def _climb(graph: Graph, port: Port, weighted: int) -> Port | None:
    """The map that the `weighted`-th weighted sum above `port` reads."""
    while weighted:
        feeds = graph.live_inputs(port[0])
        if len(feeds) != 1:
            return None
        weighted -= is_linear(graph, port[0])
        port = feeds[0]
    return port


def _fine_to_coarse(graph: Graph, ports: list[Port]) -> list[Port]:
    cells = {(node, number): math.prod(size or 0 for size in (graph.extents[node][number] or ())[2:]) for node, number in ports}
    return sorted(cells, key=lambda port: -cells[port])
