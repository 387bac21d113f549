"""Whole files or none: bytes go to another name in the same folder first."""

from __future__ import annotations

import io
import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import cv2
import numpy as np

from ovxai.errors import OutputError

#: Suffix, and settings for OpenCV. Its own settings for PNG are the fastest for photographs.
FORMATS = {
    "png": (".png", ()),
    "jpeg": (".jpg", (cv2.IMWRITE_JPEG_QUALITY, 92)),
    "webp": (".webp", (cv2.IMWRITE_WEBP_QUALITY, 90)),
}
#: PNG of pictures without texture: half the time and the bytes. Only where OpenCV (4.12) lets the row filter
#: be named, as naming the level alone makes it try all of them.
_SMOOTH_PNG = (
    (cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_SUB,
     cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_FILTERED)
    if hasattr(cv2, "IMWRITE_PNG_FILTER_SUB") else ()
)  # fmt: skip
_serial = itertools.count()


def draft_name(path: Path) -> Path:
    """A name beside `path` for the unfinished file, with the same suffix: encoders go by it."""
    return path.with_name(f".{path.stem}.{os.getpid()}.{next(_serial)}{path.suffix}")


@contextmanager
def whole_file(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """A file to write into that becomes `path` at the end; after an error `path` is as it was.

    Raises:
        OutputError: the disk refused.
    """
    draft = draft_name(path)
    try:
        with open(draft, mode, encoding=None if "b" in mode else "utf-8") as file:
            yield file
        os.replace(draft, path)
    except OSError as error:
        raise OutputError(f"{path}: can't be written: {error.strerror or error}") from error
    finally:
        draft.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` so that `path` is either as it was or whole.

    Raises:
        OutputError: the disk refused.
    """
    with whole_file(path, "wb") as file:
        file.write(data)


def encode_picture(picture: np.ndarray, form: str, *, smooth: bool = False) -> bytes:
    """[H, W] grey or [H, W, 3] RGB, u8 -> the bytes of a PNG, JPEG or WebP file.

    smooth: there is no texture in it, as in a map alone.

    Raises:
        OutputError: more pixels on a side than the format allows.
    """
    suffix, settings = FORMATS[form]
    if smooth and form == "png":
        settings = _SMOOTH_PNG
    try:
        ok, data = cv2.imencode(suffix, to_bgr(picture) if picture.ndim == 3 else picture, settings)
    except cv2.error:
        ok = False
    if not ok:
        raise OutputError(f"a picture of {picture.shape[1]}x{picture.shape[0]} can't be stored as {form}; use --format png")
    return data.tobytes()


def to_bgr(picture: np.ndarray) -> np.ndarray:
    """[H, W, 3] RGB -> BGR as OpenCV wants it; a reversed view costs its encoders more than the encoding of a JPEG."""
    return cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2BGR)


def encode_array(array: np.ndarray) -> bytes:
    """The bytes of a .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def check_folder(folder: Path) -> Path:
    """Refuse early a folder that can't be made or written.

    Raises:
        OutputError: it is a file, or it or its parent can't be written.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: is a file; give a folder to write into")
    standing = next((p for p in (folder, *folder.absolute().parents) if p.exists()), folder)
    if not standing.is_dir():
        raise OutputError(f"{folder}: {standing} is a file, so no folder can be made in it")
    if not os.access(standing, os.W_OK):
        raise OutputError(f"{folder}: {standing} can't be written")
    return folder


def make_folder(folder: Path) -> Path:
    """Make `folder` and what is above it.

    Raises:
        OutputError: the disk refused.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: can't be made: {error.strerror or error}") from error
    return folder


#: From the codec that most players read.
_CODECS = (("mp4v", ".mp4"), ("MJPG", ".avi"))


class VideoFile:
    """A video being written; it gets its name when it is closed, so that it is whole or not there."""

    def __init__(self, folder: Path, stem: str, rate: float, size: tuple[int, int]) -> None:
        make_folder(folder)
        for codec, suffix in _CODECS:
            self.path = folder / f"{stem}{suffix}"
            self._draft = draft_name(self.path)
            self._writer = cv2.VideoWriter(str(self._draft), cv2.VideoWriter.fourcc(*codec), rate, size[::-1])
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
