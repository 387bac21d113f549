"""Whole evaluations of the shapes world's models: figures that agree with slow ones, and runs that go on where they broke off."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import openvino as ov
import pytest

from helpers.box_models import MODELS
from helpers.pictures import bgr, rgb
from ovxai.errors import OptionError, OutputError, UsageError
from ovxai.evaluation.baselines import BASELINES, Effort, random_masks
from ovxai.evaluation.cases import Choice, Ground, Tally, cases_of, ground
from ovxai.evaluation.columns import Subject, Wishes, open_bench
from ovxai.evaluation.curves import deletion, insertion
from ovxai.evaluation.evaluate import Done, Record
from ovxai.evaluation.figures import Measuring, chosen_metrics
from ovxai.evaluation.judge import Judge, Target, View
from ovxai.evaluation.metrics import overlaps
from ovxai.evaluation.page import make_page
from ovxai.evaluation.rows import Row
from ovxai.evaluation.session import Ledger, Request, run_evaluation
from ovxai.explainer import Explainer
from ovxai.insertion import insert
from ovxai.runtime.config import ExplainConfig
from ovxai.runtime.feed.engine import DeviceOptions
from ovxai.runtime.feed.preprocess import PreprocessOptions
from ovxai.runtime.predict.formats import Prediction

FEW = Effort(masks=24)


@dataclass(frozen=True)
class Item:
    """An object as a mask."""

    name: str
    region: np.ndarray | None
    crowd: bool = False

    def inside(self, _height: int, _width: int) -> np.ndarray | None:
        return self.region


@dataclass(frozen=True)
class Photo:
    """An annotated picture."""

    path: Path
    objects: tuple[Item, ...]

    def at(self, _height: int, _width: int) -> tuple[Item, ...]:
        return self.objects


@pytest.fixture(scope="module")
def world(fixtures_folder):
    folder = fixtures_folder / "shapes"
    if not (folder / "test" / "annotations.json").exists():
        pytest.skip("the shapes world has no test pictures; scripts/make_fixtures.py draws them")
    return folder


def photos(world, kind, count):
    folder = world / "test"
    found: list[Photo] = []
    for entry in json.loads((folder / "annotations.json").read_text())["pictures"]:
        if entry["file"].startswith(kind) and len(found) < count:
            mask = bgr(folder / entry["objects"][0]["mask"], cv2.IMREAD_GRAYSCALE)
            items = tuple(Item(one["class"], mask == one["id"]) for one in entry["objects"])
            found.append(Photo(folder / entry["file"], items))
    return found


def by_name(facts):
    return {name: i for i, name in enumerate(facts.names)}, []


def request(world, model, pictures, **changes):
    made = Request(
        [Subject(world / f"{model}.xml")], pictures, by_name, Wishes(precisions=("f32",)), Choice(least=0, most=1),
        Measuring(("pointing", "energy", "insertion", "deletion"), steps=6), FEW, DeviceOptions(), PreprocessOptions(),
    )  # fmt: skip
    return replace(made, **changes)


def bench_of(world, model, **wishes):
    wanted = Wishes(precisions=("f32",), **wishes)
    return open_bench(Subject(world / f"{model}.xml"), wanted, DeviceOptions(), PreprocessOptions(), FEW)


def slow_classifier(world, column_map, path, target, steps):
    """Insertion and deletion by one inference after the other, of a model that the package has not touched."""
    compiled = ov.Core().compile_model(world / "cnn.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    height, width = compiled.input(0).shape[2:]
    picture = cv2.resize(rgb(path), (width, height), interpolation=cv2.INTER_LINEAR)
    heat = cv2.resize(column_map, (width, height), interpolation=cv2.INTER_AREA)
    around = np.exp(-0.5 * (np.arange(-9, 10) / (5 * width / 224)) ** 2)  # of 96 pixels a kernel of 5, sigma 2.14
    kernel = np.convolve(np.pad([0.0, 0, 1, 0, 0], 9, "symmetric"), around / around.sum(), "valid")
    blurred = cv2.sepFilter2D(picture.astype(np.float32), -1, kernel, kernel, borderType=cv2.BORDER_REFLECT_101)
    mean = np.broadcast_to(picture.mean(axis=(0, 1), dtype=np.float64), picture.shape)
    order = np.argsort(-heat.reshape(-1), kind="stable")
    areas = []
    for shown, empty in ((True, blurred), (False, mean)):
        curve = []
        for step in range(steps + 1):
            chosen = np.zeros(order.size, bool)
            chosen[order[: round(step * order.size / steps)]] = True
            seen = chosen if shown else ~chosen
            mixed = (np.where(seen.reshape(height, width, 1), picture, empty).astype(np.float32) - 128) / 64
            logits = compiled(np.moveaxis(mixed, -1, 0)[None])[0][0]
            curve.append((np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum())[target])
        areas.append(np.trapezoid(curve, dx=1 / steps))
    return areas


def test_insertion_and_deletion_agree_with_one_inference_after_the_other(world):
    bench = bench_of(world, "cnn")
    for photo in photos(world, "cls", 3):
        view = bench.judge.view(rgb(photo.path))
        target = Target(bench.judge.predictions(view, 0.3)[0].class_index)
        heat = np.random.default_rng(0).permutation(96 * 96).reshape(96, 96).astype(np.float32)
        heat += 9216 * photo.objects[0].region
        score = bench.judge.score_of(view, target)
        found = [insertion(view.sight, heat, score, steps=10).area, deletion(view.sight, heat, score, steps=10).area]
        assert found == pytest.approx(slow_classifier(world, heat, photo.path, target.class_index, 10), abs=0.005)


def test_a_picture_itself_is_asked_about_once(world):
    judge = bench_of(world, "cnn").judge
    for photo in photos(world, "cls", 2):
        view, before = judge.view(rgb(photo.path)), judge.forwards
        found = judge.predictions(view, 0.0)
        scores = judge.scores_now(view, [Target(one.class_index) for one in found])
        assert judge.forwards == before + 1
        assert scores == pytest.approx([one.score for one in found])
        assert scores == pytest.approx(judge.scores([view.sight.tensor], view, [Target(one.class_index) for one in found])[0])


def test_masks_of_rectangles_have_square_cells_and_show_half():
    masks = np.array(list(random_masks((60, 180), 400, 0)))
    assert masks.shape == (400, 60, 180) and masks.min() >= 0 and masks.max() <= 1
    assert masks.mean() == pytest.approx(0.5, abs=0.02)
    assert np.abs(masks.mean(axis=0) - 0.5).max() < 0.15
    # Equally rough down and across.
    down, across = np.abs(np.diff(masks, axis=1)).mean(), np.abs(np.diff(masks, axis=2)).mean()
    assert down == pytest.approx(across, rel=0.15)
    assert np.array_equal(masks[:5], np.array(list(random_masks((60, 180), 5, 0))))


@pytest.mark.parametrize("name", ["rise", "occlusion", "aise"])
def test_baselines_of_a_classifier_find_the_object(world, name):
    bench = bench_of(world, "cnn", methods=(), baselines=(name,))
    (column,) = bench.columns
    ratios = []
    for photo in photos(world, "cls", 6):
        view = bench.judge.view(rgb(photo.path))
        target = Target(bench.judge.predictions(view, 0.3)[0].class_index)
        (heat,) = column.maps(view, [target])
        (again,) = column.maps(view, [target])
        assert heat is not None and np.array_equal(heat, again) and heat.min() == 0 and heat.max() == pytest.approx(1)
        region = photo.objects[0].region
        ratios.append(heat[region].mean() / heat.mean())
    assert np.mean(ratios) > 1.15


def test_rise_is_the_weighted_mean_of_its_masks(world):
    bench = bench_of(world, "cnn")
    view = bench.judge.view(rgb(photos(world, "cls", 1)[0].path))
    (made,) = BASELINES["rise"].make(bench.judge, view, [Target(2)], FEW)
    slow, empty = np.zeros((96, 96)), view.sight.filled("mean")
    for mask in random_masks((96, 96), FEW.masks, 0):
        slow += bench.judge.scores([empty + mask * (view.sight.tensor - empty)], view, [Target(2)])[0, 0] * mask / FEW.masks
    assert made == pytest.approx(slow, abs=1e-4)


@pytest.mark.parametrize("name", ["d-rise", "box", "box-gaussian"])
def test_baselines_of_boxes_lie_on_their_boxes(world, name):
    bench = bench_of(world, "detector", methods=(), baselines=(name,))
    (column,) = bench.columns
    (photo,) = photos(world, "det", 1)
    view = bench.judge.view(rgb(photo.path))
    found = bench.judge.predictions(view, 0.3)
    assert found
    for prediction in found:
        target = Target(prediction.class_index, prediction.box)
        assert bench.judge.scores([view.sight.tensor], view, [target])[0, 0] == pytest.approx(prediction.score, abs=1e-3)
        (heat,) = column.maps(view, [target])
        assert heat is not None
        x1, y1, x2, y2 = (round(side) for side in prediction.box or ())
        assert heat[y1:y2, x1:x2].mean() > (1.1 if name == "d-rise" else 3) * heat.mean()


def test_overlaps_against_pixels():
    random = np.random.default_rng(0)
    for _ in range(30):
        corners = np.sort(random.integers(0, 12, (2, 2, 2)), axis=1)
        grids = np.zeros((2, 12, 12), bool)
        for grid, ((x1, y1), (x2, y2)) in zip(grids, corners):
            grid[y1:y2, x1:x2] = True
        union = (grids[0] | grids[1]).sum()
        boxes = corners.reshape(2, 4).astype(float)
        expected = (grids[0] & grids[1]).sum() / union if union else 0.0
        assert overlaps(boxes[:1], tuple(boxes[1]))[0] == pytest.approx(expected)


def test_what_is_left_out_is_counted(world):
    judge = bench_of(world, "cnn").judge
    half, dot = np.zeros((96, 96), bool), np.zeros((96, 96), bool)
    half[:48], dot[3, 3] = True, True
    items = [Item("circle", half), Item("square", dot), Item("unicorn", half), Item("star", None),
             Item("circle", ~half, crowd=True), Item("cross", np.zeros((96, 96), bool))]  # fmt: skip
    tally = Tally()
    truth = ground(items, {"circle": 0, "square": 1, "star": 3, "cross": 4}, (96, 96), Choice(), tally)
    assert truth.classes == {0, 1, 3, 4} and set(truth.regions) == {0} and truth.regions[0].all() and len(truth.places[0]) == 1
    assert truth.every is not None and truth.every.all()
    reasons = "\n".join(tally.lines())
    for words in ("does not know: 1", "objects below 1 % or above", "crowd regions", "no pixel in their picture, left out: 1"):
        assert words in reasons
    nothing = Tally()
    ground([], {}, (96, 96), Choice(), nothing)
    assert nothing.lines() == ["pictures without an annotated object: 1"]
    view = judge.view(rgb(photos(world, "cls", 1)[0].path))
    cases = cases_of(judge, view, truth, frozenset({0, 1, 3, 4}), Choice(target="annotated"), tally)
    assert [(case.target.class_index, case.region is not None, case.true) for case in cases] == [
        (0, True, True), (1, False, True), (3, False, True), (4, False, True),
    ]  # fmt: skip


def test_a_predicted_box_takes_the_best_of_the_objects_that_are_left():
    """The surest has taken the object that the second overlaps most; there is another that it shows as well."""
    first, second = np.zeros((100, 100), bool), np.zeros((100, 100), bool)
    first[10:50, 10:50], second[10:50, 16:70] = True, True
    boxes = [(10.0, 10.0, 50.0, 50.0), (12.0, 10.0, 54.0, 50.0), (14.0, 10.0, 60.0, 50.0)]

    class Sees:
        facts, classifies = None, False

        def predictions(self, _view, _threshold):
            return [Prediction(0, "disc", 0.9 - 0.1 * i, box) for i, box in enumerate(boxes)]

    truth, tally = Ground({0: first | second}, {0: [first, second]}, first | second, frozenset({0})), Tally()
    found = cases_of(cast(Judge, Sees()), cast(View, None), truth, frozenset({0}), Choice(per="box", boxes=3), tally)
    assert [(case.target.box, case.region is first, case.region is second) for case in found] == [
        (boxes[0], True, False), (boxes[1], False, True),
    ]  # fmt: skip
    assert tally.lines() == ["predicted boxes that match no object, or one that is taken, left out: 1"]


def test_gradients_of_a_detector_are_asked_box_by_box(tmp_path):
    """The map of a target is that of its own box, not of another of its class; a box that the graph does not explain has none."""
    path = tmp_path / "yolox.xml"
    ov.save_model(MODELS["nanodet"](), path, compress_to_fp16=False)
    subject, wishes = Subject(path), Wishes(("auto", "gradient"), (), ("f32",))
    bench = open_bench(subject, wishes, DeviceOptions(), PreprocessOptions(), FEW, per="box")
    by_class, by_box = bench.columns
    assert [column.name.method for column in bench.columns] == ["det-class-probability-map", "gradient"]
    view = bench.judge.view(np.random.default_rng(3).integers(0, 255, (64, 96, 3), np.uint8))
    found = Explainer(
        insert(path, method="gradient", per="box"), ExplainConfig(target="all"), precision="f32"
    )(view.pixels)  # fmt: skip
    assert found.any_map is not None
    boxes = found.any_map.of_boxes(view.geometry)
    assert len(boxes) == 5 and len({one.class_index for one in boxes}) < 5
    heats = by_box.maps(view, [Target(one.class_index, one.box) for one in boxes])
    for one, heat in zip(boxes, heats):
        assert heat == pytest.approx(found.geometry.map_to_source(one.values), abs=1)
    assert len({heat.tobytes() for heat in heats if heat is not None}) == 5
    nowhere = Target(boxes[0].class_index, (0.0, 0.0, 1.0, 1.0))
    assert by_box.maps(view, [nowhere]) == [None] and by_class.maps(view, [nowhere])[0] is not None
    predicted = {(one.class_index, tuple(map(round, one.box or ()))) for one in bench.judge.predictions(view, 0.05)}
    assert {(one.class_index, tuple(map(round, one.box))) for one in boxes} <= predicted
    without = open_bench(subject, wishes, DeviceOptions(), PreprocessOptions(), FEW)
    assert len(without.columns) == 1 and 'give per="box"' in "".join(without.notes)


def test_files_of_an_evaluation(world, tmp_path):
    pictures = [*photos(world, "cls", 5), Photo(world / "no such picture.png", ())]
    wishes = Wishes(("auto", "gradient"), (), ("f32",), ("centre", "activation-map", "box"))
    wanted = request(world, "cnn", pictures, wishes=wishes)
    outcome = run_evaluation(wanted, Ledger.begin(tmp_path, wanted.settings(), resume=False, force=False))
    document = json.loads((tmp_path / "metrics.json").read_text())
    assert document["schema_version"] == 1 and [row["method"] for row in document["rows"]] == [
        "reciprocam", "gradient", "activation-map", "centre",
    ]  # fmt: skip
    for row in document["rows"]:
        assert row["model"] == "cnn" and row["pictures"] == row["maps"] == 5
        assert row["failed"] == 1 and row["seconds_per_picture"] > 0
        for name in ("pointing", "energy", "insertion", "deletion"):
            low, high = row["intervals"][name]
            assert low <= row[name] <= high
    assert document["rows"][0]["energy"] > document["rows"][3]["energy"] + 0.5
    assert [name for name, _ in outcome.failed] == [str(world / "no such picture.png")]
    assert "box is for detectors" in "".join(outcome.notes)
    lines = list(csv.DictReader((tmp_path / "metrics.csv").open()))
    shown = [row["insertion"] for row in document["rows"]]
    assert [float(line["insertion"]) for line in lines] == pytest.approx(shown, rel=1e-4)
    page = (tmp_path / "report.html").read_text()
    assert page.count("<polyline") == 8 and "data:image/jpeg" in page and "http://" not in page and "https://" not in page
    with pytest.raises(OutputError, match="resume=True"):
        Ledger.begin(tmp_path, wanted.settings(), resume=False, force=False)
    with pytest.raises(OptionError, match="measuring"):
        Ledger.begin(tmp_path, replace(wanted, measuring=Measuring(steps=7)).settings(), resume=True, force=False)


def test_a_run_goes_on_where_it_broke_off(world, tmp_path):
    wanted = request(world, "detector", photos(world, "det", 4), choice=Choice(least=0, most=1, per="box"))
    whole = run_evaluation(wanted, Ledger.begin(tmp_path / "whole", wanted.settings(), resume=False, force=False))
    ledger, seen = Ledger.begin(tmp_path / "parts", wanted.settings(), resume=False, force=False), list[tuple[int, int]]()
    first = run_evaluation(wanted, ledger, stop=lambda: len(seen) == 3, progress=lambda done, total: seen.append((done, total)))
    assert first.interrupted and seen == [(0, 4), (1, 4), (2, 4)] and first.rows[0].pictures == 2
    with ledger.path.open("a") as file:
        file.write('{"column": "broken off')
    again = Ledger.begin(tmp_path / "parts", wanted.settings(), resume=True, force=False)
    second = run_evaluation(wanted, again, progress=lambda *at: seen.append(at))
    assert (
        seen[3:] == [(2, 4), (3, 4), (4, 4)] and second.rows[0].figures == whole.rows[0].figures and second.notes == whole.notes
    )
    assert second.rows[0].intervals == whole.rows[0].intervals and whole.rows[0].maps >= 4


def test_every_figure_is_a_number_and_the_sanity_check_sees_weights(world, tmp_path):
    measuring = Measuring(chosen_metrics(["all"]), steps=4)
    wishes = Wishes(precisions=("f32",), baselines=("random",))
    wanted = request(world, "cnn", photos(world, "cls", 3), measuring=measuring, wishes=wishes)
    rows = run_evaluation(wanted, Ledger.begin(tmp_path, wanted.settings(), resume=False, force=False)).rows
    own, noise = rows[0].figures, rows[1].figures
    for name in measuring.metrics:
        value = own[name]
        assert value is not None and np.isfinite(value), name
    assert noise["randomisation"] is None
    for name, better in (("road", 1), ("insertion", 1), ("deletion", -1), ("coherency", 0), ("adcc", 1)):
        a, b = own[name], noise[name]
        assert a is not None and b is not None and (a - b) * better >= 0, name
    assert own["randomisation"] is not None and own["randomisation"] < 0.9


def test_records_come_back_as_they_were():
    done = Done("a / b", "p.png", seconds=0.5, forwards=3, notes={"x": 2})
    assert Done.from_dict(json.loads(json.dumps(done.to_dict()))) == done


@pytest.mark.parametrize("call", [
    lambda: chosen_metrics(["beauty"]), lambda: Choice(target="all"), lambda: Choice(per="pixel"),
    lambda: Choice(least=0.5, most=0.1),
    lambda: Measuring(steps=0), lambda: Measuring(fill="pink"),
])  # fmt: skip
def test_what_does_not_exist_is_wrong_usage(call):
    with pytest.raises(UsageError):
        call()


def test_a_page_names_what_differs_and_marks_what_is_better():
    def row(model, method, pointing, energy):
        figures = {"pointing": pointing, "energy": energy}
        return Row(model, method, "", "", "f32", 2, 2, 0, 0, figures, {"pointing": (0.1, 0.9)}, 0.5, 0.0, False)

    def record(label, insertion):
        figures = {"pointing": 1.0, "inside": 0.2, "area": 0.1, "insertion": insertion, "deletion": 0.5}
        return Record("a", "no such.png", 0, label, 0.9, True, figures, {}, [[0]])

    names = ["pointing", "insertion", "deletion"]
    long = "a class with a name that is far too long"
    one = [row("m", "x", 0.5, 1.0), row("m", "y", 0.5, 2.0)]
    records = {"m / x (f32)": [record(long, 0.2)], "m / y (f32)": [record(long, 0.9)]}
    page = make_page(one, records, names, {}, [])
    assert "<td>x (f32)</td>" in page and "m / x" not in page and 'class="best"' not in page
    assert page.count("fill-opacity") == 1 and f"<title>{long}</title>" in page and f"{long} (" not in page
    assert "How good are the maps: 2 ways" in page
    assert "How good are the maps: m / x (f32)<" in make_page(one[:1], records, names, {}, [])
    two = make_page([one[0], row("n", "x", 0.25, 1.0)], {}, names, {}, [])
    assert "<td>m / x (f32)</td>" in two and '<span class="best">0.500</span>' in two and two.count('class="best"') == 1
