"""Change a model as a whole: settle computed axes, add outputs, take them off again, and say what they cost."""

from __future__ import annotations

import math

import numpy as np
import openvino as ov
from openvino import opset13 as op
from openvino.passes import ConstantFolding, Manager

from ovxai.errors import NotExplainedError
from ovxai.graph.graph import WITNESS_SIDES, Graph, Key, concrete_twin, constant_value, key_of, source, sources
from ovxai.metadata import EXTRA_OUTPUTS, HEAD, SECTION, ExplainedInfo


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


def strip_model(model: ov.Model) -> ov.Model:
    """The plain model inside an explained one, as a new model; the argument is not changed.

    Nodes that only the explanation used fall away by themselves: a model is what its results reach.

    Raises:
        NotExplainedError: `model` has no explanation outputs of ours.
    """
    info = ExplainedInfo.read(model)
    if info is None:
        raise NotExplainedError("the model carries no explanation outputs; there is nothing to strip")
    if info.split == HEAD:
        raise NotExplainedError("the model is the head of a split model; the plain model is in the part beside it: strip that")
    plain = model.clone()
    take_off(plain, info)
    return plain


def take_off(model: ov.Model, info: ExplainedInfo) -> None:
    """Remove the outputs that `info` says were added, and our section of rt_info. Works in place."""
    results = model.get_results()
    for result in results[len(results) - len(info.extra_outputs) :]:
        model.remove_result(result)
        _take_back_name(result)
    del model.rt_info[SECTION]
    model.validate_nodes_and_infer_types()


def _take_back_name(result: ov.Node) -> None:
    # Only where insertion handed out a tensor that the plain model has too does its name stay behind.
    tensor = result.input(0).get_source_output().get_tensor()
    tensor.set_names(tensor.get_names() - {result.get_friendly_name()})


# Axes and bounds that a graph computes although they are fixed: put in as the constants they are.
#
# ONNX files read without conversion hold axes as little subgraphs (Range(ShapeOf ...)). Rules read axes
# as values, so those that do not change with the input's size are folded, in the copy that is saved.

_REDUCTIONS = ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2")
#: Inputs that say how, not what.
PARAMETER_PORTS: dict[str, tuple[int, ...]] = {
    **dict.fromkeys((*_REDUCTIONS, "MVN", "NormalizeL2", "Squeeze", "Unsqueeze", "Transpose", "Split", "CumSum"), (1,)),
    "Gather": (2,),
    "VariadicSplit": (1, 2),
    "Slice": (1, 2, 3, 4),
    "StridedSlice": (1, 2, 3),
    "Pad": (1, 2),
    "AdaptiveAvgPool": (1,),
    "AdaptiveMaxPool": (1,),
}
#: Scales that were compressed to f16 with the weights: OpenVINO works no sizes out from behind the Convert.
SCALE_PORTS: dict[str, tuple[int, ...]] = {"Interpolate": (1, 2)}


def fold_parameters(model: ov.Model) -> None:
    """Replace computed axes, orders and bounds, and compressed scales, by constants where they are the same for every input
    size."""
    _settle_scales(model)
    wanted = _computed(model)
    if not wanted:
        return
    tables = [_values(model, wanted, twin) for twin in _twins(model)]
    for key, inputs in wanted.items():
        value = _agreed([table.get(key) for table in tables])
        if value is not None:
            for wire in inputs:
                wire.replace_source_output(op.constant(value).output(0))


def _settle_scales(model: ov.Model) -> None:
    """In place of compressed scales the numbers that they stand for, and the sizes that follow from them."""
    settled = False
    for node in model.get_ordered_ops():
        for port in SCALE_PORTS.get(node.get_type_name(), ()):
            feed = source(node, port) if port < node.get_input_size() else None
            if feed is None or feed.get_node().get_type_name() != "Convert" or (value := constant_value(feed)) is None:
                continue
            node.input(port).replace_source_output(op.constant(value, dtype=feed.get_element_type()).output(0))
            settled = True
    if settled:
        model.validate_nodes_and_infer_types()


def _agreed(values: list[np.ndarray | None]) -> np.ndarray | None:
    """The value that all of them are; None where they differ or are not known."""
    first = values[0]
    known = first is not None and all(value is not None and np.array_equal(first, value) for value in values)
    return first if known else None


def _computed(model: ov.Model) -> dict[Key, list[ov.Input]]:
    """Source port -> the inputs that want a constant and are fed by something else."""
    wanted: dict[Key, list[ov.Input]] = {}
    for node in model.get_ordered_ops():
        for port in PARAMETER_PORTS.get(node.get_type_name(), ()):
            if port < node.get_input_size() and constant_value(source(node, port)) is None:
                wanted.setdefault(key_of(source(node, port)), []).append(node.input(port))
    return wanted


def _twins(model: ov.Model) -> list[ov.Model]:
    """Copies that differ in batch and in sides wherever these are open, so that nothing seen in both hangs on them."""
    if not model.is_dynamic():
        return [concrete_twin(model)]
    return [concrete_twin(model, 1), concrete_twin(model, 3, sides=WITNESS_SIDES[::-1])]


def _fold_shapes(nodes: list[ov.Node]) -> None:
    """ConstantFolding leaves ShapeOf alone where a front end has marked it, as that of ONNX does."""
    for node in nodes:
        if node.get_type_name() != "ShapeOf" or not (shape := node.input(0).get_partial_shape()).is_static:
            continue
        value = op.constant(np.array(shape.to_shape()), dtype=node.get_output_element_type(0)).output(0)
        for reader in list(node.output(0).get_target_inputs()):
            reader.replace_source_output(value)


def _values(model: ov.Model, wanted: dict[Key, list[ov.Input]], twin: ov.Model) -> dict[Key, np.ndarray]:
    """What every wanted port holds in `twin`, as far as that does not depend on the picture."""
    order = {node.get_name(): i for i, node in enumerate(model.get_ordered_ops())}
    nodes = twin.get_ordered_ops()
    keys = list(wanted)
    results = [op.result(nodes[order[name]].output(index)) for name, index in keys]
    twin.add_results(results)
    _fold_shapes(nodes)
    manager = Manager()
    manager.register_pass(ConstantFolding())
    manager.run_passes(twin)
    values = {key: constant_value(source(result, 0)) for key, result in zip(keys, results, strict=True)}
    return {key: np.array(value) for key, value in values.items() if value is not None}


# Multiply-adds: what the explanation adds to what the model costs.


def branch_share(model: ov.Model) -> float | None:
    """Multiply-adds that only the explanation outputs need, over those of the plain model; None if sizes are unknown."""
    graph = Graph(model)
    plain: list[ov.Node] = []
    extra: list[ov.Node] = []
    for result in model.get_results():
        (extra if source(result, 0).get_names() & set(EXTRA_OUTPUTS) else plain).append(result)
    own = graph.ancestors(plain)
    total, added = _total(graph, own), _total(graph, graph.ancestors(extra) - own)
    return added / total if total and added is not None else None


def _total(graph: Graph, names: set[str]) -> int | None:
    counts = [multiply_adds(graph, node) for node in graph.ops if node.get_name() in names]
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


_CONVOLUTIONS = ("Convolution", "GroupConvolution")
#: Transposed convolutions: where in the shape of their weights stands what one input channel meets.
_TRANSPOSED = {"ConvolutionBackpropData": 1, "GroupConvolutionBackpropData": 2}


def multiply_adds(graph: Graph, node: ov.Node) -> int | None:
    """Of products and convolutions; 0 for everything else, None where the sizes depend on data."""
    kind = node.get_type_name()
    if kind not in ("MatMul", "ScaledDotProductAttention", *_CONVOLUTIONS, *_TRANSPOSED):
        return 0
    out, ins = graph.shape(node.output(0)), [shape for feed in sources(node) if (shape := graph.shape(feed)) is not None]
    if out is None or len(ins) < node.get_input_size():
        return None
    if kind == "MatMul":
        return math.prod(out) * ins[0][-2 if node.get_attributes()["transpose_a"] else -1]
    if kind == "Convolution":
        return math.prod(out) * math.prod(ins[1][1:])
    if kind == "GroupConvolution":
        return math.prod(out) * math.prod(ins[1][2:])
    if kind in _TRANSPOSED:  # each entry that is read meets every weight of its channel once
        return math.prod(ins[0]) * math.prod(ins[1][_TRANSPOSED[kind] :])
    return math.prod(ins[0]) * ins[1][-2] + math.prod(out) * ins[1][-2]
