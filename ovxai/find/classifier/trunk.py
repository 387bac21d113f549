"""What lies between the picture and a classifier's scores: which tensors could be gated, and what everything must pass.

A tensor is tried by walking the head without building it, which shows what becomes of the gate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import openvino as ov

from ovxai.collapse.carry import axis_values
from ovxai.collapse.gate import grid_dims, walk
from ovxai.collapse.masks import POINT, Masks
from ovxai.collapse.values import Dense, Mapped, Seen
from ovxai.find.site import No
from ovxai.graph.dims import NCHW, NCP, NHWC, NPC, Grid, Tap
from ovxai.graph.graph import Graph, constant_value, key_of, source, sources

#: No trunk carries more tokens beside the patches than this.
MOST_PREFIX = 16


# Which axes of a tensor could be the picture's rows and columns.


class Grids:
    """Sizes (h, w) that a picture of H x W can have shrunk to, and those that the graph is known to have."""

    def __init__(self, picture: Grid, known: Sequence[Grid]) -> None:
        self.picture = picture
        self.known = list(dict.fromkeys(known))

    def plausible(self, grid: Grid) -> bool:
        """Whether one stride takes the picture's sides to this grid, give or take a border."""
        if grid in self.known:
            return True
        if min(grid) < 1 or max(grid) < 2 or grid[0] > self.picture[0] or grid[1] > self.picture[1]:
            return False
        low = max(side / (cells + 1) for side, cells in zip(self.picture, grid))
        high = min(side / max(cells - 1, 0.5) for side, cells in zip(self.picture, grid))
        return low < high

    def _follows(self, grid: Grid) -> bool:
        """Whether tokens can have a grid that nothing wrote: the last one that was, shrunk by a whole factor."""
        if not self.known:
            return self.plausible(grid)
        h, w = self.known[0]
        return any((-(-h // factor), -(-w // factor)) == grid for factor in range(1, max(h, w) + 1))

    def of_tokens(self, count: int, guess: bool = True) -> tuple[Grid, int] | None:
        """(h, w) and the number of prefix tokens for a row of `count` tokens.

        guess: whether a grid that no convolution wrote may be read off the picture's proportions.
        """
        fitting = [grid for grid in self.known if 1 < grid[0] * grid[1] <= count <= grid[0] * grid[1] + MOST_PREFIX]
        if fitting:
            best = min(fitting, key=lambda grid: count - grid[0] * grid[1])
            return best, count - best[0] * best[1]
        if not guess:
            return None
        ratio = self.picture[0] / self.picture[1]
        whole = [(h, count // h) for h in range(1, count + 1) if count % h == 0 and self._follows((h, count // h))]
        return (min(whole, key=lambda g: abs(g[0] / g[1] - ratio)), 0) if whole else None


def known_grids(graph: Graph, names: set[str], picture: Grid, batch: int) -> Grids:
    """Grids of the convolutions, pools and resizes among `names`, which write rows and columns at axes 2 and 3.

    Those with another batch than the scores work inside patches.
    """
    spatial = ("Convolution", "GroupConvolution", "MaxPool", "AvgPool", "Interpolate")
    grids: list[Grid] = []
    for node, kind in zip(graph.ops, graph.kinds):
        if kind in spatial and node.get_name() in names:
            shape = graph.shape(node.output(0))
            if shape is not None and len(shape) == 4 and shape[0] == batch and min(shape[2:]) > 1:
                grids.append((shape[2], shape[3]))
    unwritten = Grids(picture, [])
    return Grids(picture, [grid for grid in reversed(grids) if unwritten.plausible(grid)])


def possible_taps(port: ov.Output, shape: tuple[int, ...], batch: int, grids: Grids) -> list[Tap]:
    """The ways in which a tensor can be a feature map, the likelier ones first; none where it has no positions."""
    if len(shape) not in (3, 4) or shape[0] != batch:
        return []
    taps = []
    if len(shape) == 4:
        for layout, grid in ((NCHW, (shape[2], shape[3])), (NHWC, (shape[1], shape[2]))):
            if grid[0] * grid[1] > 1 and grids.plausible(grid):
                taps.append(Tap(port, layout, grid))
        return sorted(taps, key=lambda tap: tap.grid not in grids.known)
    for layout, count, channels in ((NPC, shape[1], shape[2]), (NCP, shape[2], shape[1])):
        fit = grids.of_tokens(count, guess=layout == NPC) if min(count, channels) > 1 else None
        if fit:
            taps.append(Tap(port, layout, *fit))
    return sorted(taps, key=lambda tap: (tap.grid not in grids.known, tap.prefix))


# Trying a tensor, and the tensors that everything must pass on its way from the picture to the scores.


@dataclass(frozen=True)
class Trial:
    """What a walk from `tap` to the logits saw.

    read: positions meet on the way to the logits (else these don't depend on the gate, or keep the
    positions apart). dense: where the collapse is not exact. mixed: gated
    tokens look at each other on the way. attended: a softmax over gated tokens is met.
    """

    tap: Tap
    read: bool
    dense: tuple[Dense, ...]
    mixed: bool
    attended: bool

    @property
    def exact(self) -> bool:
        return self.read and not self.dense


@dataclass(frozen=True)
class Trunk:
    """From `picture` to `logits`. batch: witness size of both. ports: what everything passes, picture to scores."""

    graph: Graph
    picture: ov.Node
    logits: ov.Output
    batch: int
    grids: Grids
    ports: list[ov.Output]

    def taps(self, port: ov.Output) -> list[Tap]:
        shape = self.graph.shape(port)
        return [] if shape is None else possible_taps(port, shape, self.batch, self.grids)

    def trial(self, tap: Tap, mask: str = POINT) -> Trial:
        value = walk(self.graph, [tap], self.logits, Masks(*grid_dims(tap, self.graph), mask))
        return Trial(
            tap, isinstance(value, Mapped), value.dense, Seen.QUERIES in value.past.seen, Seen.SOFTMAX in value.past.seen
        )


def dominators(graph: Graph, start: ov.Node, goal: ov.Node, but: tuple[str, str] | None = None) -> list[ov.Output]:
    """Output ports between `start` and `goal` (both left out) that every path runs through, in order.

    but: (from, to) names of one direct edge that does not count.
    """
    live = graph.between(start, goal)
    place = {node.get_name(): i for i, node in enumerate(live)}
    ports: dict[str, dict[int, int]] = {}
    for node in live:
        for feed in sources(node):
            name = feed.get_node().get_name()
            if name in place and (name, node.get_name()) != but:
                farthest = ports.setdefault(name, {})
                farthest[feed.get_index()] = max(place[node.get_name()], farthest.get(feed.get_index(), 0))
    reach = 0  # how far edges that began earlier go on
    passed = []
    for i, node in enumerate(live):
        used = ports.get(node.get_name(), {})
        if 0 < i < len(live) - 1 and reach <= i and len(used) == 1:
            passed.append(node.output(next(iter(used))))
        reach = max([reach, *used.values()])
    return passed


# Transformer blocks of a trunk: x -> x + branch(norm(x)) where the branch lets tokens see each other.

_ATTENTIONS = ("Softmax", "ScaledDotProductAttention")


def token_block(trunk: Trunk, blocks: int) -> tuple[Tap, ...] | No:
    """Of the block that begins `blocks` attention blocks before the end of the trunk: the normalised input first,
    then the residual one; a single tensor where they are one."""
    graph = trunk.graph
    inputs: list[tuple[Tap, ...]] = []
    for port in reversed(trunk.ports):
        merge = _residual_add(graph, port)
        residual = next((tap for tap in trunk.taps(port) if tap.is_tokens), None)
        if merge is None or residual is None:
            continue
        if not any(node.get_type_name() in _ATTENTIONS for node in graph.between(port.get_node(), merge)):
            continue
        inputs.append(_block_taps(trunk, residual, merge))
        if len(inputs) == blocks:
            return inputs[-1]
    if not inputs:
        return No("no transformer block (x + attention(norm(x))) lies on the way to the scores; name tensors with --target-layer")
    return No(f"blocks: the trunk has {len(inputs)} attention block(s) that all tokens pass, not {blocks}")


def _residual_add(graph: Graph, port: ov.Output) -> ov.Node | None:
    """The Add in which `port` itself meets something that was made from it."""
    below = graph.descendants([port.get_node()])
    for consumer, _ in graph.consumers.get(graph.port_of(port), []):
        if graph.kinds[consumer] != "Add":
            continue
        others = [feed for feed in sources(graph.ops[consumer]) if key_of(feed) != key_of(port)]
        if others and others[0].get_node().get_name() in below:
            return graph.ops[consumer]
    return None


def _block_taps(trunk: Trunk, residual: Tap, merge: ov.Node) -> tuple[Tap, ...]:
    """What the projections read: the last tensor of the branch that all of it passes before a weight."""
    graph, start = trunk.graph, residual.port.get_node()
    # Queries, keys and values of weights of their own are no dominators, but what comes after them is too late.
    branch = graph.between(start, merge)[1:]
    weighed = min(graph.position(node) for node in branch if _ends_norm(graph, node))
    normalised = None
    for port in dominators(graph, start, merge, but=(start.get_name(), merge.get_name())):
        if graph.position(port.get_node()) >= weighed:
            break
        same = [
            tap
            for tap in trunk.taps(port)
            if (tap.layout, tap.grid, tap.prefix) == (residual.layout, residual.grid, residual.prefix)
        ]
        normalised = same[0] if same else normalised
    return (residual,) if normalised is None else (normalised, residual)


def _ends_norm(graph: Graph, node: ov.Node) -> bool:
    return _projects(graph, node) or node.get_type_name() in _ATTENTIONS


def _projects(graph: Graph, node: ov.Node) -> bool:
    """A product with constant weights."""
    if node.get_type_name() not in ("MatMul", "Convolution", "GroupConvolution"):
        return False
    return any(graph.is_constant(feed) for feed in sources(node))


# Trunks with several branches have no tensor that everything passes: look at what attentions read.
#
# CrossViT: each branch's class token looks at the other branch's patches; the branch with the most positions is
# gated, the other stays as it is. A branch that sees the picture turned round (the second pass of a flip at test
# time) is none: its grid is no grid of the picture.

#: Inexact trials after which the search has left the readout for the trunk, where walks get long.
_PATIENCE = 12
#: What turns this many entries round turns blue-green-red, not a picture.
_COLOURS = 4


def branch_trial(trunk: Trunk) -> Trial | None:
    """The exact trial of the token tensor with the most positions that an attention in a branch reads."""
    best: Trial | None = None
    failed = 0
    for node in reversed(trunk.graph.between(trunk.picture, trunk.logits.get_node())):
        if node.get_type_name() != "Add" or not _joins_two(trunk.graph, node):
            continue
        for tap in trunk.taps(node.output(0)):
            if (best is not None and _positions(tap) <= _positions(best.tap)) or _sees_it_turned(trunk, tap):
                continue
            trial = trunk.trial(tap)
            if trial.exact and not trial.mixed:
                best = trial
            failed += trial.read and not trial.exact
        if failed >= _PATIENCE:
            break
    return best


def _positions(tap: Tap) -> int:
    return tap.grid[0] * tap.grid[1]


def _sees_it_turned(trunk: Trunk, tap: Tap) -> bool:
    return any(_reverses(trunk.graph, node) for node in trunk.graph.between(trunk.picture, tap.port.get_node()))


def _reverses(graph: Graph, node: ov.Node) -> bool:
    """Whether an axis longer than colours is gone through backwards."""
    shape = graph.shape(source(node, 0)) if node.get_input_size() else None
    if shape is None:
        return False
    kind = node.get_type_name()
    if kind in ("Slice", "StridedSlice") and node.get_input_size() > 3:
        steps = constant_value(source(node, 3))
        axes = axis_values(node, 4, len(shape)) if kind == "Slice" else None
        strides = [] if steps is None else np.atleast_1d(steps).tolist()
        return any(step < 0 and shape[axis] > _COLOURS for axis, step in zip(axes or range(len(shape)), strides))
    if kind == "Gather":
        index = constant_value(source(node, 1))
        return index is not None and np.size(index) > _COLOURS and bool(np.all(np.diff(np.ravel(index)) == -1))
    return kind == "ReverseSequence"


def _joins_two(graph: Graph, node: ov.Node) -> bool:
    """A residual sum: what an op that mixes patches, or a block's last layer, has written."""
    return not any(graph.is_constant(feed) for feed in sources(node)) and source(node, 0) != source(node, 1)
