"""What a user's NAME means: friendly name, `name:port`, tensor name, output by name or number; else the nearest names."""

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op

from helpers import classifiers as toys
from ovxai.errors import OptionError, TargetLayerError
from ovxai.graph.names import name_converted, name_of, output_index, output_name, port_named


def split_in_two():
    image = toys.picture()
    parts = op.split(toys.named(op.relu(image), "features"), op.constant(np.int64(2)), 2)
    parts.set_friendly_name("halves")
    parts.output(1).set_names({"lower_half"})
    return ov.Model([op.result(parts.output(0)), op.result(parts.output(1))], [image], "halves")


@pytest.mark.parametrize("name, found", [
    ("features", "features"), ("features:0", "features"), ("halves", "halves"), ("halves:1", "halves:1"),
    ("lower_half", "halves:1"),
])  # fmt: skip
def test_a_port_by_its_name(name, found):
    assert name_of(port_named(split_in_two(), name)) == found


def test_a_friendly_name_goes_before_a_tensor_name():
    model = split_in_two()
    image = model.get_parameters()[0]
    image.output(0).set_names({"features"})
    assert name_of(port_named(model, "features")) == "features"


def test_a_result_is_what_it_hands_out():
    model = split_in_two()
    model.get_results()[1].set_friendly_name("handed_out")
    assert name_of(port_named(model, "handed_out")) == "halves:1"


@pytest.mark.parametrize("name", ["halves:2", "halfes", "lower_halve"])
def test_no_such_port_names_the_nearest(name):
    with pytest.raises(TargetLayerError, match=r"'" + name + r"'; nearest: .*(halves|lower_half)"):
        port_named(split_in_two(), name)


@pytest.mark.parametrize("wanted", ["coarse", 0, "0"])
def test_outputs_by_name_and_number(wanted):
    assert output_index(toys.two_outputs(), wanted) == 0


def test_an_output_by_its_node():
    assert output_index(toys.cnn(), "logits") == 0
    assert output_index(split_in_two(), "halves:1") == 1


def test_a_name_that_looks_like_a_number():
    """As ONNX exports number their tensors."""
    model = toys.two_outputs()
    model.outputs[1].get_tensor().set_names({"0"})
    assert output_index(model, "0") == 1 and output_index(model, 0) == 0


@pytest.mark.parametrize("wanted, words", [("fines", "nearest: fine"), ("2", "has 2"), (2, "has 2"), (-1, "nearest")])
def test_no_such_output(wanted, words):
    with pytest.raises(OptionError, match=words):
        output_index(toys.two_outputs(), wanted)


def test_the_name_of_an_output():
    assert output_name(toys.two_outputs(), 1) == "fine"


def made_up(counter: int, own: str = "Reshape_3") -> ov.Model:
    """As front ends leave it: names with a counter in them, one of them handed on, and one of the file's own."""
    image = toys.named(op.parameter([1, 12], np.float32), "image")
    rows = op.reshape(image, toys.named(op.constant(np.array([3, 4])), f"Unsqueeze_{counter}"), False)
    rows = toys.named(rows, own)
    bent = toys.named(op.relu(rows), f"Clamp_{counter + 1}")
    return ov.Model([toys.named(op.result(op.add(bent, np.float32(1))), "scores")], [image], "converted")


def test_names_that_a_front_end_made_up_are_the_same_each_time(tmp_path):
    file = tmp_path / "model.onnx"
    file.write_bytes(b"..Reshape_3..")
    found = []
    # The third time the counter has reached the file's own name, and OpenVINO has told the two apart.
    for model in (made_up(17), made_up(31_000), made_up(3, "Reshape_3_1")):
        name_converted(model, file)
        found.append([node.get_friendly_name() for node in model.get_ordered_ops()])
    assert found[0] == found[1] == found[2]
    assert {"image", "Reshape_3", "scores"} < set(found[0]) and len(set(found[0])) == len(found[0])
