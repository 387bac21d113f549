"""Recipro-CAM (arXiv 2209.14074) and ViT Recipro-CAM (arXiv 2310.02588) by their definition.

One masked copy at a time goes through the head that was cut from the plain model:
`saliency[n, c, m] = head(F[n] * gate_m)[c]`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import openvino as ov

from ovxai.metadata import CLASSIFICATION, ExplainedInfo
from ovxai.verification.cut import Head, cut_head
from ovxai.verification.definition import Definition
from ovxai.verification.engine import Feeds, values_of
from ovxai.verification.gates import gate, shaped
from ovxai.verification.layouts import Positions, positions_of
from ovxai.verification.locate import classifier_bias, logits_port, port_named
from ovxai.verification.ties import Between, between

Progress = Callable[[int, int], None]


def classification(
    plain: ov.Model, info: ExplainedInfo, feeds: Feeds, progress: Progress | None = None
) -> Definition:
    """Every class's map for the pictures in `feeds`, at the batch in which they are fed."""
    head = cut_head(plain, info.target_layers, info.explained_output, feeds)
    positions = positions_of(info, head.gated[0])
    maps = _masked_rows(head, positions, info.mask, head.gated, progress)
    model = plain.clone()
    logits = logits_port(model, info.explained_output)
    classes = maps.shape[1]

    @cache
    def edges() -> Between:
        rough = cut_head(plain, info.target_layers, info.explained_output, feeds, rough=True)

        def rows(gated: Sequence[np.ndarray], shifts: Sequence[np.ndarray]) -> np.ndarray:
            return _masked_rows(rough, positions, info.mask, gated, shifts=shifts)

        return between(maps, rows, rough.gated, rough.rough)

    return Definition(
        maps=maps,
        features=positions.to_nchw(head.gated[0]),
        ranking=head(head.gated).astype(np.float64),
        bias=classifier_bias(logits, classes),
        between=edges if head.quantised else None,
    )


def activation_map(plain: ov.Model, info: ExplainedInfo, feeds: Feeds) -> Definition:
    """The class-free map: the mean of the feature map over its channels."""
    model = plain.clone()
    # A detector's target layers are its class logits; its features have a name of their own.
    name = (
        info.target_layers[0] if info.task == CLASSIFICATION or not info.feature_layer else info.feature_layer
    )
    (tensor,) = values_of(model, [port_named(model, name)], feeds)
    features = positions_of(info, tensor).to_nchw(tensor)
    return Definition(maps=features.astype(np.float64).mean(axis=1, keepdims=True), features=features)


def _masked_rows(
    head: Head,
    positions: Positions,
    mask: str,
    gated: Sequence[np.ndarray],
    progress: Progress | None = None,
    shifts: Sequence[np.ndarray] = (),
) -> np.ndarray:
    """[N, C, h, w]: the head's answer to each mask of `gated` in turn."""
    height, width = positions.height, positions.width
    rows = []
    for index in range(height * width):
        window = gate(mask, divmod(index, width), height, width)
        copies = [
            (tensor * shaped(window, positions.layout, positions.length(tensor), positions.prefix)).astype(
                np.float32
            )
            for tensor in gated
        ]
        rows.append(head(copies, shifts))
        if progress is not None:
            progress(index + 1, height * width)
    stacked = np.stack(rows, axis=-1).astype(np.float64)
    return stacked.reshape(*stacked.shape[:2], height, width)
