"""Models with a map per box in `run` and `Explainer`: whose map is whose, in files, manifest, overlays and report."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import openvino as ov
import pytest

import ovxai
from helpers.box_models import MODELS
from helpers.cli import call
from helpers.runtime_graphs import LABELS, box_detector, encoded, f32
from ovxai.explainer import Explainer
from ovxai.runtime.config import ExplainConfig
from ovxai.runtime.feed.images import read_image
from ovxai.runtime.feed.sources import frame_count, open_clip
from ovxai.runtime.show.picture_maps import BoxKey
from ovxai.runtime.write.report import Report
from ovxai.runtime.write.video import VideoFile

#: In a network input of 32 x 32. Two of class 1, one below the threshold, and one behind the four places for maps.
BOXES = f32([[8, 8, 16, 24, 0.9], [2, 20, 20, 30, 0.8], [20, 2, 30, 20, 0.7], [4, 4, 28, 28, 0.2], [1, 1, 31, 31, 0.6]])
CLASSES = np.array([1, 2, 1, 0, 0])
GREY = np.full((320, 640, 3), 90, np.uint8)


def explain(image: np.ndarray = GREY, **settings):
    return Explainer(box_detector(BOXES, CLASSES), ExplainConfig(**settings), precision="f32")(image)


def hot_row(values: np.ndarray) -> int:
    return int(values.max(axis=1).argmax())


def test_every_box_over_the_threshold_has_its_map() -> None:
    found = explain()
    assert list(found.raw_maps) == [1, 2, BoxKey(1, 2)]
    assert [hot_row(values) for values in found.raw_maps.values()] == [0, 1, 2]
    assert [round(found.score(key), 2) for key in found.raw_maps] == [0.9, 0.8, 0.7]
    assert [found.label(key) for key in found.raw_maps] == [LABELS[1], LABELS[2], LABELS[1]]
    assert found.caption(BoxKey(1, 2)) == f"{LABELS[1]} 0.70"


def test_boxes_are_in_pixels_of_the_picture() -> None:
    found = explain()
    assert list(found.boxes) == [1, 2, BoxKey(1, 2), 0]  # all that the model gives
    assert found.boxes[1].box == pytest.approx((160, 80, 320, 240))
    assert found.boxes[BoxKey(1, 2)].box == pytest.approx((400, 20, 600, 200))


def test_maps_of_boxes_that_were_not_asked_for() -> None:
    found = explain(classes=[LABELS[2]])
    assert list(found.raw_maps) == [2]
    assert hot_row(found.map(LABELS[1])) == 0 and hot_row(found.map(BoxKey(1, 2))) == 2 and hot_row(found.map(0)) == 3
    with pytest.raises(KeyError, match="boxes"):
        found.map(BoxKey(2, 2))


def test_all_of_them_and_a_class_without_a_box() -> None:
    assert list(explain(target="all").raw_maps) == [1, 2, BoxKey(1, 2), 0]
    assert list(explain(classes=[LABELS[1]]).raw_maps) == [1, BoxKey(1, 2)]
    nothing = explain(classes=[LABELS[0]])
    assert not nothing.raw_maps and nothing.notes == (f"no map for {LABELS[0]}: not among the 4 best boxes, or not over 0.3",)
    # The one behind the four places is predicted, but has no map.
    assert explain().notes == nothing.notes and explain().predictions[-1].class_index == 0


def edges(picture: np.ndarray, box: tuple[float, float, float, float]) -> np.ndarray:
    """The pixels in the middle of the four sides."""
    x1, y1, x2, y2 = (round(value) for value in box)
    return picture[[y1, y2 - 1, (y1 + y2) // 2, (y1 + y2) // 2], [(x1 + x2) // 2, (x1 + x2) // 2, x1, x2 - 1]]


def test_an_overlay_shows_its_own_box_only() -> None:
    found = explain(opacity=0.0, captions=False)
    for shown in found.raw_maps:
        painted = found.overlay(shown)
        for key, item in found.boxes.items():
            assert item.box is not None
            drawn = (edges(painted, item.box) != 90).any(axis=1)
            assert drawn.all() if key == shown else not drawn.any(), (shown, key)


@pytest.mark.parametrize("name", [name for name in MODELS if "yolox" not in name])  # whose strides here no real one has
def test_maps_of_an_inserted_model(name: str) -> None:
    model = ovxai.insert(MODELS[name](), task="detection", method="gradient", per="box", classes="top:4", num_classes=3)
    height, width = model.inputs[0].get_shape()[2:]
    image = np.random.default_rng(3).integers(0, 255, (height, width, 3)).astype(np.uint8)
    found = Explainer(model, ExplainConfig(target="all"), precision="f32")(image)
    assert 1 <= len(found.raw_maps) <= 4 and list(found.raw_maps) == list(found.boxes)
    scores = [item.score for item in found.boxes.values()]
    assert scores == sorted(scores, reverse=True)
    # The runner decodes and suppresses by itself; the best of both is one box.
    best = Explainer(model, ExplainConfig(threshold=0.05), precision="f32")(image).predictions[0]
    first = next(iter(found.boxes.values()))
    assert first.class_index == best.class_index and first.score == pytest.approx(best.score, abs=1e-4)
    assert first.box == pytest.approx(best.box, abs=0.1)


def test_the_head_of_a_split_model_is_asked_late(tmp_path: Path) -> None:
    ov.save_model(MODELS["yolo-v8"](), tmp_path / "plain.xml")
    done = call("insert", tmp_path / "plain.xml", "-o", tmp_path / "a.xml", "--method", "gradient", "--per", "box", "--split",
                "--num-classes", 3)  # fmt: skip
    assert done.exit_code == 0, done.output
    image = np.random.default_rng(3).integers(0, 255, (32, 48, 3)).astype(np.uint8)
    found = Explainer(tmp_path / "a.xml", ExplainConfig(target="all"), precision="f32")(image)
    assert list(found.boxes) == list(found.raw_maps) and len(found.boxes) > 1
    assert found.overlay(list(found.boxes)[-1]).shape == image.shape


# The command.


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ov.save_model(box_detector(BOXES, CLASSES), "m.xml")
    Path("a.png").write_bytes(encoded(GREY))


def overlays(folder: str = "out") -> list[str]:
    return sorted(path.name for path in Path(folder, "saliency_map").glob("*overlay.png"))


def test_files_and_manifest(home: None) -> None:
    done = call("run", "m.xml", "a.png", "-o", "out", "--npy", "--json")
    assert done.exit_code == 0, done.output
    first, second, other = LABELS[1], f"{LABELS[1]}_2", LABELS[2]
    assert overlays() == sorted(f"a_class_{word}_overlay.png" for word in (first, second, other))
    entries = json.loads(Path("out/manifest.json").read_text())["files"]
    assert len(entries) == 9 and {entry["kind"] for entry in entries} == {"saliency_map", "overlay", "array"}
    told = [(entry["class_index"], entry["score"], entry["box"]) for entry in entries if f"_{second}_" in entry["path"]]
    assert told == [(1, pytest.approx(0.7, abs=1e-3), [400, 20, 600, 200])] * 3
    assert hot_row(np.load(f"out/saliency_map/a_class_{second}_saliency_map.npy")) == 2


def test_one_class(home: None) -> None:
    done = call("run", "m.xml", "a.png", "-o", "out", "--class", LABELS[1], "--json")
    assert overlays() == [f"a_class_{LABELS[1]}_2_overlay.png", f"a_class_{LABELS[1]}_overlay.png"]
    (said,) = json.loads(done.stdout)["predictions"]
    assert [(item["label"], item["box"]) for item in said["asked"]] == [
        (LABELS[1], [160, 80, 320, 240]), (LABELS[1], [400, 20, 600, 200])]  # fmt: skip


def test_a_class_called_like_a_second_box(home: None) -> None:
    Path("names.txt").write_text("red_2\nred\nblue\n")
    call("run", "m.xml", "a.png", "-o", "out", "--labels", "names.txt", "--target", "all")
    assert overlays() == sorted(f"a_class_{word}_overlay.png" for word in ("red", "red_1_2", "red_2", "blue"))


def test_a_video_of_a_class_has_every_frame(home: None) -> None:
    """Also those without a box of it."""
    video = VideoFile(Path(), "clip", 10, (48, 64))
    for _ in range(5):
        video.write(np.full((48, 64, 3), 90, np.uint8))
    video.close()
    words = ("--class", LABELS[0], "--class", LABELS[1], "--no-captions")
    assert call("run", "m.xml", "clip.mp4", "-o", "out", *words).exit_code == 0
    names = sorted(path.name for path in Path("out").glob("*.mp4"))
    assert names == sorted(f"clip_class_{LABELS[index]}_overlay.mp4" for index in (0, 1))
    for name in names:
        assert open_clip(f"out/{name}", name).size == (48, 64) and frame_count(f"out/{name}") == 5


def test_the_report_knows_whose_map_is_whose(tmp_path: Path) -> None:
    found = explain()
    files = found.save(tmp_path)
    card = json.loads(Report(tmp_path, 1).card(found, "a", files))
    assert [(item["class"], item["number"], item["score"]) for item in card["maps"]] == [(1, 1, 0.9), (2, 1, 0.8), (1, 2, 0.7)]
    assert [item["file"].rsplit("/")[-1] for item in card["maps"]] == [
        f"image_class_{word}_saliency_map.png" for word in (LABELS[1], LABELS[2], f"{LABELS[1]}_2")]  # fmt: skip
    assert [(item["class"], item.get("map")) for item in card["found"]] == [(1, 0), (2, 1), (1, 2), (0, None)]
    assert read_image(tmp_path / files[0].path).ndim in (2, 3)
