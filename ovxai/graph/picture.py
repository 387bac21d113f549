"""Which input of a model takes the picture, and in which form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import openvino as ov

from ovxai.errors import UnsupportedModelError

_TYPES = {"f32": np.float32, "f16": np.float16, "f64": np.float64, "u8": np.uint8, "i8": np.int8,
          "i32": np.int32, "i64": np.int64}  # fmt: skip


@dataclass(frozen=True)
class PictureInput:
    """The input that takes the picture.

    layout: "NCHW", "NHWC", "CHW" or "HWC". channels: 1 or 3. height, width, batch: None where dynamic.
    number_type: numpy's. tuples: (input index, number of values) of side inputs that want the
    picture's size, as RT-DETR and some Mask R-CNN exports do.
    """

    index: int
    name: str
    layout: str
    channels: int
    height: int | None
    width: int | None
    batch: int | None
    number_type: type
    tuples: tuple[tuple[int, int], ...] = ()

    @property
    def planar(self) -> bool:
        """Whether channels come before rows."""
        return self.layout.endswith("CHW")


def find_picture_input(model: ov.Model) -> PictureInput:
    """The first input with the rank and the channels of a picture.

    Raises:
        UnsupportedModelError: no such input, or another input that can't be filled.
    """
    candidates = [(i, layout) for i, port in enumerate(model.inputs) if (layout := _layout(port))]
    if not candidates:
        shapes = ", ".join(str(port.get_partial_shape()) for port in model.inputs)
        raise UnsupportedModelError(
            f"{model.get_friendly_name()}: no input takes a picture (inputs: {shapes or 'none'}); "
            "one of rank 4 with 1 or 3 channels is needed"
        )
    index, layout = candidates[0]
    port = model.inputs[index]
    sizes = {letter: _length(dim) for letter, dim in zip(layout, port.get_partial_shape())}
    short = port.get_element_type().get_type_name()
    if short not in _TYPES:
        raise UnsupportedModelError(f"{model.get_friendly_name()}: the picture input has element type {short}")
    return PictureInput(
        index=index,
        name=next(iter(sorted(port.get_names())), port.get_node().get_friendly_name()),
        layout=layout,
        channels=sizes["C"] or 3,
        height=sizes["H"],
        width=sizes["W"],
        batch=sizes.get("N", 1),
        number_type=_TYPES[short],
        tuples=_side_inputs(model, index),
    )


def _layout(port: ov.Output) -> str | None:
    shape = port.get_partial_shape()
    if shape.rank.is_dynamic or len(shape) not in (3, 4):
        return None
    said = _said_layout(port, len(shape))
    choices = [said] if said else ["NCHW", "NHWC"] if len(shape) == 4 else ["CHW", "HWC"]
    for layout in choices:
        dim = shape[layout.index("C")]
        if not dim.is_dynamic and dim.get_length() in (1, 3):
            return layout
    # Nothing but the batch is known of some exports: those that are planar are by far more common.
    all_dynamic = all(dim.is_dynamic for dim in list(shape)[-3:])
    return choices[0] if all_dynamic or (said and shape[said.index("C")].is_dynamic) else None


def _said_layout(port: ov.Output, rank: int) -> str | None:
    """The layout stored in the IR (PrePostProcessor, ovc --layout), when it is one we know."""
    layout = port.get_node().get_layout()
    if layout.empty:
        return None
    text = "".join(c for c in layout.to_string() if c.isalpha()).upper()
    return text if text in ("NCHW", "NHWC", "CHW", "HWC") and len(text) == rank else None


def _length(dim: ov.Dimension) -> int | None:
    return None if dim.is_dynamic else dim.get_length()


def _side_inputs(model: ov.Model, picture: int) -> tuple[tuple[int, int], ...]:
    found = []
    for i, port in enumerate(model.inputs):
        if i == picture:
            continue
        shape = port.get_partial_shape()
        last = None if shape.rank.is_dynamic or len(shape) != 2 else _length(shape[1])
        if last not in (2, 3):
            raise UnsupportedModelError(
                f"{model.get_friendly_name()}: input {port.get_node().get_friendly_name()!r} {shape} is not a picture, "
                "and how to fill it is unknown; give the model with one input"
            )
        found.append((i, last))
    return tuple(found)
