"""What is true of a picture, as its card in `report.html` holds it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ovxai.runtime.show.letters import spoken
from ovxai.runtime.show.truth import Verdict
from ovxai.runtime.write.manifest import Document

#: Objects of a picture that the page shows; the manifest has them all.
_MOST = 100


def truth_card(
    verdict: Verdict | None, width: int, height: int, outline: Callable[[np.ndarray], list[list[float]]]
) -> Document | None:
    """Boxes and outlines as shares of the picture; None where nothing is annotated. outline: a mask's, as the page wants it."""
    if verdict is None:
        return None
    return {
        "outcome": verdict.outcome,
        "right": list(map(spoken, verdict.right[:_MOST])),
        "wrong": list(map(spoken, verdict.wrong[:_MOST])),
        "missed": list(map(spoken, verdict.missed[:_MOST])),
        "energy": {str(index): round(share, 3) for index, share in verdict.energy.items()},
        "things": [
            {
                "class": thing.class_index,
                "label": spoken(thing.label),
                "outcome": thing.outcome,
                "box": None if thing.box is None else _shares(thing.box, width, height),
                "outline": [] if thing.mask is None else outline(thing.mask),
            }
            for thing in verdict.things[:_MOST]
        ],
    }


def _shares(box: tuple[float, float, float, float], width: int, height: int) -> list[float]:
    return [round(value, 4) for value in (np.array(box, np.float64) / (width, height, width, height)).tolist()]
