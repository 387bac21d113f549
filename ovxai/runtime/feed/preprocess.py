"""Picture -> input tensor, as Model API does it from rt_info `model_info`."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import openvino as ov

from ovxai.errors import OptionError, UsageError
from ovxai.graph.picture import PictureInput
from ovxai.metadata import ModelInfo
from ovxai.runtime.feed.geometry import Geometry, Size, fit

#: standard: stretched. fit_to_window: aspect kept, padded right and below. fit_to_window_letterbox:
#: padded on all sides. crop: the centre with the input's aspect.
RESIZE_TYPES = ("standard", "fit_to_window", "fit_to_window_letterbox", "crop")
#: Feature pyramids halve the picture five times; other sizes break their additions.
_MULTIPLE = 32


@dataclass(frozen=True)
class PreprocessOptions:
    """What the caller says instead of rt_info; None: as rt_info says, else nothing is done.

    mean, scale_values: one value, or one a channel, in 0..255 units and the order the model wants.
    input_size: (height, width) for models with a dynamic input.
    """

    mean: tuple[float, ...] | None = None
    scale_values: tuple[float, ...] | None = None
    resize_type: str | None = None
    pad_value: int | None = None
    reverse_input_channels: bool | None = None
    input_size: Size | None = None

    def __post_init__(self) -> None:
        if self.resize_type is not None and self.resize_type not in RESIZE_TYPES:
            raise UsageError(f"resize type: there is no {self.resize_type!r}; choose one of {', '.join(RESIZE_TYPES)}")
        if self.pad_value is not None and not 0 <= self.pad_value <= 255:
            raise UsageError(f"pad value: {self.pad_value} is outside 0..255")
        for name, values in (("mean", self.mean), ("scale values", self.scale_values)):
            if values is not None and len(values) not in (1, 3):
                raise UsageError(f"{name}: {len(values)} values; give one, or one for each of three channels")
        if self.scale_values is not None and 0 in self.scale_values:
            raise UsageError("scale values: pictures are divided by them, so 0 can't be one")


@dataclass(frozen=True)
class Preprocessor:
    """How pictures become tensors for one model. Make it with `make_preprocessor`."""

    target: PictureInput
    resize_type: str
    pad_value: int
    reverse: bool
    mean: np.ndarray | None
    scale: np.ndarray | None
    canvas: tuple[int | None, int | None]
    embedded: bool

    @property
    def same_size(self) -> bool:
        """Whether all pictures become tensors of one shape, so that they can share a batch."""
        return None not in self.canvas and not self.embedded

    def __call__(self, picture: np.ndarray) -> tuple[np.ndarray, Geometry]:
        """[H, W, 3] u8 RGB -> tensor without batch axis ([C, h, w] or [h, w, C]) and where it came from."""
        source = picture.shape[:2]
        canvas = tuple(asked or _rounded(own) for asked, own in zip(self.canvas, source))
        geometry = fit(source, canvas, self.resize_type)
        pixels = picture if self.embedded else _place(picture, geometry, self.pad_value)
        if self.target.channels == 1:
            planes = [cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)]
        else:
            planes = list(cv2.split(pixels))
            if self.reverse and not self.embedded:
                planes.reverse()
        # Plane by plane: over interleaved channels NumPy takes ten times as long.
        tensor = np.stack(self._normalize(planes), axis=0 if self.target.planar else -1)
        return tensor, geometry

    def _normalize(self, planes: list[np.ndarray]) -> list[np.ndarray]:
        """[h, w] u8 planes, one a channel -> the same as the network wants them."""
        number = self.target.number_type
        if self.embedded or (self.mean is None and self.scale is None):
            return [plane.astype(number) for plane in planes]
        values = [plane.astype(np.float32) for plane in planes]
        for channel, plane in enumerate(values):
            if self.mean is not None:
                plane -= self.mean[channel % self.mean.size]
            if self.scale is not None:
                plane /= self.scale[channel % self.scale.size]
        return [plane.astype(number, copy=False) for plane in values]


def make_preprocessor(
    model: ov.Model, target: PictureInput, info: ModelInfo, options: PreprocessOptions
) -> tuple[Preprocessor, tuple[str, ...]]:
    """The preprocessing of `model`, and notes for the person who runs it.

    Raises:
        OptionError: mean or scale asked for that can't be applied to this input.
    """
    mean = options.mean if options.mean is not None else info.mean
    scale = options.scale_values if options.scale_values is not None else info.scale
    asked = options.mean is not None or options.scale_values is not None
    floating = np.issubdtype(target.number_type, np.floating)
    if asked and (info.embedded_processing or not floating):
        why = "its preprocessing is part of the graph" if info.embedded_processing else "its input takes whole numbers"
        raise OptionError(f"mean and scale values can't be applied to this model: {why}; leave them out")
    notes = []
    if floating and mean is None and scale is None and not info.embedded_processing:
        notes.append("the model does not say how to normalise pictures; fed 0..255 (set it with --mean and --scale-values)")
    if not floating:
        mean = scale = None
    return Preprocessor(
        target=target,
        resize_type=_resize_type(options.resize_type or info.resize_type),
        pad_value=_first(options.pad_value, info.pad_value, 0),
        reverse=_first(options.reverse_input_channels, info.reverse_input_channels, False),
        mean=_channels("mean", mean, target.channels),
        scale=_channels("scale values", scale, target.channels),
        canvas=_canvas(model, target, info, options.input_size),
        embedded=info.embedded_processing,
    ), tuple(notes)


def _resize_type(name: str | None) -> str:
    # An unknown word in somebody's rt_info should not stop the run; stretching is what most exports mean.
    return name if name in RESIZE_TYPES else "standard"


def _first(*values):
    return next(value for value in values if value is not None)


def _channels(name: str, values: tuple[float, ...] | None, channels: int) -> np.ndarray | None:
    if values is None:
        return None
    array = np.asarray(values, np.float32)
    if channels == 1 and array.size == 3 and np.ptp(array) == 0:
        array = array[:1]
    if array.size not in (1, channels):
        raise OptionError(f"{name}: {array.size} values for a model with {channels} channel(s)")
    return array


def _canvas(model: ov.Model, target: PictureInput, info: ModelInfo, asked: Size | None) -> tuple[int | None, int | None]:
    """Height and width that the network works on; None: the picture's own."""
    fixed = (target.height, target.width)
    if asked is not None and not info.embedded_processing:
        if any(f is not None and f != a for f, a in zip(fixed, asked)):
            raise OptionError(f"input size: {asked[0]}x{asked[1]} does not fit the model's {_size_text(fixed)}")
        return asked
    if info.embedded_processing or None in fixed:
        said = tuple(_said_length(model, key) for key in ("orig_height", "orig_width"))
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
    canvas = np.full((*geometry.canvas, 3), pad_value, np.uint8)
    canvas[top : top + height, left : left + width] = seen
    return canvas
