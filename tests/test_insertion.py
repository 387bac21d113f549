"""`ovxai.insert`: what an explained model holds beside what the plain one held."""

from dataclasses import replace

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op

import ovxai
from helpers import classifiers as toys
from helpers import detectors, instances
from helpers.explained import info_of
from ovxai import errors
from ovxai.errors import OptionError
from ovxai.insertion import insert_with_report
from ovxai.methods.registry import Method, build_branch
from ovxai.options import InsertOptions
from ovxai.verification import verify

PRECISE = {"INFERENCE_PRECISION_HINT": "f32"}
PICTURE = np.random.default_rng(1).standard_normal((2, 3, *toys.SIZE)).astype(np.float32)


def run(model, *feed):
    compiled = ov.Core().compile_model(model, "CPU", PRECISE)
    outputs = compiled(list(feed))
    return [np.array(outputs[index]) for index in range(len(compiled.outputs))]


def names(model):
    return [sorted(output.get_names()) for output in model.outputs]


def text(model, *path):
    return model.get_rt_info(list(path)).astype(str)


def annotated(model=None):
    """A plain model with rt_info of several kinds and a friendly name."""
    model = model or toys.two_outputs()
    model.set_friendly_name("the best model")
    model.set_rt_info("cat dog owl", ["model_info", "labels"])
    model.set_rt_info("12 13 14", ["model_info", "mean_values"])
    model.set_rt_info("performance", ["nncf", "quantization", "preset"])
    return model


def test_originals_come_first_then_ours():
    plain = annotated()
    model = ovxai.insert(plain, feature_vector=True, classes="top:2", probe=False)
    assert names(model) == [["coarse"], ["fine"], ["saliency_map"], ["feature_map"], ["feature_vector"], ["saliency_index"]]
    for one, two in zip(plain.outputs, model.outputs):
        assert one.get_partial_shape() == two.get_partial_shape() and one.get_element_type() == two.get_element_type()
    assert [one.get_any_name() if one.get_names() else "" for one in plain.inputs] == [
        one.get_any_name() if one.get_names() else "" for one in model.inputs
    ]
    assert [str(output.get_partial_shape()) for output in model.outputs[2:]] == ["[1,2,3,4]", "[1,6,3,4]", "[1,6]", "[1,1,2]"]
    assert [output.get_element_type().to_string() for output in model.outputs[2:]] == ["u8", "f32", "f32", "i64"]


@pytest.mark.parametrize(
    "family", [toys.cnn, toys.nhwc, toys.vgg, toys.vit, toys.class_attention, toys.cnn_with_softmax_and_wrapping]
)
def test_original_values_are_the_same(family):
    plain = family()
    before = run(plain, PICTURE[:1])
    after = run(ovxai.insert(plain, probe=False), PICTURE[:1])
    for one, two in zip(before, after):
        np.testing.assert_allclose(two, one, rtol=1e-6, atol=1e-7)


def test_argument_is_unchanged():
    plain = annotated()
    before = [
        (node.get_type_name(), node.get_friendly_name(), len(node.output(0).get_target_inputs()) if node.get_output_size() else 0)
        for node in plain.get_ordered_ops()
    ]
    ovxai.insert(plain, labels=("x", "y", "z"))
    after = [
        (node.get_type_name(), node.get_friendly_name(), len(node.output(0).get_target_inputs()) if node.get_output_size() else 0)
        for node in plain.get_ordered_ops()
    ]
    assert before == after and names(plain) == [["coarse"], ["fine"]]
    assert text(plain, "model_info", "labels") == "cat dog owl" and not plain.has_rt_info(["ovxai"])


def test_rt_info_and_friendly_name_are_kept():
    model = ovxai.insert(annotated(), probe=False)
    assert model.get_friendly_name() == "the best model"
    assert text(model, "model_info", "labels") == "cat dog owl"
    assert text(model, "model_info", "mean_values") == "12 13 14"
    assert text(model, "nncf", "quantization", "preset") == "performance"


def test_what_it_says_about_itself():
    info = info_of(ovxai.insert(toys.vit(), probe=False))
    assert (info.task, info.method, info.mask, info.layout, info.grid, info.prefix_tokens) == (
        "classification",
        "vit-reciprocam",
        "gaussian",
        "NPC",
        (3, 4),
        1,
    )
    assert (info.collapse, info.scaled, info.classes, info.num_classes) == ("exact", True, "all", toys.CLASSES)
    assert info.target_layers == ("block1_norm", "block1_input") and info.feature_layer == "block1_norm"
    assert info.extra_outputs == ("saliency_map", "feature_map") and info.score_activation == "softmax"
    assert info.version == ovxai.__version__


@pytest.mark.parametrize("activation, due", [("softmax", "none"), ("sigmoid", "none"), ("log", "softmax")])
def test_activation_that_is_still_due(activation, due):
    assert info_of(ovxai.insert(toys.cnn_with_softmax_and_wrapping(activation), probe=False)).score_activation == due


def test_maps_are_of_logits_not_of_what_the_softmax_makes_of_them():
    raw = run(ovxai.insert(toys.cnn(), scale=False, probe=False), PICTURE[:1])[1]
    behind = run(ovxai.insert(toys.cnn_with_softmax_and_wrapping(), scale=False, probe=False), PICTURE[:1])[1]
    np.testing.assert_allclose(raw, behind, rtol=1e-5, atol=1e-6)


def test_an_activation_applied_twice():
    """A softmax in the network and one more from whoever exported it: the logits lie before both."""
    image = toys.picture()
    scores = op.softmax(op.reshape(op.softmax(toys.linear(toys.mean(toys.trunk(image))), 1), np.array([1, -1]), False), 1)
    model = ovxai.insert(toys.finished(scores, image), scale=False)
    assert verify(model).ok


def test_second_insert_is_refused_naming_strip():
    model = ovxai.insert(toys.cnn(), probe=False)
    with pytest.raises(ovxai.AlreadyExplainedError, match=r"ovxai\.strip"):
        ovxai.insert(model)


def test_an_output_of_our_name_counts_as_explained():
    image = toys.picture()
    model = toys.finished(toys.linear(toys.mean(toys.trunk(image))), image, names=("saliency_map",))
    with pytest.raises(ovxai.AlreadyExplainedError):
        ovxai.insert(model)


@pytest.mark.parametrize("wrong, words", [
    ({"classes": "top:0"}, "starts at 1"), ({"classes": "1;2"}, "neither all"), ({"classes": "1,1"}, "twice"),
    ({"classes": "9"}, "0 to 3, not 9"), ({"classes": "top:5"}, "more than the model's 4"),
    ({"mask": "square"}, "point, gaussian"),
    ({"blocks": 0}, "below 1"), ({"memory_budget": 0}, "below 1"), ({"num_classes": 0}, "below 1"), ({"map_size": "4"}, "HxW"),
    ({"method": "gradcam"}, "reciprocam"), ({"task": "pose"}, "classification"), ({"embed": "both"}, "overlay"),
])  # fmt: skip
def test_wrong_values(wrong, words):
    with pytest.raises(ovxai.OptionError, match=words):
        ovxai.insert(toys.cnn(), **wrong)


CLASSIFIER_ONLY = {"mask": "point", "output": 0, "blocks": 2, "memory_budget": 64}
DETECTOR_ONLY = {"levels": "max", "class_activation": "sigmoid"}


@pytest.mark.parametrize("build, options, method", [
    (toys.cnn, DETECTOR_ONLY | {"map_size": "8x8", "blocks": 2}, "reciprocam"),
    (toys.vit, DETECTOR_ONLY | {"map_size": "8x8"}, "vit-reciprocam"),
    (detectors.anchored, {key: CLASSIFIER_ONLY[key] for key in ("mask", "memory_budget")}, "det-class-probability-map"),
    (instances.yolo_seg, DETECTOR_ONLY | {"mask": "point", "output": 0, "memory_budget": 64}, "inst-seg"),
])  # fmt: skip
def test_an_option_that_the_found_method_does_not_read_is_refused(build, options, method):
    model = build()
    for name, value in options.items():
        with pytest.raises(
            ovxai.UsageError, match=f"^{name.replace('_', ' ')}: not read by {method}( for classification)?, only by "
        ):
            ovxai.insert(model, probe=False, **{name: value})


def test_a_layer_of_an_instance_segmenter_is_not_gated():
    with pytest.raises(ovxai.UsageError, match="target layer: not read by inst-seg"):
        ovxai.insert(instances.yolo_seg(), target_layer="cls0", probe=False)


@pytest.mark.parametrize("name, value", [("levels", "max"), ("map_size", "6x6"), ("class_activation", "none")])
def test_an_activation_map_of_a_detector_reads_nothing_of_the_class_map(name, value):
    assert getattr(info_of(ovxai.insert(detectors.anchored(), probe=False, **{name: value})), name) == value
    with pytest.raises(ovxai.UsageError, match=f"{name.replace('_', ' ')}: not read by activation-map"):
        ovxai.insert(detectors.anchored(), probe=False, method="activation-map", **{name: value})


def test_how_many_classes_a_classifier_has():
    """The number tells outputs apart; one that no output has is refused, not forgotten."""
    assert info_of(ovxai.insert(toys.two_outputs(), num_classes=5, probe=False)).score_output == "fine"
    assert info_of(ovxai.insert(annotated(), num_classes=5, probe=False)).score_output == "fine"  # whatever rt_info names
    with pytest.raises(ovxai.OptionError, match="num classes: 7, but the output that is explained has 4"):
        ovxai.insert(toys.cnn(), num_classes=7)


@pytest.mark.parametrize("options, words", [
    (InsertOptions(feature_map=True), "feature map"), (InsertOptions(feature_vector=True), "feature vector"),
])  # fmt: skip
def test_what_is_asked_for_and_can_not_be_made(options, words):
    """A bare Mask R-CNN without a pyramid has no features to hand out."""
    with pytest.raises(ovxai.OptionError, match=f"{words}: no features of this model"):
        insert_with_report(instances.listed(classes=3), options)


# --- names that the user gives: labels, outputs, layers -------------------------------------------


def test_labels_are_names_or_a_file(tmp_path):
    path = tmp_path / "names.txt"
    path.write_text("cat\nbig dog\nowl\nemu\n", encoding="utf-8")
    for labels in (path, str(path), ["cat", "big dog", "owl", "emu"]):
        model = ovxai.insert(toys.cnn(), labels=labels, probe=False)
        assert text(model, "model_info", "labels") == "cat big_dog owl emu"
    with pytest.raises(ovxai.OptionError, match=r"labels: none\.txt can't be read"):
        ovxai.insert(toys.cnn(), labels="none.txt")


def test_labels_that_are_not_as_many_as_the_classes():
    for count in (2, 5):
        with pytest.raises(ovxai.OptionError, match=f"labels: {count} names for a model with 4 classes; give one per class"):
            ovxai.insert(toys.cnn(), labels=[f"class {i}" for i in range(count)], probe=False)


def test_labels_with_the_empty_one():
    labels = ("otx_empty_lbl", "cat", "dog", "owl", "emu")
    model = ovxai.insert(toys.cnn(), labels=labels, probe=False)
    assert text(model, "model_info", "labels") == " ".join(labels)


def test_one_label_short_is_refused_unless_it_is_said_where_they_begin():
    with pytest.raises(ovxai.OptionError, match="3 names for a model with 4 classes: one is missing"):
        ovxai.insert(toys.cnn(), labels=("cat", "dog", "owl"), probe=False)
    model = ovxai.insert(toys.cnn(), labels=("cat", "dog", "owl"), labels_offset=1, probe=False)
    assert text(model, "model_info", "labels") == "background cat dog owl"


def test_labels_that_the_file_itself_brings_are_not_refused():
    """`run` says that they do not fit; the model is as it is."""
    model = toys.cnn()
    model.set_rt_info("cat dog", ["model_info", "labels"])
    assert text(ovxai.insert(model, probe=False), "model_info", "labels") == "cat dog"


@pytest.mark.parametrize("build", [toys.cnn, detectors.anchored, instances.yolo_seg])
def test_names_that_the_model_does_not_have(build):
    """Each kind by its own error, whatever is searched for afterwards."""
    with pytest.raises(ovxai.TargetLayerError, match="no node or tensor named 'none of these'"):
        ovxai.insert(build(), target_layer="none of these")
    with pytest.raises(ovxai.OptionError, match="output: the model has no output named 'none of these'"):
        ovxai.insert(build(), output="none of these")
    with pytest.raises(ovxai.OptionError, match="output: there is no output 9"):
        ovxai.insert(build(), output=9)


# --- the verification that may follow -------------------------------------------------------------


@pytest.fixture
def wrong_maps(monkeypatch):
    """Insertion builds maps with the wrong sign."""

    def turned(graph, plan, options):
        branch = build_branch(graph, plan, options)
        return replace(branch, saliency=op.negative(branch.saliency).output(0))

    monkeypatch.setattr("ovxai.insertion.build_branch", turned)


def test_verified_where_asked_for():
    assert insert_with_report(toys.cnn(), InsertOptions(probe=False)).verified is None
    done = insert_with_report(toys.cnn(), InsertOptions(probe=False, verify=True))
    assert done.verified is not None and done.verified.ok


@pytest.mark.usefixtures("wrong_maps")
@pytest.mark.parametrize("scale, unit", [(True, "grey levels"), (False, "in raw maps")])
def test_maps_that_are_not_what_the_definition_says(scale, unit):
    assert ovxai.insert(toys.cnn(), scale=scale, probe=False)
    with pytest.raises(ovxai.VerificationError, match=rf"the model: .*map \d, cell \(\d, \d\) is .* {unit} off.*ovxai.verify"):
        ovxai.insert(toys.cnn(), scale=scale, probe=False, verify=True)


# --- errors ---------------------------------------------------------------------------------------


def test_errors_are_builtin_errors_too():
    assert issubclass(ovxai.UnsupportedModelError, ValueError) and issubclass(ovxai.ModelReadError, RuntimeError)
    assert issubclass(ovxai.VerificationError, RuntimeError) and issubclass(ovxai.UsageError, ovxai.OptionError)
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.OvxaiError)]
    for kind in kinds:
        assert getattr(ovxai, kind.__name__) is kind
        assert kind is errors.OvxaiError or issubclass(kind, (ValueError, RuntimeError))


# --- batches --------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["cnn", "vit"])
def test_every_picture_of_a_batch_has_the_map_it_has_alone(family):
    build = {"cnn": toys.cnn, "vit": toys.vit}[family]
    alone = ovxai.insert(build(1), probe=False, scale=False)
    single = [run(alone, PICTURE[i : i + 1])[1] for i in range(2)]
    for batch in (2, -1):
        together = run(ovxai.insert(build(batch), probe=False, scale=False), PICTURE)[1]
        np.testing.assert_allclose(together, np.concatenate(single), rtol=1e-4, atol=1e-6)


def test_dynamic_dimensions_stay_dynamic():
    model = ovxai.insert(toys.cnn(-1, (-1, -1)), probe=False)
    assert str(model.input(0).get_partial_shape()) == "[?,3,?,?]"
    assert model.output("saliency_map").get_partial_shape().rank.get_length() == 4
    maps = run(model, np.zeros((3, 3, 40, 48), np.float32))[1]
    assert maps.shape == (3, toys.CLASSES, 5, 6)


# --- maps -----------------------------------------------------------------------------------------


def test_raw_and_scaled():
    raw = run(ovxai.insert(toys.cnn(), scale=False, probe=False), PICTURE[:1])[1]
    scaled = run(ovxai.insert(toys.cnn(), probe=False), PICTURE[:1])[1]
    assert raw.dtype == np.float32 and scaled.dtype == np.uint8
    low, high = raw.min((2, 3), keepdims=True), raw.max((2, 3), keepdims=True)
    truth = 255 * (raw - low) / (high - low)
    assert np.abs(scaled - np.floor(truth)).max() <= 1
    assert (scaled.min((2, 3)) == 0).all() and (scaled.max((2, 3)) >= 254).all()


def test_a_map_without_evidence_is_zeros():
    """One class does not look at the features at all, another only by rounding."""
    image = toys.picture()
    weight = toys.numbers(toys.CLASSES, 6)
    weight[1] = 0
    weight[2] *= 1e-9
    bias = np.array([1, 2, 3, 4], np.float32)
    scores = op.add(op.matmul(toys.mean(toys.trunk(image)), weight, False, True), bias)
    model = toys.finished(op.add(scores, np.float32(100)), image)
    maps = run(ovxai.insert(model, probe=False), PICTURE[:1])[1]
    assert not maps[0, 1].any() and maps[0, 0].any() and maps[0, 3].any()


def test_no_evidence_anywhere():
    maps = run(ovxai.insert(toys.cnn(), probe=False), np.full((1, 3, *toys.SIZE), -1e4, np.float32))[1]
    assert np.isfinite(maps).all()


def test_feature_map_and_vector():
    plain = toys.cnn()
    feature = next(node for node in plain.get_ops() if node.get_friendly_name() == "features")
    tap = run(ov.Model([op.result(feature)], plain.get_parameters(), "tap"), PICTURE[:1])[0]
    _, _, found, vector = run(ovxai.insert(toys.cnn(), feature_vector=True, probe=False), PICTURE[:1])
    np.testing.assert_allclose(found, tap, rtol=1e-6)
    np.testing.assert_allclose(vector, tap.mean((2, 3)), rtol=1e-5, atol=1e-6)


def test_feature_map_of_tokens_and_nhwc():
    """Channels first, prefix tokens left out, rows and columns in raster order."""
    for family, layer in ((toys.vit, "block1_norm"), (toys.nhwc, "last_norm")):
        plain = family()
        node = next(node for node in plain.get_ops() if node.get_friendly_name() == layer)
        tap = run(ov.Model([op.result(node)], plain.get_parameters(), "tap"), PICTURE[:1])[0]
        truth = tap[:, 1:].transpose(0, 2, 1).reshape(1, 6, 3, 4) if tap.ndim == 3 else tap.transpose(0, 3, 1, 2)
        found = run(ovxai.insert(plain, probe=False), PICTURE[:1])[2]
        np.testing.assert_allclose(found, truth, rtol=1e-4, atol=1e-5)


def test_class_token_is_the_feature_vector():
    model = ovxai.insert(toys.vit(), feature_vector=True, probe=False)
    scores, _, _, vector = run(model, PICTURE[:1])
    weight, bias = toys.numbers(toys.CLASSES, 6, seed=90, size=1 / np.sqrt(6)), toys.numbers(toys.CLASSES, seed=99, size=0.3)
    np.testing.assert_allclose(vector @ weight.T + bias, scores, rtol=1e-3, atol=1e-5)


def test_without_feature_map():
    assert names(ovxai.insert(toys.cnn(), feature_map=False, probe=False)) == [["scores"], ["saliency_map"]]


def test_activation_map():
    model = ovxai.insert(toys.cnn(), method="activation-map", scale=False, probe=False)
    _, maps, features = run(model, PICTURE[:1])
    assert maps.shape == (1, 1, 3, 4)
    np.testing.assert_allclose(maps[:, 0], features.mean(1), rtol=1e-5, atol=1e-6)


def test_activation_map_needs_no_head():
    """The 3x3 convolution behind the layer would be laid out densely."""
    done = insert_with_report(
        with_a_kernel_behind(), InsertOptions(target_layer=("asked",), method="activation-map", probe=False, mean=(0.0,))
    )
    assert done.info.collapse == "exact" and done.notes == ()


def with_an_output(name):
    model = toys.cnn()
    port = next(node for node in model.get_ops() if node.get_type_name() == "Relu").output(0)
    port.get_tensor().set_names({name})
    model.add_results([op.result(port)])
    return model


def test_a_feature_map_of_the_model_itself_stays():
    done = insert_with_report(with_an_output("feature_map"), InsertOptions(probe=False))
    assert names(done.model).count(["feature_map"]) == 1 and done.info.extra_outputs == ("saliency_map",)
    assert any("feature_map" in note for note in done.notes)


@pytest.mark.parametrize("name, options", [
    ("feature_map", InsertOptions(feature_map=True)), ("feature_vector", InsertOptions(feature_vector=True)),
])  # fmt: skip
def test_a_name_that_is_taken_can_not_be_asked_for(name, options):
    with pytest.raises(OptionError, match=f"output {name} of its own"):
        insert_with_report(with_an_output(name), options)


# --- what is printed ------------------------------------------------------------------------------


def test_report():
    done = insert_with_report(toys.vit())
    assert done.info.collapse == "exact" and "transformer block" in done.why and done.warnings == () and done.candidates


def with_a_kernel_behind():
    """A 3x3 convolution behind the layer that is asked for."""
    image = toys.picture()
    x = toys.named(toys.trunk(image), "asked")
    scores = toys.linear(toys.mean(op.relu(toys.conv(x, 5, seed=9))))
    return toys.finished(scores, image)


def test_dense_is_told():
    done = insert_with_report(with_a_kernel_behind(), InsertOptions(target_layer=("asked",), memory_budget=1))
    assert done.info.collapse == "dense" and "neighbouring" in done.info.collapse_reason
    assert any("not collapsed" in note and "Convolution" in note for note in done.notes)
    assert verify(ovxai.insert(with_a_kernel_behind(), target_layer="asked", scale=False)).ok


def test_what_was_said_in_simpler_operations_goes_by_the_models_name():
    """A Pad on both sides is reasoned about as a Concat, which the model does not have."""
    image = toys.picture()
    x = toys.named(toys.trunk(image), "asked")
    padded = op.pad(op.relu(x), np.array([0, 0, 0, 1]), np.array([0, 0, 0, 1]), "constant", np.float32(0.5))
    padded.set_friendly_name("padded")
    done = insert_with_report(
        toys.finished(toys.linear(toys.mean(padded)), image), InsertOptions(target_layer=("asked",), probe=False)
    )
    assert "padded" in done.info.collapse_reason


def test_partial_is_told():
    image = toys.picture()
    x = toys.named(toys.trunk(image), "asked")
    scores = toys.linear(toys.mean(op.relu(toys.conv(op.relu(op.multiply(x, np.float32(-1))), 5, seed=9))))
    assert insert_with_report(toys.finished(scores, image), InsertOptions(target_layer=("asked",))).info.collapse == "partial"


def test_probe_warns_of_maps_that_say_nothing():
    """The mean of a softmax over positions is the same wherever the picture is bright."""
    image = toys.picture()
    x = op.multiply(toys.trunk(image), np.float32(0))
    done = insert_with_report(toys.finished(toys.linear(toys.mean(x)), image), InsertOptions(target_layer=("features",)))
    assert any("constant" in warning for warning in done.warnings)
    assert (
        insert_with_report(
            toys.finished(toys.linear(toys.mean(x)), image), InsertOptions(target_layer=("features",), probe=False)
        ).warnings
        == ()
    )


@pytest.mark.parametrize("channels_last", [False, True])
def test_inputs_that_are_open_on_every_axis(channels_last):
    """As some exporters write them: [?, ?, ?, ?], and only the operations tell where the channels are."""
    entry = op.parameter([1, *toys.SIZE, 3] if channels_last else [1, 3, *toys.SIZE], np.float32)
    picture = op.transpose(entry, [0, 3, 1, 2]) if channels_last else entry
    model = ov.Model([op.result(toys.linear(toys.mean(toys.trunk(picture))))], [entry], "open")
    entry.set_partial_shape(ov.PartialShape([-1] * 4))
    model.validate_nodes_and_infer_types()
    insertion = insert_with_report(model, InsertOptions(scale=False))
    assert insertion.warnings == ()
    report = verify(insertion.model)
    assert report.ok, report
    order = (0, 2, 3, 1) if channels_last else (0, 1, 2, 3)
    for height, width in ((24, 32), (40, 24)):
        wide = np.random.default_rng(2).standard_normal((2, 3, height, width)).astype(np.float32)
        _, maps, _ = run(insertion.model, wide.transpose(order))
        assert maps.shape == (2, toys.CLASSES, height // 8, width // 8)


@pytest.mark.parametrize("build", [toys.cnn, toys.vit, detectors.anchored, instances.yolo_seg])
def test_two_insertions_give_the_same_bytes(build, tmp_path):
    plain = tmp_path / "plain.xml"
    ov.save_model(build(), plain, compress_to_fp16=False)
    files = []
    for name in ("a", "b"):
        path = ovxai.save_model(ovxai.insert(plain, embed="map", probe=False), tmp_path / f"{name}.xml")
        files.append((path.read_bytes(), path.with_suffix(".bin").read_bytes()))
    assert files[0] == files[1]
    model = ov.Core().read_model(tmp_path / "a.xml")
    kept = {node.get_friendly_name() for node in ov.Core().read_model(plain).get_ops()}
    names = [node.get_friendly_name() for node in model.get_ops()]
    assert len(set(names)) == len(names) and all(name.startswith("xai/") for name in set(names) - kept if "Result" in name)


def test_shapes_that_do_not_fit_together_are_one_line(monkeypatch):
    """What OpenVINO says while a branch is built on a damaged model."""

    def build(*_):
        op.add(op.constant(np.zeros(2, np.float32)), op.constant(np.zeros(3, np.float32)))

    monkeypatch.setattr(Method, "branch", build)
    with pytest.raises(errors.UnsupportedModelError, match=r"don't fit together") as caught:
        ovxai.insert(toys.cnn(), probe=False)
    assert "\n" not in str(caught.value)


def test_a_refusal_says_what_the_model_is_taken_for_by_itself():
    with pytest.raises(ovxai.UnsupportedModelError, match=r"; without task: classification, by reciprocam$"):
        ovxai.insert(toys.cnn(), task="detection", probe=False)
    with pytest.raises(ovxai.UnsupportedModelError, match=r"; without method: classification, by reciprocam$"):
        ovxai.insert(toys.cnn(), method="vit-reciprocam", probe=False)
    with pytest.raises(ovxai.UnsupportedModelError) as refusal:  # by itself neither
        ovxai.insert(toys.without_a_picture(), task="classification", probe=False)
    assert "without" not in str(refusal.value)
