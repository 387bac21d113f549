"""Where the scores leave the graph: which output is explained, and the logits behind its activation.

An output is told by what it carries, never by being first: a final activation, the number of classes that anybody has
named, what reads what. Where two outputs are equally likely, both are named and none is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import openvino as ov

from ovxai.find.site import No, Request
from ovxai.graph.graph import Graph, constant_value, key_of, source, sources
from ovxai.graph.names import output_name
from ovxai.metadata import REGRESSION

_ACTIVATIONS = {"Softmax": "softmax", "LogSoftmax": "log-softmax", "Sigmoid": "sigmoid"}
#: What may stand behind the activation without changing what is a class.
_WRAPPERS = ("FakeQuantize", "Convert", "Reshape", "Squeeze")
#: Activations of exclusive classes: what else could a model mean by them?
_EXCLUSIVE = ("softmax", "log-softmax")
#: What stands between a length and the tensor that is divided by it.
_OF_LENGTHS = ("Sqrt", "Power", "Maximum", "Clamp", "Add", "Broadcast", "Reshape", "Unsqueeze", "Convert", "Abs")
_LENGTHS = ("ReduceL2", "ReduceSum")
_WEIGHING = ("Convolution", "GroupConvolution", "MatMul")


@dataclass(frozen=True)
class Readout:
    """One output as class scores.

    logits: [N, C] or [N, C, 1, ...]. activation: what the model itself applies, "" for raw logits. number: the output with
    the classes' numbers where the model hands out a list of the best (TopK) and not all scores; `index` is then the
    output with their scores, or the same where there is none.
    """

    index: int
    logits: ov.Output
    classes: int
    activation: str
    number: int | None = None


def logits_of(output: ov.Output) -> tuple[ov.Output, str]:
    """The tensor before a final Softmax, LogSoftmax or Sigmoid, and which of them it was."""
    logits, activation = output, ""
    here = output
    while (kind := here.get_node().get_type_name()) in (*_WRAPPERS, *_ACTIVATIONS):
        here = source(here.get_node(), 0)
        if kind in _ACTIVATIONS:
            logits, activation = here, _ACTIVATIONS[kind]
    return logits, activation


def find_readout(request: Request) -> Readout | No:
    """The output to explain: the one asked for, else the one that carries class scores."""
    graph = request.graph
    if request.output is not None:
        return _asked_for(request, request.output)
    tried = [readout_of(graph, index, single=request.options.task == REGRESSION) for index in range(len(graph.results))]
    tried = [No(why) if isinstance(one, Readout) and (why := _no_classes(one, request)) else one for one in tried]
    readouts = _one_per_tensor([readout for readout in tried if isinstance(readout, Readout)])
    if not readouts:
        return No("; ".join(no.reason for no in tried if isinstance(no, No)) or "the model has no outputs")
    return _likeliest(graph, readouts, request.classes)


def _asked_for(request: Request, index: int) -> Readout | No:
    readout = readout_of(request.graph, index, single=True)
    why = _no_classes(readout, request) if isinstance(readout, Readout) else None
    return No(why, near=True) if why else readout


def readout_of(graph: Graph, index: int, *, single: bool = False) -> Readout | No:
    """Read output `index` as class scores: one score per class and picture.

    single: whether one raw number may be what is explained.
    """
    output = graph.output_of(graph.results[index])
    best = _list_of_best(output)
    logits, activation = logits_of(source(best.get_node(), 0) if best else output)
    if not logits.get_element_type().is_real():
        return No(f"output {index} holds {logits.get_element_type().get_type_name()}, not scores")
    shape = graph.shape(logits)
    if shape is None:
        return No(f"output {index} has a size that depends on the picture")
    if len(shape) < 2 or sum(size > 1 for size in shape[1:]) > 1:
        return No(f"output {index} has shape {logits.get_partial_shape()}, not one score per class")
    classes = max(shape[1:])
    if classes == 1 and activation != "sigmoid" and not single:
        return No(
            f"output {index} is a single number, not class scores; if what raises it is to be explained: --task {REGRESSION}, "
            f"or --output={output_name(graph.model, index)}"
        )
    return Readout(index, logits, classes, activation, index if best and best.get_index() == 1 else None)


def _list_of_best(output: ov.Output) -> ov.Output | None:
    """The port of a TopK behind an output: 0 for the values, 1 for the classes' numbers."""
    here = output
    while here.get_node().get_type_name() in (*_WRAPPERS, "Unsqueeze"):
        here = source(here.get_node(), 0)
    return here if here.get_node().get_type_name() == "TopK" else None


def _one_per_tensor(readouts: Sequence[Readout]) -> list[Readout]:
    """Outputs that show the same scores (logits and probabilities, values and numbers of a list) count once."""
    found: dict[tuple[str, int], Readout] = {}
    for readout in readouts:
        key = key_of(readout.logits)
        known = found.setdefault(key, readout)
        if known is not readout:
            found[key] = _joined(known, readout)
    return list(found.values())


def _joined(one: Readout, other: Readout) -> Readout:
    """Of two outputs with the same scores the one that holds them all; of a list, its values, with its numbers named."""
    for whole, rest in ((one, other), (other, one)):
        if whole.number is None and rest.number is not None:
            return Readout(whole.index, whole.logits, whole.classes, whole.activation, rest.number)
    return one


def _likeliest(graph: Graph, readouts: list[Readout], classes: int | None) -> Readout | No:
    """The readout that is meant, or why nobody can say."""
    tests: tuple[Callable[[Readout], bool], ...] = (
        lambda one: one.classes == classes,
        lambda one: not _is_read_by_another(graph, one, readouts),
        lambda one: one.activation in _EXCLUSIVE or one.number is not None,
        lambda one: not _leaves_early(graph, one, readouts),
    )
    for test in tests:
        readouts = [one for one in readouts if test(one)] or readouts
    if len(readouts) == 1:
        return readouts[0]
    names = " and ".join(f"{output_name(graph.model, one.index)} ({one.classes} values)" for one in readouts)
    return No(f"outputs {names} could each be class scores; say which with --output", near=True)


def _is_read_by_another(graph: Graph, one: Readout, readouts: Sequence[Readout]) -> bool:
    """An embedding that a classifier reads."""
    name = one.logits.get_node().get_name()
    others = [other.logits.get_node() for other in readouts if other is not one]
    return any(name in graph.ancestors([node]) and name != node.get_name() for node in others)


def _leaves_early(graph: Graph, one: Readout, readouts: Sequence[Readout]) -> bool:
    """Auxiliary logits of training: as many classes as others have that pass more layers."""
    own = _layers(graph, one)
    return any(other.classes == one.classes and _layers(graph, other) > own for other in readouts if other is not one)


def _layers(graph: Graph, readout: Readout) -> int:
    above = graph.ancestors([readout.logits.get_node()])
    return sum(kind in _WEIGHING for node, kind in zip(graph.ops, graph.kinds) if node.get_name() in above)


# What are no class scores.


def _no_classes(readout: Readout, request: Request) -> str | None:
    """Why the values of a readout are no classes; None where they may be, or where the user names them."""
    if request.options.task == REGRESSION or (request.options.classes or "")[:1].isdigit() or readout.classes == 1:
        return None
    if readout.classes == request.classes:
        return None
    name = output_name(request.graph.model, readout.index)
    if readout.activation or not has_unit_length(readout.logits):
        return None
    return (
        f"output {name} is scaled to unit length: an embedding, no class scores; to explain one of its values: "
        f"--output={name}:INDEX; if they are classes: --num-classes {readout.classes}"
    )


def _without_wrappers(port: ov.Output) -> ov.Output:
    while port.get_node().get_type_name() in _WRAPPERS:
        port = source(port.get_node(), 0)
    return port


def has_unit_length(port: ov.Output) -> bool:
    """Whether a tensor was divided by its own length."""
    node = _without_wrappers(port).get_node()
    kind = node.get_type_name()
    if kind == "NormalizeL2":
        return True
    if kind not in ("Divide", "Multiply"):
        return False
    for data, factor in (sources(node), sources(node)[::-1])[: 1 if kind == "Divide" else 2]:
        if _is_length_of(factor, data):
            return True
    return False


def _is_length_of(factor: ov.Output, data: ov.Output) -> bool:
    """Whether `factor` comes out of a sum over all of `data` and nothing else."""
    node = factor.get_node()
    while node.get_type_name() in _OF_LENGTHS:
        if node.get_type_name() == "Add" and all(constant_value(port) is None for port in sources(node)):
            return False
        node = source(node, 0).get_node()
    if node.get_type_name() not in _LENGTHS:
        return False
    if node.get_type_name() == "ReduceL2":
        return key_of(source(node, 0)) == key_of(data)
    square = source(node, 0).get_node()
    return square.get_type_name() in ("Power", "Multiply") and all(
        key_of(port) == key_of(data) or constant_value(port) is not None for port in sources(square)
    )
