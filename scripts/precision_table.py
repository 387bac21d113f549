"""What the device's own precision does to maps: the branch's rounding apart from the trunk's.

    python scripts/precision_table.py cnn vit detector instances efficientnet_lite0 --precision bf16
    python scripts/precision_table.py --ir model.xml --pictures folder

Each explained model runs in the low precision and hands out the tensors that are gated; from those the
same graph runs once more in f32. Correlation of the top class's raw map, mean / worst over the pictures.
branch: low precision against f32 from the same gated tensors. trunk: that against f32 throughout. both: all in all.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openvino as ov
from openvino import opset13 as op

from ovxai.evaluation import map_correlation
from ovxai.graph.names import port_named
from ovxai.graph.read import read_model
from ovxai.insertion import insert_with_report
from ovxai.options import InsertOptions
from ovxai.quantization.measure import calibration_feeds, find_pictures
from ovxai.runtime.feed.preprocess import PreprocessOptions
from own_models import OWN, first_pictures, folder_of

#: Arrays by input index -> (values of the gated tensors, where asked for; saliency_map).
Runner = Callable[[dict[int, np.ndarray]], tuple[list[np.ndarray], np.ndarray]]


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
    low, branch, exact = _three(done.model, done.info.target_layers, options.precision)
    found = []
    for feed in calibration_feeds(pictures, paths, plain):
        feeds = dict(enumerate(feed))
        taps, rough = low(feeds)
        _, from_taps = branch({len(feeds) + i: tap for i, tap in enumerate(taps)} | feeds)
        _, true = exact(feeds)
        top = _liveliest(true)
        low_map, branch_map, true_map = (maps[0, top].astype(np.float64) for maps in (rough, from_taps, true))
        if min(one.std() for one in (low_map, branch_map, true_map)) > 0:
            pairs = ((low_map, branch_map), (branch_map, true_map), (low_map, true_map))
            in_branch, in_trunk, both = (map_correlation(*pair) for pair in pairs)
            found.append((in_branch, in_trunk, both))
    return found


def _liveliest(maps: np.ndarray) -> int:
    """The class whose map of the first picture varies most. maps: [N, C, h, w]."""
    return int(maps[0].reshape(maps.shape[1], -1).std(1).argmax())


def _three(model: ov.Model, layers: tuple[str, ...], precision: str) -> tuple[Runner, Runner, Runner]:
    """The model with its gated tensors as outputs in the low precision; from those tensors on in f32; all in f32."""
    tapped = model.clone()
    # Not add_outputs, which leaves out what is an output already.
    tapped.add_results([op.result(port_named(tapped, name)) for name in layers])
    cut = model.clone()
    extra = []
    for name in layers:
        port = port_named(cut, name)
        parameter = op.parameter(port.get_partial_shape(), port.get_element_type())
        for inner in list(port.get_target_inputs()):
            if inner.get_node().get_type_name() != "Result":
                inner.replace_source_output(parameter.output(0))
        extra.append(parameter)
    cut.add_parameters(extra)
    cut.validate_nodes_and_infer_types()
    return _runner(tapped, precision, len(layers)), _runner(cut, "f32", 0), _runner(model, "f32", 0)


def _runner(model: ov.Model, precision: str, taps: int) -> Runner:
    request = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": precision}).create_infer_request()

    def run(feeds: dict[int, np.ndarray]) -> tuple[list[np.ndarray], np.ndarray]:
        results = request.infer(feeds)
        outputs = [np.array(results[place]) for place in range(len(model.outputs))]
        return outputs[len(outputs) - taps :] if taps else [], np.array(results["saliency_map"])

    return run


if __name__ == "__main__":
    main()
