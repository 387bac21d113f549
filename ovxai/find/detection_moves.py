"""What each operation does to probes: one small rule a kind. An operation without a rule ends the trail."""

from __future__ import annotations

from typing import Callable

import numpy as np

from ovxai.find.detection_graph import Graph, Port
from ovxai.find.detection_probes import (
    ACTIVATED,
    BENT,
    PLACED,
    RESCALED,
    SHIFTED,
    SIGMOID,
    SOFTMAX,
    Probes,
    aligned,
    cut,
    joined,
    reshaped,
    shifted,
    taken,
)

Known = dict[Port, Probes]
#: node index -> probes by output number; {} where the trail ends.
Rule = Callable[[Graph, int, Known], dict[int, Probes]]
RULES: dict[str, Rule] = {}


def rule(*kinds: str) -> Callable[[Rule], Rule]:
    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(kinds, function))
        return function

    return register


def step(graph: Graph, node: int, known: Known) -> dict[int, Probes]:
    """The probes at the outputs of `node`, given those at its inputs."""
    function = RULES.get(graph.kinds[node])
    if function is None or not any(source in known for source in graph.inputs[node]):
        return {}
    ports = [(node, p) for p in range(len(graph.shapes[node]))]
    if not all(graph.static(port) for port in [*ports, *(s for s in graph.inputs[node] if s in known)]):
        return {}
    return {port: probes for port, probes in function(graph, node, known).items() if len(probes)}


@rule("Reshape", "Squeeze", "Unsqueeze")
def _reshape(graph: Graph, node: int, known: Known) -> dict[int, Probes]:
    source = graph.inputs[node][0]
    if source not in known:
        return {}
    return {0: reshaped(known[source], graph.shape(source), graph.shape((node, 0)))}


@rule("Transpose")
def _transpose(graph: Graph, node: int, known: Known) -> dict[int, Probes]:
    source, order = graph.inputs[node]
    permutation = graph.value(order)
    if source not in known or permutation is None:
        return {}
    if permutation.size == 0:
        permutation = np.arange(len(graph.shape(source)))[::-1]
    return {0: known[source].at(known[source].coords[:, permutation.reshape(-1)])}


@rule("Concat")
def _concat(graph: Graph, node: int, known: Known) -> dict[int, Probes]:
    axis = graph.nodes[node].get_attributes()["axis"] % len(graph.shape((node, 0)))
    parts, offset = [], 0
    for source in graph.inputs[node]:
        if not graph.static(source):
            return {}
        if source in known:
            parts.append(shifted(known[source], axis, offset))
        offset += graph.shape(source)[axis]
    return {0: joined(parts)}


@rule("Split", "VariadicSplit")
def _split(graph: Graph, node: int, known: Known) -> dict[int, Probes]:
    source, axis = graph.inputs[node][0], graph.value(graph.inputs[node][1])
    if source not in known or axis is None:
        return {}
    axis, start, found = int(axis.reshape(-1)[0]) % len(graph.shape(source)), 0, {}
    for port, shape in enumerate(graph.shapes[node]):
        found[port] = cut(known[source], axis, start, start + shape[axis])
        start += shape[axis]
    return found


@rule("Slice")
def _slice(graph: Graph, node: int, known: Known) -> dict[int, Probes]:
    source, *ends = graph.inputs[node]
    values = [graph.value(port) for port in ends]
    if source not in known or any(value is None for value in values):
        return {}
    starts, stops, steps = (value.reshape(-1) for value in values[:3])
    axes = values[3].reshape(-1) if len(values) > 3 else range(len(starts))
    return {0: _cuts(known[source], graph.shape(source), zip(axes, starts, stops, steps))}


def _cuts(probes: Probes, shape: tuple[int, ...], pieces) -> Probes:
    for axis, start, stop, stride in pieces:
        axis = int(axis) % len(shape)
        first, last, stride = slice(int(start), int(stop), int(stride)).indices(shape[axis])
        probes = cut(probes, axis, first, last, stride)
    return probes


@rule("StridedSlice")
def _strided_slice(graph: Graph, node: int, known: Known) -> dict[int, Probes]:
    source, *ends = graph.inputs[node]
    values = [graph.value(port) for port in ends]
    masks = graph.nodes[node].get_attributes()
    if source not in known or any(value is None for value in values) or any(masks.get("ellipsis_mask") or ()):
        return {}
    starts, stops = (value.reshape(-1) for value in values[:2])
    strides = values[2].reshape(-1) if len(values) > 2 else np.ones_like(starts)
    shape, pieces, axis = graph.shape(source), [], 0
    for i in range(len(starts)):
        if _masked(masks, "new_axis_mask", i):
            continue
        whole = slice(
            None if _masked(masks, "begin_mask", i) else int(starts[i]),
            None if _masked(masks, "end_mask", i) else int(stops[i]),
            int(strides[i]),
        )
        if _masked(masks, "shrink_axis_mask", i):
            first = int(starts[i]) % shape[axis]
            whole = slice(first, first + 1, 1)
        pieces.append((axis, whole))
        axis += 1
    probes = known[source]
    for axis, whole in pieces:
        probes = cut(probes, axis, *whole.indices(shape[axis]))
    small = tuple(len(range(*dict(pieces).get(axis, slice(None)).indices(size))) for axis, size in enumerate(shape))
    return {0: reshaped(probes, small, graph.shape((node, 0)))}


def _masked(masks: dict, name: str, position: int) -> bool:
    mask = masks.get(name) or ()
    return position < len(mask) and bool(mask[position])


@rule("Gather")
def _gather(graph: Graph, node: int, known: Known) -> dict[int, Probes]:
    source, index, axis = graph.inputs[node]
    indices, axis = graph.value(index), graph.value(axis)
    if (
        source not in known
        or indices is None
        or axis is None
        or graph.nodes[node].get_attributes().get("batch_dims", 0)
    ):
        return {}
    axis = int(axis.reshape(-1)[0]) % len(graph.shape(source))
    return {0: taken(known[source], axis, indices % graph.shape(source)[axis])}


@rule("Convert", "ConvertLike", "FakeQuantize", "FakeConvert", "Clamp", "Relu", "Sqrt", "Power", "HardSigmoid")
def _same_place(graph: Graph, node: int, known: Known) -> dict[int, Probes]:
    source = graph.inputs[node][0]
    return {0: known[source]} if source in known and graph.shape(source) == graph.shape((node, 0)) else {}


@rule("Exp", "Log", "Tanh", "Swish", "SoftPlus", "Abs", "Negative", "Floor", "Gelu", "PRelu", "Elu")
def _bend(graph: Graph, node: int, known: Known) -> dict[int, Probes]:
    return {port: probes.marked(BENT) for port, probes in _same_place(graph, node, known).items()}


@rule("Sigmoid")
def _sigmoid(graph: Graph, node: int, known: Known) -> dict[int, Probes]:
    return {0: known[graph.inputs[node][0]].marked(SIGMOID)}


@rule("Softmax", "LogSoftmax")
def _softmax(graph: Graph, node: int, known: Known) -> dict[int, Probes]:
    return {0: known[graph.inputs[node][0]].marked(SOFTMAX)}


@rule("Add", "Subtract")
def _shift(graph: Graph, node: int, known: Known) -> dict[int, Probes]:
    return _elementwise(graph, node, known, SHIFTED)


@rule("Multiply", "Divide")
def _scale(graph: Graph, node: int, known: Known) -> dict[int, Probes]:
    # A score times another score (objectness, centerness) is still that score; times a number it is a box side.
    both_live = sum(graph.live[source] for source, _ in graph.inputs[node]) == 2
    return _elementwise(graph, node, known, 0 if both_live else RESCALED)


@rule("Maximum", "Minimum")
def _limit(graph: Graph, node: int, known: Known) -> dict[int, Probes]:
    return _elementwise(graph, node, known, 0)


@rule("Select")
def _select(graph: Graph, node: int, known: Known) -> dict[int, Probes]:
    return _elementwise(
        graph, node, {port: probes for port, probes in known.items() if port != graph.inputs[node][0]}, 0
    )


def _elementwise(graph: Graph, node: int, known: Known, flag: int) -> dict[int, Probes]:
    out, parts = graph.shape((node, 0)), []
    if any(np.prod(graph.shape(s) or (0,), dtype=np.int64) == 1 and not graph.live[s[0]] for s in graph.inputs[node]):
        flag = 0  # one number for all changes no order among them
    for source in dict.fromkeys(graph.inputs[node]):
        if source in known:
            probes = aligned(known[source], graph.shape(source), out)
            # Arithmetic on raw values is part of making a logit; on activated ones it makes a box.
            probes = probes if not flag else _flag_activated(probes, flag)
            parts.append(probes.marked(PLACED) if _by_position(graph, node, source, probes) else probes)
    return {0: joined(parts)} if parts else {}


def _by_position(graph: Graph, node: int, source: Port, probes: Probes) -> bool:
    """Whether the other operand is a table that goes along with the position."""
    if graph.kinds[node] not in ("Add", "Subtract", "Multiply", "Divide") or not len(probes):
        return False
    other = next((port for port in graph.inputs[node] if port != source), source)
    if graph.live[other[0]]:
        return False
    rank = len(graph.shape((node, 0)))
    sizes = (1,) * (rank - len(graph.shape(other) or ())) + (graph.shape(other) or ())
    one = probes.only((probes.channel == probes.channel[0]) & (probes.tap == probes.tap[0]))
    return any(sizes[axis] != 1 and len(set(one.coords[:, axis].tolist())) > 1 for axis in range(rank))


def _flag_activated(probes: Probes, flag: int) -> Probes:
    return Probes(probes.coords, probes.tap, probes.channel, probes.place,
                  np.where(probes.flags & ACTIVATED, probes.flags | flag, probes.flags))  # fmt: skip
