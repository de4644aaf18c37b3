"""The command line: the commands and their names."""

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from .commands import data, fields, models, register, results, schema, studies, tune
from .commands.common import guarded, moved

app = typer.Typer(
    name="smoothmorph",
    help="A laboratory for smoothness regularization in learned deformable registration.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(help="Check, fetch and list data.", no_args_is_help=True)

COMMANDS = {
    "Register your own images": [register.register, tune.tune, models.models],
    "Field files": [fields.apply, fields.compose, fields.invert, fields.jacobian, fields.convert, fields.points],
    "Studies": [studies.run, studies.show, studies.lambda_grid, results.status, schema.schema],
    "Results of a study": [results.figures, results.report, results.recommend, results.archive],
    "Networks in and out": [models.export, models.import_official],
}
GO_ON = (studies.run, tune.tune, data.fetch)
"""Commands that continue their work if they are repeated after an interruption."""


def help_of(command: Callable[..., None]) -> dict[str, Any]:
    """The help of a command from its docstring; the section ``Example:`` goes to the end of the page."""
    words, _, example = (inspect.getdoc(command) or "").partition("\n\nExample:\n")
    paragraphs = (" ".join(lines.split()) for lines in words.split("\n\n"))  # the terminal decides where lines break
    return {"help": "\n\n".join(paragraphs), "epilog": f"Example:\n\n{example.strip()}"}


for panel, commands in COMMANDS.items():
    for command in commands:
        name = "import" if command is models.import_official else None  # `import` is a keyword of Python
        app.command(name, rich_help_panel=panel, **help_of(command))(guarded(command, command in GO_ON))
MOVED = {
    "bench": "`make bench`, in a checkout",
    "join": "`smoothmorph figures RUN OTHER`, or `smoothmorph report RUN OTHER`",
}
"""Commands of earlier versions, and what replaces them."""
for name, now in MOVED.items():
    app.command(name, hidden=True, context_settings={"ignore_unknown_options": True})(guarded(moved(name, now)))
app.add_typer(data_app, name="data", rich_help_panel="Studies")
for command in (data.check, data.fetch, data.table):
    data_app.command(**help_of(command))(guarded(command, command in GO_ON))


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
    """Train VoxelMorph with smoothness penalties, and measure and draw their effects."""
