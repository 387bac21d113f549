"""Put the gate on a tensor, and walk from there to whatever is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import openvino as ov

from ovxai.collapse.interpreter import Interpreter
from ovxai.collapse.layout import flat_dims
from ovxai.collapse.lazy import once
from ovxai.collapse.masks import Masks
from ovxai.collapse.ops import OPS
from ovxai.collapse.tokens import cut, edges, join, with_axis
from ovxai.collapse.values import ONE, ZERO, Leveled, Part, Segments, Shared, Thunk, Value
from ovxai.graph import emit
from ovxai.graph.dims import POSITION_AXES, Dim, Dims, Tap, dims_of
from ovxai.graph.graph import Graph, Key, key_of


def grid_dims(tap: Tap, graph: Graph) -> tuple[Dim, Dim]:
    """The grid's sides, asked of the running model where they are dynamic."""
    axes = POSITION_AXES[tap.layout]
    if len(axes) == 1:
        return Dim(tap.grid[0]), Dim(tap.grid[1])
    dims = dims_of(tap.port, graph.known_shape(tap.port))
    return dims[axes[0]], dims[axes[1]]


def gated(tap: Tap, graph: Graph) -> Value:
    """The tap's tensor times the gate: nothing at level 0, itself at level 1; prefix tokens as they are.

    Every prefix token is a run of its own, so that what is done for a class token is not done for
    the registers beside it.
    """
    dims = dims_of(tap.port, graph.known_shape(tap.port))
    axes = POSITION_AXES[tap.layout]
    if not tap.prefix:
        return _leveled(dims, axes, lambda: tap.port)
    axis = axes[0]
    patches = Dim(dims[axis].size - tap.prefix)
    runs = (*[Dim(1)] * tap.prefix, patches)
    bounds = edges(runs)

    def part(index: int) -> Value:
        own = with_axis(dims, axis, runs[index])
        piece = cut(lambda: tap.port, axis, bounds[index], bounds[index + 1])
        return _leveled(own, axes, piece) if index == tap.prefix else Shared(own, piece)

    return Segments(dims, axis, runs, tuple(Part(partial(part, index)) for index in range(len(runs))), lambda: tap.port)


def _leveled(dims: Dims, axes: tuple[int, ...], tensor: Thunk) -> Leveled:
    zero = once(lambda: emit.zeros(flat_dims(dims, axes), tensor()))
    return Leveled(dims, axes, {ZERO: zero, ONE: tensor}, flat=True)


def walk(graph: Graph, taps: Sequence[Tap], goal: ov.Output, masks: Masks, known: dict[Key, Value] | None = None) -> Value:
    """From the gated taps down to `goal`, the one entry to the collapse: what `goal` is under the masks.

    known: tensors below the gate that stay what they are for the plain picture.
    """
    start = {key_of(tap.port): gated(tap, graph) for tap in taps}
    interpreter = Interpreter(graph, masks, start, OPS, known)
    value = interpreter.value(goal)
    return join(interpreter, value) if isinstance(value, Segments) else value
