"""Annotations for `ovxai run`: which were given, which lie with the pictures, and what is said about them at the end."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ovxai.cli.common import Document, Say, note

if TYPE_CHECKING:
    from ovxai.annotations import AnnotationSet
    from ovxai.evaluation.truth import GroundTruth
    from ovxai.runtime.predict.facts import ModelFacts

#: What stands in a file of true boxes, and what its classes are called by the model.
TRUTH = (
    click.option("--annotations", type=click.Path(path_type=Path), metavar="FILE|DIR",
                 help="What is truly in the pictures: COCO json, Pascal VOC xml, YOLO's data.yaml, text files of `class x1 y1 x2 "
                      "y2`, masks, or folders named after classes.  [default: what lies in a SOURCE that is a data root]"),
    click.option("--names", type=click.Path(path_type=Path), metavar="FILE",
                 help="Lines `class of the annotations = class of the model`, where they differ; - leaves one out."),
)  # fmt: skip


def with_annotations(
    sources: Sequence[str], given: Path | None, *, recursive: bool
) -> tuple[tuple[str, ...], list[AnnotationSet]]:
    """`sources` with data roots replaced by their pictures, and the annotations.

    A folder that holds pictures itself, and any with `recursive`, stays as it is: its annotations are read all the same.

    Raises:
        AnnotationError: annotations that were given, or those of a data root without other pictures, can't be read.
    """
    folders = [name for name in sources if os.path.isdir(name)]  # of a name too long for any file it says no
    if given is None and not folders:
        return tuple(sources), []
    from ovxai.annotations import is_data_root
    from ovxai.annotations.files import pictures_in

    sets = [_given(given, folders)] if given is not None else []
    names: list[str] = []
    for name in sources:
        whole = name in folders and (recursive or bool(pictures_in(Path(name))))
        if name in folders and given is None and is_data_root(Path(name)):
            sets += _lying_in(Path(name), needed=not whole)
        if name not in folders or whole:
            names.append(name)
        else:
            inside = sorted(str(path) for one in sets for path in _below(Path(name), one))
            names += inside or [name]
    return tuple(names), sets


def _given(path: Path, folders: Sequence[str]) -> AnnotationSet:
    """Of pictures that don't lie with it, those of a folder that is a source."""
    from ovxai.annotations import read_annotations
    from ovxai.errors import AnnotationError

    try:
        return read_annotations(path)
    except AnnotationError as first:
        for folder in folders:
            try:
                return read_annotations(path, Path(folder))
            except AnnotationError:
                continue
        raise first


def _lying_in(folder: Path, *, needed: bool) -> list[AnnotationSet]:
    from ovxai.annotations import read_annotations
    from ovxai.errors import AnnotationError

    try:
        return [read_annotations(folder)]
    except AnnotationError as error:
        if needed:
            raise
        note(f"{error}; the pictures are explained without")
        return []


def _below(folder: Path, one: AnnotationSet) -> list[Path]:
    """The pictures whose names begin with the folder's: a link lies where it stands, wherever it points to."""
    root = Path(os.path.abspath(folder))
    paths = [*(picture.path for picture in one.pictures), *one.unannotated]
    return [path for path in paths if root in Path(os.path.abspath(path)).parents]


def ground_truth(sets: Sequence[AnnotationSet], facts: ModelFacts, names: Path | None) -> GroundTruth | None:
    """What judges the pictures of a run; None where there are no annotations.

    Raises:
        AnnotationError: `names` can't be read, or names a class that the model does not have.
    """
    if not sets:
        return None
    from ovxai.evaluation.truth import GroundTruth

    truth = GroundTruth(sets, facts, names)
    for line in truth.notes:
        note(line)
    return truth


def tell_truth(truth: GroundTruth | None, say: Say) -> Document | None:
    """Say how many pictures came out right, and give all that is known of them."""
    if truth is None:
        return None
    document = truth.document()
    words = [f"{document[word]} {shown}" for word, shown in _WORDS.items() if document[word]]
    say(f"by the annotations: {', '.join(words) or 'nothing to judge'}")
    return document


_WORDS = {"right": "right", "wrong": "wrong", "missed": "missed", "unjudged": "not judged", "unannotated": "not annotated"}
