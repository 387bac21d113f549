"""What the trace says of a small graph, and pictures whose pixels are their own coordinates, against which it is held."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import openvino as ov
from openvino import opset13 as op

from ovxai.graph.graph import Graph
from ovxai.graph.picture import picture_inputs
from ovxai.trace.place import Place, place
from ovxai.trace.tags import Tags
from ovxai.trace.walk import Trace, trace

SIZE = (1, 3, 8, 12)
Build = Callable[[Any], Any]  # operations take nodes and ports alike


def model_of(build: Build, shape: tuple[int, ...] = SIZE) -> ov.Model:
    picture = op.parameter(list(shape), np.float32, name="picture")
    return ov.Model([op.result(build(picture))], [picture], "traced")


def traced(model: ov.Model) -> Trace:
    return trace(Graph(model), picture_inputs(model)[0])


def tags_of(build: Build, shape: tuple[int, ...] = SIZE) -> Tags:
    model = model_of(build, shape)
    found = traced(model)
    return found.of(found.graph.results[0])


def place_of(build: Build, shape: tuple[int, ...] = SIZE) -> Place | str:
    model = model_of(build, shape)
    found = traced(model)
    return place(found, found.graph.results[0])


def coordinates(shape: tuple[int, ...], side: str) -> np.ndarray:
    """A picture [N, C, H, W] whose every pixel holds where its middle lies along `side`."""
    axis = {"N": 0, "H": 2, "W": 3}[side]
    line = np.arange(shape[axis], dtype=np.float32) + 0.5
    return np.broadcast_to(line.reshape([-1 if a == axis else 1 for a in range(4)]), shape).copy()


def off(build: Build, shape: tuple[int, ...] = SIZE) -> float:
    """By how many cells the trace is off what the graph makes of such pictures; for graphs that move and average alone."""
    model = model_of(build, shape)
    found = traced(model)
    compiled = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    worst = 0.0
    for field in found.of(found.graph.results[0]).fields:
        made = compiled([coordinates(shape, field.side)])[0]
        gap = np.abs(made - np.broadcast_to(field.centres, made.shape))
        worst = max(worst, float(np.nanmax(gap)) / field.cell)
    return worst
