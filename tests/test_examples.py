"""The examples and a client that is not ours, on the models that ship with the repository."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import openvino as ov
import openvino.opset13 as opset
import pytest
from openvino.preprocess import PrePostProcessor, ResizeAlgorithm

import ovxai
from helpers.pictures import bgr, rgb

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"
PHOTO = ROOT / "fixtures" / "photos" / "chelsea.png"
EGYPTIAN_CAT = 285

pytestmark = pytest.mark.skipif(not EXAMPLES.is_dir(), reason="the examples are not here")


@pytest.fixture(scope="module")
def explained(tmp_path_factory) -> Path:
    model = ovxai.insert(ROOT / "fixtures" / "imagenet" / "efficientnet_lite0.xml")
    return ovxai.save_model(model, tmp_path_factory.mktemp("explained") / "xai.xml")


def call(*words) -> str:
    done = subprocess.run([str(word) for word in words], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def program(tmp_path_factory) -> Path:
    """The C++ example, built against the OpenVINO that pip installed."""
    # pip's CMake stands beside this Python, which may not be on the PATH.
    cmake = shutil.which("cmake") or shutil.which("cmake", path=str(Path(sys.executable).parent))
    if not cmake:
        pytest.skip("cmake is not installed (extra dev brings it)")
    if not shutil.which("c++"):
        pytest.skip("there is no C++ compiler here")
    folder = tmp_path_factory.mktemp("cpp")
    openvino = Path(ov.__file__).parent / "cmake"
    call(cmake, "-S", EXAMPLES / "cpp", "-B", folder, f"-DOpenVINO_DIR={openvino}")
    call(cmake, "--build", folder)
    return folder / "explain"


def cropped(picture: np.ndarray) -> tuple[np.ndarray, int]:
    side = min(picture.shape[:2])
    left = (picture.shape[1] - side) // 2
    return picture[:side, left : left + side], left


def test_cpp_takes_a_model_in_two_parts(program, explained, tmp_path):
    cv2.imwrite(str(tmp_path / "in.ppm"), bgr(PHOTO))
    plain, head = ovxai.split(ov.Core().read_model(explained))
    ovxai.save_model(plain, tmp_path / "x.xml")
    ovxai.save_model(head, tmp_path / "x_head.xml")
    whole, parts = (
        call(program, model, tmp_path / "in.ppm", tmp_path / "out.ppm", "f32") for model in (explained, tmp_path / "x.xml")
    )
    assert whole == parts and "map 7x7" in whole


def test_cpp_gives_the_map_that_python_gives(program, explained, tmp_path):
    picture = bgr(PHOTO)
    cv2.imwrite(str(tmp_path / "in.ppm"), picture)

    words = call(program, explained, tmp_path / "in.ppm", tmp_path / "out.ppm", "f32").replace(",", "").replace(":", "").split()
    assert words[:4] == ["class", str(EGYPTIAN_CAT), "map", "7x7"]
    theirs = np.array(words[4:], int).reshape(7, 7)

    # The same preprocessing by OpenVINO, called from Python.
    model = ov.Core().read_model(explained)
    seen, left = cropped(picture[:, :, ::-1])
    feed = PrePostProcessor(model)
    feed.input().tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC")).set_shape([1, *seen.shape])
    feed.input().model().set_layout(ov.Layout("NCHW"))
    steps = feed.input().preprocess().convert_element_type(ov.Type.f32).resize(ResizeAlgorithm.RESIZE_LINEAR)
    steps.mean([127.0] * 3).scale([128.0] * 3)
    result = ov.Core().compile_model(feed.build(), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(np.ascontiguousarray(seen[None]))
    assert np.abs(theirs - result["saliency_map"][0, EGYPTIAN_CAT].astype(int)).max() <= 1

    # And what ovxai makes of the photograph, whose pixels are resized by OpenCV.
    ours = ovxai.Explainer(explained, ovxai.ExplainConfig(classes=(EGYPTIAN_CAT,)), precision="f32")(PHOTO).maps[EGYPTIAN_CAT]
    assert np.corrcoef(theirs.ravel(), ours.ravel())[0, 1] > 0.99

    painted = bgr(tmp_path / "out.ppm")
    side = min(picture.shape[:2])
    changed = np.abs(painted.astype(int) - picture).sum(2) > 0
    assert painted.shape == picture.shape
    assert changed[:, left : left + side].mean() > 0.99 and not changed[:, :left].any() and not changed[:, left + side :].any()


def test_cpp_says_what_is_wrong(program, explained, tmp_path):
    plain, photo, out = ROOT / "fixtures" / "imagenet" / "efficientnet_lite0.xml", tmp_path / "in.ppm", tmp_path / "out.ppm"
    cv2.imwrite(str(photo), bgr(PHOTO))
    image = opset.parameter([1, 3, 8, 8], np.float32)
    rows = opset.multiply(image, np.float32(1))  # no row of scores
    rows.output(0).get_tensor().set_names({"rows"})
    maps = opset.constant(np.zeros((1, 3, 2, 2), np.uint8))
    maps.output(0).get_tensor().set_names({"saliency_map"})
    ov.save_model(ov.Model([rows, maps], [image]), tmp_path / "odd.xml")
    for words, why in (
        ([], "usage"),
        ([explained, PHOTO, out], "not a binary PPM"),
        ([tmp_path / "none.xml", PHOTO, out], ""),
        ([plain, photo, out], "no output saliency_map"),
        ([tmp_path / "odd.xml", photo, out], "give the number of a CLASS"),
        ([explained, photo, out, "f32", "1000"], "there is no map of class 1000"),
        ([explained, photo, out, "f32", "tabby"], "CLASS is a number"),
    ):
        done = subprocess.run([str(program), *map(str, words)], check=False, capture_output=True, text=True)
        assert done.returncode == 1 and done.stderr.startswith("Error: ") and why in done.stderr, done.stderr
    assert not out.exists()
    assert call(program, tmp_path / "odd.xml", photo, out, "f32", "2").strip() == "class 2, map 2x2: 0 0 0 0"


def test_cpp_finds_the_map_of_a_class_among_a_few(program, explained, tmp_path):
    """Where maps were inserted for some classes only, which one is whose stands in another output."""
    cv2.imwrite(str(tmp_path / "in.ppm"), bgr(PHOTO))
    files = [tmp_path / "in.ppm", tmp_path / "out.ppm", "f32"]
    few = ovxai.insert(ROOT / "fixtures" / "imagenet" / "efficientnet_lite0.xml", classes=f"7,{EGYPTIAN_CAT}", probe=False)
    path = ovxai.save_model(few, tmp_path / "few.xml")
    assert call(program, path, *files) == call(program, explained, *files)
    assert call(program, path, *files, "7") == call(program, explained, *files, "7")
    done = subprocess.run([str(word) for word in (program, path, *files, "8")], check=False, capture_output=True, text=True)
    assert done.returncode == 1 and "there is no map of class 8 for this picture" in done.stderr


def test_cpp_paints_a_detectors_map(program, tmp_path):
    """The class is the best box's, among boxes and labels as OTX's detectors give them."""
    path = ovxai.save_model(ovxai.insert(ROOT / "fixtures" / "shapes" / "detector.xml", probe=False), tmp_path / "xai.xml")
    explainer = ovxai.Explainer(path, ovxai.ExplainConfig(target="all"), precision="f32")
    for number in range(4):
        cv2.imwrite(str(tmp_path / "in.ppm"), shapes(number)[:, :, ::-1])
        said = call(program, path, tmp_path / "in.ppm", tmp_path / "out.ppm", "f32").replace(",", "").replace(":", "").split()
        ours = explainer(shapes(number))
        label = ours.predictions[0].class_index
        assert said[:3] == ["class", str(label), "map"]
        assert np.abs(np.array(said[4:], int) - ours.raw_maps[label].ravel().astype(int)).max() <= 3


def test_the_loop_in_python(explained, tmp_path):
    photo = Path(shutil.copy(PHOTO, tmp_path))
    assert call(sys.executable, EXAMPLES / "python_loop.py", explained, photo).split() == [str(photo), str(EGYPTIAN_CAT)]
    overlay = bgr(f"{photo}.xai.jpg")
    assert overlay.shape == bgr(photo).shape
    heat = overlay.astype(int) - bgr(photo) // 2  # BGR, as OpenCV likes it
    face, corner = heat[150:200, 150:200], heat[:50, -50:]
    assert face[..., 2].mean() > 80 > face[..., 0].mean() and corner[..., 0].mean() > 50 > corner[..., 2].mean()


def model_api(path: Path):
    """Model API's wrapper for the explained model at `path`, as `model_type` in its rt_info says."""
    pytest.importorskip("model_api", reason="openvino-model-api is not installed")
    from model_api.adapters import OpenvinoAdapter, create_core
    from model_api.models import Model

    config = {"INFERENCE_PRECISION_HINT": "f32"}
    return Model.create_model(OpenvinoAdapter(create_core(), str(path), device="CPU", plugin_config=config, max_num_requests=1))


@pytest.mark.parametrize("vector", [False, True])
def test_model_api_hands_the_classifiers_maps_on(tmp_path, vector):
    model = ovxai.insert(ROOT / "fixtures" / "imagenet" / "efficientnet_lite0.xml", feature_vector=vector)
    path = ovxai.save_model(model, tmp_path / "xai.xml")
    client = model_api(path)
    assert type(client).__name__ == "ClassificationModel"
    picture = rgb(PHOTO)
    result = client(picture)
    assert result.top_labels[0].name == "Egyptian_cat"
    assert np.asarray(result.saliency_map).shape == (1, 1000, 7, 7) and np.asarray(result.feature_vector).size == 1280 * vector

    ours = ovxai.Explainer(path, ovxai.ExplainConfig(classes=(EGYPTIAN_CAT,)), precision="f32")(picture).maps[EGYPTIAN_CAT]
    assert np.corrcoef(np.asarray(result.saliency_map)[0, EGYPTIAN_CAT].ravel(), ours.ravel())[0, 1] > 0.99


@pytest.mark.parametrize("vector", [False, True])
def test_model_api_hands_the_detectors_maps_on(tmp_path, vector):
    model = ovxai.insert(ROOT / "fixtures" / "shapes" / "detector.xml", feature_vector=vector)
    path = ovxai.save_model(model, tmp_path / "xai.xml")
    client = model_api(path)
    assert type(client).__name__ == "SSD"
    picture = shapes(0)
    result = client(picture)
    maps = np.asarray(result.saliency_map)
    assert maps.dtype == np.uint8 and maps.ndim == 4 and maps.shape[:2] == (1, 5) and maps.max() == 255
    assert (np.asarray(result.feature_vector).size > 0) == vector and len(result.bboxes) > 0

    found = ovxai.Explainer(path, ovxai.ExplainConfig(target="all"), precision="f32")(picture).raw_maps
    assert set(found) == set(range(5))
    assert max(np.abs(maps[0, c].astype(int) - found[c]).max() for c in range(5)) <= 3


@pytest.fixture(scope="module")
def instances_client(tmp_path_factory):
    """Instances with the option that makes Model API's MaskRCNN wrapper give maps, and that wrapper."""
    model = ovxai.insert(ROOT / "fixtures" / "shapes" / "instances.xml", feature_vector=True)
    path = ovxai.save_model(model, tmp_path_factory.mktemp("instances") / "xai.xml")
    client = model_api(path)
    assert type(client).__name__ == "MaskRCNNModel"
    return client, path


def shapes(number: int) -> np.ndarray:
    """A picture of the shapes world, RGB."""
    return rgb(ROOT / "fixtures" / "shapes" / "test" / f"det_{number:02d}.png")


def test_model_api_makes_the_instances_maps(instances_client):
    client, path = instances_client
    explainer = ovxai.Explainer(
        path, ovxai.ExplainConfig(target="predictions", postprocess=True, colormap="grey"), precision="f32"
    )
    compared = 0
    for number in range(6):
        picture = shapes(number)
        result = client(picture)
        assert len(result.saliency_map) == 6 and np.asarray(result.feature_vector).size > 0  # five shapes and OTX's empty label
        theirs = {c: values for c, values in enumerate(result.saliency_map) if values.size}
        ours = explainer(picture).maps
        assert set(theirs) == set(ours) == {label - 1 for label in result.labels}
        for index, values in theirs.items():
            a, b = values > 0, ours[index][:, :, 0] > 60  # theirs is a maximum over objects, ours a mean weighted by score
            assert (a & b).sum() > 0.6 * (a | b).sum()
            compared += 1
    assert compared >= 6


def test_the_map_of_the_graph_comes_through_model_api_too(instances_client):
    client, path = instances_client
    picture = shapes(0)
    outputs = client.infer_sync(client.base_preprocess(picture)[0])
    ours = ovxai.Explainer(path, ovxai.ExplainConfig(target="all"), precision="f32")(picture).raw_maps
    maps = outputs["saliency_map"][0]
    assert maps.dtype == np.uint8 and max(np.abs(maps[c].astype(int) - ours[c]).max() for c in ours) <= 3


def test_why_instances_have_no_feature_map_unless_asked(tmp_path):
    """Model API's MaskRCNN wrapper takes any other output of rank 4 for the masks."""
    model = ovxai.insert(ROOT / "fixtures" / "shapes" / "instances.xml", feature_map=True)
    client = model_api(ovxai.save_model(model, tmp_path / "xai.xml"))
    assert client.output_blob_name["masks"] == "feature_map"


def block(page: str, language: str) -> str:
    """The first block of code in `language` on a page of the documentation."""
    return (ROOT / page).read_text(encoding="utf-8").split(f"```{language}\n")[1].split("```")[0]


def test_the_readmes_lines_of_python(tmp_path):
    for ending in (".xml", ".bin"):
        shutil.copy(ROOT / "fixtures" / "imagenet" / f"efficientnet_lite0{ending}", tmp_path / f"model{ending}")
    shutil.copy(ROOT / "fixtures" / "photos" / "rocket.jpg", tmp_path / "photo.jpg")
    done = subprocess.run(
        [sys.executable, "-c", block("README.md", "python")], cwd=tmp_path, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "explained" / "saliency_map" / "photo_class_missile_overlay.png").is_file()


def test_the_documented_loop_is_the_example():
    lines = [
        line.strip()
        for line in block("docs/use.md", "python")
        .replace('"model_xai.xml"', "sys.argv[1]")
        .replace("in paths", "in sys.argv[2:]")
        .splitlines()
    ]
    example = [line.strip() for line in (EXAMPLES / "python_loop.py").read_text(encoding="utf-8").splitlines()]
    assert len(lines) > 10 and lines == example[-len(lines) :]


def test_pages_link_to_files_that_are_there():
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        links = re.findall(r"\]\((?!http)([^)#]+)", page.read_text(encoding="utf-8"))
        assert not [link for link in links if not (page.parent / link).exists()], page


#: What `src/schema.cpp` of OpenVINO Model Server allows for a model; anything else there makes it refuse the file.
SERVER_KEYS = {
    "name",
    "base_path",
    "target_device",
    "plugin_config",
    "batch_size",
    "shape",
    "layout",
    "nireq",
    "model_version_policy",
}


def test_the_model_servers_configuration_fits_the_shipped_classifier(explained, tmp_path):
    page = "docs/model_server.md"
    (entry,) = json.loads(block(page, "json"))["model_config_list"]
    assert set(entry) == {"config"} and {"name", "base_path"} <= set(entry["config"]) <= SERVER_KEYS
    # The folder of one version, as the server looks for it; then device and properties as it hands them to OpenVINO.
    folder = tmp_path / entry["config"]["name"] / "1"
    folder.mkdir(parents=True)
    for ending in (".xml", ".bin"):
        shutil.copy(explained.with_suffix(ending), folder / f"model_xai{ending}")
    compiled = ov.Core().compile_model(
        folder / "model_xai.xml", entry["config"]["target_device"], entry["config"]["plugin_config"]
    )
    request = block(page, "python")
    assert entry["config"]["name"] in request
    (feed,) = re.findall(r'InferInput\("(\w+)", (\[[\d, ]+\])', request)
    assert compiled.input(0).get_names() == {feed[0]} and list(compiled.input(0).shape) == json.loads(feed[1])
    (wanted,) = re.findall(r"for name in \(([^)]+)\)", request)
    names = [next(iter(port.get_names())) for port in compiled.outputs]
    assert [word.strip(' "') for word in wanted.split(",")] == names[:2] and list(compiled.output("saliency_map").shape) == [
        1,
        1000,
        7,
        7,
    ]
