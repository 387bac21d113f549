"""`ovxai run` against its limits: start-up beside a bare script, pictures a second beside benchmark_app.

Part of scripts/bench.py (`--runner`). Everything is measured from outside, on whole processes. Start-up: from the start of the
process until the first map stands on the disk, the two alternating, median of the ratios. Pictures a second:
(N - 1) / (time of a run over N - time of a run over 1), so that starting is not in it, as it is not in benchmark_app's figure.
"""

from __future__ import annotations

import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ROOT / "fixtures" / "imagenet" / "efficientnet_lite0.xml"
#: What people write today: read, compile, infer once, write one coloured map.
BARE = """
import sys, cv2, numpy as np, openvino as ov
core = ov.Core()
compiled = core.compile_model(core.read_model(sys.argv[1]), "CPU", {config})
picture = cv2.imread(sys.argv[2])
height, width = list(compiled.inputs[0].shape)[2:]
tensor = (cv2.resize(picture, (width, height))[:, :, ::-1].transpose(2, 0, 1)[None].astype(np.float32) - 127) / 128
result = compiled(tensor)
grey = cv2.resize(result["saliency_map"][0, int(result[0].argmax())], picture.shape[1::-1])
cv2.imwrite(sys.argv[3], cv2.applyColorMap(grey, cv2.COLORMAP_JET))
"""
#: What a run writes: title -> options.
FORMS = {
    "maps and overlays as PNG, report": "",
    "maps and overlays as JPEG, no report": "--format jpeg --no-report",
    "low-resolution maps alone": "--no-postprocess --no-report",
}
SIZE = (640, 480)


@dataclass(frozen=True)
class Took:
    """A process's seconds: by the clock, and of all cores. others: cores that the rest of the machine kept busy meanwhile."""

    wall: float
    cpu: float
    others: float


def measure(models: list[Path], precision: str, pictures: int, repeats: int, seconds: int = 5) -> str:
    """The section of docs/benchmarks.md, without its heading.

    models: explained IRs; an empty list stands for the shipped classifier's. precision: what to compute in. pictures:
    how many a run is over. repeats: of which medians are shown. seconds: of benchmark_app.
    """
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        explained = models or [_shipped(folder)]
        photos = _photos(folder / "photos", pictures)
        starts = [_start_row(path, photos[0], folder, precision, repeats) for path in explained]
        rates = [row for path in explained for row in _rate_rows(path, photos, folder, precision, repeats, seconds)]
    return "\n".join([*_START_HEAD, *starts, "", *_RATE_HEAD, *rates])


_START_HEAD = (
    "Start of the process until the first map is on the disk; goal: 1.5 times a bare script that reads, compiles, infers once "
    "and writes one PNG.",
    "",
    "| explained model | bare script s | `ovxai run` s | ratio | others' load |",
    "| --- | --- | --- | --- | --- |",
)
_RATE_HEAD = (
    f"Pictures a second over a folder of JPEGs of {SIZE[0]} x {SIZE[1]}, decoding and writing included, beside "
    "`benchmark_app -hint throughput`, which has neither pictures nor files; goal: 0.9 as far as the cores allow. Cores in use: "
    "of the run, while it ran; where that",
    "is all of them, only cheaper work would make it faster.",
    "",
    "| explained model | written | benchmark_app | `ovxai run` | ratio | cores in use | CPU ms a picture, of these inference | "
    "others' load |",
    "| --- | --- | --- | --- | --- | --- | --- | --- |",
)


def _shipped(folder: Path) -> Path:
    path = folder / "efficientnet_lite0_xai.xml"
    subprocess.run([*_ovxai(), "insert", SHIPPED, "-o", path, "--quiet"], check=True)
    return path


def _photos(folder: Path, count: int) -> list[Path]:
    """`count` JPEGs of one size, made of the shipped photographs."""
    folder.mkdir()
    pixels = [cv2.resize(cv2.imread(str(p)), SIZE) for p in sorted((ROOT / "fixtures" / "photos").iterdir())]
    paths = [folder / f"{i:05d}.jpg" for i in range(count)]
    for i, path in enumerate(paths):
        cv2.imwrite(str(path), pixels[i % len(pixels)])
    return paths


def _start_row(model: Path, photo: Path, folder: Path, precision: str, repeats: int) -> str:
    script, out, png = folder / "bare.py", folder / "out", folder / "bare.png"
    script.write_text(BARE.replace("{config}", repr({"INFERENCE_PRECISION_HINT": precision})), encoding="utf-8")
    pairs, others = [], []
    for repeat in range(repeats + 1):
        shutil.rmtree(out, ignore_errors=True)
        png.unlink(missing_ok=True)
        began = time.time()
        first = _run([sys.executable, script, model, photo, png])
        bare = png.stat().st_mtime - began
        began = time.time()
        second = _run([*_ovxai(), "run", model, photo, "-o", out, "--precision", precision, "--quiet"])
        ours = next((out / "saliency_map").glob("*_saliency_map.png")).stat().st_mtime - began
        if repeat:  # the first pair fills the disk's cache
            pairs.append((bare, ours))
            others += [first.others, second.others]
    ratio = statistics.median(b / a for a, b in pairs)
    medians = [statistics.median(side) for side in zip(*pairs)]
    return f"| {_title(model)} | {medians[0]:.2f} | {medians[1]:.2f} | {_judged(ratio, 1.5, above=False)} | {max(others):.2f} |"


def _rate_rows(model: Path, photos: list[Path], folder: Path, precision: str, repeats: int, seconds: int) -> list[str]:
    rows = []
    for form, options in FORMS.items():
        ratios, rates, plain, uses, costs, others = [], [], [], [], [], []
        for _ in range(repeats):
            base = _benchmark_app(model, precision, seconds)
            words = [*options.split(), "--hint", "throughput", "--precision", precision]
            one, many = (_explain(model, photos[:count], folder, words) for count in (1, len(photos)))
            wall, cpu = many.wall - one.wall, many.cpu - one.cpu
            rates.append((len(photos) - 1) / wall)
            plain.append(base)
            ratios.append(rates[-1] / base)
            uses.append(cpu / wall)
            costs.append(1000 * cpu / (len(photos) - 1))
            others.append(many.others)
        values = [statistics.median(values) for values in (plain, rates, ratios, uses, costs)]
        inference = 1000 * (os.cpu_count() or 1) / values[0]
        rows.append(
            f"| {_title(model)} | {form} | {values[0]:.1f} | {values[1]:.1f} | {_judged(values[2], 0.9, above=True)} | "
            f"{values[3]:.2f} of {os.cpu_count()} | {values[4]:.0f}, {inference:.0f} | {max(others):.2f} |"
        )
        print(rows[-1], flush=True)
    return rows


def _explain(model: Path, photos: list[Path], folder: Path, options: list[str]) -> Took:
    out, names = folder / "out", folder / "names.txt"
    shutil.rmtree(out, ignore_errors=True)
    names.write_text("\n".join(map(str, photos)), encoding="utf-8")
    with open(names, encoding="utf-8") as lines:
        return _run([*_ovxai(), "run", model, "-", "-o", out, "--quiet", *options], stdin=lines)


def _benchmark_app(model: Path, precision: str, seconds: int) -> float:
    program = Path(sys.executable).with_name("benchmark_app")
    words = [program, "-m", model, "-d", "CPU", "-hint", "throughput", "-t", seconds, "-infer_precision", precision]
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=True)
    said = re.search(r"Throughput:\s+([\d.]+) FPS", done.stdout)
    if said is None:
        raise RuntimeError(f"{program.name} told no throughput: {done.stdout[-200:]}")
    return float(said[1])


def _run(words: Sequence[object], **more: Any) -> Took:
    """Run a process to its end."""
    began, busy = time.perf_counter(), _busy()
    before = os.times()
    subprocess.run([str(word) for word in words], check=True, **more)
    after = os.times()
    wall = time.perf_counter() - began
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return Took(wall, cpu, max(0.0, _busy() - busy - cpu) / wall)


def _busy() -> float:
    """Seconds that all cores have worked since the machine started; 0 where the system doesn't say."""
    try:
        user, nice, system = map(int, Path("/proc/stat").read_text(encoding="ascii").split()[1:4])
    except (OSError, ValueError):
        return 0.0
    return (user + nice + system) / os.sysconf("SC_CLK_TCK")


def _ovxai() -> list[str]:
    return [sys.executable, "-c", "from ovxai.cli.main import main; main()"]


def _title(model: Path) -> str:
    return model.stem.removesuffix("_xai")


def _judged(value: float, goal: float, *, above: bool) -> str:
    return f"{value:.2f}" if (value >= goal if above else value <= goal) else f"**{value:.2f}**"
