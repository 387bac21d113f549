"""Which output is boxes, labels, scores, masks: by element type, rank and sides, never by name; and how many labels there are."""

from __future__ import annotations

from dataclasses import dataclass

from ovxai.find.detector.maps import behind_regions, is_linear
from ovxai.find.detector.outputs import is_integer, sizes
from ovxai.find.detector.trail import NMS_SCORES
from ovxai.find.site import BOX, FULL, PROTOTYPES, Instances, No
from ovxai.graph.dims import Grid
from ovxai.graph.graph import Extents, Graph, Port


@dataclass(frozen=True)
class Roles:
    """Numbers of outputs. kind: of the masks. coefficients: where masks are prototypes that these mix.

    table: boxes, score, label and mask coefficients are one tensor (end-to-end YOLO).
    """

    boxes: int
    labels: int
    scores: int
    masks: int
    kind: str
    coefficients: int | None = None
    table: bool = False


def roles(graph: Graph, sides: Grid) -> Roles | No:
    """Tell the outputs apart; sides: (H, W) of the picture in the witness."""
    outputs = _Outputs(graph)
    labels = [n for n in outputs.numbers if outputs.whole[n] and outputs.ranks[n] in (1, 2)]
    if len(labels) == 1:
        wanted = outputs.ranks[labels[0]] + 1
        boxes = [n for n in outputs.numbers if outputs.is_table(n, wanted) and outputs.last(n) in (4, 5)]
        if len(boxes) == 1:
            return _finished(outputs, labels[0], boxes[0], sides)
    for table in (n for n in outputs.numbers if outputs.is_table(n, 3)):
        for prototypes in (n for n in outputs.numbers if outputs.ranks[n] == 4):
            channels = outputs.channels(prototypes)
            if channels and outputs.last(table) == 6 + channels:
                return Roles(table, table, table, prototypes, PROTOTYPES, table, table=True)
    return No("no instance masks: outputs for boxes, whole-number labels and masks were looked for")


class _Outputs:
    """What outputs look like, by number; ranks: -1 where not even that is known."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.numbers = range(len(graph.results))
        self.whole = [is_integer(output) for output in graph.model.outputs]
        ranks = [graph.output_of(port).get_partial_shape().rank for port in graph.results]
        self.ranks: list[int] = [rank.get_length() if rank.is_static else -1 for rank in ranks]

    def witness(self, number: int) -> Extents | None:
        node, port = self.graph.results[number]
        return self.graph.extents[node][port]

    def is_table(self, number: int, rank: int) -> bool:
        return not self.whole[number] and self.ranks[number] == rank

    def last(self, number: int) -> int | None:
        """The size of an output's last axis."""
        return next(reversed(sizes(self.graph.model.outputs[number])), None)

    def channels(self, number: int) -> int | None:
        shape = self.witness(number)
        return shape[1] if shape is not None and len(shape) == 4 else None


def _finished(outputs: _Outputs, labels: int, boxes: int, sides: Grid) -> Roles | No:
    ranks = outputs.ranks
    rest = [n for n in outputs.numbers if n not in (labels, boxes)]
    masks = [
        n for n in rest if ranks[n] in (3, 4, 5) and ranks[n] >= ranks[boxes] and _mask_like(outputs.witness(n), ranks[boxes])
    ]
    scores = [n for n in rest if outputs.is_table(n, ranks[labels])]
    score = boxes if outputs.last(boxes) == 5 else scores[0] if len(scores) == 1 else None
    if score is None:
        return No("no instance masks: boxes and labels were found, but no score per box")
    for n in (n for n in rest if ranks[n] == ranks[boxes] and n not in masks and n not in scores):
        for prototypes in (m for m in rest if ranks[m] == 4):
            if outputs.last(n) == outputs.channels(prototypes):
                return Roles(boxes, labels, score, prototypes, PROTOTYPES, n)
    if len(masks) != 1:
        return No(f"no instance masks: boxes and labels were found, but {len(masks) or 'no'} outputs with a mask per box")
    return Roles(boxes, labels, score, masks[0], _kind(outputs, masks[0], sides))


def _mask_like(shape: Extents | None, box_rank: int) -> bool:
    """[I, h, w] or [I, 1, h, w], with a batch in front where the boxes have one."""
    lead = box_rank - 1
    if shape is None or len(shape) - lead not in (2, 3):
        return False
    if len(shape) - lead == 3 and shape[lead] != 1:
        return False
    return all(size is None or size > 1 for size in shape[-2:])


def _kind(outputs: _Outputs, masks: int, sides: Grid) -> str:
    """Masks with the picture's sides cover it; so do those of its aspect, if they were not cut out region by region."""
    height, width = (outputs.witness(masks) or (None, None))[-2:]
    if (height, width) == sides:
        return FULL
    same_aspect = height is None or width is None or abs(height * sides[1] - width * sides[0]) <= max(sides)
    return FULL if same_aspect and not behind_regions(outputs.graph)[outputs.graph.results[masks][0]] else BOX


def instances_of(graph: Graph, parts: Roles) -> Instances:
    """The ports behind the outputs that have these roles, and whether they begin with a batch."""
    boxes, labels, scores = (graph.output_of(graph.results[n]) for n in (parts.boxes, parts.labels, parts.scores))
    batched = len(boxes.get_partial_shape()) == 3
    if parts.table:
        columns = sizes(graph.model.outputs[parts.boxes])[-1]
        assert columns is not None, "roles() has counted them"
        return Instances(boxes, boxes, boxes, boxes, True, label_column=5, score_column=4, mask_columns=(6, columns))
    masks = graph.output_of(graph.results[parts.masks if parts.coefficients is None else parts.coefficients])
    singleton = parts.coefficients is None and len(masks.get_partial_shape()) == (5 if batched else 4)
    return Instances(
        boxes, labels, scores, masks, batched, score_column=4 if parts.scores == parts.boxes else None, singleton=singleton
    )


# How many label values an instance segmentation model has, and what its mask values are.

#: Through these only the first input carries values on; the others say which.
_PICKING = frozenset({
    "Gather", "GatherND", "GatherElements", "Slice", "StridedSlice", "Reshape", "Squeeze", "Unsqueeze", "Transpose",
    "Split", "VariadicSplit", "TopK", "Broadcast", "Tile", "Pad", "Select", "Convert", "ScatterNDUpdate",
    "ScatterElementsUpdate", "ScatterUpdate", "Interpolate", "NonMaxSuppression",
})  # fmt: skip


def count_classes(graph: Graph, labels: Port, scores: Port, given: int | None) -> tuple[int, str] | No:
    """(number of label values, where that was read). given: number of labels in rt_info or of the options.

    The class-score tensor above NMS first: there a background that is dropped before is gone already.
    """
    for node in sorted(graph.above([labels]), reverse=True):
        kind = graph.kinds[node]
        position = NMS_SCORES.get(kind)
        if position is not None and position < len(graph.inputs[node]):
            classes = _size(graph, graph.inputs[node][position], -2)
            if classes and classes > 1:
                return classes, f"the scores that {kind} reads have {classes} classes"
            break
        if kind == "ExperimentalDetectronDetectionOutput":
            stated = int(graph.ops[node].get_attributes()["num_classes"])
            return stated, f"{kind} has {stated} classes"
    classes = _activated_columns(graph, scores)
    if classes and classes > 1:
        return classes, f"the activated class scores have {classes} columns"
    if given:
        return given, f"{given} labels are given"
    if classes == 1:
        return 1, "one score per box and no labels: a single class"
    return No("instance masks were found, but not how many classes there are; give --labels or --num-classes", final=True)


def _size(graph: Graph, port: Port, axis: int) -> int | None:
    shape = graph.extents[port[0]][port[1]]
    return shape[axis] if shape is not None and len(shape) >= 2 else None


def _activated_columns(graph: Graph, scores: Port) -> int | None:
    """Columns of the last softmax or sigmoid over class scores from which the handed-out scores are picked."""
    seen: set[int] = set()
    queue = [scores]
    while queue:
        node = queue.pop(0)[0]
        if node in seen or not graph.live[node]:
            continue
        seen.add(node)
        kind, shape = graph.kinds[node], graph.extents[node][0]
        if kind in ("Softmax", "LogSoftmax"):
            return shape[graph.ops[node].get_attributes()["axis"]] if shape is not None else None
        if kind == "Sigmoid":
            return shape[-1] if shape is not None and len(shape) > 1 else None
        if is_linear(graph, node):
            return None
        queue.extend(graph.inputs[node][:1] if kind in _PICKING else graph.inputs[node])
    return None


def lacks_sigmoid(graph: Graph, masks: Port) -> bool:
    """Whether masks come out as logits: no sigmoid, softmax or comparison since the last weighted sum."""
    seen: set[int] = set()
    stack, met_linear = [masks], False
    while stack:
        node = stack.pop()[0]
        if node in seen or not graph.live[node]:
            continue
        seen.add(node)
        kind = graph.kinds[node]
        if kind in ("Sigmoid", "HardSigmoid", "Softmax", "Greater", "GreaterEqual", "Less", "LessEqual"):
            return False
        if is_linear(graph, node) or kind == "MatMul":
            met_linear = True
            continue
        stack.extend(graph.inputs[node][:1] if kind in _PICKING else graph.inputs[node])
    return met_linear
