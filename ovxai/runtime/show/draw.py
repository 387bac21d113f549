"""Boxes, masks and words on pictures. All pictures here are [H, W, 3] u8 RGB and are painted in place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from ovxai.runtime.predict.formats import Box, Prediction
from ovxai.runtime.show.letters import Color, fit_text, spoken, text_width, write
from ovxai.runtime.show.render import class_color, line_width

#: x1, y1, x2, y2 in whole pixels, the far ends not included.
Rectangle = tuple[int, int, int, int]
_WHITE, _DARK = (255, 255, 255), (20, 20, 20)
#: A caption takes at most this share of the picture's height: smaller pictures have none.
_MOST_OF_HEIGHT = 6
#: What is seen of the picture through a caption's ground.
_SHINES_THROUGH = 0.3
#: Width of the colour bar in capitals.
_BAR = 5


@dataclass(frozen=True)
class Caption:
    """What stands in a picture's lower left corner. colors: [256, 3] u8 RGB from cold to hot, as a bar; None: no bar."""

    text: str
    colors: np.ndarray | None = None


def draw_predictions(picture: np.ndarray, predictions: tuple[Prediction, ...]) -> None:
    """Outline every mask and frame every box, the best one on top."""
    for prediction in reversed(predictions):
        color = class_color(prediction.class_index)
        if prediction.mask is not None:
            _outline(picture, prediction.mask, color)
        if prediction.box is not None:
            _frame(picture, prediction.box, color)


def draw_names(picture: np.ndarray, predictions: tuple[Prediction, ...], taken: tuple[Rectangle, ...] = ()) -> None:
    """Write class and score at every box, none over another or over `taken`; where there is no room the worst have none."""
    used = list(taken)
    for prediction in predictions:
        if prediction.box is not None:
            text = f"{spoken(prediction.label, prediction.class_index)} {prediction.score:.2f}"
            place = tag(picture, text, whole(prediction.box), small(picture.shape), class_color(prediction.class_index), used)
            used += [place] if place else []


def _outline(picture: np.ndarray, mask: np.ndarray, color: Color) -> None:
    lines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, lines, -1, color, line_width(picture.shape), cv2.LINE_AA)


def _frame(picture: np.ndarray, box: Box, color: Color) -> None:
    x1, y1, x2, y2 = whole(box)
    height, width = picture.shape[:2]
    cv2.rectangle(picture, (x1, y1), (min(x2, width) - 1, min(y2, height) - 1), color, line_width(picture.shape))


def whole(box: Box) -> Rectangle:
    """A box in whole pixels."""
    x1, y1, x2, y2 = (round(value) for value in box)
    return x1, y1, x2, y2


def small(shape: tuple[int, ...]) -> int:
    """Height of capitals that can be read on a picture of this shape, but hide little."""
    return max(8, min(shape[:2]) // 40)


def tag(
    picture: np.ndarray, text: str, box: Rectangle, capital: int, color: Color, taken: list[Rectangle]
) -> Rectangle | None:  # fmt: skip
    """Write `text` on a ground of `color` at a corner of `box`, where nothing of `taken` is; gives the place.

    It is made smaller until it fits in; None: there is no room, and nothing is written.
    """
    height, width = picture.shape[:2]
    line = fit_text(text, width - 4, capital)
    if line is None:
        return None
    text, capital = line
    band = _band(capital)
    size = (text_width(text, capital) + 4, band)
    places = (place for place in _corners(box, size, (width, height)) if not any(_meet(place, other) for other in taken))
    place = next(places, None)
    if band > height or place is None:
        return None
    x1, y1, x2, y2 = place
    cv2.rectangle(picture, (x1, y1), (x2 - 1, y2 - 1), color, cv2.FILLED)
    dark = 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2] > 140
    write(picture, text, (x1 + 2, y2 - capital // 3 - 1), capital, (0, 0, 0) if dark else _WHITE)
    return place


def _band(capital: int) -> int:
    """Height of the ground under a line."""
    return capital + 2 * (capital // 3) + 2


def _corners(box: Rectangle, size: tuple[int, int], room: tuple[int, int]) -> Iterator[Rectangle]:
    """Where a plate of `size` (width, height) may lie at `box`, within `room`: the best place first."""
    x1, y1, x2, y2 = box
    length, band = size
    rows = [y1 - band, y1, y2, y2 - band, *range(y1 + band, y2 - band, band)]
    for y in rows:
        for x in (x1, x2 - length):
            left, top = max(0, min(x, room[0] - length)), y
            if 0 <= top <= room[1] - band:
                yield left, top, left + length, top + band
    if y2 <= band or y1 >= room[1] - band:  # a box beyond the edge
        top = min(max(y1, 0), max(0, room[1] - band))
        left = max(0, min(x1, room[0] - length))
        yield left, top, left + length, top + band


def _meet(a: Rectangle, b: Rectangle) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


# What the picture says of itself: which class, which colours, which part the model saw.


def place_caption(shape: tuple[int, ...], caption: Caption) -> tuple[Rectangle, int, str] | None:
    """Where the caption will lie, its height of capitals, and its words as far as there is room; None: there is none."""
    height, width = shape[:2]
    capital = max(9, min(height, width) // 34)
    if _band(capital) * _MOST_OF_HEIGHT > height:
        return None
    beside = 0 if caption.colors is None else (_BAR + 1) * capital
    for bar in (beside, 0):
        line = fit_text(caption.text, width - bar - 2 * capital, capital)
        if line is not None and (not bar or not line[0].endswith("..")):
            text, size = line
            wide = text_width(text, size) + bar + capital
            return (0, height - _band(capital), min(width, wide), height), size, text
    return None


def draw_caption(picture: np.ndarray, caption: Caption) -> tuple[Rectangle, ...]:
    """Write a caption on a dark ground, and the bar of colours behind it where there is room. Gives what it covers."""
    placed = place_caption(picture.shape, caption)
    if placed is None:
        return ()
    (x1, y1, x2, y2), capital, text = placed
    ground = picture[y1:y2, x1:x2]
    ground[:] = cv2.convertScaleAbs(ground, alpha=_SHINES_THROUGH)
    middle = (y2 - y1 - capital) // 2
    write(picture, text, (x1 + capital // 2, y2 - middle - 1), capital, _WHITE)
    begin = x1 + capital // 2 + text_width(text, capital) + capital // 2
    length = x2 - begin - capital // 2
    if caption.colors is not None and length >= 2 * capital:
        ramp = caption.colors[np.linspace(0, 255, length).astype(np.uint8)]
        picture[y1 + middle : y2 - middle, begin : begin + length] = ramp
    return ((x1, y1, x2, y2),)


def draw_window(picture: np.ndarray, window: Rectangle, *, words: bool) -> tuple[Rectangle, ...]:
    """A thin frame around the part of the picture that the model sees, and in words that it is this. Gives what those cover."""
    x1, y1, x2, y2 = window
    for color, inset in ((_DARK, 0), (_WHITE, 1)):
        cv2.rectangle(picture, (x1 + inset, y1 + inset), (x2 - 1 - inset, y2 - 1 - inset), color, 1)
    capital = max(8, min(picture.shape[:2]) // 50)
    if not words or _band(capital) * _MOST_OF_HEIGHT > y2 - y1:
        return ()
    text = "the model sees only this"
    if text_width(text, capital) + 8 > x2 - x1:
        return ()
    inside = (x1 + 2, y1 + 2, x2 - 2, y2 - 2)
    place = tag(picture, text, inside, capital, _DARK, [(0, 0, picture.shape[1], y1 + 2)])
    return (place,) if place else ()
