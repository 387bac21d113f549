"""What `insert` and `inspect` print about an insertion."""

from __future__ import annotations

from dataclasses import dataclass

import openvino as ov

from ovxai.cost import branch_share
from ovxai.insertion import Insertion
from ovxai.metadata import SALIENCY_MAP


@dataclass(frozen=True)
class CostLine:
    share: float | None
    text: str


def summary(done: Insertion) -> list[str]:
    """task, method, target layer, gate, map size, collapse: one line each."""
    info = done.info
    lines = [
        f"task          {info.task}",
        f"method        {info.method}" + (f" ({info.mask} mask)" if info.mask else ""),
        f"target layer  {', '.join(info.target_layers)}" + (f" [{info.layout}]" if info.layout else ""),
        f"why           {done.why}",
        f"map           {_shape(done.model)}, " + ("u8 scaled to 0..255 per map" if info.scaled else "f32, not scaled"),
        f"classes       {info.classes}" + (f" of {info.num_classes}" if info.num_classes else ""),
        f"collapse      {info.collapse}",
    ]
    return [*lines, *(f"note          {note}" for note in done.notes)]


def cost_line(model: ov.Model) -> CostLine:
    """Predicted extra cost: multiply-adds of the branch over the model's own."""
    share = branch_share(model)
    if share is None:
        return CostLine(None, "extra cost    not predicted (sizes depend on the picture)")
    return CostLine(round(share, 4), f"extra cost    {100 * share:.1f} % more multiply-adds")


def _shape(model: ov.Model) -> str:
    for output in model.outputs:
        if SALIENCY_MAP in output.get_names():
            return str(output.get_partial_shape())
    return "?"
