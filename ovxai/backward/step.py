"""What a rule gets: one operation of the graph, the derivatives by its outputs, and which inputs ask for theirs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import openvino as ov

from ovxai.backward.targets import Targets
from ovxai.graph import emit
from ovxai.graph.dims import Dims, dims_of
from ovxai.graph.graph import Graph, Shape, source

#: Attributes that the first forms of operations did not have yet: Gather, Gelu, MVN.
_UNSAID: Mapping[str, object] = {"batch_dims": 0, "approximation_mode": "erf", "eps_mode": "inside_sqrt"}


class Refusal(Exception):
    """Why a rule can't say what becomes of a derivative, in words that fit behind the operation's name."""


@dataclass(frozen=True)
class Step:
    """One operation on the way back.

    given: per output the adjoint (the derivative of the targets by it), None where no target reads it. wanted: the inputs
    that lead to what the derivative is asked of; a rule need not answer for others.
    """

    graph: Graph
    node: ov.Node
    given: tuple[ov.Output | None, ...]
    wanted: frozenset[int]
    targets: Targets

    @property
    def adjoint(self) -> ov.Output:
        """The derivative by the only output that any target reads.

        Raises:
            Refusal: another output is read too, or instead.
        """
        if self.given[0] is None or any(each is not None for each in self.given[1:]):
            raise Refusal("scores read more of it than its first output")
        return self.given[0]

    @property
    def result(self) -> ov.Output:
        """The forward tensor that it made."""
        return self.node.output(0)

    @property
    def version(self) -> str:
        """The operation set that its form is of, such as opset4; models keep the one that they were exported with."""
        return str(self.node.get_type_info().version_id)

    def attribute(self, name: str) -> Any:
        """An attribute, or what its absence means in older forms of the operation."""
        return {**_UNSAID, **self.node.get_attributes()}[name]

    def numbers(self, name: str) -> list[int]:
        """An attribute of whole numbers, such as strides."""
        return [int(item) for item in self.attribute(name)]

    def number(self, name: str) -> float:
        """An attribute of one number."""
        return float(self.attribute(name))

    def word(self, name: str) -> str:
        """An attribute that is a word."""
        return str(self.attribute(name))

    def flag(self, name: str) -> bool:
        """An attribute that is yes or no."""
        return bool(self.attribute(name))

    def axis(self, name: str = "axis") -> int:
        """An attribute that names an axis of the first input, counted from the front."""
        return int(self.number(name)) % len(self.shape(0))

    def feed(self, port: int) -> ov.Output:
        """The forward tensor that it reads."""
        return source(self.node, port)

    def shape(self, port: int) -> Shape:
        """The witness shape of an input."""
        return self.graph.known_shape(self.feed(port))

    def dims(self, port: int) -> Dims:
        """The extents of an input."""
        return self.port_dims(self.feed(port))

    def port_dims(self, port: ov.Output) -> Dims:
        """The extents of a port of the graph."""
        return dims_of(port, self.graph.known_shape(port))

    @property
    def out_shape(self) -> Shape:
        return self.graph.known_shape(self.result)

    @property
    def out_dims(self) -> Dims:
        return self.port_dims(self.result)

    def only(self, *ports: int) -> None:
        """State that only these inputs have a derivative here.

        Raises:
            Refusal: another one asks for its own.
        """
        others = sorted(self.wanted - set(ports))
        if others:
            raise Refusal(f"its input {others[0]} depends on the picture, and there is no rule for that")

    def fixed(self, port: int) -> list[int]:
        """The whole numbers of an input that says how: axes, an order, sizes.

        Raises:
            Refusal: they are made anew for every picture.
        """
        value = self.constant(port)
        if value is None:
            raise Refusal(f"its input {port} (axes, bounds or sizes) depends on the picture or on its open size")
        return [int(item) for item in value.reshape(-1)]

    def constant(self, port: int) -> np.ndarray | None:
        """The value of an input that is the same for every picture, of whatever size; None where it is not."""
        feed = self.feed(port)
        same = self.graph.is_constant(feed) or not self.graph.model.is_dynamic()
        return self.graph.value(self.graph.port_of(feed)) if same else None

    def times(self, factor: ov.Output) -> ov.Output:
        """The adjoint times a factor that broadcasts into the result."""
        return self.targets.times(self.adjoint, factor)

    def folded(self) -> ov.Output:
        """The adjoint [K * N, ...] with one batch axis."""
        return self.targets.fold(self.adjoint, self.out_dims)

    def unfolded(self, folded: ov.Output, port: int) -> ov.Output:
        """Back from one batch axis, as adjoint of an input."""
        return self.targets.unfold(folded, self.dims(port))

    def summed(self, adjoint: ov.Output, port: int) -> ov.Output:
        """The adjoint of an input that was broadcast: the sum over all places that it was taken to. adjoint: of the result."""
        return sum_to(self.targets, adjoint, self.out_shape, self.dims(port))


@dataclass(frozen=True)
class Negated:
    """Minus the adjoint of an input: see `linear.py`. Rules being linear, a sign can wait until the end."""

    tensor: ov.Output


Found = Mapping[int, ov.Output | Negated]
#: step -> per input the derivative by it; inputs that nobody asks for may be left out.
Rule = Callable[[Step], Found]


def sum_to(targets: Targets, adjoint: ov.Output, wide: Sequence[int], dims: Dims) -> ov.Output:
    """The adjoint of a tensor of extents `dims` that was broadcast to the witness shape `wide`, whose adjoint is given."""
    extra = len(wide) - len(dims)
    axes = [axis for axis, size in enumerate(wide) if axis < extra or (_is_one(dims, axis - extra) and size > 1)]
    if not axes:
        return adjoint
    total = emit.reduce_sum(adjoint, targets.axes(axes), True)
    return targets.reshaped(total, dims) if extra else total


def _is_one(dims: Dims, axis: int) -> bool:
    return dims[axis].is_static and dims[axis].size == 1
