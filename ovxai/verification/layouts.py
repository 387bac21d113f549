"""How a gated tensor spreads its positions over its axes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ovxai.errors import UnsupportedModelError
from ovxai.metadata import ExplainedInfo

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
