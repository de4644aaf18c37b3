"""Commands about data: check, fetch, table."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...pipeline.cohorts.tables.writing import find_pattern, write_table
from ...pipeline.downloads.datasets import DATASETS
from ...pipeline.images.output_paths import TABLES, check_output
from ...pipeline.settings.vocabulary import READERS
from ...transforms.basics.errors import InputError, printable_lines
from .common import echo

if TYPE_CHECKING:
    from ...pipeline.settings.schema import TrialSettings


def check(
    cohort: Annotated[str, typer.Argument(metavar="COHORT", help=f"The reader: {', '.join(READERS)}.")],
    root: Annotated[Path | None, typer.Option("--data-root", "--root", help="Folder of the data.")] = None,
    overrides: Annotated[
        list[str],
        typer.Option("--set", metavar="KEY=VALUE", help="Change cohort, split or pairs, e.g. cohort.labels=seg24."),
    ] = [],  # noqa: B006
) -> None:
    """Read every subject of a cohort, and list its content and its faults; exit code 1 if a subject is faulty.

    Where subjects differ in shape, voxel size or orientation, it says what a study would refuse, and what to set.

    With a setting of split or pairs, list also the pairs that the subjects make.

    Example:
        smoothmorph data check phantom --set cohort.subjects=2
    """
    from ...pipeline.cohorts.checks import check_cohort
    from ..study.study import data_settings

    settings, with_pairs = data_settings(cohort, overrides)
    pairs = _pairs(settings, root) if with_pairs else ""  # a mistake is told before every image is read
    from ..run.progress import counting

    with counting(f"reading {cohort}") as progress:
        found = check_cohort(settings.cohort, root, progress)
    typer.echo(printable_lines("\n\n".join([found.to_text(), *([pairs] if pairs else [])])))
    if not found.ok:
        raise typer.Exit(1)


def _pairs(settings: "TrialSettings", root: Path | None) -> str:
    """The pairs of each side of the split as a table of plain text."""
    import pandas as pd

    from ...pipeline.cohorts.preparation import show_pairs

    return "pairs\n" + pd.DataFrame(show_pairs(settings, root)).to_string(index=False)


def fetch(
    name: Annotated[str, typer.Argument(metavar="NAME", help=f"{' or '.join(DATASETS)}.")],
    to: Annotated[Path, typer.Option(help="Folder in which the data set is unpacked.")] = Path("data"),
    sha256: Annotated[str | None, typer.Option(help="Expected checksum of the archive.")] = None,
) -> None:
    """Download and unpack a public data set; an interrupted download is resumed.

    Example:
        smoothmorph data fetch hippocampus --to data
    """
    from ...pipeline.downloads.datasets import fetch as download
    from ..run.progress import counting

    with counting(f"fetching {name}", in_bytes=True) as progress:
        fetched = download(name, to, sha256, progress)
    echo(str(fetched))


Entities = Annotated[
    list[str],
    typer.Option("--entity", metavar="KEY=VALUE", help="BIDS: only images with this entity; KEY= for without it."),
]


def table(
    out: Annotated[Path, typer.Option(help="The CSV file to write.")],
    bids: Annotated[Path | None, typer.Option(metavar="FOLDER", help="A BIDS data set.")] = None,
    images: Annotated[
        str | None, typer.Option(metavar="PATTERN", help="Image files, e.g. 'images/*.nii.gz'; * is the subject's id.")
    ] = None,
    labels: Annotated[
        str | None, typer.Option(metavar="PATTERN", help="With --images: label maps, e.g. 'labels/*.nii.gz'.")
    ] = None,
    suffix: Annotated[str, typer.Option(help="BIDS: suffix of the images.")] = "T1w",
    derivatives: Annotated[
        Path | None, typer.Option(help="BIDS: folder of the label maps (dseg) and, with --desc, of the images.")
    ] = None,
    desc: Annotated[str | None, typer.Option(help="BIDS: only images with this desc, e.g. preproc.")] = None,
    entities: Entities = [],  # noqa: B006
    label_entities: Annotated[
        list[str], typer.Option("--label-entity", metavar="KEY=VALUE", help="BIDS: only label maps with this entity.")
    ] = [],  # noqa: B006
    no_labels: Annotated[bool, typer.Option("--no-labels", help="BIDS: leave out label maps.")] = False,
    split_column: Annotated[
        str | None, typer.Option(help="BIDS: column of participants.tsv with the split; default: split, if it exists.")
    ] = None,
    exclude: Annotated[list[str], typer.Option(metavar="ID", help="BIDS: leave out a scan, e.g. sub-03.")] = [],  # noqa: B006
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it exists.")] = False,
) -> None:
    """Make the table of subjects for a study, from a BIDS data set or from files that match a pattern.

    Example:
        smoothmorph data table --images 'images/*.nii.gz' --out subjects.csv
    """
    from ...pipeline.cohorts.tables.bids import BidsQuery, find_bids

    if (bids is None) == (images is None) or (bids is not None and labels is not None):
        raise InputError("give either --bids FOLDER, or --images PATTERN (and --labels PATTERN if there are labels).")
    check_output(out, TABLES)
    if bids is not None:
        wanted = _entities("--entity", [*entities, *([f"desc={desc}"] if desc is not None else [])])
        of_labels = _entities("--label-entity", label_entities)
        query = BidsQuery(suffix, derivatives, wanted, of_labels, not no_labels, split_column, frozenset(exclude))
        listing = find_bids(bids, query)
    else:
        listing = find_pattern(str(images), labels)
    written = write_table(listing, out, overwrite)
    for line in (*listing.notes, listing.summary()):
        echo(line)
    echo(
        f"{written}: check it with `smoothmorph data check table --data-root {written.parent} "
        f"--set cohort.file={written.name}`; for volumes add --set cohort.spatial_dims=3."
    )


def _entities(option: str, texts: list[str]) -> dict[str, str]:
    entities = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.isalpha():
            raise InputError(
                f"{option} {text}: expected KEY=VALUE, such as acq=highres, or KEY= for images without it."
            )
        entities[key] = value
    return entities
