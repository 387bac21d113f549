"""Target layers that the user names."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence

import openvino as ov

from ovxai.errors import TargetLayerError
from ovxai.find.trial import attempt
from ovxai.find.verdict import No
from ovxai.ir.graph import Graph
from ovxai.ir.tap import Tap


def port_named(graph: Graph, name: str) -> ov.Output:
    """The port of a friendly node name, `name:port`, or tensor name.

    Raises:
        TargetLayerError: there is none; the message holds the nearest names.
    """
    base, _, index = name.rpartition(":")
    for node in graph.ops:
        if node.get_friendly_name() == name and node.get_output_size():
            return node.output(0)
        if index.isdigit() and node.get_friendly_name() == base and int(index) < node.get_output_size():
            return node.output(int(index))
        for output in node.outputs():
            if name in output.get_names():
                return output
    names = [node.get_friendly_name() for node in graph.ops if node.get_type_name() not in ("Constant", "Result")]
    near = difflib.get_close_matches(name, names, 3, 0.0)
    raise TargetLayerError(f"target layer: the model has no node or tensor named {name!r}; nearest: {', '.join(near)}")


def named_taps(
    graph: Graph, names: Sequence[str], taps_of: Callable[[ov.Output], list[Tap]], logits: ov.Output
) -> tuple[Tap, ...] | No:
    """Taps for the names, all with the layout that the head reads best."""
    above = graph.ancestors([logits.get_node()])
    taps = []
    for name in names:
        port = port_named(graph, name)
        if port.get_node().get_name() not in above:
            raise TargetLayerError(f"target layer: the scores do not depend on {name!r}")
        ways = taps_of(port)
        if not ways:
            shape = graph.shape(port)
            raise TargetLayerError(
                f"target layer: {name!r} has shape {None if shape is None else list(shape)}, which holds no grid of positions"
            )
        trials = [attempt(graph, tap, logits, "point") for tap in ways]
        read = [trial for trial in trials if trial.read]
        if not read and len(names) == 1:
            raise TargetLayerError(f"target layer: of {name!r} the scores read no patch, only tokens beside the grid")
        taps.append(min(read or trials, key=lambda trial: len(trial.dense)).tap)
    return tuple(taps)
