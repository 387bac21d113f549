"""Facts about a graph that several rooms need: order, concrete shapes, constants, who feeds whom."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from functools import cached_property

import openvino as ov

from ovxai.errors import UnsupportedModelError

Key = tuple[str, int]

#: Put in for a dynamic batch, and for a dynamic side, until one fits; the first batch is a prime that few layers have as a width.
WITNESS_BATCHES = (3, 1)
WITNESS_SIDES = (224, 256, 384, 640)
#: Where none of them fits: small pictures, and sizes that some networks are trained for.
FURTHER_SIDES = (32, 48, 64, 96, 112, 128, 160, 192, 240, 288, 299, 320, 336, 448, 480, 512, 518, 600)
PICTURE_CHANNELS = (1, 3, 4)


def key_of(output: ov.Output) -> Key:
    """Identity of a port: Python's wrapper objects are made anew at every call, names are unique."""
    return output.get_node().get_name(), output.get_index()


def source(node: ov.Node, port: int) -> ov.Output:
    """What feeds input `port` of `node`."""
    return node.input(port).get_source_output()


def sources(node: ov.Node) -> list[ov.Output]:
    return [one.get_source_output() for one in node.inputs()]


class Graph:
    """A model with the facts computed once. The model must not be rewired while this is in use.

    Every tensor has a *witness shape*: its static shape, or, where the model is dynamic, the shape it
    would have for one concrete input. Rules reason on witness shapes and never bake a dynamic one in.
    """

    def __init__(self, model: ov.Model) -> None:
        self.model = model
        self.ops: list[ov.Node] = model.get_ordered_ops()
        self.index: dict[str, int] = {node.get_name(): i for i, node in enumerate(self.ops)}
        self._shapes = _witness_shapes(model, self.ops)

    def shape(self, output: ov.Output) -> tuple[int, ...] | None:
        """The witness shape; None where not even a concrete input settles it (it depends on data)."""
        return self._shapes.get(key_of(output))

    def position(self, node: ov.Node) -> int:
        return self.index[node.get_name()]

    def knows(self, node: ov.Node) -> bool:
        return node.get_name() in self.index

    @cached_property
    def constants(self) -> frozenset[str]:
        """Names of nodes whose value no input reaches (constants and what is computed from them)."""
        found: set[str] = set()
        for node in self.ops:
            kind = node.get_type_name()
            if kind == "Constant":
                found.add(node.get_name())
            elif kind not in ("Parameter", "ReadValue", "Result", "RandomUniform") and node.get_input_size():
                if all(feed.get_node().get_name() in found for feed in sources(node)):
                    found.add(node.get_name())
        return frozenset(found)

    def is_constant(self, output: ov.Output) -> bool:
        return output.get_node().get_name() in self.constants

    def ancestors(self, roots: Iterable[ov.Node]) -> set[str]:
        """Names of `roots` and of everything that feeds them."""
        seen: set[str] = set()
        stack = list(roots)
        while stack:
            node = stack.pop()
            if node.get_name() in seen:
                continue
            seen.add(node.get_name())
            stack.extend(feed.get_node() for feed in sources(node))
        return seen

    def descendants(self, roots: Iterable[ov.Node], through_shapes: bool = False) -> set[str]:
        """Names of `roots` and of everything they feed; what only asks for a shape does not count."""
        seen = {node.get_name() for node in roots}
        for node in self.ops:
            if node.get_type_name() == "ShapeOf" and not through_shapes:
                continue
            if any(feed.get_node().get_name() in seen for feed in sources(node)):
                seen.add(node.get_name())
        return seen

    @cached_property
    def consumers(self) -> dict[Key, list[tuple[ov.Node, int]]]:
        """Port -> the (node, input index) pairs it feeds, in topological order."""
        found: dict[Key, list[tuple[ov.Node, int]]] = {}
        for node in self.ops:
            for port, feed in enumerate(sources(node)):
                found.setdefault(key_of(feed), []).append((node, port))
        return found


def _witness_shapes(model: ov.Model, ops: list[ov.Node]) -> dict[Key, tuple[int, ...]]:
    twin_ops = concrete_twin(model).get_ordered_ops() if model.is_dynamic() else ops
    shapes = {}
    for node, twin_node in zip(ops, twin_ops, strict=True):
        for output in twin_node.outputs():
            shape = output.get_partial_shape()
            if shape.is_static:
                shapes[(node.get_name(), output.get_index())] = tuple(int(size) for size in shape.to_shape())
    return shapes


def concrete_twin(model: ov.Model, *batches: int, sides: tuple[int, ...] = WITNESS_SIDES) -> ov.Model:
    """A copy with static input shapes, its nodes in the same order; the first sizes that fit are taken.

    batches: tried before the usual ones, where the batch is open. sides: tried for open heights and widths.

    Raises:
        UnsupportedModelError: none of them does.
    """
    # Not Model.reshape: that would also rewrite the graph, and nodes could no longer be matched.
    reason = ""
    every = (*sides, *(side for side in FURTHER_SIDES if side not in sides))
    for side, batch, last in itertools.product(every, (*batches, *WITNESS_BATCHES), (False, True)):
        twin = model.clone()
        for parameter in twin.get_parameters():
            parameter.set_partial_shape(_concrete(parameter, batch, side, last))
        try:
            twin.validate_nodes_and_infer_types()
            return twin
        except RuntimeError as error:
            reason = reason or str(error).splitlines()[0]
    raise UnsupportedModelError(f"no concrete input shape fits this dynamic model: {reason[:160]}")


def _concrete(parameter: ov.Node, batch: int, side: int, channels_last: bool) -> ov.PartialShape:
    shape = parameter.get_partial_shape()
    if shape.rank.is_dynamic:
        return shape
    channels = _open_channels(parameter, shape, channels_last)
    sizes = []
    for axis, dim in enumerate(shape):
        if dim.is_static:
            sizes.append(dim.get_length())
        else:
            wish = batch if axis == 0 else 3 if axis == channels else side
            low, high = dim.get_min_length(), dim.get_max_length()
            sizes.append(max(low, wish if high < 0 else min(high, wish)))
    return ov.PartialShape(sizes)


def _open_channels(parameter: ov.Node, shape: ov.PartialShape, channels_last: bool) -> int:
    """The axis of a picture that gets three channels; -1 where they are known, or it is no picture."""
    if len(shape) != 4 or any(shape[axis].is_static and shape[axis].get_length() in PICTURE_CHANNELS for axis in (1, 3)):
        return -1
    if "C" in str(parameter.layout):
        return parameter.layout.get_index_by_name("C") % 4
    return 3 if channels_last else 1


def constant_value(output: ov.Output):
    """The NumPy value of a constant, also behind a Convert; None when it is not one."""
    node = output.get_node()
    while node.get_type_name() == "Convert":
        node = source(node, 0).get_node()
    return node.get_data() if node.get_type_name() == "Constant" else None
