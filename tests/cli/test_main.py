"""The group of commands: what is listed exists, is described, and costs nothing until it is used."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from helpers.cli import call
from ovxai.cli.main import COMMANDS, main

CLI = Path(sys.modules["ovxai.cli.main"].__file__ or "").parent


def test_commands_are_listed_in_the_order_of_a_users_way() -> None:
    listed = re.findall(r"^  (\w+)  ", call("--help").stdout.partition("Commands:")[2], re.MULTILINE)
    assert (
        listed
        == list(COMMANDS)
        == ["insert", "run", "inspect", "verify", "strip", "quantize", "bench", "eval", "compare", "demo"]
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_every_option_is_described(name: str) -> None:
    assert call(name, "--help").exit_code == 0
    command = main.get_command(click.Context(main), name)
    assert command is not None and command.name == name and command.help
    options = [one for one in command.params if isinstance(one, click.Option)]
    assert [one.name for one in options if not one.help] == []
    assert {"as_json", "debug", "quiet"} <= {one.name for one in options}


def test_one_text_per_shared_option() -> None:
    """Unless the option has values of its own in a command."""
    texts: dict[str, set[str]] = {}
    for name in COMMANDS:
        command = main.get_command(click.Context(main), name)
        assert command is not None
        for option in (one for one in command.params if isinstance(one, click.Option)):
            texts.setdefault(option.opts[-1], set()).add(option.help or "")
    several = {option for option, found in texts.items() if len(found) > 1}
    assert several == {
        "--output", "--output-model", "--precision", "--batch", "--force", "--class", "--threshold", "--opacity",
        "--method", "--target-layer", "--target", "--limit", "--data", "--seed", "--input", "--per",
    }  # fmt: skip


def test_a_command_that_is_not_there() -> None:
    for name, meant in (("evaluate", "eval"), ("explain", "run")):
        done = call(name)
        assert done.exit_code == 2 and f"there is no command '{name}'; did you mean {meant}?" in done.stderr


def test_help_waits_for_no_library() -> None:
    modules = [f"ovxai.cli.{path.stem}" for path in sorted(CLI.glob("*.py")) if path.stem != "__init__"]
    code = f"import sys, {', '.join(modules)}; print([name for name in ('numpy', 'openvino', 'cv2') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
