"""Which tensors of a model are feature maps: for messages, and where a map without any classes is wanted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import openvino as ov

from ovxai.errors import TargetLayerError
from ovxai.graph.dims import Tap
from ovxai.graph.names import name_of
from ovxai.trace.place import Place, place
from ovxai.trace.walk import Trace

#: How many tensors a message names.
_NAMED = 3
#: Operations after which a map is worth naming: where a block ends.
_BLOCK_ENDS = (
    "Relu",
    "Swish",
    "Gelu",
    "HSwish",
    "Clamp",
    "PRelu",
    "Elu",
    "Mish",
    "Add",
    "Concat",
    "Convolution",
)


def feature_maps(trace: Trace, among: Iterable[ov.Node]) -> Iterator[tuple[ov.Output, Place]]:
    """Tensors of the nodes `among` that hold features at positions along both sides, the last ones first."""
    for node in reversed(list(among)):
        found = place(trace, trace.graph.port_of(node.output(0))) if node.get_output_size() else ""
        if not isinstance(found, str) and found.whole:
            yield node.output(0), found


def named_layers(traced: Trace, names: Sequence[str], ports: Sequence[ov.Output]) -> list[tuple[Tap, Place]]:
    """The layers of `--target-layer` as tensors to explain at, coarse to fine.

    Raises:
        TargetLayerError: one is no feature map.
    """
    found = []
    for name, port in zip(names, ports, strict=True):
        spot = place(traced, traced.graph.port_of(port))
        if isinstance(spot, str):
            raise TargetLayerError(f"target layer: {name!r} of shape {port.get_partial_shape()} {spot}")
        found.append((Tap(port, spot.layout, spot.grid, spot.prefix), spot))
    return sorted(found, key=lambda each: each[0].grid[0] * each[0].grid[1])


def named_maps(trace: Trace, among: Iterable[ov.Node], use: str = "--target-layer") -> str:
    """What could be named: the last feature map of every size, as words; and where positions end. use: what for."""
    nodes = list(among)
    found: dict[tuple[int, int], str] = {}
    for port, spot in feature_maps(trace, nodes):
        if port.get_node().get_type_name() in _BLOCK_ENDS and spot.grid not in found:
            found[spot.grid] = f"{name_of(port)} ({spot.grid[0]}x{spot.grid[1]})"
        if len(found) == _NAMED:
            break
    lost = next((tags.lost for node in nodes for tags in trace.tags[trace.graph.position(node)] if tags.lost), "")
    ends = f" (positions end at {lost})" if lost else ""
    if not found:
        return f"no tensor of the model holds features at positions of the picture{ends}"
    return f"feature maps, for {use}: {', '.join(found.values())}{ends}"
