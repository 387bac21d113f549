"""Names of classes: whose, how many, and in which order."""

import pytest

from helpers.runtime_graphs import HIERARCHY
from ovxai.errors import OptionError
from ovxai.metadata import ModelInfo
from ovxai.runtime.predict.labels import class_names, find_class, fit_names, read_labels

CLS, DET, SEG = "classification", "detection", "instance-segmentation"


@pytest.mark.parametrize(
    ("names", "count", "task", "wanted"),
    [
        (("a", "b"), 2, CLS, ("a", "b")),
        (("a", "b"), None, CLS, ("a", "b")),
        (("a", "b"), 3, CLS, ("background", "a", "b")),
        (("a", "b"), 3, DET, ("a", "b", "background")),
        (("a", "b"), 3, SEG, ("background", "a", "b")),
        (("otx_empty_lbl", "a", "b"), 2, SEG, ("a", "b")),
        (("otx_empty_lbl", "a", "b"), 3, SEG, ("a", "b", "background")),
        (("otx_empty_lbl", "a", "b"), 2, DET, ("a", "b")),
        (("a", "b"), 5, CLS, None),
        (("a", "b", "c"), 2, CLS, None),
    ],
)
def test_habits(names, count, task, wanted):
    assert fit_names(names, count, task) == wanted


def test_given_names_must_fit():
    with pytest.raises(OptionError, match="2 names for a model with 9 classes"):
        class_names(("a", "b"), None, 9, CLS, ModelInfo())


def test_stored_names_that_do_not_fit_leave_indices_and_a_note():
    names, notes = class_names(None, ("a", "b"), 9, CLS, ModelInfo())
    assert names == ("",) * 9 and "2 labels for 9 classes" in notes[0]


def test_a_hierarchy_is_ordered_by_its_logits():
    info = ModelInfo(labels=("wet", "dog", "cat", "thing", "animal"), hierarchical=True, hierarchy=HIERARCHY)
    names, _ = class_names(None, info.labels, 5, CLS, info)
    assert names == ("animal", "thing", "cat", "dog", "wet")


def test_labels_from_a_file(tmp_path):
    path = tmp_path / "labels.txt"
    path.write_text("кот\n\n great white shark \n", encoding="utf-8")
    assert read_labels(path) == ("кот", "great white shark")
    path.write_text("\n")
    with pytest.raises(OptionError, match="empty"):
        read_labels(path)
    with pytest.raises(OptionError, match="can't be read"):
        read_labels(tmp_path / "none.txt")


@pytest.mark.parametrize(
    ("wanted", "index"), [("dog", 1), ("DOG", 1), ("big cat", 2), ("big_cat", 2), ("1", 1), (2, 2), ("7", 0)]
)
def test_a_class_by_name_or_index(wanted, index):
    assert find_class(wanted, ("7", "dog", "Big_Cat"), 3) == index


def test_a_class_that_is_not_there():
    with pytest.raises(OptionError, match="did you mean dog"):
        find_class("dgo", ("cat", "dog"), 2)
    with pytest.raises(OptionError, match=r"outside 0\.\.1"):
        find_class("2", ("cat", "dog"), 2)
    with pytest.raises(OptionError, match=r"outside 0\.\.1"):
        find_class(-1, ("cat", "dog"), 2)
