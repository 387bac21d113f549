"""Explain many pictures on a Ray cluster: `python ray_explain.py model_xai.xml photos -o maps --actors 4 --overlays overlays`.

The model, the pictures and the output must be found at the same place from every node: a shared folder, or for pictures and
Parquet an address such as s3://bucket/photos. Needs `pip install 'ovxai[ray]'` on every node.
"""

from __future__ import annotations

import argparse
import hashlib
import os
from pathlib import Path

import pyarrow as pa
import ray

from ovxai import ExplainConfig
from ovxai.integrations.ray import ExplainPictures


def read(source: str) -> ray.data.Dataset:
    """Pictures from Parquet (a column `bytes` or `image`), or picture files. Any other reader of Ray's will do."""
    if source.endswith(".parquet"):
        return ray.data.read_parquet(source)
    return ray.data.read_binary_files(source, include_paths=True)


class SaveOverlays:
    """Each overlay into a PNG file, named after picture and class alone: a batch that is repeated writes the same files."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)

    def __call__(self, table: pa.Table) -> pa.Table:
        for row in table.select([name for name in ("path", "class", "overlay") if name in table.column_names]).to_pylist():
            if row["overlay"] is not None:
                self.save(row["overlay"], row.get("path"), row["class"])
        return table.drop_columns(["overlay"])

    def save(self, data: bytes, source: str | None, index: int | None) -> None:
        stem = Path(source).stem if source else "picture"
        mark = hashlib.sha1(source.encode() if source else data).hexdigest()[:8]  # equal stems lie in different folders
        path = self.folder / f"{stem}_{mark}_{'image' if index is None else f'class_{index}'}_overlay.png"
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        draft.write_bytes(data)
        draft.replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("source", help="folder, address or .parquet")
    parser.add_argument("-o", "--output", required=True, help="folder or address for the Parquet files")
    parser.add_argument("--actors", type=int, default=1, help="models in memory, one an actor")
    parser.add_argument("--cpus", type=int, default=1, help="CPUs, and threads of the inference, an actor")
    parser.add_argument("--address", help="of the cluster; `local` starts one here  [default: $RAY_ADDRESS, else local]")
    parser.add_argument("--overlays", help="folder for overlays as PNG files, instead of in the Parquet")
    options = parser.parse_args()

    ray.init(address=options.address)
    cpus = int(ray.cluster_resources().get("CPU", 0))
    if options.actors * options.cpus >= cpus:  # Ray would wait for ever
        parser.error(
            f"{options.actors} actors of {options.cpus} CPUs leave none of the cluster's {cpus} for reading; ask for fewer"
        )
    rows = read(options.source).map_batches(
        ExplainPictures,
        fn_constructor_args=(options.model, ExplainConfig(target="predictions")),
        fn_constructor_kwargs={"overlay": True},
        compute=ray.data.ActorPoolStrategy(size=options.actors),
        num_cpus=options.cpus,
        batch_size=16,
    )
    if options.overlays:
        rows = rows.map_batches(
            SaveOverlays, fn_constructor_args=(options.overlays,), batch_format="pyarrow", num_cpus=0,
            compute=ray.data.ActorPoolStrategy(size=1),
        )  # fmt: skip
    rows.write_parquet(options.output)


if __name__ == "__main__":
    main()
