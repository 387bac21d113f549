"""The sanity check by shuffled weights: in whatever form weights are stored, and with the options of the maps that are judged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op

from helpers.runtime_graphs import classifier
from ovxai.evaluation.baselines import Effort
from ovxai.evaluation.columns import Bench, InGraph, Subject, Wishes, _of_any_class, open_bench, shuffle_weights, shuffled_columns
from ovxai.evaluation.judge import Target
from ovxai.graph.graph import numbers_of
from ovxai.insertion import insert
from ovxai.metadata import ExplainedInfo
from ovxai.options import InsertOptions
from ovxai.runtime.feed.engine import DeviceOptions
from ovxai.runtime.feed.preprocess import PreprocessOptions

NUMBERS = np.random.default_rng(0).integers(-7, 8, (12, 16))


def _model(weights: ov.Node) -> ov.Model:
    """x times the weights."""
    image = op.parameter([1, 12], np.float32, name="x")
    return ov.Model([op.result(op.matmul(image, weights, False, False))], [image], "m")


def _compressed(kind: ov.Type) -> ov.Node:
    values = np.abs(NUMBERS) if kind in (ov.Type.u8, ov.Type.u4) else NUMBERS
    stored = values.astype(np.float32) / (8 if kind == ov.Type.nf4 else 1)
    wide = op.convert(op.constant(stored, kind), "f32")
    return op.multiply(op.subtract(wide, np.float32(1)), np.full((1, 16), 0.5, np.float32))


def _weights(model: ov.Model) -> ov.Node:
    return next(one for one in model.get_ops() if one.get_type_name() == "Constant" and list(one.shape) == [12, 16])


@pytest.mark.parametrize("kind", [
    ov.Type.i8, ov.Type.u8, ov.Type.i4, ov.Type.u4, ov.Type.nf4, ov.Type.bf16, ov.Type.f16, ov.Type.f8e4m3,
], ids=str)  # fmt: skip
def test_compressed_weights_are_the_same_numbers_in_other_places(kind):
    model = _model(_compressed(kind))
    before = numbers_of(_weights(model)).copy()
    assert shuffle_weights(model, 3) == 1
    found = _weights(model)
    after = numbers_of(found)
    assert found.get_element_type() == kind and after.shape == before.shape
    assert not np.array_equal(after, before) and np.array_equal(np.sort(after, axis=None), np.sort(before, axis=None))
    again = _model(_compressed(kind))
    shuffle_weights(again, 3)
    assert np.array_equal(numbers_of(_weights(again)), after)


def test_tables_of_indices_and_small_constants_stay():
    table = op.constant(np.arange(192, dtype=np.int64).reshape(12, 16))
    image = op.parameter([192, 3], np.float32, name="x")
    rows = op.gather(image, table, np.int64(0))
    scaled = op.multiply(rows, np.full((1, 1, 3), 2, np.float32))
    bytes_ = op.gather(image, op.constant(np.arange(192, dtype=np.uint8).reshape(12, 16)), np.int64(0))
    model = ov.Model([op.result(scaled), op.result(bytes_)], [image], "m")
    assert shuffle_weights(model, 0) == 0
    assert np.array_equal(numbers_of(_weights(model)), np.arange(192).reshape(12, 16))


@pytest.fixture(scope="module")
def cnn(fixtures_folder):
    return fixtures_folder / "shapes" / "cnn.xml"


def _twins(path) -> tuple[Bench, dict, list[str]]:
    options, feeding = DeviceOptions(), PreprocessOptions()
    bench = open_bench(Subject(path), Wishes(precisions=("f32",)), options, feeding, Effort())
    return bench, *shuffled_columns(Subject(path), bench, options, feeding, 0)


@pytest.mark.parametrize("options", [
    {"mask": "gaussian"}, {"target_layer": "early"}, {"method": "gradient", "classes": "1,2", "combine": "gradcam"},
])  # fmt: skip
def test_a_model_that_carries_its_maps_is_explained_anew_by_its_own_options(cnn, tmp_path, monkeypatch, options):
    if options.get("target_layer"):
        info = ExplainedInfo.read(insert(cnn, method="gradient", probe=False))
        assert info is not None and len(info.target_layers) > 1
        options = {"method": "activation-map", "target_layer": info.target_layers[0]}
    ov.save_model(insert(cnn, probe=False, **options), tmp_path / "a.xml", compress_to_fp16=False)
    made, own = [], InGraph.__init__

    def opened(self, name, model, *more):
        made.append(model)
        own(self, name, model, *more)

    monkeypatch.setattr(InGraph, "__init__", opened)
    bench, twins, notes = _twins(tmp_path / "a.xml")
    assert notes == [] and list(twins) == [str(bench.columns[0].name)]
    first, second = (ExplainedInfo.read(model) for model in made)
    assert first is not None and first == second
    if "mask" in options:
        assert first.mask == "gaussian"


def test_gradients_of_the_best_class_are_held_against_those_of_the_same_class(cnn):
    """Whatever the shuffled model puts first; where there are too many classes for that, a note says so."""
    options, feeding = DeviceOptions(), PreprocessOptions()
    bench = open_bench(Subject(cnn), Wishes(("gradient",), (), ("f32",)), options, feeding, Effort())
    twins, notes = shuffled_columns(Subject(cnn), bench, options, feeding, 0)
    view = bench.judge.view(np.random.default_rng(0).integers(0, 255, (96, 96, 3), np.uint8))
    maps = twins[str(bench.columns[0].name)].maps(view, [Target(index) for index in range(5)])
    assert notes == [] and all(one is not None for one in maps)
    facts = replace(bench.judge.facts, explained=replace(bench.judge.facts.explained, num_classes=1000))
    same, told = _of_any_class(InsertOptions(method="gradient"), facts)
    assert same.classes is None and len(told) == 1
    for kept in (InsertOptions(method="gradient", classes="1,2"), InsertOptions(), InsertOptions(method="gradient", per="box")):
        assert _of_any_class(kept, facts) == (kept, [])


def test_a_model_without_weights_is_a_note(tmp_path):
    ov.save_model(classifier(), tmp_path / "a.xml")
    _, twins, notes = _twins(tmp_path / "a.xml")
    assert twins == {} and notes == ["a: randomisation left out: the model has no weights that could be shuffled"]
