"""Insert: read -> find -> method -> outputs -> rt_info -> model. The whole story on one page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import openvino as ov

from ovxai.child import Child
from ovxai.errors import AlreadyExplainedError, OptionError, OvxaiError
from ovxai.find.asked import settled
from ovxai.find.site import No
from ovxai.find.task import Plan, find_plan
from ovxai.graph.beside import Adopted, adopt_what_is_told
from ovxai.graph.graph import Graph
from ovxai.graph.names import name_in_order, name_of, unique_names
from ovxai.graph.picture import pixel_values
from ovxai.graph.read import convert_module, read_model
from ovxai.graph.surgery import attach_outputs, fold_parameters
from ovxai.labels import fit_names, fitted_names, given_labels
from ovxai.metadata import (
    EMBEDDED_MAP,
    EMBEDDED_OVERLAY,
    FEATURE_MAP,
    FEATURE_VECTOR,
    KEPT_BRANCHES,
    SALIENCY_BOX,
    SALIENCY_INDEX,
    SALIENCY_MAP,
    SALIENCY_SCORE,
    VECTOR_TASKS,
    WHOLE,
    ExplainedInfo,
    ModelInfo,
    is_explained,
    store_feeding,
    store_labels,
)
from ovxai.methods.outputs import Branch, as_float, embed, largest_cells, to_grey
from ovxai.methods.registry import build_branch
from ovxai.options import AUTO, InsertOptions, as_values, given_vector, refuse_unread
from ovxai.probe import probed, verified_by

if TYPE_CHECKING:
    from ovxai.verification import VerifyReport


class TorchModel(Protocol):
    """What a `torch.nn.Module` and a `torch.export.ExportedProgram` have in common; torch need not be installed."""

    def named_parameters(self) -> Iterator[tuple[str, object]]:
        """Names and tensors."""
        ...


class Tensor(Protocol):
    """A `torch.Tensor`, or an array like one."""

    @property
    def shape(self) -> Sequence[int]:
        """Sizes of its axes."""
        ...


@dataclass(frozen=True)
class Insertion:
    """An explained model and what was done to get it.

    why: how the site was chosen. notes: what a person should know (what is dense, say). warnings: what
    the probe saw (flat maps, the same map for every class). candidates: tensors considered.
    told: those of the notes that say what was read beside the model.
    verified: what the verification measured, where one was asked for.
    """

    model: ov.Model
    info: ExplainedInfo
    why: str
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    candidates: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    verified: VerifyReport | None = None


def insert(
    model: str | Path | ov.Model | TorchModel,
    *,
    task: str = "auto",
    method: str = "auto",
    target_layer: str | Sequence[str] = (),
    output: str | int | None = None,
    input: str | int | None = None,
    mask: str = "auto",
    blocks: int = 1,
    scale: bool = True,
    classes: str | None = None,
    embed: str | None = None,
    feature_vector: bool = False,
    feature_map: bool | None = None,
    labels: str | Path | Sequence[str] | None = None,
    labels_offset: int | None = None,
    num_classes: int | None = None,
    map_size: str | None = None,
    class_activation: str | None = None,
    levels: str = "mean",
    combine: str = "product",
    per: str = "class",
    pixel: str | None = None,
    toward: Sequence[float] | str | Path | None = None,
    memory_budget: int = 512,
    mean: Iterable[float] | float | None = None,
    scale_values: Iterable[float] | float | None = None,
    resize_type: str | None = None,
    pad_value: int | None = None,
    reverse_input_channels: bool | None = None,
    probe: bool = True,
    verify: bool = False,
    trust: bool = False,
    example_input: Tensor | tuple[Tensor, ...] | None = None,
) -> ov.Model:
    """Add explanation outputs to a model. The keywords are the long options of `ovxai insert`, with `_` for `-`.

    model: path of anything OpenVINO reads, an `ov.Model` (which is not changed), or a PyTorch module or
        exported program, which is converted, without hooks.
    task: "auto", "classification", "regression", "detection", "instance-segmentation", "semantic-segmentation" or "features".
    method: "auto", "reciprocam", "vit-reciprocam", "det-class-probability-map", "inst-seg",
        "activation-map" or "gradient".
    target_layer: which tensors are gated, or hold a detector's class logits: friendly node names or tensor
        names, `name:port` where the port is not 0; one, or several.
    output: name or index of the output whose scores are explained. Default: the first that looks like scores.
    input: name or index of the input whose picture is explained, where the model takes several; the others stay as they
        are fed. Default: the likeliest, of three channels and the largest.
    mask: what is left of the feature map: "point", one position, or "gaussian", its neighbourhood too. "auto":
        gaussian for ViT Recipro-CAM, else point.
    blocks: how many transformer blocks before the end the gate sits, from 1.
    scale: maps are u8, min-max scaled to 0..255 each; False: f32, in the units of the scores.
    classes: "all", "top:K" or indices such as "0,3,7". Default: all; of gradients top:1.
    embed: "map" adds `saliency_map_resized` u8 [N, C, H, W] at the input's size, "overlay" `saliency_overlay`
        u8 [N, H, W, 3] RGB, the map of the strongest class over the picture.
    feature_vector: also `feature_vector` f32 [N, c]. feature_map: also `feature_map` f32 [N, c, h, w];
        None: yes, except for instance segmentation.
    labels: class names, one per class, or the path of a file with one per line; stored in rt_info `model_info`.
    labels_offset: how many classes without a name come first, such as 1 for a background.
    num_classes: how many classes there are, where the graph leaves that open.
    map_size: "HxW", grid of the maps of detectors and instance segmentation, in cells.
    class_activation: "softmax", "sigmoid" or "none" over a detector's class logits. Default: softmax. With per="box", what the
        class scores of queries need; under "softmax" the last score says that there is nothing. Default: "softmax" where labels
        are one fewer than scores, else "sigmoid".
    levels: "mean" or "max" over a detector's pyramid levels.
    combine: how gradients become a map: "product" over several levels, or "hirescam", "layercam" or "gradcam" at one layer.
    per: "class", or "box": a detector's gradients, one map for each of the K best boxes (classes="top:K", default 5).
    pixel: "Y,X", row and column of the input: of semantic segmentation, the scores of one pixel.
    toward: a vector, or the path of an .npy file with one: what makes an embedding like it (cosine similarity).
    memory_budget: MB that may be used at once where the maps can only be computed densely.
    mean, scale_values, resize_type, pad_value, reverse_input_channels: how pictures are fed, as `ovxai.Explainer` describes
        them; stored in rt_info `model_info`, so that whoever runs the model need not be told.
    probe: see in two inferences whether the result runs and its maps carry anything; `insert_with_report` hands
        on what they show.
    verify: compare the maps with their definition, one masked copy at a time, before the model is handed out.
    trust: read a .pt2 that carries more than weights and a graph, and run that as code.
    example_input: for a PyTorch module: a tensor, or several, such as it takes.

    Returns a new `ov.Model`: the model's own outputs first and unchanged, then `saliency_map`
    [N, C, h, w] (u8, or f32 with scale=False), `feature_map`, `feature_vector`, `saliency_index`
    [N, 1, K] i64 (which classes the maps are of, unless all) and the embedded picture.

    Methods: Recipro-CAM (arXiv 2209.14074), ViT Recipro-CAM (arXiv 2310.02588), OTX's
    DetClassProbabilityMap and InstSegExplainAlgo.

    Raises:
        ModelReadError: the file is not there or is no model.
        AlreadyExplainedError: the model carries explanation outputs already.
        UnsupportedModelError: nothing in the model can be explained this way; says what was looked for.
        TargetLayerError: a target layer that the model does not have, or that can't be gated.
        OptionError: an option's value does not fit the model; `UsageError`, a kind of it: no model could take
            the value, or the method does not read the option.
        VerificationError: with verify=True, the maps are not what their definition says.
    """
    options = InsertOptions(
        task=task, method=method, target_layer=(target_layer,) if isinstance(target_layer, str) else tuple(target_layer),
        input=input, output=output, mask=mask, blocks=blocks, scale=scale, classes=classes, embed=embed,
        feature_vector=feature_vector, feature_map=feature_map, labels=given_labels(labels), labels_offset=labels_offset,
        num_classes=num_classes, map_size=map_size, class_activation=class_activation, levels=levels, combine=combine, per=per,
        pixel=pixel, toward=given_vector(toward), memory_budget=memory_budget, mean=as_values(mean),
        scale_values=as_values(scale_values), resize_type=resize_type, pad_value=pad_value,
        reverse_input_channels=reverse_input_channels, probe=probe, verify=verify, trust=trust,
    )  # fmt: skip
    return insert_with_report(model, options, example_input=example_input).model


def insert_with_report(
    model: str | Path | ov.Model | TorchModel,
    options: InsertOptions | None = None,
    *,
    example_input: Tensor | tuple[Tensor, ...] | None = None,
    apart: Child | None = None,
    beside: Path | None = None,
) -> Insertion:
    """Like `insert`, with its keywords in one object; also says what was found and done.

    beside: where the file of a model that was read already lies, for what it and those beside it say.
    apart: where the probe and the verification run the model; None: here.

    Raises:
        CrashError: the verification ended the process that it ran in.
    """
    wishes = options or InsertOptions()
    working = as_model(model, example_input, trust=wishes.trust)
    name = str(model if isinstance(model, (str, Path)) else beside or "the model")
    if is_explained(working):
        raise AlreadyExplainedError(f"{name} carries explanation outputs already; take them off first with: ovxai strip")
    before = unique_names(working)
    fold_parameters(working)
    if wishes.labels:
        store_labels(working, wishes.labels)
    store_feeding(working, wishes.feeding)
    adopted = adopt_what_is_told(working, beside or (Path(model) if isinstance(model, (str, Path)) else None))
    graph = Graph(working)
    wishes = settled(wishes, working)
    plan, model_info, adopted = _planned(graph, wishes, adopted, name)
    try:
        unsaid = _check_feeding(plan, model_info, wishes)
    except OptionError:
        if not adopted.normalisation:
            raise
        adopted = adopted.without_normalisation(working)
        model_info = ModelInfo.read(working)
        unsaid = _check_feeding(plan, model_info, wishes)
    refuse_unread(wishes, [(plan.task, plan.site.method if wishes.method == AUTO else wishes.method)])
    branch = build_branch(graph, plan, wishes)
    _check_counts(branch, plan, wishes)
    if adopted.labels and fit_names(model_info.labels or (), branch.info.num_classes, plan.task, wishes.labels_offset) is None:
        adopted, model_info = adopted.without_labels(working), replace(model_info, labels=None)
    _place_labels(working, model_info, branch, plan, wishes)
    info, notes = _attach(working, branch, plan, wishes, model_info)
    name_in_order(working, before)
    warnings = probed(working, info, model_info, apart, name_of(branch.saliency)) if wishes.probe else ()
    verified = verified_by(working, name, apart) if wishes.verify else None
    notes = (*adopted.notes, *branch.notes, *notes, *filter(None, [unsaid]))
    return Insertion(working, info, plan.site.why, notes, warnings, plan.site.candidates, adopted.notes, verified)


def _planned(graph: Graph, wishes: InsertOptions, adopted: Adopted, name: str) -> tuple[Plan, ModelInfo, Adopted]:
    """What is explained; labels that were read beside the model and fit nothing in it are left out.

    Raises:
        UnsupportedModelError: nothing can be explained. TargetLayerError, OptionError: see `find_plan`.
    """
    model_info = ModelInfo.read(graph.model)
    plan = find_plan(graph, wishes, model_info)
    if isinstance(plan, No) and adopted.labels:
        adopted, model_info = adopted.without_labels(graph.model), replace(model_info, labels=None)
        plan = find_plan(graph, wishes, model_info)
    if isinstance(plan, No):
        raise plan.error(f"{name}: {plan.reason}{_otherwise(graph, wishes, model_info)}")
    return plan, model_info, adopted


def _otherwise(graph: Graph, wishes: InsertOptions, model_info: ModelInfo) -> str:
    """What the model would be explained as, were neither task nor method asked for; empty where none is, or nothing is found."""
    asked = [f"--{name}" for name in ("task", "method") if getattr(wishes, name) != AUTO]
    if not asked:
        return ""
    try:
        plan = find_plan(graph, replace(wishes, task=AUTO, method=AUTO), model_info)
    except OvxaiError:  # other options ask for something as well
        return ""
    return "" if isinstance(plan, No) else f"; without {' and '.join(asked)}: {plan.task}, by {plan.site.method}"


def as_model(
    model: str | Path | ov.Model | TorchModel,
    example_input: Tensor | tuple[Tensor, ...] | None = None,
    *,
    trust: bool = False,
) -> ov.Model:
    """A model of its own to work on: read from a path, cloned, or converted from a PyTorch module.

    Raises:
        ModelReadError: the file or module can't be converted.
    """
    if isinstance(model, ov.Model):
        return model.clone()
    if isinstance(model, (str, Path)):
        return read_model(model, trust=trust)
    return convert_module(model, example_input)


def _check_counts(branch: Branch, plan: Plan, options: InsertOptions) -> None:
    """Refuse numbers of labels or classes that are not the classifier's; detectors are searched by theirs.

    Raises:
        OptionError: says both numbers.
    """
    count = branch.info.num_classes
    if options.labels is not None:
        fitted_names(options.labels, count, plan.task, options.labels_offset)
    if plan.task in VECTOR_TASKS and options.num_classes not in (None, count):
        raise OptionError(
            f"num classes: {options.num_classes}, but the output that is explained has {count}; name another by --output"
        )


def _check_feeding(plan: Plan, model_info: ModelInfo, options: InsertOptions) -> str:
    """Refuse a mean or scale that the explained input can't have; what to note where nobody says how to normalise, else empty.

    Raises:
        OptionError: it takes whole numbers, normalises inside, or has another number of channels.
    """
    return pixel_values(plan.picture, model_info, mean=options.mean, scale=options.scale_values).unsaid


def _place_labels(model: ov.Model, model_info: ModelInfo, branch: Branch, plan: Plan, options: InsertOptions) -> None:
    """Store one label per class where an offset says whose each is, so that whoever runs the model need not be told.

    Raises:
        OptionError: the labels do not fit behind the offset, or there are none.
    """
    if not options.labels_offset:
        return
    labels = options.labels or model_info.labels
    if not labels:
        raise OptionError("labels offset: neither --labels nor rt_info names the classes; give --labels FILE")
    store_labels(model, fitted_names(labels, branch.info.num_classes, plan.task, options.labels_offset))


def _attach(
    model: ov.Model, branch: Branch, plan: Plan, options: InsertOptions, model_info: ModelInfo
) -> tuple[ExplainedInfo, tuple[str, ...]]:
    """The written rt_info, and what a person should know of the outputs."""
    outputs = {SALIENCY_MAP: to_grey(branch.saliency, level=branch.level) if options.scale else as_float(branch.raw)}
    wanted = options.feature_map if options.feature_map is not None else plan.shows_features
    features = _there(FEATURE_MAP, branch.feature_map, asked=options.feature_map is True)
    if wanted and features is not None:
        outputs[FEATURE_MAP] = features
    vector = _there(FEATURE_VECTOR, branch.feature_vector, asked=options.feature_vector)
    if options.feature_vector and vector is not None:
        outputs[FEATURE_VECTOR] = vector
    if branch.index is not None:
        outputs[SALIENCY_INDEX] = branch.index
    if branch.boxes is not None and branch.box_scores is not None:
        outputs |= {SALIENCY_BOX: branch.boxes, SALIENCY_SCORE: branch.box_scores}
    if options.embed:
        name = EMBEDDED_MAP if options.embed == "map" else EMBEDDED_OVERLAY
        grey = outputs[SALIENCY_MAP] if options.scale else to_grey(branch.saliency, level=branch.level)
        picture = model.inputs[plan.picture.index]
        strength = branch.strength or largest_cells(branch.raw)
        outputs[name] = embed(options.embed, grey, strength, picture, plan.picture, model_info, plan.site.frame)
    outputs |= dict(zip(KEPT_BRANCHES, branch.kept))
    notes = _leave_out_taken(model, outputs, options)
    attach_outputs(model, outputs)
    info = replace(
        branch.info,
        picture_input=plan.picture.name,
        picture_range=(plan.picture.black, plan.picture.white),
        map_frame=plan.site.frame.box,
        map_axes=plan.site.frame.axes,
        network_size=plan.network.size if plan.network else None,
        network_frame=plan.network.frame.box if plan.network else WHOLE.box,
        scaled=options.scale,
        extra_outputs=tuple(outputs),
        embed=options.embed or "",
    )
    info.write(model)
    return info, notes


def _there(name: str, port: ov.Output | None, *, asked: bool) -> ov.Output | None:
    """`port`, which a model without such features lacks.

    Raises:
        OptionError: it was asked for and is not there.
    """
    if port is None and asked:
        raise OptionError(
            f"{name.replace('_', ' ')}: no features of this model were found that it could be made from; leave it out"
        )
    return port


def _leave_out_taken(model: ov.Model, outputs: dict[str, ov.Output], options: InsertOptions) -> tuple[str, ...]:
    """Take out the feature map that nobody asked for where the model has an output of that name.

    Raises:
        OptionError: an output that was asked for has a name that is taken.
    """
    taken = {name for output in model.outputs for name in output.get_names()} & set(outputs)
    if taken == {FEATURE_MAP} and options.feature_map is None:
        del outputs[FEATURE_MAP]
        return (f"the model has an output {FEATURE_MAP} of its own, which stays; ours is left out",)
    if taken:
        raise OptionError(f"the model has an output {min(taken)} of its own; leave ours out, or rename the model's")
    return ()
