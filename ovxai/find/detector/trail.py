"""Follow the tracers of all head maps through the graph, and read off where each map's classes and anchors are."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np

from ovxai.find.detector.maps import CONVOLUTIONS, HeadMap, is_integral
from ovxai.find.detector.tracers import ACTIVATED, RESCALED, RULES, SHIFTED, Known, Tracers, step
from ovxai.find.site import Channels
from ovxai.graph.dims import Grid
from ovxai.graph.graph import Graph, Port

#: Suppressions, and at which of their inputs the scores are.
NMS_SCORES = {
    "NonMaxSuppression": 1, "MulticlassNms": 1, "MatrixNms": 1, "NMSRotated": 1, "DetectionOutput": 1,
}  # fmt: skip
#: Operations behind which there are no single elements any more, or none to be followed: no rule is missing for them.
_ENDS = frozenset({
    *NMS_SCORES, *CONVOLUTIONS, "MatMul", "Result", "ShapeOf", "TopK", "RegionYolo", "NonZero", "Greater", "GreaterEqual", "Less",
    "LessEqual", "Equal", "NotEqual", "ReduceMax", "ReduceMin", "ReduceSum", "ReduceMean", "MaxPool", "AvgPool", "Interpolate",
    "ExperimentalDetectronDetectionOutput", "ExperimentalDetectronGenerateProposalsSingleImage", "Proposal",
})  # fmt: skip
#: Pick elements by their second input.
_PICKS = frozenset({"GatherND", "GatherElements"})


@dataclass(frozen=True)
class ClassTable:
    """How the channels of a head map are read: channels[a][k] is the channel of anchor a and class k.

    node: where that was seen.
    """

    channels: Channels
    node: int

    @property
    def anchors(self) -> int:
        return len(self.channels)

    @property
    def classes(self) -> int:
        return len(self.channels[0])

    @property
    def flat(self) -> frozenset[int]:
        return frozenset(channel for row in self.channels for channel in row)


@dataclass(frozen=True)
class Trail:
    """Head maps by number (their *origin*), and where their tracers came by.

    known: tracers by port, in topological order. nms: origins whose values a suppression reads as scores.
    declared: origin -> table that an operation with the head's sizes as attributes states. integrated: origins whose
    values are summed over distance bins (boxes). softmaxed: origin -> (port, axis) of its softmax. factors: origin ->
    channels each of which is multiplied with several others. missing: types of operations at which the trail ends
    because there is no rule for them.
    """

    maps: list[HeadMap]
    known: Known
    integrated: set[int] = field(default_factory=set)
    nms: set[int] = field(default_factory=set)
    softmaxed: dict[int, tuple[Port, int]] = field(default_factory=dict)
    declared: dict[int, ClassTable] = field(default_factory=dict)
    factors: dict[int, set[int]] = field(default_factory=lambda: defaultdict(set))
    missing: set[str] = field(default_factory=set)

    def ports_of(self, origin: int) -> list[Port]:
        return [port for port, tracers in self.known.items() if np.any(tracers.origin == origin)]

    def is_flagged(self, origin: int, flag: int) -> bool:
        return any(bool((tracers.flags[tracers.origin == origin] & flag).any()) for tracers in self.known.values())


def follow(graph: Graph, maps: list[HeadMap]) -> Trail:
    """Carry every map's tracers as far down as rules exist."""
    known = {head.port: Tracers.of_map(i, graph.known_shape(head.port), head.axes) for i, head in enumerate(maps)}
    trail = Trail(maps, known)
    for node in range(min((head.port[0] for head in maps), default=0), len(graph.ops)):
        if not any(feed in known for feed in graph.inputs[node]):
            continue
        _note(graph, node, trail)
        for port, tracers in step(graph, node, known).items():
            known.setdefault((node, port), tracers)
    return trail


def _note(graph: Graph, node: int, trail: Trail) -> None:
    kind = graph.kinds[node]
    # What a picture's own values pick out of the candidates is no single one of them.
    picks = kind in _PICKS and graph.live[graph.inputs[node][1][0]]
    if kind not in RULES and kind not in _ENDS and not picks:
        trail.missing.add(kind)
    for position, feed in enumerate(graph.inputs[node]):
        if feed not in trail.known:
            continue
        origins: set[int] = set(trail.known[feed].origin.tolist())
        if is_integral(graph, node):
            trail.integrated.update(origins)
        elif NMS_SCORES.get(kind) == position:
            trail.nms.update(origins)
        elif kind == "RegionYolo":
            trail.declared.update({origin: _region_table(graph, node) for origin in origins})
        elif kind == "Multiply" and len(graph.live_inputs(node)) == 2 and _is_spread(graph, node, feed):
            for origin in origins:
                trail.factors[origin].update(trail.known[feed].channel[trail.known[feed].origin == origin].tolist())
        elif kind in ("Softmax", "LogSoftmax"):
            axis = graph.ops[node].get_attributes()["axis"] % len(graph.extents[feed[0]][feed[1]] or (0,))
            for origin in origins:
                trail.softmaxed.setdefault(origin, (feed, axis))


def _is_spread(graph: Graph, node: int, feed: Port) -> bool:
    own, out = graph.shape(feed), graph.shape((node, 0))
    return own is not None and out is not None and own != out


def _region_table(graph: Graph, node: int) -> ClassTable:
    """RegionYolo: anchor by anchor the box, the objectness, the classes; how many of each stands in its attributes."""
    sizes = graph.ops[node].get_attributes()
    anchors = sizes["num"] if sizes["do_softmax"] else len(sizes["mask"])
    width, first = sizes["coords"] + 1 + sizes["classes"], sizes["coords"] + 1
    return ClassTable(tuple(tuple(range(a * width + first, (a + 1) * width)) for a in range(anchors)), node)


def score_channels(trail: Trail, origin: int) -> frozenset[int]:
    """Channels that are activated, and that no table of constants is added to or multiplied with afterwards.

    Activated box sides and offsets meet anchors, grids or strides; a score meets other scores only.
    """
    activated: set[int] = set()
    decoded: set[int] = set()
    for tracers in trail.known.values():
        on = (tracers.origin == origin) & (tracers.flags & ACTIVATED != 0)
        activated.update(tracers.channel[on].tolist())
        decoded.update(tracers.channel[on & (tracers.flags & (SHIFTED | RESCALED) != 0)].tolist())
    return frozenset(activated - decoded)


def tracers_of(trail: Trail, origin: int, port: Port, channels: frozenset[int]) -> Tracers:
    """The tracers at `port` that belong to these channels of a map."""
    tracers = trail.known[port]
    return tracers.only((tracers.origin == origin) & np.isin(tracers.channel, list(channels)))


def channel_axes(tracers: Tracers) -> dict[int, dict[int, int]]:
    """Axes along which the channel alone sets the coordinate, and not to one value: axis -> {channel: coordinate}."""
    axes: dict[int, dict[int, int]] = {}
    _, first = np.unique(tracers.channel, return_index=True)
    channels = tracers.channel.tolist()
    for axis in range(tracers.coords.shape[1]):
        where = tracers.coords[:, axis]
        by_channel = dict(zip(tracers.channel[first].tolist(), where[first].tolist()))
        if len(set(by_channel.values())) > 1 and all(by_channel[c] == x for c, x in zip(channels, where.tolist())):
            axes[axis] = by_channel
    return axes


def mixed_axes(tracers: Tracers) -> set[int]:
    """Axes along which both the channel and the position move a tracer."""
    pure = channel_axes(tracers)
    first = tracers.coords[tracers.place == 0]
    return {axis for axis in range(first.shape[1]) if axis not in pure and len(set(first[:, axis].tolist())) > 1}


def table_along(tracers: Tracers, axis: int, node: int) -> ClassTable | None:
    """Classes along `axis`, anchors by whatever else tells channels apart; None where they do not fill a table."""
    column = channel_axes(tracers).get(axis)
    if column is None:
        return None
    by_class: dict[int, list[int]] = {}
    for channel, where in sorted(column.items()):
        by_class.setdefault(where, []).append(channel)
    rows = [by_class[where] for where in sorted(by_class)]
    if len({len(row) for row in rows}) != 1:
        return None
    return ClassTable(tuple(zip(*rows)), node)


# From trails to tables: how many anchors and classes each map has, and in which order its channels stand.


def single(channels: frozenset[int]) -> ClassTable:
    """One class, every channel an anchor."""
    return ClassTable(tuple((channel,) for channel in sorted(channels)), -1)


def tabulated(
    trail: Trail, origin: int, channels: frozenset[int], hint: int | None = None, count: int | None = None
) -> ClassTable | None:
    """The table in the last tensor that keeps all these channels apart along exactly one axis.

    Going down, anchors melt into the rows (an axis that channel and position move together) and classes
    stay a column each; in a list of all (row, class) pairs no axis is left and the tensor before it counts.
    Where anchors never melt, two axes are left, and only the number of labels tells which is which.
    """
    for port in sorted(trail.ports_of(origin), reverse=True):
        tracers = tracers_of(trail, origin, port, channels)
        if set(tracers.channel.tolist()) != channels:
            continue
        axes = channel_axes(tracers)
        if hint is not None and hint in axes:
            axes = {hint: axes[hint]}
        if len(axes) > 1 and count is not None:
            # With objectness in front (YOLO) or a background, the axis is one longer than the labels are many; with
            # the box in front, too, four or five.
            sizes = (count, count + 1, count + 4, count + 5)
            axes = {axis: column for axis, column in axes.items() if len(set(column.values())) in sizes}
        if len(axes) == 1:
            return table_along(tracers, next(iter(axes)), port[0])
        if len(axes) > 1:
            return None
    return None


def melts(trail: Trail, origin: int, channels: frozenset[int]) -> bool:
    """Whether channels end as rows of a table with a single column: one class, several anchors."""
    for port in trail.ports_of(origin):
        tracers = tracers_of(trail, origin, port, channels)
        if set(tracers.channel.tolist()) == channels and not channel_axes(tracers) and mixed_axes(tracers):
            return True
    return False


def softmax_table(trail: Trail, origin: int) -> ClassTable | None:
    """Softmax says itself which axis is classes; a background that is cut off later is still in it."""
    port, axis = trail.softmaxed[origin]
    tracers = trail.known[port]
    return table_along(tracers.only(tracers.origin == origin), axis, port[0])


def shared_axis(trail: Trail, channels: dict[int, frozenset[int]]) -> dict[int, int]:
    """For maps of a single position, where anchors and classes look alike: the axis its neighbours use.

    Levels are joined along the rows, so in the tensor where they meet the classes of all stand along one axis.
    channels: by origin.
    """
    by_port: dict[Port, list[int]] = defaultdict(list)
    for origin in channels:
        for port in trail.ports_of(origin):
            by_port[port].append(origin)
    hints: dict[int, int] = {}
    for port in sorted(by_port):
        large = [origin for origin in by_port[port] if trail.maps[origin].cells > 1]
        axes = [set(channel_axes(tracers_of(trail, origin, port, channels[origin]))) for origin in large]
        common = set.intersection(*axes) if axes else set()
        if len(common) == 1:
            hints.update({origin: next(iter(common)) for origin in by_port[port] if trail.maps[origin].cells == 1})
    return hints


def class_tables(
    trail: Trail, scores: dict[int, frozenset[int]], boxes: dict[Grid, int], count: int | None = None
) -> dict[int, ClassTable]:
    """The table of every map that carries scores; boxes of the same grid settle what the scores alone leave open.

    scores: channels by origin. boxes: how many anchors those on each grid have, where the graph makes rows of them.
    """
    hints = shared_axis(trail, scores)
    tables: dict[int, ClassTable] = {}
    for origin, channels in scores.items():
        table = trail.declared.get(origin)
        if table is None and origin in trail.softmaxed:
            table = softmax_table(trail, origin)
        if table is None and len(channels) == 1:
            table = single(channels)
        if table is None:
            table = tabulated(trail, origin, channels, hints.get(origin), count)
        anchors = boxes.get(trail.maps[origin].grid) or _own_anchors(trail, origin, channels)
        stated = origin in trail.softmaxed or origin in trail.declared
        if anchors == len(channels) and melts(trail, origin, channels) and not stated:
            table = single(channels)
        if table is not None:
            tables[origin] = table
    return tables


def _own_anchors(trail: Trail, origin: int, channels: frozenset[int]) -> int | None:
    """Anchors of a tensor that holds boxes beside its scores: its rows keep the columns of one anchor."""
    whole = frozenset(range(trail.maps[origin].channels))
    table = tabulated(trail, origin, whole) if whole != channels else None
    return table.anchors if table else None
