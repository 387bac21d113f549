"""The explanation of one picture, and how it is read from a model's outputs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ovxai.metadata import CLASSIFICATION, FEATURE_MAP, SALIENCY_INDEX, SALIENCY_MAP, VECTOR_TASKS
from ovxai.runtime.config import ExplainConfig, TargetExplainGroup
from ovxai.runtime.feed.geometry import Geometry, upright
from ovxai.runtime.predict.boxes import Outputs
from ovxai.runtime.predict.facts import ModelFacts
from ovxai.runtime.predict.formats import Prediction, class_scores, decodable, objects
from ovxai.runtime.predict.select import Wanted, best_scores, predicted_classes
from ovxai.runtime.show.picture_maps import IMAGE_KEY, Key, PictureMaps
from ovxai.runtime.show.render import to_grey
from ovxai.runtime.write.encode import encode_picture
from ovxai.runtime.write.maps import Writer, WrittenFile


class Explanation(PictureMaps):
    """Maps of one picture and what the model says about it: see `PictureMaps` for what it holds, and how it is shown."""

    def save(self, directory: str | Path, *, force: bool = False) -> tuple[WrittenFile, ...]:
        """Write the maps into `directory` as `ovxai run` names them, with overlays where postprocessed.

        Returns what was written. An existing directory is added to; force: files of the same names are overwritten.

        Raises:
            OutputError: the directory can't be written.
        """
        return Writer(directory, postprocess=self.config.postprocess, force=force).write(self)

    def _repr_png_(self) -> bytes:
        """What a notebook shows: picture and overlays of the best classes."""
        return encode_picture(self.grid(), "png")

    def __repr__(self) -> str:
        titles = ", ".join(self.title(key) for key in list(self.raw_maps)[:3])
        more = ", ..." if len(self.raw_maps) > 3 else ""
        return f"Explanation({self.source or 'array'}: {len(self.raw_maps)} maps: {titles}{more})"


@dataclass(frozen=True)
class Interpreter:
    """Reads outputs of one model under one configuration."""

    facts: ModelFacts
    config: ExplainConfig
    wanted: Wanted

    def __call__(self, outputs: Outputs, picture: np.ndarray, geometry: Geometry, source: str | None) -> Explanation:
        """outputs: name -> array without batch axis. picture: [H, W, 3] u8 RGB."""
        scores, predictions = self._predictions(outputs, geometry)
        maps, notes = self._maps(outputs, predictions)
        beside = self._beside(outputs, scores, maps)
        frame = self.facts.explained.frame
        return Explanation(
            raw_maps={key: upright(values, frame) for key, values in maps.items()},
            beside={key: upright(values, frame) for key, values in beside.items()},
            labels={key: self.facts.label(key) for key in (*maps, *beside) if isinstance(key, int)},
            scores=scores,
            predictions=predictions,
            target=self.wanted.target,
            config=self.config,
            picture=picture,
            geometry=geometry.within(frame),
            source=source,
            notes=notes,
            threshold=self.wanted.threshold if self.facts.explained.task == CLASSIFICATION else None,
        )

    def _predictions(self, outputs: Outputs, geometry: Geometry) -> tuple[dict[int, float], tuple[Prediction, ...]]:
        """Scores by class (of every class, for classifiers), and what is predicted."""
        facts, threshold = self.facts, self.wanted.threshold
        if not decodable(facts):
            return {}, ()
        if facts.explained.task in VECTOR_TASKS:
            values = class_scores(outputs, facts)
            scores = dict(enumerate(values.tolist()))
            chosen = predicted_classes(values, facts, threshold, self.wanted.top)
            return scores, tuple(Prediction(i, facts.label(i), scores[i]) for i in chosen)
        found = objects(outputs, facts, geometry, threshold)
        scores = best_scores(found)
        kept = set(list(scores)[: self.wanted.top])
        return scores, tuple(item for item in found if item.class_index in kept)

    def _maps(
        self, outputs: Outputs, predictions: tuple[Prediction, ...]
    ) -> tuple[dict[Key, np.ndarray], tuple[str, ...]]:  # fmt: skip
        if not self.wanted.classes and self.wanted.target == TargetExplainGroup.IMAGE:
            return {IMAGE_KEY: self._image_map(outputs)}, ()
        maps = outputs[SALIENCY_MAP]
        # Of several boxes of a class the first is the best; -1 stands where there is no box.
        channels = reversed(list(enumerate(self._channels(outputs))))
        channel_of = {index: channel for channel, index in channels if index >= 0}
        if self.wanted.classes:
            indices = self.wanted.classes
        elif self.wanted.target == TargetExplainGroup.ALL:
            indices = tuple(channel_of)
        else:
            indices = tuple(dict.fromkeys(p.class_index for p in predictions))
        # A copy of each: a view would keep all the classes' maps alive, or the request's memory.
        found: dict[Key, np.ndarray] = {index: maps[channel_of[index]].copy() for index in indices if index in channel_of}
        missing = [self.facts.label(index) for index in indices if index not in channel_of]
        notes = [f"no map for {', '.join(missing)}: not among the classes that the model maps here"] if missing else []
        return found, tuple(notes)

    def _beside(self, outputs: Outputs, scores: dict[int, float], maps: dict[Key, np.ndarray]) -> dict[int, np.ndarray]:
        """Maps of the best classes that are not among `maps`, for a grid to show."""
        if not self.wanted.beside or SALIENCY_MAP not in outputs or self.facts.classless:
            return {}
        channel_of = {index: channel for channel, index in enumerate(self._channels(outputs))}
        best = sorted((index for index in scores if index in channel_of), key=lambda index: -scores[index])
        missing = [index for index in best[: self.wanted.beside] if index not in maps]
        return {index: outputs[SALIENCY_MAP][channel_of[index]].copy() for index in missing}

    def _channels(self, outputs: Outputs) -> tuple[int, ...]:
        if SALIENCY_INDEX in outputs:
            return tuple(int(index) for index in outputs[SALIENCY_INDEX].reshape(-1))
        return self.facts.channels or tuple(range(len(outputs[SALIENCY_MAP])))

    def _image_map(self, outputs: Outputs) -> np.ndarray:
        """The activation map: mean of the feature map over its channels, scaled to 0..255 u8."""
        if self.facts.classless:
            return outputs[SALIENCY_MAP].reshape(outputs[SALIENCY_MAP].shape[-2:]).copy()
        return to_grey(outputs[FEATURE_MAP].astype(np.float32).mean(axis=0))
