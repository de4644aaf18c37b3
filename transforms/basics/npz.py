"""Read arrays from .npz files without trusting the sizes that their headers state."""

import sys
import zipfile
from collections import Counter
from collections.abc import Iterable
from math import prod
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

from .bounds import MOST_EXPANSION, MOST_FIELD_BYTES
from .errors import one_line, times

PLAIN = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def read_npz(path: Path, names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
    """Read a file's arrays of numbers or text, in the machine's byte order.

    Args:
        path: the .npz file.
        names: the arrays to read if the file has them; None reads all.

    Raises:
        ValueError: the file cannot be read, a member is not such an array or occurs twice, or a number is not finite.
            The message says which.
        PermissionError: the user may not read the file.
    """
    try:
        with zipfile.ZipFile(path) as file:
            members = file.infolist()
            _check(members, path.stat().st_size)
            wanted = None if names is None else {f"{name}.npy" for name in names}
            return {
                member.filename.removesuffix(".npy"): _read(file, member)
                for member in members
                if wanted is None or member.filename in wanted
            }
    except PermissionError:
        raise
    except zipfile.BadZipFile as error:
        with open(path, "rb") as file:
            one = file.read(len(npy.MAGIC_PREFIX)) == npy.MAGIC_PREFIX
        raise ValueError(
            "it is a single numpy array (.npy), not an .npz archive"
            if one
            else f"it is damaged, or not an .npz file ({one_line(error, 80)})"
        ) from None
    except Exception as error:  # zipfile and numpy raise many exceptions
        raise ValueError(one_line(error)) from None


def _check(members: list[zipfile.ZipInfo], size: int) -> None:
    """Raise ValueError if a member is not an array, or if more bytes are stated than file or memory can hold."""
    if not all(member.filename.endswith(".npy") and member.compress_type in PLAIN for member in members):
        raise ValueError("it holds members that are not arrays (.npy), stored or deflated")
    if max(Counter(member.filename for member in members).values(), default=1) > 1:
        raise ValueError("it holds two arrays with the same name")
    total = sum(member.file_size for member in members)
    most = min(MOST_FIELD_BYTES, MOST_EXPANSION * size)
    if total > most:
        raise ValueError(f"it states {total} bytes in a file of {size}, expected {most} at most")


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    name = member.filename.removesuffix(".npy")[:60]
    with archive.open(member) as file:
        shape, dtype = _header(file)
        if dtype.kind not in "biufcSUO" or (dtype.kind in "iuf" and dtype.itemsize > 8):  # O: numpy refuses it below
            raise ValueError(f"its {name} is {times(shape[:4])} {dtype}, expected numbers of 64 bits at most, or text")
        if dtype.kind != "O" and file.tell() + prod(shape) * dtype.itemsize != member.file_size:
            raise ValueError(f"its {name} states {times(shape[:4])} {dtype}, but has {member.file_size} bytes in all")
    with archive.open(member) as file:
        array = npy.read_array(file, allow_pickle=False)
        file.read(1)  # zipfile compares the checksum at the end
    array = array.astype(dtype.newbyteorder("="), copy=False)
    if dtype.kind == "U" and array.size and dtype.itemsize:
        if int(np.ascontiguousarray(array).reshape(-1).view(np.uint32).max()) > sys.maxunicode:
            raise ValueError(f"its {name} is not text")
    elif dtype.kind in "fc" and not np.isfinite(array).all():
        raise ValueError(f"its {name} holds NaN or infinite numbers")
    return array


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    version = npy.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError("its arrays have another version of numpy's format than 1.0 and 2.0")
    shape, _, dtype = (npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0)(file)
    if any(size < 0 for size in shape) or len(shape) > 8:
        raise ValueError("it has an array of an impossible shape")
    return shape, dtype
