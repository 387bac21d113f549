"""The outputs that stand beside the map, each against what it should be."""

from __future__ import annotations

import numpy as np

from ovxai.metadata import (
    EMBEDDED_MAP,
    EMBEDDED_OVERLAY,
    FEATURE_MAP,
    FEATURE_VECTOR,
    SALIENCY_INDEX,
    SALIENCY_MAP,
    ModelInfo,
)
from ovxai.verification.batches import Batch
from ovxai.verification.case import Case
from ovxai.verification.definition import Definition
from ovxai.verification.embedded import check_embedded_map, check_overlay
from ovxai.verification.features import check_feature_map
from ovxai.verification.report import Check
from ovxai.verification.selection import check_index
from ovxai.verification.tasks import check_vector


def check_beside(
    case: Case, batch: Batch, found: dict[str, np.ndarray], wanted: Definition, classes: list[np.ndarray]
) -> list[Check]:
    """One check for each extra output but the map. classes: per picture those that its maps are of."""
    maps, index = found[SALIENCY_MAP], found.get(SALIENCY_INDEX)
    checks = [check_index(case.info.classes, index, wanted.ranking, wanted.maps.shape[1])]
    if FEATURE_MAP in found:
        checks.append(check_feature_map(found[FEATURE_MAP], wanted.features))
    if FEATURE_VECTOR in found:
        feeds = batch.feeds(case.plain, case.place)
        checks.append(check_vector(found[FEATURE_VECTOR], case.plain, case.info, feeds, wanted.features))
    if EMBEDDED_MAP in found:
        sides = batch.pictures.shape[2:] if case.place.nchw else batch.pictures.shape[1:3]
        checks.append(check_embedded_map(found[EMBEDDED_MAP], maps, sides))
    if EMBEDDED_OVERLAY in found and len(classes) == len(maps):
        whole = wanted.ranking if wanted.ranking is not None else np.zeros(wanted.maps.shape[:2])
        ranking = np.stack([scores[chosen] for scores, chosen in zip(whole, classes, strict=True)])
        own = ModelInfo.read(case.plain)
        checks.append(check_overlay(found[EMBEDDED_OVERLAY], maps, ranking, batch.pictures, case.place, own))
    return [check for check in checks if check is not None]
