"""What is fed: which input takes the picture, at which size, and what the other inputs get."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import openvino as ov

from ovxai.errors import OptionError, SourceError, UnsupportedModelError
from ovxai.metadata import ModelInfo
from ovxai.verification.engine import is_float

#: Sizes to try where height and width are dynamic: sides that differ show a swap of the two.
SIZES = ((224, 288), (256, 256), (224, 224), (384, 384), (320, 416), (640, 640))
CHANNELS = (3, 1, 4)


@dataclass(frozen=True)
class PictureInput:
    """index: of the model's inputs. nchw: whether channels come before height and width.

    batch, height, width are None where the model leaves them open.
    """

    index: int
    nchw: bool
    channels: int
    batch: int | None
    height: int | None
    width: int | None
    element: str


def picture_input(model: ov.Model) -> PictureInput:
    """The input that takes the picture: the first of rank four whose channels look like a picture's.

    Raises:
        UnsupportedModelError: no input has four axes.
    """
    ranked = [(index, port) for index, port in enumerate(model.inputs) if _rank(port) == 4]
    for index, port in ranked:
        shape = port.get_partial_shape()
        for nchw in _layouts(port.get_node()):
            axis = 1 if nchw else 3
            if shape[axis].is_static and shape[axis].get_length() in CHANNELS:
                return _describe(index, port, nchw)
        if shape[1].is_dynamic and shape[3].is_dynamic and (nchw := _takes_colours(model, index)) is not None:
            return _describe(index, port, nchw)
    if ranked:
        raise UnsupportedModelError(f"input {ranked[0][0]} has four axes but neither axis 1 nor axis 3 is 1, 3 or 4 channels")
    raise UnsupportedModelError("no input of the model has four axes; verify needs one that takes a picture")


def _rank(port: ov.Output) -> int:
    shape = port.get_partial_shape()
    return shape.rank.get_length() if shape.rank.is_static else -1


def _layouts(parameter: ov.Node) -> tuple[bool, ...]:
    """Which channel places to look at, the likelier first; one only where the model says its layout."""
    if parameter.layout.empty:
        return (True, False)
    return (str(parameter.layout).strip("[]").replace(",", "")[1:2] == "C",)


def _takes_colours(model: ov.Model, index: int) -> bool | None:
    """Where even the channels are open: whether three of them may stand second (True) or last (False); None: neither."""
    for nchw in _layouts(model.inputs[index].get_node()):
        trial = model.clone()
        shape = [1, 3, *SIZES[0]] if nchw else [1, *SIZES[0], 3]
        trial.get_parameters()[index].set_partial_shape(ov.PartialShape(shape))
        try:
            trial.validate_nodes_and_infer_types()
        except RuntimeError:
            continue
        return nchw
    return None


def _describe(index: int, port: ov.Output, nchw: bool) -> PictureInput:
    sizes = [None if dim.is_dynamic else dim.get_length() for dim in port.get_partial_shape()]
    batch, rest = sizes[0], sizes[1:]
    channels, height, width = rest if nchw else (rest[2], rest[0], rest[1])
    return PictureInput(index, nchw, channels or 3, batch, height, width, port.get_element_type().get_type_name())


def sizes_to_try(model: ov.Model, place: PictureInput, asked: tuple[int, int] | None) -> list[tuple[int, int]]:
    """(height, width) candidates that the model's own bounds allow.

    Raises:
        OptionError: another size was asked for than the model takes.
    """
    fixed = (place.height, place.width)
    if asked is not None:
        if any(own not in (None, wish) for own, wish in zip(fixed, asked, strict=True)):
            raise OptionError(f"size: the model takes {fixed[0]} x {fixed[1]} pictures, not {asked[0]} x {asked[1]}")
        return [asked]
    dims = list(model.inputs[place.index].get_partial_shape())[slice(2, 4) if place.nchw else slice(1, 3)]
    found = []
    for size in SIZES:
        clamped = tuple(_clamp(dim, wish) for dim, wish in zip(dims, size, strict=True))
        if clamped not in found:
            found.append(clamped)
    return found


def _clamp(dim: ov.Dimension, wish: int) -> int:
    if dim.is_static:
        return dim.get_length()
    high = dim.get_max_length()
    wish = max(dim.get_min_length(), wish)
    return wish if high < 0 else min(wish, high)


def feeds_for(model: ov.Model, place: PictureInput, pictures: np.ndarray) -> dict[int, np.ndarray]:
    """Feeds of a batch: `pictures` at their input, and ones (lengths, scales, switches) at every other."""
    feeds = {}
    for index, port in enumerate(model.inputs):
        if index == place.index:
            feeds[index] = pictures
            continue
        shape = port.get_partial_shape()
        if shape.rank.is_dynamic:
            raise UnsupportedModelError(f"input {index} has no fixed rank; verify can't feed it")
        sizes = [_clamp(dim, len(pictures) if axis == 0 else 1) for axis, dim in enumerate(shape)]
        feeds[index] = np.ones(sizes, _dtype(port))
    return feeds


def _dtype(port: ov.Output) -> np.dtype:
    return np.dtype(np.float32) if is_float(port) and not _half(port) else port.get_element_type().to_dtype()


def _half(port: ov.Output) -> bool:
    return port.get_element_type().get_type_name() in ("f16", "f64")


# Probe pictures, and pictures of the caller's, in the form the model wants.


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
    if picture.ndim != 3 or picture.shape[2] not in (1, 3, 4) or picture.dtype != np.uint8 or not picture.size:
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
