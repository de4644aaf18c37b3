"""Every public name of the packages, from its docstring."""

from importlib import import_module

ROOMS = {
    "transforms": "Images and displacement fields. Nothing here knows of networks or studies.",
    "networks": "What is differentiable: networks, penalties, similarities, and weights in and out.",
    "pipeline": "One run: cohort, pairs, training, evaluation, rows; registering files; models; export.",
    "experiments": "Many runs: studies, how they are run, and the tables, statistics and figures of their rows.",
}
CONTRACT = (
    "A displacement field is `(B, D, *spatial)`, with D components in axis order, in voxels of the fixed grid: "
    "`warped(x) = moving(x + u(x))`."
)


def names(room: str) -> list[str]:
    """The public names of a package; of a dictionary transform only the spelling that ends in ``d``."""
    public = getattr(import_module(f"smoothmorph.{room}"), "__all__", [])
    return [name for name in public if not _another_spelling(name, public)]


def _another_spelling(name: str, public: list[str]) -> bool:
    """Whether MONAI's convention has the name beside ``<Name>d``: ``<Name>D`` and ``<Name>Dict``."""
    return any(name.endswith(end) and f"{name.removesuffix(end)}d" in public for end in ("D", "Dict"))


def pages() -> dict[str, str]:
    """A page for each package."""
    return {f"reference/{room}.md": _page(room) for room in ROOMS}


def _page(room: str) -> str:
    title, intro = f"smoothmorph.{room}", ROOMS[room]
    found = names(room)
    groups = {"Classes": [n for n in found if n[0].isupper()], "Functions": [n for n in found if n[0].islower()]}
    lines = [f"# {title}", "", intro, "", CONTRACT, ""]
    if room == "transforms":
        lines += ["Each dictionary transform ends in `d`; the spellings `...D` and `...Dict` of MONAI exist, too.", ""]
    if not found:
        lines += ["This package has no public names yet: use its commands.", ""]
    for heading, members in groups.items():
        if members:
            lines += [f"## {heading}", ""]
            lines += [line for name in members for line in (f"::: {title}.{name}", "")]
    return "\n".join(lines)
