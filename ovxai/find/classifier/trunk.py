"""Tensors that everything must pass on its way from the picture to the scores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import openvino as ov

from ovxai.find.site import No
from ovxai.graph.graph import Graph, key_of, sources
from ovxai.graph.tap import Tap


def live_nodes(graph: Graph, start: ov.Node, goal: ov.Node) -> list[ov.Node]:
    """Nodes on some path from `start` to `goal`, in topological order; shapes carry nothing of the picture."""
    names = graph.descendants([start]) & graph.ancestors([goal])
    return [node for node in graph.ops if node.get_name() in names]


def dominators(graph: Graph, start: ov.Node, goal: ov.Node, but: tuple[str, str] | None = None) -> list[ov.Output]:
    """Output ports between `start` and `goal` (both left out) that every path runs through, in order.

    but: (from, to) names of one direct edge that does not count.
    """
    live = live_nodes(graph, start, goal)
    place = {node.get_name(): i for i, node in enumerate(live)}
    reach = 0  # how far edges that began earlier go on
    found = []
    ports: dict[str, dict[int, int]] = {}
    for node in live:
        for feed in sources(node):
            name = feed.get_node().get_name()
            if name in place and (name, node.get_name()) != but:
                farthest = ports.setdefault(name, {})
                farthest[feed.get_index()] = max(place[node.get_name()], farthest.get(feed.get_index(), 0))
    for i, node in enumerate(live):
        used = ports.get(node.get_name(), {})
        if 0 < i < len(live) - 1 and reach <= i and len(used) == 1:
            found.append(node.output(next(iter(used))))
        reach = max([reach, *used.values()])
    return found


# Transformer blocks of a trunk: x -> x + branch(norm(x)) where the branch lets tokens see each other.

_ATTENTIONS = ("Softmax", "ScaledDotProductAttention")
TapsOf = Callable[[ov.Output], list[Tap]]


@dataclass(frozen=True)
class TokenBlock:
    """taps: the normalised input first, then the residual one; a single tensor where they are one."""

    taps: tuple[Tap, ...]


def token_block(graph: Graph, trunk: list[ov.Output], taps_of: TapsOf, logits: ov.Output, blocks: int) -> TokenBlock | No:
    """The block that begins `blocks` attention blocks before the end of the trunk."""
    found: list[TokenBlock] = []
    for port in reversed(trunk):
        merge = _residual_add(graph, port)
        if merge is None or not (residual := _tokens(taps_of(port))):
            continue
        branch = live_nodes(graph, port.get_node(), merge)
        if not any(node.get_type_name() in _ATTENTIONS for node in branch):
            continue
        found.append(TokenBlock(_block_taps(graph, residual, merge, taps_of)))
        if len(found) == blocks:
            return found[-1]
    if not found:
        return No("no transformer block (x + attention(norm(x))) lies on the way to the scores; name tensors with --target-layer")
    return No(f"blocks: the trunk has {len(found)} attention block(s) that all tokens pass, not {blocks}")


def _tokens(taps: list[Tap]) -> Tap | None:
    return next((tap for tap in taps if tap.is_tokens), None)


def _residual_add(graph: Graph, port: ov.Output) -> ov.Node | None:
    """The Add in which `port` itself meets something that was made from it."""
    below = graph.descendants([port.get_node()])
    for node, _ in graph.consumers.get(key_of(port), []):
        if node.get_type_name() != "Add":
            continue
        others = [feed for feed in sources(node) if key_of(feed) != key_of(port)]
        if others and others[0].get_node().get_name() in below:
            return node
    return None


def _block_taps(graph: Graph, residual: Tap, merge: ov.Node, taps_of: TapsOf) -> tuple[Tap, ...]:
    """What the projections read: the last tensor of the branch that all of it passes before a weight."""
    start = residual.port.get_node()
    # Queries, keys and values of weights of their own are no dominators, but what comes after them is too late.
    branch = live_nodes(graph, start, merge)[1:]
    weighed = min(graph.position(node) for node in branch if _ends_norm(graph, node))
    normalised = None
    for port in dominators(graph, start, merge, but=(start.get_name(), merge.get_name())):
        if graph.position(port.get_node()) >= weighed:
            break
        same = [
            tap
            for tap in taps_of(port)
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
