"""The command line, called in this process."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from ovxai.cli.main import main


def call(*words: object, stdin: str | None = None) -> Result:
    """What `ovxai WORDS...` prints and how it ends."""
    return CliRunner().invoke(main, [str(word) for word in words], input=stdin)


def cards(page: str | Path) -> list[dict[str, Any]]:
    """What a page that we wrote shows, picture by picture."""
    text = Path(page).read_text(encoding="utf-8")
    found = re.search(r'<script type="application/json" id="cards">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    entries: list[dict[str, Any]] = json.loads(found[1])
    return entries


def is_one_line(done: Result, *words: str, code: int = 1) -> bool:
    """Whether it ended with `code` and nothing but one line on stderr, an error in which `words` stand."""
    lines = done.stderr.splitlines()
    return (
        done.exit_code == code and len(lines) == 1 and lines[0].startswith("Error: ") and all(word in lines[0] for word in words)
    )
