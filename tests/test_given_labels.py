"""Class names that somebody gives: from lists and files, and how many of them fit."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from ovxai.errors import OptionError
from ovxai.labels import fit_names, fitted_names, given_labels

CLS, DET, SEG = "classification", "detection", "instance-segmentation"


@pytest.mark.parametrize(
    ("names", "count", "task", "wanted"),
    [
        (("a", "b"), 2, CLS, ("a", "b")),
        (("a", "b"), None, CLS, ("a", "b")),
        (("a", "b"), 3, CLS, None),
        (("a",) * 1000, 1001, CLS, ("background",) + ("a",) * 1000),
        (("a", "b"), 3, DET, ("a", "b", "background")),
        (("a", "b"), 3, SEG, ("background", "a", "b")),
        (("otx_empty_lbl", "a", "b"), 2, SEG, ("a", "b")),
        (("otx_empty_lbl", "a", "b"), 3, SEG, ("a", "b", "background")),
        (("otx_empty_lbl", "a", "b"), 2, DET, ("a", "b")),
        (("a", "b"), 5, CLS, None),
        (("a", "b", "c"), 2, CLS, None),
    ],
)
def test_habits(names: tuple[str, ...], count: int | None, task: str, wanted: tuple[str, ...] | None) -> None:
    assert fit_names(names, count, task) == wanted


def test_names_that_fit_no_habit_are_refused_with_both_numbers() -> None:
    with pytest.raises(OptionError, match="labels: 2 names for a model with 5 classes; give one per class"):
        fitted_names(("a", "b"), 5, CLS)


def test_an_offset_says_where_the_names_begin() -> None:
    assert fit_names(("a", "b"), 3, CLS, 1) == ("background", "a", "b")
    assert fit_names(("a", "b"), 3, DET, 1) == ("background", "a", "b")
    assert fit_names(("a", "b"), 3, DET, 0) is None and fit_names(("a", "b"), 2, CLS, 0) == ("a", "b")
    with pytest.raises(OptionError, match="2 names for a model with 3 classes: one is missing; or give labels_offset=1"):
        fitted_names(("a", "b"), 3, CLS)
    with pytest.raises(OptionError, match="do not fit behind 2"):
        fitted_names(("a", "b"), 3, CLS, 2)


def test_a_path_is_a_file_and_a_sequence_is_the_names(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_text("кот\n\n great white shark \n", encoding="utf-8")
    assert given_labels(path) == given_labels(str(path)) == ("кот", "great white shark")
    assert given_labels(["cat", "dog"]) == ("cat", "dog")
    assert given_labels(None) is None


def test_files_that_hold_no_names(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_text("\n")
    with pytest.raises(OptionError, match=r"labels\.txt is empty"):
        given_labels(path)
    path.write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(OptionError, match="can't be read"):
        given_labels(path)
    with pytest.raises(OptionError, match=r"none\.txt can't be read: No such file"):
        given_labels(str(tmp_path / "none.txt"))


@pytest.mark.parametrize(("labels", "words"), [([], "an empty list"), ([1, 2], "1 is no text")])
def test_lists_that_hold_no_names(labels: Iterable[str], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        given_labels(labels)
