"""What is truly in pictures: objects with a name and, where it is known, a box or a mask."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

Box = tuple[float, float, float, float]
Mask = npt.NDArray[np.bool_]
#: (height, width) of a picture -> [height, width] bool.
MaskMaker = Callable[[int, int], Mask]
#: How many file names a note gives as examples.
_EXAMPLES = 3
#: Longest side, and pixels, of what is taken for a picture's size, and the furthest that a corner may lie from it; OpenCV reads
#: no more.
MOST_SIDE, _MOST_PIXELS = 1 << 20, 1 << 30
#: Shares by which the aspects of a picture and of its annotations may differ; more is another picture, or a turned one.
_SAME_ASPECT = 0.02


@dataclass(frozen=True)
class TrueObject:
    """One object, or one class that is in the picture somewhere.

    name: its class, as the data call it. box: x1, y1, x2, y2 in pixels, right and lower edge not included; None where
    only the class is known. mask: makes its mask for a picture of (height, width); None: the box is all there is.
    crowd: a group that is not told apart (COCO's iscrowd).
    """

    name: str
    box: Box | None
    mask: MaskMaker | None = field(default=None, repr=False, compare=False)
    crowd: bool = False

    def mask_for(self, height: int, width: int) -> Mask | None:
        """[height, width] bool; None where there is only a box or nothing."""
        return None if self.mask is None else self.mask(height, width)

    def inside(self, height: int, width: int) -> Mask | None:
        """[height, width] bool: the mask, else the box filled; None where the place is not known.

        Of a box those pixels whose middle lies in it, at least one where it touches the picture.
        """
        if self.mask is not None:
            return self.mask(height, width)
        return None if self.box is None else filled(self.box, height, width)

    def scaled(self, by_x: float, by_y: float, size: tuple[int, int]) -> TrueObject:
        """The same object of a picture that was resized. size: (height, width) that the annotation speaks of."""
        if self.box is None:
            return self
        x1, y1, x2, y2 = self.box
        maker = self.mask

        def resized(height: int, width: int) -> Mask:
            assert maker is not None
            return fitted(maker(*size), height, width)

        return TrueObject(
            self.name, (x1 * by_x, y1 * by_y, x2 * by_x, y2 * by_y), resized if maker is not None else None, self.crowd
        )


@dataclass(frozen=True)
class AnnotatedPicture:
    """A picture file and what is in it; no objects: it was looked at, and nothing of the classes is there.

    size: (height, width) that boxes and masks speak of.
    """

    path: Path
    objects: tuple[TrueObject, ...]
    size: tuple[int, int] | None = None

    def at(self, height: int, width: int) -> tuple[TrueObject, ...] | None:
        """The objects in pixels of the picture as it was decoded; None where its size fits the annotation's in no way."""
        if self.size is None or self.size == (height, width):
            return self.objects
        by_y, by_x = height / self.size[0], width / self.size[1]
        if abs(by_x / by_y - 1) > _SAME_ASPECT:
            return None
        return tuple(item.scaled(by_x, by_y, self.size) for item in self.objects)


@dataclass(frozen=True)
class AnnotationSet:
    """Annotations of many pictures, whatever format they came in.

    classes: the names of the data, in their order, also those of which there is no object. pictures: by path.
    notes: what was counted and left out, one line per kind. unannotated: pictures beside them of which nothing is said.
    """

    classes: tuple[str, ...]
    pictures: tuple[AnnotatedPicture, ...]
    notes: tuple[str, ...] = ()
    unannotated: tuple[Path, ...] = ()


class Tally:
    """Counts what is odd in annotations, so that nothing is left out in silence."""

    def __init__(self) -> None:
        self._places: dict[str, list[str]] = {}
        self._counts: dict[str, int] = {}

    def add(self, what: str, where: str | Path, count: int = 1) -> None:
        """what: the kind, in words that follow a number. where: the picture or file it is about."""
        self._counts[what] = self._counts.get(what, 0) + count
        places = self._places.setdefault(what, [])
        name = Path(where).name
        if len(places) <= _EXAMPLES and name not in places:
            places.append(name)

    def notes(self) -> tuple[str, ...]:
        """One line per kind, in the order in which they were met first."""
        return tuple(f"{count} {what} ({self._named(what)})" for what, count in self._counts.items())

    def _named(self, what: str) -> str:
        names = self._places[what]
        return ", ".join([*names[:_EXAMPLES], *(["..."] if len(names) > _EXAMPLES else [])])


def as_size(height: object, width: object) -> tuple[int, int] | None:
    """Two whole numbers that a picture's size can be; None for whatever else a file may hold in their place."""
    if not (isinstance(height, int) and isinstance(width, int) and 0 < height <= MOST_SIDE and 0 < width <= MOST_SIDE):
        return None
    return (height, width) if height * width <= _MOST_PIXELS else None


def filled(box: Box, height: int, width: int) -> Mask:
    """[height, width] bool, true for the pixels whose middle lies in `box`; at least one if it touches the picture."""
    region = np.zeros((height, width), np.bool_)
    x1, y1, x2, y2 = (min(max(value, 0.0), limit) for value, limit in zip(box, (width, height, width, height)))
    if x2 <= x1 or y2 <= y1:
        return region
    left, top = math.ceil(x1 - 0.5), math.ceil(y1 - 0.5)
    right, bottom = math.ceil(x2 - 0.5), math.ceil(y2 - 0.5)
    if right <= left:
        left, right = int(min(x1, width - 1)), int(min(x1, width - 1)) + 1
    if bottom <= top:
        top, bottom = int(min(y1, height - 1)), int(min(y1, height - 1)) + 1
    region[top:bottom, left:right] = True
    return region


def fitted(mask: Mask, height: int, width: int) -> Mask:
    """A mask at the size of a picture, by its nearest pixels."""
    if mask.shape == (height, width):
        return mask
    return cv2.resize(mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST) > 0


def box_of(mask: Mask) -> Box | None:
    """The smallest box around a mask; None where it is empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def clipped(box: Box, size: tuple[int, int] | None, where: str | Path, tally: Tally) -> Box | None:
    """`box` cut to the picture of `size`; None where nothing is left of it. What is cut and left out is counted.

    Boxes that end less than a pixel outside are rounding, and are cut without a word.
    """
    x1, y1, x2, y2 = box
    if not all(map(math.isfinite, box)) or x2 <= x1 or y2 <= y1:
        tally.add("boxes without an area, left out", where)
        return None
    if size is None:
        return box
    height, width = size
    cut = (max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height)))
    if cut[2] <= cut[0] or cut[3] <= cut[1]:
        tally.add("boxes outside of their picture, left out", where)
        return None
    if any(abs(a - b) > 1 for a, b in zip(box, cut)):
        tally.add("boxes that reach beyond their picture, cut", where)
    return cut
