"""`ovxai verify` and `ovxai bench`: an explained model against the definition of its maps, and against the plain one."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ovxai.cli.common import Document, Say, command_options, table
from ovxai.cli.options import DEVICE, MODEL, SIZE

if TYPE_CHECKING:
    from ovxai.bench import BenchReport
    from ovxai.verification import PictureRow, VerifyReport

MARKS = {True: "ok", False: "FAILED", None: "note"}


@click.command()
@MODEL
@click.option("--image", type=click.Path(path_type=Path), help="A picture to verify on.  [default: smooth noise]")
@click.option("--samples", type=click.IntRange(1), default=1, show_default=True, metavar="N", help="How many pictures.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the noise.")
@SIZE
@click.option("--plain", type=click.Path(path_type=Path), metavar="MODEL",
              help="The model it was made from: compare outputs and metadata with that file too.")  # fmt: skip
@click.option("--precision", type=click.Choice(["bf16", "f16"]),
              help="Also measure how well the maps come out when the CPU computes in it.")  # fmt: skip
@command_options
def verify(
    model: Path,
    image: Path | None,
    samples: int,
    seed: int,
    size: tuple[int, int] | None,
    plain: Path | None,
    precision: str | None,
    say: Say,
) -> Document:
    """Check the explained MODEL.xml against the definition, one masked copy at a time, in f32.

    Exits 1 when a map is further from its definition than the tolerance, or a check fails.
    """
    from ovxai.child import Child
    from ovxai.runtime.feed.images import read_image
    from ovxai.verification import verify as check

    picture = None if image is None else read_image(image)
    what = f"{model}: its verification, on the CPU in f32{' and ' + precision if precision else ''},"
    with Child("ovxai.verification") as apart:
        report = apart.call(
            what, check, model, picture, seed, samples=samples, size=size, plain=plain, precision=precision, progress=_progress()
        )  # fmt: skip
    on = "on smooth noise (--image takes a picture)" if image is None else f"on {image}"
    for line in _lines(report, on):
        say(line)
    return {"model": str(model), **report.to_dict()}


def _lines(report: VerifyReport, on: str) -> list[str]:
    channels, *size = report.map_shape
    kind = "scaled u8" if report.scaled else "raw f32"
    verdict = "holds" if report.ok else "DOES NOT HOLD"
    return [
        f"{report.method}: {channels} maps of {' x '.join(map(str, size))}, {kind}, compared in f32 {on}",
        *(f"  picture {row.picture}, batch {row.batch}: {_row(row, report)}" for row in report.rows),
        *(f"  {check.name}: {MARKS[check.ok]}: {check.detail}" for check in report.checks),
        *(f"  note: {note}" for note in report.notes),
        f"{verdict}: largest deviation {_amount(report.deviation, report)}, {report.units:.3g} of the tolerance",
    ]


def _row(row: PictureRow, report: VerifyReport) -> str:
    if row.detail:
        return row.detail
    where = "" if row.worst_class is None or not row.deviation else f" (map {row.worst_class}, cell {row.worst_cell})"
    left = f", {row.left_out} cells left out where the definition jumps" if row.left_out else ""
    edge = f", {row.on_edge} cells on the edge between two levels" if row.on_edge else ""
    return f"{_amount(row.deviation, report)} off, {row.tolerance:.3g} allowed{where}{left}{edge}"


def _amount(value: float, report: VerifyReport) -> str:
    return f"{value:.0f} {'grey level' if value == 1 else 'grey levels'}" if report.scaled else f"{value:.3g}"


def _progress() -> Callable[[int, int], None] | None:
    """A counter on stderr for people who wait at a terminal; None elsewhere."""
    return _show if sys.stderr.isatty() else None


def _show(done: int, total: int) -> None:
    end = "\n" if done == total else ""
    if done % 10 == 0 or end:
        click.echo(f"\rmasks {done}/{total}", nl=bool(end), err=True)


@click.command()
@MODEL
@DEVICE
@click.option("--precision", type=click.Choice(["auto", "f32", "f16", "bf16"]), default="auto", show_default=True,
              help="What the device computes in; auto: as it likes, and in f32 as well.")  # fmt: skip
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
    from ovxai.child import Child

    with Child("ovxai.bench") as apart:
        report = apart.call(
            f"{model}: its measurement, on {device} in precision {precision},", measure,
            model, device=device, precision=precision, calls=calls, seconds=seconds, batch=batch, size=size,
            throughput=throughput, memory=memory,
        )  # fmt: skip
    for line in _figures(report):
        say(line)
    return report.to_dict()


def _figures(report: BenchReport) -> list[str]:
    plain, explained, exact = report.plain, report.explained, report.f32
    rows = [
        ("latency ms", plain.latency_ms, explained.latency_ms),
        *([("latency ms, f32", exact.plain_ms, exact.explained_ms)] if exact else []),
        ("pictures/s", plain.throughput, explained.throughput),
        ("peak memory MB", plain.memory_mb, explained.memory_mb),
        (".xml KB", plain.xml_bytes / 1024, explained.xml_bytes / 1024),
        (".bin KB", plain.bin_bytes / 1024, explained.bin_bytes / 1024),
    ]
    second = "explained" if report.head_ms is None else "plain part"
    found = [(title, own, ours) for title, own, ours in rows if own is not None and ours is not None]
    cells = [(title, f"{own:.2f}", f"{ours:.2f}", f"{ours / own:.3f}" if own else "") for title, own, ours in found]
    where = f"{report.device} in {report.precision}" + (f", collapse {report.collapse}" if report.collapse else "")
    pairs = [(report.precision, report.ratio), *([("f32", exact.ratio)] if exact else [])]
    paired = ", ".join(f"{ratio:.3f} in {precision}" for precision, ratio in pairs)
    return [
        f"{report.model}: input {list(report.input_shape)}, {where}",
        *table([("", "plain", second, "ratio"), *cells]),
        f"latencies pair by pair, which noise moves less: {paired} (median of {report.calls} pairs of calls beside each other)",
        *([] if report.head_ms is None else [f"the head alone, for a map that is asked for: {report.head_ms:.2f} ms"]),
    ]
