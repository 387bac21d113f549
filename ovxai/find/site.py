"""What searches are asked and what they answer: a site, or why there is none; nothing in between."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import openvino as ov

from ovxai.errors import OvxaiError, TargetLayerError, UnsupportedModelError
from ovxai.graph.dims import CHANNELS_FIRST, Grid, MapAxes, Tap
from ovxai.graph.graph import Graph, key_of
from ovxai.graph.names import chosen_picture, output_index, port_named
from ovxai.graph.picture import PictureInput, no_picture, picture_inputs
from ovxai.metadata import ACTIVATION_MAP, GRADIENT, WHOLE, MapFrame, ModelInfo
from ovxai.options import InsertOptions

RECIPRO_CAM = "reciprocam"
VIT_RECIPRO_CAM = "vit-reciprocam"
CLASS_PROBABILITY_MAP = "det-class-probability-map"
INSTANCE_MASKS = "inst-seg"


@dataclass(frozen=True)
class Request:
    """What is asked of a search; every name that the user gave is a port or a number already.

    layers: the ports of `--target-layer`. output: the number of `--output`; None where nobody named one. picture: the
    input of `--input`; None where nobody named one.
    classes: how many classes anybody says there are: the options first, then rt_info.
    """

    graph: Graph
    options: InsertOptions
    model_info: ModelInfo
    layers: tuple[ov.Output, ...] = ()
    output: int | None = None
    picture: PictureInput | None = None

    @classmethod
    def of(cls, graph: Graph, options: InsertOptions, model_info: ModelInfo) -> Request:
        """The request that `options` mean for the model of `graph`.

        Raises:
            TargetLayerError, OptionError: there is no layer, no output of a name; the message holds the nearest ones. Or two
                names mean one layer.
        """
        model = graph.model
        output = None if options.output is None else output_index(model, options.output)
        layers = _layers_named(model, options.target_layer)
        picture = None if options.input is None else chosen_picture(model, options.input)
        return cls(graph, options, model_info, layers, output, picture)

    @property
    def model(self) -> ov.Model:
        return self.graph.model

    def pictures(self, among: Container[str] | None = None) -> list[PictureInput]:
        """The inputs that could take the picture, the likeliest first; the one that was asked for alone.

        among: names (`get_name()`) of the nodes that count; None: all inputs.
        """
        if self.picture is None:
            return picture_inputs(self.model, among=among)
        counts = among is None or self.model.inputs[self.picture.index].get_node().get_name() in among
        return [self.picture] if counts else []

    def no_picture(self) -> str:
        """Why `pictures` gives none."""
        if self.picture is not None:
            return f"what is explained does not depend on input {self.picture.name!r}"
        return no_picture(self.model)

    @property
    def classes(self) -> int | None:
        if self.options.num_classes:
            return self.options.num_classes
        labels = self.options.labels or self.model_info.labels
        return len(labels) if labels else None


def _layers_named(model: ov.Model, names: Sequence[str]) -> tuple[ov.Output, ...]:
    """Each once: a layer that counted twice would be multiplied with itself."""
    found: dict[tuple[str, int], tuple[str, ov.Output]] = {}
    for name in names:
        port = port_named(model, name)
        other, _ = found.setdefault(key_of(port), (name, port))
        if other != name:
            raise TargetLayerError(f"target layer: {other!r} and {name!r} are two names of one tensor; name each layer once")
    return tuple(port for _, port in found.values())


@dataclass(frozen=True)
class No:
    """Why there is no site: what was looked for, where it failed, which option would settle it.

    near: the model looks like what was looked for, so that this reason is worth more than those of other searches.
    final: so much so that no other search shall be asked. error: as what the reason is raised.
    """

    reason: str
    near: bool = False
    final: bool = False
    error: type[OvxaiError] = UnsupportedModelError

    def __bool__(self) -> Literal[False]:
        return False


class Site(Protocol):
    """Where a model can be explained: what every task's site says of itself.

    method: as in rt_info. output: number of the model's output that is explained. why: how the site was chosen, one
    line. candidates: one line for every tensor that was considered. notes: what a person who inserts should know.
    """

    @property
    def method(self) -> str: ...
    @property
    def output(self) -> int: ...
    @property
    def why(self) -> str: ...
    @property
    def candidates(self) -> tuple[str, ...]: ...
    @property
    def notes(self) -> tuple[str, ...]: ...
    @property
    def frame(self) -> MapFrame: ...


@dataclass(frozen=True)
class ClassifierSite:
    """Where a classifier can be explained.

    logits: the scores before a final activation, [N, C] or [N, C, 1, ...]. taps: one tensor, or for
    ViT Recipro-CAM the normalised one and the residual. mask: as in rt_info. score_output: a name of the
    explained output, or its number; score_activation: what its values still need. exclusive: whether each picture has one
    class (softmax); else each class is a question of its own (sigmoid). number_output: of a list of the best classes, the
    output with their numbers; "" where the model hands out all scores.
    """

    logits: ov.Output
    classes: int
    taps: tuple[Tap, ...]
    method: str
    mask: str
    output: int
    score_output: str
    score_activation: str
    why: str
    candidates: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    frame: MapFrame = WHOLE
    exclusive: bool = True
    number_output: str = ""


@dataclass(frozen=True)
class SegmentationSite:
    """Where a semantic segmentation model can be explained.

    scores: [N, C, h, w] or [N, h, w, C], before a final activation; axis: that of the classes. taps: coarse to fine.
    exclusive: whether each pixel has one class (softmax). probable: whether scores are probabilities already. cell: (row,
    column) in the scores of the one pixel that is explained.
    """

    scores: ov.Output
    axis: int
    classes: int
    taps: tuple[Tap, ...]
    output: int
    score_output: str
    score_activation: str
    exclusive: bool
    probable: bool
    cell: tuple[int, int] | None
    why: str
    candidates: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    frame: MapFrame = WHOLE
    method: str = GRADIENT


@dataclass(frozen=True)
class FeatureSite:
    """Where a model has features, whatever it makes of them. tap: the map."""

    tap: Tap
    output: int = 0
    why: str = ""
    candidates: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    frame: MapFrame = WHOLE
    method: str = ACTIVATION_MAP


#: channels[a][k] is the channel of anchor a and class k.
Channels = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class ClassLevel:
    """The raw class logits of one pyramid level of a detector.

    port: a map [N, C, h, w] in the order of `axes`, or tokens [N, P, K] of which this level holds `rows`.
    grid: (h, w), witness size where open. feature: the level's tensor [N, c, h, w] that the class and the
    box branch both read.
    """

    port: ov.Output
    axes: MapAxes
    channels: Channels
    grid: Grid
    rows: tuple[int, int] | None = None
    feature: ov.Output | None = None
    feature_axes: MapAxes = CHANNELS_FIRST

    @property
    def anchors(self) -> int:
        return len(self.channels)


@dataclass(frozen=True)
class DetectionSite:
    """Where a detector can be explained.

    taps, sides: for maps per box, the layers that gradients are asked of, coarse to fine, and (h, w) of the input. held:
    whether each layer counts as a variable of its own. no_object: whether scores have one more column than classes, the last,
    which says that there is nothing.
    levels: fine to coarse. size_level: whose size the map has. activation: what the model itself applies.
    """

    levels: tuple[ClassLevel, ...]
    classes: int
    size_level: int
    activation: str
    score_output: str
    score_activation: str
    prediction_format: str
    output: int = 0
    why: str = ""
    candidates: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    method: str = CLASS_PROBABILITY_MAP
    frame: MapFrame = WHOLE
    taps: tuple[Tap, ...] = ()
    sides: tuple[int, int] | None = None
    held: bool = False
    no_object: bool = False


#: Kinds of masks: of the box alone; of the whole picture; coefficients that mix prototypes of the whole picture.
BOX, FULL, PROTOTYPES = "box", "full", "prototypes"


@dataclass(frozen=True)
class Instances:
    """Finished instances. boxes [N, I, >= 4] (x1, y1, x2, y2 in pixels of the input), labels and scores [N, I].

    Without a batch axis (`batched` is off) all begin with I. Where one table holds several of them, the columns
    say which of it are which: boxes are the first four. masks: as `mask_kind` says, with `singleton` when a 1 stands
    between I and the mask's sides; for PROTOTYPES the coefficients [N, I, M].
    """

    boxes: ov.Output
    labels: ov.Output
    scores: ov.Output
    masks: ov.Output
    batched: bool
    label_column: int | None = None
    score_column: int | None = None
    mask_columns: tuple[int, int] | None = None
    singleton: bool = False


@dataclass(frozen=True)
class Candidates:
    """Raw boxes before suppression: `table` [N, 4 + K + M, P] (or [N, P, 5 + K + M] with `rows_last` off).

    Boxes are (centre x, centre y, width, height) in pixels of the input. iou, score: thresholds of the suppression.
    """

    table: ov.Output
    rows_last: bool
    objectness: bool
    coefficients: int
    iou: float
    score: float


@dataclass(frozen=True)
class InstanceSite:
    """Where an instance segmentation model can be explained.

    instances: finished ones, or what has still to be suppressed. classes: how many label values there are.
    logits: whether mask values still lack a sigmoid. picture: the input's port; picture_axes: where its height and
    width stand. pyramid: maps [N, c, h, w] of the neck, fine to coarse.
    """

    instances: Instances | Candidates
    mask_kind: str
    classes: int
    logits: bool
    picture: ov.Output
    picture_axes: tuple[int, int]
    prototypes: ov.Output | None = None
    pyramid: tuple[ov.Output, ...] = ()
    shares: bool = False
    score_output: str = ""
    output: int = 0
    prediction_format: str = "boxes-labels-masks"
    why: str = ""
    candidates: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    method: str = INSTANCE_MASKS
    frame: MapFrame = WHOLE
