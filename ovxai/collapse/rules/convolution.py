"""Convolutions: as large as the map, they are a flatten + MatMul; else position-wise, or refused.

Convolution(F [N, C, h, w], W [O, C, h, w]) -> sum over p of F[p] @ W[p]
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovxai.collapse.carry import is_pointwise_convolution
from ovxai.collapse.dims import sizes
from ovxai.collapse.operation import Operation
from ovxai.collapse.rules.merged import positional_product
from ovxai.collapse.values import Leveled, Refusal, Shared, Value

if TYPE_CHECKING:
    from ovxai.collapse.interpreter import Interpreter


def convolution(interpreter: Interpreter, operation: Operation) -> list[Value] | None:
    data, weight = operation.inputs
    if not isinstance(data, Leveled) or not isinstance(weight, Shared):
        return None
    if is_pointwise_convolution(operation.node, sizes(weight.dims)):
        return None
    whole = sizes(data.dims)[2:] == sizes(weight.dims)[2:] and data.positions == tuple(range(2, data.rank))
    if not whole or any([*operation.attribute("pads_begin"), *operation.attribute("pads_end")]):
        raise Refusal("its kernel mixes neighbouring positions")
    return [positional_product(interpreter, operation, data, weight.out, weight.dims)]
