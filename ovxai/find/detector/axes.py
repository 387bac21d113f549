"""Which of a map's two sides is the picture's height: transposes between the input and the head may swap them."""

from __future__ import annotations

from ovxai.graph.witness import Graph, Port


def upright(graph: Graph, port: Port, axes: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """`axes` with height and width exchanged where the map at `port` lies on its side."""
    batch, channel, row, column = axes
    if _lies_on_its_side(graph, port, row, column):
        return batch, channel, column, row
    return axes


def _lies_on_its_side(graph: Graph, port: Port, row: int, column: int) -> bool:
    """Follow both sides up to the picture; in a picture rows come before columns, wherever the channels stand."""
    seen = set()
    while port not in seen:
        seen.add(port)
        node = port[0]
        if graph.kinds[node] == "Parameter":
            return row > column
        if graph.kinds[node] == "Transpose":
            order = graph.value(graph.inputs[node][1])
            if order is None or order.size <= max(row, column):
                return False
            row, column = int(order.reshape(-1)[row]), int(order.reshape(-1)[column])
        following = _map_above(graph, node)
        if following is None:
            return False
        port = following
    return False


def _map_above(graph: Graph, node: int) -> Port | None:
    """The first live input that is still a map of the same rank; None where the positions were flattened."""
    for source in graph.live_inputs(node):
        shape = graph.shape(source)
        if shape is not None and len(shape) == 4:
            return source
    # Group normalisation flattens and restores: look past a pair of reshapes at the next map.
    for source in graph.live_inputs(node):
        for above in graph.live_inputs(source[0]):
            if graph.kinds[node] == "Reshape" and len(graph.shape(above) or ()) in (3, 4):
                return _through(graph, above, graph.shape((node, 0)))
    return None


def _through(graph: Graph, port: Port, want) -> Port | None:
    for _ in range(6):
        if graph.shape(port) == want:
            return port
        sources = graph.live_inputs(port[0])
        if not sources:
            return None
        port = sources[0]
    return None
