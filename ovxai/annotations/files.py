"""Picture files that annotations speak of: where they lie, and how large they are without decoding them."""

from __future__ import annotations

import itertools
import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from ovxai.annotations.facts import Tally
from ovxai.errors import AnnotationError

#: What the names of pictures end with here; the formats that data sets come in.
PICTURES = frozenset(
    (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".pgm", ".jp2", ".jfif", ".avif")
)
#: Folders that hold a data set's pictures, by the names that are usual.
IMAGE_FOLDERS = ("images", "JPEGImages", "imgs", "img", "data", "images-optional")
#: Folders that hold annotations, beside those of the pictures.
BESIDE_IMAGES = ("annotations", "labels", "boxes", "ground-truth", "ground_truth", "masks", "segmentationclass")
#: What is counted of a name that nobody can know the file of.
SEVERAL = (
    "annotated pictures whose name several files have, left out: write their paths into the annotation, or name their folder"
)
#: Enough of a file for the header and what cameras put in front of it.
_HEAD = 1 << 16
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


class Finder:
    """Finds the picture that a name in an annotation means, in the folders where it may lie."""

    def __init__(self, folders: Iterable[Path]) -> None:
        """folders: where several have such a picture, the first of them counts."""
        self.folders = tuple(dict.fromkeys(folder for folder in folders if folder.is_dir()))
        self._by_name: list[dict[str, list[Path]]] | None = None

    def find(self, names: Sequence[str], tally: Tally) -> Path | None:
        """A file by its path below one of the folders, by its bare name, or by its name without the ending.

        names: of one picture, tried in turn. A name that several files have, and no folder before it tells them apart, is none's:
        that, and that there is no such file, is counted.
        """
        for name in names:
            found = self._all(Path(name.replace("\\", "/")))
            if len(found) == 1:
                return found[0]
            if found:
                tally.add(SEVERAL, name)
                return None
        tally.add("annotated pictures that are not there", next(filter(None, names), ""))
        return None

    def _all(self, relative: Path) -> list[Path]:
        """The files that a name may mean."""
        if not relative.name:
            return []
        if not relative.is_absolute() and ".." not in relative.parts:  # a name in a file opens nothing outside of the data
            for folder in self.folders:
                if (folder / relative).is_file() and relative.suffix.lower() in PICTURES:
                    return [folder / relative]
        if self._by_name is None:
            self._by_name = [_by_name(folder) for folder in self.folders]
        for key in (relative.name.lower(), relative.stem.lower()):
            for known in self._by_name:
                if key in known:
                    return _most_alike(known[key], relative)
        return []


def _by_name(folder: Path) -> dict[str, list[Path]]:
    """All pictures below a folder by name and by name without the ending, in small letters."""
    found: dict[str, list[Path]] = {}
    for path in walk(folder):
        for key in (path.name.lower(), path.stem.lower()):
            found.setdefault(key, []).append(path)
    return found


def _most_alike(paths: Sequence[Path], wanted: Path) -> list[Path]:
    """Those with most of the folders that stand before the name, from the back, and then those that write it the same."""

    def likeness(path: Path) -> tuple[int, bool]:
        pairs = zip(reversed(path.parent.parts), reversed(wanted.parent.parts))
        return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs)), path.name == wanted.name

    best = max(map(likeness, paths))
    return [path for path in paths if likeness(path) == best]


def walk(folder: Path) -> Iterator[Path]:
    """All pictures below `folder`, by name."""
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(place, name) for name in sorted(names) if is_picture(name))


def pictures_in(folder: Path) -> list[Path]:
    """The pictures of one folder, without those of its folders."""
    return sorted(path for path in folder.iterdir() if is_picture(path.name) and path.is_file()) if folder.is_dir() else []


def is_picture(name: str) -> bool:
    """By its ending; drafts and thumbnails of other programs, whose names begin with a dot, are none."""
    return Path(name).suffix.lower() in PICTURES and not name.startswith(".")


def places(folder: Path, pictures: Path | None, extra: Sequence[Path] = ()) -> list[Path]:
    """Where the pictures of annotations in `folder` may lie. pictures: where they do, if that was said."""
    if pictures is not None:
        return [pictures]
    near = [*extra, folder, *(base / name for base in (folder, folder.parent) for name in IMAGE_FOLDERS)]
    return [*near, folder.parent] if folder.name.lower() in BESIDE_IMAGES else near


def picture_size(path: Path) -> tuple[int, int] | None:
    """(height, width) as the picture is shown, turned as its EXIF says; None where it can't be read."""
    try:
        with open(path, "rb") as file:
            head = file.read(_HEAD)
        found = _png(head) or _jpeg(head)
        if found is not None:
            return found
        pixels = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    except (OSError, cv2.error):
        return None
    return None if pixels is None else (pixels.shape[0], pixels.shape[1])


def _png(head: bytes) -> tuple[int, int] | None:
    if head[:8] != b"\x89PNG\r\n\x1a\n" or len(head) < 24 or b"eXIf" in head:
        return None
    width, height = struct.unpack_from(">II", head, 16)
    return int(height), int(width)


def _jpeg(head: bytes) -> tuple[int, int] | None:
    """None also where there is EXIF, which may turn the picture: the decoder knows."""
    if head[:2] != b"\xff\xd8" or b"Exif\0" in head:
        return None
    at = 2
    while at + 9 <= len(head) and head[at] == 0xFF:
        if head[at + 1] in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", head, at + 5)
            return (int(height), int(width)) if height else None
        at += 2 + int.from_bytes(head[at + 2 : at + 4], "big")
    return None


def read_bytes(path: Path) -> bytes:
    """A file.

    Raises:
        AnnotationError: it can't be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise AnnotationError(f"{path}: no such file") from None
    except OSError as error:
        raise AnnotationError(f"{path}: can't be read: {error.strerror or error}") from error


def read_text(path: Path) -> str:
    """A text file.

    Raises:
        AnnotationError: it can't be read, or is no text.
    """
    try:
        return read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise AnnotationError(f"{path}: is no UTF-8 text, so no annotations that are known here") from None


def class_list(folders: Iterable[Path]) -> tuple[str, ...] | None:
    """The class names that lie beside annotations, one per line; None where there is no such file."""
    for folder in folders:
        for name in ("classes.txt", "obj.names", "labels.txt", "labelmap.txt", "names.txt"):
            if (folder / name).is_file():
                lines = read_text(folder / name).splitlines()
                return tuple(line.split(":")[0].strip() for line in lines if line.strip() and not line.startswith("#"))
    return None
