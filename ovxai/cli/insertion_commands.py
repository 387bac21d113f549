"""`ovxai insert`, `inspect`, `strip`: explanation outputs into a model, what they would be, and out again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ovxai.cli.common import Document, Refused, Say, asked, command_options, examples, warn
from ovxai.cli.options import FORCE, INSERTING, MODEL, insert_options, with_options
from ovxai.cli.sentences import graph_and_machine, what_it_takes, what_was_done, what_would_be_done

if TYPE_CHECKING:
    import openvino as ov

    from ovxai.child import Child
    from ovxai.insertion import Insertion
    from ovxai.options import InsertOptions


@click.command(epilog=examples(
    "ovxai insert model.onnx",
    "ovxai insert model.xml -o out.xml --mean 123.675,116.28,103.53 --scale-values 58.395,57.12,57.375",
    "ovxai insert classifier.xml --method gradient --classes top:3",
    "ovxai insert detector.xml --method gradient --per box",
))  # fmt: skip
@MODEL
@click.option("-o", "--output-model", "out", type=click.Path(path_type=Path), metavar="OUT.xml",
              help="Where the explained model goes.  [default: MODEL's stem + _xai.xml beside MODEL]")  # fmt: skip
@with_options(INSERTING)
@click.option("--verify/--no-verify", default=False, show_default=True,
              help="Compare the maps with their definition before the model is kept.")  # fmt: skip
@click.option("--split", is_flag=True,
              help="Write two models: OUT.xml, plain but for the tensors that maps need, and OUT_head.xml, which takes "
                   "them and gives the maps. A map is paid for when one is asked for.")  # fmt: skip
@FORCE
@command_options
def insert(model: Path, out: Path | None, split: bool, force: bool, say: Say, **values: Any) -> Document:
    """Add explanation outputs to MODEL (.xml, .onnx, .tflite, .pb, .pdmodel, SavedModel folder, .pt2)."""
    from ovxai.graph.save import check_destination, save_models
    from ovxai.graph.split import head_path, split_model
    from ovxai.insertion import insert_with_report

    options = insert_options(values)
    path = out or model.with_name(f"{model.stem}_xai.xml")
    for file in (path, *([head_path(path)] if split else [])) if model.exists() else ():  # else that is what is wrong
        check_destination(file, force=force)
    with _apart(options) as apart:
        done = insert_with_report(model, options, apart=apart)
    share = _share(done.model)
    for line in [*_summary(done), _cost(share)]:
        say(line)
    for warning in done.warnings:
        warn(warning)
    if done.verified is not None:
        say("verified against the definition")
    files = dict(zip((path, head_path(path)), split_model(done.model))) if split else {path: done.model}
    paths = save_models(files, force=force)
    for what, file in zip(("plain part:     ", "head:           ") if split else ("explained model:",), paths):
        say(f"{what} {file}")
    verified = {} if done.verified is None else {"verified": done.verified.ok}
    heads = {"head": str(head_path(path))} if split else {}
    return {"model": str(path), **heads, **_facts(done, share), **verified}


@click.command()
@MODEL
@with_options(INSERTING)
@command_options
def inspect(model: Path, say: Say, **values: Any) -> Document:
    """What MODEL is, what would be inserted and where, at what cost. Nothing is written.

    With --json also what a report of a fault needs: shapes, operations, versions; no weights, no names of classes.
    """
    from ovxai.errors import OvxaiError
    from ovxai.graph.read import read_model
    from ovxai.insertion import insert_with_report
    from ovxai.metadata import ExplainedInfo

    options = insert_options(values)
    plain = read_model(model, trust=options.trust)
    say(f"{model}")
    say(what_it_takes(plain))
    about = graph_and_machine(plain) if asked("as_json") else {}
    try:
        known = ExplainedInfo.read(plain)
        if known is not None:
            for line in what_was_done(known, plain):
                say(line)
            return {"model": str(model), "explained": True, **asdict(known), **about}
        with _apart(options) as apart:
            done = insert_with_report(plain, options, apart=apart, beside=model)
            precision, measured = _precision(done, apart)
    except OvxaiError as error:  # what the model is, is of use all the same
        raise Refused(error, {"model": str(model), **about}) from error
    share = _share(done.model)
    candidates = [f"  {candidate}" for candidate in done.candidates]
    for line in [*what_would_be_done(done, share), *precision, "Considered, from the scores upwards:", *candidates]:
        say(line)
    say("Nothing was written: `ovxai insert` with the same options does it.")
    for warning in done.warnings:
        warn(warning)
    facts = {**_facts(done, share), **measured, "candidates": done.candidates}
    return {"model": str(model), "explained": False, **facts, **about}


@click.command()
@MODEL
@click.option("-o", "--output-model", "--output", "out", type=click.Path(path_type=Path), metavar="OUT.xml",
              help="Where the plain model goes.  [default: MODEL's stem + _plain.xml beside MODEL]")  # fmt: skip
@FORCE
@command_options
def strip(model: Path, out: Path | None, force: bool, say: Say) -> Document:
    """Give the plain model back from the explained MODEL."""
    from ovxai.graph.read import read_model
    from ovxai.graph.save import save_model
    from ovxai.graph.surgery import strip_model

    plain = strip_model(read_model(model))
    path = save_model(plain, out or model.with_name(f"{model.stem}_plain.xml"), force=force)
    say(f"plain model: {path}")
    return {"model": str(path), "outputs": [sorted(output.get_names()) for output in plain.outputs]}


@contextmanager
def _apart(options: InsertOptions) -> Iterator[Child | None]:
    """A process for what runs the model, started while this one reads and searches; None where nothing runs it."""
    if not options.probe and not options.verify:
        yield None
        return
    from ovxai.child import Child

    with Child("ovxai.probe") as child:
        yield child


def _facts(done: Insertion, share: float | None) -> dict[str, object]:
    """What `insert` and `inspect` say of an insertion with --json."""
    return {
        **asdict(done.info),
        "why": done.why,
        "notes": done.notes,
        "warnings": done.warnings,
        "predicted_extra_cost": share,
    }


def _summary(done: Insertion) -> list[str]:
    """Task, method, target layer, gate, map size, collapse: one line each."""
    info = done.info
    lines = [
        f"task          {info.task}",
        f"method        {info.method}" + (f" ({info.mask} mask)" if info.mask else ""),
        f"target layer  {', '.join(info.target_layers)}" + (f" [{info.layout}]" if info.layout else ""),
        f"why           {done.why}",
        f"input         {info.picture_input}{_others(done.model.inputs, info.picture_input)}",
        f"output        {_explained(done)}",
        f"map           {_map_shape(done.model)}, " + ("u8 scaled to 0..255 per map" if info.scaled else "f32, not scaled"),
        f"frame         {','.join(f'{share:g}' for share in info.map_frame)} of the input (y1,x1,y2,x2), axes {info.map_axes}",
        f"classes       {info.classes}" + (f" of {info.num_classes}" if info.num_classes else ""),
    ]
    lines += [f"{word:13} {text}" for word, text in (("combine", info.combine), ("collapse", info.collapse)) if text]
    return [*lines, *(f"note          {note}" for note in done.notes)]


def _others(ports: Sequence[ov.Output], chosen: str) -> str:
    """The ports beside the chosen one, in brackets."""
    names = [min(port.get_names(), default=port.get_node().get_friendly_name()) for port in ports]
    rest = [name for name, port in zip(names, ports) if chosen not in (name, *port.get_names())]
    return f" (beside it: {', '.join(rest)})" if rest else ""


def _explained(done: Insertion) -> str:
    """The output that is explained, and the model's others."""
    own = done.model.outputs[: len(done.model.outputs) - len(done.info.extra_outputs)]
    number = done.info.explained_output
    port = own[number]
    name = min(port.get_names(), default=port.get_node().get_friendly_name())
    return name + _others(own, name)


def _map_shape(model: ov.Model) -> str:
    from ovxai.metadata import SALIENCY_MAP

    return str(model.output(SALIENCY_MAP).get_partial_shape())


def _share(model: ov.Model) -> float | None:
    """Multiply-adds of the explanation over the model's own."""
    from ovxai.graph.surgery import branch_share

    share = branch_share(model)
    return None if share is None else round(share, 4)


def _cost(share: float | None) -> str:
    if share is None:
        return "extra cost    not predicted (sizes depend on the picture)"
    return f"extra cost    {100 * share:.1f} % more multiply-adds"


def _precision(done: Insertion, apart: Child | None) -> tuple[list[str], dict[str, object]]:
    """How the maps come out in the precision that this CPU takes by itself: measured, as a sentence and as data."""
    from ovxai.errors import OvxaiError
    from ovxai.probe import handed_over
    from ovxai.verification import precision_of_file

    if apart is None:
        return [], {}
    try:
        with handed_over(done.model, apart) as path:
            if path is None:
                return ["How exact the maps are on this CPU was not measured: no room for temporary files."], {}
            measured = apart.call("a measurement in the CPU's own precision", precision_of_file, path)
    except OvxaiError as error:
        return [f"How exact the maps are on this CPU was not measured: {error}"], {}
    facts = {"precision": measured.precision, "precision_mean": measured.mean, "precision_worst": measured.worst}
    return [f"On this CPU, by itself, in {measured}."], facts if measured.rows else {}
