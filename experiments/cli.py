"""The command line: which commands there are and how they are called."""

from typing import Annotated

import typer

from .commands import data, fields, models, register, results, studies
from .commands.common import guarded

app = typer.Typer(
    name="smoothmorph",
    help="A laboratory for smoothness regularization in learned deformable registration.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(help="Check, fetch and list data.", no_args_is_help=True)
app.add_typer(data_app, name="data")

for command in (
    studies.run,
    results.status,
    results.figures,
    results.report,
    results.join,
    results.archive,
    results.recommend,
    register.register,
    models.models,
    models.export,
    studies.show,
    studies.bench,
    fields.apply,
    fields.compose,
    fields.invert,
    fields.jacobian,
    fields.convert,
    fields.points,
):
    app.command()(guarded(command))
app.command("import")(guarded(models.import_official))
for command in (data.check, data.fetch, data.table):
    data_app.command()(guarded(command))


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"smoothmorph {version('smoothmorph')}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Train VoxelMorph under smoothness penalties, measure what they do, and draw it."""
