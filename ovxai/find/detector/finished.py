"""Outputs of detectors that pick their objects inside the graph: tables of rows, and the answers of queries."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

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
        scores = [n for n in scores if shapes[n][2] != 4 or activation_of(graph, graph.results[n]) != "sigmoid"]
    pairs = ((score, box) for score in scores for box in boxes if score != box and shapes[score][:2] == shapes[box][:2])
    return next(pairs, None)


@dataclass(frozen=True)
class QueryScores:
    """How the class scores of queries are read. done: the activation that the graph gives them, "" for none. due: what they
    need still. no_object: whether one more column, behind the classes, says that there is nothing."""

    classes: int
    done: str
    due: str
    no_object: bool
    note: str = ""


def query_scores(graph: Graph, port: Port, count: int | None, asked: str | None) -> QueryScores | str:
    """Of scores [N, Q, columns]; why not, where `asked` speaks against the graph.

    Under a softmax queries need a class for nothing, the last one (DETR, arXiv 2005.12872), unless so many labels are known as
    there are columns. count: of classes, where anybody gave one. asked: an activation, where anybody did.
    """
    columns = graph.known_shape(graph.output_of(port))[2]
    done = activation_of(graph, port)
    if done and asked not in (None, done):
        return f"class activation: the graph itself gives the scores a {done}; leave out --class-activation"
    one_more = count == columns - 1
    due = "none" if done else asked or ("softmax" if one_more else "sigmoid")
    no_object = "softmax" in (done, due) and count != columns > 1 and not _is_cut_off(graph, port, columns)
    note = ""
    if not done and asked is None and one_more:
        note = (
            f"{count} labels for {columns} scores of each query: a softmax whose last score says that there is nothing (DETR); "
            "--class-activation sigmoid says otherwise"
        )
    elif not done and asked is None and count is None:
        note = (
            "class scores of queries count as sigmoids; where the last of them says that there is nothing (DETR, YOLOS), give "
            "--class-activation softmax"
        )
    return QueryScores(columns - no_object, done, due, no_object, note)


def _is_cut_off(graph: Graph, port: Port, columns: int) -> bool:
    """Whether a softmax was over more columns than are handed out."""
    above = graph.above([port], lambda node: is_linear(graph, node))
    shapes = [graph.shape((node, 0)) for node in above if graph.kinds[node] == "Softmax"]
    return any(shape and shape[-1] > columns for shape in shapes)


def activation_of(graph: Graph, port: Port) -> str:
    """The activation that an output has had since the last weighted sum; "" for none."""
    kinds = _last_made(graph, port)
    return "softmax" if "Softmax" in kinds else "sigmoid" if "Sigmoid" in kinds else ""


def _last_made(graph: Graph, port: Port) -> set[str]:
    """The kinds of operations that make it of the last weighted sums."""
    return {graph.kinds[node] for node in graph.above([port], lambda node: is_linear(graph, node))}
