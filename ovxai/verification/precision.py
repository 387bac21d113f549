"""What a device's own precision does to the maps: the explanation's rounding apart from the model's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import openvino as ov
from openvino import opset13 as op

from ovxai.errors import ModelReadError, UnsupportedModelError
from ovxai.graph.natives import first_reason
from ovxai.metadata import SALIENCY_MAP, ExplainedInfo
from ovxai.verification.engine import F32, Feeds
from ovxai.verification.plain import port_named

#: Below this correlation with the map of exact arithmetic, a map is another one.
LIMIT = 0.99


@dataclass(frozen=True)
class PrecisionReport:
    """Correlations of low-precision maps with those that f32 makes of the same gated tensors.

    precision: in which the device computed. rows: one per picture, of the class whose map spreads most; pictures
    without a map are left out.
    """

    precision: str
    rows: tuple[float, ...]

    @property
    def mean(self) -> float:
        return float(np.mean(self.rows)) if self.rows else float("nan")

    @property
    def worst(self) -> float:
        return float(np.min(self.rows)) if self.rows else float("nan")

    @property
    def ok(self) -> bool:
        return all(row >= LIMIT for row in self.rows)

    def __str__(self) -> str:
        if not self.rows:
            return f"{self.precision}: no map with a spread to compare"
        return f"{self.precision}: correlation with exact arithmetic on the same features {self.mean:.5f}, worst {self.worst:.5f}"


def measure_precision(
    model: ov.Model, feeds: Sequence[Feeds], precision: str | None = None, device: str = "CPU"
) -> PrecisionReport:
    """How well the explanation outputs of `model` come out in a precision, apart from what the trunk makes of it.

    The explained model runs in `precision` (None: the device's own choice) and hands out the tensors that it gates; from
    those the same graph runs once more in f32, on the CPU. feeds: one per run, by input number.

    Raises:
        UnsupportedModelError: the model carries no explanation, or the device does not compute in that precision.
    """
    info = ExplainedInfo.read(model)
    if info is None:
        raise UnsupportedModelError("the model carries no explanation of ours")
    low, used = in_precision(model, info.target_layers, precision, device)
    exact = from_layers(model, info.target_layers)
    rows: list[float] = []
    for feed in feeds:
        rough, taps = low(feed)
        true = exact(feed, taps)
        rows += [row for a, b in zip(rough, true, strict=True) if (row := _alike(a, b)) is not None]
    return PrecisionReport(used, tuple(rows))


def _alike(rough: np.ndarray, true: np.ndarray) -> float | None:
    """Of one picture's maps [C, h, w], the class that spreads most; None where none does."""
    spread = true.reshape(len(true), -1).std(axis=1)
    top = int(spread.argmax())
    a, b = rough[top].ravel(), true[top].ravel()
    if not b.std():
        return None
    return float(np.corrcoef(a, b)[0, 1]) if a.std() else 0.0  # rounded away altogether


class InPrecision:
    """The explained model in a low precision, which also hands out the tensors that it gates."""

    def __init__(self, compiled: ov.CompiledModel, layers: int, maps: int) -> None:
        self._request = compiled.create_infer_request()
        self._layers, self._maps = layers, maps

    def __call__(self, feed: Feeds) -> tuple[np.ndarray, list[np.ndarray]]:
        self._request.infer(dict(feed))
        outputs = [tensor.data.copy() for tensor in self._request.output_tensors]
        return outputs[self._maps].astype(np.float64), outputs[len(outputs) - self._layers :]


def in_precision(model: ov.Model, layers: Sequence[str], precision: str | None, device: str) -> tuple[InPrecision, str]:
    """`model` in a precision (None: the device's own), and which it is. layers: names of the tensors that it hands out too.

    Raises:
        UnsupportedModelError: the device does not compute in it.
    """
    tapped = model.clone()
    # Not add_outputs, which leaves out what is an output already.
    tapped.add_results([op.result(port_named(tapped, name)) for name in layers])
    config = {} if precision is None else {"INFERENCE_PRECISION_HINT": precision}
    compiled = _compiled(tapped, device, config)
    used = str(compiled.get_property("INFERENCE_PRECISION_HINT").to_string())
    used = {"bfloat16": "bf16", "float16": "f16", "half": "f16", "float": "f32", "float32": "f32"}.get(used, used)
    if precision is not None and used != precision:
        raise UnsupportedModelError(f"precision {precision}: {device} does not compute in it here, it took {used}")
    return InPrecision(compiled, len(layers), _place(model)), used


def _place(model: ov.Model) -> int:
    return next(i for i, port in enumerate(model.outputs) if SALIENCY_MAP in port.get_names())


class FromLayers:
    """The part of the explained model below the gated tensors, in f32: feeds and those tensors in, maps [N, C, h, w] out."""

    def __init__(self, compiled: ov.CompiledModel, inputs: int, maps: int) -> None:
        self._request = compiled.create_infer_request()
        self._inputs, self._maps = inputs, maps

    def __call__(self, feed: Feeds, taps: Sequence[np.ndarray]) -> np.ndarray:
        self._request.infer({**feed, **{self._inputs + i: tap for i, tap in enumerate(taps)}})
        return np.array(self._request.output_tensors[self._maps].data, np.float64)


def from_layers(model: ov.Model, layers: Sequence[str]) -> FromLayers:
    """The explained `model` in f32 from the tensors `layers` on; without any, all of it."""
    cut = model.clone()
    inputs = len(cut.inputs)
    extra = []
    for name in layers:
        port = port_named(cut, name)
        parameter = op.parameter(port.get_partial_shape(), port.get_element_type())
        for reader in list(port.get_target_inputs()):
            if reader.get_node().get_type_name() != "Result":
                reader.replace_source_output(parameter.output(0))
        extra.append(parameter)
    cut.add_parameters(extra)
    cut.validate_nodes_and_infer_types()
    return FromLayers(_compiled(cut, "CPU", F32), inputs, _place(model))


def _compiled(model: ov.Model, device: str, config: dict[str, str]) -> ov.CompiledModel:
    try:
        return ov.Core().compile_model(model, device, config)
    except RuntimeError as error:
        raise ModelReadError(f"{model.friendly_name}: OpenVINO can't compile it for {device}: {first_reason(error)}") from error
