"""`ovxai demo`: the whole way on what ships with the package."""

from __future__ import annotations

from pathlib import Path

import click

from ovxai.cli.common import Document, Say, command_options


@click.command()
@click.option("-o", "--output", "out", type=click.Path(path_type=Path), default="demo-output", show_default=True,
              metavar="DIR", help="Folder for the explained model and the pictures.")  # fmt: skip
@command_options
def demo(out: Path, say: Say) -> Document:
    """Insert into the shipped ImageNet classifier and explain the shipped photographs."""
    from ovxai.demo import run_demo

    result = run_demo(out)
    say(f"explained model: {result.model}")
    for photo, (label, score) in result.predictions.items():
        say(f"{photo}: {label} {score:.2f}")
    say("pictures:")
    for path in result.pictures:
        say(f"  {path}")
    say(f"all on one page: {result.page}")
    return {
        "ok": True,
        "model": str(result.model),
        "predictions": {photo: {"label": label, "score": score} for photo, (label, score) in result.predictions.items()},
        "pictures": [str(path) for path in result.pictures],
        "report": str(result.page),
    }
