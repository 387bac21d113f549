"""`ovxai.integrations.ray`: the rows of one batch, then a cluster of two nodes on this machine, from which workers are taken."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from helpers.pictures import rgb
from ovxai.errors import OptionError, SourceError
from ovxai.explainer import Explainer
from ovxai.runtime.config import ExplainConfig

pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra ray)")
ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "fixtures" / "shapes" / "cnn.xml"
PICTURES = sorted(path for path in (ROOT / "fixtures" / "shapes" / "test").glob("cls_*.png") if "mask" not in path.name)


def worker(**words):
    from ovxai.integrations.ray import ExplainPictures

    return ExplainPictures(str(MODEL), words.pop("config", None), precision="f32", **words)


def column(*values) -> np.ndarray:
    array = np.empty(len(values), object)
    array[:] = values
    return array


def files(*paths: Path) -> dict[str, np.ndarray]:
    """A batch as `read_binary_files(include_paths=True)` gives it."""
    return {"bytes": column(*(path.read_bytes() for path in paths)), "path": column(*map(str, paths))}


def test_rows_say_what_the_explainer_says():
    rows = worker(overlay=True)(files(*PICTURES[:4])).to_pylist()
    assert list(dict.fromkeys(row["path"] for row in rows)) == [str(path) for path in PICTURES[:4]]
    explainer = Explainer(MODEL, precision="f32")
    for path in PICTURES[:4]:
        explanation = explainer(path)
        mine = [row for row in rows if row["path"] == str(path)]
        assert [row["class"] for row in mine] == list(explanation.raw_maps)
        for row in mine:
            assert row["label"] == explanation.labels[row["class"]] and row["error"] is None
            assert row["score"] == pytest.approx(explanation.scores[row["class"]], abs=1e-6)
            assert np.array_equal(np.array(row["map"], np.uint8), explanation.raw_maps[row["class"]])
            drawn = rgb(row["overlay"])
            assert np.array_equal(drawn, explanation.overlay(row["class"]))


def test_arrays_bytes_and_paths_give_the_same():
    explain = worker(keep=())
    pixels = rgb(PICTURES[0])
    tables = [
        explain(batch)
        for batch in (
            {"image": pixels[None]},
            {"bytes": column(PICTURES[0].read_bytes())},
            {"path": column(str(PICTURES[0]))},
        )
    ]
    assert tables[0].num_rows and tables[0].equals(tables[1]) and tables[0].equals(tables[2])


def test_types_are_the_same_whatever_the_batch_holds(tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    good, bad = worker()(files(PICTURES[0])), worker()(files(broken))
    assert good.schema == bad.schema
    assert bad.num_rows == 1 and bad["map"].to_pylist() == [None] and "broken.png: not a picture" in bad["error"][0].as_py()


def test_broken_pictures_keep_their_place_or_stop_the_run(tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"")
    rows = worker(config=ExplainConfig(classes=(2,)))(files(PICTURES[0], broken, PICTURES[1])).to_pylist()
    assert [row["class"] for row in rows] == [2, None, 2]
    with pytest.raises(SourceError, match="empty"):
        worker(skip_broken=False)(files(broken))


def test_a_picture_without_prediction_still_has_a_row():
    from ovxai.integrations.ray import ExplainPictures

    detector = ROOT / "fixtures" / "shapes" / "detector.xml"
    rows = ExplainPictures(str(detector), ExplainConfig(threshold=1.0))(files(PICTURES[0])).to_pylist()
    assert [(row["path"], row["class"], row["map"], row["error"]) for row in rows] == [(str(PICTURES[0]), None, None, None)]


def test_the_map_of_the_whole_picture_has_no_class():
    rows = worker(config=ExplainConfig(target="image"))(files(PICTURES[0])).to_pylist()
    assert [(row["class"], row["label"]) for row in rows] == [(None, None)] and np.array(rows[0]["map"]).max() == 255


def test_own_columns_are_kept():
    batch = {**files(*PICTURES[:2]), "id": np.array([7, 8])}
    table = worker(keep=("id",), config=ExplainConfig(target="all"))(batch)
    assert table["id"].to_pylist() == [7] * 5 + [8] * 5 and "path" not in table.column_names
    with pytest.raises(OptionError, match="label"):
        worker(keep=("label",))
    with pytest.raises(OptionError, match="no column shop"):
        worker(keep=("shop",))(batch)
    with pytest.raises(OptionError, match="no column photo"):
        worker(column="photo")(batch)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A head that does no work and two nodes of three CPUs each, all on this machine.

    One node alone holds both actors and a reader.
    """
    ray = pytest.importorskip("ray", reason="ray is not installed (extra ray)")
    from ray.cluster_utils import Cluster

    memory = 100 << 20
    made = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 0, "object_store_memory": memory, "include_dashboard": False},
    )
    nodes = [made.add_node(num_cpus=3, object_store_memory=memory) for _ in range(2)]
    ray.init(address=made.address, log_to_driver=False, configure_logging=False)
    made.wait_for_nodes()
    yield made, nodes
    ray.shutdown()
    made.shutdown()


@pytest.fixture()
def photos(tmp_path) -> list[str]:
    """60 pictures under names of their own, three of them broken."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(60):
        data = PICTURES[i % len(PICTURES)].read_bytes()
        (folder / f"{i:03d}.png").write_bytes(data[:100] if i % 20 == 7 else data)
    return sorted(map(str, folder.iterdir()))


def explained(ray, photos: list[str], out: Path, worker_class, **words) -> list[dict]:
    """Explain `photos` with two actors, write Parquet, and read that with Arrow alone."""
    import pyarrow.parquet as pq

    pictures = ray.data.read_binary_files(photos, include_paths=True, override_num_blocks=15)
    rows = pictures.map_batches(
        worker_class, fn_constructor_args=(str(MODEL),), fn_constructor_kwargs={"precision": "f32", **words},
        compute=ray.data.ActorPoolStrategy(size=2), num_cpus=1, batch_size=4,
    )  # fmt: skip
    rows.write_parquet(str(out))
    return pq.read_table(str(out)).to_pylist()


def judge(rows: list[dict], photos: list[str], scores: float = 1e-5, grey: int = 1) -> None:
    """Every picture's rows, once, those of a single process in f32; broken ones told.

    Another batch is another order of sums. scores, grey: how far they may be off by that, and by the precision in which
    the rows were computed.
    """
    single = worker()
    wanted = sorted((row for path in photos for row in single(files(Path(path))).to_pylist()), key=_identity)
    found = sorted(rows, key=_identity)
    assert [_told(row) for row in found] == [_told(row) for row in wanted]
    for row, other in zip(found, wanted, strict=True):
        if row["map"] is not None:
            assert row["score"] == pytest.approx(other["score"], abs=scores)
            assert np.abs(np.array(row["map"], np.int16) - np.array(other["map"], np.int16)).max() <= grey
    assert {row["path"] for row in rows if row["error"]} == {path for i, path in enumerate(photos) if i % 20 == 7}


def _told(row: dict) -> dict:
    """What no rounding changes."""
    return {name: value for name, value in row.items() if name not in ("score", "map")}


def _identity(row: dict) -> tuple:
    return row["path"], -1 if row["class"] is None else row["class"]


def dying_in_the_middle(marker: Path):
    """The class, made so that the first actor to come to its third batch dies with the batch done but not handed over."""
    from ovxai.integrations.ray import ExplainPictures

    class Dying(ExplainPictures):
        calls = 0

        def __call__(self, batch):
            table = super().__call__(batch)
            self.calls += 1
            if self.calls == 3:
                try:
                    os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
                except FileExistsError:
                    return table
                os.kill(os.getpid(), signal.SIGKILL)
            return table

    return Dying


@pytest.mark.slow
def test_a_killed_worker_loses_nothing_and_repeats_nothing(cluster, photos, tmp_path):
    import ray

    marker = tmp_path / "died"
    rows = explained(ray, photos, tmp_path / "maps", dying_in_the_middle(marker))
    assert marker.exists()
    judge(rows, photos)


@pytest.mark.slow
def test_a_lost_node_loses_nothing_and_repeats_nothing(cluster, photos, tmp_path):
    import ray

    made, nodes = cluster
    out = tmp_path / "maps"

    def take_a_node():
        while not list(out.glob("*.parquet")):  # some rows are written, most are not
            time.sleep(0.05)
        made.remove_node(nodes.pop())

    taker = threading.Thread(target=take_a_node, daemon=True)
    taker.start()
    rows = explained(ray, photos, out, slow_worker())
    taker.join(60)
    assert not taker.is_alive()
    judge(rows, photos)


def slow_worker():
    """The class at a pace at which something can happen while it works."""
    from ovxai.integrations.ray import ExplainPictures

    class Slow(ExplainPictures):
        def __call__(self, batch):
            time.sleep(0.5)
            return super().__call__(batch)

    return Slow


@pytest.mark.slow
def test_the_example_writes_parquet_and_overlays(photos, tmp_path):
    pytest.importorskip("ray", reason="ray is not installed (extra ray)")
    import pyarrow.parquet as pq

    script = ROOT / "examples" / "ray_explain.py"
    if not script.is_file():
        pytest.skip("the examples are not here")
    words = [sys.executable, script, MODEL, tmp_path / "photos", "-o", tmp_path / "maps", "--overlays", tmp_path / "overlays"]
    # A Ray of its own, whatever cluster this process is in.
    env = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    done = subprocess.run(
        [*map(str, words), "--address", "local"], env=env, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    table = pq.read_table(str(tmp_path / "maps"))
    assert {"path", "class", "label", "score", "map", "error"} == set(table.column_names)
    rows = table.to_pylist()
    # The example leaves the precision to the device.
    judge([{**row, "overlay": None} for row in rows], photos, scores=0.02, grey=24)
    drawn = {path.name for path in (tmp_path / "overlays").iterdir()}
    assert len(drawn) == sum(row["map"] is not None for row in rows) and all(name.endswith("_overlay.png") for name in drawn)
