"""Commands about data: check, fetch."""

from pathlib import Path
from typing import Annotated

import typer


def check(
    cohort: Annotated[str, typer.Argument(metavar="COHORT", help="phantom, neurite-oasis, decathlon or table.")],
    root: Annotated[Path | None, typer.Option("--root", help="Folder of the data.")] = None,
    overrides: Annotated[
        list[str], typer.Option("--set", metavar="KEY=VALUE", help="A setting of the cohort, e.g. cohort.labels=seg24.")
    ] = [],  # noqa: B006
) -> None:
    """Read every subject of a cohort and tell what is there and what is wrong; exit code 1 if a subject is faulty."""
    from ...pipeline.checks import check_cohort
    from ..board import counting
    from ..study import cohort_settings

    with counting(f"reading {cohort}") as progress:
        report = check_cohort(cohort_settings(cohort, overrides), root, progress)
    typer.echo(report.to_text())
    if not report.ok:
        raise typer.Exit(1)


def fetch(
    name: Annotated[str, typer.Argument(metavar="NAME", help="neurite-oasis-2d or hippocampus.")],
    to: Annotated[Path, typer.Option(help="Folder to fetch into.")] = Path("data"),
    sha256: Annotated[str | None, typer.Option(help="Checksum that the archive must have.")] = None,
) -> None:
    """Download and unpack a public data set; an interrupted download goes on where it stopped."""
    from ...pipeline.fetch import fetch as download
    from ..board import counting

    with counting(f"fetching {name}", in_bytes=True) as progress:
        fetched = download(name, to, sha256, progress)
    typer.echo(str(fetched))
