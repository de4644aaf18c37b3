"""The reader of the Medical Segmentation Decathlon: the folder of one task with its ``dataset.json``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ....transforms.basics.errors import InputError, one_line
from ...files.text import read_json
from ...settings.vocabulary import READERS, ReaderEntry
from ..cohort import Cohort, Subject
from ..file_cohort import file_cohort, label_names

if TYPE_CHECKING:
    from ...settings.schema import CohortSettings

READERS.add(
    ReaderEntry(
        name="decathlon",
        title="Medical Segmentation Decathlon",
        meaning="a task of the Medical Segmentation Decathlon",
        source="Medical Segmentation Decathlon, CC-BY-SA 4.0",
        terms="The images are under CC-BY-SA 4.0; cite Antonelli et al., Nature Communications 2022.",
        target=f"{__name__}:read_decathlon",
        place=2,
    )
)


def read_decathlon(settings: CohortSettings, root: Path) -> Cohort:
    """The labelled (``training``) subjects of a Decathlon task: ``root/dataset.json``, read with MONAI.

    A subject's id is the name of its image file. Images differ in shape: ``settings.size`` pads or crops them.

    In Task04, the images hippocampus_(2k-1) and hippocampus_(2k) share a group, because they are almost certainly the
    two hippocampi of one person: there are 394 images of 195 people, and in the 200 public labelled images these pairs
    correlate with 0.70 on average, but all other pairs, and also the pairs (2k, 2k+1), with 0.53.

    Raises:
        InputError: ``dataset.json`` is missing or malformed, or only some entries have a label.
    """
    from monai.data.decathlon_datalist import load_decathlon_datalist, load_decathlon_properties

    listing = root / "dataset.json"
    if not listing.is_file():
        raise InputError(f"{listing} does not exist; give the folder of one Decathlon task.")
    read_json(listing)  # checks the size limits, which MONAI does not
    try:
        items = load_decathlon_datalist(listing, is_segmentation=True, data_list_key="training")
        values = load_decathlon_properties(listing, "labels")["labels"]
        named = [(value, str(name).strip()) for value, name in values.items()]
        subjects = [_decathlon_subject(item) for item in items]
    except InputError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = one_line(error).rstrip(".")
        raise InputError(f"{listing} is not a Decathlon dataset.json with training and labels: {reason}.") from None
    return file_cohort(settings, listing, subjects, label_names(listing, named))


def _decathlon_subject(item: dict[str, Any]) -> Subject:
    image = Path(item["image"])
    name = image.name.removesuffix(".gz").removesuffix(".nii")
    number = re.fullmatch(r"hippocampus_(\d+)", name)
    group = f"hippocampus_person_{(int(number[1]) + 1) // 2:03d}" if number else name
    return Subject(id=name, group=group, image=image, label=Path(item["label"]) if "label" in item else None)
