"""Explanations -> files, named as OTX named them."""

from __future__ import annotations

import os
import re
import threading
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ovxai.errors import OutputError, TakenError, UsageError
from ovxai.files import check_folder, make_folder, sweep, write_bytes
from ovxai.runtime.predict.formats import Box
from ovxai.runtime.show.picture_maps import BoxKey, Key, PictureMaps, class_of
from ovxai.runtime.show.render import to_grey
from ovxai.runtime.write.encode import FORMATS, encode_array, encode_picture
from ovxai.runtime.write.video import FORMATS as VIDEO_FORMATS
from ovxai.runtime.write.video import VideoFile

MAP_FOLDER = "saliency_map"
GRID_FOLDER = "grid"


@dataclass(frozen=True)
class WrittenFile:
    """One file and what it shows; `manifest.json` (and any report) is made from these.

    path: relative to the output folder, with "/". kind: "saliency_map", "overlay", "array", "grid" or "video".
    source: where the picture came from. image: its name in file names. class_index: None for maps of
    the whole picture. map_shape: (h, w) of the map as the model gave it. size: (height, width) of the picture.
    true: whether the class is annotated in it; energy_inside: the share of the map's energy on its objects; None: not known.
    box: of a map per box, x1, y1, x2, y2 in pixels of the picture.
    """

    path: str
    kind: str
    source: str
    image: str
    class_index: int | None = None
    label: str | None = None
    score: float | None = None
    map_shape: tuple[int, int] | None = None
    size: tuple[int, int] | None = None
    true: bool | None = None
    energy_inside: float | None = None
    box: Box | None = None


class Writer:
    """Writes explanations into one folder; safe to use from several threads.

    names: the names of all classes, to tell apart those that look the same in file names.
    postprocess: write the map at the picture's size in colour, and an overlay beside it; else the
        low-resolution grey map. grid: how many classes to put side by side; 0: no such file. video: "mp4" or "webm".
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        names: tuple[str, ...] = (),
        postprocess: bool = True,
        form: str = "png",
        npy: bool = False,
        grid: int = 0,
        video: str = "mp4",
        force: bool = False,
    ) -> None:
        for word, value, known in (("format", form, tuple(FORMATS)), ("video format", video, VIDEO_FORMATS)):
            if value not in known:
                raise UsageError(f"{word}: there is no {value!r}; choose one of {', '.join(known)}")
        self.folder = check_folder(Path(folder))
        inner = [self.folder / name for name in (MAP_FOLDER, GRID_FOLDER)]
        for path in inner:
            if path.is_symlink():
                raise OutputError(f"{path}: is a link, and a run writes into its own folder only; remove it")
        for path in (self.folder, *inner):
            sweep(path)
        self._images = ImageNames(self.folder, *inner, force=force)
        self._force = force
        self._own: set[str] = set()
        self._lock = threading.Lock()
        self._words = class_words(dict(enumerate(names)))
        self._postprocess = postprocess
        self._form = form
        self._npy = npy
        self._grid = grid
        self._video = video

    def claim(self, stem: str) -> str:
        """The name that a source will have in file names. In the order of the sources, it stays the same next time."""
        return self._images.claim(stem)

    def write(self, explanation: PictureMaps, image: str | None = None) -> tuple[WrittenFile, ...]:
        """Write every map of `explanation`; each file appears whole, and all of them or none.

        image: the name it has in file names, from `claim`; where another process was faster, the next free one.

        Raises:
            OutputError: the disk refused, or the format does not hold the picture.
        """
        stem = image or self.claim(_stem(explanation.source))
        while True:
            written: list[WrittenFile] = []
            try:
                for item in self._written(explanation, stem):
                    written.append(item)
                return tuple(written)
            except BaseException as error:
                for item in written:
                    (self.folder / item.path).unlink(missing_ok=True)
                with self._lock:
                    self._own.difference_update(item.path.lower() for item in written)
                if not isinstance(error, TakenError):
                    raise
            stem = self.claim(image or _stem(explanation.source))

    def video(self, stem: str, rate: float, size: tuple[int, int]) -> VideoFile:
        """Begin a video. stem: of its name. rate: frames per second. size: (height, width).

        Raises:
            OutputError: the disk refused, or this OpenCV writes no videos.
        """
        return VideoFile(self.folder, stem, rate, size, form=self._video, force=self._force)

    def _written(self, explanation: PictureMaps, image: str) -> Iterator[WrittenFile]:
        for key in explanation.raw_maps:
            for kind, name, data in self._files(explanation, key, self._named(image, explanation, key)):
                yield self._put(f"{MAP_FOLDER}/{name}", kind, data, image, explanation, key)
        if self._grid and explanation.raw_maps:
            data = encode_picture(explanation.grid(self._grid), self._form)
            yield self._put(f"{GRID_FOLDER}/{image}_grid{self._suffix}", "grid", data, image, explanation, None)

    @property
    def _suffix(self) -> str:
        return FORMATS[self._form][0]

    def _named(self, image: str, explanation: PictureMaps, key: Key) -> str:
        """What the files of a map begin with."""
        index = class_of(key)
        if index is None:
            return f"{image}_map_per_image"
        return f"{image}_class_{self.class_word(explanation, key)}"

    def class_word(self, explanation: PictureMaps, key: Key) -> str:
        """The class of a map, or its box, in names of files: no two classes have the same."""
        index, label = class_of(key), explanation.label(key) or ""
        if index is None:
            return sanitize(label)
        # Without the names of all classes, at least those of this picture must not meet in one file.
        words = self._words or class_words(explanation.labels)
        word = words.get(index) or sanitize(label)
        if isinstance(key, BoxKey):
            taken = {other.lower() for other in words.values()}
            numbered = f"{word}_{key.number}"
            word = numbered if numbered.lower() not in taken else f"{word}_{index}_{key.number}"
        return word

    def _files(self, explanation: PictureMaps, key: Key, stem: str) -> Iterator[tuple[str, str, bytes]]:
        """(kind, file name, bytes) of one map."""
        values = explanation.raw_maps[key]
        shown = explanation.heat_map(key) if self._postprocess else to_grey(values)
        yield "saliency_map", f"{stem}_saliency_map{self._suffix}", encode_picture(shown, self._form, smooth=True)
        if self._postprocess:
            yield "overlay", f"{stem}_overlay{self._suffix}", encode_picture(explanation.overlay(key), self._form)
        if self._npy:
            yield "array", f"{stem}_saliency_map.npy", encode_array(values)

    def _put(self, path: str, kind: str, data: bytes, image: str, explanation: PictureMaps, key: Key | None) -> WrittenFile:
        target = self.folder / path
        make_folder(target.parent)
        with self._lock:  # what this run wrote is taken, whatever may be overwritten
            if path.lower() in self._own:
                raise TakenError(f"{target} is of this run already")
            self._own.add(path.lower())
        write_bytes(target, data, force=self._force)
        height, width = explanation.picture.shape[:2]
        return WrittenFile(
            path=path,
            kind=kind,
            source=explanation.source or "",
            image=image,
            class_index=class_of(key),
            label=explanation.label(key),
            score=explanation.score(key),
            map_shape=None if key is None else _shape(explanation.raw_maps[key]),
            size=(height, width),
            true=None if explanation.truth is None else explanation.truth.has(class_of(key)),
            energy_inside=explanation.truth.energy.get(key) if explanation.truth and isinstance(key, int) else None,
            box=explanation.boxes[key].box if key is not None and key in explanation.boxes else None,
        )


def _shape(values: np.ndarray) -> tuple[int, int]:
    height, width = values.shape
    return height, width


def own_folders(folder: Path) -> tuple[Path, ...]:
    """Where a run into `folder` puts pictures, report included: none of them is to be explained by the next run."""
    return (folder / MAP_FOLDER, folder / GRID_FOLDER, *folder.glob("report*_files*"))


def _stem(source: str | None) -> str:
    return Path(source).stem if source else "image"


# File names of what is written: safe everywhere, and never two the same.

_WRITTEN = re.compile(r"^(.+?)_(?:class_.+|map_per_image)_(?:saliency_map|overlay)\.\w+$")
_VIDEO = re.compile(r"^(.+)_(?:overlay|grid)\.\w+$")
_ODD = re.compile(r"[^A-Za-z0-9_-]")
#: Bytes of one part: of the picture or of the class.
_LONGEST = 100


def sanitize(text: str) -> str:
    """A part of a file name: letters and digits of every script, - and _ stay, everything else becomes `_`.

    Letters are composed (NFC), as most file systems have them; at most 100 bytes of UTF-8, as many systems allow 255 in all.
    Where the system's encoding is an older one, what it lacks becomes `_` as well.
    """
    if text.isascii():
        return _ODD.sub("_", text)[:_LONGEST] or "_"
    name = "".join(c if _stays(c) else "_" for c in unicodedata.normalize("NFC", text))
    return name.encode("utf-8")[:_LONGEST].decode("utf-8", "ignore") or "_"


def _stays(character: str) -> bool:
    if character.isascii():
        return not _ODD.match(character)
    if unicodedata.category(character)[0] not in "LMN":  # letters, the marks on them, numbers
        return False
    try:
        os.fsencode(character)
    except UnicodeEncodeError:
        return False
    return True


class ImageNames:
    """Gives every source a name of its own: its stem, then stem_2, stem_3 ...

    folders: where earlier runs may have left files; their names are taken unless `force`.
    """

    def __init__(self, *folders: Path, force: bool) -> None:
        standing = [] if force else [folder for folder in folders if folder.is_dir()]
        self._taken: set[str] = set().union(*(_names_in(folder) for folder in standing))
        self._next: Counter[str] = Counter()
        self._lock = threading.Lock()

    def claim(self, stem: str) -> str:
        """A name that nobody has yet. Ignores case, as some file systems do."""
        base = sanitize(stem)
        with self._lock:
            while True:
                self._next[base.lower()] += 1
                number = self._next[base.lower()]
                name = base if number == 1 else f"{base}_{number}"
                if name.lower() not in self._taken:
                    self._taken.add(name.lower())
                    return name


def _names_in(folder: Path) -> set[str]:
    taken: set[str] = set()
    for path in folder.iterdir():
        name = path.name.lower()
        # A class name may hold "_class_" too, so every reading of the file name is taken.
        parts = name.split("_class_")
        taken.update("_class_".join(parts[:i]) for i in range(1, len(parts)))
        if match := _WRITTEN.match(name) or _VIDEO.match(name):
            taken.add(match[1])
    return taken


def class_words(names: Mapping[int, str]) -> dict[int, str]:
    """Class index -> its word in file names; classes whose names look the same there get their index behind it."""
    words = {index: sanitize(name) for index, name in names.items() if name}
    count = Counter(word.lower() for word in words.values())
    return {index: word if count[word.lower()] == 1 else f"{word}_{index}" for index, word in words.items()}
