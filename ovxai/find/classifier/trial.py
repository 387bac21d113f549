"""Try a tensor as the feature map: walk the head without building it, and see what becomes of the gate."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import openvino as ov

from ovxai.collapse.gate import grid_dims, walk
from ovxai.collapse.masks import Masks
from ovxai.collapse.values import Dense, Mapped, Seen
from ovxai.errors import TargetLayerError
from ovxai.find.site import No
from ovxai.graph.graph import Graph
from ovxai.graph.tap import Tap


@dataclass(frozen=True)
class Trial:
    """What a walk from `tap` to the logits saw.

    read: positions meet on the way to the logits (else these don't depend on the gate, or keep the
    positions apart). dense: where the collapse is not exact. mixed: gated
    tokens look at each other on the way. attended: a softmax over gated tokens is met.
    """

    tap: Tap
    read: bool
    dense: tuple[Dense, ...]
    mixed: bool
    attended: bool

    @property
    def exact(self) -> bool:
        return self.read and not self.dense


def attempt(graph: Graph, tap: Tap, logits: ov.Output, mask: str) -> Trial:
    value = walk(graph, [tap], logits, Masks(*grid_dims(tap, graph), mask))
    return Trial(tap, isinstance(value, Mapped), value.dense, Seen.QUERIES in value.seen, Seen.SOFTMAX in value.seen)


# Target layers that the user names.


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
