"""Sweep timm architectures: export, insert, verify, time. Resumable; one process a model, with limits.

    python scripts/zoo.py resnet18 vit_tiny_patch16_224
    python scripts/zoo.py --names names.txt --variants static,dynamic,onnx --time --memory --table docs/zoo.md

Weights are random and every one-dimensional parameter is jittered: zero biases and unit scales vanish
at conversion, and a freshly initialised network is another graph than a trained one. Every result is
one line of the store (--store), and what stands there is not done again. Needs torch and timm.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

from zoo_models import export

VARIANTS = ("static", "dynamic", "onnx", "onnx-dynamic")
GIB = 1 << 30


def main() -> None:
    """Run what is missing in the store, then print and write the table."""
    options = _parse()
    if options.one:
        return _child(options)
    store = Path(options.store)
    done = {_key(row) for row in _rows(store) if not (options.retry and row.get("fail"))}
    wanted = [(name, variant) for name in _names(options) for variant in options.variants]
    for number, (name, variant) in enumerate(wanted, 1):
        if (name, variant, options.insert) in done:
            continue
        row = _in_process(name, variant, options)
        with store.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(f"[{number}/{len(wanted)}] {_line(row)}", flush=True)
    latest = {_key(row): row for row in _rows(store)}
    rows = [latest[name, variant, options.insert] for name, variant in wanted]
    text = table(rows, "python scripts/zoo.py " + " ".join(sys.argv[1:]))
    print(text)
    if options.table:
        Path(options.table).write_text(text, encoding="utf-8")
    sys.exit(0 if all(right(row) for row in rows) else 1)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", help="timm names")
    parser.add_argument("--names", type=Path, help="a file with one name a line")
    parser.add_argument("--variants", default="static", type=lambda text: text.split(","), help=", ".join(VARIANTS))
    parser.add_argument("--insert", default="", help="options for ovxai insert, such as '--classes top:5'")
    parser.add_argument("--store", default="zoo.jsonl", help="one JSON line a result (default: zoo.jsonl)")
    parser.add_argument("--table", help="write the table to this file too")
    parser.add_argument("--time", action="store_true", help="measure the ratio explained / plain")
    parser.add_argument("--memory", action="store_true", help="measure peak memory in processes of their own")
    parser.add_argument("--precision", default="f32", help="for --time (verification is always f32)")
    parser.add_argument("--retry", action="store_true", help="do failed ones again")
    parser.add_argument("--timeout", type=int, default=900, help="seconds a model")
    parser.add_argument("--memory-limit", type=int, default=20, help="GiB of address space a process")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    unknown = set(options.variants) - set(VARIANTS)
    if unknown:
        parser.error(f"--variants: there is no {min(unknown)}; choose from {', '.join(VARIANTS)}")
    return options


def _names(options: argparse.Namespace) -> list[str]:
    listed = options.names.read_text(encoding="utf-8").split() if options.names else []
    return list(dict.fromkeys([*options.models, *listed]))


def _rows(store: Path) -> list[dict]:
    if not store.exists():
        return []
    return [json.loads(line) for line in store.read_text(encoding="utf-8").splitlines() if line.strip()]


def _key(row: dict) -> tuple[str, str, str]:
    return row["name"], row["variant"], row["insert"]


def _in_process(name: str, variant: str, options: argparse.Namespace) -> dict:
    """One model in a process group of its own, so that a hung export takes nothing with it."""
    words = [sys.executable, __file__, name, "--one", "--variants", variant, "--precision", options.precision]
    words += ["--insert", options.insert, "--memory-limit", str(options.memory_limit)]
    words += ["--time"] * options.time + ["--memory"] * options.memory
    row = {"name": name, "variant": variant, "insert": options.insert}
    start = time.time()
    with tempfile.TemporaryFile("w+") as errors:
        child = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=errors, text=True, start_new_session=True)
        try:
            output, _ = child.communicate(timeout=options.timeout)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            output, _ = child.communicate()
            row["fail"] = f"timeout after {options.timeout} s"
        errors.seek(0)
        lines = errors.read().strip().splitlines()
    # The child prints its row again after every step: the last line is as far as it got.
    for line in output.splitlines():
        if line.startswith("{"):
            row = {**json.loads(line), **({"fail": row["fail"]} if "fail" in row else {})}
    if child.returncode and "fail" not in row:
        row["fail"] = f"died ({child.returncode}): {lines[-1][:160] if lines else 'no words'}"
    row.pop("plain", None)  # where it lay is of no interest later
    return {**row, "seconds": round(time.time() - start, 1)}


def _child(options: argparse.Namespace) -> None:
    warnings.filterwarnings("ignore")
    limit = options.memory_limit * GIB
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    row = {"name": options.models[0], "variant": options.variants[0], "insert": options.insert}
    with tempfile.TemporaryDirectory() as folder:
        for step in (_export, _insert, _verify, _time):
            try:
                row.update(step(Path(folder), row, options))
            except Exception as error:
                words = " ".join(str(error).split()) or type(error).__name__
                row["export" if step is _export else "fail"] = words[:240]
                break
            print(json.dumps(row), flush=True)
    print(json.dumps(row), flush=True)


def _export(folder: Path, row: dict, _options: argparse.Namespace) -> dict:
    return {"plain": str(export(row["name"], folder, row["variant"]))}


def ovxai(*words: object) -> dict:
    """Run a command of `ovxai` with --json; its document.

    Raises:
        RuntimeError: with the command's own line, or how it died.
    """
    command = [sys.executable, "-c", "from ovxai.cli.main import main; main()", *map(str, words), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        document = json.loads(done.stdout)
    except json.JSONDecodeError:
        lines = done.stderr.strip().splitlines()
        raise RuntimeError(f"ovxai {words[0]} died ({done.returncode}): {lines[-1] if lines else ''}") from None
    if "error" in document:
        raise RuntimeError(f"ovxai {words[0]}: {document['error']}")
    return document


def _insert(folder: Path, row: dict, options: argparse.Namespace) -> dict:
    start = time.time()
    ovxai("insert", row["plain"], "-o", folder / "xai.xml", "--raw", *options.insert.split())
    taken = round(time.time() - start, 2)
    import openvino as ov

    from ovxai.metadata import ExplainedInfo

    info = ExplainedInfo.read(ov.Core().read_model(folder / "xai.xml"))
    keys = (
        "method",
        "mask",
        "layout",
        "grid",
        "prefix_tokens",
        "target_layers",
        "collapse",
        "collapse_reason",
    )
    return {"insert_s": taken, **{key: getattr(info, key) for key in keys}}


def _verify(folder: Path, row: dict, _options: argparse.Namespace) -> dict:
    report = ovxai("verify", folder / "xai.xml", "--plain", row["plain"])
    places = next((check["detail"] for check in report["checks"] if check["name"] == "places"), "")
    failed = [f"{check['name']}: {check['detail']}" for check in report["checks"] if check["ok"] is False]
    return {
        "ok": report["ok"], "units": report["units"], "map": report["map_shape"],
        "outputs_kept": report["outputs_kept"], "places": places, "failed": failed, "notes": report["notes"],
    }  # fmt: skip


def _time(folder: Path, _row: dict, options: argparse.Namespace) -> dict:
    if not options.time and not options.memory:
        return {}
    words = ["--precision", options.precision, "--no-throughput", "--seconds", 40]
    words += ["--memory" if options.memory else "--no-memory"]
    report = ovxai("bench", folder / "xai.xml", *words)
    figures = {
        "ratio": round(report["ratio"], 3),
        "precision": report["precision"],
        "plain_ms": report["plain"]["latency_ms"],
    }
    return figures | ({"memory": round(report["memory_ratio"], 3)} if report["memory_ratio"] else {})


def right(row: dict) -> bool:
    """Verified, or not exportable at all (which is not ours to judge)."""
    return "export" in row or bool(row.get("ok"))


def _line(row: dict) -> str:
    state = (
        (row.get("export") and f"no export: {row['export'][:80]}")
        or row.get("fail")
        or ("ok" if row.get("ok") else f"WRONG {row.get('failed')}")
    )
    figures = " ".join(
        f"{key} {row[key]}" for key in ("collapse", "units", "ratio", "memory", "seconds") if row.get(key) is not None
    )
    return f"{row['name']} {row['variant']}: {state} {figures}"


def table(rows: list[dict], command: str) -> str:
    """A markdown table, a line each model: the command that made it, what it adds up to, deviations by export."""
    tried = [row for row in rows if "export" not in row]
    exact = sum(row.get("collapse") == "exact" for row in tried)
    verified = sum(bool(row.get("ok")) for row in tried)
    variants = list(dict.fromkeys(row["variant"] for row in rows))
    models: dict[str, list[dict]] = {}
    for row in rows:
        models.setdefault(row["name"], []).append(row)
    heads = ["model", "method", "map", *variants, "time", "memory", "remarks"]
    lines = [
        f"`{command}`", "",
        f"{len(models)} models, {len(rows)} exports tried, {len(tried)} converted, {verified} verified against the definition"
        f" in f32, {exact} collapsed exactly.", "",
        "By export: the largest deviation from the definition in units of the tolerance (1 is allowed), and how it was collapsed"
        " where not exactly. Time, memory: explained / plain, where measured.", "",
        "| " + " | ".join(heads) + " |", "| " + " | ".join("---" for _ in heads) + " |",
    ]  # fmt: skip
    return "\n".join([*lines, *(_table_row(name, group, variants) for name, group in models.items())]) + "\n"


def _table_row(name: str, group: list[dict], variants: list[str]) -> str:
    def first(key: str) -> Any:
        return next((row[key] for row in group if row.get(key) is not None), "")

    size = "x".join(map(str, first("map")[1:])) if first("map") else ""
    by_variant = {row["variant"]: _deviation(row) for row in group}
    remarks = dict.fromkeys(remark for row in group if (remark := _remark(row)))
    cells = [name, first("method"), size, *(by_variant.get(variant, "") for variant in variants)]
    cells += [first("ratio"), first("memory"), "; ".join(remarks).replace("|", "/")[:240]]
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def _deviation(row: dict) -> str:
    if "export" in row:
        return "no export"
    units = f"{row['units']:.2g}" if row.get("units") is not None else "failed"
    return units if row.get("collapse") in (None, "exact") else f"{units} ({row['collapse']})"


def _remark(row: dict) -> str:
    """What there is to say about one export."""
    remark = (
        "does not convert: " + row["export"][:100] if "export" in row else row.get("fail", "") or "; ".join(row.get("failed", []))
    )
    if not remark and row.get("collapse") not in (None, "exact"):
        remark = row.get("collapse_reason", "")
    words = "; ".join(word for word in (remark, *row.get("notes", [])) if word)
    return f"{row['variant']}: {words}" if words else ""


if __name__ == "__main__":
    main()
