"""`feature_map` and `feature_vector` against the plain model's own tensors."""

from __future__ import annotations

import numpy as np
import openvino as ov

from ovxai.metadata import ExplainedInfo
from ovxai.verification.engine import Feeds, is_float, values_of
from ovxai.verification.locate import logits_port, port_named
from ovxai.verification.report import Check

#: Relative to the largest value: the same tensor, computed in another fusion order.
SAME = 1e-4


def check_feature_map(found: np.ndarray, wanted: np.ndarray | None) -> Check:
    """`feature_map` is the first target tensor as [N, c, h, w], without prefix tokens."""
    title = "feature_map"
    if wanted is None:
        return Check(title, None, "not compared: no definition for this task")
    if found.shape != wanted.shape:
        return Check(
            title, False, f"has the shape {list(found.shape)}, the target layer {list(wanted.shape)}"
        )
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
    return Check(
        title, False, f"neither the mean of the feature map nor a token that the head reads{nearest}"
    )


def _nearest_token(
    found: np.ndarray, plain: ov.Model, info: ExplainedInfo, feeds: Feeds
) -> tuple[float, str]:
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
