"""Outputs of detectors that pick their objects inside the graph: tables of rows, and the answers of queries."""

from __future__ import annotations

from collections.abc import Iterator

from ovxai.find.detector.maps import is_linear
from ovxai.graph.graph import Graph, Port

BOX, SCORE, LABEL, OTHER = "box", "score", "label", "other"
_MOVES = frozenset({"Reshape", "Squeeze", "Unsqueeze", "Transpose", "Convert", "Gather", "GatherElements", "GatherND", "Slice",
                    "StridedSlice", "Split", "VariadicSplit", "Broadcast", "Tile"})  # fmt: skip


def columns_of(graph: Graph, port: Port) -> list[str]:
    """What each column of a table holds, box columns first; [] where it is not joined of columns in the graph.

    The label is what was a whole number, the score what a TopK hands out.
    """
    kinds: list[str] = []
    for part, width in _parts(graph, port):
        kind = _kind(graph, part) if width == 1 else OTHER
        kinds += [kind] * width
    return [BOX if i < 4 and kind == OTHER else kind for i, kind in enumerate(kinds)]


def table_form(graph: Graph, port: Port) -> str:
    """The format of rows of a box, its score, its label and further columns; "" where the rows are something else."""
    columns = columns_of(graph, port)
    if columns[:4] != [BOX] * 4 or columns[5:6] != [LABEL] or columns[4] == LABEL:
        return ""
    parts = next(_parts(graph, port))
    above = {graph.kinds[node] for node in graph.above([parts[0]], lambda node: is_linear(graph, node))}
    if len(columns) == 7 and {"Sin", "Cos"} <= above:
        return "boxes-angle-table"
    return "boxes-table"


def _parts(graph: Graph, port: Port) -> Iterator[tuple[Port, int]]:
    """The tensors that are joined along the last axis, and how many columns each has."""
    shape = graph.shape(port)
    while graph.kinds[port[0]] in ("Convert", "Reshape", "Squeeze", "Unsqueeze"):
        before = graph.shape(graph.inputs[port[0]][0])
        if not shape or not before or before[-1] != shape[-1]:
            break
        port = graph.inputs[port[0]][0]
    last = len(shape or ()) - 1
    if graph.kinds[port[0]] == "Concat" and graph.ops[port[0]].get_attributes()["axis"] in (-1, last):
        for feed in graph.inputs[port[0]]:
            yield from _parts(graph, feed)
    elif shape:
        yield port, shape[-1]


def _kind(graph: Graph, port: Port) -> str:
    while True:
        node = port[0]
        if graph.output_of(port).get_element_type().is_integral():
            return LABEL
        if graph.kinds[node] == "TopK":
            return SCORE if port[1] == 0 else LABEL
        if graph.kinds[node] not in _MOVES:
            return OTHER
        port = graph.inputs[node][0]


def query_outputs(graph: Graph, classes: int | None = None, output: int | None = None) -> tuple[int, int] | None:
    """Numbers of the outputs that hold the scores [N, Q, K] and the boxes [N, Q, 4] of queries.

    Boxes are shares of the picture, made by a sigmoid, or by an exponential from others. Where several layers of a decoder
    hand out theirs, those of the last; None where there are none. classes: K, where that is known. output: the number of the
    scores, where somebody named it.
    """
    shapes = {n: shape for n, port in enumerate(graph.results) if (shape := graph.shape(port)) and len(shape) == 3}
    floats = [n for n in shapes if graph.output_of(graph.results[n]).get_element_type().is_real()]
    order = sorted(floats, key=lambda number: -graph.results[number][0])
    scores = [n for n in order if classes in (None, shapes[n][2]) and output in (None, n)]
    boxes = [n for n in order if shapes[n][2] == 4 and {"Sigmoid", "Exp"} & _last_made(graph, graph.results[n])]
    if classes in (None, 4):
        scores = [n for n in scores if shapes[n][2] != 4 or not activation_of(graph, graph.results[n])]
    pairs = ((score, box) for score in scores for box in boxes if score != box and shapes[score][:2] == shapes[box][:2])
    return next(pairs, None)


def activation_of(graph: Graph, port: Port) -> str:
    """The activation that an output has had since the last weighted sum; "" for none."""
    kinds = _last_made(graph, port)
    return "softmax" if "Softmax" in kinds else "sigmoid" if "Sigmoid" in kinds else ""


def _last_made(graph: Graph, port: Port) -> set[str]:
    """The kinds of operations that make it of the last weighted sums."""
    return {graph.kinds[node] for node in graph.above([port], lambda node: is_linear(graph, node))}
