"""What the model is fed with: which input takes the picture, at which size, and what the other inputs get."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import openvino as ov

from ovxai.errors import OptionError, UnsupportedModelError
from ovxai.verification.engine import is_float

#: Sizes to try where height and width are dynamic: sides that differ show a swap of the two.
SIZES = ((224, 288), (256, 256), (224, 224), (384, 384), (320, 416), (640, 640))
CHANNELS = (3, 1, 4)


@dataclass(frozen=True)
class PictureInput:
    """The input that takes the picture.

    index: of the model's inputs. nchw: whether channels come before height and width.
    batch, height, width: None where the model leaves them open. element: OpenVINO's name of the number type.
    """

    index: int
    nchw: bool
    channels: int
    batch: int | None
    height: int | None
    width: int | None
    element: str

    @property
    def open_size(self) -> bool:
        """Whether the model leaves height or width open."""
        return self.height is None or self.width is None

    def sides(self, shape: Sequence[int]) -> tuple[int, int]:
        """(height, width) of pictures of this shape, [N, C, H, W] or [N, H, W, C]."""
        height, width = shape[2:] if self.nchw else shape[1:3]
        return int(height), int(width)


def picture_input(model: ov.Model) -> PictureInput:
    """The input that takes the picture: the first of rank four whose channels look like a picture's.

    Raises:
        UnsupportedModelError: no input has four axes, or none of those that have looks like a picture.
    """
    ranked = [(index, port) for index, port in enumerate(model.inputs) if _rank(port) == 4]
    for index, port in ranked:
        shape = port.get_partial_shape()
        for nchw in _layouts(port.get_node()):
            axis = 1 if nchw else 3
            if shape[axis].is_static and shape[axis].get_length() in CHANNELS:
                return _describe(index, port, nchw)
        if shape[1].is_dynamic and shape[3].is_dynamic:
            planar = _takes_colours(model, index)
            if planar is not None:
                return _describe(index, port, planar)
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
    down, across = list(model.inputs[place.index].get_partial_shape())[slice(2, 4) if place.nchw else slice(1, 3)]
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
    """Feeds of a batch by input index: `pictures` at their input, and ones (lengths, scales, switches) at every other.

    Raises:
        UnsupportedModelError: an input whose rank is open.
    """
    feeds = {}
    for index, port in enumerate(model.inputs):
        if index == place.index:
            feeds[index] = pictures
            continue
        shape = port.get_partial_shape()
        if shape.rank.is_dynamic:
            raise UnsupportedModelError(f"input {index} has no fixed rank; verify can't feed it")
        sizes = [_clamp(dim, len(pictures) if axis == 0 else 1) for axis, dim in enumerate(shape)]
        feeds[index] = np.ones(sizes, _number_type(port))
    return feeds


def _number_type(port: ov.Output) -> np.dtype:
    # NumPy knows no bf16; OpenVINO converts f32 on its way in.
    narrow = is_float(port) and port.get_element_type().get_type_name() not in ("f16", "f64")
    return np.dtype(np.float32) if narrow else np.dtype(port.get_element_type().to_dtype())
