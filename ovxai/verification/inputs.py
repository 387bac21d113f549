"""What the model is fed with: pictures of which size, and what the other inputs get."""

from __future__ import annotations

import numpy as np
import openvino as ov

from ovxai.errors import OptionError, UnsupportedModelError
from ovxai.graph.picture import PictureInput
from ovxai.verification.engine import is_float

#: Sizes to try where height and width are dynamic: sides that differ show a swap of the two.
SIZES = ((224, 288), (256, 256), (224, 224), (384, 384), (320, 416), (640, 640))


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
