"""A tensor to be gated, and how its positions lie in it."""

from __future__ import annotations

from dataclasses import dataclass

import openvino as ov

NCHW, NHWC, NPC, NCP = "NCHW", "NHWC", "NPC", "NCP"
#: layout -> the axes of the grid: (h, w), or one axis that holds h*w positions.
POSITION_AXES = {NCHW: (2, 3), NHWC: (1, 2), NPC: (1,), NCP: (2,)}
CHANNEL_AXIS = {NCHW: 1, NHWC: 3, NPC: 2, NCP: 1}


@dataclass(frozen=True)
class Tap:
    """A tensor to be gated: where it is and how its positions lie in it.

    grid: (h, w) as witness sizes. prefix: tokens before the grid that are not gated.
    """

    port: ov.Output
    layout: str
    grid: tuple[int, int]
    prefix: int = 0

    @property
    def is_tokens(self) -> bool:
        return self.layout in (NPC, NCP)

    @property
    def name(self) -> str:
        """The node's friendly name, `name:port` where the port is not 0."""
        name, index = self.port.get_node().get_friendly_name(), self.port.get_index()
        return f"{name}:{index}" if index else name
