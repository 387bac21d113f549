"""One operation of the head, applied to values instead of tensors, and what is known of its type."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import openvino as ov
from openvino import opset13 as op

from ovxai.collapse.carry import Carried, Follow, Sizes
from ovxai.collapse.values import Refusal, Shared, Thunk, Value
from ovxai.graph import emit
from ovxai.graph.dims import Dims, sizes
from ovxai.graph.graph import sources

if TYPE_CHECKING:
    from ovxai.collapse.batched import Lift
    from ovxai.collapse.changes import Step
    from ovxai.collapse.decompose import Witness
    from ovxai.collapse.interpreter import Interpreter

    Meet = Callable[[Interpreter, "Operation"], "list[Value] | None"]
    Lifting = Callable[[Lift], "ov.Output | list[ov.Output]"]
    Change = Callable[[Step], list[ov.Output]]
    Simplify = Callable[[ov.Node, Witness], "ov.Output | None"]


@dataclass(frozen=True)
class Op:
    """All that the collapse knows of one type of operation; what is not said has no rule.

    carry: which axes it passes along index by index. lift: the operation on tensors with the masks in front; without,
    it is done mask by mask. meet: what becomes of positions or runs of tokens that meet in it. simpler: the same in
    simpler operations, for reasoning. linear: whether its result at level l is V_0 + l * (V_1 - V_0) if its inputs' are.
    elementwise: it works on one entry at a time, its operands broadcast as NumPy's. batched: axis 0 of its data is a
    plain batch, into which masks can be folded. spreads: operands of extent 1 fit beside larger ones by themselves.
    shaped: a constant says its result's shape and speaks of the plain tensor. picks: it hands on runs as they are.
    any_size: neither its operands nor its attributes say how long the axes that it carries are, unless by broadcasting.
    change: its result's change from the operands' (changes.py); without, operands and anchors are put in one after the
    other, which in a low precision rounds unless it is elementwise. moves: it changes the place of entries and nothing else.
    """

    carry: Follow | None = None
    lift: Lifting | None = None
    meet: Meet | None = None
    simpler: Simplify | None = None
    linear: Callable[[Operation], bool] = lambda operation: False
    elementwise: bool = False
    batched: bool = False
    spreads: bool = True
    shaped: bool = False
    picks: bool = False
    any_size: bool = False
    change: Change | None = None
    moves: bool = False

    @property
    def known(self) -> bool:
        """Whether anything is said of it at all."""
        return self.carry is not None


UNKNOWN = Op()


@dataclass(frozen=True)
class Operation:
    """A node (or the part of it that one segment is) with the values at its inputs.

    out_dims: extents of each output, for this part. plain: the plain model's own tensor for each output, or None where it
    has none (the node was only made for reasoning). facts: what is known of its type. whole: this is the node itself, not
    one segment of it. origin: the model's node that it was made of, where it was only made for reasoning.
    """

    node: ov.Node
    inputs: tuple[Value, ...]
    out_dims: tuple[Dims, ...]
    plain: tuple[Thunk | None, ...]
    facts: Op = field(default=UNKNOWN, repr=False)
    whole: bool = False
    origin: str = ""

    @property
    def kind(self) -> str:
        return self.node.get_type_name()

    @property
    def name(self) -> str:
        return self.origin or self.node.get_friendly_name()

    @property
    def in_sizes(self) -> list[Sizes]:
        return [sizes(value.dims) for value in self.inputs]

    def carried(self, output: int = 0) -> Carried:
        """Per input port, which of its axes reach the output index by index; nothing for unknown operations."""
        follow = self.facts.carry
        return follow(self.node, self.in_sizes, sizes(self.out_dims[output])) if follow else [{} for _ in self.inputs]

    def mixes(self, what: str) -> Refusal:
        """Why `what` (positions, tokens ...) does not come through: it mixes them, or nobody has said what it does."""
        return Refusal(f"it mixes {what}" if self.facts.known else f"there is no rule for {self.kind}")

    def attribute(self, name: str) -> Any:
        return self.node.get_attributes()[name]

    def with_inputs(self, inputs: Sequence[Value]) -> Operation:
        return replace(self, inputs=tuple(inputs), whole=False)

    @property
    def all_shared(self) -> bool:
        return all(isinstance(value, Shared) for value in self.inputs)

    def remake(self, tensors: Sequence[ov.Output], out_dims: Dims, output: int = 0) -> ov.Output:
        """The operation on tensors of the plain rank that have `out_dims` as a result."""
        if self.facts.shaped:
            return emit.reshape(tensors[0], out_dims)
        if self.kind == "Broadcast":
            return emit.broadcast(tensors[0], out_dims)
        return emit.clone(self.node, tensors).output(output)


def infer_shape(node: ov.Node, in_sizes: Sequence[Sizes], output: int = 0) -> Sizes:
    """The shape that a node's output has for inputs of these shapes; constants keep their values."""
    inputs = [
        feed if feed.get_node().get_type_name() == "Constant" else op.parameter(list(shape), feed.get_element_type()).output(0)
        for feed, shape in zip(sources(node), in_sizes, strict=True)
    ]
    return tuple(int(size) for size in emit.clone(node, inputs).output(output).get_shape())
