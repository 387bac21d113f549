"""Two models, methods or precisions on the same pictures: how far their maps agree, the most different first."""

from __future__ import annotations

import heapq
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count

import cv2
import numpy as np

from ovxai.annotations import match_names
from ovxai.errors import OptionError
from ovxai.evaluation.metrics import map_correlation
from ovxai.explainer import Explainer
from ovxai.runtime.explanation import Explanation
from ovxai.runtime.feed.sources import Broken, Frame, Source
from ovxai.runtime.predict.labels import find_class
from ovxai.runtime.show.picture_maps import IMAGE_KEY, Key
from ovxai.runtime.show.render import to_grey
from ovxai.text import is_address

#: Maps of two grids, or of pictures fed in two ways, are compared at this size of the picture's longer side.
_SIDE = 64
#: Pictures that a page shows; of longer runs the most different ones.
MOST_SHOWN = 200


@dataclass(frozen=True)
class Side:
    """What one of the two says. top, score: its best class, None where it predicts nothing. own: score of the class compared."""

    top: str | None
    score: float | None
    own: float | None


@dataclass(frozen=True)
class Compared:
    """One map of each. image: what the picture is called. class_index, label: of the first model's, None and "" for maps of the
    whole picture.

    correlation: -1..1, see `correlation`; None where one of the two has no such map. same_top: whether both put the same class
    first, whatever each calls it; None where one of them predicts nothing.
    """

    source: str
    image: str
    class_index: int | None
    label: str
    correlation: float | None
    a: Side
    b: Side
    same_top: bool | None

    @property
    def changed(self) -> bool:
        """Whether the two say different things, nothing being one of them."""
        return (self.a.top, self.b.top) != (None, None) if self.same_top is None else not self.same_top

    def record(self) -> dict[str, object]:
        """As plain JSON values."""
        sides = {
            name: {"top": side.top, "top_score": side.score, "score": side.own} for name, side in (("a", self.a), ("b", self.b))
        }
        return {
            "source": self.source, "image": self.image, "class_index": self.class_index, "label": self.label,
            "correlation": None if self.correlation is None else round(self.correlation, 6), "same_top": self.same_top, **sides,
        }  # fmt: skip


@dataclass(frozen=True)
class Pair:
    """Both explanations of one picture, with the keys of the maps that are compared in each."""

    compared: Compared
    a: Explanation
    b: Explanation
    keys: tuple[Key, Key]


@dataclass
class Comparison:
    """What came of it. maps: in the order of the pictures. shown: cards of a page, the most different first.

    pictures: how many were explained. nothing: those in which neither predicts anything. unmatched: classes of the first
    that the second does not have.
    """

    maps: list[Compared] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)
    broken: list[Broken] = field(default_factory=list)
    pictures: int = 0
    nothing: int = 0
    unmatched: tuple[str, ...] = ()
    seconds: float = 0.0
    interrupted: bool = False

    def most_different_first(self) -> list[Compared]:
        """Maps without a partner stand at the end."""
        return sorted(self.maps, key=lambda item: (item.correlation is None, item.correlation or 0.0, item.source))

    def summary(self) -> dict[str, object]:
        """Figures over all maps, as plain JSON values."""
        values = np.array([item.correlation for item in self.maps if item.correlation is not None], np.float64)
        tops = {item.source: item.same_top for item in self.maps if item.same_top is not None}
        return {
            "pictures": self.pictures,
            "maps": len(self.maps),
            "compared": len(values),
            "without_partner": len(self.maps) - len(values),
            "nothing_predicted": self.nothing,
            "mean": float(values.mean()) if len(values) else None,
            "median": float(np.median(values)) if len(values) else None,
            "fifth": float(np.percentile(values, 5)) if len(values) else None,
            "both_predict": len(tops),
            "same_top": sum(tops.values()) / len(tops) if tops else None,
            "seconds_per_picture": self.seconds / self.pictures if self.pictures else None,
        }


def compare(
    a: Explainer,
    b: Explainer,
    frames: Callable[[], Iterable[Frame | Broken]],
    *,
    classes: Sequence[str | int] = (),
    name: Callable[[Frame], str] = lambda frame: frame.stem,
    card: Callable[[Pair], str] | None = None,
    stop: Callable[[], bool] = lambda: False,
    progress: Callable[[], None] = lambda: None,
) -> Comparison:
    """Explain each picture by both, and correlate their maps of one class: the best one of `a`, else of `b`.

    a, b: with target "all" (or "image", then maps of the whole picture are compared). frames: gives the pictures; called
    twice, once per model. classes: names or indices of `a`'s classes to compare instead.
    name: what a picture is called, see `names_of`.
    card: what a page holds of a pair, made of those that are the most different so far.

    Raises:
        OptionError: a class that `a` does not have.
    """
    result = Comparison()
    partner, result.unmatched = _partners(a, b)
    wanted = tuple(find_class(one, a.facts.names, a.facts.explained.num_classes or len(a.facts.names)) for one in classes)
    runs = [one.pipeline(lambda frame, explanation: (frame, explanation)).run(frames()) for one in (a, b)]
    number, heap = count(), list[tuple[float, int, str]]()
    begin = time.monotonic()
    try:
        for one, other in zip(*runs):
            if isinstance(one, Broken) or isinstance(other, Broken):
                result.broken.append(one if isinstance(one, Broken) else other)
            else:
                result.pictures += 1
                pairs = list(_pairs(one[0], name(one[0]), one[1], other[1], wanted, partner))
                result.nothing += not pairs
                for pair in pairs:
                    result.maps.append(pair.compared)
                    if card is not None:
                        _keep(heap, pair, next(number), card)
            progress()
    finally:
        for run in runs:
            run.close()
    result.seconds = time.monotonic() - begin
    result.interrupted = stop()
    result.shown = [made for _, _, made in sorted(heap, key=lambda entry: (-entry[0], -entry[1]))]
    return result


def names_of(sources: Iterable[Source | Broken]) -> Callable[[Frame], str]:
    """What pictures are called: by the names of their files; where several files have one name, by their paths from the folder
    that these have in common."""
    named = [(source.stem, str(source)) for source in sources if isinstance(source, Source)]
    counts = Counter(stem for stem, _ in named)
    alike = [path for stem, path in named if counts[stem] > 1 and not is_address(path)]
    try:
        above = os.path.commonpath([os.path.dirname(os.path.abspath(path)) for path in alike]) if alike else ""
    except ValueError:  # of two drives
        above = ""

    def name(frame: Frame) -> str:
        stem, path = (frame.stem, frame.source) if frame.clip is None else (frame.clip.stem, frame.clip.source)
        if counts[stem] < 2:
            return frame.stem
        own = os.path.relpath(path, above).replace(os.sep, "/") if above and not is_address(path) else path
        return own + frame.stem[len(stem) :]

    return name


def _keep(heap: list[tuple[float, int, str]], pair: Pair, number: int, card: Callable[[Pair], str]) -> None:
    """The most different pairs, so many as a page shows; those that can't be compared are the last to be kept."""
    value = pair.compared.correlation
    place = (-2.0 if value is None else -value, -number)
    if len(heap) < MOST_SHOWN:
        heapq.heappush(heap, (*place, card(pair)))
    elif place > heap[0][:2]:
        heapq.heapreplace(heap, (*place, card(pair)))


def _pairs(
    frame: Frame, name: str, a: Explanation, b: Explanation, wanted: tuple[int, ...], partner: dict[int, int]
) -> Iterator[Pair]:  # fmt: skip
    back = {theirs: ours for ours, theirs in partner.items()}
    for key in _keys(a, b, wanted, back):
        other = partner.get(key) if isinstance(key, int) else key
        value = correlation(a, b, key, other) if other is not None else None
        compared = Compared(
            source=frame.source,
            image=name,
            class_index=key if isinstance(key, int) else None,
            label=_label(a, key),
            correlation=value,
            a=_side(a, key),
            b=_side(b, other),
            same_top=_same_top(a, b, partner),
        )
        yield Pair(compared, a, b, (key, other if other is not None else key))


def _keys(a: Explanation, b: Explanation, wanted: tuple[int, ...], back: dict[int, int]) -> tuple[Key, ...]:
    if IMAGE_KEY in a.raw_maps:
        return (IMAGE_KEY,)
    if wanted:
        return wanted
    best = _top(a)
    if best is None and (theirs := _top(b)) is not None:
        best = back.get(theirs)
    return () if best is None else (best,)


def _top(explanation: Explanation) -> int | None:
    """The class that is predicted first."""
    return explanation.predictions[0].class_index if explanation.predictions else None


def _same_top(a: Explanation, b: Explanation, partner: dict[int, int]) -> bool | None:
    """By numbers: two classes may have one name, and one class two."""
    ours, theirs = _top(a), _top(b)
    return None if ours is None or theirs is None else partner.get(ours) == theirs


def _side(explanation: Explanation, key: Key | None) -> Side:
    first = explanation.predictions[0] if explanation.predictions else None
    own = explanation.score(key)
    return Side(
        None if first is None else first.label,
        None if first is None else round(float(first.score), 6),
        None if own is None else round(float(own), 6),
    )


def _label(explanation: Explanation, key: Key) -> str:
    if not isinstance(key, int):
        return ""
    return explanation.labels.get(key) or str(key)


def correlation(a: Explanation, b: Explanation, key: Key, other: Key) -> float | None:
    """Pearson's correlation of two maps of one picture, -1..1; None where one has no such map.

    Cell by cell where grid and way of feeding are the same (as `ovxai quantize` does); else on the picture, made smaller
    to 64 pixels a side, where both models looked.
    """
    if key not in a.raw_maps or other not in b.raw_maps:
        return None
    first, second = a.raw_maps[key], b.raw_maps[other]
    if first.shape == second.shape and a.geometry == b.geometry:
        return map_correlation(first, second)
    boxes = np.array([a.geometry.window_box(), b.geometry.window_box()])
    (x1, y1), (x2, y2) = boxes[:, :2].max(axis=0), boxes[:, 2:].min(axis=0)
    if x2 <= x1 or y2 <= y1:
        return None
    parts = [one.geometry.map_to_source(to_grey(values))[y1:y2, x1:x2] for one, values in ((a, first), (b, second))]
    scale = min(1.0, _SIDE / max(parts[0].shape))
    size = (max(1, round((x2 - x1) * scale)), max(1, round((y2 - y1) * scale)))
    small = [cv2.resize(part.astype(np.float32), size, interpolation=cv2.INTER_AREA) for part in parts]
    return map_correlation(small[0], small[1])


def _partners(a: Explainer, b: Explainer) -> tuple[dict[int, int], tuple[str, ...]]:
    """Class of `a` -> the same class of `b`: by number where names are equal or one has none, else by name."""
    ours, theirs = a.facts, b.facts
    counts = [facts.explained.num_classes or len(facts.names) for facts in (ours, theirs)]
    named = [tuple(filter(None, facts.names)) for facts in (ours, theirs)]
    if counts[0] == counts[1] and (not all(named) or named[0] == named[1]):
        return {i: i for i in range(counts[0])}, ()
    if not all(named):
        raise OptionError(f"{counts[0]} and {counts[1]} classes, and one of the models does not name them; give --labels")
    found = match_names(named[0], theirs.names)
    return {i: found.index[name] for i, name in enumerate(ours.names) if name in found.index}, found.unmatched
