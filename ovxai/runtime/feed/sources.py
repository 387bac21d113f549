"""What the user names -> pictures, one after the other: files, folders, globs, videos, cameras, streams."""

from __future__ import annotations

import functools
import glob
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import cv2
import numpy as np

from ovxai.errors import SourceError
from ovxai.runtime.feed.images import IMAGE_SUFFIXES, check_file_channels, read_image, to_pixels

VIDEO_SUFFIXES = frozenset((
    ".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".ts", ".m2ts", ".mts", ".3gp", ".ogv",
    ".mjpeg", ".mjpg",
))  # fmt: skip
STDIN = "-"


@dataclass(frozen=True)
class Broken:
    """A source that can't be explained, and the line that says why."""

    source: str
    reason: str


@dataclass(frozen=True)
class Clip:
    """A video that was opened. rate: frames per second of what will be written. size: (height, width)."""

    source: str
    stem: str
    rate: float
    size: tuple[int, int]
    capture: Any = field(repr=False, compare=False)


@dataclass(frozen=True)
class Frame:
    """One picture to come.

    load: asked for so many channels, gives [H, W, channels] u8 (RGB, RGBA) or raises SourceError. clip: the video it
    belongs to. stem: what files made of it are called.
    """

    source: str
    stem: str
    load: Callable[[int], np.ndarray]
    clip: Clip | None = None


@dataclass(frozen=True)
class Source:
    """A file, camera or stream. kind: "image" or "video"."""

    kind: str
    name: str

    @property
    def stem(self) -> str:
        """What files made of it are called."""
        if self.name.isdigit():
            return f"camera_{self.name}"
        return self.name.split("://", 1)[1].split("?")[0].rstrip("/") if _is_url(self.name) else Path(self.name).stem


def find_sources(
    names: Iterable[str], *, recursive: bool = False, stdin: TextIO | None = None, own: Iterable[Path] = ()
) -> list[Source | Broken]:
    """Everything that `names` mean, in order, files of a folder by name.

    names: files, folders, globs, camera numbers, URLs, "-" (names from `stdin`, one per line).
    own: folders of pictures that earlier runs have written; a search through folders leaves them out.
    What does not exist becomes `Broken`, so that the rest can go on.
    """
    own = tuple(folder.resolve() for folder in own)
    found: list[Source | Broken] = []
    for name in names:
        if name == STDIN and stdin is not None:
            lines = [line.rstrip("\r\n") for line in stdin]
            found += find_sources([line for line in lines if line and line != STDIN], recursive=recursive, own=own)
        else:
            found += _find(name, recursive, own)
    return found


def _find(name: str, recursive: bool, own: tuple[Path, ...]) -> list[Source | Broken]:
    path = Path(name)
    if _is_url(name):
        return [Source("video", name)]
    if path.is_dir():
        inside = [source for source in _in_folder(path, recursive) if not _inside(Path(source.name), own)]
        hint = "" if recursive else " (--recursive looks into its folders)"
        return [*inside] or [Broken(name, f"{name}: no pictures or videos in this folder{hint}")]
    if path.exists():
        return [_file(path)]
    if name.isdigit():
        return [Source("video", name)]
    if glob.has_magic(name):
        hits = [Path(hit) for hit in sorted(glob.glob(name, recursive=True))]
        files = [_file(hit) for hit in hits if hit.is_file()]
        return [*files] or [Broken(name, f"{name}: nothing matches")]
    return [Broken(name, f"{name}: no such file, folder or camera")]


def _in_folder(folder: Path, recursive: bool) -> list[Source]:
    paths = folder.rglob("*") if recursive else folder.iterdir()
    known = IMAGE_SUFFIXES | VIDEO_SUFFIXES
    # Names that begin with a dot are drafts and thumbnails of other programs.
    return [
        _file(path)
        for path in sorted(paths)
        if path.suffix.lower() in known and not path.name.startswith(".") and (path.is_file() or _leads_nowhere(path))
    ]


def _inside(path: Path, folders: tuple[Path, ...]) -> bool:
    parent = path.parent.resolve() if folders else path
    return any(folder == parent or folder in parent.parents for folder in folders)


def _leads_nowhere(path: Path) -> bool:
    """A link whose picture is gone: it is reported as one that can't be read, not passed over."""
    return path.is_symlink() and not path.exists()


def _file(path: Path) -> Source:
    return Source("video" if path.suffix.lower() in VIDEO_SUFFIXES else "image", str(path))


def _is_url(name: str) -> bool:
    return re.match(r"[a-z][a-z0-9+.-]+://", name, re.IGNORECASE) is not None


def pictures(
    sources: Iterable[Source | Broken],
    *,
    limit: int | None = None,
    every: int = 1,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Frame | Broken]:
    """Every picture of `sources`, videos frame by frame.

    limit: at most so many pictures in all. every: only each N-th frame of a video. stop: asked before
    each picture; once it says True no more come.
    """
    count = 0
    for source in sources:
        for item in [source] if isinstance(source, Broken) else _frames_of(source, every):
            if stop() or (limit is not None and count >= limit):
                return
            yield item
            count += isinstance(item, Frame)


def _frames_of(source: Source, every: int) -> Iterator[Frame | Broken]:
    if source.kind == "image":
        yield Frame(source.name, source.stem, functools.partial(read_image, source.name))
        return
    try:
        clip = open_clip(source.name, source.stem, every)
    except SourceError as error:
        yield Broken(source.name, str(error))
        return
    for number, picture in frames(clip, every):
        name = f"{source.name}#{number}"
        yield Frame(name, f"{source.stem}_{number:06d}", functools.partial(_of_video, picture, name), clip)


def _of_video(picture: np.ndarray, name: str, channels: int) -> np.ndarray:
    check_file_channels(channels, name)
    return to_pixels(picture, name, channels)


def count_pictures(sources: Iterable[Source | Broken], *, limit: int | None, every: int) -> int | None:
    """How many pictures will come; None when a camera or stream is among them."""
    total = 0
    for source in sources:
        if isinstance(source, Source) and source.kind == "video":
            frames_here = frame_count(source.name)
            if frames_here is None:
                return limit
            total += -(-frames_here // every)
        else:
            total += 1
    return total if limit is None else min(total, limit)


# Videos, cameras and streams, by OpenCV.

#: For cameras and streams that don't say how fast they are.
_USUAL_RATE = 25.0


def open_clip(source: str, stem: str, every: int = 1) -> Clip:
    """Open a video file, a camera by number, or a stream by URL.

    Raises:
        SourceError: OpenCV can't open it or finds no frame.
    """
    capture = cv2.VideoCapture(int(source) if source.isdigit() and not Path(source).exists() else source)
    width, height = (int(capture.get(key)) for key in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
    if not capture.isOpened() or width <= 0 or height <= 0:
        capture.release()
        what = "camera" if source.isdigit() else "stream" if "://" in source else "video"
        raise SourceError(f"{source}: this {what} can't be opened or holds no frames that OpenCV can read")
    rate = capture.get(cv2.CAP_PROP_FPS)
    rate = rate if 0 < rate < 1000 else _USUAL_RATE
    return Clip(source, stem, rate / every, (height, width), capture)


def frames(clip: Clip, every: int = 1) -> Iterator[tuple[int, np.ndarray]]:
    """(number, [H, W, 3] u8 RGB) of each `every`-th frame; those between are not decoded to pixels."""
    number = 0
    try:
        while clip.capture.grab():
            if number % every == 0:
                ok, frame = clip.capture.retrieve()
                if not ok:
                    return
                yield number, cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
            number += 1
    finally:
        clip.capture.release()


def frame_count(source: str) -> int | None:
    """Frames of a video file as its header says; None for cameras and streams."""
    if "://" in source or not Path(source).exists():
        return None
    capture = cv2.VideoCapture(source)
    try:
        count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if capture.isOpened() else 1
    finally:
        capture.release()
    return count if count > 0 else None
