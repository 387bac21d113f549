"""`--target-layer`: the user names the class-logit tensors; how their channels are read, the graph or the labels say."""

from __future__ import annotations

import openvino as ov

from ovxai.find.detection_graph import Graph, Port
from ovxai.find.detection_layouts import layouts
from ovxai.find.detection_neck import shared_feature
from ovxai.find.detection_site import NCHW, ClassLevel
from ovxai.find.detection_taps import Tap
from ovxai.find.detection_trail import Layout, Trail, follow, score_channels
from ovxai.find.verdict import No


def resolve(model: ov.Model, name: str) -> Port | No:
    """(index, port) of a friendly node name, `name:port`, or a tensor name."""
    base, _, number = name.rpartition(":")
    for index, node in enumerate(model.get_ordered_ops()):
        if node.get_friendly_name() == name and node.get_output_size():
            return index, 0
        if base and number.isdigit() and node.get_friendly_name() == base and int(number) < node.get_output_size():
            return index, int(number)
        for output in node.outputs():
            if name in output.get_names():
                return index, output.get_index()
    return No(f"target layer: the model has no node or tensor named {name!r}")


def from_names(
    model: ov.Model, graph: Graph, names: tuple[str, ...], count: int | None
) -> tuple[tuple[ClassLevel, ...], Trail, dict[int, Layout]] | No:
    """Levels from maps [N, A * K, h, w] given by name, sorted fine to coarse; the trail, and how each tap is read."""
    taps = []
    for name in names:
        port = resolve(model, name)
        if not port:
            return port
        shape = graph.shape(port)
        if shape is None or len(shape) != 4 or None in shape:
            return No(f"target layer: {name} is {list(shape or ())}, not a map [N, A * K, h, w] of class logits")
        source = next(iter(graph.live_inputs(port[0])), port)
        taps.append(Tap(port, port[0], source, NCHW, shape[1], (shape[2], shape[3])))
    trail = follow(graph, taps)
    scores = {i: score_channels(trail, i) or frozenset(range(tap.channels)) for i, tap in enumerate(taps)}
    read = layouts(trail, scores, count)
    nodes, levels, used = model.get_ordered_ops(), [], {}
    for i, tap in sorted(enumerate(taps), key=lambda item: -item[1].cells):
        channels = _channels(tap, read.get(i), count)
        if not channels:
            return channels
        used[i] = Layout(channels, -1)
        feature = shared_feature(graph, tap, [])
        levels.append(ClassLevel(
            nodes[tap.port[0]].output(tap.port[1]), tap.axes, channels, tap.grid,
            feature=nodes[feature[0][0]].output(feature[0][1]) if feature else None,
            feature_axes=feature[1] if feature else NCHW,
        ))  # fmt: skip
    if len({len(level.channels[0]) for level in levels}) != 1:
        return No("target layer: the named tensors have different numbers of classes")
    return tuple(levels), trail, used


def _channels(tap: Tap, layout, count: int | None):
    if count is not None and (layout is None or layout.classes not in (count, count + 1)):
        if tap.channels % count:
            return No(f"target layer: {tap.channels} channels are no multiple of {count} classes")
        return tuple(tuple(range(a * count, (a + 1) * count)) for a in range(tap.channels // count))
    if layout is not None:
        return layout.channels
    return (tuple(range(tap.channels)),)
