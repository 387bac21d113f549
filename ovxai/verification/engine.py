"""Run graphs on the CPU in f32, and hand arrays out as f32."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import openvino as ov
from openvino import opset13 as op

from ovxai.errors import ModelReadError
from ovxai.graph.natives import first_reason

#: Without it the CPU may compute in bf16 or f16, and round what meets compressed weights to 8 bits, row by
#: row ("dynamic quantisation"): exactness can't be judged there.
F32 = {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"}
#: Keeps quantised graphs in floats: with INT8 kernels a tensor's rounding depends on who else reads it,
#: and two graphs that say the same give different values.
NO_INT8 = {"LP_TRANSFORMS_MODE": "NO"}
FLOATS = ("f16", "bf16", "f32", "f64")

Feeds = Mapping[int, np.ndarray]


class Engine:
    """A compiled graph: feeds by input index in, all outputs as arrays of their own out."""

    def __init__(self, model: ov.Model) -> None:
        try:
            self._request = _compiled(model).create_infer_request()
        except RuntimeError as error:
            raise ModelReadError(f"{model.friendly_name}: OpenVINO can't compile it: {first_reason(error)}") from error

    def __call__(self, feeds: Feeds) -> list[np.ndarray]:
        try:
            self._request.infer(dict(feeds))
        except RuntimeError as error:
            raise ModelReadError(f"the model can't run on the probe picture: {first_reason(error)}") from error
        # The request owns its memory and writes over it next time.
        return [tensor.data.copy() for tensor in self._request.output_tensors]


def _compiled(model: ov.Model) -> ov.CompiledModel:
    core = ov.Core()
    if is_quantised(model):
        try:
            return core.compile_model(model, "CPU", {**F32, **NO_INT8})
        except RuntimeError:  # not a documented property: an OpenVINO without it is no reason to give up
            pass
    return core.compile_model(model, "CPU", F32)


def is_quantised(model: ov.Model) -> bool:
    return any(node.get_type_name() == "FakeQuantize" for node in model.get_ops())


def is_float(port: ov.Output) -> bool:
    return port.get_element_type().get_type_name() in FLOATS


def as_f32(port: ov.Output) -> ov.Output:
    """`port` in f32: half precision tensors would be rounded once more on their way out."""
    return op.convert(port, "f32").output(0) if is_float(port) else port


def values_of(model: ov.Model, ports: Sequence[ov.Output], feeds: Feeds) -> list[np.ndarray]:
    """What `ports` of `model` carry for `feeds`. Adds consumers to the graph: give a copy."""
    if not ports:
        return []
    results = [op.result(as_f32(port)) for port in ports]
    return Engine(ov.Model(results, model.get_parameters(), "values"))(feeds)


def constant_value(port: ov.Output) -> np.ndarray | None:
    """The value behind `port` where it depends on no input (also through Convert, dequantisation ...), else None."""
    if depends_on_input(port.get_node()):
        return None
    return Engine(ov.Model([op.result(as_f32(port))], [], "constant"))({})[0]


def depends_on_input(node: ov.Node) -> bool:
    """Whether a model input stands anywhere above `node`."""
    return comes_from(node, ("Parameter", "ReadValue"))


def comes_from(node: ov.Node, kinds: tuple[str, ...]) -> bool:
    """Whether `node` or anything above it is an operation of one of these kinds."""
    seen, stack = set(), [node]
    while stack:
        current = stack.pop()
        if current.get_type_name() in kinds:
            return True
        for source in current.input_values():
            above = source.get_node()
            if above.get_name() not in seen:
                seen.add(above.get_name())
                stack.append(above)
    return False
