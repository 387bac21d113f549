"""Find in the plain model what rt_info names, and the logits of the output that is explained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openvino as ov
from openvino import opset13 as op

from ovxai.errors import NotExplainedError, TargetLayerError
from ovxai.graph.read import read_model
from ovxai.graph.surgery import strip_model
from ovxai.metadata import SALIENCY_MAP, SECTION, ExplainedInfo
from ovxai.verification.engine import Engine, Feeds, as_f32, constant_value, depends_on_input, is_float, values_of
from ovxai.verification.inputs import PictureInput, picture_input

ACTIVATIONS = ("Softmax", "LogSoftmax", "Sigmoid")
#: What may stand behind the final activation without changing what is explained.
BEHIND = ("FakeQuantize", "Convert", "Reshape", "Squeeze")


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
    """Output `index` of the plain model before its final activations, or as it is where there is none."""
    results = model.get_results()
    if not 0 <= index < len(results):
        raise TargetLayerError(f"rt_info says output {index} is explained, but the plain part has {len(results)}")
    found = current = results[index].input(0).get_source_output()
    while (kind := current.get_node().get_type_name()) in (*BEHIND, *ACTIVATIONS):
        current = current.get_node().input(0).get_source_output()
        if kind in ACTIVATIONS:
            found = current
    return found


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


# An explained model taken apart: what every step of the verification needs.


@dataclass(frozen=True)
class Case:
    """explained: as given. plain: its plain part. info: what it says about itself. place: where the picture goes in."""

    explained: ov.Model
    plain: ov.Model
    info: ExplainedInfo
    place: PictureInput


def take_apart(model: str | Path | ov.Model) -> Case:
    """Read and strip.

    Raises:
        NotExplainedError: there is nothing of ours in the model.
    """
    explained = model if isinstance(model, ov.Model) else read_model(model)
    if not explained.has_rt_info([SECTION, "version"]):
        raise NotExplainedError("the model carries no explanation of ours; make one with ovxai insert, then verify that")
    info = ExplainedInfo.read(explained)
    if SALIENCY_MAP not in info.extra_outputs:
        raise NotExplainedError(f"rt_info lists the extra outputs {list(info.extra_outputs)}, without {SALIENCY_MAP}")
    stripped = strip_model(explained)
    return Case(explained, stripped, info, picture_input(stripped))


# Cut the plain model at the gated tensors: what stands above is computed once, what stands below runs per mask.


@dataclass(frozen=True)
class Head:
    """The part of the model behind the gated tensors.

    gated: their ungated values. bypass: what reaches the head past them (other branches, shapes).
    quantised: whether it rounds anything that depends on them. rough: shapes of what quantisers read, where
    the head takes a shift for each of their inputs.
    """

    engine: Engine
    gated: tuple[np.ndarray, ...]
    bypass: tuple[np.ndarray, ...]
    quantised: bool = False
    rough: tuple[tuple[int, ...], ...] = ()

    def __call__(self, gated: Sequence[np.ndarray], shifts: Sequence[np.ndarray] = ()) -> np.ndarray:
        """The logits, [N, C], when the head is given `gated` in the place of its own tensors."""
        feeds = dict(enumerate([*gated, *self.bypass, *shifts]))
        return self.engine(feeds)[0].reshape(len(gated[0]), -1)


def cut_head(plain: ov.Model, names: Sequence[str], output: int, feeds: Feeds, rough: bool = False) -> Head:
    """The head of `plain` behind the tensors `names`, for the pictures in `feeds`.

    rough: it shifts what its quantisers read by what it is given.

    Raises:
        TargetLayerError: a name is unknown, or nothing leads from the tensors to the logits.
    """
    model = plain.clone()
    taps = [port_named(model, name) for name in names]
    logits = logits_port(model, output)
    below = _between(taps, logits)
    bypass = _entries(below, taps)
    values = values_of(model, [*taps, *bypass], feeds)
    parameters = [_replace(port, value, below) for port, value in zip([*taps, *bypass], values, strict=True)]
    result = op.result(as_f32(logits))
    head = ov.Model([result], parameters, "head")
    quantisers = [node for node in below.values() if node.get_type_name() == "FakeQuantize"]
    shifts = [_shift(node) for node in quantisers] if rough else []
    if shifts:
        head = ov.Model([result], [*parameters, *shifts], "head")
    shapes = tuple(tuple(shift.get_output_shape(0)) for shift in shifts)
    return Head(Engine(head), tuple(values[: len(taps)]), tuple(values[len(taps) :]), bool(quantisers), shapes)


def _between(taps: Sequence[ov.Output], logits: ov.Output) -> dict[str, ov.Node]:
    """Nodes that both depend on a tap and are needed by the logits when the taps are given, by name."""
    cut = {_key(tap) for tap in taps}
    memo: dict[str, bool] = {}
    nodes: dict[str, ov.Node] = {}
    stack = [(logits.get_node(), False)]
    while stack:
        node, done = stack.pop()
        name = node.get_name()
        sources = node.input_values()
        if done:
            memo[name] = any(_key(port) in cut or memo.get(port.get_node().get_name()) for port in sources)
            if memo[name]:
                nodes[name] = node
        elif name not in memo:
            memo[name] = False
            stack.append((node, True))
            stack += [(port.get_node(), False) for port in sources if _key(port) not in cut]
    if _key(logits) in cut or logits.get_node().get_name() not in nodes:
        raise TargetLayerError("the target layers that rt_info names do not lead to the logits of the explained output")
    return nodes


def _entries(below: dict[str, ov.Node], taps: Sequence[ov.Output]) -> list[ov.Output]:
    """Ports outside `below` that feed it, are no taps, and depend on the model's inputs."""
    cut = {_key(tap) for tap in taps}
    found: dict[tuple[str, int], ov.Output] = {}
    for node in below.values():
        for port in node.input_values():
            if port.get_node().get_name() in below and _key(port) not in cut:
                continue
            if _key(port) not in cut | found.keys() and depends_on_input(port.get_node()):
                found[_key(port)] = port
    return list(found.values())


def _replace(port: ov.Output, value: np.ndarray, below: dict[str, ov.Node]) -> ov.Node:
    """Feed the nodes `below` from a new parameter of `value`'s shape instead of from `port`."""
    if is_float(port):
        parameter = op.parameter(list(value.shape), np.float32)
        source = op.convert(parameter, port.get_element_type()).output(0)
    else:
        parameter = op.parameter(list(value.shape), port.get_element_type())
        source = parameter.output(0)
    for target in list(port.get_target_inputs()):
        if target.get_node().get_name() in below:
            target.replace_source_output(source)
    return parameter


def _shift(quantiser: ov.Node) -> ov.Node:
    """A new parameter that is added to the input of `quantiser`, as a part of the largest value it tells apart."""
    port, low, high = (quantiser.input_value(i) for i in range(3))
    shift = op.parameter(list(port.get_shape()), np.float32)
    part = op.multiply(op.convert(shift, port.get_element_type()), op.maximum(op.abs(low), op.abs(high)))
    quantiser.input(0).replace_source_output(op.add(port, part).output(0))
    return shift


def _key(port: ov.Output) -> tuple[str, int]:
    return port.get_node().get_name(), port.get_index()
