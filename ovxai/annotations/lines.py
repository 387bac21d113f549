"""Text files with a line per object: `class x1 y1 x2 y2` in pixels, and YOLO's numbers in shares of the picture."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from ovxai.annotations.facts import AnnotatedPicture, AnnotationSet, Tally, TrueObject, clipped
from ovxai.annotations.files import Finder, picture_size, read_text
from ovxai.annotations.masks import FAR, is_far, of_polygons
from ovxai.errors import AnnotationError

#: Shares of a picture end a little beyond 1 where somebody has rounded.
_MOST_SHARE = 1.01


def kind_of(path: Path) -> str | None:
    """ "yolo", "boxes" or None, by the first line of a text file; None also where there is none."""
    try:
        line = next((line for line in read_text(path).splitlines() if line.strip()), "")
    except AnnotationError:
        return None
    words = line.split()
    if words[-1:] == ["difficult"]:
        words.pop()
    if len(words) < 5 or any(_number(word) is None for word in words[-4:]):
        return None
    values = [_number(word) for word in words[1:]]
    shares = [value for value in values if value is not None and -0.01 <= value <= _MOST_SHARE]
    if len(shares) == len(values) and words[0].isdecimal():
        return "yolo"
    return "boxes"


def read_boxes(paths: Sequence[Path], finder: Finder, tally: Tally) -> AnnotationSet:
    """Files of lines `class x1 y1 x2 y2`, pixels, one file per picture of the same stem; a class may be several words.

    Raises:
        AnnotationError: a line that is none.
    """
    pictures = []
    for path in paths:
        file = finder.find((path.stem,), tally)
        if file is None:
            continue
        size = picture_size(file)
        objects = []
        for number, line in enumerate(read_text(path).splitlines(), 1):
            words = line.split()
            if words[-1:] == ["difficult"]:
                tally.add("objects marked as difficult, kept", file)
                words.pop()
            if not words:
                continue
            x1, y1, x2, y2 = _numbers(words[-4:], path, number, "class x1 y1 x2 y2")
            if len(words) < 5:
                raise AnnotationError(f"{path}:{number}: a line without a class; give `class x1 y1 x2 y2`")
            box = clipped((x1, y1, x2, y2), size, file, tally)
            objects += [TrueObject(" ".join(words[:-4]), box)] if box is not None else []
        pictures.append(AnnotatedPicture(file, tuple(objects), size))
    names = sorted({item.name for picture in pictures for item in picture.objects})
    return AnnotationSet(tuple(names), tuple(pictures))


def read_yolo(labels: Iterable[tuple[Path, Path]], names: Sequence[str], tally: Tally) -> AnnotationSet:
    """YOLO's files: `class x y width height` (the middle) or `class x1 y1 x2 y2 x3 y3 ...` (a polygon), in shares.

    labels: (picture, its text file) in order; without the file there is nothing in the picture. names: of the classes.

    Raises:
        AnnotationError: a line that is none of these.
    """
    pictures = []
    for file, path in labels:
        size = picture_size(file)
        if size is None:
            tally.add("pictures that can't be read", file)
            continue
        if not path.is_file():  # YOLO's way to say that a picture is empty
            tally.add("pictures without a label file, taken as empty", file)
            pictures.append(AnnotatedPicture(file, (), size))
            continue
        lines = enumerate(read_text(path).splitlines(), 1)
        read = (_yolo_object(line, path, number, names, size, file, tally) for number, line in lines if line.strip())
        pictures.append(AnnotatedPicture(file, tuple(item for item in read if item is not None), size))
    return AnnotationSet(tuple(dict.fromkeys(names)), tuple(pictures))


def _yolo_object(
    line: str, path: Path, number: int, names: Sequence[str], size: tuple[int, int], file: Path, tally: Tally
) -> TrueObject | None:
    word, *words = line.split()
    form = "class x y width height"
    values = _numbers(words, path, number, form)
    index = _number(word)
    if index is None or index != int(index) or (len(values) != 4 and (len(values) < 6 or len(values) % 2)):
        raise AnnotationError(f"{path}:{number}: not a line of YOLO; give `{form}` or the corners of a polygon")
    if max(values) > 2 * _MOST_SHARE:
        raise AnnotationError(f"{path}:{number}: {max(values):g} is no share of the picture; YOLO's numbers are 0..1")
    if not 0 <= index < len(names):
        tally.add("objects of a class without a name, left out", file)
        return None
    height, width = size
    if len(values) == 4:
        x, y, across, down = values
        corners = ((x - across / 2) * width, (y - down / 2) * height, (x + across / 2) * width, (y + down / 2) * height)
        box = clipped(corners, size, file, tally)
        return None if box is None else TrueObject(names[int(index)], box)
    points = [value * (width, height)[i % 2] for i, value in enumerate(values)]
    if is_far(points):
        tally.add(FAR, file)
        return None
    box = clipped((min(points[::2]), min(points[1::2]), max(points[::2]), max(points[1::2])), size, file, tally)
    return None if box is None else TrueObject(names[int(index)], box, of_polygons([points]))


def _numbers(words: Sequence[str], path: Path, line: int, form: str) -> list[float]:
    values = [_number(word) for word in words]
    good = [value for value in values if value is not None]
    if len(good) != len(values) or len(good) < 4:
        raise AnnotationError(f"{path}:{line}: not a line `{form}`; correct it, or take it out")
    return good


def _number(word: str) -> float | None:
    try:
        value = float(word)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
