"""Spoil explained models in every way that `scripts/fuzzing/tampering.py` lists, and tell which of them `ovxai verify` catches.

Each cell of the table says what caught it without `--plain`, or what only `--plain` shows, or that it slips.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / folder) for folder in ("tests", "scripts", "")]

import openvino as ov  # noqa: E402

from fuzzing.tampering import Mutation, mutations  # noqa: E402
from ovxai.errors import OvxaiError  # noqa: E402
from ovxai.graph.save import save_model  # noqa: E402
from ovxai.insertion import insert  # noqa: E402
from ovxai.verification import verify  # noqa: E402

MODELS = {"cnn": "CNN", "vit": "class-token ViT", "detector": "detector", "instances": "instances"}
SHAPES = Path(__file__).resolve().parents[1] / "fixtures" / "shapes"
#: Ends of the names of checks that need the model that was explained.
WITH_PLAIN = " against the source model"
SLIPS, NOTHING = "**slips**", ""


def main() -> int:
    words = _words()
    names = words.model or list(MODELS)
    pairs = {name: pair(SHAPES / f"{name}.xml") for name in names}
    for name, (_, explained) in pairs.items():
        if not (report := verify(explained)).ok:
            print(f"{name}: not right before anything was done to it: {report.checks}", file=sys.stderr)
            return 1
    print("| part | what is done | " + " | ".join(MODELS[name] for name in names) + " |")
    print("| --- | --- |" + " --- |" * len(names))
    slipped = total = alone = 0
    for mutation in mutations():
        if words.only and words.only not in f"{mutation.part}: {mutation.name}":
            continue
        cells = [caught(mutation, *pairs[name]) for name in names]
        if not any(cells):  # none of these models has such an entry
            continue
        print(f"| {mutation.part} | {mutation.name} | " + " | ".join(cells) + " |", flush=True)
        done = [cell for cell in cells if cell != NOTHING]
        total += len(done)
        slipped += done.count(SLIPS)
        alone += sum(cell != SLIPS and not cell.startswith("`--plain`") for cell in done)
    if not words.only:
        cells = [mixed_up(explained) for _, explained in pairs.values()]
        print("| files | weights_sha256: of another .bin | " + " | ".join(cells) + " |")
        total, alone, slipped = total + len(cells), alone + cells.count("error"), slipped + cells.count(SLIPS)
    print(f"\n{total} spoiled models: {alone} caught, {total - alone - slipped} more with `--plain`, {slipped} slip.")
    return 0


def pair(path: Path) -> tuple[ov.Model, ov.Model]:
    """A plain model and the same explained."""
    plain = ov.Core().read_model(path)
    return plain, insert(plain, probe=False)


def caught(mutation: Mutation, plain: ov.Model, explained: ov.Model) -> str:
    """In a word, what noticed it; empty where the model has nothing of the kind."""
    spoiled = explained.clone()
    if not mutation.change(spoiled):
        return NOTHING
    try:
        report = verify(spoiled, plain=plain)
    except OvxaiError:
        return "error"
    if not all(row.ok for row in report.rows):
        return "map"
    failed = [check.name for check in report.checks if check.ok is False]
    without = [name for name in failed if not name.endswith(WITH_PLAIN)]
    if without:
        return without[0]
    return f"`--plain`: {failed[0].removesuffix(WITH_PLAIN)}" if failed else SLIPS


def mixed_up(explained: ov.Model) -> str:
    """What notices the hash of another .bin in the .xml."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.xml"
        save_model(explained.clone(), path)
        text = path.read_text(encoding="utf-8")
        digest = text.partition('weights_sha256 value="')[2].partition('"')[0]
        path.write_text(text.replace(digest, digest[::-1]), encoding="utf-8")
        try:
            verify(path, places=False)
        except OvxaiError:
            return "error"
    return SLIPS


def _words() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=Path(__file__).name, description=__doc__)
    parser.add_argument("--model", action="append", choices=list(MODELS), help="this one only; may be given again")
    parser.add_argument("--only", help="rows that have this in their name")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
