"""`Explainer`: a model, explained or plain, ready to explain pictures."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import openvino as ov

from ovxai.errors import OptionError, SourceError
from ovxai.graph.picture import find_picture_input
from ovxai.labels import given_labels
from ovxai.metadata import EMBEDDED_MAP, EMBEDDED_OVERLAY, FEATURE_MAP, FEATURE_VECTOR, is_explained
from ovxai.runtime.config import ExplainConfig, TargetExplainGroup
from ovxai.runtime.facts import ModelFacts, read_facts
from ovxai.runtime.feed.engine import DeviceOptions, Engine, Prepared
from ovxai.runtime.feed.images import read_image, to_rgb
from ovxai.runtime.feed.preprocess import PreprocessOptions, make_preprocessor
from ovxai.runtime.feed.sources import Broken, Frame
from ovxai.runtime.interpret import Interpreter
from ovxai.runtime.pipeline import Pipeline
from ovxai.runtime.predict.select import settle
from ovxai.runtime.show.explanation import Explanation

log = logging.getLogger(__name__)


class Explainer:
    """Explains pictures with one compiled model. Reusable, and safe to call from several threads.

    model: an explained or plain `ov.Model`, or the path of one. A plain model is explained in memory
        first, which is logged and stands in `notes`. The argument is not changed.
    config: what to explain and how to show it.
    device, hint, precision, batch, cache_dir, threads: see `ovxai.runtime.feed.engine.DeviceOptions`.
    labels: class names, or a file with one a line; instead of those in the model's rt_info.
    mean, scale_values, resize_type, pad_value, reverse_input_channels, input_size: preprocessing,
        instead of what the model's rt_info says; see `ovxai.runtime.feed.preprocess.PreprocessOptions`.

    The maps come from the model itself (Recipro-CAM arXiv 2209.14074, ViT Recipro-CAM arXiv
    2310.02588, OTX's DetClassProbabilityMap and others); `facts.explained.method` says which.

    Raises:
        ModelReadError: no such model file, or damaged.
        UnsupportedModelError: no input takes a picture, or a plain model can't be explained.
        OptionError: an option that does not fit the model or the device.
    """

    def __init__(
        self,
        model: ov.Model | str | Path,
        config: ExplainConfig | None = None,
        device: str = "CPU",
        *,
        hint: str = "latency",
        precision: str | None = None,
        batch: int | None = None,
        cache_dir: str | Path | None = None,
        threads: int | None = None,
        labels: Iterable[str] | str | Path | None = None,
        mean: Iterable[float] | float | None = None,
        scale_values: Iterable[float] | float | None = None,
        resize_type: str | None = None,
        pad_value: int | None = None,
        reverse_input_channels: bool | None = None,
        input_size: tuple[int, int] | None = None,
    ) -> None:
        options = DeviceOptions(device, hint, precision, batch, cache_dir, threads)
        preprocessing = PreprocessOptions(
            _values(mean), _values(scale_values), resize_type, pad_value, reverse_input_channels, input_size
        )
        names = given_labels(labels)
        explained, notes = open_explained(model)
        self.config = config or ExplainConfig()
        self.facts = read_facts(explained, names)
        self.notes = (*notes, *self.facts.notes)
        wanted = settle(self.config, self.facts)
        target = find_picture_input(explained)
        self._prepare, more = make_preprocessor(explained, target, self.facts.info, preprocessing)
        self.notes = (*self.notes, *more, *wanted.notes)
        for note in self.notes:
            log.info(note)
        self._interpret = Interpreter(self.facts, self.config, wanted)
        self._engine = Engine(explained, self.facts, target, options, _unused(self.facts, wanted.target))

    def __call__(self, image: np.ndarray | str | Path, channel_order: str = "rgb") -> Explanation:
        """Explain one picture.

        image: path, or array [H, W, 3] u8 (also grey, 4 channels, 16-bit, or float 0..1).
        channel_order: "rgb", or "bgr" for OpenCV's arrays; files need no order.

        Raises:
            SourceError: the file is not a picture, the array has not the shape of one, or the device
                refused it.
        """
        picture, source = load(image, channel_order)
        tensor, geometry = self._prepare(picture)
        ticket = self._engine.start([Prepared(picture, tensor, geometry, source)])
        return self._interpret(self._engine.finish(ticket)[0], picture, geometry, source)

    def explain_many(
        self,
        images: Iterable[np.ndarray | str | Path],
        channel_order: str = "rgb",
        *,
        skip_broken: bool = False,
    ) -> Iterator[Explanation]:
        """Explain a stream of pictures; results come in order while decoding and inference overlap.

        `images` is read as far ahead as the pipeline is deep, never to its end at once.
        skip_broken: log pictures that can't be read and leave them out, instead of raising.

        Raises:
            SourceError: see `__call__`; unless `skip_broken`.
        """
        items = (_frame(image, i, channel_order) for i, image in enumerate(images))
        for result in self.pipeline(lambda _frame, explanation: explanation).run(items):
            if not isinstance(result, Broken):
                yield result
            elif not skip_broken:
                raise SourceError(result.reason)
            else:
                log.warning(result.reason)

    def pipeline(self, finish) -> Pipeline:
        """The stages of this explainer with `finish` at their end: what `ovxai run` is made of."""
        return Pipeline(self._engine, self._prepare, self._interpret, finish)


def open_explained(model: ov.Model | str | Path) -> tuple[ov.Model, tuple[str, ...]]:
    """`model` itself when it is explained, else an explained copy; and notes that say so.

    Raises:
        ModelReadError: no such model file, or damaged.
        UnsupportedModelError: a plain model that can't be explained.
    """
    if not isinstance(model, ov.Model):
        from ovxai.graph.read import read_model

        path, model = model, read_model(model)
        if not model.get_friendly_name():
            model.set_friendly_name(Path(path).stem)
    if is_explained(model):
        return model, ()
    from ovxai.insertion import insert  # an edge device with an explained model never comes here

    explained = insert(model)
    return explained, ("the model is plain: explanation outputs were inserted in memory (`ovxai insert` keeps them)",)


def load(image: np.ndarray | str | Path, channel_order: str = "rgb") -> tuple[np.ndarray, str | None]:
    """[H, W, 3] u8 RGB, and the path it came from.

    Raises:
        SourceError: not a picture. OptionError: an unknown channel order.
    """
    if channel_order not in ("rgb", "bgr"):
        raise OptionError(f"channel order: there is no {channel_order!r}; choose rgb or bgr")
    if isinstance(image, np.ndarray):
        return to_rgb(image, "array", channel_order), None
    return read_image(image), str(image)


def _frame(image: np.ndarray | str | Path, index: int, channel_order: str) -> Frame:
    source = f"array {index}" if isinstance(image, np.ndarray) else str(image)
    return Frame(source, Path(source).stem, lambda: load(image, channel_order)[0])


def _values(values: Iterable[float] | float | None) -> tuple[float, ...] | None:
    if values is None:
        return None
    return (float(values),) if np.isscalar(values) else tuple(float(value) for value in values)


def _unused(facts: ModelFacts, target: TargetExplainGroup) -> frozenset[str]:
    unused = {FEATURE_VECTOR, EMBEDDED_MAP, EMBEDDED_OVERLAY}
    if target != TargetExplainGroup.IMAGE or facts.classless:
        unused.add(FEATURE_MAP)
    return frozenset(unused - set(facts.own))
