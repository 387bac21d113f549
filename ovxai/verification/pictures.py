"""The pictures that a model is verified with: made or given, in the form that it wants, and in batches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import openvino as ov

from ovxai.errors import OptionError, OvxaiError, SourceError, UnsupportedModelError
from ovxai.graph.picture import PictureInput, pixel_values
from ovxai.metadata import ModelInfo
from ovxai.verification.engine import Engine, is_float
from ovxai.verification.maps import sampled

#: Sizes to try where height and width are dynamic: sides that differ show a swap of the two.
SIZES = ((224, 288), (256, 256), (224, 224), (384, 384), (320, 416), (640, 640))
#: How many pictures can be made of one by mirroring it.
MIRRORED = 4
#: More numbers than this hold no size, scale or switch.
LONG = 16


@dataclass(frozen=True)
class Batch:
    """Pictures that go through the model together.

    pictures: prepared, [N, ...]. ids: which picture each is. apart: whether each has a definition of its own.
    """

    pictures: np.ndarray
    ids: tuple[int, ...]
    apart: bool

    def feeds(self, model: ov.Model, place: PictureInput) -> dict[int, np.ndarray]:
        """Arrays for all inputs of `model`, by index."""
        return feeds_for(model, place, self.pictures)

    def alone(self, row: int) -> Batch:
        """Only picture `row`, as a batch of one."""
        return Batch(self.pictures[row : row + 1], self.ids[row : row + 1], apart=True)


def make_batches(
    plain: ov.Model,
    place: PictureInput,
    image: np.ndarray | None,
    samples: int,
    seed: int,
    size: tuple[int, int] | None,
) -> tuple[list[Batch], list[str]]:
    """The batches to verify, and notes.

    image: [H, W, C] u8 RGB, or [N, ...] to be fed as it is; None: smooth noise from `seed`. samples: how many
    pictures at least. size: (height, width) where the model leaves them open.

    A static batch is filled with different pictures. A dynamic one is tried alone and by two or more,
    because maps may leak from picture to picture only there.

    Raises:
        OptionError: the model takes no pictures of `size`. SourceError: `image` is no picture.
    """
    if image is not None and image.ndim == 4:
        return [Batch(image, tuple(range(len(image))), apart=place.batch is None)], []
    info = ModelInfo.read(plain)
    height, width = _size_that_runs(plain, place, info, size, seed)
    notes = [f"dynamic height and width: verified at {height} x {width}"] if place.open_size else []
    total = max(samples, 2) if place.batch is None else -(-samples // place.batch) * place.batch
    made = [_picture(image, number, seed, place, height, width) for number in range(total)]
    stack = np.concatenate([prepare(picture, place, info) for picture in made])
    if place.batch is not None:
        starts = range(0, total, place.batch)
        return [Batch(stack[i : i + place.batch], tuple(range(i, i + place.batch)), apart=False) for i in starts], notes
    together = Batch(stack, tuple(range(total)), apart=True)
    if _runs(plain, together, place):
        return [together.alone(0), together], notes
    notes.append(f"the plain model itself does not take a batch of {total}; verified with single pictures")
    return [together.alone(row) for row in range(total)], notes


def _size_that_runs(
    plain: ov.Model, place: PictureInput, info: ModelInfo, asked: tuple[int, int] | None, seed: int
) -> tuple[int, int]:
    """(height, width): the first that the plain model runs at; the last one is taken untried."""
    *earlier, last = sizes_to_try(plain, place, asked)
    for height, width in earlier:
        picture = prepare(noise(seed, height, width, place.channels), place, info)
        if _runs(plain, Batch(np.repeat(picture, place.batch or 1, axis=0), (0,), apart=True), place):
            return height, width
    return last


def _runs(plain: ov.Model, batch: Batch, place: PictureInput) -> bool:
    try:
        Engine(plain)(batch.feeds(plain, place))
    except OvxaiError:
        return False
    return True


def _picture(image: np.ndarray | None, number: int, seed: int, place: PictureInput, height: int, width: int) -> np.ndarray:
    """[height, width, C] u8. The caller's picture first, then its mirror images, which are as realistic, then their negatives."""
    if image is None:
        return noise(seed + number, height, width, place.channels)
    mirrored = image[:: (-1 if number & 2 else 1), :: (-1 if number & 1 else 1)]
    picture = fit(np.ascontiguousarray(mirrored), place, height, width)
    return picture if number < MIRRORED else 255 - picture


def noise(seed: int, height: int, width: int, channels: int) -> np.ndarray:
    """A smooth random picture [H, W, channels] u8: blotches of several sizes, as photographs have, plus a little grain."""
    source = np.random.default_rng(seed)
    picture = np.zeros((height, width, channels))
    for cells, weight in ((3, 1.0), (6, 0.7), (12, 0.5), (24, 0.35)):
        grid = source.standard_normal((min(cells, height), min(cells, width), channels))
        rows, columns = np.linspace(0, grid.shape[0] - 1, height), np.linspace(0, grid.shape[1] - 1, width)
        picture += weight * sampled(grid.transpose(2, 0, 1), rows, columns).transpose(1, 2, 0)
    picture += 0.15 * source.standard_normal(picture.shape)
    low, high = picture.min(), picture.max()
    return np.round(255 * (picture - low) / max(high - low, 1e-9)).astype(np.uint8)


def fit(picture: np.ndarray, place: PictureInput, height: int, width: int) -> np.ndarray:
    """`picture` ([H, W], [H, W, C] or with alpha; u8, RGB) at the input's size and channel count.

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
    if picture.shape[2] == 3 and place.channels == 4:
        picture = np.dstack([picture, np.full((height, width), 255, np.uint8)])
    if picture.shape[2] != place.channels:
        raise SourceError(f"image: it has {picture.shape[2]} channels, the model wants {place.channels}")
    return picture


def prepare(picture: np.ndarray, place: PictureInput, info: ModelInfo) -> np.ndarray:
    """[H, W, C] u8 -> [1, C, H, W], [1, H, W, C] or [1, H, W] as the model wants it, with mean and scale of `model_info`.

    Raises:
        UnsupportedModelError: the input has a number type that no picture comes in.
        OptionError: mean or scale of another number of channels.
    """
    return pixel_values(place, info)(picture)[None]


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
    shape = model.inputs[place.index].get_partial_shape()
    down, across = (shape[axis] for axis in place.axes)
    allowed = [(_clamp(down, height), _clamp(across, width)) for height, width in SIZES]
    return list(dict.fromkeys(allowed))


def _clamp(dim: ov.Dimension, wish: int) -> int:
    """`wish`, or what comes nearest to it within the bounds of `dim`."""
    if dim.is_static:
        return int(dim.get_length())
    high = int(dim.get_max_length())
    wish = max(int(dim.get_min_length()), wish)
    return wish if high < 0 else min(wish, high)


def feeds_for(model: ov.Model, place: PictureInput, pictures: np.ndarray) -> dict[int, np.ndarray]:
    """Feeds of a batch by input index: `pictures` at their input; at every other ones (lengths, scales, switches), with
    noise on long ones of floats (another picture, features of texts).

    pictures: [N, ...], also where the input takes one without a batch.

    Raises:
        UnsupportedModelError: an input whose rank is open.
    """
    feeds = {}
    for index, port in enumerate(model.inputs):
        if index == place.index:
            feeds[index] = pictures if place.batched else pictures[0]
            continue
        shape = port.get_partial_shape()
        if shape.rank.is_dynamic:
            raise UnsupportedModelError(f"input {index} has no fixed rank; verify can't feed it")
        sizes = [_clamp(dim, len(pictures) if axis == 0 else 1) for axis, dim in enumerate(shape)]
        kind = _number_type(port)
        feeds[index] = np.ones(sizes, kind)
        if is_float(port) and feeds[index].size > LONG:
            feeds[index] = np.random.default_rng(index).uniform(0.5, 1.5, sizes).astype(kind)
    return feeds


def _number_type(port: ov.Output) -> np.dtype:
    # NumPy knows no bf16; OpenVINO converts f32 on its way in.
    narrow = is_float(port) and port.get_element_type().get_type_name() not in ("f16", "f64")
    return np.dtype(np.float32) if narrow else np.dtype(port.get_element_type().to_dtype())
