"""NRRD headers: .nrrd with its voxels after the header or in a second file. The stated frame is converted to RAS."""

import re
from pathlib import Path

import numpy as np

from ..basics.errors import InputError, quoted
from .header import Header, ras_affine
from .text import Fields, header_text, not_this

TYPES = {
    name: code
    for code, names in {
        "i1": "signed char, int8, int8_t",
        "u1": "uchar, unsigned char, uint8, uint8_t",
        "i2": "short, short int, signed short, signed short int, int16, int16_t",
        "u2": "ushort, unsigned short, unsigned short int, uint16, uint16_t",
        "i4": "int, signed int, int32, int32_t",
        "u4": "uint, unsigned int, uint32, uint32_t",
        "i8": "longlong, long long, long long int, signed long long, signed long long int, int64, int64_t",
        "u8": "ulonglong, unsigned long long, unsigned long long int, uint64, uint64_t",
        "f4": "float",
        "f8": "double",
    }.items()
    for name in names.split(", ")
}
SPACES = {
    "right-anterior-superior": (1, 1, 1),
    "left-anterior-superior": (-1, 1, 1),
    "left-posterior-superior": (-1, -1, 1),
}
"""Signs that convert each space to RAS. Where other spaces lie in the patient is unknown."""
SHORT = {"ras": "right-anterior-superior", "las": "left-anterior-superior", "lps": "left-posterior-superior"}
LPS = "left-posterior-superior"
IN_SPACE = ("domain", "space", "none", "???")
"""Kinds of axes along which voxels lie."""
COMPRESSIONS = {"raw": "", "gzip": "gzip", "gz": "gzip"}


def read_header(path: Path) -> Header:
    """Read and check the header of an NRRD file.

    Raises:
        InputError: see :func:`~smoothmorph.transforms.image_files.read_header`. Also refused: spaces other than RAS,
            LAS and LPS, units other than mm, encodings other than raw and gzip, lines to skip, and voxels in several
            files.
    """
    fields, end = _fields(path)
    (axes,) = fields.integers(1, 2, 4, "dimension")
    sizes = fields.sizes(axes, "sizes")
    space, directions = _space(fields), _directions(fields, axes)
    numbers = [axis for axis, direction in enumerate(directions) if direction is None]
    spatial = [direction for direction in directions if direction is not None]
    world = len(spatial)
    if len(numbers) > 1 or world not in ((3,) if "space" in fields else (2, 3)):
        raise InputError(
            f"{path} has {world} axes in space and {len(numbers)} others; expected as many space axes as its space has "
            "(3 or 2), and at most one other axis."
        )
    origin = fields.text("spaceorigin", default="(" + ",".join("0" * world) + ")")
    compression = fields.choice(COMPRESSIONS, "encoding")
    fields.integers(1, 0, 0, "lineskip", default="0")
    (skip,) = fields.integers(1, 0, 2**40, "byteskip", default="0")
    name = fields.text("datafile", default="")
    return Header(
        path,
        sizes,
        _dtype(fields),
        ras_affine(np.column_stack(spatial), _vector(fields, "space origin", origin, world), SPACES[space]),
        fields.beside(name) if "datafile" in fields else path,
        start=(0 if "datafile" in fields else end) + (0 if compression else skip),
        skip=skip if compression else 0,
        compression=compression,
        component_axis=numbers[0] if numbers else None,
        undirected="" if "spacedirections" in fields else "its header has no space directions",
        unframed=_unframed(fields, space, world),
    )


def _fields(path: Path) -> tuple[Fields, int]:
    """Parse the lines ``field: value`` up to the first empty line; also return where the data begin.

    Blanks are removed from the field names.
    """
    text = header_text(path)
    match = re.match(rb"NRRD000[1-6]\r?\n((?:[^\r\n\0]+\r?\n)*)(\r?\n|\Z)", text)
    if match is None:
        raise not_this(path, "NRRD")
    pairs = []
    for line in match[1].decode("utf-8", "replace").splitlines():
        name, colon, value = line.partition(":")
        if line.startswith("#") or value.startswith("="):
            continue
        if not colon:
            raise InputError(f"the header of {path} has the line {quoted(line)}; expected field: value.")
        pairs.append((name.replace(" ", ""), value))
    return Fields.of(path, pairs), match.end()


def _dtype(fields: Fields) -> np.dtype:
    kind = fields.choice(TYPES, "type")
    order = fields.choice({"little": "<", "big": ">"}, "endian", default="little" if kind.endswith("1") else None)
    return np.dtype(order + kind)


def _space(fields: Fields) -> str:
    """Return the name of the space. If there is none, or if it is a plane of two dimensions, it is LPS, as in ITK."""
    for name in ("spaceunits", "units"):
        units = set(re.findall(r'"([^"]*)"', fields.text(name, default=""))) - {"", "mm", "millimeter", "millimeters"}
        if units:
            raise fields.unfit(name, sorted(units)[0], "mm; write it in mm")
    if "spacedirections" not in fields and "space" not in fields:
        return LPS
    name = fields.text("space", default="").lower()
    name = SHORT.get(name, name)
    if "space" not in fields and fields.text("spacedimension", default="") == "2":
        return LPS
    if name not in SPACES:
        raise fields.unfit(
            "space",
            name or "without a name",
            f"one of {', '.join(SPACES)}: where the axes of others lie in the patient is unknown",
        )
    return name


def _directions(fields: Fields, axes: int) -> list[np.ndarray | None]:
    """Return the vector of each axis in mm per voxel, and None for the component axis."""
    kinds = fields.text("kinds", default="domain " * axes).lower().split()
    if len(kinds) != axes:
        raise fields.unfit("kinds", fields.text("kinds"), f"{axes} words")
    if "spacedirections" not in fields:
        return _spacings(fields, kinds)
    value = fields.text("spacedirections")
    vectors = re.findall(r"none|\([^()]*\)", value)
    if len(vectors) != axes or re.sub(r"none|\([^()]*\)|\s", "", value):
        raise fields.unfit("space directions", value, f"{axes} vectors, or none")
    for kind, vector in zip(kinds, vectors, strict=True):
        if kind not in IN_SPACE and vector != "none":
            raise fields.unfit("kinds", kind, "domain for an axis with a direction")
    world = axes - vectors.count("none")
    return [None if one == "none" else _vector(fields, "space directions", one, world) for one in vectors]


def _spacings(fields: Fields, kinds: list[str]) -> list[np.ndarray | None]:
    """Return the vectors of the axes of a file without directions."""
    words = fields.text("spacings", default="1 " * len(kinds)).split()
    spatial = [axis for axis, kind in enumerate(kinds) if kind in IN_SPACE]
    if len(words) != len(kinds):
        raise fields.unfit("spacings", " ".join(words), f"{len(kinds)} numbers")
    stated = [words[axis] if words[axis].lower() != "nan" else "1" for axis in spatial]
    spacing = fields.parsed("spacings", " ".join(words), stated, len(spatial))
    columns = iter(np.diag(spacing))
    return [next(columns) if axis in spatial else None for axis in range(len(kinds))]


def _vector(fields: Fields, name: str, value: str, world: int) -> np.ndarray:
    """Parse a vector such as ``(1,0,0)``."""
    return fields.parsed(
        name, value, value.strip().removeprefix("(").removesuffix(")").replace(",", " ").split(), world
    )


def _unframed(fields: Fields, space: str, world: int) -> str:
    """Say why the frame of the vectors is unknown, or return an empty text: ITK always reads vectors as LPS."""
    if space != LPS:
        return f"its space is {space}"
    frame = fields.text("measurementframe", default="")
    vectors = [_vector(fields, "measurement frame", one, world) for one in re.findall(r"\([^()]*\)", frame)]
    if frame and not np.array_equal(vectors, np.eye(world)):
        return "its measurement frame turns them"
    return ""
