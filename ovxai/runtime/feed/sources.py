"""What the user names -> pictures, one after the other: files, folders, globs, videos, cameras, streams."""

from __future__ import annotations

import functools
import glob
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import cv2
import numpy as np

from ovxai.errors import OvxaiError, SourceError
from ovxai.runtime.config import MOST_PIXELS
from ovxai.runtime.feed.images import ARRAY_SUFFIX, IMAGE_SUFFIXES, check_file_channels, check_pixels, read_image, to_pixels
from ovxai.text import is_address, without_passwords, without_user

VIDEO_SUFFIXES = frozenset((
    ".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".ts", ".m2ts", ".mts", ".3gp", ".ogv",
    ".mjpeg", ".mjpg",
))  # fmt: skip
STDIN = "-"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Broken:
    """A source that can't be explained, and the line that says why."""

    source: str
    reason: str

    @classmethod
    def of(cls, source: str, error: Exception) -> Broken:
        """Whatever went wrong with one source is this source's failure and no other's."""
        if isinstance(error, OvxaiError):
            return cls(source, str(error))
        log.debug("%s", source, exc_info=error)
        if isinstance(error, MemoryError):
            what = "there is not enough memory for it"
        elif isinstance(error, OSError):
            what = f"can't be read: {error.strerror or error}"
        else:
            what = f"unexpected {type(error).__name__}: {' '.join(str(error).split())[:200]} (--debug shows where)"
        return cls(source, f"{source}: {what}")


@dataclass(frozen=True)
class Clip:
    """A video that was opened.

    source: as it is shown. rate: frames per second of what will be written. size: (height, width). expected: frames as
    the header of a file says, exact: whether it counts them; else it is made from the duration.
    """

    source: str
    stem: str
    rate: float
    size: tuple[int, int]
    capture: Any = field(repr=False, compare=False)
    expected: int | None = None
    exact: bool = False


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
    """A file, camera or stream. kind: "image" or "video". name: to open it by; as text it is without passwords."""

    kind: str
    name: str = field(repr=False)

    def __str__(self) -> str:
        return without_passwords(self.name)

    @property
    def stem(self) -> str:
        """What files made of it are called."""
        if self.name.isdigit():
            return f"camera_{self.name}"
        return without_user(self.name) if is_address(self.name) else Path(self.name).stem


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
            try:
                found += _find(name, recursive, own)
            except Exception as error:  # a name that the system does not take, say
                found.append(Broken.of(without_passwords(name), error))
    return found


def _find(name: str, recursive: bool, own: tuple[Path, ...]) -> list[Source | Broken]:
    path = Path(name)
    if is_address(name):
        return [Source("video", name)]
    if path.is_dir():
        found = _in_folder(path, recursive)
        inside = [source for source in found if isinstance(source, Broken) or not _inside(Path(source.name), own)]
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


def _in_folder(folder: Path, recursive: bool) -> list[Source | Broken]:
    """Pictures and videos by name, arrays where there is neither; folders that can't be read are broken ones."""
    unreadable: list[Source | Broken] = []

    def note(error: OSError) -> None:
        place = str(error.filename or folder)
        unreadable.append(Broken(place, f"{place}: this folder can't be read: {error.strerror or error}"))

    paths: list[Path] = []
    for place, folders, names in os.walk(folder, onerror=note):
        paths += [Path(place, name) for name in names]
        # A link to a folder is listed with the folders; one that leads nowhere with the files.
        if not recursive:
            folders.clear()
    suffixes = {path.suffix.lower() for path in paths}
    known = (IMAGE_SUFFIXES | VIDEO_SUFFIXES) & suffixes or {ARRAY_SUFFIX}
    # Names that begin with a dot are drafts and thumbnails of other programs.
    good = [
        _file(path)
        for path in sorted(paths)
        if path.suffix.lower() in known and not path.name.startswith(".") and (path.is_file() or _leads_nowhere(path))
    ]
    return [*good, *unreadable]


def _inside(path: Path, folders: tuple[Path, ...]) -> bool:
    parent = path.parent.resolve() if folders else path
    return any(folder == parent or folder in parent.parents for folder in folders)


def _leads_nowhere(path: Path) -> bool:
    """A link whose picture is gone: it is reported as one that can't be read, not passed over."""
    return path.is_symlink() and not path.exists()


def _file(path: Path) -> Source:
    return Source("video" if path.suffix.lower() in VIDEO_SUFFIXES else "image", str(path))


def pictures(
    sources: Iterable[Source | Broken],
    *,
    limit: int | None = None,
    every: int = 1,
    stop: Callable[[], bool] = lambda: False,
    most_pixels: int | None = MOST_PIXELS,
) -> Iterator[Frame | Broken]:
    """Every picture of `sources`, videos frame by frame.

    limit: at most so many pictures in all. every: only each N-th frame of a video. stop: asked before
    each picture; once it says True no more come. most_pixels: larger pictures are broken ones; None: of any size.
    """
    count = 0
    for source in sources:
        for item in [source] if isinstance(source, Broken) else _frames_of(source, every, most_pixels):
            if stop() or (limit is not None and count >= limit):
                return
            yield item
            count += isinstance(item, Frame)


def _frames_of(source: Source, every: int, most_pixels: int | None) -> Iterator[Frame | Broken]:
    if source.kind == "image":
        yield Frame(str(source), source.stem, functools.partial(read_image, source.name, most_pixels=most_pixels))
        return
    try:
        clip = open_clip(source.name, source.stem, every, most_pixels)
        for number, picture in frames(clip, every):
            name = f"{source}#{number}"
            yield Frame(name, f"{source.stem}_{number:06d}", functools.partial(_of_video, picture, name), clip)
    except Exception as error:  # what OpenCV raises in the middle of a video, too
        yield Broken.of(str(source), error)


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


#: Containers whose header counts the frames; of others OpenCV multiplies the duration by the rate.
_COUNTING = frozenset((".mp4", ".m4v", ".mov", ".3gp", ".avi"))
#: Of a whole file: a frame that some decoders keep back, and the share of the duration that headers round away.
_KEPT_BACK, _ROUNDED = 1, 0.1


def open_clip(source: str, stem: str, every: int = 1, most_pixels: int | None = MOST_PIXELS) -> Clip:
    """Open a video file, a camera by number, or a stream by URL.

    Raises:
        SourceError: OpenCV can't open it or finds no frame, or its frames are too large.
    """
    shown = without_passwords(source)
    camera = source.isdigit() and not Path(source).exists()
    capture = cv2.VideoCapture(int(source) if camera else source)
    width, height = (int(capture.get(key)) for key in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
    if not capture.isOpened() or width <= 0 or height <= 0:
        capture.release()
        what = "camera" if source.isdigit() else "stream" if is_address(source) else "video"
        raise SourceError(f"{shown}: this {what} can't be opened or holds no frames that OpenCV can read")
    try:
        check_pixels(width * height, shown, most_pixels)
    except SourceError:
        capture.release()
        raise
    count = 0 if camera or is_address(source) else int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    rate = capture.get(cv2.CAP_PROP_FPS)
    rate = rate if 0 < rate < 1000 else _USUAL_RATE
    exact = Path(source).suffix.lower() in _COUNTING
    return Clip(shown, stem, rate / every, (height, width), capture, count if count > 0 else None, exact)


def frames(clip: Clip, every: int = 1) -> Iterator[tuple[int, np.ndarray]]:
    """(number, [H, W, 3] u8 RGB) of each `every`-th frame; those between are not decoded to pixels.

    Raises:
        SourceError: at the end, where a file holds fewer frames than its header promises.
    """
    number = 0
    at = 0.0
    try:
        while clip.capture.grab():
            if number % every == 0:
                ok, frame = clip.capture.retrieve()
                if not ok:
                    break
                yield number, cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
            number += 1
            at = clip.capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        _check_whole(clip, number, at)
    finally:
        clip.capture.release()


def _check_whole(clip: Clip, read: int, at: float) -> None:
    """Hold what was read against the header. at: the time of the last frame in seconds."""
    if clip.expected is None:
        return
    short = read < clip.expected - _KEPT_BACK
    if short and not clip.exact:  # rates that vary make the number of frames a guess, but not the duration
        duration = clip.expected / (clip.capture.get(cv2.CAP_PROP_FPS) or _USUAL_RATE)
        short = at < (1 - _ROUNDED) * duration - 0.5
    if short:
        raise SourceError(
            f"{clip.source}: only {read} of {clip.expected} frames could be read; the file is cut off or damaged, copy it again"
        )


def frame_count(source: str) -> int | None:
    """Frames of a video file as its header says; None for cameras and streams."""
    if is_address(source) or not Path(source).exists():
        return None
    capture = cv2.VideoCapture(source)
    try:
        count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if capture.isOpened() else 1
    finally:
        capture.release()
    return count if count > 0 else None
