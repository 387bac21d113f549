"""Recipro-CAM (arXiv 2209.14074) and ViT Recipro-CAM (arXiv 2310.02588) by their definition.

One masked copy at a time goes through the head that was cut from the plain model:
`saliency[n, c, m] = head(F[n] * gate_m)[c]`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import openvino as ov

from ovxai.errors import UnsupportedModelError
from ovxai.metadata import CLASSIFICATION, ExplainedInfo
from ovxai.verification.compare import Between, Definition, between
from ovxai.verification.engine import Feeds, values_of
from ovxai.verification.plain import Head, classifier_bias, cut_head, logits_port, port_named

Progress = Callable[[int, int], None]


def classification(plain: ov.Model, info: ExplainedInfo, feeds: Feeds, progress: Progress | None = None) -> Definition:
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
    name = info.target_layers[0] if info.task == CLASSIFICATION or not info.feature_layer else info.feature_layer
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
            (tensor * shaped(window, positions.layout, positions.length(tensor), positions.prefix)).astype(np.float32)
            for tensor in gated
        ]
        rows.append(head(copies, shifts))
        if progress is not None:
            progress(index + 1, height * width)
    stacked = np.stack(rows, axis=-1).astype(np.float64)
    return stacked.reshape(*stacked.shape[:2], height, width)


# The masks, written out in full: one row a mask, one column a position.

#: ViT Recipro-CAM's window (arXiv 2310.02588). It is cut off at the border and not renormalised.
GAUSSIAN = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]], np.float32) / 16


def gate(mask: str, cell: tuple[int, int], height: int, width: int) -> np.ndarray:
    """The [height, width] gate of the mask centred on `cell`: `point` or `gaussian`."""
    if mask not in ("point", "gaussian"):
        raise UnsupportedModelError(f"rt_info says mask {mask!r}; verify knows point and gaussian")
    # The border makes room for the window's overhang, which is then cut away.
    canvas = np.zeros((height + 2, width + 2), np.float32)
    row, column = cell
    if mask == "point":
        canvas[row + 1, column + 1] = 1.0
    else:
        canvas[row : row + 3, column : column + 3] = GAUSSIAN
    return canvas[1:-1, 1:-1]


def shaped(gate_hw: np.ndarray, layout: str, length: int, prefix: int) -> np.ndarray:
    """`gate_hw` in the form that multiplies a tensor of `layout`.

    Token layouts (NPC, NCP) have `length` tokens; the first `prefix` ones pass ungated, and so would
    tokens behind the grid.
    """
    height, width = gate_hw.shape
    if layout == "NCHW":
        return gate_hw.reshape(1, 1, height, width)
    if layout == "NHWC":
        return gate_hw.reshape(1, height, width, 1)
    row = np.ones(length, np.float32)
    row[prefix : prefix + height * width] = gate_hw.reshape(-1)
    return row.reshape(1, length, 1) if layout == "NPC" else row.reshape(1, 1, length)


# How a gated tensor spreads its positions over its axes.

RANKS = {"NCHW": 4, "NHWC": 4, "NPC": 3, "NCP": 3}


@dataclass(frozen=True)
class Positions:
    """layout: NCHW, NHWC, NPC or NCP. prefix: tokens in front of the grid (0 where there are no tokens)."""

    layout: str
    height: int
    width: int
    prefix: int = 0

    def to_nchw(self, tensor: np.ndarray) -> np.ndarray:
        """`tensor` as [N, c, h, w], without prefix tokens."""
        if self.layout == "NCHW":
            return tensor
        if self.layout == "NHWC":
            return tensor.transpose(0, 3, 1, 2)
        tokens = tensor if self.layout == "NPC" else tensor.transpose(0, 2, 1)
        patches = tokens[:, self.prefix : self.prefix + self.height * self.width]
        return patches.reshape(len(tokens), self.height, self.width, -1).transpose(0, 3, 1, 2)

    def length(self, tensor: np.ndarray) -> int:
        """How many tokens `tensor` has; 0 for maps."""
        return {"NPC": tensor.shape[1], "NCP": tensor.shape[-1]}.get(self.layout, 0)


def positions_of(info: ExplainedInfo, tensor: np.ndarray) -> Positions:
    """The positions of `tensor` as rt_info describes them.

    Raises:
        UnsupportedModelError: layout, grid or prefix_tokens of rt_info do not fit the tensor.
    """
    layout = info.layout
    if RANKS.get(layout) != tensor.ndim:
        raise UnsupportedModelError(
            f"rt_info says layout {layout!r}, but {info.target_layers[0]} has the shape {list(tensor.shape)}"
        )
    if layout == "NCHW":
        return Positions(layout, *tensor.shape[2:])
    if layout == "NHWC":
        return Positions(layout, *tensor.shape[1:3])
    length = tensor.shape[1 if layout == "NPC" else 2]
    if info.grid is None:
        raise UnsupportedModelError(f"rt_info says layout {layout}, but has no grid")
    height, width = info.grid
    prefix = info.prefix_tokens or 0
    if prefix + height * width > length:
        raise UnsupportedModelError(
            f"rt_info says {prefix} prefix tokens and a grid of {height} x {width}, but {info.target_layers[0]} has {length} tokens"
        )
    return Positions(layout, height, width, prefix)
