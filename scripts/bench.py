"""Measure the table of benchmarks: explained against plain, beside peers where they are installed.

    python scripts/bench.py                                  the whole table into docs/benchmarks.md
    python scripts/bench.py --only DeiT --precision bf16     some rows
    python scripts/bench.py --ir detector.xml=1.02           models of your own, plain IR or ONNX, with a goal
    python scripts/bench.py --runner [EXPLAINED.xml ...]     `ovxai run`: start-up and pictures a second (no torch needed)

Random weights, every one-dimensional parameter jittered; each row in a process of its own; calls of
plain and explained alternate, and the ratio is the median over pairs. Needs torch, timm and
torchvision. openvino_xai is measured in the same run where it can be imported.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"
RUNNER = "Runner"


@dataclass(frozen=True)
class Row:
    """One line of the table.

    title: for people. name: timm's, torchvision:NAME, or the path of a plain model. goal, memory: the largest ratios
    wished for. classes: how many the model has. insert: options of `ovxai insert`.
    """

    title: str
    name: str
    goal: float
    classes: int = 1000
    insert: str = ""
    memory: float = 1.05


ROWS = (
    Row("ResNet-50", "torchvision:resnet50", 1.03),
    Row("EfficientNet-B0", "efficientnet_b0", 1.07),
    Row("MobileNetV3-L", "mobilenetv3_large_100", 1.32),
    Row("MobileNetV3-L, top-5 classes", "mobilenetv3_large_100", 1.18, insert="--classes top:5"),
    Row("ConvNeXt-T", "convnext_tiny", 1.02),
    Row("VGG-11", "torchvision:vgg11", 1.25, memory=1.4),
    Row("XCiT-Nano/8", "xcit_nano_12_p8_224", 1.25, memory=1.1),
    Row("DINOv2-S/14", "vit_small_patch14_dinov2", 1.25, memory=1.1),
    Row("Mixer-B/16", "mixer_b16_224", 1.03),
    Row("DeiT-Ti/16", "deit_tiny_patch16_224", 1.10),
    Row("DeiT-Ti/16, top-5 classes", "deit_tiny_patch16_224", 1.07, insert="--classes top:5"),
    Row("ViT-B/16", "vit_base_patch16_224", 1.05),
    Row("DeiT-Ti/16, 10 classes", "deit_tiny_patch16_224", 1.07, classes=10),
    Row("EfficientNet-B0, 10 classes", "efficientnet_b0", 1.06, classes=10),
    Row("MobileNetV3-L, 10 classes", "mobilenetv3_large_100", 1.15, classes=10),
)


#: What is known of a row so far: its own fields, then what was measured, as JSON between processes.
Found = dict[str, Any]


def main() -> None:
    options = _parse()
    if options.one:
        _child(json.loads(options.one), options)
    elif options.runner is not None:
        _runner(options)
    else:
        _whole_table(options)


def _whole_table(options: argparse.Namespace) -> None:
    rows = [row for row in ROWS if any(word.lower() in row.title.lower() for word in options.only or [""])]
    rows = rows if not options.ir or options.only else []
    for item in options.ir:
        path, _, goal = item.rpartition("=")
        rows.append(Row(Path(path).parent.name + "/" + Path(path).name, path, float(goal)))
    done = []
    for row in rows:
        done.append(_in_process(asdict(row), options))
        print(_table_row(done[-1]), flush=True)
    text = table(done, "python scripts/bench.py " + " ".join(sys.argv[1:]))
    if options.out:
        _write(options.out, text + "".join(_sections(options.out)))


def _runner(options: argparse.Namespace) -> None:
    import bench_runner

    body = bench_runner.measure(options.runner, options.precision, options.pictures, options.repeats)
    command = "python scripts/bench.py " + " ".join(
        Path(word).name if word in map(str, options.runner) else word for word in sys.argv[1:]
    )
    section = f"\n## {RUNNER}\n\n`{command}` with {_machine()}.\n\n{body}\n"
    print(section)
    if options.out:
        _put_section(options.out, section)


def _put_section(path: Path, section: str) -> None:
    """Put a section in the place of the one that begins with the same line, else behind all others."""
    head = path.read_text(encoding="utf-8").split("\n## ")[0] if path.exists() else "# Benchmarks\n"
    title = section.splitlines()[1]
    sections = [section if old.splitlines()[1] == title else old for old in _sections(path)]
    _write(path, head + "".join(sections if section in sections else [*sections, section]))


def _sections(path: Path) -> list[str]:
    """The sections of a page; what stands before the first is not among them."""
    parts = path.read_text(encoding="utf-8").split("\n## ") if path.exists() else []
    return [f"\n## {part}" for part in parts[1:]]


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    print(f"written: {path}")


def _machine() -> str:
    import openvino as ov

    return f"{os.cpu_count()} cores, OpenVINO {ov.get_version().split('-')[0]}"


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", help="rows whose title holds this (repeatable)")
    parser.add_argument(
        "--ir",
        action="append",
        default=[],
        metavar="FILE=GOAL",
        help="a plain model of your own (repeatable)",
    )
    parser.add_argument("--precision", default="f32", choices=["auto", "f32", "f16", "bf16"])
    parser.add_argument("--calls", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=60, help="at most, for the pairs of one row")
    parser.add_argument("--timeout", type=int, default=1200, help="seconds a row")
    parser.add_argument("--peers", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--out", type=Path, default=DOCS, help="where the table goes (default: docs/benchmarks.md)")
    parser.add_argument(
        "--runner",
        nargs="*",
        type=Path,
        metavar="EXPLAINED",
        help="measure `ovxai run` instead (default: on the shipped classifier)",
    )
    parser.add_argument("--pictures", type=int, default=200, help="of the runner's folder")
    parser.add_argument("--repeats", type=int, default=5, help="of the runner's figures; medians are shown")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    return parser.parse_args()


def _in_process(row: Found, options: argparse.Namespace) -> Found:
    words = [sys.executable, __file__, "--one", json.dumps(row), "--precision", options.precision]
    words += ["--calls", str(options.calls), "--seconds", str(options.seconds)]
    words += [] if options.peers else ["--no-peers"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=options.timeout, check=False)
    except subprocess.TimeoutExpired as error:
        found = _last_row((error.stdout or b"").decode(), row)
        return {**found, "fail": f"timeout after {options.timeout} s"}
    found = _last_row(done.stdout, row)
    if done.returncode and "fail" not in found:
        lines = done.stderr.strip().splitlines()
        found["fail"] = f"died ({done.returncode}): {lines[-1][:120] if lines else 'no words'}"
    return found


def _last_row(output: str, row: Found) -> Found:
    # A child tells what it has after every step: a peer that dies takes only its own figure with it.
    lines = [line for line in output.splitlines() if line.startswith("{")]
    return json.loads(lines[-1]) if lines else dict(row)


def _child(row: Found, options: argparse.Namespace) -> None:
    import zoo

    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        try:
            plain = _plain(row, folder)
            start = time.perf_counter()
            zoo.ovxai("insert", plain, "-o", folder / "xai.xml", "--no-probe", *row["insert"].split())
            row["insert_s"] = round(time.perf_counter() - start, 2)
            words = ["--precision", options.precision, "--calls", options.calls, "--seconds", options.seconds]
            row["report"] = zoo.ovxai("bench", folder / "xai.xml", *words)
        except Exception as error:
            row["fail"] = " ".join(str(error).split())[:160]
        print(json.dumps(row), flush=True)
        if options.peers and "fail" not in row:
            try:
                row["peer"] = round(_peer(plain, options), 2)
            except ModuleNotFoundError as error:
                row["peer_fail"] = "not installed" if error.name == "openvino_xai" else f"needs {error.name}"
            except Exception as error:
                row["peer_fail"] = "fails: " + " ".join(str(error).split())[:80].replace("|", "/")
            print(json.dumps(row), flush=True)


def _plain(row: Found, folder: Path) -> Path:
    if Path(row["name"]).suffix in (".xml", ".onnx"):
        return Path(row["name"]).resolve()
    import openvino as ov

    from zoo_models import converted

    # XCiT, DINOv2 and others take the number of classes by the same word in timm and torchvision.
    model = converted(row["name"], num_classes=row["classes"])
    ov.save_model(model, folder / "plain.xml", compress_to_fp16=False)
    return folder / "plain.xml"


def _peer(plain: Path, options: argparse.Namespace) -> float:
    """The same ratio for openvino_xai.

    Raises:
        ImportError: not installed. Anything else: what it could not do.
    """
    import openvino as ov

    from ovxai.bench import alternate, probe_feeds
    from ovxai.graph.read import read_model

    _old_places(ov)
    import openvino_xai as xai

    own = read_model(plain)
    peer = xai.insert_xai(read_model(plain), task=xai.Task.CLASSIFICATION)
    config = {} if options.precision == "auto" else {"INFERENCE_PRECISION_HINT": options.precision}
    return alternate([own, peer], probe_feeds(own, 1, None), "CPU", config, options.calls, options.seconds).ratio


def _old_places(ov: Any) -> None:
    """The peer's imports date from when the API lived one module deeper."""
    if importlib.util.find_spec("openvino.runtime") is not None:
        return
    importlib.import_module("openvino.opset10")
    wrappers = importlib.import_module("openvino.utils.data_helpers.wrappers")
    ov.runtime = sys.modules["openvino.runtime"] = ov
    for name in ("utils", "utils.data_helpers"):
        sys.modules[f"openvino.runtime.{name}"] = importlib.import_module(f"openvino.{name}")
    sys.modules["openvino.runtime.utils.data_helpers.wrappers"] = wrappers


def table(rows: list[Found], command: str) -> str:
    """Markdown, with what a reader needs to judge or repeat it."""
    precisions = sorted({row["report"]["precision"] for row in rows if "report" in row})
    lines = [
        "# Benchmarks",
        "",
        f"`{command.strip()}` with {_machine()}, computed in {', '.join(precisions) or '?'}.",
        "",
        "Ratios are explained / plain of the same model: median over pairs of alternating calls in one process, half of them "
        "with",
        "the explained model compiled first; memory is the peak of separate processes. Random weights, every one-dimensional "
        "parameter jittered. Peer: openvino_xai in the same run, where it is installed.",
        "",
        "| model | time ratio | goal | peer's ratio | memory ratio | goal | throughput kept | .bin growth KB | insert s | "
        "collapse |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    return "\n".join([*lines, *map(_table_row, rows)]) + "\n"


def _table_row(row: Found) -> str:
    report = row.get("report")
    peer = row.get("peer", row.get("peer_fail", ""))
    if report is None:
        return (
            f"| {row['title']} | {row.get('fail', '?').replace('|', '/')} | {row['goal']} | {peer} | | {row['memory']} | | | | |"
        )
    growth = (report["explained"]["bin_bytes"] - report["plain"]["bin_bytes"]) / 1024
    cells = [
        row["title"], _judged(report["ratio"], row["goal"]), row["goal"], peer, _judged(report["memory_ratio"], row["memory"]),
        row["memory"], f"{report['throughput_ratio']:.2f}" if report["throughput_ratio"] else "", f"{growth:.0f}",
        row.get("insert_s", ""), report["collapse"],
    ]  # fmt: skip
    return "| " + " | ".join(map(str, cells)) + " |"


def _judged(value: float | None, goal: float) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if value <= goal else f"**{value:.3f}**"


if __name__ == "__main__":
    main()
