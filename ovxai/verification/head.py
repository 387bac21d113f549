"""Cut the plain model at the gated tensors: what stands above is computed once, what stands below runs per mask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import openvino as ov
from openvino import opset13 as op

from ovxai.errors import TargetLayerError
from ovxai.verification.engine import Engine, Feeds, as_f32, depends_on_input, is_float, values_of
from ovxai.verification.plain import logits_port, port_named


@dataclass(frozen=True)
class Head:
    """The part of the model behind the gated tensors.

    engine: runs it. gated: their ungated values. bypass: what reaches the head past them (other branches, shapes).
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

    def outputs(self, gated: Sequence[np.ndarray]) -> list[np.ndarray]:
        """All that it was cut for, as it is."""
        return self.engine(dict(enumerate([*gated, *self.bypass])))


#: What is chosen, by the friendly name and number of a port: see `choices_between`.
Choices = Mapping[tuple[str, int], np.ndarray]
#: Operations whose results change in stairs, also where these are no whole numbers.
STAIRS = ("Floor", "Ceiling", "Round", "Sign")


def cut_head(
    plain: ov.Model,
    names: Sequence[str],
    output: int,
    feeds: Feeds,
    *,
    rough: bool = False,
    whole: bool = False,
    choices: Choices | None = None,
) -> Head:
    """The head of `plain` behind the tensors `names`, for the pictures in `feeds`.

    output: index of the output whose logits the head gives. rough: it shifts what its quantisers read by what
    it is given. whole: it gives all outputs of the model, as they are. choices: what it chooses, whatever it is given.

    Raises:
        TargetLayerError: a name is unknown, or nothing leads from the tensors to the logits.
    """
    model = plain.clone()
    taps = [port_named(model, name) for name in names]
    goals = [result.input(0).get_source_output() for result in model.get_results()] if whole else [logits_port(model, output)]
    below = _below(taps, goals)
    stay = _staying(below, goals, choices)
    bypass = _entries(below, taps)
    values = values_of(model, [*taps, *bypass], feeds)
    ports = [*taps, *bypass, *(port for port, _ in stay)]
    parameters = [
        _replace(port, value, below) for port, value in zip(ports, [*values, *(value for _, value in stay)], strict=True)
    ]
    chosen = {_key(port): made.output(0) for (port, _), made in zip(reversed(stay), reversed(parameters))}
    goals = [chosen.get(_key(goal), goal) for goal in goals]
    results = [op.result(as_f32(goal) if is_float(goal) else goal) for goal in goals]
    quantisers = [node for node in below.values() if node.get_type_name() == "FakeQuantize"]
    # Shapes behind the new parameters are known only once a model was made of them.
    head = ov.Model(results, parameters, "head")
    shifts = [_shift(node) for node in quantisers] if rough else []
    if shifts:
        head = ov.Model(results, [*parameters, *shifts], "head")
    shapes = tuple(tuple(shift.get_output_shape(0)) for shift in shifts)
    bypassed = (*values[len(taps) :], *(value for _, value in stay))
    return Head(Engine(head), tuple(values[: len(taps)]), bypassed, bool(quantisers), shapes)


def choices_between(taps: Sequence[ov.Output], goals: Sequence[ov.Output]) -> list[ov.Output]:
    """What is made of the taps on the way to the goals, and changes in stairs: which entries are picked, truth values, cells.

    A derivative counts all that as fixed. Where it changes scores may jump; and of entries that tie, each graph that is
    compiled may pick others.

    Raises:
        TargetLayerError: no goal depends on the taps.
    """
    return _choices(_below(taps, goals), goals)


def _choices(below: dict[str, ov.Node], goals: Sequence[ov.Output]) -> list[ov.Output]:
    read = {_key(port) for node in below.values() for port in node.input_values()} | {_key(goal) for goal in goals}
    found = []
    for node in below.values():
        if any(is_float(port) for port in node.input_values()):
            kind, outputs = node.get_type_name(), node.outputs()
            used = [port for port in outputs if kind == "TopK" or _key(port) in read]
            found += [port for port in used if kind in STAIRS or not is_float(port)]
    return found


def _staying(
    below: dict[str, ov.Node], goals: list[ov.Output], choices: Choices | None
) -> list[tuple[ov.Output, np.ndarray]]:  # fmt: skip
    """Ports that stay as they are, and how. Changes `below` and `goals`: the entries that a TopK picks are read by number."""
    if choices is None:
        return []
    ports = [port for port in _choices(below, goals) if choice_key(port) in choices]
    for port in [port for port in ports if port.get_node().get_type_name() == "TopK"]:
        node, given = port.get_node(), port.get_node().output(0)
        axis, rank = int(node.get_attributes()["axis"]), len(port.get_partial_shape())
        # Behind one more axis, for plugins drop a Slice right before GatherElements (OpenVINO 2026.4).
        feeds = [op.unsqueeze(each, np.array([rank])) for each in (node.input_value(0), port)]
        taken = op.gather_elements(*feeds, axis % rank)
        picked = op.squeeze(taken, np.array([rank]))
        below |= {each.get_name(): each for each in (*feeds, taken, picked)}
        for reader in given.get_target_inputs():
            if reader.get_node().get_name() in below:
                reader.replace_source_output(picked.output(0))
        goals[:] = [picked.output(0) if _key(goal) == _key(given) else goal for goal in goals]
    return [(port, choices[choice_key(port)]) for port in ports]


def choice_key(port: ov.Output) -> tuple[str, int]:
    """By what a port is known in every copy of a model."""
    return port.get_node().get_friendly_name(), port.get_index()


def _below(taps: Sequence[ov.Output], goals: Sequence[ov.Output]) -> dict[str, ov.Node]:
    """Nodes between the taps and those goals that depend on them.

    Raises:
        TargetLayerError: none does.
    """
    found: dict[str, ov.Node] = {}
    refused: TargetLayerError | None = None
    for goal in goals:
        try:
            found |= nodes_between(taps, goal)
        except TargetLayerError as error:
            refused = error
    if refused is not None and not found:
        raise refused
    return found


def nodes_between(taps: Sequence[ov.Output], logits: ov.Output) -> dict[str, ov.Node]:
    """Nodes that both depend on a tap and are needed by the logits when the taps are given, by name."""
    cut = {_key(tap) for tap in taps}
    depends: dict[str, bool] = {}
    nodes: dict[str, ov.Node] = {}
    stack = [(logits.get_node(), False)]
    while stack:
        node, done = stack.pop()
        name = node.get_name()
        feeding = node.input_values()
        if done:
            depends[name] = any(_key(port) in cut or depends.get(port.get_node().get_name()) for port in feeding)
            if depends[name]:
                nodes[name] = node
        elif name not in depends:
            depends[name] = False
            stack.append((node, True))
            stack += [(port.get_node(), False) for port in feeding if _key(port) not in cut]
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
