"""Spoiled models are caught by `verify`, or only by `--plain`, or slip for a reason: a part of scripts/mutate.py."""

from __future__ import annotations

import pytest

from fuzzing.tampering import mutations
from mutate import SHAPES, SLIPS, caught, mixed_up, pair

ALL = {mutation.name: mutation for mutation in mutations()}
#: Of these, without `--plain`.
CAUGHT = (
    "one cell of each map, 3 grey levels", "transposed", "two classes swapped", "one class x 0.9", "f16 instead of u8",
    "the probe picture's map, for every picture", "feature_map: channels permuted", "method: wrong", "layout: wrong",
    "num_classes: wrong", "map_axes: wrong", "network_frame: wrong", "prediction_format: wrong", "collapse: emptied",
    "target_layers: emptied",
)  # fmt: skip
WITH_PLAIN = ("first convolution x 1.001", "one bias + 0.01", "scores x 0.9")
#: A map that is scaled already does not change.
SLIPPING = ("scaled twice",)


@pytest.fixture(scope="module", params=["cnn", "detector"])
def models(request):
    return pair(SHAPES / f"{request.param}.xml")


@pytest.mark.parametrize("name", CAUGHT)
def test_caught(name, models):
    word = caught(ALL[name], *models)
    assert word and word != SLIPS and "--plain" not in word


@pytest.mark.parametrize("name", WITH_PLAIN)
def test_caught_beside_the_model_it_came_from(name, models):
    assert caught(ALL[name], *models).startswith("`--plain`")


@pytest.mark.parametrize("name", SLIPPING)
def test_what_is_no_change_slips(name, models):
    assert caught(ALL[name], *models) == SLIPS


def test_the_hash_of_another_bin(models):
    assert mixed_up(models[1]) == "error"
