"""Overlays of a video's frames -> a video file."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import cv2
import numpy as np

from ovxai.errors import OutputError
from ovxai.files import draft_folder, flush, give_name, make_folder, why_not_longer
from ovxai.graph.natives import quiet_natives

#: Codecs that OpenCV's wheels can write, from the one that most players read. Browsers read VP8 and VP9, and no MPEG-4 Part 2;
#: H.264 is in none of the wheels. VP9 takes five times as long as VP8.
_CODECS = {
    "mp4": (("mp4v", ".mp4"), ("MJPG", ".avi")),
    "webm": (("VP80", ".webm"), ("VP90", ".webm")),
}
FORMATS = tuple(_CODECS)


class VideoFile:
    """A video being written; it gets its name when it is closed and was read back, so that it is whole or not there."""

    def __init__(
        self, folder: Path, stem: str, rate: float, size: tuple[int, int], *, form: str = "mp4", force: bool = True
    ) -> None:
        """Begin it in `folder`. rate: frames per second. size: (height, width). form: one of `FORMATS`.

        force: in place of whatever has its name.

        Raises:
            OutputError: the disk refused, or this OpenCV writes no such videos.
        """
        make_folder(folder)
        self._size = size
        self._force = force
        self._frames = 0
        self._stack = ExitStack()
        self.path = folder / stem
        try:
            drafts = self._stack.enter_context(draft_folder(folder))
        except OSError as error:
            raise OutputError(f"{self.path}: can't be written: {error.strerror or error}") from error
        for codec, suffix in _CODECS[form]:
            self.path = folder / f"{stem}{suffix}"
            self._draft = drafts / f"video{suffix}"
            with quiet_natives():  # WebM has no use for a codec's tag, of which OpenCV warns past all of its settings
                self._writer = cv2.VideoWriter(str(self._draft), cv2.VideoWriter.fourcc(*codec), rate, size[::-1])
            if self._writer.isOpened():
                return
        reason = why_not_longer(self._draft) or f"this OpenCV can't write {form} videos; try another --video-format"
        self._stack.close()
        raise OutputError(f"{folder / stem}: can't be written: {reason}")

    def write(self, picture: np.ndarray) -> None:
        """Append [H, W, 3] u8 RGB; streams may change their size, the video can't."""
        if picture.shape[:2] != self._size:
            picture = cv2.resize(picture, self._size[::-1])
        self._writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        self._frames += 1

    def close(self) -> Path:
        """Finish the file: read back, it has to have the frames that were written.

        Raises:
            TakenError: its name is taken meanwhile. OutputError: the disk refused. Nothing of it is left then.
        """
        self._writer.release()
        with self._stack:
            try:
                found = _count(self._draft)
                if found != self._frames:
                    reason = why_not_longer(self._draft) or "is there room on the disk?"
                    raise OutputError(f"{self.path}: only {found} of {self._frames} frames could be written: {reason}")
                flush(self._draft)
                give_name(self._draft, self.path, force=self._force)
            except OSError as error:
                raise OutputError(f"{self.path}: can't be written: {error.strerror or error}") from error
        return self.path

    def drop(self) -> None:
        """Give it up; nothing of it is left."""
        self._writer.release()
        self._stack.close()


def _count(path: Path) -> int:
    """Frames that can be decoded."""
    capture = cv2.VideoCapture(str(path))
    count = 0
    try:
        while capture.grab():
            count += 1
    finally:
        capture.release()
    return count
