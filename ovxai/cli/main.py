"""`ovxai`: the group that loads a command's module only when that command is asked for."""

from __future__ import annotations

import difflib
import gc
import importlib
from dataclasses import dataclass
from pathlib import Path

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


#: What other tools call it.
ALIASES = {
    "explain": ["run"], "infer": ["run"], "predict": ["run"], "export": ["insert"], "convert": ["insert"], "add": ["insert"],
    "benchmark": ["bench"], "info": ["inspect"], "show": ["inspect"], "check": ["verify"], "test": ["verify"],
    "remove": ["strip"], "int8": ["quantize"], "optimize": ["quantize"], "diff": ["compare"], "evaluate": ["eval"],
}  # fmt: skip


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

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with the nearest commands where there is none of that name, and what a file by itself is missing."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            near = ALIASES.get(name.lower()) or difflib.get_close_matches(name.lower(), COMMANDS, 1, 0.5)
            hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(COMMANDS)}"
            if name.lower() == "help":
                hint = f"ask ovxai --help, or ovxai {next((word for word in args[1:] if word in COMMANDS), 'insert')} --help"
            if Path(name).suffix.lower() in (".xml", ".onnx", ".tflite", ".pb", ".pdmodel", ".pt2"):
                hint = f"a command comes first, such as: ovxai insert {name}"
            ctx.fail(f"there is no command {name!r}; {hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List them without loading any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.line) for name, entry in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="ovxai")
def main() -> None:
    """Visual explanation of deployed OpenVINO models: the saliency map comes out of the model itself."""
    gc.set_threshold(10_000)  # imports make 50 000 objects that stay: looking for garbage among them takes 3 % of a start
