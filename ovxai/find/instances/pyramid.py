"""The neck's maps of a model with instances: what regions are cut from, else what the dense heads read."""

from __future__ import annotations

from ovxai.find.detector.taps import REGION_POOLS, Tap, behind_regions, grid_tap, is_linear, last_linear, last_map
from ovxai.find.detector.trail import NMS_SCORES
from ovxai.find.site import No
from ovxai.graph.witness import Graph, Port


def pyramid(graph: Graph) -> list[Port]:
    """Maps [N, c, h, w], fine to coarse; empty where there are none."""
    results = [graph.inputs[i][0] for i, kind in enumerate(graph.kinds) if kind == "Result"]
    regional = behind_regions(graph)
    linear, _ = last_linear(graph, results)
    taps = [tap for node in linear if not regional[node] and (tap := grid_tap(graph, node)) and tap.cells > 1]
    pooled = _pooled_maps(graph)
    if pooled:
        return _sorted(graph, [*pooled, *_as_deep(graph, taps, pooled)])
    found = {tap.grid: _read_by_all(graph, [other for other in taps if other.grid == tap.grid]) for tap in taps}
    return _sorted(graph, [port for port in found.values() if port is not None])


def _read_by_all(graph: Graph, taps: list[Tap]) -> Port | None:
    """The last map of this grid that every branch reads; None where there is only one branch (a prototype's, say)."""
    if len({tap.linear for tap in taps}) < 2:
        return None
    common = set.intersection(*(graph.above([tap.source]) for tap in taps))
    found = last_map(graph, common, taps[0])
    return found[0] if found else None


def _pooled_maps(graph: Graph) -> list[Port]:
    maps: dict[Port, None] = {}
    for node, kind in enumerate(graph.kinds):
        if kind not in REGION_POOLS or not graph.live[node]:
            continue
        for source in graph.inputs[node]:
            shape = graph.shape(source)
            if graph.live[source[0]] and shape is not None and len(shape) == 4 and None not in shape and shape[2] * shape[3] > 1:
                maps[source] = None
    return list(maps)


def _as_deep(graph: Graph, taps: list[Tap], pooled: list[Port]) -> list[Port]:
    """Levels that only propose (the coarsest): as far above their tap as the pooled maps are above theirs."""
    grids = {graph.shape(port)[2:] for port in pooled}
    depth = next((d for tap in taps if tap.grid in grids and (d := _depth(graph, tap, pooled)) is not None), None)
    if depth is None:
        return []
    extra = {tap.grid: _climb(graph, tap.source, depth) for tap in taps if tap.grid not in grids}
    return [port for port in extra.values() if port is not None]


def _depth(graph: Graph, tap: Tap, pooled: list[Port]) -> int | None:
    for depth in range(6):
        if _climb(graph, tap.source, depth) in pooled:
            return depth
    return None


def _climb(graph: Graph, port: Port, weighted: int) -> Port | None:
    """The map that the `weighted`-th weighted sum above `port` reads."""
    while weighted:
        sources = graph.live_inputs(port[0])
        if len(sources) != 1:
            return None
        weighted -= is_linear(graph, port[0])
        port = sources[0]
    return port


def _sorted(graph: Graph, ports: list[Port]) -> list[Port]:
    return sorted(dict.fromkeys(ports), key=lambda port: -graph.shape(port)[2] * graph.shape(port)[3])


# How many label values an instance segmentation model has.

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
    return No("instance masks were found, but not how many classes there are; give --labels or --num-classes", final=True)


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
