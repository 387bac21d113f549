"""Try a tensor as the feature map: walk the head without building it, and see what becomes of the gate."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import openvino as ov

from ovxai.collapse.gate import gated, grid_dims
from ovxai.collapse.interpreter import Interpreter
from ovxai.collapse.masks import Masks
from ovxai.collapse.rules import RULES
from ovxai.collapse.segments import join
from ovxai.collapse.values import Dense, Mapped, Segments, Value
from ovxai.ir.graph import Graph, key_of
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


def walk(graph: Graph, taps: Sequence[Tap], logits: ov.Output, mask: str) -> tuple[Interpreter, Value]:
    """The interpreter after a walk from the gated taps to the logits, and what the logits became."""
    masks = Masks(*grid_dims(taps[0], graph), mask)
    start = {key_of(tap.port): gated(tap, graph) for tap in taps}
    interpreter = Interpreter(graph, masks, start, RULES)
    with deep_recursion():
        value = interpreter.value(logits)
        if isinstance(value, Segments):
            value = join(interpreter, value)
    return interpreter, value


def attempt(graph: Graph, tap: Tap, logits: ov.Output, mask: str) -> Trial:
    interpreter, value = walk(graph, [tap], logits, mask)
    mixed = len(value.copied) < len(value.dense)
    return Trial(tap, isinstance(value, Mapped), value.copied, mixed, interpreter.attended)


@contextmanager
def deep_recursion() -> Iterator[None]:
    """Values call each other along the head; heads with several blocks are deeper than Python's default."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, 20_000))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)
