"""What insertion must leave alone: outputs, their values, metadata, and the kinds of operations."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable

import numpy as np
import openvino as ov

from ovxai.metadata import SECTION, ExplainedInfo
from ovxai.verification.report import Check

#: Rounding that another fusion order of the same operations may bring, relative to the tensor's largest value.
SAME = 1e-4
#: The columns of a table (boxes beside scores) are of different sizes: each is held by its own, down to what rounding of
#: the largest makes of it. A vector's values are all of one kind, and so may those of one row be.
COLUMN, ROW = 2e-6, 1e-5
#: So many values a row of a finished table has at most.
NARROW = 8
LOOPS = ("Loop", "TensorIterator", "If")


def difference(found: np.ndarray, wanted: np.ndarray) -> float:
    """Largest difference over the largest finite value wanted, of arrays of one shape; infinite where only one side is finite."""
    found, wanted = found.astype(np.float64), wanted.astype(np.float64)
    finite = np.isfinite(wanted)
    if (finite != np.isfinite(found)).any() or not np.array_equal(found[~finite], wanted[~finite], equal_nan=True):
        return float("inf")
    if not finite.any():
        return 0.0
    largest = max(np.abs(wanted[finite]).max(), 1e-30)
    return float(np.abs(found[finite] - wanted[finite]).max() / largest)


def check_values(
    explained: list[np.ndarray],
    plain: list[np.ndarray],
    names: list[str],
    again: Callable[[], Iterable[list[np.ndarray]]] | None = None,
) -> Check:
    """Every output of the plain model comes out of the explained one with the same value.

    again: the plain model's outputs for the same picture, a few times more. An output that it does not repeat itself (random
    numbers, or memory never written to where a detector found nothing) says nothing of the explained one: it is named and
    left out.
    """
    title = "original outputs"
    moved = {name: off for name, ours, own in zip(names, explained, plain, strict=True) if (off := _moved(ours, own)) > SAME}
    takes = list(again()) if moved and again is not None else []
    loose = [name for i, name in enumerate(names) if any(_moved(take[i], plain[i]) > SAME for take in takes)]
    for name, ours, own in zip(names, explained, plain, strict=True):
        if name not in moved or name in loose:
            continue
        if ours.shape != own.shape:
            return Check(title, False, f"{name} has the shape {list(ours.shape)}, in the plain model {list(own.shape)}")
        return Check(title, False, f"{name} moved by {moved[name]:.2g} of its largest value")
    held = [(ours, own) for name, ours, own in zip(names, explained, plain, strict=True) if name not in loose]
    worst = max((_moved(ours, own) for ours, own in held), default=0.0)
    text = f"{len(held)} kept, largest difference {worst:.2g} of the value"
    return Check(title, True, f"{text}; left out, the plain model itself does not repeat: {', '.join(loose)}" if loose else text)


def _moved(found: np.ndarray, wanted: np.ndarray) -> float:
    """By how much of its size an output, or a column of it, differs; infinite for another shape."""
    if found.shape != wanted.shape:
        return float("inf")
    return max(difference(found, wanted), _in_columns(found, wanted)) if found.size else 0.0


def _in_columns(found: np.ndarray, wanted: np.ndarray) -> float:
    """The largest difference in a column of a table, over the column's largest; tables have two axes, or a batch in front."""
    if wanted.ndim not in (2, 3) or wanted.dtype.kind != "f":
        return 0.0
    found, wanted = found.astype(np.float64), wanted.astype(np.float64)
    finite = np.isfinite(wanted) & np.isfinite(found)
    found, wanted = (np.where(finite, values, 0) for values in (found, wanted))
    size, off = np.abs(wanted), np.abs(found - wanted)
    worst = 0.0
    for axis in (wanted.ndim - 1, *([1] if wanted.ndim == 3 else [])):
        others = tuple(other for other in range(wanted.ndim) if other != axis)
        rows = wanted.size // wanted.shape[axis]
        if rows < 2 and wanted.ndim == 2:
            continue
        floor = (COLUMN if rows > 1 and wanted.shape[axis] <= NARROW else ROW) * size.max() / SAME
        column = np.maximum(size.max(axis=others), max(floor, 1e-30))
        worst = max(worst, float((off.max(axis=others) / column).max()))
    return worst


def check_weights(plain: ov.Model, source: ov.Model) -> Check:
    """The source's float constants stand in the plain part, as far as half precision tells them apart."""
    title = "weights"
    ours = {value for _, value in _weights(plain)}
    theirs = _weights(source)
    lost = [name for name, value in theirs if value not in ours]
    if lost:
        return Check(title, False, f"{lost[0]} of the source is not in the plain part ({len(lost)} of {len(theirs)} constants)")
    return Check(title, True, f"{len(theirs)} constants kept")


def _weights(model: ov.Model) -> list[tuple[str, bytes]]:
    """Names and values of the constants that hold more than one float, in the form that compression to f16 leaves."""
    found = []
    for node in model.get_ops():
        if not isinstance(node, ov.op.Constant) or node.get_element_type().get_type_name() not in ("f16", "f32"):
            continue
        if (values := np.asarray(node.data)).size < 2:
            continue
        with np.errstate(over="ignore", invalid="ignore"):
            half = np.ascontiguousarray(values, np.float16)
        found.append((node.get_friendly_name(), hashlib.sha256(half.tobytes()).digest()))
    return found


def check_order(explained: ov.Model, plain: ov.Model, info: ExplainedInfo) -> Check:
    """Originals first with their names, types and shapes, then the extra outputs that rt_info lists."""
    title = "output order"
    own = len(plain.outputs)
    extra = explained.outputs[own:]
    for index, port in enumerate(plain.outputs):
        if problem := _differs(explained.outputs[index], port):
            return Check(title, False, f"output {index}: {problem}")
    for name, port in zip(info.extra_outputs, extra, strict=False):
        if name not in port.get_names():
            names = sorted(port.get_names())
            return Check(title, False, f"output {port.get_index()} should be {name}, its names are {names}")
    if len(extra) != len(info.extra_outputs):
        return Check(title, False, f"{len(extra)} extra outputs, rt_info lists {len(info.extra_outputs)}")
    return Check(title, True, f"{own} originals, then {', '.join(info.extra_outputs)}")


def _differs(ours: ov.Output, own: ov.Output) -> str:
    if missing := own.get_names() - ours.get_names():
        return f"lost its name {min(missing)}"
    if ours.get_element_type() != own.get_element_type():
        return f"is {ours.get_element_type().get_type_name()}, was {own.get_element_type().get_type_name()}"
    if ours.get_partial_shape() != own.get_partial_shape():
        return f"has the shape {ours.get_partial_shape()}, had {own.get_partial_shape()}"
    return ""


def check_metadata(explained: ov.Model, plain: ov.Model) -> Check:
    """Every rt_info entry and the friendly name of the plain model are there."""
    title = "metadata"
    own, ours = flat_rt_info(plain), flat_rt_info(explained)
    for path, text in own.items():
        if path[0] != SECTION and ours.get(path) != text:
            return Check(title, False, f"rt_info {'/'.join(path)} is {'changed' if path in ours else 'lost'}")
    if explained.friendly_name != plain.friendly_name:
        return Check(title, False, f"the friendly name is {explained.friendly_name!r}, was {plain.friendly_name!r}")
    return Check(title, True, f"{len(own)} rt_info entries kept")


def flat_rt_info(model: ov.Model) -> dict[tuple[str, ...], str]:
    """rt_info as path -> text."""
    found: dict[tuple[str, ...], str] = {}

    def walk(value: object, path: tuple[str, ...]) -> None:
        if isinstance(value, ov.OVAny):
            value = value.value
        if hasattr(value, "items"):
            for key, item in value.items():
                walk(item, (*path, str(key)))
        else:
            found[path] = str(value)

    for key in list(model.rt_info.keys()):
        if not str(key).startswith("__"):  # the reader's own notes, such as where the weights lie
            walk(model.rt_info[key], (str(key),))
    return found


def check_loops(explained: ov.Model, plain: ov.Model) -> Check:
    """The explanation brings no operation with a body, and nothing outside the standard opsets."""
    title = "operations"
    ours, own = _kinds(explained), _kinds(plain)
    for kind in LOOPS:
        if ours[kind] > own[kind]:
            return Check(title, False, f"{ours[kind]} {kind} operations, the plain model has {own[kind]}")
    foreign = sorted({_opset(node) for node in explained.get_ops()} - {_opset(node) for node in plain.get_ops()})
    foreign = [name for name in foreign if not name.startswith("opset")]
    if foreign:
        return Check(title, False, f"operations of {', '.join(foreign)}, which the plain model does not need")
    return Check(title, True, f"{sum(ours.values()) - sum(own.values())} more, none of them a loop")


def _kinds(model: ov.Model) -> Counter[str]:
    return Counter(node.get_type_name() for node in model.get_ops())


def _opset(node: ov.Node) -> str:
    return str(node.get_type_info().version_id)
