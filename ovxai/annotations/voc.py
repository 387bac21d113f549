"""Pascal VOC's xml: one file of boxes per picture (Everingham et al., IJCV 2010)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from ovxai.annotations.facts import AnnotatedPicture, AnnotationSet, Box, Tally, TrueObject, as_size, clipped
from ovxai.annotations.files import Finder, picture_size, read_bytes
from ovxai.errors import AnnotationError

#: Python reads no number of thousands of digits, and no picture has one.
_DIGITS = 12


def read_voc(paths: Sequence[Path], finder: Finder, tally: Tally) -> AnnotationSet:
    """Annotations of one xml file per picture. Corners are taken as they stand, without the pixel that VOC itself adds.

    Raises:
        AnnotationError: a file that is no such xml, or damaged.
    """
    pictures = []
    for path in paths:
        root = parse(path)
        if root.tag != "annotation":
            raise AnnotationError(f"{path}: its root is <{root.tag}>, not <annotation>; give Pascal VOC files")
        file = finder.find((_text(root, "filename"), path.stem), tally)
        if file is None:
            continue
        size = _size(root) or picture_size(file)
        read = (_object(entry, size, path, file, tally) for entry in root.findall("object"))
        pictures.append(AnnotatedPicture(file, tuple(item for item in read if item is not None), size))
    names = sorted({item.name for picture in pictures for item in picture.objects})
    return AnnotationSet(tuple(names), tuple(pictures))


def _object(entry: Element, size: tuple[int, int] | None, path: Path, file: Path, tally: Tally) -> TrueObject | None:
    name = _text(entry, "name")
    if not name:
        raise AnnotationError(f"{path}: an object without a name; the file is damaged")
    if _text(entry, "difficult") == "1":
        tally.add("objects marked as difficult, kept", file)
    bounds = entry.find("bndbox")
    if bounds is None:
        return TrueObject(name, None)
    box = clipped(_box(bounds, path), size, file, tally)
    return None if box is None else TrueObject(name, box)


def _box(bounds: Element, path: Path) -> Box:
    try:
        x1, y1, x2, y2 = (float(_text(bounds, key)) for key in ("xmin", "ymin", "xmax", "ymax"))
    except ValueError:
        raise AnnotationError(f"{path}: a bndbox without four numbers; the file is damaged") from None
    if not all(map(math.isfinite, (x1, y1, x2, y2))):
        raise AnnotationError(f"{path}: a bndbox without four numbers; the file is damaged")
    return x1, y1, x2, y2


def _size(root: Element) -> tuple[int, int] | None:
    size = root.find("size")
    height, width = (_text(size, key) if size is not None else "" for key in ("height", "width"))
    return as_size(*(int(text) if text.isdecimal() and len(text) < _DIGITS else None for text in (height, width)))


def _text(parent: Element, key: str) -> str:
    return (parent.findtext(key) or "").strip()


class _Forbidden(Exception):
    pass


def parse(path: Path) -> Element:
    """The tree of an xml file that declares nothing: no document type, so no entities to expand and no files to fetch.

    Raises:
        AnnotationError: it can't be read, is no xml, or declares something.
    """
    builder = TreeBuilder()
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = _refuse
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    content = read_bytes(path)
    try:
        parser.Parse(content, True)
        return builder.close()
    except _Forbidden:
        raise AnnotationError(f"{path}: declares a document type, which annotations don't need; take that line out") from None
    except (expat.ExpatError, AssertionError, ValueError, LookupError) as error:
        raise AnnotationError(f"{path}: is no valid xml ({error}); export the annotations again") from error


def _refuse(*_declaration: object) -> None:
    raise _Forbidden
