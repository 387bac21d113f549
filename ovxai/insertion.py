"""Insert: read -> find -> method -> outputs -> rt_info -> model. The whole story on one page."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path

import openvino as ov

from ovxai.errors import AlreadyExplainedError, OptionError
from ovxai.find.site import No
from ovxai.find.task import Plan, find_plan
from ovxai.graph.graph import Graph
from ovxai.graph.read import convert_module, read_model
from ovxai.graph.surgery import attach_outputs, fold_parameters
from ovxai.metadata import (  # fmt: skip
    EMBEDDED_MAP,
    EMBEDDED_OVERLAY,
    FEATURE_MAP,
    FEATURE_VECTOR,
    SALIENCY_INDEX,
    SALIENCY_MAP,
    ExplainedInfo,
    ModelInfo,
    adopt_onnx_model_info,
    is_explained,
)
from ovxai.methods.outputs import Branch, as_float, embed, largest_cells, to_grey
from ovxai.methods.registry import build_branch
from ovxai.options import InsertOptions
from ovxai.probe import probe


@dataclass(frozen=True)
class Insertion:
    """An explained model and what was done to get it.

    why: how the site was chosen. notes: what a person should know (what is dense, say). warnings: what
    the probe saw (flat maps, the same map for every class). candidates: tensors considered.
    """

    model: ov.Model
    info: ExplainedInfo
    why: str
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    candidates: tuple[str, ...] = ()


def insert(model: str | Path | ov.Model, **options: object) -> ov.Model:
    """Add explanation outputs to a model.

    model: path of anything OpenVINO reads, an `ov.Model` (which is not changed), or a PyTorch module or
    exported program (then `example_input` is a tensor such as it takes; no hooks, it is converted).
    options: the long options of `ovxai insert`, with `_` for `-` (see `InsertOptions`).

    Returns a new `ov.Model`: the model's own outputs first and unchanged, then `saliency_map`
    [N, C, h, w] (u8 scaled to 0..255 per map, or f32 with scale=False), `feature_map` [N, c, h, w] f32,
    and on request `feature_vector` [N, c], `saliency_index` [N, 1, K] i64 and an embedded picture.

    Methods: Recipro-CAM (arXiv 2209.14074), ViT Recipro-CAM (arXiv 2310.02588), OTX's
    DetClassProbabilityMap and InstSegExplainAlgo.

    Raises:
        ModelReadError: the file is not there or is no model.
        UnsupportedModelError: nothing in the model can be explained this way; says what was looked for.
        AlreadyExplainedError, TargetLayerError, OptionError: see their messages.
    """
    return insert_with_report(model, **options).model


def insert_with_report(model: str | Path | ov.Model, **options: object) -> Insertion:
    """Like `insert`, but also says what was found and done."""
    example_input = options.pop("example_input", None)
    wishes = make_options(options)
    working = as_model(model, example_input)
    name = str(model) if isinstance(model, (str, Path)) else "the model"
    if is_explained(working):
        raise AlreadyExplainedError(f"{name} carries explanation outputs already; take them off first with: ovxai strip")
    adopt_onnx_model_info(working)
    fold_parameters(working)
    if wishes.labels:
        working.set_rt_info(" ".join(label.replace(" ", "_") for label in wishes.labels), ["model_info", "labels"])
    model_info = ModelInfo.read(working)
    graph = Graph(working)
    plan = find_plan(graph, wishes, model_info)
    if isinstance(plan, No):
        raise plan.error(f"{name}: {plan.reason}")
    branch = build_branch(graph, plan, wishes)
    info, notes = _attach(working, branch, plan, wishes, model_info)
    warnings = probe(working, info, model_info) if wishes.probe else ()
    return Insertion(working, info, plan.site.why, (*branch.notes, *notes), warnings, plan.site.candidates)


def as_model(model: str | Path | ov.Model | object, example_input: object = None) -> ov.Model:
    """A model of its own to work on: read from a path, cloned, or converted from a PyTorch module.

    Raises:
        ModelReadError: the file or module can't be converted.
    """
    if isinstance(model, ov.Model):
        return model.clone()
    if isinstance(model, (str, Path)):
        return read_model(model)
    return convert_module(model, example_input)


def make_options(options: dict[str, object]) -> InsertOptions:
    """Keywords -> `InsertOptions`; a single target layer may be given as text.

    Raises:
        OptionError: an option that there is not, or a value that it can't have.
    """
    known = {field.name for field in fields(InsertOptions)}
    unknown = set(options) - known
    if unknown:
        raise OptionError(f"there is no option {min(unknown)!r}; there are: {', '.join(sorted(known))}")
    values = dict(options)
    for name in ("target_layer", "labels"):
        if isinstance(values.get(name), str):
            values[name] = (values[name],)
        elif values.get(name) is not None:
            values[name] = tuple(values[name])
    return InsertOptions(**values)


def _attach(
    model: ov.Model, branch: Branch, plan: Plan, options: InsertOptions, model_info: ModelInfo
) -> tuple[ExplainedInfo, tuple[str, ...]]:
    """The written rt_info, and what a person should know of the outputs."""
    maps = branch.saliency
    outputs = {SALIENCY_MAP: to_grey(maps) if options.scale else as_float(maps)}
    wanted = options.feature_map if options.feature_map is not None else plan.shows_features
    if wanted and branch.feature_map is not None:
        outputs[FEATURE_MAP] = branch.feature_map
    if options.feature_vector and branch.feature_vector is not None:
        outputs[FEATURE_VECTOR] = branch.feature_vector
    if branch.index is not None:
        outputs[SALIENCY_INDEX] = branch.index
    if options.embed:
        name = EMBEDDED_MAP if options.embed == "map" else EMBEDDED_OVERLAY
        grey = outputs[SALIENCY_MAP] if options.scale else to_grey(maps)
        outputs[name] = embed(options.embed, grey, branch.strength or largest_cells(maps), plan.picture, model_info)
    notes = _leave_out_taken(model, outputs, options)
    attach_outputs(model, outputs)
    info = replace(branch.info, scaled=options.scale, extra_outputs=tuple(outputs), embed=options.embed or "")
    info.write(model)
    return info, notes


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
