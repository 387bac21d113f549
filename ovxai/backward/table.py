"""The one table of operations: how each hands a derivative on, by OpenVINO's name.

An operation that is not here refuses by its name. To add one: write its rule in `rules/` (a function from a `Step` to the
adjoint of each input), add its line here, and the tiny graphs that show it to tests/backward.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ovxai.backward.rules import (
    attention,
    binary,
    linear,
    normalisation,
    pools,
    quantisers,
    reductions,
    resampling,
    selection,
    shapes,
    unary,
)  # fmt: skip
from ovxai.backward.step import Rule

RULES: Mapping[str, Rule] = MappingProxyType({
    **{kind: unary.by(slope) for kind, slope in unary.SLOPES.items()},
    **dict.fromkeys(unary.STAIRCASES, unary.flat),
    **dict.fromkeys(("Convert", "ConvertLike"), unary.convert),
    "Relu": unary.relu,
    "Clamp": unary.clamp,
    "Identity": unary.same,
    "Negative": unary.negated,
    "PRelu": unary.prelu,
    "Add": binary.add,
    "Subtract": binary.subtract,
    "Multiply": binary.multiply,
    "Divide": binary.divide,
    "Power": binary.power,
    "Maximum": binary.maximum,
    "Minimum": binary.minimum,
    "SquaredDifference": binary.squared_difference,
    **dict.fromkeys(("Mod", "FloorMod"), binary.remainder),
    "Select": binary.select,
    "FakeQuantize": quantisers.fake_quantize,
    "Convolution": linear.convolution,
    "GroupConvolution": linear.group_convolution,
    "ConvolutionBackpropData": linear.convolution_backprop,
    "GroupConvolutionBackpropData": linear.group_convolution_backprop,
    "MatMul": linear.matmul,
    "ScaledDotProductAttention": attention.attention,
    "ReduceSum": reductions.reduce_sum,
    "ReduceMean": reductions.reduce_mean,
    **dict.fromkeys(("ReduceMax", "ReduceMin"), reductions.reduce_extreme),
    "ReduceL1": reductions.reduce_l1,
    "ReduceL2": reductions.reduce_l2,
    "CumSum": reductions.cumulative_sum,
    "Softmax": normalisation.softmax,
    "LogSoftmax": normalisation.log_softmax,
    "MVN": normalisation.mvn,
    "NormalizeL2": normalisation.normalize_l2,
    "BatchNormInference": normalisation.batch_norm,
    "GroupNormalization": normalisation.group_normalization,
    "LRN": normalisation.lrn,
    "MaxPool": pools.max_pool,
    "AvgPool": resampling.avg_pool,
    "AdaptiveAvgPool": resampling.adaptive_avg_pool,
    "Interpolate": resampling.interpolate,
    **dict.fromkeys(("Reshape", "Squeeze", "Unsqueeze"), shapes.reshape),
    "Transpose": shapes.transpose,
    "Broadcast": shapes.broadcast,
    "Tile": shapes.tile,
    "Concat": shapes.concat,
    **dict.fromkeys(("Split", "VariadicSplit"), shapes.split),
    "DepthToSpace": shapes.depth_to_space,
    "SpaceToDepth": shapes.space_to_depth,
    "ShuffleChannels": shapes.shuffle_channels,
    "Roll": shapes.roll,
    "ReverseSequence": shapes.reverse_sequence,
    "Slice": selection.slice_,
    "StridedSlice": selection.strided_slice,
    "Gather": selection.gather,
    "GatherElements": selection.gather_elements,
    "Pad": selection.pad,
})  # fmt: skip
