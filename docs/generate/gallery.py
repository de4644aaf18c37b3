"""Make the gallery: each kind of figure from the committed results, with the command that draws it."""

from pathlib import Path

RESULTS = Path(__file__).resolve().parents[2] / "experiments" / "results"
KINDS = {  # file name, without the suffix for the model -> title, description
    "pareto_front": ("Accuracy against smoothness (ARC)", "Dice against SDlogJ, with one curve over λ per penalty."),
    "matched_sdlogj": (
        "Accuracy at equal SDlogJ",
        "Dice of each penalty at the same SDlogJ, interpolated on its curve, with intervals.",
    ),
    "matched_folding": ("Accuracy at equal folding", "Dice of each penalty at the same share of folded voxels."),
    "dice_vs_lambda": ("Dice against λ", "Mean Dice with the spread between seeds."),
    "similarity_vs_lambda": ("Similarity against λ", "The similarity that training minimizes, on the test pairs."),
    "folding_vs_lambda": ("Folding against λ", "Folding of the displacement and of the velocity."),
    "similarity_vs_folding": ("Similarity against folding", "The trade-off as the published study draws it."),
    "sdlogj_by_lambda": ("Distribution of SDlogJ", "SDlogJ of all test pairs for each λ."),
    "determinants_by_lambda": ("Distribution of the Jacobian determinant", "Percentiles over voxels for each λ."),
    "dice_per_structure": ("Dice of each structure", "Each penalty at its best λ, and no registration."),
    "across_lambda": ("One pair across λ", "The warped image and its grid, from a weak to a strong penalty."),
    "warped_grids": ("Warped grids", "The warped grid of one test pair for each penalty."),
    "flow_fields": ("Displacement fields", "Direction and length of the displacement of the same pair."),
    "loss_by_epoch": ("Loss during training", "The loss on training and validation pairs."),
    "similarity_by_epoch": ("Similarity during training", "The first term of the loss."),
    "penalty_by_epoch": ("Penalty during training", "The second term of the loss, without λ."),
}
STUDIES = ("regularizers", "published", "hippocampus", "baselines")
INTRO = """\
# Gallery

`smoothmorph figures RUN` draws every figure that the run's rows allow, as PNG and SVG, into `RUN/figures/`. It reads no
model and no image, so a figure takes seconds. The figures here are those of the committed results. The command below
each figure draws it again.

`smoothmorph report RUN` puts them on one HTML page. `smoothmorph register ... --report overview.png` draws the last
one.
"""
OVERVIEW = """\
## Overview of one registration

Moving, fixed and warped image, differences, warped grid and Jacobian determinant.

![Overview of a registration](../docs/register.png)

```
smoothmorph register moving.nii.gz fixed.nii.gz --model brain-2d --report overview.png
```
"""


def pages() -> dict[str, str]:
    """Make the page."""
    lines = [INTRO]
    for name, (title, text) in KINDS.items():
        study, file = _find(name)
        lines += [f"## {title}", "", text, "", f"![{title}, study {study}]({file})", ""]
        lines += ["```", f"smoothmorph figures experiments/results/{study}", "```", ""]
        lines += [f"writes `figures/{Path(file).name}`.", ""]
    return {"gallery.md": "\n".join([*lines, OVERVIEW])}


def _find(name: str) -> tuple[str, str]:
    """Find the first study that has the figure, and the figure's path from docs/."""
    for study in STUDIES:
        for file in sorted((RESULTS / study / "figures").glob(f"{name}*.png")):
            if file.stem == name or file.stem.removeprefix(f"{name}_").endswith("_model"):
                return study, f"../experiments/results/{study}/figures/{file.name}"
    raise FileNotFoundError(f"no committed figure is called {name}")
