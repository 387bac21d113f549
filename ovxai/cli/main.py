"""`ovxai`: the group that loads a command's module only when that command is asked for."""

from __future__ import annotations

import importlib
from dataclasses import dataclass

import click

from ovxai.version import __version__


@dataclass(frozen=True)
class Entry:
    """A command before it is loaded: its module, its line in `ovxai --help`, and what it is called there, if not by its name."""

    module: str
    line: str
    function: str = ""


COMMANDS = {
    "insert": Entry("insertion_commands", "Add explanation outputs to a model."),
    "run": Entry("run_command", "Explain images, folders, globs, video files, a camera."),
    "inspect": Entry("insertion_commands", "What is it, what would be inserted and where, at what cost."),
    "verify": Entry("checking_commands", "Check an explained model against the definition, independently."),
    "strip": Entry("insertion_commands", "Give the plain model back."),
    "quantize": Entry("quantize_command", "INT8 by NNCF, explanation kept exact."),
    "bench": Entry("checking_commands", "Plain against explained: latency, throughput, memory."),
    "eval": Entry("eval_command", "How good are the maps: figures on annotated data, and better than what.", "evaluate"),
    "compare": Entry("compare_command", "Two models, methods or precisions on the same pictures, side by side."),
    "demo": Entry("run_command", "The whole way on the model and photo that ship with the package."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported on use, so that `--help` and the runner start fast."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """Names in the order of `COMMANDS`."""
        return list(COMMANDS)

    def get_command(self, _ctx: click.Context, name: str) -> click.Command | None:
        """The command called `name`; None where there is none."""
        if name not in COMMANDS:
            return None
        entry = COMMANDS[name]
        found = getattr(importlib.import_module(f"ovxai.cli.{entry.module}"), entry.function or name)
        return found if isinstance(found, click.Command) else None

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List them without loading any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.line) for name, entry in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="ovxai")
def main() -> None:
    """Visual explanation of deployed OpenVINO models: the saliency map comes out of the model itself."""
