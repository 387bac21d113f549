"""What is scored position by position: the last maps of a head, and the tokens of query detectors.

Head maps are found from the outputs upward, tokens from where queries are picked.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ovxai.find.detector.tracers import Known, Tracers, step
from ovxai.find.site import No
from ovxai.graph.dims import CHANNELS_FIRST, CHANNELS_LAST, Grid, MapAxes
from ovxai.graph.graph import Graph, Port, Shape

CONVOLUTIONS = frozenset({"Convolution", "GroupConvolution", "ConvolutionBackpropData", "GroupConvolutionBackpropData"})
#: Behind these there is one tensor per region: no longer one per position of the picture.
REGION_POOLS = frozenset({
    "ROIAlign", "ROIAlignRotated", "ROIPooling", "PSROIPooling", "DeformablePSROIPooling",
    "ExperimentalDetectronROIFeatureExtractor",
})  # fmt: skip


@dataclass(frozen=True)
class HeadMap:
    """One raw output of a head: the last weighted operation that still has one vector per position.

    port: with its bias added. linear: the weighted node; source: what that reads. axes: where batch, channel, height
    and width stand. grid: (h, w) of the witness.
    """

    port: Port
    linear: int
    source: Port
    axes: MapAxes
    channels: int
    grid: Grid

    @property
    def cells(self) -> int:
        return self.grid[0] * self.grid[1]


def is_linear(graph: Graph, node: int) -> bool:
    """A weighted sum of the picture's values with weights that do not depend on it."""
    if graph.kinds[node] in CONVOLUTIONS:
        return True
    return graph.kinds[node] == "MatMul" and len(graph.live_inputs(node)) == 1


def is_integral(graph: Graph, node: int) -> bool:
    """A weighted sum over distance bins (weights 0, 1, 2 ... m): part of decoding boxes, not of a head."""
    if graph.kinds[node] not in ("MatMul", "Convolution"):
        return False
    weights = next((feed for feed in graph.inputs[node] if not graph.live[feed[0]]), None)
    shape = graph.shape(weights) if weights else None
    if not weights or not shape or max(shape) != np.prod(shape) or not 2 <= max(shape) <= 64:
        return False
    values = graph.value(weights)
    if values is None:
        return False
    steps = np.diff(values.reshape(-1).astype(np.float64))
    return abs(values.reshape(-1)[0]) < 1e-6 and steps[0] > 0 and bool(np.allclose(steps, steps[0], rtol=1e-2))


def last_linear(graph: Graph) -> list[int]:
    """The weighted nodes met first going up from the model's outputs; regions of interest end the way up."""
    return sorted(node for node in behind_weights(graph) if _weighs(graph, node))


def behind_weights(graph: Graph) -> set[int]:
    """The last weighted nodes of the model, and what hands their values on to its outputs without another one."""
    return graph.above(graph.results, lambda node: _weighs(graph, node) or graph.kinds[node] in REGION_POOLS)


def _weighs(graph: Graph, node: int) -> bool:
    return is_linear(graph, node) and not is_integral(graph, node)


def behind_regions(graph: Graph) -> list[bool]:
    """Per node whether it is computed from tensors that were cut out region by region."""
    regional: list[bool] = []
    for kind, feeds in zip(graph.kinds, graph.inputs):
        regional.append(kind in REGION_POOLS or any(regional[node] for node, _ in feeds))
    return regional


def with_bias(graph: Graph, node: int) -> Port:
    """The port behind the constants, one per channel, that are added to or multiplied with a weighted node's output."""
    port = (node, 0)
    while True:
        users = [(user, k) for user, k in graph.consumers.get(port, []) if graph.kinds[user] != "ShapeOf"]
        if len(users) != 1 or not _one_constant_per_channel(graph, *users[0], port):
            return port
        port = (users[0][0], 0)


def _one_constant_per_channel(graph: Graph, user: int, k: int, port: Port) -> bool:
    if graph.kinds[user] not in ("Add", "Subtract", "Multiply") or len(graph.live_inputs(user)) != 1:
        return False
    own, other = graph.extents[port[0]][port[1]], graph.shape(graph.inputs[user][1 - k])
    if own is None or other is None or graph.extents[user][0] != own:
        return False
    wide = (1,) * (len(own) - len(other)) + other
    return sum(size != 1 for size in wide) <= 1


def head_map(graph: Graph, node: int) -> HeadMap | None:
    """The map that a convolution makes (channels first), or a MatMul over [N, h, w, C]; None where there is none."""
    port = with_bias(graph, node)
    shape, feeds = graph.shape(port), graph.live_inputs(node)
    if shape is None or len(shape) != 4 or not feeds:
        return None
    axes = CHANNELS_FIRST if graph.kinds[node] in CONVOLUTIONS else CHANNELS_LAST
    if axes == CHANNELS_LAST and not _keeps_rows(graph, feeds[0], shape):
        return None
    return HeadMap(port, node, feeds[0], axes, shape[axes[1]], (shape[axes[2]], shape[axes[3]]))


def _keeps_rows(graph: Graph, feed: Port, shape: Shape) -> bool:
    before = graph.extents[feed[0]][feed[1]]
    return before is not None and before[:3] == shape[:3] and min(shape[1:3]) > 1


def head_maps(graph: Graph) -> list[HeadMap]:
    """All of the model's, in topological order."""
    return [head for node in last_linear(graph) if (head := head_map(graph, node))]


def is_resized(graph: Graph, head: HeadMap) -> bool:
    """Whether the map's values are enlarged as a map on their way out, as those of segmentation are."""
    seen, stack = set(), [head.port[0]]
    while stack:
        node = stack.pop()
        for number in range(len(graph.extents[node])):
            for user, _ in graph.consumers.get((node, number), []):
                if user in seen or not graph.live[user] or is_linear(graph, user):
                    continue
                if graph.kinds[user] in ("Interpolate", "DepthToSpace") and len(graph.extents[user][0] or ()) == 4:
                    return True
                seen.add(user)
                stack.append(user)
    return False


# Query detectors (RT-DETR, D-FINE, DEIM): the encoder scores every position before it picks queries.


@dataclass(frozen=True)
class TokenLevel:
    """A level's share of the tokens: rows [start, start + h * w) in raster order, made from the map at `port`."""

    port: Port
    axes: MapAxes
    grid: Grid
    start: int

    @property
    def rows(self) -> tuple[int, int]:
        return self.start, self.start + self.grid[0] * self.grid[1]


@dataclass(frozen=True)
class TokenScores:
    """Class logits [N, P, K] at `port`; levels in the order of the rows."""

    port: Port
    classes: int
    levels: tuple[TokenLevel, ...]


def find_token_scores(graph: Graph) -> TokenScores | No:
    """Above a TopK over positions: a weighted sum [N, P, K] whose P rows are the cells of one or more maps."""
    refused: list[No] = []
    for node in range(len(graph.ops)):
        if graph.kinds[node] != "TopK" or not graph.live[node]:
            continue
        for linear in _scoring_nodes(graph, graph.inputs[node][0]):
            scores = _scores_at(graph, with_bias(graph, linear))
            if isinstance(scores, TokenScores):
                return scores
            refused.append(scores)
    return refused[0] if refused else No("no TopK picks queries from class scores of the positions")


def _scoring_nodes(graph: Graph, feed: Port) -> list[int]:
    """Weighted sums met going up from a TopK's input."""
    met = graph.above([feed], lambda node: is_linear(graph, node))
    return sorted((node for node in met if graph.kinds[node] == "MatMul" and is_linear(graph, node)), reverse=True)


def _scores_at(graph: Graph, port: Port) -> TokenScores | No:
    shape = graph.shape(port)
    if shape is None or len(shape) != 3:
        return No("the scores before the TopK are not [N, positions, classes]")
    rows, classes = shape[1], shape[2]
    above = sorted(graph.above([port]), reverse=True)
    for kind in ("Concat", "Reshape"):
        for node in above:
            if graph.kinds[node] == kind and rows in (graph.extents[node][0] or ()):
                parts = graph.inputs[node] if kind == "Concat" else [(node, 0)]
                levels = _levels(graph, parts, (node, 0), rows)
                if levels:
                    return TokenScores(port, classes, levels)
    return No(f"the {rows} scored positions are not the cells of maps that are joined level by level")


def _levels(graph: Graph, parts: list[Port], joined: Port, rows: int) -> tuple[TokenLevel, ...]:
    levels: list[TokenLevel] = []
    start = 0
    for part in parts:
        level = _map_of(graph, part, joined, start, rows)
        if level is None:
            return ()
        levels.append(level)
        start = level.rows[1]
    return tuple(levels) if start == rows else ()


def _map_of(graph: Graph, part: Port, joined: Port, start: int, rows: int) -> TokenLevel | None:
    """The nearest map above `part` whose cells stand row by row in `joined`, from row `start` on."""
    port = part
    while True:
        shape = graph.shape(port)
        if shape is not None and len(shape) == 4:
            for axes in (CHANNELS_FIRST, CHANNELS_LAST):
                level = TokenLevel(port, axes, (shape[axes[2]], shape[axes[3]]), start)
                if level.rows[1] <= rows and _is_raster(graph, level, shape, joined):
                    return level
        moves = graph.kinds[port[0]] in ("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Concat", "Convert")
        feeds = graph.live_inputs(port[0])
        if not moves or not feeds:
            return None
        port = feeds[0]


def _is_raster(graph: Graph, level: TokenLevel, shape: Shape, joined: Port) -> bool:
    """Whether cell (y, x) of the map becomes row start + y * w + x of `joined`, seen on four cells."""
    known: Known = {level.port: Tracers.of_map(0, shape, level.axes)}
    for node in range(level.port[0] + 1, joined[0] + 1):
        known.update({(node, number): tracers for number, tracers in step(graph, node, known).items()})
    tracers = known.get(joined)
    if tracers is None:
        return False
    rank, (height, width) = tracers.coords.shape[1], level.grid
    wide = [axis for axis in range(rank) if len(set(tracers.coords[tracers.channel == 0, axis].tolist())) > 1]
    places = sorted({(y, x) for y in (0, min(1, height - 1)) for x in (0, min(1, width - 1))})
    want = np.array([level.start + y * width + x for y, x in places])[tracers.place]
    if len(places) == 1:
        return any(np.array_equal(tracers.coords[:, axis], want) for axis in range(rank))
    return len(wide) == 1 and np.array_equal(tracers.coords[:, wide[0]], want)
