"""An explained model in two: the plain part, which runs for every picture, and the head, which runs when a map is asked for.

The plain part hands out, behind the model's own outputs, the tensors that the explanation reads. The head takes them under
the same names and gives the explanation outputs. `join_parts` puts the two together again: that is the explained model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import openvino as ov
from openvino import opset13 as op

from ovxai.errors import ModelReadError, NotExplainedError, UsageError
from ovxai.graph.graph import Key, key_of, source, sources
from ovxai.graph.names import port_named
from ovxai.graph.read import read_model
from ovxai.graph.surgery import attach_outputs, take_off
from ovxai.metadata import HEAD, PLAIN_PART, ExplainedInfo

#: What the names of the tensors begin with that the plain part hands out for its head.
TENSOR = "explained_tensor"

# How a tensor comes about: from constants alone; from the gated tensors; from shapes alone; from the picture in other ways.
_CONSTANT, _SHAPES, _GATED, _PICTURE = range(4)
_SIZES = "ShapeOf"
#: What is made anew for every picture, whatever feeds it.
_MADE_ANEW = frozenset({"Parameter", "ReadValue", "RandomUniform"})


def split_model(explained: ov.Model) -> tuple[ov.Model, ov.Model]:
    """The plain part and the head of an explained model, as new models; the argument is not changed.

    The head repeats what lies between the gated tensors and the end of the network, where that is all it needs, so that
    the plain part has few outputs more: each of them costs time for every picture.

    Raises:
        NotExplainedError: `explained` has no explanation outputs of ours. UsageError: it is one part of such a model.
    """
    info = ExplainedInfo.read(explained)
    if info is None:
        raise NotExplainedError("the model carries no explanation outputs; insert them first, then split")
    if info.split:
        raise UsageError(f"the model is the {info.split} part of a split model already")
    ports = _cut(explained, info)
    plain, names = _plain_part(explained, info, ports)
    head = _head(explained, info, ports, names)
    added = tuple(name for name in names if name.startswith(TENSOR))
    key = _digest((plain, head), info)
    replace(info, split=PLAIN_PART, split_key=key, extra_outputs=added).write(plain)
    replace(info, split=HEAD, split_key=key).write(head)
    return plain, head


def join_parts(plain: ov.Model, head: ov.Model) -> ov.Model:
    """The explained model that was split, as a new model.

    Raises:
        ModelReadError: the two do not belong together.
    """
    own, other = ExplainedInfo.read(plain), ExplainedInfo.read(head)
    if own is None or other is None or (own.split, other.split) != (PLAIN_PART, HEAD) or own.split_key != other.split_key:
        raise ModelReadError(
            f"{plain.get_friendly_name()}: its head is not of the same insertion; put the files of one beside each other, "
            "or insert again"
        )
    whole, end = plain.clone(), head.clone()
    for parameter in end.get_parameters():
        port = _handed_out(whole, min(parameter.output(0).get_names()))
        for reader in list(parameter.output(0).get_target_inputs()):
            reader.replace_source_output(port)
    count = len(other.extra_outputs)
    feeds = [source(result, 0) for result in end.get_results()[-count:]]
    take_off(whole, own)
    attach_outputs(whole, dict(zip(other.extra_outputs, feeds, strict=True)))
    replace(other, split="", split_key="").write(whole)
    return whole


def _handed_out(plain: ov.Model, name: str) -> ov.Output:
    """The tensor that a plain part gives, or is given, under `name`.

    Raises:
        ModelReadError: there is none.
    """
    for result, output in zip(plain.get_results(), plain.outputs, strict=True):
        if name in output.get_names():
            return source(result, 0)
    for port in plain.inputs:
        if name in port.get_names():
            return port
    raise ModelReadError(f"{plain.get_friendly_name()}: has no tensor {name!r}, which its head takes; insert again")


def is_plain_part(model: ov.Model) -> bool:
    """Whether `model` is the part of a split model that takes the picture."""
    info = ExplainedInfo.read(model)
    return info is not None and info.split == PLAIN_PART


def is_head(model: ov.Model) -> bool:
    """Whether `model` is the part of a split model that gives the maps."""
    info = ExplainedInfo.read(model)
    return info is not None and info.split == HEAD


def head_path(path: str | Path) -> Path:
    """Where the head of the plain part `path` lies: OUT_head.xml beside OUT.xml."""
    return Path(path).with_name(f"{Path(path).stem}_head.xml")


def read_head(path: str | Path, model: ov.Model) -> ov.Model | None:
    """The head beside `model`, which was read from `path`; None where that is no plain part of a split model.

    Raises:
        ModelReadError: it is a head itself, or its head is not beside it.
    """
    info = ExplainedInfo.read(model)
    if info is None or not info.split:
        return None
    if info.split == HEAD:
        raise ModelReadError(f"{path}: is the head of a split model, which takes no picture; give the plain part beside it")
    beside = head_path(path)
    if not beside.exists():
        raise ModelReadError(
            f"{path}: the head of this split model, {beside.name}, is not beside it; put it there, or insert again"
        )
    return read_model(beside)


def read_whole(path: str | Path, *, trust: bool = False) -> ov.Model:
    """Like `read_model`; the two parts of a split model are read as the one that was split.

    Raises:
        ModelReadError: see `read_model`, or a part is missing or not of the same insertion.
    """
    model = read_model(path, trust=trust)
    head = read_head(path, model)
    return model if head is None else join_parts(model, head)


# Where to cut.


def _cut(model: ov.Model, info: ExplainedInfo) -> list[ov.Output]:
    """The tensors that the head takes, in the order of the graph."""
    nodes = model.get_ordered_ops()
    order = {node.get_name(): i for i, node in enumerate(nodes)}
    count = len(info.extra_outputs)
    own = _ancestors(model.get_results()[:-count])
    gated = {key_of(port_named(model, name)) for name in info.target_layers}
    origin = _origins(nodes, gated)
    found: dict[Key, ov.Output] = {}
    todo = [source(result, 0) for result in model.get_results()[-count:]]
    seen: set[Key] = set()
    while todo:
        port = todo.pop()
        node, key = port.get_node(), key_of(port)
        if key in seen:
            continue
        seen.add(key)
        kind = origin[node.get_name()]
        if key in gated or (kind == _PICTURE and node.get_name() in own) or (kind == _SHAPES and node.get_type_name() == _SIZES):
            found[key] = port
        else:
            todo += sources(node)
    return sorted(found.values(), key=lambda port: (order[port.get_node().get_name()], port.get_index()))


def _origins(nodes: Iterable[ov.Node], gated: set[Key]) -> dict[str, int]:
    """How each node's results come about. nodes: in order."""
    found: dict[str, int] = {}
    for node in nodes:
        feeds = [_GATED if key_of(feed) in gated else found[feed.get_node().get_name()] for feed in sources(node)]
        kind = max(feeds, default=_CONSTANT)
        if node.get_type_name() in _MADE_ANEW:
            kind = _PICTURE
        elif node.get_type_name() == _SIZES and kind == _PICTURE:
            kind = _SHAPES
        found[node.get_name()] = kind
    return found


def _ancestors(results: Iterable[ov.Node]) -> set[str]:
    todo, found = list(results), set()
    while todo:
        node = todo.pop()
        if node.get_name() not in found:
            found.add(node.get_name())
            todo += [feed.get_node() for feed in sources(node)]
    return found


# The two parts.


def _plain_part(explained: ov.Model, info: ExplainedInfo, ports: list[ov.Output]) -> tuple[ov.Model, list[str]]:
    """The model's own outputs and what the head takes; and the name of each of `ports`, one that has a name already keeps it."""
    plain = explained.clone()
    twins = _twins(explained, plain, ports)
    take_off(plain, info)
    known = {key_of(source(result, 0)): output for result, output in zip(plain.get_results(), plain.outputs, strict=True)}
    names: list[str] = []
    added: dict[str, ov.Output] = {}
    for port in twins:
        there = port if port.get_node().get_type_name() == "Parameter" else known.get(key_of(port))
        own = min(there.get_names(), default="") if there is not None else ""
        names.append(own or f"{TENSOR}_{len(added)}")
        if not own:
            added[names[-1]] = port
    attach_outputs(plain, added)
    return plain, names


def _head(explained: ov.Model, info: ExplainedInfo, ports: list[ov.Output], names: list[str]) -> ov.Model:
    """From the tensors `ports`, as inputs of these names, to the explanation outputs."""
    head = explained.clone()
    inputs = []
    for port, name in zip(_twins(explained, head, ports), names, strict=True):
        parameter = op.parameter(port.get_partial_shape(), port.get_element_type())
        parameter.set_friendly_name(name)
        parameter.output(0).get_tensor().set_names({name})
        inputs.append(parameter)
        for reader in list(port.get_target_inputs()):
            reader.replace_source_output(parameter.output(0))
    for result in head.get_results()[: -len(info.extra_outputs)]:
        head.remove_result(result)
    for sink in head.get_sinks():
        head.remove_sink(sink)
    for variable in head.get_variables():
        head.remove_variable(variable)
    before = head.get_parameters()
    head.add_parameters(inputs)
    for parameter in before:
        head.remove_parameter(parameter)
    for result, name in zip(head.get_results(), info.extra_outputs, strict=True):
        source(result, 0).get_tensor().add_names({name})
    head.validate_nodes_and_infer_types()
    return head


def _twins(model: ov.Model, copy: ov.Model, ports: list[ov.Output]) -> list[ov.Output]:
    """The same ports in a copy of the model."""
    order = {node.get_name(): i for i, node in enumerate(model.get_ordered_ops())}
    nodes = copy.get_ordered_ops()
    return [nodes[order[port.get_node().get_name()]].output(port.get_index()) for port in ports]


def _digest(models: Sequence[ov.Model], info: ExplainedInfo) -> str:
    """Of all weights, the shapes and what was asked for: parts of different insertions differ in it."""
    shapes = [str(port.get_partial_shape()) for model in models for port in (*model.inputs, *model.outputs)]
    found = hashlib.sha256(repr((shapes, info)).encode())
    for model in models:
        for node in model.get_ordered_ops():
            if node.get_type_name() == "Constant":
                found.update(np.ascontiguousarray(node.data).view(np.uint8).data)
    return found.hexdigest()
