"""`ovxai quantize`: INT8, with the explanation put on anew."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ovxai.cli.common import MOST_LINES, Document, Say, asked, command_options, examples, warn
from ovxai.cli.options import FEEDING, FORCE, MODEL, TRUST, preprocess_options, with_options

if TYPE_CHECKING:
    from ovxai.evaluation import Fidelity
    from ovxai.quantization import QuantizeReport


@click.command(epilog=examples(
    "ovxai quantize model_xai.xml --data photos -o model_int8.xml",
    "ovxai quantize model_xai.xml --data photos -o model_int8.xml --keep-explanation",
))  # fmt: skip
@MODEL
@click.option("--data", type=click.Path(path_type=Path), required=True, multiple=True, metavar="DIR",
              help="Pictures to calibrate with, repeatable; in folders named after classes they also show accuracy.")  # fmt: skip
@click.option("-o", "--output-model", "out", type=click.Path(path_type=Path), required=True, metavar="OUT.xml",
              help="Where the INT8 model goes.")  # fmt: skip
@click.option("--subset", type=click.IntRange(1), default=300, show_default=True, metavar="N",
              help="Calibrate with N of them; the rest shows what it did.")  # fmt: skip
@click.option("--preset", type=click.Choice(["performance", "mixed"]),
              help="NNCF's; mixed: activations asymmetric.  [default: NNCF's choice for the kind of model]")  # fmt: skip
@click.option("--keep-explanation", is_flag=True,
              help="Search for a quantisation that keeps the maps, at 1.1 times the latency at most.")  # fmt: skip
@click.option("--test-data", type=click.Path(path_type=Path), metavar="DIR",
              help="Measure on these pictures.  [default: those of --data beyond --subset, or all]")  # fmt: skip
@click.option("--measured", type=click.IntRange(1), default=200, show_default=True, metavar="N",
              help="Measure on N pictures at most.")  # fmt: skip
@FORCE
@TRUST
@with_options(FEEDING)
@command_options
def quantize(
    model: Path, data: tuple[Path, ...], out: Path, subset: int, preset: str | None, keep_explanation: bool,
    test_data: Path | None, measured: int, force: bool, trust: bool, say: Say, **feeding: Any,
) -> Document:  # fmt: skip
    """Quantise MODEL to INT8 with NNCF, with its explanation exact on the INT8 model.

    MODEL: plain or explained. The explanation branch is kept out of the quantisation: it is taken off,
    and put on again with the same options. Shows size, latency, top classes and maps before and after.
    """
    from ovxai.quantization import QuantizeOptions
    from ovxai.quantization import quantize as quantized

    options = QuantizeOptions(
        subset=subset, preset=preset, keep_explanation=keep_explanation, test_data=test_data, measured=measured,
        trust=trust, preprocessing=preprocess_options(feeding),
    )  # fmt: skip
    report = quantized(model, data, out, options, force=force, say=_progress, quiet=asked("quiet"))
    for reason in report.broken[:MOST_LINES]:
        warn(reason)
    if len(report.broken) > MOST_LINES:
        warn(f"and {len(report.broken) - MOST_LINES} more pictures that can't be read")
    for line in _lines(report):
        say(line)
    return {"ok": True, **report.to_dict()}


def _progress(line: str) -> None:
    if not asked("quiet"):
        click.echo(line, err=True)


def _lines(report: QuantizeReport) -> list[str]:
    before, after = report.before, report.after
    lines = [
        f"{'':22}{'float':>12}{'INT8':>12}{'ratio':>8}",
        f"{'size MB':22}{before.size / 1e6:12.2f}{after.size / 1e6:12.2f}{after.size / before.size:8.3f}",
        f"{'latency ms':22}{before.latency_ms:12.2f}{after.latency_ms:12.2f}{report.latency_ratio:8.3f}",
    ]
    if before.accuracy is not None and after.accuracy is not None:
        lines.append(f"{'accuracy':22}{before.accuracy:12.3f}{after.accuracy:12.3f}")
    lines += _fidelity(report.fidelity, report.held_out)
    lines.append(f"latency: median of alternating calls, both explained, in {report.precision}")
    lines += ["tried " + ", ".join(f"{name} {value}" for name, value in row.to_dict().items()) for row in report.tried]
    if report.float_layers:
        lines.append("in float: " + ", ".join(report.float_layers))
    if report.goal_met:
        lines.append("the explanation is kept")
    elif report.goal_met is not None:
        goal = "mean 0.995 and 5th percentile 0.97 at 1.1 times the latency"
        lines.append(f"the explanation could not be kept: {goal} were not reached together")
    lines += [f"note: {note}" for note in report.notes]
    lines.append(f"INT8 model by recipe '{report.recipe}', calibrated with {report.calibrated} pictures: {report.model}")
    return lines


def _fidelity(kept: Fidelity | None, held_out: bool) -> list[str]:
    """How well the maps of the top classes are kept."""
    if kept is None:
        return ["maps: none of the pictures shows anything that could be compared"]
    where = "not calibrated with" if held_out else "that were calibrated with too (--test-data names others)"
    return [
        f"{'same top class':22}{'':12}{kept.agreement:12.3f}",
        f"{'map: mean':22}{'':12}{kept.mean:12.4f}",
        f"{'map: 5th percentile':22}{'':12}{kept.fifth:12.4f}",
        f"{'map: worst':22}{'':12}{kept.worst[0][1]:12.4f}  {Path(kept.worst[0][0]).name}",
        *(f"{'':34}{value:12.4f}  {Path(name).name}" for name, value in kept.worst[1:]),
        f"maps: correlation with the float model's map of its top class, in f32, over {kept.compared} pictures {where}",
    ]
