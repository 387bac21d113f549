"""Tensors that everything must pass on its way from the picture to the scores."""

from __future__ import annotations

import openvino as ov

from ovxai.ir.graph import Graph, sources


def live_nodes(graph: Graph, start: ov.Node, goal: ov.Node) -> list[ov.Node]:
    """Nodes on some path from `start` to `goal`, in topological order; shapes carry nothing of the picture."""
    names = graph.descendants([start]) & graph.ancestors([goal])
    return [node for node in graph.ops if node.get_name() in names]


def dominators(graph: Graph, start: ov.Node, goal: ov.Node, but: tuple[str, str] | None = None) -> list[ov.Output]:
    """Output ports between `start` and `goal` (both left out) that every path runs through, in order.

    but: (from, to) names of one direct edge that does not count.
    """
    live = live_nodes(graph, start, goal)
    place = {node.get_name(): i for i, node in enumerate(live)}
    reach = 0  # how far edges that began earlier go on
    found = []
    ports: dict[str, dict[int, int]] = {}
    for node in live:
        for feed in sources(node):
            name = feed.get_node().get_name()
            if name in place and (name, node.get_name()) != but:
                farthest = ports.setdefault(name, {})
                farthest[feed.get_index()] = max(place[node.get_name()], farthest.get(feed.get_index(), 0))
    for i, node in enumerate(live):
        used = ports.get(node.get_name(), {})
        if 0 < i < len(live) - 1 and reach <= i and len(used) == 1:
            found.append(node.output(next(iter(used))))
        reach = max([reach, *used.values()])
    return found
