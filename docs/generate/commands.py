"""Make the page of all commands from the command line's own help."""

import inspect
from typing import Any

import typer.main

from smoothmorph.experiments.cli import app

INTRO = """\
# Commands

`smoothmorph COMMAND --help` prints the same text. Exit codes: 0 means success, 1 a faulty trial or subject, 2 a mistake
in the command or in a file (one sentence says which), and 130 Ctrl-C.

`smoothmorph --install-completion` lets your shell complete commands, options, studies and runs.
"""
METAVARS = {"Path": "PATH", "int": "N", "float": "NUMBER"}


def pages() -> dict[str, str]:
    """Make the page, with a section for each command."""
    root = typer.main.get_command(app)
    lines = [INTRO]
    for name, command in _commands(root, "smoothmorph"):
        lines += _section(name, command)
    return {"reference/commands.md": "\n".join(lines)}


def _commands(group: Any, name: str) -> list[tuple[str, Any]]:
    found = []
    for short, command in group.commands.items():
        if not command.hidden:
            inner = hasattr(command, "commands")
            found += _commands(command, f"{name} {short}") if inner else [(f"{name} {short}", command)]
    return found


def _section(name: str, command: Any) -> list[str]:
    shown = [parameter for parameter in command.params if not getattr(parameter, "hidden", False)]
    arguments = [p for p in shown if p.param_type_name == "argument"]
    words = " ".join(p.metavar or p.name.upper() for p in arguments)
    lines = [
        f"## {name.removeprefix('smoothmorph ')}",
        "",
        "```",
        f"{name} {words} [OPTIONS]".replace("  ", " "),
        "```",
    ]
    lines += ["", inspect.cleandoc(command.help or ""), ""]
    rows = [f"| {_spelling(p)} | {_cell(p.help or '')} | {_default(p)} |" for p in shown if p.name != "help"]
    lines += ["| | meaning | default |", "|---|---|---|", *rows, ""] if rows else []
    return [*lines, "Example:", "", "```", (command.epilog or "").removeprefix("Example:").strip(), "```", ""]


def _spelling(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{parameter.metavar or parameter.name.upper()}`"
    names = ", ".join([*parameter.opts, *parameter.secondary_opts])
    if getattr(parameter, "is_flag", False):
        return f"`{names}`"
    kind = getattr(getattr(parameter, "type_descriptor", None), "annotation", str)
    return f"`{names} {parameter.metavar or METAVARS.get(getattr(kind, '__name__', ''), 'TEXT')}`"


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    plain = isinstance(parameter.default, str | int | float) and not isinstance(parameter.default, bool)
    return f"`{parameter.default}`" if plain else ""


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
