"""The command `schema`: the JSON schema of study files."""

from pathlib import Path
from typing import Annotated

import typer

from .common import echo


def schema(
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="The .json file to write; default: print the schema."),
    ] = None,
) -> None:
    """Write the JSON schema of study files. Editors use it to complete and check YAML.

    To use it, begin a study with `# yaml-language-server: $schema=study.schema.json`. The schema also has the names
    that installed packages add.

    Example:
        smoothmorph schema --out study.schema.json
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
