"""The activation map: where the features are strong, whatever the class. Mean of the feature map over channels."""

from __future__ import annotations

import openvino as ov
from openvino import opset13 as op

from ovxai.graph.dims import ints


def activation_map(features: ov.Output) -> ov.Output:
    """f32 [N, c, h, w] -> f32 [N, 1, h, w]."""
    return op.reduce_mean(features, ints([1]), True).output(0)
