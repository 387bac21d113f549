"""Trunks with several branches have no tensor that everything passes: look at what attentions read.

CrossViT: each branch's class token looks at the other branch's patches; the branch with the most
positions is gated, the other stays as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import openvino as ov

from ovxai.find.dominators import live_nodes
from ovxai.find.trial import Trial
from ovxai.ir.graph import key_of, source, sources

if TYPE_CHECKING:
    from ovxai.find.classification import Search

#: Inexact trials after which the search has left the readout for the trunk, where walks get long.
_PATIENCE = 12


def branch_taps(search: Search) -> list[Trial]:
    """At most one exact trial: the token tensor with the most positions that an attention reads."""
    best: Trial | None = None
    seen = set()
    failed = 0
    for node in reversed(live_nodes(search.graph, search.picture, search.readout.logits.get_node())):
        if node.get_type_name() != "Add" or key_of(node.output(0)) in seen or not _joins_two(search, node):
            continue
        seen.add(key_of(node.output(0)))
        for tap in search.taps(node.output(0)):
            if best is not None and _positions(tap) <= _positions(best.tap):
                continue
            trial = search.trial(tap)
            if trial.exact and not trial.mixed:
                best = trial
            failed += trial.read and not trial.exact
        if failed >= _PATIENCE:
            break
    return [] if best is None else [best]


def _positions(tap) -> int:
    return tap.grid[0] * tap.grid[1]


def _joins_two(search: Search, node: ov.Node) -> bool:
    """A residual sum: what an op that mixes patches, or a block's last layer, has written."""
    return not any(search.graph.is_constant(feed) for feed in sources(node)) and source(node, 0) != source(node, 1)
