"""MatMul where tokens meet: scores (queries x keys) and weighted sums (weights x values).

scores: shared query, gated keys -> per level;  mapped query, gated keys -> by window
sums:   weights by window, gated values -> prefix + window + rest, each as often as it stands for tokens
"""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from typing import TYPE_CHECKING

import openvino as ov

from ovxai.collapse.batched import lifted
from ovxai.collapse.layout import change_of, flat_dims, laid_gate, level_gates, spread_over_masks, to_windowed
from ovxai.collapse.lazy import once
from ovxai.collapse.masks import Masks
from ovxai.collapse.operation import Operation
from ovxai.collapse.rules.flatten import merged_matmul
from ovxai.collapse.rules.reduction import weighted_window
from ovxai.collapse.tokens import edges, gate_in_rows, gated_run, join_runs, restrict, segmented, with_axis
from ovxai.collapse.values import ZERO, Leveled, Mapped, Merged, Refusal, Seen, Segments, Shared, Value, Windowed
from ovxai.graph import emit
from ovxai.graph.dims import ONE as ONE_ROW
from ovxai.graph.dims import Dim, Dims, product, sizes

if TYPE_CHECKING:
    from ovxai.collapse.interpreter import Interpreter


def matmul(interpreter: Interpreter, operation: Operation) -> list[Value] | None:
    a, b = operation.inputs
    if isinstance(a, Merged) or isinstance(b, Merged):
        return [_flattened(interpreter, operation)]
    if a.rank < 2 or b.rank < 2:
        return None
    inner = contracted(operation)
    if isinstance(a, Shared) and isinstance(b, Segments) and b.axis != inner[1] and b.plain and not operation.plain[0]:
        # One product with all keys, cut into runs: cheaper than cutting the keys.
        joint = once(lambda: operation.remake([a.out(), b.plain()], operation.out_dims[0]))
        return segmented(interpreter, replace(operation, plain=(joint,)))
    if any(isinstance(value, Segments) and value.axis != axis for value, axis in zip((a, b), inner)):
        return None  # run by run along rows or columns first
    if (at_once := _mean_of_tokens(operation, inner, interpreter.masks)) is not None:
        return [at_once]
    if any(_is_gated_along(value, axis) for value, axis in zip((a, b), inner)):
        return [_sum_over_tokens(interpreter, operation, inner)]
    return _scores(interpreter, operation)


def contracted(operation: Operation) -> tuple[int, int]:
    """The axes that are summed over."""
    a, b = operation.inputs
    return (
        a.rank - (2 if operation.attribute("transpose_a") else 1),
        b.rank - (1 if operation.attribute("transpose_b") else 2),
    )


def _is_gated_along(value: Value, axis: int) -> bool:
    if isinstance(value, Leveled):
        return axis in value.positions
    if isinstance(value, Windowed):
        return axis in value.axes
    return isinstance(value, Segments) and value.axis == axis


def _flattened(interpreter: Interpreter, operation: Operation) -> Value:
    if not isinstance(operation.inputs[0], Merged):
        raise Refusal("what was flattened is the second operand of a product")
    return merged_matmul(interpreter, operation)


# --- scores ---------------------------------------------------------------------------------------


def _scores(interpreter: Interpreter, operation: Operation) -> list[Value] | None:
    """Rows x columns where at least two operands vary."""
    masks = interpreter.masks
    a, b = operation.inputs
    if isinstance(a, Shared) or isinstance(b, Shared):
        return None
    if isinstance(b, Leveled) and len(b.positions) != 1:
        raise Refusal("keys that lie along rows and columns")
    if isinstance(a, Mapped) and isinstance(b, Leveled) and not b.flat:
        return [_scores_one_by_one(interpreter, operation, a, b)]
    inputs = [to_windowed(v, v.positions[0], masks) if isinstance(v, Leveled) else v for v in (a, b)]
    scores = lifted(interpreter, operation.with_inputs(inputs))
    if not isinstance(a, (Leveled, Windowed)):
        return scores
    return [replace(value, seen=value.seen | {Seen.QUERIES}) for value in scores]


def _scores_one_by_one(interpreter: Interpreter, operation: Operation, a: Mapped, b: Leveled) -> Value:
    """q[m] . K_0[p] + sum over levels of gate * q[m] . (K_level - K_0)[p]: products over all positions, no copy of the keys."""
    masks = interpreter.masks
    dims = operation.out_dims[0]

    def against(tensor: ov.Output) -> ov.Output:
        keys = Shared(b.dims, lambda: tensor)
        return lifted(interpreter, operation.with_inputs((a, keys)))[0].out()

    def build() -> ov.Output:
        total = against(emit.broadcast(b.levels[ZERO](), b.dims))
        columns = operation.carried()[1][b.positions[0]]
        for level, gate in level_gates(b, masks).items():
            change = against(change_of(b, level))
            total = emit.add(emit.multiply(change, laid_gate(dims, (columns,), masks, gate)), total)
        return total

    return Mapped(dims, once(build))


# --- weighted sums --------------------------------------------------------------------------------


def _sum_over_tokens(interpreter: Interpreter, operation: Operation, inner: tuple[int, int]) -> Value:
    pieces = [_one_run(interpreter, operation, a, b, inner) for a, b in _pairs(operation.inputs, inner)]
    axes = {getattr(piece, "axes", ()) for piece in pieces}
    if len(axes) > 1:
        raise Refusal("queries are windowed for some keys only")
    dims = operation.out_dims[0]

    def build() -> ov.Output:
        total = pieces[0].out()
        for piece in pieces[1:]:
            total = emit.add(total, piece.out())
        return total

    held = axes.pop()
    return Windowed(dims, held, once(build)) if held else Mapped(dims, once(build))


def _mean_of_tokens(operation: Operation, inner: tuple[int, int], masks: Masks) -> Value | None:
    """Softmax weights A of one query over all runs of tokens: dark V_0 + sum over levels of (A * gate) @ (V_level - V_0).

    The weights sum to one, so V_0, the same for all dark tokens, needs no product. The masks are the rows of the others.
    """
    a, b = operation.inputs
    gated = gated_run(b)
    if not isinstance(a, Segments) or a.rows is None or gated is None or not gated.flat:
        return None
    fits = (a.axis, b.axis) == inner and sizes(a.sizes) == sizes(b.sizes) and sizes(a.dims[:-2]) == sizes(b.dims[:-2])
    if not fits or operation.attribute("transpose_b"):
        return None

    def build() -> ov.Output:
        runs = join_runs(b, gated, masks)
        total = runs.base
        for gate, change in runs.steps:
            total = emit.add(_gated_sum(a, gate, change, b.dims[-1], masks), total)  # [..., M, d]
        front = emit.transpose(total, [a.rank - 2, *range(a.rank - 2), a.rank - 1])
        return emit.unsqueeze(front, [a.rank - 1])

    return Mapped(operation.out_dims[0], once(build))


def _gated_sum(weights: Segments, gate: ov.Output, change: ov.Output, width: Dim, masks: Masks) -> ov.Output:
    """(A * gate) @ change: [..., M, d].

    With the axes in front made one, else the CPU plugin takes scores, softmax and sum for one attention, whose
    code it can't make where the batch is dynamic ("not enough registers", 2026.4).
    """
    *ahead, _, tokens = weights.dims
    one = product(ahead)
    share = emit.multiply(emit.reshape(weights.rows(), [one, masks.count, tokens]), gate_in_rows(gate, masks))
    total = emit.matmul(share, emit.reshape(change, [one, tokens, width]))
    return emit.reshape(total, [*ahead, masks.count, width])


def _pairs(inputs: tuple[Value, ...], inner: tuple[int, int]) -> list[tuple[Value, Value]]:
    """What meets what: the runs of the summed axis, side by side."""
    lead = next((v for v, axis in zip(inputs, inner) if isinstance(v, Segments) and v.axis == axis), None)
    if lead is None:
        return [inputs]
    bounds = edges(lead.sizes)
    columns = []
    for value, axis in zip(inputs, inner):
        if isinstance(value, Segments):
            if sizes(value.sizes) != sizes(lead.sizes):
                raise Refusal("weights and values are cut into different runs")
            columns.append([part() for part in value.parts])
        else:
            columns.append([restrict(value, axis, bounds[i], bounds[i + 1]) for i in range(len(lead.sizes))])
    return list(zip(*columns))


def _one_run(interpreter: Interpreter, operation: Operation, a: Value, b: Value, inner: tuple[int, int]) -> Value:
    masks = interpreter.masks
    gated = _is_gated_along(a, inner[0]), _is_gated_along(b, inner[1])
    if not any(gated):
        return _plain_run(interpreter, operation.with_inputs((a, b)), masks)
    if all(gated):
        return _windows(operation, to_windowed(a, inner[0], masks), to_windowed(b, inner[1], masks), inner, masks)
    if isinstance(a, Mapped) and isinstance(b, Leveled) and len(b.positions) == 1:
        return _one_by_one(interpreter, operation, a, b, inner)
    raise Refusal("it mixes positions (a product over tokens)")


def _plain_run(interpreter: Interpreter, operation: Operation, masks: Masks) -> Value:
    if operation.all_shared:
        a, b = operation.inputs
        thunk = once(lambda: operation.remake([a.out(), b.out()], operation.out_dims[0]))
        dims = operation.out_dims[0]
        return Mapped(dims, once(lambda: spread_over_masks(thunk(), dims, masks)))
    inputs = [to_windowed(v, v.positions[0], masks) if isinstance(v, Leveled) else v for v in operation.inputs]
    return lifted(interpreter, operation.with_inputs(inputs))[0]


def _windows(operation: Operation, a: Windowed, b: Windowed, inner: tuple[int, int], masks: Masks) -> Value:
    """sum over prefix-free classes of multiplicity * weight * value."""
    carried = operation.carried()
    axes = {carried[0][axis] for axis in a.axes if axis != inner[0]} | {carried[1][axis] for axis in b.axes if axis != inner[1]}
    dims = operation.out_dims[0]

    def build() -> ov.Output:
        left = weighted_window(Windowed(a.dims, (inner[0],), a.out, a.weighted), masks)
        right = b.out()
        rank = max(a.rank, b.rank)
        left = emit.unsqueeze(left, list(range(1, 1 + rank - a.rank)))
        right = emit.unsqueeze(right, list(range(1, 1 + rank - b.rank)))
        flips = operation.attribute("transpose_a"), operation.attribute("transpose_b")
        return emit.matmul(left, right, *flips)

    return Windowed(dims, tuple(sorted(axes)), once(build)) if axes else Mapped(dims, once(build))


def _one_by_one(interpreter: Interpreter, operation: Operation, a: Mapped, b: Leveled, inner: tuple[int, int]) -> Value:
    """A @ V_0 + sum over levels of (A * gate) @ (V_level - V_0): weights for every position, values never copied."""
    masks = interpreter.masks

    def against(weights: Mapped, tensor: ov.Output, dims: Dims = b.dims) -> ov.Output:
        return lifted(interpreter, operation.with_inputs((weights, Shared(dims, lambda: tensor))))[0].out()

    def dark() -> ov.Output:
        """A @ V_0: where all rows of V_0 are the same one, their weights together are enough."""
        if not b.flat:
            return against(a, b.levels[ZERO]())
        together = Mapped(with_axis(a.dims, inner[0], ONE_ROW), once(lambda: emit.reduce_sum(a.out(), [inner[0] + 1], True)))
        return against(together, b.levels[ZERO](), flat_dims(b.dims, b.positions))

    def build() -> ov.Output:
        terms = [] if emit.is_zero(b.levels[ZERO]()) else [dark()]
        for level, gate in level_gates(b, masks).items():
            laid = laid_gate(a.dims, (inner[0],), masks, gate)
            terms.append(against(Mapped(a.dims, once(lambda laid=laid: emit.multiply(a.out(), laid))), change_of(b, level)))
        return reduce(emit.add, terms)

    return Mapped(operation.out_dims[0], once(build))
