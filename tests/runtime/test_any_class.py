"""What people try first in Python: any class by name, a dict of settings, something to look at, names that lead on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import ovxai
from helpers import classifiers, detectors
from helpers.runtime_graphs import classifier, picture
from ovxai import ExplainConfig, Explainer


@pytest.fixture(scope="module")
def explanation() -> ovxai.Explanation:
    return Explainer(classifier(), ExplainConfig(classes="red"))(picture())


def test_a_map_of_any_class_by_name_and_index(explanation):
    every = Explainer(classifier(), ExplainConfig(target="all"))(picture())
    assert list(explanation.maps) == [0]
    for name, index in (("red", 0), ("Green", 1), ("blue", 2)):
        assert np.array_equal(explanation.map(name), every.maps[index])
        assert np.array_equal(explanation.map(index), every.maps[index])
        assert np.array_equal(explanation.overlay(name), every.overlay(index))
    assert explanation.title(2).startswith("blue") and list(explanation.maps) == [0]


def test_with_postprocessing_a_map_has_the_pictures_size():
    explanation = Explainer(classifier(), ExplainConfig(postprocess=True))(picture(30, 50))
    assert explanation.map("blue").shape == (30, 50, 3)


def test_of_a_detector_too():
    explanation = Explainer(ovxai.insert(detectors.anchored(), probe=False))(picture())
    assert explanation.map(1).ndim == 2


@pytest.mark.parametrize("ask", ["map", "overlay"])
def test_a_class_that_there_is_not(explanation, ask):
    with pytest.raises(KeyError) as caught:
        getattr(explanation, ask)("gren")
    assert isinstance(caught.value, ovxai.UnknownClassError)
    assert str(caught.value) == "class: there is no 'gren' among the model's 3 classes; did you mean green, red?"
    with pytest.raises(KeyError, match=r"3 is outside 0\.\.2"):
        getattr(explanation, ask)(3)


def test_a_class_without_a_map_and_the_whole_picture(explanation):
    model = ovxai.insert(classifiers.cnn(), classes="0,2", feature_map=False, probe=False)
    some = Explainer(model)(picture())
    with pytest.raises(KeyError, match="no map for 1: not among the classes that the model maps here"):
        some.map(1)
    with pytest.raises(KeyError, match="whole picture; ask for it with target image"):
        some.map("image")
    assert Explainer(classifier(), ExplainConfig(target="image"))(picture()).map("image").max() == 255


def test_settings_as_a_dict():
    as_dict = Explainer(classifier(), {"target": "all", "postprocess": True})
    assert as_dict.config == ExplainConfig(target="all", postprocess=True)
    assert ExplainConfig.of({"predicted_maps_conf_thr": 0.5}).threshold == 0.5
    with pytest.raises(ovxai.UsageError, match="there is no 'tresh'; did you mean 'threshold'"):
        Explainer(classifier(), {"tresh": 1})


def test_what_stands_in_a_console(explanation):
    explainer = Explainer(classifier(), ExplainConfig(target="all"))
    assert repr(explainer).startswith("Explainer(") and "3 classes, CPU, target all" in repr(explainer)
    assert repr(explanation) == f"Explanation(array: 1 map: {explanation.title(0)})"


def test_show_leaves_a_picture_to_look_at(explanation, monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    path = explanation.show()
    assert path.read_bytes() == explanation._repr_png_() and path.suffix == ".png"
    path.unlink()


def test_names_of_the_package_are_listed_and_all_there():
    assert dir(ovxai) == sorted(ovxai.__all__) and {"split", "insert", "Explainer"} <= set(dir(ovxai))
    assert all(getattr(ovxai, name) is not None for name in dir(ovxai))


def test_python_dash_m():
    root = Path(ovxai.__file__).parents[1]
    done = subprocess.run([sys.executable, "-m", "ovxai", "--help"], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout.startswith("Usage: ovxai [OPTIONS] COMMAND")
