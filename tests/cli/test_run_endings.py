"""`ovxai run` when something goes wrong: what was there stays, what was done is listed, what failed is said."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import openvino as ov
import pytest

from helpers.cli import call
from helpers.runtime_graphs import classifier, encoded, picture
from ovxai.runtime.feed.sources import frame_count
from ovxai.runtime.write.video import VideoFile

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
#: As a terminal starts it: what runs the tests in the background may have told its children to ignore Ctrl-C.
HEARS = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
START = [sys.executable, "-c", HEARS + "from ovxai.cli.main import main; main()"]


@pytest.fixture
def home(tmp_path, monkeypatch):
    """m.xml and a.png in the working directory."""
    monkeypatch.chdir(tmp_path)
    ov.save_model(classifier(), "m.xml")
    Path("a.png").write_bytes(encoded(picture()))
    return tmp_path


pytestmark = pytest.mark.usefixtures("home")


def run(*words):
    return call("run", "m.xml", *words, "-o", "out")


def document(name="out/manifest.json"):
    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    return json.loads(Path(name).read_text(encoding="utf-8"), parse_constant=refuse)


def files(folder="out"):
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file())


def fails_alone(done, words):
    """One failure, said in one line and listed, beside a.png, which was explained."""
    assert done.exit_code == 1 and "1 explained" in done.stdout, done.output
    assert [line for line in done.stderr.splitlines() if line.startswith("Error")] == [done.stderr.strip()]
    assert words in done.stderr and "Traceback" not in done.output
    assert "saliency_map/a_class_red_overlay.png" in files()
    assert [item["error"] for item in document()["failed"]] != [] and Path("out/report.html").exists()


# One source never ends the run.


def test_a_name_that_is_no_utf8():
    name = os.fsdecode(b"caf\xe9.png")
    Path(name).write_bytes(encoded(picture()))
    broken = os.fsdecode(b"bad\xe9.png")
    Path(broken).write_bytes(b"x")
    done = run(name, broken, "a.png", "--class", "red")
    assert done.exit_code == 1 and "2 explained" in done.stdout and "bad\\xe9.png" in done.stderr
    assert "saliency_map/caf__class_red_overlay.png" in files()
    assert {item["source"] for item in document()["files"]} == {name, "a.png"}
    done = run(name, broken, "--json")
    assert json.loads(done.stdout)["failed"][0]["source"] == broken


def test_a_picture_too_large_for_its_format():
    cv2.imwrite("wide.png", np.zeros((2, 17000, 3), np.uint8))
    done = run("wide.png", "a.png", "--class", "red", "--format", "webp")
    assert done.exit_code == 1 and "1 explained" in done.stdout and "--format png" in done.stderr
    assert [name for name in files() if "wide" in name] == [] and "saliency_map/a_class_red_overlay.webp" in files()


@pytest.mark.parametrize("options", [[], ["--recursive"]])
def test_a_folder_that_can_not_be_read(monkeypatch, options):
    """As root everything can be read: the system's answer is made up."""
    Path("closed").mkdir()
    real = os.scandir

    def scandir(place=".", *more):
        if os.path.basename(place) == "closed":
            raise PermissionError(13, "Permission denied", place)
        return real(place, *more)

    monkeypatch.setattr(os, "scandir", scandir)
    fails_alone(run("closed", "a.png", "--class", "red", *options), "closed")


def test_a_folder_below_that_can_not_be_read(monkeypatch):
    Path("data/closed").mkdir(parents=True)
    Path("data/a.png").write_bytes(Path("a.png").read_bytes())
    real = os.scandir

    def scandir(place=".", *more):
        if os.path.basename(place) == "closed":
            raise PermissionError(13, "Permission denied", place)
        return real(place, *more)

    monkeypatch.setattr(os, "scandir", scandir)
    fails_alone(run("data", "--recursive", "--class", "red"), "data/closed: this folder can't be read: Permission denied")


def test_a_name_that_the_system_does_not_take():
    fails_alone(run("x" * 300 + ".png", "a.png", "--class", "red"), "xxx")


def test_no_room_for_temporary_files(monkeypatch):
    """Neither cards nor records fit into memory, and there is nowhere else."""
    monkeypatch.setattr("ovxai.runtime.write.spool._IN_MEMORY", 100)

    def refuse(*_args, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    for name in "bcd":
        Path(f"{name}.png").write_bytes(encoded(picture()))
    done = run(".", "--class", "red")
    assert done.exit_code == 0, done.output
    assert len(document()["files"]) == 8 and Path("out/report.html").read_text().count('"name":') == 4


def test_one_of_a_batch(monkeypatch):
    """The device refuses an inference: the others of the same batch are explained."""
    ov.save_model(classifier(batch=-1), "m.xml")
    for name in "bcd":
        Path(f"{name}.png").write_bytes(encoded(picture()))
    from ovxai.runtime.feed.engine import Engine

    begin = Engine.start

    def refuse(self, pictures):
        if any("c.png" in item.source for item in pictures):
            raise RuntimeError("no")
        return begin(self, pictures)

    monkeypatch.setattr(Engine, "start", refuse)
    done = run(".", "--class", "red", "--batch", "4")
    assert done.exit_code == 1 and "3 explained" in done.stdout and "c.png" in done.stderr


def test_what_nobody_foresaw_at_one_picture(monkeypatch):
    from ovxai.runtime.explanation import Explanation

    Path("b.png").write_bytes(encoded(picture()))
    real = Explanation.heat_map

    def heat_map(self, key):
        if self.source == "b.png":
            raise ZeroDivisionError("division by zero")
        return real(self, key)

    monkeypatch.setattr(Explanation, "heat_map", heat_map)
    fails_alone(run("b.png", "a.png", "--class", "red"), "b.png: unexpected ZeroDivisionError: division by zero")


def test_a_picture_of_too_many_pixels():
    data = bytearray(encoded(picture()))
    data[16:24] = (32000).to_bytes(4, "big") * 2
    Path("bomb.png").write_bytes(data)
    fails_alone(run("bomb.png", "a.png", "--class", "red"), "bomb.png: a picture of 1,024,000,000 pixels is over the limit")
    done = run("a.png", "--class", "red", "--max-pixels", "10")
    assert done.exit_code == 1 and "over the limit of 10" in done.stderr
    assert run("a.png", "--max-pixels", "0").exit_code == 0


# Videos.


def make_video(path: str, count: int, codec: str = "mp4v", side: int = 48) -> None:
    writer = cv2.VideoWriter(path, cv2.VideoWriter.fourcc(*codec), 30, (side, side))
    random = np.random.default_rng(0)
    for _ in range(count):
        writer.write(random.integers(0, 255, (side, side, 3), np.uint8))
    writer.release()


def test_a_cut_avi_is_a_failure():
    make_video("cut.avi", 20, "MJPG")
    data = Path("cut.avi").read_bytes()
    Path("cut.avi").write_bytes(data[: len(data) // 2])
    done = run("cut.avi", "a.png", "--class", "red")
    assert done.exit_code == 1 and "of 20 frames could be read" in done.stderr
    assert document()["failed"][0]["source"] == "cut.avi"


def test_whole_videos_are_no_failures():
    for name, codec in (("a.avi", "MJPG"), ("b.mp4", "mp4v"), ("c.mkv", "mp4v"), ("d.webm", "VP80")):
        make_video(name, 20, codec)
    done = run("a.avi", "b.mp4", "c.mkv", "d.webm", "--every", "3")
    assert done.exit_code == 0, done.stderr


def test_a_cut_gif_is_a_failure():
    gif = b"GIF89a" + bytes([2, 0, 2, 0, 0x80, 0, 0]) + bytes([0, 0, 0, 255, 255, 255])
    image = b"," + bytes([0, 0, 0, 0, 2, 0, 2, 0, 0]) + b"\x02\x03\x84\x51\x05\x00"
    for name, data in (
        ("whole.gif", gif + image + image + b";"),
        ("no_end.gif", gif + image),
        ("cut.gif", gif + image + image[:-2]),
    ):
        Path(name).write_bytes(data)
    done = run("cut.gif", "whole.gif", "no_end.gif", "--class", "red")
    assert done.exit_code == 1 and "cut.gif: the file is cut off" in done.stderr and "2 explained" in done.stdout


def test_a_video_that_the_disk_refuses_is_not_there():
    """In a process of its own: its files may not grow."""
    make_video("clip.mp4", 30, side=256)
    limit = 60_000

    def small():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    words = [*START, "run", "m.xml", "clip.mp4", "a.png", "-o", "out", "--class", "red", "--no-report"]
    done = subprocess.run(words, preexec_fn=small, capture_output=True, text=True, env=ENVIRONMENT, check=False)
    assert done.returncode == 1 and "File too large" in done.stderr and "Traceback" not in done.stderr, done.stderr
    assert [name for name in files() if name.endswith((".mp4", ".avi"))] == []
    assert "clip.mp4" in document()["failed"][0]["source"] and "saliency_map/a_class_red_overlay.png" in files()


def test_a_video_is_compared_with_what_was_written(tmp_path, monkeypatch):
    video = VideoFile(tmp_path, "v", 25, (48, 64))
    for _ in range(5):
        video.write(picture(48, 64))
    video._frames = 6
    with pytest.raises(Exception, match="only 5 of 6 frames"):
        video.close()
    assert not list(tmp_path.glob("v*")) and not list(tmp_path.glob(".ovxai*"))


# Every ending.


def start(*words):
    """`ovxai run` in a process of its own."""
    command = [*START, "run", "m.xml", *words]
    return subprocess.Popen(command, text=True, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def until(condition):
    deadline = time.time() + 60
    while not condition() and time.time() < deadline:
        time.sleep(0.02)
    assert condition()


@pytest.mark.parametrize("which", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_it_with_everything_listed(which):
    make_video("clip.mp4", 3000, side=16)
    process = start("a.png", "clip.mp4", "-o", "out", "--json")
    until(lambda: list(Path().glob("out/.ovxai-*/*")))
    process.send_signal(which)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 1 and json.loads(stdout)["interrupted"] and stderr == ""
    assert frame_count("out/clip_overlay.mp4") == json.loads(stdout)["explained"] - 1
    assert {item["path"] for item in document()["files"]} | {"manifest.json", "report.html"} == set(files())


def test_drafts_of_a_killed_run_are_gone_after_the_next():
    make_video("clip.mp4", 3000, side=16)
    process = start("a.png", "clip.mp4", "-o", "out")
    until(lambda: list(Path().glob("out/.ovxai-*/*")))
    process.kill()
    process.communicate(timeout=60)
    assert any("/.ovxai" in f"/{name}" for name in files())
    assert run("a.png").exit_code == 0
    assert not [name for name in files() if ".ovxai" in name]


def test_an_error_in_the_middle_of_a_run(monkeypatch):
    """What no rule foresaw, in the run itself."""
    from ovxai.runtime.run import Run

    real = Run._count

    def count(self, result, videos, done):
        if result.explained == 1:
            raise ZeroDivisionError
        real(self, result, videos, done)

    monkeypatch.setattr(Run, "_count", count)
    Path("b.png").write_bytes(encoded(picture()))
    assert run("a.png", "b.png", "--class", "red").exit_code == 1
    assert {item["path"] for item in document()["files"]} | {"manifest.json", "report.html"} == set(files())


# What was there.


@pytest.mark.parametrize("content", ['{"mine": 1}', "{", "[1]", ""])
def test_a_manifest_of_somebody_else_stays(content):
    Path("out/grid").mkdir(parents=True)
    Path("out/manifest.json").write_text(content)
    Path("out/grid/a_grid.png").write_text("mine")
    for _ in range(2):
        done = run("a.png", "--grid", "2", "--class", "red")
        assert done.exit_code == 0 and "manifest_2.json" in done.stderr, done.output
    assert Path("out/manifest.json").read_text() == content and Path("out/grid/a_grid.png").read_text() == "mine"
    listed = [item["path"] for item in document("out/manifest_2.json")["files"]]
    assert [name for name in listed if "grid" in name] == ["grid/a_2_grid.png", "grid/a_3_grid.png"]


def test_a_second_run_says_where_its_report_is():
    run("a.png")
    before = Path("out/report.html").read_bytes()
    done = run("a.png")
    assert "report_2.html" in done.stderr and "report_2.html" in done.stdout
    assert Path("out/report.html").read_bytes() == before
    assert document()["reports"] == ["report.html", "report_2.html"]


@pytest.mark.parametrize("name", ["saliency_map", "grid"])
def test_a_link_in_place_of_an_own_folder(name):
    Path("elsewhere").mkdir()
    Path("out").mkdir()
    Path("out", name).symlink_to(Path("elsewhere").resolve())
    done = run("a.png", "--grid", "2")
    assert done.exit_code == 1 and "is a link" in done.stderr and not list(Path("elsewhere").iterdir())


def test_two_runs_into_one_folder_lose_nothing():
    for i in range(30):
        Path(f"{i:02}.png").write_bytes(encoded(picture()))
    names = [f"{i:02}.png" for i in range(30)]
    both = [start(*names, "-o", "out", "--class", "red", "--grid", "1") for _ in range(2)]
    for process in both:
        _, stderr = process.communicate(timeout=120)
        assert process.returncode == 0, stderr
    for folder, word in (("saliency_map", "overlay"), ("saliency_map", "saliency_map"), ("grid", "grid")):
        assert len(list(Path("out", folder).glob(f"*_{word}.png"))) == 60
    listed = {item["path"] for item in document()["files"]} | set(document()["reports"]) | {"manifest.json"}
    assert listed == set(files())
    assert len({item["image"] for item in document()["files"]}) == 60


# What is said.


def test_passwords_reach_no_file(monkeypatch):
    make_video("clip.mp4", 3)
    address = "rtsp://me:hunter2@127.0.0.1:1/cam?token=hunter2"
    real = cv2.VideoCapture
    monkeypatch.setattr(cv2, "VideoCapture", lambda name, *more: real("clip.mp4" if name == address else name, *more))
    monkeypatch.setattr(sys, "argv", ["ovxai", "run", "m.xml", address, "-o", "out"])
    done = run(address, "a.png", address.replace("127.0.0.1", "127.0.0.2"), "--debug")
    assert done.exit_code == 1 and "4 explained" in done.stdout
    assert not [name for name in files() if "hunter2" in name or "me" in name.split("/")[-1].split("_")[0]]
    for name in files():
        assert b"hunter2" not in Path("out", name).read_bytes(), name
    assert "hunter2" not in done.output and "***" in done.output
    assert "rtsp://me:***@127.0.0.1:1/cam?token=***" in {item["source"] for item in document()["files"]}


def test_control_characters_reach_no_terminal():
    Path("a\x1b[31m\x07.png").write_bytes(b"x")
    Path("b\x9b31m.png").write_bytes(encoded(picture()))
    for more in ([], ["--json"]):
        done = run(".", *more)
        assert not set("\x1b\x07\x9b") & set(done.output)
    assert "a\\x1b[31m\\x07.png" in done.stderr


def test_scores_that_are_no_numbers():
    """A model that overflows."""
    ov.save_model(classifier(model_info={"scale_values": "1e-40"}), "m.xml")
    done = run("a.png", "--class", "red", "--json")
    assert done.exit_code == 0, done.output
    assert document()["files"][0]["score"] is None and "NaN" not in Path("out/manifest.json").read_text()
    json.loads(done.stdout)
