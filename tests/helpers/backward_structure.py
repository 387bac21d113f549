"""Tiny graphs for the rules of products, shape operations, selections, reductions, normalisations, pools and attention."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import openvino as ov
from openvino import opset13 as op
from openvino import opset14
from openvino.utils.node_factory import NodeFactory

from helpers.differences import Tiny, all_apart, positive, some_nothing
from helpers.values import numbers

ONE = ((2, 4, 3, 5),)
ROWS = ((2, 6, 4),)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def conv(
    kernel: tuple[int, ...] = (3, 3), stride: int = 1, pad: int = 1, dilation: int = 1, auto: str = "explicit", outs: int = 3
) -> Tiny:
    rank = len(kernel)
    weights = numbers(outs, 4, *kernel, size=0.3)
    size = {1: (2, 4, 7), 2: (2, 4, 6, 7), 3: (2, 4, 4, 3, 5)}[rank]
    lists = [[value] * rank for value in (stride, pad, pad, dilation)]
    return Tiny(lambda x: op.convolution(x, weights, *lists, auto), (size,))


def depthwise(kernel: int, begin: int, end: int, stride: int = 2, dilation: int = 1, size: tuple[int, int] = (6, 7)) -> Tiny:
    weights = numbers(4, 1, 1, kernel, kernel, seed=3)
    pads, strides = ([begin] * 2, [end] * 2), [stride] * 2
    return Tiny(lambda x: op.group_convolution(x, weights, strides, *pads, [dilation] * 2), ((2, 4, *size),))


def group_conv(stride: int = 1, outs: int = 1) -> Tiny:
    weights = numbers(4, outs, 1, 3, 3, size=0.3)
    return Tiny(lambda x: op.group_convolution(x, weights, [stride] * 2, [1, 1], [1, 1], [1, 1]), ((2, 4, 6, 7),))


def wide_groups(stride: int = 1) -> Tiny:
    """Two groups of as many outputs as inputs."""
    weights = numbers(2, 2, 2, 3, 3, size=0.3)
    return Tiny(lambda x: op.group_convolution(x, weights, [stride] * 2, [1, 1], [1, 1], [1, 1]), ((2, 4, 6, 7),))


def deconv(stride: int = 2, extra: int = 1, outs: int = 3) -> Tiny:
    weights = numbers(4, outs, 3, 3, size=0.3)
    return Tiny(lambda x: op.convolution_backprop_data(
        x, weights, [stride] * 2, pads_begin=[1, 1], pads_end=[1, 1], output_padding=[extra] * 2
    ), ONE)  # fmt: skip


def group_deconv(outs: int = 3) -> Tiny:
    weights = numbers(2, 2, outs, 2, 2, size=0.3)
    return Tiny(lambda x: op.group_convolution_backprop_data(x, weights, [2, 2]), ONE)


def matmul(one: tuple[int, ...], other: tuple[int, ...], turn_one: bool = False, turn_other: bool = False) -> Tiny:
    return Tiny(lambda a, b: op.matmul(a, b, turn_one, turn_other), (one, other))


def compressed(*shape: int) -> ov.Node:
    """Weights as NNCF writes them: whole numbers, and a scale per output."""
    whole = np.clip(np.round(numbers(*shape, size=40)), -127, 127).astype(np.int8)
    return op.multiply(op.convert(op.constant(whole), np.float32), np.abs(numbers(shape[0], 1, size=0.02)))


def attention(*shapes: tuple[int, ...], mask: np.ndarray | None = None, scale: float | None = None) -> Tiny:
    def make(query: ov.Node, key: ov.Node, value: ov.Node) -> ov.Node:
        further = [mask] if mask is not None else []
        if scale is not None:
            further = [mask if mask is not None else np.float32(0), np.float32(scale)]
        return op.scaled_dot_product_attention(query, key, value, *map(op.constant, further))

    return Tiny(make, shapes)


def einsum(equation: str, *shapes: tuple[int, ...]) -> Tiny:
    return Tiny(lambda *operands: op.einsum(list(operands), equation), shapes)


def reduction(make: Callable[..., ov.Node], values: Callable[[np.ndarray], np.ndarray] = positive) -> list[Tiny]:
    return [
        Tiny(lambda x: make(x, ints(2, 3), True), ONE, values), Tiny(lambda x: make(x, ints(-1), False), ONE, values),
        Tiny(lambda x: make(x, ints(1, 2), False), ONE, values),
    ]  # fmt: skip


def resized(mode: str, size: tuple[int, int] = (7, 4), **further: object) -> Tiny:
    return Tiny(lambda x: op.interpolate(x, ints(*size), mode, "sizes", axes=ints(2, 3), **further), ONE)


def old(version: str, kind: str, inputs: Sequence[ov.Node], **attributes: object) -> ov.Node:
    """An operation in the form of an earlier operation set, as models of its time keep it."""
    return NodeFactory(version).create(kind, [each.output(0) for each in inputs], attributes)


def old_resized(mode: str, axes: bool) -> Tiny:
    """Interpolate of opset 4, which has sizes and scales side by side, and none of them is read but one."""
    size, scale = ([7, 4], [9.0, 9.0]) if mode == "sizes" else ([1, 1], [2.0, 0.8])
    if not axes:
        size, scale = [2, 4, *size], [1.0, 1.0, *scale]
    how = {"mode": "linear_onnx", "coordinate_transformation_mode": "half_pixel", "nearest_mode": "floor", "antialias": False,
           "pads_begin": [0], "pads_end": [0], "cube_coeff": -0.75, "shape_calculation_mode": mode}  # fmt: skip
    further = [op.constant(ints(2, 3))] if axes else []
    return Tiny(
        lambda x: old(
            "opset4", "Interpolate", [x, op.constant(ints(*size)), op.constant(np.array(scale, np.float32)), *further], **how
        ),
        ONE,
    )


def batch_norm_values() -> list[np.ndarray]:
    """gamma, beta, mean, variance."""
    return [numbers(4), numbers(4, seed=1), numbers(4, seed=2), np.abs(numbers(4, seed=3)) + np.float32(0.5)]


def _old_batch_norm(x: ov.Node) -> ov.Node:
    gamma, beta, mean, variance = map(op.constant, batch_norm_values())
    return old("opset1", "BatchNormInference", [gamma, beta, x, mean, variance], epsilon=1e-3)


DILATED = {
    "strides": [1, 1], "dilations": [2, 2], "pads_begin": [1, 1], "pads_end": [1, 1], "kernel": [2, 2], "exclude-pad": True,
    "rounding_type": "floor", "auto_pad": "explicit",
}  # fmt: skip


def pooled(make: Callable[..., ov.Node], shape: tuple[int, ...] = (2, 3, 6, 7)) -> Tiny:
    return Tiny(make, (shape,), all_apart)


def average(kernel: int, stride: int, pad: int, bare: bool, rounding: str = "floor") -> Tiny:
    return pooled(lambda x: op.avg_pool(x, [stride] * 2, [pad] * 2, [pad] * 2, [kernel] * 2, bare, rounding, "explicit"))


def largest(kernel: int, stride: int, pad: int, rounding: str = "floor") -> Tiny:
    make = opset14.max_pool if rounding == "ceil_torch" else op.max_pool
    return pooled(lambda x: op.multiply(np.float32(0.1), make(
        x, [stride] * 2, [1, 1], [pad] * 2, [pad] * 2, [kernel] * 2, rounding, "explicit"
    ).output(0)))  # fmt: skip


def strided(begin: list[int], end: list[int], stride: list[int], **masks: list[int]) -> Tiny:
    return Tiny(lambda x: op.strided_slice(
        x, ints(*begin), ints(*end), ints(*stride), masks.get("from_start", []), masks.get("to_end", []), masks.get("new", []),
        masks.get("single", []), masks.get("dots", []),
    ), ONE)  # fmt: skip


APPLY: dict[str, list[Tiny]] = {
    "Convolution": [
        conv(),
        conv(stride=2),
        conv((1, 1), 1, 0),
        conv((1, 1), 2, 0),
        conv(dilation=2, pad=2),
        conv(outs=4),
        conv(stride=2, outs=4),
        conv((1, 1), 1, 0, outs=4),
        conv((3,)),
        conv((2, 2, 2), 2, 0),
        conv(stride=2, auto="same_upper"),
        conv((3, 3), 3, 0),
    ],
    "GroupConvolution": [
        group_conv(),
        group_conv(2),
        group_conv(2, 3),
        wide_groups(),
        wide_groups(2),
        depthwise(2, 0, 0),
        depthwise(3, 1, 1),
        depthwise(3, 0, 1, size=(8, 8)),
        depthwise(4, 2, 1),
        depthwise(5, 2, 2),
        depthwise(5, 4, 4),
        depthwise(3, 1, 1, 3),
        depthwise(2, 1, 1, 2, 2),
        depthwise(2, 2, 2),
        depthwise(3, 0, 0, size=(8, 9)),
        depthwise(2, 0, 0, size=(7, 8)),
    ],
    "ConvolutionBackpropData": [deconv(), deconv(1, 0), deconv(3, 2), deconv(outs=4)],
    "GroupConvolutionBackpropData": [group_deconv(), group_deconv(2)],
    "MatMul": [
        matmul((2, 3, 4), (4, 5)),
        matmul((2, 4, 3), (2, 4, 5), True),
        matmul((2, 3, 4), (5, 4), False, True),
        matmul((2, 4, 3), (2, 5, 4), True, True),
        matmul((2, 1, 3, 4), (3, 4, 2)),
        matmul((2, 3, 4), (4,)),
        matmul((2, 3), (4, 3, 5)),
        matmul((4,), (2, 4, 3)),
        Tiny(lambda x: op.matmul(x, numbers(4, 6), False, False), ROWS),
        Tiny(lambda x: op.matmul(x, numbers(4, 4), False, False), ROWS),
        Tiny(lambda x: op.matmul(x, numbers(4, 4), False, True), ROWS),
        Tiny(lambda x: op.matmul(numbers(6, 6), x, True, False), ROWS),
        Tiny(lambda x: op.matmul(x, compressed(8, 4), False, True), ROWS),
    ],
    "Einsum": [
        einsum("bqc,bkc->bqk", (2, 3, 4), (2, 5, 4)),
        einsum("bqk,ck->bcq", (2, 3, 4), (5, 4)),
        einsum("bij,b", (2, 3, 4), (2,)),
        einsum("bij,bjk->bk", (2, 3, 4), (2, 4, 5)),
        einsum("bij->ib", (2, 3, 4)),
        einsum("bi,bij,bjk->bk", (2, 3), (2, 3, 4), (2, 4, 2)),
    ],
    "ScaledDotProductAttention": [
        attention((2, 3, 4, 5), (2, 3, 6, 5), (2, 3, 6, 2)),
        attention((2, 4, 5), (2, 6, 5), (2, 6, 3), mask=numbers(4, 6)),
        attention((2, 4, 5), (2, 6, 5), (2, 6, 3), mask=numbers(4, 6) > -0.7),
        attention((2, 4, 5), (2, 6, 5), (2, 6, 3), scale=0.3),
    ],
    "ReduceSum": reduction(op.reduce_sum),
    "ReduceMean": reduction(op.reduce_mean),
    "ReduceMax": reduction(op.reduce_max, all_apart),
    "ReduceMin": reduction(op.reduce_min, all_apart),
    "ReduceProd": [*reduction(op.reduce_prod), *reduction(op.reduce_prod, some_nothing)],
    "ReduceL1": reduction(op.reduce_l1),
    "ReduceL2": reduction(op.reduce_l2),
    "CumSum": [
        Tiny(lambda x: op.cum_sum(x, np.int64(1)), ROWS),
        Tiny(lambda x: op.cum_sum(x, np.int64(-1), True, True), ROWS),
    ],
    "Softmax": [Tiny(lambda x: op.softmax(x, 1), ONE), Tiny(lambda x: op.softmax(x, -1), ROWS)],
    "LogSoftmax": [Tiny(lambda x: op.log_softmax(x, 1), ONE), Tiny(lambda x: op.log_softmax(x, -1), ROWS)],
    "MVN": [
        Tiny(lambda x: op.mvn(x, ints(-1), True, 1e-5, "INSIDE_SQRT"), ROWS),
        Tiny(lambda x: op.mvn(x, ints(2, 3), True, 0.1, "OUTSIDE_SQRT"), ONE),
        Tiny(lambda x: op.mvn(x, ints(1, 2, 3), False, 1e-5, "INSIDE_SQRT"), ONE),
        *(
            Tiny(lambda x, a=a: old("opset2", "MVN", [x], eps=0.1, across_channels=a, normalize_variance=True), ONE)
            for a in (False, True)
        ),
    ],
    "NormalizeL2": [
        Tiny(lambda x: op.normalize_l2(x, ints(1), 0.1, "add"), ONE),
        Tiny(lambda x: op.normalize_l2(x, ints(2, 3), 0.01, "max"), ONE),
        Tiny(lambda x: op.normalize_l2(x, ints(1), 50.0, "max"), ONE),
    ],
    "BatchNormInference": [
        Tiny(lambda x: op.batch_norm_inference(x, *batch_norm_values(), 1e-3), ONE),
        Tiny(_old_batch_norm, ONE),
    ],
    "GroupNormalization": [Tiny(lambda x: op.group_normalization(x, numbers(4), numbers(4, seed=1), 2, 1e-3), ONE)],
    "LRN": [Tiny(lambda x: _lrn(x, ints(1), 3), ((2, 6, 2, 3),))],
    "MaxPool": [largest(3, 2, 1), largest(2, 2, 0), largest(3, 2, 0, "ceil"), largest(3, 2, 1, "ceil_torch")],
    "AdaptiveMaxPool": [pooled(lambda x, to=to: op.adaptive_max_pool(x, ints(*to), "i32").output(0)) for to in ((1, 1), (2, 3))],
    "AvgPool": [
        average(2, 2, 0, True),
        average(3, 1, 1, True),
        average(3, 2, 1, False),
        average(3, 2, 0, False, "ceil"),
        average(3, 2, 1, True, "ceil"),
        pooled(lambda x: old("opset16", "AvgPool", [x], **DILATED)),
    ],
    "AdaptiveAvgPool": [
        pooled(lambda x: op.adaptive_avg_pool(x, ints(2, 3))),
        pooled(lambda x: op.adaptive_avg_pool(x, ints(1, 1))),
    ],
    "Interpolate": [
        resized("nearest"),
        resized("linear_onnx"),
        resized("cubic"),
        resized("linear", antialias=True, size=(2, 3)),
        resized("linear_onnx", coordinate_transformation_mode="align_corners"),
        Tiny(lambda x: op.interpolate(x, np.array([2, 2], np.float32), "nearest", "scales", axes=ints(2, 3)), ONE),
        Tiny(lambda x: op.interpolate(x, np.array([1.7, 0.6], np.float32), "linear_onnx", "scales", axes=ints(2, 3)), ONE),
        Tiny(lambda x: op.interpolate(x, np.array([1, 1, 2, 2], np.float32), "nearest", "scales"), ONE),
        *(old_resized(mode, axes) for mode in ("sizes", "scales") for axes in (True, False)),
    ],
    "Reshape": [Tiny(lambda x: op.reshape(x, ints(0, -1), True), ONE), Tiny(lambda x: op.reshape(x, ints(-1, 4), False), ROWS)],
    "Squeeze": [Tiny(lambda x: op.squeeze(x, ints(1)), ((2, 1, 4),))],
    "Unsqueeze": [Tiny(lambda x: op.unsqueeze(x, ints(1)), ROWS)],
    "Transpose": [Tiny(lambda x: op.transpose(x, ints(0, 2, 3, 1)), ONE), Tiny(lambda x: op.transpose(x, ints(2, 0, 1)), ROWS)],
    "Broadcast": [
        Tiny(lambda x: op.broadcast(x, ints(2, 4, 5), broadcast_spec="NUMPY"), ((2, 1, 5),)),
        Tiny(lambda x: op.broadcast(x, ints(3, 1, 4, 1), broadcast_spec="BIDIRECTIONAL"), ((4, 5),)),
    ],
    "Tile": [Tiny(lambda x: op.tile(x, ints(1, 3, 2)), ROWS)],
    "Concat": [
        Tiny(lambda x: op.concat([x, op.multiply(x, x), x], 1), ROWS),
        Tiny(lambda x, y: op.concat([x, y, x], 1), ((2, 6, 4), (2, 3, 4))),
        Tiny(lambda x: op.concat([numbers(2, 2, 4), x], -2), ROWS),
    ],
    "Split": [
        Tiny(lambda x: op.split(x, np.int64(1), 3).output(1), ROWS),
        Tiny(lambda x: op.multiply(*(op.split(x, np.int64(-1), 2).output(i) for i in (0, 1))), ROWS),
    ],
    "VariadicSplit": [Tiny(lambda x: op.variadic_split(x, np.int64(1), ints(1, 3, 2)).output(1), ROWS)],
    "DepthToSpace": [
        Tiny(lambda x: op.depth_to_space(x, "blocks_first", 2), ((2, 8, 2, 3),)),
        Tiny(lambda x: op.depth_to_space(x, "depth_first", 2), ((2, 8, 2, 3),)),
    ],
    "SpaceToDepth": [
        Tiny(lambda x: op.space_to_depth(x, "blocks_first", 2), ((2, 2, 4, 6),)),
        Tiny(lambda x: op.space_to_depth(x, "depth_first", 2), ((2, 2, 4, 6),)),
    ],
    "ShuffleChannels": [Tiny(lambda x: op.shuffle_channels(x, 1, 3), ((2, 6, 2, 3),))],
    "Roll": [Tiny(lambda x: op.roll(x, ints(1, -2), ints(2, -1)), ONE)],
    "Reverse": [
        Tiny(lambda x: old("opset1", "Reverse", [x, op.constant(ints(1, 2))], mode="index"), ROWS),
        Tiny(lambda x: old("opset1", "Reverse", [x, op.constant(np.array([False, True, False]))], mode="mask"), ROWS),
    ],
    "ReverseSequence": [Tiny(lambda x: op.reverse_sequence(x, ints(3, 6, 1, 4), 2, 1), ROWS)],
    "Slice": [
        Tiny(lambda x: op.slice(x, ints(1), ints(4), ints(1), ints(1)), ROWS),
        Tiny(lambda x: op.slice(x, ints(-1, 0), ints(-100, 1 << 40), ints(-2, 1), ints(1, 2)), ROWS),
        Tiny(lambda x: op.slice(x, ints(0, 1), ints(2, 4), ints(1, 2)), ROWS),
    ],
    "StridedSlice": [
        strided([0, 1, 0, 0], [0, 3, 0, 0], [1, 1, 1, 1], from_start=[1, 0, 1, 1], to_end=[1, 0, 1, 1]),
        strided([0, 0, 2], [0, 0, 3], [1, 1, 1], from_start=[1, 1, 0], to_end=[1, 1, 0], single=[0, 0, 1]),
        strided([0, 2, 0, 0], [0, 3, 0, 0], [1] * 4, from_start=[1, 1, 1, 1], to_end=[1, 0, 1, 1], single=[0, 1, 0, 0]),
        strided([0, -1, 0, 0], [0, 0, 0, 0], [1, 1, 1, 2], from_start=[1, 0, 1, 1], to_end=[1, 0, 1, 1], single=[0, 1, 0, 0]),
    ],
    "Pad": [
        Tiny(lambda x: op.pad(x, ints(0, 0, 1, 2), ints(0, 1, 0, 1), "constant", np.float32(0.5)), ONE),
        *(Tiny(lambda x, m=m: op.pad(x, ints(0, 0, 1, 2), ints(0, 0, 2, 1), m), ONE) for m in ("edge", "reflect", "symmetric")),
    ],
}


def _lrn(x: ov.Node, axes: np.ndarray, size: int) -> ov.Node:
    return op.lrn(x, axes, 0.3, 0.75, 1.0, size)


#: rule -> (a graph that it must refuse, a word of the reason, axes that are open). A rule that is not here never has to.
REFUSE: dict[str, tuple[Tiny, str, tuple[int, ...]]] = {
    "Convolution": (
        Tiny(lambda x, w: op.convolution(x, w, [1] * 2, [0] * 2, [0] * 2, [1] * 2), ((2, 4, 6, 7), (3, 4, 3, 3))),
        "input 1",
        (),
    ),
    "GroupConvolution": (
        Tiny(
            lambda x: op.group_convolution(x, numbers(4, 1, 1, 3, 3), [2] * 2, [0] * 2, [0] * 2, [1] * 2, "same_upper"),
            ((2, 4, 6, 7),),
        ),
        "padding",
        (2, 3),
    ),
    "ConvolutionBackpropData": (
        Tiny(lambda x: op.convolution_backprop_data(x, numbers(4, 3, 3, 3), [2, 2], ints(6, 10), auto_pad="same_upper"), ONE),
        "padding",
        (),
    ),
    "GroupConvolutionBackpropData": (
        Tiny(
            lambda x: op.group_convolution_backprop_data(x, numbers(2, 2, 3, 3, 3), [2, 2], ints(6, 10), auto_pad="same_lower"),
            ONE,
        ),
        "padding",
        (),
    ),
    "Einsum": (einsum("bii->bi", (2, 3, 3)), "equations like bii->bi", ()),
    "ScaledDotProductAttention": (
        Tiny(lambda q, k, v: op.scaled_dot_product_attention(q, k, v, causal=True), ((2, 4, 5), (2, 4, 5), (2, 4, 3))),
        "before it",
        (),
    ),
    "NormalizeL2": (Tiny(lambda x: op.normalize_l2(x, np.array([], np.int64), 0.1, "add"), ONE), "axes", ()),
    "LRN": (Tiny(lambda x: _lrn(x, ints(2, 3), 3), ONE), "channels", ()),
    "AvgPool": (average(3, 1, 1, True), "border", (2, 3)),
    "MaxPool": (
        Tiny(
            lambda x: op.max_pool(x, [2] * 2, [1] * 2, [0] * 2, [0] * 2, [3] * 2, auto_pad="same_upper").output(0),
            ((2, 3, 6, 7),),
        ),
        "padding",
        (2, 3),
    ),
    "AdaptiveAvgPool": (pooled(lambda x: op.adaptive_avg_pool(x, ints(2, 3))), "open", (2, 3)),
    "Interpolate": (resized("linear_onnx"), "open", (2, 3)),
    "Broadcast": (
        Tiny(lambda x: op.broadcast(x, ints(2, 4, 3), ints(0, 1), "EXPLICIT"), ((2, 4),)),
        "explicit",
        (),
    ),
    "Tile": (Tiny(lambda x: op.tile(x, ints(2, 1, 1, 1)), ROWS), "axes", ()),
    "ShuffleChannels": (Tiny(lambda x: op.shuffle_channels(x, 1, 3), ((2, 6, 2, 3),)), "open", (1,)),
    "Slice": (Tiny(lambda x: op.slice(x, ints(0), ints(6), ints(2), ints(1)), ROWS), "n-th", (1,)),
    "StridedSlice": (strided([0], [0], [1], from_start=[1], to_end=[1], new=[1]), "adds axes", ()),
    "Pad": (Tiny(lambda x: op.pad(x, ints(0, -1, 0), ints(0, 1, 0), "constant", np.float32(0)), ROWS), "cuts", ()),
    "Split": (
        Tiny(lambda x: op.split(x, op.convert(op.reduce_max(op.abs(x), ints(0, 1, 2)), "i64"), 2).output(0), ROWS),
        "input 1",
        (),
    ),
}
