"""Axes: sizes that are known or that only the running model knows, in one type, and how positions lie in a tensor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import openvino as ov
from openvino import opset13 as op

from ovxai.graph.names import name_of


@dataclass(frozen=True)
class Dim:
    """One axis' extent. `size` is the witness; `ask` yields an i64 [1] tensor where it is dynamic."""

    size: int
    ask: Callable[[], ov.Output] | None = None

    @property
    def is_static(self) -> bool:
        return self.ask is None

    def node(self) -> ov.Output:
        """The extent as an i64 [1] tensor."""
        return ints([self.size]) if self.ask is None else self.ask()

    def __mul__(self, other: Dim) -> Dim:
        if self.is_static and other.is_static:
            return Dim(self.size * other.size)
        return Dim(self.size * other.size, lambda: op.multiply(self.node(), other.node()).output(0))

    def __add__(self, other: Dim) -> Dim:
        if self.is_static and other.is_static:
            return Dim(self.size + other.size)
        return Dim(self.size + other.size, lambda: op.add(self.node(), other.node()).output(0))


Dims = tuple[Dim, ...]
ONE = Dim(1)


def ints(values: Sequence[int]) -> ov.Output:
    """A constant i64 tensor of rank 1."""
    return op.constant(np.array(values, np.int64)).output(0)


def whole_number(value: int) -> ov.Output:
    """A constant i64 scalar."""
    return op.constant(np.int64(value)).output(0)


def number(value: float) -> ov.Output:
    """A constant f32 scalar."""
    return op.constant(np.float32(value)).output(0)


def sizes(dims: Dims) -> tuple[int, ...]:
    """The witness shape."""
    return tuple(dim.size for dim in dims)


def dims_of(output: ov.Output, witness: tuple[int, ...]) -> Dims:
    """The extents of an existing tensor."""
    shape = output.get_partial_shape()
    if shape.rank.is_dynamic:
        return tuple(_asked(output, axis, size) for axis, size in enumerate(witness))
    return tuple(
        Dim(size) if dim.is_static else _asked(output, axis, size)
        for axis, (dim, size) in enumerate(zip(shape, witness, strict=True))
    )


def _asked(output: ov.Output, axis: int, size: int) -> Dim:
    def ask() -> ov.Output:
        shape = op.shape_of(output, "i64")
        return op.gather(shape, ints([axis]), whole_number(0)).output(0)

    return Dim(size, ask)


def shape_node(dims: Sequence[Dim]) -> ov.Output:
    """The extents as an i64 [rank] tensor; static neighbours are one constant."""
    if all(dim.is_static for dim in dims):
        return ints([dim.size for dim in dims])
    parts: list[ov.Output] = []
    known: list[int] = []
    for dim in dims:
        if dim.is_static:
            known.append(dim.size)
            continue
        if known:
            parts.append(ints(known))
            known = []
        parts.append(dim.node())
    if known:
        parts.append(ints(known))
    return parts[0] if len(parts) == 1 else op.concat(parts, 0).output(0)


def product(dims: Sequence[Dim]) -> Dim:
    total = ONE
    for dim in dims:
        total = dim if total == ONE else total if dim == ONE else total * dim
    return total


# How positions lie in a tensor.

NCHW, NHWC, NPC, NCP = "NCHW", "NHWC", "NPC", "NCP"
#: layout -> the axes of the grid: (h, w), or one axis that holds h*w positions.
POSITION_AXES = {NCHW: (2, 3), NHWC: (1, 2), NPC: (1,), NCP: (2,)}
CHANNEL_AXIS = {NCHW: 1, NHWC: 3, NPC: 2, NCP: 1}

#: Where batch, channel, height and width stand in a map.
MapAxes = tuple[int, int, int, int]
CHANNELS_FIRST: MapAxes = (0, 1, 2, 3)
CHANNELS_LAST: MapAxes = (0, 3, 1, 2)
#: (height, width) in cells.
Grid = tuple[int, int]


@dataclass(frozen=True)
class Tap:
    """A tensor to be gated: where it is and how its positions lie in it.

    grid: (h, w) as witness sizes. prefix: tokens before the grid that are not gated.
    """

    port: ov.Output
    layout: str
    grid: Grid
    prefix: int = 0

    @property
    def is_tokens(self) -> bool:
        return self.layout in (NPC, NCP)

    @property
    def name(self) -> str:
        return name_of(self.port)
