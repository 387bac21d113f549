"""Heads that look at little: of targets that each stand on one cell of a map, only the cells around it are walked back.

A detector's head runs over whole maps, but the score of one box depends on few cells. Between a level's features and the
last maps of its head, both ways are done once more on windows around the cells, one per target, as a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import openvino as ov
from openvino import opset13 as op

from ovxai.graph import emit
from ovxai.graph.dims import ints, whole_number
from ovxai.graph.graph import Graph, Port, source

_ALONE = (
    "Relu", "Sigmoid", "Swish", "HSwish", "HSigmoid", "Clamp", "PRelu", "Elu", "Mish", "Tanh", "Exp", "SoftPlus", "Gelu",
    "Negative", "Convert", "BatchNormInference", "Add", "Subtract", "Multiply", "Divide",
)  # fmt: skip
_SLIDING = ("Convolution", "GroupConvolution")
#: What may stand between a head's last maps and the targets: it keeps cells apart.
_APART = (*_ALONE, "Reshape", "Transpose", "Concat", "Split", "VariadicSplit", "Slice", "StridedSlice", "Squeeze", "Unsqueeze",
          "Sqrt", "Power", "Result")  # fmt: skip


@dataclass(frozen=True)
class Region:
    """Operations over one map [1, C, h, w] that keep its size. entry: what they are made from. exits: what others read of
    them. reach: how many cells far an exit looks at the entry."""

    entry: Port
    nodes: tuple[int, ...]
    exits: tuple[Port, ...]
    reach: int

    @property
    def side(self) -> int:
        """Of a window in whose middle, `reach` cells far, all that an exit there needs is right."""
        return 4 * self.reach + 1


def regions(graph: Graph, entries: Iterable[Port], seeds: Iterable[Port], taps: Iterable[Port]) -> dict[int, Region]:
    """Per first operation of each: the regions below `entries` that windows make cheaper. taps: what none may hold."""
    goals = set(seeds)
    leading = graph.above(goals)
    walls = {tap[0] for tap in taps}
    found = {}
    for entry in dict.fromkeys(entries):
        region = _below(graph, entry, leading)
        if region is None or walls & set(region.nodes) or not _apart(graph, region, leading):
            continue
        height, width = graph.known_shape(entry)[2:]
        if max(region.side, 1) < min(height, width) and 2 * region.side**2 < height * width:
            found[region.nodes[0]] = region
    return found


def _below(graph: Graph, entry: Port, leading: set[int]) -> Region | None:
    """What is made from `entry` alone, cell by cell or by convolutions that keep the size."""
    shape = graph.shape(entry)
    if shape is None or len(shape) != 4 or shape[0] != 1 or graph.output_of(entry).get_partial_shape().is_dynamic:
        return None
    far: dict[int, int] = {entry[0]: 0}
    nodes: list[int] = []
    for node in range(entry[0] + 1, len(graph.ops)):
        feeds = graph.live_inputs(node)
        if node in leading and feeds and all(feed == entry or feed[0] in nodes for feed in feeds):
            own = _reach(graph, node, shape[2:])
            if own is not None:
                far[node] = max(far[feed[0]] for feed in feeds) + own
                nodes.append(node)
    inside = set(nodes)
    exits = tuple((node, 0) for node in nodes if _is_read_beyond(graph, node, inside, leading))
    return Region(entry, tuple(nodes), exits, max(far[node] for node, _ in exits)) if exits else None


def _is_read_beyond(graph: Graph, node: int, inside: set[int], leading: set[int]) -> bool:
    readers = [reader for reader, _ in graph.consumers.get((node, 0), []) if reader not in inside]
    return any(reader in leading or graph.kinds[reader] == "Result" for reader in readers)


def _reach(graph: Graph, node: int, grid: Sequence[int]) -> int | None:
    """How many cells to each side an operation looks; None where it does anything else, or changes the size."""
    kind, operation = graph.kinds[node], graph.ops[node]
    shape = graph.shape((node, 0))
    if shape is None or len(shape) != 4 or shape[0] != 1 or tuple(shape[2:]) != tuple(grid):
        return None
    if kind in _ALONE:  # what is worked out from sizes, such as a grid of places, is as fixed as a constant
        fixed = [graph.known_shape(feed) for feed in graph.inputs[node] if not graph.live[feed[0]]]
        small = all(max(sizes[-2:], default=1) == 1 or len(sizes) == 1 for sizes in fixed)
        return 0 if small and operation.get_output_size() == 1 and _broad(operation, fixed, grid) else None
    if kind not in _SLIDING or not graph.is_constant(source(operation, 1)):
        return None
    attributes = operation.get_attributes()
    kernel, dilations = graph.known_shape(source(operation, 1))[-2:], attributes["dilations"]
    wide = [(size - 1) * pace for size, pace in zip(kernel, dilations, strict=True)]
    same = all(2 * pad == all_ for pad, all_ in zip(attributes["pads_begin"], wide, strict=True))
    explicit = same and list(attributes["pads_begin"]) == list(attributes["pads_end"])
    if list(attributes["strides"]) != [1, 1] or not explicit:
        return None
    return max(wide) // 2


def _broad(operation: ov.Node, fixed: Sequence[Sequence[int]], grid: Sequence[int]) -> bool:
    """A vector beside a map runs along its columns, unless it is of channels by the operation's own nature."""
    by_channel = operation.get_type_name() in ("PRelu", "BatchNormInference")
    return by_channel or all(len(sizes) != 1 or sizes[0] == 1 for sizes in fixed) or grid[1] == 1


def _apart(graph: Graph, region: Region, leading: set[int]) -> bool:
    """Whether nothing between the exits and the targets mixes cells."""
    reached = {port[0] for port in region.exits}
    for node in range(min(reached), len(graph.ops)):
        if node in leading and node not in region.nodes and any(feed[0] in reached for feed in graph.live_inputs(node)):
            if graph.kinds[node] not in _APART:
                return False
            reached.add(node)
    return True


#: (graph, seeds, tap) -> the derivative by the tap, of one target per picture.
Derive = Callable[[Graph, dict[Port, ov.Output], ov.Output], ov.Output | None]


def through(graph: Graph, region: Region, given: dict[Port, ov.Output], derive: Derive) -> ov.Output | None:
    """The derivative by the entry, [K, 1, C, h, w]. given: of exits that targets depend on, each nothing but one cell per
    target: [K, 1, C, h, w]."""
    _, channels, height, width = graph.known_shape(region.entry)
    count = next(iter(given.values())).get_partial_shape()[0].get_length()
    cells, side = height * width, region.side
    flat = {
        port: op.reshape(each, ints([count, graph.known_shape(port)[1], cells]), False).output(0) for port, each in given.items()
    }
    index = _window(list(flat.values()), height, width, side, region.reach)  # i64 [K, side * side]
    entry = graph.output_of(region.entry)
    rows = op.gather(op.reshape(entry, ints([channels, cells]), False), op.reshape(index, ints([-1]), False), whole_number(1))
    window = emit.transpose(op.reshape(rows, ints([channels, count, side, side]), False).output(0), [1, 0, 2, 3])
    parameter = op.parameter([count, channels, side, side], entry.get_element_type())
    clones = _cloned(graph, region, parameter.output(0))
    ends = {port: clones[port] for port in given}
    others = [each for each in emit.entries_above(ends.values()) if each.get_name() != parameter.get_name()]  # of shapes alone
    part = Graph(ov.Model([op.result(end) for end in ends.values()], [parameter, *others], "windows"))
    seeds = {}
    for port, end in ends.items():
        size = graph.known_shape(port)[1]
        own = op.gather_elements(flat[port], _for_channels(index, count, size, side), 2)
        seeds[part.port_of(end)] = op.reshape(own, ints([count, size, side, side]), False).output(0)
    found = derive(part, seeds, parameter.output(0))
    for reader in parameter.output(0).get_target_inputs():
        reader.replace_source_output(window)
    if found is None:
        return None
    whole = op.broadcast(emit.scalar(0.0, found), ints([count, channels, cells]))
    updates = op.reshape(found, ints([count, channels, side * side]), False)
    spread = op.scatter_elements_update(whole, _for_channels(index, count, channels, side), updates, whole_number(2))
    return op.reshape(spread, ints([count, 1, channels, height, width]), False).output(0)


def _window(given: Sequence[ov.Output], height: int, width: int, side: int, reach: int) -> ov.Output:
    """i64 [K, side * side]: the cells around the one at which a target's derivatives [K, C, cells] are, within the map."""
    sizes = [op.reduce_sum(op.abs(each), ints([1]), False).output(0) for each in given]
    total = sizes[0]
    for size in sizes[1:]:
        total = emit.add(total, size)
    cell = op.topk(total, whole_number(1), 1, "max", "none", index_element_type="i64").output(1)  # [K, 1]
    row = op.clamp(op.subtract(op.divide(cell, whole_number(width)), whole_number(2 * reach)), 0, height - side)
    column = op.clamp(op.subtract(op.floor_mod(cell, whole_number(width)), whole_number(2 * reach)), 0, width - side)
    near = np.add.outer(np.arange(side) * width, np.arange(side)).reshape(1, -1).astype(np.int64)
    return op.add(op.add(op.multiply(row, whole_number(width)), column), op.constant(near)).output(0)


def _for_channels(index: ov.Output, count: int, channels: int, side: int) -> ov.Output:
    return op.broadcast(op.unsqueeze(index, ints([1])), ints([count, channels, side * side])).output(0)


def _cloned(graph: Graph, region: Region, entry: ov.Output) -> dict[Port, ov.Output]:
    """The region's operations once more, on windows."""
    made = {region.entry: entry}
    for node in region.nodes:
        feeds = [made.get(feed, source(graph.ops[node], number)) for number, feed in enumerate(graph.inputs[node])]
        made[node, 0] = emit.clone(graph.ops[node], feeds).output(0)
    return made
