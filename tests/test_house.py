"""The house keeps its order: sizes, docstrings, and that what documents and README name is there."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from ovxai.cli.main import main

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = (".ci", "docs", "examples", "fixtures", "ovxai", "scripts", "tests")
NOT_OURS = {"__pycache__", "build"}
MOST_FILES, MOST_LINES = 250, 400
#: module -> why it is better in one piece than in two.
LONG: dict[str, str] = {}
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "fixtures").glob("*.md")])


def _files(*folders: str, suffix: str = "") -> Iterator[Path]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob(f"*{suffix}")):
            if path.is_file() and not NOT_OURS & set(path.relative_to(ROOT).parts):
                yield path


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


# Sizes and words.


def test_the_rooms_are_few_and_their_files_short():
    lines = {_name(path): len(path.read_text(encoding="utf-8").splitlines()) for path in _files("ovxai", suffix=".py")}
    assert len(lines) <= MOST_FILES
    assert {name for name, count in lines.items() if count > MOST_LINES} == set(LONG)


def test_every_module_says_what_it_is_for():
    """In a first line that is a sentence."""
    silent = []
    for path in _files("ovxai", "scripts", "examples", "tests", suffix=".py"):
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        first = text.partition("\n")[0]
        if len(first.split()) < 3 or first[-1] not in ".?:" or not re.match(r"[A-Z0-9`]|--|ovxai\b", first):
            silent.append(f"{_name(path)}: {first!r}")
    assert not silent, "\n".join(silent)


def test_no_test_edits_where_python_looks_for_modules():
    """`pythonpath` in pyproject.toml is the one place."""
    edits = []
    for path in _files("tests", suffix=".py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            edited = node.value if isinstance(node, (ast.Attribute, ast.Subscript)) else None
            targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AugAssign) else []
            if any(isinstance(place, ast.Attribute) and ast.unparse(place) == "sys.path" for place in [edited, *targets]):
                edits.append(f"{_name(path)}:{getattr(node, 'lineno', 0)}")
    assert not edits, "\n".join(edits)


def test_no_two_files_of_tests_have_one_name():
    """Since folders of tests are no packages, pytest would refuse the second."""
    names = [path.name for path in _files("tests", suffix=".py") if path.name.startswith("test_")]
    assert sorted(names) == sorted(set(names))


def test_no_file_names_a_place_on_one_machine():
    places = re.compile(r"(?<![\w.}])/(?:home|root|Users|work|opt|mnt)/\w")
    named = []
    for path in [*_files(*FOLDERS), *ROOT.glob("*.md"), ROOT / "pyproject.toml"]:
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        named += [f"{_name(path)}: {line.strip()[:80]}" for line in text.splitlines() if places.search(line)]
    assert not named, "\n".join(named)


# What the pages name.


def _page_lines(page: Path) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        yield f"{_name(page)}:{number}", line


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_files_that_a_page_names_are_there(page):
    """Paths of the repository, and links from the page; `<...>` and `*` stand for a name of the reader's own."""
    missing = []
    paths = re.compile(r"(?<![\w/.-])\.?/?((?:ovxai|tests|scripts|examples|fixtures|\.ci)/[\w./<>*-]+)")
    for place, line in _page_lines(page):
        for name in paths.findall(line):
            if not set("<>*") & set(name) and not (ROOT / name.rstrip("./")).exists():
                missing.append(f"{place}: {name}")
        for link in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", line):
            if not (page.parent / link).exists():
                missing.append(f"{place}: link to {link}")
    assert not missing, "\n".join(missing)


def _is_there(dotted: str) -> bool:
    """A module, or something in one. Read where that is enough: a module may want what is not installed."""
    words = dotted.split(".")
    for split in range(len(words), 0, -1):
        place = ROOT.joinpath(*words[:split])
        source = place.with_suffix(".py") if place.with_suffix(".py").is_file() else place / "__init__.py"
        if not source.is_file():
            continue
        rest = words[split:]
        return not rest or _defines(source, rest[0]) or hasattr(importlib.import_module(".".join(words[:split])), rest[0])
    return False


def _defines(source: Path, name: str) -> bool:
    defined = (ast.FunctionDef, ast.ClassDef)
    return any(isinstance(node, defined) and node.name == name for node in ast.parse(source.read_text(encoding="utf-8")).body)


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_modules_that_a_page_names_are_there(page):
    missing = []
    for place, line in _page_lines(page):
        for name in re.findall(r"(?<![\w/.'\"-])ovxai(?:\.[A-Za-z_]\w*)+(?![\w/-])", line):
            if not name.startswith(("ovxai.fish", "ovxai.exe")) and not _is_there(name):
                missing.append(f"{place}: {name}")
    assert not missing, "\n".join(missing)


def _commands(page: Path) -> Iterator[tuple[str, list[str]]]:
    """The words behind `ovxai` in the page's code."""
    for place, line in _page_lines(page):
        spans = re.findall(r"`ovxai ([^`]+)`", line)
        own = re.match(r"(?: {4}|\$ )?ovxai ([a-z]+ .*)", line)
        for text in [*spans, *([own[1]] if own and own[1].split()[0] in main.list_commands(click.Context(main)) else [])]:
            yield place, text.partition(" # ")[0].split()


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_commands_that_a_page_gives_exist(page):
    wrong = []
    context = click.Context(main)
    for place, words in _commands(page):
        if words[0].startswith("-"):
            continue
        command = main.get_command(context, words[0])
        if command is None:
            wrong.append(f"{place}: ovxai {words[0]}")
            continue
        known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}
        wrong += [
            f"{place}: ovxai {words[0]} {word}"
            for word in words[1:]
            if re.match(r"--?[a-z]", word) and word.partition("=")[0].rstrip(",.)") not in known
        ]
    assert not wrong, "\n".join(wrong)


def test_the_readme_names_both_commands_of_a_checkout():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    scripts = set(re.findall(r"^\./(\S+)", text, re.MULTILINE))
    assert {"scripts/check", "scripts/test"} <= scripts
    for name in scripts:
        assert (ROOT / name).is_file() and (ROOT / name).stat().st_mode & 0o111, f"{name} can't be run"


def test_extras_that_the_readme_names_are_in_pyproject():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    table = (ROOT / "pyproject.toml").read_text(encoding="utf-8").partition("[project.optional-dependencies]")[2]
    extras = set(re.findall(r"^(\w+) = \[", table.partition("\n[")[0], re.MULTILINE))
    assert set(re.findall(r"'\.\[(\w+)\]'", text)) <= extras


def test_the_drawing_of_the_rooms_is_the_rule_that_is_checked():
    """Line by line, top to bottom: the layers of the import check."""
    table = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    listed = re.search(r"^layers = \[(.*?)^\]", table, re.MULTILINE | re.DOTALL)
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert listed is not None
    rule = [set(re.findall(r"\w+", line)) for line in re.findall(r'"(.*?)"', listed[1])]
    drawing = page.partition("## What may import what")[2].partition("\n    ")[2].partition("\n\n")[0]
    everything = set().union(*rule)
    assert [set(re.findall(r"\w+", line[:42])) & everything for line in drawing.splitlines()] == rule
