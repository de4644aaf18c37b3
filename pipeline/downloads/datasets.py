"""The public data sets that can be fetched by name: download, checksum and unpacking."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...transforms.basics.bounds import MOST_MEMBERS, MOST_UNPACKED
from ...transforms.basics.errors import InputError, quoted

if TYPE_CHECKING:
    from .resumable import Progress


@dataclass(frozen=True)
class Dataset:
    """The location of a data set, and how to check that it is complete."""

    url: str
    folder: str
    """Name of its folder on disk."""
    marker: str
    """A file that every complete copy has."""
    terms: str
    md5: str | None = None
    sha256: str | None = None
    members: int = MOST_MEMBERS
    """Maximum number of files and folders in the archive."""
    size: int = MOST_UNPACKED
    """Maximum size of all files in bytes."""

    @property
    def archive(self) -> str:
        return self.url.rpartition("/")[2]


DATASETS = {
    "neurite-oasis-2d": Dataset(
        url="https://surfer.nmr.mgh.harvard.edu/ftp/data/neurite/data/neurite-oasis.2d.v1.0.tar",
        folder="neurite-oasis-2d",
        marker="subjects.txt",
        terms="OASIS Data Use Agreement: research use, acknowledge OASIS, no re-identification; "
        "cite Marcus et al. 2007 and Hoopes et al. 2021",
        # its owners publish no checksum
        members=5_000,
        size=1 << 29,
    ),
    "hippocampus": Dataset(
        url="https://msd-for-monai.s3-us-west-2.amazonaws.com/Task04_Hippocampus.tar",
        folder="Task04_Hippocampus",
        marker="dataset.json",
        terms="CC-BY-SA 4.0; cite Antonelli et al. 2022",
        md5="9d24dba78a72977dbd1d2e110310f31b",  # monai.apps.DecathlonDataset.md5
        members=5_000,
        size=1 << 29,
    ),
}


@dataclass(frozen=True)
class Fetched:
    """The result of :func:`fetch`; converted to text, it is a message for the user."""

    folder: Path
    terms: str
    sha256: str | None
    """Checksum of the archive; None if the folder existed already."""
    verified: bool = False
    """Whether the archive was compared with a known checksum."""

    def __str__(self) -> str:
        if self.sha256 is None:
            return f"{self.folder} exists already; nothing to do."
        known = "as expected" if self.verified else "not checked: no checksum is published, and none was given"
        return f"{self.folder} is ready.\narchive sha256 {self.sha256} ({known})\nTerms of use: {self.terms}."


def fetch(name: str, into: Path, sha256: str | None = None, progress: Progress | None = None) -> Fetched:
    """Download a data set and unpack it to its folder in ``into``. An interrupted download is continued.

    An archive that is already in ``into`` is used instead of a download. It is removed after unpacking.

    Args:
        name: a key of DATASETS.
        into: the folder for data sets.
        sha256: the checksum that the archive must have, in hexadecimal.
        progress: called with (bytes done, total bytes or None).

    Raises:
        InputError: the name is unknown, there is no connection, the checksum is wrong, the archive is unsafe or
            damaged, or the folder exists with other content.
    """
    if name not in DATASETS:
        raise InputError(f"unknown data set {quoted(name)}; known are {', '.join(DATASETS)}.")
    if sha256 is not None and not re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
        raise InputError(f"--sha256 {quoted(sha256)} is not a sha256 checksum of 64 hexadecimal digits.")
    dataset = DATASETS[name]
    folder = into / dataset.folder
    if (folder / dataset.marker).is_file():
        return Fetched(folder, dataset.terms, None)
    if folder.exists():
        raise InputError(f"{folder} exists but does not hold {dataset.marker}; move it away or choose another folder.")
    try:
        into.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot create the folder {into}: {error.strerror or error}.") from None
    archive = into / dataset.archive
    from .resumable import download  # here, because every command reads the names of the data sets for its help
    from .unpack import unpack

    if not archive.is_file():
        download(dataset.url, archive, progress)
    obtained, verified = _verify(archive, dataset, sha256)
    unpack(archive, folder, dataset.marker, dataset.members, dataset.size)
    archive.unlink()
    return Fetched(folder, dataset.terms, obtained, verified)


def _verify(archive: Path, dataset: Dataset, sha256: str | None) -> tuple[str, bool]:
    """Compare the archive with all known checksums; return its sha256 and whether there was any to compare with."""
    digests = {"md5": hashlib.md5(usedforsecurity=False), "sha256": hashlib.sha256()}
    with open(archive, "rb") as file:
        while chunk := file.read(1 << 20):
            for digest in digests.values():
                digest.update(chunk)
    expected = [("md5", dataset.md5), ("sha256", dataset.sha256), ("sha256", sha256)]
    for kind, value in expected:
        if value is not None and digests[kind].hexdigest() != value.lower():
            aside = archive.with_name(archive.name + ".rejected")
            archive.replace(aside)
            raise InputError(
                f"{archive.name} has {kind} {digests[kind].hexdigest()}, expected {value.lower()}: it is damaged or "
                f"another version, and was renamed to {aside}; run again to download a new copy."
            )
    return digests["sha256"].hexdigest(), any(value is not None for _, value in expected)
