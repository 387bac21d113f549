"""A read-only picture of a model as plain Python lists, with every shape concrete.

A model with open dimensions is cloned and given one witness picture size, which changes no node and no
order, so index i here is `model.get_ordered_ops()[i]` there. Nothing of the caller's model is touched.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import openvino as ov

#: Height and width tried for open dimensions: unequal sides first, so that a swap of the two is seen.
WITNESS_SIZES = ((256, 384), (640, 640), (512, 512), (224, 224))
#: What hands on a shape and not the picture: a path through it does not carry evidence.
SHAPE_ONLY = frozenset({"ShapeOf"})

Port = tuple[int, int]


@dataclass(frozen=True)
class Graph:
    """nodes: in topological order. kinds: type names. inputs[i]: the (node, port) each input reads.

    shapes[i][p]: dimensions of output p, None where still open. consumers: (node, input index) by port.
    """

    nodes: list[ov.Node]
    kinds: list[str]
    inputs: list[list[Port]]
    shapes: list[list[tuple[int | None, ...] | None]]
    consumers: dict[Port, list[tuple[int, int]]]
    _values: dict[Port, np.ndarray | None] = field(default_factory=dict)

    @cached_property
    def live(self) -> list[bool]:
        """Whether a node depends on the picture itself, not only on its size."""
        found: list[bool] = []
        for kind, sources in zip(self.kinds, self.inputs):
            if kind in SHAPE_ONLY:
                found.append(False)
            else:
                found.append(kind == "Parameter" or any(found[node] for node, _ in sources))
        return found

    def shape(self, port: Port) -> tuple[int | None, ...] | None:
        return self.shapes[port[0]][port[1]]

    def static(self, port: Port) -> bool:
        shape = self.shape(port)
        return shape is not None and None not in shape

    def live_inputs(self, node: int) -> list[Port]:
        return [source for source in self.inputs[node] if self.live[source[0]]]

    def value(self, port: Port, limit: int = 1 << 16) -> np.ndarray | None:
        """The value of a port that does not depend on the picture; None where it does, or is too large."""
        if port not in self._values:
            self._values[port] = self._evaluate(port, limit)
        return self._values[port]

    def _evaluate(self, port: Port, limit: int) -> np.ndarray | None:
        index, which = port
        kind, node = self.kinds[index], self.nodes[index]
        if kind == "Constant":
            return node.get_data() if node.get_output_size() and _count(self.shape(port)) <= limit else None
        if kind == "ShapeOf":
            shape = self.shape(self.inputs[index][0])
            return None if shape is None or None in shape else np.array(shape, np.int64)
        if kind == "Parameter" or not self.inputs[index] or node.get_output_size() != 1 or not self.static(port):
            return None
        given = [self.value(source, limit) for source in self.inputs[index]]
        if any(item is None for item in given) or _count(self.shape(port)) > limit:
            return None
        result = ov.Tensor(node.get_output_element_type(which), ov.Shape(list(self.shape(port))))
        try:
            done = node.evaluate([result], [_tensor(item, node.get_input_element_type(i)) for i, item in enumerate(given)])
        except RuntimeError:
            return None
        return result.data.copy() if done else None

    def above(self, start: list[Port], stop=lambda node: False) -> set[int]:
        """Live nodes from which `start` is computed, themselves included; not beyond a node where `stop` holds."""
        seen: set[int] = set()
        stack = [node for node, _ in start]
        while stack:
            node = stack.pop()
            if node in seen or not self.live[node]:
                continue
            seen.add(node)
            if not stop(node):
                stack.extend(source for source, _ in self.inputs[node])
        return seen


def _count(shape: tuple[int | None, ...] | None) -> float:
    if shape is None or None in shape:
        return float("inf")
    return int(np.prod(shape, dtype=np.int64)) if shape else 1


def _tensor(value: np.ndarray, kind: ov.Type) -> ov.Tensor:
    return ov.Tensor(np.ascontiguousarray(value, dtype=kind.to_dtype()))


def snapshot(model: ov.Model) -> Graph:
    """The graph of `model`, open dimensions filled in by a witness where OpenVINO accepts one."""
    if all(parameter.get_partial_shape().is_static for parameter in model.get_parameters()):
        return _read(model)
    for every_input in (True, False):
        for height, width in WITNESS_SIZES:
            witness = model.clone()
            try:
                _make_concrete(witness, height, width, every_input)
            except RuntimeError:
                continue
            return _read(witness)
    return _read(model)


def _make_concrete(model: ov.Model, height: int, width: int, every_input: bool) -> None:
    for parameter in model.get_parameters():
        shape = parameter.get_partial_shape()
        if shape.rank.is_static and (every_input or _is_picture(shape)):
            parameter.set_partial_shape(ov.PartialShape(witness_dimensions(shape, height, width)))
    model.validate_nodes_and_infer_types()


def _is_picture(shape: ov.PartialShape) -> bool:
    return len(shape) == 4 and any(shape[axis].is_static and shape[axis].get_length() in (1, 3, 4) for axis in (1, 3))


def witness_dimensions(shape: ov.PartialShape, height: int, width: int) -> list[int]:
    """Concrete dimensions for a picture (rank 3 or 4) or any other input (open dimensions become 1)."""
    rank = len(shape)
    fill = [1] * rank
    if rank in (3, 4):
        last = shape[rank - 1]
        channels_last = last.is_static and last.get_length() in (1, 3, 4)
        first = rank - 3
        fill[first:] = [height, width, 3] if channels_last else [3, height, width]
    return [dim.get_length() if dim.is_static else _clamp(dim, want) for dim, want in zip(shape, fill)]


def _clamp(dim: ov.Dimension, want: int) -> int:
    low, high = dim.get_min_length(), dim.get_max_length()
    return max(low, want if high < 0 else min(want, high))


def _read(model: ov.Model) -> Graph:
    nodes = model.get_ordered_ops()
    # get_name() is unique by construction; friendly names need not be, and Python wrappers are made anew each time.
    index = {node.get_name(): i for i, node in enumerate(nodes)}
    inputs, consumers, shapes = [], {}, []
    for i, node in enumerate(nodes):
        sources = []
        for k, wire in enumerate(node.inputs()):
            output = wire.get_source_output()
            source = (index[output.get_node().get_name()], output.get_index())
            sources.append(source)
            consumers.setdefault(source, []).append((i, k))
        inputs.append(sources)
        shapes.append([_dimensions(output.get_partial_shape()) for output in node.outputs()])
    return Graph(nodes, [node.get_type_name() for node in nodes], inputs, shapes, consumers)


def _dimensions(shape: ov.PartialShape) -> tuple[int | None, ...] | None:
    if shape.rank.is_dynamic:
        return None
    return tuple(dim.get_length() if dim.is_static else None for dim in shape)
