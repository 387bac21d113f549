"""What every command shares: --json, --debug, one-line errors, log lines on stderr."""

from __future__ import annotations

import functools
import json
import logging
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click
import openvino as ov

from ovxai.errors import OvxaiError, UsageError
from ovxai.graph.cost import branch_share
from ovxai.insertion import Insertion
from ovxai.metadata import SALIENCY_MAP


def command_options(function: Callable[..., dict | None]) -> Callable[..., None]:
    """Wrap a command's body: adds --json, --debug and --quiet, turns `OvxaiError` into one line and exit code 1 (2 for wrong usage).

    The body gets `say`, a function that prints a line for people, and returns the document that
    `--json` prints. With `--json` nothing but that document goes to stdout.
    A key `"ok": False` in the document makes the exit code 1.
    """

    @click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout and nothing else there.")
    @click.option("--debug", is_flag=True, help="Show log lines, and the traceback when something fails.")
    @click.option("--quiet", "-q", is_flag=True, help="Print only errors.")
    @functools.wraps(function)
    def wrapped(*args: Any, as_json: bool, debug: bool, quiet: bool, **kwargs: Any) -> None:
        logging.basicConfig(
            stream=sys.stderr, level=logging.DEBUG if debug else logging.WARNING, format="%(levelname)s %(message)s"
        )
        say = _silent if as_json or quiet else click.echo
        try:
            document = function(*args, say=say, **kwargs)
        except OvxaiError as error:
            if debug:
                raise
            _fail(str(error), as_json, 2 if isinstance(error, UsageError) else 1)
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            sys.exit(130)
        except BrokenPipeError:
            sys.exit(1)
        except Exception as error:  # what no rule foresaw still ends in one line
            if debug:
                raise
            _fail(f"unexpected {type(error).__name__}: {' '.join(str(error).split())[:300]} (--debug shows where)", as_json)
        if as_json and document is not None:
            click.echo(json.dumps(document, indent=2, ensure_ascii=False))
        if document is not None and document.get("ok") is False:
            sys.exit(1)

    return wrapped


def _silent(*_args: Any, **_kwargs: Any) -> None:
    return None


def warn(text: str) -> None:
    """A line on stderr, unless only errors are asked for."""
    if not click.get_current_context().params.get("quiet"):
        click.echo(f"Warning: {text}", err=True)


def _fail(message: str, as_json: bool, code: int = 1) -> None:
    line = " ".join(message.split())
    if as_json:
        click.echo(json.dumps({"ok": False, "error": line}))
    click.echo(f"Error: {line}", err=True)
    sys.exit(code)


def color_allowed(stream: Any) -> bool:
    """Whether escape codes may go to `stream`: a terminal, and NO_COLOR (https://no-color.org) not set or empty."""
    return stream.isatty() and not os.environ.get("NO_COLOR")


# What `insert` and `inspect` print about an insertion.


@dataclass(frozen=True)
class CostLine:
    share: float | None
    text: str


def summary(done: Insertion) -> list[str]:
    """task, method, target layer, gate, map size, collapse: one line each."""
    info = done.info
    lines = [
        f"task          {info.task}",
        f"method        {info.method}" + (f" ({info.mask} mask)" if info.mask else ""),
        f"target layer  {', '.join(info.target_layers)}" + (f" [{info.layout}]" if info.layout else ""),
        f"why           {done.why}",
        f"map           {_shape(done.model)}, " + ("u8 scaled to 0..255 per map" if info.scaled else "f32, not scaled"),
        f"classes       {info.classes}" + (f" of {info.num_classes}" if info.num_classes else ""),
        f"collapse      {info.collapse}",
    ]
    return [*lines, *(f"note          {note}" for note in done.notes)]


def cost_line(model: ov.Model) -> CostLine:
    """Predicted extra cost: multiply-adds of the branch over the model's own."""
    share = branch_share(model)
    if share is None:
        return CostLine(None, "extra cost    not predicted (sizes depend on the picture)")
    return CostLine(round(share, 4), f"extra cost    {100 * share:.1f} % more multiply-adds")


def _shape(model: ov.Model) -> str:
    for output in model.outputs:
        if SALIENCY_MAP in output.get_names():
            return str(output.get_partial_shape())
    return "?"
