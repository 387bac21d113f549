"""How many label values an instance segmentation model has."""

from __future__ import annotations

from ovxai.find.detection_graph import Graph, Port
from ovxai.find.detection_taps import is_linear
from ovxai.find.detection_trail import NMS_SCORES
from ovxai.find.verdict import No

#: Through these only the first input carries values on; the others say which.
PICKING = frozenset({
    "Gather", "GatherND", "GatherElements", "Slice", "StridedSlice", "Reshape", "Squeeze", "Unsqueeze", "Transpose",
    "Split", "VariadicSplit", "TopK", "Broadcast", "Tile", "Pad", "Select", "Convert", "ScatterNDUpdate",
    "ScatterElementsUpdate", "ScatterUpdate", "Interpolate", "NonMaxSuppression",
})  # fmt: skip


def count_classes(graph: Graph, labels: Port, scores: Port, given: int | None) -> tuple[int, str] | No:
    """(number of label values, where that was read). given: number of labels in rt_info or of the options.

    The class-score tensor above NMS first: there a background that is dropped before is gone already.
    """
    above = sorted(graph.above([labels]), reverse=True)
    for node in above:
        position = NMS_SCORES.get(graph.kinds[node])
        if position is not None and position < len(graph.inputs[node]):
            classes = _axis(graph, graph.inputs[node][position], -2)
            if classes and classes > 1:
                return classes, f"the scores that {graph.kinds[node]} reads have {classes} classes"
            break
        if graph.kinds[node] == "ExperimentalDetectronDetectionOutput":
            classes = int(graph.nodes[node].get_attributes()["num_classes"])
            return classes, f"{graph.kinds[node]} has {classes} classes"
    classes = _activated_columns(graph, scores)
    if classes and classes > 1:
        return classes, f"the activated class scores have {classes} columns"
    if given:
        return given, f"{given} labels are given"
    if classes == 1:
        return 1, "one score a box and no labels: a single class"
    return No(
        "instance masks were found, but not how many classes there are; give --labels or --num-classes", final=True
    )


def _axis(graph: Graph, port: Port, axis: int) -> int | None:
    shape = graph.shape(port)
    return shape[axis] if shape is not None and len(shape) >= 2 else None


def _activated_columns(graph: Graph, scores: Port) -> int | None:
    """Columns of the last softmax or sigmoid over class scores from which the handed-out scores are picked."""
    port, seen = scores, set()
    stack = [port]
    while stack:
        port = stack.pop(0)
        node = port[0]
        if node in seen or not graph.live[node]:
            continue
        seen.add(node)
        kind = graph.kinds[node]
        if kind in ("Softmax", "LogSoftmax"):
            axis = graph.nodes[node].get_attributes()["axis"]
            shape = graph.shape((node, 0))
            return shape[axis] if shape is not None else None
        if kind == "Sigmoid":
            shape = graph.shape((node, 0))
            return shape[-1] if shape is not None and len(shape) > 1 else None
        if is_linear(graph, node):
            return None
        stack.extend(graph.inputs[node][:1] if kind in PICKING else graph.inputs[node])
    return None


def lacks_sigmoid(graph: Graph, masks: Port) -> bool:
    """Whether masks come out as logits: no sigmoid, softmax or comparison since the last weighted sum."""
    stack, seen, met_linear = [masks], set(), False
    while stack:
        port = stack.pop()
        node = port[0]
        if node in seen or not graph.live[node]:
            continue
        seen.add(node)
        kind = graph.kinds[node]
        if kind in ("Sigmoid", "HardSigmoid", "Softmax", "Greater", "GreaterEqual", "Less", "LessEqual"):
            return False
        if is_linear(graph, node) or kind == "MatMul":
            met_linear = True
            continue
        stack.extend(graph.inputs[node][:1] if kind in PICKING else graph.inputs[node])
    return met_linear
