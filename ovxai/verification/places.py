"""Do the features lie where rt_info says? Patches of the picture are changed; the features should move most at their cells.

What was traced through the graph is held against what the model does. Receptive fields are wide, in transformers global, so
that a single patch proves nothing: six that are spread over the picture decide, and only where they stand out clearly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import openvino as ov

from ovxai.graph.picture import PictureInput
from ovxai.metadata import CLASSIFICATION, FEATURE_MAP, FEATURES, ExplainedInfo, MapFrame
from ovxai.verification.classification import RANKS, positions_of
from ovxai.verification.engine import Engine
from ovxai.verification.pictures import Batch
from ovxai.verification.plain import Case, port_named
from ovxai.verification.report import Check

TITLE = "places"
UNMOVED = "no change of the picture moves the features"
#: Patches, as parts of height and width of what the map covers. No way of turning or exchanging the sides leaves more than
#: two of them where they are.
PLACES = ((0.1, 0.1), (0.1, 0.9), (0.9, 0.1), (0.9, 0.9), (0.12, 0.5), (0.5, 0.12))
#: A patch is at least this part of a side, and at least a cell.
PATCH = 1 / 8
#: A peak this many times the mean response says something about a place.
CLEAR = 2.5
#: Peaks up to this far from the patch, in parts of the side, or in the next cell, are at the right place.
NEAR = 0.2
#: At a wrong place the features move this many times as much as at the right one.
STRONGER = 1.5

#: A prepared picture [1, ...] -> its feature map [1, c, rows, columns], rows and columns as the tensor has them.
Features = Callable[[np.ndarray], np.ndarray]
Span = tuple[float, float]


@dataclass(frozen=True)
class Response:
    """How the features answered to one changed patch.

    expected: (y, x) of its middle, as parts of the grid laid upright. found: that of the peak. clarity: peak over mean.
    here: how far the peak at the right place is below it (1: it is the peak). near: whether the peak is at the right place.
    """

    expected: Span
    found: Span
    clarity: float
    here: float
    near: bool

    @property
    def elsewhere(self) -> bool:
        return not self.near and self.here * STRONGER <= 1


def check_places(case: Case, batches: list[Batch]) -> list[Check]:
    """On the first target layer of a classifier, on the map of a detector's neck that is an output; none where there is neither.

    What is found elsewhere is held against another picture before it counts.
    """
    features = _features_of(case, batches[0])
    if features is None:
        return []
    first = check_picture(batches[0].pictures[:1], case.place, features, case.info.frame)
    if first.ok is False:
        other = batches[0].pictures[:1][..., ::-1, ::-1] if case.place.planar else batches[0].pictures[:1][:, ::-1, ::-1]
        second = check_picture(np.ascontiguousarray(other), case.place, features, case.info.frame)
        if second.ok is not False:
            return [Check(TITLE, None, f"could not be told: {first.detail}, on another picture: {second.detail}")]
    return [first]


def _features_of(case: Case, batch: Batch) -> Features | None:
    info: ExplainedInfo = case.info
    if info.task not in (CLASSIFICATION, FEATURES):
        return _shown_features(case, batch)
    name = info.target_layers[0] if info.target_layers else ""
    if not info.layout or not name:
        return None
    model = case.plain.clone()
    port = port_named(model, name)
    if port.get_partial_shape().rank.is_dynamic or len(port.get_partial_shape()) != RANKS.get(info.layout):
        return None
    run = _first_row(model, port, case, batch)
    return lambda picture: positions_of(info, tensor := run(picture)).to_nchw(tensor)


def _shown_features(case: Case, batch: Batch) -> Features | None:
    """A detector's neck as the explained model hands it out, channels first and upright; None where it doesn't."""
    if FEATURE_MAP not in case.info.extra_outputs:
        return None
    model = case.explained.clone()
    return _first_row(model, model.output(FEATURE_MAP).get_node().input_value(0), case, batch)


def _first_row(model: ov.Model, port: ov.Output, case: Case, batch: Batch) -> Features:
    engine = Engine(ov.Model([port], model.get_parameters(), "features"))

    def run(picture: np.ndarray) -> np.ndarray:
        # A static batch is filled with the one picture; its first row is looked at.
        full = Batch(np.repeat(picture, len(batch.pictures), axis=0), batch.ids, apart=True)
        return engine(full.feeds(case.plain, case.place))[0][:1].astype(np.float32)

    return run


def check_picture(picture: np.ndarray, place: PictureInput, features: Features, frame: MapFrame) -> Check:
    """picture: prepared, [1, ...]. frame: where the features' grid lies on it."""
    still = _upright(features(picture), frame)
    height, width = still.shape[2:]
    if max(height, width) < 3:
        return Check(TITLE, None, f"could not be told: a grid of {height} x {width} is too small")
    patches = list(dict.fromkeys(_patches((height, width), frame)))
    moved = np.stack(
        [np.abs(_upright(features(_changed(picture, place, patch)), frame) - still).sum((0, 1)) for patch in patches]
    )
    if not np.isfinite(moved).all() or not moved.any():
        return Check(TITLE, None, f"could not be told: {UNMOVED}")
    # Some cells move at every change (global pooling inside, dead corners): what counts is where a change stands out.
    usual = np.median(moved, axis=0)
    standing = moved / (usual + 0.1 * usual.mean() + 1e-30)
    return _verdict([_respond(_on_grid(patch, frame), response) for patch, response in zip(patches, standing)])


def _verdict(responses: list[Response]) -> Check:
    clear = [one for one in responses if one.clarity >= CLEAR]
    near, elsewhere = sum(one.near for one in clear), [one for one in clear if one.elsewhere]
    figures = f"{near} of {len(clear)} patches that stand out move the features at their own place"
    if len(clear) < 3:
        clarity = np.median([one.clarity for one in responses])
        return Check(TITLE, None, f"could not be told: features move everywhere alike (peak {clarity:.1f} x the mean)")
    if len(elsewhere) > near:
        wrong = max(elsewhere, key=lambda one: one.clarity)
        where = f"a change at {_percent(wrong.expected)} of the grid moved them at {_percent(wrong.found)}"
        return Check(TITLE, False, f"{figures}; {where}")
    return Check(TITLE, True, figures) if near > len(clear) / 2 else Check(TITLE, None, f"could not be told: {figures}")


def _upright(tensor: np.ndarray, frame: MapFrame) -> np.ndarray:
    """[1, c, rows, columns] -> [1, c, h, w]."""
    down, across = frame.backwards
    turned = tensor[:, :, :: -1 if down else 1, :: -1 if across else 1]
    return turned.swapaxes(2, 3) if frame.transposed else turned


def _patches(grid: tuple[int, int], frame: MapFrame) -> Iterator[tuple[Span, Span]]:
    """(y1, y2), (x1, x2) of every patch, as parts of the picture; all of a side along which there is one cell."""
    ends = [(max(0.0, low), min(1.0, high)) for low, high in zip(frame.box[:2], frame.box[2:], strict=True)]
    for shares in PLACES:
        spans = []
        for share, cells, (low, high), begin, end in zip(shares, grid, ends, frame.box[:2], frame.box[2:], strict=True):
            if cells == 1:
                spans.append((low, high))
                continue
            size = max((end - begin) / cells, PATCH * (high - low))
            start = min(max(low, low + share * (high - low) - size / 2), high - size)
            cell = (end - begin) / cells  # from the border of a cell on
            start = begin + round((start - begin) / cell) * cell
            spans.append((max(low, start), min(high, start + size)))
        yield spans[0], spans[1]


def _on_grid(patch: tuple[Span, Span], frame: MapFrame) -> tuple[Span, Span]:
    """The same as parts of the grid laid upright."""
    (y1, y2), (x1, x2) = (
        tuple((edge - begin) / (end - begin) for edge in span)
        for span, begin, end in zip(patch, frame.box[:2], frame.box[2:], strict=True)
    )
    return (y1, y2), (x1, x2)


def _respond(patch: tuple[Span, Span], moved: np.ndarray) -> Response:
    """patch: in parts of the grid. moved: [h, w], by how much the features did."""
    peak = divmod(int(moved.argmax()), moved.shape[1])
    inside = []
    for span, cells in zip(patch, moved.shape, strict=True):
        middles = (np.arange(cells) + 0.5) / cells
        reach = max(NEAR, 1.01 / cells) if cells > 1 else 1.0
        inside.append((middles >= span[0] - reach) & (middles <= span[1] + reach))
    right = moved[np.ix_(*inside)]
    top = max(float(moved.max()), 1e-30)
    return Response(
        expected=(sum(patch[0]) / 2, sum(patch[1]) / 2),
        found=((peak[0] + 0.5) / moved.shape[0], (peak[1] + 0.5) / moved.shape[1]),
        clarity=top / max(float(moved.mean()), 1e-30),
        here=float(right.max()) / top if right.size else 0.0,
        near=bool(inside[0][peak[0]] and inside[1][peak[1]]),
    )


def _changed(picture: np.ndarray, place: PictureInput, patch: tuple[Span, Span]) -> np.ndarray:
    """A copy in which the patch is turned to its negative, with strong grain on it."""
    changed = picture.copy()
    spans = []
    for (low, high), size in zip(patch, place.sides(picture.shape), strict=True):
        start = min(round(low * size), size - 1)
        spans.append(slice(start, max(round(high * size), start + 1)))
    region = (slice(None), slice(None), *spans) if place.planar else (slice(None), *spans)
    low, high = float(picture.min()), float(picture.max())
    grain = np.random.default_rng(7).uniform(-0.5, 0.5, changed[region].shape) * (high - low)
    negative = low + high - changed[region].astype(np.float64) + grain
    changed[region] = np.clip(negative, low, high).astype(picture.dtype)
    return changed


def _percent(place: Span) -> str:
    return f"row {place[0]:.0%}, column {place[1]:.0%}"
