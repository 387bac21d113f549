"""The neck's maps of a model with instances: what regions are cut from, else what the dense heads read."""

from __future__ import annotations

from ovxai.find.detection_graph import Graph, Port
from ovxai.find.detection_neck import last_map
from ovxai.find.detection_taps import REGION_POOLS, Tap, behind_regions, grid_tap, is_linear, last_linear


def pyramid(graph: Graph) -> list[Port]:
    """Maps [N, c, h, w], fine to coarse; empty where there are none."""
    results = [graph.inputs[i][0] for i, kind in enumerate(graph.kinds) if kind == "Result"]
    regional = behind_regions(graph)
    linear, _ = last_linear(graph, results)
    taps = [tap for node in linear if not regional[node] and (tap := grid_tap(graph, node)) and tap.cells > 1]
    pooled = _pooled_maps(graph)
    if pooled:
        return _sorted(graph, [*pooled, *_as_deep(graph, taps, pooled)])
    found = {tap.grid: _read_by_all(graph, [other for other in taps if other.grid == tap.grid]) for tap in taps}
    return _sorted(graph, [port for port in found.values() if port is not None])


def _read_by_all(graph: Graph, taps: list[Tap]) -> Port | None:
    """The last map of this grid that every branch reads; None where there is only one branch (a prototype's, say)."""
    if len({tap.linear for tap in taps}) < 2:
        return None
    common = set.intersection(*(graph.above([tap.source]) for tap in taps))
    found = last_map(graph, common, taps[0])
    return found[0] if found else None


def _pooled_maps(graph: Graph) -> list[Port]:
    maps: dict[Port, None] = {}
    for node, kind in enumerate(graph.kinds):
        if kind not in REGION_POOLS or not graph.live[node]:
            continue
        for source in graph.inputs[node]:
            shape = graph.shape(source)
            if (
                graph.live[source[0]]
                and shape is not None
                and len(shape) == 4
                and None not in shape
                and shape[2] * shape[3] > 1
            ):
                maps[source] = None
    return list(maps)


def _as_deep(graph: Graph, taps: list[Tap], pooled: list[Port]) -> list[Port]:
    """Levels that only propose (the coarsest): as far above their tap as the pooled maps are above theirs."""
    grids = {graph.shape(port)[2:] for port in pooled}
    depth = next((d for tap in taps if tap.grid in grids and (d := _depth(graph, tap, pooled)) is not None), None)
    if depth is None:
        return []
    extra = {tap.grid: _climb(graph, tap.source, depth) for tap in taps if tap.grid not in grids}
    return [port for port in extra.values() if port is not None]


def _depth(graph: Graph, tap: Tap, pooled: list[Port]) -> int | None:
    for depth in range(6):
        if _climb(graph, tap.source, depth) in pooled:
            return depth
    return None


def _climb(graph: Graph, port: Port, weighted: int) -> Port | None:
    """The map that the `weighted`-th weighted sum above `port` reads."""
    while weighted:
        sources = graph.live_inputs(port[0])
        if len(sources) != 1:
            return None
        weighted -= is_linear(graph, port[0])
        port = sources[0]
    return port


def _sorted(graph: Graph, ports: list[Port]) -> list[Port]:
    return sorted(dict.fromkeys(ports), key=lambda port: -graph.shape(port)[2] * graph.shape(port)[3])
