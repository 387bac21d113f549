"""What every command shares: --json, --debug, --quiet, one-line errors, log lines on stderr."""

from __future__ import annotations

import functools
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TextIO

import click

from ovxai.errors import OvxaiError, UsageError, on_command_line
from ovxai.text import printable, to_json

#: What --json prints: plain JSON values by name. A key "ok" that is False makes the exit code 1.
Document = Mapping[str, object]
#: Lines about broken files on the screen; the document of --json has them all.
MOST_LINES = 20


class Say(Protocol):
    """Prints a line for people on stdout, or nowhere with --json and --quiet."""

    def __call__(self, message: str, /) -> None:
        """Print `message`."""
        ...


class Refused(Exception):
    """An error of which --json tells more than its line."""

    def __init__(self, error: OvxaiError, document: Document) -> None:
        super().__init__(str(error))
        self.error = error
        self.document = document


def command_options(function: Callable[..., Document]) -> Callable[..., None]:
    """Wrap a command's body: adds --json, --debug and --quiet, turns an `OvxaiError` into one line and exit code 1.

    Wrong usage is exit code 2. The body gets `say` and returns the document that `--json` prints.
    With `--json` nothing but that document goes to stdout.
    """

    @click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout and nothing else there.")
    @click.option("--debug", is_flag=True, help="Show log lines, and the traceback when something fails.")
    @click.option("--quiet", "-q", is_flag=True, help="Print only errors.")
    @functools.wraps(function)
    @on_command_line()
    def wrapped(*args: object, as_json: bool, debug: bool, quiet: bool, **kwargs: object) -> None:
        _log_to_stderr(logging.DEBUG if debug else logging.WARNING)
        say: Say = _silent if as_json or quiet else _say
        try:
            document = function(*args, say=say, **kwargs)
        except (OvxaiError, Refused) as raised:
            error = raised.error if isinstance(raised, Refused) else raised
            if debug:
                raise error from error.__cause__
            more = raised.document if isinstance(raised, Refused) else {}
            _fail(str(error), as_json, 2 if isinstance(error, UsageError) else 1, more)
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            sys.exit(130)
        except BrokenPipeError:
            sys.exit(1)
        except Exception as error:  # what no rule foresaw still ends in one line
            if debug:
                raise
            _fail(f"unexpected {type(error).__name__}: {' '.join(str(error).split())[:300]} (--debug shows where)", as_json)
        else:
            if as_json:
                click.echo(to_json(document, indent=2))
            if document.get("ok") is False:
                sys.exit(1)

    return wrapped


def examples(*lines: str) -> str:
    """The end of a command's --help: what people type most, one line each as it stands."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


class _OneLine(logging.Formatter):
    """Log lines as they may go to a terminal; tracebacks keep their lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # logging's own name
        """The line of a record."""
        return printable(super().formatMessage(record))


def _log_to_stderr(level: int) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine("%(levelname)s %(message)s"))
    logging.basicConfig(handlers=[handler], level=level)


def _say(message: str, /) -> None:
    click.echo(printable(message))


def _silent(_message: str, /) -> None:
    return None


def asked(option: str) -> bool:
    """Whether one of the options that every command has was given: "as_json", "debug" or "quiet"."""
    return bool(click.get_current_context().params.get(option))


def warn(text: str) -> None:
    """A warning on stderr, unless only errors are asked for."""
    if not asked("quiet"):
        click.echo(f"Warning: {printable(text)}", err=True)


def note(text: str) -> None:
    """A remark on stderr, unless only errors are asked for."""
    if not asked("quiet"):
        click.echo(f"note: {printable(text)}", err=True)


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of cells under each other with two spaces between: the first column to the left, the others to the right."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows)]
    return [
        "  ".join(f"{cell:<{w}}" if not i else f"{cell:>{w}}" for i, (cell, w) in enumerate(zip(row, widths))).rstrip()
        for row in rows
    ]


def complain(reasons: Sequence[str], listed: str) -> None:
    """Errors that do not end the work, on stderr. listed: where the rest of a long list stands."""
    for reason in reasons[:MOST_LINES]:
        click.echo(f"Error: {_line(reason)}", err=True)
    if len(reasons) > MOST_LINES:
        click.echo(f"Error: and {len(reasons) - MOST_LINES} more; {listed} lists them", err=True)


def _fail(message: str, as_json: bool, code: int = 1, more: Document | None = None) -> None:
    if as_json:
        click.echo(to_json({"ok": False, "error": " ".join(message.split()), **(more or {})}, indent=2 if more else None))
    click.echo(f"Error: {_line(message)}", err=True)
    sys.exit(code)


def _line(message: str) -> str:
    return printable(" ".join(message.split()))


def color_allowed(stream: TextIO) -> bool:
    """Whether escape codes may go to `stream`: a terminal, and NO_COLOR (https://no-color.org) not set or empty."""
    return stream.isatty() and not os.environ.get("NO_COLOR")
