"""The cohort readers and methods that a study can name. Reading this vocabulary loads neither torch nor MONAI."""

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ...transforms.basics.errors import InputError, quoted
from ...transforms.basics.options import EntryWithOptions, RegistryWithOptions, names


@dataclass(frozen=True, kw_only=True)
class ReaderEntry(EntryWithOptions):
    """A cohort reader. The target is a function (cohort settings, data folder) -> ``Cohort``.

    The function opens no image; ``Cohort.load`` does. Model cards print ``source``, the origin of the images.

    Attributes:
        options: what a study can set in its section ``cohort`` for this reader only.
        terms: the terms of use of the images, in full sentences.
        on_disk: whether it reads files. Otherwise it generates ``cohort.subjects`` subjects from ``cohort.seed``, all
            on one grid, and the target is called with the settings only.
        archive: name of its data set for ``smoothmorph data fetch``.
        downwards: whether the second axis of its volumes points down in pictures.
    """

    terms: str = ""
    on_disk: bool = True
    archive: str = ""
    downwards: bool = False

    def __call__(self, settings: Any, root: Path | None) -> Any:
        """The whole cohort that the settings describe.

        Raises:
            InputError: a setting belongs to another reader, or the folder is missing or empty; the reader itself may
                raise more.
        """
        settings.options_of(self)
        if not self.on_disk:
            if settings.align != "none":
                raise InputError(
                    f"cohort.align is {quoted(settings.align)}, but the images of the reader {self.name} are on one "
                    "grid already; remove it."
                )
            return self.load()(settings, **self.arguments)
        return self.load()(settings, self.folder(root), **self.arguments)

    def folder(self, root: Path | None) -> Path | None:
        """Return ``root`` if it is a folder that is not empty; None if the reader needs no files.

        Raises:
            InputError: the folder does not exist or is empty.
        """
        if not self.on_disk:
            return None
        if root is None:
            raise InputError(f"the {self.name} reader needs a data folder; give it with --data-root.")
        if not root.is_dir():
            raise InputError(f"the data folder {root} {'is not a folder' if root.exists() else 'does not exist'}.")
        if not any(root.iterdir()):
            raise InputError(f"the data folder {root} is empty.")
        return root


READERS: RegistryWithOptions[ReaderEntry] = RegistryWithOptions(
    "reader", "smoothmorph.readers", package="smoothmorph.pipeline.cohorts.readers"
)


@dataclass(frozen=True, kw_only=True)
class MethodEntry(EntryWithOptions):
    """A registration method: one that trains nothing, or one that trains a network.

    Without training, the target takes the trial's settings and returns a function (moving, fixed, mm per voxel) ->
    displacement: images are NumPy arrays (*spatial) in float32, the displacement is (D, *spatial) in voxels of the
    fixed grid. With ``trains``, it has the signature of :func:`smoothmorph.pipeline.training.loop.train`.

    Attributes:
        options: what a study can set in its section ``baseline``, for this method. Not for methods that train.
        settings: dotted keys of other sections that decide the result, besides cohort, split and pairs. A method that
            trains leaves it empty: all sections but those of other methods decide its result.
        how: how it registers, a clause for the report; ``{iterations}`` is replaced by that setting's value.
        package: the package that it needs.
        trains: whether it trains a network.
        registers: whether it moves images at all.
        has_objective: whether it minimizes the trial's objective, so that its rows have a penalty and λ. Every method
            that trains does. Without training, the target has the signature of
            :func:`smoothmorph.pipeline.methods.optimization.by_optimization`.
        reads_files: whether it reads a file for each pair. The target has the signature of
            :func:`smoothmorph.pipeline.methods.fields.by_files`.
        reads_network: whether it takes a network that was trained before. The target has the signature of
            :func:`smoothmorph.pipeline.methods.pretrained.take_network`.

    Raises:
        ValueError: a method that trains has options of its own.
    """

    settings: tuple[str, ...] = ()
    how: str = ""
    package: str = ""
    trains: bool = False
    registers: bool = True
    has_objective: bool = False
    reads_files: bool = False
    reads_network: bool = False

    def __post_init__(self) -> None:
        if self.trains and self.options:
            raise ValueError(f"the method {self.name} trains a network, so it cannot have options in `baseline`")
        if self.trains:
            object.__setattr__(self, "has_objective", True)

    @property
    def is_network(self) -> bool:
        """Whether a network predicts the field."""
        return self.trains or self.reads_network

    @property
    def _keys(self) -> tuple[str, ...]:
        return (*(f"baseline.{name}" for name in names(self.options)), *self.settings)

    def require(self) -> None:
        """Raise InputError unless its package is installed."""
        try:
            if self.package:
                version(self.package)
        except PackageNotFoundError:
            raise InputError(
                f"model.method = {self.name} needs the package {self.package}, which is not installed; install it with "
                f"`pip install {self.package}`, or leave the method out."
            ) from None

    def included(self) -> dict[str, Any]:
        """The settings that decide the result of a method without training, as pydantic's ``include``.

        Studies with the same pairs therefore share this trial.
        """
        from .data_sections import PairSettings  # here, because it names readers

        pairs = set(PairSettings.model_fields) - {"validation"}
        chosen: dict[str, Any] = {"cohort": True, "split": True, "pairs": pairs, "model": {"method"}}
        for key in self._keys:
            section, _, name = key.partition(".")
            chosen[section] = {*chosen.get(section, ()), name} if name else True
        return chosen

    def described(self, settings: Any) -> str:
        """How the method registers with these settings, in words."""
        values = {key.rpartition(".")[2]: _value(settings, key) for key in self._keys}
        return self.how.format(**values) or self.meaning


def _value(settings: Any, key: str) -> Any:
    value: Any = settings
    for name in key.split("."):
        value = getattr(value, name)
    return " × ".join(map(str, value)) if isinstance(value, tuple) else value


METHODS: RegistryWithOptions[MethodEntry] = RegistryWithOptions(
    "method", "smoothmorph.methods", package="smoothmorph.pipeline.methods"
)


def without_objective() -> list[str]:
    """The names of the methods without an objective. In rows each is its own ``model``, without a penalty."""
    return [name for name, entry in METHODS.items() if not entry.has_objective]
