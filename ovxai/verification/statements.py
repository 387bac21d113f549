"""What rt_info says beside the definition, held against the plain model's own outputs: format, scores, features, collapse."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import openvino as ov

from ovxai.errors import TargetLayerError
from ovxai.metadata import (  # fmt: skip
    ACTIVATION_MAP,
    CLASSIFICATION,
    DETECTION,
    FEATURE_MAP,
    FEATURES,
    GRADIENT,
    INSTANCE_SEGMENTATION,
    REGRESSION,
    SALIENCY_MAP,
    SEMANTIC_SEGMENTATION,
    VECTOR_TASKS,
    WHOLE,
    ExplainedInfo,
    ModelInfo,
)
from ovxai.verification.engine import comes_from, depends_on_input
from ovxai.verification.head import nodes_between
from ovxai.verification.plain import ACTIVATIONS, Case, logits_port, port_named
from ovxai.verification.report import Check

_CAMS = ("reciprocam", "vit-reciprocam", GRADIENT, ACTIVATION_MAP)
METHODS = {
    CLASSIFICATION: _CAMS, REGRESSION: _CAMS, DETECTION: ("det-class-probability-map", GRADIENT, ACTIVATION_MAP),
    INSTANCE_SEGMENTATION: ("inst-seg", ACTIVATION_MAP), FEATURES: (ACTIVATION_MAP,),
    SEMANTIC_SEGMENTATION: (GRADIENT, ACTIVATION_MAP),
}  # fmt: skip
#: Masks of methods that have some.
VIT_RECIPRO_CAM = "vit-reciprocam"
MASKS = {"reciprocam": ("point", "gaussian"), VIT_RECIPRO_CAM: ("point", "gaussian")}
#: Operations in which tokens meet.
PRODUCTS = ("MatMul", "Einsum", "ScaledDotProductAttention")
#: Operations that weigh and add up.
WEIGHTED = ("MatMul", "Convolution", "GroupConvolution", "ConvolutionBackpropData", "GroupConvolutionBackpropData")
#: Methods whose maps are laid out by themselves, so that the target layers' layout is none of theirs, and what they say.
OWN_LAYOUT, USUAL_LAYOUT = ("det-class-probability-map", "inst-seg"), "NCHW"
#: Words of `collapse`; the first needs no reason, the others have one.
EXACT, REASONED = "exact", ("partial", "dense")
#: Scores leave 0..1 by no more than rounding.
SLACK = 1e-3
#: Activations that the scores of a task may still need; of a finished list of instances none.
WORDS = {
    INSTANCE_SEGMENTATION: ("none",),
    **dict.fromkeys((*VECTOR_TASKS, SEMANTIC_SEGMENTATION), ("none", "sigmoid", "softmax")),
}
#: Centres of boxes that spread by more pixels than this are no offsets in a cell.
MANY_CELLS = 8
#: Boxes as shares of the picture are no larger.
BEYOND = 2
#: Operations behind which rows are finished instances, no longer one for each position.
SUPPRESSION = ("NonMaxSuppression", "MulticlassNms", "MatrixNms", "DetectionOutput")
#: What scores that need this activation say of their classes.
EXCLUDE = {"sigmoid": "go together (multilabel)", "softmax": "exclude each other (no multilabel)"}
#: Any extent.
ANY = None


@dataclass(frozen=True)
class Outputs:
    """arrays: the plain model's outputs. score: the one with the scores. classes: how many. batch: pictures in them."""

    arrays: Sequence[np.ndarray]
    score: np.ndarray
    classes: int
    batch: int

    def is_score(self, *shape: int | None) -> bool:
        return self._fits(self.score, shape)

    def has(self, *shape: int | None) -> bool:
        return any(self._fits(array, shape) for array in self.arrays)

    def _fits(self, array: np.ndarray, shape: tuple[int | None, ...]) -> bool:
        batched = array.ndim == len(shape) + 1 and array.shape[0] == self.batch
        found = array.shape[1:] if batched else array.shape
        return len(found) == len(shape) and all(want in (ANY, have) for want, have in zip(shape, found, strict=True))

    @property
    def boxes(self) -> list[np.ndarray]:
        """Outputs that are rows of four values."""
        return [array for array in self.arrays if array.ndim >= 2 and array.shape[-1] == 4]

    @property
    def tables(self) -> list[int]:
        """Of outputs that hold maps [M, h, w]: how many."""
        return [array.shape[-3] for array in self.arrays if array.ndim >= 3]

    def score_rows(self, front: int) -> bool:
        """Whether the scores are rows of at least `front` values and the classes, the classes last or further values behind."""
        sides = self.score.shape[-2:] if self.score.ndim >= 2 else ()
        return any(side >= front + self.classes for side in sides)


def _boxes(o: Outputs) -> bool:
    """Boxes that hold their scores, or scores beside them: those are no whole numbers, as labels are."""
    return o.is_score(ANY, 5) or (o.has(ANY, 4) and o.is_score(ANY) and o.score.dtype.kind == "f")


def _prototypes(o: Outputs, front: int, axis: int) -> bool:
    return o.score.ndim >= 2 and any(o.score.shape[axis] == front + count for count in o.tables)


def _shares(boxes: np.ndarray) -> bool:
    """Whether they can be centres and sizes as shares of the picture, beyond which some of those reach that are made of
    distances to four sides."""
    return bool(boxes.min(initial=0) >= -1 and boxes.max(initial=0) <= BEYOND)


def _in_pixels(rows: np.ndarray) -> bool:
    """Whether rows of centre and size are of boxes: sizes are positive, and centres spread; not offsets and logarithms."""
    centres, sizes = rows[..., :2], rows[..., 2:4]
    return bool((sizes >= 0).all() and np.ptp(centres, axis=-2).min(initial=np.inf) > MANY_CELLS)


#: What the outputs have to hold for each prediction format.
FORMS: dict[str, Callable[[Outputs], bool]] = {
    "boxes-labels": lambda o: o.is_score(ANY, 5) and o.has(ANY),
    "boxes-labels-scores": lambda o: o.has(ANY, 4) and o.is_score(ANY),
    "boxes-labels-masks": lambda o: _boxes(o) and any(array.ndim >= 3 for array in o.arrays),
    "boxes-table": lambda o: o.score.ndim >= 2 and o.score.shape[-1] >= 6,
    "boxes-angle-table": lambda o: o.is_score(ANY, 7),
    "boxes-table-masks": lambda o: _prototypes(o, 6, -1),
    "boxes-labels-prototypes": lambda o: _boxes(o) and any(o.has(ANY, count) for count in o.tables),
    "detection-output": lambda o: o.score.ndim >= 2 and o.score.shape[-1] == 7,
    "boxes-scores": lambda o: bool(o.boxes) and o.score_rows(0),
    "queries": lambda o: any(_shares(boxes) for boxes in o.boxes) and any(o.is_score(ANY, o.classes + more) for more in (0, 1)),
    "yolox": lambda o: o.is_score(ANY, 5 + o.classes) and not _in_pixels(o.score),
    "yolo-v5": lambda o: o.is_score(ANY, 5 + o.classes) and _in_pixels(o.score),
    "yolo-v8": lambda o: len(o.score.shape) in (2, 3) and o.score_rows(4),
    "yolo-v5-seg": lambda o: _prototypes(o, 5 + o.classes, -1),
    "yolo-v8-seg": lambda o: _prototypes(o, 4 + o.classes, -2),
    "nanodet": lambda o: len(o.arrays) > 1 and o.score_rows(0),
    "fastestdet": lambda o: o.is_score(5 + o.classes, ANY, ANY),
    "east": lambda o: o.is_score(1, ANY, ANY) and o.has(5, ANY, ANY),
    "heatmap": lambda o: o.is_score(o.classes, ANY, ANY),
    "class-maps": lambda o: o.is_score(o.classes, ANY, ANY),
    "class-maps-last": lambda o: o.is_score(ANY, ANY, o.classes),
}
DENSE = (
    "yolo-v8",
    "yolo-v5",
    "yolox",
    "boxes-scores",
    "queries",
    "nanodet",
    "fastestdet",
    "heatmap",
    "yolo-v8-seg",
    "yolo-v5-seg",
)
WITH_MASKS = ("boxes-labels-masks", "boxes-table-masks", "boxes-labels-prototypes", "yolo-v5-seg", "yolo-v8-seg")
#: Of formats whose scores stand in known columns: those.
SCORES: dict[str, Callable[[Outputs], np.ndarray]] = {
    "boxes-labels": lambda o: o.score[..., 4], "boxes-scores": lambda o: o.score, "queries": lambda o: o.score,
    "yolox": lambda o: o.score[..., 4:], "yolo-v5": lambda o: o.score[..., 4:], "heatmap": lambda o: o.score,
    "scores": lambda o: o.score, "class-maps": lambda o: o.score,
    "class-maps-last": lambda o: o.score,
}  # fmt: skip


def check_statements(case: Case, outputs: Sequence[np.ndarray], batch: int) -> Check:
    """One check for all of them; the first that does not hold is told. outputs: of the plain model, `batch` pictures."""
    problem = (
        _constant(case.explained)
        or _method(case.info)
        or _attention(case)
        or _collapse(case.info)
        or _features(case)
        or _scores(case, outputs, batch)
    )
    return Check("rt_info", not problem, problem or "method, collapse, feature layer, scores and format fit the plain model")


def _constant(explained: ov.Model) -> str:
    """A map that no picture can move."""
    results = [result for result in explained.get_results() if SALIENCY_MAP in result.output(0).get_names()]
    return "" if all(map(depends_on_input, results)) else f"{SALIENCY_MAP} is the same for every picture"


def _method(info: ExplainedInfo) -> str:
    known = METHODS.get(info.task)
    if known is not None and info.method not in known:
        return f"method is {info.method!r}, which is none for {info.task}: {', '.join(known)}"
    if info.method in MASKS and info.mask not in MASKS[info.method]:
        return f"mask is {info.mask!r}; {info.method} has {' and '.join(MASKS[info.method])}"
    if info.method in OWN_LAYOUT and info.layout not in ("", USUAL_LAYOUT):
        return f"layout is {info.layout!r}; maps of {info.method} are {USUAL_LAYOUT}"
    if info.network_size is None and info.network_frame != WHOLE.box:
        return "there is a network_frame, but no network_size"
    if info.method == "inst-seg" and info.network_size is None and not info.frame.plain:
        return "map_frame and map_axes are not those of the picture, on which masks of instances are laid"
    return ""


def _attention(case: Case) -> str:
    """ViT Recipro-CAM said of a head in which no tokens meet. (The other name may be said of any head.)"""
    if case.info.method != VIT_RECIPRO_CAM:
        return ""
    taps = [port_named(case.plain, name) for name in case.info.target_layers]
    ends = [result.input_value(0) for result in case.plain.get_results()]
    behind = set()
    for end in ends:
        with suppress(TargetLayerError):  # an output that does not come from there
            behind |= set(nodes_between(taps, end))
    tapped = {tap.get_node().get_name() for tap in taps}
    products = [node for node in case.plain.get_ops() if node.get_name() in behind and node.get_type_name() in PRODUCTS]
    sources = ([port.get_node().get_name() for port in node.input_values()] for node in products)
    if any(sum(name in behind or name in tapped for name in names) > 1 for names in sources):
        return ""
    return f"method is {VIT_RECIPRO_CAM!r}, but behind the target layers no tokens attend to each other"


def _collapse(info: ExplainedInfo) -> str:
    said, reason = info.collapse, info.collapse_reason
    if said not in ("", EXACT, *REASONED):
        return f"collapse is {said!r}, which is none of {', '.join((EXACT, *REASONED))}"
    if said in REASONED and not reason:
        return f"collapse is {said!r} without a collapse_reason"
    if said in REASONED and (info.task not in VECTOR_TASKS or info.method in (GRADIENT, ACTIVATION_MAP)):
        return f"collapse is {said!r}, but {info.method} lays nothing out"
    return f"collapse is {said!r} with a collapse_reason" if reason and said not in REASONED else ""


def _features(case: Case) -> str:
    """What `feature_layer` says where no `feature_map` shows it."""
    info, name = case.info, case.info.feature_layer
    if not name:
        shown = FEATURE_MAP in info.extra_outputs and info.task not in (*VECTOR_TASKS, FEATURES)
        return "there is a feature_map, but no feature_layer" if shown else ""
    if info.task in (*VECTOR_TASKS, SEMANTIC_SEGMENTATION, FEATURES):
        first = info.target_layers[0] if info.target_layers else ""
        return "" if name == first else f"feature_layer is {name!r}, the first target layer {first!r}"
    port = port_named(case.plain, name)
    rank = port.get_partial_shape().rank
    if rank.is_static and rank.get_length() != 4:
        return f"feature_layer is {name!r}, which has {rank.get_length()} axes: no map"
    goals = [port_named(case.plain, layer) for layer in info.target_layers]
    # The layers of gradients stand above it.
    if not any(_leads(port, goal) or (info.method == GRADIENT and _leads(goal, port)) for goal in goals):
        return f"feature_layer is {name!r}, from which nothing leads to the target layers"
    return ""


def _leads(start: ov.Output, goal: ov.Output) -> bool:
    try:
        nodes_between([start], goal)
    except TargetLayerError:
        return False
    return True


def _scores(case: Case, arrays: Sequence[np.ndarray], batch: int) -> str:
    """`explained_output`, `score_output`, `prediction_format` and `score_activation`."""
    info = case.info
    if not 0 <= info.explained_output < len(arrays):
        return f"explained_output is {info.explained_output}, but the plain part has {len(arrays)} outputs"
    form = info.prediction_format
    if not info.score_output:
        return f"prediction_format is {form!r}, but no score_output is named" if form else ""
    names = [port.get_names() or {f"output_{index}"} for index, port in enumerate(case.plain.outputs)]
    index = next((number for number, own in enumerate(names) if info.score_output in own), None)
    if index is None:
        return f"score_output is {info.score_output!r}, which is no output of the plain part"
    outputs = Outputs(arrays, arrays[index], info.num_classes or 1, batch)
    if info.task in VECTOR_TASKS:
        if index != info.explained_output:
            return f"score_output is {info.score_output!r}, the explained output is number {info.explained_output}"
        wanted = "best-scores" if info.number_output else "scores"
        if form and form != wanted:
            return f"prediction_format is {form!r}; a classifier's outputs are {wanted}"
    elif info.task == INSTANCE_SEGMENTATION and index != info.explained_output:
        return f"explained_output is {info.explained_output}, but the scores are in {info.score_output}"
    elif form:
        if form not in FORMS or (form in WITH_MASKS) != (info.task == INSTANCE_SEGMENTATION):
            return f"prediction_format is {form!r}, which is none for {info.task}"
        if not FORMS[form](outputs):
            shapes = ", ".join(str(list(array.shape)) for array in arrays)
            return f"prediction_format is {form!r}, with the scores in {info.score_output}; outputs of {shapes} don't hold that"
        if form in DENSE and comes_from(case.plain.get_results()[index], SUPPRESSION):
            return f"prediction_format is {form!r}, one row for each position, but {info.score_output} was suppressed already"
    return _activation(case, outputs, index)


def _activation(case: Case, outputs: Outputs, index: int) -> str:
    """Scores that need no activation lie in 0..1; those that need one have none yet."""
    info, said = case.info, case.info.score_activation
    words = WORDS.get(info.task, ("none", "sigmoid", *(["softmax"] if info.prediction_format == "queries" else [])))
    if said not in words:
        return f"score_activation is {said!r}, which is none of {', '.join(words)}"
    if info.method == GRADIENT and info.class_activation not in ("", said):
        return f"score_activation is {said!r}, but class_activation {info.class_activation!r}"
    values = SCORES[info.prediction_format](outputs) if info.prediction_format in SCORES else np.zeros(0)
    numbers = info.task == REGRESSION or (info.task in VECTOR_TASKS and outputs.classes == 1)
    if numbers and said != "none":
        return f"score_activation is {said!r}, but the output holds values as they are"
    if info.task == CLASSIFICATION and said != "none":
        wanted = "sigmoid" if ModelInfo.read(case.plain).multilabel else "softmax"
        if said != wanted:
            return f"score_activation is {said!r}; model_info says that classes {EXCLUDE[wanted]}"
    if said == "none":
        finite = values[np.isfinite(values)] if values.dtype.kind == "f" and not numbers else np.zeros(0)
        if finite.size and (finite.min() < -SLACK or finite.max() > 1 + SLACK):
            return f"score_activation is 'none', but scores lie between {finite.min():.3g} and {finite.max():.3g}"
        return ""
    done = _activated(case, index)
    # The softmax of a logarithm of probabilities is the probabilities.
    twice = done and (done, said) != ("LogSoftmax", "softmax")
    return f"score_activation is {said!r}, but {done} stands in the graph" if twice else ""


def _activated(case: Case, index: int) -> str:
    """The activation between the target layers and output `index`; empty where there is none."""
    goal = case.plain.get_results()[index].input(0).get_source_output()
    if case.info.task in (*VECTOR_TASKS, SEMANTIC_SEGMENTATION):
        logits = logits_port(case.plain, index)
        nodes = [reader.get_node() for reader in logits.get_target_inputs()] if logits != goal else []
    else:
        try:
            between = nodes_between([port_named(case.plain, name) for name in case.info.target_layers], goal)
        except TargetLayerError:
            return ""
        nodes = _last_made(goal.get_node(), between)
    return next((node.get_type_name() for node in nodes if node.get_type_name() in ACTIVATIONS), "")


def _last_made(goal: ov.Node, among: Mapping[str, ov.Node]) -> list[ov.Node]:
    """Nodes that make `goal` of the last weighted sums: what stands before these (a gate, a place) is no activation of scores."""
    found: dict[str, ov.Node] = {}
    stack = [goal]
    while stack:
        node = stack.pop()
        name = node.get_name()
        if name in found or name not in among or node.get_type_name() in WEIGHTED:
            continue
        found[name] = node
        stack += [port.get_node() for port in node.input_values()]
    return list(found.values())
