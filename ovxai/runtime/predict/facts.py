"""What the runner knows of a model before the first picture: read from rt_info, not from the graph."""

from __future__ import annotations

from dataclasses import dataclass

import openvino as ov

from ovxai.errors import NotExplainedError
from ovxai.graph.kinds import behind_views
from ovxai.metadata import (
    CLASSIFICATION,
    COSINE,
    DETECTION,
    EXTRA_OUTPUTS,
    FEATURE_MAP,
    INSTANCE_SEGMENTATION,
    KEPT_BRANCHES,
    SALIENCY_INDEX,
    SALIENCY_MAP,
    ExplainedInfo,
    ModelInfo,
    is_explained,
)
from ovxai.runtime.feed.engine import NamedOutput
from ovxai.runtime.predict.labels import Hierarchy, class_names


@dataclass(frozen=True)
class ModelFacts:
    """An explained model, as the runner sees it.

    outputs: a name for every output, in order. own: the names of those that the plain model has. batched: the names of
    those that begin with a batch. channels: the class of each channel of `saliency_map`; None where `saliency_index`
    says it. names: one per class, "" where none is known. hierarchy: of an OTX hierarchical classifier.
    notes: lines for the person who runs it.
    """

    name: str
    explained: ExplainedInfo
    info: ModelInfo
    outputs: tuple[str, ...]
    own: tuple[str, ...]
    batched: frozenset[str]
    channels: tuple[int, ...] | None
    names: tuple[str, ...]
    hierarchy: Hierarchy | None = None
    notes: tuple[str, ...] = ()

    @property
    def classless(self) -> bool:
        """Whether the one map it gives stands for no class."""
        return self.explained.method == "activation-map" or self.explained.target == COSINE

    @property
    def has_feature_map(self) -> bool:
        return FEATURE_MAP in self.outputs

    def named_outputs(self, skip: frozenset[str] = frozenset()) -> tuple[NamedOutput, ...]:
        """The outputs for an engine. skip: names of those that nobody will ask for."""
        left = skip | frozenset(KEPT_BRANCHES)
        return tuple(NamedOutput(i, name, name in self.batched) for i, name in enumerate(self.outputs) if name not in left)

    def label(self, index: int) -> str:
        """Name of class `index`, else its number."""
        return (self.names[index] if 0 <= index < len(self.names) else "") or str(index)


def read_facts(model: ov.Model, labels: tuple[str, ...] | None = None, offset: int | None = None) -> ModelFacts:
    """Facts of an explained `model`; `labels` stand in for those of rt_info. offset: of the first class that has one.

    Raises:
        NotExplainedError: no `saliency_map` output.
        OptionError: as many `labels` as fit no reading of the model's classes.
    """
    if not is_explained(model):
        raise NotExplainedError(f"{model.get_friendly_name()}: has no saliency_map output; run `ovxai insert` first")
    info = ModelInfo.read(model)
    rank = _map_rank(model)
    if rank not in (None, 3, 4):
        raise NotExplainedError(
            f"{model.get_friendly_name()}: its saliency_map has rank {rank} and holds no maps (OTX exports such a "
            "placeholder for instance segmentation); export it without explanation and run `ovxai insert`"
        )
    outputs = tuple(_output_name(port, i) for i, port in enumerate(model.outputs))
    own = tuple(name for name in outputs if name not in EXTRA_OUTPUTS)
    explained = ExplainedInfo.read(model) or _guess(model, info, own, rank)
    hierarchy = Hierarchy.read(info)
    map_channels = _channel_count(model, outputs)
    count = explained.num_classes or (None if explained.method == "activation-map" else map_channels)
    names, notes = class_names(labels, info.labels, count, explained.task, hierarchy, offset)
    return ModelFacts(
        name=model.get_friendly_name(),
        explained=explained,
        info=info,
        outputs=outputs,
        own=own,
        batched=_batched(model, outputs, own),
        channels=_channels(explained, outputs, map_channels),
        names=names,
        hierarchy=hierarchy,
        notes=notes,
    )


def guessed_classifier(
    model: ov.Model, labels: tuple[str, ...] | None = None, offset: int | None = None
) -> ModelFacts | None:  # fmt: skip
    """Facts of a plain model that has one output, of [N, classes] numbers; None of any other.

    Scores that a softmax or a sigmoid made stand as they are; of others a softmax is taken, of a multi-label model a sigmoid.
    """
    if len(model.outputs) != 1 or not model.outputs[0].get_element_type().is_real():
        return None
    shape = list(model.outputs[0].get_partial_shape()) if not model.outputs[0].get_partial_shape().rank.is_dynamic else []
    sides = [side.get_length() if side.is_static else None for side in shape]
    if len(sides) < 2 or sides[1] is None or sides[1] < 2 or any(side != 1 for side in sides[2:]):
        return None
    info, name = ModelInfo.read(model), _output_name(model.outputs[0], 0)
    maker = behind_views(model.outputs[0].get_node().input_value(0)).get_node().get_type_name()
    due = "none" if maker in ("Softmax", "Sigmoid") else "sigmoid" if info.multilabel and maker != "LogSoftmax" else "softmax"
    explained = ExplainedInfo(
        version="", task=CLASSIFICATION, method="", target_layers=(), num_classes=sides[1], score_output=name,
        score_activation=due, prediction_format="scores",
    )  # fmt: skip
    names, notes = class_names(labels, info.labels, sides[1], CLASSIFICATION, None, offset)
    title = model.get_friendly_name()
    return ModelFacts(title, explained, info, (name,), (name,), frozenset((name,)), None, names, notes=notes)


def _output_name(port: ov.Output, index: int) -> str:
    names = port.get_names()
    ours = [name for name in EXTRA_OUTPUTS if name in names]
    # An output that the plain model had already may carry one of our names beside its own.
    return ours[0] if ours else next(iter(sorted(names)), f"output_{index}")


def _batched(model: ov.Model, outputs: tuple[str, ...], own: tuple[str, ...]) -> frozenset[str]:
    """Boxes of rank 2 mean that neither boxes nor labels nor masks know a batch; all else has one."""
    shapes = {name: port.get_partial_shape() for name, port in zip(outputs, model.outputs)}
    boxes = [name for name in own if "boxes" in name.lower()] or [name for name in own if _ends_like_boxes(shapes[name])]
    listed = bool(boxes) and len(own) > 1 and not shapes[boxes[0]].rank.is_dynamic and len(shapes[boxes[0]]) == 2
    return frozenset(name for name in outputs if not (listed and name in own))


def _ends_like_boxes(shape: ov.PartialShape) -> bool:
    if shape.rank.is_dynamic or len(shape) not in (2, 3) or shape[-1].is_dynamic:
        return False
    return shape[-1].get_length() in (4, 5)


def _map_rank(model: ov.Model) -> int | None:
    """Rank of the map output; None where there is none of that name, or it is dynamic."""
    for port in model.outputs:
        if SALIENCY_MAP in port.get_names():
            shape = port.get_partial_shape()
            return None if shape.rank.is_dynamic else len(shape)
    return None


def _guess(model: ov.Model, info: ModelInfo, own: tuple[str, ...], rank: int | None) -> ExplainedInfo:
    """Facts for a model that another tool explained (OTX's own explain export, openvino_xai).

    rank: of its maps; those of OTX's activation map have no axis for classes.
    """
    by_name = {_output_name(port, i): port for i, port in enumerate(model.outputs)}
    ranks = {name: len(by_name[name].get_partial_shape()) for name in own}
    if any("masks" in name for name in own):
        task, form, score, activation = INSTANCE_SEGMENTATION, "boxes-labels-masks", "", "none"
    elif any("boxes" in name for name in own):
        task, form, score, activation = DETECTION, "boxes-labels", "", "none"
    else:
        task, form = CLASSIFICATION, "scores"
        score = next((name for name in own if ranks[name] == 2), "")
        activation = "sigmoid" if info.multilabel else "softmax"
    return ExplainedInfo(
        version="", task=task, method="activation-map" if rank == 3 else "", target_layers=(), score_output=score,
        score_activation=activation, prediction_format=form,
    )  # fmt: skip


def _channel_count(model: ov.Model, outputs: tuple[str, ...]) -> int | None:
    if SALIENCY_MAP not in outputs:
        return None
    shape = model.outputs[outputs.index(SALIENCY_MAP)].get_partial_shape()
    if shape.rank.is_dynamic or len(shape) != 4 or shape[1].is_dynamic:
        return None
    return shape[1].get_length()


def _channels(explained: ExplainedInfo, outputs: tuple[str, ...], count: int | None) -> tuple[int, ...] | None:
    if SALIENCY_INDEX in outputs:
        return None
    chosen = explained.chosen_classes
    if chosen is not None:
        return chosen
    return tuple(range(count or explained.num_classes or 0))
