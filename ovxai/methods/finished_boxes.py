"""Boxes that a model hands out finished: the best of them, and which of its scores each was picked from.

However a model suppresses (by class, over all at once, in a branch of its own), a score that it hands out is one that it
made for every candidate and then picked. Which one is told by places: numbers that go the way of the scores.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import openvino as ov
from openvino import opset13 as op

from ovxai.backward.interpreter import carriers
from ovxai.backward.targets import Targets
from ovxai.errors import UnsupportedModelError
from ovxai.graph import emit
from ovxai.graph.dims import Dim, Dims, dims_of, ints, number, product, whole_number
from ovxai.graph.graph import Graph, Port
from ovxai.methods.box_rows import CONSIDERED, LEAST, Best, over_the_floor


@dataclass(frozen=True)
class Finished:
    """What a model hands out. boxes: f32 [N, I, 4], x1, y1, x2, y2 in pixels of the input. labels: i64 [N, I].

    scores: f32 [N, I]. tables: the tensors in which scores of all candidates stand. places: i64 [N, I], from where in these,
    one behind the other, each score was picked; -1 from nowhere. classes: how many labels there are. kept: see `Branch`.
    """

    graph: Graph
    boxes: ov.Output
    labels: ov.Output
    scores: ov.Output
    tables: tuple[Port, ...]
    places: ov.Output
    classes: int
    kept: tuple[ov.Output, ...] = ()

    @property
    def considered(self) -> int:
        """No more boxes are looked for: so many there can be."""
        most = self.scores.get_partial_shape()[1].get_max_length()
        return min(CONSIDERED, most) if most > 0 else CONSIDERED

    def best(self, count: int) -> Best:
        """Those with the best scores; `rows` of it are places."""
        known = op.logical_and(op.greater_equal(self.labels, whole_number(0)), op.less(self.labels, whole_number(self.classes)))
        left = op.select(known, over_the_floor(self.scores), number(0.0)).output(0)
        final = op.topk(_longer(left, count), whole_number(count), 1, "max", "value", index_element_type="i64")
        rows, labels, boxes = (
            emit.pick_each(_longer(each, count), final.output(1)) for each in (self.places, self.labels, self.boxes)
        )
        return Best(rows, labels, final.output(0), boxes)

    def seeds(self, best: Best, targets: Targets) -> dict[Port, ov.Output]:
        """The derivative of each box's logarithm of its score by every table."""
        value = op.divide(number(1.0), op.maximum(best.scores, number(LEAST)))
        found, first = {}, Dim(0)
        for port in self.tables:
            dims = _dims(self.graph, port)
            last = first + product(dims)
            own = op.logical_and(op.greater_equal(best.rows, first.node()), op.less(best.rows, last.node()))
            own = op.logical_and(own, op.greater(best.scores, number(0.0)))
            turned = [
                emit.transpose(op.select(own, each, other).output(0), [1, 0])
                for each, other in ((op.subtract(best.rows, first.node()), whole_number(0)), (value, number(0.0)))
            ]
            nothing = emit.broadcast(number(0.0), (Dim(targets.count), product(dims)))
            spread = op.scatter_elements_update(nothing, *turned, whole_number(1), "sum").output(0)  # the targets of each picture
            kind = self.graph.output_of(port).get_element_type()
            found[port] = emit.as_type(targets.reshaped(spread, dims), kind)
            first = last
        return found


def _longer(tensor: ov.Output, count: int) -> ov.Output:
    """[N, I, ...] with rows of nothing behind, for a picture may have fewer than `count`."""
    more = [0, count, *[0] * (len(tensor.get_partial_shape()) - 2)]
    return op.pad(tensor, ints([0] * len(more)), ints(more), "constant", emit.scalar(0, tensor)).output(0)


def _dims(graph: Graph, port: Port) -> Dims:
    """The extents of a table.

    Raises:
        UnsupportedModelError: how long it is hangs on what is in the picture.
    """
    output, shape = graph.output_of(port), graph.shape(port)
    if shape is None:
        node = output.get_node()
        name = f"{node.get_type_name()} {node.get_friendly_name()}"
        raise UnsupportedModelError(
            f"its scores come from {name}, whose size depends on the picture; maps per box need a fixed one"
        )
    return dims_of(output, shape)


# From where each value was picked.


def picked_from(graph: Graph, port: Port, scores: Sequence[ov.Output]) -> tuple[tuple[Port, ...], ov.Output]:
    """The tensors from which the values at `port` were picked, and from where in those: i64 of its shape, -1 where from nowhere.

    scores: the raw class scores; what is not made from them is nowhere.
    """
    found = _Picks(graph, carriers(graph, scores))
    places = found.places(port)
    return tuple(found.tables), places


class _Picks:
    """tables: those met so far. made: the places of ports that were asked for."""

    def __init__(self, graph: Graph, carriers: set[Port]) -> None:
        self.graph = graph
        self.carriers = carriers
        self.tables: list[Port] = []
        self.end = Dim(0)
        self.made: dict[Port, ov.Output] = {}

    def places(self, port: Port) -> ov.Output:
        if port not in self.made:
            self.made[port] = self._made(port)
        return self.made[port]

    def _made(self, port: Port) -> ov.Output:
        if port not in self.carriers:
            return op.broadcast(whole_number(-1), op.shape_of(self.graph.output_of(port), "i64")).output(0)
        rule = _PICKS.get(self.graph.kinds[port[0]])
        found = None if rule is None else rule(self, port)
        return self._counted(port) if found is None else found

    def _counted(self, port: Port) -> ov.Output:
        """One more table: its entries, counted on from the one before."""
        dims = _dims(self.graph, port)
        first, self.end = self.end, self.end + product(dims)
        self.tables.append(port)
        ends = [op.squeeze(end.node(), ints([0])) for end in (first, self.end)]
        return emit.reshape(op.range(*ends, whole_number(1), "i64").output(0), dims)

    def again(self, port: Port, *picked: int) -> ov.Output:
        """The operation once more on places instead of the values of some inputs."""
        node, number = port
        feeds = [
            self.places(feed) if place in picked else self.graph.output_of(feed)
            for place, feed in enumerate(self.graph.inputs[node])
        ]
        return emit.clone(self.graph.ops[node], feeds).output(number)


def _first(picks: _Picks, port: Port) -> ov.Output:
    return picks.again(port, 0)


def _all(picks: _Picks, port: Port) -> ov.Output:
    return picks.again(port, *range(len(picks.graph.inputs[port[0]])))


def _either(picks: _Picks, port: Port) -> ov.Output:
    return picks.again(port, 1, 2)


def _same(picks: _Picks, port: Port) -> ov.Output:
    return picks.places(picks.graph.inputs[port[0]][0])


def _best(picks: _Picks, port: Port) -> ov.Output:
    """TopK chose by the values; its second output says where from."""
    node = picks.graph.ops[port[0]]
    return op.gather_elements(_same(picks, port), node.output(1), int(node.get_attributes()["axis"])).output(0)


def _left(picks: _Picks, port: Port) -> ov.Output | None:
    """What a suppression has chosen: rows of picture, class and score, whose places its first output says."""
    node = picks.graph.ops[port[0]]
    if port[1] != _CHOSEN_SCORES:
        return None
    chosen = emit.as_type(node.output(0), ov.Type.i64)
    own = op.gather_nd(picks.places(picks.graph.inputs[port[0]][1]), op.maximum(chosen, whole_number(0)))  # rows of -1 are none
    there = op.greater_equal(emit.slice_axis(chosen, 1, 0, 1), whole_number(0))
    places = op.select(there, op.unsqueeze(own, ints([1])), whole_number(-1))
    return op.pad(places, ints([0, 2]), ints([0, 0]), "constant", whole_number(-1)).output(0)


#: The number of the output of NonMaxSuppression that has the scores; its input that has them is the second.
_CHOSEN_SCORES = 1


def _put(picks: _Picks, port: Port) -> ov.Output | None:
    """Scatters; one that adds to what was there makes values."""
    attributes = picks.graph.ops[port[0]].get_attributes()
    return picks.again(port, 0, 2) if str(attributes.get("reduction", "none")).lower() == "none" else None


#: Operations that pick, copy or move values and make none: (picks, port) -> the places of that port; None where it makes some.
_PICKS: Mapping[str, Callable[[_Picks, Port], ov.Output | None]] = MappingProxyType({
    **dict.fromkeys(("Gather", "GatherElements", "GatherND", "Slice", "StridedSlice", "Reshape", "Squeeze", "Unsqueeze",
                     "Transpose", "Broadcast", "Tile", "Split", "VariadicSplit"), _first),
    **dict.fromkeys(("Convert", "Identity"), _same),
    "Concat": _all,
    "Select": _either,
    "TopK": _best,
    "NonMaxSuppression": _left,
    **dict.fromkeys(("ScatterUpdate", "ScatterElementsUpdate", "ScatterNDUpdate"), _put),
})  # fmt: skip
