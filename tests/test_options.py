"""The options of an insertion: one table says which method reads which, and what is not read is refused."""

from __future__ import annotations

import inspect
from dataclasses import fields
from itertools import product
from typing import Any

import click
import pytest

import ovxai
from ovxai.cli.insertion_commands import insert as insert_command
from ovxai.cli.insertion_commands import inspect as inspect_command
from ovxai.errors import OptionError, UsageError
from ovxai.find import task as find
from ovxai.methods import registry
from ovxai.options import ALWAYS_READ, METHODS, ON_REQUEST, READS, SEARCHES, TASKS, InsertOptions, options_read

#: Of each option that not every method reads, a value away from its default.
SET: dict[str, Any] = {
    "target_layer": ("features",), "output": 0, "num_classes": 3, "mask": "gaussian", "blocks": 2, "classes": "top:2",
    "map_size": "8x8", "class_activation": "softmax", "levels": "max", "combine": "gradcam", "per": "box",
    "pixel": "1,2", "toward": (1.0, 2.0),
    "memory_budget": 64,
}  # fmt: skip
PAIRS = [(task, method) for method, facts in READS.items() for task in facts.tasks]


def defaults() -> dict[str, object]:
    return {field.name: field.default for field in fields(InsertOptions)}


def test_every_option_stands_in_the_table() -> None:
    read = set().union(*(options_read(task, method) for task, method in PAIRS))
    assert read == set(defaults()) == ALWAYS_READ | set(SET)


@pytest.mark.parametrize(("pair", "name"), list(product(PAIRS, SET)))
def test_a_method_takes_what_it_reads_and_refuses_the_rest(pair: tuple[str, str], name: str) -> None:
    task, method = pair
    options = {"task": task, "method": method, name: SET[name]}
    if name in options_read(task, method):
        if (name, method) == ("class_activation", "gradient"):  # read for boxes, and refused elsewhere
            with pytest.raises(UsageError, match="class activation: of gradients it is read for boxes"):
                InsertOptions(**options)
            options["per"] = "box"
        assert getattr(InsertOptions(**options), name) == SET[name]
        return
    with pytest.raises(UsageError) as refusal:
        InsertOptions(**options)
    line = str(refusal.value)
    assert line.startswith(f"{name.replace('_', ' ')}: not read by {method}") and "\n" not in line
    readers = {other for one, other in PAIRS if name in options_read(one, other)}
    assert all(reader in line for reader in readers) and isinstance(refusal.value, OptionError)


def test_what_no_method_of_a_task_reads_is_refused_before_the_method_is_known() -> None:
    with pytest.raises(UsageError, match="levels: not read by the methods for classification, only by det-class-probability-map"):
        InsertOptions(task="classification", levels="max")
    assert InsertOptions(task="classification", blocks=2).blocks == 2
    assert InsertOptions(levels="max").levels == "max"


def test_a_default_that_is_spelled_out_is_not_refused() -> None:
    assert InsertOptions(method="reciprocam", levels="mean", blocks=1, mask="auto").given == ("method",)


def test_a_method_of_another_task() -> None:
    with pytest.raises(UsageError, match="method: reciprocam explains classification and regression, not detection"):
        InsertOptions(task="detection", method="reciprocam")
    for task in TASKS:
        assert InsertOptions(task=task, method="activation-map").task == task


def test_blocks_beside_named_layers() -> None:
    with pytest.raises(UsageError, match="blocks: target_layer= names the gated tensors already"):
        InsertOptions(blocks=2, target_layer=("features",))


def test_every_task_is_searched_for_and_every_method_built() -> None:
    """The table of what is read, that of the searches and that of the builders name the same tasks and methods."""
    assert set(SEARCHES) == set(find.TASKS) == set(registry.METHODS)
    assert {task for task, _ in PAIRS} == set(find.TASKS)
    assert set(METHODS[1:]) == set(READS) >= set(ON_REQUEST)


def test_the_keywords_of_insert_are_the_options() -> None:
    keywords = {name: one for name, one in inspect.signature(ovxai.insert).parameters.items() if name != "model"}
    assert all(one.kind is inspect.Parameter.KEYWORD_ONLY for one in keywords.values())
    assert {name: one.default for name, one in keywords.items() if name != "example_input"} == defaults()
    assert "example_input" in keywords


@pytest.mark.parametrize(("command", "without"), [(insert_command, set()), (inspect_command, {"verify"})])
def test_the_command_line_has_the_same_options_and_defaults(command: click.Command, without: set[str]) -> None:
    """Click's own options aside, whose names are no options of an insertion."""
    given = command.make_context(command.name, ["model.xml"]).params
    names = set(defaults()) - without
    assert set(given) - names <= {"model", "out", "split", "force", "as_json", "debug", "quiet"}
    assert {name: given[name] for name in names} == {name: value for name, value in defaults().items() if name in names}
