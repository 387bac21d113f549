"""ovxai: visual explanation of deployed OpenVINO models.

    model = ovxai.insert("model.xml")
    ovxai.save_model(model, "model_xai.xml")
    explanation = ovxai.Explainer(model)("photo.jpg")

The names below are imported on first use, so that `import ovxai` alone loads nothing heavy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from ovxai.errors import (
    AlreadyExplainedError,
    AnnotationError,
    CrashError,
    ModelReadError,
    NotExplainedError,
    OptionError,
    OutputError,
    OvxaiError,
    SourceError,
    TakenError,
    TargetLayerError,
    UnknownClassError,
    UnsupportedModelError,
    UsageError,
    VerificationError,
)
from ovxai.version import __version__

if TYPE_CHECKING:
    from ovxai.explainer import Explainer
    from ovxai.graph.save import save_model
    from ovxai.graph.split import split_model as split
    from ovxai.graph.surgery import strip_model as strip
    from ovxai.insertion import insert
    from ovxai.runtime.config import ExplainConfig, TargetExplainGroup
    from ovxai.runtime.explanation import Explanation
    from ovxai.runtime.show.picture_maps import BoxKey
    from ovxai.verification import verify

#: Where the names that are imported on first use live.
_HOME = {
    "BoxKey": "ovxai.runtime.show.picture_maps:BoxKey",
    "ExplainConfig": "ovxai.runtime.config:ExplainConfig",
    "Explainer": "ovxai.explainer:Explainer",
    "Explanation": "ovxai.runtime.explanation:Explanation",
    "TargetExplainGroup": "ovxai.runtime.config:TargetExplainGroup",
    "insert": "ovxai.insertion:insert",
    "save_model": "ovxai.graph.save:save_model",
    "split": "ovxai.graph.split:split_model",
    "strip": "ovxai.graph.surgery:strip_model",
    "verify": "ovxai.verification:verify",
}

__all__ = [
    "AlreadyExplainedError",
    "AnnotationError",
    "BoxKey",
    "CrashError",
    "ExplainConfig",
    "Explainer",
    "Explanation",
    "ModelReadError",
    "NotExplainedError",
    "OptionError",
    "OutputError",
    "OvxaiError",
    "SourceError",
    "TakenError",
    "TargetExplainGroup",
    "TargetLayerError",
    "UnknownClassError",
    "UnsupportedModelError",
    "UsageError",
    "VerificationError",
    "__version__",
    "insert",
    "save_model",
    "split",
    "strip",
    "verify",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'ovxai' has no attribute {name!r}")
    module, _, attribute = _HOME[name].partition(":")
    value: object = getattr(importlib.import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
