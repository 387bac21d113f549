"""What the device's own precision does to maps: the branch's rounding apart from the trunk's.

    python scripts/precision_table.py cnn vit detector instances efficientnet_lite0 --precision bf16
    python scripts/precision_table.py --ir model.xml --pictures folder

Each explained model runs in the low precision and hands out the tensors that are gated; from those the
same graph runs once more in f32. Correlation of the top class's raw map, mean / worst over the pictures.
branch: low precision against f32 from the same gated tensors. trunk: that against f32 throughout. both: all in all.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from ovxai.evaluation import map_correlation
from ovxai.graph.read import read_model
from ovxai.insertion import insert_with_report
from ovxai.options import InsertOptions
from ovxai.quantization.measure import calibration_feeds, find_pictures
from ovxai.runtime.feed.preprocess import PreprocessOptions
from ovxai.verification.precision import from_layers, in_precision
from own_models import OWN, first_pictures, folder_of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", choices=[*OWN, []], help=", ".join(OWN))
    parser.add_argument("--ir", type=Path, action="append", default=[], help="a plain model of your own")
    parser.add_argument("--pictures", type=Path, help="a folder (default: the repository's)")
    parser.add_argument("--precision", choices=("bf16", "f16"), default="bf16")
    parser.add_argument("--count", type=int, default=10, help="pictures (default: 10)")
    options = parser.parse_args()
    print("| model | branch | trunk | both |\n|---|---|---|---|")
    for path in [*(OWN[name] for name in options.models), *options.ir]:
        found = _correlations(path, options.pictures or folder_of(path), options)
        cells = " | ".join(f"{np.mean(one):.5f} / {np.min(one):.5f}" for one in zip(*found))
        print(f"| {path.stem} | {cells} |", flush=True)


def _correlations(path: Path, folder: Path, options: argparse.Namespace) -> list[tuple[float, float, float]]:
    """(branch, trunk, both) for each picture."""
    plain = read_model(path)
    done = insert_with_report(plain, InsertOptions(probe=False, scale=False))
    pictures = find_pictures(folder, plain, PreprocessOptions())
    paths = first_pictures(pictures, options.count)
    layers = done.info.target_layers
    low, _ = in_precision(done.model, layers, options.precision, "CPU")
    branch, exact = from_layers(done.model, layers), from_layers(done.model, ())
    found = []
    for feed in calibration_feeds(pictures, paths, plain):
        feeds = dict(enumerate(feed))
        rough, taps = low(feeds)
        from_taps, true = branch(feeds, taps), exact(feeds, ())
        top = _liveliest(true)
        low_map, branch_map, true_map = (maps[0, top] for maps in (rough, from_taps, true))
        if min(one.std() for one in (low_map, branch_map, true_map)) > 0:
            pairs = ((low_map, branch_map), (branch_map, true_map), (low_map, true_map))
            in_branch, in_trunk, both = (map_correlation(*pair) for pair in pairs)
            found.append((in_branch, in_trunk, both))
    return found


def _liveliest(maps: np.ndarray) -> int:
    """The class whose map of the first picture varies most. maps: [N, C, h, w]."""
    return int(maps[0].reshape(maps.shape[1], -1).std(1).argmax())


if __name__ == "__main__":
    main()
