"""`feature_map` and `feature_vector` against the plain model's own tensors."""

from __future__ import annotations

import numpy as np
import openvino as ov
from openvino import opset13 as op

from ovxai.metadata import ExplainedInfo
from ovxai.verification.engine import Feeds, is_float, values_of
from ovxai.verification.plain import logits_port, port_named
from ovxai.verification.report import Check

#: Relative to the largest value: the same tensor, computed in another fusion order.
SAME = 1e-4


def check_feature_map(found: np.ndarray, wanted: np.ndarray | None) -> Check:
    """`feature_map` is the first target tensor as [N, c, h, w], without prefix tokens."""
    title = "feature_map"
    if wanted is None:
        return Check(title, None, "not compared: no definition for this task")
    if found.shape != wanted.shape:
        return Check(title, False, f"has the shape {list(found.shape)}, the target layer {list(wanted.shape)}")
    off = difference(found, wanted)
    return Check(title, off <= SAME, f"differs from the target layer by {off:.2g} of its largest value")


def difference(found: np.ndarray, wanted: np.ndarray) -> float:
    """Largest difference, relative to the largest wanted value."""
    off = np.abs(found.astype(np.float64) - wanted).max(initial=0.0)
    return float(off / max(np.abs(wanted).max(initial=0.0), 1e-30))


def check_feature_vector(
    found: np.ndarray, plain: ov.Model, info: ExplainedInfo, feeds: Feeds, features: np.ndarray | None
) -> Check:
    """`feature_vector` is the mean of the feature map over positions, or a vector that the plain head itself reads.

    The second is the class token: some [N, c] tensor, or first token of an [N, T, c] tensor, on the
    way to the logits. Which one is found is said, not asked.
    """
    title = "feature_vector"
    if found.ndim != 2:
        return Check(title, False, f"has the shape {list(found.shape)}, not [N, c]")
    if features is not None and features.shape[:2] == found.shape:
        off = difference(found, features.astype(np.float64).mean(axis=(2, 3)))
        if off <= SAME:
            return Check(title, True, f"mean of the feature map over positions (difference {off:.2g})")
    off, name = _nearest_token(found, plain, info, feeds)
    if off <= SAME:
        return Check(title, True, f"class token at {name} (difference {off:.2g})")
    nearest = f"; nearest is {name}, off by {off:.2g}" if name else ""
    return Check(title, False, f"neither the mean of the feature map nor a token that the head reads{nearest}")


def _nearest_token(found: np.ndarray, plain: ov.Model, info: ExplainedInfo, feeds: Feeds) -> tuple[float, str]:
    model = plain.clone()
    stop = {port_named(model, name).get_node().get_name() for name in info.target_layers}
    ports = [port for port in _above(logits_port(model, info.explained_output), stop) if is_float(port)]
    # Names first: asking for values puts new consumers, with names of their own, into the graph.
    names = [port.get_node().get_friendly_name() for port in ports]
    best = (float("inf"), "")
    for name, value in zip(names, values_of(model, ports, feeds), strict=True):
        for vector in _vectors(value, found.shape):
            best = min(best, (difference(found, vector), name))
    return best


def _above(port: ov.Output, stop: set[str]) -> list[ov.Output]:
    """Ports on the way from the target layers to `port`, nearest first."""
    found, seen, stack = [], set(), [port]
    while stack:
        current = stack.pop()
        node = current.get_node()
        if node.get_name() in seen or node.get_type_name() in ("Constant", "Parameter"):
            continue
        seen.add(node.get_name())
        found.append(current)
        if node.get_name() not in stop:
            stack += node.input_values()
    return found


def _vectors(value: np.ndarray, shape: tuple[int, ...]) -> list[np.ndarray]:
    if value.size == shape[0] * shape[1]:
        return [value.reshape(shape)]
    if value.ndim == 3 and (value.shape[0], value.shape[2]) == shape:
        return [value[:, 0]]
    return []


# A detector's `feature_vector`: the spatial means of its pyramid, level after level.


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
    nodes = [node for node in model.get_ordered_ops() if node.get_type_name() not in ("Constant", "Parameter", "Result")]
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
