"""Take the explanation outputs off again."""

from __future__ import annotations

import openvino as ov

from ovxai.errors import NotExplainedError
from ovxai.metadata import SECTION, ExplainedInfo


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
    for result in plain.get_results()[-len(info.extra_outputs):]:
        plain.remove_result(result)
        _take_back_name(result)
    del plain.rt_info[SECTION]
    plain.validate_nodes_and_infer_types()
    return plain


def _take_back_name(result: ov.Node) -> None:
    # Only where insertion handed out a tensor that the plain model has too does its name stay behind.
    tensor = result.input(0).get_source_output().get_tensor()
    tensor.set_names(tensor.get_names() - {result.get_friendly_name()})
