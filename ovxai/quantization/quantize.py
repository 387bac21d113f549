"""Plain or explained model -> INT8 model with its explanation put on anew, and figures of both."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import openvino as ov

from ovxai.errors import AlreadyExplainedError, OptionError, OvxaiError, UsageError
from ovxai.graph.read import read_model
from ovxai.graph.save import check_destination, save_model
from ovxai.graph.surgery import strip_model
from ovxai.insertion import insert_with_report
from ovxai.metadata import (
    ACTIVATION_MAP,
    FEATURE_MAP,
    FEATURE_VECTOR,
    INSTANCE_SEGMENTATION,
    ExplainedInfo,
    adopt_onnx_model_info,
    is_explained,
)
from ovxai.options import AUTO, InsertOptions, options_read
from ovxai.quantization import measure
from ovxai.quantization.measure import Pictures, calibration_feeds, find_pictures
from ovxai.quantization.nncf_ptq import PRESETS, Recipe, is_quantised, load_nncf, post_training
from ovxai.quantization.report import Fidelity, QuantizeReport, Side
from ovxai.runtime.feed.preprocess import PreprocessOptions

Say = Callable[[str], None]


@dataclass(frozen=True)
class QuantizeOptions:
    """subset: how many pictures to calibrate with. preset: NNCF's, None: its choice for the kind of model.

    test_data: a folder to measure on; None: what --data holds beyond `subset`, or all of it. measured:
    at most so many pictures of it. seconds: for the latency. seed options of preprocessing as for `run`.
    """

    subset: int = 300
    preset: str | None = None
    keep_explanation: bool = False
    test_data: Path | None = None
    measured: int = 200
    seconds: float = 10.0
    preprocessing: PreprocessOptions = field(default_factory=PreprocessOptions)

    def __post_init__(self) -> None:
        if self.preset not in (None, *PRESETS):
            raise UsageError(f"preset: there is no {self.preset!r}; choose one of {', '.join(PRESETS)}")
        if self.subset < 1 or self.measured < 1:
            raise UsageError("subset, measured: at least one picture is needed")


@dataclass(frozen=True)
class Work:
    """What every candidate is made of and judged by.

    plain: the float model. wanted: insert options of the result, without a probe. watched: those of the models that are
    compared (raw maps of all classes). reference: what the float model says of the `tests`.
    """

    plain: ov.Model
    wanted: InsertOptions
    watched: InsertOptions
    pictures: Pictures
    calibration: tuple[str, ...]
    proof: Pictures
    tests: tuple[str, ...]
    reference: list[measure.Seen]
    say: Say
    quiet: bool = False

    def quantised(self, recipe: Recipe) -> ov.Model:
        feeds = partial(calibration_feeds, self.pictures, self.calibration, self.plain)
        return post_training(self.plain, feeds, len(self.calibration), recipe, self.quiet)

    def explained(self, model: ov.Model) -> ov.Model:
        return insert_with_report(model, self.wanted).model

    def seen(self, model: ov.Model, paths: tuple[str, ...] | None = None) -> list[measure.Seen]:
        return measure.look(insert_with_report(model, self.watched).model, self.proof, paths or self.tests)


@dataclass(frozen=True)
class Candidate:
    """A quantised model and how well it keeps the maps."""

    recipe: Recipe
    model: ov.Model
    seen: list[measure.Seen]
    fidelity: Fidelity | None


def quantize(
    model: str | Path, data: str | Path, out: str | Path, options: QuantizeOptions | None = None, *,
    force: bool = False, say: Say = lambda line: None, quiet: bool = True,
) -> QuantizeReport:  # fmt: skip
    """Quantise `model` to INT8 with NNCF and save it, explained, as `out`.

    model: plain or explained. Of an explained one the branch is taken off first and put on again with
    the same options, so no quantiser stands in it and it is exact for the INT8 trunk. data: a folder of
    pictures, read as `ovxai run` reads them. say: gets lines about the progress.

    Raises:
        NncfMissingError: NNCF is not installed. OutputError: `out` can't be written. SourceError: no
        pictures. UnsupportedModelError: NNCF or the insertion can't do it. OptionError: see there.
    """
    options = options or QuantizeOptions()
    path = check_destination(out, force=force)
    work, broken = _prepare(model, Path(data), options, say, quiet)
    say(f"quantising with {len(work.calibration)} pictures")
    chosen = judged(work, Recipe(preset=options.preset))
    met, tried = None, ()
    if options.keep_explanation:
        from ovxai.quantization.keep import keep_explanation

        chosen, met, tried = keep_explanation(work, chosen)
    before, after = work.explained(work.plain), work.explained(chosen.model)
    say("measuring latency")
    timed = measure.timed(before, after, work.proof, work.tests[0], options.seconds)
    first, second = (sorted(times)[len(times) // 2] * 1e3 for times in timed.times)
    size = _size_of(before)
    save_model(after, path, force=force)
    return QuantizeReport(
        model=str(path), recipe=chosen.recipe.name, calibrated=len(work.calibration),
        held_out=not set(work.tests) & set(work.calibration), broken=broken,
        before=Side(size, first, measure.accuracy(work.reference)),
        after=Side(_bytes(path), second, measure.accuracy(chosen.seen)),
        latency_ratio=timed.ratio, precision=timed.precision, fidelity=chosen.fidelity,
        goal_met=met, float_layers=chosen.recipe.ignored, tried=tuple(tried), notes=work.pictures.notes,
    )  # fmt: skip


def judged(work: Work, recipe: Recipe) -> Candidate:
    """Quantise by `recipe` and look at the result."""
    model = work.quantised(recipe)
    seen = work.seen(model)
    return Candidate(recipe, model, seen, measure.fidelity(work.reference, seen, work.tests))


def _prepare(model: str | Path, data: Path, options: QuantizeOptions, say: Say, quiet: bool) -> tuple[Work, tuple[str, ...]]:
    load_nncf()
    given = read_model(model)
    plain, wanted = _plain_of(given, str(model))
    if is_quantised(plain):
        raise OptionError(f"{model}: is quantised already; give the model in floating point")
    pictures = find_pictures(data, plain, options.preprocessing)
    proof = pictures if options.test_data is None else find_pictures(options.test_data, plain, options.preprocessing)
    calibration = pictures.some(options.subset)
    rest = pictures.without(calibration) if proof is pictures else proof.paths
    tests = _spread(rest or calibration, options.measured)
    broken = tuple(dict.fromkeys((*pictures.broken, *proof.broken)))
    if broken:
        say(f"{len(broken)} picture{'s' if len(broken) > 1 else ''} can't be read: left out")
    watched = replace(wanted, classes="all", scale=False, embed=None, feature_map=False, feature_vector=False)
    say(f"explaining {len(tests)} pictures with the float model")
    reference = measure.look(insert_with_report(plain, watched).model, proof, tests)
    return Work(plain, wanted, watched, pictures, calibration, proof, tests, reference, say, quiet), broken


def _plain_of(given: ov.Model, name: str) -> tuple[ov.Model, InsertOptions]:
    """The model without explanation, and the insert options that give it back."""
    if not is_explained(given):
        adopt_onnx_model_info(given)
        return given, InsertOptions(probe=False)
    info = ExplainedInfo.read(given)
    if info is None:
        raise AlreadyExplainedError(f"{name}: was explained by another tool; quantise the model without explanation")
    plain = strip_model(given)
    return plain, recorded_options(plain, info)


def _spread(paths: tuple[str, ...], count: int) -> tuple[str, ...]:
    return tuple(paths[i * len(paths) // count] for i in range(count)) if len(paths) > count else paths


def _size_of(model: ov.Model) -> int:
    with tempfile.TemporaryDirectory() as folder:
        return _bytes(save_model(model, Path(folder) / "model.xml"))


def _bytes(path: Path) -> int:
    return path.stat().st_size + path.with_suffix(".bin").stat().st_size


# The options with which an explained model was made, read back from what it says about itself.


def recorded_options(plain: ov.Model, info: ExplainedInfo) -> InsertOptions:
    """Options of an insertion, without a probe, that make of `plain` what `info` describes.

    What insertion would choose by itself stays open, so that on the quantised graph it is found anew
    (behind a FakeQuantize, say); only what it would choose otherwise is said.
    """
    read = options_read(info.task, info.method)
    options = InsertOptions(
        task=info.task,
        method=info.method if info.method == ACTIVATION_MAP else AUTO,
        output=info.explained_output if "output" in read else None,
        classes=info.classes,
        scale=info.scaled,
        embed=info.embed or None,
        feature_map=FEATURE_MAP in info.extra_outputs,
        feature_vector=FEATURE_VECTOR in info.extra_outputs,
        num_classes=info.num_classes if info.task == INSTANCE_SEGMENTATION else None,
        class_activation=info.class_activation if info.class_activation and "class_activation" in read else None,
        levels=info.levels if info.levels and "levels" in read else "mean",
        probe=False,
    )
    by_itself = _try(plain, options)
    if by_itself is None or (by_itself.method, by_itself.target_layers) != (info.method, info.target_layers):
        options = replace(options, method=info.method, target_layer=info.target_layers if "target_layer" in read else ())
        if info.num_classes and by_itself is None:
            options = replace(options, num_classes=info.num_classes)
    if info.mask and "mask" in read and (by_itself is None or by_itself.mask != info.mask):
        options = replace(options, mask=info.mask)
    if info.map_size and "map_size" in read and (by_itself is None or by_itself.map_size != info.map_size):
        options = replace(options, map_size=info.map_size)
    return options


def _try(plain: ov.Model, options: InsertOptions) -> ExplainedInfo | None:
    try:
        return insert_with_report(plain, options).info
    except OvxaiError:
        return None
