"""Options of an explanation."""

import dataclasses

import pytest

from ovxai.errors import OptionError
from ovxai.runtime.config import ExplainConfig, TargetExplainGroup


@pytest.mark.parametrize("value", ["all", "ALL", "TargetExplainGroup.ALL", TargetExplainGroup.ALL])
def test_every_spelling_of_a_target(value):
    assert ExplainConfig(target=value).target is TargetExplainGroup.ALL


def test_members_are_words():
    members: list[str] = [*TargetExplainGroup]
    assert members == ["image", "all", "predictions"]
    assert [f"{member}" for member in members] == members


def test_otx_keywords():
    config = ExplainConfig(target_explain_group="IMAGE", predicted_maps_conf_thr=0.7)
    assert (config.target, config.threshold) == (TargetExplainGroup.IMAGE, 0.7)
    assert dataclasses.replace(config, target=TargetExplainGroup.ALL).target is TargetExplainGroup.ALL
    assert dataclasses.replace(config, opacity=0.1).target is TargetExplainGroup.IMAGE


def test_one_class_needs_no_list():
    assert ExplainConfig(classes="cat").classes == ("cat",)
    assert ExplainConfig(classes=3).classes == (3,)
    assert ExplainConfig(classes=["cat", 3]).classes == ("cat", 3)


def test_facts_stay():
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(ExplainConfig(), "opacity", 1)  # noqa: B010


@pytest.mark.parametrize(
    "options",
    [
        {"target": "everything"},
        {"threshold": 1.5},
        {"opacity": -0.1},
        {"colormap": "rainbow"},
        {"interpolation": "sinc"},
        {"style": "3d"},
    ],
)
def test_values_that_do_not_exist(options):
    with pytest.raises(OptionError):
        ExplainConfig(**options)
