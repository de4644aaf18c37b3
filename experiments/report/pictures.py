"""The figures of a run as pictures inside the page, in a fixed order, each with how to read it."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from ...pipeline.evaluation import DICE, FOLDING, METRICS, SDLOGJ, VELOCITY_FOLDING
from ..figures.distributions import DETERMINANT
from ..figures.trade import matched_name
from .blocks import Figure, Table, data_uri
from .tables import by_configuration

LARGEST_SVG = 400_000  # bytes; a longer one is shown as PNG
PNG_SCALE = 96 / 180  # a page's dots per inch to the file's: both kinds appear in one size
BOTH_FOLD = (FOLDING, VELOCITY_FOLDING)


class Look(NamedTuple):
    """How a figure is presented: ``beside`` the table of that name, or with the ``metrics`` in it as a table."""

    title: str
    reading: str = ""
    metrics: tuple[str, ...] = ()
    beside: str = ""


def _looks() -> dict[str, Look]:
    """The figures that are known, in their order."""
    similarities, smoothness = tuple(METRICS.of_role("similarity")), METRICS.of_role("smoothness")
    main = METRICS.title(smoothness[0])
    return {
        "similarity_vs_folding": Look(
            "Similarity against folding",
            "A point per configuration, a line per penalty from small to great λ. A penalty is better than another "
            "where its line is better on both axes.",
            (*similarities, *BOTH_FOLD),
        ),
        "similarity_vs_lambda": Look(
            "Similarity against λ",
            "What a greater weight costs in likeness of the two images. Equal λ is not equal smoothness: the penalties "
            "differ in scale.",
            similarities,
        ),
        **{
            f"{name}_vs_lambda": Look(
                f"{METRICS.title(name)} against λ",
                f"What a greater weight does to {METRICS[name].effect or METRICS.title(name)}, which training never "
                "saw.",
                (name,),
            )
            for name in METRICS.of_role("accuracy")
        },
        "folding_vs_lambda": Look(
            "Folding against λ",
            "Left the field that warps the image, right the velocity that the published study measured.",
            BOTH_FOLD,
        ),
        "sdlogj_by_lambda": Look(
            "SDlogJ by λ", "How unevenly the deformation stretches and squeezes, pair by pair.", (SDLOGJ,)
        ),
        "determinants_by_lambda": Look(
            "Jacobian determinants by λ",
            "How much volume is kept: 1 keeps it, below 0 the deformation folds.",
            (f"{DETERMINANT}min",),
        ),
        "flow_fields": Look(
            "Flow fields", "The displacement on example test pairs, component by component; one trial per penalty."
        ),
        "warped_grids": Look(
            "Warped grids",
            "Where the deformation takes the moving image and its grid on example test pairs; folds, if any, are red.",
        ),
        "across_lambda": Look(
            "One pair across λ",
            "From left to right the weight grows and the deformation gets smoother; below each image its Jacobian "
            "determinant.",
        ),
        "dice_per_structure": Look(
            f"{METRICS.title(DICE)} structure by structure",
            "Penalties at a like smoothness: which structures gain.",
            beside="structures",
        ),
        **{
            matched_name(name): Look(
                f"Penalties at equal {METRICS.title(name)}",
                "What penalties give when their deformations are equally smooth: the fair comparison."
                if name == smoothness[0]
                else f"The same with equally much {METRICS.title(name)} in place of equal {main}.",
                beside="statistics-matched",
            )
            for name in smoothness
        },
        "pareto_front": Look(
            "Accuracy against smoothness",
            "Upper left is best, lower left where less is better. Filled points are those that no other beats in both.",
            beside="statistics-fronts",
        ),
        "loss_by_epoch": Look("Loss against epoch", "Whether training had come to its end.", beside="trials"),
        "similarity_by_epoch": Look("Similarity against epoch", "The loss without its penalty.", beside="trials"),
        "penalty_by_epoch": Look("Penalty against epoch", "The penalty without λ, in its own unit.", beside="trials"),
    }


def pictures(paths: Iterable[Path], whole: pd.DataFrame) -> dict[str, list[Figure]]:
    """Every figure once, those known first, by the name of the table that it belongs to; empty: to none."""
    files: dict[str, list[Path]] = {}
    for path in paths:
        if path.is_file():
            files.setdefault(path.stem, []).append(path)
    looks = _looks()
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
    """The known figure that ``name`` is, or is a variant of; empty if there is none."""
    return next((known for known in looks if name == known or name.startswith(f"{known}_")), "")


def _plain(name: str) -> str:
    words = name.replace("_vs_", " against ").replace("_", " ").replace("lambda", "λ")
    return words[:1].upper() + words[1:]


def _embed(files: Sequence[Path]) -> tuple[str, int | None]:
    """An image of its own, for identifiers inside of one SVG must not meet those of another, and a PNG's width."""
    kinds = {path.suffix: path for path in files}
    svg = kinds.get(".svg")
    if svg is not None and (svg.stat().st_size <= LARGEST_SVG or ".png" not in kinds):
        return data_uri("image/svg+xml", svg.read_bytes()), None
    content = kinds[".png"].read_bytes()
    return data_uri("image/png", content), round(int.from_bytes(content[16:20], "big") * PNG_SCALE)
