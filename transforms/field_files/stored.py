"""Read the kinds and numbers of transforms from ITK's text files (.tfm, .txt) and MATLAB files (.mat).

ITK's own readers trust every size in a file, open the files that it names, and crash on some damaged files. This module
reads the files itself and passes on only checked numbers.
"""

import re
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..basics.bounds import LONGEST_TEXT, MOST_DIGITS, MOST_TRANSFORMS
from ..basics.errors import InputError

COMPOSITE = "CompositeTransform"
TYPE = re.compile(r"(\w{1,80})_(?:double|float)_([23])_\2", re.ASCII)
"""A kind, its precision, and the dimensions of its input and output points."""
MATLAB_TYPES = {0: "f8", 10: "f4", 100: "f8", 110: "f4"}
"""Double and single precision, by columns or by rows; for a vector this makes no difference."""


@dataclass(frozen=True, eq=False)
class Stored:
    """One transform as it is stored in a file.

    Args:
        kind: name of ITK's class.
        world: W, the dimension of its points.
        parameters, fixed: parameters (N,) and fixed parameters (M,), finite.

    Raises:
        InputError: a number is NaN or infinite.
    """

    kind: str
    world: int
    parameters: np.ndarray
    fixed: np.ndarray

    def __post_init__(self) -> None:
        if not (np.isfinite(self.parameters).all() and np.isfinite(self.fixed).all()):
            raise InputError(f"its {self.kind} holds NaN or infinite numbers; every one must be a finite number.")


def named(name: str, parameters: np.ndarray, fixed: np.ndarray) -> Stored:
    """Make a transform from the type name in its file, such as ``AffineTransform_double_3_3``.

    Raises:
        ValueError: this is not such a type name.
    """
    found = TYPE.fullmatch(name)
    if found is None:
        raise ValueError(f"it holds {name[:60]!r}, which is not a transform in 2 or 3 dimensions")
    return Stored(found[1], int(found[2]), parameters, fixed)


def parts(transforms: list[Stored]) -> list[Stored]:
    """Return the transforms of a file without the enclosing composite.

    Raises:
        InputError: there is no transform, or several without a composite; dimensions differ; or a composite is inside
            another one or in a .mat file, where it is unknown which numbers belong to which transform.
    """
    within = bool(transforms) and transforms[0].kind == COMPOSITE
    found = transforms[within:]
    if not within and len(found) != 1:
        raise InputError(f"it holds {len(found)} transforms, expected one, or one composite of them.")
    if any(one.kind == COMPOSITE for one in found) or (within and len(transforms[0].parameters)):
        raise InputError("it holds a composite whose parts cannot be told apart; write it as .h5, without inner ones.")
    if len({one.world for one in transforms}) > 1:
        raise InputError("it holds transforms in 2 and in 3 dimensions, expected only one of these.")
    return found


def read_text(path: Path) -> list[Stored]:
    """Read the transforms of an Insight transform file.

    Raises:
        ValueError: the file has another format, or names other files.
    """
    found: list[dict[str, str]] = []
    for line in map(str.strip, _content(path).decode("ascii").splitlines()):
        tag, _, rest = line.partition(":")
        if tag == "Transform" and len(found) < MOST_TRANSFORMS:
            found.append({tag: rest.strip()})
        elif tag in ("Parameters", "FixedParameters") and found and tag not in found[-1]:
            found[-1][tag] = rest
        elif line and not line.startswith("#"):
            raise ValueError(f"the line {line[:40]!r} is not expected in a transform")
    return [
        named(one["Transform"], _numbers(one.get("Parameters", "")), _numbers(one.get("FixedParameters", "")))
        for one in found
    ]


def _numbers(text: str) -> np.ndarray:
    return np.fromiter((_number(word.group()) for word in re.finditer(r"\S+", text)), dtype=np.float64)


def _number(word: str) -> float:
    try:
        if len(word) > MOST_DIGITS or "_" in word:  # Python would read 1_000 as one thousand
            raise ValueError
        return float(word)
    except ValueError:
        raise ValueError(f"{word[:40]!r} is not a number") from None


def read_matlab(path: Path) -> list[Stored]:
    """Read the transforms of a MATLAB level-4 file: a vector named as the type, then one named ``fixed``, and so on.

    Raises:
        ValueError: the file has another format, or holds other vectors.
    """
    content, at = _content(path), 0
    found: list[tuple[str, np.ndarray]] = []
    while at < len(content) and len(found) < 2 * MOST_TRANSFORMS:
        name, vector, at = _vector(content, at)
        found.append((name, vector))
    own, fixed = found[::2], found[1::2]
    if at < len(content) or len(own) != len(fixed) or any(name != "fixed" for name, _ in fixed):
        raise ValueError("its vectors are not alternating parameters and fixed parameters")
    return [named(name, vector, other) for (name, vector), (_, other) in zip(own, fixed, strict=True)]


def _vector(content: bytes, at: int) -> tuple[str, np.ndarray, int]:
    """Read the vector whose header begins at byte ``at``: its name, its numbers, and the start of the next header."""
    header = content[at : at + 20]
    order = "<" if header[1:4] == b"\0\0\0" else ">"  # the first number is 0 to 110, plus 1000 in big-endian files
    if len(header) < 20:
        raise ValueError("it ends within a header")
    code, rows, columns, imaginary, letters = struct.unpack(f"{order}5i", header)
    kind = MATLAB_TYPES.get(code - 1000 * (order == ">"))
    if kind is None or imaginary or min(rows, columns, letters - 1) < 0:
        raise ValueError("it is not a MATLAB level-4 file with real vectors")
    start = at + 20 + letters
    end = start + rows * columns * int(kind[1])
    if end > len(content):
        raise ValueError("it ends before the numbers that it states")
    numbers = np.frombuffer(content[start:end], f"{order}{kind}").astype(np.float64)
    return content[at + 20 : start].rstrip(b"\0").decode("ascii"), numbers, end


def _content(path: Path) -> bytes:
    size = path.stat().st_size
    if size > LONGEST_TEXT:
        raise ValueError(f"it has {size} bytes, expected {LONGEST_TEXT} at most; write it as .h5")
    return path.read_bytes()
