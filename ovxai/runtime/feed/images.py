"""Picture files -> RGB u8 arrays.

Rules, for everything that OpenCV reads: the EXIF orientation is applied; 16-bit is brought to 8 by
its full range; float (HDR, TIFF) is taken as 0..1; grey becomes three equal channels; what is
transparent is laid on white; CMYK is converted; of animations the first frame counts.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from ovxai.errors import SourceError

IMAGE_SUFFIXES = frozenset(
    [
        ".png",
        ".apng",
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".jp2",
        ".bmp",
        ".dib",
        ".webp",
        ".tif",
        ".tiff",
        ".gif",
        ".avif",
        ".pbm",
        ".pgm",
        ".ppm",
        ".pnm",
        ".pxm",
        ".sr",
        ".ras",
        ".hdr",
        ".pic",
    ]
)


def read_image(path: str | Path) -> np.ndarray:
    """The picture in `path`: [H, W, 3] u8 RGB.

    Raises:
        SourceError: no such file, empty, cut off, or not a picture.
    """
    path = Path(path)
    try:
        # cv2.imread fails on non-ASCII names on some systems; bytes it always understands.
        data = path.read_bytes()  # also what a pipe gives
    except FileNotFoundError:
        raise SourceError(f"{path}: no such file") from None
    except OSError as error:
        raise SourceError(f"{path}: can't be read: {error.strerror or error}") from error
    return decode_image(data, str(path))


def decode_image(data: bytes | bytearray | memoryview, name: str) -> np.ndarray:
    """The picture in the bytes of a file: [H, W, 3] u8 RGB. `name` is for messages.

    Raises:
        SourceError: empty, cut off, or not a picture.
    """
    content = bytes(data)
    if not content:
        raise SourceError(f"{name}: the file is empty")
    if _is_cut_jpeg(content):
        raise SourceError(f"{name}: the file is cut off; copy it again")
    pixels = _decode(np.frombuffer(content, np.uint8), content)
    if pixels is None and content[:4] == b"GIF8":
        pixels = _first_frame(name)
    if pixels is None or pixels.size == 0:
        raise SourceError(f"{name}: not a picture that OpenCV can read, or damaged")
    return to_rgb(pixels, name)


def _decode(data: np.ndarray, content: bytes) -> np.ndarray | None:
    try:
        if _may_be_transparent(content):
            pixels = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
            if pixels is not None and pixels.ndim == 3 and pixels.shape[2] == 4:
                return pixels
        return cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    except cv2.error:  # more pixels than OpenCV allows, among others
        return None


def _may_be_transparent(content: bytes) -> bool:
    """By the header, so that the bulk of all pictures is decoded once only."""
    if content.startswith((b"\xff\xd8", b"BM", b"P")):  # JPEG, BMP, PPM
        return False
    if content.startswith(b"\x89PNG"):
        return content[25:26] in (b"\x04", b"\x06") or b"tRNS" in content[: max(content.find(b"IDAT"), 0)]
    if content[8:16] == b"WEBPVP8 ":
        return False
    if content[8:16] == b"WEBPVP8X":
        return bool(content[20] & 0x10)
    return True


def _is_cut_jpeg(content: bytes) -> bool:
    """Whether a JPEG lacks its end; OpenCV before 4.9 fills such pictures up with grey."""
    if not content.startswith(b"\xff\xd8"):
        return False
    at = 2
    while at + 4 <= len(content) and content[at] == 0xFF and content[at + 1] != 0xDA:
        at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")  # a thumbnail has an end of its own: skip it
    return b"\xff\xd9" not in content[at:]


def _first_frame(path: str) -> np.ndarray | None:
    """Of a GIF, for OpenCV before 4.11, which has a decoder for it only among the video ones."""
    capture = cv2.VideoCapture(path)
    try:
        return capture.read()[1]
    finally:
        capture.release()


def to_rgb(pixels: np.ndarray, name: str, channel_order: str = "bgr") -> np.ndarray:
    """[H, W], [H, W, 1], [H, W, 3] or [H, W, 4] of any number type -> [H, W, 3] u8 RGB.

    channel_order: "bgr" (OpenCV's) or "rgb", of what comes in.

    Raises:
        SourceError: not the shape of a picture.
    """
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3, 4) or 0 in pixels.shape:
        raise SourceError(f"{name}: an array of shape {pixels.shape} is not a picture; give [H, W, 3]")
    pixels = _to_u8(pixels, name)
    if pixels.shape[2] == 4:
        pixels = _on_white(pixels)
    pixels = np.ascontiguousarray(pixels)
    # OpenCV moves channels many times faster than NumPy's views do.
    if pixels.shape[2] == 1:
        return cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB)
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB) if channel_order == "bgr" else pixels


def _to_u8(pixels: np.ndarray, name: str) -> np.ndarray:
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype == bool:
        return pixels.astype(np.uint8) * 255
    if pixels.dtype == np.uint16:
        return ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if np.issubdtype(pixels.dtype, np.floating):
        return np.nan_to_num(pixels * 255.0, nan=0.0).clip(0, 255).round().astype(np.uint8)
    if pixels.min() >= 0 and pixels.max() <= 255:
        return pixels.astype(np.uint8)
    raise SourceError(f"{name}: {pixels.dtype} values beyond 0..255 have no known meaning as a picture; give uint8")


def _on_white(pixels: np.ndarray) -> np.ndarray:
    alpha = pixels[:, :, 3:].astype(np.uint16)
    return ((pixels[:, :, :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
