"""`ovxai insert`: files, lines, exit codes."""

import json
import os
from dataclasses import replace

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op

from helpers import classifiers as toys
from helpers import detectors
from helpers.cli import call, is_one_line
from ovxai import Explainer
from ovxai.errors import OptionError
from ovxai.methods.registry import build_branch


def wide():
    """Enough weights that growth by 2 % would show."""
    image = toys.picture()
    x = toys.named(op.relu(op.multiply(op.reshape(toys.trunk(image), np.array([0, 6, 3, 4]), True), np.float32(2))), "mapped")
    y = op.matmul(toys.mean(x), toys.numbers(6, 512), False, False)
    y = op.relu(op.matmul(op.relu(y), toys.numbers(512, 512), False, False))
    return toys.finished(toys.linear(y, 400), image)


@pytest.fixture()
def plain(tmp_path):
    model = toys.vit()
    model.set_friendly_name("trained")
    model.set_rt_info("cat dog owl emu", ["model_info", "labels"])
    path = tmp_path / "model.xml"
    ov.save_model(model, path, compress_to_fp16=False)
    return path


def files(folder):
    return sorted(path.name for path in folder.rglob("*"))


def test_it_says_what_it_did(plain):
    done = call("insert", plain)
    assert done.exit_code == 0, done.output
    for words in (
        "classification",
        "vit-reciprocam (gaussian mask)",
        "block1_norm, block1_input [NPC]",
        "[1,4,3,4]",
        "exact",
        "extra cost",
        "model_xai.xml",
    ):
        assert words in done.stdout
    assert files(plain.parent) == ["model.bin", "model.xml", "model_xai.bin", "model_xai.xml"]


def test_json_alone_on_stdout(plain, tmp_path):
    done = call("insert", plain, "-o", tmp_path / "out.xml", "--json")
    document = json.loads(done.stdout)
    assert document["collapse"] == "exact" and document["method"] == "vit-reciprocam" and document["model"].endswith("out.xml")
    assert document["predicted_extra_cost"] > 0


def test_what_is_saved_is_a_plain_ir(plain):
    call("insert", plain)
    model = ov.Core().read_model(plain.with_name("model_xai.xml"))
    assert [sorted(output.get_names()) for output in model.outputs] == [["scores"], ["saliency_map"], ["feature_map"]]
    assert model.get_friendly_name() == "trained"
    assert model.get_rt_info(["model_info", "labels"]).astype(str) == "cat dog owl emu"
    assert not {"Loop", "If", "TensorIterator"} & {node.get_type_name() for node in model.get_ops()}


def test_options_reach_the_model(plain, tmp_path):
    out = tmp_path / "out.xml"
    done = call(
        "insert",
        plain,
        "-o",
        out,
        "--raw",
        "--classes",
        "top:2",
        "--feature-vector",
        "--mask",
        "point",
        "--no-feature-map",
        "--no-probe",
    )
    assert done.exit_code == 0, done.output
    model = ov.Core().read_model(out)
    assert [output.get_any_name() for output in model.outputs] == ["scores", "saliency_map", "feature_vector", "saliency_index"]
    assert model.output("saliency_map").get_element_type() == ov.Type.f32
    assert (
        model.get_rt_info(["ovxai", "mask"]).astype(str) == "point" and model.get_rt_info(["ovxai", "scaled"]).astype(str) == "NO"
    )


def test_labels_from_a_file(plain, tmp_path):
    (tmp_path / "names.txt").write_text("a\nb b\nc\nd\n", encoding="utf-8")
    assert call("insert", plain, "--labels", tmp_path / "names.txt").exit_code == 0
    model = ov.Core().read_model(plain.with_name("model_xai.xml"))
    assert model.get_rt_info(["model_info", "labels"]).astype(str) == "a b_b c d"


def test_out_exists(plain):
    assert call("insert", plain).exit_code == 0
    before = plain.with_name("model_xai.xml").read_bytes()
    done = call("insert", plain, "--raw")
    assert done.exit_code == 1 and "exists" in done.stderr and "--force" in done.stderr and len(done.stderr.splitlines()) == 1
    assert plain.with_name("model_xai.xml").read_bytes() == before
    assert call("insert", plain, "--raw", "--force").exit_code == 0
    assert plain.with_name("model_xai.xml").read_bytes() != before


def test_a_bin_in_the_way(plain):
    plain.with_name("model_xai.bin").write_bytes(b"mine")
    done = call("insert", plain)
    assert (
        done.exit_code == 1 and "model_xai.bin exists" in done.stderr and plain.with_name("model_xai.bin").read_bytes() == b"mine"
    )


def test_already_explained(plain):
    call("insert", plain)
    done = call("insert", plain.with_name("model_xai.xml"))
    assert done.exit_code == 1 and "ovxai strip" in done.stderr
    assert not plain.with_name("model_xai_xai.xml").exists()


@pytest.mark.parametrize("failure", [OSError("No space left on device"), RuntimeError("Could not write")])
def test_nothing_half_written(plain, monkeypatch, failure):
    def failing(_model, path, **_):
        path.write_bytes(b"<half")
        raise failure

    monkeypatch.setattr(ov, "save_model", failing)
    before = files(plain.parent)
    done = call("insert", plain)
    assert done.exit_code == 1 and "can't be written" in done.stderr and len(done.stderr.splitlines()) == 1
    assert files(plain.parent) == before


def test_what_was_there_survives_a_failing_force(plain, monkeypatch):
    call("insert", plain)
    before = plain.with_name("model_xai.xml").read_bytes()

    def failing(*_, **__):
        raise RuntimeError("Could not write")

    monkeypatch.setattr(ov, "save_model", failing)
    assert call("insert", plain, "--force").exit_code == 1
    assert plain.with_name("model_xai.xml").read_bytes() == before
    assert files(plain.parent) == ["model.bin", "model.xml", "model_xai.bin", "model_xai.xml"]


@pytest.mark.parametrize(
    "out, words", [("nowhere/out.xml", "no folder"), ("out.onnx", "can't write|not write it"), ("out.bin", "ends in .xml")]
)
def test_where_it_can_not_go(plain, tmp_path, out, words):
    done = call("insert", plain, "-o", tmp_path / out)
    assert done.exit_code == 1 and any(word in done.stderr for word in words.split("|"))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="everything is writable for root")
def test_folder_that_can_not_be_written(plain, tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    done = call("insert", plain, "-o", closed / "out.xml")
    assert done.exit_code == 1 and "can't be written" in done.stderr


def test_how_pictures_are_normalised_is_asked_for_where_nothing_says_it(plain, tmp_path):
    """Whoever runs the model elsewhere would not hear of it from `ovxai run`."""
    note = "the model does not say how to normalise pictures; fed 0..255"
    said = call("insert", plain, "-o", tmp_path / "a.xml").stdout
    assert said.count(note) == 1
    assert note not in call("insert", plain, "-o", tmp_path / "b.xml", "--mean", "127", "--scale-values", "128").stdout


@pytest.mark.parametrize("content, name, words", [
    (None, "absent.xml", "no such file"), (b"", "empty.xml", "not a model"), (b"<net", "broken.xml", "not a model"),
    (b"hello", "notes.txt", "not a model file by its suffix"), (b"x", "m.pt", "torch.onnx.export"),
    (b"x", "m.bin", ".xml beside"), (b"\x00\x01", "broken.onnx", "can't convert"),
])  # fmt: skip
def test_what_is_no_model(tmp_path, content, name, words):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    before = files(tmp_path)
    done = call("insert", tmp_path / name)
    assert done.exit_code == 1 and words in done.stderr and len(done.stderr.splitlines()) == 1 and "Traceback" not in done.output
    assert files(tmp_path) == before


def test_truncated_weights(plain):
    weights = plain.with_suffix(".bin")
    weights.write_bytes(weights.read_bytes()[:100])
    done = call("insert", plain)
    assert done.exit_code == 1 and len(done.stderr.splitlines()) == 1 and not plain.with_name("model_xai.xml").exists()
    weights.unlink()
    assert "model.bin is missing" in call("insert", plain).stderr


def test_wrong_usage(plain):
    assert call("insert").exit_code == 2
    assert call("insert", plain, "--method", "gradcam").exit_code == 2
    assert call("insert", plain, "--classes", "top:9").exit_code == 1
    assert call("insert", plain, "--classes", "abc").exit_code == 2
    assert call("insert", plain, "--blocks", "0").exit_code == 2


def test_refusals_are_one_line(tmp_path):
    for name in ("regression", "segmentation", "without_a_picture"):
        ov.save_model(getattr(toys, name)(), tmp_path / f"{name}.xml")
        done = call("insert", tmp_path / f"{name}.xml", "--task", "classification")
        assert done.exit_code == 1 and len(done.stderr.splitlines()) == 1 and name in done.stderr
        assert not (tmp_path / f"{name}_xai.xml").exists()


def test_unknown_target_layer(plain):
    done = call("insert", plain, "--target-layer", "block1_nor")
    assert done.exit_code == 1 and "block1_norm" in done.stderr


def test_a_target_layer_given_twice(plain):
    done = call("insert", plain, "--target-layer", "block1_norm", "--target-layer", "block1_norm")
    assert done.exit_code == 2 and "'block1_norm' is named twice" in done.stderr
    assert len(done.stderr.splitlines()) == 1 and list(plain.parent.glob("*_xai.*")) == []


@pytest.mark.parametrize("build", [toys.vit, wide, toys.cnn])
def test_weights_hardly_grow(tmp_path, build):
    path = tmp_path / "model.xml"
    ov.save_model(build(), path)
    assert call("insert", path, "--classes", "all").exit_code == 0
    before, after = (item.stat().st_size for item in (path.with_suffix(".bin"), tmp_path / "model_xai.bin"))
    assert after <= 1.02 * before + 64 * 1024


def test_precision_of_the_weights_is_kept(tmp_path):
    """f16 weights stay f16: the explained file holds what the plain one held."""
    path = tmp_path / "model.xml"
    ov.save_model(wide(), path, compress_to_fp16=True)
    call("insert", path)
    kinds = {
        node.get_element_type().to_string()
        for node in ov.Core().read_model(tmp_path / "model_xai.xml").get_ops()
        if node.get_type_name() == "Constant" and node.get_data().size > 1000
    }
    assert kinds == {"f16"}


def test_verify_before_it_is_kept(plain):
    done = call("insert", plain, "--verify")
    assert done.exit_code == 0 and "verified" in done.stdout
    assert json.loads(call("insert", plain, "--verify", "--force", "--json").stdout)["verified"] is True


def test_what_fails_its_verification_is_not_kept(plain, monkeypatch):
    def turned(graph, plan, options):
        branch = build_branch(graph, plan, options)
        return replace(branch, saliency=op.negative(branch.saliency).output(0))

    monkeypatch.setattr("ovxai.insertion.build_branch", turned)
    before = files(plain.parent)
    done = call("insert", plain, "--verify")
    assert is_one_line(done, "model.xml", "not what their definition says", "grey levels off", "allowed")
    assert files(plain.parent) == before
    answer = call("insert", plain, "--verify", "--json")
    assert answer.exit_code == 1 and "definition" in json.loads(answer.stdout)["error"] and files(plain.parent) == before


@pytest.mark.parametrize("build, options, reader", [
    (toys.cnn, ("--levels", "max"), "det-class-probability-map"), (toys.cnn, ("--map-size", "8x8"), "inst-seg"),
    (toys.cnn, ("--class-activation", "none"), "det-class-probability-map"), (toys.cnn, ("--blocks", "2"), "vit-reciprocam"),
    (detectors.anchored, ("--mask", "point"), "reciprocam"),
    (toys.cnn, ("--method", "activation-map", "--classes", "0"), "reciprocam"),
])  # fmt: skip
def test_an_option_that_is_not_read_is_wrong_usage(tmp_path, build, options, reader):
    ov.save_model(build(), tmp_path / "model.xml")
    before = files(tmp_path)
    done = call("insert", tmp_path / "model.xml", *options)
    assert is_one_line(done, options[-2].strip("-").replace("-", " "), "not read by", reader, code=2)
    assert files(tmp_path) == before


def test_labels_that_do_not_fit(plain, tmp_path):
    (tmp_path / "names.txt").write_text("a\nb\n", encoding="utf-8")
    done = call("insert", plain, "--labels", tmp_path / "names.txt")
    assert is_one_line(done, "2 names for a model with 4 classes")
    assert is_one_line(call("insert", plain, "--labels", tmp_path / "none.txt"), "none.txt can't be read")


def test_an_output_that_is_not_there(plain):
    assert is_one_line(call("insert", plain, "--output", "score"), "no output named 'score'", "scores")


def test_quiet_leaves_warnings_out(tmp_path):
    """Features times nothing: the probe warns of constant maps."""
    image = toys.picture()
    nothing = op.multiply(toys.trunk(image), np.float32(0))
    path = tmp_path / "model.xml"
    ov.save_model(toys.finished(toys.linear(toys.mean(nothing)), image), path)
    assert "Warning" in call("insert", path, "--target-layer", "features").stderr
    assert call("insert", path, "--target-layer", "features", "--force", "--quiet").stderr == ""


def test_one_label_short(plain, tmp_path):
    """Three names for four classes: behind a background every one would be another's."""
    (tmp_path / "names.txt").write_text("a\nb\nc\n", encoding="utf-8")
    assert is_one_line(
        call("insert", plain, "--labels", tmp_path / "names.txt"), "3 names for a model with 4 classes", "--labels-offset 1"
    )
    assert call("insert", plain, "--labels", tmp_path / "names.txt", "--labels-offset", "1").exit_code == 0
    explained = plain.with_name("model_xai.xml")
    assert ov.Core().read_model(explained).get_rt_info(["model_info", "labels"]).astype(str) == "background a b c"
    assert Explainer(explained).facts.names == ("background", "a", "b", "c")
    assert is_one_line(call("insert", plain, "--labels-offset", "2", "--force"), "do not fit behind 2")
    with pytest.raises(OptionError, match="labels_offset=1"):
        Explainer(explained, labels=["a", "b", "c"])
    assert Explainer(explained, labels=["a", "b", "c"], labels_offset=1).facts.names[1] == "a"


def test_a_number_of_classes_that_is_not_the_models(plain):
    assert is_one_line(call("insert", plain, "--num-classes", "7"), "num classes: 7", "4")
    assert is_one_line(call("insert", plain, "--num-classes", "7", "--method", "activation-map"), "num classes: 7", "4")


def test_it_names_the_input_and_output_that_are_explained(tmp_path):
    ov.save_model(toys.two_outputs(), tmp_path / "two.xml")
    done = call("insert", tmp_path / "two.xml", "--output", "fine", "-o", tmp_path / "out.xml")
    assert done.exit_code == 0, done.output
    assert "output        fine (beside it: coarse)" in done.output and "input         image" in done.output
