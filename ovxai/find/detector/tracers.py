"""Tracers: where single elements of a head's last convolution end up in the tensors behind it.

A tracer is one channel at one of up to four positions of one head map. Reshapes, transposes, slices and concatenations
only move it, so its coordinates in any later tensor say how the graph itself reads the channels: which axis is
classes, whether anchors or classes run faster, which columns are boxes. Nothing is guessed from sizes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np

from ovxai.graph.dims import MapAxes
from ovxai.graph.graph import Graph, Port, Shape

#: What has happened to a tracer on its way.
#: PLACED: met constants that differ from position to position (grids, strides): boxes being made, or made.
SIGMOID, SOFTMAX, SHIFTED, RESCALED, BENT, PLACED = 1, 2, 4, 8, 16, 32
ACTIVATED = SIGMOID | SOFTMAX


@dataclass(frozen=True)
class Tracers:
    """coords [M, rank]; origin [M]: number of the head map; channel, place [M]: which element of it; flags [M]: what
    it has been through."""

    coords: np.ndarray
    origin: np.ndarray
    channel: np.ndarray
    place: np.ndarray
    flags: np.ndarray

    def __len__(self) -> int:
        return len(self.origin)

    def at(self, coords: np.ndarray, keep: np.ndarray | None = None) -> Tracers:
        """The same tracers at other coordinates; with `keep`, only those (coords are already thinned out)."""
        if keep is None:
            return replace(self, coords=coords)
        return Tracers(coords, self.origin[keep], self.channel[keep], self.place[keep], self.flags[keep])

    def only(self, keep: np.ndarray) -> Tracers:
        return self.at(self.coords[keep], keep)

    def marked(self, flag: int) -> Tracers:
        return replace(self, flags=self.flags | flag)

    def marked_where_activated(self, flag: int) -> Tracers:
        return replace(self, flags=np.where(self.flags & ACTIVATED, self.flags | flag, self.flags))

    @classmethod
    def of_map(cls, origin: int, shape: Shape, axes: MapAxes) -> Tracers:
        """Every channel at the corners of the map."""
        _, channel, row, column = axes
        places = sorted({(y, x) for y in (0, min(1, shape[row] - 1)) for x in (0, min(1, shape[column] - 1))})
        total = shape[channel] * len(places)
        coords = np.zeros((total, len(shape)), np.int64)
        channels = np.repeat(np.arange(shape[channel]), len(places))
        place = np.tile(np.arange(len(places)), shape[channel])
        coords[:, channel] = channels
        coords[:, row] = np.array(places)[place, 0]
        coords[:, column] = np.array(places)[place, 1]
        return cls(coords, np.full(total, origin), channels, place, np.zeros(total, np.int64))


def joined(parts: list[Tracers]) -> Tracers:
    return Tracers(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Tracers)))


def reshaped(tracers: Tracers, old: Shape, new: Shape) -> Tracers:
    flat = np.ravel_multi_index(tuple(tracers.coords.T), old) if old else np.zeros(len(tracers), np.int64)
    if not new:
        return tracers.at(np.zeros((len(tracers), 0), np.int64))
    return tracers.at(np.stack(np.unravel_index(flat, new), axis=1))


def moved(tracers: Tracers, axis: int, by: int) -> Tracers:
    coords = tracers.coords.copy()
    coords[:, axis] += by
    return tracers.at(coords)


def cut(tracers: Tracers, axis: int, start: int, stop: int, step: int = 1) -> Tracers:
    """The tracers inside [start, stop) of one axis, counted from `start` in steps."""
    where = tracers.coords[:, axis]
    if step < 0:
        inside = (where <= start) & (where > stop) & ((start - where) % -step == 0)
    else:
        inside = (where >= start) & (where < stop) & ((where - start) % step == 0)
    coords = tracers.coords[inside].copy()
    coords[:, axis] = (coords[:, axis] - start) // step
    return tracers.at(coords, inside)


def taken(tracers: Tracers, axis: int, indices: np.ndarray) -> Tracers:
    """Gather with known indices along `axis` (indices of any rank; each tracer may appear several times)."""
    flat = indices.reshape(-1)
    hits = tracers.coords[:, axis][:, None] == flat[None, :]
    which, slot = np.nonzero(hits)
    inner = np.stack(np.unravel_index(slot, indices.shape), axis=1) if indices.ndim else np.zeros((len(slot), 0), np.int64)
    before, after = tracers.coords[which, :axis], tracers.coords[which, axis + 1 :]
    return tracers.at(np.concatenate([before, inner, after], axis=1), which)


def aligned(tracers: Tracers, own: Shape, out: Shape) -> Tracers:
    """An operand of an elementwise op in the output's coordinates; where it is repeated, it is dropped.

    A value that is spread over several elements (objectness over the classes) is no longer one element.
    """
    pad = len(out) - len(own)
    if any(mine == 1 and theirs != 1 for mine, theirs in zip((1,) * pad + own, out)):
        return tracers.only(np.zeros(len(tracers), bool))
    return tracers.at(np.concatenate([np.zeros((len(tracers), pad), np.int64), tracers.coords], axis=1))


# What each operation does to tracers: one small rule per kind. An operation without a rule ends the trail.

Known = dict[Port, Tracers]
#: node -> tracers by output number; {} where the trail ends.
Rule = Callable[[Graph, int, Known], dict[int, Tracers]]
RULES: dict[str, Rule] = {}


def rule(*kinds: str) -> Callable[[Rule], Rule]:
    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(kinds, function))
        return function

    return register


def step(graph: Graph, node: int, known: Known) -> dict[int, Tracers]:
    """The tracers at the outputs of `node`, given those at its inputs."""
    function = RULES.get(graph.kinds[node])
    if function is None or not any(feed in known for feed in graph.inputs[node]):
        return {}
    ports = [(node, number) for number in range(len(graph.extents[node]))]
    if any(graph.shape(port) is None for port in [*ports, *(feed for feed in graph.inputs[node] if feed in known)]):
        return {}
    return {port: tracers for port, tracers in function(graph, node, known).items() if len(tracers)}


def _values(graph: Graph, ports: list[Port]) -> list[np.ndarray] | None:
    """What stands at ports that say how, each as a vector; None where one of them hangs on the picture."""
    values = [graph.value(port) for port in ports]
    vectors = [value.reshape(-1) for value in values if value is not None]
    return vectors if len(vectors) == len(ports) else None


@rule("Reshape", "Squeeze", "Unsqueeze")
def _reshape(graph: Graph, node: int, known: Known) -> dict[int, Tracers]:
    feed = graph.inputs[node][0]
    if feed not in known:
        return {}
    old, new = graph.known_shape(feed), graph.known_shape((node, 0))
    # Sizes that are baked for another picture than the witness may not even hold as many values.
    return {0: reshaped(known[feed], old, new)} if math.prod(old) == math.prod(new) else {}


@rule("Transpose")
def _transpose(graph: Graph, node: int, known: Known) -> dict[int, Tracers]:
    feed, order = graph.inputs[node]
    permutation = graph.value(order)
    if feed not in known or permutation is None:
        return {}
    if permutation.size == 0:
        permutation = np.arange(len(graph.known_shape(feed)))[::-1]
    return {0: known[feed].at(known[feed].coords[:, permutation.reshape(-1)])}


@rule("Concat")
def _concat(graph: Graph, node: int, known: Known) -> dict[int, Tracers]:
    axis = graph.ops[node].get_attributes()["axis"] % len(graph.known_shape((node, 0)))
    parts, offset = [], 0
    for feed in graph.inputs[node]:
        shape = graph.shape(feed)
        if shape is None:
            return {}
        if feed in known:
            parts.append(moved(known[feed], axis, offset))
        offset += shape[axis]
    return {0: joined(parts)}


@rule("Split", "VariadicSplit")
def _split(graph: Graph, node: int, known: Known) -> dict[int, Tracers]:
    feed, given = graph.inputs[node][0], graph.value(graph.inputs[node][1])
    if feed not in known or given is None:
        return {}
    axis, start, pieces = int(given.reshape(-1)[0]) % len(graph.known_shape(feed)), 0, {}
    for port in range(len(graph.extents[node])):
        stop = start + graph.known_shape((node, port))[axis]
        pieces[port] = cut(known[feed], axis, start, stop)
        start = stop
    return pieces


@rule("Slice")
def _slice(graph: Graph, node: int, known: Known) -> dict[int, Tracers]:
    feed, *bounds = graph.inputs[node]
    values = _values(graph, bounds)
    if feed not in known or values is None:
        return {}
    starts, stops, steps = values[:3]
    axes = values[3] if len(values) > 3 else range(len(starts))
    shape, tracers = graph.known_shape(feed), known[feed]
    for given, start, stop, stride in zip(axes, starts, stops, steps):
        axis = int(given) % len(shape)
        tracers = cut(tracers, axis, *slice(int(start), int(stop), int(stride)).indices(shape[axis]))
    return {0: tracers}


@rule("StridedSlice")
def _strided_slice(graph: Graph, node: int, known: Known) -> dict[int, Tracers]:
    feed, *bounds = graph.inputs[node]
    values = _values(graph, bounds)
    masks = graph.ops[node].get_attributes()
    if feed not in known or values is None or any(masks.get("ellipsis_mask") or ()):
        return {}
    starts, stops = values[:2]
    strides = values[2] if len(values) > 2 else np.ones_like(starts)
    shape = graph.known_shape(feed)
    pieces: dict[int, slice] = {}
    for i in range(len(starts)):
        if _is_masked(masks, "new_axis_mask", i):
            continue
        axis = len(pieces)
        whole = slice(
            None if _is_masked(masks, "begin_mask", i) else int(starts[i]),
            None if _is_masked(masks, "end_mask", i) else int(stops[i]),
            int(strides[i]),
        )
        if _is_masked(masks, "shrink_axis_mask", i):
            first = int(starts[i]) % shape[axis]
            whole = slice(first, first + 1, 1)
        pieces[axis] = whole
    tracers = known[feed]
    for axis, whole in pieces.items():
        tracers = cut(tracers, axis, *whole.indices(shape[axis]))
    small = tuple(len(range(*pieces.get(axis, slice(None)).indices(size))) for axis, size in enumerate(shape))
    return {0: reshaped(tracers, small, graph.known_shape((node, 0)))}


def _is_masked(masks: dict[str, list[int]], name: str, position: int) -> bool:
    mask = masks.get(name) or []
    return position < len(mask) and bool(mask[position])


@rule("Gather")
def _gather(graph: Graph, node: int, known: Known) -> dict[int, Tracers]:
    feed, index, along = graph.inputs[node]
    indices, given = graph.value(index), graph.value(along)
    if feed not in known or indices is None or given is None or graph.ops[node].get_attributes().get("batch_dims", 0):
        return {}
    shape = graph.known_shape(feed)
    axis = int(given.reshape(-1)[0]) % len(shape)
    return {0: taken(known[feed], axis, indices % shape[axis])}


@rule("Convert", "ConvertLike", "FakeQuantize", "FakeConvert", "Clamp", "Relu", "Sqrt", "Power", "HardSigmoid")
def _same_place(graph: Graph, node: int, known: Known) -> dict[int, Tracers]:
    feed = graph.inputs[node][0]
    return {0: known[feed]} if feed in known and graph.shape(feed) == graph.shape((node, 0)) else {}


@rule("Exp", "Log", "Tanh", "Swish", "SoftPlus", "Abs", "Negative", "Floor", "Gelu", "PRelu", "Elu")
def _bend(graph: Graph, node: int, known: Known) -> dict[int, Tracers]:
    return {port: tracers.marked(BENT) for port, tracers in _same_place(graph, node, known).items()}


@rule("Sigmoid")
def _sigmoid(graph: Graph, node: int, known: Known) -> dict[int, Tracers]:
    return {0: known[graph.inputs[node][0]].marked(SIGMOID)}


@rule("Softmax", "LogSoftmax")
def _softmax(graph: Graph, node: int, known: Known) -> dict[int, Tracers]:
    return {0: known[graph.inputs[node][0]].marked(SOFTMAX)}


@rule("Add", "Subtract")
def _shift(graph: Graph, node: int, known: Known) -> dict[int, Tracers]:
    return _elementwise(graph, node, known, SHIFTED)


@rule("Multiply", "Divide")
def _scale(graph: Graph, node: int, known: Known) -> dict[int, Tracers]:
    # A score times another score (objectness, centerness) is still that score; times a number it is a box side.
    both_live = sum(graph.live[feed] for feed, _ in graph.inputs[node]) == 2
    return _elementwise(graph, node, known, 0 if both_live else RESCALED)


@rule("Maximum", "Minimum")
def _limit(graph: Graph, node: int, known: Known) -> dict[int, Tracers]:
    return _elementwise(graph, node, known, 0)


@rule("Select")
def _select(graph: Graph, node: int, known: Known) -> dict[int, Tracers]:
    condition = graph.inputs[node][0]
    return _elementwise(graph, node, {port: tracers for port, tracers in known.items() if port != condition}, 0)


def _elementwise(graph: Graph, node: int, known: Known, flag: int) -> dict[int, Tracers]:
    out, parts = graph.known_shape((node, 0)), []
    if any(not graph.live[feed[0]] and _is_single(graph, feed) for feed in graph.inputs[node]):
        flag = 0  # one number for all changes no order among them
    for feed in dict.fromkeys(graph.inputs[node]):
        if feed in known:
            tracers = aligned(known[feed], graph.known_shape(feed), out)
            # Arithmetic on raw values is part of making a logit; on activated ones it makes a box.
            tracers = tracers.marked_where_activated(flag) if flag else tracers
            parts.append(tracers.marked(PLACED) if _by_position(graph, node, feed, tracers) else tracers)
    return {0: joined(parts)} if parts else {}


def _is_single(graph: Graph, port: Port) -> bool:
    shape = graph.shape(port)
    return shape is not None and all(size == 1 for size in shape) and shape != ()


def _by_position(graph: Graph, node: int, feed: Port, tracers: Tracers) -> bool:
    """Whether the other operand is a table that goes along with the position."""
    if graph.kinds[node] not in ("Add", "Subtract", "Multiply", "Divide") or not len(tracers):
        return False
    other = next((port for port in graph.inputs[node] if port != feed), feed)
    if graph.live[other[0]]:
        return False
    own = graph.shape(other) or ()
    rank = len(graph.known_shape((node, 0)))
    sizes = (1,) * (rank - len(own)) + own
    channel = tracers.only((tracers.channel == tracers.channel[0]) & (tracers.origin == tracers.origin[0]))
    return any(sizes[axis] != 1 and len(set(channel.coords[:, axis].tolist())) > 1 for axis in range(rank))
