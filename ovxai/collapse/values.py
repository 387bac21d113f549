"""The kinds of tensors a masked head is made of.

A value stands for one tensor T[m] of the plain head, for every mask m at once. `dims` are always the
extents of the *plain* tensor. What a value holds are thunks: nothing that nobody asks for is built.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

import openvino as ov

from ovxai.collapse.lazy import Lazy
from ovxai.graph.dims import Dims

Thunk = Callable[[], ov.Output]

ZERO = 0.0
ONE = 1.0


class Refusal(Exception):
    """A rule does not apply; the text says to what and why."""


class Seen(Enum):
    """What happened to a gated value on its way, beside what it is."""

    #: A softmax over gated tokens.
    SOFTMAX = "softmax"
    #: Gated tokens asked what other tokens know.
    QUERIES = "queries"


@dataclass(frozen=True)
class Dense:
    """Where the exact collapse stopped and why; `elements` counts what one mask's copy lays out."""

    name: str
    kind: str
    reason: str
    elements: int


@dataclass(frozen=True)
class Value:
    """dims: the plain tensor's extents. dense: what was laid out densely on the way here. seen: what else happened."""

    dims: Dims
    dense: tuple[Dense, ...] = field(default=(), kw_only=True)
    seen: frozenset[Seen] = field(default=frozenset(), kw_only=True)

    @property
    def rank(self) -> int:
        return len(self.dims)


@dataclass(frozen=True)
class Shared(Value):
    """The same under every mask."""

    out: Thunk


@dataclass(frozen=True)
class Leveled(Value):
    """T[m, p] depends only on p and on the level that p has under m.

    positions: the axes that hold the grid, (h axis, w axis) or (axis of h*w,). levels: level -> the
    tensor uniformly gated at it; {0, 1} also serves the gaussian while only affine operations were
    passed. flat: level 0 has extent 1 on the position axes, it is the same at all of them. stack: the
    other levels joined along the first position axis, so that they pass an operation all at once.
    """

    positions: tuple[int, ...]
    levels: dict[float, Thunk]
    flat: bool
    stack: Thunk | None = field(default=None, repr=False, kw_only=True)

    @property
    def affine(self) -> bool:
        return set(self.levels) == {ZERO, ONE}


@dataclass(frozen=True)
class Mapped(Value):
    """An ordinary tensor with the masks in front: [M, *dims]."""

    out: Thunk


@dataclass(frozen=True)
class Windowed(Value):
    """[M, *dims], but on each of `axes` only the window's positions and, last, one for all the rest.

    Exact where all positions outside the window hold the same value. `weighted`, if there, is the
    same tensor already multiplied by how many positions each entry of the only axis stands for.
    """

    axes: tuple[int, ...]
    out: Thunk
    weighted: Thunk | None = None


@dataclass(frozen=True)
class Merged(Value):
    """A Leveled value whose position axes were reshaped into one axis together with others.

    `axis` of this value holds the axes `run` (a range of consecutive ones) of `inner`.
    """

    axis: int
    inner: Leveled
    run: tuple[int, ...]


#: A value that is worked out when it is first looked at.
Part = Lazy[Value]


@dataclass(frozen=True)
class Segments(Value):
    """An axis whose runs are of different kinds, such as class token | patches.

    plain: the whole tensor as it is without any mask, where there is one. rows: of a single row
    [..., 1, N] that came from a softmax over its runs, the whole as [..., M, N], the masks in the row's place.
    """

    axis: int
    sizes: Dims
    parts: tuple[Part, ...] = field(repr=False)
    plain: Thunk | None = field(default=None, repr=False)
    rows: Thunk | None = field(default=None, repr=False)
