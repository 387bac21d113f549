"""Words: one name per option whatever the command, and what is said when one is misspelt."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from ovxai.cli.main import ALIASES, COMMANDS, main


def said(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, list(words))
    return done.exit_code, done.output


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("inser", "did you mean insert?"),
        ("Inspekt", "did you mean inspect?"),
        ("explain", "did you mean run?"),
        ("quantise", "did you mean quantize?"),
        ("benchmark", "did you mean bench?"),
        ("xyzzy", "there are insert, run"),
        ("help", "ask ovxai --help"),
        ("model.onnx", "a command comes first, such as: ovxai insert model.onnx"),
    ],
)
def test_a_command_that_there_is_not(word: str, hint: str) -> None:
    code, output = said(word)
    assert code == 2 and f"there is no command {word!r}" in output and hint in output


def test_what_other_tools_say_leads_to_commands_that_there_are() -> None:
    assert {name for names in ALIASES.values() for name in names} <= set(COMMANDS) and not set(ALIASES) & set(COMMANDS)


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["insert", "m.xml", "--method", "d-rise"], "ovxai run MODEL SOURCE -o DIR --method d-rise"),
        (["run", "m.xml", "p.jpg", "-o", "d", "--method", "gradient"], "ovxai insert MODEL --method gradient, then run"),
        (["run", "m.xml", "p.jpg", "-o", "d", "--method", "gradiant"], "is not one of 'rise'"),
    ],
)
def test_a_method_of_another_command_says_which(words: list[str], hint: str) -> None:
    code, output = said(*words)
    assert code == 2 and hint in " ".join(output.split())


@pytest.mark.parametrize(
    ("words", "hint"), [(["insert", "m.xml", "--methd", "x"], "--method"), (["run", "--colourmap"], "--colormap")]
)
def test_an_option_that_there_is_not(words: list[str], hint: str) -> None:
    code, output = said(*words)
    assert code == 2 and "No such option" in output and hint in output


def options() -> dict[str, dict[str, click.Option]]:
    """Command -> the options by each of their names."""
    context = click.Context(main)
    found: dict[str, dict[str, click.Option]] = {}
    for name in COMMANDS:
        command = main.get_command(context, name)
        assert command is not None
        own = [option for option in command.params if isinstance(option, click.Option)]
        found[name] = {word: option for option in own for word in (*option.opts, *option.secondary_opts)}
    return found


SAME = {"size": "input_size", "methods": "method", "precisions": "precision", "layers": "target_layer"}


def test_one_thing_has_one_name() -> None:
    """The first long name of each parameter is the same wherever it is taken; of what goes to -o it says what that is."""
    first: dict[str, set[str]] = {}
    for own in options().values():
        for option in own.values():
            first.setdefault(option.name or "", set()).add(next(word for word in option.opts if word.startswith("--")))
    assert first.pop("out") == {"--output-model", "--output-dir"}
    assert first.pop("classes") == {"--class", "--classes"}  # one or more to look at; those that get maps at all
    assert first.pop("size") == {"--input-size"}
    assert [name for name, words in first.items() if len(words) > 1] == []


def test_one_name_means_one_thing() -> None:
    """But for --output, of insert and inspect an output of the model, elsewhere what -o names, and for --input, which insert
    chooses by name and run feeds by name=file. Where several can be given, the plural means the same."""
    meanings: dict[str, set[str]] = {}
    for own in options().values():
        for word, option in own.items():
            name = option.name or ""
            meanings.setdefault(word, set()).add(SAME.get(name, name))
    assert {word: names for word, names in meanings.items() if len(names) > 1} == {
        "--output": {"output", "out"}, "--input": {"input", "inputs"},
    }  # fmt: skip


def test_former_names_still_work() -> None:
    known = options()
    assert "--size" in known["bench"] and "--output" in known["run"] and "--output" in known["strip"]
