"""Annotations that are folders: named after classes, or full of pictures whose pixels say what is there."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ovxai.annotations.facts import AnnotatedPicture, AnnotationSet, Mask, Tally, TrueObject, box_of, fitted
from ovxai.annotations.files import Finder, is_picture, walk
from ovxai.annotations.masks import read_levels
from ovxai.errors import AnnotationError

#: What belongs to no class, by the names that lists of classes give it.
_BACKGROUND = frozenset(("background", "_background_", "__background__", "bg", "__ignore__", "unlabeled"))
#: The number of pixels that nobody wanted to decide on.
_VOID = 255
#: Levels of a mask of one class that stand for the object, where it is not 0 and 1.
_HALF = 127
#: What the name of a mask has behind that of its picture.
_SUFFIX = re.compile(r"[_\-.](mask|seg|segmentation|gt|label)$", re.IGNORECASE)
SINGLE = "object"


def class_folders(folder: Path) -> list[Path]:
    """The folders of `folder` that hold pictures, each named after a class."""
    inner = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    return [path for path in inner if next(walk(path), None) is not None]


def read_class_folders(folders: Sequence[Path]) -> AnnotationSet:
    """Pictures whose class is the name of the folder that they lie in."""
    pictures = [AnnotatedPicture(path, (TrueObject(folder.name, None),)) for folder in folders for path in walk(folder)]
    return AnnotationSet(tuple(folder.name for folder in folders), tuple(pictures))


def has_masks(folder: Path) -> bool:
    """Whether it holds pictures, itself or in folders named after classes."""
    return folder.is_dir() and next(walk(folder), None) is not None


def read_masks(folder: Path, names: Sequence[str] | None, finder: Finder, tally: Tally) -> AnnotationSet:
    """Mask pictures of the same stem as their pictures (`_mask` may stand behind).

    In folders named after classes what is not black is the object. Otherwise pixels hold the number of the class: 0 is
    none, 255 undecided. names: of the numbers, in order, from 0 if the first is a background, else from 1; without
    names there may be one number, and its class is called "object". All that is of one class is one object.

    A mask that can't be read leaves out its picture, and is counted.

    Raises:
        AnnotationError: several numbers without names, or no mask that can be read.
    """
    inner = class_folders(folder)
    if inner:
        found = [(path, file.name) for file in inner for path in walk(file)]
        classes: tuple[str, ...] = tuple(file.name for file in inner)
    else:
        found = [(path, "") for path in sorted(folder.iterdir()) if is_picture(path.name)]
        classes = ()
    objects: dict[Path, list[TrueObject]] = {}
    sizes: dict[Path, tuple[int, int]] = {}
    naming = _Naming(names, folder)
    damaged: dict[Path, AnnotationError] = {}
    for path, name in found:
        stem = _SUFFIX.sub("", path.stem)
        file = finder.find((stem,), tally)
        if file is None:
            continue
        try:
            levels = read_levels(path)
        except AnnotationError as error:
            damaged.setdefault(file, error)
            tally.add("masks that can't be read, left out with their pictures", path)
            continue
        here = objects.setdefault(file, [])
        sizes.setdefault(file, (levels.shape[0], levels.shape[1]))
        here += [_one_class(path, levels, name)] if name else list(_classes(path, levels, naming, file, tally))
        if not here:
            tally.add("masks in which nothing is marked", file)
    if damaged and objects.keys() <= damaged.keys():
        raise next(iter(damaged.values()))
    pictures = [
        AnnotatedPicture(file, tuple(item for item in items if item.box is not None), sizes[file])
        for file, items in objects.items()
        if file not in damaged
    ]
    return AnnotationSet(classes or naming.classes(), tuple(pictures))


def _one_class(path: Path, levels: np.ndarray, name: str) -> TrueObject:
    return TrueObject(name, box_of(_marked(levels)), functools.partial(_mask_of, path, None))


def _classes(path: Path, levels: np.ndarray, naming: _Naming, file: Path, tally: Tally) -> Iterator[TrueObject]:
    for value in np.unique(levels).tolist():
        name = naming(value)
        if name:
            yield TrueObject(name, box_of(levels == value), functools.partial(_mask_of, path, value))
        elif name is None:
            tally.add("mask numbers without a name, left out", file)


def _marked(levels: np.ndarray) -> Mask:
    return levels > (_HALF if levels.max() > 1 else 0)


def _mask_of(path: Path, value: int | None, height: int, width: int) -> Mask:
    levels = read_levels(path)
    return fitted(_marked(levels) if value is None else levels == value, height, width)


class _Naming:
    """The class of a number in masks: a name, "" for what belongs to none, None where nobody knows."""

    def __init__(self, names: Sequence[str] | None, folder: Path) -> None:
        self._names = None if names is None else tuple(names)
        if self._names and self._names[0].casefold() not in _BACKGROUND:
            self._names = ("", *self._names)
        self._folder = folder
        self._single: int | None = None

    def __call__(self, value: int) -> str | None:
        if value == 0:
            return ""
        if self._names is not None:
            if value < len(self._names):
                return self._names[value]
            return "" if value == _VOID else None
        if self._single not in (None, value):
            raise AnnotationError(
                f"{self._folder}: masks of several numbers ({self._single}, {value} ...) without names; "
                "put a classes.txt beside them, the name of number 1 in its first line"
            )
        self._single = value
        return SINGLE

    def classes(self) -> tuple[str, ...]:
        """All names, without the background."""
        return (SINGLE,) if self._names is None else tuple(self._names[1:])
