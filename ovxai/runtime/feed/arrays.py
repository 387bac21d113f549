"""What people hand to the API as a picture -> an array whose numbers can be told."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from ovxai.errors import SourceError


class SharesArray(Protocol):
    """What lets NumPy look into its memory, as PIL's pictures do. (Tensors give an array: `numpy.typing.ArrayLike`.)"""

    @property
    def __array_interface__(self) -> Any:
        """NumPy's description of the memory."""
        ...


#: Channels of pictures: grey, RGB, RGBA.
_COLOURS = (1, 3, 4)
#: Ringing of a resampled picture beyond black and white.
_OVERSHOOT = 0.05


def as_array(image: object, channel_order: str) -> tuple[np.ndarray, str]:
    """The pixels of `image`, and the order of their channels: PIL's pictures are RGB whatever the caller says.

    NumPy's arrays are as they are; tensors may have their channels first, or be a batch of one.

    Raises:
        SourceError: nothing that holds pixels.
    """
    if isinstance(image, np.ndarray):
        return image, channel_order
    kind = type(image).__name__
    if type(image).__module__.partition(".")[0] == "PIL" and hasattr(image, "convert"):
        return np.asarray(_plain_mode(image)), "rgb"
    if not hasattr(image, "__array__") and not hasattr(image, "__array_interface__"):
        several = "; for several pictures there is explain_many" if isinstance(image, (list, tuple)) else ""
        raise SourceError(
            f"a {kind} is no picture; give a path, the bytes of a file, an array [H, W, 3] or a PIL picture{several}"
        )
    try:
        return _channels_last(np.asarray(image)), channel_order
    except Exception as error:  # a tensor on another device, or one that wants gradients
        reason = " ".join(str(error).split())[:160]
        raise SourceError(f"a {kind} that NumPy can't read is no picture: {reason}") from error


def _channels_last(values: np.ndarray) -> np.ndarray:
    """Of a tensor: [C, H, W] and a batch of one are taken where nothing else can be meant."""
    if values.ndim == 4 and len(values) == 1:
        values = values[0]
    first = values.ndim == 3 and values.shape[0] in _COLOURS and values.shape[2] not in _COLOURS
    return np.ascontiguousarray(values.transpose(1, 2, 0)) if first else values


def _plain_mode(image: Any) -> object:  # PIL need not be installed
    """A PIL picture in a mode whose numbers are pixels."""
    if image.mode in ("RGB", "RGBA", "L") or image.mode.startswith("I;16"):
        return image
    transparent = image.mode in ("LA", "PA", "La", "RGBa") or "transparency" in image.info
    return image.convert("RGBA" if transparent else "RGB")


def check_range(array: np.ndarray, name: str) -> None:
    """Refuse numbers whose black and white nobody knows: floats are 0..1.

    Raises:
        SourceError: floats beyond that, says how far they go; or none that is a number.
    """
    if not np.issubdtype(array.dtype, np.floating) or not array.size:
        return
    if np.isnan(array).all():
        raise SourceError(f"{name}: not one pixel is a number (all NaN)")
    low, high = float(np.nanmin(array)), float(np.nanmax(array))
    if low < -_OVERSHOOT or high > 1 + _OVERSHOOT:
        raise SourceError(
            f"{name}: floats of {low:.3g}..{high:.3g} are taken for nothing; give uint8 for 0..255, or floats of 0..1 "
            "(mean and scale are applied behind)"
        )
