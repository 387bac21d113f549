"""The tensors of a detector at which gradients say most of one box: what its neck reads of its backbone."""

from __future__ import annotations

from dataclasses import dataclass

from ovxai.find.classifier.trunk import Trunk, coarsest_levels, dominators
from ovxai.find.site import DetectionSite, Request
from ovxai.graph.dims import Grid, Tap
from ovxai.graph.graph import Port
from ovxai.graph.picture import PictureInput
from ovxai.trace.candidates import named_layers
from ovxai.trace.place import Place, place
from ovxai.trace.walk import Trace

#: Of how many levels, the finest ones, the backbone's maps are taken.
LEVELS = 3


@dataclass(frozen=True)
class Layers:
    """taps: coarse to fine. held: whether each counts as a variable of its own, without what it does through the others."""

    taps: tuple[Tap, ...]
    held: bool = False


def backbone_layers(traced: Trace, site: DetectionSite) -> Layers:
    """Of each size that the three finest levels have, the last tensor before anything was enlarged that both the coarsest such
    tensor and, past the coarser ones, the levels are made from. No taps where there is none.

    With a neck, which joins them, each counts by itself. Without one a coarse level is made from a finer one alone.
    """
    graph = traced.graph
    ends = [graph.port_of(level.port if level.feature is None else level.feature) for level in site.levels]
    whole = not_enlarged(traced, graph.above(ends))
    if not whole:
        return Layers(())
    least = min(_cells(found.grid) for found in whole.values())
    trunk = graph.above([max(port for port, found in whole.items() if _cells(found.grid) == least)])
    taps: list[Tap] = []
    for size in sorted({level.grid for level in site.levels}, key=_cells)[-LEVELS:]:
        walls = {graph.port_of(tap.port)[0] for tap in taps}
        past = graph.above(ends, walls.__contains__) - walls
        ports = [port for port, found in whole.items() if found.grid == size and port[0] in trunk & past]
        if ports:
            found = whole[max(ports)]
            taps.append(Tap(graph.output_of(max(ports)), found.layout, found.grid, found.prefix))
    return Layers(tuple(taps), held=any(end not in whole for end in ends))


def passed_layers(traced: Trace, picture: PictureInput, scores: Port) -> Layers:
    """The last tensor of each of the coarsest sizes that everything passes on its way to the scores, as of classifiers."""
    graph = traced.graph
    entry, port = graph.model.inputs[picture.index].get_node(), graph.output_of(scores)
    trunk = Trunk(graph, entry, port, traced, dominators(graph, entry, port.get_node()))
    return Layers(coarsest_levels(trunk))


def layers_named(traced: Trace, request: Request) -> Layers:
    """The layers of `--target-layer`, coarse to fine."""
    found = named_layers(traced, request.options.target_layer, request.layers)
    return Layers(tuple(tap for tap, _ in found))


def not_enlarged(traced: Trace, among: set[int]) -> dict[Port, Place]:
    """Feature maps above which no smaller one stands."""
    graph = traced.graph
    least: dict[int, int] = {}
    large: set[int] = set()
    kept: dict[Port, Place] = {}
    for node in sorted(among):
        feeds = [feed for feed in graph.live_inputs(node) if feed[0] in among]
        above = min((least[feed[0]] for feed in feeds if feed[0] in least), default=1 << 62)
        enlarged = any(feed[0] in large for feed in feeds)
        for number in range(graph.ops[node].get_output_size()):
            found = place(traced, (node, number)) if len(graph.shape((node, number)) or ()) == 4 else ""
            if isinstance(found, str) or not found.whole or _cells(found.grid) <= 1:
                continue
            enlarged |= _cells(found.grid) > above and graph.kinds[node] != "Pad"  # a border, which the next layer takes off
            above = min(above, _cells(found.grid))
            if not enlarged and graph.kinds[node] not in ("Parameter", "Pad"):
                kept[node, number] = found
        least[node] = above
        if enlarged:
            large.add(node)
    return kept


def _cells(grid: Grid) -> int:
    return grid[0] * grid[1]
