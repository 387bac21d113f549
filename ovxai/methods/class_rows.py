"""The last step of a head: from one row a mask to one map a class.

The rows are [M, N, C], the maps [N, C, M]. Where the head treats all positions of a map alike it is
convolved over the map; where its last product is thin, W @ X^T gives maps without the large transpose.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import openvino as ov

from ovxai.collapse import emit
from ovxai.collapse.dims import ONE, Dim, Dims, sizes
from ovxai.collapse.masks import Masks
from ovxai.collapse.values import Mapped, Refusal, Value
from ovxai.ir.graph import Graph, source
from ovxai.methods.over_the_map import over_the_map

Walk = Callable[[ov.Output], Value]


def class_maps(goal: ov.Output, walk: Walk, graph: Graph, masks: Masks, dims: Dims) -> ov.Output:
    """[N, C, M] for the scores `goal`. walk: what a tensor is under the masks. dims: (N, C)."""
    rows = emit.reshape(walk(goal).out(), [masks.count, *dims])
    try:
        return emit.reshape(over_the_map(rows, masks), [*dims, masks.count])
    except Refusal:  # then by rows, which is as right and takes longer
        return _from_rows(rows, goal, walk, graph, masks, dims)


def _from_rows(
    rows: ov.Output, goal: ov.Output, walk: Walk, graph: Graph, masks: Masks, dims: Dims
) -> ov.Output:
    scores, bias = _without_bias(goal, graph)
    product = _classifier(scores, graph)
    if product is not None:
        data = walk(source(product, 0))
        if isinstance(data, Mapped) and _is_thin(data, masks):  # else the product is where positions meet
            maps = _transposed_product(data, source(product, 1), product, masks, dims)
            return maps if bias is None else emit.add(maps, emit.reshape(bias, [ONE, dims[1], ONE]))
    return emit.rows_to_maps(rows, masks.count, dims)


def _without_bias(goal: ov.Output, graph: Graph) -> tuple[ov.Output, ov.Output | None]:
    """What is summed with one constant a class, and that constant."""
    node = goal.get_node()
    if node.get_type_name() == "Add" and graph.knows(node):
        for port in (0, 1):
            bias, other = source(node, port), source(node, 1 - port)
            fits = graph.is_constant(bias) and math.prod(graph.shape(bias)) == math.prod(graph.shape(goal)[1:])
            if fits and graph.shape(other) == graph.shape(goal):
                return other, bias
    return goal, None


def _classifier(goal: ov.Output, graph: Graph) -> ov.Node | None:
    """The MatMul with plain weights [C, c] that `goal` comes from, if it does."""
    node = goal.get_node()
    if node.get_type_name() != "MatMul" or node.get_attributes()["transpose_a"]:
        return None
    weight = source(node, 1)
    plain = len(weight.get_partial_shape()) == 2 and len(goal.get_partial_shape()) == 2
    return node if plain and graph.knows(node) and graph.is_constant(weight) else None


def _is_thin(data: Mapped, masks: Masks) -> bool:
    """Measured: the product with X^T wins while a row has fewer than about twice as many channels as there are rows."""
    return sizes(data.dims)[-1] < 2 * masks.count.size


def _transposed_product(data: Mapped, weight: ov.Output, node: ov.Node, masks: Masks, dims: Dims) -> ov.Output:
    channels: Dim = data.dims[-1]
    rows = emit.reshape(data.out(), [masks.count, dims[0], channels])
    columns = emit.transpose(rows, [1, 2, 0])  # [N, c, M]
    if dims[0].is_static and dims[0].size == 1:
        columns = emit.reshape(columns, [channels, masks.count])
    product = emit.matmul(weight, columns, not node.get_attributes()["transpose_b"], False)
    return emit.reshape(product, [*dims, masks.count])


