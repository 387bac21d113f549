"""Write docs/reference.md, every command and every public name of `ovxai`, from the code itself.

    python scripts/make_reference.py            # writes it
    python scripts/make_reference.py --check    # exits 1 where the file is not what would be written

The tests check it, so what `--help` and docstrings say is changed there and written again.
"""

from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Iterator
from enum import Enum
from pathlib import Path

import click

import ovxai
from ovxai.cli.main import COMMANDS, main

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference.md"
HEAD = """# Reference

Written from the code by `python scripts/make_reference.py`: what `--help` and the docstrings say.
[Commands](#commands), [Python](#python), [errors](#errors).
Exit code 0: fine; 1: the work failed, or some pictures did; 2: wrong usage.
"""


def text() -> str:
    """The page."""
    return "\n".join([HEAD, "## Commands", "", *_commands(), "## Python", "", *_names(), "## Errors", "", *_errors()])


def _commands() -> Iterator[str]:
    context = click.Context(main)
    for name in COMMANDS:
        command = main.get_command(context, name)
        assert command is not None
        arguments = [_argument(part) for part in command.params if isinstance(part, click.Argument)]
        yield from (f"### ovxai {name}", "", _escaped(inspect.cleandoc(command.help or "")), "")
        if command.epilog:
            yield from ("```sh", *(line.strip() for line in command.epilog.splitlines()[2:]), "```", "")
        yield from (f"`ovxai {name} {' '.join([*arguments, '[OPTIONS]'])}`", "", "| option | |", "| --- | --- |")
        for part in command.params:
            if isinstance(part, click.Option):
                yield f"| {_option(part)} | {_escaped(' '.join((part.help or '').split()))}{_default(part)} |"
        yield ""


def _argument(argument: click.Argument) -> str:
    return (argument.metavar or (argument.name or "").upper()) + ("..." if argument.nargs == -1 and not argument.metavar else "")


def _option(option: click.Option) -> str:
    on = ", ".join(f"`{word}`" for word in sorted(option.opts, key=len))
    off = "".join(f", `{word}`" for word in option.secondary_opts)
    return f"{on}{off}" + ("" if option.is_flag else f" {_escaped(_value(option))}")


def _value(option: click.Option) -> str:
    if option.metavar:
        return option.metavar
    kind = option.type
    if isinstance(kind, click.Choice):
        return "\\|".join(str(choice.value if isinstance(choice, Enum) else choice) for choice in kind.choices)
    if isinstance(kind, (click.IntRange, click.FloatRange)) and kind.min is not None:
        return f"{kind.min:g}..{'' if kind.max is None else f'{kind.max:g}'}"
    return {"integer": "INTEGER", "float": "NUMBER", "path": "PATH"}.get(kind.name, "TEXT")


def _default(option: click.Option) -> str:
    value = option.default
    if not option.show_default or not isinstance(value, (bool, int, float, str)):
        return ""
    if option.is_flag:
        value = next(iter(option.opts if value else option.secondary_opts), "no")
    return f" Default: {_escaped(str(value))}."


def _escaped(words: str) -> str:
    """As text of a cell: nothing in it is taken for a column, a tag, emphasis."""
    words = words.replace("\\|", "|").replace("|", "\\|").replace("<", "&lt;")
    return words.replace("*", "\\*").replace("_", "\\_")


def _names() -> Iterator[str]:
    for name in ovxai.__all__:
        thing = getattr(ovxai, name)
        if name == "__version__" or (isinstance(thing, type) and issubclass(thing, ovxai.OvxaiError)):
            continue
        yield from (f"### ovxai.{name}", "", "```python", _signature(name, thing), "```", "", *_said(thing))
        if not isinstance(thing, type):
            continue
        if issubclass(thing, Enum):
            yield from (", ".join(f"`{member.name}`" for member in thing), "")
            continue
        for method, function in _methods(thing):
            call = f"property {method}" if isinstance(function, property) else _signature(method, function)
            yield from (f"#### {name}.{method}", "", "```python", call, "```", "", *_said(function))


def _signature(name: str, thing: object) -> str:
    if not callable(thing):
        return name
    if isinstance(thing, type) and (
        issubclass(thing, Enum) or (hasattr(thing, "__dataclass_fields__") and "__init__" not in vars(thing))
    ):
        return f"class {name}"
    own = inspect.signature(thing)
    given = [part for part in own.parameters.values() if part.name not in ("self", "cls")]
    parts = [_parameter(part) for part in given]
    kinds = [part.kind for part in given]
    if inspect.Parameter.KEYWORD_ONLY in kinds:
        parts.insert(kinds.index(inspect.Parameter.KEYWORD_ONLY), "*")
    back = "" if isinstance(thing, type) or own.return_annotation is inspect.Signature.empty else f" -> {own.return_annotation}"
    line = f"{name}({', '.join(parts)}){back}"
    return line if len(line) <= 100 else "\n".join([f"{name}(", *(f"    {part}," for part in parts), f"){back}"])


def _parameter(part: inspect.Parameter) -> str:
    kind = "" if part.annotation is inspect.Parameter.empty else f": {part.annotation}"
    value = str(part.default) if isinstance(part.default, Enum) else repr(part.default)
    return part.name + kind + ("" if part.default is inspect.Parameter.empty else f" = {value}")


def _methods(thing: type) -> Iterator[tuple[str, object]]:
    """Public methods and properties of a class, its own and those of the package's classes below it."""
    seen = set()
    for base in thing.__mro__:
        if base.__module__.partition(".")[0] != "ovxai":
            continue
        for name, value in vars(base).items():
            public = not name.startswith("_") or name == "__call__"
            if public and name not in seen and (inspect.isfunction(value) or isinstance(value, (property, classmethod))):
                seen.add(name)
                yield name, value.__func__ if isinstance(value, classmethod) else value


def _said(thing: object) -> list[str]:
    """The docstring, of classes with that of their `__init__`, as it stands in the code."""
    docs = [inspect.getdoc(thing)]
    if isinstance(thing, type) and "__init__" in vars(thing):
        docs.append(inspect.getdoc(vars(thing)["__init__"]))
    said = "\n\n".join(doc for doc in docs if doc)
    return ["```text", said, "```", ""] if said else []


def _errors() -> Iterator[str]:
    yield from ("| error | also a | when |", "| --- | --- | --- |")
    for name in ovxai.__all__:
        thing = getattr(ovxai, name)
        if isinstance(thing, type) and issubclass(thing, ovxai.OvxaiError):
            also = ", ".join(f"`{base.__name__}`" for base in thing.__mro__[1:] if base not in (Exception, BaseException, object))
            yield f"| `{name}` | {also} | {_escaped(' '.join((inspect.getdoc(thing) or '').split()))} |"
    yield ""


def run(argv: list[str] | None = None) -> int:
    """Write or check the page; 1 where it is out of date."""
    parser = argparse.ArgumentParser(prog="make_reference.py", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where the page is out of date")
    fresh = text()
    if not parser.parse_args(argv).check:
        PAGE.write_text(fresh, encoding="utf-8")
    elif not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != fresh:
        print(f"{PAGE.name}: out of date; python {Path(__file__).name} writes it anew", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(run())
