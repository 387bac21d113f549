"""`ovxai bench`: figures are there and make sense; nobody asserts how fast a machine is."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import openvino as ov
import pytest
from click.testing import CliRunner

from helpers.tiny_models import Pooled
from ovxai.bench import Cost, Latency, bench
from ovxai.cli.checking_commands import _figures
from ovxai.cli.main import main
from ovxai.errors import NotExplainedError, OptionError
from ovxai.graph.save import save_model


@pytest.fixture
def explained(tmp_path):
    return save_model(Pooled(batch=-1).explained(), tmp_path / "xai.xml")


def test_all_figures(explained):
    report = bench(explained, calls=6, seconds=2, precision="f32", batch=2)
    assert report.precision == "f32" and report.calls == 6 and report.input_shape == (2, 3, 12, 15)
    assert report.ratio > 0 and report.throughput_ratio and report.throughput_ratio > 0
    assert report.memory_ratio and 0.5 < report.memory_ratio < 2
    assert report.plain.memory_mb and report.plain.memory_mb > 10
    assert report.explained.xml_bytes > report.plain.xml_bytes


def test_f32_stands_beside_what_the_device_chooses(explained):
    report = bench(explained, calls=5, seconds=2, throughput=False, memory=False)
    own = ov.Core().get_property("CPU", "INFERENCE_PRECISION_HINT") == ov.Type.f32
    assert (report.f32 is None) == own == (report.precision == "f32")
    lines = _figures(replace(report, f32=Latency(2.0, 3.0, 1.5)))
    assert next(line for line in lines if line.startswith("latency ms, f32")).split()[3:] == ["2.00", "3.00", "1.500"]
    assert "1.500 in f32" in lines[-1]
    assert bench(explained, calls=5, seconds=2, precision="f32", throughput=False, memory=False).f32 is None


def test_columns_are_as_wide_as_their_figures_and_ratios_are_those_of_the_row(explained):
    report = bench(explained, calls=5, seconds=2, precision="f32", throughput=False, memory=False)
    large = Cost(1.0, None, 1024, 12345678901234 * 1024, None)
    lines = _figures(replace(report, plain=large, explained=replace(large, latency_ms=1.5), ratio=1.4))
    rows = {line[: line.index("  ")]: line.split() for line in lines[2:5]}
    assert rows[".bin KB"][2:] == ["12345678901234.00", "12345678901234.00", "1.000"]
    assert rows["latency ms"][2:] == ["1.00", "1.50", "1.500"] and "1.400 in f32" in lines[-1]


def test_a_wrong_precision_or_model(explained, tmp_path):
    with pytest.raises(OptionError, match="precision"):
        bench(explained, precision="f8")
    with pytest.raises(NotExplainedError):
        bench(save_model(Pooled().model, tmp_path / "plain.xml"))


def test_command(explained):
    words = ["bench", str(explained), "--calls", "5", "--no-memory", "--no-throughput"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    assert "latency ms" in result.output and "peak memory" not in result.output
    document = json.loads(CliRunner().invoke(main, [*words, "--json"]).stdout)
    assert document["ratio"] > 0 and document["plain"]["memory_mb"] is None


@pytest.fixture
def scripts(monkeypatch):
    folder = Path(__file__).resolve().parents[1] / "scripts"
    if not (folder / "bench_runner.py").is_file():
        pytest.skip("the scripts are not here")
    monkeypatch.syspath_prepend(str(folder))


@pytest.mark.slow
@pytest.mark.usefixtures("scripts")
def test_the_runner_is_measured_from_outside():
    import bench_runner

    if not Path(sys.executable).with_name("benchmark_app").exists():
        pytest.skip("benchmark_app is not installed beside this Python")
    text = bench_runner.measure([], "f32", pictures=3, repeats=1, seconds=1)
    rows = [line.split("|") for line in text.splitlines() if line.startswith("| efficientnet_lite0")]
    assert len(rows) == 1 + len(bench_runner.FORMS)
    # Over three pictures a rate is noise; that there is one says that the run went through.
    assert all(float(cell.strip(" *")) > 0 for cell in (*rows[0][2:5], rows[1][3])) and float(rows[1][4])


@pytest.mark.usefixtures("scripts")
def test_a_section_of_the_page_is_replaced_and_others_stay(tmp_path):
    import bench

    page = tmp_path / "page.md"
    page.write_text("# Benchmarks\n\ntable\n\n## Runner\n\nold\n\n## Mine\n\nkept\n", encoding="utf-8")
    bench._put_section(page, "\n## Runner\n\nnew\n")
    assert page.read_text(encoding="utf-8") == "# Benchmarks\n\ntable\n\n## Runner\n\nnew\n\n## Mine\n\nkept\n"
