"""One operation of the head, applied to values instead of tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import openvino as ov
from openvino import opset13 as op

from ovxai.collapse.carry import Carried, Sizes, carried
from ovxai.collapse.values import Shared, Thunk, Value
from ovxai.graph import emit
from ovxai.graph.dims import Dims, sizes
from ovxai.graph.graph import sources

#: Their result's shape comes from a constant that speaks of the plain tensor: the extents are used instead.
SHAPED = ("Reshape", "Squeeze", "Unsqueeze")


@dataclass(frozen=True)
class Operation:
    """A node (or the part of it that one segment is) with the values at its inputs.

    out_dims: extents of each output, for this part. plain: the plain model's own tensor for each
    output, or None where it has none (the node was only made for reasoning). whole: this is the node
    itself, not one segment of it. origin: the model's node that it was made of, where it was only made for reasoning.
    """

    node: ov.Node
    inputs: tuple[Value, ...]
    out_dims: tuple[Dims, ...]
    plain: tuple[Thunk | None, ...]
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
        return carried(self.node, self.in_sizes, sizes(self.out_dims[output]))

    def attribute(self, name: str):
        return self.node.get_attributes()[name]

    def with_inputs(self, inputs: Sequence[Value]) -> Operation:
        return replace(self, inputs=tuple(inputs), whole=False)

    @property
    def all_shared(self) -> bool:
        return all(isinstance(value, Shared) for value in self.inputs)

    def remake(self, tensors: Sequence[ov.Output], out_dims: Dims, output: int = 0) -> ov.Output:
        """The operation on tensors of the plain rank that have `out_dims` as a result."""
        if self.kind in SHAPED:
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
