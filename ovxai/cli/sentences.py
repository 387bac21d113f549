"""What `ovxai inspect` says: what a model is and what would be inserted, for people; what a report of a fault needs, as data."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import TYPE_CHECKING

from ovxai.entries import to_text

if TYPE_CHECKING:
    import openvino as ov

    from ovxai.insertion import Insertion
    from ovxai.metadata import ExplainedInfo

_A = {
    "classification": "a classifier",
    "regression": "a regression model",
    "detection": "a detector",
    "instance-segmentation": "an instance segmentation model",
    "semantic-segmentation": "a segmentation model",
    "features": "a model with a feature map and no class scores that could be explained",
}
#: Entries of `model_info` that say how a model is fed and read; its labels, which may be confidential, are none of them.
_TOLD = (
    "model_type", "task_type", "mean_values", "scale_values", "resize_type", "pad_value", "reverse_input_channels",
    "confidence_threshold", "iou_threshold", "multilabel", "hierarchical", "embedded_processing",
)  # fmt: skip
_COLLAPSE = {
    "exact": "What follows the gate is collapsed exactly: no copy of it per position is run.",
    "partial": "What follows the gate is collapsed in part: some of it is run on masked copies, which costs time and memory.",
    "dense": "What follows the gate can't be collapsed: all of it is run on masked copies, which costs time and memory.",
}


def what_it_takes(model: ov.Model) -> str:
    """Inputs and outputs of a model, with shapes and types."""
    return f"The model takes {_listed(_ports(model.inputs))} and gives {_listed(_ports(model.outputs))}."


def graph_and_machine(model: ov.Model) -> dict[str, object]:
    """What somebody who has not got the model needs to know of it and of this machine: no weights, no names of classes."""
    from ovxai.metadata import MODEL_INFO

    operations = Counter(f"{kind.name} ({kind.version_id})" for kind in (node.get_type_info() for node in model.get_ops()))
    said = dict(model.get_rt_info(MODEL_INFO).value) if model.has_rt_info(MODEL_INFO) else {}
    graph = {
        "inputs": [_port(port) for port in model.inputs],
        "outputs": [_port(port) for port in model.outputs],
        "operations": dict(operations.most_common()),
        MODEL_INFO: {key: str(value) for key, value in said.items() if key in _TOLD},
    }
    return {"graph": graph, "machine": _machine()}


def _port(port: ov.Output) -> dict[str, object]:
    shape, kind = str(port.get_partial_shape()), port.get_element_type().get_type_name()
    return {"names": sorted(port.get_names()), "shape": shape, "type": kind}


def _machine() -> dict[str, str]:
    import openvino as ov

    from ovxai.runtime.write.manifest import versions

    core = ov.Core()
    cpu = str(core.get_property("CPU", "FULL_DEVICE_NAME")) if "CPU" in core.available_devices else ""
    return {
        **versions(),
        "numpy": version("numpy"),
        "python": platform.python_version(),
        "system": platform.platform(),
        "cpu": cpu,
    }


def what_would_be_done(done: Insertion, share: float | None) -> list[str]:
    """What an insertion took the model for, where it explains it, what comes out and at what cost.

    share: multiply-adds of the explanation over the model's own; None where they depend on the picture.
    """
    info = done.info
    own = done.model.outputs[: len(done.model.outputs) - len(info.extra_outputs)]
    explained = _name(own[info.explained_output])
    beside = [_name(port) for port in done.model.inputs if info.picture_input not in (_name(port), *port.get_names())]
    classes = f" of {info.num_classes} classes" if info.num_classes and info.task != "regression" else ""
    of = "" if info.method == "activation-map" else f"; {explained} is explained"
    lines = [
        f"It is taken for {_A.get(info.task, info.task)}{classes}{of}.",
        f"The picture goes into {info.picture_input}{f', and {_listed(beside)} is fed beside it' if beside else ''}.",
        f"The method is {_method(info)}, at {_listed(info.target_layers)}{f' ({info.layout})' if info.layout else ''}.",
        f"Why there: {done.why}.",
        _maps(info, done.model),
        _where(info),
        *([_COLLAPSE[info.collapse]] if info.mask and info.collapse in _COLLAPSE else []),
        "What it costs depends on what is in the picture."
        if share is None
        else f"It costs {100 * share:.1f} % more multiply-adds.",
    ]
    return [*lines, *(f"Note: {note}." for note in done.notes)]


def what_was_done(info: ExplainedInfo, model: ov.Model) -> list[str]:
    """What rt_info says of a model that is explained already, in short and entry by entry."""
    filled = [(key, value) for key, value in asdict(info).items() if value not in ("", None, ())]
    part = {"plain": "It is the plain part of a split model.", "head": "It is the head of a split model."}.get(info.split)
    return [
        f"It is explained already, by ovxai {info.version}: {_A.get(info.task, info.task)}, "
        f"by {_method(info)}, at {_listed(info.target_layers)}.",
        part or _maps(info, model, "It gives"),
        "`ovxai strip` gives the plain model back; rt_info says:",
        *(f"  {key:18} {to_text(value)}" for key, value in filled),
    ]


def _method(info: ExplainedInfo) -> str:
    return info.method + (f" with the {info.mask} mask" if info.mask else "") + (f", {info.combine}" if info.combine else "")


def _maps(info: ExplainedInfo, model: ov.Model, verb: str = "It would give") -> str:
    from ovxai.metadata import SALIENCY_MAP

    shape = model.output(SALIENCY_MAP).get_partial_shape()
    size = " x ".join(str(extent) for extent in list(shape)[2:])
    others = [name for name in info.extra_outputs if name != SALIENCY_MAP]
    also = f"; besides {_listed(others)}" if others else ""
    scaled = "u8, scaled to 0..255 each" if info.scaled else "f32, not scaled"
    return f"{verb} saliency_map {shape}: maps of {size} cells, {_each(info)}, {scaled}{also}."


def _each(info: ExplainedInfo) -> str:
    """Of what there is a map."""
    if info.method == "activation-map":
        return "one for the picture"
    of = f" of {info.num_classes}" if info.num_classes else ""
    if info.per == "box":
        return f"for the best boxes ({info.classes}), whatever their class"
    if info.classes.startswith("top:"):
        return f"for the best {info.classes[4:]}{of} classes"
    if info.classes != "all":
        return f"for classes {info.classes}{of}"
    return "for every class"


def _where(info: ExplainedInfo) -> str:
    y1, x1, y2, x2 = info.map_frame
    frame = "all of the input" if tuple(info.map_frame) == (0, 0, 1, 1) else (
        f"the part from {y1:g} to {y2:g} of the input's height and from {x1:g} to {x2:g} of its width"
    )  # fmt: skip
    turned = "" if info.map_axes == "yx" else f", with its axes along {info.map_axes}"
    return f"The maps cover {frame}{turned}."


def _ports(ports: Sequence[ov.Output]) -> list[str]:
    names = [", ".join(sorted(port.get_names())) or "an unnamed one" for port in ports]
    return [f"{name} {port.get_partial_shape()} {port.get_element_type().get_type_name()}" for name, port in zip(names, ports)]


def _name(port: ov.Output) -> str:
    return str(min(port.get_names(), default=port.get_node().get_friendly_name()))


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + f" and {words[-1]}" if words else "nothing"
