"""Windows that slide over a map: what convolutions and pools have in common."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import openvino as ov
from openvino import opset13 as op

from ovxai.backward.step import Refusal, Step
from ovxai.graph import emit
from ovxai.graph.dims import Dims, ints, shape_node, whole_number


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
    for phase in product(range(_PACE), repeat=2):
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
