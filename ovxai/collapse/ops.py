"""The one table of operations: what the collapse knows of each type, by OpenVINO's name.

A family is one line: its types share an `Op`. An operation that is not here mixes whatever it is given, is made dense,
and the note says that there is no rule for it. To add one: write what is missing (a `carry`, a `lift`, a rule in
`rules/`), add its line here, and its tiny heads to tests/collapse.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType

from openvino import opset13 as op

from ovxai.collapse import batched, carry, changes, decompose, functions
from ovxai.collapse.operation import Op, Operation
from ovxai.collapse.rules.flatten import convolution, on_merged
from ovxai.collapse.rules.pool import pool
from ovxai.collapse.rules.product import matmul
from ovxai.collapse.rules.reduction import reduction
from ovxai.collapse.rules.selection import concat, gather, slice_, split, strided_slice
from ovxai.collapse.rules.softmax import softmax
from ovxai.collapse.values import Shared
from ovxai.graph.kinds import BINARY, UNARY

# --- is the result affine in the level? -------------------------------------------------------------


def _in_all(operation: Operation) -> bool:
    """Linear in all that varies together."""
    return True


def _in_one(operation: Operation) -> bool:
    """Linear in one operand while the others are shared."""
    return len(_varying(operation)) == 1


def _in_first(operation: Operation) -> bool:
    return _varying(operation) == [0]


def _into_reals(operation: Operation) -> bool:
    return bool(operation.node.get_output_element_type(0).is_real())


def _varying(operation: Operation) -> list[int]:
    return [port for port, value in enumerate(operation.inputs) if not isinstance(value, Shared)]


# --- families ---------------------------------------------------------------------------------------

#: What a family's other ports hold (slopes, ranges, betas) broadcasts like NumPy's too.
BROADCASTING = (*BINARY, "Select", "FakeQuantize")

_unary = Op(carry.data, batched.elementwise, meet=on_merged, elementwise=True, any_size=True)
_broadcasting = Op(carry.elementwise, batched.elementwise, meet=on_merged, elementwise=True, any_size=True)
_reduction = Op(carry.reduce, batched.axes_input, meet=reduction, any_size=True)
_reshape = Op(carry.reshape, batched.reshape, meet=on_merged, linear=_in_all, shaped=True, change=changes.through, moves=True)
_slice = Op(linear=_in_all, picks=True, change=changes.through, moves=True)
_split = replace(_slice, carry=carry.but_axis_input, lift=batched.axes_input, meet=split)
_folded = Op(carry.batch, batched=True)
_pool = Op(carry.pool, meet=pool, batched=True)
_softmax = Op(carry.but_axis_attribute, batched.axis_attribute, any_size=True, change=changes.weights)


def _family(names: Iterable[str], facts: Op) -> dict[str, Op]:
    return dict.fromkeys(names, facts)


OPS: Mapping[str, Op] = MappingProxyType({
    **_family(UNARY, _unary),
    **_family(BROADCASTING, _broadcasting),
    **_family(functions.CURVES, replace(_unary, change=functions.curved)),
    "Convert": replace(_unary, linear=_into_reals, change=changes.through),
    **_family(("Add", "Subtract"), replace(_broadcasting, linear=_in_all, change=changes.summed)),
    "Negative": replace(_unary, linear=_in_all, change=changes.through),
    "Multiply": replace(_broadcasting, linear=_in_one, change=changes.product),
    "Divide": replace(_broadcasting, linear=_in_first, change=changes.quotient),
    "Power": replace(_broadcasting, change=changes.power),
    "SquaredDifference": replace(_broadcasting, change=changes.squared_difference),
    "Select": replace(_broadcasting, change=changes.chosen),
    **_family(("ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2"), _reduction),
    **_family(("ReduceMean", "ReduceSum"), replace(_reduction, linear=_in_all, change=changes.through)),
    "AvgPool": replace(_pool, simpler=decompose.pool(op.reduce_mean), change=changes.through),
    "MaxPool": replace(_pool, simpler=decompose.pool(op.reduce_max)),
    "AdaptiveAvgPool": replace(_pool, meet=None, simpler=decompose.adaptive_pool(op.reduce_mean)),
    "AdaptiveMaxPool": replace(_pool, meet=None, simpler=decompose.adaptive_pool(op.reduce_max)),
    **_family(("GroupNormalization", "Interpolate", "DepthToSpace", "SpaceToDepth", "ConvolutionBackpropData"), _folded),
    "Convolution": Op(
        carry.convolution, batched.convolution, meet=convolution, linear=_in_one,
        any_size=True, change=changes.product,
    ),
    "GroupConvolution": Op(
        carry.convolution, simpler=decompose.depthwise, linear=_in_one, batched=True,
        any_size=True, change=changes.product,
    ),
    "BatchNormInference": Op(
        carry.along_channels, linear=_in_all, batched=True, spreads=False,
        any_size=True, change=changes.difference,
    ),
    "PRelu": Op(carry.along_channels, batched.prelu, spreads=False, any_size=True, change=changes.difference),
    "MatMul": Op(carry.matmul, batched.matmul, meet=matmul, linear=_in_one, any_size=True, change=changes.product),
    "ScaledDotProductAttention": Op(simpler=decompose.attention),
    "Softmax": replace(_softmax, meet=softmax),
    "LogSoftmax": replace(_softmax, change=None),
    "MVN": Op(carry.but_axis_input, batched.normalisation, any_size=True, change=changes.normalised),
    "NormalizeL2": Op(carry.but_axis_input, batched.axes_input, any_size=True, change=changes.unit_length),
    "CumSum": Op(carry.but_axis_input, batched.axes_input, change=changes.through),
    "Transpose": Op(carry.transpose, batched.transpose, linear=_in_all, any_size=True, change=changes.through, moves=True),
    "Reshape": _reshape,
    "Squeeze": replace(_reshape, carry=carry.squeeze, meet=None),
    "Unsqueeze": replace(_reshape, carry=carry.unsqueeze, meet=None),
    "Broadcast": Op(carry.broadcast, batched.broadcast, linear=_in_all, change=changes.through),
    "Tile": Op(carry.same_size, change=changes.through),
    "Pad": Op(carry.pad, simpler=decompose.pad),
    "Concat": Op(carry.concat, batched.concat, meet=concat, linear=_in_all, spreads=False, change=changes.side_by_side),
    "Gather": replace(_slice, carry=carry.gather, lift=batched.gather, meet=gather),
    "Slice": replace(_slice, carry=carry.slice_, lift=batched.slice_, meet=slice_, simpler=decompose.slice_),
    "StridedSlice": replace(
        _slice, carry=carry.strided_slice, lift=batched.strided_slice, meet=strided_slice, simpler=decompose.strided_slice
    ),
    **_family(("Split", "VariadicSplit"), _split),
})  # fmt: skip
