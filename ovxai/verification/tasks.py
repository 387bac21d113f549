"""Which definition belongs to which task and method."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import openvino as ov

from ovxai.errors import UnsupportedModelError
from ovxai.metadata import CLASSIFICATION, DETECTION, INSTANCE_SEGMENTATION, ExplainedInfo
from ovxai.verification.batches import Batch
from ovxai.verification.classification import RANKS, activation_map, classification, positions_of
from ovxai.verification.compare import Definition
from ovxai.verification.detection import detection
from ovxai.verification.engine import Engine, Feeds
from ovxai.verification.features import check_feature_vector, check_neck_vector
from ovxai.verification.inputs import PictureInput
from ovxai.verification.instances import instance_segmentation
from ovxai.verification.plain import port_named
from ovxai.verification.raster import check_raster
from ovxai.verification.report import Check

ACTIVATION_MAP = "activation-map"
Progress = Callable[[int, int], None]


def definition_of(plain: ov.Model, info: ExplainedInfo, feeds: Feeds, progress: Progress | None) -> Definition:
    """The maps that `info` promises, computed on the plain model the slow way.

    Raises:
        UnsupportedModelError: no definition for this task, or rt_info leaves something open.
    """
    if not info.target_layers:
        raise UnsupportedModelError("rt_info names no target_layers; verify can't tell what the map is of")
    if info.method == ACTIVATION_MAP:
        return activation_map(plain, info, feeds)
    if info.task == CLASSIFICATION:
        return classification(plain, info, feeds, progress)
    if info.task == DETECTION:
        return detection(plain, info, feeds)
    if info.task == INSTANCE_SEGMENTATION:
        return instance_segmentation(plain, info, feeds)
    raise UnsupportedModelError(f"rt_info says task {info.task!r}; verify has no definition for it")


def check_vector(found: np.ndarray, plain: ov.Model, info: ExplainedInfo, feeds: Feeds, features: np.ndarray | None) -> Check:
    """`feature_vector` as the task defines it."""
    if info.task == CLASSIFICATION:
        return check_feature_vector(found, plain, info, feeds, features)
    return check_neck_vector(found, plain, feeds)


def probe_features(plain: ov.Model, info: ExplainedInfo, batch: Batch, place: PictureInput) -> list[Check]:
    """The raster check: on the first target layer of a classifier, on the named map of a detector's neck."""
    name = info.target_layers[0] if info.task == CLASSIFICATION else info.feature_layer
    if not info.layout or not name:
        return []
    model = plain.clone()
    port = port_named(model, name)
    if port.get_partial_shape().rank.is_dynamic or len(port.get_partial_shape()) != RANKS.get(info.layout):
        return []
    engine = Engine(ov.Model([port], model.get_parameters(), "features"))

    def features(picture: np.ndarray) -> np.ndarray:
        # A static batch is filled with the one picture; its first row is looked at.
        full = Batch(np.repeat(picture, len(batch.pictures), axis=0), batch.ids, apart=True)
        tensor = engine(full.feeds(model, place))[0][:1].astype(np.float32)
        return positions_of(info, tensor).to_nchw(tensor)

    return [check_raster(batch.pictures[:1], place, features)]


# Which classes the maps are of: all, the best K, or a list.

#: Scores this close, relative to the largest, may change places in another fusion order.
TIE = 1e-5


def classes_of(text: str, index: np.ndarray | None, total: int) -> np.ndarray:
    """The class of every map of one picture, [K]; `index` is its row of `saliency_index`.

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


def check_index(text: str, index: np.ndarray | None, ranking: np.ndarray | None, total: int) -> Check | None:
    """`saliency_index` [N, 1, K] names the classes with the largest `ranking` [N, C], or the list asked for."""
    title = "saliency_index"
    if index is None:
        return None
    if index.ndim != 3 or index.shape[1] != 1 or index.dtype != np.int64:
        return Check(title, False, f"is {index.dtype} of shape {list(index.shape)}, not int64 [N, 1, K]")
    if index.min() < 0 or index.max() >= total:
        return Check(title, False, f"names class {index.max()} of {total}")
    if not text.startswith("top:"):
        wanted = classes_of(text, None, total)
        ok = all(np.array_equal(row.reshape(-1), wanted) for row in index)
        return Check(
            title,
            ok,
            "the classes asked for" if ok else f"is {index[0, 0].tolist()}, asked for {wanted.tolist()}",
        )
    count = min(int(text[4:]), total)
    if index.shape[2] != count:
        return Check(title, False, f"names {index.shape[2]} classes, asked for {count}")
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
