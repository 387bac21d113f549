"""Pictures and arrays -> the bytes of their files."""

from __future__ import annotations

import io

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
