"""Boxes, masks and text on pictures. All pictures here are [H, W, 3] u8 RGB and are painted in place."""

from __future__ import annotations

import math
import unicodedata

import cv2
import numpy as np

from ovxai.runtime.predict.formats import Box, Prediction
from ovxai.runtime.show.render import Color, class_color, line_width

_FONT = cv2.FONT_HERSHEY_SIMPLEX
#: Height in pixels of a capital at font scale 1.
_CAPITAL = 22
#: Smaller letters can't be read; where they don't fit, none are written.
_SMALLEST = 8


def draw_predictions(picture: np.ndarray, predictions: tuple[Prediction, ...]) -> None:
    """Outline every mask, frame every box, and write class and score on it. The best one ends on top."""
    for prediction in reversed(predictions):
        color = class_color(prediction.class_index)
        if prediction.mask is not None:
            _outline(picture, prediction.mask, color)
        if prediction.box is not None:
            _frame(picture, prediction.box, f"{prediction.label} {prediction.score:.2f}", color)


def _outline(picture: np.ndarray, mask: np.ndarray, color: Color) -> None:
    lines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, lines, -1, color, line_width(picture.shape), cv2.LINE_AA)


def _frame(picture: np.ndarray, box: Box, text: str, color: Color) -> None:
    x1, y1, x2, y2 = (round(value) for value in box)
    height, width = picture.shape[:2]
    cv2.rectangle(picture, (x1, y1), (min(x2, width) - 1, min(y2, height) - 1), color, line_width(picture.shape))
    capital = max(8, min(height, width) // 40)
    tag(picture, text, (x1, y1), capital, color)


def tag(picture: np.ndarray, text: str, corner: tuple[int, int], capital: int, color: Color) -> None:
    """Write `text` on a ground of `color`, above `corner`, or below it at the picture's upper edge.

    It is moved, then made smaller, until it fits in; a picture too small for letters gets none.
    """
    height, width = picture.shape[:2]
    line = fit_text(text, width - 4, capital)
    if line is None:
        return
    text, capital = line
    length = text_width(text, capital)
    band = capital + 2 * (capital // 3) + 2
    if band > height:
        return
    x = max(0, min(corner[0], width - length - 4))
    y = corner[1] - band if corner[1] >= band else min(max(corner[1], 0), height - band)
    cv2.rectangle(picture, (x, y), (x + length + 3, y + band - 1), color, cv2.FILLED)
    dark = 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2] > 140
    write(picture, text, (x + 2, y + band - capital // 3 - 1), capital, (0, 0, 0) if dark else (255, 255, 255))


def fit_text(text: str, room: int, capital: int) -> tuple[str, int] | None:
    """`text` in ASCII, and the height of capitals at which it takes at most `room` pixels; shortened if need be."""
    text = to_ascii(text)
    for height in range(capital, _SMALLEST - 1, -1):
        if text_width(text, height) <= room:
            return text, height
    height = min(capital, _SMALLEST)
    while len(text) > 3 and text_width(text + "..", height) > room:
        text = text[:-1]
    return (text + "..", height) if text_width(text + "..", height) <= room else None


def text_width(text: str, capital: int) -> int:
    """Pixels that a line of text takes."""
    return int(cv2.getTextSize(text, _FONT, capital / _CAPITAL, _stroke(capital))[0][0])


def write(picture: np.ndarray, text: str, origin: tuple[int, int], capital: int, color: Color) -> None:
    """One line of text; `origin` is its lower left corner."""
    cv2.putText(picture, text, origin, _FONT, capital / _CAPITAL, color, _stroke(capital), cv2.LINE_AA)


def to_ascii(text: str) -> str:
    """OpenCV's font has no other letters: accents are dropped, the rest becomes `?`."""
    plain = unicodedata.normalize("NFKD", text)
    plain = "".join(c for c in plain if not unicodedata.combining(c))
    return plain.encode("ascii", "replace").decode()


def _stroke(capital: int) -> int:
    return max(1, round(capital / 11))


# The picture and the overlays of its best classes side by side, each with its name and score.

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
