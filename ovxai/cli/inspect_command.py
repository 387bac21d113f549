"""`ovxai inspect`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from ovxai.cli.common import command_options, warn
from ovxai.cli.options import insert_options, read_labels


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@insert_options
@command_options
def command(model: Path, say, **options) -> dict:
    """What MODEL is, what would be inserted and where, at what cost. Nothing is written."""
    from ovxai.cli.common import cost_line, summary
    from ovxai.graph.read import read_model
    from ovxai.insertion import insert_with_report
    from ovxai.metadata import ExplainedInfo

    plain = read_model(model)
    for line in _ports(plain):
        say(line)
    known = ExplainedInfo.read(plain)
    if known is not None:
        say("explained already; rt_info says:")
        for key, value in asdict(known).items():
            if value not in ("", None, ()):
                say(f"  {key:18} {value}")
        return {"model": str(model), "explained": True, **asdict(known)}
    done = insert_with_report(plain, **read_labels(options))
    cost = cost_line(done.model)
    for line in [*summary(done), cost.text, *_precision(), "considered, from the scores upwards:"]:
        say(line)
    for candidate in done.candidates:
        say(f"  {candidate}")
    for warning in done.warnings:
        warn(warning)
    return {
        "model": str(model), "explained": False, **asdict(done.info), "why": done.why, "candidates": done.candidates,
        "notes": done.notes, "warnings": done.warnings, "predicted_extra_cost": cost.share,
    }  # fmt: skip


def _ports(model) -> list[str]:
    lines = []
    for word, ports in (("input", model.inputs), ("output", model.outputs)):
        for index, port in enumerate(ports):
            names = ", ".join(sorted(port.get_names())) or "unnamed"
            lines.append(f"{word} {index:<7} {names} {port.get_partial_shape()} {port.get_element_type().get_type_name()}")
    return lines


def _precision() -> list[str]:
    """Warn where the device computes in less than f32 by itself."""
    import openvino as ov

    own = ov.Core().get_property("CPU", "INFERENCE_PRECISION_HINT")
    if own == ov.Type.f32:
        return []
    return [f"precision     this CPU runs in {own.get_type_name()} by default; maps move a little (run --precision f32 is exact)"]
