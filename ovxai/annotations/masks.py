"""Masks of objects from what annotation files hold: polygons, runs of pixels, pictures of masks."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from ovxai.annotations.facts import MOST_SIDE, Mask, MaskMaker, fitted
from ovxai.errors import AnnotationError

#: What is counted of polygons that `is_far`.
FAR = "polygons with corners further out than any picture reaches, left out"
#: Binary digits behind the point of the corners that OpenCV fills between.
_SHIFT = 4
#: Of a number in compressed runs; no picture has more pixels.
_MOST_BITS = 40
#: How much larger polygons are painted, as long as they are not of more pixels than these.
_FINER, _MOST_FINE = 4, 1 << 22


def of_polygons(polygons: Sequence[Sequence[float]]) -> MaskMaker:
    """The union of polygons, each x and y in turn, in pixels."""
    return functools.partial(_polygons, tuple(tuple(polygon) for polygon in polygons))


def is_far(polygon: Sequence[float]) -> bool:
    """Whether a corner lies where no picture reaches: then it is damaged, and can't be painted."""
    return max(map(abs, polygon)) > MOST_SIDE


def _polygons(polygons: tuple[tuple[float, ...], ...], height: int, width: int) -> Mask:
    region = np.zeros((height, width), np.bool_)
    for polygon in polygons:
        corners = np.array(polygon, np.float64).reshape(-1, 2)
        left, top = np.clip(np.floor(corners.min(axis=0)), 0, (width, height)).astype(int).tolist()
        right, bottom = np.clip(np.ceil(corners.max(axis=0)), 0, (width, height)).astype(int).tolist()
        if right > left and bottom > top:
            region[top:bottom, left:right] |= _filled(corners - (left, top), bottom - top, right - left)
    return region


def _filled(corners: np.ndarray, height: int, width: int) -> Mask:
    """Pixels of which half lies inside. OpenCV fills the edge as well, so the polygon is painted larger first."""
    scale = _FINER if height * width <= _MOST_FINE else 1
    # OpenCV means the middle of a pixel by its number, annotations its upper left corner.
    points = np.round((corners * scale - 0.5) * (1 << _SHIFT)).astype(np.int32)
    painted = np.zeros((height * scale, width * scale), np.uint8)
    cv2.fillPoly(painted, [points], 255, cv2.LINE_8, _SHIFT)
    return cv2.resize(painted, (width, height), interpolation=cv2.INTER_AREA) > 127


def of_runs(counts: Sequence[object] | str, size: tuple[int, int], where: str) -> MaskMaker:
    """COCO's runs: lengths of zeros and ones in turn down the columns, as numbers or compressed to text.

    size: (height, width) of the mask. where: for messages.

    Raises:
        AnnotationError: the runs don't fill the mask.
    """
    given = _unpacked(counts.encode("ascii", "replace")) if isinstance(counts, str) else counts
    lengths = [length for length in given if isinstance(length, int) and length >= 0]
    if len(lengths) != len(given) or sum(lengths) != size[0] * size[1]:
        raise AnnotationError(f"{where}: its runs do not fill a mask of {size[1]}x{size[0]}; the file is damaged")
    return functools.partial(_plain_runs, np.array(lengths, np.int64), size)


def _unpacked(text: bytes) -> list[int]:
    """Compressed runs: five bits of a number a letter, the lowest first, with a sixth for "more"; the highest is the sign. From
    the fourth number on each is the change to the one before the last. What is none ends in -1."""
    lengths: list[int] = []
    value = shift = 0
    for letter in text:
        bits = letter - 48
        if not 0 <= bits < 64 or shift > _MOST_BITS:
            return [-1]
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
        value = shift = 0
    return [*lengths, -1] if shift else lengths


def _plain_runs(lengths: np.ndarray, size: tuple[int, int], height: int, width: int) -> Mask:
    values = np.arange(len(lengths)) % 2 == 1
    return fitted(np.repeat(values, lengths).reshape(size[::-1]).T, height, width)


# Pictures of masks.


def read_levels(path: Path) -> np.ndarray:
    """[H, W] of the numbers in a mask picture: of a palette the places in it, else the grey levels.

    Raises:
        AnnotationError: it can't be read, or holds colours without a palette, which are no numbers.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise AnnotationError(f"{path}: can't be read: {error.strerror or error}") from error
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED) if content else None
    if pixels is None:
        raise AnnotationError(f"{path}: not a picture that OpenCV can read, or damaged")
    if pixels.ndim == 2:
        return pixels
    colors = pixels[:, :, :3]
    palette = _palette(content)
    if palette is not None:
        return _places(colors, palette)
    if (colors == colors[:, :, :1]).all():
        return np.ascontiguousarray(colors[:, :, 0])
    raise AnnotationError(f"{path}: a mask in colours without a palette; store the number of the class in each pixel")


def _palette(content: bytes) -> np.ndarray | None:
    """[n, 3] RGB of a PNG with a palette."""
    if content[:8] != b"\x89PNG\r\n\x1a\n" or content[25:26] != b"\x03":
        return None
    at = 8
    while at + 8 <= len(content):
        length, kind = int.from_bytes(content[at : at + 4], "big"), content[at + 4 : at + 8]
        if kind == b"PLTE":
            return np.frombuffer(content[at + 8 : at + 8 + length], np.uint8).reshape(-1, 3)
        at += 12 + length
    return None


def _places(bgr: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """OpenCV gives the colours of a palette, not the places in it; of equal colours the first place is taken."""
    codes = palette.astype(np.int64) @ (1 << 16, 1 << 8, 1)
    place: dict[int, int] = {}
    for index, code in enumerate(codes.tolist()):
        place.setdefault(code, index)
    pixels = bgr.astype(np.int64) @ (1, 1 << 8, 1 << 16)
    known, inverse = np.unique(pixels, return_inverse=True)
    return np.array([place.get(code, 0) for code in known.tolist()], np.int64)[inverse].reshape(pixels.shape)
