"""What every hand-made graph needs: reproducible numbers, and names for nodes."""

from __future__ import annotations

import numpy as np
import openvino as ov


def numbers(*shape: int, seed: int = 0, size: float = 1.0) -> np.ndarray:
    """Normally distributed f32 of this shape, times `size`; the same for the same seed and shape."""
    return (size * np.random.default_rng([seed, *shape]).standard_normal(shape)).astype(np.float32)


def named(node: ov.Node, name: str) -> ov.Node:
    """`node` itself, with a friendly name."""
    node.set_friendly_name(name)
    return node
