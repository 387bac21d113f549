"""The shapes world: maps of the trained instance segmenter against pasting on the host at full resolution."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import openvino as ov
import pytest

from ovxai.find.instances.search import find_instances
from ovxai.find.site import Request
from ovxai.graph.graph import Graph
from ovxai.graph.surgery import attach_outputs
from ovxai.metadata import ModelInfo
from ovxai.methods import instance_masks
from ovxai.options import InsertOptions

SHAPES = Path(__file__).resolve().parents[2] / "fixtures" / "shapes"
SIDE = 160


def explained(map_size):
    model = ov.Core().read_model(SHAPES / "instances.xml")
    options = InsertOptions(map_size=map_size)
    graph = Graph(model)
    site = find_instances(Request.of(graph, options, ModelInfo.read(model)))
    assert site, site
    assert site.classes == 5 and site.mask_kind == "box"
    attach_outputs(model, {"saliency_map": instance_masks.build(graph, site, options).saliency})
    return ov.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})


def host(boxes, labels, masks):
    """As Model API pastes: a cell of zeros around mask and box, resized to whole pixels, binarised."""
    total, count = np.zeros((5, SIDE, SIDE)), np.zeros(5)
    for (x1, y1, x2, y2, score), label, mask in zip(boxes, labels, masks):
        scale = (mask.shape[0] + 2) / mask.shape[0]
        cx, cy, w, h = (x1 + x2) / 2, (y1 + y2) / 2, (x2 - x1) / 2 * scale, (y2 - y1) / 2 * scale
        left, top, right, bottom = (int(v) for v in (cx - w, cy - h, cx + w, cy + h))
        wide = cv2.resize(np.pad(mask, 1), (right - left + 1, bottom - top + 1)) > 0.5
        rows, columns = slice(max(top, 0), min(bottom + 1, SIDE)), slice(max(left, 0), min(right + 1, SIDE))
        inside = wide[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
        total[label, rows, columns] += inside * score
        count[label] += 1
    return total / np.maximum(count, 1)[:, None, None]


def overlaps(map_size):
    """(IoU, shortest side) a picture and class that is in it; maps binarised at half their maximum."""
    model, found = explained(map_size), []
    for picture in json.loads((SHAPES / "test" / "annotations.json").read_text())["pictures"]:
        if picture["width"] != SIDE:
            continue
        image = cv2.cvtColor(cv2.imread(str(SHAPES / "test" / picture["file"])), cv2.COLOR_BGR2RGB)
        out = model(((image.astype(np.float32) - 128) / 64).transpose(2, 0, 1)[None])
        want = host(out["boxes"][0], out["labels"][0], out["masks"][0])
        for label in {thing["label"] for thing in picture["objects"]}:
            if want[label].max() <= 0:
                continue
            large = cv2.resize(out["saliency_map"][0, label], (SIDE, SIDE))
            a, b = large > large.max() / 2, want[label] > want[label].max() / 2
            boxes = [thing["box"] for thing in picture["objects"] if thing["label"] == label]
            found.append(((a & b).sum() / (a | b).sum(), min(min(x2 - x1, y2 - y1) for x1, y1, x2, y2 in boxes)))
    return np.array(found)


@pytest.mark.skipif(not (SHAPES / "instances.xml").exists(), reason="fixtures/shapes/instances.xml is not there")
def test_maps_are_what_the_host_would_paste():
    full = overlaps(f"{SIDE}x{SIDE}")[:, 0]
    assert len(full) > 100 and full.mean() >= 0.94 and (full >= 0.9).mean() >= 0.98
    found = overlaps(None)
    large = found[found[:, 1] >= 32, 0]
    # Where duplicates overlap in less than a cell, half the maximum falls on other sides of the two maps.
    assert len(large) > 40 and large.mean() >= 0.85 and (large >= 0.75).mean() >= 0.97
