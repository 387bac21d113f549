"""Walk the head in order and work out what every tensor is under all masks.

After JAX's batching interpreter: a table from operation to rule, values of a few kinds, and what is
not mapped stays single. Rules that cannot apply raise `Refusal`; the inputs are then made dense (one
masked copy beside the other), the reason is kept, and the walk goes on with ordinary tensors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import openvino as ov

from ovxai.collapse.apply import lifted, pointwise
from ovxai.collapse.decompose import Witness
from ovxai.collapse.dense import densify
from ovxai.collapse.lazy import once
from ovxai.collapse.masks import Masks
from ovxai.collapse.operation import UNKNOWN, Op, Operation, infer_shape
from ovxai.collapse.tokens import history, join, segmented
from ovxai.collapse.values import NOTHING, Dense, Mapped, Past, Refusal, Segments, Shared, Value, held
from ovxai.errors import UnsupportedModelError
from ovxai.graph.dims import dims_of, sizes
from ovxai.graph.graph import Graph, Key, key_of, sources


class Interpreter:
    """Evaluates the part of `graph` between gated tensors and whatever is asked for.

    gated: the values with which the walk begins. known: tensors that stay what they are for the plain
    picture although they lie below the gate (which classes are on top, say). ops: what is known of operations, by type.
    """

    def __init__(
        self, graph: Graph, masks: Masks, gated: dict[Key, Value], ops: Mapping[str, Op], known: dict[Key, Value] | None = None
    ) -> None:
        self.graph = graph
        self.masks = masks
        self._ops = ops
        self._values: dict[Key, Value] = {**gated, **(known or {})}
        self._origins: dict[str, str] = {}
        self._shapes = Witness(self._witness_of)
        roots = [node for node in graph.ops if any(node.get_name() == name for name, _ in gated)]
        self._below = graph.descendants(roots)

    def value(self, output: ov.Output) -> Value:
        """What `output` is under the masks."""
        if key_of(output) not in self._values:
            self._walk(output.get_node())
        return self._values[key_of(output)]

    def _walk(self, goal: ov.Node) -> None:
        # An explicit stack, since heads can be longer than Python's own.
        stack = [goal]
        while stack:
            node = stack[-1]
            if key_of(node.output(0)) in self._values:
                stack.pop()
                continue
            missing = [
                feed.get_node() for feed in sources(node)
                if key_of(feed) not in self._values and not self._is_fixed(feed)
            ]  # fmt: skip
            if missing:
                stack.extend(missing)
                continue
            stack.pop()
            self._enter(node)

    def _is_fixed(self, output: ov.Output) -> bool:
        """Constants, shapes and whatever no gate reaches: nothing to work out."""
        node = output.get_node()
        if node.get_type_name() in ("Constant", "Parameter", "ShapeOf"):
            return True
        return self.graph.knows(node) and node.get_name() not in self._below

    def _enter(self, node: ov.Node) -> None:
        # What else an operation has to say (which entry was the largest) is not in the simpler form.
        others = any(output.get_target_inputs() for output in node.outputs()[1:])
        simplify = self._facts(node).simpler
        simpler = simplify(node, self._shapes) if simplify and not others else None
        if simpler is not None:
            self._note_origin(simpler.get_node(), self._origins.get(node.get_name(), node.get_friendly_name()))
            self._values[key_of(node.output(0))] = self.value(simpler)
            return
        results = self.evaluate(self.operation(node))
        for output, value in zip(node.outputs(), results, strict=True):
            self._values.setdefault(key_of(output), value)

    def _note_origin(self, node: ov.Node, origin: str) -> None:
        """What was made for reasoning goes by the name of the model's node that it stands for."""
        if self.graph.knows(node) or node.get_name() in self._origins:
            return
        self._origins[node.get_name()] = origin
        for feed in sources(node):
            self._note_origin(feed.get_node(), origin)

    def _facts(self, node: ov.Node) -> Op:
        return self._ops.get(node.get_type_name(), UNKNOWN)

    def operation(self, node: ov.Node) -> Operation:
        """A node with what its inputs are under the masks."""
        inputs = tuple(self._input(feed) for feed in sources(node))
        real = self.graph.knows(node)
        dims = tuple(dims_of(output, self._witness(output, inputs)) for output in node.outputs())
        plain = tuple((lambda output=output: output) if real else None for output in node.outputs())
        return Operation(node, inputs, dims, plain, self._facts(node), whole=True, origin=self._origins.get(node.get_name(), ""))

    def _witness(self, output: ov.Output, inputs: Sequence[Value]) -> tuple[int, ...]:
        node = output.get_node()
        if key_of(output) in self._shapes.noted:
            return self._shapes.noted[key_of(output)]
        if not self.graph.knows(node):
            return infer_shape(node, [sizes(value.dims) for value in inputs], output.get_index())
        shape = self.graph.shape(output)
        if shape is None:
            raise UnsupportedModelError(f"{node.get_friendly_name()}: its shape depends on the data; the head can't be followed")
        return shape

    def _witness_of(self, output: ov.Output) -> tuple[int, ...]:
        return sizes(self._input(output).dims)

    def _input(self, output: ov.Output) -> Value:
        known = self._values.get(key_of(output))
        if known is not None:
            return known
        witness = self.graph.shape(output) if self.graph.knows(output.get_node()) else tuple(output.get_shape())
        if witness is None:
            raise UnsupportedModelError(f"{output.get_node().get_friendly_name()}: its shape depends on the data")
        return Shared(dims_of(output, tuple(int(size) for size in witness)), lambda: output)

    def evaluate(self, operation: Operation) -> list[Value]:
        """The values of an operation's outputs."""
        if operation.all_shared:
            return _shared_results(operation)
        try:
            results = self._exactly(operation)
        except Refusal as refusal:
            results = self._densely(operation, str(refusal))
        return [self._remember(value, operation) for value in results]

    def _remember(self, value: Value, operation: Operation) -> Value:
        """Hand on the past of the operands. Runs remember for themselves, and so does a run picked out."""
        apart = any(isinstance(feed, Segments) for feed in operation.inputs)
        if isinstance(value, Segments) or (apart and value.past != NOTHING):
            return value
        feeds = [feed for feed in operation.inputs if not (operation.facts.picks and isinstance(feed, Segments))]
        return replace(value, past=history((value, *feeds)))

    def _exactly(self, operation: Operation) -> list[Value]:
        rule = operation.facts.meet
        results = rule(self, operation) if rule else None
        if results is None and any(isinstance(value, Segments) for value in operation.inputs):
            results = segmented(self, operation)
        return pointwise(self, operation) if results is None else results

    def _densely(self, operation: Operation, reason: str) -> list[Value]:
        inputs = [self.laid_out(value, operation, reason) for value in operation.inputs]
        results = lifted(self, operation.with_inputs(inputs))
        past = history(inputs)
        return [replace(value, past=value.past | past) for value in results]

    def laid_out(self, value: Value, operation: Operation, reason: str) -> Value:
        """A value in its dense form, with a note that says for which operation and why."""
        if isinstance(value, Segments):
            value = join(self, value)  # runs that are mapped already cost nothing to lay side by side
        if isinstance(value, (Shared, Mapped)):
            return value
        note = Dense(operation.name, operation.kind, reason, math.prod(sizes(value.dims)))
        return replace(densify(self, value), past=history([value]) | Past((note,)))


def _shared_results(operation: Operation) -> list[Value]:
    """No mask reaches it: the plain model's own tensor, or the operation on the parts."""

    def result(index: int) -> Value:
        dims = operation.out_dims[index]
        plain = operation.plain[index]
        if operation.whole:
            plain = partial(operation.node.output, index)
        elif plain is None:
            plain = once(lambda: operation.remake([held(value).out() for value in operation.inputs], dims, index))
        return Shared(dims, plain)

    return [result(index) for index in range(len(operation.out_dims))]
