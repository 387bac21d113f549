"""The outputs that stand beside the map, each against what it should be.

`feature_map` and `feature_vector` against the plain model's own tensors, `saliency_index` against its scores,
the embedded pictures against what a client with an image library would have made of the map beside them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import openvino as ov
from openvino import opset13 as op

from ovxai.errors import UnsupportedModelError
from ovxai.graph.picture import PictureInput
from ovxai.metadata import (  # fmt: skip
    EMBEDDED_MAP,
    EMBEDDED_OVERLAY,
    FEATURE_MAP,
    FEATURE_VECTOR,
    SALIENCY_INDEX,
    SALIENCY_MAP,
    VECTOR_TASKS,
    ExplainedInfo,
    ModelInfo,
)
from ovxai.verification.engine import Feeds, is_float, values_of
from ovxai.verification.keeping import SAME, difference
from ovxai.verification.maps import Definition, bilinear, grey_levels
from ovxai.verification.pictures import Batch
from ovxai.verification.plain import Case, logits_port, port_named
from ovxai.verification.report import Check

#: Scores this close, relative to the largest, may change places in another fusion order.
TIE = 1e-5
#: Grey levels: rounding of the map, and what one level of it is at the steepest place of the colour table, blended.
MAP_OFF, OVERLAY_OFF = 1, 4
OPACITY = 0.5


def check_beside(
    case: Case, batch: Batch, found: dict[str, np.ndarray], wanted: Definition, classes: list[np.ndarray]
) -> list[Check]:
    """One check for each extra output but the map. found: outputs by name. classes: per picture those that its maps are of."""
    maps = found[SALIENCY_MAP]
    checks = []
    if SALIENCY_INDEX in found and not case.info.of_found:  # else its definition has seen to it
        checks.append(check_index(case.info.classes, found[SALIENCY_INDEX], wanted.ranking, wanted.maps.shape[1]))
    if FEATURE_MAP in found:
        checks.append(check_feature_map(found[FEATURE_MAP], wanted.features))
    if FEATURE_VECTOR in found:
        feeds = batch.feeds(case.plain, case.place)
        if case.info.task in VECTOR_TASKS:
            checks.append(check_feature_vector(found[FEATURE_VECTOR], case.plain, case.info, feeds, wanted.features))
        else:
            checks.append(check_neck_vector(found[FEATURE_VECTOR], case.plain, feeds))
    if EMBEDDED_MAP in found:
        checks.append(check_embedded_map(found[EMBEDDED_MAP], maps, case.place.sides(batch.pictures.shape)))
    if EMBEDDED_OVERLAY in found and len(classes) == len(maps):
        whole = wanted.ranking if wanted.ranking is not None else np.zeros(wanted.maps.shape[:2])
        ranking = np.stack([scores[chosen] for scores, chosen in zip(whole, classes, strict=True)])
        shown = _displayed(batch.pictures, case.place, ModelInfo.read(case.plain))
        checks.append(check_overlay(found[EMBEDDED_OVERLAY], maps, ranking, shown))
    return checks


def classes_of(text: str, index: np.ndarray | None, total: int) -> np.ndarray:
    """The class of every map of one picture, [K]. text: `classes` of rt_info; index: the picture's row of `saliency_index`.

    Raises:
        UnsupportedModelError: rt_info's `classes` makes no sense, or `saliency_index` is missing.
    """
    if text in ("", "all"):
        return np.arange(total)
    if text.startswith("top:"):
        if index is None:
            raise UnsupportedModelError(f"rt_info says classes {text}, but there is no saliency_index output")
        return index.reshape(-1)
    try:
        return np.array([int(word) for word in text.split(",")])
    except ValueError:
        raise UnsupportedModelError(f"rt_info says classes {text!r}; verify knows all, top:K and 0,3,7") from None


def check_index(text: str, index: np.ndarray, ranking: np.ndarray | None, total: int) -> Check:
    """`saliency_index` [N, 1, K] names the classes with the largest `ranking` [N, C], or the list asked for."""
    title = "saliency_index"
    if index.ndim != 3 or index.shape[1] != 1 or index.dtype != np.int64:
        return Check(title, False, f"is {index.dtype} of shape {list(index.shape)}, not int64 [N, 1, K]")
    if index.min() < 0 or index.max() >= total:
        return Check(title, False, f"names class {index.max()} of {total}")
    if not text.startswith("top:"):
        wanted = classes_of(text, None, total)
        ok = all(np.array_equal(row.reshape(-1), wanted) for row in index)
        said = "the classes asked for" if ok else f"is {index[0, 0].tolist()}, asked for {wanted.tolist()}"
        return Check(title, ok, said)
    count = min(int(text[4:]), total)
    if index.shape[2] != count:
        return Check(title, False, f"names {index.shape[2]} classes, asked for {count}")
    if ranking is None:
        return Check(title, None, "not compared: the definition ranks no classes")
    for row, scores in zip(index[:, 0], ranking, strict=True):
        if problem := _not_best(row, scores):
            return Check(title, False, problem)
    return Check(title, True, f"the {count} best of {total} classes, best first")


def _not_best(row: np.ndarray, scores: np.ndarray) -> str:
    if len(set(row.tolist())) != len(row):
        return f"names a class twice: {row.tolist()}"
    best = np.sort(scores)[::-1][: len(row)]
    # Place by place, so that equal scores may stand in any order and unequal ones may not.
    off = np.abs(scores[row] - best) > TIE * max(np.abs(scores).max(), 1e-30)
    if not off.any():
        return ""
    place = int(off.argmax())
    return f"place {place + 1} is class {row[place]} ({scores[row[place]]:.6g}), the score there should be {best[place]:.6g}"


def check_feature_map(found: np.ndarray, wanted: np.ndarray | None) -> Check:
    """`feature_map` is the first target tensor as [N, c, h, w], without prefix tokens."""
    title = "feature_map"
    if wanted is None:
        return Check(title, None, "not compared: no definition for this task")
    if found.shape != wanted.shape:
        return Check(title, False, f"has the shape {list(found.shape)}, the target layer {list(wanted.shape)}")
    off = difference(found, wanted)
    return Check(title, off <= SAME, f"differs from the target layer by {off:.2g} of its largest value")


def check_feature_vector(
    found: np.ndarray, plain: ov.Model, info: ExplainedInfo, feeds: Feeds, features: np.ndarray | None
) -> Check:
    """A classifier's `feature_vector`: the mean of the feature map over positions, or a vector that the plain head reads.

    The second is the class token: some [N, c] tensor, or first token of an [N, T, c] tensor, on the
    way to the logits. Which one it is is said, not asked.
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
    found: list[ov.Output] = []
    seen: set[str] = set()
    stack = [port]
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


@dataclass(frozen=True)
class _Mean:
    """Of one map of the plain model. name: of its node. cells: how many positions it has. values: [N, c]."""

    name: str
    cells: int
    values: np.ndarray


def check_neck_vector(found: np.ndarray, plain: ov.Model, feeds: Feeds) -> Check:
    """A detector's `feature_vector` [N, c]: a chain of spatial means of the plain model's maps, each smaller than the last."""
    title = "feature_vector"
    if found.ndim != 2:
        return Check(title, False, f"has the shape {list(found.shape)}, not [N, c]")
    chain = _chain(found, _means(plain, feeds), float("inf"))
    if chain is None:
        return Check(title, False, "is no chain of spatial means of the plain model's maps, fine to coarse")
    return Check(title, True, f"spatial means of {', '.join(chain)}")


def _means(plain: ov.Model, feeds: Feeds) -> list[_Mean]:
    """Of every map of the plain model."""
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
    return [
        _Mean(name, int(size), mean)
        for name, size, mean in zip(names, values[: len(names)], values[len(names) :], strict=True)
    ]  # fmt: skip


def _is_map(port: ov.Output) -> bool:
    shape = port.get_partial_shape()
    return bool(shape.rank.is_static and shape.rank.get_length() == 4)


def _chain(rest: np.ndarray, means: list[_Mean], above: float) -> list[str] | None:
    """Names of maps whose means follow each other in `rest`, with fewer cells each time; None where there is no such chain."""
    if not rest.shape[1]:
        return []
    for mean in means:
        width = mean.values.shape[1]
        if mean.cells >= above or width > rest.shape[1] or len(mean.values) != len(rest):
            continue
        if difference(rest[:, :width], mean.values) > SAME:
            continue
        following = _chain(rest[:, width:], means, mean.cells)
        if following is not None:
            return [mean.name, *following]
    return None


def check_embedded_map(found: np.ndarray, maps: np.ndarray, sides: tuple[int, int]) -> Check:
    """u8 [N, C, H, W]: `maps` [N, C, h, w], bilinear at the input's size."""
    return _compared(EMBEDDED_MAP, found, np.rint(bilinear(_grey(maps), *sides)), MAP_OFF)


def check_overlay(found: np.ndarray, maps: np.ndarray, ranking: np.ndarray, shown: np.ndarray) -> Check:
    """u8 [N, H, W, 3], RGB: the strongest class's map in jet colours, half and half with the picture as fed.

    ranking: [N, C] of the classes that `maps` show, by which the strongest is told. shown: [N, H, W, 3], 0..255.
    """
    import cv2

    jet = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_JET)[:, 0, ::-1].astype(np.float64)
    best = np.stack([_grey(own)[scores.argmax()] for own, scores in zip(maps, ranking, strict=True)])
    levels = np.rint(bilinear(best, *shown.shape[1:3])).astype(int)
    return _compared(EMBEDDED_OVERLAY, found, np.rint(OPACITY * jet[levels] + (1 - OPACITY) * shown), OVERLAY_OFF)


def _grey(maps: np.ndarray) -> np.ndarray:
    """0..255 per map, as scaled maps are already."""
    values = maps.astype(np.float64)
    return values if maps.dtype == np.uint8 else grey_levels(values)


def _compared(title: str, found: np.ndarray, wanted: np.ndarray, allowed: int) -> Check:
    if found.dtype != np.uint8 or found.shape != wanted.shape:
        shapes = f"is {found.dtype} of shape {list(found.shape)}, should be uint8 of {list(wanted.shape)}"
        return Check(title, False, shapes)
    off = np.abs(found.astype(int) - wanted)
    detail = f"{int(off.max())} grey levels from what the map beside it gives, {allowed} allowed"
    return Check(title, bool(off.max() <= allowed), detail)


def _displayed(pictures: np.ndarray, place: PictureInput, info: ModelInfo) -> np.ndarray:
    """[N, H, W, 3] RGB 0..255 of what was fed."""
    whole = pictures if "C" in place.layout else pictures[..., None]
    pixels = (whole.transpose(0, 2, 3, 1) if place.planar else whole).astype(np.float64)
    if np.issubdtype(pictures.dtype, np.floating) and not info.embedded_processing:
        if info.mean or info.scale:
            pixels = pixels * np.array(info.scale or (1.0,)) + np.array(info.mean or (0.0,))
        else:
            low, high = pixels.min(axis=(1, 2, 3), keepdims=True), pixels.max(axis=(1, 2, 3), keepdims=True)
            pixels = 255 * (pixels - low) / np.maximum(high - low, 1e-6)
    return pixels[..., list(place.colours(reverse=bool(info.reverse_input_channels)))]
