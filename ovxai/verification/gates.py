"""The masks, written out in full, and how a gated tensor spreads its positions over its axes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ovxai.errors import UnsupportedModelError
from ovxai.metadata import ExplainedInfo

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
