"""Windows that slide over a map: what convolutions and pools have in common."""

from __future__ import annotations

from dataclasses import dataclass

import openvino as ov

from ovxai.backward.step import Refusal, Step
from ovxai.graph import emit
from ovxai.graph.dims import Dims, ints, shape_node


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
