"""The activation map: where the features are strong, whatever the class. Mean of the feature map over channels."""

from __future__ import annotations

from dataclasses import replace

import openvino as ov
from openvino import opset13 as op

from ovxai.errors import UnsupportedModelError
from ovxai.find.site import FeatureSite, Site
from ovxai.graph.dims import ints
from ovxai.graph.graph import Graph
from ovxai.metadata import ACTIVATION_MAP, FEATURES, ExplainedInfo
from ovxai.methods.outputs import Branch, feature_map, feature_vector
from ovxai.options import InsertOptions
from ovxai.version import __version__


def build(graph: Graph, site: Site, options: InsertOptions, info: ExplainedInfo) -> Branch:
    """The branch of any site that has features. info: what the task's own method would write.

    Nothing of the head is built, so that it works where the head can't be followed.

    Raises:
        UnsupportedModelError: the site has no feature map.
    """
    features = feature_map(graph, site)
    if features is None:
        raise UnsupportedModelError("activation map: this model has no feature map that could be averaged")
    return Branch(
        saliency=activation_map(features),
        feature_map=features,
        feature_vector=feature_vector(graph, site, features) if options.feature_vector else None,
        info=_without_derivatives(replace(info, method=ACTIVATION_MAP, classes="all", collapse="exact", collapse_reason="")),
        notes=site.notes,
    )


def _without_derivatives(info: ExplainedInfo) -> ExplainedInfo:
    """Without what only gradients say of themselves."""
    if not info.derivatives:
        return info
    return replace(info, combine="", target="", derivatives=(), level_layouts="", level_grids="")


def of_features(graph: Graph, site: FeatureSite, options: InsertOptions) -> Branch:
    """The branch of a model of which nothing but its features is looked at."""
    return build(graph, site, options, information(site, options))


def information(site: FeatureSite, options: InsertOptions) -> ExplainedInfo:
    """What rt_info will say: of no classes and no predictions, whatever `options` ask for."""
    del options
    tap = site.tap
    return ExplainedInfo(
        version=__version__,
        task=FEATURES,
        method=ACTIVATION_MAP,
        target_layers=(tap.name,),
        feature_layer=tap.name,
        layout=tap.layout,
        grid=tap.grid if tap.is_tokens else None,
        prefix_tokens=tap.prefix if tap.is_tokens else None,
        collapse="exact",
        explained_output=site.output,
    )


def activation_map(features: ov.Output) -> ov.Output:
    """f32 [N, c, h, w] -> f32 [N, 1, h, w]."""
    return op.reduce_mean(features, ints([1]), True).output(0)
