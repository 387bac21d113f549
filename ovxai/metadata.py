"""What an explained model says about itself in rt_info, and what `model_info` says about any model.

Both the side that inserts and the side that runs read this page, and neither needs the other:
`ExplainedInfo` is the whole contract between them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the command line lists tasks and methods without waiting for OpenVINO
    import openvino as ov

SECTION = "ovxai"
SALIENCY_MAP = "saliency_map"
FEATURE_MAP = "feature_map"
FEATURE_VECTOR = "feature_vector"
SALIENCY_INDEX = "saliency_index"
EMBEDDED_MAP = "saliency_map_resized"
EMBEDDED_OVERLAY = "saliency_overlay"
#: Every name that insertion may add, in the order in which the outputs stand.
EXTRA_OUTPUTS = (SALIENCY_MAP, FEATURE_MAP, FEATURE_VECTOR, SALIENCY_INDEX, EMBEDDED_MAP, EMBEDDED_OVERLAY)

CLASSIFICATION = "classification"
DETECTION = "detection"
INSTANCE_SEGMENTATION = "instance-segmentation"
#: No outputs are explained: all that is shown is where features are.
FEATURES = "features"
#: The method whose one map stands for no class.
ACTIVATION_MAP = "activation-map"


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
    `picture_input`: name of the input that takes the picture. `picture_range`: black and white as numbers that it
    takes, before mean and scale of `model_info`.
    `map_frame`, `map_axes`: see `MapFrame`. `network_size`, `network_frame`: (h, w) to which the graph resizes the
    picture, in whose pixels boxes are counted, and which part of the picture that covers.
    `extra_outputs`: the outputs that insertion added, in order.
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
    map_size: str = ""
    picture_input: str = ""
    picture_range: tuple[float, float] | None = None
    map_frame: tuple[float, ...] = (0.0, 0.0, 1.0, 1.0)
    map_axes: str = "yx"
    network_size: tuple[int, int] | None = None
    network_frame: tuple[float, ...] = (0.0, 0.0, 1.0, 1.0)
    score_output: str = ""
    score_activation: str = "none"
    prediction_format: str = ""
    explained_output: int = 0
    extra_outputs: tuple[str, ...] = ()
    embed: str = ""
    channel_order: str = ""
    class_channels: str = ""
    level_grids: str = ""

    @property
    def frame(self) -> MapFrame:
        return MapFrame(self.map_frame, self.map_axes)

    def write(self, model: ov.Model) -> None:
        """Store every non-empty field under `["ovxai", field]` of `model`."""
        for field in fields(self):
            text = _to_text(getattr(self, field.name))
            if text:
                model.set_rt_info(text, [SECTION, field.name])

    @classmethod
    def read(cls, model: ov.Model) -> ExplainedInfo | None:
        """The facts of a model that we explained; None for a plain one, and for one that another tool explained."""
        if not model.has_rt_info([SECTION, "version"]):
            return None
        found: dict[str, Any] = {}
        for field in fields(cls):
            if model.has_rt_info([SECTION, field.name]):
                text = model.get_rt_info([SECTION, field.name]).astype(str)
                found[field.name] = _from_text(str(field.type), text)
        return cls(**found)


def is_explained(model: ov.Model) -> bool:
    """Whether `model` came out of an insertion: it has our rt_info section, or an output of our name."""
    if model.has_rt_info([SECTION, "version"]):
        return True
    return any(SALIENCY_MAP in output.get_names() for output in model.outputs)


def _to_text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "YES" if value else "NO"
    if isinstance(value, tuple):
        return ",".join(f"{item:g}" if isinstance(item, float) else str(item) for item in value)
    return str(value)


def _from_text(kind: str, text: str) -> Any:
    """A field's value; `kind` is its annotation."""
    if kind == "bool":
        return text == "YES"
    if kind.startswith("int"):
        return int(text)
    if kind.startswith("tuple[int"):
        return tuple(int(item) for item in text.split(","))
    if kind.startswith("tuple[float"):
        return tuple(float(item) for item in text.split(","))
    if kind.startswith("tuple"):
        return tuple(item for item in text.split(",") if item)
    return text


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
        entry = {key: _model_info_entry(model, key) for key in _KEYS}
        return cls(
            labels=_words(entry["labels"]),
            mean=_numbers(entry["mean_values"]),
            scale=_numbers(entry["scale_values"]),
            resize_type=entry["resize_type"],
            pad_value=None if entry["pad_value"] is None else int(float(entry["pad_value"])),
            reverse_input_channels=_flag(entry["reverse_input_channels"]),
            confidence_threshold=_number(entry["confidence_threshold"]),
            iou_threshold=_number(entry["iou_threshold"]),
            multilabel=bool(_flag(entry["multilabel"])),
            hierarchical=bool(_flag(entry["hierarchical"])),
            hierarchy=json.loads(entry["hierarchical_config"]) if entry["hierarchical_config"] else None,
            embedded_processing=bool(_flag(entry["embedded_processing"])),
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


def adopt_onnx_model_info(model: ov.Model) -> None:
    """Copy OTX-style ONNX metadata (`["framework", "model_info key"]`) to `["model_info", key]`, where IRs have it."""
    if not model.has_rt_info(["framework"]):
        return
    for key in list(model.get_rt_info("framework").value.keys()):
        section, _, name = key.partition(" ")
        if section == "model_info" and name and not model.has_rt_info(["model_info", name]):
            model.set_rt_info(model.get_rt_info(["framework", key]).astype(str), ["model_info", name])


def _words(text: str | None) -> tuple[str, ...] | None:
    return tuple(text.split()) if text else None


def _numbers(text: str | None) -> tuple[float, ...] | None:
    return tuple(float(word) for word in text.replace(",", " ").split()) if text else None


def _number(text: str | None) -> float | None:
    return float(text) if text else None


def _flag(text: str | None) -> bool | None:
    return None if text is None else text.strip().lower() in ("yes", "true", "1")
