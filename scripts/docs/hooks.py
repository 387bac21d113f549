"""Hooks of the documentation's site: README.md is its first page, and what lies outside of docs/ is named, not linked."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

ROOT = Path(__file__).resolve().parents[2]
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add README.md as index.md, its links seen from docs/."""
    from mkdocs.structure.files import File

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    files.append(File.generated(config, "index.md", content=_LINK.sub(_from_docs, text)))
    return files


def on_page_markdown(markdown: str, **_page: object) -> str:
    """Links that lead out of docs/ become their text: the site has no such pages."""
    return _LINK.sub(_inside, markdown)


def _from_docs(link: re.Match[str]) -> str:
    mark, text, target = link.groups()
    if "://" in target or target.startswith("#"):
        return link[0]
    return f"{mark}[{text}]({target.removeprefix('docs/') if target.startswith('docs/') else '../' + target})"


def _inside(link: re.Match[str]) -> str:
    return link[2] if link[3].startswith("../") else link[0]
