"""Ports by name: what a user's NAME means in a model, and what a port is called in messages and in rt_info."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from pathlib import Path

import openvino as ov

from ovxai.errors import OptionError, TargetLayerError
from ovxai.graph.graph import source
from ovxai.graph.kinds import meets_convolution
from ovxai.graph.picture import PictureInput, described, input_index, input_name, input_shapes


def name_of(port: ov.Output) -> str:
    """The friendly name of a port's node, `name:port` where the port is not 0."""
    name, index = port.get_node().get_friendly_name(), port.get_index()
    return f"{name}:{index}" if index else str(name)


def output_name(model: ov.Model, index: int) -> str:
    """A tensor name of an output of the model; `output_<index>` where it has none."""
    return min(model.outputs[index].get_names(), default=f"output_{index}")


def port_named(model: ov.Model, name: str) -> ov.Output:
    """The port of a node's friendly name, of `name:port`, or of a tensor name; the first of these that there is.

    Raises:
        TargetLayerError: there is none; the message holds the nearest names.
    """
    nodes = model.get_ordered_ops()
    base, _, number = name.rpartition(":")
    for node in nodes:
        if node.get_friendly_name() == name and node.get_output_size():
            return source(node, 0) if node.get_type_name() == "Result" else node.output(0)
    for node in nodes:
        if number.isdigit() and node.get_friendly_name() == base and int(number) < node.get_output_size():
            return node.output(int(number))
    for node in nodes:
        for output in node.outputs():
            if name in output.get_names():
                return output
    named = (node for node in nodes if node.get_type_name() not in ("Constant", "Result"))
    choices = [choice for node in named for choice in (node.get_friendly_name(), *_tensor_names(node))]
    raise TargetLayerError(f"target layer: the model has no node or tensor named {name!r}; nearest: {nearest(name, choices)}")


def _tensor_names(node: ov.Node) -> set[str]:
    return {name for output in node.outputs() for name in output.get_names()}


def chosen_picture(model: ov.Model, wanted: str | int) -> PictureInput:
    """The input that a user means by its name, its node's friendly name or its number, as a picture.

    Raises:
        OptionError: there is no such input, or it takes no picture.
    """
    index = input_index(model, wanted)
    port = model.inputs[index]
    found = described(model, index)
    if found is None or not (found.batched or meets_convolution(port, found.channels)):
        raise OptionError(
            f"input: {input_name(port)} {port.get_partial_shape()} takes no picture ([N, channels, H, W] or "
            f"[N, H, W, channels]); {input_shapes(model)}"
        )
    return found


def output_index(model: ov.Model, wanted: str | int) -> int:
    """Which output of the model a tensor name, the friendly name of the node behind it, or a number from 0 means.

    Raises:
        OptionError: there is no such output; the message holds the nearest names.
    """
    feeds = [source(result, 0) for result in model.get_results()]
    names = [
        output.get_names() | {feed.get_node().get_friendly_name(), name_of(feed)} for output, feed in zip(model.outputs, feeds)
    ]
    for index, own in enumerate(names):
        if wanted in own:
            return index
    if str(wanted).isdigit():
        if int(wanted) < len(names):
            return int(wanted)
        raise OptionError(f"output: there is no output {wanted}; the model has {len(names)}, counted from 0")
    choices = [name for output in model.outputs for name in sorted(output.get_names())] or sorted(set().union(*names))
    raise OptionError(f"output: the model has no output named {wanted!r}; nearest: {nearest(str(wanted), choices)}")


def output_element(model: ov.Model, wanted: str | int) -> tuple[int, int | None]:
    """Like `output_index`, also for NAME:INDEX: the output and which of its values, None for all.

    Raises:
        OptionError: there is no such output; the message holds the nearest names.
    """
    base, _, element = str(wanted).rpartition(":")
    try:
        return output_index(model, wanted), None
    except OptionError:
        if not base or not element.isdigit():
            raise
    return output_index(model, base), int(element)


def nearest(name: str, names: Iterable[str], count: int = 3) -> str:
    """The names that are most like `name`, as a list for a message."""
    return ", ".join(difflib.get_close_matches(name, list(dict.fromkeys(names)), count, 0.0)) or "there are no names at all"


#: What stands before the names of operations that an insertion has made.
OURS = "xai"


def unique_names(model: ov.Model) -> frozenset[str]:
    """The names by which OpenVINO tells the operations of `model` apart in this process."""
    return frozenset(node.get_name() for node in model.get_ops())


def name_in_order(model: ov.Model, before: frozenset[str]) -> None:
    """Name the operations that `model` has besides those of `before` by their place in it.

    OpenVINO numbers operations through the life of a process, so the same insertion would give another file each time.
    """
    nodes = model.get_ordered_ops()
    new = [node for node in nodes if node.get_name() not in before and node.get_friendly_name() == node.get_name()]
    _number(new, {node.get_friendly_name() for node in nodes}, f"{OURS}/")


def _number(nodes: Iterable[ov.Node], taken: set[str], prefix: str = "") -> None:
    """Name `nodes` by their types and places, beside the names that are taken."""
    number = 0
    for node in nodes:
        while (name := f"{prefix}{node.get_type_name()}_{number}") in taken:
            number += 1
        node.set_friendly_name(name)
        number += 1


#: What names look like that front ends make up: of an operation's type and a number.
_MADE_UP = re.compile(r"[A-Za-z]\w*_\d+")


def name_converted(model: ov.Model, file: Path | None = None) -> None:
    """Name by their place in `model`, which a front end has made, what has no name of its own.

    OpenVINO makes such names up with a number that counts through the life of a process, and hands them on to what it puts
    in an operation's place: the same file would give other names each time. file: what the model was made from; names that
    stand there stay, but for those of constants.
    """
    nodes = model.get_ordered_ops()
    doubtful = [node for node in nodes if _MADE_UP.fullmatch(node.get_friendly_name())]
    handed_on = [node for node in doubtful if node.get_friendly_name() != node.get_name() and node.get_type_name() != "Constant"]
    own = {node.get_name(): node.get_friendly_name() for node in handed_on}
    if file is not None and own:
        data = file.read_bytes()
        others = {node.get_friendly_name() for node in nodes if node.get_type_name() != "Constant"}
        own = {key: found for key, name in own.items() if (found := _name_in(data, name, others))}
    made_up = [node for node in doubtful if node.get_name() not in own]
    for node in handed_on:
        node.set_friendly_name(own.get(node.get_name(), node.get_friendly_name()))
    renamed = {node.get_name() for node in made_up}
    _number(made_up, {node.get_friendly_name() for node in nodes if node.get_name() not in renamed})


def _name_in(data: bytes, name: str, others: set[str]) -> str:
    """What an operation of this friendly name is called in the file, unless another is; "" where it has no name there."""
    if name.encode() in data:
        return name
    # A name that OpenVINO made up was the same by chance, and the file's own got a number behind it.
    stem = name.rpartition("_")[0]
    return stem if _MADE_UP.fullmatch(stem) and stem not in others and stem.encode() in data else ""
