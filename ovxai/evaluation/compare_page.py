"""`compare.html`: two maps over each picture, parted by one slider for all of them; one file, nothing to fetch."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from ovxai.errors import OutputError
from ovxai.evaluation.compare import Pair, Side
from ovxai.runtime.config import COLORMAPS
from ovxai.runtime.explanation import Explanation
from ovxai.runtime.show.letters import spoken
from ovxai.runtime.show.picture_maps import Key
from ovxai.runtime.show.render import FADE_POWER, table, to_grey
from ovxai.runtime.write.encode import to_bgr
from ovxai.runtime.write.page import scripted_page, to_base64, to_json
from ovxai.runtime.write.report import view

#: The longer side of a picture, and of a map, as they stand in the page.
_SIDE, _MAP_SIDE = 480, 64


def make_card(pair: Pair) -> str:
    """One pair as a line of JSON: a small JPEG of the picture and both maps.

    Raises:
        OutputError: OpenCV can't store the picture.
    """
    height, width = pair.a.picture.shape[:2]
    scale = min(1.0, _SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(pair.a.picture, size, interpolation=cv2.INTER_AREA) if scale < 1 else pair.a.picture
    ok, data = cv2.imencode(".jpg", to_bgr(small), (cv2.IMWRITE_JPEG_QUALITY, 85))
    if not ok:
        raise OutputError(f"{pair.compared.source}: its small picture can't be stored as JPEG")
    compared = pair.compared
    return to_json({
        "image": compared.image,
        "source": compared.source,
        "label": spoken(compared.label),
        "correlation": None if compared.correlation is None else round(compared.correlation, 4),
        "same": not compared.changed,
        "picture": "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode("ascii"),
        "small": [size[0], size[1]],
        "a": _side(pair.a, pair.keys[0], compared.a),
        "b": _side(pair.b, pair.keys[1], compared.b),
    })  # fmt: skip


def _side(explanation: Explanation, key: Key, said: Side) -> dict[str, object]:
    values = explanation.raw_maps.get(key)
    return {
        "top": None if said.top is None else spoken(said.top),
        "score": said.score,
        "map": None if values is None else _map(values),
        "view": view(explanation.geometry),
    }


def _map(values: np.ndarray) -> dict[str, object]:
    grey = to_grey(values)
    height, width = grey.shape
    if max(height, width) > _MAP_SIDE:
        grey = cv2.resize(grey, (min(width, _MAP_SIDE), min(height, _MAP_SIDE)), interpolation=cv2.INTER_AREA)
    return {"grid": list(grey.shape), "grey": to_base64(grey)}


def make_page(
    title: str, facts: Mapping[str, str], cards: Sequence[str], *, count: int, colormap: str = "jet", opacity: float = 0.5
) -> str:
    """facts: what is compared and what came of it, in order. count: maps that were compared, of which `cards` are a part."""
    settings = {
        "fade": FADE_POWER,
        "colormaps": {name: to_base64(table(name)) for name in COLORMAPS},
        "colormap": colormap,
        "opacity": opacity,
        "count": count,
    }
    return scripted_page("compare", title, facts, settings, cards, ("maps.js", "compare.js"))
