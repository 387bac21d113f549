"""Where a classifier's scores leave the graph: which output, and the logits behind its activation."""

from __future__ import annotations

from dataclasses import dataclass

import openvino as ov

from ovxai.find.site import No
from ovxai.graph.graph import Graph, source

_ACTIVATIONS = {"Softmax": "softmax", "LogSoftmax": "log-softmax", "Sigmoid": "sigmoid"}
#: What may stand behind the activation without changing what is a class.
_WRAPPERS = ("FakeQuantize", "Convert", "Reshape", "Squeeze")


@dataclass(frozen=True)
class Readout:
    """One output as class scores. activation: what the model itself applies, "" for raw logits."""

    index: int
    logits: ov.Output
    classes: int
    activation: str


def logits_of(output: ov.Output) -> tuple[ov.Output, str]:
    """The tensor before a final Softmax, LogSoftmax or Sigmoid, and which of them it was."""
    found, activation = output, ""
    here = output
    while (kind := here.get_node().get_type_name()) in (*_WRAPPERS, *_ACTIVATIONS):
        here = source(here.get_node(), 0)
        if kind in _ACTIVATIONS:
            found, activation = here, _ACTIVATIONS[kind]
    return found, activation


def readout(model: ov.Model, graph: Graph, index: int) -> Readout | No:
    """Read output `index` as class scores: one score a class and picture."""
    result = model.get_results()[index]
    output = source(result, 0)
    logits, activation = logits_of(output)
    if not logits.get_element_type().is_real():
        return No(f"output {index} holds {logits.get_element_type()}, not scores")
    shape = graph.shape(logits)
    if shape is None:
        return No(f"output {index} has a size that depends on the picture")
    if len(shape) < 2 or sum(size > 1 for size in shape[1:]) > 1:
        return No(f"output {index} has shape {list(shape)}, not one score a class")
    classes = max(shape[1:])
    if classes == 1 and activation != "sigmoid":
        return No(f"output {index} is a single number, not class scores (a regression?)")
    return Readout(index, logits, classes, activation)


def find_readout(model: ov.Model, graph: Graph, wanted: str | int | None, labels: int | None) -> Readout | No:
    """The output to explain: the one asked for, else the first that looks like class scores.

    Where labels are known, an output with that many classes goes before others.
    """
    count = len(model.outputs)
    if wanted is not None:
        index = output_index(model, wanted)
        return index if isinstance(index, No) else readout(model, graph, index)
    reasons, found = [], []
    for index in range(count):
        one = readout(model, graph, index)
        if isinstance(one, No):
            reasons.append(one.reason)
        else:
            found.append(one)
    if not found:
        return No("; ".join(reasons) or "the model has no outputs")
    return next((one for one in found if one.classes == labels), found[0])


def output_index(model: ov.Model, wanted: str | int) -> int | No:
    """An output by tensor name or by index."""
    count = len(model.outputs)
    if str(wanted).isdigit():
        return int(wanted) if int(wanted) < count else No(f"there is no output {wanted}; the model has {count}")
    for index, output in enumerate(model.outputs):
        if wanted in output.get_names() or wanted == source(model.get_results()[index], 0).get_node().get_friendly_name():
            return index
    names = ", ".join(sorted(name for output in model.outputs for name in output.get_names())) or "only unnamed ones"
    return No(f"there is no output named {wanted!r}; there are: {names}")


def picture_input(model: ov.Model, graph: Graph, below: set[str] | None = None) -> ov.Node | No:
    """The Parameter that takes the picture: of rank 4, with 1, 3 or 4 channels and two sides.

    below: if given, only inputs in this set of node names count (those that the scores depend on).
    """
    found = []
    for parameter in model.get_parameters():
        shape = graph.shape(parameter.output(0))
        if shape is None or len(shape) != 4 or (below is not None and parameter.get_name() not in below):
            continue
        sides = shape[2:] if shape[1] in (1, 3, 4) else shape[1:3] if shape[3] in (1, 3, 4) else None
        if sides and min(sides) > 1:
            found.append((sides[0] * sides[1], parameter))
    if not found:
        shapes = ", ".join(str(parameter.get_partial_shape()) for parameter in model.get_parameters())
        return No(f"no input takes a picture ([N, channels, H, W] or [N, H, W, channels]); inputs: {shapes or 'none'}")
    return max(found, key=lambda item: item[0])[1]


def picture_sides(shape: tuple[int, ...]) -> tuple[int, int]:
    """(H, W) of a picture input's shape."""
    return (shape[2], shape[3]) if shape[1] in (1, 3, 4) else (shape[1], shape[2])
