"""Probes: where single elements of a head's last convolution end up in the tensors behind it.

A probe is one channel at one of up to four positions of one tap. Reshapes, transposes, slices and concatenations
only move it, so its coordinates in any later tensor say how the graph itself reads the channels: which axis is
classes, whether anchors or classes run faster, which columns are boxes. Nothing is guessed from sizes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ovxai.graph.witness import Graph, Port

#: What has happened to a probe on its way.
#: PLACED: met constants that differ from position to position (grids, strides): boxes being made, or made.
SIGMOID, SOFTMAX, SHIFTED, RESCALED, BENT, PLACED = 1, 2, 4, 8, 16, 32
ACTIVATED = SIGMOID | SOFTMAX


@dataclass(frozen=True)
class Probes:
    """coords [M, rank]; tap, channel, place [M]: which element it was; flags [M]: what it has been through."""

    coords: np.ndarray
    tap: np.ndarray
    channel: np.ndarray
    place: np.ndarray
    flags: np.ndarray

    def __len__(self) -> int:
        return len(self.tap)

    def at(self, coords: np.ndarray, keep: np.ndarray | None = None) -> Probes:
        """The same probes at other coordinates; with `keep`, only those (coords are already thinned out)."""
        if keep is None:
            return replace(self, coords=coords)
        return Probes(coords, self.tap[keep], self.channel[keep], self.place[keep], self.flags[keep])

    def only(self, keep: np.ndarray) -> Probes:
        return self.at(self.coords[keep], keep)

    def marked(self, flag: int) -> Probes:
        return replace(self, flags=self.flags | flag)

    @classmethod
    def of_tap(cls, tap: int, shape: tuple[int, ...], axes: tuple[int, int, int, int]) -> Probes:
        """Every channel at the corners of the map. axes: where batch, channel, height and width stand."""
        batch, channel, row, column = axes
        places = sorted({(y, x) for y in (0, min(1, shape[row] - 1)) for x in (0, min(1, shape[column] - 1))})
        total = shape[channel] * len(places)
        coords = np.zeros((total, len(shape)), np.int64)
        channels = np.repeat(np.arange(shape[channel]), len(places))
        place = np.tile(np.arange(len(places)), shape[channel])
        coords[:, channel] = channels
        coords[:, row] = np.array(places)[place, 0]
        coords[:, column] = np.array(places)[place, 1]
        return cls(coords, np.full(total, tap), channels, place, np.zeros(total, np.int64))


def joined(parts: list[Probes]) -> Probes:
    return Probes(*(np.concatenate([getattr(part, name) for part in parts]) for name in Probes.__dataclass_fields__))


def reshaped(probes: Probes, old: tuple[int, ...], new: tuple[int, ...]) -> Probes:
    flat = np.ravel_multi_index(tuple(probes.coords.T), old) if old else np.zeros(len(probes), np.int64)
    if not new:
        return probes.at(np.zeros((len(probes), 0), np.int64))
    return probes.at(np.stack(np.unravel_index(flat, new), axis=1))


def shifted(probes: Probes, axis: int, by: int) -> Probes:
    coords = probes.coords.copy()
    coords[:, axis] += by
    return probes.at(coords)


def cut(probes: Probes, axis: int, start: int, stop: int, step: int = 1) -> Probes:
    """The probes inside [start, stop) of one axis, counted from `start` in steps."""
    where = probes.coords[:, axis]
    if step < 0:
        inside = (where <= start) & (where > stop) & ((start - where) % -step == 0)
    else:
        inside = (where >= start) & (where < stop) & ((where - start) % step == 0)
    coords = probes.coords[inside].copy()
    coords[:, axis] = (coords[:, axis] - start) // step
    return probes.at(coords, inside)


def taken(probes: Probes, axis: int, indices: np.ndarray) -> Probes:
    """Gather with known indices along `axis` (indices of any rank; each probe may appear several times)."""
    flat = indices.reshape(-1)
    hits = probes.coords[:, axis][:, None] == flat[None, :]
    which, slot = np.nonzero(hits)
    inner = np.stack(np.unravel_index(slot, indices.shape), axis=1) if indices.ndim else np.zeros((len(slot), 0), np.int64)
    before, after = probes.coords[which, :axis], probes.coords[which, axis + 1 :]
    return probes.at(np.concatenate([before, inner, after], axis=1), which)


def aligned(probes: Probes, own: tuple[int, ...], out: tuple[int, ...]) -> Probes:
    """An operand of an elementwise op in the output's coordinates; where it is repeated, it is dropped.

    A value that is spread over several elements (objectness over the classes) is no longer one element.
    """
    pad = len(out) - len(own)
    if any(mine == 1 and theirs != 1 for mine, theirs in zip((1,) * pad + own, out)):
        return probes.only(np.zeros(len(probes), bool))
    return probes.at(np.concatenate([np.zeros((len(probes), pad), np.int64), probes.coords], axis=1))


# What each operation does to probes: one small rule a kind. An operation without a rule ends the trail.

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
    if source not in known or indices is None or axis is None or graph.nodes[node].get_attributes().get("batch_dims", 0):
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
    return _elementwise(graph, node, {port: probes for port, probes in known.items() if port != graph.inputs[node][0]}, 0)


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
