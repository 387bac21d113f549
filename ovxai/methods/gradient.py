"""Gradient maps: a backward pass in the graph from the scores of chosen classes to feature maps of the trunk."""

from __future__ import annotations

import openvino as ov
from openvino import opset13 as op

from ovxai.backward.interpreter import derivatives
from ovxai.backward.targets import Targets
from ovxai.collapse.head.classes import Selection, picked, select_classes
from ovxai.errors import TargetLayerError
from ovxai.find.site import ClassifierSite
from ovxai.graph import emit
from ovxai.graph.dims import Dim, dims_of, ints, whole_number
from ovxai.graph.graph import Graph
from ovxai.metadata import CLASSIFICATION, GRADIENT, LOG_ODDS, LOGIT, REGRESSION, ExplainedInfo
from ovxai.methods.gradient_maps import Derived, combined
from ovxai.methods.outputs import Branch, as_float, feature_map, feature_vector
from ovxai.options import InsertOptions
from ovxai.version import __version__


def build(graph: Graph, site: ClassifierSite, options: InsertOptions) -> Branch:
    """The explanation branch of a classifier: one backward pass for each of the K chosen classes.

    Raises:
        UnsupportedModelError: an operation between the scores and the layers has no derivative here; names it.
        TargetLayerError: the scores do not depend on a layer. OptionError: a class that the model does not have.
    """
    dims = dims_of(site.logits, graph.known_shape(site.logits))
    flat = emit.reshape(site.logits, [dims[0], Dim(site.classes)])
    chosen = select_classes(options.asked_classes, site.logits, dims, site.classes)
    rows = ints(range(site.classes)) if chosen is None else chosen.rows
    targets = Targets(site.classes if chosen is None else chosen.count)
    seed = _seed(flat, rows, site, dims[0], targets)
    derived = derived_at(graph, site, targets.reshaped(seed, dims), targets)
    features = feature_map(graph, site)
    return Branch(
        saliency=combined(graph, derived, targets, options.combine),
        feature_map=features,
        feature_vector=feature_vector(graph, site, features) if options.feature_vector else None,
        index=None if chosen is None else chosen.index,
        strength=_strength(flat, chosen),
        info=information(site, options),
        notes=site.notes,
    )


def derived_at(graph: Graph, site: ClassifierSite, seed: ov.Output, targets: Targets) -> list[Derived]:
    """The derivative by each layer of the site. seed: the derivative by its logits."""
    ports = [tap.port for tap in site.taps]
    adjoints = derivatives(graph, {graph.port_of(site.logits): seed}, ports, targets)
    found = []
    for tap, adjoint in zip(site.taps, adjoints, strict=True):
        if adjoint is None:
            raise TargetLayerError(f"the scores have no derivative by {tap.name}; choose another --target-layer")
        found.append(Derived(tap, named(adjoint, f"{PREFIX}{tap.name}")))
    return found


#: The derivatives' nodes are called so, with the layer's name behind: `verify` asks for them.
PREFIX = "derivative/"


def named(adjoint: ov.Output, name: str) -> ov.Output:
    """The adjoint as a node of its own, which plugins drop: other nodes may go by another form of the same numbers."""
    own = op.convert(adjoint, adjoint.get_element_type())
    own.set_friendly_name(name)
    return own.output(0)


def _seed(logits: ov.Output, rows: ov.Output, site: ClassifierSite, batch: Dim, targets: Targets) -> ov.Output:
    """The derivative of the targets by the logits, [N, C] or [K, N, C]. rows: i64 [K] or [N, K], the classes.

    Of classes that exclude each other the log-odds log(p / (1 - p)), else the logit. The log-odds have the derivative of
    log p over 1 - p: the same map, and one that does not vanish where the model is sure.
    """
    one_hot = _one_hot(rows, site.classes, logits.get_element_type(), targets)
    if not site.exclusive:
        return emit.broadcast(one_hot, targets.dims([batch, Dim(site.classes)]))
    own = op.greater(one_hot, emit.scalar(0.5, one_hot))
    others = op.select(own, emit.scalar(_NEVER, logits), logits)
    return op.subtract(one_hot, op.softmax(others, 1 + targets.lead)).output(0)


#: A logit whose class never comes about; every float type can hold it.
_NEVER = -65504.0


def _one_hot(rows: ov.Output, classes: int, kind: ov.Type, targets: Targets) -> ov.Output:
    """[K, 1, C] or [K, N, C]; of one target without the first axis."""
    if len(rows.get_partial_shape()) == 2:
        rows = emit.transpose(rows, [1, 0])
    else:
        rows = emit.unsqueeze(rows, [1])
    if not targets.lead:
        rows = op.squeeze(rows, ints([0])).output(0)
    ends = [op.constant(value, kind) for value in (1.0, 0.0)]
    return op.one_hot(rows, whole_number(classes), *ends, -1).output(0)


def _strength(flat: ov.Output, chosen: Selection | None) -> ov.Output:
    """f32 [N, K]: the scores of the classes that have maps."""
    scores = as_float(flat)
    return scores if chosen is None else picked(scores, chosen)


def information(site: ClassifierSite, options: InsertOptions) -> ExplainedInfo:
    """What rt_info will say."""
    tap = site.taps[0]
    return ExplainedInfo(
        version=__version__,
        task=REGRESSION if options.task == REGRESSION else CLASSIFICATION,
        method=GRADIENT,
        target_layers=tuple(each.name for each in site.taps),
        feature_layer=tap.name,
        layout=tap.layout,
        grid=tap.grid if tap.is_tokens else None,
        prefix_tokens=tap.prefix if tap.is_tokens else None,
        combine=options.combine,
        target=LOG_ODDS if site.exclusive else LOGIT,
        derivatives=tuple(f"{PREFIX}{each.name}" for each in site.taps),
        level_layouts=",".join(each.layout for each in site.taps),
        level_grids=",".join(f"{each.grid[0]}x{each.grid[1]}" for each in site.taps),
        classes=options.asked_classes,
        num_classes=site.classes,
        score_output=site.score_output,
        score_activation=site.score_activation,
        prediction_format="scores",
        explained_output=site.output,
    )
