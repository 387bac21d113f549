"""The explanation of one picture, and how it is read from a model's outputs."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from ovxai.errors import UnknownClassError
from ovxai.metadata import (
    FEATURE_MAP,
    PER_BOX,
    SALIENCY_BOX,
    SALIENCY_INDEX,
    SALIENCY_MAP,
    SALIENCY_SCORE,
)
from ovxai.runtime.config import ExplainConfig, TargetExplainGroup
from ovxai.runtime.feed.geometry import Geometry, upright
from ovxai.runtime.feed.late import LateOutputs
from ovxai.runtime.predict.boxes import Outputs
from ovxai.runtime.predict.facts import ModelFacts
from ovxai.runtime.predict.formats import Box, Prediction
from ovxai.runtime.predict.labels import find_class
from ovxai.runtime.predict.select import Wanted, guess_threshold, predicted
from ovxai.runtime.show.picture_maps import IMAGE_KEY, BoxKey, Key, PictureMaps, class_of
from ovxai.runtime.show.render import to_grey
from ovxai.runtime.write.encode import encode_picture
from ovxai.runtime.write.maps import Writer, WrittenFile

#: The outputs from which maps are made.
_MAPS = (SALIENCY_MAP, FEATURE_MAP, SALIENCY_INDEX, SALIENCY_BOX, SALIENCY_SCORE)
K = TypeVar("K")
V = TypeVar("V")


class Late(Mapping[K, V]):
    """A dict that is made when it is first looked into."""

    def __init__(self, make: Callable[[], dict[K, V]]) -> None:
        self._make = make

    @functools.cached_property
    def _made(self) -> dict[K, V]:
        return self._make()

    def __getitem__(self, key: K) -> V:
        return self._made[key]

    def __iter__(self) -> Iterator[K]:
        return iter(self._made)

    def __len__(self) -> int:
        return len(self._made)

    def __reduce__(self) -> tuple[type[dict[K, V]], tuple[dict[K, V]]]:
        return dict, (self._made,)


@dataclass(frozen=True)
class BoxMap:
    """The map of one box of a detector. values: [h, w], laid upright. box: x1, y1, x2, y2 in pixels of the source picture."""

    class_index: int
    box: Box
    values: np.ndarray


@dataclass(frozen=True)
class AnyMap:
    """The maps of one picture that the model gave, of every class, whatever was asked for.

    outputs: name -> array without batch axis; of them only the explanation outputs are used.
    """

    facts: ModelFacts
    outputs: Outputs

    @functools.cached_property
    def channel_of(self) -> dict[Key, int]:
        """Class index or box -> where its map stands. Class -1 is no box."""
        if self.per_box:
            return self._boxes()
        if SALIENCY_INDEX in self.outputs:
            classes = tuple(int(index) for index in self.outputs[SALIENCY_INDEX].reshape(-1))
        else:
            classes = self.facts.channels or tuple(range(len(self.outputs[SALIENCY_MAP])))
        return {index: classes.index(index) for index in dict.fromkeys(classes) if index >= 0}

    @property
    def per_box(self) -> bool:
        """Whether each map is of one box."""
        return self.facts.explained.per == PER_BOX and {SALIENCY_INDEX, SALIENCY_BOX, SALIENCY_SCORE} <= set(self.outputs)

    def _boxes(self) -> dict[Key, int]:
        """Best first: the first box of a class by the class, further ones by their number."""
        count: dict[int, int] = {}
        places: dict[Key, int] = {}
        for place, index in enumerate(int(index) for index in self.outputs[SALIENCY_INDEX].reshape(-1)):
            if index >= 0:
                count[index] = count.get(index, 0) + 1
                places[index if count[index] == 1 else BoxKey(index, count[index])] = place
        return places

    def boxes(self, geometry: Geometry) -> dict[Key, Prediction]:
        """The boxes of maps per box, in pixels of the picture. geometry: how that lay in the network's input."""
        corners = geometry.boxes_to_source(self.outputs[SALIENCY_BOX]).tolist()
        found: dict[Key, Prediction] = {}
        for key, place in self.channel_of.items():
            index, (x1, y1, x2, y2) = class_of(key), corners[place]
            assert index is not None  # boxes are of classes
            score = float(self.outputs[SALIENCY_SCORE][place])
            found[key] = Prediction(index, self.facts.label(index), score, (x1, y1, x2, y2))
        return found

    def __call__(self, key: Key) -> np.ndarray:
        """[h, w], laid upright.

        Raises:
            UnknownClassError: the model gave no such map.
        """
        return upright(self._raw(key), self.facts.explained.frame)

    def _raw(self, key: Key) -> np.ndarray:
        if key == IMAGE_KEY:
            return self._image_map()
        channel = self.channel_of.get(key) if SALIENCY_MAP in self.outputs else None
        if channel is None:
            what = "boxes" if self.per_box else "classes"
            name = self.facts.label(class_of(key) or 0)
            raise UnknownClassError(f"class: no map for {name}: not among the {what} that the model maps here")
        # A copy: a view would keep all the classes' maps alive, or the request's memory.
        return self.outputs[SALIENCY_MAP][channel].copy()

    def of_boxes(self, geometry: Geometry) -> tuple[BoxMap, ...]:
        """The maps of a model that explains box by box, the surest box first; none of any other.

        geometry: how the picture lies in the input of the network.
        """
        if SALIENCY_BOX not in self.outputs:
            return ()
        found = zip(
            self.outputs[SALIENCY_INDEX].reshape(-1).tolist(),
            geometry.boxes_to_source(self.outputs[SALIENCY_BOX]).tolist(),
            self.outputs[SALIENCY_MAP],
            strict=True,
        )
        frame = self.facts.explained.frame
        return tuple(
            BoxMap(int(index), (x1, y1, x2, y2), upright(values, frame).copy())
            for index, (x1, y1, x2, y2), values in found
            if index >= 0
        )

    def _image_map(self) -> np.ndarray:
        """The activation map: mean of the feature map over its channels, scaled to 0..255 u8."""
        if self.facts.classless:
            return self.outputs[SALIENCY_MAP].reshape(self.outputs[SALIENCY_MAP].shape[-2:]).copy()
        if FEATURE_MAP not in self.outputs:
            raise UnknownClassError("class: no map for the whole picture; ask for it with target image, or give a class")
        return to_grey(self.outputs[FEATURE_MAP].astype(np.float32).mean(axis=0))

    def key(self, wanted: str | int | BoxKey) -> Key:
        """What `wanted`, the name or index of a class, "image" or a box, means here.

        Raises:
            UnknownClassError: no such class; names the nearest ones.
        """
        if wanted == IMAGE_KEY:
            return IMAGE_KEY
        if isinstance(wanted, BoxKey):
            return wanted
        facts = self.facts
        return find_class(wanted, facts.names, facts.explained.num_classes or len(facts.names) or len(self.channel_of))


@dataclass(frozen=True, repr=False, eq=False)
class Explanation(PictureMaps):
    """Maps of one picture and what the model says about it: see `PictureMaps` for what it holds, and how it is shown.

    any_map: what gives the maps of classes that were not asked for.
    """

    any_map: AnyMap | None = None

    def map(self, wanted: str | int | BoxKey) -> np.ndarray:
        """The map of any class, by name or index, also of one that was not asked for; or that of the whole picture ("image").

        Of a model with a map per box a class means its best box; `boxes` has the keys of all.
        As `maps` has it: [h, w] u8 (f32 of raw maps), or with postprocessing [H, W, 3] u8 RGB, the picture's size.

        Raises:
            UnknownClassError, a KeyError: the model has no such class or gave no map of it; names the nearest classes.
        """
        key = self.key(wanted)
        return self.heat_map(key) if self.config.postprocess else self.raw_map(key)

    def key(self, wanted: str | int | BoxKey) -> Key:
        """What the name or index of a class, or the key of a box, means here."""
        return super().key(wanted) if self.any_map is None else self.any_map.key(wanted)

    def raw_map(self, key: Key) -> np.ndarray:
        """[h, w] as the model gives it, laid upright."""
        return self.raw_maps[key] if self.any_map is None or key in self.raw_maps else self.any_map(key)

    def label(self, key: Key | None) -> str | None:
        """Name of a class; None for the whole picture."""
        index = class_of(key)
        if self.any_map is None or index is None or index in self.labels:
            return super().label(key)
        return self.any_map.facts.label(index)

    def show(self) -> Path | None:
        """Show the picture and the overlays of its best classes: in a notebook below the cell, else in the system's viewer.

        Returns the path of the PNG, a temporary file; None in a notebook, which keeps the picture.
        """
        from ovxai.runtime.write.viewer import show_picture

        return show_picture(self._repr_png_())

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
        if isinstance(self.raw_maps, Late):  # looking would make them
            return f"Explanation({self.source or 'array'}: maps are computed when asked for)"
        titles = ", ".join(self.title(key) for key in list(self.raw_maps)[:3])
        more = ", ..." if len(self.raw_maps) > 3 else ""
        count = f"{len(self.raw_maps)} {'map' if len(self.raw_maps) == 1 else 'maps'}"
        return f"Explanation({self.source or 'array'}: {count}{': ' * bool(titles)}{titles}{more})"


@dataclass(frozen=True)
class Interpreter:
    """Reads outputs of one model under one configuration."""

    facts: ModelFacts
    config: ExplainConfig
    wanted: Wanted

    def __call__(self, outputs: Outputs, picture: np.ndarray, geometry: Geometry, source: str | None) -> Explanation:
        """outputs: name -> array without batch axis. picture: [H, W, 3] u8 RGB."""
        scores, predictions = predicted(outputs, self.facts, geometry, self.wanted.threshold, self.wanted.top)
        late = isinstance(outputs, LateOutputs)
        any_map = AnyMap(self.facts, outputs if late else {name: outputs[name] for name in _MAPS if name in outputs})

        def chosen() -> dict[Key, np.ndarray]:
            return {key: any_map(key) for key in self._keys(any_map, predictions)}

        maps: Mapping[Key, np.ndarray] = Late(chosen) if late else chosen()

        def boxes() -> dict[Key, Prediction]:
            return any_map.boxes(geometry) if any_map.per_box else {}

        def labels() -> dict[int, str]:
            return {index: self.facts.label(index) for index in map(class_of, maps) if index is not None}

        return Explanation(
            raw_maps=maps,
            beside=self._beside(any_map, scores, predictions),
            labels=Late(labels) if late else labels(),
            scores=scores,
            predictions=predictions,
            target=self.wanted.target,
            config=self.config,
            picture=picture,
            geometry=geometry.within(self.facts.explained.frame),
            source=source,
            notes=() if late and SALIENCY_INDEX in outputs else self._missing(any_map, predictions),
            any_map=any_map,
            boxes=Late(boxes) if late and any_map.per_box else boxes(),
            threshold=guess_threshold(self.facts, self.wanted.threshold),
        )

    def _asked(self, predictions: tuple[Prediction, ...]) -> tuple[int, ...] | None:
        """The classes whose maps are wanted; None for all that there are."""
        if self.wanted.classes:
            return self.wanted.classes
        if self.wanted.target == TargetExplainGroup.ALL:
            return None
        return tuple(dict.fromkeys(p.class_index for p in predictions))

    def _beside(self, any_map: AnyMap, scores: dict[int, float], predictions: tuple[Prediction, ...]) -> tuple[int, ...]:
        """The best classes whose maps were not asked for, for a grid to show."""
        if not self.wanted.beside or SALIENCY_MAP not in any_map.outputs or self.facts.classless:
            return ()
        best = sorted((index for index in scores if index in any_map.channel_of), key=lambda index: -scores[index])
        asked = self._keys(any_map, predictions)
        return tuple(index for index in best[: self.wanted.beside] if index not in asked)

    @property
    def _whole(self) -> bool:
        """Whether the map of the whole picture is wanted."""
        return not self.wanted.classes and self.wanted.target == TargetExplainGroup.IMAGE

    def _keys(self, any_map: AnyMap, predictions: tuple[Prediction, ...]) -> tuple[Key, ...]:
        if self._whole:
            return (IMAGE_KEY,)
        asked = self._asked(predictions)
        if any_map.per_box:
            return tuple(key for key in any_map.channel_of if self._is_wanted(any_map, key, asked))
        return tuple(any_map.channel_of if asked is None else (index for index in asked if index in any_map.channel_of))

    def _is_wanted(self, any_map: AnyMap, key: Key, asked: tuple[int, ...] | None) -> bool:
        """Whether a box is of a class asked for and over the threshold; where all are asked for there is none."""
        score = any_map.outputs[SALIENCY_SCORE][any_map.channel_of[key]]
        return asked is None or (class_of(key) in asked and float(score) > self.wanted.threshold)

    def _missing(self, any_map: AnyMap, predictions: tuple[Prediction, ...]) -> tuple[str, ...]:
        there = self._keys(any_map, predictions)
        missing = [] if self._whole else [i for i in self._asked(predictions) or () if i not in there]
        names = ", ".join(self.facts.label(index) for index in missing)
        what = "classes that the model maps here"
        if any_map.per_box:
            what = f"{any_map.outputs[SALIENCY_SCORE].size} best boxes, or not over {self.wanted.threshold:g}"
        return (f"no map for {names}: not among the {what}",) if missing else ()
