"""Which insertion to choose: several are tried on a few pictures, and the default stays unless another is surely better."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import openvino as ov

from ovxai.collapse.masks import GAUSSIAN, POINT
from ovxai.errors import OptionError, UnsupportedModelError, UsageError
from ovxai.evaluation.columns import ACTIVATION, Wishes
from ovxai.evaluation.evaluate import Done, Record
from ovxai.evaluation.intervals import LEVEL, bootstrap, mean_of
from ovxai.evaluation.rows import Row
from ovxai.evaluation.session import Ledger, Outcome, Request, run_evaluation
from ovxai.evaluation.ways import Way
from ovxai.files import whole_file
from ovxai.graph.read import read_model
from ovxai.insertion import insert_with_report
from ovxai.metadata import ACTIVATION_MAP, DETECTION, GRADIENT, PER_BOX, ExplainedInfo
from ovxai.options import AUTO, GRAD_CAM, HIRES_CAM, LAYER_CAM, PRODUCT, READS, InsertOptions
from ovxai.text import to_json

FILE = "advice.json"
#: Pictures, where no number is given.
PICTURES = 8
#: A gain below this is none, however sure.
MATTERS = 0.01
#: Layers besides the default one; what is dense there is not tried, as its cost grows with the number of positions.
_LAYERS = 2


def ways_to_try(model: ov.Model, per: str) -> tuple[Way, ...]:
    """The default first, then what differs from it in one thing: mask, layer, blocks, levels, activation, method. All in f32.

    model: plain. per: "class" or "box".

    Raises:
        UnsupportedModelError: the default does not explain it.
    """
    info = insert_with_report(model, InsertOptions(probe=False)).info
    reads, found = READS[info.method].reads, [InsertOptions()]
    if "mask" in reads:
        found.append(InsertOptions(mask=POINT if info.mask == GAUSSIAN else GAUSSIAN))
    if "blocks" in reads:
        found += [InsertOptions(method=info.method, blocks=blocks) for blocks in (2, 3)]
    if info.task == DETECTION:
        other = "softmax" if info.class_activation == "sigmoid" else "sigmoid"
        found += [InsertOptions(levels="max"), InsertOptions(class_activation=other)]
        found += [InsertOptions(levels="max", class_activation=other)]
    elif "blocks" not in reads:
        found += _other_layers(model, info)
    if info.task in READS[GRADIENT].tasks and (info.task != DETECTION or per == PER_BOX):
        combines = (PRODUCT,) if info.task == DETECTION else (PRODUCT, HIRES_CAM, LAYER_CAM, GRAD_CAM)
        found += [InsertOptions(method=GRADIENT, combine=combine) for combine in combines]
    if info.method != ACTIVATION_MAP:
        found.append(InsertOptions(method=ACTIVATION_MAP))
    return tuple(Way(replace(options, probe=False), ("f32",)) for options in found)


def _other_layers(model: ov.Model, info: ExplainedInfo) -> list[InsertOptions]:
    """The default method at the last maps of other sizes, where the collapse is exact."""
    try:
        levels = insert_with_report(model, InsertOptions(method=GRADIENT, probe=False)).info.target_layers
    except (UnsupportedModelError, OptionError):
        return []
    found: list[InsertOptions] = []
    for layer in levels:
        options = InsertOptions(method=info.method, target_layer=(layer,), probe=False)
        try:
            other = insert_with_report(model, options).info
        except (UnsupportedModelError, OptionError):
            continue
        if other.target_layers != info.target_layers and other.collapse == "exact":
            found.append(options)
    return found[:_LAYERS]


Interval = tuple[float, float]


@dataclass(frozen=True)
class Tried:
    """A column in figures. options: of `ovxai insert`. difference: mean of insertion less deletion over the maps that the default
    has as well. gain: the mean of it less the default's, map by map. maps: how many these are. Intervals are 95 %, those of gains
    so wide that all of them hold together."""

    title: str
    options: tuple[str, ...]
    precision: str
    maps: int
    difference: float
    interval: Interval | None
    gain: float
    gain_interval: Interval | None
    energy: float | None
    energy_interval: Interval | None
    seconds_per_picture: float | None


@dataclass(frozen=True)
class Advice:
    """tried: the default first. chosen: of them. precision: f32 or default, what to run it in. lines: the same for a screen."""

    tried: tuple[Tried, ...]
    chosen: Tried
    precision: str
    lines: tuple[str, ...]

    def to_dict(self) -> dict[str, object]:
        return {**asdict(self), "schema_version": 1}


def check_advice(request: Request) -> None:
    """Refuse what no advice comes of.

    Raises:
        UsageError: several models, or no insertion and deletion.
    """
    if len(request.subjects) != 1:
        raise UsageError("--advise looks at one model at a time; give one MODEL")
    if not {"insertion", "deletion"} <= set(request.measuring.metrics):
        raise UsageError("--advise compares insertion and deletion; leave them among the --metrics")


def run_advice(
    request: Request,
    ledger: Ledger,
    *,
    stop: Callable[[], bool] = lambda: False,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> tuple[Outcome, Advice | None]:
    """Try every way in f32, then the best and the default in the device's own precision; write `FILE` beside the figures.

    request: of one plain model; its methods, layers and precisions are not used. None where there is nothing to compare.

    Raises:
        UsageError: see `check_advice`. OvxaiError: see `run_evaluation`.
    """
    check_advice(request)
    subject = request.subjects[0]
    ways = ways_to_try(read_model(subject.file, trust=subject.trust), request.choice.per)
    outcome = run_evaluation(_with(request, ways), ledger, stop=stop, progress=progress)
    best, _ = best_of(_compared(request, ledger, outcome, ways))
    if best is None or outcome.interrupted:
        return outcome, None
    again = {best.title, outcome.rows[0].title}
    ways = tuple(replace(way, precisions=("f32", None)) if _title(way, outcome) in again else way for way in ways)
    outcome = run_evaluation(_with(request, ways), ledger, stop=stop, progress=progress)
    if outcome.interrupted:
        return outcome, None
    advice = conclude(_compared(request, ledger, outcome, ways))
    with whole_file(ledger.path.parent / FILE) as file:
        file.write(to_json(advice.to_dict(), indent=1) + "\n")
    return outcome, advice


def _with(request: Request, ways: tuple[Way, ...]) -> Request:
    others = tuple(name for name in request.wishes.baselines if name != ACTIVATION)  # one of the ways
    return replace(request, wishes=Wishes(ways=ways, baselines=others))


def _made_by(row: Row, ways: Sequence[Way]) -> Way | None:
    for way in ways:
        alike = (way.layer, way.setting) == (row.layer, row.setting)
        if not row.host and alike and way.options.method in (AUTO, row.method):
            return way
    return None


def _title(way: Way, outcome: Outcome) -> str:
    return next((row.title for row in outcome.rows if _made_by(row, [way]) and row.precision == "f32"), "")


Place = tuple[str, int, tuple[float, ...]]


def _by_place(done: Mapping[tuple[str, str], Done], title: str) -> dict[Place, Record]:
    """The maps of a column by picture, class and box."""
    records = [record for (column, _), one in done.items() if column == title for record in one.records]
    return {(one.picture, one.class_index, tuple(one.box or ())): one for one in records}


def _compared(request: Request, ledger: Ledger, outcome: Outcome, ways: Sequence[Way]) -> list[Tried]:
    """What was tried, the default in f32 first, with gains over it; none where it has no map."""
    rows = [(row, way) for row in outcome.rows if (way := _made_by(row, ways)) is not None]
    default = _by_place(ledger.done, rows[0][0].title) if rows else {}
    wanted = {str(picture.path) for picture in request.pictures}
    default = {place: record for place, record in default.items() if place[0] in wanted}
    level = 1 - (1 - LEVEL) / max(1, sum(row.precision == "f32" for row, _ in rows) - 1)
    found = []
    for row, way in rows:
        own = _by_place(ledger.done, row.title)
        places = [place for place in default if place in own]
        if not places:
            continue
        numbers = {place: i for i, place in enumerate(dict.fromkeys(place[0] for place in places))}
        groups = [numbers[place[0]] for place in places]
        values = np.array([_score(own[place]) for place in places])
        gains = values - np.array([_score(default[place]) for place in places])
        seed = request.measuring.seed
        found.append(Tried(
            row.title, tuple(way.as_options(row.method)), row.precision or "default", len(places),
            float(values.mean()), bootstrap(values, groups, mean_of, seed),
            float(gains.mean()), bootstrap(gains, groups, mean_of, seed, level),
            row.figures.get("energy"), row.intervals.get("energy"), row.seconds_per_picture,
        ))  # fmt: skip
    return found


def _score(record: Record) -> float:
    return float(record.figures["insertion"]) - float(record.figures["deletion"])


def best_of(tried: Sequence[Tried]) -> tuple[Tried | None, bool]:
    """(the best in f32, whether it is surely better than the default); ways that lack many maps are no choice."""
    able = [one for one in tried if one.precision == "f32" and one.maps >= 0.8 * tried[0].maps]
    if not able:
        return None, False
    best = max(able, key=lambda one: one.gain)
    return best, best.gain > MATTERS and best.gain_interval is not None and best.gain_interval[0] > 0


def conclude(tried: Sequence[Tried]) -> Advice:
    """What to insert, and what to run it in. tried: the default in f32 first."""
    best, sure = best_of(tried)
    default = tried[0]
    assert best is not None
    chosen = best if sure else default
    loose = next((one for one in tried if one.options == chosen.options and one.precision == "default"), None)
    loss = chosen.difference - loose.difference if loose is not None else 0.0
    precision = "f32" if loss > MATTERS else "default"
    lines = [f"insertion less deletion, {default.maps} maps; gain over the default with an interval that holds for all of them:"]
    lines += [f"  {_line(one)}" for one in sorted(tried, key=lambda one: -one.difference)]
    if sure:
        lines.append(f"better than the default: {chosen.title}, {_gain(chosen)}")
    elif best is default:
        lines.append(f"nothing tried is better than the default, {default.title}")
    else:
        lines.append(
            f"nothing tried is surely better than the default: {best.title} comes first, {_gain(best)}; more --limit tells"
        )
    if loose is not None:
        what = "run it in f32" if precision == "f32" else "as good as f32"
        lines.append(f"precision: the device's own makes it {loose.difference:.3f} instead of {chosen.difference:.3f}; {what}")
    return Advice(tuple(tried), chosen, precision, tuple(lines))


def _gain(one: Tried) -> str:
    return f"{one.gain:+.3f}{_between(one.gain_interval, '+')}"


def _line(one: Tried) -> str:
    seconds = "" if one.seconds_per_picture is None else f", {one.seconds_per_picture:.3f} s per picture"
    energy = "" if one.energy is None else f", energy {one.energy:.2f}{_between(one.energy_interval)}"
    return f"{one.difference:.3f}{_between(one.interval)}  {one.title}: gain {_gain(one)}{energy}{seconds}"


def _between(interval: Interval | None, sign: str = "") -> str:
    return "" if interval is None else f" [{interval[0]:{sign}.3f}, {interval[1]:{sign}.3f}]"
