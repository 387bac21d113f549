"""One graph for all searches: witness shapes, values, what is live, and the two names of a port."""

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op

from helpers import classifiers, detectors
from ovxai.errors import UnsupportedModelError
from ovxai.graph.graph import Graph, constant_value, without_constant


def node(model, name):
    return next(each for each in model.get_ops() if each.get_friendly_name() == name)


def test_witness_shapes():
    model = classifiers.cnn(-1, (-1, -1))
    graph = Graph(model)
    assert graph.shape(node(model, "features").output(0)) == (3, 6, 28, 28)
    static = classifiers.cnn()
    assert Graph(static).shape(node(static, "features").output(0)) == (1, 6, 3, 4)
    assert model.is_dynamic()


def test_sides_differ_where_places_are_handed_out():
    """So that a swap of height and width is seen; the batch stays one that no axis is taken for."""
    model = detectors.anchored(batch=-1, size=(-1, -1))
    graph = Graph(model)
    assert graph.shape(model.input(0)) == (3, 3, 256, 384)
    assert graph.shape(node(model, "cls0").output(0)) == (3, 10, 64, 96)


def test_a_batch_that_a_reshape_swallows_is_one():
    image = classifiers.picture(-1)
    rows = op.reshape(classifiers.trunk(image), np.array([1, 6, -1]), False)
    model = ov.Model([op.result(op.transpose(rows, np.array([0, 2, 1])))], [image], "baked")
    assert Graph(model).shape(model.input(0)) == (1, 3, *classifiers.SIZE)


def test_a_dynamic_model_that_no_size_fits():
    entry = op.parameter(ov.PartialShape([-1, 3, -1, -1]), np.float32)
    rows = op.reshape(entry, np.array([-1, 31]), False)
    model = ov.Model([op.result(op.matmul(rows, classifiers.numbers(31, 3), False, False))], [entry], "odd")
    with pytest.raises(UnsupportedModelError, match="no concrete input shape"):
        Graph(model)


def test_a_shape_that_depends_on_data():
    entry = op.parameter([1, 3, 4, 4], np.float32)
    places = op.non_zero(entry, output_type="i64")
    places.set_friendly_name("places")
    model = ov.Model([op.result(op.transpose(places, np.array([1, 0])))], [entry], "data")
    graph = Graph(model)
    port = graph.port_of(places.output(0))
    assert graph.shape(port) is None and graph.extents[port[0]][port[1]] == (4, None)
    with pytest.raises(UnsupportedModelError, match="places: its shape depends on the data"):
        graph.known_shape(port)


def test_constants_and_relations():
    model = classifiers.cnn()
    graph = Graph(model)
    image, features, logits = (node(model, name) for name in ("image", "features", "logits"))
    assert not graph.is_constant(features.output(0)) and graph.is_constant(logits.input(1).get_source_output())
    assert features.get_name() in graph.descendants([image]) and features.get_name() in graph.ancestors([logits])
    assert image.get_name() not in graph.descendants([features])
    assert graph.position(image) < graph.position(features) < graph.position(logits)
    between = [each.get_name() for each in graph.between(features, logits)]
    assert between[0] == features.get_name() and between[-1] == logits.get_name()


def test_ports_have_two_names():
    model = detectors.with_nms()
    graph = Graph(model)
    for number, output in enumerate(model.outputs):
        port = graph.results[number]
        assert graph.port_of(graph.output_of(port)) == port
        assert graph.output_of(port).get_partial_shape() == output.get_partial_shape()
    for feed, users in graph.consumers.items():
        assert all(graph.inputs[user][number] == feed for user, number in users)


def test_what_only_a_size_feeds_is_not_live_and_has_a_value():
    """A size that was open has the witness' value; what is read off it is no constant."""
    image = classifiers.picture(-1, size=(-1, -1))
    sides = op.gather(op.shape_of(image), np.array([2, 3]), np.int64(0))
    sides.set_friendly_name("sides")
    back = op.interpolate(classifiers.trunk(image), sides, "linear_onnx", "sizes", axes=np.array([2, 3]))
    graph = Graph(ov.Model([op.result(back)], [image], "resized"))
    port = graph.port_of(sides.output(0))
    assert not graph.live[port[0]] and not graph.is_constant(sides.output(0))
    np.testing.assert_array_equal(graph.value(port), [256, 384])
    assert graph.live[graph.position(back)] and graph.value(graph.port_of(back.output(0))) is None


def test_what_was_made_since_is_not_the_models():
    model = classifiers.cnn()
    graph = Graph(model)
    made = op.relu(node(model, "features"))
    assert not graph.knows(made) and graph.shape(made.output(0)) is None and not graph.is_constant(made.output(0))


def test_a_bias_is_told_from_its_scores():
    image = classifiers.picture()
    scores = op.matmul(classifiers.mean(classifiers.trunk(image)), classifiers.numbers(6, 5), False, False)
    with_bias = op.add(classifiers.numbers(1, 5), scores)
    with_batch = op.add(with_bias, op.multiply(with_bias, np.float32(2)))
    graph = Graph(ov.Model([op.result(with_batch)], [image], "bias"))
    rest, bias = without_constant(graph, with_bias.output(0))
    assert rest.get_node().get_name() == scores.get_name() and bias is not None and list(bias.get_shape()) == [1, 5]
    assert without_constant(graph, with_batch.output(0)) == (with_batch.output(0), None)


@pytest.mark.parametrize("kind", ["f64", "f16", "bf16", "f8e4m3", "i4", "u4"])
def test_constants_of_types_that_numpy_lacks_are_read_by_value(kind):
    """NumPy has no bf16: its bits taken for f16 would make 2.125 of 3."""
    image = classifiers.picture()
    constant = op.constant(np.array([3, 1, 3, 2], np.float32), dtype=getattr(ov.Type, kind))
    shifted = op.add(classifiers.linear(classifiers.mean(classifiers.trunk(image)), 4), op.convert(constant, "f32"))
    graph = Graph(ov.Model([op.result(shifted)], [image], "model"))
    at = next(one for one in graph.ops if one.get_element_type() == getattr(ov.Type, kind))
    told = constant_value(at.output(0))
    assert told is not None and told.tolist() == [3, 1, 3, 2]
    after = next(iter(at.output(0).get_target_inputs())).get_node()
    seen = graph.value(graph.port_of(after.output(0)))
    assert seen is not None and seen.tolist() == [3, 1, 3, 2]
