"""`Explainer`: a model, explained or plain, ready to explain pictures."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
import openvino as ov

from ovxai.errors import SourceError, UsageError, advice
from ovxai.graph.picture import find_picture_input
from ovxai.labels import given_labels
from ovxai.metadata import EMBEDDED_MAP, EMBEDDED_OVERLAY, FEATURE_MAP, FEATURE_VECTOR, VECTOR_TASKS, is_explained
from ovxai.options import as_values
from ovxai.runtime.config import ExplainConfig, TargetExplainGroup
from ovxai.runtime.explanation import Explanation, Interpreter
from ovxai.runtime.feed.arrays import SharesArray, as_array, check_range
from ovxai.runtime.feed.beside import Given, given_inputs, side_inputs
from ovxai.runtime.feed.engine import DeviceOptions, Engine, Prepared
from ovxai.runtime.feed.images import decode_image, read_image, to_display, to_pixels
from ovxai.runtime.feed.preprocess import PreprocessOptions, make_preprocessor
from ovxai.runtime.feed.sources import Broken, Frame
from ovxai.runtime.pipeline import Pipeline
from ovxai.runtime.predict.facts import ModelFacts, read_facts
from ovxai.runtime.predict.select import settle

Model: TypeAlias = ov.Model | str | Path
B = TypeVar("B")
#: A path, the bytes of a file, or pixels: an array, a PIL picture, or a tensor.
Picture = np.ndarray | bytes | bytearray | memoryview | str | Path | npt.ArrayLike | SharesArray
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
        model: Model | tuple[Model, Model],
        config: ExplainConfig | Mapping[str, Any] | None = None,
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
            first, which is logged and stands in `notes`. Of a split model the path of its plain part, or both parts as a
            tuple: then the head runs when a map is looked at. The argument is not changed.
        config: what to explain and how to show it, or a dict of its keywords; None: `ExplainConfig()`.
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
        opened = open_explained(model, trust=trust, batch=batch)
        self.config = config if isinstance(config, ExplainConfig) else ExplainConfig.of(config or {})
        self.facts = read_facts(opened.whole, names, labels_offset)
        wanted = settle(self.config, self.facts)
        target = find_picture_input(opened.runs)
        self._prepare, more = make_preprocessor(opened.runs, target, self.facts.info, preprocessing)
        self._notes = (*opened.notes, *self.facts.notes, *more, *wanted.notes)
        for note in self._notes:
            log.info(advice(note))
        self._interpret = Interpreter(self.facts, self.config, wanted)
        outputs = self.facts.named_outputs(skip=_unused(self.facts, wanted.target))
        self._options = options
        given = given_inputs(opened.runs, target, inputs or {}, self.facts.info, preprocessing)
        sides = side_inputs(opened.runs, target, given, sizes=self.facts.explained.task not in VECTOR_TASKS)
        self._engine = Engine(opened.runs, target, outputs, options, sides, opened.head)

    @property
    def notes(self) -> tuple[str, ...]:
        """Lines for the person who runs it; the first picture may add one."""
        return tuple(map(advice, (*self._notes, *self._engine.notes)))

    def __repr__(self) -> str:
        explained, count = self.facts.explained, self.facts.explained.num_classes or len(self.facts.names)
        what = " ".join(filter(None, [explained.method or "explained elsewhere", explained.task]))
        return f"Explainer({self.name}: {what}, {count} classes, {self._options.device}, target {self.config.target})"

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

        image: path, the bytes of a picture file, or array [H, W, 3] u8 (also grey, 4 channels, 16-bit, or float 0..1), PIL
            picture or tensor like that (also [3, H, W]).
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


@dataclass(frozen=True)
class Opened:
    """A model that explains. whole: with all its outputs. runs: what is run for every picture: `whole`, or the plain part of a
    split model. head: its other part; None of others. notes: lines for the person who runs it."""

    whole: ov.Model
    runs: ov.Model
    head: ov.Model | None = None
    notes: tuple[str, ...] = ()


def open_explained(model: Model | tuple[Model, Model], *, trust: bool = False, batch: int | None = None) -> Opened:
    """`model` when it is explained, whole or in two parts, else an explained copy, and notes that say so.

    batch: pictures per inference; None: what the model says. Of a static batch, a copy is explained for that one.

    Raises:
        ModelReadError: no such model file, or damaged; a part of a split model without the other.
        UnsupportedModelError: a plain model that can't be explained. OptionError: one made for another batch alone.
    """
    from ovxai.graph.split import is_head, is_plain_part, join_parts, read_head

    head = None
    if isinstance(model, tuple):
        model, head = (_opened(part, trust) for part in model)
        return Opened(join_parts(model, head), model, head)
    path, model = model, _opened(model, trust)
    if is_head(model) or is_plain_part(model):
        if isinstance(path, ov.Model):
            raise UsageError("the model is one part of a split model; give both: Explainer((plain_part, head))")
        head = read_head(path, model)
    if head is not None:
        return Opened(join_parts(model, head), model, head)
    if is_explained(model):
        fitted, notes = _for_batch(model, batch)
        return Opened(fitted, fitted, None, notes)
    from ovxai.insertion import insert_with_report  # an edge device with an explained model never comes here
    from ovxai.options import InsertOptions

    model, notes = _for_batch(model, batch)  # before maps are added, for these keep a static batch
    done = insert_with_report(model, InsertOptions(), beside=None if isinstance(path, ov.Model) else Path(path))
    said = "the model is plain: explanation outputs were inserted in memory (`ovxai insert` keeps them)"
    return Opened(done.model, done.model, None, (said, *notes, *done.told))


def _for_batch(model: ov.Model, batch: int | None) -> tuple[ov.Model, tuple[str, ...]]:
    made_for = find_picture_input(model).batch
    if batch is None or made_for in (None, batch):
        return model, ()
    from ovxai.anew import for_batch

    return for_batch(model, batch), (f"the model is made for batches of {made_for}: a copy of it for batches of {batch} is run",)


def _opened(model: Model, trust: bool) -> ov.Model:
    if isinstance(model, ov.Model):
        return model
    from ovxai.graph.read import read_model

    read = read_model(model, trust=trust)
    if not read.get_friendly_name():
        read.set_friendly_name(Path(model).stem)
    return read


def load(image: Picture, channel_order: str = "rgb", channels: int = 3) -> tuple[np.ndarray, str | None]:
    """[H, W, channels] u8, and the path it came from.

    Raises:
        SourceError: not a picture, or not one of so many channels. UsageError: an unknown channel order.
    """
    _check_order(channel_order)
    if isinstance(image, (str, Path)):
        return read_image(image, channels), str(image)
    if isinstance(image, (bytes, bytearray, memoryview)):
        return decode_image(image, "bytes", channels), None
    array, order = as_array(image, channel_order)
    check_range(array, "array")
    return to_pixels(array, "array", channels, order), None


def _check_order(channel_order: str) -> None:
    if channel_order not in CHANNEL_ORDERS:
        raise UsageError(f"channel order: there is no {channel_order!r}; choose {' or '.join(CHANNEL_ORDERS)}")


def _check_several(images: object) -> None:
    """Refuse one picture where several are wanted: its letters or rows are none."""
    one = isinstance(images, (str, bytes, bytearray, memoryview, Path)) or (isinstance(images, np.ndarray) and images.ndim < 4)
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
