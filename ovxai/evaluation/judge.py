"""The plain model as a judge: changed pictures in, scores of the targets out; several pictures per inference."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import openvino as ov

from ovxai.errors import OptionError
from ovxai.evaluation.curves import Score, Sight
from ovxai.evaluation.metrics import overlaps
from ovxai.graph.picture import PictureInput, find_picture_input
from ovxai.graph.surgery import strip_model
from ovxai.metadata import VECTOR_TASKS, ExplainedInfo, is_explained
from ovxai.runtime.feed.engine import DeviceOptions, Engine, NamedOutput, Prepared, Ticket
from ovxai.runtime.feed.geometry import Geometry, fit
from ovxai.runtime.feed.preprocess import PreprocessOptions, make_preprocessor
from ovxai.runtime.predict.boxes import Outputs
from ovxai.runtime.predict.facts import ModelFacts
from ovxai.runtime.predict.formats import Box, Prediction, candidates, class_scores, decodable
from ovxai.runtime.predict.select import predicted

#: Pictures per inference, where the model lets it be chosen. A question about fewer costs as much as one about all of them.
BATCH = 4


@dataclass(frozen=True)
class Target:
    """What is explained: a class, or of a detector one object of it. box: x1, y1, x2, y2 in pixels of the source picture."""

    class_index: int
    box: Box | None = None


@dataclass(frozen=True)
class View:
    """One picture as the judge sees it.

    pixels: [H, W, channels] u8, as loaded. geometry: how it lies in the network. lies: how it lies in the tensor that is fed.
    """

    pixels: np.ndarray
    sight: Sight
    geometry: Geometry
    lies: Geometry
    source: str | None = None

    def on_content(self, heat: np.ndarray) -> np.ndarray:
        """[H, W] over the picture -> [h', w'] over the content of the model's input."""
        x1, y1, x2, y2 = self.lies.window_box()
        seen = np.ascontiguousarray(heat[y1:y2, x1:x2], np.float32)
        height, width = self.sight.size
        shrinks = height * width < seen.shape[0] * seen.shape[1]
        return resized(seen, (height, width), smooth=shrinks)

    def on_picture(self, heat: np.ndarray) -> np.ndarray:
        """[h', w'] over the content -> f32 [H, W] over the picture, 0 where the model does not look."""
        x1, y1, x2, y2 = self.lies.window_box()
        whole = np.zeros(self.lies.source, np.float32)
        whole[y1:y2, x1:x2] = resized(np.asarray(heat, np.float32), (y2 - y1, x2 - x1), smooth=False)
        return whole


def resized(values: np.ndarray, size: tuple[int, int], *, smooth: bool) -> np.ndarray:
    """[h, w] at `size`; smooth: as means over areas, for making it smaller."""
    if values.shape == size:
        return values
    kind = cv2.INTER_AREA if smooth else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(values, (size[1], size[0]), interpolation=kind), np.float32)


class Judge:
    """One model, compiled plain, that says how sure it is of something in changed pictures.

    facts: of the explained form of the model. forwards: pictures that went through it so far.
    """

    def __init__(
        self,
        explained: ov.Model,
        facts: ModelFacts,
        options: DeviceOptions,
        preprocessing: PreprocessOptions | None = None,
        batch: int = BATCH,
    ) -> None:
        """explained: a model; explanation outputs are taken off. options: their batch is not used.

        Raises:
            OptionError: the device refuses the model, or what it predicts can't be read.
        """
        if not decodable(facts):
            form = facts.explained.prediction_format or "unknown"
            raise OptionError(f"{facts.name}: its predictions can't be read (format: {form}), so its maps can't be judged")
        plain = strip_model(explained) if is_explained(explained) else explained
        target = find_picture_input(plain, ExplainedInfo.read(explained))
        self.facts = facts
        self.forwards = 0
        self._last: tuple[View, Outputs] | None = None
        self._prepare, self.notes = make_preprocessor(explained, target, facts.info, preprocessing or PreprocessOptions())
        outputs = [NamedOutput(i, name, name in facts.batched) for i, name in enumerate(facts.own)]
        self._engine = _engine(plain, target, outputs, options, batch if self._prepare.same_size and self._several() else 1)

    @property
    def classifies(self) -> bool:
        """Whether the model gives scores of classes for the whole picture."""
        return self.facts.explained.task in VECTOR_TASKS

    @property
    def channels(self) -> int:
        return self._prepare.channels

    def _several(self) -> bool:
        """Lists of objects are not told apart by picture: these models are asked about one at a time."""
        return all(name in self.facts.batched for name in self.facts.own)

    def view(self, pixels: np.ndarray, source: str | None = None) -> View:
        """pixels: [H, W, channels] u8, as `ovxai.explainer.load` gives them."""
        tensor, geometry = self._prepare(pixels)
        planar = self._prepare.values.picture.planar
        black = self._prepare.values(np.zeros((1, 1, self._prepare.values.picture.channels), np.uint8)).reshape(-1)
        # A graph that fits the picture in itself is fed all of it.
        lies = fit(geometry.source, geometry.source, "standard") if self._prepare.embedded else geometry
        x, y, width, height = (round(value) for value in lies.content)
        return View(pixels, Sight(tensor, planar, (x, y, width, height), black), geometry, lies, source)

    def outputs(self, tensors: Iterable[np.ndarray], view: View) -> Iterable[Outputs]:
        """What the model says of each tensor; a few inferences run beside each other."""
        waiting: deque[Ticket] = deque()
        chunk: list[Prepared] = []
        for tensor in tensors:
            chunk.append(Prepared(view.pixels, tensor, view.geometry, view.source))
            if len(chunk) == self._engine.batch:
                waiting.append(self._engine.start(chunk))
                chunk = []
            if len(waiting) >= self._engine.parallel:
                yield from self._finished(waiting.popleft())
        if chunk:
            waiting.append(self._engine.start(chunk))
        while waiting:
            yield from self._finished(waiting.popleft())

    def _finished(self, ticket: Ticket) -> Sequence[Outputs]:
        found = self._engine.finish(ticket)
        self.forwards += len(found)
        return found

    def scores(self, tensors: Iterable[np.ndarray], view: View, targets: Sequence[Target]) -> np.ndarray:
        """f64 [n, targets], 0..1: how sure the model is of each target in each tensor.

        Of a class: a classifier's probability, a detector's best score. Of a box: the largest product of a candidate's score
        and its overlap (intersection over union) with the box, as D-RISE (arXiv 2006.03204) compares without its class vector.
        """
        rows = [self._scored(outputs, view, targets) for outputs in self.outputs(tensors, view)]
        return np.nan_to_num(np.array(rows, np.float64).reshape(len(rows), len(targets)))

    def _scored(self, outputs: Outputs, view: View, targets: Sequence[Target]) -> list[float]:
        if self.classifies:
            values = class_scores(outputs, self.facts)
            return [float(values[target.class_index]) for target in targets]
        found = []
        known: dict[int, tuple[np.ndarray | None, np.ndarray]] = {}
        for target in targets:
            if target.class_index not in known:
                known[target.class_index] = candidates(outputs, self.facts, view.geometry, target.class_index)
            boxes, scores = known[target.class_index]
            if target.box is not None and boxes is not None:
                scores = scores * overlaps(boxes, target.box)
            found.append(float(scores.max(initial=0.0)))
        return found

    def scores_now(self, view: View, targets: Sequence[Target]) -> np.ndarray:
        """f64 [targets], 0..1: how sure the model is of each target in the picture as it is."""
        return np.nan_to_num(np.array(self._scored(self._as_it_is(view), view, targets), np.float64))

    def _as_it_is(self, view: View) -> Outputs:
        """What the model says of the picture itself, of the same view once."""
        if self._last is None or self._last[0] is not view:
            self._last = view, next(iter(self.outputs([view.sight.tensor], view)))
        return self._last[1]

    def score_of(self, view: View, target: Target) -> Score:
        """How sure the model is of one target: for the figures of `ovxai.evaluation.curves`."""
        return lambda tensors: self.scores(tensors, view, [target])[:, 0]

    def predictions(self, view: View, threshold: float) -> tuple[Prediction, ...]:
        """What the model predicts for the picture as it is, best first."""
        return self.said(view, threshold)[1]

    def said(self, view: View, threshold: float, top: int | None = None) -> tuple[dict[int, float], tuple[Prediction, ...]]:
        """Scores by class, and what is predicted: see `predicted`."""
        return predicted(self._as_it_is(view), self.facts, view.geometry, threshold, top)


def _engine(
    plain: ov.Model, target: PictureInput, outputs: Sequence[NamedOutput], options: DeviceOptions, batch: int
) -> Engine:  # fmt: skip
    """With `batch` pictures per inference, or with the model's own number where its graph holds that fast."""
    if batch > 1:
        try:
            return Engine(plain, target, outputs, replace(options, batch=batch))
        except OptionError:
            pass
    return Engine(plain, target, outputs, replace(options, batch=None))
