"""What kind of model is it? Each task's search is asked in turn; the first that finds its site settles it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from ovxai.errors import OptionError, OvxaiError, TargetLayerError, UnsupportedModelError
from ovxai.find.classifier.search import find_classifier
from ovxai.find.detector.backbone import backbone_layers, layers_named, passed_layers
from ovxai.find.detector.search import find_detection
from ovxai.find.features import find_features
from ovxai.find.instances.search import find_instances
from ovxai.find.network import NetworkInput, network_input
from ovxai.find.segmentation import find_segmentation
from ovxai.find.site import DetectionSite, InstanceSite, No, Request, Site
from ovxai.graph.graph import Graph, only_vectors
from ovxai.graph.picture import PictureInput
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
    VECTOR_TASKS,
    MapFrame,
    ModelInfo,
)
from ovxai.options import AUTO, PRODUCT, READS, InsertOptions
from ovxai.trace.candidates import named_maps
from ovxai.trace.place import place
from ovxai.trace.walk import Trace, trace


@dataclass(frozen=True)
class Task:
    """find: its search. shows_features: whether `feature_map` is an output unless asked otherwise."""

    find: Callable[[Request], Site | No]
    shows_features: bool = True


#: By name, as in rt_info.
TASKS = {
    CLASSIFICATION: Task(find_classifier),
    REGRESSION: Task(find_classifier),
    DETECTION: Task(find_detection),
    INSTANCE_SEGMENTATION: Task(find_instances, shows_features=False),
    SEMANTIC_SEGMENTATION: Task(find_segmentation),
    FEATURES: Task(find_features),
}


@dataclass(frozen=True)
class Plan:
    """What will be explained: the task by its name in `TASKS`, the site, and the input that takes the picture.

    network: what a detector sees of the picture, where the graph resizes it.
    """

    task: str
    site: Site
    picture: PictureInput
    network: NetworkInput | None = None

    @property
    def shows_features(self) -> bool:
        return TASKS[self.task].shows_features


def find_plan(graph: Graph, options: InsertOptions, model_info: ModelInfo) -> Plan | No:
    """What to explain and where, or one line that says what was looked for in vain.

    Raises:
        TargetLayerError: a layer was named that there is not, or that can't be gated.
        OptionError: an output was named that there is not.
    """
    request = Request.of(graph, options, model_info)
    pictures = request.pictures()
    if not pictures:
        return No(request.no_picture())
    asked = _asked(options)
    order = (asked,) if asked else _order(graph)
    if options.method == ACTIVATION_MAP and not asked:
        order = (*(order if not request.layers or order[0] == CLASSIFICATION else ()), FEATURES)
    refused: dict[str, No] = {}
    for task in order:
        site = _found(task, request, last=task == order[-1])
        if not isinstance(site, No):
            above = graph.ancestors([graph.model.get_results()[site.output]])
            picture = (request.pictures(above) or pictures)[0]
            traced = trace(graph, picture)
            network = network_input(graph, picture, traced) if isinstance(site, (DetectionSite, InstanceSite)) else None
            placed = _placed(site, traced, network)
            _fitting(task, options)
            if isinstance(placed, DetectionSite) and options.per == PER_BOX:
                placed = _with_layers(placed, request, traced, picture, network)
            return Plan(task, placed, picture, network)
        refused[task] = site
        if site.final and order[-1] != FEATURES:
            break
    if order == (CLASSIFICATION,) and options.task == AUTO:
        _boxes_instead(request)
    told = _telling(refused) if order[0] != CLASSIFICATION else {}
    reasons = "; ".join(f"as {task}: {no.reason}" for task, no in (told or refused).items())
    errors = [no.error for no in refused.values() if no.error is not UnsupportedModelError]
    maps = ""
    if "feature maps, for" not in reasons and "holds features" not in reasons:
        maps = "; " + named_maps(trace(graph, pictures[0]), graph.ops, "--target-layer or --method activation-map")
    return No(
        reasons + ("" if asked or told else "; --task and --target-layer settle it") + maps,
        error=errors[0] if errors else UnsupportedModelError,
    )


def _found(task: str, request: Request, *, last: bool) -> Site | No:
    """What a task's search says; for an activation map also no site where it has no features, while others can be asked."""
    if last or request.options.method != ACTIVATION_MAP:
        return TASKS[task].find(request)
    try:
        site = TASKS[task].find(request)
    except TargetLayerError as error:
        return No(str(error))
    bare = isinstance(site, DetectionSite) and site.levels[site.size_level].feature is None
    if bare or (isinstance(site, InstanceSite) and not site.pyramid):
        return No("no features that its classes and boxes are both made from")
    return site


def _placed(site: Site, traced: Trace, network: NetworkInput | None) -> Site:
    """With where its maps lie on the picture."""
    if isinstance(site, DetectionSite):
        return _framed(site, traced)
    if isinstance(site, InstanceSite) and network is not None:
        return replace(site, picture=network.port, picture_axes=network.axes, frame=network.frame)
    return site


def _framed(site: DetectionSite, traced: Trace) -> DetectionSite:
    """With where the maps lie on the picture, as far as that was traced; they are laid upright already."""
    level = site.levels[site.size_level]
    port, axes = (level.port, level.axes) if level.feature is None else (level.feature, level.feature_axes)
    found = place(traced, traced.graph.port_of(port))
    if isinstance(found, str) or not found.whole:
        return site
    sides = ["-" * backwards + side for backwards, side in zip(found.frame.backwards, found.frame.axes.replace("-", ""))]
    turned = sides if axes[2] < axes[3] else sides[::-1]
    return replace(site, frame=MapFrame(found.frame.box, "".join(turned)), notes=(*site.notes, *found.notes))


def _fitting(task: str, options: InsertOptions) -> None:
    """Boxes are of detectors, and gradients of detectors are of boxes; pixels have scores in semantic segmentation.

    Raises:
        OptionError: else.
    """
    if options.method == GRADIENT and task == DETECTION and options.per != PER_BOX:
        raise OptionError("method: gradient explains a detector box by box; give --per box")
    if options.pixel is not None and task != SEMANTIC_SEGMENTATION:
        raise OptionError(f"pixel: {task} has no scores of pixels; leave out --pixel")
    if options.per == PER_BOX and task != DETECTION:
        raise OptionError(f"per: {task} has no boxes; leave out --per box")


def _boxes_instead(request: Request) -> None:
    """Gradients without --per box, of what is no classifier.

    Raises:
        OptionError: it is a detector.
    """
    try:
        site = find_detection(request)
    except OvxaiError:
        return
    if isinstance(site, DetectionSite):
        _fitting(DETECTION, request.options)


def _with_layers(
    site: DetectionSite, request: Request, traced: Trace, picture: PictureInput, network: NetworkInput | None
) -> DetectionSite:
    """With the layers at which one box's gradients are asked for.

    Raises:
        TargetLayerError: a named layer is no feature map, or there is none.
    """
    layers = layers_named(traced, request) if request.layers else backbone_layers(traced, site)
    if not layers.taps:
        layers = passed_layers(traced, picture, request.graph.results[site.output])
    if not layers.taps:
        raise TargetLayerError("no feature map of the backbone leads to all boxes; name a --target-layer")
    taps = layers.taps if request.options.combine == PRODUCT else layers.taps[-1:]
    found = place(traced, request.graph.port_of(taps[-1].port))
    frame = site.frame if isinstance(found, str) else found.frame
    fixed = picture.height is not None and picture.width is not None and network is None
    sides = (picture.height or 0, picture.width or 0) if fixed else None
    why = "gradients of each box's score at " + ", ".join(tap.name for tap in taps)
    return replace(
        site, taps=taps, held=layers.held and len(taps) > 1, sides=sides, frame=frame, method=GRADIENT, why=f"{site.why}; {why}"
    )


def _telling(refused: dict[str, No]) -> dict[str, No]:
    """The reasons of those searches that nearly found what they looked for."""
    final = {task: no for task, no in refused.items() if no.final}
    return final or {task: no for task, no in refused.items() if no.near}


def _asked(options: InsertOptions) -> str | None:
    """The task that the options speak of, if any does."""
    if options.task != AUTO:
        return options.task
    if options.blocks > 1:
        return CLASSIFICATION
    if options.pixel is not None:
        return SEMANTIC_SEGMENTATION
    if options.method == GRADIENT:
        return DETECTION if options.per == PER_BOX else CLASSIFICATION
    tasks = READS[options.method].tasks if options.method != AUTO else ()
    return tasks[0] if len(tasks) == 1 or (tasks and set(tasks) <= set(VECTOR_TASKS)) else None


def _order(graph: Graph) -> tuple[str, ...]:
    """Detectors have outputs with places in them; a model with one vector of scores is asked as a classifier first."""
    if only_vectors([graph.shape(port) for port in graph.results]):
        return CLASSIFICATION, DETECTION, INSTANCE_SEGMENTATION
    return INSTANCE_SEGMENTATION, DETECTION, CLASSIFICATION
