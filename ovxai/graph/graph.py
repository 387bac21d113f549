"""What is known of a model's graph: order, concrete shapes, values, what depends on the picture, who feeds whom."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property

import numpy as np
import openvino as ov
from openvino import opset13 as op

from ovxai.errors import UnsupportedModelError
from ovxai.graph.picture import PictureInput, picture_inputs
from ovxai.graph.sizes import measured_sizes, observed

#: A port by its node's unique name: Python's wrapper objects are made anew at every call.
Key = tuple[str, int]
#: A port by its node's place in the order of the graph, and its number among the node's outputs.
Port = tuple[int, int]
Shape = tuple[int, ...]
#: A shape of which some sizes are not known, not even for a concrete input: they depend on data.
Extents = tuple[int | None, ...]
#: (height, width), in the order in which they are tried.
Sides = tuple[tuple[int, int], ...]

#: What hands on a shape and not the picture: a path through it does not carry evidence.
_SHAPE_ONLY = frozenset({"ShapeOf"})
#: Values that are made anew for every picture, whatever feeds them.
_NEVER_CONSTANT = frozenset({"Parameter", "ReadValue", "Result", "RandomUniform"})


def key_of(output: ov.Output) -> Key:
    return output.get_node().get_name(), output.get_index()


def source(node: ov.Node, port: int) -> ov.Output:
    """What feeds input `port` of `node`."""
    return node.input(port).get_source_output()


def sources(node: ov.Node) -> list[ov.Output]:
    return [wire.get_source_output() for wire in node.inputs()]


def constant_value(output: ov.Output) -> np.ndarray | None:
    """The NumPy value of a constant, also behind a Convert; None when it is not one."""
    node = output.get_node()
    while node.get_type_name() == "Convert":
        node = source(node, 0).get_node()
    return numbers_of(node) if node.get_type_name() == "Constant" else None


def numbers_of(constant: ov.Node) -> np.ndarray:
    """A constant's values; in f32 where NumPy has no such numbers (bf16, f8, four bits) and would misread their bits."""
    return constant.get_data() if _in_numpy(constant.get_element_type()) else constant.get_data(dtype=np.float32)


def _in_numpy(kind: ov.Type) -> bool:
    return bool(ov.Type(kind.to_dtype()) == kind)


class Graph:
    """A model with the facts computed once. The model must not be rewired while this is in use.

    Every tensor has a *witness shape*: its static shape, or, where the model is dynamic, the shape it would have for
    one concrete input (measured where shapes alone do not tell). Rules reason on witness shapes and never bake a dynamic one in.

    A tensor is an `ov.Output` to those who build on it, and a `Port` (two numbers) to rules that walk the graph up
    and down; `port_of` and `output_of` turn one into the other, `shape` takes both. Nodes are numbered in topological
    order: `ops[i]` is node i, `kinds[i]` its type, `inputs[i]` the ports that it reads, `extents[i]` the sizes of its
    outputs, None where they depend on data. `results[i]` is the port that output i of the model hands out.
    """

    def __init__(self, model: ov.Model) -> None:
        self.model = model
        self.ops: list[ov.Node] = model.get_ordered_ops()
        self.kinds: list[str] = [node.get_type_name() for node in self.ops]
        # get_name() is unique by construction; friendly names need not be.
        self.index: dict[str, int] = {node.get_name(): i for i, node in enumerate(self.ops)}
        self.inputs: list[list[Port]] = [[self.port_of(feed) for feed in sources(node)] for node in self.ops]
        self.results: list[Port] = [self.port_of(source(result, 0)) for result in model.get_results()]
        self._witness = witness_of(model)
        self._twins: list[ov.Node] = self._witness.get_ordered_ops()
        self.extents: list[list[Extents | None]] = [
            [_extents(output.get_partial_shape()) for output in twin.outputs()]
            for _, twin in zip(self.ops, self._twins, strict=True)
        ]
        for (node, number), sizes in measured_sizes(self._witness).items():
            self.extents[node][number] = sizes
        self._values: dict[Port, np.ndarray | None] = {}

    # From OpenVINO's objects to numbers and back.

    def port_of(self, output: ov.Output) -> Port:
        return self.index[output.get_node().get_name()], output.get_index()

    def output_of(self, port: Port) -> ov.Output:
        return self.ops[port[0]].output(port[1])

    def position(self, node: ov.Node) -> int:
        return self.index[node.get_name()]

    def knows(self, node: ov.Node) -> bool:
        """Whether `node` is the model's own; what was made since the graph was looked at is not."""
        return node.get_name() in self.index

    # Shapes and values.

    def shape(self, tensor: ov.Output | Port) -> Shape | None:
        """The witness shape; None where not even a concrete input settles it (it depends on data)."""
        if isinstance(tensor, tuple):
            return _settled(self.extents[tensor[0]][tensor[1]])
        return self.shape(self.port_of(tensor)) if self.knows(tensor.get_node()) else None

    def known_shape(self, tensor: ov.Output | Port) -> Shape:
        """The witness shape of a tensor that has to have one.

        Raises:
            UnsupportedModelError: its shape depends on data.
        """
        shape = self.shape(tensor)
        if shape is None:
            node = self.ops[tensor[0]] if isinstance(tensor, tuple) else tensor.get_node()
            raise UnsupportedModelError(f"{node.get_friendly_name()}: its shape depends on the data")
        return shape

    def value(self, port: Port, limit: int = 1 << 16) -> np.ndarray | None:
        """The value of a port that does not depend on the picture; None where it does, or is too large.

        Sizes that were open are those of the witness.
        """
        if port not in self._values:
            self._values[port] = self._evaluate(port, limit)
        return self._values[port]

    def _evaluate(self, port: Port, limit: int) -> np.ndarray | None:
        index, number = port
        kind, node, shape = self.kinds[index], self._twins[index], self.shape(port)
        if kind == "Constant":
            return numbers_of(node) if shape is not None and _count(shape) <= limit else None
        if kind == "ShapeOf":
            asked = self.shape(self.inputs[index][0])
            return None if asked is None else np.array(asked, np.int64)
        if kind == "Parameter" or not self.inputs[index] or node.get_output_size() != 1 or shape is None:
            return None
        given = [self.value(feed, limit) for feed in self.inputs[index]]
        values = [value for value in given if value is not None]
        if len(values) < len(given) or _count(shape) > limit:
            return None
        result = ov.Tensor(node.get_output_element_type(number), ov.Shape(list(shape)))
        try:
            done = node.evaluate([result], [_tensor(value, node.get_input_element_type(i)) for i, value in enumerate(values)])
        except RuntimeError:
            return None
        return numbers_of(ov.op.Constant(result)).copy() if done else None

    def seen_at(self, port: Port) -> list[np.ndarray]:
        """What stands at a port for two pictures of noise, by an inference; [] where the model does not run."""
        return observed(self._witness, port)

    # What depends on the picture, and what does not.

    @cached_property
    def live(self) -> list[bool]:
        """Per node whether it depends on what the inputs hold, not only on their sizes."""
        live: list[bool] = []
        for kind, feeds in zip(self.kinds, self.inputs):
            reads = kind == "Parameter" or any(live[node] for node, _ in feeds)
            live.append(reads and kind not in _SHAPE_ONLY)
        return live

    def live_inputs(self, node: int) -> list[Port]:
        return [feed for feed in self.inputs[node] if self.live[feed[0]]]

    @cached_property
    def constants(self) -> frozenset[str]:
        """Names of nodes whose value no input reaches, not even by its size (constants and what is computed from them)."""
        constant: list[bool] = []
        for kind, feeds in zip(self.kinds, self.inputs):
            fixed = bool(feeds) and all(constant[node] for node, _ in feeds) and kind not in _NEVER_CONSTANT
            constant.append(kind == "Constant" or fixed)
        return frozenset(node.get_name() for node, fixed in zip(self.ops, constant) if fixed)

    def is_constant(self, output: ov.Output) -> bool:
        return output.get_node().get_name() in self.constants

    # Who feeds whom.

    @cached_property
    def consumers(self) -> dict[Port, list[tuple[int, int]]]:
        """Port -> the (node, input number) pairs that it feeds, in topological order."""
        consumers: dict[Port, list[tuple[int, int]]] = {}
        for node, feeds in enumerate(self.inputs):
            for number, feed in enumerate(feeds):
                consumers.setdefault(feed, []).append((node, number))
        return consumers

    def ancestors(self, roots: Iterable[ov.Node]) -> set[str]:
        """Names of `roots` and of everything that feeds them."""
        return self._names(self._upwards(self.position(node) for node in roots))

    def above(self, start: Iterable[Port], stop: Callable[[int], bool] | None = None) -> set[int]:
        """Live nodes from which `start` is computed, themselves included; not beyond a node where `stop` holds."""
        return self._upwards((node for node, _ in start), lambda node: self.live[node], stop)

    def _upwards(
        self, start: Iterable[int], within: Callable[[int], bool] | None = None, stop: Callable[[int], bool] | None = None
    ) -> set[int]:
        seen: set[int] = set()
        stack = list(start)
        while stack:
            node = stack.pop()
            if node in seen or not (within is None or within(node)):
                continue
            seen.add(node)
            if stop is None or not stop(node):
                stack.extend(feed for feed, _ in self.inputs[node])
        return seen

    def descendants(self, roots: Iterable[ov.Node]) -> set[str]:
        """Names of `roots` and of everything they feed; what only asks for a shape does not count."""
        seen = {self.position(node) for node in roots}
        for node, feeds in enumerate(self.inputs):
            if self.kinds[node] not in _SHAPE_ONLY and any(feed in seen for feed, _ in feeds):
                seen.add(node)
        return self._names(seen)

    def between(self, start: ov.Node, goal: ov.Node) -> list[ov.Node]:
        """Nodes on some path from `start` to `goal`, both included, in order; shapes carry nothing of the picture."""
        names = self.descendants([start]) & self.ancestors([goal])
        return [node for node in self.ops if node.get_name() in names]

    def _names(self, nodes: Iterable[int]) -> set[str]:
        return {self.ops[node].get_name() for node in nodes}


def _extents(shape: ov.PartialShape) -> Extents | None:
    if shape.rank.is_dynamic:
        return None
    return tuple(dim.get_length() if dim.is_static else None for dim in shape)


def _settled(extents: Extents | None) -> Shape | None:
    sizes = tuple(size for size in extents or () if size is not None)
    return sizes if extents is not None and len(sizes) == len(extents) else None


def _count(shape: Shape) -> int:
    return int(np.prod(shape, dtype=np.int64)) if shape else 1


def _tensor(value: np.ndarray, kind: ov.Type) -> ov.Tensor:
    if not _in_numpy(kind):
        tensor, made = ov.Tensor(kind, ov.Shape(list(value.shape))), op.constant(value, dtype=kind)
        made.get_tensor_view().copy_to(tensor)
        return tensor
    return ov.Tensor(np.ascontiguousarray(value, dtype=kind.to_dtype()).reshape(value.shape))  # a scalar stays one


def without_constant(graph: Graph, output: ov.Output) -> tuple[ov.Output, ov.Output | None]:
    """What is summed with a constant (a bias) to make `output`, and that constant; None where it is no such sum."""
    node = output.get_node()
    if node.get_type_name() == "Add" and graph.knows(node):
        for port in (0, 1):
            constant, other = source(node, port), source(node, 1 - port)
            if graph.is_constant(constant) and graph.shape(other) == graph.shape(output):
                return other, constant
    return output, None


# Which concrete input shape stands in for a dynamic one, so that rules can reason with numbers.
#
# A copy of the model gets static input shapes; its nodes stay the same ones in the same order. Nothing that is built
# later holds a number that came from an open dimension.

#: Put in for a dynamic batch; the first is a prime that few layers have as a width.
WITNESS_BATCHES = (3, 1)
#: Put in for open sides: what classifiers are trained for, whose heads may take no other size.
WITNESS_SIDES: Sides = tuple((side, side) for side in (224, 256, 384, 640))
#: For models that hand out places: unequal sides first, so that height and width can't be confused.
UNEQUAL_SIDES: Sides = ((256, 384), (640, 640), (512, 512), (224, 224))
#: Where none of them fits: small pictures, and sizes that some networks are trained for.
_FURTHER = (32, 48, 64, 96, 112, 128, 160, 192, 240, 256, 288, 299, 320, 336, 384, 448, 480, 512, 518, 600)


def witness_of(model: ov.Model) -> ov.Model:
    """`model` itself where all of its shapes are static, else a copy with the input shapes that fit what it hands out.

    Raises:
        UnsupportedModelError: none of those that are tried fits.
    """
    if not model.is_dynamic():
        return model
    twin = concrete_twin(model)
    if only_vectors(_output_shapes(twin)):
        return twin
    twin = concrete_twin(model, sides=UNEQUAL_SIDES)
    # A batch that a Reshape to one picture has swallowed is no longer seen behind it: such models take one at a time.
    swallowed = any(shape is not None and shape[:1] == (1,) for shape in _output_shapes(twin))
    return concrete_twin(model, 1, sides=UNEQUAL_SIDES) if swallowed else twin


def only_vectors(shapes: list[Shape | None]) -> bool:
    """Whether no output of these shapes has places in it: one vector per picture, as classifiers hand it out."""
    return all(shape is not None and sum(size > 1 for size in shape[1:]) <= 1 for shape in shapes)


def _output_shapes(model: ov.Model) -> list[Shape | None]:
    return [static_shape(output) for output in model.outputs]


def static_shape(output: ov.Output) -> Shape | None:
    """The shape of a port; None where a dimension is open."""
    shape = output.get_partial_shape()
    return tuple(int(size) for size in shape.to_shape()) if shape.is_static else None


def concrete_twin(model: ov.Model, *batches: int, sides: Sides = WITNESS_SIDES) -> ov.Model:
    """A copy with static input shapes, its nodes in the same order; the first sizes that fit are taken.

    batches: tried before the usual ones, where the batch is open. sides: tried for open heights and widths.

    Raises:
        UnsupportedModelError: none of them does.
    """
    # Not Model.reshape: that would also rewrite the graph, and nodes could no longer be matched.
    reason = ""
    pictures = {picture.index: picture for picture in picture_inputs(model)}
    for (height, width), batch in itertools.product(_all_sides(sides), (*batches, *WITNESS_BATCHES)):
        twin = model.clone()
        for index, parameter in enumerate(twin.get_parameters()):
            shape = parameter.get_partial_shape()
            parameter.set_partial_shape(_concrete(shape, batch, height, width, pictures.get(index)))
        try:
            twin.validate_nodes_and_infer_types()
            return twin
        except RuntimeError as error:
            reason = reason or str(error).splitlines()[0]
    raise UnsupportedModelError(f"no concrete input shape fits this dynamic model: {reason[:160]}")


def _all_sides(first: Sides) -> Iterator[tuple[int, int]]:
    yield from dict.fromkeys((*first, *((side, side) for side in _FURTHER)))


def _concrete(shape: ov.PartialShape, batch: int, height: int, width: int, picture: PictureInput | None) -> ov.PartialShape:
    """`shape` with its open dimensions filled in, as near to what is wished as their bounds allow."""
    if shape.rank.is_dynamic:
        return shape
    layout = picture.layout if picture else "NHHW" if len(shape) == 4 else "N" + "H" * len(shape)
    wishes = {"N": batch, "C": picture.channels if picture else 1, "H": height, "W": width}
    sizes = []
    for letter, dim in zip(layout, shape):
        low, high, wish = dim.get_min_length(), dim.get_max_length(), wishes[letter]
        sizes.append(dim.get_length() if dim.is_static else max(low, wish if high < 0 else min(high, wish)))
    return ov.PartialShape(sizes)
