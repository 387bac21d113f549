"""Plan -> branch: which method builds what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ovxai.errors import OvxaiError, UnsupportedModelError
from ovxai.find.site import ClassifierSite, DetectionSite, FeatureSite, InstanceSite, SegmentationSite, Site
from ovxai.find.task import Plan
from ovxai.graph.graph import Graph
from ovxai.graph.natives import first_reason
from ovxai.metadata import (
    ACTIVATION_MAP,
    CLASSIFICATION,
    DETECTION,
    FEATURES,
    GRADIENT,
    INSTANCE_SEGMENTATION,
    REGRESSION,
    SEMANTIC_SEGMENTATION,
    ExplainedInfo,
)
from ovxai.methods import (
    activation_map,
    box_gradient,
    class_probability_map,
    gradient,
    instance_masks,
    recipro_cam,
    segmentation_gradient,
)
from ovxai.methods.outputs import Branch
from ovxai.options import InsertOptions

S = TypeVar("S")


@dataclass(frozen=True)
class Method(Generic[S]):
    """How sites of one kind are explained. information: what rt_info will say, without building anything."""

    kind: type[S]
    build: Callable[[Graph, S, InsertOptions], Branch]
    information: Callable[[S, InsertOptions], ExplainedInfo]

    def branch(self, graph: Graph, site: Site, options: InsertOptions) -> Branch:
        if not isinstance(site, self.kind):
            raise TypeError(f"a {type(site).__name__} is no {self.kind.__name__}")
        if options.method == ACTIVATION_MAP and not isinstance(site, FeatureSite):
            return activation_map.build(graph, site, options, self.information(site, options))
        if options.method == GRADIENT and isinstance(site, ClassifierSite):
            return gradient.build(graph, site, options)
        if options.method == GRADIENT and isinstance(site, DetectionSite):
            return box_gradient.build(graph, site, options)
        return self.build(graph, site, options)


#: By task.
METHODS: dict[str, Method[Any]] = {
    CLASSIFICATION: Method(ClassifierSite, recipro_cam.build, recipro_cam.information),
    REGRESSION: Method(ClassifierSite, recipro_cam.build, recipro_cam.information),
    DETECTION: Method(DetectionSite, class_probability_map.build, class_probability_map.information),
    INSTANCE_SEGMENTATION: Method(InstanceSite, instance_masks.build, instance_masks.information),
    SEMANTIC_SEGMENTATION: Method(SegmentationSite, segmentation_gradient.build, segmentation_gradient.information),
    FEATURES: Method(FeatureSite, activation_map.of_features, activation_map.information),
}


def build_branch(graph: Graph, plan: Plan, options: InsertOptions) -> Branch:
    """The explanation branch for a plan, hung on the model's nodes; not yet outputs.

    Raises:
        TargetLayerError, OptionError, UnsupportedModelError: see the methods' `build`.
    """
    try:
        return METHODS[plan.task].branch(graph, plan.site, options)
    except OvxaiError:
        raise
    except RuntimeError as error:  # of OpenVINO, where the model itself does not fit together
        reason = first_reason(error)
        raise UnsupportedModelError(f"the model's shapes don't fit together, no branch can be built on them: {reason}") from error
