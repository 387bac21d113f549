"""For clients without an image library: the finished picture as one more output, made by standard operations."""

from __future__ import annotations

import openvino as ov

from ovxai.errors import OptionError
from ovxai.metadata import ModelInfo


def embed(kind: str, grey: ov.Output, picture: ov.Node, model_info: ModelInfo) -> ov.Output:
    """kind "map": u8 [N, C, H, W] at the input's size. kind "overlay": u8 [N, H, W, 3]."""
    raise OptionError(f"embed: {kind} is not available yet")
