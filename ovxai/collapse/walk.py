"""From gated tensors down to any other: the one entry to the collapse."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import openvino as ov

from ovxai.collapse.gate import gated
from ovxai.collapse.interpreter import Interpreter
from ovxai.collapse.masks import Masks
from ovxai.collapse.rules import RULES
from ovxai.collapse.segments import join
from ovxai.collapse.values import Segments, Value
from ovxai.ir.graph import Graph, Key, key_of
from ovxai.ir.tap import Tap


def walk(
    graph: Graph, taps: Sequence[Tap], goal: ov.Output, masks: Masks, known: dict[Key, Value] | None = None
) -> tuple[Interpreter, Value]:
    """The interpreter after its walk from the gated taps to `goal`, and what `goal` is under the masks."""
    start = {key_of(tap.port): gated(tap, graph) for tap in taps}
    interpreter = Interpreter(graph, masks, start, RULES, known)
    with deep_recursion():
        value = interpreter.value(goal)
        return interpreter, join(interpreter, value) if isinstance(value, Segments) else value


@contextmanager
def deep_recursion() -> Iterator[None]:
    """Values call each other along the head; heads with several blocks are deeper than Python's default."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, 20_000))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)
