"""Tiny graphs for the rules of functions of single numbers, of two, and of fake quantisers."""

from __future__ import annotations

import numpy as np
import openvino as ov
from openvino import opset13 as op
from openvino.utils.node_factory import NodeFactory

from helpers.differences import Tiny, above_one, all_apart, inside_one, positive
from helpers.values import numbers

PAIR = ((2, 5, 3, 4), (5, 1, 4))
SIMILAR = ((2, 5, 3, 4), (2, 5, 3, 4))


def quantised(x: ov.Node, low: float = -1.0, high: float = 1.0, out: float = 1.0) -> ov.Node:
    """A quantiser of so many levels that its steps are lost in the differences."""
    ends = [np.float32(end) for end in (low, high, out * low, out * high)]
    return op.fake_quantize(x, *ends, 1 << 24)


def steep(x: ov.Node) -> ov.Node:
    """Beside a staircase, so that something depends on x."""
    return op.multiply(x, np.float32(0.5))


APPLY: dict[str, list[Tiny]] = {
    "Relu": [Tiny(op.relu), Tiny(lambda x: quantised(op.relu(x), 0.0, 1.0)), Tiny(lambda x: quantised(op.relu(x), -0.5, 1.0))],
    "Clamp": [
        Tiny(lambda x: quantised(op.clamp(x, 0.0, 0.75), 0.0, 0.75)), Tiny(lambda x: quantised(op.clamp(x, 0.0, 0.5), 0.0, 0.75)),
        Tiny(lambda x: op.clamp(x, -0.5, 0.75)), Tiny(lambda x: op.clamp(x, 0.0, 3.4e38))],
    "Sigmoid": [Tiny(op.sigmoid)],
    "Tanh": [Tiny(op.tanh)],
    "Exp": [Tiny(op.exp)],
    "Sqrt": [Tiny(op.sqrt, values=positive)],
    "Log": [Tiny(op.log, values=positive)],
    "Abs": [Tiny(op.abs)],
    "Swish": [Tiny(op.swish), Tiny(lambda x: op.swish(x, np.float32(1.5)))],
    "HSwish": [Tiny(lambda x: op.hswish(op.multiply(x, np.float32(4))))],
    "HSigmoid": [Tiny(lambda x: op.hsigmoid(op.multiply(x, np.float32(4))))],
    "HardSigmoid": [Tiny(lambda x: op.hard_sigmoid(x, np.float32(0.5), np.float32(0.5)))],
    "Gelu": [
        Tiny(lambda x: op.gelu(x, "erf")), Tiny(lambda x: op.gelu(x, "tanh")),
        Tiny(lambda x: NodeFactory("opset2").create("Gelu", [x.output(0)], {})),
    ],
    "Mish": [Tiny(op.mish)],
    "Elu": [Tiny(lambda x: op.elu(x, 0.7))],
    "Selu": [Tiny(lambda x: op.selu(x, np.float32(1.67), np.float32(1.05)))],
    "SoftPlus": [Tiny(op.softplus)],
    "SoftSign": [Tiny(lambda x: op.softsign(x))],
    "Erf": [Tiny(op.erf)],
    "Sin": [Tiny(op.sin)],
    "Cos": [Tiny(op.cos)],
    "Tan": [Tiny(op.tan, values=inside_one)],
    "Sinh": [Tiny(op.sinh)],
    "Cosh": [Tiny(op.cosh)],
    "Asin": [Tiny(op.asin, values=inside_one)],
    "Acos": [Tiny(op.acos, values=inside_one)],
    "Atan": [Tiny(op.atan)],
    "Asinh": [Tiny(op.asinh)],
    "Acosh": [Tiny(op.acosh, values=above_one)],
    "Atanh": [Tiny(op.atanh, values=inside_one)],
    "Ceiling": [Tiny(lambda x: op.add(steep(x), op.ceiling(op.multiply(x, np.float32(4)))))],
    "Floor": [Tiny(lambda x: op.add(steep(x), op.floor(op.multiply(x, np.float32(4)))))],
    "Round": [Tiny(lambda x: op.add(steep(x), op.round(op.add(op.multiply(x, np.float32(4)), np.float32(0.5)), "half_to_even")))],
    "Sign": [Tiny(lambda x: op.add(steep(x), op.sign(x)))],
    "Convert": [Tiny(lambda x: op.add(steep(x), op.convert(op.convert(op.greater(x, np.float32(0.25)), "i32"), "f32")))],
    "ConvertLike": [Tiny(lambda x: op.convert_like(x, np.float32(1)))],
    "Identity": [Tiny(lambda x: _identity(x))],
    "Negative": [Tiny(op.negative)],
    "PRelu": [
        Tiny(lambda x: op.prelu(x, np.array([0.2], np.float32))), Tiny(lambda x: op.prelu(x, numbers(5, size=0.5))),
        Tiny(lambda x: op.prelu(x, numbers(5, 1, 1, size=0.5))),
    ],
    "Add": [Tiny(op.add, PAIR), Tiny(op.add, PAIR[::-1])],
    "Subtract": [Tiny(op.subtract, PAIR), Tiny(op.subtract, PAIR[::-1])],
    "Multiply": [Tiny(op.multiply, PAIR), Tiny(op.multiply, ((2, 5, 1, 1), (2, 5, 3, 4))), Tiny(lambda x: op.multiply(x, x))],
    "Divide": [Tiny(op.divide, PAIR, positive), Tiny(op.divide, PAIR[::-1], positive)],
    "Power": [
        *(Tiny(lambda x, p=p: op.power(x, np.float32(p)), values=positive) for p in (2.0, 0.5, -0.5, 3.0)),
        Tiny(lambda x: op.power(x, numbers(5, 1, 1)), values=positive), Tiny(op.power, PAIR, positive),
    ],
    "Maximum": [Tiny(op.maximum, SIMILAR, all_apart), Tiny(lambda x: op.maximum(x, np.float32(0.25)))],
    "Minimum": [Tiny(op.minimum, SIMILAR, all_apart), Tiny(lambda x: op.minimum(np.float32(0.25), x))],
    "SquaredDifference": [Tiny(op.squared_difference, PAIR)],
    "Mod": [Tiny(lambda x: op.mod(x, np.float32(0.5)))],
    "FloorMod": [Tiny(lambda x: op.floor_mod(x, np.float32(0.5)))],
    "Select": [
        Tiny(lambda x, y: op.select(op.greater(x, np.float32(0.25)), x, y), PAIR),
        Tiny(lambda x, y: op.select(op.greater(y, np.float32(0)), y, op.multiply(x, x)), PAIR),
    ],
    "FakeQuantize": [Tiny(quantised), Tiny(lambda x: quantised(x, -0.75, 0.5, 1.5)), Tiny(lambda x: quantised(x, out=-1.0))],
}  # fmt: skip


def _identity(x: ov.Node) -> ov.Node:
    from openvino import opset16

    return opset16.identity(x)


#: rule -> (a graph that it must refuse, a word of the reason, axes that are open). A rule that is not here never has to.
REFUSE: dict[str, tuple[Tiny, str, tuple[int, ...]]] = {
    "PRelu": (Tiny(lambda x, y: op.prelu(x, y), ((2, 5, 3, 4), (5,))), "input 1", ()),
    "Swish": (Tiny(lambda x, y: op.swish(x, y), ((2, 5, 3, 4), ())), "input 1", ()),
    "Selu": (Tiny(lambda x, y: op.selu(x, y, y), ((2, 5, 3, 4), (1,))), "input 1", ()),
    "HardSigmoid": (Tiny(lambda x, y: op.hard_sigmoid(x, y, y), ((2, 5, 3, 4), ())), "input 1", ()),
    "Mod": (Tiny(op.mod, SIMILAR), "input 1", ()),
    "FloorMod": (Tiny(op.floor_mod, SIMILAR), "input 1", ()),
    "Select": (Tiny(lambda x: op.select(op.greater(x, np.float32(0)), x, op.negative(x), auto_broadcast="pdpd")), "Paddle", ()),
    "FakeQuantize": (Tiny(lambda x, y: op.fake_quantize(x, y, np.float32(1), y, np.float32(1), 16), ((2, 5), ())), "input 1", ()),
}
