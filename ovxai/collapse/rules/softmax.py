"""Softmax over an axis of tokens: attention weights under every mask.

scores of class token | patches -> [M, .., prefix + window + 1], log(multiplicity) added, one Softmax
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import openvino as ov
from openvino import opset13 as op

from ovxai.collapse.layout import laid_out, spread_over_masks, to_windowed, window_dims
from ovxai.collapse.lazy import once
from ovxai.collapse.masks import Masks
from ovxai.collapse.operation import Operation
from ovxai.collapse.rules.reduction import along
from ovxai.collapse.tokens import edges, gated_run, history, join_runs
from ovxai.collapse.values import Leveled, Mapped, Merged, Part, Refusal, Seen, Segments, Shared, Value, Windowed
from ovxai.graph import emit
from ovxai.graph.dims import ONE, Dim

if TYPE_CHECKING:
    from ovxai.collapse.interpreter import Interpreter


#: Up to here a score for every position is cheaper than gathering a window of them.
FEW_POSITIONS = 256


def softmax(interpreter: Interpreter, operation: Operation) -> list[Value] | None:
    value = operation.inputs[0]
    axis = int(operation.attribute("axis")) % value.rank
    parts = _runs(value, axis)
    if parts is None:
        return None
    masks = interpreter.masks
    forms = _same_windows([_form(part, axis, masks) for part in parts], axis, masks)
    every = all(isinstance(form, (Shared, Mapped)) for form in forms)  # a weight for every token
    at_once = every and gated_run(value) is not None
    joint = once(lambda: _weights_at_once(value, axis, masks) if at_once else _weights(forms, axis, masks))
    sizes = [window_dims(form.dims, getattr(form, "axes", ()), masks)[axis] for form in forms]
    bounds = edges(sizes)
    results = [_run(form, axis, joint, bounds[i], bounds[i + 1], masks) for i, form in enumerate(forms)]
    dense, seen = history([value])  # every run's weights rest on the scores of all
    results = [replace(result, dense=dense, seen=seen | {Seen.SOFTMAX}) for result in results]
    if not isinstance(value, Segments):
        return results
    dims = operation.out_dims[0]
    parts = tuple(Part(lambda r=result: r) for result in results)
    single = at_once and axis == value.rank - 1 > 0 and dims[-2] == ONE
    return [Segments(dims, axis, value.sizes, parts, rows=once(lambda: _weights_in_rows(value, masks)) if single else None)]


def _runs(value: Value, axis: int) -> list[Value] | None:
    """The values whose scores are normalised together; None where positions do not meet."""
    if isinstance(value, Segments) and value.axis == axis:
        return [part() for part in value.parts]
    gated = (isinstance(value, Leveled) and axis in value.positions) or (isinstance(value, Windowed) and axis in value.axes)
    return [value] if gated else None


def _form(value: Value, axis: int, masks: Masks) -> Value:
    """Scores as [M, ...]: by window where the dark ones are all alike, else one by one."""
    if isinstance(value, Leveled) and axis in value.positions:
        if value.positions != (axis,):
            raise Refusal("a softmax over a map of rows and columns")
        if value.flat and value.dims[axis].size > FEW_POSITIONS:
            return to_windowed(value, axis, masks)
        return Mapped(value.dims, once(lambda: laid_out(value, masks)))
    if isinstance(value, Segments):
        raise Refusal("runs of tokens on two axes at once")
    if isinstance(value, Merged):
        raise Refusal("a softmax over positions that were merged with channels")
    return value


def _same_windows(forms: list[Value], axis: int, masks: Masks) -> list[Value]:
    """Rows that are windowed in one run must be so in all."""
    others = {a for form in forms if isinstance(form, Windowed) for a in form.axes if a != axis}
    others |= {a for form in forms if isinstance(form, Leveled) for a in form.positions}
    joined = []
    for form in forms:
        if isinstance(form, Leveled):
            form = to_windowed(form, form.positions[0], masks)
        held = {a for a in getattr(form, "axes", ()) if a != axis}
        if held != others:
            raise Refusal("queries are windowed for some keys only")
        joined.append(form)
    return joined


def _weights_at_once(value: Segments, axis: int, masks: Masks) -> ov.Output:
    scores = join_runs(value, gated_run(value), masks).laid_out()
    return op.softmax(scores, axis + 1).output(0)


def _weights_in_rows(value: Segments, masks: Masks) -> ov.Output:
    """Of the only query: [..., M, N]."""
    scores = join_runs(value, gated_run(value), masks).in_rows(masks)
    return op.softmax(scores, value.axis).output(0)


def _weights(forms: list[Value], axis: int, masks: Masks) -> ov.Output:
    tensors = []
    for form in forms:
        if isinstance(form, Shared):
            tensor = spread_over_masks(form.out(), form.dims, masks)
        elif isinstance(form, Windowed) and axis in form.axes:
            tensor = emit.add(form.out(), along(masks.log_multiplicity, axis + 1, form.rank + 1))
        else:
            tensor = form.out()
        tensors.append(tensor)
    return op.softmax(emit.concat(tensors, axis + 1), axis + 1).output(0)


def _run(form: Value, axis: int, joint, start: Dim, stop: Dim, masks: Masks) -> Value:
    piece = once(lambda: emit.slice_axis(joint(), axis + 1, start, stop))
    axes = getattr(form, "axes", ())
    if axis not in axes:
        return Windowed(form.dims, axes, piece) if axes else Mapped(form.dims, piece)

    def each() -> ov.Output:
        # The softmax gave each class its tokens' weights together; one token has its share.
        many = op.maximum(masks.multiplicity, op.constant(np.float32(1))).output(0)
        return emit.divide(piece(), along(many, axis + 1, form.rank + 1))

    return Windowed(form.dims, axes, once(each), piece if axes == (axis,) else None)
