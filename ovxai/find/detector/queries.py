"""Query detectors (RT-DETR, D-FINE, DEIM): the encoder scores every position before it picks queries."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ovxai.find.detector.probes import Probes, step
from ovxai.find.detector.taps import is_linear, with_bias
from ovxai.find.site import No
from ovxai.graph.witness import Graph, Port

NCHW, NHWC = (0, 1, 2, 3), (0, 3, 1, 2)


@dataclass(frozen=True)
class TokenLevel:
    """A level's share of the tokens: rows [start, start + h * w) in raster order, made from the map at `port`."""

    port: Port
    axes: tuple[int, int, int, int]
    grid: tuple[int, int]
    start: int


@dataclass(frozen=True)
class TokenScores:
    """Class logits [N, P, K] at `port`; levels in the order of the rows."""

    port: Port
    classes: int
    levels: tuple[TokenLevel, ...]


def find_token_scores(graph: Graph) -> TokenScores | No:
    """Above a TopK over positions: a weighted sum [N, P, K] whose P rows are the cells of one or more maps."""
    tried: list[str] = []
    for node in range(len(graph.nodes)):
        if graph.kinds[node] != "TopK" or not graph.live[node]:
            continue
        for linear in _scoring_nodes(graph, graph.inputs[node][0]):
            found = _scores_at(graph, with_bias(graph, linear))
            if found:
                return found
            tried.append(found.reason)
    if tried:
        return No(tried[0])
    return No("no TopK picks queries from class scores of the positions")


def _scoring_nodes(graph: Graph, source: Port) -> list[int]:
    """Weighted sums met going up from a TopK's input."""
    met = graph.above([source], lambda node: is_linear(graph, node))
    return sorted((node for node in met if graph.kinds[node] == "MatMul" and is_linear(graph, node)), reverse=True)


def _scores_at(graph: Graph, port: Port) -> TokenScores | No:
    shape = graph.shape(port)
    if shape is None or len(shape) != 3 or None in shape:
        return No("the scores before the TopK are not [N, positions, classes]")
    rows, classes = shape[1], shape[2]
    above = graph.above([port])
    for node in sorted(above, reverse=True):
        if graph.kinds[node] == "Concat" and rows in (graph.shapes[node][0] or ()):
            levels = _levels(graph, graph.inputs[node], (node, 0), rows)
            if levels:
                return TokenScores(port, classes, levels)
    for node in sorted(above, reverse=True):
        if graph.kinds[node] == "Reshape" and rows in (graph.shapes[node][0] or ()):
            levels = _levels(graph, [(node, 0)], (node, 0), rows)
            if levels:
                return TokenScores(port, classes, levels)
    return No(f"the {rows} scored positions are not the cells of maps that are joined level by level")


def _levels(graph: Graph, parts: list[Port], joined: Port, rows: int) -> tuple[TokenLevel, ...]:
    levels, start = [], 0
    for part in parts:
        level = _map_of(graph, part, joined, start, rows)
        if level is None:
            return ()
        levels.append(level)
        start += level.grid[0] * level.grid[1]
    return tuple(levels) if start == rows else ()


def _map_of(graph: Graph, part: Port, joined: Port, start: int, rows: int) -> TokenLevel | None:
    """The nearest map above `part` whose cells stand row by row in `joined`, from row `start` on."""
    port = part
    while True:
        shape = graph.shape(port)
        if shape is not None and len(shape) == 4 and None not in shape:
            for axes in (NCHW, NHWC):
                grid = (shape[axes[2]], shape[axes[3]])
                if start + grid[0] * grid[1] <= rows and _raster(graph, port, axes, joined, start, grid):
                    return TokenLevel(port, axes, grid, start)
        moves = graph.kinds[port[0]] in ("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Concat", "Convert")
        sources = graph.live_inputs(port[0])
        if not moves or not sources:
            return None
        port = sources[0]


def _raster(graph: Graph, port: Port, axes, joined: Port, start: int, grid: tuple[int, int]) -> bool:
    """Whether cell (y, x) of the map becomes row start + y * w + x of `joined`, seen on four cells."""
    known = {port: Probes.of_tap(0, graph.shape(port), axes)}
    for node in range(port[0] + 1, joined[0] + 1):
        known.update({(node, p): probes for p, probes in step(graph, node, known).items()})
    probes = known.get(joined)
    if probes is None:
        return False
    wide = [axis for axis in range(probes.coords.shape[1]) if len(set(probes.coords[probes.channel == 0, axis].tolist())) > 1]
    places = sorted({(y, x) for y in (0, min(1, grid[0] - 1)) for x in (0, min(1, grid[1] - 1))})
    want = np.array([start + y * grid[1] + x for y, x in places])[probes.place]
    if len(places) == 1:
        return any(np.array_equal(probes.coords[:, axis], want) for axis in range(probes.coords.shape[1]))
    return len(wide) == 1 and np.array_equal(probes.coords[:, wide[0]], want)
