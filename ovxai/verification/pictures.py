"""Probe pictures, and pictures of the caller's, in the form the model wants."""

from __future__ import annotations

import numpy as np

from ovxai.errors import OptionError, SourceError
from ovxai.metadata import ModelInfo
from ovxai.verification.inputs import PictureInput


def noise(seed: int, height: int, width: int, channels: int) -> np.ndarray:
    """A smooth random picture [H, W, channels] u8: blotches of several sizes, as photographs have, plus a little grain."""
    source = np.random.default_rng(seed)
    picture = np.zeros((height, width, channels))
    for cells, weight in ((3, 1.0), (6, 0.7), (12, 0.5), (24, 0.35)):
        grid = source.standard_normal((min(cells, height), min(cells, width), channels))
        picture += weight * _stretch(grid, height, width)
    picture += 0.15 * source.standard_normal(picture.shape)
    low, high = picture.min(), picture.max()
    return np.round(255 * (picture - low) / max(high - low, 1e-9)).astype(np.uint8)


def _stretch(grid: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear, corner to corner."""
    rows = np.linspace(0, grid.shape[0] - 1, height)
    columns = np.linspace(0, grid.shape[1] - 1, width)
    top, left = np.floor(rows).astype(int), np.floor(columns).astype(int)
    bottom, right = np.minimum(top + 1, grid.shape[0] - 1), np.minimum(left + 1, grid.shape[1] - 1)
    down, across = (rows - top)[:, None, None], (columns - left)[None, :, None]
    upper = grid[top][:, left] * (1 - across) + grid[top][:, right] * across
    lower = grid[bottom][:, left] * (1 - across) + grid[bottom][:, right] * across
    return upper * (1 - down) + lower * down


def fit(picture: np.ndarray, place: PictureInput, height: int, width: int) -> np.ndarray:
    """`picture` (HWC, HW or HWC with alpha; u8, RGB) at the input's size and channel count.

    Raises:
        SourceError: not an array of that kind.
    """
    if picture.ndim == 2:
        picture = picture[:, :, None]
    if (
        picture.ndim != 3
        or picture.shape[2] not in (1, 3, 4)
        or picture.dtype != np.uint8
        or not picture.size
    ):
        raise SourceError(f"image: give HWC u8 RGB, not {picture.dtype} of shape {list(picture.shape)}")
    import cv2

    picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA).reshape(height, width, -1)
    if picture.shape[2] == 4 and place.channels != 4:
        picture = picture[:, :, :3]
    if place.channels == 1 and picture.shape[2] == 3:
        picture = np.round(picture.mean(axis=2, keepdims=True)).astype(np.uint8)
    if picture.shape[2] == 1 and place.channels == 3:
        picture = np.repeat(picture, 3, axis=2)
    if picture.shape[2] != place.channels:
        raise SourceError(f"image: it has {picture.shape[2]} channels, the model wants {place.channels}")
    return picture


def prepare(picture: np.ndarray, place: PictureInput, info: ModelInfo) -> np.ndarray:
    """[H, W, C] u8 -> [1, C, H, W] or [1, H, W, C] as the model wants it.

    With mean and scale of `model_info` they are applied; without them floats are fed as 0..1, and
    integers, or a model that preprocesses inside, as 0..255.
    """
    values = picture[:, :, ::-1] if info.reverse_input_channels and picture.shape[2] == 3 else picture
    dtype = _numpy_type(place.element)
    if np.issubdtype(dtype, np.floating):
        values = _normalised(values.astype(np.float64), info)
    values = values.transpose(2, 0, 1) if place.nchw else values
    return np.ascontiguousarray(values[None]).astype(dtype)


def _normalised(values: np.ndarray, info: ModelInfo) -> np.ndarray:
    if info.embedded_processing:
        return values
    if info.mean is None and info.scale is None:
        return values / 255
    return (values - np.array(info.mean or (0.0,))) / np.array(info.scale or (1.0,))


def _numpy_type(element: str) -> np.dtype:
    known = {
        "f32": "f4",
        "f16": "f2",
        "f64": "f8",
        "u8": "u1",
        "i8": "i1",
        "i32": "i4",
        "i64": "i8",
        "dynamic": "f4",
    }
    if element not in known:
        raise OptionError(f"the picture input has the element type {element}; verify can't feed it")
    return np.dtype(known[element])
