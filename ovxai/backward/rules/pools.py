"""MaxPool: the derivative goes to the first largest entry of each window."""

from __future__ import annotations

import numpy as np
import openvino as ov
from openvino import opset13 as op
from openvino import opset14

from ovxai.backward.rules.window import Window
from ovxai.backward.step import Step
from ovxai.graph import emit
from ovxai.graph.dims import ints, product, whole_number


def max_pool(step: Step) -> dict[int, ov.Output]:
    """Each entry of the adjoint is added at the flat place that its window took.

    The operation has an output of such places, but the CPU plugin makes it slowly: three pools take several times as long as
    a small network. So it is only read where the size of the map is open.
    """
    step.only(0)
    window, dims = Window.of(step, step.dims(0)), step.dims(0)
    index = _winners(step, window) if all(dim.is_static for dim in dims[2:]) else _indices(step, window)
    out = step.out_dims
    flat = [*out[:2], product(out[2:])]
    rows = step.targets.reshaped(step.adjoint, flat)
    places = emit.broadcast(emit.reshape(index, flat), step.targets.dims(flat))
    nothing = emit.zeros(step.targets.dims([*dims[:2], product(dims[2:])]), rows)
    found = op.scatter_elements_update(nothing, places, rows, whole_number(2 + step.targets.lead), "sum").output(0)
    return {0: step.targets.reshaped(found, dims)}


def _winners(step: Step, window: Window) -> ov.Output:
    """i64 in the shape of the result: the place in the map, counted within one channel, of each window's first largest entry.

    Axis by axis, for a pool over windows is one over their rows, and one over what those hand on.
    """
    tensor, kernel, stride = step.feed(0), step.numbers("kernel"), 1
    flat: ov.Output = whole_number(0)
    for axis in reversed(range(2, len(step.shape(0)))):
        tensor, places = _first_largest(tensor, axis, _reach(step, window, kernel, axis))
        below = flat if axis == len(step.shape(0)) - 1 else op.gather_elements(flat, places, axis).output(0)
        flat = emit.add(emit.multiply(places, whole_number(stride)), below)
        stride *= step.shape(0)[axis]
    return flat


def _reach(step: Step, window: Window, kernel: list[int], axis: int) -> np.ndarray:
    """[out, k]: the entries along an axis that each window sees; the first that is there stands for those in the padding, and
    where rounding up has left a window none, the last of the map."""
    at = axis - 2
    first = np.arange(step.out_shape[axis])[:, None] * window.strides[at] - window.begin[at]
    reach = first + np.arange(kernel[at]) * window.dilations[at]
    there = (reach >= 0) & (reach < step.shape(0)[axis])
    least = reach[np.arange(len(reach)), there.argmax(axis=1)]
    return np.asarray(np.minimum(np.where(there, reach, least[:, None]), step.shape(0)[axis] - 1))


def _first_largest(tensor: ov.Output, axis: int, reach: np.ndarray) -> tuple[ov.Output, ov.Output]:
    """The largest of each window along one axis, and where it stands (i64)."""
    seen = op.gather(tensor, op.constant(reach.astype(np.int32)), whole_number(axis))
    best = op.reduce_max(seen, ints([axis + 1]), True)
    rest = [1] * (len(tensor.get_partial_shape()) - axis - 1)
    numbers = op.constant(reach.reshape(*reach.shape, *rest).astype(np.int32))
    # NaN equals nothing: the last entry then, for places beyond the map would end the process.
    own = op.select(op.equal(seen, best), numbers, op.constant(np.int32(reach.max())))
    least = op.convert(op.reduce_min(own, ints([axis + 1]), False), "i64").output(0)
    return op.squeeze(best, ints([axis + 1])).output(0), least


def _indices(step: Step, window: Window) -> ov.Output:
    """The same by the pool's own second output."""
    make = opset14.max_pool if step.word("rounding_type") == "ceil_torch" else op.max_pool
    return make(
        step.feed(0), window.strides, window.dilations, window.begin, window.end, step.numbers("kernel"),
        step.word("rounding_type"), step.word("auto_pad"), "i64", 2,
    ).output(1)  # fmt: skip
