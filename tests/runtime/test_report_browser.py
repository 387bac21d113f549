"""`report.html` as people use it: opened, clicked, typed at and dragged in a headless Chromium."""

import os
import shutil
from dataclasses import replace

import numpy as np
import pytest

from helpers.pictures import rgb
from helpers.runtime_graphs import box_detector, classifier, detector, encoded, f32
from ovxai.explainer import Explainer
from ovxai.runtime.config import ExplainConfig
from ovxai.runtime.show.truth import MISSED, RIGHT, UNJUDGED, WRONG, TrueThing, Verdict
from ovxai.runtime.write.report import MOST_EMBEDDED, Report
from ovxai.runtime.write.video import VideoFile

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed (pip install -e '.[dev]')")
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.wait import WebDriverWait  # noqa: E402

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="no Chromium with chromedriver here (apt-get install chromium chromium-driver)"
)

EVIL = "</script><img src=x onerror=\"document.title='taken'\">"
LABELS = ("red", EVIL, "blue")
HEIGHT, WIDTH = 320, 480
#: What fills a picture: class 0 and 2 share the last one.
FILLS = {
    "red_1": (230, 20, 20),
    "green_1": (20, 230, 20),
    "blue_1": (20, 20, 230),
    "red_2": (200, 20, 20),
    "mixed": (140, 10, 120),
}


def shown(fill) -> np.ndarray:
    """A dark picture with a block of colour in its left half."""
    pixels = np.full((HEIGHT, WIDTH, 3), 30, np.uint8)
    pixels[40:280, 20:220] = fill
    return pixels


def make(folder, explainer, images, *, pictures=10, **settings):
    """A page of `images` (name -> array), and the explanations in it. Maps are opaque unless another style is asked for."""
    settings.setdefault("style", "heat")
    report = Report(folder, pictures)
    explanations = {name: explainer(image) for name, image in images.items()}
    for name, explanation in explanations.items():
        report.add(report.card(explanation, name))
    return report.write(explainer.facts, model="m.xml", settings=settings, command="ovxai run m.xml"), explanations


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    flags = ["--headless", "--disable-gpu", "--disable-background-networking", "--no-first-run", "--window-size=1300,1000"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        flags.append("--no-sandbox")
    for flag in (*flags, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def classes_page(tmp_path_factory):
    explainer = Explainer(classifier(), ExplainConfig(target="all", postprocess=True), precision="f32", labels=LABELS)
    return make(tmp_path_factory.mktemp("classes"), explainer, {name: shown(fill) for name, fill in FILLS.items()})


@pytest.fixture
def page(browser, classes_page):
    """The page of five pictures and three classes, freshly opened; nothing may have gone wrong in it."""
    with opened(browser, classes_page[0]) as at:
        yield at


class opened:
    """A page in the browser with short words for what tests do to it. The console must stay silent."""

    def __init__(self, browser, path):
        self.browser, self.path = browser, path

    def __enter__(self):
        self.browser.get("about:blank")
        self.browser.get(self.path.as_uri())
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            assert [entry for entry in self.browser.get_log("browser") if entry["level"] == "SEVERE"] == []

    def one(self, css):
        return self.browser.find_element(By.CSS_SELECTOR, css)

    def all(self, css):
        return self.browser.find_elements(By.CSS_SELECTOR, css)

    def text(self, css):
        return self.one(css).text

    def js(self, code, *arguments):
        return self.browser.execute_script(code, *arguments)

    def names(self):
        return [item.text for item in self.all(".card .name")]

    def press(self, *keys):
        """Keys to whatever has the focus."""
        actions = webdriver.ActionChains(self.browser)
        for key in keys:
            actions.send_keys(key)
        actions.perform()

    def set(self, css, value):
        """Change a slider or a choice: its value, then the event. The browser's own events come when it likes."""
        self.js("arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input', {bubbles: true}))",
                self.one(css), value)  # fmt: skip

    def open(self, name):
        next(card for card in self.all(".card") if card.find_element(By.CSS_SELECTOR, ".name").text == name).click()

    def canvas(self, css="#map"):
        """[H, W, 4] u8 RGBA of a canvas."""
        width, height, values = self.js(
            "const c = arguments[0]; return [c.width, c.height,"
            " Array.from(c.getContext('2d').getImageData(0, 0, c.width, c.height).data)]", self.one(css))  # fmt: skip
        return np.array(values, np.uint8).reshape(height, width, 4)

    def seen(self, css="#stage"):
        """[H, W, 3] u8 RGB of what the screen shows of an element."""
        return rgb(self.one(css).screenshot_as_png)


def at(pixels, x, y):
    """The colour at a place given in shares of the picture."""
    return pixels[int(y * pixels.shape[0]), int(x * pixels.shape[1])].astype(int)


def near(color, wanted, by=25):
    return np.abs(np.subtract(color, wanted)).max() <= by


def test_the_gallery(page):
    assert page.names() == list(FILLS)
    assert page.text("#count") == "5 pictures"
    assert page.text(".card .best").split()[0] == "red"
    assert page.canvas(".card canvas")[..., 3].min() == 255  # every pixel of the picture has a map over it
    assert page.browser.title == "tiny: maps of 5 pictures"


def test_nothing_is_fetched(page):
    assert page.js("return performance.getEntriesByType('resource').map(e => e.name).filter(n => !n.startsWith('data:'))") == []
    blocked = page.browser.execute_async_script(
        "const done = arguments[0]; fetch('https://example.org/').then(() => done('fetched'), () => done('blocked'))"
    )
    assert blocked == "blocked"
    page.browser.get_log("browser")  # which says so, too


def test_labels_are_text(page):
    assert EVIL in [item.text.rsplit(" (", 1)[0] for item in page.all("#class option")]
    page.open("green_1")
    assert page.text(".class .label") == EVIL
    assert page.all("img[src='x']") == [] and page.browser.title == "green_1 (tiny: maps of 5 pictures)"


def test_search(page):
    page.one("#search").send_keys("red_ 2")
    assert page.names() == ["red_2"] and page.text("#count") == "1 of 5 pictures"
    page.one("#search").clear()
    page.one("#search").send_keys("red 2")
    assert page.names() == ["red_2"]
    page.one("#search").send_keys(" nothing")
    assert page.names() == [] and page.text("#count") == "None of 5 pictures fits the filter."
    page.one("button[type=reset]").click()
    page.browser.implicitly_wait(2)
    assert page.one(".card") and len(page.names()) == 5
    page.browser.implicitly_wait(0)


def test_filter_by_class_and_score(page):
    page.set("#class", "2")
    assert len(page.names()) == 5  # each has a map of every class
    scores = [float(item.text) for item in page.all(".card .score")]
    page.set("#low", 0.3)
    assert page.names() == [name for name, score in zip(FILLS, scores) if score >= 0.3] == ["blue_1", "mixed"]
    assert {item.text for item in page.all(".card .label")} == {"blue"}
    page.set("#high", 0.5)
    assert page.names() == ["mixed"]
    assert page.text("#range") == "0.30 to 0.50"


def test_selects_answer_change(page):
    """Programs that fill in forms often send no other event."""
    for css, value in (("#class", "2"), ("#order", "high")):
        page.js("arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('change', {bubbles: true}))",
                page.one(css), value)  # fmt: skip
    assert {item.text for item in page.all(".card .label")} == {"blue"}
    scores = [float(item.text) for item in page.all(".card .score")]
    assert scores == sorted(scores, reverse=True)
    page.js("const s = document.querySelector('#filter [data-setting=colormap]'); s.value = 'grey';"
            "s.dispatchEvent(new Event('change', {bubbles: true}))")  # fmt: skip
    card = page.canvas(".card canvas")
    assert (card[..., 0] == card[..., 1]).all()


def test_a_picture_and_class_have_an_address(page):
    page.open("mixed")
    page.press("2")
    address = page.browser.current_url
    assert address.endswith("#picture=mixed&class=2")
    page.browser.get("about:blank")
    page.browser.get(address)
    assert page.text("#name") == "mixed" and page.one(".class[aria-pressed=true] .label").text == "blue"
    assert "mixed" in page.browser.title
    page.press(Keys.ESCAPE)
    assert not page.one("#viewer").is_displayed() and "#" not in page.browser.current_url


def test_back_closes_the_picture_and_forward_opens_it(page):
    page.open("green_1")
    page.press(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    page.browser.back()
    WebDriverWait(page.browser, 5).until(lambda _: not page.one("#viewer").is_displayed())
    assert page.text("#count") == "5 pictures"  # still this page
    page.browser.forward()
    WebDriverWait(page.browser, 5).until(lambda _: page.one("#viewer").is_displayed())
    assert page.text("#name") == "red_2"
    page.press(Keys.ESCAPE)
    page.open("red_1")
    page.browser.back()
    WebDriverWait(page.browser, 5).until(lambda _: not page.one("#viewer").is_displayed())
    assert page.text("#count") == "5 pictures"


def test_the_view_as_a_picture(page, tmp_path):
    """The download is caught on its way: its pixels are those of the screen, with a strip below."""
    page.js("""window.saved = null;
        const toBlob = HTMLCanvasElement.prototype.toBlob;
        HTMLCanvasElement.prototype.toBlob = function (...rest) { window.view = this; return toBlob.apply(this, rest); };
        const click = HTMLAnchorElement.prototype.click;
        HTMLAnchorElement.prototype.click = function () {
          if (this.download) window.saved = {name: this.download, address: this.href}; else click.call(this);
        };""")
    page.open("red_1")
    page.set("#split", 50)
    page.one("#save").click()
    WebDriverWait(page.browser, 5).until(lambda _: page.js("return window.saved"))
    saved = page.js("return window.saved")
    assert saved["name"] == "red_1_red.png" and saved["address"].startswith("blob:")
    assert not page.one("#save-note").is_displayed()
    page.js("window.view.id = 'view'; document.body.append(window.view)")
    view, seen = page.canvas("#view"), page.seen()
    height, width = page.canvas().shape[:2]
    assert view.shape[1] == width and view.shape[0] > height
    for x in (0.2, 0.7):
        assert near(at(view[:height, :, :3], x, 0.4), at(seen, x, 0.4), 12)


def test_the_two_ends_of_the_score_do_not_cross(page):
    page.set("#low", 0.6)
    page.set("#high", 0.2)
    assert [page.one(css).get_property("value") for css in ("#low", "#high")] == ["0.2", "0.2"]


def test_order(page):
    page.set("#order", "high")
    scores = [float(item.text) for item in page.all(".card .score")]
    assert scores == sorted(scores, reverse=True)
    page.set("#order", "name")
    assert page.names() == sorted(FILLS)


def test_maps_are_those_of_the_runner(page, classes_page):
    page.open("red_1")
    wanted = classes_page[1]["red_1"].heat_map(0)
    painted = page.canvas()
    assert painted.shape == (*wanted.shape[:2], 4)
    assert np.abs(painted[..., :3].astype(int) - wanted).max() <= 6  # a rounding at a steep place of jet


@pytest.mark.parametrize(("resize", "interpolation"), [("crop", "linear"), ("fit_to_window_letterbox", "cubic")])
def test_crop_and_letterbox_are_undone(browser, tmp_path, resize, interpolation):
    model = classifier(size=(16, 16), model_info={"resize_type": resize})
    config = ExplainConfig(target="all", postprocess=True, interpolation=interpolation)
    explainer = Explainer(model, config, precision="f32")
    path, explanations = make(tmp_path, explainer, {"a": shown((230, 20, 20))}, interpolation=interpolation)
    with opened(browser, path) as page:
        page.open("a")
        painted, wanted = page.canvas(), explanations["a"].heat_map(0)
        seen = painted[..., 3] == 255
        assert seen.all() == (resize != "crop")
        assert np.abs(painted[..., :3].astype(int) - wanted)[seen].max() <= 6
        assert not wanted[~seen].any()


def test_classes_on_demand(page):
    page.open("mixed")
    before = page.canvas()
    assert page.one(".class[aria-pressed=true] .label").text == "red"
    page.all(".class")[1].click()
    assert page.one(".class[aria-pressed=true] .label").text == "blue"
    page.all(".class")[2].click()
    assert not np.array_equal(page.canvas(), before)
    page.press("1")
    assert np.array_equal(page.canvas(), before)
    page.press(Keys.ARROW_DOWN)
    assert page.one(".class[aria-pressed=true] .label").text == "blue"
    page.press("9")  # there is no such class
    assert page.one(".class[aria-pressed=true] .label").text == "blue"


def test_original_against_overlay(page, classes_page):
    """Under the opaque map the green block at x 0.04..0.46, as the rest of the picture, has the map's colours."""
    page.open("green_1")
    page.set("#viewer [data-setting=opacity]", 1)
    heat = classes_page[1]["green_1"].heat_map(1)
    block, hot, ground, cold = (20, 230, 20), at(heat, 0.2, 0.4), (30, 30, 30), at(heat, 0.9, 0.4)
    assert not near(hot, block) and not near(cold, ground)
    assert near(at(page.seen(), 0.2, 0.4), hot) and near(at(page.seen(), 0.9, 0.4), cold)
    page.set("#split", 50)
    assert near(at(page.seen(), 0.2, 0.4), hot) and near(at(page.seen(), 0.9, 0.4), ground)
    page.set("#split", 0)
    assert near(at(page.seen(), 0.2, 0.4), block) and near(at(page.seen(), 0.9, 0.4), ground)


def test_drag_and_keys_move_the_split(page):
    page.open("red_1")
    stage = page.one("#stage")
    half = stage.size["width"] // 2
    actions = webdriver.ActionChains(page.browser)
    actions.move_to_element_with_offset(stage, half - 10, 0).click_and_hold().move_by_offset(-half // 2, 0).release().perform()
    value = int(page.one("#split").get_property("value"))
    assert 68 <= value <= 80
    assert page.js("return getComputedStyle(document.getElementById('map')).clipPath").startswith("inset(0")
    page.js("document.getElementById('split').focus()")
    page.press(Keys.ARROW_LEFT, Keys.ARROW_LEFT)
    assert int(page.one("#split").get_property("value")) == value - 2
    assert page.text("#name") == "red_1"  # the slider had the arrows
    page.press("x")
    assert page.one("#split").get_property("value") == "0"


def test_opacity_blends(page, classes_page):
    page.open("red_1")
    places = [at(page.seen(), 0.9, 0.4)]
    for _ in range(2):
        page.press("o")
        places.append(at(page.seen(), 0.9, 0.4))
    page.press("o")
    places.insert(0, at(page.seen(), 0.9, 0.4))
    heat = at(classes_page[1]["red_1"].heat_map(0), 0.9, 0.4)
    wanted = [30 + share * (heat - 30) for share in (0, 0.5, 0.75, 1)]
    assert np.allclose(places, wanted, atol=8)
    page.press("O")
    assert page.text("#viewer [data-shows=opacity]") == "100 %"


def test_colours(page):
    page.set("#filter [data-setting=colormap]", "grey")
    card = page.canvas(".card canvas")
    assert (card[..., 0] == card[..., 1]).all() and (card[..., 1] == card[..., 2]).all()
    page.open("red_1")
    page.press("c")  # grey is the last one: round to the first
    assert page.one("#viewer [data-setting=colormap]").get_property("value") == "jet"
    assert (page.canvas()[..., 0] != page.canvas()[..., 2]).any()


def test_arrow_keys_from_picture_to_picture(page):
    page.press(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert page.js("return document.activeElement.querySelector('.name').textContent") == "green_1"
    page.press(Keys.ENTER)
    assert page.text("#name") == "green_1" and page.text("#place") == "2 of 5"
    page.press(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert page.text("#name") == "mixed" and not page.one("#next").is_enabled()
    page.press(Keys.ARROW_LEFT)
    assert page.text("#name") == "red_2"
    page.press(Keys.ESCAPE)
    assert not page.one("#viewer").is_displayed()
    focused = "return document.activeElement.querySelector('.name').textContent"
    WebDriverWait(page.browser, 5).until(lambda _: page.js(focused) == "red_2")  # the browser tells of closing when it likes


def test_only_pictures_of_the_filter_are_walked(page):
    page.one("#search").send_keys("red_")
    page.open("red_1")
    page.one("#next").click()
    assert page.text("#name") == "red_2" and page.text("#place") == "2 of 2"


def test_help(page):
    page.press("?")
    assert page.one("#help").is_displayed() and "among all pictures" in page.text("#help")
    page.press("o", Keys.ESCAPE)
    assert not page.one("#help").is_displayed()
    assert page.text("#filter [data-shows=opacity]") == "50 %"  # while it is open, other keys rest


def test_typing_is_not_taken_for_keys(page):
    page.press("/")
    page.press("o", "c", "?", "1")
    assert page.one("#search").get_property("value") == "oc?1"
    assert page.text("#filter [data-shows=opacity]") == "50 %"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark(browser, classes_page, scheme):
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
    ground = (
        "const c = getComputedStyle(document.body); return [c.backgroundColor, c.color].map(t => t.match(/\\d+/g).map(Number))"
    )
    with opened(browser, classes_page[0]) as page:
        page.js("localStorage.clear()")
        (paper, ink), dark = page.js(ground), scheme == "dark"
        assert (sum(paper) < sum(ink)) is dark
        page.press("t")
        paper, ink = page.js(ground)
        assert (sum(paper) > sum(ink)) is dark
        page.js("localStorage.clear()")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_every_control_has_a_name(page):
    def nameless(css):
        controls = [item for item in page.all(f"{css} :is(button, input, select, [role=img])") if item.is_displayed()]
        assert len(controls) > 5
        return [item.get_attribute("outerHTML") for item in controls if not item.accessible_name]

    assert nameless("body") == []
    page.open("red_1")
    assert nameless("#viewer") == []
    assert page.one("#opacity-here").accessible_name.startswith("Map opacity")
    page.press(Keys.TAB)
    assert page.js("return getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_on_a_phone(browser, classes_page):
    metrics = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})
    try:
        with opened(browser, classes_page[0]) as page:
            assert page.js("return document.documentElement.scrollWidth <= innerWidth")
            assert len({card.rect["x"] for card in page.all(".card")}) == 1
            page.js("arguments[0].click()", page.one(".card"))
            assert page.js(
                "const v = document.getElementById('viewer'); return v.scrollWidth <= innerWidth && v.clientWidth >= 370"
            )
            assert page.one("#stage").rect["y"] < page.one("#classes").rect["y"]
            assert min(button.size["height"] for button in page.all("#viewer header button")) >= 44
            box = page.one("#stage").rect
            places = [{"x": box["x"] + share * box["width"], "y": box["y"] + 50} for share in (0.9, 0.3)]
            for kind, points in (("touchStart", places[:1]), ("touchMove", places[1:]), ("touchEnd", [])):
                browser.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
            assert 25 <= int(page.one("#split").get_property("value")) <= 35
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})


def test_boxes_and_outlines(browser, tmp_path):
    boxes = f32([[8, 8, 24, 16, 0.9], [0, 16, 16, 32, 0.8]])
    masks = np.zeros((2, 32, 32), np.float32)
    masks[0, 8:16, 8:24] = 1
    masks[1, 16:, :16] = 1
    model = detector(boxes, np.array([1, 2]), masks=masks, form="boxes-labels-masks", task="instance-segmentation")
    path, _ = make(tmp_path, Explainer(model, ExplainConfig()), {"a": np.full((320, 320, 3), 90, np.uint8)})
    with opened(browser, path) as page:
        page.open("a")
        assert [item.text.split() for item in page.all(".box")] == [["green", "0.90"]] and len(page.all("polygon")) == 1
        box, stage = page.one(".box").rect, page.one("#stage").rect
        placed = [(box["x"] - stage["x"]) / stage["width"], (box["y"] - stage["y"]) / stage["height"]]
        assert np.allclose([*placed, box["width"] / stage["width"]], [0.25, 0.25, 0.5], atol=0.01)
        page.press("2")
        assert [item.text.split() for item in page.all(".box")] == [["blue", "0.80"]]
        page.press("b")
        assert page.all(".box") == [] and page.all("polygon") == []


def test_cold_parts_keep_their_colours(browser, tmp_path):
    """As in the runner's own overlay."""
    explainer = Explainer(classifier(), ExplainConfig(captions=False), precision="f32", labels=LABELS)
    path, explanations = make(tmp_path, explainer, {"a": shown((230, 20, 20))}, style="fade")
    with opened(browser, path) as page:
        page.open("a")
        seen, wanted = page.seen(), explanations["a"].overlay(0)
        for x in (0.1, 0.2, 0.3, 0.44, 0.5, 0.7, 0.9):
            assert near(at(seen, x, 0.4), at(wanted, x, 0.4), 12)
        assert near(at(seen, 0.9, 0.4), (30, 30, 30)) and at(explanations["a"].heat_map(0), 0.9, 0.4)[2] > 120


def test_long_names_leave_room_for_scores(browser, tmp_path):
    name = "a very long name of a class that nobody could print on a card of that width, or on a box " * 2
    boxes = f32([[2, 8, 24, 16, 0.91]])
    path, _ = make(tmp_path, Explainer(detector(boxes, np.array([1])), ExplainConfig(), labels=("x", name, "y")),
                   {"a": np.full((320, 320, 3), 90, np.uint8)})  # fmt: skip
    with opened(browser, path) as page:
        page.open("a")
        for around, score in ((".card", ".card .score"), (".class", ".class .score"), (".box > span", ".box .score")):
            outer, inner = (
                page.js("return arguments[0].getBoundingClientRect()", page.one(around)),
                page.js("return arguments[0].getBoundingClientRect()", page.one(score)),
            )
            assert page.js("return arguments[0].textContent", page.one(score)).strip() == "0.91"
            assert outer["left"] <= inner["left"] and inner["right"] <= outer["right"] + 1 and inner["width"] > 15


def test_boxes_on_cards(browser, tmp_path):
    boxes = f32([[8, 8, 24, 16, 0.9], [0, 16, 16, 32, 0.8]])
    path, _ = make(
        tmp_path, Explainer(detector(boxes, np.array([1, 2])), ExplainConfig()), {"a": np.full((320, 320, 3), 90, np.uint8)}
    )
    with opened(browser, path) as page:
        frame, box = page.one(".card .frame").rect, page.one(".card rect").rect
        side = frame["height"]  # the picture is square, its frame is wider
        left = frame["x"] + (frame["width"] - side) / 2
        placed = [(box["x"] - left) / side, (box["y"] - frame["y"]) / side, box["width"] / side]
        assert len(page.all(".card rect")) == 1 and np.allclose(placed, [0.25, 0.25, 0.5], atol=0.03)
        page.set("#class", "2")
        assert len(page.all(".card rect")) == 1


def move_to(page, x, y):
    """The pointer to a place of the stage, given in shares of it."""
    stage = page.one("#stage")
    offset = [round((share - 0.5) * side) for share, side in ((x, stage.rect["width"]), (y, stage.rect["height"]))]
    return webdriver.ActionChains(page.browser).move_to_element_with_offset(stage, *offset)


def click_at(page, x, y):
    """Press and let go there."""
    move_to(page, x, y).click().perform()


def test_a_click_on_a_box_shows_its_map(browser, tmp_path):
    boxes = f32([[2, 2, 18, 14, 0.9], [16, 18, 30, 30, 0.8], [4, 4, 12, 12, 0.7]])
    explainer = Explainer(box_detector(boxes, np.array([1, 2, 1])), ExplainConfig(), precision="f32")
    path, _ = make(tmp_path, explainer, {"a": np.full((320, 320, 3), 90, np.uint8)})

    def pressed(page):
        return page.text(".class[aria-pressed=true]").split("\n")[1:], page.text(".box:not(.other)").split()

    def under_the_pointer(page):
        return page.text(".box.under").split()

    def hottest(page):
        return int(page.canvas()[..., 0].astype(int).sum(axis=1).argmax() / page.canvas().shape[0] * 8)

    with opened(browser, path) as page:
        assert len(page.all(".card rect")) == 1
        assert [item.text for item in page.all("#class option")] == ["all classes", "blue (1)", "green (1)"]
        page.open("a")
        assert page.text("#classes-name") == "Boxes" and len(page.all(".class")) == len(page.all(".box")) == 3
        assert pressed(page) == (["green", "0.90"], ["green", "0.90"]) and hottest(page) == 0
        named = [item.text for item in page.all(".box.other") if item.text]
        assert named == []  # the names of the others would lie over each other
        click_at(page, 0.7, 0.7)
        assert pressed(page) == (["blue", "0.80"], ["blue", "0.80"]) and hottest(page) == 1
        assert page.js("return location.hash") == "#picture=a&class=2"
        move_to(page, 0.5, 0.2).perform()
        assert under_the_pointer(page) == ["green", "0.90"]
        click_at(page, 0.25, 0.25)  # of two boxes the smaller
        assert pressed(page) == (["green", "0.70"], ["green", "0.70"]) and hottest(page) == 2
        assert page.js("return location.hash") == "#picture=a&class=1_2"
        click_at(page, 0.5, 0.2)
        assert pressed(page) == (["green", "0.90"], ["green", "0.90"])
        assert page.js("return document.querySelector('#split').value") == "100"  # no click was taken for a drag
        click_at(page, 0.2, 0.8)
        assert page.js("return document.querySelector('#split').value") == "20"
        page.press("3")
        assert pressed(page) == (["green", "0.70"], ["green", "0.70"])
    browser.get("about:blank")
    browser.get(f"{path.as_uri()}#picture=a&class=1_2")
    assert pressed(page) == (["green", "0.70"], ["green", "0.70"])


#: By name: what is true of a picture in which class 1 is predicted at the upper left.
TRUTHS = {
    "right": Verdict(RIGHT, (TrueThing("green", 1, (20, 20, 180, 140), None, RIGHT),), right=("green",), energy={1: 0.5}),
    "missed": Verdict(MISSED, (TrueThing("green", 1, (20, 20, 180, 140), None, RIGHT),
                               TrueThing("blue", 2, (200, 200, 300, 300), None, MISSED)), right=("green",), missed=("blue",)),
    "wrong": Verdict(WRONG, (TrueThing("dark_blue", None, (200, 200, 300, 318), None, UNJUDGED),), wrong=("green",)),
    "none": None,
}  # fmt: skip


@pytest.fixture(scope="module")
def truth_page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("truth")
    explainer = Explainer(detector(f32([[2, 2, 18, 14, 0.9]]), np.array([1])), ExplainConfig(), precision="f32")
    report = Report(folder, 4)
    for name, truth in TRUTHS.items():
        report.add(report.card(replace(explainer(np.full((320, 320, 3), 90, np.uint8)), truth=truth), name))
    return report.write(explainer.facts, model="m.xml", settings={}, command="ovxai run m.xml")


def test_the_wrong_ones_come_first_and_the_truth_filters(browser, truth_page):
    with opened(browser, truth_page) as page:
        assert page.names() == ["wrong", "missed", "right", "none"]
        badges = [item.text.split("\n") for item in page.all(".card .true")]
        assert badges == [["wrong", "dark blue"], ["missed", "green, blue"], ["right", "green"]]
        assert "truly green, blue" in page.all(".card")[1].get_attribute("aria-label")
        page.set("#truth", "missed")
        assert page.names() == ["missed"] and page.text("#count") == "1 of 4 pictures"
        page.set("#truth", "none")
        assert page.names() == ["none"]
        page.set("#truth", "")
        page.set("#order", "name")
        assert page.names() == ["missed", "none", "right", "wrong"]


def test_true_boxes_are_dashed_beside_the_predicted_ones(browser, truth_page):
    with opened(browser, truth_page) as page:
        page.open("missed")
        (true,) = page.all(".true-box")  # of the class shown
        assert true.value_of_css_property("border-top-style") == "dashed"
        assert len(page.all(".box:not(.true-box)")) == 1
        about = page.text("#about")
        assert "Truth\ngreen, blue" in about and "Right\ngreen" in about and "Missed\nblue" in about
        page.press("b")
        assert page.all(".box") == []
        page.press("b", Keys.ESCAPE)
        page.open("right")
        assert "50 % of the map lies on its objects" in page.text("#about")
        page.press(Keys.ESCAPE)
        page.open("none")
        assert "Truth\nnot annotated" in page.text("#about") and page.all(".true-box") == []


def test_names_of_true_and_predicted_boxes_do_not_cover_each_other(browser, truth_page):
    with opened(browser, truth_page) as page:
        page.open("right")
        names = [item.rect for item in page.all(".box > span")]
        assert len(names) == 2
        above, below = sorted(names, key=lambda rect: rect["y"])
        assert above["y"] + above["height"] <= below["y"]


def test_the_name_of_a_true_box_at_the_bottom_can_be_read(browser, tmp_path):
    explainer = Explainer(detector(f32([[2, 2, 18, 14, 0.9]]), np.array([1])), ExplainConfig(), precision="f32")
    truth = Verdict(MISSED, (TrueThing("green", 1, (20, 200, 120, 320), None, MISSED),), missed=("green",))
    report = Report(tmp_path, 1)
    report.add(report.card(replace(explainer(np.full((320, 320, 3), 90, np.uint8)), truth=truth), "a"))
    with opened(browser, report.write(explainer.facts, model="m.xml", settings={})) as page:
        page.open("a")
        name, stage = page.one(".true-box > span").rect, page.one("#stage").rect
        assert name["y"] + name["height"] <= stage["y"] + stage["height"]


def test_the_energy_is_that_of_the_map_shown(browser, tmp_path):
    boxes = f32([[2, 2, 18, 14, 0.9], [16, 18, 30, 30, 0.8]])
    explainer = Explainer(box_detector(boxes, np.array([1, 1])), ExplainConfig(), precision="f32")
    report = Report(tmp_path, 1)
    report.add(report.card(replace(explainer(np.full((320, 320, 3), 90, np.uint8)), truth=TRUTHS["right"]), "a"))
    with opened(browser, report.write(explainer.facts, model="m.xml", settings={})) as page:
        page.open("a")
        assert "50 % of the map" in page.text("#about")
        page.press("2")
        assert "% of the map" not in page.text("#about")


def test_the_webm_of_a_run_plays(browser, tmp_path):
    video = VideoFile(tmp_path, "clip", 24, (120, 160), form="webm")
    for level in range(24):
        video.write(np.full((120, 160, 3), level * 10, np.uint8))
    path = video.close()
    browser.get(path.as_uri())
    state = "const v = document.querySelector('video'); v.muted = true; v.loop = true; v.play(); return "
    WebDriverWait(browser, 10).until(lambda _: browser.execute_script(state + "v.currentTime > 0.2"))
    size, length, error = browser.execute_script(state + "[[v.videoWidth, v.videoHeight], v.duration, v.error]")
    assert size == [160, 120] and length == pytest.approx(1, abs=0.1) and error is None


def test_files_give_the_titles_and_guesses_are_told(browser, tmp_path):
    source = tmp_path / "Ein Foto.png"
    source.write_bytes(encoded(shown((140, 10, 120))))
    explainer = Explainer(classifier(), ExplainConfig(threshold=0.99), precision="f32")
    path, _ = make(tmp_path, explainer, {"Ein_Foto": source})
    with opened(browser, path) as page:
        assert page.names() == ["Ein Foto.png"] and page.text(".card .guess") == "guess"
        page.open("Ein Foto.png")
        assert page.text("#name") == "Ein Foto.png" and page.text(".class .guess") == "guess"


def test_paper_has_every_picture_and_no_controls(browser, tmp_path):
    explainer = Explainer(classifier(), ExplainConfig(), precision="f32")
    path, _ = make(tmp_path, explainer, {f"p{i:03d}": shown((230, 20, i)) for i in range(100)}, pictures=100)
    with opened(browser, path) as page:
        few = len(page.all(".card"))
        assert few < 100
        browser.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})
        assert len(page.all(".card")) == 100
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
        try:
            assert not page.one("#filter").is_displayed() and page.one(".card").is_displayed()
            page.js("document.querySelector('.card').click()")
            assert not page.one("#gallery").is_displayed() and page.one("#stage").is_displayed()
        finally:
            browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_of_a_thousand_pictures_the_first_are_laid_out(browser, tmp_path):
    """Which is what lets the page open at once."""
    explainer = Explainer(classifier(), ExplainConfig(), precision="f32")
    report = Report(tmp_path, 1000)
    explanation = explainer(shown((230, 20, 20)))
    for i in range(1000):
        report.add(report.card(explanation, f"p{i:03d}"))
    with opened(browser, report.write(explainer.facts, model="m.xml", settings={})) as page:
        assert page.text("#count") == "1000 pictures" and 0 < len(page.all(".card")) < 200


def test_a_long_run(browser, tmp_path):
    """Pictures beside the page are shown, and cards come as one scrolls."""
    explainer = Explainer(classifier(), ExplainConfig(), precision="f32")
    report = Report(tmp_path, MOST_EMBEDDED + 1)
    explanation = explainer(shown((230, 20, 20)))
    for i in range(MOST_EMBEDDED + 1):
        report.add(report.card(explanation, f"p{i:03d}"))
    with opened(browser, report.write(explainer.facts, model="m.xml", settings={})) as page:
        assert page.text("#count") == "201 pictures"
        few = len(page.all(".card"))
        assert few < 201
        page.open("p000")
        page.press("x")
        assert near(at(page.seen(), 0.2, 0.4), (230, 20, 20))
        page.press(Keys.ESCAPE)
        page.js("scrollTo(0, document.body.scrollHeight)")
        WebDriverWait(browser, 5).until(lambda _: len(page.all(".card")) > few)


def test_a_picture_with_nothing_predicted(browser, tmp_path):
    explainer = Explainer(classifier(model_info={"multilabel": "True"}, activation="sigmoid"), ExplainConfig(threshold=1.0))
    path, explanations = make(tmp_path, explainer, {"a": shown((30, 30, 30))})
    assert not explanations["a"].raw_maps
    with opened(browser, path) as page:
        assert page.text(".card .label") == "nothing predicted"
        assert not page.one("#scores").is_displayed()
        page.open("a")
        assert "Nothing was predicted" in page.text("#classes-note")
        page.press("1", Keys.ARROW_DOWN, "c")
        assert near(at(page.seen(), 0.9, 0.4), (30, 30, 30))
