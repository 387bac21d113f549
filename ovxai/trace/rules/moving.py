"""Operations that only change where entries stand: reshapes, transposes, slices, rolls, windows."""

from __future__ import annotations

from functools import partial

import numpy as np

from ovxai.graph.graph import Shape
from ovxai.trace.field import Field, Lost, joined, permuted, placed, reshaped, strided, taken
from ovxai.trace.tags import Step, Tags, meet


def reshape(step: Step) -> Tags:
    """Reshape, Squeeze, Unsqueeze: entries keep their order."""
    return step.data.each(lambda field: reshaped(field, step.before(), step.after()))


def transpose(step: Step) -> Tags:
    rank = len(step.before())
    order = step.axes(1, rank) or list(reversed(range(rank)))
    return step.data.each(lambda field: permuted(field, order))


def concat(step: Step) -> Tags:
    """Side by side along an axis. Where that is the positions' own axis, parts without positions are prefix tokens, say."""
    axis = int(step.attribute("axis")) % len(step.after())
    sizes = [step.before(number)[axis] for number in range(step.count)]
    lost = next((tags.lost for tags in step.given if tags.lost), "")
    kept: list[Tags] = []
    for side in dict.fromkeys(field.side for tags in step.given for field in tags.fields):
        parts = [tags.on(side) for tags in step.given]
        if not any(axis in field.axes for part in parts for field in part) and _agree(parts):
            kept.append(meet(Tags(tuple(part)) for part in parts))
        elif max(map(len, parts)) > 1:
            lost = lost or step.reason("entries that belong to two places each are put side by side")
        else:
            kept.append(Tags((joined(_positions([part[0] if part else None for part in parts]), sizes, axis),)))
    found = tuple(field for tags in kept for field in tags.fields)
    return Tags(found, lost)


def _positions(parts: list[Field | None]) -> list[Field | None]:
    """Without those that stand for a larger part of the picture than a cell, as a class token that was pooled does."""
    fine = min(part.cell for part in parts if part is not None)
    return [None if part is None or (not part.axes and part.cell > 1.5 * fine) else part for part in parts]


def _agree(parts: list[list[Field]]) -> bool:
    """Whether what stands side by side shows the same places, as channels do."""
    return all(not tags.lost for tags in [meet(Tags(tuple(part)) for part in parts)])


def split(step: Step) -> list[Tags]:
    """Split, VariadicSplit: runs along an axis."""
    axis = step.axes(1, len(step.before()))[0]
    start, found = 0, []
    for number in range(step.node.get_output_size()):
        size = step.after(number)[axis]
        found.append(step.data.each(partial(taken, axis=axis, index=np.arange(start, start + size))))
        start += size
    return found


def _picked(step: Step, ranges: dict[int, range]) -> Tags:
    """The entries of a range along each of some axes."""

    def change(field: Field) -> Field:
        for axis, places in ranges.items():
            field = strided(field, axis, places)
        return field

    return step.data.each(change)


def slice_(step: Step) -> Tags:
    starts, stops, steps = (step.numbers(number) for number in (1, 2, 3))
    shape = step.before()
    axes = step.axes(4, len(shape)) if step.count > 4 else list(range(len(starts)))
    lines = zip(axes, starts, stops, steps, strict=True)
    return _picked(step, {axis: range(shape[axis])[start:stop:pace] for axis, start, stop, pace in lines})


def strided_slice(step: Step) -> Tags:
    """Slice with masks: open ends, new axes, axes of which one entry is taken."""
    shape = step.before()
    begins, ends = step.numbers(1), step.numbers(2)
    paces = step.numbers(3) if step.count > 3 else [1] * len(begins)
    names = ("begin_mask", "end_mask", "new_axis_mask", "shrink_axis_mask", "ellipsis_mask")
    masks = {name: [*(step.attribute(name) or []), *[0] * len(begins)][: len(begins)] for name in names}
    new = masks["new_axis_mask"]
    ranges: dict[int, range] = {}
    axis = 0
    for i, (begin, end, pace) in enumerate(zip(begins, ends, paces, strict=True)):
        if masks["ellipsis_mask"][i]:
            rest = sum(not flag for flag in new[i + 1 :])
            axis = len(shape) - rest
        elif not new[i]:
            size = shape[axis]
            if masks["shrink_axis_mask"][i]:
                ranges[axis] = range(begin % size, begin % size + 1)
            else:
                start = None if masks["begin_mask"][i] else begin
                ranges[axis] = range(size)[start : None if masks["end_mask"][i] else end : pace]
            axis += 1
    rest_shape = tuple(len(ranges.get(axis, range(size))) for axis, size in enumerate(shape))
    return _picked(step, ranges).each(lambda field: reshaped(field, rest_shape, step.after()))


def gather(step: Step) -> Tags:
    """Entries along an axis in an order that does not depend on the picture."""
    rank = len(step.before())
    axis = step.axes(2, rank)[0]
    if step.attribute("batch_dims"):
        raise Lost("each picture's entries are picked by themselves")
    shape = step.before(1)

    def change(field: Field) -> Field:
        if field.centres.shape[axis] == 1:
            return field.moved(
                field.centres.reshape(*field.centres.shape[:axis], *[1] * len(shape), *field.centres.shape[axis + 1 :])
            )
        index = step.value(1).astype(np.int64) % step.before()[axis]
        return field.moved(np.take(field.centres, index.reshape(shape), axis))

    return step.data.each(change)


def roll(step: Step) -> Tags:
    shifts, axes = step.numbers(1), step.axes(2, len(step.before()))
    shifts = shifts * len(axes) if len(shifts) == 1 else shifts
    return step.data.each(lambda field: field.moved(np.roll(field.centres, shifts, axes)))


def reverse(step: Step) -> Tags:
    rank = len(step.before())
    axes = step.axes(1, rank)
    if step.attribute("mode") == "mask":
        axes = [axis for axis, flag in enumerate(step.numbers(1)) if flag]
    return step.data.each(lambda field: field.moved(np.flip(field.centres, tuple(axes))))


def reverse_sequence(step: Step) -> Tags:
    """Along one axis, as far as each picture's length says."""
    shape, axis = step.before(), int(step.attribute("seq_axis"))
    if any(length != shape[axis] for length in step.numbers(1)):
        raise Lost("a part of an axis is turned round")
    return step.data.each(lambda field: field.moved(np.flip(field.centres, axis % len(shape))))


def planes(step: Step) -> Tags:
    """From planes of brightness and colour to pixels: in one plane [N, 3/2 H, W, 1] brightness comes first."""
    rows = np.arange(step.after()[1])
    return step.data.each(lambda field: taken(field, 1, rows))


def tile(step: Step) -> Tags:
    before, after = step.before(), step.after()
    lead = len(after) - len(before)
    counts = [size // had for size, had in zip(after[lead:], before, strict=True)]

    def change(field: Field) -> Field:
        wide = field.moved(np.tile(field.centres, [n if field.centres.shape[a] > 1 else 1 for a, n in enumerate(counts)]))
        return placed(wide, len(after), range(lead, len(after)))

    return step.data.each(change)


def broadcast(step: Step) -> Tags:
    rank = len(step.after())
    explicit = str(step.attribute("mode", "numpy")).lower() == "explicit"
    places = step.numbers(2) if explicit else range(rank - len(step.before()), rank)
    return step.data.each(lambda field: placed(field, rank, places))


def _through(step: Step, inner: Shape, order: list[int]) -> Tags:
    """Reshape to `inner`, transpose, reshape to the result: how blocks move between axes."""
    turned = tuple(inner[axis] for axis in order)

    def change(field: Field) -> Field:
        return reshaped(permuted(reshaped(field, step.before(), inner), order), turned, step.after())

    return step.data.each(change)


def depth_to_space(step: Step) -> Tags:
    n, channels, *sides = step.before()
    block, count = int(step.attribute("block_size")), len(sides)
    blocks, rest = [block] * count, channels // block**count
    if str(step.attribute("mode")).lower() == "depth_first":
        return _through(step, (n, rest, *blocks, *sides), _woven([0, 1], 2 + count, 2, count))
    return _through(step, (n, *blocks, rest, *sides), _woven([0, 1 + count], 2 + count, 1, count))


def _woven(head: list[int], outer: int, inner: int, count: int) -> list[int]:
    """`head`, then outer and inner axes in turn."""
    return [*head, *(axis for i in range(count) for axis in (outer + i, inner + i))]


def space_to_depth(step: Step) -> Tags:
    n, channels, *sides = step.before()
    block, count = int(step.attribute("block_size")), len(sides)
    inner = (n, channels, *(size for side in sides for size in (side // block, block)))
    outer, blocks = [2 + 2 * i for i in range(count)], [3 + 2 * i for i in range(count)]
    first = str(step.attribute("mode")).lower() == "depth_first"
    return _through(step, inner, [0, 1, *blocks, *outer] if first else [0, *blocks, 1, *outer])


def shuffle_channels(step: Step) -> Tags:
    shape = step.before()
    axis, groups = int(step.attribute("axis")) % len(shape), int(step.attribute("group"))
    inner = (*shape[:axis], groups, shape[axis] // groups, *shape[axis + 1 :])
    order = list(range(len(inner)))
    order[axis], order[axis + 1] = order[axis + 1], order[axis]
    return _through(step, inner, order)
