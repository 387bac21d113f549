"""`report.html` of an evaluation: the table, the curves, bars per class, the best and the worst pictures; one file, no script."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from ovxai.errors import SourceError
from ovxai.evaluation.evaluate import Record
from ovxai.evaluation.figures import METRICS
from ovxai.evaluation.rows import Row, figures_of, shown
from ovxai.runtime.feed.images import read_image
from ovxai.runtime.show.render import colorize
from ovxai.runtime.write.encode import encode_picture
from ovxai.runtime.write.page import escaped, still_page

#: Of Okabe and Ito, told apart by most eyes.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a8a00", "#7f7f7f")
_THUMB, _EXTREMES, _MOST_COLUMNS, _MOST_CLASSES = 220, 4, 8, 15
#: Of a class's name beside its bars.
_MOST_LETTERS = 18
_STYLE = """
.scroll { overflow-x: auto; }
table { border-collapse: separate; border-spacing: 0; font-variant-numeric: tabular-nums; font-size: 0.9rem; margin: 0.5rem 0; }
th, td { padding: 0.3rem 0.7rem; border-bottom: 1px solid var(--edge); text-align: right; vertical-align: top; }
th:first-child, td:first-child { text-align: left; }
th:first-child, td:first-child { position: sticky; left: 0; min-width: 8rem; background: var(--sheet); overflow-wrap: anywhere; }
td small { display: block; color: var(--soft); white-space: nowrap; }
.best { font-weight: 700; color: var(--accent); }
section { background: var(--sheet); border: 1px solid var(--edge); border-radius: 0.6rem; padding: 0.8rem 1rem; }
section { margin: 0 0 0.8rem; }
.charts { display: flex; flex-wrap: wrap; gap: 1.5rem; }
.charts svg { width: 26rem; max-width: 100%; height: auto; }
svg text { fill: var(--soft); font: 12px system-ui, sans-serif; }
.axis { stroke: var(--edge); }
.key span { display: inline-block; margin-right: 1.2rem; overflow-wrap: anywhere; }
.key svg { width: 0.8rem; height: 0.8rem; vertical-align: -0.1rem; margin-right: 0.3rem; }
.row { display: flex; flex-wrap: wrap; gap: 0.7rem; padding: 0.6rem 0; border-bottom: 1px solid var(--edge); }
figure { margin: 0; flex: none; width: min-content; min-width: 8rem; }
figcaption { font-size: 0.8rem; color: var(--soft); overflow-wrap: anywhere; }
figure img { display: block; }
"""


def make_page(
    rows: Sequence[Row],
    records: Mapping[str, Sequence[Record]],
    metrics: Sequence[str],
    facts: Mapping[str, str],
    notes: Sequence[str],
) -> str:
    """rows: one per column, in order. records: by a column's title. facts: about the run, to be shown. notes: likewise, lines."""
    titles = _short_titles(rows)
    records = {short: records.get(row.title, ()) for row, short in zip(rows, titles)}
    parts = [
        _section("Figures", _table(rows, titles, metrics) + _definitions(metrics)),
        _section("Curves", _curves(titles, records)),
        _section("By class", _by_class(titles, records, metrics)),
        _section("Best and worst pictures", _extremes(titles, records)),
        _section("Run", _facts(facts, notes)),
    ]
    what = rows[0].title if len(rows) == 1 else f"{len(rows)} ways"
    return still_page(f"How good are the maps: {what}", "\n".join(filter(None, parts)), _STYLE)


def _short_titles(rows: Sequence[Row]) -> list[str]:
    """What tells the columns apart: without the model's name where there is one model."""
    if len({row.model for row in rows}) > 1:
        return [row.title for row in rows]
    return [row.title.removeprefix(f"{row.model} / ") for row in rows]


def _section(title: str, body: str) -> str:
    return f"<section><h2>{title}</h2>\n{body}\n</section>" if body else ""


def _table(rows: Sequence[Row], titles: Sequence[str], metrics: Sequence[str]) -> str:
    names = shown(metrics)
    head = "".join(f"<th>{escaped(name)}</th>" for name in ["", *names, "maps", "seconds per picture", "forward passes"])
    best = {name: _best(rows, name) for name in names}
    lines = [f"<tr>{head}</tr>"]
    for row, title in zip(rows, titles):
        cells = [f"<td>{escaped(title)}</td>"]
        for name in names:
            value, ends = row.figures.get(name), row.intervals.get(name)
            text = "–" if value is None else f"{value:.3f}"
            text = f'<span class="best">{text}</span>' if text == best[name] else text
            cells.append(f"<td>{text}{f'<small>{ends[0]:.3f} to {ends[1]:.3f}</small>' if ends else ''}</td>")
        seconds = "–" if row.seconds_per_picture is None else f"{row.seconds_per_picture:.3f}"
        cells += [f"<td>{row.maps}</td>", f"<td>{seconds}</td>", f"<td>{row.forwards_per_picture:.0f}</td>"]
        lines.append(f"<tr>{''.join(cells)}</tr>")
    note = '<p class="note">Small: 95 % interval, bootstrap over pictures. Forward passes: besides the one for the maps.</p>'
    return f'<div class="scroll"><table>{"".join(lines)}</table></div>{note}'


def _best(rows: Sequence[Row], name: str) -> str:
    """The best value as it is shown; empty where none is better than another."""
    up = True if name == "difference" else METRICS[name].up
    values = sorted(value for row in rows if (value := row.figures.get(name)) is not None)
    if up is None or not values or f"{values[0]:.3f}" == f"{values[-1]:.3f}":
        return ""
    return f"{values[-1] if up else values[0]:.3f}"


def _definitions(metrics: Sequence[str]) -> str:
    def way(name: str) -> str:
        up = METRICS[name].up
        return "" if up is None else "; more is better" if up else "; less is better"

    lines = "".join(f"<div><dt>{name}</dt><dd>{escaped(METRICS[name].line + way(name))}</dd></div>" for name in metrics)
    return f"<details><summary>What the figures are</summary><dl>{lines}</dl></details>"


def _colour(number: int) -> str:
    return _COLOURS[number % len(_COLOURS)]


def _key(titles: Sequence[str]) -> str:
    marks = (
        f'<span><svg viewBox="0 0 10 10"><rect width="10" height="10" fill="{_colour(i)}"/></svg>{escaped(title)}</span>'
        for i, title in enumerate(titles)
    )
    return f'<p class="key note">{"".join(marks)}</p>'


def _curves(titles: Sequence[str], records: Mapping[str, Sequence[Record]]) -> str:
    charts = []
    for name, text in (("insertion", "pixels shown, strongest first"), ("deletion", "pixels taken away, strongest first")):
        lines = []
        for i, title in enumerate(titles):
            curves = [record.curves[name] for record in records.get(title, ()) if name in record.curves]
            if curves:
                lines.append((_colour(i), np.mean(np.array(curves, np.float64), axis=0)))
        if lines:
            charts.append(_chart(name, text, lines))
    return f'{_key(titles)}<div class="charts">{"".join(charts)}</div>' if charts else ""


def _chart(name: str, below: str, lines: Sequence[tuple[str, np.ndarray]]) -> str:
    top = max(0.05, float(max(curve.max() for _, curve in lines)))
    drawn = []
    for colour, curve in lines:
        across = np.linspace(40, 400, len(curve))
        points = " ".join(f"{x:.1f},{220 - 200 * y / top:.1f}" for x, y in zip(across, curve))
        drawn.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
    return (
        f'<svg viewBox="0 0 420 260" role="img" aria-label="mean score of {name}">'
        '<line class="axis" x1="40" y1="20" x2="40" y2="220"/><line class="axis" x1="40" y1="220" x2="400" y2="220"/>'
        f'<text x="36" y="24" text-anchor="end">{top:.2f}</text><text x="36" y="224" text-anchor="end">0</text>'
        f'<text x="40" y="238">0 %</text><text x="400" y="238" text-anchor="end">100 %</text>'
        f'<text x="220" y="254" text-anchor="middle">{name}: {below}</text>{"".join(drawn)}</svg>'
    )


def _by_class(titles: Sequence[str], records: Mapping[str, Sequence[Record]], metrics: Sequence[str]) -> str:
    name = next((name for name in ("difference", "energy", *metrics) if name in shown(metrics)), None)
    if name is None:
        return ""
    counts: dict[str, int] = {}
    for record in records.get(titles[0], ()):
        counts[record.label] = counts.get(record.label, 0) + 1
    classes = sorted(counts, key=lambda label: -counts[label])[:_MOST_CLASSES]
    if not classes:
        return ""
    values = [
        [figures_of([one for one in records.get(title, ()) if one.label == label], metrics).get(name) for title in titles]
        for label in classes
    ]
    top = max([abs(value) for line in values for value in line if value is not None] + [1e-6])
    bars, y = [], 4
    for label, line in zip(classes, values):
        name_of = label if len(label) <= _MOST_LETTERS else f"{label[: _MOST_LETTERS - 1]}…"
        text = f"{escaped(name_of)} ({counts[label]})<title>{escaped(label)}</title>"
        bars.append(f'<text x="150" y="{y + 11}" text-anchor="end">{text}</text>')
        for i, value in enumerate(line):
            if value is not None:
                width = max(1.0, 380 * abs(value) / top)
                pale = ' fill-opacity="0.25"' if value < 0 else ""
                bars.append(
                    f'<rect x="156" y="{y}" width="{width:.1f}" height="10" fill="{_colour(i)}" stroke="{_colour(i)}"{pale}/>'
                )
                bars.append(f'<text x="{160 + width:.1f}" y="{y + 9}">{value:.2f}</text>')
            y += 12
        y += 8
    text = "insertion less deletion" if name == "difference" else name
    return (
        f'<p class="note">{text}, classes with the most maps (their number); pale bars: below zero</p>{_key(titles)}'
        f'<div class="scroll"><svg viewBox="0 0 600 {y}" width="600" role="img" aria-label="{text} by class">'
        f"{''.join(bars)}</svg></div>"
    )


def _worth(record: Record) -> float | None:
    figures = record.figures
    if "insertion" in figures and "deletion" in figures:
        return figures["insertion"] - figures["deletion"]
    return figures["inside"] - figures["area"] if "inside" in figures else None


def _extremes(titles: Sequence[str], records: Mapping[str, Sequence[Record]]) -> str:
    """The pictures on which the first way does best and worst, with the maps of all ways."""
    ranked = [(worth, record) for record in records.get(titles[0], ()) if (worth := _worth(record)) is not None]
    ranked.sort(key=lambda pair: pair[0])
    if not ranked:
        return ""
    worst = ranked[: min(_EXTREMES, max(1, len(ranked) // 2))]
    best = list(reversed(ranked[len(worst) :][-_EXTREMES:]))
    by_case = {
        title: {_case(record): record for record in records.get(title, ())} for title in titles[:_MOST_COLUMNS]
    }  # fmt: skip
    parts = []
    for heading, chosen in (("Worst", worst), ("Best", best)):
        lines = [_line(record, by_case) for _, record in chosen]
        if lines:
            parts.append(f"<h3>{heading}, by {escaped(titles[0])}</h3>{''.join(lines)}")
    return "".join(parts)


def _case(record: Record) -> tuple[str, int, tuple[float, ...]]:
    return record.picture, record.class_index, tuple(record.box or ())


def _line(record: Record, by_case: Mapping[str, Mapping[tuple[str, int, tuple[float, ...]], Record]]) -> str:
    try:
        picture = read_image(Path(record.picture))
    except SourceError:
        return ""
    factor = min(1.0, _THUMB / max(picture.shape[:2]))
    size = (max(1, round(picture.shape[1] * factor)), max(1, round(picture.shape[0] * factor)))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    name = f"{Path(record.picture).name}: {record.label} {record.score:.2f}"
    figures = [_figure(small, name)]
    for title, cases in by_case.items():
        other = cases.get(_case(record))
        if other is not None:
            worth = _worth(other)
            heat = cv2.resize(np.array(other.heat, np.uint8), size, interpolation=cv2.INTER_LINEAR)
            blended = cv2.addWeighted(small, 0.5, colorize(heat, "jet"), 0.5, 0)
            figures.append(_figure(blended, title if worth is None else f"{title}: {worth:.3f}"))
    return f'<div class="row">{"".join(figures)}</div>'


def _figure(picture: np.ndarray, caption: str) -> str:
    data = base64.b64encode(encode_picture(picture, "jpeg")).decode("ascii")
    return f'<figure><img alt="" src="data:image/jpeg;base64,{data}"><figcaption>{escaped(caption)}</figcaption></figure>'


def _facts(facts: Mapping[str, str], notes: Sequence[str]) -> str:
    lines = "".join(f"<div><dt>{escaped(name)}</dt><dd>{escaped(value)}</dd></div>" for name, value in facts.items() if value)
    told = "".join(f"<li>{escaped(line)}</li>" for line in notes)
    return f"<dl>{lines}</dl>" + (f"<h3>Counted, and left out</h3><ul>{told}</ul>" if told else "")
