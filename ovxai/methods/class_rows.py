"""The last step of a head: from one row a mask to one map a class.

The rows are [M, N, C], the maps [N, C, M]. Where the head treats all positions of a map alike it is
convolved over the map; where its last product is thin, W @ X^T gives maps without the large transpose.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import openvino as ov
from openvino import opset13 as op

from ovxai.collapse import emit
from ovxai.collapse.dims import ONE, Dim, Dims, ints, sizes
from ovxai.collapse.fold import has_whole_numbers
from ovxai.collapse.masks import Masks
from ovxai.collapse.values import Mapped, Refusal, Value
from ovxai.ir.graph import Graph, source, sources
from ovxai.methods.over_the_map import over_the_map

Walk = Callable[[ov.Output], Value]


def class_maps(goal: ov.Output, walk: Walk, graph: Graph, masks: Masks, dims: Dims) -> ov.Output:
    """[N, C, M] for the scores `goal`. walk: what a tensor is under the masks. dims: (N, C)."""
    rows = emit.reshape(walk(goal).out(), [masks.count, *dims])
    try:
        return emit.reshape(over_the_map(rows, masks), [*dims, masks.count])
    except Refusal:  # then by rows, which is as right and takes longer
        scores, bias = _without_bias(goal, graph)
        maps = _by_product(scores, walk, graph, masks, dims)
    if maps is None:
        return emit.rows_to_maps(rows, masks.count, dims)
    return maps if bias is None else emit.add(maps, emit.reshape(bias, [ONE, dims[1], ONE]))


def _by_product(scores: ov.Output, walk: Walk, graph: Graph, masks: Masks, dims: Dims) -> ov.Output | None:
    """The maps from the rows that go into the last product; None where there is none worth a way of its own."""
    node = _classifier(scores)
    data = None if node is None else walk(source(node, 0))
    if not isinstance(data, Mapped):  # the product is where positions meet
        return None
    constant = graph.is_constant(source(node, 1))
    thin = constant and _is_thin(data, masks)
    product = _Product(source(node, 1), node.get_attributes()["transpose_b"], data.dims[-1], dims, thin)
    rows = data.out()
    if _attends(rows, graph) and not has_whole_numbers(product.weight):  # INT8 products want the quantiser's own numbers
        return _beside_the_first(rows, masks.count, product)
    return product.maps(rows, masks.count) if thin else None


@dataclass(frozen=True)
class _Product:
    """A head's last product. turned: the weight is [C, c], not [c, C]. dims: (N, C)."""

    weight: ov.Output
    turned: bool
    channels: Dim
    dims: Dims
    thin: bool

    def maps(self, rows: ov.Output, count: Dim) -> ov.Output:
        """[N, C, count] for rows [count, N, .., c]."""
        flat = emit.reshape(rows, [count, self.dims[0], self.channels])
        if not self.thin:
            return emit.rows_to_maps(emit.matmul(flat, self.weight, False, self.turned), count, self.dims)
        columns = emit.transpose(flat, [1, 2, 0])  # [N, c, count]
        if self.dims[0] == ONE:
            columns = emit.reshape(columns, [self.channels, count])
        return emit.reshape(emit.matmul(self.weight, columns, not self.turned, False), [*self.dims, count])


def _beside_the_first(rows: ov.Output, count: Dim, product: _Product) -> ov.Output:
    """maps(rows - first) + maps(first): a product in bf16 then rounds what tells masks apart, not the scores.

    What follows a model's last product is computed in f32 there, so the sum takes nothing away again.
    """
    first = op.gather(rows, ints([0]), op.constant(np.int64(0))).output(0)
    return op.add(product.maps(op.subtract(rows, first).output(0), count), product.maps(first, ONE)).output(0)


def _attends(rows: ov.Output, graph: Graph) -> bool:
    """Whether a softmax is on the way through the branch: its weights sum to one, so most of a row is the same under every mask."""
    seen: set[str] = set()
    stack = [rows.get_node()]
    while stack:
        node = stack.pop()
        if node.get_name() in seen or graph.knows(node):
            continue
        seen.add(node.get_name())
        if node.get_type_name() == "Softmax":
            return True
        stack.extend(feed.get_node() for feed in sources(node))
    return False


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


def _classifier(goal: ov.Output) -> ov.Node | None:
    """The MatMul with weights [C, c] or [c, C] that `goal` comes from, if it does."""
    node = goal.get_node()
    if node.get_type_name() != "MatMul" or node.get_attributes()["transpose_a"]:
        return None
    plain = len(source(node, 1).get_partial_shape()) == 2 and len(goal.get_partial_shape()) == 2
    return node if plain else None


def _is_thin(data: Mapped, masks: Masks) -> bool:
    """Measured: the product with X^T wins while a row has fewer than about twice as many channels as there are rows."""
    return sizes(data.dims)[-1] < 2 * masks.count.size
