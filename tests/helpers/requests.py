"""What insertion asks of the searches, for models made in tests."""

from __future__ import annotations

import openvino as ov

from ovxai.find.site import Request
from ovxai.graph.graph import Graph
from ovxai.metadata import ModelInfo
from ovxai.options import InsertOptions


def request(model: ov.Model, **options) -> Request:
    return Request.of(Graph(model), InsertOptions(**options), ModelInfo.read(model))
