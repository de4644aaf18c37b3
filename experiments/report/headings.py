"""What columns, values and measures are called in the report, and what the measures mean."""

from collections.abc import Iterable
from typing import Any

from ...networks import PENALTIES
from ...pipeline.settings.vocabulary import METHODS, untrained
from ..study.setting_keys import known_keys

FIELD_MEASURES = {  # heading, what it means
    "nonpositive_percent": (
        "folding, {field} (%)",
        "voxels in which the Jacobian determinant of the {field} is not positive, in percent; 0 means no folding",
    ),
    "nondiffeomorphic_percent": (
        "non-diffeomorphic, {field} (%)",
        "area (2-D) or volume (3-D) that the {field} turns inside out, in percent of the grid (Liu et al., IJCV 2024); "
        "it sees folds between voxels that a determinant misses",
    ),
    "sdlogj": (
        "SDlogJ, {field}",
        "standard deviation of the logarithm of the Jacobian determinant of the {field}: how unevenly it stretches and "
        "squeezes; 0 for a translation, lower is smoother",
    ),
    "sdlogj_l2r": (
        "SDlogJ as Learn2Reg, {field}",
        "the same by the challenge's formula, of log(determinant + 3) two voxels inside the border; it hardly sees "
        "folding",
    ),
    "det_min": ("least determinant, {field}", "smallest Jacobian determinant of the {field}"),
    "magnitude": ("mean length, {field} (voxels)", "mean length of the {field}'s vectors, in voxels of its own grid"),
}
MEASURES = {  # metric -> heading, what it means
    "mse": ("MSE", "mean squared difference of the warped and the fixed image; lower is better"),
    "ncc": (
        "NCC",
        "mean squared local correlation of the warped and the fixed image in windows of 9 voxels; 1 is best",
    ),
    "dice": (
        "Dice",
        "overlap of the warped and the fixed label maps, averaged over the structures that are in either; 1 is best",
    ),
    "hd95": (
        "HD95 (mm)",
        "distance within which 95 % of a structure's surface lies from that of the other map, averaged over the "
        "structures in both; lower is better",
    ),
    "tre": ("TRE (mm)", "target registration error: mean distance of corresponding landmarks; lower is better"),
    "loss": ("loss", "what training minimizes, on the test pairs: similarity + λ · penalty"),
    **{
        f"{field}_{measure}": (heading.format(field=field), meaning.format(field=field))
        for field in ("displacement", "velocity")
        for measure, (heading, meaning) in FIELD_MEASURES.items()
    },
    "seconds": (
        "seconds per pair",
        "time to register a test pair whose images are in memory: a trained network's pass, or a baseline's iterations",
    ),
}
MEASURES["displacement_sdlogj"] = ("SDlogJ", MEASURES["displacement_sdlogj"][1])
HEADINGS = {
    **{metric: heading for metric, (heading, _) in MEASURES.items()},
    "lambda": "λ",
    "std_pairs": "SD over pairs",
    "std_seeds": "SD over seeds",
    "before": "before registration",
    "n_pairs": "test pairs",
    "n_seeds": "seeds",
    "low": "95 % from",
    "high": "95 % to",
    "effect_low": "effect, 95 % from",
    "effect_high": "effect, 95 % to",
    "p_holm": "p, Holm",
    "matched_in": "at equal",
    "at": "namely",
    "on_front": "on the front",
    **{f"sd_{part}": f"SD of {part}" for part in ("pairs", "subjects", "seeds")},
    "sd_residual": "SD, residual",
    "label": "structure",
    "integration_steps": "integration steps",
}


def heading(column: str) -> str:
    """A column's name in plain words: ``displacement_nonpositive_percent`` is ``folding, displacement (%)``."""
    if column in HEADINGS:
        return HEADINGS[column]
    leaf = column.rsplit(".", 1)[-1] if column in known_keys() else column
    for start, whose in (("published_", "published"), ("our_", "ours")):
        if leaf.startswith(start):
            return f"{heading(leaf.removeprefix(start))}, {whose}"
    if leaf.endswith("_before"):
        return f"{heading(leaf.removesuffix('_before'))}, before"
    return HEADINGS.get(leaf, leaf.replace("_percent", " (%)").replace("_", " "))


def value_name(value: Any) -> str:
    """A word in a table in plain words: penalties and metrics by their names."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    word = str(value)
    if word in PENALTIES:
        return PENALTIES.title(word)
    return (
        METHODS.title(word)
        if word in untrained()
        else (HEADINGS[word] if word in MEASURES or word == "lambda" else word)
    )


def definitions(metrics: Iterable[str], penalties: Iterable[str], models: Iterable[str]) -> list[tuple[str, str]]:
    """λ, the penalties, baselines and measures of a run: term and meaning."""
    tools = [METHODS[name] for name in untrained() if name in set(models)]
    known = [PENALTIES[name] for name in PENALTIES.in_order(penalties) if name in PENALTIES]
    penalized = [(f"penalty {entry.title}", entry.definition) for entry in known]
    measured = [words for metric, words in MEASURES.items() if metric in set(metrics)]
    return [
        ("λ", "weight of the penalty in similarity + λ · penalty; the greater, the smoother the field"),
        *penalized,
        *((entry.title, entry.definition) for entry in tools),
        ("displacement", "u in warped(x) = moving(x + u(x)), in voxels: what warps the image"),
        (
            "velocity",
            "the field that the diffeomorphic model integrates into the displacement, at its own resolution; the "
            "published study measured its folding on it",
        ),
        *measured,
        (
            "SD",
            "standard deviation: over the test pairs of one training, or over the means of several seeds",
        ),
    ]
