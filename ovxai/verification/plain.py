"""An explained model taken apart: the plain model inside it, and what rt_info names there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openvino as ov

from ovxai.errors import NotExplainedError, TargetLayerError
from ovxai.graph.picture import PictureInput, find_picture_input
from ovxai.graph.split import read_whole
from ovxai.graph.surgery import strip_model
from ovxai.metadata import SALIENCY_MAP, ExplainedInfo
from ovxai.verification.engine import constant_value

ACTIVATIONS = ("Softmax", "LogSoftmax", "Sigmoid")
#: What may stand behind the final activation without changing what is explained.
BEHIND = ("FakeQuantize", "Convert", "Reshape", "Squeeze")


@dataclass(frozen=True)
class Case:
    """What every step of the verification needs.

    explained: as given. plain: its plain part. info: what it says about itself. place: where the picture goes in.
    """

    explained: ov.Model
    plain: ov.Model
    info: ExplainedInfo
    place: PictureInput


def take_apart(model: str | Path | ov.Model) -> Case:
    """Read and strip.

    Raises:
        NotExplainedError: there is nothing of ours in the model.
    """
    explained = model if isinstance(model, ov.Model) else read_whole(model)
    info = ExplainedInfo.read(explained)
    if info is None:
        raise NotExplainedError("the model carries no explanation of ours; make one with ovxai insert, then verify that")
    if SALIENCY_MAP not in info.extra_outputs:
        raise NotExplainedError(f"rt_info lists the extra outputs {list(info.extra_outputs)}, without {SALIENCY_MAP}")
    stripped = strip_model(explained)
    return Case(explained, stripped, info, find_picture_input(stripped, info))


def port_named(model: ov.Model, name: str) -> ov.Output:
    """The tensor that a `target_layers` entry means: a friendly name, with `:port` where that is not 0.

    Raises:
        TargetLayerError: the plain part has no such node or port.
    """
    nodes = {node.get_friendly_name(): node for node in model.get_ops()}
    if name in nodes:
        return nodes[name].output(0)
    base, _, index = name.rpartition(":")
    if base in nodes and index.isdigit() and int(index) < nodes[base].get_output_size():
        return nodes[base].output(int(index))
    raise TargetLayerError(f"rt_info names the target layer {name!r}, which the plain part of the model does not have")


def logits_port(model: ov.Model, index: int) -> ov.Output:
    """Output `index` of the plain model before its final activations, or as it is where there is none.

    Raises:
        TargetLayerError: there is no such output.
    """
    results = model.get_results()
    if not 0 <= index < len(results):
        raise TargetLayerError(f"rt_info says output {index} is explained, but the plain part has {len(results)}")
    logits = current = results[index].input(0).get_source_output()
    if best := _list_of_best(current):
        logits = current = best
    while (kind := current.get_node().get_type_name()) in (*BEHIND, *ACTIVATIONS):
        current = current.get_node().input(0).get_source_output()
        if kind in ACTIVATIONS:
            logits = current
    return logits


def _list_of_best(current: ov.Output) -> ov.Output | None:
    """What a TopK reads whose values or numbers an output shows: all scores; None where there is none."""
    while current.get_node().get_type_name() in (*BEHIND, "Unsqueeze"):
        current = current.get_node().input(0).get_source_output()
    node = current.get_node()
    return node.input(0).get_source_output() if node.get_type_name() == "TopK" else None


def classifier_bias(logits: ov.Output, classes: int) -> np.ndarray | None:
    """The constant that the graph adds last to the logits, [classes]; None where it adds none.

    Insertion may leave it out of scaled maps, and then a map counts as empty by its values without it.
    """
    current = logits
    while current.get_node().get_type_name() in BEHIND:
        current = current.get_node().input(0).get_source_output()
    node = current.get_node()
    if node.get_type_name() != "Add":
        return None
    for port in node.input_values():
        value = constant_value(port)
        if value is not None and value.size in (1, classes):
            return np.broadcast_to(value.reshape(-1), (classes,)).astype(np.float64)
    return None
