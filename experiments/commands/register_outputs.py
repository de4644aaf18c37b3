"""What the command `register` prints and writes."""

from pathlib import Path
from typing import TYPE_CHECKING

from ...pipeline.evaluation import METRICS, MetricEntry
from ...pipeline.fields.apply import outside, write_labels
from ...pipeline.fields.tools import inverted
from ...pipeline.files.text import write_atomically
from ...pipeline.images.volumes import write_volume
from .common import echo

if TYPE_CHECKING:
    from ...pipeline import ImagePair, Registered

ARROWS = {"higher": " ↑", "lower": " ↓"}
"""How the heading of a column says which values are better."""


def print_agreements(found: "Registered") -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column()
    for name in found.agreements[0].measures:
        table.add_column(_heading(METRICS[name]), justify="right")
    for state in found.agreements:
        table.add_row(state.name, *(_shown(METRICS[name], value) for name, value in state.measures.items()))
    Console().print(table)


def _heading(metric: MetricEntry) -> str:
    """The name of a metric, its unit, and an arrow to its better values: ``folding % ↓``."""
    return metric.narrow_column.replace("\n", " ") + ARROWS.get(metric.better, "")


def write_files(
    found: "Registered", pair: "ImagePair", outputs: dict[str, Path | None], background: float
) -> tuple[str, ...]:
    """Write the requested files, print the path of each, and return notices for the user."""
    from ...transforms import write_field

    def tell(path: Path) -> None:
        echo(f"wrote {path}")

    field, notices = found.field, found.notices
    if (path := outputs["warped"]) is not None:
        image, inside = field.warp(pair.moving.values, pair.moving.grid, background=background)
        tell(write_volume(path, image[0].numpy(), field.fixed))
        darkest = float(pair.moving.values.min())
        if not bool(inside.all()) and background != darkest:
            notices += (f"{outside(inside, pair.moving.path, background)} Its darkest voxel has {darkest:g}.",)
    if (path := outputs["warped-labels"]) is not None and (labels := pair.moving_labels) is not None:
        image, _ = field.warp(labels.values, labels.grid, "nearest")
        tell(write_labels(path, image[0], labels.path, field.fixed))
    if (path := outputs["jacobian"]) is not None:
        tell(write_volume(path, field.jacobian_determinant().numpy(), field.fixed))
    if (path := outputs["report"]) is not None:
        tell(_draw(path, found, pair))
    if (path := outputs["field"]) is not None:
        tell(write_field(path, field))
    if (path := outputs["inverse-field"]) is not None:
        inverse, of_inverse = inverted(field, pair.moving.grid, path)
        tell(write_field(path, inverse))
        notices += of_inverse
    return notices


def _in_words(found: "Registered") -> str:
    """The metrics in a sentence, before and after registration; metrics of the field only after it."""
    before, words = found.agreements[0].measures, []
    for name, value in found.agreements[-1].measures.items():
        metric = METRICS[name]
        unit = f" {metric.unit}" if metric.unit == "%" else ""
        earlier = "" if metric.of_field else f"{_shown(metric, before[name])} before, "
        words.append(f"{metric.title} {earlier}{_shown(metric, value)}{unit}{'' if metric.of_field else ' after'}")
    return f"{'; '.join(words)}."


def _shown(metric: MetricEntry, value: float) -> str:
    """The value of a metric of one pair; a few folded voxels among many must not be shown as 0 %."""
    return f"{value:{'.3g' if metric.unit == '%' else metric.form}}"


def _draw(path: Path, found: "Registered", pair: "ImagePair") -> Path:
    from ..figures.overview import overview_in_world
    from ..figures.style import without_formulas

    moving, fixed, warped = (image[0].numpy() for image in (found.moving, found.fixed, found.warped))
    names = pair.moving.path, pair.fixed.path
    parts = 2 if names[0].name == names[1].name else 1  # in many cohorts only the folder names the subject
    title = " onto ".join(str(Path(*name.parts[-parts:])) for name in names)
    figure = without_formulas(overview_in_world(moving, fixed, warped, found.field, title, _in_words(found)))
    return write_atomically(
        path, lambda temporary: figure.savefig(temporary, dpi=150, bbox_inches="tight"), path.suffix
    )
