"""Gradient maps by their definition, and the derivatives behind them against differences of the plain model's scores.

The explained model's own derivatives are taken as given, and its maps are made of them and of the plain model's features
once more, in NumPy. The derivatives are judged apart: along random directions the scores of the plain model, cut at the
layer, have to change as they say.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import openvino as ov

from ovxai.errors import UnsupportedModelError
from ovxai.metadata import SALIENCY_INDEX, ExplainedInfo
from ovxai.verification.classification import Positions, positions_of
from ovxai.verification.differences import At, Layer, along_directions
from ovxai.verification.engine import Feeds, constant_value, is_quantised, values_of
from ovxai.verification.head import Head, choice_key, choices_between, cut_head
from ovxai.verification.maps import NO_EVIDENCE, Definition, bilinear
from ovxai.verification.plain import logits_port, port_named
from ovxai.verification.report import Check

LOGIT, LOG_ODDS, COSINE = "logit", "log-odds", "cosine"
#: The constant that holds the vector which an embedding is compared with.
TOWARD = "toward"


def gradient(explained: ov.Model, plain: ov.Model, info: ExplainedInfo, feeds: Feeds) -> Definition:
    """The maps of the classes that the model explains, zeros for the others.

    Raises:
        TargetLayerError, UnsupportedModelError: rt_info names what the model does not have.
    """
    layers, scores, index = _read(explained, info, feeds)
    if info.target == COSINE:
        return _similarity(explained, plain, info, feeds, layers, scores)
    classes = _classes(index, scores)
    found = maps_of(layers, info)
    maps = np.zeros((*scores.shape, *found.shape[2:]))
    for row, chosen in enumerate(classes):
        maps[row, chosen] = found[row]
    first = layers[0].features
    return Definition(
        maps=maps,
        features=positions_of(info, first).to_nchw(first),
        ranking=scores.astype(np.float64),
        checks=checked(plain, info, feeds, layers, lambda head: _at(head, info.target, classes)),
    )


def _similarity(
    explained: ov.Model, plain: ov.Model, info: ExplainedInfo, feeds: Feeds, layers: list[Layer], scores: np.ndarray
) -> Definition:
    """Of an embedding [N, C]: its cosine with the vector that the explained model holds."""
    vector = constant_value(port_named(explained, TOWARD))
    if vector is None or vector.size != scores.shape[1]:
        raise UnsupportedModelError(f"the explained model holds no vector of {scores.shape[1]} numbers called {TOWARD!r}")
    unit = vector.reshape(-1).astype(np.float64) / np.linalg.norm(vector)

    def similar(values: np.ndarray) -> np.ndarray:
        return np.asarray(values @ unit / np.maximum(np.linalg.norm(values, axis=1), 1e-6))[:, None]

    def at_of(head: Head) -> At:
        def at(change: np.ndarray) -> tuple[np.ndarray, float]:
            values = head([(head.gated[0] + change).astype(np.float32)]).astype(np.float64)
            return similar(values), 1.0

        return at

    first = layers[0].features
    return Definition(
        maps=maps_of(layers, info),
        features=positions_of(info, first).to_nchw(first),
        ranking=similar(scores.astype(np.float64)),
        checks=checked(plain, info, feeds, layers, at_of),
    )


def _read(explained: ov.Model, info: ExplainedInfo, feeds: Feeds) -> tuple[list[Layer], np.ndarray, np.ndarray | None]:
    """The layers, the scores [N, C] and the index [N, 1, K], where there is one."""
    beside = [SALIENCY_INDEX] if SALIENCY_INDEX in info.extra_outputs else []
    layers, (scores, *index) = read_layers(
        explained, info, feeds, beside, lambda model: [logits_port(model, info.explained_output)]
    )
    return layers, scores.reshape(len(scores), -1), index[0] if index else None


def read_layers(
    explained: ov.Model, info: ExplainedInfo, feeds: Feeds, beside: Sequence[str], ports_of: Callable[[ov.Model], list[ov.Output]]
) -> tuple[list[Layer], list[np.ndarray]]:
    """The layers, and besides the values of ports of the explained model and of its outputs `beside`.

    Raises:
        UnsupportedModelError, TargetLayerError: rt_info names what the model does not have.
    """
    if len(info.derivatives) != len(info.target_layers):
        raise UnsupportedModelError("rt_info does not name a derivative for each of its target layers")
    model = explained.clone()
    ports = [port_named(model, name) for name in (*info.target_layers, *info.derivatives)]
    count, goals = len(info.target_layers), ports_of(model)
    ports += [*goals, *(model.output(name).get_node().input(0).get_source_output() for name in beside)]
    chosen = choices_between(ports[:count], goals)
    found = values_of(model, [*ports, *chosen], feeds)
    tensors, choices = found[: len(ports)], dict(zip(map(choice_key, chosen), found[len(ports) :], strict=True))
    layers = []
    for place, (name, features, derivative) in enumerate(zip(info.target_layers, tensors[:count], tensors[count : 2 * count])):
        lead = derivative if derivative.ndim > features.ndim else derivative[None]
        shape = ports[place].get_partial_shape()
        unsettled = frozenset(axis for axis in range(features.ndim) if shape.rank.is_dynamic or shape[axis].is_dynamic)
        layers.append(Layer(name, features.astype(np.float64), lead.astype(np.float64), unsettled=unsettled, choices=choices))
    return layers, tensors[2 * count :]


def _classes(index: np.ndarray | None, scores: np.ndarray) -> np.ndarray:
    """[N, K]: the class of each target."""
    if index is None:
        return np.tile(np.arange(scores.shape[1]), (len(scores), 1))
    return index[:, 0].astype(int)


# The maps, from features and derivatives.


def maps_of(layers: Sequence[Layer], info: ExplainedInfo, *, boxes: bool = False) -> np.ndarray:
    """[N, K, h, w]. boxes: the targets are boxes, whose product has its surroundings with it."""
    return np.stack([_maps(layers, info, target, boxes) for target in range(len(layers[0].derivative))], axis=1)


def _maps(layers: Sequence[Layer], info: ExplainedInfo, target: int, boxes: bool) -> np.ndarray:
    """[N, h, w] of one target."""
    parts = [_one(layer, info, target) for layer in layers]
    if info.combine != "product":
        return parts[0]
    finest = layers[-1]
    axes = _SIDES[_positions(info, finest).layout]
    unsettled = [axis in finest.unsettled for axis in axes]
    levels = _at_finest(parts, unsettled)
    return _with_surroundings(levels, unsettled) if boxes else _product(levels)


#: Which axes of features are those of the map, rows and columns.
_SIDES = {"NCHW": (2, 3), "NHWC": (1, 2), "NPC": (1, 1), "NCP": (2, 2)}


def _one(layer: Layer, info: ExplainedInfo, target: int) -> np.ndarray:
    """[N, h, w] at one layer: HiResCAM (also in the product), LayerCAM or Grad-CAM, negatives cut."""
    positions = _positions(info, layer)
    features = positions.to_nchw(layer.features)
    slope = positions.to_nchw(layer.derivative[target])
    if info.combine == "layercam":
        slope = np.maximum(slope, 0)
    elif info.combine == "gradcam":
        slope = slope.mean(axis=(2, 3), keepdims=True)
    elif info.combine not in ("hirescam", "product"):
        raise UnsupportedModelError(f"rt_info says combine {info.combine!r}; verify knows product, hirescam, layercam, gradcam")
    return np.maximum((features * slope).sum(axis=1), 0)


def _positions(info: ExplainedInfo, layer: Layer) -> Positions:
    """Layers of a product may lie differently: what rt_info says is the first one's."""
    grids = [tuple(int(side) for side in text.split("x")) for text in info.level_grids.split(",") if text]
    where = info.target_layers.index(layer.name)
    layout = info.level_layouts.split(",")[where] if info.level_layouts else info.layout
    grid = grids[where] if where < len(grids) else (0, 0)
    if layout in ("NCHW", "NHWC"):
        sides = layer.features.shape[2:] if layout == "NCHW" else layer.features.shape[1:3]
        return Positions(layout, sides[0], sides[1])
    count = layer.features.shape[1 if layout == "NPC" else 2]
    return Positions(layout, grid[0], grid[1], count - grid[0] * grid[1])


def _at_finest(parts: Sequence[np.ndarray], unsettled: Sequence[bool]) -> list[np.ndarray]:
    """Coarse to fine: each at the finest size, all but the coarsest blurred, scaled to 0..1.

    unsettled: whether the numbers of rows and of columns are open."""
    height, width = parts[-1].shape[1:]
    large = [bilinear(part, height, width) for part in parts]
    return [_unit(_blurred(part, unsettled) if place else part) for place, part in enumerate(large)]


def _product(levels: Sequence[np.ndarray]) -> np.ndarray:
    """Of all levels, each with 0.05 added."""
    return np.asarray(np.prod([level + 0.05 for level in levels], axis=0))


def _with_surroundings(levels: Sequence[np.ndarray], unsettled: Sequence[bool]) -> np.ndarray:
    """The product as it is, and 0.06 of the geometric mean (of levels with 0.05 added) under a blur of twice the width."""
    mean = _product(levels) ** (1 / len(levels))
    return np.asarray(np.prod(levels, axis=0) + 0.06 * _blurred(mean, unsettled, wider=2))


def _unit(maps: np.ndarray) -> np.ndarray:
    low, high = maps.min(axis=(1, 2), keepdims=True), maps.max(axis=(1, 2), keepdims=True)
    seen = high - low > NO_EVIDENCE * high
    return np.where(seen, (maps - low) / np.where(seen, high - low, 1), 0)


def _blurred(maps: np.ndarray, unsettled: Sequence[bool], wider: float = 1) -> np.ndarray:
    """Under a Gaussian whose deviation is 6 / 224 of each side, of an open one 3 / 4 of a cell, since a graph's weights can't
    grow, times `wider`; cut off at three deviations, borders repeated."""
    for axis in (1, 2):
        size = maps.shape[axis]
        deviation = wider * (0.75 if unsettled[axis - 1] else 6 / 224 * size)
        reach = max(1, int(np.ceil(3 * deviation)))
        weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / deviation) ** 2)
        wide = np.pad(maps, [(reach, reach) if other == axis else (0, 0) for other in range(3)], mode="edge")
        maps = sum(weight * np.take(wide, np.arange(size) + shift, axis) for shift, weight in enumerate(weights / weights.sum()))
    return maps


# The derivatives, against differences of the scores.


def checked(
    plain: ov.Model, info: ExplainedInfo, feeds: Feeds, layers: Sequence[Layer], at_of: Callable[[Head], At]
) -> tuple[Check, ...]:
    """One check per layer: along random directions the targets change as the derivative says. at_of: the targets of a head."""
    checks = []
    for layer in layers:
        name = f"derivative by {layer.name}"
        if is_quantised(plain):
            checks.append(Check(name, None, "could not tell: quantisers are stairs, which have no derivative to compare with"))
            continue
        checks.append(
            along_directions(
                name, at_of(cut_head(plain, [layer.name], info.explained_output, feeds, choices=layer.choices)), layer
            )
        )
    return tuple(checks)


def _at(head: Head, target: str, classes: np.ndarray) -> At:
    def at(change: np.ndarray) -> tuple[np.ndarray, float]:
        scores = head([(head.gated[0] + change).astype(np.float32)]).astype(np.float64)
        return _targets(scores, target, classes), float(np.abs(scores).max())

    return at


def _targets(scores: np.ndarray, target: str, classes: np.ndarray) -> np.ndarray:
    """[N, K] from logits [N, C].

    Raises:
        UnsupportedModelError: rt_info names another target.
    """
    own = np.take_along_axis(scores, classes, axis=1)
    if target == LOGIT:
        return own
    if target != LOG_ODDS:
        raise UnsupportedModelError(f"rt_info says target {target!r}; verify knows {LOGIT} and {LOG_ODDS}")
    others = np.repeat(scores[:, None], classes.shape[1], axis=1)
    np.put_along_axis(others, classes[:, :, None], -np.inf, axis=2)
    largest = others.max(axis=2, keepdims=True)
    return np.asarray(own - largest[:, :, 0] - np.log(np.exp(others - largest).sum(axis=2)))
