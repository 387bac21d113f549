"""What is truly in a picture beside what a model says of it: right, wrong or missed, and dashed boxes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import cv2
import numpy as np

from ovxai.runtime.predict.formats import Box
from ovxai.runtime.show.render import line_width

#: How a picture or an object came out, the worst first: something is predicted that is not there; something that is
#: there is not predicted; neither.
WRONG, MISSED, RIGHT = "wrong", "missed", "right"
#: No question of right and wrong: objects of classes that the model does not know, and crowds.
UNJUDGED = "unjudged"
_DASH = 6  # times the line's width


@dataclass(frozen=True)
class TrueThing:
    """One annotated object. label: its class, in the model's word where it has one. class_index: None where it has none.

    box: in pixels of the picture; None where only the class is known. mask: [H, W] bool. outcome: "right" (predicted),
    "missed" or "unjudged".
    """

    label: str
    class_index: int | None
    box: Box | None
    mask: np.ndarray | None
    outcome: str


@dataclass(frozen=True)
class Verdict:
    """How predictions compare with the truth in one picture.

    outcome: "wrong", "missed", "right", or "unjudged" where the model knows none of the classes. things: what is there.
    right, missed: their labels, each once per object, or per class for classifiers. wrong: labels of predictions of what
    is not there. energy: class index -> share of its map's energy that lies on the objects of that class, 0..1, where
    their place is known.
    """

    outcome: str
    things: tuple[TrueThing, ...]
    right: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()
    missed: tuple[str, ...] = ()
    energy: Mapping[int, float] = field(default_factory=dict)

    def has(self, class_index: int | None) -> bool | None:
        """Whether an object of this class is there; None for maps of no class."""
        return None if class_index is None else any(thing.class_index == class_index for thing in self.things)

    def record(self) -> dict[str, object]:
        """As plain JSON values."""
        return {
            "outcome": self.outcome,
            "right": list(self.right),
            "wrong": list(self.wrong),
            "missed": list(self.missed),
            "true": [
                {"label": thing.label, "class_index": thing.class_index, "outcome": thing.outcome,
                 "box": None if thing.box is None else [round(value, 2) for value in thing.box]}
                for thing in self.things
            ],
            "energy_inside": {str(index): round(share, 4) for index, share in self.energy.items()},
        }  # fmt: skip


def draw_truth(picture: np.ndarray, verdict: Verdict | None, class_index: int | None) -> None:
    """Dash the true boxes and outlines of a class (None: of all) on [H, W, 3] u8 RGB, in place; white on black."""
    for thing in verdict.things if verdict is not None else ():
        if class_index in (None, thing.class_index):
            for line in _lines(thing, picture.shape):
                _dash(picture, line)


def _lines(thing: TrueThing, shape: tuple[int, ...]) -> list[np.ndarray]:
    """Closed lines around a thing, [n, 2] points each."""
    if thing.mask is not None:
        found, _ = cv2.findContours(thing.mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        return [line[:, 0] for line in found]
    if thing.box is None:
        return []
    height, width = shape[:2]
    x1, y1, x2, y2 = (round(value) for value in thing.box)
    right, bottom = max(x1, min(x2, width) - 1), max(y1, min(y2, height) - 1)
    return [np.array([(x1, y1), (right, y1), (right, bottom), (x1, bottom)])]


def _dash(picture: np.ndarray, line: np.ndarray) -> None:
    width = line_width(picture.shape)
    closed = np.concatenate([line, line[:1]]).astype(np.float64)
    lengths = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=1))])
    step, end = _DASH * width, lengths[-1]
    cv2.polylines(picture, [line.astype(np.int32)], True, (0, 0, 0), width, cv2.LINE_8)
    for start in np.arange(0.0, end, 2 * step):
        inner = closed[(lengths > start) & (lengths < start + step)]
        points = [_at(closed, lengths, start), *inner, _at(closed, lengths, min(start + step, end))]
        cv2.polylines(picture, [np.round(points).astype(np.int32)], False, (255, 255, 255), width, cv2.LINE_8)


def _at(points: np.ndarray, lengths: np.ndarray, along: float) -> np.ndarray:
    return np.array([np.interp(along, lengths, points[:, axis]) for axis in (0, 1)])
