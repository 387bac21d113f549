"""Inputs beside the picture: its size, which is known, and whatever else the user gives (a second picture, metadata, texts)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov

from ovxai.errors import OptionError, SourceError, UnsupportedModelError, UsageError
from ovxai.files import load_array
from ovxai.graph.picture import PictureInput, described, input_index, input_name
from ovxai.metadata import ModelInfo
from ovxai.runtime.feed.arrays import check_range
from ovxai.runtime.feed.geometry import Size
from ovxai.runtime.feed.images import ARRAY_SUFFIX, read_image, to_pixels
from ovxai.runtime.feed.preprocess import PreprocessOptions, make_preprocessor

#: What is given for an input: the path of a picture or of a .npy file, or an array.
Given = str | Path | np.ndarray


@dataclass(frozen=True)
class SizeInput:
    """An input that wants the picture's size, as RT-DETR and some Mask R-CNN exports have one. length: 2 or 3 values."""

    index: int
    length: int
    number_type: np.dtype[Any]

    def of(self, canvas: Size, batch: int) -> np.ndarray:
        """[batch, length]: (height, width, scale) for three values, (width, height) for two, as the exports want them."""
        values = (canvas[0], canvas[1], 1) if self.length == 3 else (canvas[1], canvas[0])
        return np.array([values] * batch, self.number_type)


@dataclass(frozen=True)
class GivenInput:
    """An input whose numbers the user gives. per_picture: whether its first axis counts pictures, each of which gets the same."""

    index: int
    numbers: np.ndarray
    per_picture: bool

    def of(self, _canvas: Size, batch: int) -> np.ndarray:
        """The numbers, repeated for every picture of a batch where they are one picture's."""
        return np.repeat(self.numbers, batch, axis=0) if self.per_picture and len(self.numbers) == 1 else self.numbers


SideInput = SizeInput | GivenInput


def side_inputs(
    model: ov.Model, target: PictureInput, given: Mapping[int, np.ndarray] | None = None, *, sizes: bool = True
) -> tuple[SideInput, ...]:
    """The inputs of `model` beside the picture.

    given: numbers by the input's index, see `given_inputs`. sizes: whether two or three numbers that nobody gives are the
    picture's size, as detectors want it; else they may be anything.

    Raises:
        UnsupportedModelError: one of which is unknown how to fill it.
    """
    given = given or {}
    found: list[SideInput] = []
    for index, port in enumerate(model.inputs):
        if index == target.index:
            continue
        shape = port.get_partial_shape()
        if index in given:
            found.append(GivenInput(index, given[index], _counts_pictures(shape, target)))
            continue
        last = None if shape.rank.is_dynamic or len(shape) != 2 or shape[1].is_dynamic else shape[1].get_length()
        if last not in (2, 3) or not sizes:
            name = input_name(port)
            raise UnsupportedModelError(
                f"{model.get_friendly_name()}: input {name!r} {shape} is not the picture that is explained, and how to fill it "
                f"is unknown; give it: --input {name}=FILE (a picture or .npy)"
            )
        found.append(SizeInput(index, last, np.dtype(port.get_element_type().to_dtype())))
    return tuple(found)


def _counts_pictures(shape: ov.PartialShape, target: PictureInput) -> bool:
    """Whether the first axis of an input could be that of a batch."""
    if shape.rank.is_dynamic or not len(shape) or not target.batched:
        return False
    return bool(shape[0].is_dynamic or shape[0].get_length() == target.batch)


def input_arrays(
    target: PictureInput, sides: Sequence[SideInput], tensors: Sequence[np.ndarray], canvas: Size
) -> dict[int, np.ndarray]:
    """Input index -> array, for pictures as tensors without a batch axis."""
    alone = tensors[0][None] if target.batched else tensors[0]  # as it lies in memory; stacking copies
    stacked = np.stack(tensors) if len(tensors) > 1 else alone
    return {target.index: stacked, **{side.index: side.of(canvas, len(tensors)) for side in sides}}


def given_inputs(
    model: ov.Model, target: PictureInput, given: Mapping[str, Given], info: ModelInfo, options: PreprocessOptions
) -> dict[int, np.ndarray]:
    """What the user gives for inputs beside the picture, by their index, as the model takes it.

    given: by name or number of the input: the path of a picture, prepared as `info` and `options` say, or of a .npy file,
    fed as it is; or an array: u8 [H, W] or [H, W, C] for an input of floats that takes a picture is one, others are fed as
    they are.

    Raises:
        OptionError: no such input, the one that takes the pictures, or numbers that it does not take.
        SourceError: a file that can't be read.
    """
    found = {}
    for name, value in given.items():
        index = input_index(model, name)
        if index == target.index:
            raise OptionError(f"input: {name} takes the pictures that are explained; leave it out")
        found[index] = _numbers(model, index, value, target, info, options)
    return found


def _numbers(
    model: ov.Model, index: int, value: Given, target: PictureInput, info: ModelInfo, options: PreprocessOptions
) -> np.ndarray:
    port, own = model.inputs[index], described(model, index)
    name = input_name(port)
    is_file = isinstance(value, (str, Path)) and Path(value).suffix.lower() != ARRAY_SUFFIX
    if not is_file:
        array = load_array(value) if isinstance(value, (str, Path)) else np.asarray(value)
        loaded = isinstance(value, (str, Path))
        pixels_given = own is not None and not loaded and array.dtype == np.uint8 and port.get_element_type().is_real()
        shaped = None if pixels_given and array.ndim in (2, 3) else _shaped(array, port, target)
        if shaped is not None:
            return _typed(shaped, port, name)
        if own is None or array.ndim not in (2, 3) or array.dtype != np.uint8:
            raise OptionError(f"input: {name} takes {port.get_partial_shape()}, not numbers of shape {list(array.shape)}")
    if own is None:
        raise OptionError(f"input: {name} {port.get_partial_shape()} takes no picture; give a .npy file")
    if own.channels != target.channels:  # mean and scale are of the other picture's channels
        info = replace(info, mean=None, scale=None)
        options = replace(options, mean=None, scale_values=None)
    prepare, _ = make_preprocessor(model, replace(own, black=target.black, white=target.white), info, options)
    if is_file:
        pixels = read_image(str(value), prepare.channels)
    else:
        check_range(array, name)
        pixels = to_pixels(array, name, prepare.channels)
    tensor, _ = prepare(pixels)
    return tensor[None] if own.batched else tensor


def _shaped(array: np.ndarray, port: ov.Output, target: PictureInput) -> np.ndarray | None:
    """The array with the axes of the input, a batch axis put before it where that is missing; None where it does not fit."""
    shape = port.get_partial_shape()
    if shape.rank.is_dynamic:
        return array
    for one in (array, array[None]):
        if len(shape) == one.ndim and all(
            dim.compatible(ov.Dimension(size)) or (axis == 0 and size == 1 and _counts_pictures(shape, target))
            for axis, (dim, size) in enumerate(zip(shape, one.shape))
        ):
            return one
    return None


def _typed(array: np.ndarray, port: ov.Output, name: str) -> np.ndarray:
    element = port.get_element_type()
    wanted = np.dtype(np.float32 if element.get_type_name() in ("bf16", "dynamic") else element.to_dtype())
    if array.dtype.kind not in "biuf":
        raise OptionError(f"input: {name} takes numbers, not {array.dtype}")
    typed = np.ascontiguousarray(array.astype(wanted))
    if wanted.kind in "iu" and not np.array_equal(typed, array):
        raise OptionError(f"input: {name} takes whole numbers ({wanted}), not {array.dtype} beyond them")
    return typed


def parse_given(words: Sequence[str]) -> dict[str, str]:
    """NAME=FILE, several times, as a table.

    Raises:
        UsageError: one without a name or a file, or a name twice. SourceError: a file that is not there.
    """
    found: dict[str, str] = {}
    for word in words:
        name, sign, file = word.partition("=")
        if not sign or not name or not file or name in found:
            raise UsageError(f"input: {word!r} is not NAME=FILE, each name once")
        if not Path(file).exists():
            raise SourceError(f"{file}: no such file")
        found[name] = file
    return found
