"""Only the classes asked for: select rows of the classifier instead of maps.

After the last nonlinearity a classifier is one product, so `Gather` of its rows before the product
costs K columns instead of all of them. What can't be pushed that far up is selected at the end.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import openvino as ov
from openvino import opset13 as op

from ovxai.collapse.values import Shared, Value
from ovxai.errors import OptionError
from ovxai.graph import emit
from ovxai.graph.dims import Dim, Dims, dims_of, ints, whole_number
from ovxai.graph.graph import Graph, Key, key_of, source
from ovxai.options import parse_classes


@dataclass(frozen=True)
class Selection:
    """The classes asked for, as nodes of the graph.

    index: i64 [N, 1, K] for the output of that name. rows: i64 [K] shared by all pictures, or [N, K].
    count: K. shape: witness shape of rows.
    """

    index: ov.Output
    rows: ov.Output
    count: int
    shape: tuple[int, ...]

    def fixed(self) -> dict[Key, Value]:
        """The rows as a value that no mask changes: the classes are those of the plain picture."""
        witness = tuple(int(size) for size in self.shape)
        return {key_of(self.rows): Shared(dims_of(self.rows, witness), lambda: self.rows)}

    @property
    def per_picture(self) -> bool:
        return len(self.rows.get_partial_shape()) == 2


def select_classes(text: str, logits: ov.Output, dims: Dims, classes: int) -> Selection | None:
    """The `--classes` option as nodes; None for all classes. dims: extents of `logits`.

    Raises:
        OptionError: a class that the model does not have.
    """
    wanted = parse_classes(text)
    if wanted is None:
        return None
    if isinstance(wanted, tuple):
        return _fixed(wanted, dims, classes)
    if wanted > classes:
        raise OptionError(f"classes: top:{wanted} asks for more than the model's {classes} classes")
    flat = emit.reshape(logits, [dims[0], _class_dim(dims)])
    top = op.topk(flat, whole_number(wanted), 1, "max", "value", index_element_type="i64").output(1)
    single = dims[0].is_static and dims[0].size == 1
    rows = emit.reshape(top, [Dim(wanted)]) if single else top
    shape = (wanted,) if single else (dims[0].size, wanted)
    return Selection(emit.unsqueeze(top, [1]), rows, wanted, shape)


def _fixed(wanted: tuple[int, ...], dims: Dims, classes: int) -> Selection:
    missing = [index for index in wanted if index >= classes]
    if missing:
        raise OptionError(f"classes: the model has classes 0 to {classes - 1}, not {missing[0]}")
    rows = ints(wanted)
    index = emit.broadcast(emit.unsqueeze(rows, [0, 1]), (dims[0], Dim(1), Dim(len(wanted))))
    return Selection(index, rows, len(wanted), (len(wanted),))


def _class_dim(dims: Dims) -> Dim:
    """The extent of the only axis behind the batch that is not 1."""
    return max(dims[1:], key=lambda dim: dim.size)


def pushed(logits: ov.Output, selection: Selection, graph: Graph) -> ov.Output | None:
    """[N, K]: the logits of the selected classes, computed from selected rows; None where that can't be done."""
    shape = graph.shape(logits)
    if shape is None or sum(size > 1 for size in shape[1:]) != 1:
        return None
    node = logits.get_node()
    kind = node.get_type_name()
    if kind in ("Reshape", "Squeeze", "Unsqueeze"):
        before = graph.shape(source(node, 0))
        return pushed(source(node, 0), selection, graph) if before is not None and before[0] == shape[0] else None
    if kind in ("Add", "Subtract", "Multiply", "Divide"):
        sides = [_operand(source(node, port), shape, selection, graph) for port in (0, 1)]
        return None if None in sides else emit.clone(node, sides).output(0)
    if kind == "MatMul" and graph.is_constant(source(node, 1)) and not node.get_attributes()["transpose_a"]:
        return _matmul(node, selection, graph)
    if kind == "Convolution" and graph.is_constant(source(node, 1)):
        return _convolution(node, selection, graph)
    return None


def _operand(port: ov.Output, shape: tuple[int, ...], selection: Selection, graph: Graph) -> ov.Output | None:
    if not graph.is_constant(port):
        return pushed(port, selection, graph)
    count = math.prod(graph.known_shape(port))
    if count == 1:
        return op.reshape(port, ints([1, 1]), False).output(0)
    if count != max(shape[1:]):
        return None
    flat = op.reshape(port, ints([-1]), False)
    picked = op.gather(flat, selection.rows, whole_number(0)).output(0)
    return picked if selection.per_picture else emit.unsqueeze(picked, [0])


def _matmul(node: ov.Node, selection: Selection, graph: Graph) -> ov.Output | None:
    data, weight = source(node, 0), source(node, 1)
    shape = graph.shape(data)
    if shape is None or len(graph.known_shape(weight)) != 2 or sum(size > 1 for size in shape[1:]) != 1:
        return None
    rows = weight if node.get_attributes()["transpose_b"] else emit.transpose(weight, [1, 0])
    return _product(data, shape, rows, selection)


def _convolution(node: ov.Node, selection: Selection, graph: Graph) -> ov.Output | None:
    data, weight = source(node, 0), source(node, 1)
    shape, table = graph.shape(data), graph.known_shape(weight)
    if shape is None or max([*shape[2:], *table[2:]]) > 1:
        return None
    rows = op.reshape(weight, ints(table[:2]), False).output(0)
    return _product(data, shape, rows, selection)


def _product(data: ov.Output, shape: tuple[int, ...], rows: ov.Output, selection: Selection) -> ov.Output:
    """[N, K]: data times the selected rows."""
    dims = dims_of(data, shape)
    channels = _class_dim(dims)
    picked = op.gather(rows, selection.rows, whole_number(0)).output(0)  # [K, c] or [N, K, c]
    if not selection.per_picture:
        return emit.matmul(emit.reshape(data, [dims[0], channels]), picked, False, True)
    each = emit.matmul(emit.reshape(data, [dims[0], Dim(1), channels]), picked, False, True)  # [N, 1, K]
    return op.squeeze(each, ints([1])).output(0)


def picked(tensor: ov.Output, selection: Selection) -> ov.Output:
    """The selected classes of a tensor, which axis 1 counts: [N, C, ...] -> [N, K, ...]."""
    if selection.per_picture:
        return emit.pick_each(tensor, selection.rows)
    return op.gather(tensor, selection.rows, whole_number(1)).output(0)
