"""Where the graph itself cuts the class channels out of a wider tensor, that piece is the class-logit tensor."""

from __future__ import annotations

import numpy as np

from ovxai.find.detection_graph import Graph, Port
from ovxai.find.detection_moves import step
from ovxai.find.detection_probes import Probes
from ovxai.find.detection_taps import Tap

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
