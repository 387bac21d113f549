"""An explained model taken apart: what every step of the verification needs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import openvino as ov

from ovxai.errors import NotExplainedError
from ovxai.ir.read import read_model
from ovxai.ir.strip import strip_model
from ovxai.metadata import SALIENCY_MAP, SECTION, ExplainedInfo
from ovxai.verification.inputs import PictureInput, picture_input


@dataclass(frozen=True)
class Case:
    """explained: as given. plain: its plain part. info: what it says about itself. place: where the picture goes in."""

    explained: ov.Model
    plain: ov.Model
    info: ExplainedInfo
    place: PictureInput


def take_apart(model: str | Path | ov.Model) -> Case:
    """Read and strip.

    Raises:
        NotExplainedError: there is nothing of ours in the model.
    """
    explained = model if isinstance(model, ov.Model) else read_model(model)
    if not explained.has_rt_info([SECTION, "version"]):
        raise NotExplainedError(
            "the model carries no explanation of ours; make one with ovxai insert, then verify that"
        )
    info = ExplainedInfo.read(explained)
    if SALIENCY_MAP not in info.extra_outputs:
        raise NotExplainedError(
            f"rt_info lists the extra outputs {list(info.extra_outputs)}, without {SALIENCY_MAP}"
        )
    stripped = strip_model(explained)
    return Case(explained, stripped, info, picture_input(stripped))
