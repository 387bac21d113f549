"""`report.html` as a file: what is in it, how large it gets, and that nothing in it is taken for markup."""

import base64
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from helpers.pictures import bgr
from helpers.runtime_graphs import classifier, detector, encoded, f32, picture
from ovxai.cli.main import main
from ovxai.errors import OutputError
from ovxai.explainer import Explainer
from ovxai.runtime.config import ExplainConfig
from ovxai.runtime.feed.sources import Broken, Source
from ovxai.runtime.write import report as report_module
from ovxai.runtime.write.maps import Writer
from ovxai.runtime.write.report import MOST_EMBEDDED, Report, start_report

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>&\"'"


@pytest.fixture(scope="module")
def explainer():
    return Explainer(classifier(), ExplainConfig(target="all", postprocess=True), precision="f32")


def element(page: str, identifier: str) -> str:
    found = re.search(rf'<script type="application/json" id="{identifier}">(.*?)</script>', page, re.DOTALL)
    assert found is not None, identifier
    return found[1]


def cards(path: Path) -> list[dict]:
    return json.loads(element(path.read_text(encoding="utf-8"), "cards"))


def grey(card_map: dict) -> np.ndarray:
    return np.frombuffer(base64.b64decode(card_map["grey"]), np.uint8).reshape(card_map["grid"])


def write(report: Report, explainer: Explainer, count: int = 1, shown=None, **more) -> Path:
    explanation = explainer(picture() if shown is None else shown)
    for i in range(count):
        report.add(report.card(explanation, f"p{i}"))
    return page_of(report, explainer, {"target": "all"}, **more)


def page_of(report: Report, explainer: Explainer, settings: dict, *, model: str = "m.xml", **more) -> Path:
    path = report.write(explainer.facts, model=model, settings=settings, **more)
    assert path is not None
    return path


def test_a_card_holds_the_picture_and_its_maps(explainer, tmp_path):
    explanation = explainer(picture())
    report = Report(tmp_path, 1)
    report.add(report.card(explanation, "a", Writer(tmp_path).write(explanation, "a")))
    path = page_of(report, explainer, {})
    (card,) = cards(path)
    assert path == tmp_path / "report.html"
    assert (card["name"], card["size"], card["small"], card["more"]) == ("a", [60, 40], [60, 40], 0)
    assert [m["label"] for m in card["maps"]] == ["red", "green", "blue"]
    assert [m["score"] for m in card["maps"]] == sorted((m["score"] for m in card["maps"]), reverse=True)
    assert np.array_equal(grey(card["maps"][0]), explanation.raw_maps[0])
    assert card["maps"][0]["file"] == "saliency_map/a_class_red_overlay.png"
    head, data = card["picture"].split(",")
    shown = bgr(base64.b64decode(data))
    assert head == "data:image/jpeg;base64" and shown.shape == (40, 60, 3)
    assert shown[5, 5, 2] > 200 and shown[5, 5, 0] < 60  # BGR: the red square


@pytest.mark.parametrize(("name", "title"), [("main_graph", "net"), ("TensorFlow_Frontend_IR", "net"), ("mine", "mine")])
def test_what_exporters_call_every_graph_is_no_title(name, title, tmp_path):
    model = classifier()
    model.set_friendly_name(name)
    page = write(Report(tmp_path, 1), Explainer(model, ExplainConfig(target="all")), model="net.xml").read_text(encoding="utf-8")
    assert f"{title}: maps of " in page


def test_without_pictures_there_is_no_page(explainer, tmp_path):
    assert Report(tmp_path).write(explainer.facts, model="m.xml", settings={}) is None
    assert not list(tmp_path.iterdir())


def test_nothing_in_it_is_fetched(explainer, tmp_path):
    page = write(Report(tmp_path, 1), explainer).read_text(encoding="utf-8")
    assert "default-src 'none'" in page and "img-src data:;" in page
    assert not re.findall(r"(?:src|href)=\"(?!data:|#)[^\"]+\"", page)
    assert "@import" not in page and "url(" not in page
    assert "{{" not in page


def test_text_is_not_markup(tmp_path):
    hostile = Explainer(classifier(), ExplainConfig(target="all"), labels=[EVIL, "{{script}}", "{{cards}}"])
    explanation = hostile(picture())
    report = Report(tmp_path, 1)
    report.add(report.card(explanation, EVIL))
    path = page_of(report, hostile, {"classes": (EVIL,)}, model=EVIL, failed=[("x", EVIL)], command=EVIL)
    page = path.read_text(encoding="utf-8")
    assert page.count("<script") == 3 and page.count("</script>") == 3
    assert "<img src=x" not in page
    (card,) = cards(path)
    assert card["name"] == EVIL
    assert {m["label"] for m in card["maps"]} == {EVIL, "{{script}}", "{{cards}}"}


def test_names_that_are_no_utf8(explainer, tmp_path):
    path = write(Report(tmp_path, 1), explainer, failed=[("b\udcff.png", "b\udcff.png: broken")])
    assert "b\\xff.png: broken" in path.read_text(encoding="utf-8")


def test_a_long_run_keeps_its_pictures_beside_the_page(explainer, tmp_path):
    path = write(Report(tmp_path, MOST_EMBEDDED + 1), explainer, 3)
    page = path.read_text(encoding="utf-8")
    assert [card["picture"] for card in cards(path)] == [f"report_files/p{i}.jpg" for i in range(3)]
    assert all((tmp_path / card["picture"]).is_file() for card in cards(path))
    assert "keep that folder beside this page" in page and "data:image" not in page


@pytest.mark.parametrize(("pictures", "embedded"), [(MOST_EMBEDDED, True), (MOST_EMBEDDED + 1, False), (None, False)])
def test_how_many_are_embedded(tmp_path, pictures, embedded):
    assert Report(tmp_path, pictures).embedded is embedded


def test_large_pictures_and_maps_are_made_smaller(tmp_path):
    large = Explainer(classifier(size=(400, 1200)), ExplainConfig(target="all"))
    (card,) = cards(write(Report(tmp_path, 1), large, shown=picture(1000, 3000)))
    assert card["size"] == [3000, 1000] and card["small"] == [640, 213]
    assert card["maps"][0]["shape"] == [100, 300] and card["maps"][0]["grid"] == [64, 64]


def test_as_many_maps_as_there_is_room_for(explainer, tmp_path, monkeypatch):
    tight = report_module.Limits(side=640, map_side=64, map_bytes=350, found=1)
    monkeypatch.setattr(report_module, "_EMBEDDED", tight)
    (card,) = cards(write(Report(tmp_path, 1), explainer))
    assert len(card["maps"]) == 2 and card["more"] == 1


def test_an_earlier_page_stays_unless_forced(explainer, tmp_path):
    names = [write(Report(tmp_path, 1, force=force), explainer).name for force in (False, False, True)]
    assert names == ["report.html", "report_2.html", "report.html"]


def test_boxes_and_outlines_in_shares_of_the_picture(tmp_path):
    boxes = f32([[8, 8, 24, 16, 0.9]])
    masks = np.zeros((1, 32, 32), np.float32)
    masks[0, 8:16, 8:24] = 1
    model = detector(boxes, np.array([1]), masks=masks, form="boxes-labels-masks", task="instance-segmentation")
    found = cards(write(Report(tmp_path, 1), Explainer(model, ExplainConfig()), shown=picture(64, 64)))[0]["found"]
    assert [(item["label"], item["score"], item["box"]) for item in found] == [("green", 0.9, [0.25, 0.25, 0.75, 0.5])]
    points = np.array(found[0]["outline"][0]).reshape(-1, 2)
    assert np.allclose([points.min(0), points.max(0)], [[0.25, 0.25], [0.75, 0.5]], atol=0.03)


def test_the_facts(explainer, tmp_path):
    path = write(
        Report(tmp_path, 1), explainer, command="ovxai run m.xml rtsp://me:secret@cam/1 -o out", failed=[("b", "b: <bad>")]
    )
    page = path.read_text(encoding="utf-8")
    for words in ("reciprocam", "grid", "openvino", "rtsp://me:***@cam/1", "1 source could not be explained", "b: &lt;bad&gt;"):
        assert words in page
    assert "secret" not in page


def test_the_whole_page_or_none(explainer, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(OutputError, match="No space left"):
        write(Report(tmp_path, 1), explainer)
    assert not list(tmp_path.iterdir())


def test_videos_have_no_report(tmp_path):
    assert start_report(tmp_path, [Source("video", "0"), Broken("x", "x: no")], None, False) is None
    many = [Source("image", f"{i}.png") for i in range(MOST_EMBEDDED + 1)]
    long, short = start_report(tmp_path, many, None, False), start_report(tmp_path, many, 5, False)
    assert long is not None and short is not None
    assert not long.embedded and short.embedded


def test_the_option(tmp_path, monkeypatch):
    import openvino as ov

    monkeypatch.chdir(tmp_path)
    ov.save_model(classifier(), "m.xml")
    Path("a.png").write_bytes(encoded(picture()))
    for out, option, there in (("on", [], True), ("off", ["--no-report"], False)):
        done = CliRunner().invoke(main, ["run", "m.xml", "a.png", "-o", out, "--json", *option])
        assert done.exit_code == 0
        assert json.loads(done.stdout)["report"] == (str(Path(out, "report.html")) if there else None)
        assert Path(out, "report.html").exists() is there
