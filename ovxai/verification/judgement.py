"""The whole verification: pictures -> explained outputs, plain outputs, definition -> report."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import openvino as ov

from ovxai.errors import OvxaiError, UnsupportedModelError
from ovxai.graph.read import read_model
from ovxai.graph.split import read_whole
from ovxai.metadata import (
    DETECTION,
    GRADIENT,
    INSTANCE_SEGMENTATION,
    PER_BOX,
    SALIENCY_INDEX,
    SALIENCY_MAP,
    SEMANTIC_SEGMENTATION,
    VECTOR_TASKS,
)
from ovxai.verification.beside import check_beside, classes_of
from ovxai.verification.boxes import per_box
from ovxai.verification.classification import Progress, activation_map, classification
from ovxai.verification.detection import detection
from ovxai.verification.engine import Engine, Feeds, is_quantised
from ovxai.verification.gradient import gradient
from ovxai.verification.instances import instance_segmentation
from ovxai.verification.keeping import check_loops, check_metadata, check_order, check_values, check_weights
from ovxai.verification.maps import (
    NO_EVIDENCE,
    QUIET,
    Definition,
    Deviation,
    Interval,
    Noise,
    compare_raw,
    compare_scaled,
    spread_of,
    tolerance_of,
)
from ovxai.verification.pictures import Batch, make_batches
from ovxai.verification.places import check_places
from ovxai.verification.plain import Case, take_apart
from ovxai.verification.precision import PrecisionReport, measure_precision
from ovxai.verification.report import Check, PictureRow, VerifyReport, make_report
from ovxai.verification.segmentation import segmentation
from ovxai.verification.statements import check_statements

ACTIVATION_MAP = "activation-map"
#: So often a plain model is asked whether it repeats an output that differs.
TAKES = 3


@dataclass
class Findings:
    """What has been found so far. shape: of one picture's maps, (C, h, w)."""

    rows: list[PictureRow] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    shape: tuple[int, ...] = ()


def verify(
    model: str | Path | ov.Model,
    image: np.ndarray | None = None,
    seed: int = 0,
    *,
    samples: int = 1,
    size: tuple[int, int] | None = None,
    plain: str | Path | ov.Model | None = None,
    places: bool = True,
    precision: str | None = None,
    progress: Progress | None = None,
) -> VerifyReport:
    """Check an explained model against the definition, one masked copy at a time, all in f32.

    model: an explained IR. image: HWC u8 RGB of any size, or an array [N, ...] that is fed as it is;
    without it smooth noise made from `seed`. samples: how many pictures (a dynamic batch takes two at
    least). size: (H, W) where the model leaves them open. plain: the model it came from; then outputs
    and metadata are compared with that file too. precision: "bf16" or "f16": how well the maps come out on this CPU when
    it computes in that is measured as well. progress: called with (masks done, masks in all).

    Raises:
        NotExplainedError, UnsupportedModelError, TargetLayerError: the model does not say enough about
        itself for its definition to be computed.
    """
    case = take_apart(model)
    findings = Findings()
    batches, notes = make_batches(case.plain, case.place, image, max(samples, 1), seed, size)
    findings.notes += notes
    if is_quantised(case.plain):
        findings.notes.append(
            "quantised operations were computed in floats: with INT8 kernels rounding depends on who reads a tensor"
        )
    source = None if plain is None else plain if isinstance(plain, ov.Model) else read_model(plain)
    outputs = _check_outputs(case, batches, source, findings)
    _check_maps(case, batches, outputs, findings, progress)
    if places:
        findings.checks += check_places(case, batches)
    if precision is not None:
        measured = measure_precision(case.explained, [batch.feeds(case.plain, case.place) for batch in batches], precision)
        findings.checks.append(Check("precision", measured.ok, str(measured)))
    return make_report(
        findings.rows, findings.checks, findings.notes,
        scaled=case.info.scaled, method=case.info.method, shape=findings.shape,
    )  # fmt: skip


def precision_here(model: ov.Model) -> PrecisionReport:
    """How well the maps of an explained model come out in the precision that this CPU chooses by itself, on smooth noise.

    Raises:
        NotExplainedError, UnsupportedModelError: as `verify`.
    """
    case = take_apart(model)
    batches, _ = make_batches(case.plain, case.place, None, 1, 0, None)
    return measure_precision(case.explained, [batch.feeds(case.plain, case.place) for batch in batches])


def precision_of_file(path: Path) -> PrecisionReport:
    """`precision_here` of the explained IR in a file, for another process."""
    return precision_here(read_whole(path))


def definition_of(case: Case, feeds: Feeds, progress: Progress | None) -> Definition:
    """The maps that rt_info promises, computed on the plain model the slow way.

    Raises:
        UnsupportedModelError: no definition for this task, or rt_info leaves something open.
    """
    if not case.info.target_layers:
        raise UnsupportedModelError("rt_info names no target_layers; verify can't tell what the map is of")
    if case.info.num_classes is not None and case.info.num_classes < 1:
        raise UnsupportedModelError(f"rt_info says num_classes {case.info.num_classes}; maps are of one class at least")
    try:
        return _definition(case, feeds, progress)
    except OvxaiError:
        raise
    except (IndexError, KeyError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UnsupportedModelError(f"what rt_info says does not fit the plain part of the model: {reason}") from error


def _definition(case: Case, feeds: Feeds, progress: Progress | None) -> Definition:
    plain, info = case.plain, case.info
    if info.method == ACTIVATION_MAP:
        return activation_map(plain, info, feeds)
    if info.method == GRADIENT and info.per == PER_BOX:
        return per_box(case.explained, plain, info, feeds)
    if info.method == GRADIENT and info.task == SEMANTIC_SEGMENTATION:
        return segmentation(case.explained, plain, info, feeds)
    if info.method == GRADIENT:
        return gradient(case.explained, plain, info, feeds)
    if info.task in VECTOR_TASKS:
        return classification(plain, info, feeds, progress)
    if info.task == DETECTION:
        return detection(plain, info, feeds)
    if info.task == INSTANCE_SEGMENTATION:
        return instance_segmentation(plain, info, feeds)
    raise UnsupportedModelError(f"rt_info says task {info.task!r}; verify has no definition for it")


def _check_outputs(case: Case, batches: list[Batch], source: ov.Model | None, findings: Findings) -> list[dict[str, np.ndarray]]:
    """Run explained and plain on every batch; the explanation outputs of each batch, by name."""
    # One after the other: two compiled copies of a large model need not stand in memory at once.
    feeds = [batch.feeds(case.plain, case.place) for batch in batches]
    ours = _run_all(case.explained, feeds)
    own = _run_all(case.plain, feeds)
    count = len(case.plain.outputs)
    names = [_name(port) for port in case.plain.outputs]
    findings.checks += [_check_values([arrays[:count] for arrays in ours], own, names, case.plain, feeds)]
    findings.checks += [
        check_order(case.explained, case.plain, case.info),
        check_metadata(case.explained, case.plain),
        check_loops(case.explained, case.plain),
        check_statements(case, own[0], len(batches[0].ids)),
    ]
    if source is not None:
        findings.checks += _check_source(case, source, feeds, [arrays[:count] for arrays in ours], names)
    extra = [port.get_names() & set(case.info.extra_outputs) for port in case.explained.outputs]
    return [{name: arrays[i] for i, found in enumerate(extra) for name in found} for arrays in ours]


def _check_source(
    case: Case, source: ov.Model, feeds: list[dict[int, np.ndarray]], ours: list[list[np.ndarray]], names: list[str]
) -> list[Check]:
    """ours: of every batch, the values of the outputs that the plain model has."""
    if problem := _another(source, case.plain):
        return [Check("source model", False, problem)]
    theirs = _run_all(source, feeds)
    checks = (
        _check_values(ours, theirs, names, source, feeds),
        check_order(case.explained, source, case.info),
        check_metadata(case.explained, source),
        check_weights(case.plain, source),
    )
    return [Check(f"{check.name} against the source model", check.ok, check.detail) for check in checks]


def _check_values(
    ours: list[list[np.ndarray]],
    own: list[list[np.ndarray]],
    names: list[str],
    model: ov.Model,
    feeds: list[dict[int, np.ndarray]],
) -> Check:
    """The values of every batch; where they differ, `model` is asked again, whether it repeats its own."""

    def again(feed: dict[int, np.ndarray]) -> Iterator[list[np.ndarray]]:
        # Each time compiled anew: memory that nobody writes to holds the same from run to run.
        return (_run_all(model, [feed])[0] for _ in range(TAKES))

    return _worst(check_values(a, b, names, partial(again, feed)) for a, b, feed in zip(ours, own, feeds, strict=True))


def _another(source: ov.Model, plain: ov.Model) -> str:
    """What shows at once that `source` is not the model that was explained; empty where nothing does."""
    for what, theirs, ours in (("inputs", source.inputs, plain.inputs), ("outputs", source.outputs, plain.outputs)):
        if len(theirs) != len(ours):
            return f"it has {len(theirs)} {what}, the one that was explained had {len(ours)}: another model?"
    return ""


def _run_all(model: ov.Model, feeds: list[dict[int, np.ndarray]]) -> list[list[np.ndarray]]:
    engine = Engine(model)
    return [engine(feed) for feed in feeds]


def _name(port: ov.Output) -> str:
    return min(port.get_names(), key=len, default=f"output {port.get_index()}")


def _worst(checks: Iterable[Check]) -> Check:
    found = list(checks)
    return next((check for check in found if check.ok is False), found[-1])


def _check_maps(
    case: Case,
    batches: list[Batch],
    outputs: list[dict[str, np.ndarray]],
    findings: Findings,
    progress: Progress | None,
) -> None:
    alone: dict[int, Definition] = {}
    for batch, found in zip(batches, outputs, strict=True):
        if batch.apart:
            for row, picture in enumerate(batch.ids):
                single = batch.alone(row)
                if picture not in alone:
                    alone[picture] = definition_of(case, single.feeds(case.plain, case.place), progress)
                part = {name: value[row : row + 1] for name, value in found.items()}
                _check_pictures(case, single, part, alone[picture], findings, len(batch.ids))
        else:
            wanted = definition_of(case, batch.feeds(case.plain, case.place), progress)
            _check_pictures(case, batch, found, wanted, findings, len(batch.ids))
    findings.checks = _settled(findings.checks)


def _settled(checks: list[Check]) -> list[Check]:
    """One check per name, in the order of their first appearance: a failed one stands for all of its name."""
    found: dict[str, Check] = {}
    for check in checks:
        if check.name not in found or found[check.name].ok is not False:
            found[check.name] = check
    return list(found.values())


def _check_pictures(
    case: Case,
    batch: Batch,
    found: dict[str, np.ndarray],
    wanted: Definition,
    findings: Findings,
    together: int,
) -> None:
    """One row per picture, and the checks of the outputs beside the map. together: how many went through at once."""
    maps, index = found[SALIENCY_MAP], found.get(SALIENCY_INDEX)
    findings.shape = maps.shape[1:]
    if case.info.method != ACTIVATION_MAP and not case.info.of_found and case.info.num_classes is not None:
        counted = wanted.maps.shape[1]
        if counted != case.info.num_classes:
            findings.checks.append(Check("rt_info", False, f"num_classes is {case.info.num_classes}, there are {counted}"))
    if problem := _wrong_type(maps, case.info.scaled, len(batch.ids)):
        findings.checks.append(Check("saliency_map", False, problem))
    shown = []
    for row, picture in enumerate(batch.ids):
        try:
            said = "all" if case.info.of_found else case.info.classes
            classes = classes_of(said, None if index is None else index[row], wanted.maps.shape[1])
            result = _compare(maps[row], wanted, row, classes, case.info.scaled)
            shown.append(classes)
        except (UnsupportedModelError, IndexError) as error:
            result = Deviation(np.inf, 0.0, np.inf, detail=str(error))
        findings.rows.append(PictureRow(picture, together, **vars(result)))
        if result.noise:
            findings.notes.append(
                f"picture {picture}: f32 moves the definition itself by {result.noise:.2g} of the maps' spread; allowed for"
            )
    findings.checks += [*wanted.checks, *check_beside(case, batch, found, wanted, shown)]
    findings.notes += [note for note in (*wanted.notes, *_says_nothing(wanted)) if note not in findings.notes]


def _says_nothing(wanted: Definition) -> list[str]:
    """A map may equal its definition and still be worthless: said, not judged."""
    maps = wanted.maps
    if wanted.doubtful is not None:
        return []  # instances, which may simply not be there
    if (np.ptp(maps, axis=(2, 3)) <= NO_EVIDENCE * np.abs(maps).max(axis=(2, 3))).all():
        return ["by its definition every map is flat on this picture: the features carry no place"]
    shapes = maps - maps.mean(axis=(2, 3), keepdims=True)
    if maps.shape[1] > 1 and (np.ptp(shapes, axis=1) <= NO_EVIDENCE * np.abs(maps).max()).all():
        return ["by its definition the map is the same for every class on this picture"]
    return []


def _wrong_type(maps: np.ndarray, scaled: bool, batch: int) -> str:
    wanted = np.uint8 if scaled else np.float32
    if maps.dtype != wanted:
        return f"is {maps.dtype}, and {'scaled' if scaled else 'raw'} maps are {np.dtype(wanted)}"
    if maps.ndim != 4 or maps.shape[0] != batch:
        return f"has the shape {list(maps.shape)}, not [{batch}, C, h, w]"
    return ""


def _compare(maps: np.ndarray, wanted: Definition, row: int, classes: np.ndarray, scaled: bool) -> Deviation:
    """Against the definition; where that fails, with what rounding makes of the definition itself."""
    found = _against_maps(maps, wanted, row, classes, scaled)
    noise = QUIET
    if found.units > 1 and wanted.noise is not None:
        noise = wanted.noise()[row]
        found = _against_maps(maps, wanted, row, classes, scaled, noise=noise)
        found = replace(found, noise=noise.cell / max(spread_of(wanted.maps[row]), np.finfo(np.float64).tiny))
    if found.units <= 1 or wanted.between is None:
        return found
    low, high = (edge[row][classes] for edge in wanted.between())
    again = _against_maps(maps, wanted, row, classes, scaled, (low, high), noise)
    jumps = int((high - low > tolerance_of(wanted.maps[row][classes])).sum())
    return replace(again, on_edge=jumps, noise=found.noise)


def _against_maps(
    maps: np.ndarray,
    wanted: Definition,
    row: int,
    classes: np.ndarray,
    scaled: bool,
    between: Interval | None = None,
    noise: Noise = QUIET,
) -> Deviation:
    chosen = wanted.maps[row][classes]
    doubtful = None if wanted.doubtful is None else wanted.doubtful[row][classes]
    if not scaled:
        return compare_raw(maps, chosen, doubtful, between, noise)
    bias = None if wanted.bias is None else wanted.bias[classes]
    return compare_scaled(maps, chosen, bias, doubtful, between, noise)
