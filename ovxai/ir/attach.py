"""Add named outputs behind a model's own ones."""

from __future__ import annotations

import openvino as ov
from openvino import opset13 as op


def attach_outputs(model: ov.Model, outputs: dict[str, ov.Output]) -> None:
    """Append `outputs` (tensor name -> port) to `model`, in order, behind its own outputs.

    Works in place: rt_info, sinks, variables and the friendly name of `model` stay as they are,
    which a newly made `ov.Model` would lose.
    """
    results = []
    for name, port in outputs.items():
        node = op.result(port)
        node.set_friendly_name(name)
        # A tensor that is an output of the model already keeps its own name and gets ours beside it.
        port.get_tensor().add_names({name})
        results.append(node)
    model.add_results(results)
    model.validate_nodes_and_infer_types()
