"""MetaImage headers: .mha, and .mhd with its voxels in a second file. The frame is LPS mm, converted to RAS here."""

import re
from pathlib import Path

import numpy as np

from .header import Header, ras_affine
from .text import Fields, header_text, not_this

TYPES = {
    "met_char": "i1",
    "met_uchar": "u1",
    "met_short": "i2",
    "met_ushort": "u2",
    "met_int": "i4",
    "met_uint": "u4",
    "met_long": "i4",  # as ITK reads and writes it, on every system
    "met_ulong": "u4",
    "met_long_long": "i8",
    "met_ulong_long": "u8",
    "met_float": "f4",
    "met_double": "f8",
}
YES_NO = {"true": True, "false": False, "1": True, "0": False}
MATRIX = ("TransformMatrix", "Rotation", "Orientation")


def read_header(path: Path) -> Header:
    """Read and check the header of a MetaImage file.

    Raises:
        InputError: see :func:`~smoothmorph.transforms.image_files.read_header`. Also refused: text instead of binary
            data, a list or pattern of data files, ``HeaderSize = -1``, and units other than mm.
    """
    fields, end = _fields(path)
    fields.choice({"image": None}, "ObjectType", default="Image")
    fields.choice({"true": None, "1": None}, "BinaryData", default="True")
    fields.choice({"mm": None, "?": None}, "DistanceUnits", default="mm")
    (axes,) = fields.integers(1, 2, 4, "NDims")
    (channels,) = fields.integers(1, 1, 64, "ElementNumberOfChannels", default="1")
    name = fields.text("ElementDataFile")
    local = name.upper() == "LOCAL"
    (start,) = fields.integers(1, 0, 0 if local else 2**40, "HeaderSize", default="0")
    most_significant_first = fields.choice(YES_NO, "BinaryDataByteOrderMSB", "ElementByteOrderMSB", default="False")
    return Header(
        path,
        (channels,) * (channels > 1) + fields.sizes(axes, "DimSize"),
        np.dtype((">" if most_significant_first else "<") + fields.choice(TYPES, "ElementType")),
        _affine(fields, axes),
        path if local else fields.beside(name),
        start=end if local else start,
        compression="zlib" if fields.choice(YES_NO, "CompressedData", default="False") else "",
        component_axis=0 if channels > 1 else None,
        undirected="" if any(key in fields for key in MATRIX) else "its header has no TransformMatrix",
    )


def _fields(path: Path) -> tuple[Fields, int]:
    """Parse the lines ``name = value`` up to the last one, which names the data file; also return where it ends."""
    text, end = header_text(path), 0
    pairs: list[tuple[str, str]] = []
    for line in text.splitlines(keepends=True):
        end += len(line)
        parts = re.split(r"[=:]", line.decode("utf-8", "replace"), maxsplit=1)
        if len(parts) < 2:
            continue  # for example the second line of a comment
        pairs.append((parts[0].strip(), parts[1]))
        if parts[0].strip().lower() == "elementdatafile":
            return Fields.of(path, pairs), end
    raise not_this(path, "MetaImage")


def _affine(fields: Fields, axes: int) -> np.ndarray:
    identity = " ".join(str(int(number)) for number in np.eye(axes).flat)
    columns = fields.numbers(axes * axes, *MATRIX, default=identity).reshape(axes, axes).T  # each axis is one row
    size = "ElementSpacing" if "ElementSpacing" in fields else "ElementSize"
    spacing = fields.numbers(axes, size, default="1 " * axes)
    if not (spacing > 0).all():
        raise fields.unfit(size, fields.text(size), "numbers above 0")
    origin = fields.numbers(axes, "Offset", "Position", "Origin", default="0 " * axes)
    return ras_affine(columns * spacing, origin, (-1, -1, 1))
