"""A detector's `feature_vector`: the spatial means of its pyramid, level after level."""

from __future__ import annotations

import numpy as np
import openvino as ov
from openvino import opset13 as op

from ovxai.verification.engine import Feeds, is_float, values_of
from ovxai.verification.features import SAME, difference
from ovxai.verification.report import Check


def check_neck_vector(found: np.ndarray, plain: ov.Model, feeds: Feeds) -> Check:
    """`found` [N, c] must be a chain of means of maps of the plain model, each map smaller than the one before."""
    title = "feature_vector"
    if found.ndim != 2:
        return Check(title, False, f"has the shape {list(found.shape)}, not [N, c]")
    chain = _chain(found, _means(plain, feeds), float("inf"))
    if chain is None:
        return Check(title, False, "is no chain of spatial means of the plain model's maps, fine to coarse")
    return Check(title, True, f"spatial means of {', '.join(chain)}")


def _means(plain: ov.Model, feeds: Feeds) -> list[tuple[str, int, np.ndarray]]:
    """(name, cells, mean [N, c]) of every map of the plain model."""
    model = plain.clone()
    nodes = [
        node
        for node in model.get_ordered_ops()
        if node.get_type_name() not in ("Constant", "Parameter", "Result")
    ]
    ports = [node.output(0) for node in nodes if is_float(node.output(0)) and _is_map(node.output(0))]
    names = [port.get_node().get_friendly_name() for port in ports]
    cells, means = [], []
    for port in ports:
        sides = op.gather(op.shape_of(port, "i64"), np.array([2, 3], np.int64), np.int64(0))
        cells.append(op.reduce_prod(sides, np.array([0], np.int64), keep_dims=False).output(0))
        means.append(op.reduce_mean(port, np.array([2, 3], np.int64), keep_dims=False).output(0))
    values = values_of(model, [*cells, *means], feeds)
    found = zip(names, values[: len(names)], values[len(names) :], strict=True)
    return [(name, int(size), mean) for name, size, mean in found]


def _is_map(port: ov.Output) -> bool:
    shape = port.get_partial_shape()
    return shape.rank.is_static and shape.rank.get_length() == 4


def _chain(rest: np.ndarray, means: list[tuple[str, int, np.ndarray]], above: float) -> list[str] | None:
    """Names of maps whose means follow each other in `rest`, with fewer cells each time; None where there is no such chain."""
    if not rest.shape[1]:
        return []
    for name, cells, mean in means:
        width = mean.shape[1]
        if cells >= above or width > rest.shape[1] or len(mean) != len(rest):
            continue
        if difference(rest[:, :width], mean) > SAME:
            continue
        following = _chain(rest[:, width:], means, cells)
        if following is not None:
            return [name, *following]
    return None
