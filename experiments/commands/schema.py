"""The command that tells editors what a study file may hold."""

from pathlib import Path
from typing import Annotated

import typer

from .common import echo


def schema(
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="The .json file to write; default: print it.")
    ] = None,
) -> None:
    """Write the JSON schema of study files, with which editors complete and check their YAML.

    Begin a study with `# yaml-language-server: $schema=study.schema.json`. Names of installed packages are in it.
    """
    import json

    from ..study.json_schema import study_schema

    text = json.dumps(study_schema(), indent=2, ensure_ascii=False) + "\n"
    if out is None:
        typer.echo(text, nl=False)
        return
    from ...pipeline.files.text import write_text
    from ...pipeline.images.output_paths import check_output

    check_output(out, (".json",))
    write_text(out, text)
    echo(out)
