"""The table of kinds."""

from __future__ import annotations

from fuzzing import faults, inputs, models
from fuzzing.cases import Case

#: kind -> the case, and how many are run for one of the rarest where all kinds are.
KINDS: dict[str, tuple[Case, int]] = {
    "xml": (models.xml, 12), "weights": (models.weights, 4), "onnx": (models.onnx, 12), "explained": (models.explained, 12),
    "mixed-pair": (models.mixed_pair, 6), "rt-info": (models.rt_info, 6), "heads": (inputs.heads, 8),
    "pictures": (inputs.pictures, 60), "manifests": (inputs.manifests, 30), "labels": (inputs.labels, 20),
    "two-writers": (faults.two_writers, 2), "killed-writer": (faults.killed_writer, 1), "full-disk": (faults.full_disk, 4),
    "killed-run": (faults.killed_run, 1), "run-on-a-full-disk": (faults.run_on_a_full_disk, 1),
}  # fmt: skip
