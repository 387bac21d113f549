"""Try a tensor as the feature map: walk the head without building it, and see what becomes of the gate."""

from __future__ import annotations

from dataclasses import dataclass

import openvino as ov

from ovxai.collapse.gate import grid_dims
from ovxai.collapse.masks import Masks
from ovxai.collapse.values import Dense, Mapped
from ovxai.collapse.walk import walk
from ovxai.ir.graph import Graph
from ovxai.ir.tap import Tap


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
    interpreter, value = walk(graph, [tap], logits, Masks(*grid_dims(tap, graph), mask))
    mixed = len(value.copied) < len(value.dense)
    return Trial(tap, isinstance(value, Mapped), value.copied, mixed, interpreter.attended)
