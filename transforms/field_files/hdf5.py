"""Transforms in ITK's HDF5 files (.h5): ``/TransformGroup/0``, ``1``, ... with type, parameters and fixed parameters.

Links, data in other files, filters and sizes are checked before the library follows or trusts them.
"""

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..basics.bounds import LONGEST_HEADER, MOST_EXPANSION, MOST_FIELD_BYTES, MOST_TRANSFORMS
from ..basics.errors import InputError, times
from .stored import COMPOSITE, Stored, named

START = b"\x89HDF\r\n\x1a\n"
GROUP, TYPE = "TransformGroup", "TransformType"
PARAMETERS, FIXED = "TransformParameters", "TransformFixedParameters"
MISSPELLED = {PARAMETERS: "TranformParameters", FIXED: "TranformFixedParameters"}
"""Names that ITK wrote before version 4.11."""
FILTERS = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}
"""The library's own filters; any other filter would run an installed plugin."""


def read_hdf5(path: Path) -> list[Stored]:
    """Read the transforms of a file in its order.

    Raises:
        InputError: the file is not HDF5, or truncated.
        ValueError: the content is not ITK's. h5py may raise any other exception.
    """
    _check_length(path)
    with h5py.File(path, "r", locking=False) as file:
        group = _member(file, GROUP, h5py.Group)
        if len(group) > MOST_TRANSFORMS:
            raise ValueError(f"it holds {len(group)} transforms, expected {MOST_TRANSFORMS} at most")
        return [_stored(_member(group, str(index), h5py.Group), path) for index in range(len(group))]


def write_hdf5(path: Path, world: int, transforms: Sequence[tuple[str, np.ndarray, np.ndarray]]) -> None:
    """Write a composite of (kind, parameters in single precision, fixed parameters); the last is applied first.

    Raises:
        OSError: the file cannot be written.
    """
    with h5py.File(path, "w", driver="core", backing_store=False) as file:  # HDF5 prints pages on a full disk
        group = file.create_group(GROUP)
        for index, (kind, *numbers) in enumerate([(COMPOSITE,), *transforms]):
            one = group.create_group(str(index))
            one.create_dataset(TYPE, data=[f"{kind}_float_{world}_{world}"], dtype=h5py.string_dtype("ascii"))
            for name, values, dtype in zip((PARAMETERS, FIXED), numbers, ("f4", "f8"), strict=False):
                one.create_dataset(name, data=values, dtype=dtype, compression="gzip", compression_opts=5)
        file.flush()
        path.write_bytes(file.id.get_file_image())


def _stored(group: h5py.Group, path: Path) -> Stored:
    name = _text(_member(group, TYPE, h5py.Dataset), path)
    if name.startswith(COMPOSITE) and len(group) == 1:
        return named(name, np.empty(0), np.empty(0))
    size = path.stat().st_size
    return named(name, _numbers(group, PARAMETERS, size), _numbers(group, FIXED, size))


def _text(data: h5py.Dataset, path: Path) -> str:
    """Read one string without the library, which never returns from some damaged heaps of strings."""
    stored, at = h5py.check_string_dtype(data.dtype), data.id.get_offset()
    if stored is None or data.size != 1 or at is None:
        raise ValueError(f"its {TYPE} is not one string")
    with open(path, "rb") as file:
        file.seek(at)
        if stored.length is not None:
            return file.read(stored.length).rstrip(b"\0 ").decode("ascii")
        length, at, wanted = struct.unpack("<IQI", file.read(16))
        file.seek(at)
        signature, end = struct.unpack("<8sQ", file.read(16))
        heap = file.read(min(end, LONGEST_HEADER))
    at = 0
    while signature.startswith(b"GCOL") and at + 16 <= len(heap):
        found, size = struct.unpack_from("<H6xQ", heap, at)
        if found == wanted:
            return heap[at + 16 : at + 16 + min(size, length)].rstrip(b"\0 ").decode("ascii")
        at += 16 + (size + 7) // 8 * 8
    raise ValueError(f"its {TYPE} is lost")


def _numbers(group: h5py.Group, name: str, size: int) -> np.ndarray:
    """Read the numbers (N,) of a dataset in their stored precision, from a file of ``size`` bytes."""
    data = _member(group, name if name in group else MISSPELLED[name], h5py.Dataset)
    layout = data.id.get_create_plist()
    filters = [layout.get_filter(index)[0] for index in range(layout.get_nfilters())]
    if data.dtype.kind != "f" or data.dtype.itemsize not in (4, 8) or data.ndim != 1:
        raise ValueError(f"its {name} are {times(data.shape)} {data.dtype}, expected a list of float32 or float64")
    if data.is_virtual or data.external or not {*filters} <= FILTERS or len({*filters}) < len(filters):
        raise ValueError(f"its {name} are in other files, or not compressed by gzip")
    held = min(min(data.id.get_storage_size(), size) * (MOST_EXPANSION if filters else 1), MOST_FIELD_BYTES)
    if data.nbytes > held or (data.chunks and data.chunks[0] > data.size):
        raise ValueError(f"its {name} state {data.size} numbers, which a file of {size} bytes cannot hold")
    return data[()]


def _member(group: h5py.Group, name: str, kind: type) -> Any:
    """Return the member of a group with this name; links to other groups or files are not followed."""
    if not isinstance(group.get(name, getlink=True), h5py.HardLink) or not isinstance(group[name], kind):
        raise ValueError(f"it has no {name} as ITK writes it")
    return group[name]


def _check_length(path: Path) -> None:
    """Compare the length of a file with the length in its first bytes, to give a clear message."""
    with open(path, "rb") as file:
        start = file.read(64)
    if not start.startswith(START) or len(start) < 64:
        raise InputError(f"{path} is not an HDF5 file, or its beginning is lost; copy or download it again.")
    version, size = start[8], start[9] if start[8] >= 2 else start[13]
    addresses = {0: 24, 1: 28}.get(version, 12)  # base, one other, end of file
    end = int.from_bytes(start[addresses + 2 * size : addresses + 3 * size], "little")
    if path.stat().st_size < end:
        raise InputError(
            f"{path} is truncated: it has {path.stat().st_size} of {end} bytes; copy or download it again."
        )
