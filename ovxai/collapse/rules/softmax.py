"""Softmax over an axis of tokens: attention weights under every mask.

scores of class token | patches -> weights of the same runs, each w0 + change, w0 the weights if all patches are dark:
change = ((e - e0) - w0 * sum(e - e0)) / sum(e), where e = exp(score), e0 = exp(score of the dark); sums over all runs
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property, reduce
from typing import TYPE_CHECKING

import numpy as np
import openvino as ov
from openvino import opset13 as op

from ovxai.collapse.layout import flat_dims, laid_change, laid_out, spread_over_masks, to_windowed, window_dims
from ovxai.collapse.lazy import once
from ovxai.collapse.masks import Masks
from ovxai.collapse.operation import Operation
from ovxai.collapse.rules.reduction import along, as_number
from ovxai.collapse.tokens import edges, history
from ovxai.collapse.values import (
    ZERO,
    Anchored,
    Held,
    Leveled,
    Mapped,
    Merged,
    Past,
    Refusal,
    Seen,
    Segments,
    Shared,
    Thunk,
    Value,
    Windowed,
    part_of,
    window_axes,
)
from ovxai.graph import emit
from ovxai.graph.dims import Dim

if TYPE_CHECKING:
    from ovxai.collapse.interpreter import Interpreter

#: Up to here a score for every position is cheaper than gathering a window of them.
FEW_POSITIONS = 256


def softmax(interpreter: Interpreter, operation: Operation) -> list[Value] | None:
    """Weights of tokens that are normalised together; None where the axis holds no tokens."""
    value = operation.inputs[0]
    axis = int(operation.attribute("axis")) % value.rank
    runs = _runs(value, axis)
    if runs is None:
        return None
    masks = interpreter.masks
    forms = _same_windows([_form(run, axis, masks) for run in runs], axis, masks)
    results = _in_parts(forms, axis, masks) if all(_is_apart(form) for form in forms) else _at_once(forms, axis, masks)
    past = history([value]) | Past(seen=frozenset({Seen.SOFTMAX}))  # every run's weights rest on the scores of all
    results = [replace(result, past=past) for result in results]
    if not isinstance(value, Segments):
        only = results[0]
        return [replace(only, scores=value) if isinstance(only, Mapped) else only]
    parts = tuple(part_of(result) for result in results)
    return [Segments(operation.out_dims[0], axis, value.sizes, parts, scores=value)]


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
        anchor = once(lambda: emit.broadcast(value.levels[ZERO](), value.dims))
        change = once(lambda: laid_change(value, masks))
        whole = once(lambda: laid_out(value, masks))
        return Mapped(value.dims, whole, anchored=Anchored(anchor, change))
    if isinstance(value, Segments):
        raise Refusal("runs of tokens on two axes at once")
    if isinstance(value, Merged):
        raise Refusal("a softmax over positions that were merged with channels")
    return value


def _same_windows(forms: list[Value], axis: int, masks: Masks) -> list[Held]:
    """Rows that are windowed in one run must be so in all."""
    others = {a for form in forms if isinstance(form, Windowed) for a in form.axes if a != axis}
    others |= {a for form in forms if isinstance(form, Leveled) for a in form.positions}
    joined: list[Held] = []
    for form in forms:
        if isinstance(form, Leveled):
            form = to_windowed(form, form.positions[0], masks)
        own = {a for a in window_axes(form) if a != axis}
        if own != others or not isinstance(form, (Shared, Mapped, Windowed)):
            raise Refusal("queries are windowed for some keys only")
        joined.append(form)
    return joined


def _is_apart(form: Held) -> bool:
    return isinstance(form, Shared) or form.anchored is not None


# --- anchor and change ----------------------------------------------------------------------------


class _Run:
    """One run's scores: `base` [1, ...], what the masks change of them [M, ...], and how often an entry counts."""

    def __init__(self, form: Held, axis: int, masks: Masks) -> None:
        self.form = form
        self.axis = axis + 1
        self.windowed = isinstance(form, Windowed) and axis in form.axes
        self._masks = masks

    @cached_property
    def base(self) -> ov.Output:
        form = self.form
        return emit.unsqueeze(form.anchored.anchor() if not isinstance(form, Shared) and form.anchored else form.out(), [0])

    @cached_property
    def lit(self) -> ov.Output:
        """The scores under every mask; the base again where they are the same."""
        form = self.form
        return emit.add(self.base, form.anchored.change()) if not isinstance(form, Shared) and form.anchored else self.base

    @property
    def varies(self) -> bool:
        return not isinstance(self.form, Shared)

    def counted(self, tensor: ov.Output) -> ov.Output:
        """Entries of a window, each times how many tokens it stands for."""
        if not self.windowed:
            return tensor
        return emit.multiply(tensor, along(self._masks.multiplicity, self.axis, self.form.rank + 1))

    def counted_dark(self, tensor: ov.Output) -> ov.Output:
        """The same of what is there without masks: one entry for all tokens."""
        return emit.multiply(tensor, as_number(self._masks.positions, tensor)) if self.windowed else tensor


class _Joint:
    """What the runs share: the largest score of each mask, the sums over all tokens."""

    def __init__(self, runs: Sequence[_Run]) -> None:
        self.runs = runs
        self.axis = runs[0].axis

    @cached_property
    def top(self) -> ov.Output:
        """Under every mask, of dark and lit scores: no exponential is above 1."""
        return _largest([t for run in self.runs for t in ([run.base, run.lit] if run.varies else [run.base])], self.axis)

    @cached_property
    def exponentials(self) -> list[tuple[ov.Output, ov.Output | None]]:
        """Per run e, and e - e0 where the masks change it."""
        found: list[tuple[ov.Output, ov.Output | None]] = []
        for run in self.runs:
            lit = _exp(run.lit, self.top)
            found.append((lit, emit.subtract(lit, _exp(run.base, self.top)) if run.varies else None))
        return found

    @cached_property
    def total(self) -> ov.Output:
        """sum(e)"""
        return _sum(emit.sum_over(run.counted(lit), self.axis) for run, (lit, _) in zip(self.runs, self.exponentials))

    @cached_property
    def gain(self) -> ov.Output:
        """sum(e - e0)"""
        pairs = [(run, more) for run, (_, more) in zip(self.runs, self.exponentials) if more is not None]
        return _sum(emit.sum_over(run.counted(more), self.axis) for run, more in pairs)

    @cached_property
    def dark(self) -> list[ov.Output]:
        """Per run the weights if everything gated is dark: [1, ...]."""
        top = _largest([run.base for run in self.runs], self.axis)
        bases = [_exp(run.base, top) for run in self.runs]
        total = _sum(emit.sum_over(run.counted_dark(base), self.axis) for run, base in zip(self.runs, bases))
        return [emit.divide(base, total) for base in bases]


def _largest(tensors: Iterable[ov.Output], axis: int) -> ov.Output:
    return reduce(lambda a, b: op.maximum(a, b).output(0), [emit.largest_over(t, axis) for t in tensors])


def _exp(scores: ov.Output, top: ov.Output) -> ov.Output:
    return op.exp(emit.subtract(scores, top)).output(0)


def _sum(terms: Iterable[ov.Output]) -> ov.Output:
    return reduce(emit.add, terms)


def _in_parts(forms: Sequence[Held], axis: int, masks: Masks) -> list[Mapped | Windowed]:
    runs = [_Run(form, axis, masks) for form in forms]
    joint = _Joint(runs)
    return [_weights_of(run, index, joint) for index, run in enumerate(runs)]


def _weights_of(run: _Run, index: int, joint: _Joint) -> Mapped | Windowed:
    """The weights of one run: of each token, where an entry stands for many."""
    form = run.form
    axes = window_axes(form)

    def whole() -> ov.Output:
        return emit.divide(joint.exponentials[index][0], joint.total)

    def change() -> ov.Output:
        lost = emit.multiply(joint.dark[index], joint.gain)
        more = joint.exponentials[index][1]
        moved = op.negative(lost).output(0) if more is None else emit.subtract(more, lost)
        return emit.divide(moved, joint.total)

    anchor = once(lambda: emit.reshape(joint.dark[index], flat_dims(form.dims, axes)))
    parts = Anchored(anchor, once(change))
    out = once(whole)
    if not axes:
        return Mapped(form.dims, out, anchored=parts)
    weighted = once(lambda: run.counted(out())) if run.windowed and len(axes) == 1 else None
    return Windowed(form.dims, axes, out, weighted, anchored=parts)


# --- as one tensor --------------------------------------------------------------------------------


def _at_once(forms: Sequence[Held], axis: int, masks: Masks) -> list[Mapped | Windowed]:
    """Where a run is one tensor with all masks already (it was laid out densely): the operation itself."""
    joint = once(lambda: _weights(forms, axis, masks))
    bounds = edges([window_dims(form.dims, window_axes(form), masks)[axis] for form in forms])
    return [_piece(form, axis, joint, bounds[i], bounds[i + 1], masks) for i, form in enumerate(forms)]


def _weights(forms: Sequence[Held], axis: int, masks: Masks) -> ov.Output:
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


def _piece(form: Held, axis: int, joint: Thunk, start: Dim, stop: Dim, masks: Masks) -> Mapped | Windowed:
    piece = once(lambda: emit.slice_axis(joint(), axis + 1, start, stop))
    axes = window_axes(form)
    if axis not in axes:
        return Windowed(form.dims, axes, piece) if axes else Mapped(form.dims, piece)

    def each() -> ov.Output:
        # The softmax gave each class its tokens' weights together; one token has its share.
        many = op.maximum(masks.multiplicity, op.constant(np.float32(1))).output(0)
        return emit.divide(piece(), along(many, axis + 1, form.rank + 1))

    return Windowed(form.dims, axes, once(each), piece if axes == (axis,) else None)
