"""The last step of a head: from one row per mask to one map per class.

The rows are [M, N, C], the maps [N, C, M]. Where the head treats all positions of a map alike it is
convolved over the map; where its last product is thin, W @ X^T gives maps without the large transpose.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import openvino as ov
from openvino import opset13 as op

from ovxai.collapse.masks import Masks
from ovxai.collapse.values import Mapped, Refusal, Value
from ovxai.graph import emit
from ovxai.graph.dims import ONE, Dim, Dims, ints, sizes
from ovxai.graph.emit import has_whole_numbers, is_constant
from ovxai.graph.graph import Graph, Key, constant_value, key_of, source, sources, without_constant

Walk = Callable[[ov.Output], Value]


@dataclass(frozen=True)
class ClassMaps:
    """What a head says of every mask.

    maps: [N, C, M], what every mask changes of a class's score. level: [N, C], the score if all is dark; None where the
    maps hold it already.
    """

    maps: ov.Output
    level: ov.Output | None


def class_maps(goal: ov.Output, walk: Walk, graph: Graph, masks: Masks, dims: Dims) -> ClassMaps:
    """The maps of the scores `goal`. walk: what a tensor is under the masks. dims: (N, C)."""
    scores = walk(goal)
    if not isinstance(scores, Mapped):
        raise Refusal("the scores are not rows, one per mask")
    level = None if scores.anchored is None else emit.reshape(emit.broadcast(scores.anchored.anchor(), scores.dims), dims)
    rows = emit.reshape(_changing(scores), [masks.count, *dims])
    try:
        maps = emit.reshape(over_the_map(rows, masks), [*dims, masks.count])
    except Refusal:  # then by rows, which is as right and takes longer
        maps = _from_rows(rows, goal, walk, graph, masks, dims)
    return ClassMaps(maps, level)


def _changing(value: Mapped) -> ov.Output:
    return value.out() if value.anchored is None else value.anchored.change()


def _from_rows(rows: ov.Output, goal: ov.Output, walk: Walk, graph: Graph, masks: Masks, dims: Dims) -> ov.Output:
    scores, bias = _without_bias(goal, graph)
    product = _classifier(scores, graph)
    if product is not None:
        data = walk(source(product, 0))
        # Where the data are not mapped, the product is where positions meet.
        if isinstance(data, Mapped) and _is_thin(data, masks) and not (data.anchored and data.anchored.stepped):
            maps = _transposed_product(data, source(product, 1), product, masks, dims)
            return maps if bias is None or data.anchored else emit.add(maps, emit.reshape(bias, [ONE, dims[1], ONE]))
    return emit.rows_to_maps(rows, masks.count, dims)


def _without_bias(goal: ov.Output, graph: Graph) -> tuple[ov.Output, ov.Output | None]:
    """What is summed with one constant per class, and that constant."""
    scores, bias = without_constant(graph, goal)
    fits = bias is not None and math.prod(graph.known_shape(bias)) == math.prod(graph.known_shape(goal)[1:])
    return (scores, bias) if fits else (goal, None)


def _classifier(goal: ov.Output, graph: Graph) -> ov.Node | None:
    """The MatMul with plain weights [C, c] that `goal` comes from, if it does."""
    node = goal.get_node()
    if node.get_type_name() != "MatMul" or node.get_attributes()["transpose_a"]:
        return None
    weight = source(node, 1)
    plain = len(weight.get_partial_shape()) == 2 and len(goal.get_partial_shape()) == 2
    return node if plain and graph.knows(node) and graph.is_constant(weight) else None


def _is_thin(data: Mapped, masks: Masks) -> bool:
    """Measured: W @ X^T wins while a row has fewer than about half as many channels as there are rows. The CPU computes it in
    f32 where it computes the rest in bf16, so around equal numbers rows are faster there and as fast in f32."""
    return 2 * sizes(data.dims)[-1] < masks.count.size


def _transposed_product(data: Mapped, weight: ov.Output, node: ov.Node, masks: Masks, dims: Dims) -> ov.Output:
    channels: Dim = data.dims[-1]
    rows = emit.reshape(_changing(data), [masks.count, dims[0], channels])
    columns = emit.transpose(rows, [1, 2, 0])  # [N, c, M]
    if dims[0].is_static and dims[0].size == 1:
        columns = emit.reshape(columns, [channels, masks.count])
    product = emit.matmul(weight, columns, not node.get_attributes()["transpose_b"], False)
    return emit.reshape(product, [*dims, masks.count])


# A head that treats every position alike, left where the map lies.
#
# Behind a pool the head has one row per mask, [M, N, c], and with the point mask row m is the map at position
# m. While only products with constant weights and elementwise operations follow, the rows need not be turned
# out of the map and their scores back into it: the products are 1x1 convolutions over the map, as in fully
# convolutional networks (arXiv 1411.4038). The device keeps the layout that it has, and products of quantised
# numbers stay such products. Read off the rows as they were built, so every rule of the collapse stays as it is.

#: Orders of a Transpose that bring the positions of [N, c, h, w] and of [N, c, P] to the front; the second two for a
#: single picture.
_TURNS = ([2, 3, 0, 1], [2, 0, 1])
_TURNS_OF_ONE = ([0, 2, 3, 1], [0, 2, 1])
_ELEMENTWISE = frozenset({
    "Abs", "Add", "Clamp", "Divide", "Elu", "Erf", "Exp", "FakeQuantize", "Gelu", "HSigmoid", "HSwish", "HardSigmoid", "Maximum",
    "Minimum", "Mish", "Multiply", "Negative", "Power", "Relu", "Sigmoid", "SoftPlus", "Sqrt", "Subtract", "Swish", "Tanh",
})  # fmt: skip
#: Weights of a product in floats. Measured: above, a convolution is no faster than rows and costs a second copy of them.
_LARGE = 1 << 16
_OF_WEIGHTS = ("Convert", "FakeQuantize", "Multiply", "Subtract")


def over_the_map(rows: ov.Output, masks: Masks) -> ov.Output:
    """[N, C, h, w] for the rows [M, N, C].

    Raises:
        Refusal: the rows are not those of a map, or something between mixes more than the channels of one.
    """
    if not masks.whole or not masks.count.is_static:
        raise Refusal("the rows are some of the positions, or nobody knows how many")
    return _Place(masks.count.size)(rows)


class _Place:
    """Rows [M, N, ..1.., c, ..1..] -> [N, c, h, w], a step at a time from the last back to the map."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._done: dict[Key, ov.Output] = {}

    def __call__(self, rows: ov.Output) -> ov.Output:
        key = key_of(rows)
        if key not in self._done:
            self._done[key] = self._work(rows)
        return self._done[key]

    def _work(self, rows: ov.Output) -> ov.Output:
        node, axis = rows.get_node(), self.channel_axis(rows)
        kind = node.get_type_name()
        if kind in ("Transpose", "Reshape", "Squeeze", "Unsqueeze"):
            turn = node if kind == "Transpose" else source(node, 0).get_node()
            return self._map(turn, rows) if turn.get_type_name() == "Transpose" else self._same(rows, source(node, 0))
        if kind in _ELEMENTWISE:
            return emit.clone(node, [self._operand(feed, rows, axis) for feed in sources(node)]).output(0)
        if kind == "Concat" and node.get_attributes()["axis"] % len(rows.get_partial_shape()) == axis:
            return emit.concat([self(feed) for feed in sources(node)], 1)
        if kind == "MatMul" and not node.get_attributes()["transpose_a"]:
            return self._product(node)
        raise Refusal(f"{kind} is not known to leave rows and channels where they are")

    def channel_axis(self, rows: ov.Output) -> int:
        """The one axis behind [M, N] that is not 1."""
        shape = rows.get_partial_shape()
        if shape.rank.is_dynamic or len(shape) < 3 or shape[0].is_dynamic or shape[0].get_length() != self._count:
            raise Refusal("not one row per position")
        behind = [axis for axis in range(2, len(shape)) if shape[axis] != ov.Dimension(1)]
        if len(behind) != 1 or shape[behind[0]].is_dynamic:
            raise Refusal("a row is more than one vector of known length")
        return behind[0]

    def _map(self, turn: ov.Node, rows: ov.Output) -> ov.Output:
        """The map whose positions a Transpose turns into rows."""
        held, order = source(turn, 0), constant_value(source(turn, 1))
        shape = held.get_partial_shape()
        turns = _TURNS + _TURNS_OF_ONE if shape.rank.is_static and shape[0] == ov.Dimension(1) else _TURNS
        if order is None or order.tolist() not in turns:
            raise Refusal("rows that a Transpose made of something else than a map")
        grid = [dim.get_length() for dim in list(shape)[2:] if dim.is_static]
        if len(grid) != len(shape) - 2 or math.prod(grid) != self._count or shape[1] != _channels(rows, self):
            raise Refusal("rows that are not the positions of a map of known size")
        return held if len(grid) == 2 else emit.unsqueeze(held, [3])

    def _same(self, rows: ov.Output, before: ov.Output) -> ov.Output:
        if _channels(rows, self) != _channels(before, self):
            raise Refusal("a Reshape that changes the channels")
        return self(before)

    def _operand(self, feed: ov.Output, rows: ov.Output, axis: int) -> ov.Output:
        """What stands beside rows: rows, or a constant per channel."""
        if not is_constant(feed):
            if feed.get_partial_shape() != rows.get_partial_shape():
                raise Refusal("rows meet another tensor")
            return self(feed)
        if feed.get_partial_shape().is_dynamic:
            raise Refusal("a constant whose extent is not known")
        shape, rank = list(feed.get_shape()), len(rows.get_partial_shape())
        if not shape:
            return feed  # fits anywhere, and some operations want nothing else
        aligned = [1] * (rank - len(shape)) + shape
        if any(size != 1 for place, size in enumerate(aligned) if place != axis):
            raise Refusal("a constant that is not one number per channel")
        return op.reshape(feed, ints([1, aligned[axis], 1, 1]), False).output(0)

    def _product(self, node: ov.Node) -> ov.Output:
        data, weight = source(node, 0), source(node, 1)
        if self.channel_axis(data) != len(data.get_partial_shape()) - 1 or len(weight.get_partial_shape()) != 2:
            raise Refusal("a product that is not one over the channels")
        if not is_constant(weight):
            raise Refusal("weights that hang on the picture")
        placed = self(data)
        if placed.get_node().get_type_name() != "FakeQuantize":
            if has_whole_numbers(weight):
                raise Refusal("compressed weights, which a convolution would unpack")
            if math.prod(weight.get_shape()) > _LARGE:
                raise Refusal("large weights, which the model's own product keeps in the layout for rows")
        kernel = _kernel(weight, not node.get_attributes()["transpose_b"])
        return op.convolution(placed, kernel, [1, 1], [0, 0], [0, 0], [1, 1]).output(0)


def _channels(rows: ov.Output, place: _Place) -> ov.Dimension:
    return rows.get_partial_shape()[place.channel_axis(rows)]


def _kernel(weight: ov.Output, turned: bool) -> ov.Output:
    """[O, I, 1, 1] of [O, I], or of [I, O] where turned.

    What quantises weights has to stand right before the convolution to be seen: its constants are
    reshaped, not what comes of them.
    """
    node = weight.get_node()
    if node.get_type_name() in _OF_WEIGHTS:
        return emit.clone(node, [_kernel(feed, turned) for feed in sources(node)]).output(0)
    shape = [int(size) for size in weight.get_shape()]
    flat = op.reshape(weight, ints([1] * (2 - len(shape)) + shape), False).output(0) if len(shape) < 2 else weight
    return emit.unsqueeze(emit.transpose(flat, [1, 0]) if turned else flat, [2, 3])
