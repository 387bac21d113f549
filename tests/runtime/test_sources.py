"""What the user names -> pictures."""

import io

import cv2
import numpy as np
import pytest

from helpers.runtime_graphs import encoded, picture
from ovxai.errors import SourceError
from ovxai.runtime.feed.sources import (  # fmt: skip
    Broken,
    Frame,
    Source,
    count_pictures,
    find_sources,
    frame_count,
    open_clip,
    pictures,
)
from ovxai.runtime.write.video import VideoFile


@pytest.fixture
def folder(tmp_path):
    """a.png, b.JPG, notes.txt, .hidden.png, inner/c.png, clip.mp4 of 10 frames."""
    (tmp_path / "inner").mkdir()
    for name in ("a.png", ".hidden.png", "inner/c.png"):
        (tmp_path / name).write_bytes(encoded(picture()))
    (tmp_path / "b.JPG").write_bytes(encoded(picture(), ".jpg"))
    (tmp_path / "notes.txt").write_text("no picture")
    make_video(tmp_path / "clip.mp4", 10)
    return tmp_path


def make_video(path, count, size=(48, 64)):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, size[::-1])
    for i in range(count):
        writer.write(np.full((*size, 3), i * 20, np.uint8))
    writer.release()


def names(found: list[Source | Broken]) -> list[str | Broken]:
    return [item.name.rsplit("/", 1)[-1] if isinstance(item, Source) else item for item in found]


def a_source(item: Source | Broken) -> Source:
    assert isinstance(item, Source), item
    return item


def broken(item: Source | Frame | Broken) -> str:
    """Why."""
    assert isinstance(item, Broken), item
    return item.reason


def a_frame(item: Frame | Broken) -> Frame:
    assert isinstance(item, Frame), item
    return item


def test_a_folder_by_name(folder):
    assert names(find_sources([str(folder)])) == ["a.png", "b.JPG", "clip.mp4"]
    assert names(find_sources([str(folder)], recursive=True)) == ["a.png", "b.JPG", "clip.mp4", "c.png"]


def test_globs(folder):
    assert names(find_sources([f"{folder}/*.png"])) == ["a.png"]
    assert names(find_sources([f"{folder}/**/*.png"])) == ["a.png", "c.png"]
    assert "nothing matches" in broken(find_sources([f"{folder}/*.bmp"])[0])


def test_a_file_whose_name_looks_like_a_glob(folder):
    (folder / "a[1].png").write_bytes(encoded(picture()))
    assert names(find_sources([f"{folder}/a[1].png"])) == ["a[1].png"]


def test_a_file_of_any_suffix_is_tried(folder):
    assert a_source(find_sources([str(folder / "notes.txt")])[0]).kind == "image"


@pytest.mark.parametrize("name", ["0", "rtsp://host/stream", "http://host/video.mp4?a=b"])
def test_cameras_and_streams(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_sources([name]) == [Source("video", name)]


def test_a_file_called_like_a_camera(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "0").write_bytes(encoded(picture()))
    assert a_source(find_sources(["0"])[0]).kind == "image"


def test_names_from_standard_input(folder):
    stdin = io.StringIO(f"{folder}/a.png\n\n{folder}/inner\r\nnone.png\n-\n")
    found = find_sources(["-"], stdin=stdin)
    assert names(found)[:2] == ["a.png", "c.png"]
    assert isinstance(found[2], Broken) and len(found) == 3


@pytest.mark.parametrize(("name", "says"), [("none.png", "no such file"), ("inner", "no pictures")])
def test_what_is_not_there(tmp_path, monkeypatch, name, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "inner").mkdir()
    assert says in broken(find_sources([name])[0])


def test_a_video_frame_by_frame(folder):
    items = [a_frame(item) for item in pictures(find_sources([str(folder / "clip.mp4")]))]
    assert [item.stem for item in items][:2] == ["clip_000000", "clip_000001"]
    assert len(items) == 10 and items[0].clip is items[9].clip
    assert items[9].load(3).mean() == pytest.approx(180, abs=6)


def test_every_and_limit(folder):
    sources = find_sources([str(folder)])
    assert len(list(pictures(sources, every=3))) == 2 + 4
    assert len(list(pictures(sources, limit=5))) == 5
    assert count_pictures(sources, limit=None, every=3) == 6
    assert count_pictures(sources, limit=4, every=1) == 4
    assert count_pictures([Source("video", "rtsp://x")], limit=None, every=1) is None
    clip = a_frame(next(pictures(find_sources([str(folder / "clip.mp4")]), every=5))).clip
    assert clip is not None and clip.rate == 2


def test_broken_things_stand_in_their_place(folder):
    (folder / "bad.mp4").write_bytes(b"no video")
    items = list(pictures(find_sources([str(folder / "a.png"), str(folder / "bad.mp4"), str(folder / "b.JPG")])))
    assert [type(item) for item in items] == [Frame, Broken, Frame]
    assert "can't be opened" in broken(items[1])


def test_stop_ends_a_stream(folder):
    taken: list[Frame | Broken] = []
    for item in pictures(find_sources([str(folder / "clip.mp4")]), stop=lambda: len(taken) == 3):
        taken.append(item)
    assert len(taken) == 3


def test_a_video_appears_when_it_is_whole(tmp_path):
    video = VideoFile(tmp_path, "out", 25, (48, 64))
    for _ in range(5):
        video.write(picture(48, 64))
    video.write(picture(10, 10))
    assert not (tmp_path / "out.mp4").exists()
    assert video.close() == tmp_path / "out.mp4"
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]
    assert frame_count(str(tmp_path / "out.mp4")) == 6
    assert open_clip(str(tmp_path / "out.mp4"), "out").rate == 25


def test_a_link_that_leads_nowhere_is_reported(folder):
    (folder / "gone.png").symlink_to(folder / "nowhere.png")
    (folder / "link.png").symlink_to(folder / "a.png")
    (folder / "folder.png").mkdir()
    found = find_sources([str(folder)])
    assert names(found) == ["a.png", "b.JPG", "clip.mp4", "gone.png", "link.png"]
    with pytest.raises(SourceError, match=r"gone\.png: no such file"):
        a_frame(next(pictures([found[3]]))).load(3)


def test_what_earlier_runs_have_written_is_no_source(folder):
    (folder / "inner" / "saliency_map").mkdir()
    (folder / "inner" / "saliency_map" / "c_class_0_overlay.png").write_bytes(encoded(picture()))
    found = find_sources([str(folder)], recursive=True, own=[folder / "inner" / "saliency_map"])
    assert names(found) == ["a.png", "b.JPG", "clip.mp4", "c.png"]
    named = str(folder / "inner" / "saliency_map" / "c_class_0_overlay.png")
    assert find_sources([named], own=[folder / "inner" / "saliency_map"]) == [Source("image", named)]  # who names it, means it
