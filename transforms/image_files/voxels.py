"""Read the voxels of an image file whose header was checked."""

import gzip
import zlib
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from ..basics.errors import reason
from .header import Header, truncated

CHUNK = 1 << 20
"""Number of bytes read or decompressed at once."""


def read_voxels(header: Header) -> np.ndarray:
    """Read the numbers as they are stored, unscaled and in the byte order of the file.

    Compressed data are read once, up to the checksum at their end, but never beyond the length in the header.

    Returns:
        (*shape), or (components, *shape).

    Raises:
        InputError: the data are damaged, or do not have the length that the header states.
    """
    buffer, at = np.empty(header.data_bytes, np.uint8), 0
    with open(header.data, "rb") as file:
        file.seek(header.start)
        try:
            for chunk in _chunks(file, header.compression):
                if at + len(chunk) > len(buffer):
                    raise truncated(header.path, f"its data exceed the {len(buffer)} bytes that its header states")
                buffer[at : at + len(chunk)] = np.frombuffer(chunk, np.uint8)
                at += len(chunk)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise truncated(header.path, reason(error)) from None
    if at < len(buffer):
        raise truncated(header.path, f"{at} bytes of data, but its header states {len(buffer)}")
    voxels = buffer[header.skip :].view(header.dtype).reshape(header.sizes, order="F")
    return voxels if header.component_axis is None else np.moveaxis(voxels, header.component_axis, 0)


def _chunks(file: BinaryIO, compression: str) -> Iterator[bytes]:
    if compression == "zlib":
        return _inflated(file)
    stream = gzip.GzipFile(fileobj=file) if compression == "gzip" else file
    return iter(lambda: stream.read(CHUNK), b"")


def _inflated(file: BinaryIO) -> Iterator[bytes]:
    """Decompress a zlib stream that must end where the file ends."""
    decoder = zlib.decompressobj()
    while not decoder.eof:
        compressed = decoder.unconsumed_tail or file.read(CHUNK)
        chunk = decoder.decompress(compressed, CHUNK)
        if not compressed and not chunk and not decoder.eof:
            raise EOFError("the compressed data end too early")
        yield chunk
    if decoder.unused_data or file.read(1):
        raise EOFError("there are bytes after the compressed data")
