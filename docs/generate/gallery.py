"""Each kind of figure, from the committed results, with the command that draws it."""

from pathlib import Path

RESULTS = Path(__file__).resolve().parents[2] / "experiments" / "results"
KINDS = {  # file name without suffix of the model -> title, what it shows
    "pareto_front": ("Accuracy against smoothness (ARC)", "Dice against SDlogJ, a curve for each penalty over λ."),
    "matched_sdlogj": (
        "Accuracy at equal SDlogJ",
        "Each penalty read off its curve at the same SDlogJ, with intervals.",
    ),
    "matched_folding": ("Accuracy at equal folding", "The same at the same share of folded voxels."),
    "dice_vs_lambda": ("Dice against λ", "With the spread between seeds."),
    "similarity_vs_lambda": ("Similarity against λ", "The measure that training minimizes."),
    "folding_vs_lambda": ("Folding against λ", "Of the displacement and of the velocity."),
    "similarity_vs_folding": ("Similarity against folding", "The trade-off as the published study draws it."),
    "sdlogj_by_lambda": ("Distribution of SDlogJ", "Over the test pairs, for each λ."),
    "determinants_by_lambda": ("Distribution of the Jacobian determinant", "Percentiles over voxels, for each λ."),
    "dice_per_structure": ("Dice of each structure", "At each penalty's best λ, beside no registration."),
    "across_lambda": ("One pair across λ", "The warped image and its grid, from weak to strong penalty."),
    "warped_grids": ("Warped grids", "One test pair under each penalty."),
    "flow_fields": ("Displacement fields", "The same pair: direction and length."),
    "loss_by_epoch": ("Loss during training", "On training and validation pairs."),
    "similarity_by_epoch": ("Similarity during training", "The first part of the loss."),
    "penalty_by_epoch": ("Penalty during training", "The second part, without λ."),
}
STUDIES = ("regularizers", "published", "hippocampus", "baselines")
INTRO = """\
# Gallery

`smoothmorph figures RUN` draws every figure that the run's rows allow, as PNG and SVG, into `RUN/figures/`. It reads no
model and no image, so a figure takes seconds. The figures here are those of the committed results: the command under
each draws it again.

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
    """One page."""
    lines = [INTRO]
    for name, (title, text) in KINDS.items():
        study, file = _find(name)
        lines += [f"## {title}", "", text, "", f"![{title}, study {study}]({file})", ""]
        lines += ["```", f"smoothmorph figures experiments/results/{study}", "```", ""]
        lines += [f"writes `figures/{Path(file).name}`.", ""]
    return {"gallery.md": "\n".join([*lines, OVERVIEW])}


def _find(name: str) -> tuple[str, str]:
    """The first study that has the figure, and its path from docs/."""
    for study in STUDIES:
        for file in sorted((RESULTS / study / "figures").glob(f"{name}*.png")):
            if file.stem == name or file.stem.removeprefix(f"{name}_").endswith("_model"):
                return study, f"../experiments/results/{study}/figures/{file.name}"
    raise FileNotFoundError(f"no committed figure is called {name}")
