"""A layer or an output that the user names is looked up before any search, whatever the model is."""

from collections.abc import Callable

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op

import ovxai
from helpers import classifiers, detectors, instances
from ovxai.errors import OptionError, TargetLayerError, UsageError
from ovxai.find import task as tasks
from ovxai.find.site import Request
from ovxai.graph.graph import Graph
from ovxai.metadata import ExplainedInfo, ModelInfo
from ovxai.options import InsertOptions

FAMILIES: dict[str, tuple[Callable[[], ov.Model], str]] = {
    "classification": (classifiers.cnn, "features"),
    "detection": (detectors.anchored, "cls0"),
    "instance-segmentation": (instances.two_stage, "picture"),
}
#: Tasks whose methods read `--target-layer`.
GATED = ("classification", "detection")


def model_of(family):
    build, name = FAMILIES[family]
    model = build()
    if family == "instance-segmentation":
        model.get_parameters()[0].set_friendly_name(name)
    return model


@pytest.fixture
def no_search(monkeypatch):
    """Any search fails the test."""

    def search(_request):
        raise AssertionError("a search was begun")

    monkeypatch.setattr(tasks, "TASKS", dict.fromkeys(tasks.TASKS, tasks.Task(search)))


@pytest.mark.usefixtures("no_search")
@pytest.mark.parametrize("family, task", [*((family, "auto") for family in FAMILIES), *((each, each) for each in GATED)])
def test_a_layer_that_is_not_there(family, task):
    name = FAMILIES[family][1]
    with pytest.raises(TargetLayerError, match=rf"no node or tensor named '{name}_'; nearest: .*\b{name}\b"):
        ovxai.insert(model_of(family), target_layer=f"{name}_", task=task)


@pytest.mark.usefixtures("no_search")
@pytest.mark.parametrize("family", FAMILIES)
def test_an_output_that_is_not_there(family):
    model = model_of(family)
    model.outputs[0].get_tensor().set_names({"handed_out"})
    with pytest.raises(OptionError, match=r"no output named 'handed_ot'; nearest: .*handed_out"):
        ovxai.insert(model, output="handed_ot")
    with pytest.raises(OptionError, match="no output 9"):
        ovxai.insert(model, output=9)


@pytest.mark.usefixtures("no_search")
@pytest.mark.parametrize("family", GATED)
@pytest.mark.parametrize("method", ["auto", "gradient"])
def test_a_layer_that_is_named_twice(family, method):
    """In a product it would be multiplied with itself."""
    model, name = model_of(family), FAMILIES[family][1]
    per = "box" if (family, method) == ("detection", "gradient") else "class"
    with pytest.raises(UsageError, match=f"target layer: '{name}' is named twice"):
        ovxai.insert(model, target_layer=[name, name], method=method, per=per)
    port = next(node for node in model.get_ops() if node.get_friendly_name() == name).output(0)
    port.get_tensor().set_names({"tensor_of_it"})
    for alias in ("tensor_of_it", f"{name}:0"):
        with pytest.raises(TargetLayerError, match=f"'{name}' and '{alias}' are two names of one tensor"):
            ovxai.insert(model, target_layer=[name, alias], method=method, per=per)


def test_layers_of_one_operation_are_two():
    model = ov.Model([(parts := op.split(image := op.parameter([1, 4, 8, 8], np.float32), np.int64(1), 2)).output(1)], [image])
    parts.set_friendly_name("parts")
    graph, info = Graph(model), ModelInfo.read(model)
    found = Request.of(graph, InsertOptions(target_layer=("parts", "parts:1")), info).layers
    assert [(port.get_node().get_friendly_name(), port.get_index()) for port in found] == [("parts", 0), ("parts", 1)]


def test_a_layer_of_a_detector_that_is_no_map():
    with pytest.raises(TargetLayerError, match=r"target layer: scored is \[1,252,5\], not a map"):
        model = detectors.anchored()
        model.get_results()[1].input(0).get_source_output().get_node().set_friendly_name("scored")
        ovxai.insert(model, target_layer="scored")


def test_layers_of_a_detector_that_do_not_go_together():
    model = detectors.raw_levels(classes=8, boxes=16)
    next(node for node in model.get_ops() if node.get_friendly_name() == "cls2").set_friendly_name("one")
    boxes = model.get_results()[3].input(0).get_source_output().get_node()
    boxes.set_friendly_name("boxes")
    with pytest.raises(TargetLayerError, match="different numbers of classes"):
        ovxai.insert(model, target_layer=("one", "boxes"))


def test_instance_masks_gate_no_layer():
    with pytest.raises(UsageError, match="target layer: not read by inst-seg"):
        ovxai.insert(model_of("instance-segmentation"), target_layer="picture")


def test_an_output_by_its_numeric_name():
    model = classifiers.two_outputs()
    model.outputs[1].get_tensor().set_names({"495"})
    info = ExplainedInfo.read(ovxai.insert(model, output="495", probe=False))
    assert info is not None and (info.explained_output, info.score_output, info.num_classes) == (1, "495", 5)
