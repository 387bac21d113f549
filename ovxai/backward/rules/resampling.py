"""Pools and resizes. Where a map is resampled along its axes, one after the other, each is a product with a constant matrix."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import openvino as ov
from openvino import opset13 as op

from ovxai.backward.rules.unary import scaled
from ovxai.backward.rules.window import Window, cut_to
from ovxai.backward.step import Refusal, Step
from ovxai.graph import emit
from ovxai.graph.dims import ints


def along(adjoint: ov.Output, axis: int, matrix: np.ndarray) -> ov.Output:
    """Entries along an axis of an adjoint, [..., out, ...], times matrix [out, in]."""
    rank = len(adjoint.get_partial_shape())
    weights = op.constant(matrix, dtype=adjoint.get_element_type()).output(0)
    if axis == rank - 1:
        return emit.matmul(adjoint, weights)
    if axis == rank - 2:
        return emit.matmul(op.constant(np.ascontiguousarray(matrix.T), dtype=adjoint.get_element_type()).output(0), adjoint)
    order = [*(each for each in range(rank) if each != axis), axis]
    turned = emit.matmul(emit.transpose(adjoint, order), weights)
    return emit.transpose(turned, [int(each) for each in np.argsort(order)])


def of_each_entry(make: Callable[[ov.Output], ov.Node], count: int) -> np.ndarray:
    """[out, in]: what a linear operation makes of each of `count` entries in a row. make: on [count, 1] columns, axis 0."""
    return _made(make, np.eye(count, dtype=np.float32))


def _made(make: Callable[[ov.Output], ov.Node], data: np.ndarray) -> np.ndarray:
    """What an operation makes of `data`: as the device does it, which is not always what constants are folded to."""
    feed = op.parameter(list(data.shape), np.float32)
    model = ov.Model([op.result(make(feed.output(0)))], [feed], "resampled")
    return np.array(ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})([data])[0])


def interpolate(step: Step) -> dict[int, ov.Output]:
    """Each resized axis by itself, by the weights that the operation itself gives to single entries.

    Raises:
        Refusal: it pads, is of an old form, or resizes an axis whose size is open.
    """
    step.only(0)
    attributes = step.node.get_attributes()
    if "shape_calculation_mode" not in attributes:
        raise Refusal("it is of the form of opset 1")
    if any(attributes["pads_begin"]) or any(attributes["pads_end"]):
        raise Refusal("it pads before it resizes")
    rank = len(step.shape(0))
    place = _inputs(step)["axes"]
    axes = step.fixed(place) if step.node.get_input_size() > place else list(range(rank))
    adjoint = step.adjoint
    for place, axis in enumerate(each % rank for each in axes):
        before, after = step.dims(0)[axis], step.out_dims[axis]
        if before.size == after.size and (axis in _AS_THEY_ARE or (before.is_static and after.is_static)):
            continue
        if not (before.is_static and after.is_static):
            raise Refusal("it resizes an axis whose size is open; give the model a fixed picture size")
        adjoint = along(adjoint, axis + step.targets.lead, _resizing(step, place, before.size, after.size))
    return {0: adjoint}


#: Batch and channels, which exporters list with the sides, and nobody resizes.
_AS_THEY_ARE = (0, 1)


def _inputs(step: Step) -> dict[str, int]:
    """Which inputs hold what; of opset 4 sizes and scales had one each."""
    return {"scales": 2, "axes": 3} if step.version == "opset4" else {"scales": 1, "axes": 2}


def _resizing(step: Step, place: int, before: int, after: int) -> np.ndarray:
    """[after, before]: the weights of the operation along one of its axes, the other one left as it is."""
    attributes = step.node.get_attributes()
    by_scale = attributes["shape_calculation_mode"] == "scales"
    sizes: ov.Output = ints([after, 1])
    if by_scale:
        given = step.graph.value(step.graph.port_of(step.feed(_inputs(step)["scales"])))
        if given is None:
            raise Refusal("its scales depend on the picture")
        sizes = op.constant(np.array([given.reshape(-1)[place], 1.0], np.float32)).output(0)
    single = np.eye(before, dtype=np.float32).reshape(before, 1, before, 1)
    made = _made(lambda rows: op.interpolate(
        rows, sizes, attributes["mode"], attributes["shape_calculation_mode"],
        coordinate_transformation_mode=attributes["coordinate_transformation_mode"], nearest_mode=attributes["nearest_mode"],
        antialias=attributes["antialias"], cube_coeff=attributes["cube_coeff"], axes=ints([2, 3]),
    ), single)  # fmt: skip
    return np.ascontiguousarray(made[:, 0, :, 0].T)


def adaptive_avg_pool(step: Step) -> dict[int, ov.Output]:
    """Along each axis the means of its bins, from floor(i n / m) to ceil((i + 1) n / m)."""
    step.only(0)
    adjoint = step.adjoint
    for axis in range(2, len(step.shape(0))):
        before, after = step.dims(0)[axis], step.out_dims[axis]
        if not (before.is_static and after.is_static):
            raise Refusal("it pools a map whose size is open")
        if before.size != after.size:
            adjoint = along(adjoint, axis + step.targets.lead, _bins(before.size, after.size))
    return {0: adjoint}


def _bins(before: int, after: int) -> np.ndarray:
    matrix = np.zeros((after, before), np.float32)
    for row in range(after):
        start, stop = row * before // after, -(-(row + 1) * before // after)
        matrix[row, start:stop] = 1 / (stop - start)
    return matrix


def avg_pool(step: Step) -> dict[int, ov.Output]:
    """An equal share to every entry of the window, by a transposed convolution of ones.

    Raises:
        Refusal: borders count less and the size of the map is open, or the number of channels is.
    """
    step.only(0)
    dims, kernel = step.dims(0), step.numbers("kernel")
    window = Window.of(step, dims)
    adjoint = step.folded()
    counts = _counts(step, window, kernel)
    adjoint = emit.multiply(adjoint, counts) if counts is not None else scaled(adjoint, 1 / float(np.prod(kernel)))
    if not dims[1].is_static:
        raise Refusal("its number of channels is open")
    ones = op.constant(np.ones((1, 1, 1, *kernel), np.float32), dtype=adjoint.get_element_type())
    weights = op.broadcast(ones, ints([dims[1].size, 1, 1, *kernel]))
    node = op.group_convolution_backprop_data(
        adjoint, weights, window.strides, pads_begin=window.begin, pads_end=window.end, auto_pad="explicit",
        dilations=window.dilations, output_padding=_beyond(window.left_over(dims, step.out_dims, kernel)),
    )  # fmt: skip
    return {0: step.unfolded(_trimmed(node.output(0), step, window, kernel), 0)}


def _beyond(left_over: list[int]) -> list[int]:
    return [max(0, rest) for rest in left_over]


def _trimmed(tensor: ov.Output, step: Step, window: Window, kernel: list[int]) -> ov.Output:
    """Without what a last window reaches beyond the map (rounding up), and cut to open sizes."""
    dims = step.dims(0)
    for axis, rest in enumerate(window.left_over(dims, step.out_dims, kernel)):
        if rest < 0 and dims[axis + 2].is_static:
            tensor = emit.slice_axis(tensor, axis + 2, 0, dims[axis + 2].size)
    return cut_to(tensor, dims)


def _counts(step: Step, window: Window, kernel: list[int]) -> ov.Output | None:
    """1 / entries that each window averages over, [1, 1, ...]; None where all of them have the whole kernel."""
    dims, out = step.dims(0), step.out_dims
    whole = all(rest >= 0 for rest in window.left_over(dims, out, kernel))
    bare = step.flag("exclude-pad") or not whole
    if whole and not (bare and any([*window.begin, *window.end])):
        return None
    if not all(dim.is_static for dim in dims[2:]):
        raise Refusal("its windows count fewer entries at the border of a map whose size is open")
    ones = np.ones((1, 1, *(dim.size for dim in dims[2:])), np.float32)
    means = _made(lambda ones: emit.clone(step.node, [ones]), ones)
    return op.constant(means / _covered(step, window, kernel), dtype=step.adjoint.get_element_type()).output(0)


def _covered(step: Step, window: Window, kernel: list[int]) -> np.ndarray:
    """[1, 1, ...]: how many entries of the map each window covers; 1 where rounding up has left it none."""
    found = np.ones((1, 1), np.float32)
    for axis, width in enumerate(kernel):
        first = np.arange(step.out_dims[axis + 2].size) * window.strides[axis] - window.begin[axis]
        reach = first[:, None] + np.arange(width) * window.dilations[axis]
        found = found[..., None] * ((reach >= 0) & (reach < step.dims(0)[axis + 2].size)).sum(axis=1).astype(np.float32)
    return np.maximum(found, 1)
