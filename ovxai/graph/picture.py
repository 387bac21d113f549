"""Which input of a model takes the picture, how it lies there, and which numbers it wants: decided here and nowhere else.

Insertion writes the decision into rt_info (`picture_input`, `picture_range`). Whoever feeds an explained model
reads it there, so that runner, verification, probe and benchmark feed the same input with the same numbers.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import openvino as ov

from ovxai.errors import OptionError, UnsupportedModelError
from ovxai.graph.kinds import meets_convolution
from ovxai.metadata import ExplainedInfo, ModelInfo

#: Channels of grey pictures, of RGB, and of RGB with alpha: what picture files hold.
COLOURS = (1, 3, 4)
#: What black and white are as numbers, unless rt_info says otherwise: pixels as they are decoded. `model_info`
#: gives its mean and scale in the same units.
RANGE = (0.0, 255.0)
#: Taken for a side that the model leaves open when inputs are compared by size.
_OPEN_SIDE = 224
#: What a side has at least where it is told from channels.
_LEAST_SIDE = 16
#: From the likeliest: what tells a layout, and what is tried where even the number of channels is open.
_LIKELY_CHANNELS = (3, 1, 4)
_LAYOUTS = {4: ("NCHW", "NHWC"), 3: ("CHW", "HWC", "NHW")}
_NUMBER_TYPES = ("f32", "f16", "f64", "u8", "i8", "u16", "i16", "u32", "i32", "u64", "i64")


@dataclass(frozen=True)
class PictureInput:
    """The input that takes the picture.

    index: among the model's inputs. name: a tensor name, else the friendly name of its node.
    layout: "NCHW", "NHWC", "CHW", "HWC", or "NHW" for one channel without an axis.
    height, width, batch: None where the model leaves them open.
    element: OpenVINO's name of the number type. black, white: those colours as numbers, before any mean and scale.
    """

    index: int
    name: str
    layout: str
    channels: int
    height: int | None
    width: int | None
    batch: int | None
    element: str
    black: float = RANGE[0]
    white: float = RANGE[1]

    @property
    def planar(self) -> bool:
        """Whether channels come before rows."""
        return self.layout.endswith("CHW")

    @property
    def batched(self) -> bool:
        """Whether the first axis counts pictures."""
        return self.layout.startswith("N")

    @property
    def axes(self) -> tuple[int, int]:
        """Where height and width stand in the input's shape."""
        return self.layout.index("H"), self.layout.index("W")

    @property
    def open_size(self) -> bool:
        """Whether the model leaves height or width open."""
        return self.height is None or self.width is None

    def sides(self, shape: Sequence[int]) -> tuple[int, int]:
        """(height, width) of a tensor of this input's layout, or of several in a batch where it has no axis for one."""
        more = len(shape) - len(self.layout)
        return int(shape[self.axes[0] + more]), int(shape[self.axes[1] + more])

    def colours(self, *, reverse: bool = False) -> tuple[int, int, int]:
        """The channels that people see as red, green and blue: the first three, or the first alone as grey.

        reverse: whether the input takes BGR.
        """
        if self.channels < 3:
            return 0, 0, 0
        return (2, 1, 0) if reverse and self.channels in COLOURS else (0, 1, 2)

    @property
    def number_type(self) -> np.dtype:
        """The NumPy type of what is fed.

        Raises:
            UnsupportedModelError: a type that NumPy does not have.
        """
        if self.element == "dynamic":
            return np.dtype(np.float32)
        if self.element not in _NUMBER_TYPES:
            raise UnsupportedModelError(
                f"input {self.name!r}: nothing can be fed to element type {self.element}; convert it to f32 or u8"
            )
        return np.dtype(getattr(ov.Type, self.element).to_dtype())


def picture_inputs(model: ov.Model, among: Container[str] | None = None) -> list[PictureInput]:
    """Every input that could take pictures, the likeliest first: of colours, then the largest.

    Inputs whose channels are open count only where none is known to take colours: a list of masks looks like that too.
    Those without an axis for a batch count where there are no others, and a convolution reads them.

    among: names (`get_name()`) of the nodes that count; None: all inputs of the model.
    """
    ports = {i: port for i, port in enumerate(model.inputs) if among is None or port.get_node().get_name() in among}
    channels = {i: _stated_channels(port) for i, port in ports.items()}
    if not set(COLOURS).isdisjoint(channels.values()):
        channels = {i: count for i, count in channels.items() if count is not None}
    every = [one for index in channels if (one := described(model, index))]
    found = [one for one in every if one.batched]
    if not found:
        found = [one for one in every if meets_convolution(model.inputs[one.index], one.channels)]
    return sorted(found, key=lambda one: (one.channels not in COLOURS, -_area(one)))


def _stated_channels(port: ov.Output) -> int | None:
    """Channels of a picture in the likeliest layout; None where they are open, 0 where it can be no picture."""
    layouts = possible_layouts(port)
    return _length(port.get_partial_shape(), layouts[0], "C") if layouts and layouts[0].startswith("N") else 0


def find_picture_input(model: ov.Model, info: ExplainedInfo | None = None) -> PictureInput:
    """The input that takes the picture: the one that rt_info names, else the likeliest.

    info: what the explained model says, for a `model` that has lost it (the plain part); None: what `model` says.

    Raises:
        UnsupportedModelError: no input takes a picture, or not the one that rt_info names.
    """
    info = info or ExplainedInfo.read(model)
    if info is None or not info.picture_input:
        # Of models that others have explained, some take one picture without a batch axis.
        single = (one for index in range(len(model.inputs)) if (one := described(model, index)))
        found = next(iter(picture_inputs(model)), None) or next(single, None)
        if found is None:
            raise UnsupportedModelError(f"{model.get_friendly_name()}: {no_picture(model)}")
        return found
    for index, port in enumerate(model.inputs):
        if info.picture_input in (*port.get_names(), port.get_node().get_friendly_name()):
            found = described(model, index)
            if found:
                black, white = info.picture_range or RANGE
                return replace(found, black=black, white=white)
    raise UnsupportedModelError(
        f"{model.get_friendly_name()}: rt_info names the picture input {info.picture_input!r}, but "
        f"{input_shapes(model)}; insert again"
    )


def no_picture(model: ov.Model) -> str:
    """Why none of the inputs takes a picture."""
    return f"no input takes a picture ([N, channels, H, W] or [N, H, W, channels]); {input_shapes(model)}"


def input_shapes(model: ov.Model) -> str:
    """Names and shapes of all inputs, for messages."""
    return "inputs: " + (", ".join(f"{input_name(port)} {port.get_partial_shape()}" for port in model.inputs) or "none")


def input_name(port: ov.Output) -> str:
    """A tensor name of an input, else the friendly name of its node."""
    return str(next(iter(sorted(port.get_names())), port.get_node().get_friendly_name()))


def possible_layouts(port: ov.Output) -> tuple[str, ...]:
    """The layouts in which a tensor could be a picture, the likelier first; none where it can't be one.

    A layout that the model states counts alone. Else channels of a picture file (1, 3, 4) tell, then any number
    that is smaller than both sides; where the channels are open, every layout that leaves them open is possible.
    """
    shape = port.get_partial_shape()
    if shape.rank.is_dynamic or len(shape) not in _LAYOUTS:
        return ()
    stated = _stated_layout(port, len(shape))
    layouts = [stated] if stated else [one for one in _LAYOUTS[len(shape)] if "C" in one and _has_sides(shape, one)]
    known = ((layout, channels) for channels in _LIKELY_CHANNELS for layout in layouts)
    colours = next((layout for layout, channels in known if _length(shape, layout, "C") == channels), None)
    if colours:
        return (colours,)
    several = [layout for layout in layouts if len(shape) == 4 and _has_few_channels(shape, layout)]
    free = [layout for layout in layouts if _length(shape, layout, "C") is None]
    if len(shape) == 3 and not stated and shape[0].is_dynamic and meets_convolution(port, 1):
        return ("NHW",)
    if len(shape) == 3 and not stated and not all(dim.is_dynamic for dim in shape):
        free = []  # tokens, say
    return (*several, *free)


def _stated_layout(port: ov.Output, rank: int) -> str | None:
    """The layout stored in the model (PrePostProcessor, ovc --layout), when it is one we know."""
    layout = port.get_node().get_layout()
    if layout.empty:
        return None
    text = "".join(letter for letter in layout.to_string() if letter.isalpha()).upper()
    return text if text in _LAYOUTS[rank] else None


def _length(shape: ov.PartialShape, layout: str, letter: str) -> int | None:
    if letter not in layout:
        return 1
    dim = shape[layout.index(letter)]
    return None if dim.is_dynamic else int(dim.get_length())


def _has_sides(shape: ov.PartialShape, layout: str) -> bool:
    """A row of numbers is no picture."""
    return 1 not in (_length(shape, layout, "H"), _length(shape, layout, "W"))


def _has_few_channels(shape: ov.PartialShape, layout: str) -> bool:
    channels = _length(shape, layout, "C")
    sides = (_length(shape, layout, letter) or _OPEN_SIDE for letter in "HW")
    return channels is not None and channels < min(sides)


def input_index(model: ov.Model, wanted: str | int) -> int:
    """Which input of the model a tensor name, the friendly name of its node, or a number from 0 means.

    Raises:
        OptionError: there is no such input; the message holds all of them.
    """
    for index, port in enumerate(model.inputs):
        if wanted in (*port.get_names(), port.get_node().get_friendly_name()):
            return index
    if str(wanted).isdigit() and int(wanted) < len(model.inputs):
        return int(wanted)
    raise OptionError(f"input: the model has no input {wanted!r}; {input_shapes(model)}")


def described(model: ov.Model, index: int) -> PictureInput | None:
    """Input `index` as a picture; None where it can't be one."""
    port = model.inputs[index]
    layout, channels = _layout_and_channels(model, index)
    if not layout:
        return None
    shape = port.get_partial_shape()
    height, width = _length(shape, layout, "H"), _length(shape, layout, "W")
    batch = _length(shape, layout, "N") if "N" in layout else 1
    return PictureInput(
        index, input_name(port), layout, channels, height, width, batch, port.get_element_type().get_type_name()
    )  # fmt: skip


def _layout_and_channels(model: ov.Model, index: int) -> tuple[str, int]:
    port = model.inputs[index]
    layouts = possible_layouts(port)
    for layout in layouts:
        channels = _length(port.get_partial_shape(), layout, "C")
        if channels is not None:
            return layout, channels
    trials = ((layout, channels) for channels in _LIKELY_CHANNELS for layout in layouts)
    return next((trial for trial in trials if _takes(model, index, *trial)), ("", 0))


def _takes(model: ov.Model, index: int, layout: str, channels: int) -> bool:
    """Whether the graph allows so many channels at their place of `layout`, and sides at theirs."""
    trial = model.clone()
    parameter = trial.inputs[index].get_node()
    shape = parameter.get_partial_shape()
    for axis in (layout.index("H"), layout.index("W")):
        low, high = shape[axis].get_min_length(), shape[axis].get_max_length()
        if shape[axis].is_dynamic and not 0 <= high < _LEAST_SIDE:
            shape[axis] = ov.Dimension(max(low, _LEAST_SIDE), high)  # larger than channels: a layout that is wrong is seen
    shape[layout.index("C")] = channels
    try:
        parameter.set_partial_shape(shape)
        trial.validate_nodes_and_infer_types()
    except RuntimeError:
        return False
    return True


def _area(picture: PictureInput) -> int:
    return (picture.height or _OPEN_SIDE) * (picture.width or _OPEN_SIDE)


# From pixels to the numbers that are fed.


@dataclass(frozen=True)
class PixelValues:
    """How the pixels of a picture, at the input's size, become the numbers of the input. Make it with `pixel_values`.

    mean, scale: one value for all channels, or one per channel in the order in which the model wants them; None: left out.
    reverse: whether the model wants BGR.
    """

    picture: PictureInput
    mean: np.ndarray | None = None
    scale: np.ndarray | None = None
    reverse: bool = False
    raw: bool = False

    @property
    def unsaid(self) -> str:
        """What to note where nobody says how pictures are normalised, so that their pixels go in as they are; else empty."""
        if (
            self.raw
            or self.mean is not None
            or self.scale is not None
            or not np.issubdtype(self.picture.number_type, np.floating)
        ):
            return ""
        span = f"{self.picture.black:g}..{self.picture.white:g}"
        return f"the model does not say how to normalise pictures; fed {span} (set it with --mean and --scale-values)"

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """[H, W, channels] u8, colours as RGB(A) -> [channels, H, W], [H, W, channels] or [H, W], of the input's number type."""
        planes = list(cv2.split(pixels))
        if self.reverse and len(planes) in COLOURS:
            planes[:3] = planes[2::-1]  # alpha stays last
        # Plane by plane: over interleaved channels NumPy takes ten times as long.
        values = [self._numbers(plane, channel) for channel, plane in enumerate(planes)]
        if "C" not in self.picture.layout:
            return values[0]
        return np.stack(values, axis=0 if self.picture.planar else -1)

    def _numbers(self, plane: np.ndarray, channel: int) -> np.ndarray:
        own = (self.picture.black, self.picture.white)
        if self.raw or (self.mean is None and self.scale is None and own == RANGE):
            return plane.astype(self.picture.number_type)
        values = plane.astype(np.float32)
        if own != RANGE:
            values = values * np.float32((own[1] - own[0]) / 255) + np.float32(own[0])
        if self.mean is not None:
            values -= self.mean[channel % self.mean.size]
        if self.scale is not None:
            values /= self.scale[channel % self.scale.size]
        return values.astype(self.picture.number_type, copy=False)


def pixel_values(
    picture: PictureInput,
    info: ModelInfo,
    *,
    mean: Sequence[float] | None = None,
    scale: Sequence[float] | None = None,
    reverse: bool | None = None,
) -> PixelValues:
    """How pixels are fed to `picture`: as `info` says, unless told otherwise.

    mean, scale: in the units of `picture`'s range (0..255), one value or one per channel. Inputs of whole numbers, and
    models that normalise inside (`embedded_processing`), are fed raw.

    Raises:
        OptionError: mean or scale asked for that this input can't have, or of another number of channels.
    """
    asked = mean is not None or scale is not None
    floating = np.issubdtype(picture.number_type, np.floating)
    if asked and (info.embedded_processing or not floating):
        why = "its preprocessing is part of the graph" if info.embedded_processing else "its input takes whole numbers"
        raise OptionError(f"mean and scale values can't be applied to this model: {why}; leave them out")
    if info.embedded_processing:
        return PixelValues(picture, raw=True)
    reverse = bool(info.reverse_input_channels) if reverse is None else reverse
    if not floating:
        return PixelValues(picture, reverse=reverse)
    return PixelValues(
        picture,
        _per_channel("mean", info.mean if mean is None else mean, picture.channels),
        _per_channel("scale values", info.scale if scale is None else scale, picture.channels),
        reverse,
    )


def _per_channel(name: str, values: Sequence[float] | None, channels: int) -> np.ndarray | None:
    if values is None:
        return None
    array = np.asarray(values, np.float32)
    if channels == 1 and array.size == 3 and np.ptp(array) == 0:
        array = array[:1]
    if array.size not in (1, channels):
        raise OptionError(f"{name}: {array.size} values for a model with {channels} channel(s); give one, or one per channel")
    return array
