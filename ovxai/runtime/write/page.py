"""What stands around the cards of `report.html`: the facts of the run, its failures, script and style.

The page's own files are in `report_page/`; docs/report.md describes the page.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from ovxai import text
from ovxai.runtime.config import COLORMAPS
from ovxai.runtime.predict.facts import ModelFacts
from ovxai.runtime.show.render import FADE_POWER, table
from ovxai.runtime.write.manifest import versions

#: Failures listed in the page; manifest.json has them all.
_MOST_FAILURES = 100
#: What OpenVINO calls models that nobody has named; then their file's name says more.
_NAMELESS = re.compile(r"|\w*_Frontend_IR|Model\d+|main_graph|torch[-_]jit\w*")
_SCRIPTS = ("maps.js", "state.js", "truth.js", "gallery.js", "viewer.js", "links.js", "save.js", "page.js")


@dataclass(frozen=True)
class Page:
    """One page. model: its path. settings: how the maps were made, plain JSON values. failed: (source, reason).

    command: the line that made the run. count: how many pictures it shows. where: where these are, a sentence.
    embedded: whether they are part of the page.
    """

    facts: ModelFacts
    model: str
    settings: Mapping[str, Any]
    failed: Sequence[tuple[str, str]]
    command: str
    count: int
    where: str
    embedded: bool

    def halves(self) -> tuple[str, str]:
        """What stands before the cards and behind them."""
        script, style = _script(), _text("style.css")
        name = Path(self.model).stem if _NAMELESS.fullmatch(self.facts.name) else self.facts.name
        parts = {
            "policy": _policy(script, style, self.embedded),
            "style": style,
            "script": script,
            "title": escaped(f"{name}: maps of {_count(self.count, 'picture')}"),
            "brief": escaped(", ".join(filter(None, (self.facts.explained.task, self.facts.explained.method)))),
            "facts": _facts_table(_facts(self.facts, self.model, self.settings, self.command)),
            "where": escaped(self.where),
            "failed": _failures(self.failed),
            "page": to_json({
                "colormaps": {colormap: to_base64(table(colormap)) for colormap in COLORMAPS},
                "colormap": self.settings.get("colormap", "jet"),
                "opacity": self.settings.get("opacity", 0.5),
                "interpolation": self.settings.get("interpolation", "linear"),
                "fade": 0 if self.settings.get("style", "fade") == "heat" else FADE_POWER,
            }),
        }  # fmt: skip
        head, tail = _text("page.html").split("{{cards}}")
        return _fill(head, parts), _fill(tail, parts)


def still_page(title: str, body: str, style: str = "") -> str:
    """A page of its own without script, in the report's clothes. title: text. body: markup, safe already. style: more CSS."""
    whole = _text("style.css") + style
    return (
        '<!doctype html>\n<html lang="en-GB">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_policy("", whole, True)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<meta name="color-scheme" content="light dark">\n'
        f'<title>{escaped(title)}</title>\n<link rel="icon" href="data:,">\n<style>{whole}</style>\n</head>\n<body>\n'
        f'<header class="top"><h1>{escaped(title)}</h1></header>\n{body}\n</body>\n</html>\n'
    )


def _facts(facts: ModelFacts, model: str, settings: Mapping[str, Any], command: str) -> dict[str, str]:
    """What the page says about model and run, in order; empty values are left out."""
    explained, stamp = facts.explained, versions()
    classes = settings.get("classes")
    target = f"classes {', '.join(map(str, classes))}" if classes else str(settings.get("target", ""))
    shown = {
        "Model": facts.name,
        "File": model,
        "Task": explained.task,
        "Method": explained.method,
        "Target layers": ", ".join(explained.target_layers),
        "Feature map": explained.feature_layer,
        "Mask": explained.mask,
        "Collapse": explained.collapse,
        "Maps": "scaled to 0..255 each" if explained.scaled else "unscaled (--raw), scaled for this page",
        "Mapped classes": explained.classes
        if explained.num_classes is None
        else f"{explained.classes} of {explained.num_classes}",
        "Explained": target,
        "Threshold": _threshold(settings),
        "Device": str(settings.get("device", "")),
        "Precision": settings.get("precision") or "the device's own",
        "Hint": str(settings.get("hint", "")),
        "Versions": ", ".join(f"{name} {version}" for name, version in stamp.items()),
        "Inserted by": f"ovxai {explained.version}" if explained.version else "another tool",
        "Made": time.strftime("%Y-%m-%d %H:%M"),
        "Command": command,
    }
    return {name: value for name, value in shown.items() if value}


def _threshold(settings: Mapping[str, Any]) -> str:
    """Empty where classes are explained whatever their score."""
    if settings.get("classes") or settings.get("target", "predictions") != "predictions":
        return ""
    return str(settings.get("threshold", "the model's own, else 0.3"))


def _facts_table(facts: dict[str, str]) -> str:
    return "\n".join(f"<div><dt>{escaped(name)}</dt><dd>{escaped(value)}</dd></div>" for name, value in facts.items())


def _failures(failed: Sequence[tuple[str, str]]) -> str:
    if not failed:
        return ""
    lines = [f"<li>{escaped(reason)}</li>" for _, reason in failed[:_MOST_FAILURES]]
    if len(failed) > _MOST_FAILURES:
        lines.append(f"<li>and {len(failed) - _MOST_FAILURES} more; manifest.json lists them</li>")
    summary = f"{_count(len(failed), 'source')} could not be explained"
    return f'<details id="failed"><summary>{summary}</summary><ul>{"".join(lines)}</ul></details>'


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def _policy(script: str, style: str, embedded: bool) -> str:
    """A browser that honours it runs this page's own script, and fetches nothing from a network."""
    pictures = "data:" if embedded else "data: 'self' file:"
    return (
        f"default-src 'none'; base-uri 'none'; form-action 'none'; img-src {pictures}; "
        f"script-src '{_hash(script)}'; style-src '{_hash(style)}'"
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


def _fill(template: str, parts: dict[str, str]) -> str:
    """Put `parts` in place of {{name}}; what they hold is not looked at again."""
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], template)


def _script() -> str:
    return _wrapped(_SCRIPTS)


def _wrapped(scripts: Sequence[str]) -> str:
    return "\n'use strict';\n(() => {\n" + "\n".join(_text(name) for name in scripts) + "\n})();\n"


def _text(name: str) -> str:
    return (resources.files("ovxai.runtime.write") / "report_page" / name).read_text(encoding="utf-8")


def to_json(value: object) -> str:
    """JSON that may stand inside of a script element: it can't end it."""
    return text.to_json(value, compact=True).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def escaped(words: str) -> str:
    """Names as they may stand in a page: no markup, bytes that are no UTF-8 and control characters as escapes."""
    return html.escape(text.printable(words))


def to_base64(array: np.ndarray) -> str:
    return base64.b64encode(array.tobytes()).decode("ascii")


def scripted_page(
    name: str, title: str, facts: Mapping[str, str], settings: object, cards: Sequence[str], scripts: Sequence[str]
) -> str:
    """A page of its own in the report's clothes: `report_page/NAME.html`, with NAME.css behind the report's style.

    facts: what it says of itself, in order, text. settings, cards: JSON values, and lines of JSON, for its script.
    scripts: the files in `report_page` that it runs, in order.
    """
    script, style = _wrapped(scripts), _text("style.css") + _text(f"{name}.css")
    parts = {
        "policy": _policy(script, style, True),
        "style": style,
        "script": script,
        "title": html.escape(text.printable(title)),
        "facts": _facts_table(dict(facts)),
        "page": to_json(settings),
        "cards": ",\n".join(cards),
    }
    return _fill(_text(f"{name}.html"), parts)
