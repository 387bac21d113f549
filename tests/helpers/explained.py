"""What an explained model says about itself."""

from __future__ import annotations

from pathlib import Path

import openvino as ov

from ovxai.metadata import ExplainedInfo


def info_of(model: ov.Model | str | Path) -> ExplainedInfo:
    """The rt_info of a model that must be explained."""
    info = ExplainedInfo.read(model if isinstance(model, ov.Model) else ov.Core().read_model(model))
    assert info is not None, "the model is not explained"
    return info
