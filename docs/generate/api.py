"""Make the pages of all public names from their docstrings."""

from importlib import import_module

ROOMS = {
    "transforms": "Images and displacement fields: functions, MONAI transforms, and field files.",
    "networks": "Registration networks, penalties, similarities, the training objective, and files of weights.",
    "pipeline": "One run: cohort, pairs, training, evaluation and rows; registering files; models; export.",
    "experiments": "Many runs: studies, the runner, and the tables, statistics and figures of their rows.",
}
CONTRACT = (
    "A displacement field is `(B, D, *spatial)`, with D components in axis order, in voxels of the fixed grid: "
    "`warped(x) = moving(x + u(x))`."
)


def names(room: str) -> list[str]:
    """List the public names of a package; a dictionary transform has only its spelling that ends in ``d``."""
    public = getattr(import_module(f"smoothmorph.{room}"), "__all__", [])
    return [name for name in public if not _another_spelling(name, public)]


def _another_spelling(name: str, public: list[str]) -> bool:
    """Whether this is another spelling of ``<Name>d`` by MONAI's convention: ``<Name>D`` or ``<Name>Dict``."""
    return any(name.endswith(end) and f"{name.removesuffix(end)}d" in public for end in ("D", "Dict"))


def pages() -> dict[str, str]:
    """Make a page for each package."""
    return {f"reference/{room}.md": _page(room) for room in ROOMS}


def _page(room: str) -> str:
    title, intro = f"smoothmorph.{room}", ROOMS[room]
    found = names(room)
    groups = {"Classes": [n for n in found if n[0].isupper()], "Functions": [n for n in found if n[0].islower()]}
    lines = [f"# {title}", "", intro, "", CONTRACT, ""]
    if room == "transforms":
        lines += ["Names of dictionary transforms end in `d`. MONAI's spellings `...D` and `...Dict` also exist.", ""]
    if not found:
        lines += ["This package has no public names yet: use its commands.", ""]
    for heading, members in groups.items():
        if members:
            lines += [f"## {heading}", ""]
            lines += [line for name in members for line in (f"::: {title}.{name}", "")]
    return "\n".join(lines)
