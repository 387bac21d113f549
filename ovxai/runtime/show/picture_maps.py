"""The maps of one picture, and how they look on it."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from ovxai.runtime.config import ExplainConfig, TargetExplainGroup
from ovxai.runtime.feed.geometry import Geometry
from ovxai.runtime.predict.formats import Prediction
from ovxai.runtime.show.draw import Caption, Rectangle, draw_caption, draw_names, draw_predictions, draw_window
from ovxai.runtime.show.grid import make_grid
from ovxai.runtime.show.letters import spoken
from ovxai.runtime.show.render import heat_map, overlay, spread, table
from ovxai.runtime.show.truth import Verdict, draw_truth

IMAGE_KEY: Literal["image"] = "image"


@dataclass(frozen=True)
class BoxKey:
    """The map of a further box of a class, of models with a map per box; the class itself stands for its best box.

    number: 2 for the second best box of the class, and so on.
    """

    class_index: int
    number: int


Key = int | Literal["image"] | BoxKey


def class_of(key: Key | None) -> int | None:
    """The class that a map stands for; None for the whole picture."""
    return key.class_index if isinstance(key, BoxKey) else key if isinstance(key, int) else None


@dataclass(frozen=True, repr=False, eq=False)
class PictureMaps:
    """Maps of one picture and what the model says about it.

    raw_maps: class index or "image" -> [h, w] as the model gives it, laid upright: u8 0..255, or f32 from a model
        that was inserted with --raw. Best predicted class first. Of a model with a map per box also `BoxKey`, and the class
        is its best box.
    labels: class index -> name, for the classes in `raw_maps`.
    scores: class index -> 0..1; of every class for classifiers, of the classes found for detectors.
    predictions: what counts as predicted, best first, boxes in pixels of `picture`.
    target, config: whose maps these are, and how they are shown.
    picture: the source picture, [H, W, 3] u8 RGB. geometry: how it lay under the maps' grid.
    source: where it came from; None for arrays. notes: what was asked for and could not be had.
    truth: how it compares with annotations; None where there are none.
    threshold: what a class's score has to exceed to be predicted; below it, it is a guess. None where that is no question.
    beside: further classes, whose maps only `grid` shows.
    boxes: of a model with a map per box (`--per box`) every box that it gives, by the key of its map; boxes in pixels of
        `picture`. Empty for other models.
    """

    raw_maps: Mapping[Key, np.ndarray]
    labels: Mapping[int, str]
    scores: dict[int, float]
    predictions: tuple[Prediction, ...]
    target: TargetExplainGroup
    config: ExplainConfig
    picture: np.ndarray
    geometry: Geometry
    source: str | None = None
    notes: tuple[str, ...] = field(default=())
    truth: Verdict | None = None
    threshold: float | None = None
    beside: tuple[int, ...] = ()
    boxes: Mapping[Key, Prediction] = field(default_factory=dict)

    @functools.cached_property
    def maps(self) -> dict[Key, np.ndarray]:
        """Class index or "image" -> the map.

        Without postprocessing [h, w] as in `raw_maps`; with it [H, W, 3] u8 RGB, the size of the
        picture, coloured with `config.colormap`.
        """
        if not self.config.postprocess:
            return dict(self.raw_maps)
        return {key: self.heat_map(key) for key in self.raw_maps}

    def heat_map(self, key: Key) -> np.ndarray:
        """The map of `key` at the picture's size, coloured: [H, W, 3] u8 RGB.

        Raises:
            KeyError: there is no such map.
        """
        return heat_map(self._spread(key), self.geometry, self.config)

    def key(self, wanted: str | int | BoxKey) -> Key:
        """What the index or the name of a class that has a map, "image", or the key of a box means here.

        Raises:
            KeyError: there is no such map.
        """
        for key in self.raw_maps:
            if wanted in (key, self.label(key)):
                return key
        raise KeyError(wanted)

    def raw_map(self, key: Key) -> np.ndarray:
        """[h, w] as the model gives it, laid upright.

        Raises:
            KeyError: there is no such map.
        """
        return self.raw_maps[key]

    def overlay(self, key: str | int | BoxKey | None = None, *, captions: bool | None = None) -> np.ndarray:
        """The picture under the map of `key`, a class by index or name (default: the first that has a map), boxes of that
        class drawn, of a map per box that one: [H, W, 3] u8 RGB.

        captions: write class, score and colours on it, and what the model saw; None: as `config.captions` says.

        Raises:
            KeyError: there is no such map.
        """
        words = self.config.captions if captions is None else captions
        key = next(iter(self.raw_maps), None) if key is None else self.key(key)
        if key is None:
            painted = self.picture.copy()
        else:
            painted = overlay(self.picture, self._spread(key), self.geometry, self.config)
        draw_truth(painted, self.truth, class_of(key))
        shown = self._shown(key)
        draw_predictions(painted, shown)
        taken: tuple[Rectangle, ...] = ()
        if not self.geometry.covers_picture:
            taken += draw_window(painted, self.geometry.window_box(), words=words)
        if words:
            colors = None if key is None else table(self.config.colormap)
            taken += draw_caption(painted, Caption(self.caption(key), colors))
            draw_names(painted, shown, taken)
        return painted

    def grid(self, count: int = 5) -> np.ndarray:
        """The picture and the overlays of its `count` best classes side by side: [H', W', 3] u8 RGB."""
        keys: list[Key] = [*self.raw_maps, *self.beside]
        keys.sort(key=lambda key: self.score(key) or 0.0, reverse=True)
        tiles = ((self.overlay(key, captions=False), self.caption(key)) for key in keys[:count])
        return make_grid([(self.picture, "picture"), *tiles])

    def _shown(self, key: Key | None) -> tuple[Prediction, ...]:
        """What is drawn on the map of `key`."""
        if key is not None and key in self.boxes:
            return (self.boxes[key],)
        return tuple(p for p in self.predictions if key in (None, IMAGE_KEY, p.class_index))

    def score(self, key: Key | None) -> float | None:
        """0..1 of a class or box; None for the whole picture, and where the model gives none."""
        if key is not None and key in self.boxes:
            return self.boxes[key].score
        return self.scores.get(key) if isinstance(key, int) else None

    def is_below(self, score: float | None) -> bool:
        """Whether a class of this score is not predicted, or named although the model does not reach its threshold."""
        return score is not None and self.threshold is not None and not score > self.threshold

    def is_guess(self, key: Key | None) -> bool:
        """Whether a class counts as predicted although the model does not reach its threshold."""
        return any(item.class_index == class_of(key) and self.is_below(item.score) for item in self.predictions)

    def label(self, key: Key | None) -> str | None:
        """Name of a class that has a map; None for the whole picture."""
        index = class_of(key)
        return None if index is None else self.labels[index]

    def title(self, key: Key) -> str:
        """Name and score of a map, for captions."""
        label, score = self.label(key), self.score(key)
        if label is None:
            return "whole picture"
        return label if score is None else f"{label} {score:.2f}"

    def caption(self, key: Key | None) -> str:
        """Name and score of a map as they stand on pictures; what the model does not reach its threshold for is a guess."""
        if key is None:
            return "nothing predicted"
        label, score = self.label(key), self.score(key)
        if label is None:
            return "whole picture"
        name = spoken(label, class_of(key))
        name = name if score is None else f"{name} {score:.2f}"
        return f"{name} (a guess)" if self.is_guess(key) else name

    def best_first(self, worst: float) -> list[Key]:
        """The keys of the maps by score, those without one as if it were `worst`."""

        def score(key: Key) -> float:
            found = self.score(key)
            return worst if found is None else found

        return sorted(self.raw_maps, key=score, reverse=True)

    def _spread(self, key: Key) -> np.ndarray:
        """[H, W] u8. The last one is kept: heat map and overlay of a class are usually wanted one after the other."""
        last: tuple[Key, np.ndarray] | None = self.__dict__.get("_last_spread")
        if last is None or last[0] != key:
            last = (key, spread(self.raw_map(key), self.geometry, self.config))
            self.__dict__["_last_spread"] = last
        return last[1]
