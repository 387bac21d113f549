"""MatMul where tokens meet: scores (queries x keys) and weighted sums (weights x values).

scores: shared query, gated keys -> per level;  mapped query, gated keys -> by window
sums:   weights by window, gated values -> prefix + window + rest, each as often as it stands for tokens
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial, reduce
from typing import TYPE_CHECKING

import openvino as ov

from ovxai.collapse.apply import lifted
from ovxai.collapse.batched import Factor, product
from ovxai.collapse.layout import (
    added,
    anchored_mapped,
    change_of,
    flat_dims,
    laid_gate,
    level_gates,
    to_windowed,
    window_dims,
    zero_anchor,
)
from ovxai.collapse.lazy import once
from ovxai.collapse.masks import Masks
from ovxai.collapse.operation import Operation
from ovxai.collapse.rules.attention import read_by_one
from ovxai.collapse.rules.flatten import merged_matmul
from ovxai.collapse.rules.reduction import as_number, counted, weighted_window
from ovxai.collapse.tokens import edges, restrict, segmented, with_axis
from ovxai.collapse.values import (
    ZERO,
    Anchored,
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
)
from ovxai.graph import emit
from ovxai.graph.dims import ONE as ONE_ROW
from ovxai.graph.dims import sizes

if TYPE_CHECKING:
    from ovxai.collapse.interpreter import Interpreter


def matmul(interpreter: Interpreter, operation: Operation) -> list[Value] | None:
    """A product of two operands: with weights, of queries and keys, of weights and values."""
    a, b = operation.inputs
    if isinstance(a, Merged) or isinstance(b, Merged):
        return [merged_matmul(interpreter, operation)]
    if a.rank < 2 or b.rank < 2:
        return None
    inner = contracted(operation)
    keys = b.plain if isinstance(b, Segments) and b.axis != inner[1] else None
    if isinstance(a, Shared) and keys is not None and not operation.plain[0]:
        return segmented(interpreter, _with_all_keys(operation, a.out, keys))
    if any(isinstance(value, Segments) and value.axis != axis for value, axis in zip((a, b), inner)):
        return None  # run by run along rows or columns first
    if (read := read_by_one(operation, inner, interpreter.masks)) is not None:
        return [read]
    if any(_is_gated_along(value, axis) for value, axis in zip((a, b), inner)):
        return [_sum_over_tokens(interpreter, operation, inner)]
    return _scores(interpreter, operation)


def _with_all_keys(operation: Operation, query: Thunk, keys: Thunk) -> Operation:
    """One product with all keys, which is then cut into runs: cheaper than cutting the keys."""
    joint = once(lambda: operation.remake([query(), keys()], operation.out_dims[0]))
    return replace(operation, plain=(joint,))


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
    queries = Past(seen=frozenset({Seen.QUERIES}))
    return [replace(value, past=value.past | queries) for value in scores]


def _scores_one_by_one(interpreter: Interpreter, operation: Operation, a: Mapped, b: Leveled) -> Value:
    """q[m] . K_0[p] + sum over levels of gate * q[m] . (K_level - K_0)[p]: products over all positions, no copy of the keys."""
    masks = interpreter.masks
    dims = operation.out_dims[0]
    dark = once(lambda: emit.broadcast(b.levels[ZERO](), b.dims))

    def against(query: Thunk, keys: Thunk) -> ov.Output:
        return _products(interpreter, operation, Mapped(a.dims, query), Shared(b.dims, keys))

    def lit() -> ov.Output:
        columns = operation.carried()[1][b.positions[0]]
        steps = [
            emit.multiply(against(a.out, once(partial(change_of, b, level))), laid_gate(dims, (columns,), masks, gate))
            for level, gate in level_gates(b, masks).items()
        ]
        return reduce(emit.add, steps)

    if a.anchored is None:
        return Mapped(dims, once(lambda: emit.add(lit(), against(a.out, dark))))
    anchor, change = a.anchored.anchor, a.anchored.change
    return anchored_mapped(
        dims, once(lambda: operation.remake([anchor(), dark()], dims)), once(lambda: emit.add(lit(), against(change, dark)))
    )


def _products(interpreter: Interpreter, operation: Operation, a: Value, b: Value) -> ov.Output:
    """The operation on two other operands: [M, ...]."""
    result = lifted(interpreter, operation.with_inputs((a, b)))[0]
    if not isinstance(result, (Mapped, Windowed)):
        raise Refusal("no mask changes either operand of a product")
    return result.out()


# --- weighted sums --------------------------------------------------------------------------------


def _sum_over_tokens(interpreter: Interpreter, operation: Operation, inner: tuple[int, int]) -> Value:
    pieces = [_one_run(interpreter, operation, a, b, inner) for a, b in _pairs(operation.inputs, inner)]
    varying = [piece for piece in pieces if isinstance(piece, (Mapped, Windowed))]
    axes = {piece.axes if isinstance(piece, Windowed) else () for piece in varying}
    if len(axes) > 1:
        raise Refusal("queries are windowed for some keys only")
    dims = operation.out_dims[0]
    held = axes.pop()
    parts = _summed_parts(pieces)
    if parts is not None:
        out = added(parts)
    else:
        ahead = [once(partial(_in_front, piece)) for piece in pieces if isinstance(piece, Shared)]
        out = once(lambda: reduce(emit.add, [*(piece.out() for piece in varying), *(term() for term in ahead)]))
    return Windowed(dims, held, out, anchored=parts) if held else Mapped(dims, out, anchored=parts)


def _in_front(value: Shared) -> ov.Output:
    """[1, ...]: the same under every mask."""
    return emit.unsqueeze(value.out(), [0])


def _summed_parts(pieces: Sequence[Value]) -> Anchored | None:
    shared = [piece.out for piece in pieces if isinstance(piece, Shared)]
    apart = [piece.anchored for piece in pieces if isinstance(piece, (Mapped, Windowed))]
    known = [one for one in apart if one is not None]
    if len(known) < len(apart):
        return None
    return Anchored(
        once(lambda: reduce(emit.add, [*(one.anchor() for one in known), *(thunk() for thunk in shared)])),
        once(lambda: reduce(emit.add, [one.change() for one in known])),
    )


def _pairs(inputs: tuple[Value, ...], inner: tuple[int, int]) -> list[tuple[Value, Value]]:
    """What meets what: the runs of the summed axis, side by side."""
    lead = next((v for v, axis in zip(inputs, inner) if isinstance(v, Segments) and v.axis == axis), None)
    if lead is None:
        return [(inputs[0], inputs[1])]
    bounds = edges(lead.sizes)
    columns = []
    for value, axis in zip(inputs, inner):
        if isinstance(value, Segments):
            if sizes(value.sizes) != sizes(lead.sizes):
                raise Refusal("weights and values are cut into different runs")
            columns.append([part() for part in value.parts])
        else:
            columns.append([restrict(value, axis, bounds[i], bounds[i + 1]) for i in range(len(lead.sizes))])
    return list(zip(columns[0], columns[1]))


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
        dims = operation.out_dims[0]
        return Shared(dims, once(lambda: operation.remake([v.out() for v in operation.inputs if isinstance(v, Shared)], dims)))
    inputs = [to_windowed(v, v.positions[0], masks) if isinstance(v, Leveled) else v for v in operation.inputs]
    return lifted(interpreter, operation.with_inputs(inputs))[0]


def _windows(operation: Operation, a: Windowed, b: Windowed, inner: tuple[int, int], masks: Masks) -> Value:
    """sum over prefix-free classes of multiplicity * weight * value; its change is that of (da * b0 + a * db)."""
    carried = operation.carried()
    axes = {carried[0][axis] for axis in a.axes if axis != inner[0]} | {carried[1][axis] for axis in b.axes if axis != inner[1]}
    dims, held = operation.out_dims[0], tuple(sorted(axes))
    flips = operation.attribute("transpose_a"), operation.attribute("transpose_b")
    alone = Windowed(a.dims, (inner[0],), a.out, a.weighted)
    window = window_dims(a.dims, a.axes, masks), window_dims(b.dims, b.axes, masks)
    front = [masks.count, *window_dims(dims, held, masks)]

    def matmul(left: ov.Output, right: Factor) -> ov.Output:
        axes = list(window[0])
        axes[inner[0]] = right.dims[inner[1]]
        return product(Factor(left, tuple(axes), True), right, flips, front)

    if a.anchored is None or b.anchored is None:
        out = once(lambda: matmul(weighted_window(alone, masks), Factor(b.out(), window[1], True)))
        return Windowed(dims, held, out) if held else Mapped(dims, out)
    first, second = a.anchored, b.anchored

    def anchor() -> ov.Output:
        one = operation.remake([first.anchor(), second.anchor()], flat_dims(dims, held))
        return emit.multiply(one, as_number(masks.positions, one))

    def change() -> ov.Output:
        weights = emit.sum_over(counted(first.change(), alone, masks), inner[0] + 1)
        changed = matmul(weighted_window(alone, masks), Factor(second.change(), window[1], True))
        return emit.add(changed, matmul(weights, Factor(second.anchor(), flat_dims(b.dims, b.axes), False)))

    parts = Anchored(once(anchor), once(change))
    return Windowed(dims, held, added(parts), anchored=parts) if held else Mapped(dims, added(parts), anchored=parts)


def _one_by_one(interpreter: Interpreter, operation: Operation, a: Mapped, b: Leveled, inner: tuple[int, int]) -> Value:
    """A @ V_0 + sum over levels of (A * gate) @ (V_level - V_0): weights for every position, values never copied."""
    masks = interpreter.masks
    dims = operation.out_dims[0]

    def dark(weights: Thunk) -> ov.Output:
        """weights @ V_0: where all rows of V_0 are the same one, their weights together are enough."""
        if not b.flat:
            return _products(interpreter, operation, Mapped(a.dims, weights), Shared(b.dims, b.levels[ZERO]))
        together = Mapped(with_axis(a.dims, inner[0], ONE_ROW), once(lambda: emit.reduce_sum(weights(), [inner[0] + 1], True)))
        return _products(interpreter, operation, together, Shared(flat_dims(b.dims, b.positions), b.levels[ZERO]))

    def lit(level: float, gate: ov.Output) -> ov.Output:
        laid = laid_gate(a.dims, (inner[0],), masks, gate)
        share = Mapped(a.dims, once(lambda: emit.multiply(a.out(), laid)))
        return _products(interpreter, operation, share, Shared(b.dims, once(lambda: change_of(b, level))))

    def total(weights: Thunk) -> ov.Output:
        terms = [] if emit.is_zero(b.levels[ZERO]()) else [dark(weights)]
        return reduce(emit.add, [*terms, *(lit(level, gate) for level, gate in level_gates(b, masks).items())])

    if a.anchored is None:
        return Mapped(dims, once(lambda: total(a.out)))
    anchor, change = a.anchored.anchor, a.anchored.change

    def base() -> ov.Output:
        zero = b.levels[ZERO]()
        return zero_anchor(dims, zero) if emit.is_zero(zero) else operation.remake([anchor(), emit.broadcast(zero, b.dims)], dims)

    return anchored_mapped(dims, once(base), once(lambda: total(change)))
