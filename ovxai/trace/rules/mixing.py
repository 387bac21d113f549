"""Operations that put entries together: number by number, in products, in sums over axes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from ovxai.trace.field import Field, Lost, merged, placed, reshaped
from ovxai.trace.tags import NOTHING, Step, Tags, meet


def elementwise(step: Step) -> Tags:
    """Operands broadcast as NumPy's do."""
    rank = len(step.after())
    found = []
    for number, tags in enumerate(step.given):
        lead = rank - len(step.before(number))
        found.append(tags.each(partial(placed, rank=rank, places=range(lead, rank))))
    return meet(found)


def same(step: Step) -> Tags:
    """Every entry keeps its place; the other inputs are parameters."""
    return step.data


def reduction(step: Step) -> Tags:
    axes = step.axes(1, len(step.before()))
    return _without(step.data, axes, step)


def _without(tags: Tags, axes: Sequence[int], step: Step) -> Tags:
    ones = tuple(1 if axis in axes else size for axis, size in enumerate(step.before()))
    return tags.each(lambda field: reshaped(merged(field, axes), ones, step.after()))


def topk(step: Step) -> Tags:
    """Which entries along the axis are the largest depends on the picture: their places are those of all."""
    axis = int(step.attribute("axis")) % len(step.before())
    return step.data.each(lambda field: merged(field, [axis]))


def matmul(step: Step) -> Tags:
    """The contracted axis goes; rows are the first operand's, columns the second's."""
    rank = len(step.after())
    one, two = len(step.before(0)), len(step.before(1))
    first = _operand(step.given[0], one, contracted=-2 if step.attribute("transpose_a") and one > 1 else -1)
    second = _operand(step.given[1], two, contracted=-1 if step.attribute("transpose_b") or two == 1 else -2)
    # A vector has no free axis, and the result lacks it.
    full = rank + (one == 1) + (two == 1)
    rows = first.each(lambda field: _free(field, full, full - 2))
    columns = second.each(lambda field: _free(field, full, full - 1))
    squeezed = step.after()
    if one == 1:
        squeezed = (*squeezed[: full - 2], 1, *squeezed[full - 2 :])
    if two == 1:
        squeezed = (*squeezed, 1)
    return meet((rows, columns)).each(lambda field: reshaped(field, squeezed, step.after()))


def _operand(tags: Tags, rank: int, contracted: int) -> Tags:
    """Fields with the contracted axis merged and put last."""
    axis = contracted % rank
    order = [*(other for other in range(rank) if other != axis), axis]
    return tags.each(lambda field: Field(field.side, merged(field, [axis]).centres.transpose(order), merged(field, [axis]).cell))


def _free(field: Field, rank: int, place: int) -> Field:
    """Batch axes to the right of the lead, the free axis at `place`."""
    batch = field.centres.ndim - 2
    spare = 2 * rank - 3 - place  # the other one of the last two axes
    if batch < 0:
        return placed(field, rank, [spare])
    return placed(field, rank, [*range(rank - 2 - batch, rank - 2), place, spare])


def einsum(step: Step) -> Tags:
    """Letters that the result lacks are contracted."""
    left, _, right = str(step.attribute("equation")).replace(" ", "").partition("->")
    terms = left.split(",")
    if not right or "." in left or any(len(set(term)) < len(term) for term in terms):
        raise Lost(f"the equation {left}->{right} is of a form that is not followed")
    found = []
    for tags, term in zip(step.given, terms, strict=True):
        gone = [axis for axis, letter in enumerate(term) if letter not in right]
        kept = [axis for axis, letter in enumerate(term) if letter in right]
        places = [right.index(term[axis]) for axis in kept]

        def change(field: Field, gone: list[int] = gone, kept: list[int] = kept, places: list[int] = places) -> Field:
            whole = merged(field, gone)
            bare = Field(field.side, whole.centres.reshape([whole.centres.shape[axis] for axis in kept]), whole.cell)
            return placed(bare, len(right), places)

        found.append(tags.each(change))
    return meet(found)


def attention(step: Step) -> Tags:
    """ScaledDotProductAttention: the result stands where the queries do."""
    query, key, value = (tags.each(lambda field: merged(field, [field.centres.ndim - 1])) for tags in step.given[:3])
    rank = len(step.after())
    read = [tags.each(lambda field: merged(field, [field.centres.ndim - 2])) for tags in (key, value)]
    return meet(tags.each(lambda field: placed(field, rank, range(rank - field.centres.ndim, rank))) for tags in (query, *read))


def sequence(step: Step) -> list[Tags]:
    """LSTM, GRU and RNN over a sequence [N, T, C]: step t of the result [N, directions, T, H] stands where step t did.
    The last states have seen all."""

    def change(field: Field) -> Field:
        return placed(merged(field, [2]), 4, [0, 2, 3])

    states = step.node.get_output_size() - 1
    return [step.data.each(change), *[NOTHING] * states]


def written_over(step: Step) -> Tags:
    """Scatter: entries are replaced by ones that belong to no place, or by the same number of the same places."""
    if any(tags.fields for tags in step.given[1:]):
        raise Lost("positions are written over each other")
    return step.data
