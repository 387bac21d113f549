"""`ovxai insert`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from ovxai.cli.common import command_options, warn
from ovxai.cli.options import insert_options, read_labels


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output-model", "out", type=click.Path(path_type=Path), help="OUT.xml; default: MODEL's stem + _xai.xml beside MODEL."
)
@insert_options
@click.option("--verify/--no-verify", "check", default=False, help="Check the result against the definition before it is kept.")
@click.option("--force", is_flag=True, help="Overwrite OUT.")
@command_options
def command(model: Path, out: Path | None, check: bool, force: bool, say, **options) -> dict:
    """Add explanation outputs to MODEL (.xml, .onnx, .tflite, .pb, .pdmodel, SavedModel folder, .pt2)."""
    from ovxai.cli.common import cost_line, summary
    from ovxai.errors import UnsupportedModelError
    from ovxai.graph.save import check_destination, save_model
    from ovxai.insertion import insert_with_report

    path = check_destination(out or model.with_name(f"{model.stem}_xai.xml"), force=force) if model.exists() else out
    done = insert_with_report(model, **read_labels(options))
    for line in summary(done):
        say(line)
    cost = cost_line(done.model)
    say(cost.text)
    for warning in done.warnings:
        warn(warning)
    document = {"model": str(path), **asdict(done.info), "why": done.why, "notes": done.notes, "warnings": done.warnings}
    document["predicted_extra_cost"] = cost.share
    if check:
        from ovxai.verification import verify

        report = verify(done.model)
        document["verified"] = report.ok
        if not report.ok:
            raise UnsupportedModelError(
                f"{model}: the maps differ from the definition; nothing was written (ovxai verify says more)"
            )
        say("verified against the definition")
    save_model(done.model, path, force=force)
    say(f"explained model: {path}")
    return document
