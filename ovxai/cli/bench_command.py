"""`ovxai bench`: what the explanation costs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ovxai.cli.common import Document, Say, command_options
from ovxai.cli.options import DEVICE, MODEL, SIZE

if TYPE_CHECKING:
    from ovxai.bench import BenchReport


@click.command()
@MODEL
@DEVICE
@click.option("--precision", type=click.Choice(["auto", "f32", "f16", "bf16"]), default="auto", show_default=True,
              help="What the device computes in; auto: as it likes.")  # fmt: skip
@click.option("--calls", type=click.IntRange(1), default=30, show_default=True, metavar="N", help="Alternating pairs of calls.")
@click.option(
    "--seconds", type=click.FloatRange(0, min_open=True), default=60.0, show_default=True, help="Stop earlier after this time."
)
@click.option("--batch", type=click.IntRange(1), default=1, show_default=True, metavar="N",
              help="Pictures per inference, where the model leaves that open.")  # fmt: skip
@SIZE
@click.option("--throughput/--no-throughput", default=True, show_default=True, help="Measure pictures per second too.")
@click.option(
    "--memory/--no-memory", default=True, show_default=True, help="Measure the peak memory of a process of its own too."
)
@command_options
def bench(
    model: Path, device: str, precision: str, calls: int, seconds: float, batch: int, size: tuple[int, int] | None,
    throughput: bool, memory: bool, say: Say,
) -> Document:  # fmt: skip
    """Plain against explained: latency, throughput, file sizes, peak memory of the explained MODEL.xml."""
    from ovxai.bench import bench as measure

    report = measure(
        model, device=device, precision=precision, calls=calls, seconds=seconds, batch=batch, size=size,
        throughput=throughput, memory=memory,
    )  # fmt: skip
    for line in _lines(report):
        say(line)
    return report.to_dict()


def _lines(report: BenchReport) -> list[str]:
    plain, explained = report.plain, report.explained
    rows = [
        ("latency ms", plain.latency_ms, explained.latency_ms, report.ratio),
        ("pictures/s", plain.throughput, explained.throughput, report.throughput_ratio),
        ("peak memory MB", plain.memory_mb, explained.memory_mb, report.memory_ratio),
        (".xml KB", plain.xml_bytes / 1024, explained.xml_bytes / 1024, explained.xml_bytes / plain.xml_bytes),
        (".bin KB", plain.bin_bytes / 1024, explained.bin_bytes / 1024, explained.bin_bytes / max(plain.bin_bytes, 1)),
    ]
    where = f"{report.device} in {report.precision}, collapse {report.collapse or 'unknown'}"
    return [
        f"{report.model}: input {list(report.input_shape)}, {where}",
        f"{'':16}{'plain':>12}{'explained':>12}{'ratio':>8}",
        *(
            f"{title:16}{own:12.2f}{ours:12.2f}{ratio:8.3f}"
            for title, own, ours, ratio in rows
            if own is not None and ours is not None
        ),
        f"ratio of latencies: median over {report.calls} alternating pairs of calls",
    ]
