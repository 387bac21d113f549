"""`ovxai strip`."""

from __future__ import annotations

from pathlib import Path

import click

from ovxai.cli.common import command_options


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("-o", "--output", "out", type=click.Path(path_type=Path), help="OUT.xml; default: MODEL's stem + _plain.xml.")
@click.option("--force", is_flag=True, help="Overwrite OUT.")
@command_options
def command(model: Path, out: Path | None, force: bool, say) -> dict:
    """Give the plain model back from the explained MODEL."""
    from ovxai.graph.read import read_model
    from ovxai.graph.save import save_model
    from ovxai.graph.surgery import strip_model

    plain = strip_model(read_model(model))
    path = save_model(plain, out or model.with_name(f"{model.stem}_plain.xml"), force=force)
    say(f"plain model: {path}")
    return {"model": str(path), "outputs": [sorted(output.get_names()) for output in plain.outputs]}
