"""Picture -> input tensor, as Model API does it from rt_info `model_info`."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import openvino as ov

from ovxai.errors import OptionError
from ovxai.graph.picture import PictureInput, PixelValues, pixel_values
from ovxai.metadata import Feeding, ModelInfo
from ovxai.options import RESIZE_TYPES, check_feeding
from ovxai.runtime.feed.geometry import Geometry, Size, fit
from ovxai.runtime.feed.images import RGB

#: Feature pyramids halve the picture five times; other sizes break their additions.
_MULTIPLE = 32


@dataclass(frozen=True)
class PreprocessOptions:
    """What the caller says instead of rt_info; None: as rt_info says, else nothing is done.

    mean, scale_values: one value, or one per channel, in 0..255 units and the order the model wants.
    input_size: (height, width) for models with a dynamic input.
    """

    mean: tuple[float, ...] | None = None
    scale_values: tuple[float, ...] | None = None
    resize_type: str | None = None
    pad_value: int | None = None
    reverse_input_channels: bool | None = None
    input_size: Size | None = None

    def __post_init__(self) -> None:
        check_feeding(
            Feeding(self.mean, self.scale_values, self.resize_type, self.pad_value, self.reverse_input_channels)
        )  # fmt: skip


@dataclass(frozen=True)
class Preprocessor:
    """How pictures become tensors for one model. Make it with `make_preprocessor`.

    canvas: (height, width) of the network's input; None: the picture's own, in steps of 32.
    embedded: the graph resizes and normalises by itself.
    """

    values: PixelValues
    resize_type: str
    pad_value: int
    canvas: tuple[int | None, int | None]
    embedded: bool

    @property
    def channels(self) -> int:
        """Of the pixels that it takes: 3 (RGB, also where the model sees grey), 4 (RGBA), else the model's own number."""
        own = self.values.picture.channels
        return RGB if own == 1 else own

    @property
    def same_size(self) -> bool:
        """Whether all pictures become tensors of one shape, so that they can share a batch."""
        return None not in self.canvas and not self.embedded

    def __call__(self, picture: np.ndarray) -> tuple[np.ndarray, Geometry]:
        """[H, W, channels] u8 -> tensor without batch axis ([C, h, w] or [h, w, C]) and where it came from."""
        height, width = picture.shape[:2]
        canvas = (self.canvas[0] or _rounded(height), self.canvas[1] or _rounded(width))
        geometry = fit((height, width), canvas, self.resize_type)
        pixels = picture if self.embedded else _place(picture, geometry, self.pad_value)
        if self.values.picture.channels == 1:
            pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
        return self.values(pixels), geometry


def make_preprocessor(
    model: ov.Model, target: PictureInput, info: ModelInfo, options: PreprocessOptions
) -> tuple[Preprocessor, tuple[str, ...]]:
    """The preprocessing of `model`, and notes for the person who runs it.

    Raises:
        OptionError: mean or scale asked for that can't be applied to this input.
    """
    values = pixel_values(
        target, info, mean=options.mean, scale=options.scale_values, reverse=options.reverse_input_channels
    )  # fmt: skip
    return Preprocessor(
        values=values,
        resize_type=_resize_type(options.resize_type or info.resize_type),
        pad_value=options.pad_value if options.pad_value is not None else info.pad_value or 0,
        canvas=_canvas(model, target, info, options.input_size),
        embedded=info.embedded_processing,
    ), tuple(filter(None, [values.unsaid]))


def _resize_type(name: str | None) -> str:
    # An unknown word in somebody's rt_info should not stop the run; stretching is what most exports mean.
    return name if name is not None and name in RESIZE_TYPES else "standard"


def _canvas(model: ov.Model, target: PictureInput, info: ModelInfo, asked: Size | None) -> tuple[int | None, int | None]:
    """Height and width that the network works on; None: the picture's own."""
    fixed = (target.height, target.width)
    if asked is not None and not info.embedded_processing:
        if any(f is not None and f != a for f, a in zip(fixed, asked)):
            raise OptionError(f"input size: {asked[0]}x{asked[1]} does not fit the model's {_size_text(fixed)}")
        return asked
    if info.embedded_processing or None in fixed:
        said = (_said_length(model, "orig_height"), _said_length(model, "orig_width"))
        if None not in said:
            return said
    return fixed


def _size_text(size: tuple[int | None, int | None]) -> str:
    return "x".join("?" if length is None else str(length) for length in size)


def _said_length(model: ov.Model, key: str) -> int | None:
    if not model.has_rt_info(["model_info", key]):
        return None
    text = model.get_rt_info(["model_info", key]).astype(str)
    return int(text) if text.isdigit() and int(text) > 0 else None


def _rounded(length: int) -> int:
    return max(_MULTIPLE, round(length / _MULTIPLE) * _MULTIPLE)


def _place(picture: np.ndarray, geometry: Geometry, pad_value: int) -> np.ndarray:
    x1, y1, x2, y2 = geometry.window_box()
    left, top, width, height = (int(value) for value in geometry.content)
    seen = picture[y1:y2, x1:x2]
    if seen.shape[:2] != (height, width):
        seen = cv2.resize(seen, (width, height), interpolation=cv2.INTER_LINEAR)
    if (height, width) == geometry.canvas:
        return seen
    canvas = np.full((*geometry.canvas, picture.shape[2]), pad_value, np.uint8)
    canvas[top : top + height, left : left + width] = seen
    return canvas
