"""Heads walked back on windows around cells: the same derivatives, and nothing where a window would not do."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op

from helpers import classifiers as toys
from helpers.values import named, numbers
from ovxai.backward.interpreter import derivatives
from ovxai.backward.targets import Targets
from ovxai.backward.windows import regions
from ovxai.graph.graph import Graph
from ovxai.graph.names import port_named

HEIGHT, WIDTH = 24, 32
#: Row, column and output column of each target: corners, edges and the middle.
CELLS = ((0, 0, 1), (23, 31, 2), (0, 17, 0), (12, 12, 3), (11, 0, 1))


def rows(x: ov.Node) -> ov.Node:
    """[1, C, h, w] -> [1, h * w, C]."""
    return op.transpose(op.reshape(x, np.array([0, 0, -1]), True), np.array([0, 2, 1]))


def detector(
    tower: Callable[[ov.Node], ov.Node], tail: Callable[[ov.Node], ov.Node] = op.sigmoid, batch: int = 1, size: int = 1
) -> ov.Model:
    """A trunk, features that two branches and a further one read, and rows of 3 + 1 values."""
    image = toys.picture(batch, 3, (HEIGHT // size, WIDTH // size))
    trunk = named(op.swish(toys.conv(image, 4, 3)), "trunk")
    features = named(op.swish(toys.conv(trunk, 6, 1, seed=2)), "features")
    scores = toys.conv(tower(features), 3, 1, seed=3)
    certain = toys.conv(named(op.relu(toys.conv(features, 5, 3, seed=4)), "inner"), 1, 1, seed=5)
    return toys.finished(op.concat([rows(tail(scores)), rows(op.sigmoid(certain))], 2), image)


def tower(x: ov.Node) -> ov.Node:
    """Two layers that look about, the second only along its own channels."""
    x = op.swish(toys.conv(x, 6, 3, seed=6))
    return op.relu(op.group_convolution(x, numbers(6, 1, 1, 5, 5, seed=7), [1, 1], [2, 2], [2, 2], [1, 1]))


def derived(model: ov.Model, heads: bool) -> np.ndarray:
    graph = Graph(model)
    seed = np.zeros((len(CELLS), 1, HEIGHT * WIDTH, 4), np.float32)
    for target, (row, column, value) in enumerate(CELLS):
        seed[target, 0, row * WIDTH + column] = numbers(4, seed=target)
        seed[target, 0, row * WIDTH + column, value] = 2
    taps = [port_named(model, "trunk")]
    found = derivatives(
        graph, {graph.results[0]: op.constant(seed).output(0)}, taps, Targets(len(CELLS)),
        heads=[port_named(model, "features")] if heads else (),
    )  # fmt: skip
    assert found[0] is not None
    twin = ov.Model([op.result(found[0])], model.get_parameters(), "derivative")
    compiled = ov.Core().compile_model(twin, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.array(compiled([numbers(1, 3, HEIGHT, WIDTH)])[0])


def found_regions(model: ov.Model, *taps: str) -> list[int]:
    """The reach of each."""
    graph = Graph(model)
    ports = [graph.port_of(port_named(model, tap)) for tap in taps]
    entry = graph.port_of(port_named(model, "features"))
    return [region.reach for region in regions(graph, [entry], graph.results, ports).values()]


def test_windows_give_the_same_derivatives() -> None:
    assert found_regions(detector(tower)) == [3]
    whole, windows = derived(detector(tower), heads=False), derived(detector(tower), heads=True)
    np.testing.assert_allclose(windows, whole, rtol=1e-4, atol=1e-6 * np.abs(whole).max())
    assert all(np.abs(each).max() > 0 for each in whole)


def test_what_is_worked_out_from_shapes_is_read_on_windows_as_it_stands() -> None:
    """A bias whose form comes from the sizes of the model's input, as exporters leave it behind a convolution."""

    def biased(x: ov.Node) -> ov.Node:
        image = x
        while image.get_type_name() != "Parameter":
            image = image.input_value(0).get_node()
        one = op.gather(op.shape_of(image, "i64"), np.array([0]), np.array(0))
        form = op.concat([one, np.array([6], np.int64), one, one], 0)
        return op.relu(op.add(toys.conv(x, 6, 3, seed=6), op.reshape(numbers(6, seed=9), form, False)))

    assert found_regions(detector(biased)) == [1]
    whole, windows = derived(detector(biased), heads=False), derived(detector(biased), heads=True)
    np.testing.assert_allclose(windows, whole, rtol=1e-4, atol=1e-6 * np.abs(whole).max())


def test_fewer_multiplications_are_done() -> None:
    sizes = []
    for heads in (False, True):
        model = detector(tower)
        graph = Graph(model)
        seed = op.constant(np.zeros((2, 1, HEIGHT * WIDTH, 4), np.float32)).output(0)
        tap, head = port_named(model, "trunk"), port_named(model, "features")
        (found,) = derivatives(graph, {graph.results[0]: seed}, [tap], Targets(2), heads=[head] if heads else ())
        assert found is not None
        back = [node for node in ov.Model([op.result(found)], model.get_parameters(), "back").get_ops()
                if node.get_type_name().endswith("ConvolutionBackpropData")]  # fmt: skip
        sizes.append(sum(int(np.prod(list(node.get_output_shape(0)))) for node in back))
    assert sizes[1] < sizes[0] / 2


def mixed(x: ov.Node) -> ov.Node:
    """Each cell sees the mean of all."""
    return op.multiply(tower(x), op.sigmoid(op.reduce_mean(tower(x), np.array([2, 3]), True)))


def strided(x: ov.Node) -> ov.Node:
    smaller = op.relu(toys.conv(x, 6, 4, 2, seed=8))
    return op.interpolate(smaller, np.array([HEIGHT, WIDTH]), "nearest", "sizes", axes=np.array([2, 3]))


def by_column(x: ov.Node) -> ov.Node:
    """A factor that runs along the map's columns."""
    return op.multiply(tower(x), numbers(WIDTH, seed=9))


def by_place(x: ov.Node) -> ov.Node:
    """A term for each column that the graph works out from the size of the map."""
    width = op.gather(op.shape_of(x, "i64"), np.array(3), np.array(0))
    columns = op.convert(op.range(np.int64(0), width, np.int64(1), "i64"), "f32")
    return op.relu(op.add(tower(x), op.reshape(columns, np.array([1, 1, 1, -1]), False)))


ELSE = {
    "cells that see all others": lambda: detector(mixed),
    "scores that exclude each other over cells": lambda: detector(tower, lambda x: op.softmax(x, 3)),
    "what differs from column to column": lambda: detector(by_column),
    "what the graph works out for each column": lambda: detector(by_place),
    "two pictures": lambda: detector(tower, batch=2),
    "an open batch": lambda: detector(tower, batch=-1),
    "a map as small as a window": lambda: detector(tower, size=2),
}


@pytest.mark.parametrize("name", ELSE)
def test_where_a_window_does_not_do(name: str) -> None:
    assert found_regions(ELSE[name]()) == []


def test_a_layer_of_the_head_that_is_asked_for() -> None:
    assert found_regions(detector(tower), "inner") == []


def test_a_branch_that_a_window_does_not_do_stays_whole() -> None:
    """The other one is walked as windows, and derivatives stay the same."""
    assert found_regions(detector(strided)) == [1]
    whole, windows = derived(detector(strided), heads=False), derived(detector(strided), heads=True)
    np.testing.assert_allclose(windows, whole, rtol=1e-4, atol=1e-6 * np.abs(whole).max())
