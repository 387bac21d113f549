"""Detectors whose class-logit tensors the user named: they are followed where they hold class scores, else refused."""

from __future__ import annotations

from ovxai.errors import TargetLayerError
from ovxai.find.detector.assemble import assemble, ingredients
from ovxai.find.detector.boxes import box_anchors_by_grid
from ovxai.find.detector.features import shared_feature
from ovxai.find.detector.maps import HeadMap, behind_weights, head_maps, is_resized
from ovxai.find.detector.scores import ClassScores, choose
from ovxai.find.detector.tracers import BENT, PLACED
from ovxai.find.detector.trail import ClassTable, Trail, class_tables, follow, score_channels
from ovxai.find.site import Channels, ClassLevel, DetectionSite, No, Request
from ovxai.graph.dims import CHANNELS_FIRST
from ovxai.graph.graph import Graph, Port
from ovxai.graph.names import name_of

#: How many tensors a message names.
_NAMED = 6


def find_named(request: Request) -> DetectionSite | No:
    """A site from maps [N, A * K, h, w] that the user named; how their channels are read, the graph or the labels say."""
    graph, count, maps = request.graph, request.classes, []
    for name, output in zip(request.options.target_layer, request.layers, strict=True):
        port = graph.port_of(output)
        shape = graph.shape(port)
        if shape is None or len(shape) != 4:
            return _unfit(f"{name} is {output.get_partial_shape()}, not a map [N, A * K, h, w] of class logits")
        feed = next(iter(graph.live_inputs(port[0])), port)
        maps.append(HeadMap(port, port[0], feed, CHANNELS_FIRST, shape[1], (shape[2], shape[3])))
    trail = follow(graph, maps)
    heads = [head for head in head_maps(graph) if not is_resized(graph, head)]
    whole = follow(graph, heads)
    found = choose(whole, count)
    refused = _no_scores(request, trail, whole, found)
    if refused is not None:
        return refused
    scores = {i: score_channels(trail, i) or frozenset(range(head.channels)) for i, head in enumerate(maps)}
    read, levels, tables = class_tables(trail, scores, box_anchors_by_grid(trail, scores), count), [], {}
    for origin, head in sorted(enumerate(maps), key=lambda item: -item[1].cells):
        channels = _channels(head, read.get(origin), count)
        if isinstance(channels, No):
            return channels
        tables[origin] = ClassTable(channels, -1)
        feature = shared_feature(graph, head, [])
        levels.append(ClassLevel(
            graph.output_of(head.port), head.axes, channels, head.grid,
            feature=graph.output_of(feature[0]) if feature else None,
            feature_axes=feature[1] if feature else CHANNELS_FIRST,
        ))  # fmt: skip
    if len({len(level.channels[0]) for level in levels}) != 1:
        return _unfit("the named tensors have different numbers of classes")
    facts = tuple(f"{name_of(level.port)}: named by the user" for level in levels)
    made_from = ingredients(graph, trail, tables, "none")
    return assemble(graph, request.output, tuple(levels), "none", made_from, why="named by the user", candidates=facts, notes=())


def _channels(head: HeadMap, table: ClassTable | None, count: int | None) -> Channels | No:
    if count is not None and (table is None or table.classes not in (count, count + 1)):
        if head.channels % count:
            return _unfit(f"{head.channels} channels are no multiple of {count} classes")
        return tuple(tuple(range(a * count, (a + 1) * count)) for a in range(head.channels // count))
    return table.channels if table is not None else (tuple(range(head.channels)),)


def _unfit(reason: str) -> No:
    return No(f"target layer: {reason}", near=True, error=TargetLayerError)


# What is no class score is refused, whatever it is called.


def _no_scores(request: Request, trail: Trail, whole: Trail, found: ClassScores | No) -> No | None:
    """Why one of the named tensors (the trail's maps) holds no class scores; None where nothing speaks against them.

    whole: the trail of all head maps; found: the class scores among them.
    """
    graph = request.graph
    told, handed_on = _told(graph, whole.maps, found), behind_weights(graph)
    for origin, (name, head) in enumerate(zip(request.options.target_layer, trail.maps, strict=True)):
        what = f"the channels of {name} are no class scores of this model"
        if head.port[0] not in handed_on:
            return _unfit(f"{what}: layers with weights come after it; {told}")
        boxes = origin in trail.integrated or trail.is_flagged(origin, BENT | PLACED)
        if boxes and not score_channels(trail, origin):
            return _unfit(f"{what}: boxes are made of them; {told}")
        if isinstance(found, ClassScores) and not _holds(whole, found, head.port):
            return _unfit(f"{what}; {told}")
    return None


def _holds(whole: Trail, found: ClassScores, port: Port) -> bool:
    """Whether class scores pass `port`, or what they pass is not known."""
    for origin, table in found.tables.items():
        head = whole.maps[origin]
        if port[0] == head.linear:
            return True
        tracers = whole.known.get(port)
        if tracers is not None and table.flat & set(tracers.channel[tracers.origin == origin].tolist()):
            return True
    return port not in whole.known and bool(whole.missing)


def _told(graph: Graph, heads: list[HeadMap], found: ClassScores | No) -> str:
    """The tensors that could be named instead."""
    scored = [heads[origin] for origin in found.tables] if isinstance(found, ClassScores) else []
    names = [name_of(graph.output_of(head.port)) for head in scored or heads]
    listed = ", ".join((*names[:_NAMED], *(["..."] if len(names) > _NAMED else []))) or "none"
    return f"{'class scores' if scored else 'the last maps of the model'}: {listed}"
