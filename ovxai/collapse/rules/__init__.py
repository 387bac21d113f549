"""operation -> rule, for the operations in which positions or runs of tokens meet.

A rule returns the values of the operation's outputs, None where it has nothing special to say, or
raises `Refusal` with a reason. One family a file; all of them are in this one table.
"""

from __future__ import annotations

from ovxai.collapse.carry import BROADCASTING, REDUCTIONS, UNARY
from ovxai.collapse.rules.flatten import convolution, on_merged
from ovxai.collapse.rules.product import matmul
from ovxai.collapse.rules.reduction import reduction
from ovxai.collapse.rules.selection import concat, gather, slice_, split, strided_slice
from ovxai.collapse.rules.softmax import softmax

RULES = {
    **dict.fromkeys(REDUCTIONS, reduction),
    **dict.fromkeys((*UNARY, *BROADCASTING, "Reshape"), on_merged),
    "Concat": concat,
    "Convolution": convolution,
    "MatMul": matmul,
    "Softmax": softmax,
    "Gather": gather,
    "Slice": slice_,
    "StridedSlice": strided_slice,
    "Split": split,
    "VariadicSplit": split,
}
