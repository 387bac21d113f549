"""`ovxai bench`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ovxai.cli.common import command_options
from ovxai.cli.options import OPEN_SIZE, with_options

if TYPE_CHECKING:
    from ovxai.bench import BenchReport


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--device", default="CPU", show_default=True)
@click.option(
    "--precision", type=click.Choice(["auto", "f32", "f16", "bf16"]), default="auto", show_default=True,
    help="What to compute in; auto: as the device likes.",
)  # fmt: skip
@click.option("--calls", type=click.IntRange(1), default=30, show_default=True, help="Alternating pairs of calls.")
@click.option(
    "--seconds",
    type=click.FloatRange(0, min_open=True),
    default=60.0,
    show_default=True,
    help="Stop earlier after this time.",
)
@click.option("--batch", type=click.IntRange(1), default=1, show_default=True, help="Where the model leaves it open.")
@with_options(OPEN_SIZE)
@click.option("--throughput/--no-throughput", default=True, show_default=True)
@click.option("--memory/--no-memory", default=True, show_default=True)
@command_options
def command(model: Path, say, **options) -> dict:
    """Plain against explained: latency, throughput, file sizes, peak memory of the explained MODEL.xml."""
    from ovxai.bench import bench

    report = bench(model, **options)
    _print(report, say)
    return report.to_dict()


def _print(report: BenchReport, say) -> None:
    plain, explained = report.plain, report.explained
    say(
        f"{report.model}: input {list(report.input_shape)}, {report.device} in {report.precision}, collapse {report.collapse or 'unknown'}"
    )
    say(f"{'':16}{'plain':>12}{'explained':>12}{'ratio':>8}")
    rows = [
        ("latency ms", plain.latency_ms, explained.latency_ms, report.ratio),
        ("pictures/s", plain.throughput, explained.throughput, report.throughput_ratio),
        ("peak memory MB", plain.memory_mb, explained.memory_mb, report.memory_ratio),
        (
            ".xml KB",
            plain.xml_bytes / 1024,
            explained.xml_bytes / 1024,
            explained.xml_bytes / plain.xml_bytes,
        ),
        (
            ".bin KB",
            plain.bin_bytes / 1024,
            explained.bin_bytes / 1024,
            explained.bin_bytes / max(plain.bin_bytes, 1),
        ),
    ]
    for title, own, ours, ratio in rows:
        if own is not None and ours is not None:
            say(f"{title:16}{own:12.2f}{ours:12.2f}{ratio:8.3f}")
    say(f"ratio of latencies: median over {report.calls} alternating pairs of calls")
