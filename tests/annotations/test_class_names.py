"""Names of data sets find the classes of models that write them otherwise."""

from __future__ import annotations

import pytest

from ovxai.annotations import match_names

COCO = ("person", "airplane", "motorcycle", "couch", "tv", "dining_table", "potted plant")


@pytest.mark.parametrize("name, label", [
    ("aeroplane", "airplane"), ("motorbike", "motorcycle"), ("Sofa", "couch"), ("tvmonitor", "tv"),
    ("diningtable", "dining_table"), ("pottedplant", "potted plant"), ("Person", "person"),
])  # fmt: skip
def test_names_of_pascal_voc_find_those_of_coco(name, label):
    assert match_names([name], COCO).index == {name: COCO.index(label)}


def test_and_the_other_way():
    assert match_names(["couch", "airplane", "unicorn"], ["aeroplane", "sofa"]).index == {"couch": 1, "airplane": 0}


def test_a_class_of_its_own_goes_before_another_name():
    assert match_names(["sofa", "couch"], ["couch", "sofa"]).index == {"sofa": 1, "couch": 0}
