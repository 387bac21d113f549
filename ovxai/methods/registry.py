"""Plan -> branch: which method builds what."""

from __future__ import annotations

from dataclasses import replace

from ovxai.find.task import Plan
from ovxai.graph.graph import Graph
from ovxai.metadata import CLASSIFICATION, DETECTION
from ovxai.methods import class_probability_map, instance_masks, recipro_cam
from ovxai.methods.outputs import Branch
from ovxai.options import InsertOptions


def build_branch(graph: Graph, plan: Plan, options: InsertOptions) -> Branch:
    """The explanation branch for a plan, hung on the model's nodes; not yet outputs."""
    if plan.task == CLASSIFICATION:
        branch = recipro_cam.build(graph, plan.site, options)
    elif plan.task == DETECTION:
        branch = class_probability_map.build(plan.site, options)
    else:
        branch = instance_masks.build(plan.site, options)
    return replace(branch, info={**branch.info, **plan.details})
