"""What lies between the picture and a classifier's scores: which tensors could be gated, and what everything must pass.

A tensor is tried by walking the head without building it, which shows what becomes of the gate.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import openvino as ov

from ovxai.collapse.gate import grid_dims, walk
from ovxai.collapse.masks import POINT, Masks
from ovxai.collapse.values import Dense, Mapped, Seen
from ovxai.find.site import No
from ovxai.graph.dims import Grid, Tap
from ovxai.graph.graph import Graph, key_of, source, sources
from ovxai.trace.place import Place, place
from ovxai.trace.walk import Trace

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
    """From `picture` to `logits`. trace: where on the picture tensors lie. ports: what everything passes, picture to scores."""

    graph: Graph
    picture: ov.Node
    logits: ov.Output
    trace: Trace
    ports: list[ov.Output]

    def place(self, port: ov.Output) -> Place | str:
        """Where on the picture the entries of a tensor lie, or why it is no feature map."""
        return place(self.trace, self.graph.port_of(port))

    def tap(self, port: ov.Output) -> Tap | None:
        """A tensor as a feature map; None where it is none, or only what a pool over one side has left of one."""
        found = self.place(port)
        if isinstance(found, str) or not (found.whole or self._one_sided_layers):
            return None
        return as_tap(port, found)

    @cached_property
    def _one_sided_layers(self) -> bool:
        """Whether a layer with weights works along one side alone, after the other one is gone: steps in time, columns."""
        last = next((port for port in reversed(self.ports) if _is_whole(self.place(port))), None)
        start = self.picture if last is None else last.get_node()
        weighing = (node for node in self.graph.between(start, self.logits.get_node())[1:] if _projects(self.graph, node))
        return any(len(self.trace.sides_of(self.graph.port_of(node.output(0)))) == 1 for node in weighing)

    def trial(self, tap: Tap, mask: str = POINT) -> Trial:
        value = walk(self.graph, [tap], self.logits, Masks(*grid_dims(tap, self.graph), mask))
        return Trial(
            tap, isinstance(value, Mapped), value.dense, Seen.QUERIES in value.past.seen, Seen.SOFTMAX in value.past.seen
        )


def as_tap(port: ov.Output, found: Place) -> Tap:
    return Tap(port, found.layout, found.grid, found.prefix)


def _is_whole(found: Place | str) -> bool:
    return not isinstance(found, str) and found.whole


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
        residual = trunk.tap(port)
        if merge is None or residual is None or not residual.is_tokens:
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
        tap = trunk.tap(port)
        if tap and (tap.layout, tap.grid, tap.prefix) == (residual.layout, residual.grid, residual.prefix):
            normalised = tap
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
# time) comes after those that see it as it is.

#: Inexact trials after which the search has left the readout for the trunk, where walks get long.
_PATIENCE = 12


def branch_trial(trunk: Trunk) -> Trial | None:
    """The exact trial of the token tensor with the most positions that an attention in a branch reads."""
    best: Trial | None = None
    failed = 0
    for node in reversed(trunk.graph.between(trunk.picture, trunk.logits.get_node())):
        if node.get_type_name() != "Add" or not _joins_two(trunk.graph, node):
            continue
        tap = trunk.tap(node.output(0))
        if tap is None or (best is not None and _rank(trunk, tap) <= _rank(trunk, best.tap)):
            continue
        trial = trunk.trial(tap)
        if trial.exact and not trial.mixed:
            best = trial
        failed += trial.read and not trial.exact
        if failed >= _PATIENCE:
            break
    return best


def _rank(trunk: Trunk, tap: Tap) -> tuple[bool, int]:
    found = trunk.place(tap.port)
    upright = not isinstance(found, str) and "-" not in found.frame.axes
    return upright, cells(tap)


def _joins_two(graph: Graph, node: ov.Node) -> bool:
    """A residual sum: what an op that mixes patches, or a block's last layer, has written."""
    return not any(graph.is_constant(feed) for feed in sources(node)) and source(node, 0) != source(node, 1)


# The sizes that a trunk's map goes through, and the last tensor of each: where gradients are asked for.

#: How many sizes are looked at, from the coarsest on.
LEVELS = 3


def cells(tap: Tap) -> int:
    return tap.grid[0] * tap.grid[1]


def coarsest_levels(trunk: Trunk, count: int = LEVELS) -> tuple[Tap, ...]:
    """The last tensor of each of the coarsest sizes that all of the picture passes, coarse to fine; of tokens, the last that
    the scores read positions of. Empty where there is none."""
    last: dict[Grid, Tap] = {}
    for port in trunk.ports:
        tap = trunk.tap(port)
        if tap:
            last[tap.grid] = tap
    found = [_read_of(trunk, tap) for tap in sorted(last.values(), key=cells)]
    return tuple(tap for tap in found if tap is not None)[:count]


def _read_of(trunk: Trunk, tap: Tap) -> Tap | None:
    """`tap`, or where the scores read none of its positions but only tokens beside them, the last tensor before of which they
    do: what the last block looks at, normalised. (Feature times derivative comes to nothing before a normalisation, for its
    result does not change with the size of what it reads.)"""
    if not tap.is_tokens or trunk.trial(tap).read:
        return tap
    taps = token_block(trunk, 1)
    return None if isinstance(taps, No) else taps[0]
