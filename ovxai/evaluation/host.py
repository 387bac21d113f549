"""Pictures explained from outside of the model, for `ovxai run`: by asking it about changed pictures, again and again."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import cv2
import numpy as np

from ovxai.errors import OptionError
from ovxai.evaluation.baselines import BASELINES, Effort
from ovxai.evaluation.columns import Subject, open_judge
from ovxai.evaluation.judge import Target
from ovxai.evaluation.shapes import unit_map
from ovxai.metadata import SALIENCY_INDEX, SALIENCY_MAP, WHOLE
from ovxai.runtime.config import ExplainConfig, TargetExplainGroup
from ovxai.runtime.explanation import AnyMap, Explanation
from ovxai.runtime.feed.engine import DeviceOptions
from ovxai.runtime.feed.geometry import fit
from ovxai.runtime.feed.images import to_display
from ovxai.runtime.feed.preprocess import PreprocessOptions
from ovxai.runtime.feed.sources import Broken, Frame
from ovxai.runtime.predict.formats import Prediction
from ovxai.runtime.predict.labels import find_class
from ovxai.runtime.predict.select import guess_threshold, threshold_of
from ovxai.runtime.show.picture_maps import Key

B = TypeVar("B")
#: The methods of `ovxai run --method`.
HOST_METHODS = tuple(name for name, one in BASELINES.items() if one.asks)
#: Longer side of the maps that are handed on.
_SIDE = 224


class HostExplainer:
    """Explains pictures of any model whose predictions can be read, at the price of many inferences per picture.

    config: what is explained, and how it is shown; target image is not possible. facts: what the model says of itself.
    notes: lines for the person who runs it, what a picture costs among them.
    """

    def __init__(
        self,
        subject: Subject,
        method: str,
        config: ExplainConfig,
        options: DeviceOptions,
        feeding: PreprocessOptions,
        effort: Effort,
    ) -> None:
        """method: one of `HOST_METHODS`. options: their batch is not used.

        Raises:
            OptionError: the method, the target or a class does not fit the model. UnsupportedModelError: its predictions
            can't be read.
        """
        self.config = config
        self._judge, _, notes = open_judge(subject, options, feeding)
        self._baseline, self._effort = BASELINES[method], effort
        if self._baseline.boxes and self._judge.classifies:
            raise OptionError(
                f"method {method} explains boxes, and {self._judge.facts.name} finds none; choose rise or occlusion"
            )
        if config.target == TargetExplainGroup.IMAGE and not config.classes:
            raise OptionError(f"target image: {method} explains classes; choose predictions or all, or --class")
        explained = replace(self._judge.facts.explained, method=f"{method} (on the host)", target_layers=(), mask="", collapse="",
                            map_frame=WHOLE.box, map_axes=WHOLE.axes)  # fmt: skip
        self.facts = replace(self._judge.facts, explained=explained)
        count = explained.num_classes or len(self.facts.names)
        self._classes = tuple(find_class(one, self.facts.names, count) for one in config.classes)
        self._all = tuple(range(count))
        self._threshold = threshold_of(config, self.facts)
        self.notes: tuple[str, ...] = (*notes, *self._judge.notes, self._cost(method))

    @property
    def name(self) -> str:
        """Of the model."""
        return self.facts.name

    @property
    def channels(self) -> int:
        """Of the pictures that the model takes."""
        return self._judge.channels

    def _cost(self, method: str) -> str:
        """What a picture costs, from one picture of nothing that fills the input and is asked about a few times."""
        tensor = self._judge.view(np.zeros((_SIDE, _SIDE, self.channels), np.uint8)).sight
        sides = tensor.tensor.shape[1:] if tensor.planar else tensor.tensor.shape[:2]
        view = self._judge.view(np.zeros((*sides, self.channels), np.uint8))
        target = [Target(0)]
        self._judge.scores([view.sight.tensor] * 8, view, target)
        begin = time.perf_counter()
        self._judge.scores([view.sight.tensor] * 24, view, target)
        each = (time.perf_counter() - begin) / 24
        assert self._baseline.questions is not None  # of all methods of the host
        count = self._baseline.questions(view.sight.size, self._effort)
        whose = "per picture and class" if self._baseline.each else "per picture"
        cost = f"about {count} inferences {whose}, {count * each:.1f} s here"
        return f"{method} on the host: {cost}; the model itself is not changed"

    def __call__(self, pixels: np.ndarray, source: str | None = None) -> Explanation:
        """Explain one picture. pixels: [H, W, channels] u8."""
        view = self._judge.view(pixels, source)
        scores, predictions = self._judge.said(view, self._threshold, self.config.top)
        asked = self._targets(predictions)
        targets = asked + self._beside(asked, scores)
        now = self._judge.scores_now(view, [Target(t.class_index) for t in targets])
        maps = self._baseline.make(self._judge, view, targets, self._effort) if targets else []
        grey = [_grey(view.on_picture(unit_map(one))) for one in maps]
        classes = [target.class_index for target in targets]
        size = (pixels.shape[0], pixels.shape[1])
        outputs = {SALIENCY_MAP: np.stack(grey), SALIENCY_INDEX: np.array(classes, np.int64)} if grey else {}
        raw: dict[Key, np.ndarray] = dict(zip(classes[: len(asked)], grey))
        return Explanation(
            raw_maps=raw,
            labels={target.class_index: self.facts.label(target.class_index) for target in asked},
            scores={**{index: float(score) for index, score in zip(classes, now)}, **scores},
            predictions=predictions,
            target=self.config.target,
            config=self.config,
            picture=to_display(pixels),
            geometry=fit(size, size, "standard"),
            source=source,
            threshold=guess_threshold(self.facts, self._threshold),
            beside=tuple(classes[len(asked) :]),
            any_map=AnyMap(self.facts, outputs),
        )

    def _targets(self, predictions: tuple[Prediction, ...]) -> list[Target]:
        """One per class; methods of boxes explain its surest one."""
        if self._classes or self.config.target == TargetExplainGroup.ALL:
            return [Target(one) for one in dict.fromkeys(self._classes or self._all)]
        best: dict[int, Target] = {}
        for one in predictions:
            best.setdefault(one.class_index, Target(one.class_index, one.box if self._baseline.boxes else None))
        return list(best.values())

    def _beside(self, asked: Sequence[Target], scores: Mapping[int, float]) -> list[Target]:
        """The best classes that were not asked for, for a grid to show: further targets of the same questions."""
        best = sorted(scores, key=lambda index: -scores[index])[: self.config.grid]
        return [Target(index) for index in best if index not in {target.class_index for target in asked}]

    def pipeline(self, finish: Callable[[Frame, Explanation], B]) -> HostPipeline[B]:
        """Picture after picture: the model is busy with each by itself."""
        return HostPipeline(self, finish)


@dataclass(frozen=True)
class HostPipeline(Generic[B]):
    """What `ovxai.runtime.run.Run` drives: frames in, what `finish` makes of their explanations out, in order."""

    explain: HostExplainer
    finish: Callable[[Frame, Explanation], B]

    def run(self, items: Iterable[Frame | Broken]) -> Generator[B | Broken, None, None]:
        """What `finish` returns for every picture; a broken one stands in its place as `Broken`."""
        for item in items:
            if isinstance(item, Broken):
                yield item
                continue
            try:
                made = self.finish(item, self.explain(item.load(self.explain.channels), item.source))
            except Exception as error:
                yield Broken.of(item.source, error)
            else:
                yield made


def _grey(heat: np.ndarray) -> np.ndarray:
    """[H, W] 0..1 -> u8, at most `_SIDE` a side."""
    height, width = heat.shape
    factor = min(1.0, _SIDE / max(height, width))
    small = cv2.resize(heat, (max(1, round(width * factor)), max(1, round(height * factor))), interpolation=cv2.INTER_AREA)
    return np.asarray(np.rint(255 * unit_map(small)), np.uint8)
