"""Safe unpacking of an untrusted tar archive: nothing is written outside its folder, and no partial folder is left."""

import bz2
import gzip
import shutil
import tarfile
import zlib
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, Any

from ...transforms.basics.atomic import temporary_folder
from ...transforms.basics.bounds import (
    DEEPEST_PATH,
    LONGEST_FILE_NAME,
    LONGEST_MEMBER_HEADER,
    MOST_MEMBERS,
    MOST_UNPACKED,
)
from ...transforms.basics.errors import InputError, one_line

COMPRESSED = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open}
"""Functions that open compressed files, by the first bytes of the file."""
CHUNK = 1 << 20
LONGEST_END = 1 << 26
"""Maximum number of bytes after the last member; tar fills its last block with zeros."""


def unpack(archive: Path, target: Path, marker: str, members: int = MOST_MEMBERS, size: int = MOST_UNPACKED) -> Path:
    """Unpack ``archive`` into the new folder ``target``.

    It is unpacked once, member by member, into a temporary folder, which is then renamed. The first member that is not
    allowed stops it. An archive may have its files at the top level or in one folder; the folder with ``marker``
    becomes ``target``.

    Args:
        archive: a tar file, uncompressed or compressed with gzip or bzip2.
        target: the folder to create; it must not exist.
        marker: name of a file that every complete copy of the data has.
        members: maximum number of files and folders.
        size: maximum size of all files in bytes.

    Raises:
        InputError: the file is not a complete tar archive; a member is a link, a device or outside of the folder;
            members are too many or too large; ``marker`` is missing; there is no space. ``target`` is then not created.
    """
    try:
        with temporary_folder(target, "unpacking") as unpacking:
            _extract(archive, unpacking, members, size)
            holder = next(
                (path.parent for path in [unpacking / marker, *unpacking.glob(f"*/{marker}")] if path.is_file()), None
            )
            if holder is None:
                raise InputError(
                    f"{archive} does not hold {marker}: it is not the expected data set, or it is incomplete."
                )
            holder.chmod(0o755)
            holder.rename(target)
    except InputError:
        raise
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, ValueError, OverflowError) as error:
        raise InputError(
            f"{archive} is not a complete tar archive ({one_line(error)}); delete it and run again."
        ) from None
    except OSError as error:
        raise InputError(f"cannot unpack {archive} to {target}: {error.strerror or error}.") from None
    return target


class _Headers:
    """A file object that lets tarfile read only headers, up to a maximum length per member."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.left = file, LONGEST_MEMBER_HEADER
        self.seek, self.tell = file.seek, file.tell

    def read(self, count: int) -> bytes:
        if not 0 <= count <= self.left:
            raise tarfile.ReadError(f"a member has a header of more than {LONGEST_MEMBER_HEADER} bytes")
        self.left -= count
        return self._file.read(count)


def _extract(archive: Path, folder: Path, most: int, largest: int) -> None:
    free = shutil.disk_usage(folder).free
    count = size = 0
    with open(archive, "rb") as stored:
        beginning = stored.read(3)
    opener = next((opener for start, opener in COMPRESSED.items() if beginning.startswith(start)), None)
    with (opener or open)(archive, "rb") as file:
        headers: Any = _Headers(file)
        tar: Any = tarfile.open(fileobj=headers, mode="r:")  # noqa: SIM115
        while (member := tar.next()) is not None:
            tar.members.clear()  # tarfile would keep every member in memory
            headers.left = LONGEST_MEMBER_HEADER
            count, size = count + 1, size + max(member.size, 0)
            if size > free:
                raise InputError(f"{archive} unpacks to {size} bytes or more, but {folder.parent} has less free space.")
            fault = _fault(member)
            if fault is None and count > most:
                fault = f"exceeds the limit of {most} files and folders"
            if fault is None and size > largest:
                fault = f"makes the total size {size} bytes, but at most {largest} are expected"
            if fault is not None:
                raise InputError(
                    f"{archive} is not safe to unpack: {member.name[:100]!r} {fault}. Nothing was written."
                )
            if not _is_clutter(member.name):
                _write(file, member, folder / member.name)
        _check_end(file, tar.offset)


def _write(file: IO[bytes], member: tarfile.TarInfo, path: Path) -> None:
    if member.isdir():
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    file.seek(member.offset_data)
    left = member.size
    with open(path, "wb") as copy:
        while left:
            chunk = file.read(min(left, CHUNK))
            if not chunk:
                raise EOFError("unexpected end of data")
            copy.write(chunk)
            left -= len(chunk)


def _is_clutter(name: str) -> bool:
    return PurePosixPath(name).name.startswith("._")  # macOS adds such files to archives


def _fault(member: tarfile.TarInfo) -> str | None:
    """The reason why a member is not allowed, or None. Image data sets need no links, so links are not allowed."""
    path = PurePosixPath(member.name)
    if path.is_absolute() or PureWindowsPath(member.name).drive or "\\" in member.name:
        return "is not a relative path"
    if ".." in path.parts:
        return "leads out of the folder"
    if not member.name.isprintable():
        return "has a name that cannot be printed"
    if len(path.parts) > DEEPEST_PATH:
        return f"is {len(path.parts)} folders deep, but at most {DEEPEST_PATH} are allowed"
    if max((len(part.encode()) for part in path.parts), default=0) > LONGEST_FILE_NAME:
        return f"has a name of more than {LONGEST_FILE_NAME} bytes"
    if member.issym() or member.islnk():
        return f"is a link to {member.linkname[:100]!r}"
    if not (member.isfile() or member.isdir()) or member.issparse():
        return "is a device or another special file"
    if member.size < 0:
        return "has a negative length"
    return None


def _check_end(file: IO[bytes], offset: int) -> None:
    """Read to the end of the file, where compressed files have their checksum; EOFError for a truncated archive.

    An archive ends with two blocks of zeros. tarfile accepts archives that were truncated before them.
    """
    file.seek(offset)
    if len(end := file.read(1024)) < 1024 or end.strip(b"\0"):
        raise EOFError("its end is missing")
    beyond = 0
    while chunk := file.read(CHUNK):
        beyond += len(chunk)
        if beyond > LONGEST_END:
            raise EOFError("there is data after its end")
