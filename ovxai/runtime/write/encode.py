"""Pictures and arrays -> the bytes of their files."""

from __future__ import annotations

import io

import cv2
import numpy as np

from ovxai.errors import OutputError


def _png(row_filter: str, strategy: str) -> tuple[int, ...]:
    """OpenCV's settings for the first level of compression with one row filter; none where it can't be named."""
    chosen: int | None = getattr(cv2, f"IMWRITE_PNG_FILTER_{row_filter}", None)
    if chosen is None:
        return ()
    how: int = getattr(cv2, f"IMWRITE_PNG_STRATEGY_{strategy}")
    return (cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_FILTER, chosen, cv2.IMWRITE_PNG_STRATEGY, how)


#: Settings for PNG by name. Only where OpenCV (4.12) lets the row filter be named, as naming the level alone makes it try all
#: of them; its own settings are the second best.
_PNG_OF_PHOTOS = _png("UP", "RLE")  # looking for longer repetitions than runs costs a third and saves nothing
_PNG_OF_MAPS = _png("SUB", "FILTERED")  # half the time and the bytes

#: Suffix, and settings for OpenCV.
FORMATS = {
    "png": (".png", _PNG_OF_PHOTOS),
    "jpeg": (".jpg", (cv2.IMWRITE_JPEG_QUALITY, 92)),
    "webp": (".webp", (cv2.IMWRITE_WEBP_QUALITY, 90)),
}


def encode_picture(picture: np.ndarray, form: str, *, smooth: bool = False) -> bytes:
    """[H, W] grey or [H, W, 3] RGB, u8 -> the bytes of a PNG, JPEG or WebP file.

    smooth: there is no texture in it, as in a map alone.

    Raises:
        OutputError: more pixels on a side than the format allows.
    """
    suffix, settings = FORMATS[form]
    if smooth and form == "png":
        settings = _PNG_OF_MAPS
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
