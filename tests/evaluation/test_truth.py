"""Right, wrong and missed by annotations: for one class per picture, for several, and for boxes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from helpers.runtime_graphs import classifier, detector, encoded, picture
from ovxai.annotations import AnnotatedPicture, AnnotationSet, TrueObject
from ovxai.evaluation.truth import GroundTruth
from ovxai.explainer import Explainer
from ovxai.runtime.config import ExplainConfig
from ovxai.runtime.show.truth import Verdict

HEIGHT, WIDTH = 40, 60


@pytest.fixture
def shot(tmp_path):
    """A red square in the upper left, a green one in the upper right: the classifier says red."""
    path = tmp_path / "shot.png"
    path.write_bytes(encoded(picture(HEIGHT, WIDTH)))
    return path


def judged(explainer: Explainer, shot: Path, *objects: TrueObject, classes=("red", "green", "blue")) -> Verdict:
    found = AnnotationSet(tuple(classes), (AnnotatedPicture(shot, objects, (HEIGHT, WIDTH)),))
    verdict = GroundTruth([found], explainer.facts)(explainer(shot))
    assert verdict is not None
    return verdict


def whole(name: str) -> TrueObject:
    return TrueObject(name, None)


@pytest.mark.parametrize(
    ("objects", "classes", "outcome", "right", "wrong", "missed"),
    [
        (["red"], ["red", "green"], "right", ["red"], [], []),
        (["green"], ["red", "green"], "wrong", [], ["red"], ["green"]),
        (["green", "red"], ["red", "green"], "right", ["red"], [], []),
        (["blue", "blue"], ["blue"], "wrong", [], ["red"], ["blue"]),
        (["plum"], ["plum"], "unjudged", [], [], []),
        ([], ["red"], "wrong", [], ["red"], []),
        ([], ["blue"], "right", [], [], []),
    ],
)
def test_one_class_per_picture(objects, classes, outcome, right, wrong, missed, shot):
    explainer = Explainer(classifier(), precision="f32")
    verdict = judged(explainer, shot, *map(whole, objects), classes=classes)
    assert (verdict.outcome, verdict.right, verdict.wrong, verdict.missed) == (outcome, tuple(right), tuple(wrong), tuple(missed))


@pytest.mark.parametrize(
    ("objects", "classes", "outcome", "right", "wrong", "missed"),
    [
        (["red", "green"], ["red", "green", "blue"], "right", ["red", "green"], [], []),
        (["red"], ["red", "green", "blue"], "wrong", ["red"], ["green"], []),
        (["red"], ["red"], "right", ["red"], [], []),
        (["red", "green", "blue"], ["red", "green", "blue"], "missed", ["red", "green"], [], ["blue"]),
    ],
)
def test_several_classes_per_picture(objects, classes, outcome, right, wrong, missed, shot):
    """A class that the data don't have is neither right nor wrong."""
    model = classifier(activation="sigmoid", model_info={"multilabel": "True", "confidence_threshold": "0.96"})
    verdict = judged(Explainer(model, precision="f32"), shot, *map(whole, objects), classes=classes)
    assert (verdict.outcome, verdict.right, verdict.wrong, verdict.missed) == (outcome, tuple(right), tuple(wrong), tuple(missed))


def finder() -> Explainer:
    """Finds red at (6, 4)..(30, 20) of the picture, green at (30, 20)..(54, 36), and red once more at (0, 0)..(12, 8)."""
    across, down = 32 / WIDTH, 32 / HEIGHT
    boxes = np.array([(6, 4, 30, 20, 0.9), (30, 20, 54, 36, 0.8), (0, 0, 12, 8, 0.7)], np.float64)
    boxes *= (across, down, across, down, 1)
    return Explainer(detector(boxes, np.array([0, 1, 0])), ExplainConfig(threshold=0.5), precision="f32")


def test_boxes(shot):
    red, green = TrueObject("red", (6.0, 4.0, 30.0, 22.0)), TrueObject("green", (0.0, 20.0, 20.0, 36.0))
    verdict = judged(finder(), shot, red, green, TrueObject("plum", (1.0, 1.0, 5.0, 5.0)), classes=("red", "green", "plum"))
    assert (verdict.outcome, verdict.right) == ("wrong", ("red",))
    assert (verdict.wrong, verdict.missed) == (("green", "red"), ("green",))
    assert [thing.outcome for thing in verdict.things] == ["right", "missed", "unjudged"]


def test_each_object_is_found_once(shot):
    """The second red one overlaps no free object."""
    two = [TrueObject("red", (6.0, 4.0, 30.0, 20.0)), TrueObject("red", (6.0, 4.0, 30.0, 22.0))]
    verdict = judged(finder(), shot, *two, classes=("red",))
    assert (verdict.right, verdict.wrong, verdict.missed) == (("red",), ("red",), ("red",))


def test_what_lies_in_a_crowd_is_neither_right_nor_wrong(shot):
    crowd = TrueObject("red", (0.0, 0.0, 40.0, 30.0), crowd=True)
    verdict = judged(finder(), shot, crowd, classes=("red",))
    assert (verdict.outcome, verdict.right, verdict.wrong, verdict.missed) == ("unjudged", (), (), ())


def test_where_only_classes_are_known_a_box_of_that_class_is_right(shot):
    verdict = judged(finder(), shot, whole("red"), classes=("red",))
    assert (verdict.outcome, verdict.right, verdict.wrong) == ("right", ("red",), ())


def test_the_share_of_energy_on_the_objects(shot):
    """The map of red is 255 over the upper left quarter, but for the ramp between its cells."""
    explainer = Explainer(classifier(), ExplainConfig(target="all"), precision="f32")
    left = TrueObject("red", (0.0, 0.0, WIDTH / 2, HEIGHT / 2))
    verdict = judged(explainer, shot, left, whole("green"))
    assert set(verdict.energy) == {0}, "where green is nobody knows"
    explanation = explainer(shot)
    heat = explanation.geometry.map_to_source(explanation.raw_maps[0]).astype(np.float64)
    assert verdict.energy[0] == pytest.approx(heat[: HEIGHT // 2, : WIDTH // 2].sum() / heat.sum(), abs=1e-6)


def test_pictures_of_one_name_are_told_apart_and_a_copy_elsewhere_is_known(shot, tmp_path):
    explainer = Explainer(classifier(), precision="f32")
    other = tmp_path / "other"
    other.mkdir()
    (other / "shot.png").write_bytes(shot.read_bytes())
    here, there = (AnnotatedPicture(path, (whole(name),), None) for path, name in ((shot, "red"), (other / "shot.png", "green")))
    truth = GroundTruth([AnnotationSet(("red", "green"), (here, there))], explainer.facts)
    assert [verdict and verdict.outcome for verdict in (truth(explainer(here.path)), truth(explainer(there.path)))] == [
        "right",
        "wrong",
    ]
    alone = GroundTruth([AnnotationSet(("red",), (here,))], explainer.facts)
    assert alone(explainer(there.path)) is not None, "a copy"
    assert truth(explainer(picture())) is None, "an array has no name"
    document = truth.document()
    assert (document["wrong"], document["right"], document["unannotated"]) == (1, 1, 1)
    assert [entry["outcome"] for entry in document["pictures"]] == ["wrong", "right"]  # type: ignore[attr-defined]


def test_a_picture_of_another_shape_than_its_annotation_is_not_judged_and_counted(shot):
    explainer = Explainer(classifier(), precision="f32")
    turned = AnnotatedPicture(shot, (whole("red"),), (WIDTH, HEIGHT))
    truth = GroundTruth([AnnotationSet(("red",), (turned,))], explainer.facts)
    assert truth(explainer(shot)) is None
    assert any("1 pictures have another shape" in str(note) for note in truth.document()["notes"])  # type: ignore[attr-defined]
