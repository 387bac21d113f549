"""Pictures and arrays -> the bytes of their files."""

from __future__ import annotations

import importlib
import io
import struct
import zlib
from collections.abc import Callable

import cv2
import numpy as np

from ovxai.errors import OutputError


def _from_isal() -> Callable[[memoryview, int], bytes] | None:
    """Intel's ISA-L, in a quarter of zlib's time: (data, level) -> data. None: it is not installed, and not needed to run.

    How it packs hangs on what its memory held before: the bytes of a file may differ from run to run, its pixels don't.
    """
    try:
        found: Callable[[memoryview, int], bytes] = importlib.import_module("isal.isal_zlib").compress
    except ImportError:
        return None
    return found


#: `pip install "ovxai[fast]"` brings it.
_isal = _from_isal()
#: Suffix, and settings for OpenCV.
FORMATS = {
    "png": (".png", ()),
    "jpeg": (".jpg", (cv2.IMWRITE_JPEG_QUALITY, 92)),
    "webp": (".webp", (cv2.IMWRITE_WEBP_QUALITY, 90)),
}
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_LEFT, _ABOVE = 1, 2  # row filters of PNG: what is stored is the difference to that neighbour


def encode_picture(picture: np.ndarray, form: str, *, smooth: bool = False) -> bytes:
    """[H, W] grey or [H, W, 3] RGB, u8 -> the bytes of a PNG, JPEG or WebP file.

    smooth: there is no texture in it, as in a map alone.

    Raises:
        OutputError: more pixels on a side than the format allows.
    """
    if form == "png":
        return _png(picture, smooth=smooth)
    suffix, settings = FORMATS[form]
    try:
        ok, data = cv2.imencode(suffix, to_bgr(picture) if picture.ndim == 3 else picture, settings)
    except cv2.error:
        ok = False
    if not ok:
        raise OutputError(f"a picture of {picture.shape[1]}x{picture.shape[0]} can't be stored as {form}; use --format png")
    return data.tobytes()


def _png(picture: np.ndarray, *, smooth: bool) -> bytes:
    """The bytes of a PNG (ISO/IEC 15948), with one row filter for all rows.

    OpenCV's encoder wants BGR, allows no other compressor than its own, and takes four times as long as ISA-L.
    """
    height, width = picture.shape[:2]
    colour = {1: 0, 3: 2}[1 if picture.ndim == 2 else picture.shape[2]]
    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    data = _deflate(_filtered(picture.reshape(height, -1), 3 if colour else 1, smooth=smooth).data, smooth=smooth)
    return b"".join((_SIGNATURE, *_chunk(b"IHDR", header), *_chunk(b"IDAT", data), *_chunk(b"IEND", b"")))


def _filtered(rows: np.ndarray, channels: int, *, smooth: bool) -> np.ndarray:
    """[H, bytes] u8 -> [H, 1 + bytes]: the number of the filter, then differences. In maps the left neighbour is the nearest."""
    found = np.empty((rows.shape[0], rows.shape[1] + 1), np.uint8)
    found[:, 0] = _LEFT if smooth else _ABOVE
    if smooth:
        found[:, 1 : 1 + channels] = rows[:, :channels]
        np.subtract(rows[:, channels:], rows[:, :-channels], out=found[:, 1 + channels :])
    else:
        found[0, 1:] = rows[0]
        np.subtract(rows[1:], rows[:-1], out=found[1:, 1:])
    return found


def _deflate(data: memoryview, *, smooth: bool) -> bytes:
    if _isal is not None:
        return _isal(data, 1)
    # In photographs looking for longer repetitions than runs costs a third and saves nothing.
    packer = zlib.compressobj(1, strategy=zlib.Z_FILTERED if smooth else zlib.Z_RLE)
    return packer.compress(data) + packer.flush()


def _chunk(kind: bytes, data: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    return struct.pack(">I", len(data)), kind, data, struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))


def to_bgr(picture: np.ndarray) -> np.ndarray:
    """[H, W, 3] RGB -> BGR as OpenCV wants it; a reversed view costs its encoders more than the encoding of a JPEG."""
    return cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2BGR)


def encode_array(array: np.ndarray) -> bytes:
    """The bytes of a .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()
