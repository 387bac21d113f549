"""Where the model's outputs keep the class scores, and how far its boxes are decoded: read off the trail."""

from __future__ import annotations

import openvino as ov

from ovxai.find.detection_graph import Graph, Port
from ovxai.find.detection_outputs import Columns
from ovxai.find.detection_probes import ACTIVATED, PLACED
from ovxai.find.detection_trail import Layout, Trail, channel_axes, probes_of


def class_columns(graph: Graph, model: ov.Model, trail: Trail, layouts: dict[int, Layout]) -> dict[int, Columns]:
    """Output number -> where the classes of all levels stand in it."""
    found = {}
    for number, port in result_ports(graph, model).items():
        if port not in trail.known:
            continue
        seen = {_columns(graph, trail, port, tap, layout) for tap, layout in layouts.items()}
        if len(seen) == 1 and None not in seen:
            found[number] = seen.pop()
    return found


def result_ports(graph: Graph, model: ov.Model) -> dict[int, Port]:
    """What each output shows, by its number."""
    order = {node.get_name(): number for number, node in enumerate(model.get_results())}
    names = [node.get_name() for node in model.get_ordered_ops()]
    results = (i for i, kind in enumerate(graph.kinds) if kind == "Result")
    return dict(sorted((order[names[i]], graph.inputs[i][0]) for i in results))


def _columns(graph: Graph, trail: Trail, port: Port, tap: int, layout: Layout) -> Columns | None:
    channels = frozenset(channel for row in layout.channels for channel in row)
    probes = probes_of(trail, tap, port, channels)
    if set(probes.channel.tolist()) != channels:
        return None
    if layout.classes == 1:
        # One class has no axis: it is the column in which every candidate's score stands.
        spots = {axis: set(probes.coords[:, axis].tolist()) for axis in range(probes.coords.shape[1])}
        fixed = [axis for axis, where in spots.items() if axis and len(where) == 1]
        wide = [axis for axis in fixed if graph.shape(port)[axis] > 1]
        axis = (wide or fixed or [None])[-1]
        return None if axis is None else Columns(axis, spots[axis].pop())
    for axis, column in channel_axes(probes).items():
        start = column[layout.channels[0][0]]
        if all([column[c] for c in row] == list(range(start, start + layout.classes)) for row in layout.channels):
            return Columns(axis, start)
    return None


def is_decoded(trail: Trail) -> bool:
    """Whether values met grids, anchors or strides, or bins were summed up: boxes are made inside the graph."""
    return bool(trail.integrated) or any((probes.flags & PLACED != 0).any() for probes in trail.known.values())


def is_bare(trail: Trail, layouts: dict[int, Layout]) -> bool:
    """Whether boxes leave the graph as the convolution gave them: at most the objectness has an activation."""
    for tap, one in enumerate(trail.taps):
        layout = layouts.get(tap)
        classes = {channel for row in layout.channels for channel in row} if layout else set()
        on = set()
        for probes in trail.known.values():
            on |= set(probes.channel[(probes.tap == tap) & (probes.flags & ACTIVATED != 0)].tolist())
        if len(on - classes) > (layout.anchors if layout else one.channels if one.channels < 4 else 0):
            return False
    return True
