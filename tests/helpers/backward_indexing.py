"""Tiny graphs for the rules of entries at places that a tensor names."""

from __future__ import annotations

import numpy as np
import openvino as ov
from openvino import opset1, opset3, opset5, opset15
from openvino import opset13 as op

from helpers.backward_structure import ONE, ROWS, ints
from helpers.differences import Tiny, all_apart
from helpers.values import numbers

#: Places in tensors [2, 6, 4].
OF_EACH = np.array([[1, 0, 1], [2, 3, -1]], np.int64)
PAIRS = np.array([[0, 1], [1, 5], [0, 3], [-1, 2]], np.int64)
APART = np.array([[[0, 5, 2, 1], [4, 1, 0, 3]], [[2, 3, 4, 5], [1, 1, 1, 1]]], np.int64)


def is_high(x: ov.Node, *axes: int) -> ov.Node:
    """i64: 1 where the largest of some axes is high; places that depend on the picture."""
    found = op.reduce_max(x, ints(*axes)) if axes else x
    return op.convert(op.greater(found, np.float32(0.25)), "i64")


def best(x: ov.Node, count: int, axis: int, mode: str = "max", sort: str = "value") -> ov.Node:
    return op.multiply(np.float32(0.1), op.topk(x, np.int64(count), axis, mode, sort, index_element_type="i64").output(0))


def scatter(reduction: str = "none", initial: bool = True, updates: tuple[int, ...] = (2, 2, 4)) -> Tiny:
    index = APART[:, : updates[1], : updates[2]]
    return Tiny(lambda x, u: op.scatter_elements_update(x, index, u, np.int64(1), reduction, initial), ((2, 6, 4), updates))


def scatter_nd(reduction: str) -> Tiny:
    make = opset15.scatter_nd_update
    return Tiny(lambda x, u: make(x, PAIRS, op.multiply(u, u), reduction), ((2, 6, 4), (4, 4)))


def sampled(align: bool, padding: str, mode: str = "bilinear") -> Tiny:
    """A map of 3 x 5 cells at places in it and up to a cell and more beside it, none of them near a bend.

    The grid is read as (x, y) in cells, each at a third or two between two of them.
    """
    places = np.array([(-2, 0), (-1, 1), (0, 0), (1, -1), (3, 1), (4, 2), (5, 3), (2, -2)], np.float32)
    places = np.stack([places, places[::-1]])[:, None] + np.float32(0.37)
    sizes = np.array([5, 3], np.float32)
    if align:
        base, pace = 2 * places / (sizes - 1) - 1, 2 / (sizes - 1)
    else:
        base, pace = (2 * places + 1) / sizes - 1, 2 / sizes

    def make(x: ov.Node, moves: ov.Node) -> ov.Node:
        grid = op.add(op.multiply(op.tanh(moves), (pace * np.float32(0.2)).astype(np.float32)), base.astype(np.float32))
        return op.grid_sample(x, grid, {"align_corners": align, "mode": mode, "padding_mode": padding})

    return Tiny(make, ((2, 4, 3, 5), (2, 1, 8, 2)))


def by_itself(x: ov.Node) -> ov.Node:
    """A map that says where it is sampled; bends are at multiples of a half."""
    places = op.transpose(op.slice(x, ints(1), ints(3), ints(1), ints(1)), ints(0, 2, 3, 1))
    return op.grid_sample(x, places, {"align_corners": True, "mode": "bilinear", "padding_mode": "zeros"})


APPLY: dict[str, list[Tiny]] = {
    "Gather": [
        Tiny(lambda x: op.gather(x, ints(2, 0), np.int64(1)), ROWS),
        Tiny(lambda x: op.gather(x, np.int64(-1), np.int64(1)), ROWS),
        Tiny(lambda x: op.gather(x, np.array([[0, 3], [3, 1]]), np.int64(2)), ROWS),
        Tiny(lambda x: op.gather(x, is_high(x, 0, 2), np.int64(2)), ROWS),
        Tiny(lambda x: op.gather(x, OF_EACH, np.int64(1), 1), ROWS),
        Tiny(lambda x: op.gather(x, is_high(x, 2), np.int64(2), 1), ROWS),
        Tiny(lambda x: op.gather(x, is_high(x, 3), np.int64(-1), -1), ONE),
    ],
    "GatherElements": [
        Tiny(lambda x: op.gather_elements(x, is_high(x), 2), ONE),
        Tiny(lambda x: op.gather_elements(x, APART, 1), ROWS),
    ],
    "GatherND": [
        Tiny(lambda x: op.gather_nd(x, op.unsqueeze(is_high(x, 1), ints(2)), 1), ROWS),
        Tiny(lambda x: op.gather_nd(x, OF_EACH[..., None], 1), ROWS),
        Tiny(lambda x: op.gather_nd(x, PAIRS), ROWS),
        Tiny(lambda x: op.gather_nd(x, np.array([[[0, 3], [0, 3]], [[5, 0], [1, 1]]]), 1), ROWS),
        Tiny(lambda x: op.gather_nd(x, np.array([[[[0], [2]]] * 4, [[[1], [1]]] * 4]), 2), ((2, 4, 3, 5),)),
        Tiny(lambda x: opset5.gather_nd(x, np.array([[[[0], [2]]] * 4, [[[1], [1]]] * 4]), 2), ((2, 4, 3, 5),)),
    ],
    "GridSample": [
        Tiny(by_itself, ONE),
        sampled(False, "zeros"),
        sampled(True, "zeros"),
        sampled(False, "border"),
        sampled(True, "border"),
    ],
    "TopK": [
        Tiny(lambda x: best(x, 3, 1), ROWS, all_apart),
        Tiny(lambda x: best(x, 2, -1, "min", "none"), ROWS, all_apart),
        Tiny(lambda x: op.multiply(np.float32(0.1), opset1.topk(x, np.int64(2), 2, "max", "index").output(0)), ROWS, all_apart),
    ],
    "ScatterElementsUpdate": [
        scatter(),
        scatter(updates=(2, 2, 3)),
        scatter("sum"),
        scatter("sum", False),
        Tiny(lambda x: op.scatter_elements_update(x, APART, numbers(2, 2, 4), np.int64(-2)), ROWS),
        Tiny(lambda u: opset3.scatter_elements_update(numbers(2, 6, 4), APART, u, np.int64(1)), ((2, 2, 4),)),
    ],
    "ScatterUpdate": [
        Tiny(
            lambda x: op.scatter_update(
                x, ints(4, 0), op.slice(op.multiply(x, x), ints(1), ints(3), ints(1), ints(1)), np.int64(1)
            ),
            ROWS,
        ),
        Tiny(lambda x, u: op.scatter_update(x, ints(4, 0), u, np.int64(1)), ((2, 6, 4), (2, 2, 4))),
        Tiny(lambda x: op.scatter_update(x, np.array([[3, 1]]), numbers(2, 6, 1, 2), np.int64(-1)), ROWS),
        Tiny(lambda u: op.scatter_update(numbers(2, 6, 4), np.array([[3, 1], [0, 2]]), u, np.int64(1)), ((2, 2, 2, 4),)),
    ],
    "ScatterNDUpdate": [
        Tiny(lambda x, u: op.scatter_nd_update(x, PAIRS, u), ((2, 6, 4), (4, 4))),
        Tiny(lambda x, u: op.scatter_nd_update(x, np.array([[[1]], [[0]]]), u), ((3, 6, 4), (2, 1, 6, 4))),
        Tiny(lambda x, u: op.scatter_nd_update(x, np.array([[0, 1, 3], [1, 0, 0]]), u), ((2, 6, 4), (2,))),
        scatter_nd("sum"),
        scatter_nd("sub"),
    ],
}


#: As in `backward_structure`.
REFUSE: dict[str, tuple[Tiny, str, tuple[int, ...]]] = {
    "GridSample": (sampled(False, "zeros", "bicubic"), "bicubic", ()),
    "GatherND": (Tiny(lambda x: op.gather_nd(x, is_high(x, 1, 2)), ROWS), "open number of axes", (0,)),
    "Gather": (Tiny(lambda x: op.gather(x, ints(0), op.reduce_max(is_high(x), ints(0, 1, 2))), ROWS), "input 2", ()),
    "ScatterElementsUpdate": (scatter("max"), "reduction is max", ()),
    "ScatterUpdate": (
        Tiny(lambda x: op.scatter_update(x, ints(1), numbers(2, 1, 1), op.reduce_max(is_high(x), ints(0, 1))), ((2, 1, 1),)),
        "input 3",
        (),
    ),
    "ScatterNDUpdate": (scatter_nd("prod"), "reduction is prod", ()),
}
