"""Several inputs, inputs without a batch, other channels: which picture is explained, and what the others are fed."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op

import ovxai
from helpers.cli import call
from helpers.values import named, numbers
from ovxai.errors import OptionError, SourceError, UnsupportedModelError
from ovxai.files import load_array
from ovxai.graph.picture import find_picture_input, picture_inputs
from ovxai.insertion import insert_with_report
from ovxai.metadata import SALIENCY_MAP, ModelInfo
from ovxai.options import InsertOptions, given_vector
from ovxai.runtime.feed.beside import given_inputs
from ovxai.runtime.feed.preprocess import PreprocessOptions
from ovxai.verification import verify

MEAN = np.array([2, 3])


def entry(name: str, *shape: int, kind: type = np.float32) -> ov.Node:
    return named(op.parameter(ov.PartialShape(list(shape)), kind), name)


def trunk(picture: ov.Node, channels: int = 3, seed: int = 0) -> ov.Node:
    """[N, channels, H, W] -> [N, 6, H / 8, W / 8]."""
    x = op.relu(op.convolution(picture, numbers(4, channels, 4, 4, seed=seed, size=0.2), [4, 4], [0, 0], [0, 0], [1, 1]))
    return op.relu(op.convolution(x, numbers(6, 4, 3, 3, seed=seed + 1, size=0.3), [2, 2], [1, 1], [1, 1], [1, 1]))


def pooled(picture: ov.Node, channels: int = 3) -> ov.Node:
    return op.reduce_mean(trunk(picture, channels), MEAN, False)


def model_of(scores: ov.Node, *inputs: ov.Node) -> ov.Model:
    return ov.Model([op.result(scores)], list(inputs), "several")


def siamese() -> ov.Model:
    left, right = entry("left", 1, 3, 24, 32), entry("right", 1, 3, 24, 32)
    apart = op.subtract(pooled(left), op.multiply(pooled(right), np.float32(0.5)))
    return model_of(op.matmul(apart, numbers(6, 4), False, False), left, right)


def with_metadata(length: int = 5) -> ov.Model:
    image, metadata = entry("image", 1, 3, 24, 32), entry("metadata", 1, length)
    joined = op.concat([pooled(image), metadata], 1)
    return model_of(op.matmul(joined, numbers(6 + length, 4), False, False), image, metadata)


def with_texts(count: int = 7) -> ov.Model:
    image, texts = entry("image", 1, 3, 24, 32), entry("texts", count, 6)
    return model_of(op.matmul(pooled(image), texts, False, True), image, texts)


def one_picture(layout: str) -> ov.Model:
    """A model that takes one picture without an axis for a batch."""
    shape, axes = {"CHW": ((1, 24, 32), None), "RGB": ((3, 24, 32), None), "HWC": ((24, 32, 3), [2, 0, 1])}[layout]
    image = entry("image", *shape)
    planes = op.transpose(image, np.array(axes)) if axes else image
    features = pooled(op.unsqueeze(planes, np.array([0])), 1 if layout == "CHW" else 3)
    return model_of(op.matmul(features, numbers(6, 4), False, False), image)


def pixels(seed: int = 0, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (24, 32, channels), np.uint8)


@pytest.mark.parametrize("name", ["left", "right"])
def test_the_picture_that_was_asked_for_is_explained_and_the_other_stays(name):
    other = {"left": "right", "right": "left"}[name]
    done = insert_with_report(siamese(), InsertOptions(input=name, scale=False))
    assert done.info.picture_input == name and verify(done.model).ok
    assert insert_with_report(siamese(), InsertOptions(input=["left", "right"].index(name))).info.picture_input == name
    maps = ovxai.Explainer(done.model, ovxai.ExplainConfig(target="all"), inputs={other: pixels(1)})(pixels()).raw_maps
    feeds = {name: pixels().transpose(2, 0, 1)[None], other: pixels(1).transpose(2, 0, 1)[None]}
    told = ov.compile_model(done.model, "CPU")({key: value.astype(np.float32) for key, value in feeds.items()})
    assert all(np.allclose(maps[i], told[SALIENCY_MAP][0, i], atol=1e-4) for i in range(4))


@pytest.mark.parametrize(
    ("name", "words"), [("middle", "no input 'middle'.*left"), (2, "no input 2"), ("metadata", "takes no pic")]
)
def test_an_input_that_can_not_be_explained(name, words):
    model = with_metadata() if name == "metadata" else siamese()
    with pytest.raises(OptionError, match=words):
        ovxai.insert(model, input=name)


def test_an_input_that_the_scores_do_not_depend_on():
    model = siamese()
    unused = entry("unused", 1, 3, 24, 32)
    model.add_parameters([unused])
    model.add_results([op.result(op.relu(unused))])
    with pytest.raises(UnsupportedModelError, match="does not depend on input 'unused'"):
        ovxai.insert(model, input="unused", output=0)


@pytest.mark.parametrize("length", [5, 3])
def test_metadata_beside_the_picture(length):
    explained = ovxai.insert(with_metadata(length), scale=False)
    assert verify(explained).ok
    with pytest.raises(UnsupportedModelError, match=r'inputs={"metadata": FILE}'):
        ovxai.Explainer(explained)
    given = np.linspace(0, 1, length)
    found = ovxai.Explainer(explained, inputs={"metadata": given})(pixels())
    told = ov.compile_model(explained, "CPU")({
        "image": pixels().transpose(2, 0, 1)[None].astype(np.float32), "metadata": given[None].astype(np.float32),
    })  # fmt: skip
    best = next(iter(found.raw_maps))
    assert np.allclose(found.raw_maps[best], told[SALIENCY_MAP][0, best], atol=1e-4)
    for wrong in (np.zeros(length + 1), np.array(["x"] * length)):
        with pytest.raises(OptionError, match="metadata takes"):
            ovxai.Explainer(explained, inputs={"metadata": wrong})


def test_the_features_of_texts_are_the_classes():
    explained = ovxai.insert(with_texts(), scale=False)
    assert verify(explained).ok
    texts = np.random.default_rng(3).standard_normal((7, 6))
    maps = ovxai.Explainer(explained, ovxai.ExplainConfig(target="all"), inputs={"texts": texts})(pixels()).raw_maps
    assert set(maps) == set(range(7))


def test_as_many_classes_as_texts_that_nobody_knows_yet():
    with pytest.raises(UnsupportedModelError, match="depends on what is fed to input texts"):
        ovxai.insert(with_texts(-1))


@pytest.mark.parametrize("layout", ["CHW", "RGB", "HWC"])
def test_one_picture_without_a_batch(layout):
    explained = ovxai.insert(one_picture(layout), embed="overlay")
    assert verify(explained).ok
    assert ovxai.Explainer(explained, ovxai.ExplainConfig(target="all"))(pixels()).raw_maps[0].shape == (3, 4)


def test_an_open_batch_of_grey_pictures_without_an_axis_for_channels():
    image = entry("image", -1, 24, 32)
    model = model_of(op.matmul(pooled(op.unsqueeze(image, np.array([1])), 1), numbers(6, 4), False, False), image)
    explained = ovxai.insert(model, embed="overlay")
    assert explained.output(SALIENCY_MAP).get_partial_shape()[0].is_dynamic and verify(explained).ok
    assert ovxai.Explainer(explained, ovxai.ExplainConfig(target="all"))(pixels()).raw_maps[0].shape == (3, 4)


@pytest.mark.parametrize("shape", [(1, 24, 32), (3, 24, 32)])
def test_sequences_are_no_pictures(shape):
    image = entry("image", *shape)
    steps = op.matmul(image, numbers(32, 5), False, False)
    assert picture_inputs(ov.Model([op.result(steps)], [image], "steps")) == []


def test_fewer_pictures_than_the_batch(tmp_path):
    image = entry("image", 4, 3, 24, 32)
    ov.save_model(ovxai.insert(model_of(op.matmul(pooled(image), numbers(6, 4), False, False), image)), tmp_path / "four.xml")
    for i in range(5):
        cv2.imwrite(str(tmp_path / f"{i}.png"), pixels(i))
    done = call("run", tmp_path / "four.xml", *(tmp_path / f"{i}.png" for i in range(5)), "-o", tmp_path / "out",
                   "--target", "image", "--no-postprocess")  # fmt: skip
    written = sorted(path.name[0] for path in (tmp_path / "out" / "saliency_map").iterdir())
    assert done.exit_code == 0 and written == list("01234")
    alone = ovxai.Explainer(tmp_path / "four.xml", ovxai.ExplainConfig(target="image"))(tmp_path / "4.png").maps["image"]
    stored = cv2.imread(str(next((tmp_path / "out" / "saliency_map").glob("4_*"))), cv2.IMREAD_UNCHANGED)
    assert stored is not None
    assert (stored.reshape(stored.shape[0], stored.shape[1], -1)[..., 0] == alone).all()


@pytest.mark.parametrize("channels", [2, 5, 6, 13])
def test_run_reads_arrays_of_other_channels(channels, tmp_path):
    image = entry("image", 1, channels, 24, 32)
    scores = op.matmul(pooled(image, channels), numbers(6, 4), False, False)
    ov.save_model(ovxai.insert(model_of(scores, image)), tmp_path / "many.xml")
    folder = tmp_path / "arrays"
    folder.mkdir()
    np.save(folder / "p.npy", pixels(channels=channels))
    np.save(folder / "q.npy", pixels(channels=channels + 1))
    done = call("run", tmp_path / "many.xml", folder, "-o", tmp_path / "out")
    assert done.exit_code == 1 and f"give [H, W, {channels}]" in done.stderr
    assert {path.name[0] for path in (tmp_path / "out" / "saliency_map").iterdir()} == {"p"}


def test_arrays_of_python_objects_are_not_run(tmp_path):
    np.save(tmp_path / "p.npy", np.array([print], object), allow_pickle=True)
    ov.save_model(ovxai.insert(siamese()), tmp_path / "m.xml")
    done = call("run", tmp_path / "m.xml", tmp_path / "p.npy", "-o", tmp_path / "out", "--input", f"right={tmp_path / 'p.npy'}")
    assert done.exit_code == 1 and "not an array" in done.stderr


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["left"], 2, "not NAME=FILE"), (["right=none.png"], 1, "no such file"), (["left=b.png"], 1, "takes the pictures"),
        (["top=b.png"], 1, "no input 'top'"), (["right=b.png"], 0, ""),
    ],
)  # fmt: skip
def test_run_feeds_the_other_picture(words, code, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ov.save_model(ovxai.insert(siamese()), "m.xml")
    for name in ("a", "b"):
        cv2.imwrite(f"{name}.png", pixels(ord(name)))
    done = call("run", "m.xml", "a.png", "-o", "out", "--no-report", *(x for word in words for x in ("--input", word)))
    assert done.exit_code == code and said in done.stderr
    assert Path("out").exists() == (code == 0)


@pytest.mark.parametrize("size", [(24, 32), (30, 40)])
def test_pixels_of_another_picture_are_prepared_whatever_their_size(size):
    """u8 of the input's own shape is a picture too, to which mean and scale apply as to one of another size."""
    left, right = entry("left", 1, 24, 32, 3), entry("right", 1, 24, 32, 3)
    first, second = (pooled(op.transpose(one, np.array([0, 3, 1, 2]))) for one in (left, right))
    model = model_of(op.matmul(op.subtract(first, second), numbers(6, 4), False, False), left, right)
    info = ModelInfo(mean=(100.0,), scale=(50.0,))
    given = {"right": cv2.resize(pixels(), size[::-1])}
    (fed,) = given_inputs(model, find_picture_input(model), given, info, PreprocessOptions()).values()
    assert fed.shape == (1, 24, 32, 3) and fed.min() < -1.5


@pytest.mark.parametrize("name", ["words.npy", "several.npz", "complex.npy", "huge.npy", "cut.npy"])
def test_files_that_hold_no_numbers_are_told_of_in_one_line(name, tmp_path):
    path = tmp_path / name
    kinds = {"words.npy": np.array(["a"]), "complex.npy": np.array([1 + 2j])}
    if name in kinds:
        np.save(path, kinds[name])
    elif name == "several.npz":
        np.savez(path, a=np.zeros(2))
    else:
        shape = (1 << 40, 3) if name == "huge.npy" else (5,)
        with path.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": shape})
            file.write(b"12345678")
    for read, error in ((load_array, SourceError), (given_vector, OptionError)):
        with pytest.raises(error, match=f"{name}: (holds no numbers|not an array)") as caught:
            read(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("vector", [[1 + 2j, 3], ["a", "b"], [[1, 2], [3, 4]], [0, 0], [float("nan"), 1]])
def test_numbers_that_are_no_vector(vector):
    with pytest.raises(OptionError, match="toward: "):
        given_vector(vector)


def test_a_vector_of_truth_values():
    assert given_vector([True, 2]) == (1.0, 2.0)
