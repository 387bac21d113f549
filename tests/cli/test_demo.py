"""`ovxai demo`: the whole way on what ships with the package."""

import json
from pathlib import Path

import numpy as np
import pytest

from helpers.cli import call
from ovxai.errors import SourceError
from ovxai.runtime.feed.images import read_image


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    done = [call("demo", "-o", folder, "--json") for _ in range(2)]
    assert [item.exit_code for item in done] == [0, 0], done[1].output
    return json.loads(done[1].stdout)


def test_it_says_what_the_pictures_show(demo):
    assert demo["predictions"]["chelsea.png"]["label"] == "Egyptian_cat"
    assert demo["predictions"]["coffee.png"]["label"] == "espresso"


def test_its_pictures_are_on_disk_once(demo):
    assert all(Path(path).is_file() for path in demo["pictures"])
    assert Path(demo["model"]).is_file()
    folder = Path(demo["model"]).parent
    assert len(list(folder.rglob("*_overlay.png"))) == len([path for path in demo["pictures"] if "overlay" in path])


def test_the_overlay_is_hot_on_the_cat(demo):
    path = next(path for path in demo["pictures"] if "chelsea_class_Egyptian_cat_overlay" in path)
    heat = read_image(path.replace("_overlay", "_saliency_map")).astype(int)
    red = np.clip(heat[:, :, 0] - heat[:, :, 2], 0, None)
    rows, columns = np.nonzero(red > 200)
    assert 100 < columns.mean() < 350 and 80 < rows.mean() < 280  # the face


def test_it_prints_paths_for_people(tmp_path):
    done = call("demo", "-o", tmp_path / "d")
    assert done.exit_code == 0 and "chelsea_class_Egyptian_cat_overlay.png" in done.stdout


def test_without_fixtures_it_says_so(monkeypatch):
    import ovxai.demo

    monkeypatch.setattr(ovxai.demo, "MODEL", "none.xml")
    with pytest.raises(SourceError, match="install ovxai again"):
        ovxai.demo.fixtures()
