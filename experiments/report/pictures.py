"""The figures of a run as pictures in the page, in a fixed order, each with a sentence on how to read it."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from ...pipeline.evaluation import DICE, FOLDING, METRICS, SDLOGJ, VELOCITY_FOLDING
from ..figures.distributions import DETERMINANT
from ..figures.matched import matched_name
from .blocks import Figure, Table, data_uri
from .tables import by_configuration

LARGEST_SVG = 400_000  # bytes; a larger SVG is replaced by the PNG
PNG_SCALE = 96 / 180  # dots per inch of the page and of the file, so that PNG and SVG have the same size
ANSWER = "answer"
"""The section whose figure comes first on the page."""
BOTH_FOLD = (FOLDING, VELOCITY_FOLDING)


class Look(NamedTuple):
    """How a figure is presented: ``beside`` a table or section of that name, or with a table of its ``metrics``."""

    title: str
    reading: str = ""
    metrics: tuple[str, ...] = ()
    beside: str = ""


def _looks() -> dict[str, Look]:
    """The known figures, in their order on the page."""
    similarities, smoothness = tuple(METRICS.of_role("similarity")), METRICS.of_role("smoothness")
    main = METRICS.title(smoothness[0])
    return {
        "similarity_vs_folding": Look(
            "Similarity against folding",
            "One point per configuration; a line joins the λ of one penalty. A penalty is better than another where "
            "its line is better on both axes.",
            (*similarities, *BOTH_FOLD),
        ),
        "similarity_vs_lambda": Look(
            "Similarity against λ",
            "A larger λ makes the warped and the fixed image less similar. Equal λ does not mean equal smoothness, "
            "because penalties differ in scale.",
            similarities,
        ),
        **{
            f"{name}_vs_lambda": Look(
                f"{METRICS.title(name)} against λ",
                f"The effect of a larger λ on {METRICS[name].effect or METRICS.title(name)}, which was not used in "
                "training.",
                (name,),
            )
            for name in METRICS.of_role("accuracy")
        },
        "folding_vs_lambda": Look(
            "Folding against λ",
            "Left: the displacement, which warps the image. Right: the velocity, which the published study measured.",
            BOTH_FOLD,
        ),
        "sdlogj_by_lambda": Look(
            "SDlogJ by λ", "How unevenly the deformation changes volume; boxes over test pairs.", (SDLOGJ,)
        ),
        "determinants_by_lambda": Look(
            "Jacobian determinants by λ",
            "1: volume is kept; below 1: compression; above 1: expansion; at 0 and below: folding.",
            (f"{DETERMINANT}min",),
        ),
        "flow_fields": Look(
            "Flow fields", "The two components of the displacement on example test pairs; one trial per penalty."
        ),
        "warped_grids": Look(
            "Warped grids",
            "The moving image and its grid, warped onto the fixed image, on example test pairs. Folding is red.",
        ),
        "across_lambda": Look(
            "One pair across λ",
            "λ grows from left to right, and the deformation gets smoother. Below each image is its Jacobian "
            "determinant.",
        ),
        "dice_per_structure": Look(
            f"{METRICS.title(DICE)} of each structure",
            "Which structures improve, with the penalties at similar smoothness.",
            beside="structures",
        ),
        **{
            matched_name(name): Look(
                f"Penalties at equal {METRICS.title(name)}",
                "The fair comparison: every penalty with equally smooth deformations."
                if name == smoothness[0]
                else f"The same comparison at equal {METRICS.title(name)} instead of equal {main}.",
                beside="statistics-matched",
            )
            for name in smoothness
        },
        "amortization_gap": Look(
            "Amortization gap",
            "How much better the first way to find fields is than the second, with the same penalty. If it differs "
            "between penalties, training favours some of them.",
            beside="statistics-amortization_gap",
        ),
        "pareto_front": Look(
            "ARC: accuracy against smoothness",
            "Smoother is left, more accurate is up (down, if the metric is an error). Filled points are on the Pareto "
            "front: no other point is better on both axes.",
            beside=ANSWER,
        ),
        "loss_by_epoch": Look("Loss against epoch", "Shows whether training has converged.", beside="trials"),
        "similarity_by_epoch": Look("Similarity against epoch", "The loss without the penalty.", beside="trials"),
        "penalty_by_epoch": Look("Penalty against epoch", "The penalty, not multiplied by λ.", beside="trials"),
    }


def pictures(paths: Iterable[Path], whole: pd.DataFrame) -> dict[str, list[Figure]]:
    """Every figure once, known ones first, by the name of its table; the name is empty for figures without one."""
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
    """The known figure whose name is ``name`` or its beginning; empty if there is none."""
    return next((known for known in looks if name == known or name.startswith(f"{known}_")), "")


def _plain(name: str) -> str:
    words = name.replace("_vs_", " against ").replace("_", " ").replace("lambda", "λ")
    return words[:1].upper() + words[1:]


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
