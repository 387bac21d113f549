"""Sizes inside a model that its shapes leave open although those of the inputs are known: measured on a witness picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import openvino as ov
from openvino import opset13 as op

#: How many there are behind these hangs on what a picture holds: a witness's number says nothing.
COUNTING = frozenset({
    "NonMaxSuppression", "MulticlassNms", "MatrixNms", "NMSRotated", "NonZero", "Unique", "ExperimentalDetectronDetectionOutput",
    "ExperimentalDetectronGenerateProposalsSingleImage",
})  # fmt: skip
_PICTURES = 2


def open_ports(nodes: Sequence[ov.Node]) -> list[tuple[int, int]]:
    """(node, output) of every tensor whose size is open, except where it counts what was found in a picture.

    nodes: of a model with static inputs, in topological order.
    """
    counted: set[str] = set()
    found = []
    for index, node in enumerate(nodes):
        above = (wire.get_source_output().get_node().get_name() for wire in node.inputs())
        if node.get_type_name() in COUNTING or any(name in counted for name in above):
            counted.add(node.get_name())
        elif node.get_type_name() != "Result":
            ports = enumerate(node.outputs())
            found += [(index, number) for number, port in ports if port.get_partial_shape().is_dynamic]
    return found


def measured_sizes(model: ov.Model) -> dict[tuple[int, int], tuple[int, ...]]:
    """The sizes of those tensors for two pictures, by (node, output) in topological order; left out where they differ.

    model: with static inputs; it is only read.
    """
    ports = open_ports(model.get_ordered_ops())
    if not ports or any(parameter.get_partial_shape().is_dynamic for parameter in model.get_parameters()):
        return {}
    runs = _runs(model, ports)
    sizes = [[tuple(tensor.shape) for tensor in run] for run in runs]
    pairs = zip(ports, *sizes, strict=True) if sizes else ()
    return {port: first for port, first, second in pairs if first == second and 0 not in first}


def observed(model: ov.Model, port: tuple[int, int]) -> list[np.ndarray]:
    """What stands at a port for two pictures of noise; [] where the model does not run.

    model: with static inputs; it is only read. port: (node, output) in topological order.
    """
    return [run[0] for run in _runs(model, [port])]


def _runs(model: ov.Model, ports: list[tuple[int, int]]) -> list[list[np.ndarray]]:
    """Per picture of noise what stands at the ports; [] where the model does not run."""
    copy = model.clone()
    nodes = copy.get_ordered_ops()
    results = [op.result(nodes[index].output(number)) for index, number in ports]
    try:
        request = ov.Core().compile_model(ov.Model(results, copy.get_parameters(), "sizes"), "CPU").create_infer_request()
        return [_values(request, copy.get_parameters(), seed) for seed in range(_PICTURES)]
    except RuntimeError:  # a model that can't run is found out later, where it matters
        return []


def _values(request: ov.InferRequest, parameters: list[ov.Node], seed: int) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    feeds = {}
    for index, parameter in enumerate(parameters):
        kind = parameter.get_element_type()
        values = random.random(parameter.get_partial_shape().to_shape())
        feeds[index] = (values * 255 if kind.is_integral() else values).astype(kind.to_dtype())
    request.infer(feeds)
    return [tensor.data.copy() for tensor in request.output_tensors]
