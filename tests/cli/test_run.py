"""`ovxai run` as its users meet it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op

from helpers.cli import call
from helpers.runtime_graphs import classifier, encoded, picture
from ovxai.runtime.feed.images import read_image
from ovxai.runtime.feed.sources import frame_count, open_clip
from ovxai.runtime.write.video import VideoFile


@pytest.fixture
def home(tmp_path, monkeypatch):
    """m.xml, a.png and sub/b.png in the working directory."""
    monkeypatch.chdir(tmp_path)
    ov.save_model(classifier(), "m.xml")
    Path("sub").mkdir()
    for name in ("a.png", "sub/b.png"):
        Path(name).write_bytes(encoded(picture()))
    return tmp_path


pytestmark = pytest.mark.usefixtures("home")


def run(*words, stdin=None):
    return call("run", *words, stdin=stdin)


def files(folder="out"):
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file())


def test_a_picture():
    done = run("m.xml", "a.png", "-o", "out", "--target", "all")
    assert done.exit_code == 0, done.output
    assert "1 explained" in done.stdout
    names = [
        f"saliency_map/a_class_{name}_{kind}.png" for name in ("red", "green", "blue") for kind in ("saliency_map", "overlay")
    ]
    assert files() == sorted(["manifest.json", "report.html", *names])


def test_the_low_resolution_map_alone():
    run("m.xml", "a.png", "-o", "out", "--class", "red", "--no-postprocess", "--npy")
    assert files() == [
        "manifest.json",
        "report.html",
        "saliency_map/a_class_red_saliency_map.npy",
        "saliency_map/a_class_red_saliency_map.png",
    ]
    assert read_image("out/saliency_map/a_class_red_saliency_map.png").shape == (4, 6, 3)


def test_json_alone_on_stdout():
    done = run("m.xml", "a.png", "sub", "-o", "out", "--json")
    document = json.loads(done.stdout)
    assert document["ok"] and document["explained"] == 2 and document["failed"] == []
    assert all(Path(path).exists() for path in document["files"]) and Path(document["manifest"]).exists()
    assert document["model"]["method"] == "reciprocam"


def test_quiet_says_nothing():
    done = run("m.xml", "a.png", "-o", "out", "-q")
    assert (done.exit_code, done.output) == (0, "")
    ov.save_model(classifier(prediction_format=""), "odd.xml")
    assert run("odd.xml", "a.png", "-o", "out", "-q").output == ""


def test_broken_files_among_good_ones():
    folder = Path("many")
    folder.mkdir()
    for i in range(50):
        (folder / f"{i:02}.png").write_bytes(b"broken" if i % 10 == 3 else encoded(picture()))
    done = run("m.xml", folder, "-o", "out", "--class", "red")
    assert done.exit_code == 1
    assert len([line for line in done.stderr.splitlines() if "not a picture" in line]) == 5
    assert len([name for name in files() if name.endswith("overlay.png")]) == 45
    manifest = json.loads(Path("out/manifest.json").read_text())
    assert [Path(item["source"]).name for item in manifest["failed"]] == [f"{i}3.png" for i in "01234"]
    sources = [Path(item["source"]).name for item in manifest["files"]]
    assert sources == sorted(sources)


@pytest.mark.parametrize(
    "args",
    [
        ["none.xml", "a.png"], ["m.xml", "none.png"], ["m.xml", "empty"], ["m.xml", "m.bin"], ["m.xml", "*.bmp"],
        ["m.xml", "a.png", "--class", "reed"], ["m.xml", "a.png", "--class", "9"], ["m.xml", "a.png", "--device", "TPU"],
        ["m.xml", "a.png", "--labels", "none.txt"], ["m.xml", "clip.mp4"],
    ],
)  # fmt: skip
def test_what_can_not_work_ends_in_one_line(args):
    Path("empty").mkdir()
    Path("clip.mp4").write_bytes(b"no video")
    done = run(*args, "-o", "out")
    assert done.exit_code == 1
    assert len(done.stderr.strip().splitlines()) == 1 and done.stderr.startswith("Error: ")
    assert not Path("out").exists()


@pytest.mark.parametrize(
    "args",
    [
        ["m.xml"], ["m.xml", "a.png", "--target", "some"], ["m.xml", "a.png", "--threshold", "2"],
        ["m.xml", "a.png", "--mean", "a,b"], ["m.xml", "a.png", "--limit", "0"], ["m.xml", "a.png", "--colormap", "rainbow"],
        ["m.xml", "a.png", "--input-size", "12"], ["m.xml", "a.png", "--nonsense"],
    ],
)  # fmt: skip
def test_wrong_usage_is_exit_code_two(args):
    assert run(*args, "-o", "out").exit_code == 2


def test_a_destination_that_is_a_file():
    done = run("m.xml", "a.png", "-o", "m.bin")
    assert done.exit_code == 1 and "is a file" in done.stderr


def test_sources_of_every_kind_and_equal_stems():
    Path("sub/a.jpg").write_bytes(encoded(picture(), ".jpg"))
    done = run("m.xml", "-", "a.png", "-o", "out", "--class", "red", "--format", "webp", stdin="sub/*.jpg\nsub/b.png\n")
    assert done.exit_code == 0, done.stderr
    overlays = {item["image"]: item["source"] for item in json.loads(Path("out/manifest.json").read_text())["files"]}
    assert overlays == {"a": "sub/a.jpg", "b": "sub/b.png", "a_2": "a.png"}
    assert "saliency_map/a_2_class_red_overlay.webp" in files()


def test_a_second_run_adds_and_force_overwrites():
    for args in ([], [], ["--force"]):
        assert run("m.xml", "a.png", "-o", "out", "--class", "red", *args).exit_code == 0
    assert len([name for name in files() if "overlay" in name]) == 2
    assert len(json.loads(Path("out/manifest.json").read_text())["files"]) == 4


def test_a_run_into_its_own_source_does_not_explain_what_it_has_written():
    for _ in range(2):
        document = json.loads(run("m.xml", ".", "--recursive", "-o", ".", "--grid", "2", "--json").stdout)
        assert document["ok"] and document["explained"] == 2


def test_limit():
    document = json.loads(run("m.xml", "a.png", "sub", "-o", "out", "--limit", "1", "--json").stdout)
    assert document["explained"] == 1


def test_batches_and_hint():
    ov.save_model(classifier(batch=-1), "dynamic.xml")
    for i in range(7):
        Path(f"sub/{i}.png").write_bytes(encoded(np.full((9 + i, 9, 3), 30 * i, np.uint8)))
    options = ("--target", "all", "--no-postprocess", "--precision", "f32")
    run("m.xml", "sub", "-o", "one", *options, "--hint", "latency")
    assert run("dynamic.xml", "sub", "-o", "three", *options, "--batch", "3", "--hint", "throughput").exit_code == 0
    assert files("one") == files("three")
    for name in files("one"):
        if name.endswith(".png"):
            assert Path("one", name).read_bytes() == Path("three", name).read_bytes()


def test_compiled_models_are_kept():
    assert run("m.xml", "a.png", "-o", "out", "--cache-dir", "cache").exit_code == 0
    assert list(Path("cache").iterdir())


def make_video(path: str, count: int, rate: float = 30) -> None:
    video = VideoFile(Path(), Path(path).stem, rate, (48, 64))
    for i in range(count):
        video.write(np.full((48, 64, 3), i % 250, np.uint8))
    video.close()


def test_three_hundred_frames_in_and_out():
    make_video("clip.mp4", 300)
    done = run("m.xml", "clip.mp4", "-o", "out")
    assert done.exit_code == 0 and "300 explained" in done.stdout
    assert files() == ["clip_overlay.mp4", "manifest.json"]
    assert frame_count("out/clip_overlay.mp4") == 300
    assert open_clip("out/clip_overlay.mp4", "x").rate == 30
    entry = json.loads(Path("out/manifest.json").read_text())["files"][0]
    assert (entry["kind"], entry["source"], entry["image"]) == ("video", "clip.mp4", "clip")


def test_a_video_that_browsers_play():
    """VP8 in WebM: no browser plays what the mp4 holds."""
    make_video("clip.mp4", 12, rate=24)
    done = run("m.xml", "clip.mp4", "-o", "out", "--video-format", "webm")
    assert done.exit_code == 0 and "clip.mp4: " in done.stdout and done.stderr == ""
    assert files() == ["clip_overlay.webm", "manifest.json"]
    data = Path("out/clip_overlay.webm").read_bytes()
    assert data[:4] == b"\x1a\x45\xdf\xa3" and b"webm" in data[:64] and b"V_VP8" in data
    assert frame_count("out/clip_overlay.webm") == 12 and open_clip("out/clip_overlay.webm", "x").rate == 24


@pytest.mark.parametrize("form", ["mp4", "webm"])
def test_frames_of_a_video_say_which_class_they_show(form):
    video = VideoFile(Path(), "clip", 10, (240, 320))
    for color in ((255, 0, 0), (0, 0, 255), (60, 60, 60)):
        video.write(np.full((240, 320, 3), color, np.uint8))
    video.close()
    for folder, option in (("said", "--captions"), ("bare", "--no-captions")):
        assert run("m.xml", "clip.mp4", "-o", folder, option, "--video-format", form).exit_code == 0
    said, bare = (frames(f"{folder}/clip_overlay.{form}") for folder in ("said", "bare"))
    corners = [abs(one[-14:, :90].astype(int) - other[-14:, :90]).mean() for one, other in zip(said, bare, strict=True)]
    assert len(corners) == 3 and min(corners) > 20
    assert abs(said[0][:200].astype(int) - bare[0][:200]).mean() < 2


def frames(path):
    clip, found = cv2.VideoCapture(path), []
    while (read := clip.read())[0]:
        found.append(read[1])
    return found


def test_every_second_frame_keeps_the_duration():
    make_video("clip.mp4", 20)
    run("m.xml", "clip.mp4", "a.png", "-o", "out", "--every", "2", "--class", "red", "--class", "blue")
    assert [name for name in files() if "mp4" in name] == ["clip_class_blue_overlay.mp4", "clip_class_red_overlay.mp4"]
    clip = open_clip("out/clip_class_red_overlay.mp4", "x")
    assert clip.rate == 15 and frame_count("out/clip_class_red_overlay.mp4") == 10
    assert "saliency_map/a_class_red_overlay.png" in files()


def test_interrupted_runs_leave_whole_files():
    """Ctrl-C while a video without end is explained: what is in flight is finished, and the video can be read."""
    make_video("clip.mp4", 20000)
    hears = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "  # also where tests run in the background
    start = hears + "from ovxai.cli.main import main; main()"
    command = [sys.executable, "-c", start, "run", "m.xml", "a.png", "clip.mp4", "-o", "out", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.time() + 30
    while not list(Path().glob("out/.ovxai-*/*")) and time.time() < deadline:
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=30)
    document = json.loads(stdout)
    assert process.returncode == 1 and document["interrupted"] and stderr == ""
    assert 1 < document["explained"] < 20001
    assert frame_count("out/clip_overlay.mp4") == document["explained"] - 1
    assert not [name for name in files() if os.path.basename(name).startswith(".")]
    assert json.loads(Path("out/manifest.json").read_text())["files"]


def test_a_picture_without_a_prediction_is_counted():
    info = {"multilabel": "True", "confidence_threshold": "1"}
    ov.save_model(classifier(model_info=info, activation="sigmoid"), "multi.xml")
    done = run("multi.xml", "a.png", "-o", "out")
    assert done.exit_code == 0 and "1 without a prediction" in done.stdout
    assert files() == ["manifest.json", "report.html"]


def test_notes_go_to_stderr():
    ov.save_model(classifier(prediction_format=""), "odd.xml")
    done = run("odd.xml", "a.png", "-o", "out")
    assert "note: predictions can't be read" in done.stderr and "note" not in done.stdout
    assert "saliency_map/a_map_per_image_overlay.png" in files()


def test_files_for_a_model_that_takes_other_channels(home):
    image = op.parameter([1, 13, 16, 24], np.float32)
    logits, maps = op.reduce_mean(image, np.array([2, 3]), False), op.relu(image)
    maps.output(0).set_names({"saliency_map"})
    ov.save_model(ov.Model([op.result(logits), op.result(maps)], [image], "many"), "many.xml")
    done = run("many.xml", "a.png", "sub/b.png", "-o", "out")
    assert done.exit_code == 1 and not Path("out").exists()
    assert done.stderr.strip().splitlines()[-1].startswith("Error: many: the model takes pictures of 13 channels")


def _short_clip():
    video = VideoFile(Path(), "clip", 10, (48, 64))
    for shade in (40, 90, 200):
        video.write(np.full((48, 64, 3), (shade, 0, 0), np.uint8))
    return str(video.close())


def test_classes_that_look_alike_in_file_names_have_a_video_each():
    ov.save_model(classifier(model_info={"labels": "a+b a_b c"}), "alike.xml")
    done = run("alike.xml", _short_clip(), "-o", "out", "--class", "0", "--class", "1")
    assert done.exit_code == 0, done.output
    made = [path for path in Path("out").iterdir() if path.suffix == ".mp4"]
    assert len(made) == 2 and [frame_count(str(path)) for path in made] == [3, 3]


def test_frames_without_a_map_of_the_class_are_in_its_video():
    """Of a model that maps its best class alone, the others come bare."""
    ov.save_model(classifier(channels=(0,)), "first.xml")
    model = ov.Core().read_model("first.xml")
    index = op.constant(np.array([[0]], np.int64))
    index.output(0).set_names({"saliency_index"})
    model.add_results([op.result(index)])
    ov.save_model(model, "top.xml")
    done = run("top.xml", _short_clip(), "-o", "out", "--class", "green")
    assert done.exit_code == 0, done.output
    assert [frame_count(str(path)) for path in Path("out").glob("*.mp4")] == [3]
