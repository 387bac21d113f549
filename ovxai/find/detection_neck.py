"""The neck's features: for each level the last tensor that the class and the box branch both read."""

from __future__ import annotations

from ovxai.find.detection_graph import Graph, Port
from ovxai.find.detection_taps import Tap

NCHW, NHWC = (0, 1, 2, 3), (0, 3, 1, 2)


def shared_feature(graph: Graph, tap: Tap, others: list[Tap]) -> tuple[Port, tuple[int, int, int, int]] | None:
    """Port and axes of the feature map under `tap`; others: the box taps of the same grid."""
    own = graph.above([tap.source])
    meeting = [
        last_map(graph, own & graph.above([other.source]), tap) for other in others if other.linear != tap.linear
    ]
    # Boxes meet the class branch where the towers part; a branch that only joins further up says nothing about that.
    meeting = [port for port in meeting if port is not None]
    return max(meeting, default=None, key=lambda found: found[0]) or last_map(graph, own, tap)


def last_map(graph: Graph, nodes: set[int], tap: Tap) -> tuple[Port, tuple[int, int, int, int]] | None:
    """Among `nodes` the last that makes a map on the tap's grid: its port and axes."""
    for node in sorted(nodes, reverse=True):
        for port, shape in enumerate(graph.shapes[node]):
            if shape is None or len(shape) != 4 or graph.kinds[node] == "Parameter":
                continue
            for axes in (NCHW, NHWC) if tap.axes == NCHW else (NHWC, NCHW):
                if (shape[axes[2]], shape[axes[3]]) == tap.grid and shape[axes[1]] and shape[axes[1]] > 1:
                    return (node, port), axes
    return None
