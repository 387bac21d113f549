"""Masks in boxes, pasted onto a grid: bilinear weights for every box and grid line, exact in any precision.

What decides where a mask's edge comes to lie is reckoned in whole numbers, which no device rounds: in bf16 a coordinate
of some hundred pixels is good to a pixel only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import openvino as ov
from openvino import opset13 as op

from ovxai.find.site import InstanceSite
from ovxai.graph.dims import ints, number, whole_number
from ovxai.methods.outputs import as_float
from ovxai.options import InsertOptions, parse_size

#: The grid is the input's size over this, unless asked otherwise.
STRIDE = 4
#: Whole numbers count box corners in parts of a pixel and places in a mask in parts of a cell: at most this many.
FINEST = 256
#: What fits in 32 bits, of which a product needs all; cells of a usual mask, and parts of one that are wanted at least.
ROOM, CELLS, PARTS = 2**30, 28, 64
#: Sides of pictures that the whole numbers reach where the model leaves them open.
LARGEST_SIDE = 4096
#: Boxes thinner than this are pasted as if they were this wide; they have weight 0 anyway.
THINNEST = 1e-3


@dataclass(frozen=True)
class Table:
    """One form for all families: boxes f32 [N, I, 4], labels i64 and scores f32 [N, I], masks or coefficients f32.

    corners: the boxes in whole steps of the grid's, i64 [N, I, 4], rounded down; None where they are made here.
    """

    boxes: ov.Output
    labels: ov.Output
    scores: ov.Output
    masks: ov.Output
    corners: ov.Output | None = None


@dataclass(frozen=True)
class PasteGrid:
    """size: i64 [2]. rows, columns: f32 centres of the grid's cells in pixels of the input. reach: its longer side, or the
    longest that is reckoned with."""

    size: ov.Output
    rows: ov.Output
    columns: ov.Output
    reach: int

    @property
    def fine(self) -> int:
        """Steps per pixel in which whole numbers count."""
        return _power_of_two(ROOM / (3 * self.reach * CELLS * PARTS))


def _power_of_two(limit: float) -> int:
    """The largest up to `limit` and FINEST."""
    return min(FINEST, 1 << max(0, int(np.log2(limit))))


def in_steps(pixels: ov.Output, grid: PasteGrid) -> ov.Output:
    """f32 pixels -> i64, how many steps of the grid they are, rounded down; from -reach to 2 * reach pixels.

    Bucketize compares, and reads what the model hands out without rounding it to the device's precision first.
    """
    edges = op.range(number(-grid.reach), number(2 * grid.reach), number(1 / grid.fine), "f32")
    place = op.bucketize(as_float(pixels), edges, "i64", False)
    return op.subtract(place, whole_number(1 + grid.reach * grid.fine)).output(0)


def paste_grid(site: InstanceSite, options: InsertOptions) -> PasteGrid:
    """Height and width as asked for, else the input's over 4; with open sides read from the input itself."""
    shape = site.picture.get_partial_shape()
    sides = [shape[axis] for axis in site.picture_axes]
    if all(side.is_static for side in sides):
        picture = [side.get_length() for side in sides]
        cells = parse_size(options.map_size) if options.map_size else [max(side // STRIDE, 1) for side in picture]
        centres = [((np.arange(n) + 0.5) * (whole / n)).astype(np.float32) for n, whole in zip(cells, picture)]
        rows, columns = (op.constant(line).output(0) for line in centres)
        return PasteGrid(ints(cells), rows, columns, max(picture))
    picture = op.gather(op.shape_of(site.picture, "i64"), ints(site.picture_axes), whole_number(0))
    if options.map_size:
        size = ints(parse_size(options.map_size))
    else:
        size = op.maximum(op.divide(picture, whole_number(STRIDE)), whole_number(1)).output(0)
    step = op.divide(op.convert(picture, "f32"), op.convert(size, "f32"))
    return PasteGrid(size, _centres(size, step, 0), _centres(size, step, 1), LARGEST_SIDE)


def _centres(size: ov.Output, step: ov.Node, axis: int) -> ov.Output:
    which, zero = whole_number(axis), whole_number(0)
    cells = op.range(zero, op.gather(size, which, zero), whole_number(1), "f32")
    return op.multiply(op.add(cells, number(0.5)), op.gather(step, which, zero)).output(0)


def paste(masks: ov.Output, table: Table, grid: PasteGrid) -> ov.Output:
    """masks [N, I, mh, mw] in the boxes of `table` -> [N, I, gh, gw]: two batched products with bilinear weights."""
    down = weights(Line.of(grid.rows, table, (1, 3), grid), masks, 2)
    across = weights(Line.of(grid.columns, table, (0, 2), grid), masks, 3)
    return op.matmul(op.matmul(down, masks, False, False), across, False, True).output(0)


@dataclass(frozen=True)
class Line:
    """Boxes and the grid along one side: centres f32 [g], low and high f32 [N, I], each also in whole steps, i64."""

    centres: ov.Output
    low: ov.Output
    high: ov.Output
    whole: tuple[ov.Output, ov.Output, ov.Output] | None
    grid: PasteGrid

    @classmethod
    def of(cls, centres: ov.Output, table: Table, columns: tuple[int, int], grid: PasteGrid) -> Line:
        def ends(port: ov.Output) -> tuple[ov.Output, ov.Output]:
            first, last = (op.gather(port, whole_number(column), whole_number(2)).output(0) for column in columns)
            return first, last

        low, high = ends(table.boxes)
        whole = None if table.corners is None else (in_steps(centres, grid), *ends(table.corners))
        return cls(centres, low, high, whole, grid)


def weights(line: Line, masks: ov.Output, axis: int) -> ov.Output:
    """[N, I, g, m]: how much of mask cell m a grid line takes; linear between cell centres, falling to 0 outside."""
    cells = _side(masks, axis)
    extent = op.unsqueeze(op.maximum(op.subtract(line.high, line.low), number(THINNEST)), ints([2]))
    offset = op.subtract(op.unsqueeze(line.centres, ints([0, 1])), op.unsqueeze(line.low, ints([2])))
    place = op.subtract(op.multiply(op.divide(offset, extent), cells), number(0.5))
    side = masks.get_partial_shape()[axis]
    if line.whole is None or side.is_dynamic:
        steps = op.range(number(0.0), cells, number(1.0), "f32")
        distance = op.abs(op.subtract(op.unsqueeze(place, ints([3])), op.unsqueeze(steps, ints([0, 1, 2]))))
        return op.relu(op.subtract(number(1.0), distance)).output(0)
    return _exact_weights(line, line.whole, place, extent, side.get_length())


def _exact_weights(
    line: Line, whole: tuple[ov.Output, ov.Output, ov.Output], place: ov.Node, extent: ov.Node, cells: int
) -> ov.Output:
    """The same by whole numbers: place = quotient / unit + rest, the rest no larger than what was rounded off.

    In f32 that is the place as it was computed. Where `place` is rounded, the rest is garbage, but small garbage: what
    is left of it is a few steps.
    """
    reach, fine = line.grid.reach, line.grid.fine
    unit = _power_of_two(ROOM / (3 * reach * fine * cells))
    centres, low, high = (op.unsqueeze(port, ints(axes)) for port, axes in zip(whole, ([0, 1], [2], [2])))
    width = op.maximum(op.subtract(high, low), whole_number(1))
    scaled = op.multiply(op.subtract(centres, low), whole_number(cells * unit))
    quotient = op.subtract(op.divide(scaled, width), whole_number(unit // 2))
    near = op.divide(op.convert(quotient, "f32"), number(unit))
    bound = op.add(op.divide(number(4 * cells / fine), extent), number(2 / unit))
    rest = op.subtract(place, near)
    small = op.minimum(op.maximum(rest, op.negative(bound)), bound)
    end = 2 * reach * fine - 1
    told = op.logical_and(op.greater_equal(low, whole_number(-reach * fine)), op.less(high, whole_number(end)))
    rest = op.select(told, small, rest)  # corners beyond the table's ends are taken as they are
    steps = op.constant(np.arange(cells, dtype=np.int64) * unit)
    apart = op.divide(op.convert(op.subtract(op.unsqueeze(quotient, ints([3])), steps), "f32"), number(unit))
    distance = op.abs(op.add(apart, op.unsqueeze(rest, ints([3]))))
    return op.relu(op.subtract(number(1.0), distance)).output(0)


def _side(masks: ov.Output, axis: int) -> ov.Output:
    """How many cells a mask has along `axis`, f32 scalar."""
    side = masks.get_partial_shape()[axis]
    if side.is_static:
        return number(side.get_length())
    length = op.gather(op.shape_of(masks, "i64"), whole_number(axis), whole_number(0))
    return op.convert(length, "f32").output(0)


def covered(boxes: ov.Output, grid: PasteGrid) -> ov.Output:
    """bool [N, I, gh, gw]: cells whose centre lies in the box (prototypes know nothing of boxes)."""
    x1, y1, x2, y2 = (op.gather(boxes, whole_number(i), whole_number(2)) for i in range(4))

    def between(centres: ov.Output, low: ov.Node, high: ov.Node) -> ov.Node:
        line = op.unsqueeze(centres, ints([0, 1]))
        after = op.greater_equal(line, op.unsqueeze(low, ints([2])))
        return op.logical_and(after, op.less(line, op.unsqueeze(high, ints([2]))))

    rows = op.unsqueeze(between(grid.rows, y1, y2), ints([3]))
    return op.logical_and(rows, op.unsqueeze(between(grid.columns, x1, x2), ints([2]))).output(0)
