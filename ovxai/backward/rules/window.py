"""Windows that slide over a map: what convolutions and pools have in common, and pools of largest entries."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import openvino as ov
from openvino import opset13 as op
from openvino import opset14

from ovxai.backward.step import Refusal, Step
from ovxai.graph import emit
from ovxai.graph.dims import Dims, ints, product, shape_node, whole_number


@dataclass(frozen=True)
class Window:
    """strides, dilations, padding before and behind, per spatial axis."""

    strides: list[int]
    dilations: list[int]
    begin: list[int]
    end: list[int]

    @classmethod
    def of(cls, step: Step, dims: Dims) -> Window:
        """The window of a convolution or pool over a map of these extents.

        Raises:
            Refusal: its padding hangs on the size of the picture, which is open.
        """
        if step.word("auto_pad").startswith("same") and not all(dim.is_static for dim in dims[2:]):
            raise Refusal("its padding depends on the size of the picture, which is open")
        dilations = step.numbers("dilations") if "dilations" in step.node.get_attributes() else [1] * (len(dims) - 2)
        return cls(step.numbers("strides"), dilations, step.numbers("pads_begin"), step.numbers("pads_end"))

    def left_over(self, long: Dims, short: Dims, kernel: list[int]) -> list[int]:
        """Rows and columns at the end of the long map that the last window does not reach. kernel: its sizes.

        Where sizes are open, as many as there can be.
        """
        found = []
        for axis, stride in enumerate(self.strides):
            large, small = long[axis + 2], short[axis + 2]
            reach = (kernel[axis] - 1) * self.dilations[axis] + 1 - self.begin[axis] - self.end[axis]
            exact = large.is_static and small.is_static
            found.append(large.size - stride * (small.size - 1) - reach if exact else stride - 1)
        return found


def cut_to(tensor: ov.Output, dims: Dims) -> ov.Output:
    """A map whose open sides may have come out too long. dims: what it should be; batch and channels are left alone."""
    axes = [axis for axis in range(2, len(dims)) if not dims[axis].is_static]
    if not axes:
        return tensor
    ends = shape_node([dims[axis] for axis in axes])
    return emit.sliced(tensor, ints([0] * len(axes)), ends, axes)


def parts_into_phases(window: Window, weights: ov.Output, long: Dims, short: Dims) -> bool:
    """Whether `by_phases` may be used: depthwise over two sides, every second cell, and no cell that no window reaches."""
    shape = weights.get_partial_shape()
    if len(long) != 4 or shape.is_dynamic or list(shape.to_shape())[1:3] != [1, 1]:
        return False
    kernel = list(shape.to_shape())[3:]
    return (
        window.strides == [_PACE, _PACE]
        and window.dilations == [1, 1]
        and all(size >= _PACE and pad < size - 1 for size, pad in zip(kernel, window.begin, strict=True))
        and all(dim.is_static for dim in (*long[2:], *short[2:]))
        and all(wide.size <= _PACE * narrow.size for wide, narrow in zip(long[2:], short[2:], strict=True))
    )


#: Of the strides that are taken apart.
_PACE = 2


def by_phases(window: Window, weights: ov.Output, adjoint: ov.Output, long: Dims) -> ov.Output:
    """The transposed depthwise convolution [N, C, h, w] -> [N, C, H, W] of stride 2, as four depthwise convolutions.

    A cell of the result meets the weights of its own parity alone. The CPU plugin's own transposed depthwise convolution
    takes several times as long in bf16 as these four, and as long in f32. weights: [C, 1, 1, kh, kw].
    """
    kernel = weights.get_shape()[3:]
    parts = []
    for phase in itertools.product(range(_PACE), repeat=2):
        begin, end, part = [], [], weights
        for axis, (parity, size) in enumerate(zip(phase, kernel, strict=True)):
            pad = window.begin[axis]
            taps = [tap for tap in reversed(range(size)) if (parity + pad - tap) % _PACE == 0]
            begin.append((taps[0] - parity - pad) // _PACE)
            end.append((parity + pad - taps[-1]) // _PACE)
            part = op.gather(part, ints(taps), whole_number(3 + axis)).output(0)
        parts.append(op.group_convolution(adjoint, part, [1, 1], begin, end, [1, 1]))
    whole = op.depth_to_space(op.concat(parts, 1), "blocks_first", _PACE).output(0)
    if all(dim.size % _PACE == 0 for dim in long[2:]):
        return whole
    return emit.sliced(whole, ints([0, 0]), ints([dim.size for dim in long[2:]]), [2, 3])


# MaxPool, AdaptiveMaxPool.


def max_pool(step: Step) -> dict[int, ov.Output]:
    """Each entry of the adjoint is added at the flat place that its window took.

    The operation has an output of such places, but the CPU plugin makes it slowly: three pools take several times as long as
    a small network. So it is only read where the size of the map is open.
    """
    step.only(0)
    window, dims = Window.of(step, step.dims(0)), step.dims(0)
    return {0: _back_to(step, _winners(step, window) if all(dim.is_static for dim in dims[2:]) else _indices(step, window))}


def adaptive_max_pool(step: Step) -> dict[int, ov.Output]:
    """As a pool whose windows share the map out; its second output says which entries they took."""
    step.only(0)
    return {0: _back_to(step, op.convert(step.node.output(1), "i64").output(0))}


def _back_to(step: Step, index: ov.Output) -> ov.Output:
    """Each entry of the adjoint at the place that it came from. index: i64 like the result, counted within one channel."""
    dims, out = step.dims(0), step.out_dims
    flat = [*out[:2], product(out[2:])]
    rows = step.targets.reshaped(step.adjoint, flat)
    places = emit.broadcast(emit.reshape(index, flat), step.targets.dims(flat))
    nothing = emit.zeros(step.targets.dims([*dims[:2], product(dims[2:])]), rows)
    found = op.scatter_elements_update(nothing, places, rows, whole_number(2 + step.targets.lead), "sum").output(0)
    return step.targets.reshaped(found, dims)


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
