"""What may be asked of an insertion: every option, which method reads it, and the one place where both are checked."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from ovxai.errors import OptionError, SourceError, UsageError
from ovxai.files import load_array
from ovxai.metadata import (
    ACTIVATION_MAP,
    CLASSIFICATION,
    DETECTION,
    FEATURES,
    GRADIENT,
    INSTANCE_SEGMENTATION,
    PER_BOX,
    REGRESSION,
    SEMANTIC_SEGMENTATION,
    Feeding,
)

if TYPE_CHECKING:
    import numpy as np

AUTO = "auto"
#: What the search for the place to explain reads, by task.
SEARCHES = {
    CLASSIFICATION: frozenset({"target_layer", "output", "num_classes"}),
    REGRESSION: frozenset({"target_layer", "output"}),
    DETECTION: frozenset({"target_layer", "output", "num_classes"}),
    INSTANCE_SEGMENTATION: frozenset({"num_classes"}),
    SEMANTIC_SEGMENTATION: frozenset({"target_layer", "output", "num_classes"}),
    FEATURES: frozenset({"target_layer", "output"}),
}


@dataclass(frozen=True)
class Method:
    """tasks: what it explains. reads: its own options, beside those of the search and those that concern any map."""

    tasks: tuple[str, ...]
    reads: frozenset[str] = frozenset()


#: The methods by name, and what each of them reads.
READS = {
    "reciprocam": Method((CLASSIFICATION, REGRESSION), frozenset({"mask", "classes", "memory_budget"})),
    "vit-reciprocam": Method((CLASSIFICATION, REGRESSION), frozenset({"mask", "classes", "memory_budget", "blocks"})),
    "det-class-probability-map": Method((DETECTION,), frozenset({"classes", "map_size", "class_activation", "levels"})),
    "inst-seg": Method((INSTANCE_SEGMENTATION,), frozenset({"classes", "map_size"})),
    ACTIVATION_MAP: Method((CLASSIFICATION, REGRESSION, DETECTION, INSTANCE_SEGMENTATION, SEMANTIC_SEGMENTATION, FEATURES)),
    GRADIENT: Method(
        (CLASSIFICATION, REGRESSION, DETECTION, SEMANTIC_SEGMENTATION),
        frozenset({"classes", "combine", "per", "pixel", "toward", "class_activation"}),
    ),
}
#: Methods that nothing but their name asks for.
ON_REQUEST = (ACTIVATION_MAP, GRADIENT)
#: What is read whatever the method: these concern the search as a whole, or what is made of any map.
ALWAYS_READ = frozenset(
    {
        "task",
        "method",
        "input",
        "scale",
        "embed",
        "feature_vector",
        "feature_map",
        "labels",
        "labels_offset",
        "probe",
        "verify",
        "trust",
        *(field.name for field in fields(Feeding)),
    }
)

TASKS = (AUTO, *SEARCHES)
METHODS = (AUTO, *READS)
MASKS = (AUTO, "point", "gaussian")
#: standard: stretched. fit_to_window: aspect kept, padded right and below. fit_to_window_letterbox:
#: padded on all sides. crop: the centre with the input's aspect.
RESIZE_TYPES = ("standard", "fit_to_window", "fit_to_window_letterbox", "crop")
EMBEDDINGS = ("map", "overlay")
CLASS_ACTIVATIONS = ("softmax", "sigmoid", "none")
LEVELS = ("mean", "max")
#: How gradients become a map: over several levels, or at one.
PRODUCT, HIRES_CAM, LAYER_CAM, GRAD_CAM = "product", "hirescam", "layercam", "gradcam"
#: What a map is of.
PER_CLASS = "class"
PERS = (PER_CLASS, PER_BOX)
COMBINES = (PRODUCT, HIRES_CAM, LAYER_CAM, GRAD_CAM)


@dataclass(frozen=True)
class InsertOptions:
    """Keyword for keyword the long options of `ovxai insert`, with `_` for `-`; `ovxai.insert` describes them.

    target_layer and labels stand here as tuples of names, whatever form they were given in.

    Raises:
        UsageError: a value that no model could take, or an option that the chosen task or method does not read.
    """

    task: str = AUTO
    method: str = AUTO
    target_layer: tuple[str, ...] = ()
    output: str | int | None = None
    input: str | int | None = None
    mask: str = AUTO
    blocks: int = 1
    scale: bool = True
    classes: str | None = None
    embed: str | None = None
    feature_vector: bool = False
    feature_map: bool | None = None
    labels: tuple[str, ...] | None = None
    labels_offset: int | None = None
    num_classes: int | None = None
    map_size: str | None = None
    class_activation: str | None = None
    levels: str = "mean"
    combine: str = PRODUCT
    per: str = PER_CLASS
    pixel: str | None = None
    toward: tuple[float, ...] | None = None
    memory_budget: int = 512
    mean: tuple[float, ...] | None = None
    scale_values: tuple[float, ...] | None = None
    resize_type: str | None = None
    pad_value: int | None = None
    reverse_input_channels: bool | None = None
    probe: bool = True
    verify: bool = False
    trust: bool = False

    def __post_init__(self) -> None:
        _one_of("task", self.task, TASKS)
        _one_of("method", self.method, METHODS)
        _one_of("mask", self.mask, MASKS)
        _one_of("embed", self.embed, (None, *EMBEDDINGS))
        _one_of("class_activation", self.class_activation, (None, *CLASS_ACTIVATIONS))
        _one_of("levels", self.levels, LEVELS)
        _one_of("combine", self.combine, COMBINES)
        _one_of("per", self.per, PERS)
        if self.blocks < 1:
            raise UsageError(f"blocks: {self.blocks} is below 1; give how many transformer blocks before the end to gate")
        if self.labels_offset is not None and self.labels_offset < 0:
            raise UsageError(f"labels offset: {self.labels_offset} is below 0")
        if self.num_classes is not None and self.num_classes < 1:
            raise UsageError(f"num classes: {self.num_classes} is below 1")
        if self.memory_budget < 1:
            raise UsageError(f"memory budget: {self.memory_budget} MB is below 1")
        if self.map_size is not None:
            parse_size(self.map_size)
        if self.pixel is not None:
            parse_pixel(self.pixel)
        if self.classes is not None:
            parse_classes(self.classes)
        twice = next((name for name in self.target_layer if self.target_layer.count(name) > 1), None)
        if twice is not None:
            raise UsageError(f"target layer: {twice!r} is named twice; name each layer once")
        if self.blocks > 1 and self.target_layer:
            raise UsageError("blocks: --target-layer names the gated tensors already; give one of the two")
        if self.method == GRADIENT and self.combine != PRODUCT and len(self.target_layer) > 1:
            raise UsageError(f"combine: {self.combine} is made at one layer; give one --target-layer, or --combine product")
        if self.method == GRADIENT and self.class_activation is not None and self.per != PER_BOX:
            raise UsageError("class activation: of gradients it is read for boxes; leave it out, or give --per box")
        check_feeding(self.feeding)
        refuse_unread(self, _possible(self.task, self.method))

    @property
    def feeding(self) -> Feeding:
        """How pictures are fed, as far as it is said."""
        return Feeding(self.mean, self.scale_values, self.resize_type, self.pad_value, self.reverse_input_channels)

    @property
    def asked_classes(self) -> str:
        """`classes`, or what the method takes by itself: gradients cost a backward pass per class, so one is enough; but of
        values the largest is no better than any other."""
        every = self.method != GRADIENT or self.task == REGRESSION
        own = "all" if every else "top:5" if self.per == PER_BOX else "top:1"
        return self.classes or own

    @property
    def given(self) -> tuple[str, ...]:
        """Names of the options that are set away from their defaults."""
        usual = {"classes": (None, "all")}
        return tuple(
            field.name for field in fields(self) if getattr(self, field.name) not in usual.get(field.name, (field.default,))
        )


def check_feeding(feeding: Feeding) -> None:
    """Refuse what no model can be fed by.

    Raises:
        UsageError: says which option, and what it takes.
    """
    _one_of("resize_type", feeding.resize_type, (None, *RESIZE_TYPES))
    if feeding.pad_value is not None and not 0 <= feeding.pad_value <= 255:
        raise UsageError(f"pad value: {feeding.pad_value} is outside 0..255")
    for name, values in (("mean", feeding.mean), ("scale values", feeding.scale_values)):
        if values is not None and not values:
            raise UsageError(f"{name}: no value; give one, or one per channel")
        if values is not None and not all(math.isfinite(value) for value in values):
            raise UsageError(f"{name}: {values} are not all numbers")
    if feeding.scale_values is not None and 0 in feeding.scale_values:
        raise UsageError("scale values: pictures are divided by them, so 0 can't be one")


def as_values(values: Iterable[float] | float | None) -> tuple[float, ...] | None:
    """One number or several, as a tuple."""
    if values is None:
        return None
    return tuple(float(value) for value in values) if isinstance(values, Iterable) else (float(values),)


def options_read(task: str, method: str) -> frozenset[str]:
    """Names of the options that `method` reads when it explains `task`."""
    return ALWAYS_READ | SEARCHES[task] | READS[method].reads


def refuse_unread(options: InsertOptions, pairs: Sequence[tuple[str, str]]) -> None:
    """Refuse an option that would be ignored. pairs: (task, method), those that may still come about.

    Raises:
        UsageError: names the option, the method, and the methods that read it.
    """
    for name in options.given:
        if not any(name in options_read(task, method) for task, method in pairs):
            readers = _readers(name)
            raise UsageError(
                f"{_words(name)}: not read by {_who(pairs)}, only by {', '.join(readers)}; "
                f"leave it out, or choose {'--method ' + readers[0] if len(readers) == 1 else 'another --method'}"
            )


def _who(pairs: Sequence[tuple[str, str]]) -> str:
    tasks, methods = dict.fromkeys(task for task, _ in pairs), dict.fromkeys(method for _, method in pairs)
    if len(methods) > 1:
        return f"the methods for {next(iter(tasks))}" if len(tasks) == 1 else "the methods that are chosen by themselves"
    method = next(iter(methods))
    return f"{method} for {next(iter(tasks))}" if len(tasks) < len(READS[method].tasks) else method


def _possible(task: str, method: str) -> tuple[tuple[str, str], ...]:
    """The (task, method) pairs that are left when `task` and `method`, each perhaps auto, are asked for.

    Raises:
        UsageError: none, because the method explains other tasks.
    """
    by_itself = [name for name in READS if name not in ON_REQUEST and task in (AUTO, *READS[name].tasks)]
    names = (by_itself or list(ON_REQUEST)) if method == AUTO else [method]
    pairs = tuple((one, name) for name in names for one in READS[name].tasks if task in (AUTO, one))
    if not pairs:
        raise UsageError(f"method: {method} explains {' and '.join(READS[method].tasks)}, not {task}")
    return pairs


def _readers(name: str) -> list[str]:
    return [method for method, facts in READS.items() if any(name in options_read(task, method) for task in facts.tasks)]


def _one_of(name: str, value: str | None, allowed: tuple[str | None, ...]) -> None:
    if value not in allowed:
        names = ", ".join(item for item in allowed if item is not None)
        raise UsageError(f"{_words(name)}: there is no {value!r}; choose one of {names}")


def _words(name: str) -> str:
    return name.replace("_", " ")


def height_width(text: str) -> tuple[int, int] | None:
    """ "HxW" -> (H, W); None where it is not two positive whole numbers with an x between them."""
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    size = (int(match[1]), int(match[2])) if match else (0, 0)
    return None if 0 in size else size


def parse_size(text: str) -> tuple[int, int]:
    """The map's size, "HxW" -> (H, W).

    Raises:
        UsageError: not two positive whole numbers with an x between them.
    """
    size = height_width(text)
    if size is None:
        raise UsageError(f"map size: {text!r} is not HxW, such as 40x40")
    return size


def given_vector(toward: Sequence[float] | np.ndarray | str | Path | None) -> tuple[float, ...] | None:
    """A vector itself, or the one in the .npy file whose path is given; None where nothing is.

    Raises:
        OptionError: the file can't be read, or there is no vector of finite numbers that has a length.
    """
    if toward is None:
        return None
    import numpy as np  # here, so that --help waits for no library

    try:
        given = np.asarray(load_array(toward) if isinstance(toward, (str, Path)) else toward)
        vector = given.astype(np.float64, casting="same_kind" if given.dtype.kind == "f" else "safe")
    except SourceError as error:
        raise OptionError(f"toward: {Exception.__str__(error)}") from error
    except (ValueError, TypeError) as error:
        raise OptionError(f"toward: the vector can't be read: {error}") from error
    if sum(size > 1 for size in vector.shape) > 1 or not np.isfinite(vector).all() or not vector.any():
        raise OptionError(f"toward: an array of shape {list(vector.shape)} is no vector of finite numbers that has a length")
    return tuple(float(value) for value in vector.reshape(-1))


def parse_pixel(text: str) -> tuple[int, int]:
    """A pixel of the input, "Y,X" -> (Y, X), both from 0.

    Raises:
        UsageError: not two whole numbers with a comma between them.
    """
    match = re.fullmatch(r"(\d+),(\d+)", text)
    if match is None:
        raise UsageError(f"pixel: {text!r} is not Y,X, such as 120,64: row and column of the input, from 0")
    return int(match[1]), int(match[2])


def parse_classes(text: str) -> int | tuple[int, ...] | None:
    """ "all" -> None, "top:K" -> K, "0,3,7" -> (0, 3, 7).

    Raises:
        UsageError: none of these, K below 1, or a class named twice.
    """
    if text == "all":
        return None
    if match := re.fullmatch(r"top:(\d+)", text):
        if int(match[1]) < 1:
            raise UsageError("classes: top:0 would explain nothing; K starts at 1")
        return int(match[1])
    if not re.fullmatch(r"\d+(,\d+)*", text):
        raise UsageError(f"classes: {text!r} is neither all, top:K nor a list of numbers such as 0,3,7")
    indices = tuple(int(word) for word in text.split(","))
    if len(set(indices)) != len(indices):
        raise UsageError(f"classes: {text!r} names a class twice")
    return indices
