"""DetClassProbabilityMap by its definition, in NumPy on the class logits that the plain model computes.

The tensors that rt_info names become maps [N, K, h, w], one per pyramid level, each cell with its best anchor.
They are resized to one grid and merged, and the classes compete at every cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import openvino as ov

from ovxai.errors import UnsupportedModelError
from ovxai.graph.picture import find_picture_input
from ovxai.metadata import ExplainedInfo
from ovxai.verification.channels import ClassLogits, classes_of_channels
from ovxai.verification.engine import Feeds, values_of
from ovxai.verification.maps import Definition, bilinear, parse_size
from ovxai.verification.plain import port_named

Size = tuple[int, int]

#: With so many levels and more (SSD) the middle one may be too small to see anything.
MANY_LEVELS, FEW_CELLS = 6, 8
#: Strides of rows and columns further apart than this (in logarithms) are no rounding of odd sizes.
SKEWED = 0.5
#: Strides that the levels of token scores may have.
STRIDES = (4, 8, 16, 32, 64)


@dataclass(frozen=True)
class Pyramid:
    """levels: per level [N, K, h, w], the largest logit of a cell's anchors. notes: what had to be assumed."""

    levels: tuple[np.ndarray, ...]
    notes: tuple[str, ...] = ()

    @property
    def grids(self) -> list[Size]:
        """(h, w) of every level."""
        return [(level.shape[2], level.shape[3]) for level in self.levels]


def detection(plain: ov.Model, info: ExplainedInfo, feeds: Feeds) -> Definition:
    """Best anchor, resized to one grid, mean (or largest) over levels, softmax over classes.

    Raises:
        TargetLayerError, UnsupportedModelError: rt_info names what the model does not have, or leaves something open.
    """
    place = find_picture_input(plain, info)
    picture = place.sides(feeds[place.index].shape)
    pyramid = read_pyramid(plain, info, feeds, picture)
    size, notes = _map_size(info, pyramid.grids, place.open_size)
    same = np.stack([bilinear(level, *size) for level in pyramid.levels])
    merged = same.max(axis=0) if info.levels == "max" else same.mean(axis=0)
    maps = _activate(merged, info.class_activation)
    return Definition(
        maps=maps,
        features=_features(plain, info, feeds, pyramid.grids, picture),
        ranking=maps.max(axis=(2, 3)),
        notes=(*pyramid.notes, *notes),
    )


def read_pyramid(plain: ov.Model, info: ExplainedInfo, feeds: Feeds, picture: Size) -> Pyramid:
    """Every level's class logits for `feeds`, whose pictures are `picture` = (height, width) large.

    Raises:
        UnsupportedModelError: the tensors don't have the form of class logits, or rt_info lacks num_classes.
    """
    if not info.num_classes:
        raise UnsupportedModelError("rt_info has no num_classes; the channels of the class logits can't be told apart")
    model = plain.clone()
    tensors = values_of(model, [port_named(model, name) for name in info.target_layers], feeds)
    if all(tensor.ndim == 3 for tensor in tensors):
        return _token_levels(info, tensors, info.num_classes, picture)
    if any(tensor.ndim != 4 for tensor in tensors):
        shapes = ", ".join(str(list(tensor.shape)) for tensor in tensors)
        raise UnsupportedModelError(
            f"the target layers have the shapes {shapes}; class logits have four axes, or three for tokens"
        )
    return _map_levels(plain, info, tensors, info.num_classes, feeds, picture)


def _map_levels(
    plain: ov.Model, info: ExplainedInfo, tensors: list[np.ndarray], classes: int, feeds: Feeds, picture: Size
) -> Pyramid:
    """Tensors [N, A * K, h, w], one per level, in any layout and order of channels."""
    axis = _channel_axis([tensor.shape for tensor in tensors], classes, picture)
    levels = []
    notes: list[str] = []
    for name, tensor in zip(info.target_layers, tensors, strict=True):
        port = port_named(plain, name)
        logits = ClassLogits(port.get_node().get_friendly_name(), port.get_index(), tensor.shape, axis, classes)
        known = classes_of_channels(plain, info, logits, feeds)
        if known is None:
            known, note = _stated_order(info, tensor.shape[axis], classes)
            notes += [note] if note not in notes else []
        levels.append(_best_anchor(upright(tensor, axis, picture), known, classes))
    return Pyramid(tuple(levels), tuple(notes))


def _channel_axis(shapes: list[tuple[int, ...]], classes: int, picture: Size) -> int:
    """1 (NCHW) or 3 (NHWC): the axis that holds the classes of some anchors at every level.

    Where both could (few classes, one level), the one that leaves sides of the picture's own proportions.
    """
    fitting = [axis for axis in (1, 3) if all(shape[axis] >= classes for shape in shapes)]
    if not fitting:
        found = ", ".join(str(list(shape)) for shape in shapes)
        raise UnsupportedModelError(f"no axis of the target layers holds {classes} classes: {found}")

    def doubt(axis: int) -> tuple[bool, bool, float]:
        sides = [shape[2:] if axis == 1 else shape[1:3] for shape in shapes]
        skew = max(min(_skew(one, picture)) for one in sides)
        return skew > SKEWED, any(shape[axis] % classes for shape in shapes), skew

    return min(fitting, key=doubt)


def _skew(sides: Sequence[int], picture: Size) -> tuple[float, float]:
    """How far apart the strides of rows and columns are, as the map stands and turned."""
    (height, width), (rows, columns) = sides, picture
    return abs(np.log(rows / height * width / columns)), abs(np.log(rows / width * height / columns))


def upright(tensor: np.ndarray, axis: int, picture: Size) -> np.ndarray:
    """[N, C, h, w], turned where the sides fit the picture only the other way round. axis: that of the channels, 1 or 3."""
    tensor = tensor if axis == 1 else tensor.transpose(0, 3, 1, 2)
    own, turned = _skew(tensor.shape[2:], picture)
    # Rounding of odd sizes moves the two strides apart a little; a swap moves them far.
    return tensor.transpose(0, 1, 3, 2) if turned + 0.2 < own else tensor


def _stated_order(info: ExplainedInfo, channels: int, classes: int) -> tuple[np.ndarray, str]:
    """The class of every channel by rt_info, or by the usual order; and a note that says so."""
    if info.class_channels:
        return _listed(info.class_channels, channels), "class channels as rt_info lists them"
    if channels % classes:
        raise UnsupportedModelError(
            f"{channels} channels for {classes} classes: neither the graph nor rt_info says which are which"
        )
    if info.channel_order == "class-major":
        return np.arange(channels) // (channels // classes), "channel order class-major, as rt_info says"
    known = np.arange(channels) % classes
    if info.channel_order == "anchor-major":
        return known, "channel order anchor-major, as rt_info says"
    return known, "channel order assumed anchor-major: neither the graph nor rt_info tells"


def _listed(anchors: str, channels: int) -> np.ndarray:
    """The class of every channel, -1 for channels that hold none; anchors: "5,6,7;13,14,15"."""
    known = np.full(channels, -1)
    for anchor in anchors.split(";"):
        for index, channel in enumerate(anchor.split(",")):
            known[int(channel)] = index
    return known


def _best_anchor(tensor: np.ndarray, known: np.ndarray, classes: int) -> np.ndarray:
    """[N, C, h, w] -> [N, K, h, w]. known: [C], the class of every channel."""
    return np.stack([tensor[:, known == index].max(axis=1) for index in range(classes)], axis=1).astype(np.float64)


def _token_levels(info: ExplainedInfo, tensors: list[np.ndarray], classes: int, picture: Size) -> Pyramid:
    """Rows of [N, P, K], level after level, fine to coarse; the grids follow from the picture's size."""
    if len(tensors) != 1 or tensors[0].shape[2] != classes:
        raise UnsupportedModelError(f"token scores should be one tensor [N, P, {classes}], not {[t.shape for t in tensors]}")
    (tokens,) = tensors
    grids = _stated_grids(info) or _grids(tokens.shape[1], picture)
    levels, start = [], 0
    for height, width in grids:
        rows = tokens[:, start : start + height * width]
        levels.append(rows.transpose(0, 2, 1).reshape(len(tokens), -1, height, width).astype(np.float64))
        start += height * width
    return Pyramid(tuple(levels), (f"token levels of {', '.join(f'{h} x {w}' for h, w in grids)}",))


def _stated_grids(info: ExplainedInfo) -> list[Size]:
    return [parse_size(word) for word in info.level_grids.split(",")] if info.level_grids else []


def _grids(rows: int, picture: Size) -> list[Size]:
    """Consecutive powers of two as strides whose cells are `rows` in all."""
    height, width = picture
    for first in range(len(STRIDES)):
        for last in range(first, len(STRIDES)):
            grids = [(-(-height // stride), -(-width // stride)) for stride in STRIDES[first : last + 1]]
            if sum(down * across for down, across in grids) == rows:
                return grids
    raise UnsupportedModelError(f"{rows} scored positions are no pyramid of strides 4 to 64 on a {height} x {width} picture")


def _map_size(info: ExplainedInfo, grids: list[Size], open_size: bool) -> tuple[Size, list[str]]:
    """Of the level that OTX takes; another size in rt_info was asked for by `--map-size`, and is noted."""
    usual = grids[_size_level(grids, open_size)]
    size = parse_size(info.map_size) if info.map_size else usual
    if size == usual:
        return usual, []
    return size, [f"map size {info.map_size} as rt_info says; the levels' own would be {usual[0]}x{usual[1]}"]


def _size_level(grids: list[Size], open_size: bool) -> int:
    """The middle level; of very many the coarsest that is large enough."""
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
        raise UnsupportedModelError(f"rt_info says class_activation {activation!r}; verify knows softmax, sigmoid and none")
    powers = np.exp(maps - maps.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _features(plain: ov.Model, info: ExplainedInfo, feeds: Feeds, grids: list[Size], picture: Size) -> np.ndarray | None:
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
