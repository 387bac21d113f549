"""Add named outputs behind a model's own ones."""

from __future__ import annotations

import openvino as ov
from openvino import opset13 as op

from ovxai.errors import NotExplainedError
from ovxai.metadata import SECTION, ExplainedInfo


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


# Take the explanation outputs off again.


def strip_model(model: ov.Model) -> ov.Model:
    """The plain model inside an explained one, as a new model; the argument is not changed.

    Nodes that only the explanation used fall away by themselves: a model is what its results reach.

    Raises:
        NotExplainedError: `model` has no explanation outputs of ours.
    """
    info = ExplainedInfo.read(model)
    if info is None:
        raise NotExplainedError("the model carries no explanation outputs; there is nothing to strip")
    plain = model.clone()
    for result in plain.get_results()[-len(info.extra_outputs) :]:
        plain.remove_result(result)
        _take_back_name(result)
    del plain.rt_info[SECTION]
    plain.validate_nodes_and_infer_types()
    return plain


def _take_back_name(result: ov.Node) -> None:
    # Only where insertion handed out a tensor that the plain model has too does its name stay behind.
    tensor = result.input(0).get_source_output().get_tensor()
    tensor.set_names(tensor.get_names() - {result.get_friendly_name()})
