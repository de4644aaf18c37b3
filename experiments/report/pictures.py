"""The figures of a run as pictures in the page, in a fixed order, each with a sentence on how to read it."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from ..figures.kinds import Look, kinds
from ..rows.naming import upper_first
from .blocks import Figure, Table, data_uri
from .tables import by_configuration

LARGEST_SVG = 400_000  # bytes; a larger SVG is replaced by the PNG
PNG_SCALE = 96 / 180  # dots per inch of the page and of the file, so that PNG and SVG have the same size


def pictures(paths: Iterable[Path], whole: pd.DataFrame) -> dict[str, list[Figure]]:
    """Every figure once, known ones first, by the name of its table; the name is empty for figures without one."""
    files: dict[str, list[Path]] = {}
    for path in paths:
        if path.is_file():
            files.setdefault(path.stem, []).append(path)
    looks = {name: look for kind in kinds() for name, look in kind.looks().items()}
    places = {name: place for place, name in enumerate(looks)}
    found: dict[str, list[Figure]] = {}
    for name in sorted(files, key=lambda name: (places.get(_known(name, looks), len(places)), name)):
        known = _known(name, looks)
        look = looks.get(known, Look(""))
        title = look.title or _plain(name)
        if look.title and name != known:
            title += f": {name.removeprefix(known).strip('_').replace('_', ' ')}"
        alt = f"{title}. {look.reading}".strip()
        source, width = _embed(files[name])
        figure = Figure(name, title, source, alt, look.reading, _numbers(name, whole, look.metrics), width)
        found.setdefault(look.beside, []).append(figure)
    return found


def _numbers(name: str, whole: pd.DataFrame, metrics: Sequence[str]) -> Table | None:
    there = [metric for metric in metrics if metric in set(whole["metric"])]
    return by_configuration(f"numbers-{name}", whole, there, "The numbers") if there else None


def _known(name: str, looks: Iterable[str]) -> str:
    """The known figure whose name is ``name`` or its beginning; empty if there is none."""
    return next((known for known in looks if name == known or name.startswith(f"{known}_")), "")


def _plain(name: str) -> str:
    words = name.replace("_vs_", " against ").replace("_", " ").replace("lambda", "λ")
    return upper_first(words)


def _embed(files: Sequence[Path]) -> tuple[str, int | None]:
    """The image as a data URI, and its width if it is a PNG.

    An SVG is embedded as an image, so that its identifiers cannot collide with those of another SVG.
    """
    kinds = {path.suffix: path for path in files}
    svg = kinds.get(".svg")
    if svg is not None and (svg.stat().st_size <= LARGEST_SVG or ".png" not in kinds):
        return data_uri("image/svg+xml", svg.read_bytes()), None
    content = kinds[".png"].read_bytes()
    return data_uri("image/png", content), round(int.from_bytes(content[16:20], "big") * PNG_SCALE)
