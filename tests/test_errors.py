"""Messages: options by their names on the command line, keywords for callers in Python, the same message for both."""

from __future__ import annotations

import ast
import inspect
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import ovxai
from helpers import classifiers as toys
from helpers.cli import call
from ovxai.child import Child
from ovxai.errors import COMMAND_LINE_ONLY, OptionError, advice, on_command_line
from ovxai.evaluation.evaluate import evaluate
from ovxai.evaluation.session import Ledger
from ovxai.labels import given_labels
from ovxai.quantization.quantize import quantize

ROOT = Path(ovxai.__file__).parent
TAKEN = (ovxai.insert, ovxai.Explainer.__init__, ovxai.ExplainConfig.__init__, ovxai.save_model, ovxai.Explanation.save)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("give --num-classes", "give num_classes="),
        ("give --num-classes 5", "give num_classes=5"),
        ("--num-classes 80 or 79 says which", "num_classes=80 or 79 says which"),
        ("--task and --target-layer settle it", "task= and target_layer= settle it"),
        ("choose another --method to explain classes", "choose another method= to explain classes"),
        ("for --target-layer or --method activation-map: a", 'for target_layer= or method="activation-map": a'),
        ("leave out --per box", 'leave out per="box"'),
        ("give --labels FILE", "give labels=FILE"),
        ("or give --labels-offset 1, where", "or give labels_offset=1, where"),
        ("(--labels-offset N where", "(labels_offset=N where"),
        ("insert with --feature-map, or", "insert with feature_map=True, or"),
        ("that was inserted with --raw.", "that was inserted with scale=False."),
        ("--no-self-check leaves this out", "self_check=False leaves this out"),
        ("--output=logits:INDEX; if", 'output="logits:INDEX"; if'),
        ("or --output=1", "or output=1"),
        ("with --classes top:5)", 'with classes="top:5")'),
        ("with --classes 0,3)", 'with classes="0,3")'),
        ("predictions or all, or --class", "predictions or all, or classes="),
        ("give it: --input size=FILE (a picture)", 'give it: inputs={"size": FILE} (a picture)'),
        ("give another -o, or --force to", "give another path, or force=True to"),
        ("take them off with: ovxai strip", "take them off with: ovxai.strip"),
        ("(--debug shows where)", "(--debug shows where)"),
        (
            "my pics/-o/a.png: no such file; out/--force/b.png, -o.png",
            "my pics/-o/a.png: no such file; out/--force/b.png, -o.png",
        ),
        ("a well-kept --, a - and non-options", "a well-kept --, a - and non-options"),
    ],
)
def test_options_are_keywords_in_python(written: str, read: str) -> None:
    assert advice(written) == read and str(OptionError(written)) == read
    with on_command_line():
        assert advice(written) == written and str(OptionError(written)) == written
    assert str(OptionError(written)) == read


def messages() -> Iterator[tuple[str, str]]:
    """(place, text) of the package's strings that name an option, without docstrings; what is filled in stands as 7."""
    for path in sorted(ROOT.rglob("*.py")):
        if "cli" in path.relative_to(ROOT).parts or path.name == "errors.py":
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        told = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
        for node in ast.walk(tree):
            if id(node) in told or id(node) in inside:
                continue
            if isinstance(node, ast.JoinedStr):
                text = "".join(str(part.value) if isinstance(part, ast.Constant) else "7" for part in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                text = node.value
            else:
                continue
            if re.search(r"(?<![\w-])--[a-z]", text) and "{" not in text:  # no style sheets
                yield f"{path.relative_to(ROOT)}:{node.lineno}", text


def test_every_keyword_that_a_message_advises_is_taken_somewhere() -> None:
    keywords = {
        name for function in (*TAKEN, quantize, evaluate, Ledger.begin) for name in inspect.signature(function).parameters
    }
    found = list(messages())
    assert len(found) > 40
    wrong = []
    for place, text in found:
        shown = advice(text)
        left = set(re.findall(r"(?<![\w-])--(?:no-)?([a-z][a-z-]*[a-z])", shown)) - COMMAND_LINE_ONLY
        unknown = set(re.findall(r"\b([a-z_]+)=", shown)) - keywords
        bare = re.findall(r"\b(?:method|task|per|combine)= (?:activation-map|gradient|regression|product|box|class)\b", shown)
        wrong += [f"{place}: {shown}"] if left or unknown or bare else []
    assert not wrong, "\n".join(wrong)


def test_one_fault_is_told_in_the_words_of_whoever_made_it(tmp_path: Path) -> None:
    model = toys.cnn()
    with pytest.raises(OptionError, match=r"labels offset: neither labels= nor rt_info names the classes; give labels=FILE"):
        ovxai.insert(model, labels_offset=1, probe=False)
    path = ovxai.save_model(model, tmp_path / "model.xml")
    done = call("insert", path, "--labels-offset", "1", "--no-probe")
    assert "neither --labels nor rt_info names the classes; give --labels FILE" in done.stderr
    with pytest.raises(ovxai.OutputError, match="give another path, or force=True to overwrite it"):
        ovxai.save_model(model, path)


def test_threads_and_processes_of_a_command_speak_as_it_does() -> None:
    with on_command_line(), Child("ovxai.labels") as child:
        with pytest.raises(OptionError) as caught:
            child.call("labels", given_labels, "no-such-file.txt")
        assert child.call("advice", advice, "--labels") == "--labels"
        assert "no-such-file.txt" in str(caught.value)
    with Child("ovxai.labels") as child:
        assert child.call("advice", advice, "--labels") == "labels="


def test_commands_in_threads_do_not_change_each_others_words() -> None:
    """The first to begin is the first to end, so that nobody puts back what another has found."""
    begun, ended = threading.Event(), threading.Event()

    def other() -> None:
        with on_command_line():
            begun.set()
            ended.wait(30)

    thread = threading.Thread(target=other)
    with on_command_line():
        thread.start()
        assert begun.wait(30)
    assert advice("--labels") == "--labels"
    ended.set()
    thread.join()
    assert advice("--labels") == "labels="
