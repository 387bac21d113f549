"""Files, their names, and the manifest."""

import io
import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from helpers.pictures import bgr, rgb
from helpers.runtime_graphs import classifier, encoded, picture
from ovxai.errors import OptionError, OutputError
from ovxai.explainer import Explainer
from ovxai.files import check_folder, write_bytes
from ovxai.runtime.config import ExplainConfig
from ovxai.runtime.write import encode
from ovxai.runtime.write.encode import encode_picture
from ovxai.runtime.write.manifest import SCHEMA_VERSION, model_facts, write_manifest
from ovxai.runtime.write.maps import ImageNames, Writer, class_words, sanitize


@pytest.fixture(scope="module")
def explainer():
    return Explainer(classifier(), ExplainConfig(target="all", postprocess=True), precision="f32")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a b.c", "a_b_c"),
        ("Ab-9_", "Ab-9_"),
        ("猫 ñ", "猫_ñ"),
        ("n\u0303", "ñ"),
        ("कुत्ता", "कुत्ता"),
        ("\udce9x\u202e", "_x_"),
        ("😀", "_"),
        ("猫" * 50, "猫" * 33),
        ("", "_"),
        ("../x", "___x"),
        ("y" * 300, "y" * 100),
    ],
)
def test_safe_names(text, wanted):
    assert sanitize(text) == wanted


def test_equal_stems_get_numbers(tmp_path):
    names = ImageNames(tmp_path, force=False)
    assert [names.claim(stem) for stem in ("a", "a", "A", "a_2", "a")] == ["a", "a_2", "A_3", "a_2_2", "a_4"]


def test_names_of_earlier_runs_are_taken(tmp_path):
    for name in ("a_class_cat_saliency_map.png", "b_map_per_image_overlay.jpg", "c_class_x_class_y_overlay.png", "d_overlay.mp4"):
        (tmp_path / name).touch()
    names = ImageNames(tmp_path, force=False)
    assert [names.claim(stem) for stem in "abcde"] == ["a_2", "b_2", "c_2", "d_2", "e"]
    assert ImageNames(tmp_path, force=True).claim("a") == "a"


def test_classes_that_look_the_same_get_their_index():
    assert class_words(dict(enumerate(("crane", "cat", "crane", "", "Cat")))) == {
        0: "crane_0",
        1: "cat_1",
        2: "crane_2",
        4: "Cat_4",
    }


def test_files_as_otx_names_them(explainer, tmp_path):
    written = explainer(picture()).save(tmp_path)
    assert [item.path for item in written][:2] == [
        "saliency_map/image_class_red_saliency_map.png", "saliency_map/image_class_red_overlay.png",
    ]  # fmt: skip
    assert len(written) == 6
    red = bgr(tmp_path / written[0].path)
    assert red.shape == (40, 60, 3)
    assert red[2, 2, 2] > 100 > red[2, 2, 0]  # BGR: red square, hot in the map of class red


def test_classes_of_one_name_get_files_of_their_own(tmp_path):
    explain = Explainer(classifier(), ExplainConfig(target="all"), labels=("crane", "crane", "cat"))
    assert [item.path.split("_class_")[1] for item in explain(picture()).save(tmp_path)] == [
        "crane_0_saliency_map.png", "crane_1_saliency_map.png", "cat_saliency_map.png",
    ]  # fmt: skip


def test_the_map_of_the_picture(tmp_path):
    explainer = Explainer(classifier(), ExplainConfig(target="image"))
    written = explainer(picture()).save(tmp_path)
    assert [item.path for item in written] == ["saliency_map/image_map_per_image_saliency_map.png"]
    assert bgr(tmp_path / written[0].path, cv2.IMREAD_UNCHANGED).shape == (4, 6)


@pytest.mark.parametrize(("form", "suffix"), [("png", ".png"), ("jpeg", ".jpg"), ("webp", ".webp")])
def test_formats(explainer, tmp_path, form, suffix):
    written = Writer(tmp_path, form=form).write(explainer(picture()), "p")
    assert {os.path.splitext(item.path)[1] for item in written} == {suffix}
    assert bgr(tmp_path / written[0].path).shape == (40, 60, 3)


def test_arrays_and_grid(explainer, tmp_path):
    written = Writer(tmp_path, npy=True, grid=2, postprocess=False).write(explainer(picture()), "p")
    kinds = [item.kind for item in written]
    assert kinds == ["saliency_map", "array"] * 3 + ["grid"]
    assert np.load(tmp_path / written[1].path).dtype == np.uint8
    assert (tmp_path / "grid/p_grid.png").exists()


def test_nothing_is_overwritten_unless_forced(explainer, tmp_path):
    for force, wanted in ((False, "image"), (False, "image_2"), (True, "image")):
        written = explainer(picture()).save(tmp_path, force=force)
        assert written[0].image == wanted


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    def refuse(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OutputError, match="No space left"):
        write_bytes(tmp_path / "a.png", b"x")
    assert list(tmp_path.iterdir()) == []


def test_folders_that_can_not_be_used(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="is a file"):
        check_folder(tmp_path / "file")
    with pytest.raises(OutputError, match="is a file"):
        check_folder(tmp_path / "file" / "inner")
    assert not check_folder(tmp_path / "new" / "inner").exists()


def test_smooth_pictures_are_stored_smaller_and_without_loss():
    levels = cv2.resize(np.random.RandomState(0).rand(7, 7), (320, 240)).clip(0, 1)
    picture = cv2.applyColorMap((255 * levels).astype(np.uint8), cv2.COLORMAP_JET)
    data = encode_picture(picture, "png", smooth=True)
    assert np.array_equal(rgb(data), picture)
    assert len(data) <= len(encode_picture(picture, "png"))


@pytest.mark.parametrize("packer", ["isal", "zlib"])
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (40, 33), (1, 1, 3), (1, 7, 3), (9, 1, 3), (48, 65, 3)])
@pytest.mark.parametrize("smooth", [False, True])
def test_a_png_gives_back_every_pixel_whoever_packs_it(monkeypatch, packer, shape, smooth):
    if packer == "isal":
        pytest.importorskip("isal")
    else:
        monkeypatch.setattr(encode, "_isal", None)
    picture = np.random.RandomState(0).randint(0, 256, shape).astype(np.uint8)
    data = encode_picture(picture, "png", smooth=smooth)
    Image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    Image.open(io.BytesIO(data)).verify()  # the sums of its chunks, which OpenCV passes over
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), picture)
    assert np.array_equal(rgb(data), picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, 2))


def test_views_of_pictures_can_be_stored():
    picture = np.random.RandomState(1).randint(0, 256, (20, 30, 3)).astype(np.uint8)
    assert np.array_equal(rgb(encode_picture(picture[::-2, 3:, ::-1], "png")), picture[::-2, 3:, ::-1])


def test_a_picture_too_large_for_its_format():
    with pytest.raises(OutputError, match="--format png"):
        encode_picture(np.zeros((2, 20000, 3), np.uint8), "webp")


def test_an_unknown_format(tmp_path):
    with pytest.raises(OptionError, match="choose one of png"):
        Writer(tmp_path, form="gif")


def manifest(folder, explainer, written, failed=()):
    facts = model_facts("tiny_xai.xml", explainer.facts)
    return json.loads(write_manifest(folder, facts, list(written), list(failed), {"opacity": 0.5}).read_text())


def test_the_manifest_tells_of_every_file(explainer, tmp_path):
    source = tmp_path / "cat.png"
    source.write_bytes(encoded(picture()))
    document = manifest(tmp_path, explainer, explainer(source).save(tmp_path), [("b.png", "b.png: empty")])
    assert document["schema_version"] == SCHEMA_VERSION
    entry = document["files"][0]
    assert (tmp_path / entry["path"]).exists()
    assert entry["source"] == str(source) and entry["image"] == "cat"
    assert (entry["class_index"], entry["label"], entry["map_shape"], entry["size"]) == (0, "red", [4, 6], [40, 60])
    assert 0 <= entry["score"] <= 1
    assert entry["model"] == "tiny_xai.xml" and {"ovxai", "openvino"} <= set(entry["versions"])
    assert document["failed"] == [{"source": "b.png", "error": "b.png: empty"}]


def test_a_second_run_adds_to_the_manifest(explainer, tmp_path):
    manifest(tmp_path, explainer, explainer(picture()).save(tmp_path))
    first = explainer(picture()).save(tmp_path)
    (tmp_path / "saliency_map/image_class_red_overlay.png").unlink()
    files = manifest(tmp_path, explainer, first)["files"]
    assert len(files) == 5 + 6 and len({entry["path"] for entry in files}) == 11


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"schema_version": 99, "files": [1]}'])
def test_a_manifest_of_someone_else_is_replaced(explainer, tmp_path, content):
    (tmp_path / "manifest.json").write_text(content)
    assert manifest(tmp_path, explainer, ())["files"] == []


def test_the_documented_manifest_is_the_written_one(explainer, tmp_path):
    page = Path(__file__).resolve().parents[2] / "docs" / "output.md"
    if not page.is_file():
        pytest.skip("the documentation is not here")
    documented = json.loads(page.read_text(encoding="utf-8").split("```json\n")[1].split("```")[0])
    written = manifest(tmp_path, explainer, explainer(picture()).save(tmp_path), [("a.png", "a.png: the file is empty")])
    assert list(written) == list(documented) and written["schema_version"] == documented["schema_version"]
    for part in ("model", "versions"):
        assert list(written[part]) == list(documented[part])
    for part in ("files", "failed"):
        assert list(written[part][0]) == list(documented[part][0])


def test_with_force_a_run_does_not_overwrite_its_own_files(tmp_path):
    """`q` and its class `red_class_blue`, `q_class_red` and its class `blue`: the names of their files are the same."""
    names = ("red_class_blue", "blue")
    made = Explainer(classifier(model_info={"labels": " ".join((*names, "green"))}), ExplainConfig(classes=names))(picture())
    writer = Writer(tmp_path, names=(*names, "green"), force=True)
    first = writer.write(made, writer.claim("q"))
    second = writer.write(made, writer.claim("q_class_red"))
    paths = [item.path for item in (*first, *second)]
    assert len({*paths}) == len(paths) and all((tmp_path / path).exists() for path in paths)
