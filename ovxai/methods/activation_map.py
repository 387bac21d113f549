"""The activation map: where the features are strong, whatever the class. Mean of the feature map over channels."""

from __future__ import annotations

from dataclasses import replace

import openvino as ov
from openvino import opset13 as op

from ovxai.errors import UnsupportedModelError
from ovxai.find.site import Site
from ovxai.graph.dims import ints
from ovxai.graph.graph import Graph
from ovxai.metadata import ACTIVATION_MAP, ExplainedInfo
from ovxai.methods.outputs import Branch, feature_map, feature_vector
from ovxai.options import InsertOptions


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
        info=replace(info, method=ACTIVATION_MAP, classes="all", collapse="exact", collapse_reason=""),
        notes=site.notes,
    )


def activation_map(features: ov.Output) -> ov.Output:
    """f32 [N, c, h, w] -> f32 [N, 1, h, w]."""
    return op.reduce_mean(features, ints([1]), True).output(0)
