"""Which definition belongs to which task and method."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import openvino as ov

from ovxai.errors import UnsupportedModelError
from ovxai.metadata import CLASSIFICATION, DETECTION, INSTANCE_SEGMENTATION, ExplainedInfo
from ovxai.verification.batches import Batch
from ovxai.verification.classification import activation_map, classification
from ovxai.verification.definition import Definition
from ovxai.verification.detection import detection
from ovxai.verification.engine import Engine, Feeds
from ovxai.verification.features import check_feature_vector
from ovxai.verification.inputs import PictureInput
from ovxai.verification.instances import instance_segmentation
from ovxai.verification.layouts import RANKS, positions_of
from ovxai.verification.locate import port_named
from ovxai.verification.neck import check_neck_vector
from ovxai.verification.raster import check_raster
from ovxai.verification.report import Check

ACTIVATION_MAP = "activation-map"
Progress = Callable[[int, int], None]


def definition_of(
    plain: ov.Model, info: ExplainedInfo, feeds: Feeds, progress: Progress | None
) -> Definition:
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


def check_vector(
    found: np.ndarray, plain: ov.Model, info: ExplainedInfo, feeds: Feeds, features: np.ndarray | None
) -> Check:
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
