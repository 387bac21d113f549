"""`Explainer` and `Explanation`: what a program sees."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op

import ovxai
from helpers import classifiers
from helpers.runtime_graphs import classifier, detector, encoded, f32, i64, picture
from ovxai import ExplainConfig, Explainer
from ovxai.errors import NotExplainedError, OptionError, SourceError


def explainer(config=None, model=None, **options) -> Explainer:
    return Explainer(model or classifier(), config, precision="f32", **options)


def test_what_is_predicted_is_explained():
    explanation = explainer(ExplainConfig(threshold=0.3))(picture())
    assert list(explanation.maps) == [p.class_index for p in explanation.predictions]
    assert explanation.predictions[0].class_index == max(explanation.scores, key=lambda index: explanation.scores[index])
    assert set(explanation.scores) == {0, 1, 2} and sum(explanation.scores.values()) == pytest.approx(1)


def test_maps_are_the_models_own():
    explanation = explainer(ExplainConfig(target="all"))(picture(16, 24))
    assert explanation.labels == {0: "red", 1: "green", 2: "blue"}
    red = explanation.maps[0]
    assert red.shape == (4, 6) and red.dtype == np.uint8
    assert red[0, 0] == 255 and red[0, 5] == 0 and red[3, 0] == 60


def test_postprocessing_gives_pictures_of_the_sources_size():
    maps = explainer(ExplainConfig(target="all", postprocess=True))(picture()).maps
    assert {values.shape for values in maps.values()} == {(40, 60, 3)}


def test_one_map_for_the_picture():
    explanation = explainer(ExplainConfig(target="image"))(picture())
    assert list(explanation.maps) == ["image"] and explanation.maps["image"].max() == 255
    assert explanation.labels == {}


def test_classes_by_name_and_index_in_the_order_asked():
    assert list(explainer(ExplainConfig(classes=("blue", 0)))(picture()).maps) == [2, 0]


def test_raw_maps_stay_raw():
    explanation = explainer(ExplainConfig(target="all"), classifier(raw=True))(picture(16, 24))
    assert explanation.maps[0].dtype == np.float32 and explanation.maps[0].max() == pytest.approx(1)
    assert explanation.overlay(0).dtype == np.uint8


def test_bgr_arrays_and_files_mean_the_same(tmp_path):
    path = tmp_path / "p.png"
    path.write_bytes(encoded(picture()))
    explain = explainer(ExplainConfig(target="all"))
    from_rgb, from_bgr, from_file = explain(picture()), explain(picture()[:, :, ::-1], channel_order="bgr"), explain(path)
    for other in (from_bgr, from_file):
        assert all((other.maps[key] == from_rgb.maps[key]).all() for key in from_rgb.maps)
    assert (from_rgb.source, from_file.source) == (None, str(path))
    with pytest.raises(OptionError, match="rgb or bgr"):
        explain(picture(), channel_order="rbg")


def test_a_broken_picture(tmp_path):
    with pytest.raises(SourceError, match="no such file"):
        explainer()(tmp_path / "none.png")


def test_facts_stay():
    explanation = explainer()(picture())
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(explanation, "source", "x")  # noqa: B010


def test_a_notebook_shows_it():
    explanation = explainer(ExplainConfig(target="all"))(picture())
    assert explanation._repr_png_().startswith(b"\x89PNG")
    assert "red" in repr(explanation) and explanation.grid().ndim == 3


def test_without_a_prediction_there_is_still_a_picture():
    model = classifier(model_info={"multilabel": "True", "confidence_threshold": "1"}, activation="sigmoid")
    explanation = explainer(model=model)(picture())
    assert explanation.maps == {} and explanation.predictions == ()
    assert (explanation.overlay() == picture()).all()


def test_the_model_is_not_changed():
    model = classifier()
    before = [str(port.get_partial_shape()) for port in model.outputs]
    explainer(model=model, batch=4)(picture())
    assert [str(port.get_partial_shape()) for port in model.outputs] == before


@pytest.mark.parametrize(("static", "batch"), [(1, None), (1, 3), (4, None), (-1, None), (-1, 3)])
def test_batches_change_nothing(static, batch):
    rng = np.random.RandomState(0)
    images = [rng.randint(0, 255, (20 + i, 30, 3)).astype(np.uint8) for i in range(10)]
    single = explainer(ExplainConfig(target="all"))
    many = explainer(ExplainConfig(target="all"), classifier(batch=static), batch=batch)
    for one, other in zip([single(image) for image in images], many.explain_many(images), strict=True):
        assert (other.picture == one.picture).all()
        assert all((other.maps[key] == one.maps[key]).all() for key in one.maps)


@pytest.mark.parametrize("given", ["plain", "explained", "with options"])
def test_classifiers_made_for_one_picture_take_more(given):
    """The shapes that insertion writes down hold the batch; so the maps are put on again."""
    model = classifiers.cnn(batch=1)
    chosen = given == "with options"
    explained = ovxai.insert(model, probe=False, classes="3,1" if chosen else None, mask="gaussian" if chosen else "auto")
    config = ExplainConfig(target="all")
    many = explainer(config, model if given == "plain" else explained, batch=3)
    single = explainer(config, explained)
    images = [np.random.default_rng(i).integers(0, 255, (30, 40, 3), np.uint8) for i in range(4)]
    for one, other in zip([single(image) for image in images], many.explain_many(images), strict=True):
        assert list(one.maps) == list(other.maps) and one.maps
        assert all(np.abs(one.maps[key].astype(int) - other.maps[key]).max() <= 1 for key in one.maps)
    assert [port.get_partial_shape()[0].get_length() for port in explained.outputs] == [1] * len(explained.outputs)


def test_a_batch_baked_into_a_plain_model_is_refused():
    image = op.parameter([1, 3, 8, 8], np.float32)
    scores = op.reshape(op.reduce_mean(classifiers.trunk(image), np.array([2, 3]), False), np.array([1, 6]), False)
    model = classifiers.finished(classifiers.linear(op.relu(scores)), image)  # a Reshape ahead of a product OpenVINO mends
    for given in (model, ovxai.insert(model, probe=False)):
        with pytest.raises(OptionError, match="can't be changed to 2"):
            Explainer(given, batch=2)


def test_a_batch_that_is_baked_in():
    image = op.parameter([1, 3, 4, 4], np.float32)
    flat = op.reshape(image, op.constant(np.array([1, 48])), False)
    maps = op.relu(image)
    maps.output(0).set_names({"saliency_map"})
    model = ov.Model([op.result(flat), op.result(maps)], [image], "baked")
    with pytest.raises(OptionError, match="can't be changed to 2"):
        Explainer(model, batch=2)


def test_results_come_in_order_and_broken_ones_are_named(tmp_path):
    paths = []
    for i in range(12):
        paths.append(tmp_path / f"{i}.png")
        paths[-1].write_bytes(encoded(np.full((64 - i, 64, 3), i * 20, np.uint8)) if i != 5 else b"broken")
    explain = explainer(ExplainConfig(target="all"))
    found = [explanation.source for explanation in explain.explain_many(paths, skip_broken=True)]
    assert found == [str(path) for path in paths if path.stem != "5"]
    with pytest.raises(SourceError, match=r"5\.png"):
        list(explain.explain_many(paths))
    assert len(list(explain.explain_many(paths[:5]))) == 5  # still usable


def test_streams_are_not_read_to_their_end():
    taken = 0

    def endless():
        nonlocal taken
        while True:
            taken += 1
            yield picture()

    stream = explainer().explain_many(endless())
    for _ in range(3):
        next(stream)
    stream.close()
    assert taken < 40


def test_many_threads_at_once():
    explain = explainer(ExplainConfig(target="all"))
    images = [np.full((16, 24, 3), i, np.uint8) for i in range(40)]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(explain, images))
    assert [result.maps[0][0, 0] for result in results] == pytest.approx(list(range(40)), abs=1)


def test_labels_given_instead(tmp_path):
    assert explainer(ExplainConfig(target="all"), labels=("x", "y", "z"))(picture()).labels[1] == "y"
    path = tmp_path / "labels.txt"
    path.write_text("x\ny\nz\n")
    assert explainer(ExplainConfig(classes="z"), labels=path)(picture()).labels == {2: "z"}
    with pytest.raises(OptionError, match="1 names"):
        explainer(labels=("x",))
    with pytest.raises(OptionError, match="one is missing"):  # behind a background both would be another's
        explainer(labels=("x", "y"))
    assert "background" in explainer(labels=("x", "y"), labels_offset=1).notes[0]


def test_chosen_channels_and_an_index_output():
    some = explainer(ExplainConfig(target="all"), classifier(channels=(2, 0), classes="2,0"))(picture(16, 24))
    assert list(some.maps) == [2, 0] and some.maps[0][0, 0] == 255
    model = classifier(channels=(1,), classes="top:1")
    index = op.constant(np.array([[[1]]], np.int64))
    index.output(0).set_names({"saliency_index"})
    model.add_results([op.result(index)])
    top = explainer(ExplainConfig(target="all"), model)(picture(16, 24))
    assert list(top.maps) == [1] and top.maps[1][0, 5] == 220
    missing = explainer(ExplainConfig(classes="red"), model)(picture())
    assert missing.maps == {} and "no map for red" in missing.notes[0]


def test_objects_in_the_source_picture():
    boxes = f32([[[8, 8, 16, 16, 0.9], [0, 0, 8, 8, 0.2]]])
    explanation = explainer(model=detector(boxes, i64([[1, 2]])))(picture(64, 128))
    assert [(p.label, p.box) for p in explanation.predictions] == [("green", (32, 16, 64, 32))]
    assert list(explanation.maps) == [1] and explanation.scores == {1: pytest.approx(0.9)}
    assert (explanation.overlay() != explanation.picture).any()


def test_a_model_that_someone_else_explained():
    model = classifier()
    bare = ov.Model(model.get_results(), model.get_parameters(), "otx")
    bare.set_rt_info("red green blue", ["model_info", "labels"])
    explanation = explainer(model=bare)(picture())
    assert explanation.predictions[0].label in ("red", "green")


def foreign(maps_of) -> ov.Model:
    """A model with a `saliency_map` and without our rt_info."""
    image = op.parameter([1, 3, 16, 24], np.float32)
    logits = op.reduce_mean(image, np.array([2, 3]), False)
    maps = maps_of(image)
    maps.output(0).set_names({"saliency_map"})
    return ov.Model([op.result(logits), op.result(maps)], [image], "foreign")


def test_the_activation_map_of_otx_has_no_classes():
    explanation = explainer(model=foreign(lambda image: op.reduce_mean(image, np.array([1]), False)))(picture())
    assert explanation.maps["image"].shape == (16, 24)


def test_a_placeholder_is_no_map():
    with pytest.raises(NotExplainedError, match="placeholder"):
        explainer(model=foreign(lambda image: op.reduce_mean(image, np.array([1, 2, 3]), False)))


def test_a_size_asked_for_lets_pictures_share_a_batch():
    image = op.parameter([-1, 3, -1, -1], np.float32)
    logits = op.reduce_mean(image, np.array([2, 3]), False)
    maps = op.relu(image)
    maps.output(0).set_names({"saliency_map"})
    model = ov.Model([op.result(logits), op.result(maps)], [image], "free")
    for options in ({}, {"input_size": (8, 16)}):
        explain = explainer(ExplainConfig(target="all"), model, batch=4, **options)
        images = [picture(30 + 40 * i, 50) for i in range(6)]
        shapes = [explanation.raw_maps[0].shape for explanation in explain.explain_many(images)]
        assert len(shapes) == 6 and (set(shapes) == {(8, 16)}) == bool(options)


def of_channels(count: int) -> ov.Model:
    """A model that gives back each channel of its input as the map of one class."""
    image = op.parameter([1, count, 16, 24], np.float32, name="image")
    logits = op.reduce_mean(image, np.array([2, 3]), False)
    maps = op.convert(op.relu(image), "u8")
    maps.output(0).set_names({"saliency_map"})
    return ov.Model([op.result(logits), op.result(maps)], [image], "channels")


def test_a_model_of_four_channels_sees_alpha(tmp_path):
    pixels = np.dstack([picture(16, 24), np.full((16, 24), 200, np.uint8)])
    explain = explainer(ExplainConfig(target="all"), of_channels(4))
    assert explain.channels == 4
    for order, array in (("rgb", pixels), ("bgr", pixels[:, :, [2, 1, 0, 3]])):
        explanation = explain(array, channel_order=order)
        assert all((explanation.raw_maps[i] == pixels[:, :, i]).all() for i in range(4))
        assert explanation.picture.shape == (16, 24, 3)
    opaque = explain(picture(16, 24))
    assert (opaque.raw_maps[3] == 255).all() and (opaque.picture == picture(16, 24)).all()
    path = tmp_path / "p.png"
    path.write_bytes(cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGBA2BGRA))[1].tobytes())
    for from_file in (explain(path), *explain.explain_many([path])):
        assert (from_file.raw_maps[3] == 200).all() and (from_file.raw_maps[0] == pixels[:, :, 0]).all()


def test_an_inserted_classifier_of_four_channels_explains():
    image = op.parameter([1, 4, 16, 24], np.float32, name="image")
    weights = op.constant(np.random.RandomState(0).rand(3, 4, 4, 4).astype(np.float32))
    features = op.relu(op.convolution(image, weights, [4, 4], [0, 0], [0, 0], [1, 1]))
    plain = ov.Model([op.result(op.reduce_mean(features, np.array([2, 3]), False))], [image], "plain")
    assert explainer(ExplainConfig(target="all"), plain)(picture()).raw_maps[0].shape == (4, 6)


@pytest.mark.parametrize("count", [2, 13])
def test_other_channels_are_explained_from_arrays(count, tmp_path):
    array = np.random.RandomState(0).randint(0, 256, (16, 24, count)).astype(np.uint8)
    explain = explainer(ExplainConfig(target="all", postprocess=True), of_channels(count))
    explanation = explain(array)
    assert all((explanation.raw_maps[i] == array[:, :, i]).all() for i in range(count))
    assert explanation.overlay(0).shape == (16, 24, 3)
    assert len(list(explain.explain_many([array, array], skip_broken=True))) == 2
    with pytest.raises(SourceError, match=rf"give \[H, W, {count}\]"):
        explain(picture())
    with pytest.raises(SourceError, match=f"pictures of {count} channels, which no picture file holds"):
        explain(tmp_path / "p.png")


def test_a_plain_model_is_explained_in_memory(monkeypatch, caplog):
    import sys
    import types

    done = types.SimpleNamespace(model=classifier(), told=("labels: from a file beside it",))
    stand_in = types.SimpleNamespace(insert_with_report=lambda _model, _options, beside: done)
    monkeypatch.setitem(sys.modules, "ovxai.insertion", stand_in)
    image = op.parameter([1, 3, 8, 8], np.float32)
    plain = ov.Model([op.result(op.reduce_mean(image, np.array([2, 3]), False))], [image], "plain")
    with caplog.at_level("INFO"):
        made = Explainer(plain)
    assert made.notes[1] == done.told[0] and "plain" in made.notes[0] and "plain" in caplog.text


def test_devices_and_options_that_do_not_exist():
    with pytest.raises(OptionError, match="there is no TPU here; there is CPU"):
        Explainer(classifier(), device="TPU")
    for options in ({"hint": "fast"}, {"precision": "f8"}, {"batch": 0}, {"resize_type": "stretch"}):
        with pytest.raises(OptionError):
            Explainer(classifier(), **options)


def test_missing_model():
    with pytest.raises(ovxai.ModelReadError):
        Explainer("none.xml")


def test_importing_the_package_alone_is_light():
    import subprocess
    import sys

    code = "import ovxai, sys; print([m for m in ('openvino', 'cv2', 'numpy', 'torch', 'onnx', 'nncf') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_running_needs_nothing_of_the_inserting_side(tmp_path):
    """An edge device: explained model in, maps out, and no other room of the package is entered."""
    import subprocess
    import sys

    ov.save_model(classifier(), tmp_path / "m.xml")
    (tmp_path / "p.png").write_bytes(encoded(picture()))
    code = (
        "import sys, ovxai; ovxai.Explainer('m.xml')('p.png').save('out');"
        "print([m for m in sys.modules if m.startswith(('ovxai.find', 'ovxai.collapse', 'ovxai.methods', 'ovxai.insertion'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.strip() == "[]", done.stderr
    assert list((tmp_path / "out/saliency_map").iterdir())
