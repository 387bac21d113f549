"""Picture files and their bytes as arrays; what can't be decoded fails the test at once."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np


def bgr(source: str | Path | bytes, how: int = cv2.IMREAD_COLOR) -> np.ndarray:
    """[H, W, 3] u8 as OpenCV likes it (or what `how` says), of a file or of encoded bytes."""
    data = source if isinstance(source, bytes) else Path(source).read_bytes()
    found = cv2.imdecode(np.frombuffer(data, np.uint8), how)
    assert found is not None, f"not a picture: {source if isinstance(source, (str, Path)) else source[:20]!r}"
    return found


def rgb(source: str | Path | bytes) -> np.ndarray:
    """[H, W, 3] u8 as ovxai likes it."""
    return np.ascontiguousarray(bgr(source)[:, :, ::-1])
