"""Every `ovxai` command in README and docs parses with the commands' own parser; those on shipped files run."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from helpers.cli import call
from ovxai.cli.main import COMMANDS, main

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
#: What the reader's own number or size stands for, where an option takes nothing else.
PLACEHOLDERS = {"K": "5", "N": "5", "MB": "512", "HxW": "40x40"}
#: Commands on what a checkout ships, as pages give them; run in a copy of it.
RUN = (
    "ovxai insert fixtures/imagenet/efficientnet_lite0.xml -o model_xai.xml",
    "ovxai eval fixtures/shapes/detector.xml --data fixtures/shapes/det_coco.json -o figures --limit 10",
    "ovxai run model_xai.xml fixtures/photos/chelsea.png -o explained",
)


def blocks(page: Path) -> Iterator[tuple[int, str]]:
    """(number, line) of the page's code, fenced as a shell's or as nothing, or set in by four spaces; `\\` joins lines."""
    fence, held, start = None, "", 0
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        mark = re.match(r"\s*```(\w*)", line)
        if mark:
            fence = mark[1] if fence is None else None
            continue
        if not (fence in ("", "sh", "bash", "console") if fence is not None else line.startswith("    ")):
            continue
        start = start if held else number
        held += line.strip().removesuffix("\\")
        if not line.rstrip().endswith("\\"):
            yield start, held
            held = ""


def commands() -> list[tuple[str, list[str]]]:
    """(place, words behind `ovxai`) of every command in the pages' code."""
    found = []
    for page in PAGES:
        for number, line in blocks(page):
            for part in re.split(r"&&|\|\||;|\|(?= )", line.partition(" #")[0]):
                words = re.fullmatch(r"(?:\$ )?(?:\w+=\S+ )*(?:python -m )?ovxai (.+)", part.strip())
                if words and re.match(r"[a-z]+\b(?! *=)", words[1]):
                    found.append((f"{page.relative_to(ROOT).as_posix()}:{number}", shlex.split(words[1])))
    return found


def refused(words: list[str]) -> str | None:
    """What the parser says against a command; None where it takes it. Nothing is run."""
    command = main.get_command(click.Context(main), words[0])
    if command is None:
        return f"there is no command {words[0]}"
    try:
        command.make_context(words[0], [PLACEHOLDERS.get(word, word) for word in words[1:]])
    except click.UsageError as error:
        return error.format_message()
    except click.exceptions.Exit:
        return None  # --help
    return None


def test_commands_are_found() -> None:
    """So that the tests below look at something."""
    found = [words for _, words in commands()]
    assert len(found) > 25 and {words[0] for words in found} >= {"insert", "run", "verify", "eval", "compare", "quantize"}


@pytest.mark.parametrize(("place", "words"), commands(), ids=lambda part: part if isinstance(part, str) else "")
def test_it_parses(place: str, words: list[str]) -> None:
    assert refused(words) is None, f"{place}: ovxai {' '.join(words)}: {refused(words)}"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("insert", "Missing argument"),
        ("explain m.xml", "no command"),
        ("insert m.xml --methd x", "--method"),
        ("insert m.xml --method grad", "gradient"),
        ("bench m.xml --calls some", "not a valid integer"),
    ],
)
def test_what_would_not_parse_is_found(line: str, said: str) -> None:
    assert said in (refused(line.split()) or "")


def test_those_on_shipped_files_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {" ".join(["ovxai", *words]) for _, words in commands()}
    assert set(RUN) <= given
    monkeypatch.chdir(tmp_path)
    for folder in ("imagenet", "photos", "shapes"):
        shutil.copytree(ROOT / "fixtures" / folder, tmp_path / "fixtures" / folder)
    for line in RUN:
        done = call(*line.split()[1:])
        assert done.exit_code == 0, f"{line}: {done.output}"
    assert (
        (tmp_path / "figures" / "report.html").is_file()
        and (tmp_path / "explained" / "report.html").is_file()
        and "Egyptian" in done.stdout
    )


def test_every_command_has_its_place_in_the_pages() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert [name for name in COMMANDS if not re.search(rf"\bovxai {name}\b", text)] == []
