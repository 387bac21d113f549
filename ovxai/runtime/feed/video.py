"""Videos in and out, by OpenCV."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ovxai.errors import OutputError, SourceError
from ovxai.runtime.write.files import draft_name, make_folder

#: For cameras and streams that don't say how fast they are.
_USUAL_RATE = 25.0
_CODECS = (("mp4v", ".mp4"), ("MJPG", ".avi"))


@dataclass(frozen=True)
class Clip:
    """A video that was opened. rate: frames a second of what will be written. size: (height, width)."""

    source: str
    stem: str
    rate: float
    size: tuple[int, int]
    capture: Any = field(repr=False, compare=False)


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


class VideoFile:
    """A video being written; it gets its name when it is closed, so that it is whole or not there."""

    def __init__(self, folder: Path, stem: str, rate: float, size: tuple[int, int]) -> None:
        make_folder(folder)
        for codec, suffix in _CODECS:
            self.path = folder / f"{stem}{suffix}"
            self._draft = draft_name(self.path)
            self._writer = cv2.VideoWriter(str(self._draft), cv2.VideoWriter_fourcc(*codec), rate, size[::-1])
            if self._writer.isOpened():
                self._size = size
                return
            self._draft.unlink(missing_ok=True)
        raise OutputError(f"{folder / stem}: this OpenCV can write neither MPEG-4 nor Motion JPEG")

    def write(self, picture: np.ndarray) -> None:
        """Append [H, W, 3] u8 RGB; streams may change their size, the video can't."""
        if picture.shape[:2] != self._size:
            picture = cv2.resize(picture, self._size[::-1])
        self._writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))

    def close(self) -> Path:
        """Finish the file.

        Raises:
            OutputError: the disk refused.
        """
        self._writer.release()
        try:
            os.replace(self._draft, self.path)
        except OSError as error:
            self._draft.unlink(missing_ok=True)
            raise OutputError(f"{self.path}: can't be written: {error.strerror or error}") from error
        return self.path
