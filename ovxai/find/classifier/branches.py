"""Trunks with several branches have no tensor that everything passes: look at what attentions read.

CrossViT: each branch's class token looks at the other branch's patches; the branch with the most
positions is gated, the other stays as it is. A branch that sees the picture turned round (the second
pass of a flip at test time) is none: its grid is no grid of the picture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import openvino as ov

from ovxai.collapse.carry import axis_values
from ovxai.find.classifier.trial import Trial
from ovxai.find.classifier.trunk import live_nodes
from ovxai.graph.graph import Graph, constant_value, key_of, source, sources
from ovxai.graph.tap import Tap

if TYPE_CHECKING:
    from ovxai.find.classifier.search import Search

#: Inexact trials after which the search has left the readout for the trunk, where walks get long.
_PATIENCE = 12
#: What turns this many entries round turns blue-green-red, not a picture.
_COLOURS = 4


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
            if (best is not None and _positions(tap) <= _positions(best.tap)) or _sees_it_turned(search, tap):
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


def _sees_it_turned(search: Search, tap: Tap) -> bool:
    return any(_reverses(search.graph, node) for node in live_nodes(search.graph, search.picture, tap.port.get_node()))


def _reverses(graph: Graph, node: ov.Node) -> bool:
    """Whether an axis longer than colours is gone through backwards."""
    shape = graph.shape(source(node, 0)) if node.get_input_size() else None
    if shape is None:
        return False
    kind = node.get_type_name()
    if kind in ("Slice", "StridedSlice") and node.get_input_size() > 3:
        steps = constant_value(source(node, 3))
        axes = axis_values(node, 4, len(shape)) if kind == "Slice" else None
        steps = [] if steps is None else np.atleast_1d(steps)
        return any(step < 0 and shape[axis] > _COLOURS for axis, step in zip(axes or range(len(shape)), steps))
    if kind == "Gather":
        index = constant_value(source(node, 1))
        return index is not None and np.size(index) > _COLOURS and bool(np.all(np.diff(np.ravel(index)) == -1))
    return kind == "ReverseSequence"


def _joins_two(search: Search, node: ov.Node) -> bool:
    """A residual sum: what an op that mixes patches, or a block's last layer, has written."""
    return not any(search.graph.is_constant(feed) for feed in sources(node)) and source(node, 0) != source(node, 1)
