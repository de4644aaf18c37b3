"""The header of HDF5, which its library does not check in silence."""

from pathlib import Path

from .errors import InputError

HDF5_START = b"\x89HDF\r\n\x1a\n"


def check_hdf5(path: Path) -> None:
    """Compare the length of an HDF5 file with the one in its first bytes: the library prints pages about damage.

    Raises:
        InputError: no HDF5 file, or a truncated one.
    """
    with open(path, "rb") as file:
        start = file.read(64)
    if not start.startswith(HDF5_START) or len(start) < 64:
        raise InputError(f"{path} is no HDF5 file, or its beginning is lost; copy or download it again.")
    version, size = start[8], start[9] if start[8] >= 2 else start[13]
    addresses = {0: 24, 1: 28}.get(version, 12)  # base, one other, end of file
    end = int.from_bytes(start[addresses + 2 * size : addresses + 3 * size], "little")
    if path.stat().st_size < end:
        raise InputError(
            f"{path} is truncated: it has {path.stat().st_size} of {end} bytes; copy or download it again."
        )
