"""Which names a model's classes have, and which class is meant."""

import pytest

from helpers.runtime_graphs import HIERARCHY
from ovxai.errors import OptionError
from ovxai.metadata import ModelInfo
from ovxai.runtime.predict.labels import Hierarchy, class_names, find_class

CLS = "classification"


def test_given_names_must_fit():
    with pytest.raises(OptionError, match="2 names for a model with 9 classes"):
        class_names(("a", "b"), None, 9, CLS)


def test_stored_names_that_do_not_fit_leave_indices_and_a_note():
    names, notes = class_names(None, ("a", "b"), 9, CLS)
    assert names == ("",) * 9 and "2 labels for 9 classes" in notes[0]


def test_a_hierarchy_is_ordered_by_its_logits():
    info = ModelInfo(labels=("wet", "dog", "cat", "thing", "animal"), hierarchical=True, hierarchy=HIERARCHY)
    names, _ = class_names(None, info.labels, 5, CLS, Hierarchy.read(info))
    assert names == ("animal", "thing", "cat", "dog", "wet")


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
