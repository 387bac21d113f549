"""The tensors around a detector's class scores: the piece that holds exactly them, the features below, which side is up."""

from __future__ import annotations

from ovxai.find.detector.maps import HeadMap
from ovxai.find.detector.tracers import Tracers, step
from ovxai.find.detector.trail import ClassTable
from ovxai.find.site import Channels
from ovxai.graph.dims import CHANNELS_FIRST, CHANNELS_LAST, MapAxes
from ovxai.graph.graph import Graph, Port

# Where the graph itself cuts the class channels out of a wider tensor, that piece is the class-logit tensor.

_CUTS = ("Split", "VariadicSplit", "Slice", "StridedSlice")


def narrowed(graph: Graph, head: HeadMap, table: ClassTable) -> tuple[Port, Channels]:
    """The port of the cut that holds exactly the table's channels, and their numbers in it; the map where there is none."""
    if len(table.flat) == head.channels:
        return head.port, table.channels
    known = {head.port: Tracers.of_map(0, graph.known_shape(head.port), head.axes)}
    for user, _ in graph.consumers.get(head.port, []):
        if graph.kinds[user] not in _CUTS:
            continue
        for number, inside in step(graph, user, known).items():
            shape = graph.known_shape((user, number))
            if set(inside.channel.tolist()) == table.flat and len(shape) == 4 and shape[head.axes[1]] == len(table.flat):
                place: dict[int, int] = dict(zip(inside.channel.tolist(), inside.coords[:, head.axes[1]].tolist()))
                return (user, number), tuple(tuple(place[channel] for channel in row) for row in table.channels)
    return head.port, table.channels


# The neck's features: for each level the last tensor that the class and the box branch both read.

Feature = tuple[Port, MapAxes]


def shared_feature(graph: Graph, head: HeadMap, boxes: list[HeadMap]) -> Feature | None:
    """Port and axes of the feature map under `head`; boxes: the box maps of the same grid."""
    own = graph.above([head.source])
    meeting = [last_map(graph, own & graph.above([box.source]), head) for box in boxes if box.linear != head.linear]
    # Boxes meet the class branch where the towers part; a branch that only joins further up says nothing about that.
    features = [feature for feature in meeting if feature is not None]
    return max(features, default=None, key=lambda feature: feature[0]) or last_map(graph, own, head)


def last_map(graph: Graph, nodes: set[int], head: HeadMap) -> Feature | None:
    """Among `nodes` the last that makes a map on the grid of `head`: its port and axes."""
    orders = (CHANNELS_FIRST, CHANNELS_LAST) if head.axes == CHANNELS_FIRST else (CHANNELS_LAST, CHANNELS_FIRST)
    for node in sorted(nodes, reverse=True):
        for number, shape in enumerate(graph.extents[node]):
            if shape is None or len(shape) != 4 or graph.kinds[node] == "Parameter":
                continue
            for axes in orders:
                channels = shape[axes[1]]
                if (shape[axes[2]], shape[axes[3]]) == head.grid and channels and channels > 1:
                    return (node, number), axes
    return None


# Which of a map's two sides is the picture's height: transposes between the input and the head may swap them.


def upright(graph: Graph, port: Port, axes: MapAxes) -> MapAxes:
    """`axes` with height and width exchanged where the map at `port` lies on its side."""
    batch, channel, row, column = axes
    return (batch, channel, column, row) if _lies_on_its_side(graph, port, row, column) else axes


def _lies_on_its_side(graph: Graph, port: Port, row: int, column: int) -> bool:
    """Follow both sides up to the picture; in a picture rows come before columns, wherever the channels stand."""
    while graph.kinds[port[0]] != "Parameter":
        node = port[0]
        if graph.kinds[node] == "Transpose":
            order = graph.value(graph.inputs[node][1])
            if order is None or order.size <= max(row, column):
                return False
            row, column = int(order.reshape(-1)[row]), int(order.reshape(-1)[column])
        following = _map_above(graph, node)
        if following is None:
            return False
        port = following
    return row > column


def _map_above(graph: Graph, node: int) -> Port | None:
    """The first live input that is still a map of the same rank; None where the positions were flattened."""
    for feed in graph.live_inputs(node):
        if _rank(graph, feed) == 4:
            return feed
    # Group normalisation flattens and restores: look past a pair of reshapes at the next map.
    if graph.kinds[node] == "Reshape":
        for feed in graph.live_inputs(node):
            for above in graph.live_inputs(feed[0]):
                if _rank(graph, above) in (3, 4):
                    return _through(graph, above, node)
    return None


def _rank(graph: Graph, port: Port) -> int:
    return len(graph.extents[port[0]][port[1]] or ())


def _through(graph: Graph, port: Port, node: int) -> Port | None:
    """A few steps up from `port`, what has the shape that `node` makes."""
    for _ in range(6):
        if graph.extents[port[0]][port[1]] == graph.extents[node][0]:
            return port
        feeds = graph.live_inputs(port[0])
        if not feeds:
            return None
        port = feeds[0]
    return None
