"""From many records to one row per column: means, intervals, per class; as metrics.json, metrics.csv and a table."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ovxai.evaluation.evaluate import Done, Record
from ovxai.evaluation.figures import METRICS, Metric
from ovxai.evaluation.intervals import bootstrap, mean_of, ratio_of

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Row:
    """A column's figures. figures: by metric, None where no map has it. intervals: 95 %, None where fewer than two pictures have
    it. maps: how many. missing: targets without a map. forwards: of the model per picture, besides the one for the maps."""

    model: str
    method: str
    layer: str
    setting: str
    precision: str
    pictures: int
    maps: int
    missing: int
    failed: int
    figures: Mapping[str, float | None]
    intervals: Mapping[str, tuple[float, float] | None]
    seconds_per_picture: float | None
    forwards_per_picture: float
    host: bool

    def to_dict(self) -> dict[str, object]:
        return {
            "model": self.model, "method": self.method, "layer": self.layer, "setting": self.setting,
            "precision": self.precision or "default", "pictures": self.pictures, "maps": self.maps, "missing": self.missing,
            "failed": self.failed, **self.figures,
            "seconds_per_picture": self.seconds_per_picture, "forwards_per_picture": self.forwards_per_picture,
            "host": self.host, "intervals": {name: list(found) if found else None for name, found in self.intervals.items()},
        }  # fmt: skip

    @property
    def title(self) -> str:
        more = ", ".join(filter(None, (self.layer, self.setting, self.precision)))
        return f"{self.model} / {self.method}" + (f" ({more})" if more else "")


def figure(records: Sequence[Record], metric: Metric) -> tuple[float | None, list[list[float]], list[str]]:
    """(the figure over all maps that have it, its parts per map, the picture of each)."""
    parts = metric.parts or (metric.name,)
    having = [one for one in records if all(part in one.figures for part in parts)]
    if not having:
        return None, [], []
    values = [[float(one.figures[part]) for part in parts] for one in having]
    means = np.mean(values, axis=0)
    found = float(means[0]) if len(parts) == 1 else float(means[0] / means[1]) if means[1] > 0 else 0.0
    return found, values, [one.picture for one in having]


def figures_of(records: Sequence[Record], metrics: Sequence[str]) -> dict[str, float | None]:
    """The figures alone, and insertion less deletion where both are there."""
    found = {name: figure(records, METRICS[name])[0] for name in metrics}
    up, down = found.get("insertion"), found.get("deletion")
    if up is not None and down is not None:
        found["difference"] = up - down
    return found


def row_of(
    done: Sequence[Done], metrics: Sequence[str], seed: int, names: tuple[str, str, str, str, str], host: bool
) -> Row:  # fmt: skip
    """One column's row. names: model, method, layer, setting, precision."""
    records = [record for one in done for record in one.records]
    good = [one for one in done if not one.error]
    intervals: dict[str, tuple[float, float] | None] = {}
    for name in metrics:
        _, values, pictures = figure(records, METRICS[name])
        of = ratio_of if METRICS[name].parts else mean_of
        intervals[name] = bootstrap(values, _numbered(pictures), of, seed) if values else None
    worked = [one for one in good if one.records or one.missing]
    return Row(
        *names, pictures=len(good), maps=len(records), missing=sum(one.missing for one in good), failed=len(done) - len(good),
        figures=figures_of(records, metrics), intervals=intervals,
        seconds_per_picture=float(np.mean([one.seconds for one in worked])) if worked else None,
        forwards_per_picture=float(np.mean([one.forwards for one in worked])) if worked else 0.0, host=host,
    )  # fmt: skip


def _numbered(names: Sequence[str]) -> list[int]:
    number = {name: i for i, name in enumerate(dict.fromkeys(names))}
    return [number[name] for name in names]


def shown(metrics: Sequence[str]) -> list[str]:
    """The figures of a table, in order."""
    more = ["difference"] if {"insertion", "deletion"} <= set(metrics) else []
    return [*metrics, *more]


def as_csv(rows: Sequence[Row], metrics: Sequence[str]) -> str:
    """One line per row; of each figure its value, low and high end."""
    text = io.StringIO()
    write = csv.writer(text, lineterminator="\n")
    names = shown(metrics)
    ends = [f"{name}_{end}" for name in metrics for end in ("low", "high")]
    fixed = ["model", "method", "layer", "setting", "precision", "pictures", "maps", "missing", "failed"]
    write.writerow([*fixed, *names, *ends, "seconds_per_picture", "forwards_per_picture"])
    for row in rows:
        intervals = [row.intervals.get(name) or ("", "") for name in metrics]
        write.writerow([
            row.model, row.method, row.layer, row.setting, row.precision or "default",
            row.pictures, row.maps, row.missing, row.failed,
            *(_cell(row.figures.get(name)) for name in names), *(_cell(end) for pair in intervals for end in pair),
            _cell(row.seconds_per_picture), _cell(row.forwards_per_picture),
        ])  # fmt: skip
    return text.getvalue()


def _cell(value: float | str | None) -> str:
    return "" if value is None else value if isinstance(value, str) else f"{value:.6g}"


def as_table(rows: Sequence[Row], metrics: Sequence[str]) -> list[str]:
    """Lines for a screen: a column's name, its figures, what it costs."""
    names = shown(metrics)
    wide = max([len(row.title) for row in rows] + [5])
    heads = [*names, "maps", "s/picture", "forwards"]
    lines = [f"{'':{wide}}  " + "  ".join(f"{head:>10}" for head in heads)]
    for row in rows:
        values = [_short(row.figures.get(name)) for name in names]
        cost = [str(row.maps), _short(row.seconds_per_picture), f"{row.forwards_per_picture:.0f}"]
        lines.append(f"{row.title:{wide}}  " + "  ".join(f"{value:>10}" for value in [*values, *cost]))
    return lines


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
