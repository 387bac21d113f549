"""Attention as one operation: its weights, which it does not hand out, are made once more."""

from __future__ import annotations

import math

import numpy as np
import openvino as ov
from openvino import opset13 as op

from ovxai.backward.rules.unary import number
from ovxai.backward.step import Refusal, Step, sum_to
from ovxai.graph import emit


def attention(step: Step) -> dict[int, ov.Output]:
    """W = softmax(s Q K' + mask), y = W V  ->  dV = W' dy, dS = W (dW - sum of dW W) with dW = dy V', dQ = s dS K, dK = s dS' Q.

    Raises:
        Refusal: each token only sees those before it, or part of what it sees goes nowhere.
    """
    step.only(0, 1, 2)
    if step.node.get_input_size() > 5:
        raise Refusal("part of its weights goes to a sink (input 5)")
    if step.flag("causal"):
        raise Refusal("each token only sees those before it")
    query, key, value = (step.feed(port) for port in (0, 1, 2))
    scale = _scale(step)
    weights = _weights(step, emit.multiply(emit.matmul(query, key, False, True), scale))
    adjoint = step.adjoint
    found = {}
    if 2 in step.wanted:
        found[2] = emit.matmul(weights, adjoint, True, False)
    if step.wanted & {0, 1}:
        by_weight = emit.multiply(emit.matmul(adjoint, value, False, True), weights)
        total = emit.reduce_sum(by_weight, [len(step.out_shape) - 1 + step.targets.lead], True)
        scores = emit.multiply(emit.subtract(by_weight, emit.multiply(total, weights)), scale)
        if 0 in step.wanted:
            found[0] = emit.matmul(scores, key)
        if 1 in step.wanted:
            found[1] = emit.matmul(scores, query, True, False)
    wide = step.out_shape[:-2]
    return {
        port: sum_to(step.targets, tensor, [*wide, *step.shape(port)[-2:]], step.dims(port)) for port, tensor in found.items()
    }


def _scale(step: Step) -> ov.Output:
    if step.node.get_input_size() > 4:
        return step.feed(4)
    width = step.dims(0)[-1]
    if width.is_static:
        return number(1 / math.sqrt(width.size), step.feed(0))
    root = op.sqrt(op.convert(width.node(), step.feed(0).get_element_type()))
    return op.divide(number(1.0, step.feed(0)), root).output(0)


def _weights(step: Step, scores: ov.Output) -> ov.Output:
    if step.node.get_input_size() > 3 and step.shape(3):
        mask = step.feed(3)
        if not mask.get_element_type().is_real():
            mask = op.select(mask, number(0.0, scores), number(-np.inf, scores)).output(0)
        scores = emit.add(scores, mask)
    return op.softmax(scores, len(step.out_shape) - 1).output(0)
