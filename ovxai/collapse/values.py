"""The kinds of tensors a masked head is made of.

A value stands for one tensor T[m] of the plain head, for every mask m at once. `dims` are always the
extents of the *plain* tensor. What a value holds are thunks: nothing that nobody asks for is built.

    Shared     no mask changes it
    Leveled    positions are still apart: what one is depends on its own level alone (before a pool)
    Merged     the same, reshaped into one axis together with channels (before a flatten + MatMul)
    Pooled     the same, pooled by windows that share no position, each mask still lighting one (before a pool over the map)
    Mapped     one tensor per mask (behind a pool)
    Windowed   one tensor per mask, of which only the lit positions and one for all dark ones are kept (between tokens)
    Segments   an axis made of runs, each with a value of its own (class token | patches)

Mapped and Windowed values may be *anchored*: T[m] = anchor + change[m], the anchor being T if everything gated is dark.
Saliency is in the change. It is often a thousandth of the anchor, so it must not be rounded as part of the sum.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum

import openvino as ov

from ovxai.collapse.lazy import Lazy
from ovxai.graph.dims import Dim, Dims, product

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
class Past:
    """What happened on the way to a value.

    dense: what was laid out densely. seen: what else. rounded: where a change was lost in the tensor that it changes,
    as "name (kind)": in a low precision it comes out of there with the tensor's rounding, not its own.
    """

    dense: tuple[Dense, ...] = ()
    seen: frozenset[Seen] = frozenset()
    rounded: tuple[str, ...] = ()

    def __or__(self, other: Past) -> Past:
        dense = tuple(dict.fromkeys((*self.dense, *other.dense)))
        return Past(dense, self.seen | other.seen, tuple(dict.fromkeys((*self.rounded, *other.rounded))))


NOTHING = Past()


@dataclass(frozen=True)
class Value:
    """dims: the plain tensor's extents. past: what happened on the way here."""

    dims: Dims
    past: Past = field(default=NOTHING, kw_only=True)

    @property
    def dense(self) -> tuple[Dense, ...]:
        return self.past.dense

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
    levels: Mapping[float, Thunk]
    flat: bool
    stack: Thunk | None = field(default=None, repr=False, kw_only=True)

    @property
    def affine(self) -> bool:
        return set(self.levels) == {ZERO, ONE}


@dataclass(frozen=True)
class Anchored:
    """T[m] = anchor + change[m]: the tensor as it is if all that is gated is dark, and what each mask changes of it.

    A map is a small difference between large numbers. Kept apart, the difference has its own rounding; added to the
    anchor, it has the anchor's, which in bf16 and f16 is often larger than the map. `changes` says what an operation
    makes of the two: a bias, say, goes into the anchor and leaves the change alone, a product with weights scales both.

    anchor: without masks, of the plain rank, extent 1 on a window's axes. change: [M, ...]. stepped: the sum comes out
    of a quantiser, so it is exact in any precision, and a device may have faster products for it than for the change.
    """

    anchor: Thunk
    change: Thunk
    stepped: bool = False


@dataclass(frozen=True)
class Mapped(Value):
    """An ordinary tensor with the masks in front: [M, *dims].

    anchored: the same in two parts, where they are known. scores: of softmax weights, what the softmax was taken of.
    """

    out: Thunk
    anchored: Anchored | None = field(default=None, kw_only=True)
    scores: Value | None = field(default=None, repr=False, kw_only=True)


@dataclass(frozen=True)
class Windowed(Value):
    """[M, *dims], but on each of `axes` only the window's positions and, last, one for all the rest.

    Exact where all positions outside the window hold the same value. `weighted`, if there, is the
    same tensor already multiplied by how many positions each entry of the only axis stands for.
    """

    axes: tuple[int, ...]
    out: Thunk
    weighted: Thunk | None = None
    anchored: Anchored | None = field(default=None, kw_only=True)


#: Values that one tensor holds, `out`.
Held = Shared | Mapped | Windowed


def held(value: Value) -> Held:
    """A value that one tensor holds.

    Raises:
        Refusal: its positions or runs are still apart.
    """
    if isinstance(value, (Shared, Mapped, Windowed)):
        return value
    raise Refusal("positions are still apart here")


def window_axes(value: Value) -> tuple[int, ...]:
    """The axes on which only a window's positions are kept."""
    return value.axes if isinstance(value, Windowed) else ()


@dataclass(frozen=True)
class Merged(Value):
    """A Leveled value whose position axes were reshaped into one axis together with others.

    `axis` of this value holds the axes `run` (a range of consecutive ones) of `inner`.
    """

    axis: int
    inner: Leveled
    run: tuple[int, ...]


@dataclass(frozen=True)
class Pooled(Value):
    """A Leveled value pooled by windows that share no position, under the point mask.

    A mask lights one position of one window. So `inner` stays on the grid of the masks: its level 1 at m is what the window
    around m is if m is lit, its level 0, which is flat, what any window is in the dark. cell: how many positions of `inner`
    one entry stands for along each of its position axes; positions left over at the end have level 0 on both levels.
    """

    inner: Leveled
    cell: tuple[int, ...]

    @property
    def windows(self) -> Dim:
        """How many windows there are."""
        return product([self.dims[axis] for axis in self.inner.positions])


#: A value that is worked out when it is first looked at.
Part = Lazy[Value]


def part_of(value: Value) -> Part:
    """A value that is there already, as a part."""
    return Part(lambda: value)


@dataclass(frozen=True)
class Segments(Value):
    """An axis whose runs are of different kinds, such as class token | patches.

    plain: the whole tensor as it is without any mask, where there is one. scores: of softmax weights, what the softmax
    was taken of.
    """

    axis: int
    sizes: Dims
    parts: tuple[Part, ...] = field(repr=False)
    plain: Thunk | None = field(default=None, repr=False)
    scores: Value | None = field(default=None, repr=False)
