"""What a model says about a picture, as a line for people and as JSON."""

from __future__ import annotations

from dataclasses import dataclass

from ovxai.runtime.predict.formats import Box, Prediction
from ovxai.runtime.show.picture_maps import Key, PictureMaps, class_of

#: Classes named in a line.
_MOST_NAMED = 5


@dataclass(frozen=True)
class Named:
    """A class that a picture is said to show, or that was asked for.

    score: of its best object; None where the model gives none. count: objects of this class. guess: its score does not reach
    the threshold. box: (x1, y1, x2, y2) in pixels of the picture; None where `count` are taken together or there is none.
    """

    class_index: int
    label: str
    score: float | None
    count: int = 1
    guess: bool = False
    box: Box | None = None

    def __str__(self) -> str:
        words = [self.label if self.score is None else f"{self.label} {self.score:.2f}"]
        if self.count > 1:
            words.append(f"x{self.count}")
        return " ".join(words)


@dataclass(frozen=True)
class Said:
    """One picture and its classes. source: where it came from. image: its name in file names. threshold: see `PictureMaps`."""

    source: str
    image: str
    predictions: tuple[Named, ...]
    asked: tuple[Named, ...] = ()
    threshold: float | None = None

    @property
    def line(self) -> str:
        """Such as "cat.jpg: tabby 0.67, tiger cat 0.12 (a guess, not over 0.3)"."""
        named = _by_class(self.asked or self.predictions)
        if not named:
            over = "" if self.threshold is None else f" over {self.threshold:g}"
            return f"{self.source}: nothing predicted{over}"
        sure = [str(item) for item in named if not item.guess]
        guesses = [str(item) for item in named if item.guess]
        parts = [_listed(sure), f"{_listed(guesses)} ({_what(len(guesses))}, not over {self.threshold:g})" if guesses else ""]
        return f"{self.source}: {', '.join(filter(None, parts))}"

    def document(self) -> dict[str, object]:
        """As plain JSON values."""
        return {
            "source": self.source,
            "image": self.image,
            "threshold": self.threshold,
            "predictions": [_document(item) for item in self.predictions],
            **({"asked": [_document(item) for item in self.asked]} if self.asked else {}),
        }


def say(explanation: PictureMaps, image: str) -> Said:
    """What is said of a picture. image: its name in file names. Masks and maps are not held on to."""
    asked: tuple[Named, ...] = ()
    if explanation.config.classes:
        asked = tuple(_asked(key, index, explanation) for key in explanation.raw_maps if (index := class_of(key)) is not None)
    found = tuple(_named(item, explanation) for item in explanation.predictions)
    return Said(explanation.source or image, image, found, asked, explanation.threshold)


def _asked(key: Key, index: int, explanation: PictureMaps) -> Named:
    score = explanation.score(key)
    box = explanation.boxes[key].box if key in explanation.boxes else None
    return Named(index, explanation.labels[index], score, guess=explanation.is_below(score), box=box)


def _named(item: Prediction, explanation: PictureMaps) -> Named:
    return Named(item.class_index, item.label, item.score, guess=explanation.is_below(item.score), box=item.box)


def _by_class(found: tuple[Named, ...]) -> tuple[Named, ...]:
    """The objects of a class taken together, at the place of the best."""
    counts: dict[int, int] = {}
    best: dict[int, Named] = {}
    for item in found:
        counts[item.class_index] = counts.get(item.class_index, 0) + 1
        best.setdefault(item.class_index, item)
    return tuple(Named(i, item.label, item.score, counts[i], item.guess) for i, item in best.items())


def _listed(names: list[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _what(count: int) -> str:
    return "a guess" if count == 1 else "guesses"


def _document(item: Named) -> dict[str, object]:
    return {
        "class_index": item.class_index,
        "label": item.label,
        "score": item.score,
        "guess": item.guess,
        **({"box": [float(value) for value in item.box]} if item.box is not None else {}),
    }
