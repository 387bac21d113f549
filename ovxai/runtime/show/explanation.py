"""The explanation of one picture."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Union

import numpy as np

from ovxai.runtime.config import ExplainConfig, TargetExplainGroup
from ovxai.runtime.feed.geometry import Geometry
from ovxai.runtime.show.render import heat_map, overlay, spread
from ovxai.runtime.write.files import encode_picture

if TYPE_CHECKING:
    from ovxai.runtime.predict.predictions import Prediction
    from ovxai.runtime.write.maps import WrittenFile

IMAGE_KEY = "image"
Key = Union[int, Literal["image"]]


@dataclass(frozen=True, repr=False, eq=False)
class Explanation:
    """Maps of one picture and what the model says about it.

    raw_maps: class index or "image" -> [h, w] as the model gives it: u8 0..255, or f32 from a model
        that was inserted with --raw. Best predicted class first.
    labels: class index -> name, for the classes in `raw_maps`.
    scores: class index -> 0..1; of every class for classifiers, of the classes found for detectors.
    predictions: what counts as predicted, best first, boxes in pixels of `picture`.
    target, config: whose maps these are, and how they are shown.
    picture: the source picture, [H, W, 3] u8 RGB. geometry: how it lay in the network's input.
    source: where it came from; None for arrays. notes: what was asked for and could not be had.
    """

    raw_maps: dict[Key, np.ndarray]
    labels: dict[int, str]
    scores: dict[int, float]
    predictions: tuple[Prediction, ...]
    target: TargetExplainGroup
    config: ExplainConfig
    picture: np.ndarray
    geometry: Geometry
    source: str | None = None
    notes: tuple[str, ...] = field(default=())

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
        """The map of `key` at the picture's size, coloured: [H, W, 3] u8 RGB."""
        return heat_map(self._spread(key), self.geometry, self.config)

    def overlay(self, key: Key | None = None) -> np.ndarray:
        """The picture under the map of `key` (default: the first), boxes of that class drawn: [H, W, 3] u8 RGB.

        Raises:
            KeyError: there is no such map.
        """
        from ovxai.runtime.show.draw import draw_predictions

        key = next(iter(self.raw_maps), None) if key is None else key
        if key is None:
            painted = self.picture.copy()
        else:
            painted = overlay(self.picture, self._spread(key), self.geometry, self.config)
        draw_predictions(painted, tuple(p for p in self.predictions if key in (None, IMAGE_KEY, p.class_index)))
        return painted

    def grid(self, count: int = 5) -> np.ndarray:
        """The picture and the overlays of its `count` best classes side by side: [H', W', 3] u8 RGB."""
        from ovxai.runtime.show.draw import make_grid

        best = sorted(self.raw_maps, key=lambda key: -self.scores.get(key, 0.0))[:count]
        return make_grid([(self.picture, "picture"), *((self.overlay(key), self.title(key)) for key in best)])

    def title(self, key: Key) -> str:
        """Name and score of a map, for captions."""
        if key == IMAGE_KEY:
            return "whole picture"
        score = self.scores.get(key)
        return self.labels[key] if score is None else f"{self.labels[key]} {score:.2f}"

    def _spread(self, key: Key) -> np.ndarray:
        """[H, W] u8. The last one is kept: heat map and overlay of a class are usually wanted one after the other."""
        last = self.__dict__.get("_last_spread")
        if last is None or last[0] != key:
            last = (key, spread(self.raw_maps[key], self.geometry, self.config))
            self.__dict__["_last_spread"] = last
        return last[1]

    def save(self, directory: str | Path, *, force: bool = False) -> tuple[WrittenFile, ...]:
        """Write the maps into `directory` as `ovxai run` names them, with overlays where postprocessed.

        Returns what was written. An existing directory is added to.

        Raises:
            OutputError: the directory can't be written.
        """
        from ovxai.runtime.write.maps import Writer

        return Writer(directory, postprocess=self.config.postprocess, force=force).write(self)

    def _repr_png_(self) -> bytes:
        """What a notebook shows: picture and overlays of the best classes."""
        return encode_picture(self.grid(), "png")

    def __repr__(self) -> str:
        titles = ", ".join(self.title(key) for key in list(self.raw_maps)[:3])
        more = ", ..." if len(self.raw_maps) > 3 else ""
        return f"Explanation({self.source or 'array'}: {len(self.raw_maps)} maps: {titles}{more})"
