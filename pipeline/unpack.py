"""Unpacking a tar archive that nobody vouches for: it cannot write outside its folder, nor leave half a folder."""

import shutil
import tarfile
from pathlib import Path, PurePosixPath, PureWindowsPath

from ..transforms.errors import InputError


def unpack(archive: Path, target: Path, marker: str) -> Path:
    """Unpack ``archive`` into the new folder ``target``.

    The members are judged before anything is written. They go to a folder beside ``target``, which is then renamed.
    An archive may hold its files at the top or in one folder: the folder that holds ``marker`` becomes ``target``.

    Args:
        archive: a tar file, compressed or not.
        target: does not exist yet.
        marker: name of a file that every whole copy of the data has.

    Raises:
        InputError: not a whole tar archive; a member that is a link, a device or outside the folder; no ``marker``;
            no space. ``target`` does not exist then.
    """
    unpacking = target.with_name(f".{target.name}.unpacking")
    shutil.rmtree(unpacking, ignore_errors=True)  # of a process that was killed
    try:
        unpacking.mkdir(parents=True)
        _extract(archive, unpacking)
        holder = next(
            (path.parent for path in [unpacking / marker, *unpacking.glob(f"*/{marker}")] if path.is_file()), None
        )
        if holder is None:
            raise InputError(f"{archive} does not hold {marker}: it is not the expected data set, or not all of it.")
        holder.rename(target)
    except (tarfile.TarError, EOFError) as error:
        raise InputError(f"{archive} is not a whole tar archive ({error}); delete it and run again.") from None
    except OSError as error:
        raise InputError(f"cannot unpack {archive} to {target}: {error.strerror or error}.") from None
    finally:
        shutil.rmtree(unpacking, ignore_errors=True)
    return target


def _extract(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as tar:
        members = [member for member in tar.getmembers() if not _is_clutter(member.name)]
        for member in members:
            fault = _fault(member)
            if fault is not None:
                raise InputError(f"{archive} is not safe to unpack: {member.name!r} {fault}. Nothing was written.")
        size = sum(member.size for member in members)
        if size > shutil.disk_usage(folder).free:
            raise InputError(f"{archive} unpacks to {size} bytes, for which the disk of {folder.parent} has no space.")
        # the filter came with 3.10.12 and 3.11.4; without links and with clean names nothing needs it
        if hasattr(tarfile, "data_filter"):
            tar.extraction_filter = tarfile.data_filter
        tar.extractall(folder, members)
    _check_end(archive)


def _is_clutter(name: str) -> bool:
    return PurePosixPath(name).name.startswith("._")  # what macOS adds to archives


def _fault(member: tarfile.TarInfo) -> str | None:
    """Why a member must not be unpacked, if so. Data sets of images need no links, so none is followed."""
    path = PurePosixPath(member.name)
    if path.is_absolute() or PureWindowsPath(member.name).drive or "\\" in member.name:
        return "is not a relative path"
    if ".." in path.parts:
        return "leads out of the folder"
    if member.issym() or member.islnk():
        return f"is a link to {member.linkname!r}"
    if not (member.isfile() or member.isdir()):
        return "is a device or another special file"
    return None


def _check_end(archive: Path) -> None:
    # tarfile takes the end of the file for the end of the archive, which two blocks of zeros mark; and it leaves the
    # checksum at the end of a compressed file unread
    with tarfile.open(archive) as tar:
        assert tar.fileobj is not None
        end = b""
        while chunk := tar.fileobj.read(1 << 20):
            end = (end + chunk)[-1024:]
    if end.strip(b"\0"):
        raise EOFError("its end is missing")
