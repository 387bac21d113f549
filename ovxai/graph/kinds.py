"""OpenVINO's names of the operations that work on each number by itself."""

from __future__ import annotations

import math

import openvino as ov

#: With one operand.
UNARY = (
    "Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Ceiling", "Clamp", "Convert", "ConvertLike", "Cos", "Cosh", "Elu",
    "Erf", "Exp", "Floor", "Gelu", "HSigmoid", "HSwish", "HardSigmoid", "Identity", "IsFinite", "IsInf", "IsNaN", "Log",
    "LogicalNot", "Mish", "Negative", "Relu", "Round", "Selu", "Sigmoid", "Sign", "Sin", "Sinh", "SoftPlus", "SoftSign", "Sqrt",
    "Swish", "Tan", "Tanh",
)  # fmt: skip
#: With two operands that broadcast as NumPy's do.
BINARY = (
    "Add", "Subtract", "Multiply", "Divide", "Maximum", "Minimum", "Power", "SquaredDifference", "Mod", "FloorMod", "Equal",
    "NotEqual", "Greater", "GreaterEqual", "Less", "LessEqual", "LogicalAnd", "LogicalOr", "LogicalXor",
)  # fmt: skip

#: What shows the same numbers in another shape or type.
VIEWS = ("Reshape", "Squeeze", "Unsqueeze", "Convert", "Transpose", "FakeQuantize")

#: What begins the reading of a picture, whatever stands before it.
_READING = ("Convolution", "GroupConvolution")
#: What may not stand before that: it has read its input already.
_WEIGHING = (*_READING, "MatMul")


def _channels_read(node: ov.Node) -> int | None:
    """Of how many channels the weights are, [out, in, ..] or [groups, out, in, ..]; None where that is open."""
    sides = node.get_input_partial_shape(1)
    axes = (1,) if node.get_type_name() == "Convolution" else (0, 2)
    if sides.rank.is_dynamic or any(sides[axis].is_dynamic for axis in axes):
        return None
    return math.prod(sides[axis].get_length() for axis in axes)


def behind_views(port: ov.Output) -> ov.Output:
    """The tensor whose numbers `port` shows, maybe in another shape or type."""
    while port.get_node().get_type_name() in VIEWS:
        port = port.get_node().input_value(0)
    return port


def meets_convolution(port: ov.Output, channels: int) -> bool:
    """Whether a convolution over two sides reads so many channels of what is fed, before anything else weighs it."""
    seen, front = set(), [port]
    while front:
        for target in front.pop().get_target_inputs():
            node = target.get_node()
            kind, rank = node.get_type_name(), node.get_input_partial_shape(0).rank
            reads = kind in _READING and rank.is_static and rank.get_length() == 4 and target.get_index() == 0
            if reads and _channels_read(node) == channels:
                return True
            if kind not in _WEIGHING and node.get_name() not in seen:
                seen.add(node.get_name())
                front += node.outputs()
    return False
