"""A simulated installation of another package with entry points: a folder of metadata on the path."""

import os
from collections.abc import Mapping
from pathlib import Path


def environment_with(folder: Path, points: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """The environment of a process for which ``outside`` is installed, with entry points by group and name.

    Args:
        folder: gets the metadata.
        points: such as ``{"smoothmorph.metrics": {"jaccard": "outside.jaccard:ENTRY"}}``.
    """
    about = folder / "outside-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: outside\nVersion: 1.0\n", encoding="utf-8")
    lines = [line for group, own in points.items() for line in (f"[{group}]", *(f"{n} = {t}" for n, t in own.items()))]
    (about / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")
    paths = [str(folder), str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
