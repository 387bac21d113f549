"""Every name in a table of operations is an operation of OpenVINO; tasks, methods and options speak of the same things."""

import pytest

from helpers.opsets import is_operation
from ovxai import options
from ovxai.find import site
from ovxai.find.detector import maps, tracers, trail
from ovxai.find.instances import outputs
from ovxai.find.task import TASKS
from ovxai.graph import sizes, surgery
from ovxai.metadata import ACTIVATION_MAP, GRADIENT
from ovxai.methods.registry import METHODS

TABLES = {
    "rules": tracers.RULES, "ends": trail._ENDS, "suppressions": trail.NMS_SCORES, "regions": maps.REGION_POOLS,
    "counting": sizes.COUNTING, "picks": trail._PICKS, "convolutions": maps.CONVOLUTIONS,
    "picking": outputs._PICKING, "parameters": surgery.PARAMETER_PORTS,
}  # fmt: skip


def test_the_test_knows_what_there_is_not():
    assert is_operation("Selu") and not is_operation("SELU")


@pytest.mark.parametrize("table", TABLES)
def test_operations_of_a_table_exist(table):
    assert not [kind for kind in TABLES[table] if not is_operation(kind)]


def test_every_task_has_a_search_and_a_method():
    assert set(TASKS) == set(METHODS) == set(options.SEARCHES)


def test_methods_are_called_the_same_everywhere():
    named = {site.RECIPRO_CAM, site.VIT_RECIPRO_CAM, site.CLASS_PROBABILITY_MAP, site.INSTANCE_MASKS, ACTIVATION_MAP, GRADIENT}
    assert named == set(options.READS)
