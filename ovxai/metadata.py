"""What an explained model says about itself in rt_info, and what `model_info` says about any model.

Both the side that inserts and the side that runs read this page, and neither needs the other:
`ExplainedInfo` is the whole contract between them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from ovxai.entries import Value, entry, flag, from_text, number, numbers, parsed, table, to_text, words
from ovxai.errors import ModelReadError

if TYPE_CHECKING:  # the command line lists tasks and methods without waiting for OpenVINO
    import openvino as ov

SECTION = "ovxai"
#: The section of OTX and Model API.
MODEL_INFO = "model_info"
#: Entries without which an explained model says nothing.
_NEEDED = ("task", "method", "target_layers")
SALIENCY_MAP = "saliency_map"
FEATURE_MAP = "feature_map"
FEATURE_VECTOR = "feature_vector"
SALIENCY_INDEX = "saliency_index"
#: Beside maps per box.
SALIENCY_BOX, SALIENCY_SCORE = "saliency_box", "saliency_score"
#: What maps may be of, beside classes.
PER_BOX = "box"
EMBEDDED_MAP = "saliency_map_resized"
EMBEDDED_OVERLAY = "saliency_overlay"
#: What branches (If) of the model hand out, of as many as there may be: outputs nobody reads, see `Branch.kept`.
KEPT_BRANCHES = ("kept_branch_0", "kept_branch_1", "kept_branch_2", "kept_branch_3")
#: Every name that insertion may add, in the order in which the outputs stand.
EXTRA_OUTPUTS = (
    SALIENCY_MAP, FEATURE_MAP, FEATURE_VECTOR, SALIENCY_INDEX, SALIENCY_BOX, SALIENCY_SCORE, EMBEDDED_MAP, EMBEDDED_OVERLAY,
    *KEPT_BRANCHES,
)  # fmt: skip

CLASSIFICATION = "classification"
DETECTION = "detection"
INSTANCE_SEGMENTATION = "instance-segmentation"
#: The parts of a split model.
PLAIN_PART, HEAD = "plain", "head"
#: No outputs are explained: all that is shown is where features are.
FEATURES = "features"
REGRESSION = "regression"
SEMANTIC_SEGMENTATION = "semantic-segmentation"
#: Tasks whose answer is one vector per picture: scores, or values as they are.
VECTOR_TASKS = (CLASSIFICATION, REGRESSION)
#: The method whose one map stands for no class.
ACTIVATION_MAP = "activation-map"
#: The method that derives scores by feature maps.
GRADIENT = "gradient"
#: What gradients are of.
LOGIT, LOG_ODDS, LOG_PROBABILITY, COSINE = "logit", "log-odds", "log-probability", "cosine"


@dataclass(frozen=True)
class MapFrame:
    """Where a map lies on the picture as it is fed.

    box: (y1, x1, y2, x2), the part that the grid covers, in shares of height and width; beyond 0..1 where the graph pads.
    axes: along which side of the picture rows and columns of the map run, "yx" or "xy", "-" before one that runs backwards.
    """

    box: tuple[float, ...] = (0.0, 0.0, 1.0, 1.0)
    axes: str = "yx"

    @property
    def transposed(self) -> bool:
        return self.axes.replace("-", "") == "xy"

    @property
    def backwards(self) -> tuple[bool, bool]:
        """Of rows and columns of the map, as they stand."""
        return self.axes.startswith("-"), "-" in self.axes[1:]

    @property
    def plain(self) -> bool:
        """Whether the grid covers the whole picture, as it stands."""
        return self == WHOLE


WHOLE = MapFrame()


@dataclass(frozen=True)
class ExplainedInfo:
    """The `["ovxai", key]` entries of an explained model; all are stored as strings, empty ones left out.

    `target_layers`: friendly names of the gated tensors' nodes, `name:port` where the port is not 0.
    `grid`: (h, w) of the map for token layouts. `score_activation`: what the scores still need.
    `number_output`: the output with the classes' numbers, where the model hands out a list of the best.
    `picture_input`: name of the input that takes the picture. `picture_range`: black and white as numbers that it
    takes, before mean and scale of `model_info`.
    `map_frame`, `map_axes`: see `MapFrame`. `network_size`, `network_frame`: (h, w) to which the graph resizes the
    picture, in whose pixels boxes are counted, and which part of the picture that covers. `box_unit`: of instances, "pixel"
    or "share" of the picture.
    `target`: what gradients are of: a class's `logit`, `log-odds` or `log-probability`, a box's `log-score`, an
    embedding's `cosine` with a given vector. `pixel`: (y, x) of
    the input, where the scores of one pixel are explained. `per`: `box` where each map is of
    one box. `held`: whether each target layer counts as a variable of its own. `derivatives`: friendly names of the
    nodes that hold its derivative by each target layer. `level_layouts`, `level_grids`: of each target layer or level.
    `extra_outputs`: the outputs that insertion added, in order.
    `split`: of a model in two parts, which of them it is: `plain` or `head`. `split_key`: the same in both of one insertion.
    """

    version: str
    task: str
    method: str
    target_layers: tuple[str, ...]
    feature_layer: str = ""
    mask: str = ""
    layout: str = ""
    grid: tuple[int, int] | None = None
    prefix_tokens: int | None = None
    scaled: bool = True
    collapse: str = ""
    collapse_reason: str = ""
    classes: str = "all"
    num_classes: int | None = None
    class_activation: str = ""
    levels: str = ""
    combine: str = ""
    target: str = ""
    per: str = ""
    pixel: tuple[int, int] | None = None
    held: bool = False
    derivatives: tuple[str, ...] = ()
    level_layouts: str = ""
    map_size: str = ""
    picture_input: str = ""
    picture_range: tuple[float, float] | None = None
    map_frame: tuple[float, ...] = (0.0, 0.0, 1.0, 1.0)
    map_axes: str = "yx"
    network_size: tuple[int, int] | None = None
    network_frame: tuple[float, ...] = (0.0, 0.0, 1.0, 1.0)
    box_unit: str = ""
    score_output: str = ""
    score_activation: str = "none"
    number_output: str = ""
    prediction_format: str = ""
    explained_output: int = 0
    extra_outputs: tuple[str, ...] = ()
    embed: str = ""
    channel_order: str = ""
    class_channels: str = ""
    level_grids: str = ""
    split: str = ""
    split_key: str = ""

    @property
    def frame(self) -> MapFrame:
        return MapFrame(self.map_frame, self.map_axes)

    @property
    def of_found(self) -> bool:
        """Whether maps are of what each picture holds (boxes, classes of pixels), with -1 in `saliency_index` for no more."""
        return self.per == PER_BOX or self.task == SEMANTIC_SEGMENTATION

    def write(self, model: ov.Model) -> None:
        """Store every non-empty field under `["ovxai", field]` of `model`."""
        for field in fields(self):
            text = to_text(getattr(self, field.name))
            if text:
                model.set_rt_info(text, [SECTION, field.name])

    @classmethod
    def read(cls, model: ov.Model) -> ExplainedInfo | None:
        """The facts of a model that we explained; None for a plain one, and for one that another tool explained.

        Raises:
            ModelReadError: an entry is missing, or is not what it has to be.
        """
        if not model.has_rt_info([SECTION, "version"]):
            return None
        found: dict[str, Any] = {}
        for field in fields(cls):
            if model.has_rt_info([SECTION, field.name]):
                text = model.get_rt_info([SECTION, field.name]).astype(str)
                if not text:
                    where = f"{model.get_friendly_name()}: rt_info {entry(SECTION, field.name)}"
                    raise ModelReadError(f"{where} is empty; insert the explanation again")
                read = functools.partial(from_text, field.name, str(field.type))
                found[field.name] = parsed(SECTION, field.name, text, read)
            elif field.name in _NEEDED:
                raise ModelReadError(
                    f"{model.get_friendly_name()}: rt_info lacks {entry(SECTION, field.name)}; insert the explanation again"
                )
        return cls(**found)

    @property
    def chosen_classes(self) -> tuple[int, ...] | None:
        """The classes that `classes` lists; None for all, and for the best of each picture.

        Raises:
            ModelReadError: it is neither.
        """
        if not self.classes or self.classes == "all" or self.classes.startswith("top:"):
            return None
        return parsed(SECTION, "classes", self.classes, lambda text: tuple(int(word) for word in text.split(",")))


def is_explained(model: ov.Model) -> bool:
    """Whether `model` came out of an insertion: it has our rt_info section, or an output of our name."""
    if model.has_rt_info([SECTION, "version"]):
        return True
    return any(SALIENCY_MAP in output.get_names() for output in model.outputs)


@dataclass(frozen=True)
class ModelInfo:
    """`model_info` of rt_info as OTX and Model API write it; None where the model does not say.

    mean and scale are in the units of the picture as fed (0..255), one value per channel in the order
    in which the model wants the channels, or a single one for all.
    """

    labels: tuple[str, ...] | None = None
    mean: tuple[float, ...] | None = None
    scale: tuple[float, ...] | None = None
    resize_type: str | None = None
    pad_value: int | None = None
    reverse_input_channels: bool | None = None
    confidence_threshold: float | None = None
    iou_threshold: float | None = None
    multilabel: bool = False
    hierarchical: bool = False
    hierarchy: dict[str, Any] | None = None
    embedded_processing: bool = False

    @classmethod
    def read(cls, model: ov.Model) -> ModelInfo:
        """What `model` says; also of ONNX metadata in OTX style."""
        said = {key: _model_info_entry(model, key) for key in _KEYS}

        def read(key: str, form: Callable[[str], Value]) -> Value | None:
            text = said[key]
            return None if text is None or not text else parsed("model_info", key, text, form)

        return cls(
            labels=words(said["labels"]),
            mean=read("mean_values", numbers),
            scale=read("scale_values", numbers),
            resize_type=said["resize_type"],
            pad_value=read("pad_value", lambda text: int(number(text))),
            reverse_input_channels=flag(said["reverse_input_channels"]),
            confidence_threshold=read("confidence_threshold", number),
            iou_threshold=read("iou_threshold", number),
            multilabel=bool(flag(said["multilabel"])),
            hierarchical=bool(flag(said["hierarchical"])),
            hierarchy=read("hierarchical_config", table),
            embedded_processing=bool(flag(said["embedded_processing"])),
        )


_KEYS = (
    "labels", "mean_values", "scale_values", "resize_type", "pad_value", "reverse_input_channels",
    "confidence_threshold", "iou_threshold", "multilabel", "hierarchical", "hierarchical_config",
    "embedded_processing",
)  # fmt: skip


def _model_info_entry(model: ov.Model, key: str) -> str | None:
    # ONNX metadata in OTX style arrives one level elsewhere and with the section in the key.
    for path in (["model_info", key], ["framework", f"model_info {key}"]):
        if model.has_rt_info(path):
            return model.get_rt_info(path).astype(str).strip()
    return None


def joined_labels(labels: Iterable[str]) -> str:
    """Class names as `model_info` holds them: with spaces between them, so none inside."""
    return " ".join("_".join(label.split()) for label in labels)


def store_labels(model: ov.Model, labels: Iterable[str]) -> None:
    """Write class names into `model_info`."""
    model.set_rt_info(joined_labels(labels), [MODEL_INFO, "labels"])


@dataclass(frozen=True)
class Feeding:
    """How pictures are fed, as options say it; None: not said. The fields are those of `ModelInfo`."""

    mean: tuple[float, ...] | None = None
    scale_values: tuple[float, ...] | None = None
    resize_type: str | None = None
    pad_value: int | None = None
    reverse_input_channels: bool | None = None


def store_feeding(model: ov.Model, feeding: Feeding) -> None:
    """Write what is said of the feeding into `model_info`."""
    for field in fields(feeding):
        value = getattr(feeding, field.name)
        if value is not None:
            text = " ".join(f"{number:.9g}" for number in value) if isinstance(value, tuple) else to_text(value)
            model.set_rt_info(text, [MODEL_INFO, "mean_values" if field.name == "mean" else field.name])


def adopt_onnx_model_info(model: ov.Model) -> None:
    """Copy OTX-style ONNX metadata (`["framework", "model_info key"]`) to `["model_info", key]`, where IRs have it."""
    if not model.has_rt_info(["framework"]):
        return
    for key in list(model.get_rt_info("framework").value.keys()):
        section, _, name = key.partition(" ")
        if section == "model_info" and name and not model.has_rt_info(["model_info", name]):
            model.set_rt_info(model.get_rt_info(["framework", key]).astype(str), ["model_info", name])
