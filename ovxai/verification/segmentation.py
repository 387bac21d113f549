"""Gradient maps of semantic segmentation by their definition.

Which pixels a class has is read from the plain model's scores, and derivatives are held against the means over these.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import openvino as ov

from ovxai.errors import UnsupportedModelError
from ovxai.graph.picture import find_picture_input
from ovxai.metadata import SALIENCY_INDEX, ExplainedInfo
from ovxai.verification.classification import positions_of
from ovxai.verification.differences import At
from ovxai.verification.engine import Feeds
from ovxai.verification.gradient import checked, maps_of, read_layers
from ovxai.verification.head import Head
from ovxai.verification.maps import Definition
from ovxai.verification.plain import BEHIND, logits_port
from ovxai.verification.report import Check

LOGIT, LOG_PROBABILITY = "logit", "log-probability"
#: What moves scores of pixels about, and makes none.
_MOVERS = (*BEHIND, "Interpolate", "Transpose", "Slice", "StridedSlice", "Pad")
#: Shares of pixels, or scores, this close may change places.
TIE = 1e-5


@dataclass(frozen=True)
class Reading:
    """How scores [N, C, h, w] are read. probable: they are probabilities. exclusive: each pixel has one class."""

    probable: bool
    exclusive: bool
    classes: int
    cell: tuple[int, int] | None

    @classmethod
    def of(cls, plain: ov.Model, info: ExplainedInfo) -> Reading:
        """From the plain graph and rt_info.

        Raises:
            UnsupportedModelError: rt_info names another target.
        """
        if info.target not in (LOGIT, LOG_PROBABILITY):
            raise UnsupportedModelError(f"rt_info says target {info.target!r}; of pixels verify knows {LOGIT}, {LOG_PROBABILITY}")
        port = logits_port(plain, info.explained_output)
        node = port.get_node()
        while node.get_type_name() in _MOVERS:
            node = node.input_value(0).get_node()
        before = node.get_type_name()
        exclusive = info.target == LOG_PROBABILITY and before != "Sigmoid" and (info.num_classes or 1) > 1
        return cls(before in ("Softmax", "Sigmoid"), exclusive, info.num_classes or 1, _cell(plain, info, port))

    def upright(self, scores: np.ndarray) -> np.ndarray:
        """Classes first, f64."""
        last = scores.shape[1] != self.classes and scores.shape[-1] == self.classes
        return np.moveaxis(scores, -1, 1).astype(np.float64) if last else scores.astype(np.float64)

    def pixels(self, scores: np.ndarray) -> np.ndarray:
        """[N, C, h, w] bool: those whose mean is explained."""
        if self.cell is not None:
            own = np.zeros(scores.shape, bool)
            own[:, :, self.cell[0], self.cell[1]] = True
            return own
        if self.exclusive:
            return np.asarray(scores == scores.max(axis=1, keepdims=True))
        return np.asarray(scores > (0.5 if self.probable else 0))

    def values(self, scores: np.ndarray) -> np.ndarray:
        """[N, C, h, w]: what is averaged over them."""
        if self.probable:
            return np.log(np.maximum(scores, 1e-4))
        if not self.exclusive:
            return scores
        largest = scores.max(axis=1, keepdims=True)
        return np.asarray(scores - largest - np.log(np.exp(scores - largest).sum(axis=1, keepdims=True)))


def _cell(plain: ov.Model, info: ExplainedInfo, port: ov.Output) -> tuple[int, int] | None:
    if info.pixel is None:
        return None
    picture = find_picture_input(plain, info)
    shape = [int(size) for size in port.get_partial_shape().get_min_shape()]
    if picture.height is None or picture.width is None or len(shape) != 4:
        raise UnsupportedModelError("rt_info names a pixel, but the plain part has no fixed size")
    rows, columns = shape[1:3] if shape[1] != info.num_classes and shape[3] == info.num_classes else shape[2:]
    return int((info.pixel[0] + 0.5) * rows / picture.height), int((info.pixel[1] + 0.5) * columns / picture.width)


def segmentation(explained: ov.Model, plain: ov.Model, info: ExplainedInfo, feeds: Feeds) -> Definition:
    """The maps of the classes that the model explains, in their order.

    Raises:
        TargetLayerError, UnsupportedModelError: rt_info names what the model does not have.
    """
    reading = Reading.of(plain, info)
    beside = [SALIENCY_INDEX] if SALIENCY_INDEX in info.extra_outputs else []
    layers, (given, *index) = read_layers(
        explained, info, feeds, beside, lambda model: [logits_port(model, info.explained_output)]
    )
    scores = reading.upright(given)
    pixels = reading.pixels(scores)
    ranking = scores[:, :, reading.cell[0], reading.cell[1]] if reading.cell else pixels.mean(axis=(2, 3))
    chosen, check = _chosen(index[0][:, 0] if index else None, ranking, info, reading.cell is not None)
    checks = checked(plain, info, feeds, layers, lambda head: _at(head, reading, pixels, chosen))
    maps = maps_of(layers, info)
    first = layers[0].features
    return Definition(
        maps=maps,
        features=positions_of(info, first).to_nchw(first),
        ranking=np.take_along_axis(ranking, chosen, axis=1),
        doubtful=np.zeros(maps.shape, bool),
        checks=(*([check] if index else []), *checks),
    )


def _chosen(index: np.ndarray | None, ranking: np.ndarray, info: ExplainedInfo, always: bool) -> tuple[np.ndarray, Check]:
    """[N, K]: the class of each target, and whether `saliency_index` [N, K] names it. always: no class can be missing."""
    words = info.classes
    if words.startswith("top:"):
        wanted = np.argsort(-ranking, axis=1, kind="stable")[:, : int(words[4:])]
    else:
        listed = info.chosen_classes or tuple(range(ranking.shape[1]))
        wanted = np.tile(np.array(listed), (len(ranking), 1))
    if index is None:
        return wanted, Check("saliency_index", True, "all classes")
    if index.shape != wanted.shape:
        return wanted, Check("saliency_index", False, f"names {index.shape[1]} classes, asked for {wanted.shape[1]}")
    values = np.take_along_axis(ranking, wanted, axis=1)
    there = np.ones(values.shape, bool) if always else values > 0
    close = np.abs(np.take_along_axis(ranking, np.maximum(index, 0), axis=1) - values) <= TIE * max(np.abs(ranking).max(), 1e-30)
    named = (index == wanted) | (close & words.startswith("top:"))
    if not np.where(there, named & (index >= 0), index == -1).all():
        return wanted, Check("saliency_index", False, f"is {index.tolist()}, should be {np.where(there, wanted, -1).tolist()}")
    chosen = np.where(index >= 0, index, wanted)
    return chosen, Check("saliency_index", True, "the classes asked for, -1 where a picture has no pixel of one")


def _at(head: Head, reading: Reading, pixels: np.ndarray, chosen: np.ndarray) -> At:
    """The mean over the pixels that each class has before anything is added."""
    own = np.take_along_axis(pixels, chosen[:, :, None, None], axis=1)
    count = np.maximum(own.sum(axis=(2, 3)), 1)

    def at(change: np.ndarray) -> tuple[np.ndarray, float]:
        scores = reading.upright(head.outputs([(head.gated[0] + change).astype(np.float32)])[0])
        values = np.take_along_axis(reading.values(scores), chosen[:, :, None, None], axis=1)
        return (values * own).sum(axis=(2, 3)) / count, float(np.abs(scores).max())

    return at
