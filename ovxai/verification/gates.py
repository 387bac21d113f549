"""The masks, written out in full: one row a mask, one column a position."""

from __future__ import annotations

import numpy as np

from ovxai.errors import UnsupportedModelError

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
