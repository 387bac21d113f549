"""OpenVINO's names of the operations that work on each number by itself."""

from __future__ import annotations

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
