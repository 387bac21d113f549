"""DetClassProbabilityMap by its definition, in NumPy on the class logits that the plain model computes."""

from __future__ import annotations

import numpy as np
import openvino as ov

from ovxai.errors import UnsupportedModelError
from ovxai.metadata import ExplainedInfo
from ovxai.verification.definition import Definition
from ovxai.verification.engine import Feeds, values_of
from ovxai.verification.inputs import picture_input
from ovxai.verification.locate import port_named
from ovxai.verification.pyramid import read_pyramid, upright
from ovxai.verification.resize import bilinear

#: With so many levels and more (SSD) the middle one may be too small to see anything.
MANY_LEVELS, FEW_CELLS = 6, 8


def detection(plain: ov.Model, info: ExplainedInfo, feeds: Feeds) -> Definition:
    """Best anchor, resized to one grid, mean (or largest) over levels, softmax over classes."""
    place = picture_input(plain)
    fed = feeds[place.index].shape
    picture = fed[2:] if place.nchw else fed[1:3]
    pyramid = read_pyramid(plain, info, feeds, picture)
    open_size = None in (place.height, place.width)
    size, notes = _map_size(info, [level.shape[2:] for level in pyramid.levels], open_size)
    same = np.stack([bilinear(level, *size) for level in pyramid.levels])
    merged = same.max(axis=0) if info.levels == "max" else same.mean(axis=0)
    maps = _activate(merged, info.class_activation)
    return Definition(
        maps=maps,
        features=_features(plain, info, feeds, [level.shape[2:] for level in pyramid.levels], picture),
        ranking=maps.max(axis=(2, 3)),
        notes=(*pyramid.notes, *notes),
    )


def _map_size(
    info: ExplainedInfo, grids: list[tuple[int, int]], open_size: bool
) -> tuple[tuple[int, int], list[str]]:
    """Of the level that OTX takes; another size in rt_info was asked for by `--map-size`, and is noted."""
    usual = tuple(int(side) for side in grids[_size_level(grids, open_size)])
    if not info.map_size:
        return usual, []
    size = tuple(int(side) for side in info.map_size.split("x"))
    if size == usual:
        return usual, []
    return size, [f"map size {info.map_size} as rt_info says; the levels' own would be {usual[0]}x{usual[1]}"]


def _size_level(grids: list[tuple[int, int]], open_size: bool) -> int:
    middle = len(grids) // 2
    if open_size or len(grids) < MANY_LEVELS or min(grids[middle]) >= FEW_CELLS:
        return middle
    return max((index for index, grid in enumerate(grids) if min(grid) >= FEW_CELLS), default=0)


def _activate(maps: np.ndarray, activation: str) -> np.ndarray:
    if activation == "sigmoid":
        return 1 / (1 + np.exp(-maps))
    if activation == "none" or (activation in ("softmax", "") and maps.shape[1] == 1):
        return maps
    if activation not in ("softmax", ""):
        raise UnsupportedModelError(
            f"rt_info says class_activation {activation!r}; verify knows softmax, sigmoid and none"
        )
    powers = np.exp(maps - maps.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _features(
    plain: ov.Model,
    info: ExplainedInfo,
    feeds: Feeds,
    grids: list[tuple[int, int]],
    picture: tuple[int, int],
) -> np.ndarray | None:
    """The neck's tensor as an upright [N, c, h, w]; channels-last where only then its sides are a level's."""
    if not info.feature_layer:
        return None
    model = plain.clone()
    (tensor,) = values_of(model, [port_named(model, info.feature_layer)], feeds)
    if tensor.ndim != 4:
        return tensor
    either_way = {*grids, *(grid[::-1] for grid in grids)}
    last = tensor.shape[2:] not in either_way and tensor.shape[1:3] in either_way
    return upright(tensor, 3 if last else 1, picture)
