"""The one table of operations for places: what each type does to them, by OpenVINO's name.

A family is one line. An operation that is not here leaves no places, and the reason names it. To add one: its line here, a
rule in `rules/` if no other one's does, and its tiny graphs in tests/trace.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from ovxai.graph.kinds import BINARY, UNARY
from ovxai.trace.rules import mixing, moving, sliding
from ovxai.trace.tags import Step, Tags

#: Tags of every output, or one for all of them.
Rule = Callable[[Step], Tags | list[Tags]]


def _family(names: Iterable[str], rule: Rule) -> dict[str, Rule]:
    return dict.fromkeys(names, rule)


#: Every entry keeps its place, the other inputs are parameters. A softmax, a norm, a running sum reads further ones too.
SAME = (
    "Softmax", "LogSoftmax", "MVN", "NormalizeL2", "LRN", "GRN", "GroupNormalization", "BatchNormInference", "PRelu",
    "FakeQuantize", "FakeConvert", "CumSum", "Bucketize", "Result",
)  # fmt: skip
REDUCTIONS = (
    "ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2",
    "ReduceLogicalAnd", "ReduceLogicalOr",
)  # fmt: skip

RULES: Mapping[str, Rule] = MappingProxyType({
    **_family(UNARY, mixing.same),
    **_family(SAME, mixing.same),
    **_family((*BINARY, "Select"), mixing.elementwise),
    **_family(REDUCTIONS, mixing.reduction),
    **_family(("Reshape", "Squeeze", "Unsqueeze"), moving.reshape),
    "Transpose": moving.transpose,
    "Concat": moving.concat,
    **_family(("Split", "VariadicSplit"), moving.split),
    "Slice": moving.slice_,
    "StridedSlice": moving.strided_slice,
    "Gather": moving.gather,
    "Roll": moving.roll,
    "Reverse": moving.reverse,
    "ReverseSequence": moving.reverse_sequence,
    **_family(("NV12toRGB", "NV12toBGR", "I420toRGB", "I420toBGR"), moving.planes),
    "Tile": moving.tile,
    "Broadcast": moving.broadcast,
    "DepthToSpace": moving.depth_to_space,
    "SpaceToDepth": moving.space_to_depth,
    "ShuffleChannels": moving.shuffle_channels,
    **_family(("Convolution", "DeformableConvolution", "ConvolutionBackpropData"), sliding.convolution),
    **_family(("GroupConvolution", "GroupConvolutionBackpropData"), sliding.group_convolution),
    **_family((*sliding.POOLS, "AdaptiveAvgPool", "AdaptiveMaxPool"), sliding.pool),
    "ExtractImagePatches": sliding.convolution,
    "Interpolate": sliding.resize,
    "Pad": sliding.pad,
    "MatMul": mixing.matmul,
    "Einsum": mixing.einsum,
    "ScaledDotProductAttention": mixing.attention,
    "TopK": mixing.topk,
    **_family(("LSTMSequence", "GRUSequence", "RNNSequence"), mixing.sequence),
    **_family(("ScatterUpdate", "ScatterNDUpdate", "ScatterElementsUpdate"), mixing.written_over),
})  # fmt: skip
