"""Multiply-adds of a graph: what the explanation adds to what the model costs."""

from __future__ import annotations

import math

import openvino as ov

from ovxai.graph.graph import Graph, sources
from ovxai.metadata import EXTRA_OUTPUTS


def branch_share(model: ov.Model) -> float | None:
    """Multiply-adds that only the explanation outputs need, over those of the plain model; None if sizes are unknown."""
    graph = Graph(model)
    plain, extra = [], []
    for result in model.get_results():
        names = result.input(0).get_source_output().get_names()
        (extra if names & set(EXTRA_OUTPUTS) else plain).append(result)
    own = graph.ancestors(plain)
    added = graph.ancestors(extra) - own
    totals = []
    for names in (own, added):
        counts = [multiply_adds(graph, node) for node in graph.ops if node.get_name() in names]
        if None in counts:
            return None
        totals.append(sum(counts))
    return totals[1] / totals[0] if totals[0] else None


def multiply_adds(graph: Graph, node: ov.Node) -> int | None:
    """Of products and convolutions; 0 for everything else, None where the sizes depend on data."""
    kind = node.get_type_name()
    if kind not in ("MatMul", "Convolution", "GroupConvolution", "ScaledDotProductAttention"):
        return 0
    out = graph.shape(node.output(0))
    ins = [graph.shape(feed) for feed in sources(node)]
    if out is None or None in ins:
        return None
    if kind == "MatMul":
        inner = ins[0][-2 if node.get_attributes()["transpose_a"] else -1]
        return math.prod(out) * inner
    if kind == "Convolution":
        return math.prod(out) * math.prod(ins[1][1:])
    if kind == "GroupConvolution":
        return math.prod(out) * math.prod(ins[1][2:])
    return math.prod(ins[0]) * ins[1][-2] + math.prod(out) * ins[1][-2]
