"""What an explained model says about itself, and what it gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino as ov

from ovxai.metadata import ExplainedInfo


def info_of(model: ov.Model | str | Path) -> ExplainedInfo:
    """The rt_info of a model that must be explained."""
    info = ExplainedInfo.read(model if isinstance(model, ov.Model) else ov.Core().read_model(model))
    assert info is not None, "the model is not explained"
    return info


def in_f32(model: ov.Model, picture: np.ndarray) -> dict:
    """The outputs, in f32 whatever the device likes, by name and number."""
    return ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})([picture])
