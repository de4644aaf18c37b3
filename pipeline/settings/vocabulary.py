"""The cohort readers and the methods that a study can name. Reading them loads neither torch nor MONAI."""

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ...transforms.basics.errors import InputError
from ...transforms.basics.registry import Entry, Registry


@dataclass(frozen=True, kw_only=True)
class ReaderEntry(Entry):
    """A reader: the target is a function of the cohort's settings and its folder that returns a ``Cohort``.

    ``source`` is where its images come from, for model cards. The function opens no image: ``Cohort.load`` does.

    Attributes:
        settings: the keys of the section ``cohort`` that are its own: ``labels``, ``file``, ``seed``, ``align``.
        terms: what the owners of the images ask for, in sentences.
        on_disk: it reads files; otherwise it makes its subjects, as many as ``cohort.subjects`` says, and is called
            with the settings alone.
        archive: what ``smoothmorph data fetch`` fetches for it.
        downwards: the second axis of its volumes points down in pictures.
    """

    settings: tuple[str, ...] = ()
    terms: str = ""
    on_disk: bool = True
    archive: str = ""
    downwards: bool = False

    def __call__(self, settings: Any, root: Path | None) -> Any:
        """The whole cohort that the settings describe.

        Raises:
            InputError: a setting that is another reader's, a missing or empty folder, or as the reader itself.
        """
        for key, nothing in OWN.items():
            if getattr(settings, key) != nothing and key not in self.settings:
                raise InputError(f"cohort.{key} is {getattr(settings, key)!r}, but the {self.name} reader has none.")
        if not self.on_disk:
            return self.load()(settings, **self.arguments)
        return self.load()(settings, self.folder(root), **self.arguments)

    def folder(self, root: Path | None) -> Path | None:
        """``root``, in which there is something; None where the reader needs no files.

        Raises:
            InputError: there is no such folder, or it is empty.
        """
        if not self.on_disk:
            return None
        if root is None:
            option = "give it with --data-root (in `data check`: --root)"
            raise InputError(f"the {self.name} reader needs a data folder; {option}.")
        if not root.is_dir():
            raise InputError(f"the data folder {root} {'is not a folder' if root.exists() else 'does not exist'}.")
        if not any(root.iterdir()):
            raise InputError(f"the data folder {root} is empty.")
        return root


OWN = {"labels": None, "file": None, "align": "none"}
"""Settings that not every reader has, each with the value that means nothing is given."""
READERS: Registry[ReaderEntry] = Registry(
    "reader", "smoothmorph.readers", package="smoothmorph.pipeline.cohorts.readers"
)


@dataclass(frozen=True, kw_only=True)
class MethodEntry(Entry):
    """A method that trains nothing, or the training of networks.

    The target is a function of a trial's settings that returns one of two images: moving and fixed, NumPy arrays
    (*spatial) in float32, and mm per voxel -> the displacement (D, *spatial) in voxels of the fixed grid. That of a
    method that ``trains`` is as :func:`smoothmorph.pipeline.training.loop.train`.

    Attributes:
        settings: the dotted keys that decide its result, besides cohort, split and pairs; of a method that trains, all
            but those of the section ``baseline``.
        how: what it does, a clause for the report; settings stand in it by their last names, as ``{iterations}``.
        package: what has to be installed for it.
        trains: it trains a network.
        registers: it moves images; otherwise they stay as they are.
    """

    settings: tuple[str, ...] = ()
    how: str = ""
    package: str = ""
    trains: bool = False
    registers: bool = True

    def require(self) -> None:
        """Raise InputError unless its package is installed."""
        try:
            if self.package:
                version(self.package)
        except PackageNotFoundError:
            raise InputError(
                f"model.method = {self.name} needs the package {self.package}, which is not installed; install it with "
                "`pip install smoothmorph[baselines]`, or leave the method out."
            ) from None

    def included(self) -> dict[str, Any]:
        """The settings that decide the result of a method that trains nothing, as pydantic's ``include``.

        It is the same trial in every study of the same pairs.
        """
        pairs = {"test", "seed", "source", "match", "moving", "fixed", "atlas", "file"}
        chosen: dict[str, Any] = {"cohort": True, "split": True, "pairs": pairs, "model": {"method"}}
        for key in self.settings:
            section, _, name = key.partition(".")
            chosen[section] = {*chosen.get(section, ()), name} if name else True
        return chosen

    def described(self, settings: Any) -> str:
        """How it registers with these settings, in words."""
        values = {key.rpartition(".")[2]: _value(settings, key) for key in self.settings}
        return self.how.format(**values) or self.meaning


def _value(settings: Any, key: str) -> Any:
    value: Any = settings
    for name in key.split("."):
        value = getattr(value, name)
    return " × ".join(map(str, value)) if isinstance(value, tuple) else value


METHODS: Registry[MethodEntry] = Registry("method", "smoothmorph.methods", package="smoothmorph.pipeline.methods")


def untrained() -> list[str]:
    """The methods that train nothing; in rows each is a ``model`` of its own, without penalty."""
    return [name for name, entry in METHODS.items() if not entry.trains]
