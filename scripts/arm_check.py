"""Explained models on OpenVINO's ARM plugin, under emulation, beside this machine's f32.

    python scripts/arm_check.py cnn vit detector --work /tmp/arm
    python scripts/arm_check.py --ir model.xml --pictures folder --count 3

Needs Debian with qemu-user-static (`apt-get install qemu-user-static`), the right to add an architecture to apt, and a
package index that has OpenVINO's aarch64 wheel. What is fetched stays in --work and is used again.

Per model: the device's own precision, the correlation of the scaled map (class of largest spread) with what f32 makes here of
the same gated tensors (branch), and with f32 here throughout (both): mean / worst over the pictures.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import openvino as ov
from openvino import opset13 as op

from ovxai.evaluation import map_correlation
from ovxai.graph.read import read_model
from ovxai.insertion import insert_with_report
from ovxai.metadata import SALIENCY_MAP
from ovxai.options import InsertOptions
from ovxai.quantization.measure import calibration_feeds, find_pictures
from ovxai.runtime.feed.preprocess import PreprocessOptions
from ovxai.verification.plain import port_named
from ovxai.verification.precision import from_layers
from own_models import OWN, first_pictures, folder_of

QEMU = "qemu-aarch64-static"
#: What Python 3.11 and OpenVINO need of Debian.
PACKAGES = (
    "python3.11-minimal", "libpython3.11-minimal", "libpython3.11-stdlib", "libc6", "libstdc++6", "libgcc-s1", "zlib1g",
    "libexpat1", "libssl3", "libffi8", "libbz2-1.0", "liblzma5", "libsqlite3-0", "libuuid1",
)  # fmt: skip
WHEELS = (f"openvino=={ov.__version__.split('-')[0]}", "openvino-telemetry", "numpy==2.3.0")
PLATFORMS = ("manylinux_2_35_aarch64", "manylinux_2_28_aarch64", "manylinux2014_aarch64")
#: Runs there: model, feeds and where the outputs go.
DRIVER = """
import sys, time
sys.path.insert(0, sys.argv[1])
import numpy as np
import openvino as ov
core = ov.Core()
began = time.time()
compiled = core.compile_model(sys.argv[2], "CPU", {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": int(sys.argv[5])})
print(compiled.get_property("INFERENCE_PRECISION_HINT").to_string(), round(time.time() - began), flush=True)
request = compiled.create_infer_request()
feeds = np.load(sys.argv[3])
count = len(compiled.inputs)
found = {}
for i in range(len(feeds.files) // count):
    request.infer([feeds[f"{i}_{k}"] for k in range(count)])
    found.update({f"{i}_{k}": tensor.data.copy() for k, tensor in enumerate(request.output_tensors)})
np.savez(sys.argv[4], **found)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", choices=[*OWN, []], help=", ".join(OWN))
    parser.add_argument("--ir", type=Path, action="append", default=[], help="a plain model of your own")
    parser.add_argument("--pictures", type=Path, help="a folder (default: the repository's)")
    parser.add_argument("--count", type=int, default=3, help="pictures (default: 3)")
    parser.add_argument("--work", type=Path, default=Path("arm_check.work"), help="where the foreign files are kept")
    options = parser.parse_args()
    if shutil.which(QEMU) is None:
        sys.exit(f"Error: {QEMU} is not on PATH; on Debian: apt-get install qemu-user-static")
    work = options.work.resolve()
    _prepare(work)
    print("| model | precision | compiled in | branch | both |\n|---|---|---|---|---|", flush=True)
    failed = 0
    for path in [*(OWN[name] for name in options.models), *options.ir]:
        try:
            precision, seconds, found = _compare(path, options.pictures or folder_of(path), options.count, work)
        except RuntimeError as error:
            print(f"| {path.stem} | {error} | | | |", flush=True)
            failed += 1
            continue
        cells = " | ".join(f"{np.mean(one):.5f} / {np.min(one):.5f}" for one in zip(*found))
        print(f"| {path.stem} | {precision} | {seconds} s | {cells} |", flush=True)
    sys.exit(1 if failed else 0)


def _prepare(work: Path) -> None:
    """An aarch64 root with Python in WORK/root, the packages in WORK/site."""
    root, site = work / "root", work / "site"
    if not (root / "done").exists():
        debs = work / "debs"
        debs.mkdir(parents=True, exist_ok=True)
        _do("dpkg", "--add-architecture", "arm64")
        try:
            _do("apt-get", "update", "-q")
            _do("apt-get", "download", *(f"{name}:arm64" for name in PACKAGES), cwd=debs)
        finally:
            _do("dpkg", "--remove-architecture", "arm64")
        for deb in sorted(debs.glob("*.deb")):
            _do("dpkg", "-x", str(deb), str(root))
        (root / "done").touch()
    if not (site / "done").exists():
        wheels = work / "wheels"
        platforms = [word for name in PLATFORMS for word in ("--platform", name)]
        _do(
            sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", "--python-version", "3.11",
            *platforms, "-d", str(wheels), *WHEELS,
        )  # fmt: skip
        for wheel in sorted(wheels.glob("*.whl")):
            zipfile.ZipFile(wheel).extractall(site)
        (site / "done").touch()


def _do(*command: str, cwd: Path | None = None) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "no words").splitlines()[-1]
        sys.exit(f"Error: {' '.join(command[:3])} failed: {last}")


def _compare(path: Path, folder: Path, count: int, work: Path) -> tuple[str, int, list[tuple[float, float]]]:
    """The precision there, seconds of compilation, and (branch, both) for each picture."""
    plain = read_model(path)
    done = insert_with_report(plain, InsertOptions(probe=False))
    layers = done.info.target_layers
    pictures = find_pictures(folder, plain, PreprocessOptions())
    feeds = list(calibration_feeds(pictures, first_pictures(pictures, count), plain))
    tapped = done.model.clone()
    tapped.add_results([op.result(port_named(tapped, name)) for name in layers])
    precision, seconds, outputs = _emulated(tapped, feeds, work)
    place = next(i for i, port in enumerate(done.model.outputs) if SALIENCY_MAP in port.get_names())
    branch, exact = from_layers(done.model, layers), from_layers(done.model, ())
    found = []
    for i, feed in enumerate(feeds):
        inputs = dict(enumerate(feed))
        total = len(tapped.outputs)
        taps = [outputs[f"{i}_{k}"] for k in range(total - len(layers), total)]
        rough, from_taps, true = outputs[f"{i}_{place}"][0], branch(inputs, taps)[0], exact(inputs, ())[0]
        top = int(from_taps.reshape(len(from_taps), -1).std(1).argmax())
        if from_taps[top].std() > 0:
            found.append((map_correlation(rough[top], from_taps[top]), map_correlation(rough[top], true[top])))
    return precision, seconds, found


def _emulated(model: ov.Model, feeds: Sequence[Sequence[np.ndarray]], work: Path) -> tuple[str, int, dict[str, np.ndarray]]:
    files = {name: work / name for name in ("model.xml", "feeds.npz", "driver.py", "outputs.npz")}
    ov.save_model(model, files["model.xml"], compress_to_fp16=False)
    arrays: dict[str, np.ndarray] = {f"{i}_{k}": array for i, feed in enumerate(feeds) for k, array in enumerate(feed)}
    np.savez(files["feeds.npz"], allow_pickle=False, **arrays)
    files["driver.py"].write_text(DRIVER)
    root = work / "root"
    libraries = f"{root}/usr/lib/aarch64-linux-gnu:{root}/lib/aarch64-linux-gnu"
    done = subprocess.run(
        [
            QEMU, "-L", str(root), "-E", f"LD_LIBRARY_PATH={libraries}", "-E", f"PYTHONHOME={root}/usr",
            f"{root}/usr/bin/python3.11", str(files["driver.py"]), str(work / "site"), str(files["model.xml"]),
            str(files["feeds.npz"]), str(files["outputs.npz"]), str(os.cpu_count() or 1),
        ],
        capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        last = (done.stderr.strip() or "no words").splitlines()[-1]
        raise RuntimeError(f"the run ended with {done.returncode}: {last}")
    precision, seconds = done.stdout.split()[-2:]
    with np.load(files["outputs.npz"]) as outputs:
        return precision, int(seconds), dict(outputs)


if __name__ == "__main__":
    main()
