"""Picture files and arrays -> u8 pixels in the channels that a model takes.

Rules, for everything that OpenCV reads: the EXIF orientation is applied; 16-bit is brought to 8 by
its full range; float (HDR, TIFF) is taken as 0..1; grey becomes three equal channels; what is
transparent is laid on white, unless the model takes alpha; CMYK is converted; of animations the first frame counts.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from ovxai.errors import SourceError
from ovxai.files import load_array
from ovxai.runtime.config import MOST_PIXELS
from ovxai.runtime.feed.arrays import check_range
from ovxai.runtime.feed.header import is_cut_off, pixels_of

#: Channels of pixels in colour, also for models that look at grey; and with alpha behind them.
RGB, RGBA = 3, 4
#: Of files that hold an array as NumPy saves it, [H, W, channels]: pictures of any number of channels.
ARRAY_SUFFIX = ".npy"
IMAGE_SUFFIXES = frozenset((
    ".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".jp2", ".bmp", ".dib", ".webp", ".tif", ".tiff", ".gif", ".avif", ".pbm",
    ".pgm", ".ppm", ".pnm", ".pxm", ".sr", ".ras", ".hdr", ".pic",
))  # fmt: skip


def check_file_channels(channels: int, name: str) -> None:
    """Refuse files for a model whose pictures have other channels than picture files hold.

    Raises:
        SourceError: neither RGB nor RGB with alpha.
    """
    if channels not in (RGB, RGBA):
        raise SourceError(
            f"{name}: the model takes pictures of {channels} channels, which no picture file holds; "
            f"give .npy files or ovxai.Explainer arrays [H, W, {channels}]"
        )


def read_image(path: str | Path, channels: int = RGB, most_pixels: int | None = MOST_PIXELS) -> np.ndarray:
    """The picture in `path`: [H, W, channels] u8, RGB or RGBA; of a .npy file any channels. most_pixels: None for any size.

    Raises:
        SourceError: no such file, empty, cut off, too large, or not a picture; or `channels` that files do not hold.
    """
    path = Path(path)
    if path.suffix.lower() == ARRAY_SUFFIX:
        array = load_array(path)
        check_pixels(int(np.prod(array.shape[:2])), str(path), most_pixels)
        check_range(array, str(path))
        return to_pixels(array, str(path), channels)
    check_file_channels(channels, str(path))
    try:
        # cv2.imread fails on non-ASCII names on some systems; bytes it always understands.
        data = path.read_bytes()  # also what a pipe gives
    except FileNotFoundError:
        raise SourceError(f"{path}: no such file") from None
    except OSError as error:
        raise SourceError(f"{path}: can't be read: {error.strerror or error}") from error
    return decode_image(data, str(path), channels, most_pixels)


def decode_image(
    data: bytes | bytearray | memoryview, name: str, channels: int = RGB, most_pixels: int | None = MOST_PIXELS
) -> np.ndarray:
    """The picture in the bytes of a file: [H, W, channels] u8, RGB or RGBA. `name` is for messages.

    Raises:
        SourceError: empty, cut off, too large, or not a picture; or `channels` that files do not hold.
    """
    check_file_channels(channels, name)
    content = bytes(data)
    if not content:
        raise SourceError(f"{name}: the file is empty")
    if is_cut_off(content):
        raise SourceError(f"{name}: the file is cut off; copy it again")
    check_pixels(pixels_of(content), name, most_pixels)
    pixels = _decode(np.frombuffer(content, np.uint8), content)
    if pixels is None and content[:4] == b"GIF8":
        pixels = _first_frame(name)
    if pixels is None or pixels.size == 0:
        raise SourceError(f"{name}: not a picture that OpenCV can read, or damaged")
    return to_pixels(pixels, name, channels, "bgr")


def check_pixels(count: int | None, name: str, most: int | None) -> None:
    """Refuse a picture of more than `most` pixels. count: None where it is unknown; most: None for any.

    Raises:
        SourceError: says both numbers.
    """
    if count is not None and most is not None and count > most:
        raise SourceError(f"{name}: a picture of {count:,} pixels is over the limit of {most:,}; --max-pixels raises it")


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


def _first_frame(path: str) -> np.ndarray | None:
    """Of a GIF, for OpenCV before 4.11, which has a decoder for it only among the video ones."""
    capture = cv2.VideoCapture(path)
    try:
        return capture.read()[1]
    finally:
        capture.release()


def to_pixels(array: np.ndarray, name: str, channels: int = RGB, channel_order: str = "rgb") -> np.ndarray:
    """[H, W] or [H, W, C] of any number type -> [H, W, channels] u8.

    channels: 3 (RGB) and 4 (RGBA) are made of 1, 3 or 4; any other number has to be what comes in.
    channel_order: "rgb", or "bgr" (OpenCV's), of colours that come in. name: for messages.

    Raises:
        SourceError: not the shape of a picture, or not of this one.
    """
    if array.ndim == 2:
        array = array[:, :, None]
    allowed = (1, RGB, RGBA) if channels in (RGB, RGBA) else (channels,)
    if array.ndim != 3 or array.shape[2] not in allowed or 0 in array.shape:
        raise SourceError(f"{name}: an array of shape {array.shape} is not a picture; give [H, W, {channels}]")
    pixels = np.ascontiguousarray(_to_u8(array, name))
    if channels not in (RGB, RGBA):
        return pixels
    # OpenCV moves channels many times faster than NumPy's views do.
    if pixels.shape[2] == 1:
        return cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB if channels == RGB else cv2.COLOR_GRAY2RGBA)
    if pixels.shape[2] == RGBA and channels == RGB:
        pixels = np.ascontiguousarray(_on_white(pixels))
    if pixels.shape[2] == RGB and channels == RGBA:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2RGBA)  # opaque
    if channel_order == "bgr":
        return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB if channels == RGB else cv2.COLOR_BGRA2RGBA)
    return pixels


def to_display(pixels: np.ndarray) -> np.ndarray:
    """Pixels of a model's channels -> [H, W, 3] u8 RGB for people: alpha on white; of others the first three, or one as grey."""
    count = pixels.shape[2]
    if count == RGB:
        return pixels
    if count == RGBA:
        return _on_white(pixels)
    return np.ascontiguousarray(pixels[:, :, [0, 1, 2] if count > RGB else [0, 0, 0]])


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
