"""What is known of one tensor's places, one node with the tags of what it reads, and how the tags of operands meet."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import openvino as ov

from ovxai.graph.graph import Graph, Port, Shape
from ovxai.trace.field import Field, Lost, near


@dataclass(frozen=True)
class Tags:
    """fields: the sides of the picture on which entries lie; one side twice where entries belong to two places at once, as
    those of an attention matrix do. lost: where coordinates ended on the way here, and why; "" if none did."""

    fields: tuple[Field, ...] = ()
    lost: str = ""

    def on(self, side: str) -> list[Field]:
        return [field for field in self.fields if field.side == side]

    def each(self, change: Callable[[Field], Field]) -> Tags:
        """Every field as `change` leaves it, without those that it loses."""
        kept, lost = [], self.lost
        for field in self.fields:
            try:
                kept.append(change(field))
            except Lost as reason:
                lost = lost or str(reason)
        return Tags(tuple(field for field in kept if field.known), lost)


NOTHING = Tags()


@dataclass(frozen=True)
class Step:
    """A node of the graph with what is known of the tensors that it reads."""

    graph: Graph
    index: int
    given: tuple[Tags, ...]

    @property
    def node(self) -> ov.Node:
        return self.graph.ops[self.index]

    @property
    def kind(self) -> str:
        return self.graph.kinds[self.index]

    @property
    def data(self) -> Tags:
        return self.given[0]

    def attribute(self, name: str, default: Any = None) -> Any:  # attributes are of any type
        return self.node.get_attributes().get(name, default)

    def before(self, number: int = 0) -> Shape:
        """The shape of input `number`."""
        return self._shape(self.graph.inputs[self.index][number])

    def after(self, number: int = 0) -> Shape:
        """The shape of output `number`."""
        return self._shape((self.index, number))

    def _shape(self, port: Port) -> Shape:
        shape = self.graph.shape(port)
        if shape is None:
            raise Lost("sizes depend on the data")
        return shape

    @property
    def count(self) -> int:
        """How many inputs there are."""
        return len(self.given)

    def value(self, number: int) -> np.ndarray:
        """What input `number` holds, whatever the picture is."""
        value = self.graph.value(self.graph.inputs[self.index][number])
        if value is None:
            raise Lost("where entries go depends on the data")
        return value

    def numbers(self, number: int) -> list[int]:
        return [int(entry) for entry in np.atleast_1d(self.value(number)).ravel()]

    def axes(self, number: int, rank: int) -> list[int]:
        """The axes that input `number` lists, counted from the front."""
        return [axis % rank for axis in self.numbers(number)]

    def reason(self, why: str) -> str:
        return f"{self.kind} {self.node.get_friendly_name()}: {why}"


def meet(operands: Iterable[Tags]) -> Tags:
    """The tags of entries that are made of one entry of each operand.

    Of two fields the one that depends on more axes says more. Two that depend on the same axes have to agree, but for those
    of an operand whose entries belong to two places at once (queries of the whole picture that looked into windows, say):
    what it is added to says where it belongs.
    """
    every = list(operands)
    kept: list[Field] = []
    against: set[str] = set()
    for certain in (True, False):
        for tags in every:
            for field in tags.fields:
                if _is_one_place(tags, field.side) is certain and _adds(field, kept, against if certain else set()):
                    kept = [one for one in kept if one.side != field.side or not one.axes < field.axes]
                    kept.append(field)
    lost = next((tags.lost for tags in every if tags.lost), "")
    if against:
        kept = [field for field in kept if field.side not in against]
        lost = lost or "entries of different places on the picture are put together"
    return Tags(tuple(kept), lost)


def _is_one_place(tags: Tags, side: str) -> bool:
    return sum(bool(field.axes) for field in tags.on(side)) <= 1


def _adds(field: Field, kept: list[Field], against: set[str]) -> bool:
    """Whether `field` says more than those that are there already; notes its side where they contradict it."""
    for one in kept:
        if one.side == field.side and field.axes <= one.axes:
            if one.axes == field.axes and one.axes and not near(one, field):
                against.add(field.side)
            return False
    return True
