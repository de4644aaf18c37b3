"""Preparation of the data of a trial: cohort, split, frozen pairs and samples, loaded once per process."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from monai.data.dataloader import DataLoader
from monai.transforms.compose import Compose
from torch.utils.data import Dataset, Subset

from ...transforms.basics.errors import InputError
from ..files.text import cache_folder
from ..settings.augmentation import Augmentation
from ..settings.schema import CohortSettings, PairSettings, SplitSettings, TrialSettings
from .alignment import align_cohort
from .cohort import Cohort, Sample
from .loading import check_disk, load_samples, size_fault
from .opening import read_cohort
from .pairs import PossiblePairs, drawn_pairs, epoch_pairs, pairs_table, possible_pairs
from .splits import Pair, Split, split_cohort


@dataclass(frozen=True)
class Prepared:
    """The data that trials with the same data settings share.

    ``samples`` holds every subject of the split by id; ``fingerprint`` identifies the content of the cohort.
    """

    cohort: Cohort
    split: Split
    validation_pairs: tuple[Pair, ...]
    test_pairs: tuple[Pair, ...]
    samples: Mapping[str, Sample]
    fingerprint: str
    training_pairs: tuple[Pair, ...] | None = None
    """What training draws from; None: any two training subjects, in either order."""


def prepare(settings: TrialSettings, root: Path | None, progress: Callable[[int, int], None] | None = None) -> Prepared:
    """Read and check the data of a trial. The latest two results are kept in memory for the next trials.

    Args:
        settings: only ``cohort``, ``split`` and ``pairs`` matter.
        root: folder of the data; None for the phantom.
        progress: called during loading with (subjects done, total subjects).

    Raises:
        InputError: the data has a fault (the message names the file), or images are too small to register or too
            large for the disk.
    """
    key = data_key(settings, root)
    if key not in _PREPARED:
        _make_room()
        _PREPARED[key] = _prepare(*key, progress)
    return _PREPARED[key]


DataKey = tuple[CohortSettings, SplitSettings, PairSettings, Path | None]
_PREPARED: dict[DataKey, Prepared] = {}


def data_key(settings: TrialSettings, root: Path | None) -> DataKey:
    """All that decides the data of a trial. Trials with the same key share the result of `prepare`."""
    return settings.cohort, settings.split, settings.pairs, root


def remember(settings: TrialSettings, root: Path | None, prepared: Prepared) -> None:
    """Store data that came from another machine, so that `prepare` returns them."""
    key = data_key(settings, root)
    if key not in _PREPARED:
        _make_room()
        _PREPARED[key] = prepared


def _make_room() -> None:
    while len(_PREPARED) >= 2:
        _PREPARED.pop(next(iter(_PREPARED)))


def _prepare(
    cohort_settings: CohortSettings,
    split_settings: SplitSettings,
    pairs: PairSettings,
    root: Path | None,
    progress: Callable[[int, int], None] | None,
) -> Prepared:
    cohort, split, possible = _find(cohort_settings, split_settings, pairs, root)
    ids = {*split.train, *split.validation, *split.test}
    if cohort_settings.size is not None:
        check_disk(cohort_settings.size, len(ids), cache_folder())  # before an image of an absurd size is allocated
    samples = load_samples(cohort, ids, progress)
    shape = next(iter(samples.values()))["image"].shape[1:]
    if fault := size_fault(shape, cohort_settings.size):
        raise InputError(f"the images have {fault}.")
    return Prepared(
        cohort=cohort,
        split=split,
        validation_pairs=drawn_pairs(possible.validation, split.validation, pairs.validation, pairs.seed),
        test_pairs=drawn_pairs(possible.test, split.test, pairs.test, pairs.seed + 1),
        samples=samples,
        fingerprint=cohort.fingerprint(),
        training_pairs=possible.train,
    )


def find_data(
    cohort: CohortSettings, split: SplitSettings, root: Path | None, pairs: PairSettings | None = None
) -> tuple[Cohort, Split]:
    """The cohort, which aligns its images when it loads them, and its split. No image is opened.

    A split by files of ids, and pairs chosen by columns or by a file, are part of the cohort's fingerprint, because
    the settings only have the names of files and columns.

    Raises:
        InputError: the folder, the lists or the settings have a fault.
    """
    return _find(cohort, split, pairs or PairSettings(), root)[:2]


def _find(
    cohort: CohortSettings, split: SplitSettings, pairs: PairSettings, root: Path | None
) -> tuple[Cohort, Split, PossiblePairs]:
    found = read_cohort(cohort, root)
    sides = split_cohort(found, split, root)
    if split.source == "files":
        found = replace(found, reading={**found.reading, "split": asdict(sides)})
    possible = possible_pairs(found, sides, pairs, root)
    if hashes := possible.hashes():
        found = replace(found, reading={**found.reading, "pairs": hashes})
    return align_cohort(found, cohort, sides.train or sides.test), sides, possible


def show_pairs(settings: TrialSettings, root: Path | None) -> list[dict[str, object]]:
    """A line per side of the split: how many scans, groups and pairs it has, and an example; no image is opened.

    Raises:
        InputError: as :func:`find_data`.
    """
    cohort, split, possible = _find(settings.cohort, settings.split, settings.pairs, root)
    return pairs_table(cohort, split, possible, settings.pairs)


def data_list(settings: CohortSettings, root: Path | None = None) -> list[dict[str, Any]]:
    """A cohort as a MONAI data list: one dictionary per subject with ``id``, ``group`` and files.

    Raises:
        InputError: as :func:`read_cohort`.
    """
    return read_cohort(settings, root).data_list


def loading_transforms(settings: CohortSettings, root: Path | None = None) -> Compose:
    """MONAI's ``Compose`` from an item of :func:`data_list` to its sample; ``print`` shows its transforms.

    If ``settings.align`` needs a reference and the settings name none, it is the first subject.

    Raises:
        InputError: as :func:`read_cohort`; the transforms raise it for a fault in a file.
    """
    cohort = read_cohort(settings, root)
    return align_cohort(cohort, settings, cohort.ids).transform


class PairDataset(Dataset):
    """A dataset of pairs of images: ``{"moving": (1, *spatial), "fixed": (1, *spatial)}``.

    Args:
        samples: the subjects by id.
        pairs: function from an index to (moving id, fixed id).
        length: number of pairs.
        augment: function (pair, index) -> augmented pair, if given.
        labels: whether to include ``moving_label`` and ``fixed_label``.
    """

    def __init__(
        self,
        samples: Mapping[str, Sample],
        pairs: Callable[[int], Pair],
        length: int,
        augment: Callable[[dict[str, Any], int], dict[str, Any]] | None = None,
        labels: bool = False,
    ) -> None:
        self.samples, self.pairs, self.length, self.augment, self.labels = samples, pairs, length, augment, labels

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Any]:
        moving, fixed = (self.samples[subject] for subject in self.pairs(index))
        pair: dict[str, Any] = {"moving": moving["image"], "fixed": fixed["image"]}
        if self.labels:
            pair |= {"moving_label": moving["label"], "fixed_label": fixed["label"]}
        return pair if self.augment is None else self.augment(pair, index)


def training_loader(prepared: Prepared, settings: TrialSettings, first_epoch: int, pin_memory: bool) -> DataLoader:
    """The training batches from epoch ``first_epoch`` (counted from 1) on; a resumed trial gets the same batches.

    Raises:
        InputError: ``training.augment`` names label maps and there are none, or moves a fixed image without the label
            map that ``objective.weight_map`` needs; during iteration, a transform fails.
    """
    training = settings.training
    per_epoch = training.steps_per_epoch * training.batch_size

    @lru_cache(maxsize=2)
    def pairs_of(epoch: int) -> Sequence[Pair]:
        return epoch_pairs(prepared.training_pairs, prepared.split.train, per_epoch, settings.seed, epoch)

    def pair(index: int) -> Pair:
        return pairs_of(index // per_epoch + 1)[index % per_epoch]

    dataset = PairDataset(prepared.samples, pair, training.epochs * per_epoch)
    if training.augment:
        augmentation = Augmentation([step.model_dump() for step in training.augment], settings.seed)
        if augmentation.labels and next(iter(prepared.samples.values()))["label"] is None:
            raise InputError("training.augment names label maps, but the subjects of the cohort have no label maps.")
        dataset.labels = augmentation.labels
        if settings.objective.weight_map.labels and (step := augmentation.leaves_label_behind()):
            raise InputError(
                f"{step} moves fixed, but not fixed_label, which objective.weight_map needs; add this key."
            )
        dataset.augment = lambda pair, index: augmentation(pair, index // per_epoch + 1, index % per_epoch)
    dataset.labels |= bool(settings.objective.weight_map.labels)
    remaining = Subset(dataset, range((first_epoch - 1) * per_epoch, len(dataset)))
    return DataLoader(remaining, batch_size=training.batch_size, pin_memory=pin_memory)


def validation_loader(prepared: Prepared, batch_size: int, pin_memory: bool, labels: bool = False) -> DataLoader:
    """The batches of the frozen validation pairs, in order; ``labels``: with ``moving_label`` and ``fixed_label``."""
    pairs = prepared.validation_pairs
    dataset = PairDataset(prepared.samples, pairs.__getitem__, len(pairs), labels=labels)
    return DataLoader(dataset, batch_size=batch_size, pin_memory=pin_memory)
