"""`Explainer`: a model, explained or plain, ready to explain pictures."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import openvino as ov

from ovxai.errors import SourceError, UsageError
from ovxai.graph.picture import find_picture_input
from ovxai.labels import given_labels
from ovxai.metadata import EMBEDDED_MAP, EMBEDDED_OVERLAY, FEATURE_MAP, FEATURE_VECTOR, VECTOR_TASKS, is_explained
from ovxai.options import as_values
from ovxai.runtime.config import ExplainConfig, TargetExplainGroup
from ovxai.runtime.explanation import Explanation, Interpreter
from ovxai.runtime.feed.arrays import SharesArray, as_array, check_range
from ovxai.runtime.feed.beside import Given, given_inputs, side_inputs
from ovxai.runtime.feed.engine import DeviceOptions, Engine, Prepared
from ovxai.runtime.feed.images import read_image, to_display, to_pixels
from ovxai.runtime.feed.preprocess import PreprocessOptions, make_preprocessor
from ovxai.runtime.feed.sources import Broken, Frame
from ovxai.runtime.pipeline import Pipeline
from ovxai.runtime.predict.facts import ModelFacts, read_facts
from ovxai.runtime.predict.select import settle

B = TypeVar("B")
#: A path, or pixels: an array, a PIL picture, or a tensor [H, W, C].
Picture = np.ndarray | str | Path | npt.ArrayLike | SharesArray
CHANNEL_ORDERS = ("rgb", "bgr")
log = logging.getLogger(__name__)


class Explainer:
    """Explains pictures with one compiled model. Reusable, and safe to call from several threads.

    The maps come from the model itself (Recipro-CAM arXiv 2209.14074, ViT Recipro-CAM arXiv
    2310.02588, OTX's DetClassProbabilityMap and others); `facts.explained.method` says which.

    config: what is explained, and how it is shown. facts: what the model says of itself.
    notes: lines for the person who runs it, such as that the model was explained in memory.
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
        trust: bool = False,
        self_check: bool = False,
        labels: Iterable[str] | str | Path | None = None,
        labels_offset: int | None = None,
        mean: Iterable[float] | float | None = None,
        scale_values: Iterable[float] | float | None = None,
        resize_type: str | None = None,
        pad_value: int | None = None,
        reverse_input_channels: bool | None = None,
        input_size: tuple[int, int] | None = None,
        inputs: Mapping[str, Given] | None = None,
    ) -> None:
        """Read, where need be explain, and compile a model.

        model: an explained or plain `ov.Model`, or the path of one. A plain model is explained in memory
            first, which is logged and stands in `notes`. The argument is not changed.
        config: what to explain and how to show it; None: `ExplainConfig()`.
        device: OpenVINO's name (CPU, GPU, NPU, AUTO ...). hint: "latency" or "throughput".
        precision: "f32", "f16" or "bf16"; None: the device's own choice, which is bf16 on CPUs that have it.
        batch: pictures per inference; None: the model's own, else 1. threads: of a CPU, at most so many.
        cache_dir: where compiled models are kept for the next start.
        self_check: hold the first picture against a compilation with one stream where there are several, and go on with
            that where they differ; then `notes` says so.
        labels: class names, or a file with one per line; instead of those in the model's rt_info.
        labels_offset: how many classes without a name come first, such as 1 for a background.
        trust: read a .pt2 that carries more than weights and a graph, and run that as code.

        The others say how pictures are fed, instead of the model's rt_info:

        mean, scale_values: subtracted, then divided by; in 0..255 units, one value or one per channel in the order
            in which the model wants them.
        resize_type: "standard" (stretched), "fit_to_window", "fit_to_window_letterbox" or "crop".
        pad_value: grey of the padding, 0..255. reverse_input_channels: whether the model wants BGR.
        input_size: (height, width) for models with a dynamic input; None: the picture's own.
        inputs: for each input beside the picture that can't be filled otherwise (by name): the path of a picture, which is
            prepared like the explained one, or of a .npy file, or an array; the same for every picture.

        Raises:
            ModelReadError: no such model file, or damaged.
            UnsupportedModelError: no input takes a picture, or a plain model can't be explained.
            NotExplainedError: the model's `saliency_map` holds no maps.
            OptionError: an option that does not fit the model or the device; a UsageError where no model could take it.
        """
        options = DeviceOptions(device, hint, precision, batch, cache_dir, threads, self_check)
        preprocessing = PreprocessOptions(
            as_values(mean), as_values(scale_values), resize_type, pad_value, reverse_input_channels, input_size
        )
        names = given_labels(labels)
        explained, notes = open_explained(model, trust=trust)
        self.config = config or ExplainConfig()
        self.facts = read_facts(explained, names, labels_offset)
        wanted = settle(self.config, self.facts)
        target = find_picture_input(explained)
        self._prepare, more = make_preprocessor(explained, target, self.facts.info, preprocessing)
        self._notes = (*notes, *self.facts.notes, *more, *wanted.notes)
        for note in self._notes:
            log.info(note)
        self._interpret = Interpreter(self.facts, self.config, wanted)
        outputs = self.facts.named_outputs(skip=_unused(self.facts, wanted.target))
        given = given_inputs(explained, target, inputs or {}, self.facts.info, preprocessing)
        sides = side_inputs(explained, target, given, sizes=self.facts.explained.task not in VECTOR_TASKS)
        self._engine = Engine(explained, target, outputs, options, sides)

    @property
    def notes(self) -> tuple[str, ...]:
        """Lines for the person who runs it; the first picture may add one."""
        return (*self._notes, *self._engine.notes)

    @property
    def name(self) -> str:
        """The model's own name."""
        return self.facts.name

    @property
    def channels(self) -> int:
        """Channels of the pictures that the model takes: 3 (RGB, also where it looks at grey), 4 (RGBA), or its own number."""
        return self._prepare.channels

    def __call__(self, image: Picture, channel_order: str = "rgb") -> Explanation:
        """Explain one picture.

        image: path, or array [H, W, 3] u8 (also grey, 4 channels, 16-bit, or float 0..1), PIL picture or tensor like that.
            For a model of any other number of channels, an array [H, W, channels].
        channel_order: "rgb", or "bgr" for OpenCV's arrays; files need no order.

        Raises:
            SourceError: the file is not a picture, the array has not the shape of one, or the device
                refused it.
            UsageError: an unknown channel order.
        """
        pixels, source = load(image, channel_order, self.channels)
        picture = to_display(pixels)
        tensor, geometry = self._prepare(pixels)
        ticket = self._engine.start([Prepared(picture, tensor, geometry, source)])
        return self._interpret(self._engine.finish(ticket)[0], picture, geometry, source)

    def explain_many(
        self,
        images: Iterable[Picture],
        channel_order: str = "rgb",
        *,
        skip_broken: bool = False,
    ) -> Generator[Explanation, None, None]:
        """Explain a stream of pictures; results come in order while decoding and inference overlap.

        images, channel_order: see `__call__`. Read as far ahead as the pipeline is deep, never to the end at once.
        skip_broken: log pictures that can't be read and leave them out, instead of raising.

        Raises:
            SourceError, UsageError: see `__call__`; no SourceError with `skip_broken`.
        """
        _check_order(channel_order)
        _check_several(images)
        items = (_frame(image, i, channel_order) for i, image in enumerate(images))
        for result in self.pipeline(_explanation_alone).run(items):
            if not isinstance(result, Broken):
                yield result
            elif not skip_broken:
                raise SourceError(result.reason)
            else:
                log.warning(result.reason)

    def pipeline(self, finish: Callable[[Frame, Explanation], B]) -> Pipeline[B]:
        """The stages of this explainer with `finish` at their end: what `ovxai run` is made of."""
        return Pipeline(self._engine, self._prepare, self._interpret, finish)


def _explanation_alone(_frame: Frame, explanation: Explanation) -> Explanation:
    return explanation


def open_explained(model: ov.Model | str | Path, *, trust: bool = False) -> tuple[ov.Model, tuple[str, ...]]:
    """`model` itself when it is explained, else an explained copy; and notes that say so.

    Raises:
        ModelReadError: no such model file, or damaged.
        UnsupportedModelError: a plain model that can't be explained.
    """
    path = None
    if not isinstance(model, ov.Model):
        from ovxai.graph.read import read_model

        path, model = Path(model), read_model(model, trust=trust)
        if not model.get_friendly_name():
            model.set_friendly_name(path.stem)
    if is_explained(model):
        return model, ()
    from ovxai.insertion import insert_with_report  # an edge device with an explained model never comes here
    from ovxai.options import InsertOptions

    done = insert_with_report(model, InsertOptions(), beside=path)
    said = "the model is plain: explanation outputs were inserted in memory (`ovxai insert` keeps them)"
    return done.model, (said, *done.told)


def load(image: Picture, channel_order: str = "rgb", channels: int = 3) -> tuple[np.ndarray, str | None]:
    """[H, W, channels] u8, and the path it came from.

    Raises:
        SourceError: not a picture, or not one of so many channels. UsageError: an unknown channel order.
    """
    _check_order(channel_order)
    if isinstance(image, (str, Path)):
        return read_image(image, channels), str(image)
    array, order = as_array(image, channel_order)
    check_range(array, "array")
    return to_pixels(array, "array", channels, order), None


def _check_order(channel_order: str) -> None:
    if channel_order not in CHANNEL_ORDERS:
        raise UsageError(f"channel order: there is no {channel_order!r}; choose {' or '.join(CHANNEL_ORDERS)}")


def _check_several(images: object) -> None:
    """Refuse one picture where several are wanted: its letters or rows are none."""
    one = isinstance(images, (str, bytes, Path)) or (isinstance(images, np.ndarray) and images.ndim < 4)
    if one or not isinstance(images, Iterable):
        raise UsageError(f"explain_many takes several pictures, not one {type(images).__name__}; put it into a list")


def _frame(image: Picture, index: int, channel_order: str) -> Frame:
    source = str(image) if isinstance(image, (str, Path)) else f"array {index}"
    return Frame(source, Path(source).stem, lambda channels: load(image, channel_order, channels)[0])


def _unused(facts: ModelFacts, target: TargetExplainGroup) -> frozenset[str]:
    unused = {FEATURE_VECTOR, EMBEDDED_MAP, EMBEDDED_OVERLAY}
    if target != TargetExplainGroup.IMAGE or facts.classless:
        unused.add(FEATURE_MAP)
    return frozenset(unused - set(facts.own))
