"""The picture and the overlays of its best classes side by side, each with its name and score."""

from __future__ import annotations

import math

import cv2
import numpy as np

from ovxai.runtime.show.letters import fit_text, text_width, write

#: The longer side of a tile lies between these, so that captions can be read under any picture.
_SMALLEST_TILE, _LARGEST_TILE = 224, 448
_GAP = 6
_CAPTION = 30
_CAPTION_CAPITAL = 12
_PAPER, _INK = (255, 255, 255), (30, 30, 30)


def make_grid(tiles: list[tuple[np.ndarray, str]], columns: int | None = None) -> np.ndarray:
    """Pictures of one shape, [H, W, 3] u8 RGB, with captions -> one picture.

    columns: None: as many as make the whole about as wide as a screen.
    """
    count = len(tiles)
    columns = columns or (count if count <= 4 else math.ceil(math.sqrt(count * 1.5)))
    rows = math.ceil(count / columns)
    small = [_tile(picture) for picture, _ in tiles]
    height, width = small[0].shape[:2]
    step = (height + _CAPTION + _GAP, width + _GAP)
    sheet = np.full((rows * step[0] + _GAP, columns * step[1] + _GAP, 3), _PAPER, np.uint8)
    for i, (tile, (_, caption)) in enumerate(zip(small, tiles)):
        top, left = _GAP + i // columns * step[0], _GAP + i % columns * step[1]
        sheet[top : top + height, left : left + width] = tile
        _caption(sheet, caption, top + height, left, width)
    return sheet


def _tile(picture: np.ndarray) -> np.ndarray:
    height, width = picture.shape[:2]
    longer = max(height, width)
    scale = min(max(longer, _SMALLEST_TILE), _LARGEST_TILE) / longer
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    if size != (width, height):
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    missing = max(0, _SMALLEST_TILE // 2 - size[0])  # a caption needs some width under a narrow picture
    return cv2.copyMakeBorder(picture, 0, 0, missing // 2, missing - missing // 2, cv2.BORDER_CONSTANT, value=_PAPER)


def _caption(sheet: np.ndarray, caption: str, top: int, left: int, width: int) -> None:
    line = fit_text(caption, width, _CAPTION_CAPITAL)
    if line is None:
        return
    text, capital = line
    write(sheet, text, (left + (width - text_width(text, capital)) // 2, top + _CAPTION - 10), capital, _INK)
