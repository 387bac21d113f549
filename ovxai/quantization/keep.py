"""--keep-explanation: leave in float the few layers whose rounding moves the maps most.

What spoils maps is seldom everywhere: on EfficientNet-Lite0 the 8-bit weights of a few early layers do
most of it, activations hardly anything. Each layer's weights are rounded alone in the float model, the
maps of some calibration pictures say what that costs, and the worst layers stay in float, a few more at
each step, as long as that is fast enough. Before that, the head alone is tried: in float it reads the
features as they are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import openvino as ov
from openvino import opset13 as op

from ovxai.evaluation import Fidelity, fidelity
from ovxai.graph.emit import worked_out
from ovxai.graph.graph import Graph, source
from ovxai.graph.names import port_named
from ovxai.insertion import insert_with_report
from ovxai.quantization.measure import Candidate, Work, judged, timed

#: What is asked of the maps, and how much slower than plain INT8 it may be.
MEAN, FIFTH, SLOWER = 0.995, 0.97, 1.1
_WEIGHTED = ("Convolution", "GroupConvolution", "MatMul")
#: Pictures that layers are ranked on, and how many layers (or runs of layers) are tried one by one.
_LOOKED_AT, _TRIALS = 12, 80
_STEPS = (1, 2, 3, 4, 6, 8, 12, 16, 24)
_SECONDS = 6.0
#: The head may be the largest layer: it stays in float when that takes away a quarter of the loss.
_WORTH = 0.75


@dataclass(frozen=True)
class Tried:
    """One candidate of --keep-explanation. latency_ratio: its latency over that of the plain INT8 model."""

    recipe: str
    latency_ratio: float
    fidelity: Fidelity | None

    def to_dict(self) -> dict[str, str | float]:
        """What people are told of it, rounded; no figures of maps where there is nothing to compare."""
        row: dict[str, str | float] = {"recipe": self.recipe, "latency over plain INT8": round(self.latency_ratio, 3)}
        if self.fidelity is not None:
            row["mean"] = round(self.fidelity.mean, 4)
            row["5th percentile"] = round(self.fidelity.fifth, 4)
            row["worst"] = round(self.fidelity.worst[0][1], 4)
        return row


@dataclass(frozen=True)
class Search:
    """What came of it.

    best: the fastest candidate that keeps the maps, else the best one that is fast enough. met: whether the goal
    is met. tried: all candidates, in order.
    """

    best: Candidate
    met: bool
    tried: tuple[Tried, ...]


def keep_explanation(work: Work, plain: Candidate) -> Search:
    """Look for a quantisation that keeps the maps. plain: the model quantised without any exception."""
    tried = [Tried(plain.recipe.name, 1.0, plain.fidelity)]
    if good(plain.fidelity):
        return Search(plain, True, tuple(tried))
    most = len(weighted_layers(work.plain)) // 3  # a model that is float for the most part is no answer
    best, head = plain, head_layers(work)
    if head and len(head) <= most:
        candidate = _try(work, plain, "head in float", head, tried)
        fast = tried[-1].latency_ratio <= SLOWER
        if fast and good(candidate.fidelity):
            return Search(candidate, True, tuple(tried))
        better = fast and 1 - candidate.mean < _WORTH * (1 - plain.mean)
        best, head = (candidate, head) if better else (plain, ())
    ranking = [group for group in rank_layers(work) if not set(group) & set(head)]
    previous = 0
    for count in _STEPS:
        names = (*head, *(name for group in ranking[:count] for name in group))
        if len(names) <= previous or len(names) > most:
            break
        previous = len(names)
        candidate = _try(work, plain, f"{len(names)} layer{'s' if len(names) > 1 else ''} in float", names, tried)
        if tried[-1].latency_ratio > SLOWER:
            break
        best = max(best, candidate, key=lambda one: one.mean)
        if good(candidate.fidelity):
            return Search(candidate, True, tuple(tried))
    return Search(best, False, tuple(tried))


def _try(work: Work, plain: Candidate, name: str, ignored: tuple[str, ...], tried: list[Tried]) -> Candidate:
    """The candidate with the layers `ignored` in float; what came of it goes to the end of `tried`."""
    work.say(f"trying the {name}" if name.startswith("head") else f"trying {name}")
    candidate = judged(work, replace(plain.recipe, name=name, ignored=ignored))
    ratio = timed(work, work.explained(plain.model), work.explained(candidate.model), _SECONDS).ratio
    tried.append(Tried(name, ratio, candidate.fidelity))
    return candidate


def good(found: Fidelity | None) -> bool:
    """Whether the maps are kept well enough."""
    return found is not None and found.mean >= MEAN and found.fifth >= FIFTH


def rank_layers(work: Work) -> list[tuple[str, ...]]:
    """Layers (runs of neighbours, where there are very many), those first whose rounded weights move the maps most."""
    names = weighted_layers(work.plain)
    size = -(-len(names) // _TRIALS)
    groups = [tuple(names[i : i + size]) for i in range(0, len(names), size)]
    paths = tuple(work.calibration[i * len(work.calibration) // _LOOKED_AT] for i in range(_LOOKED_AT))
    paths = tuple(dict.fromkeys(paths))
    reference = work.seen(work.plain, work.pictures, paths)
    losses = []
    for number, group in enumerate(groups, 1):
        if number % 10 == 1:
            work.say(f"layers looked at: {number - 1} of {len(groups)}")
        seen = work.seen(with_rounded_weights(work.plain, group), work.pictures, paths)
        found = fidelity(paths, reference, seen)
        losses.append(0.0 if found is None else 1 - found.mean)
    order = sorted(range(len(groups)), key=lambda i: -losses[i])
    return [groups[i] for i in order if losses[i] > 0]


def head_layers(work: Work) -> tuple[str, ...]:
    """Products behind the gated tensors: with them in float, the features are handed on unrounded."""
    info = insert_with_report(work.plain, work.watched).info
    graph = Graph(work.plain)
    below = graph.descendants([port_named(work.plain, name).get_node() for name in info.target_layers])
    known = set(weighted_layers(work.plain))
    return tuple(node.get_friendly_name() for node in graph.ops if node.get_name() in below and node.get_friendly_name() in known)


def weighted_layers(model: ov.Model) -> list[str]:
    """Friendly names of the products with constant weights, picture to scores."""
    graph = Graph(model)
    return [
        node.get_friendly_name() for node in graph.ops
        if node.get_type_name() in _WEIGHTED and graph.is_constant(source(node, 1)) and not graph.is_constant(source(node, 0))
    ]  # fmt: skip


def with_rounded_weights(model: ov.Model, names: tuple[str, ...]) -> ov.Model:
    """A copy in which the weights of these layers have 8 bits, one scale per output channel."""
    copy = model.clone()
    for node in copy.get_ordered_ops():
        if node.get_friendly_name() in names:
            weights = worked_out(source(node, 1)).astype(np.float32)
            constant = op.constant(rounded(weights, _channel_axes(node)), dtype=source(node, 1).get_element_type())
            node.input(1).replace_source_output(constant.output(0))
    copy.validate_nodes_and_infer_types()
    return copy


def rounded(weights: np.ndarray, kept: tuple[int, ...]) -> np.ndarray:
    """`weights` at 255 levels, symmetric, one scale for each index of the `kept` axes."""
    others = tuple(axis for axis in range(weights.ndim) if axis not in kept)
    top = np.abs(weights).max(axis=others, keepdims=True)
    scale = np.where(top > 0, top, 1.0) / 127
    return np.round(weights / scale) * scale


def _channel_axes(node: ov.Node) -> tuple[int, ...]:
    if node.get_type_name() == "MatMul":
        rank = len(node.get_input_partial_shape(1))
        return (rank - 2 if node.get_attributes()["transpose_b"] else rank - 1,)
    return (0, 1) if node.get_type_name() == "GroupConvolution" else (0,)
