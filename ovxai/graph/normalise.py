"""Axes and bounds that a graph computes although they are fixed: put in as the constants they are.

ONNX files read without conversion hold axes as little subgraphs (Range(ShapeOf ...)). Rules read axes
as values, so those that do not change with the input's size are folded, in the copy that is saved.
"""

from __future__ import annotations

import numpy as np
import openvino as ov
from openvino import opset13 as op
from openvino.passes import ConstantFolding, Manager

from ovxai.graph.graph import WITNESS_SIDES, Key, concrete_twin, constant_value, key_of, source

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


def fold_parameters(model: ov.Model) -> None:
    """Replace computed axes, orders and bounds by constants where they are the same for every input size."""
    wanted = _computed(model)
    if not wanted:
        return
    tables = [_values(model, wanted, twin) for twin in _twins(model)]
    for key, inputs in wanted.items():
        values = [table.get(key) for table in tables]
        if any(value is None for value in values) or not all(np.array_equal(values[0], value) for value in values):
            continue
        for one in inputs:
            one.replace_source_output(op.constant(values[0]).output(0))


def _computed(model: ov.Model) -> dict[Key, list[ov.Input]]:
    """Source port -> the inputs that want a constant and are fed by something else."""
    found: dict[Key, list[ov.Input]] = {}
    for node in model.get_ordered_ops():
        for port in PARAMETER_PORTS.get(node.get_type_name(), ()):
            if port < node.get_input_size() and constant_value(source(node, port)) is None:
                found.setdefault(key_of(source(node, port)), []).append(node.input(port))
    return found


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
    found = {}
    for key, result in zip(keys, results, strict=True):
        value = constant_value(result.input(0).get_source_output())
        if value is not None:
            found[key] = np.array(value)
    return found
