"""`ovxai`: the group that loads a command's module only when that command is asked for."""

from __future__ import annotations

import importlib
import importlib.util

import click

from ovxai.version import __version__

#: command -> the line that `ovxai --help` shows; the module is ovxai.cli.<command>.
COMMANDS = {
    "insert": "Add explanation outputs to a model.",
    "run": "Explain images, folders, globs, video files, a camera.",
    "inspect": "What is it, what would be inserted and where, at what cost.",
    "verify": "Check an explained model against the definition, independently.",
    "strip": "Give the plain model back.",
    "quantize": "INT8 by NNCF, explanation kept exact.",
    "bench": "Plain against explained: latency, throughput, memory.",
    "eval": "How good are the maps: metrics on annotated data.",
    "demo": "The whole way on the model and photo that ship with the package.",
}


class LazyGroup(click.Group):
    """A group whose commands are imported on use, so that `--help` and the runner start fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name in COMMANDS if _exists(name)]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS or not _exists(name):
            return None
        return importlib.import_module(f"ovxai.cli.{_module(name)}").command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name]) for name in self.list_commands(ctx)])


def _module(name: str) -> str:
    return f"{name}_command"


def _exists(name: str) -> bool:
    return importlib.util.find_spec(f"ovxai.cli.{_module(name)}") is not None


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="ovxai")
def main() -> None:
    """Visual explanation of deployed OpenVINO models: the saliency map comes out of the model itself."""
