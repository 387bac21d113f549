"""Follow the probes of all taps through the graph, and read off where each tap's classes and anchors are."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np

from ovxai.find.detector.probes import ACTIVATED, RESCALED, SHIFTED, Probes, step
from ovxai.find.detector.taps import Tap, is_integral
from ovxai.graph.witness import Graph, Port

NMS_SCORES = {
    "NonMaxSuppression": 1, "MulticlassNms": 1, "MatrixNms": 1, "NMSRotated": 1, "DetectionOutput": 1,
}  # fmt: skip


@dataclass(frozen=True)
class Layout:
    """How `channels` of a tap are read: channels[a][k] is the channel of anchor a and class k.

    order: sorting key of the classes along the axis where the graph keeps them. `node` is where that was seen.
    """

    channels: tuple[tuple[int, ...], ...]
    node: int

    @property
    def anchors(self) -> int:
        return len(self.channels)

    @property
    def classes(self) -> int:
        return len(self.channels[0])


@dataclass(frozen=True)
class Trail:
    """known: probes by port, in topological order. nms: taps whose values a suppression reads as scores.

    declared: tap -> layout that an operation with the head's sizes as attributes states.
    integrated: taps whose values are summed over distance bins (boxes). softmaxed: tap -> (port, axis) of its softmax.
    """

    taps: list[Tap]
    known: dict[Port, Probes]
    integrated: set[int] = field(default_factory=set)
    nms: set[int] = field(default_factory=set)
    softmaxed: dict[int, tuple[Port, int]] = field(default_factory=dict)
    declared: dict[int, Layout] = field(default_factory=dict)

    def ports_of(self, tap: int) -> list[Port]:
        return [port for port, probes in self.known.items() if np.any(probes.tap == tap)]


def follow(graph: Graph, taps: list[Tap]) -> Trail:
    """Carry every tap's probes as far down as rules exist."""
    shape = lambda tap: graph.shape(tap.port)
    known = {tap.port: Probes.of_tap(i, shape(tap), tap.axes) for i, tap in enumerate(taps)}
    trail = Trail(taps, known)
    order = dict.fromkeys(range(min((t.port[0] for t in taps), default=0), len(graph.nodes)))
    for node in order:
        sources = [source for source in graph.inputs[node] if source in known]
        if not sources:
            continue
        _note(graph, node, trail)
        for port, probes in step(graph, node, known).items():
            known.setdefault((node, port), probes)
    return trail


def _note(graph: Graph, node: int, trail: Trail) -> None:
    kind = graph.kinds[node]
    for position, source in enumerate(graph.inputs[node]):
        if source not in trail.known:
            continue
        probes = trail.known[source]
        if is_integral(graph, node):
            trail.integrated.update(probes.tap.tolist())
        elif NMS_SCORES.get(kind) == position:
            trail.nms.update(probes.tap.tolist())
        elif kind == "RegionYolo":
            trail.declared.update({tap: _region_layout(graph, node) for tap in set(probes.tap.tolist())})
        elif kind in ("Softmax", "LogSoftmax"):
            axis = graph.nodes[node].get_attributes()["axis"] % len(graph.shape(source))
            for tap in set(probes.tap.tolist()):
                trail.softmaxed.setdefault(tap, (source, axis))


def _region_layout(graph: Graph, node: int) -> Layout:
    """RegionYolo: anchor by anchor the box, the objectness, the classes; how many of each stands in its attributes."""
    sizes = graph.nodes[node].get_attributes()
    anchors = sizes["num"] if sizes["do_softmax"] else len(sizes["mask"])
    width, first = sizes["coords"] + 1 + sizes["classes"], sizes["coords"] + 1
    rows = (range(a * width + first, (a + 1) * width) for a in range(anchors))
    return Layout(tuple(tuple(row) for row in rows), node)


def score_channels(trail: Trail, tap: int) -> frozenset[int]:
    """Channels that are activated, and that no table of constants is added to or multiplied with afterwards.

    Activated box sides and offsets meet anchors, grids or strides; a score meets other scores only.
    """
    activated, decoded = set(), set()
    for probes in trail.known.values():
        mine = probes.tap == tap
        on = mine & (probes.flags & ACTIVATED != 0)
        activated.update(probes.channel[on].tolist())
        decoded.update(probes.channel[on & (probes.flags & (SHIFTED | RESCALED) != 0)].tolist())
    return frozenset(activated - decoded)


def probes_of(trail: Trail, tap: int, port: Port, channels: frozenset[int]) -> Probes:
    """The probes at `port` that belong to these channels of `tap`."""
    probes = trail.known[port]
    return probes.only((probes.tap == tap) & np.isin(probes.channel, list(channels)))


def channel_axes(probes: Probes) -> dict[int, dict[int, int]]:
    """Axes along which the channel alone sets the coordinate, and not to one value: axis -> {channel: coordinate}."""
    found = {}
    _, first = np.unique(probes.channel, return_index=True)
    for axis in range(probes.coords.shape[1]):
        where = probes.coords[:, axis]
        by_channel = dict(zip(probes.channel[first].tolist(), where[first].tolist()))
        if len(set(by_channel.values())) > 1 and all(by_channel[c] == x for c, x in zip(probes.channel.tolist(), where.tolist())):
            found[axis] = by_channel
    return found


def mixed_axes(probes: Probes) -> set[int]:
    """Axes along which both the channel and the position move a probe."""
    found, pure = set(), channel_axes(probes)
    for axis in range(probes.coords.shape[1]):
        if axis in pure:
            continue
        place_zero = probes.coords[probes.place == 0, axis]
        if len(set(place_zero.tolist())) > 1:
            found.add(axis)
    return found


def layout_along(probes: Probes, axis: int, node: int) -> Layout | None:
    """Classes along `axis`, anchors by whatever else tells channels apart; None where they do not fill a table."""
    column = channel_axes(probes).get(axis)
    if column is None:
        return None
    by_class: dict[int, list[int]] = {}
    for channel, where in sorted(column.items()):
        by_class.setdefault(where, []).append(channel)
    rows = [by_class[where] for where in sorted(by_class)]
    if len({len(row) for row in rows}) != 1:
        return None
    return Layout(tuple(zip(*rows)), node)


# From trails to layouts: how many anchors and classes each tap has, and in which order its channels stand.


def single(channels: frozenset[int]) -> Layout:
    """One class, every channel an anchor."""
    return Layout(tuple((channel,) for channel in sorted(channels)), -1)


def box_anchors(trail: Trail, tap: int, channels: frozenset[int], columns: int = 4) -> int | None:
    """How many anchors a box tap has: its channels over the columns that each row of its last table keeps."""
    layout = tabulated(trail, tap, channels)
    if layout is not None and layout.classes == columns:
        return layout.anchors
    return None


def tabulated(
    trail: Trail, tap: int, channels: frozenset[int], hint: int | None = None, count: int | None = None
) -> Layout | None:
    """The layout in the last tensor that keeps all these channels apart along exactly one axis.

    Going down, anchors melt into the rows (an axis that channel and position move together) and classes
    stay a column each; in a list of all (row, class) pairs no axis is left and the tensor before it counts.
    Where anchors never melt, two axes are left, and only the number of labels tells which is which.
    """
    for port in sorted(trail.ports_of(tap), reverse=True):
        probes = probes_of(trail, tap, port, channels)
        if set(probes.channel.tolist()) != channels:
            continue
        axes = channel_axes(probes)
        if hint is not None and hint in axes:
            axes = {hint: axes[hint]}
        if len(axes) > 1 and count is not None:
            # With objectness in front (YOLO) or a background, the axis is one longer than the labels are many; with
            # the box in front, too, four or five.
            sizes = (count, count + 1, count + 4, count + 5)
            axes = {axis: column for axis, column in axes.items() if len(set(column.values())) in sizes}
        if len(axes) == 1:
            return layout_along(probes, next(iter(axes)), port[0])
        if len(axes) > 1:
            return None
    return None


def melts(trail: Trail, tap: int, channels: frozenset[int]) -> bool:
    """Whether channels end as rows of a table with a single column: one class, several anchors."""
    for port in trail.ports_of(tap):
        probes = probes_of(trail, tap, port, channels)
        if set(probes.channel.tolist()) == channels and not channel_axes(probes) and mixed_axes(probes):
            return True
    return False


def softmax_layout(trail: Trail, tap: int) -> Layout | None:
    """Softmax says itself which axis is classes; a background that is cut off later is still in it."""
    port, axis = trail.softmaxed[tap]
    probes = trail.known[port]
    return layout_along(probes.only(probes.tap == tap), axis, port[0])


def shared_axis(trail: Trail, taps: list[int], channels: dict[int, frozenset[int]]) -> dict[int, int]:
    """For taps of a single position, where anchors and classes look alike: the axis its neighbours use.

    Levels are joined along the rows, so in the tensor where they meet the classes of all stand along one axis.
    """
    by_port: dict[Port, list[int]] = defaultdict(list)
    for tap in taps:
        for port in trail.ports_of(tap):
            by_port[port].append(tap)
    hints: dict[int, int] = {}
    for port in sorted(by_port):
        axes = [
            set(channel_axes(probes_of(trail, tap, port, channels[tap]))) for tap in by_port[port] if trail.taps[tap].cells > 1
        ]
        common = set.intersection(*axes) if axes else set()
        if len(common) == 1:
            hints.update({tap: next(iter(common)) for tap in by_port[port] if trail.taps[tap].cells == 1})
    return hints


def layouts(trail: Trail, scores: dict[int, frozenset[int]], count: int | None = None) -> dict[int, Layout]:
    """The layout of every tap that carries scores; boxes of the same grid settle what the scores alone leave open."""
    boxes = box_anchors_by_grid(trail, scores)
    hints = shared_axis(trail, list(scores), scores)
    found: dict[int, Layout] = {}
    for tap, channels in scores.items():
        layout = trail.declared.get(tap)
        if layout is None and tap in trail.softmaxed:
            layout = softmax_layout(trail, tap)
        if layout is None and len(channels) == 1:
            layout = single(channels)
        if layout is None:
            layout = tabulated(trail, tap, channels, hints.get(tap), count)
        anchors = boxes.get(trail.taps[tap].grid) or _own_anchors(trail, tap, channels)
        stated = tap in trail.softmaxed or tap in trail.declared
        if anchors == len(channels) and melts(trail, tap, channels) and not stated:
            layout = single(channels)
        if layout is not None:
            found[tap] = layout
    return found


def _own_anchors(trail: Trail, tap: int, channels: frozenset[int]) -> int | None:
    """Anchors of a tensor that holds boxes beside its scores: its rows keep the columns of one anchor."""
    whole = frozenset(range(trail.taps[tap].channels))
    layout = tabulated(trail, tap, whole) if whole != channels else None
    return layout.anchors if layout else None


def box_anchors_by_grid(trail: Trail, scores: dict[int, frozenset[int]]) -> dict[tuple[int, int], int]:
    """Anchors of the boxes on each grid; channels that are `scores` aside."""
    found = {}
    for tap, one in enumerate(trail.taps):
        rest = frozenset(range(one.channels)) - scores.get(tap, frozenset())
        if tap not in scores and rest:
            anchors = box_anchors(trail, tap, rest)
            if anchors:
                found[one.grid] = anchors
    return found
