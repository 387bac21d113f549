"""Recipro-CAM (arXiv 2209.14074) and ViT Recipro-CAM (arXiv 2310.02588) by their definition.

One masked copy at a time goes through the head that was cut from the plain model:
`saliency[n, c, m] = head(F[n] * gate_m)[c]`.

A quantiser inside the head is a staircase: where its input lies on the edge of a step, the definition has two
values, and the order of its sums decides which one a program gets. So the definition is taken again and again
with its gated tensors, and what its quantisers read, moved by as little as rounding moves them. Every cell gets
an interval: what it is at least and at most. Away from edges that interval is a point, as good as.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import openvino as ov

from ovxai.errors import UnsupportedModelError
from ovxai.metadata import VECTOR_TASKS, ExplainedInfo
from ovxai.verification.engine import Feeds, values_of
from ovxai.verification.head import Head, cut_head
from ovxai.verification.maps import Definition, Interval, Noise
from ovxai.verification.plain import classifier_bias, logits_port, port_named

#: Called with (masks done, masks in all).
Progress = Callable[[int, int], None]
#: (gated tensors, shifts of what each quantiser reads) -> maps [N, C, h, w].
Rows = Callable[[Sequence[np.ndarray], Sequence[np.ndarray]], np.ndarray]

#: How far rounding moves a value: gated tensors by two units of f32's last place; what a quantiser reads, relative to
#: the largest value that it tells apart, by what the order of a sum of some hundred products moves it (the root of their
#: number times half a unit of the last place is 2**-20 for 256), and twice that, since a rare large shift is enough for a step.
OF_VALUE, OF_RANGE = 2.0**-22, 2.0**-19
#: Half a unit of f32's last place, and how often the definition's own rounding is measured.
OF_LAST, NOISE_TRIES = 2.0**-24, 2
#: Each tie falls either way about half of the times.
TRIES = 24


def classification(plain: ov.Model, info: ExplainedInfo, feeds: Feeds, progress: Progress | None = None) -> Definition:
    """Every class's map for the pictures in `feeds`, at the batch in which they are fed.

    Raises:
        TargetLayerError, UnsupportedModelError: rt_info names what the model does not have.
    """
    head = cut_head(plain, info.target_layers, info.explained_output, feeds)
    positions = positions_of(info, head.gated[0])
    maps = _masked_rows(head, positions, info.mask, head.gated, progress)
    model = plain.clone()
    bias = classifier_bias(logits_port(model, info.explained_output), maps.shape[1])

    @cache
    def interval() -> Interval:
        rough = cut_head(plain, info.target_layers, info.explained_output, feeds, rough=True)

        def rows(gated: Sequence[np.ndarray], shifts: Sequence[np.ndarray]) -> np.ndarray:
            return _masked_rows(rough, positions, info.mask, gated, shifts=shifts)

        return between(maps, rows, rough.gated, rough.rough)

    @cache
    def noise() -> list[Noise]:
        return rounding(maps, lambda gated: _masked_rows(head, positions, info.mask, gated), head.gated)

    return Definition(
        maps=maps,
        noise=None if head.quantised else noise,  # steps are no noise: they have intervals
        features=positions.to_nchw(head.gated[0]),
        ranking=head(head.gated).astype(np.float64),
        bias=bias,
        between=interval if head.quantised else None,
    )


def activation_map(plain: ov.Model, info: ExplainedInfo, feeds: Feeds) -> Definition:
    """The class-free map: the mean of the feature map over its channels, [N, 1, h, w]."""
    model = plain.clone()
    # A detector's target layers are its class logits; its features have a name of their own.
    name = info.target_layers[0] if info.task in VECTOR_TASKS or not info.feature_layer else info.feature_layer
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
    for index in range(positions.count):
        window = gate(mask, divmod(index, width), height, width)
        rows.append(head([positions.gated(tensor, window) for tensor in gated], shifts))
        if progress is not None:
            progress(index + 1, positions.count)
    stacked = np.stack(rows, axis=-1).astype(np.float64)
    return stacked.reshape(*stacked.shape[:2], height, width)


def rounding(maps: np.ndarray, rows: Callable[[Sequence[np.ndarray]], np.ndarray], gated: Sequence[np.ndarray]) -> list[Noise]:
    """How far f32 moves the definition `maps`, picture by picture.

    With its gated tensors moved by half a unit of the last place, all its sums round anew: two such definitions differ by
    sqrt(2) of what one is off by.
    """
    random = np.random.default_rng(1)
    cells, levels = [], []
    for _ in range(NOISE_TRIES):
        moved = [(tensor * (1 + OF_LAST * random.standard_normal(tensor.shape))).astype(np.float32) for tensor in gated]
        change = rows(moved) - maps
        level = change.mean(axis=(2, 3), keepdims=True)
        cells.append(np.square(change - level).mean(axis=(1, 2, 3)))
        levels.append(np.square(level).mean(axis=(1, 2, 3)))
    cell, level = (np.sqrt(np.mean(squares, axis=0) / 2) for squares in (cells, levels))
    return [Noise(float(one), float(other)) for one, other in zip(cell, level, strict=True)]


def between(maps: np.ndarray, rows: Rows, gated: Sequence[np.ndarray], read: Sequence[tuple[int, ...]]) -> Interval:
    """(lowest, highest) value of every cell, like `maps`. rows: the definition. read: shapes of what quantisers read.

    All classes see the same steps under one mask, and a few tries show neither every step nor every combination of
    them. So what they move one class by under a mask is allowed to each class under that mask, beyond its own interval.
    """
    random = np.random.default_rng(0)
    low, high = maps.copy(), maps.copy()
    for _ in range(TRIES):
        moved = [(tensor * (1 + OF_VALUE * random.standard_normal(tensor.shape))).astype(np.float32) for tensor in gated]
        shifts = [(OF_RANGE * random.standard_normal(shape)).astype(np.float32) for shape in read]
        found = rows(moved, shifts)
        np.minimum(low, found, out=low)
        np.maximum(high, found, out=high)
    step = (high - low).max(axis=1, keepdims=True)
    return low - step, high + step


# The masks, written out in full, and how a gated tensor spreads its positions over its axes.

#: Axes of a tensor by its layout: maps, channels second or last; tokens (P), channels last or second.
RANKS = {"NCHW": 4, "NHWC": 4, "NPC": 3, "NCP": 3}
#: ViT Recipro-CAM's window (arXiv 2310.02588). It is cut off at the border and not renormalised.
GAUSSIAN = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]], np.float32) / 16


@dataclass(frozen=True)
class Positions:
    """Where the cells of the map lie in a tensor.

    layout: NCHW, NHWC, NPC or NCP. height, width: of the grid. prefix: tokens in front of it (0 where there
    are no tokens).
    """

    layout: str
    height: int
    width: int
    prefix: int = 0

    @property
    def count(self) -> int:
        """How many cells the grid has."""
        return self.height * self.width

    def to_nchw(self, tensor: np.ndarray) -> np.ndarray:
        """`tensor` as [N, c, h, w], without prefix tokens."""
        if self.layout == "NCHW":
            return tensor
        if self.layout == "NHWC":
            return tensor.transpose(0, 3, 1, 2)
        tokens = tensor if self.layout == "NPC" else tensor.transpose(0, 2, 1)
        patches = tokens[:, self.prefix : self.prefix + self.count]
        return patches.reshape(len(tokens), self.height, self.width, -1).transpose(0, 3, 1, 2)

    def gated(self, tensor: np.ndarray, gate: np.ndarray) -> np.ndarray:
        """`tensor` times `gate` [h, w], f32. Prefix tokens pass ungated, and so would tokens behind the grid."""
        if self.layout in ("NCHW", "NHWC"):
            return (tensor * (gate[None, None] if self.layout == "NCHW" else gate[None, :, :, None])).astype(np.float32)
        axis = 1 if self.layout == "NPC" else 2
        row = np.ones(tensor.shape[axis], np.float32)
        row[self.prefix : self.prefix + self.count] = gate.reshape(-1)
        return (tensor * (row[None, :, None] if axis == 1 else row[None, None])).astype(np.float32)


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
            f"rt_info says {prefix} prefix tokens and a grid of {height} x {width}, "
            f"but {info.target_layers[0]} has {length} tokens"
        )
    return Positions(layout, height, width, prefix)


def gate(mask: str, cell: tuple[int, int], height: int, width: int) -> np.ndarray:
    """The [height, width] gate of the mask centred on `cell` (row, column): `point` or `gaussian`.

    Raises:
        UnsupportedModelError: another mask.
    """
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
