"""ovxai: visual explanation of deployed OpenVINO models.

    model = ovxai.insert("model.xml")
    ovxai.save_model(model, "model_xai.xml")
    explanation = ovxai.Explainer(model)("photo.jpg")

The names below are imported on first use, so that `import ovxai` alone loads nothing heavy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ovxai.errors import (
    AlreadyExplainedError,
    ModelReadError,
    NotExplainedError,
    OptionError,
    OutputError,
    OvxaiError,
    SourceError,
    TargetLayerError,
    UnsupportedModelError,
)
from ovxai.version import __version__

if TYPE_CHECKING:
    from ovxai.explainer import Explainer
    from ovxai.graph.save import save_model
    from ovxai.graph.surgery import strip_model as strip
    from ovxai.insertion import insert
    from ovxai.runtime.config import ExplainConfig, TargetExplainGroup
    from ovxai.runtime.show.explanation import Explanation
    from ovxai.verification import verify

_HOME = {
    "insert": "ovxai.insertion:insert",
    "save_model": "ovxai.graph.save:save_model",
    "strip": "ovxai.graph.surgery:strip_model",
    "verify": "ovxai.verification:verify",
    "Explainer": "ovxai.explainer:Explainer",
    "ExplainConfig": "ovxai.runtime.config:ExplainConfig",
    "TargetExplainGroup": "ovxai.runtime.config:TargetExplainGroup",
    "Explanation": "ovxai.runtime.show.explanation:Explanation",
}

__all__ = [
    "AlreadyExplainedError", "ModelReadError", "NotExplainedError", "OptionError", "OutputError",
    "OvxaiError", "SourceError", "TargetLayerError", "UnsupportedModelError", "__version__", *_HOME,
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'ovxai' has no attribute {name!r}")
    module, _, attribute = _HOME[name].partition(":")
    value = getattr(importlib.import_module(module), attribute)
    globals()[name] = value
    return value
