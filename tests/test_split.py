"""An explained model in two parts: the same numbers, few outputs more, and a head that runs when it is asked."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import pytest
from click.testing import CliRunner

import ovxai
from helpers import classifiers, detectors, instances
from helpers.pictures import rgb
from ovxai.cli.main import main
from ovxai.explainer import Explainer
from ovxai.graph.pair import WEIGHTS_HASH
from ovxai.graph.split import head_path, join_parts, read_whole, split_model
from ovxai.graph.surgery import strip_model
from ovxai.metadata import ExplainedInfo
from ovxai.runtime.feed.late import Head

F32 = {"INFERENCE_PRECISION_HINT": "f32"}
MODELS: dict[str, tuple[Callable[..., ov.Model], dict[str, Any]]] = {
    "mean": (classifiers.cnn, {}),
    "fully connected": (classifiers.vgg, {}),
    "tokens": (classifiers.vit, {}),
    "tokens, an earlier block": (lambda: classifiers.vit(depth=3), {"blocks": 2}),
    "no prefix": (classifiers.mean_pooled_vit, {}),
    "detector": (detectors.anchored, {}),
    "finished boxes": (detectors.with_nms, {"classes": "top:2"}),
    "raw, best, everything": (
        classifiers.cnn,
        {"scale": False, "classes": "top:2", "feature_vector": True, "embed": "overlay"},
    ),
    "gradient": (classifiers.cnn, {"method": "gradient"}),
    "activation map": (classifiers.cnn, {"method": "activation-map"}),
}


def opened(model: ov.Model) -> ov.Model:
    """With an open batch."""
    model.reshape({0: [-1, *list(model.inputs[0].get_partial_shape())[1:]]})
    return model


def info_of(model: ov.Model) -> ExplainedInfo:
    info = ExplainedInfo.read(model)
    assert info is not None
    return info


def feeds(model: ov.Model, batch: int = 1) -> dict[int, np.ndarray]:
    random = np.random.default_rng(0)
    shapes = [[batch if dim.is_dynamic else dim.get_length() for dim in port.get_partial_shape()] for port in model.inputs]
    return {i: random.random(shape).astype(np.float32) for i, shape in enumerate(shapes)}


def outputs(model: ov.Model, given: dict[int, np.ndarray]) -> list[np.ndarray]:
    result = ov.Core().compile_model(model, "CPU", F32)(given)
    return [np.array(result[i]) for i in range(len(model.outputs))]


def in_two_steps(plain: ov.Model, head: ov.Model, given: dict[int, np.ndarray]) -> list[np.ndarray]:
    """As a program does it: the plain part's tensors by name into the head."""
    first, second = (ov.Core().compile_model(model, "CPU", F32).create_infer_request() for model in (plain, head))
    first.infer(given)
    for port in head.inputs:
        second.set_tensor(port, first.get_tensor(port.get_any_name()))
    second.infer()
    own = len(plain.outputs) - len(info_of(plain).extra_outputs)
    return [np.array(t.data) for t in [*first.output_tensors[:own], *second.output_tensors]]


@pytest.mark.parametrize("name", MODELS)
def test_the_two_parts_give_what_the_whole_gives(name: str) -> None:
    make, options = MODELS[name]
    explained = ovxai.insert(make(), probe=False, **options)
    given = feeds(explained)
    wanted = outputs(explained, given)

    plain, head = split_model(explained)
    own = len(strip_model(explained).outputs)
    assert [port.get_names() for port in head.outputs] == [port.get_names() for port in explained.outputs[own:]]
    for found in (in_two_steps(plain, head, given), outputs(join_parts(plain, head), given)):
        assert len(found) == len(wanted)
        for ours, theirs in zip(found, wanted):
            assert ours.dtype == theirs.dtype
            if ours.dtype == np.uint8:  # a value on the edge between two levels may round either way
                assert np.abs(ours.astype(int) - theirs.astype(int)).max() <= 1
            else:
                np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_only_what_is_gated_leaves_the_plain_part() -> None:
    explained = ovxai.insert(classifiers.vit(), probe=False, feature_map=False)
    plain, head = split_model(explained)
    info = info_of(explained)
    assert len(head.inputs) == len(plain.outputs) - 1 == len(info.target_layers)
    assert not [name for port in plain.outputs[1:] for name in port.get_names() if "labels" in name or "boxes" in name]


def test_a_picture_that_the_head_paints_is_taken_from_the_input() -> None:
    plain, head = split_model(ovxai.insert(classifiers.cnn(), probe=False, embed="overlay"))
    assert plain.inputs[0].get_names() & {name for port in head.inputs for name in port.get_names()}


@pytest.mark.parametrize("make", [classifiers.cnn, classifiers.vit, detectors.anchored])
@pytest.mark.parametrize("batch", [1, 3])
def test_an_open_batch_stays_open(make, batch: int) -> None:
    explained = ovxai.insert(opened(make()), probe=False)
    plain, head = split_model(explained)
    assert all(port.get_partial_shape()[0].is_dynamic for port in [*plain.outputs, *head.outputs])
    given = feeds(explained, batch)
    for ours, theirs in zip(in_two_steps(plain, head, given), outputs(explained, given)):
        assert np.abs(ours.astype(float) - theirs.astype(float)).max() <= (1 if ours.dtype == np.uint8 else 1e-5)


def test_instances_can_be_split() -> None:
    explained = ovxai.insert(instances.two_stage(), probe=False)
    plain, head = split_model(explained)
    given = feeds(explained)
    for ours, theirs in zip(in_two_steps(plain, head, given), outputs(explained, given)):
        assert np.abs(ours.astype(float) - theirs.astype(float)).max() <= 1 if ours.size else ours.shape == theirs.shape


# Files and commands.


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    ov.save_model(classifiers.cnn(), tmp_path / "model.xml", compress_to_fp16=False)
    done = CliRunner().invoke(main, ["insert", str(tmp_path / "model.xml"), "--split", "--json"])
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert said["model"] == str(tmp_path / "model_xai.xml") and said["head"] == str(tmp_path / "model_xai_head.xml")
    return tmp_path / "model_xai.xml"


def call(*words: object) -> tuple[int, str]:
    done = CliRunner().invoke(main, [str(word) for word in words])
    return done.exit_code, done.output


def test_both_files_say_which_weights_they_were_saved_with(pair: Path) -> None:
    for path in (pair, head_path(pair)):
        assert WEIGHTS_HASH in path.read_text()


def test_neither_file_is_overwritten_unasked(pair: Path) -> None:
    pair.unlink()
    pair.with_suffix(".bin").unlink()
    code, said = call("insert", pair.with_name("model.xml"), "--split")
    assert code == 1 and "model_xai_head.xml exists" in said and not pair.exists()


def test_strip_gives_the_plain_model_and_not_of_the_head(pair: Path) -> None:
    code, _ = call("strip", pair)
    plain = ov.Core().read_model(pair.with_name("model_xai_plain.xml"))
    source = ov.Core().read_model(pair.with_name("model.xml"))
    assert code == 0 and not plain.has_rt_info(["ovxai"])
    assert [port.get_names() for port in plain.outputs] == [port.get_names() for port in source.outputs]
    assert len(plain.get_ops()) == len(source.get_ops())
    code, said = call("strip", head_path(pair))
    assert code == 1 and "head of a split model" in said


def test_verify_looks_at_both_parts(pair: Path) -> None:
    code, said = call("verify", pair)
    assert code == 0 and "holds" in said


@pytest.mark.parametrize("command", ["run", "verify", "bench"])
def test_a_head_alone_is_refused_with_what_to_do(pair: Path, command: str) -> None:
    more = ("picture.png", "-o", pair.with_name("out")) if command == "run" else ()
    (pair.parent / "picture.png").touch()
    code, said = call(command, head_path(pair), *(pair.parent / more[0], *more[1:]) if more else ())
    assert code == 1 and "give the plain part beside it" in said


def test_a_head_that_is_missing_or_of_another_insertion_is_said(pair: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    ov.save_model(classifiers.cnn(size=(40, 40)), other / "model.xml")
    assert call("insert", other / "model.xml", "--split")[0] == 0
    for suffix in (".xml", ".bin"):
        head_path(other / "model_xai.xml").with_suffix(suffix).replace(head_path(pair).with_suffix(suffix))
    with pytest.raises(ovxai.ModelReadError, match="not of the same insertion"):
        Explainer(pair)
    head_path(pair).unlink()
    with pytest.raises(ovxai.ModelReadError, match=r"model_xai_head\.xml, is not beside it"):
        Explainer(pair)


def test_run_gives_the_files_that_the_whole_gives(pair: Path, tmp_path: Path) -> None:
    photo = Path(__file__).parents[1] / "fixtures" / "photos" / "chelsea.png"
    whole = ovxai.save_model(read_whole(pair), tmp_path / "whole.xml")
    for model, out in ((pair, "a"), (whole, "b")):
        code, said = call("run", model, photo, "-o", tmp_path / out, "--target", "all", "--precision", "f32", "--no-report")
        assert code == 0, said
    ours, theirs = (sorted((tmp_path / out / "saliency_map").iterdir()) for out in "ab")
    assert [path.name for path in ours] == [path.name for path in theirs] and ours
    assert all(np.array_equal(rgb(a), rgb(b)) for a, b in zip(ours, theirs))


# In Python: nothing is paid before a map is asked for.


@pytest.fixture
def heads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one for every inference of a head."""
    seen: list[int] = []
    before = Head.__call__

    def counted(self, arrays):
        seen.append(len(arrays))
        return before(self, arrays)

    monkeypatch.setattr(Head, "__call__", counted)
    return seen


def photo(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (40, 50, 3), np.uint8)


def test_the_head_runs_when_a_map_is_looked_at(pair: Path, heads: list[int]) -> None:
    explain, whole = Explainer(pair, precision="f32"), Explainer(read_whole(pair), precision="f32")
    explanation, wanted = explain(photo()), whole(photo())
    assert explanation.predictions == wanted.predictions and explanation.scores == wanted.scores
    assert "when asked for" in repr(explanation) and not heads
    for key, values in wanted.maps.items():
        assert np.abs(explanation.maps[key].astype(int) - values).max() <= 1
    assert explanation.labels == dict(wanted.labels) and (explanation.overlay() == explanation.overlay()).all()
    assert explanation.map(2).shape == wanted.map(2).shape
    assert len(heads) == 1


def test_both_parts_may_be_given_as_models(heads: list[int]) -> None:
    parts = ovxai.split(ovxai.insert(classifiers.cnn(), probe=False))
    assert Explainer(parts)(photo()).maps and len(heads) == 1
    for part in parts:
        with pytest.raises(ovxai.UsageError, match="give both"):
            Explainer(part)


def test_a_batch_is_explained_at_once(heads: list[int]) -> None:
    whole = ovxai.insert(opened(classifiers.cnn()), probe=False)
    explain = Explainer(ovxai.split(whole), ovxai.ExplainConfig(target="all"), precision="f32", batch=3)
    one = Explainer(whole, ovxai.ExplainConfig(target="all"), precision="f32")
    explanations = list(explain.explain_many([photo(i) for i in range(3)]))
    assert not heads
    for i, explanation in enumerate(explanations):
        wanted = one(photo(i)).maps
        assert all(np.abs(explanation.maps[key].astype(int) - wanted[key]).max() <= 1 for key in wanted)
    assert len(heads) == 1


def test_a_batch_that_is_baked_into_the_head_is_refused() -> None:
    with pytest.raises(ovxai.OptionError, match="batch: the model is made for batches of 1"):
        Explainer(ovxai.split(ovxai.insert(classifiers.cnn(batch=1), probe=False)), batch=3)


def test_what_is_sent_to_another_process_brings_its_maps_along(pair: Path) -> None:
    explanation = Explainer(pair)(photo())
    sent = pickle.loads(pickle.dumps(explanation))
    assert {key: values.tolist() for key, values in sent.maps.items()} == {
        key: values.tolist() for key, values in explanation.maps.items()
    }
