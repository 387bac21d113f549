"""The oracle: tiny models with gated tensors, the definition of their maps by brute force, and the collapse beside it.

`definition` gates the tapped tensors with one mask after the other and runs the head that is cut off
below them. It uses nothing of `ovxai.collapse`: gates, cut and layout are its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import openvino as ov
from openvino import opset13 as op

from helpers.values import numbers

AXES = {"NCHW": (2, 3), "NHWC": (1, 2), "NPC": (1,), "NCP": (2,)}
_CORE = ov.Core()
_PRECISE = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}


@dataclass(frozen=True)
class Case:
    """A tiny model and what is gated in it.

    taps: friendly names of the gated tensors' nodes. feed: one array for each parameter.
    """

    model: ov.Model
    feed: tuple[np.ndarray, ...]
    layout: str = "NCHW"
    grid: tuple[int, int] = (3, 4)
    prefix: int = 0
    mask: str = "point"
    taps: tuple[str, ...] = ("features",)
    dynamic_grid: bool = False
    tapped: tuple[np.ndarray, ...] | None = None  # the gated tensors' values, where they are known without asking


@dataclass(frozen=True)
class Outcome:
    """maps, truth: f32 [N, C, M]. dense: (node kind, reason) of all that was laid out densely."""

    maps: np.ndarray
    truth: np.ndarray
    dense: tuple[tuple[str, str], ...] = field(default=())

    @property
    def deviation(self) -> float:
        return float(np.abs(self.maps - self.truth).max())

    @property
    def tolerance(self) -> float:
        return float(1e-3 * self.truth.std(-1).mean() + 2e-6 * np.abs(self.truth).max())


# --- the definition -------------------------------------------------------------------------------


def gates(grid: tuple[int, int], mask: str) -> np.ndarray:
    """[M, h, w]: the weight of every position under every mask."""
    height, width = grid
    found = np.zeros((height * width, height, width), np.float32)
    kernel = {(0, 0): 1.0}
    if mask == "gaussian":
        side = {-1: 1, 0: 2, 1: 1}
        kernel = {(i, j): side[i] * side[j] / 16 for i in side for j in side}
    for row in range(height):
        for column in range(width):
            for (down, across), weight in kernel.items():
                if 0 <= row + down < height and 0 <= column + across < width:
                    found[row * width + column, row + down, column + across] = weight
    return found


def gated_copy(tensor: np.ndarray, gate: np.ndarray, layout: str, prefix: int) -> np.ndarray:
    """One masked copy of a tapped tensor; prefix tokens stay as they are."""
    axes = AXES[layout]
    weights = gate if len(axes) == 2 else np.concatenate([np.ones(prefix, np.float32), gate.ravel()])
    shape = [1] * tensor.ndim
    for axis, size in zip(axes, weights.shape):
        shape[axis] = size
    return tensor * weights.reshape(shape)


def definition(case: Case) -> np.ndarray:
    """f32 [N, C, M]."""
    tapped = _tapped(case) if case.tapped is None else case.tapped
    head = _CORE.compile_model(_cut(case), "CPU", _PRECISE)
    rows = []
    for gate in gates(case.grid, case.mask):
        copies = [gated_copy(one, gate, case.layout, case.prefix) for one in tapped]
        scores = head([*case.feed, *copies])[0]
        rows.append(scores.reshape(scores.shape[0], -1).copy())
    return np.stack(rows, -1)


def _named(model: ov.Model, name: str) -> ov.Node:
    return next(node for node in model.get_ops() if node.get_friendly_name() == name)


def _tapped(case: Case) -> list[np.ndarray]:
    plain = case.model.clone()
    results = [op.result(_named(plain, name)) for name in case.taps]
    compiled = _CORE.compile_model(ov.Model(results, plain.get_parameters(), "taps"), "CPU", _PRECISE)
    outputs = compiled(list(case.feed))
    return [np.array(outputs[index]) for index in range(len(results))]


def _cut(case: Case) -> ov.Model:
    plain = case.model.clone()
    opened = []
    for name in case.taps:
        port = _named(plain, name).output(0)
        entry = op.parameter(port.get_partial_shape(), port.get_element_type())
        for reader in port.get_target_inputs():
            reader.replace_source_output(entry.output(0))
        opened.append(entry)
    return ov.Model(plain.get_results()[:1], [*plain.get_parameters(), *opened], "head")


# --- the collapse, as ovxai.methods.recipro_cam does it -------------------------------------------


def collapsed(case: Case, chunk: int | None = None) -> tuple[ov.Model, tuple]:
    """A model with the maps as its only output, and what was dense. chunk: so many masks at a time."""
    from ovxai.collapse.gate import grid_dims
    from ovxai.collapse.gate import walk as collapse
    from ovxai.collapse.masks import Masks
    from ovxai.collapse.values import Mapped
    from ovxai.graph.dims import Tap
    from ovxai.graph.graph import Graph

    model = case.model.clone()
    graph = Graph(model)
    goal = model.get_results()[0].input(0).get_source_output()
    ports = [_named(model, name).output(0) for name in case.taps]
    seen = graph.shape(ports[0])
    assert seen is not None, "even a concrete input does not settle the gated tensor's shape"
    grid = (seen[AXES[case.layout][0]], seen[AXES[case.layout][1]]) if case.dynamic_grid else case.grid
    taps = [Tap(port, case.layout, grid, case.prefix) for port in ports]

    def walk(masks):
        value = collapse(graph, taps, goal, masks)
        assert isinstance(value, Mapped), f"the walk ended in {type(value).__name__}"
        return value

    sides = grid_dims(taps[0], graph)
    count = case.grid[0] * case.grid[1]
    edges = [0, count] if chunk is None else [*range(0, count, chunk), count]
    if chunk is None:
        values = [walk(Masks(*sides, case.mask))]
    else:
        values = [walk(Masks(*sides, case.mask, start, stop)) for start, stop in pairwise(edges)]
    results = [op.result(value.out()) for value in values]
    return ov.Model(results, model.get_parameters(), "maps"), values[0].dense


def outcome(case: Case, chunk: int | None = None) -> Outcome:
    model, dense = collapsed(case, chunk)
    compiled = _CORE.compile_model(model, "CPU", _PRECISE)
    outputs = compiled(list(case.feed))
    rows = np.concatenate([np.array(outputs[index]) for index in range(len(compiled.outputs))])  # [M, N, ...]
    maps = rows.reshape(*rows.shape[:2], -1).transpose(1, 2, 0)
    return Outcome(maps, definition(case), tuple((one.kind, one.reason) for one in dense))


def compare(case: Case, chunk: int | None = None) -> Outcome:
    """Run both; never may they differ, whatever was dense."""
    found = outcome(case, chunk)
    assert found.maps.shape == found.truth.shape
    assert np.isfinite(found.truth).all(), "the test's own model overflows"
    assert found.truth.std(-1).max() > 1e-4, "maps without spread prove nothing"
    assert found.deviation <= found.tolerance, (
        f"off by {found.deviation:.2e}, allowed {found.tolerance:.2e}; dense: {found.dense}"
    )
    return found


def exact(case: Case) -> Outcome:
    """The rule applies."""
    found = compare(case)
    assert found.dense == (), found.dense
    return found


def refused(case: Case, kind: str, *words: str) -> Outcome:
    """The rule must refuse: a note at an operation of `kind` whose reason holds `words`; still right."""
    found = compare(case)
    assert any(one == kind and all(word in reason for word in words) for one, reason in found.dense), found.dense
    return found


# --- making cases ---------------------------------------------------------------------------------


def shape_of(layout: str, batch: int, channels: int, grid: tuple[int, int], prefix: int) -> tuple[int, ...]:
    count = grid[0] * grid[1] + prefix
    return {
        "NCHW": (batch, channels, *grid), "NHWC": (batch, *grid, channels),
        "NPC": (batch, count, channels), "NCP": (batch, channels, count),
    }[layout]  # fmt: skip


def case(
    head: Callable[..., ov.Node], *, layout: str = "NCHW", channels: int = 5, grid: tuple[int, int] = (3, 4), prefix: int = 0,
    mask: str = "point", batch: int = 1, dynamic: tuple[int, ...] = (), taps: int = 1, positive: bool = False, seed: int = 0,
) -> Case:  # fmt: skip
    """parameter -> features (-> a second one with taps=2: normalised, residual) -> head(*features) -> scores."""
    shape = shape_of(layout, batch, channels, grid, prefix)
    entry = op.parameter(ov.PartialShape([-1 if axis in dynamic else size for axis, size in enumerate(shape)]), np.float32)
    channel = {"NCHW": 1, "NHWC": 3, "NPC": 2, "NCP": 1}[layout]
    table = [1] * len(shape)
    table[channel] = channels
    last = op.add(op.multiply(entry, numbers(*table, seed=8)), numbers(*table, seed=9, size=0.3))
    last = op.abs(last) if positive else last
    last.set_friendly_name("features")
    tensors, names = [last], ["features"]
    if taps == 2:
        first = op.multiply(last, numbers(*table, seed=11) + np.float32(1.5))
        first.set_friendly_name("normalised")
        tensors, names = [first, last], ["normalised", "features"]
    scores = head(*tensors)
    model = ov.Model([op.result(scores)], [entry], "tiny")
    feed = np.random.default_rng(seed + 77).standard_normal(shape).astype(np.float32)
    values = [feed * numbers(*table, seed=8) + numbers(*table, seed=9, size=0.3)]
    values = [np.abs(value) for value in values] if positive else values
    values = [values[0] * (numbers(*table, seed=11) + np.float32(1.5)), *values] if taps == 2 else values
    moving = len(AXES[layout]) == 2 and bool(set(dynamic) & set(AXES[layout]))
    return Case(model, (feed,), layout, grid, prefix, mask, tuple(names), moving, tuple(values))
