"""Plain or explained model -> INT8 model with its explanation put on anew, and figures of both."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

import openvino as ov

from ovxai.anew import recorded_options
from ovxai.errors import AlreadyExplainedError, OptionError, UsageError
from ovxai.evaluation import Fidelity
from ovxai.graph.save import check_destination, save_model
from ovxai.graph.split import read_whole
from ovxai.graph.surgery import strip_model
from ovxai.insertion import insert_with_report
from ovxai.metadata import (
    ExplainedInfo,
    is_explained,
)
from ovxai.options import InsertOptions
from ovxai.quantization.keep import Search, Tried, keep_explanation
from ovxai.quantization.measure import Say, Work, accuracy, find_pictures, judged, look, spread, timed
from ovxai.quantization.nncf_ptq import PRESETS, Recipe, is_quantised, load_nncf
from ovxai.runtime.feed.preprocess import PreprocessOptions


@dataclass(frozen=True)
class QuantizeOptions:
    """How to quantise, and how to measure what it did.

    subset: how many pictures to calibrate with. preset: NNCF's, None: its choice for the kind of model.
    keep_explanation: whether to look for layers to leave in float. test_data: a folder to measure on; None: what
    --data holds beyond `subset`, or all of it. measured: at most so many pictures of it. seconds: for the latency.
    trust: read a .pt2 that carries more than weights and a graph, and run that as code.
    preprocessing: what the model does not say itself, as for `ovxai run`.
    """

    subset: int = 300
    preset: str | None = None
    keep_explanation: bool = False
    test_data: Path | None = None
    measured: int = 200
    seconds: float = 10.0
    trust: bool = False
    preprocessing: PreprocessOptions = field(default_factory=PreprocessOptions)

    def __post_init__(self) -> None:
        if self.preset not in (None, *PRESETS):
            raise UsageError(f"preset: there is no {self.preset!r}; choose one of {', '.join(PRESETS)}")
        if self.subset < 1 or self.measured < 1:
            raise UsageError("subset, measured: at least one picture is needed")


@dataclass(frozen=True)
class Side:
    """One model. size: bytes of .xml and .bin. accuracy: share of right top classes, None where no class is known."""

    size: int
    latency_ms: float | None
    accuracy: float | None


@dataclass(frozen=True)
class QuantizeReport:
    """The whole result.

    model: path of what was written. recipe: how it was quantised. calibrated: with how many pictures. held_out:
    whether the figures are of other pictures than those. broken: a line for each picture that could not be read.
    before, after: the explained models. latency_ratio: after / before, median over alternating calls. precision:
    what the device computes in. fidelity: how well the maps are kept, None where there is nothing to compare.
    goal_met: of --keep-explanation, None where it was not asked for; float_layers: what it left in float; tried:
    what it tried and what came of it. notes: what a person should know besides.
    """

    model: str
    recipe: str
    calibrated: int
    held_out: bool
    broken: tuple[str, ...]
    before: Side
    after: Side
    latency_ratio: float | None
    precision: str | None
    fidelity: Fidelity | None
    goal_met: bool | None = None
    float_layers: tuple[str, ...] = ()
    tried: tuple[Tried, ...] = ()
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON takes it."""
        return asdict(self) | {"tried": [row.to_dict() for row in self.tried]}


def quantize(
    model: str | Path,
    data: str | Path | Sequence[str | Path],
    out: str | Path,
    options: QuantizeOptions | None = None,
    *,
    force: bool = False,
    say: Say | None = None,
    quiet: bool = True,
) -> QuantizeReport:
    """Quantise `model` to INT8 with NNCF and save it, explained, as `out`.

    model: plain or explained. Of an explained one the branch is taken off first and put on again with
    the same options, so no quantiser stands in it and it is exact for the INT8 trunk. data: a folder of
    pictures, or several, read as `ovxai run` reads them. say: gets lines about the progress. quiet: no words of NNCF's own.

    Raises:
        NncfMissingError: NNCF is not installed. OutputError: `out` can't be written. SourceError: no
        pictures. UnsupportedModelError: NNCF or the insertion can't do it. OptionError: see there.
    """
    options = options or QuantizeOptions()
    path = check_destination(out, force=force)
    work = _prepare(model, data, options, say or _say_nothing, quiet)
    work.say(f"quantising with {len(work.calibration)} pictures")
    chosen = judged(work, Recipe(preset=options.preset))
    search: Search | None = None
    if options.keep_explanation:
        search = keep_explanation(work, chosen)
        chosen = search.best
    before, after = work.explained(work.plain), work.explained(chosen.model)
    work.say("measuring latency")
    latency = timed(work, before, after, options.seconds)
    first, second = (median(times) * 1e3 for times in latency.times)
    size = _size_of(before)
    save_model(after, path, force=force)
    return QuantizeReport(
        model=str(path), recipe=chosen.recipe.name, calibrated=len(work.calibration),
        held_out=not set(work.tests) & set(work.calibration), broken=_broken(work),
        before=Side(size, first, accuracy(work.reference)), after=Side(_bytes(path), second, accuracy(chosen.seen)),
        latency_ratio=latency.ratio, precision=latency.precision, fidelity=chosen.fidelity,
        goal_met=search.met if search else None, float_layers=chosen.recipe.ignored, tried=search.tried if search else (),
        notes=work.pictures.notes,
    )  # fmt: skip


def _say_nothing(_line: str) -> None:
    """For callers who want no progress."""


def _prepare(model: str | Path, data: str | Path | Sequence[str | Path], options: QuantizeOptions, say: Say, quiet: bool) -> Work:
    load_nncf()
    plain, wanted = _plain_of(read_whole(model, trust=options.trust), Path(model), say)
    if is_quantised(plain):
        raise OptionError(f"{model}: is quantised already; give the model in floating point")
    pictures = find_pictures(data, plain, options.preprocessing)
    proof = pictures if options.test_data is None else find_pictures(options.test_data, plain, options.preprocessing)
    calibration = spread(pictures.paths, options.subset)
    rest = pictures.without(calibration) if proof is pictures else proof.paths
    tests = spread(rest or calibration, options.measured)
    broken = len(dict.fromkeys((*pictures.broken, *proof.broken)))
    if broken:
        say(f"{broken} picture{'s' if broken > 1 else ''} can't be read: left out")
    watched = replace(wanted, classes="all", scale=False, embed=None, feature_map=False, feature_vector=False)
    say(f"explaining {len(tests)} pictures with the float model")
    reference = look(insert_with_report(plain, watched).model, proof, tests)
    return Work(plain, wanted, watched, pictures, calibration, proof, tests, reference, say, quiet)


def _broken(work: Work) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*work.pictures.broken, *work.proof.broken)))


def _size_of(model: ov.Model) -> int:
    with tempfile.TemporaryDirectory() as folder:
        return _bytes(save_model(model, Path(folder) / "model.xml"))


def _bytes(path: Path) -> int:
    return path.stat().st_size + path.with_suffix(".bin").stat().st_size


def _plain_of(given: ov.Model, name: Path, say: Say) -> tuple[ov.Model, InsertOptions]:
    """The model without explanation, and the insert options that give it back."""
    if not is_explained(given):
        wanted = InsertOptions(probe=False)
        done = insert_with_report(given, wanted, beside=name)  # with what stands beside the model, as far as it fits
        for line in done.told:
            say(line)
        return strip_model(done.model), wanted
    info = ExplainedInfo.read(given)
    if info is None:
        raise AlreadyExplainedError(f"{name}: was explained by another tool; quantise the model without explanation")
    plain = strip_model(given)
    return plain, recorded_options(plain, info, given)
