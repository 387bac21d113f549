"""`ovxai verify`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ovxai.cli.common import command_options
from ovxai.cli.options import OPEN_SIZE, with_options
from ovxai.errors import SourceError

if TYPE_CHECKING:
    import numpy as np

    from ovxai.verification import VerifyReport

MARKS = {True: "ok", False: "FAILED", None: "note"}


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--image", type=click.Path(path_type=Path), help="A picture to verify on; default: smooth noise.")
@click.option("--samples", type=click.IntRange(1), default=1, show_default=True, help="How many pictures.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the noise.")
@with_options(OPEN_SIZE)
@click.option(
    "--plain",
    type=click.Path(path_type=Path),
    help="The model it was made from: compare outputs and metadata with that file too.",
)
@command_options
def command(
    model: Path,
    image: Path | None,
    samples: int,
    seed: int,
    size: tuple[int, int] | None,
    plain: Path | None,
    say,
) -> dict:
    """Check the explained MODEL.xml against the definition, one masked copy at a time, in f32.

    Exits 1 when a map is further from its definition than the tolerance, or a check fails.
    """
    from ovxai.verification import verify

    picture = None if image is None else _decode(image)
    report = verify(model, picture, seed, samples=samples, size=size, plain=plain, progress=_progress())
    _print(report, say)
    return {"model": str(model), **report.to_dict()}


def _print(report: VerifyReport, say) -> None:
    channels, *size = report.map_shape
    say(
        f"{report.method}: {channels} maps of {' x '.join(map(str, size))}, {'scaled u8' if report.scaled else 'raw f32'}, compared in f32"
    )
    for row in report.rows:
        where = "" if row.worst_class is None or not row.deviation else f" (map {row.worst_class}, cell {row.worst_cell})"
        left = f", {row.left_out} cells left out where the definition jumps" if row.left_out else ""
        left += f", {row.on_edge} cells on the edge between two levels" if row.on_edge else ""
        words = row.detail or f"{_amount(row.deviation, report)} off, {row.tolerance:.3g} allowed{where}{left}"
        say(f"  picture {row.picture}, batch {row.batch}: {words}")
    for check in report.checks:
        say(f"  {check.name}: {MARKS[check.ok]}: {check.detail}")
    for note in report.notes:
        say(f"  note: {note}")
    verdict = "holds" if report.ok else "DOES NOT HOLD"
    say(f"{verdict}: largest deviation {_amount(report.deviation, report)}, {report.units:.3g} of the tolerance")


def _amount(value: float, report: VerifyReport) -> str:
    return f"{value:.0f} {'grey level' if value == 1 else 'grey levels'}" if report.scaled else f"{value:.3g}"


def _decode(path: Path) -> np.ndarray:
    import cv2
    import numpy as np

    if not path.is_file():
        raise SourceError(f"{path}: no such picture")
    data = np.frombuffer(path.read_bytes(), np.uint8)
    picture = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if picture is None:
        raise SourceError(f"{path}: not a picture that OpenCV can read")
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def _progress():
    """A counter on stderr for people who wait at a terminal; None elsewhere."""
    if not sys.stderr.isatty():
        return None

    def show(done: int, total: int) -> None:
        end = "\n" if done == total else ""
        if done % 10 == 0 or end:
            click.echo(f"\rmasks {done}/{total}", nl=bool(end), err=True)

    return show
