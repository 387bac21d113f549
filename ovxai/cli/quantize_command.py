"""`ovxai quantize`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ovxai.cli.common import command_options, warn
from ovxai.cli.options import FEEDING, with_options

if TYPE_CHECKING:
    from ovxai.quantization import QuantizeReport

_MOST_LINES = 20


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR",
    help="Pictures to calibrate with; in folders named after classes they also show accuracy.",
)
@click.option("-o", "--output-model", "out", type=click.Path(path_type=Path), required=True, help="OUT.xml")
@click.option(
    "--subset",
    type=click.IntRange(1),
    default=300,
    show_default=True,
    metavar="N",
    help="Calibrate with N of them; the rest shows what it did.",
)
@click.option(
    "--preset",
    type=click.Choice(["performance", "mixed"]),
    help="NNCF's; mixed: activations asymmetric.  [default: NNCF's choice for the kind of model]",
)
@click.option(
    "--keep-explanation", is_flag=True, help="Search for a quantisation that keeps the maps, at 1.1 times the latency at most."
)
@click.option(
    "--test-data",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Measure on these pictures.  [default: those of --data beyond --subset, or all]",
)
@click.option(
    "--measured", type=click.IntRange(1), default=200, show_default=True, metavar="N", help="Measure on N pictures at most."
)
@click.option("--force", is_flag=True, help="Overwrite OUT.")
@with_options(FEEDING)
@command_options
def command(model: Path, data: Path, out: Path, force: bool, say, **options) -> dict:
    """Quantise MODEL to INT8 with NNCF, with its explanation exact on the INT8 model.

    MODEL: plain or explained. The explanation branch is kept out of the quantisation: it is taken off,
    and put on again with the same options. Shows size, latency, top classes and maps before and after.
    """
    from ovxai.quantization import QuantizeOptions, quantize
    from ovxai.runtime.feed.preprocess import PreprocessOptions

    names = ("mean", "scale_values", "resize_type", "pad_value", "reverse_input_channels", "input_size")
    settings = PreprocessOptions(**{name: options.pop(name) for name in names})
    quiet = click.get_current_context().params.get("quiet", False)

    def progress(line: str) -> None:
        if not quiet:
            click.echo(line, err=True)

    report = quantize(
        model, data, out, QuantizeOptions(**options, preprocessing=settings), force=force, say=progress, quiet=quiet
    )
    for reason in report.broken[:_MOST_LINES]:
        warn(reason)
    if len(report.broken) > _MOST_LINES:
        warn(f"and {len(report.broken) - _MOST_LINES} more pictures that can't be read")
    _print(report, say)
    return {"ok": True, **report.to_dict()}


def _print(report: QuantizeReport, say) -> None:
    before, after, kept = report.before, report.after, report.fidelity
    say(f"{'':22}{'float':>12}{'INT8':>12}{'ratio':>8}")
    say(f"{'size MB':22}{before.size / 1e6:12.2f}{after.size / 1e6:12.2f}{after.size / before.size:8.3f}")
    say(f"{'latency ms':22}{before.latency_ms:12.2f}{after.latency_ms:12.2f}{report.latency_ratio:8.3f}")
    if before.accuracy is not None and after.accuracy is not None:
        say(f"{'accuracy':22}{before.accuracy:12.3f}{after.accuracy:12.3f}")
    if kept is None:
        say("maps: none of the pictures shows anything that could be compared")
    else:
        say(f"{'same top class':22}{'':12}{kept.agreement:12.3f}")
        say(f"{'map: mean':22}{'':12}{kept.mean:12.4f}")
        say(f"{'map: 5th percentile':22}{'':12}{kept.fifth:12.4f}")
        say(f"{'map: worst':22}{'':12}{kept.worst[0][1]:12.4f}  {Path(kept.worst[0][0]).name}")
        for name, value in kept.worst[1:]:
            say(f"{'':34}{value:12.4f}  {Path(name).name}")
        where = "not calibrated with" if report.held_out else "that were calibrated with too (--test-data names others)"
        say(f"maps: correlation with the float model's map of its top class, in f32, over {kept.compared} pictures {where}")
    say(f"latency: median of alternating calls, both explained, in {report.precision}")
    for row in report.tried:
        say("tried " + ", ".join(f"{name} {value}" for name, value in row.items()))
    if report.float_layers:
        say("in float: " + ", ".join(report.float_layers))
    if report.goal_met is not None:
        say(
            "the explanation is kept"
            if report.goal_met
            else "the explanation could not be kept: mean 0.995 and 5th percentile 0.97 at 1.1 times the latency were not reached together"
        )
    for note in report.notes:
        say(f"note: {note}")
    say(f"INT8 model by recipe '{report.recipe}', calibrated with {report.calibrated} pictures: {report.model}")
