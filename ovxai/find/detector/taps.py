"""Taps: the last weighted operations that still have one vector a position, found from the outputs upward."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ovxai.find.detector.probes import Probes, step
from ovxai.graph.witness import Graph, Port

CONVOLUTIONS = frozenset({"Convolution", "GroupConvolution", "ConvolutionBackpropData", "GroupConvolutionBackpropData"})
#: Behind these there is one tensor a region: no longer one a position of the picture.
REGION_POOLS = frozenset({
    "ROIAlign", "ROIAlignRotated", "ROIPooling", "PSROIPooling", "DeformablePSROIPooling",
    "ExperimentalDetectronROIFeatureExtractor",
})  # fmt: skip


@dataclass(frozen=True)
class Tap:
    """One raw output of a head: `port` with its bias added, `linear` the weighted node, `source` what that reads.

    axes: where batch, channel, height and width stand. grid: (h, w) of the witness.
    """

    port: Port
    linear: int
    source: Port
    axes: tuple[int, int, int, int]
    channels: int
    grid: tuple[int, int]

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
    weights = next((s for s in graph.inputs[node] if not graph.live[s[0]]), None)
    shape = graph.shape(weights) if weights else None
    if not shape or None in shape or max(shape) != np.prod(shape) or not 2 <= max(shape) <= 64:
        return False
    values = graph.value(weights)
    if values is None:
        return False
    steps = np.diff(values.reshape(-1).astype(np.float64))
    return abs(values.reshape(-1)[0]) < 1e-6 and steps[0] > 0 and bool(np.allclose(steps, steps[0], rtol=1e-2))


def last_linear(graph: Graph, starts: list[Port]) -> tuple[list[int], bool]:
    """The weighted nodes met first going up from `starts`, and whether regions of interest lie on the way."""
    stop = lambda node: (is_linear(graph, node) and not is_integral(graph, node)) or graph.kinds[node] in REGION_POOLS
    met = graph.above(starts, stop)
    linear = sorted(node for node in met if is_linear(graph, node) and not is_integral(graph, node))
    return linear, any(graph.kinds[node] in REGION_POOLS for node in met)


def behind_regions(graph: Graph) -> list[bool]:
    """Whether a node is computed from tensors that were cut out region by region."""
    found: list[bool] = []
    for kind, sources in zip(graph.kinds, graph.inputs):
        found.append(kind in REGION_POOLS or any(found[node] for node, _ in sources))
    return found


def with_bias(graph: Graph, node: int) -> Port:
    """The port behind the constants, one a channel, that are added to or multiplied with a weighted node's output."""
    port = (node, 0)
    while True:
        users = [(user, k) for user, k in graph.consumers.get(port, []) if graph.kinds[user] != "ShapeOf"]
        if len(users) != 1 or not _one_constant_per_channel(graph, *users[0], port):
            return port
        port = (users[0][0], 0)


def _one_constant_per_channel(graph: Graph, user: int, k: int, port: Port) -> bool:
    if graph.kinds[user] not in ("Add", "Subtract", "Multiply") or len(graph.live_inputs(user)) != 1:
        return False
    own, other = graph.shape(port), graph.shape(graph.inputs[user][1 - k])
    if own is None or other is None or None in other or graph.shape((user, 0)) != own:
        return False
    wide = (1,) * (len(own) - len(other)) + other
    return sum(size != 1 for size in wide) <= 1


def grid_tap(graph: Graph, node: int) -> Tap | None:
    """The tap of a convolution (NCHW), or of a MatMul over [N, h, w, C]; None where there is no map."""
    port = with_bias(graph, node)
    shape = graph.shape(port)
    if shape is None or len(shape) != 4 or None in shape:
        return None
    source = graph.live_inputs(node)
    if not source:
        return None
    axes = (0, 1, 2, 3) if graph.kinds[node] in CONVOLUTIONS else (0, 3, 1, 2)
    if axes[1] == 3 and not _keeps_rows(graph, node, shape):
        return None
    return Tap(port, node, source[0], axes, shape[axes[1]], (shape[axes[2]], shape[axes[3]]))


def _keeps_rows(graph: Graph, node: int, shape: tuple[int, ...]) -> bool:
    return graph.shape(graph.live_inputs(node)[0])[:3] == shape[:3] and min(shape[1:3]) > 1


def resized(graph: Graph, tap: Tap) -> bool:
    """Whether the tap's values are enlarged as a map on their way out, as those of segmentation are."""
    seen, stack = set(), [tap.port[0]]
    while stack:
        node = stack.pop()
        for port in range(len(graph.shapes[node])):
            for user, _ in graph.consumers.get((node, port), []):
                if user in seen or not graph.live[user] or is_linear(graph, user):
                    continue
                if graph.kinds[user] in ("Interpolate", "DepthToSpace") and len(graph.shape((user, 0)) or ()) == 4:
                    return True
                seen.add(user)
                stack.append(user)
    return False


# Where the graph itself cuts the class channels out of a wider tensor, that piece is the class-logit tensor.

CUTS = ("Split", "VariadicSplit", "Slice", "StridedSlice")
Channels = tuple[tuple[int, ...], ...]


def narrowed(graph: Graph, tap: Tap, channels: Channels) -> tuple[Port, Channels]:
    """The port of the cut that holds exactly these channels, and their numbers in it; the tap where there is none."""
    wanted = {channel for row in channels for channel in row}
    if len(wanted) == tap.channels:
        return tap.port, channels
    probes = {tap.port: Probes.of_tap(0, graph.shape(tap.port), tap.axes)}
    for user, _ in graph.consumers.get(tap.port, []):
        if graph.kinds[user] not in CUTS:
            continue
        for port, inside in step(graph, user, probes).items():
            shape = graph.shape((user, port))
            if set(inside.channel.tolist()) == wanted and len(shape) == 4 and shape[tap.axes[1]] == len(wanted):
                moved = dict(zip(inside.channel.tolist(), inside.coords[:, tap.axes[1]].tolist()))
                return (user, port), tuple(tuple(moved[channel] for channel in row) for row in channels)
    return tap.port, channels


def is_whole(channels: Channels, total: int) -> bool:
    """Whether the channels are all there are, anchor by anchor: a plain reshape to [A, K] reads them."""
    return bool(np.array_equal(np.array(channels).reshape(-1), np.arange(total)))


# The neck's features: for each level the last tensor that the class and the box branch both read.

NCHW, NHWC = (0, 1, 2, 3), (0, 3, 1, 2)


def shared_feature(graph: Graph, tap: Tap, others: list[Tap]) -> tuple[Port, tuple[int, int, int, int]] | None:
    """Port and axes of the feature map under `tap`; others: the box taps of the same grid."""
    own = graph.above([tap.source])
    meeting = [last_map(graph, own & graph.above([other.source]), tap) for other in others if other.linear != tap.linear]
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
