"""Check a network's weights, and read torch files safely."""

import io
import pickletools
import re
import stat
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor, nn

from ...transforms.basics.bounds import LARGEST_MODEL
from ...transforms.basics.errors import InputError, quoted

REAL = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
PLAIN = re.compile(
    r"collections OrderedDict|torch (Size|device|bool|bfloat16|float\d+|u?int\d+)|torch\._utils _rebuild_parameter"
    r"|torch\._utils _rebuild_tensor(_v2)?|torch (Double|Float|Half|BFloat16|Long|Int|Short|Char|Byte|Bool)Storage"
)
"""Classes that a torch file may name: those of dense tensors. Others can claim more memory than the file holds."""


def check_weights(weights: Any, expected: Mapping[str, Tensor], dtype: torch.dtype | None = None) -> dict[str, Tensor]:
    """Return the weights of a network if they have the expected names and shapes and are finite.

    Args:
        weights: weights by name, from a file or a network.
        expected: tensors with the expected names and shapes, such as the network's own; any device, even ``meta``.
        dtype: dtype to convert to; None takes that of ``expected``.

    Raises:
        InputError: a weight is missing or unknown, has another shape, is not a dense tensor of real floating-point
            numbers, or is not finite in ``dtype``. The message is a part of a sentence.
    """
    if not isinstance(weights, Mapping):
        raise InputError(f"there is {quoted(weights)} instead of weights")
    for name in [*expected, *weights]:
        if name not in weights or name not in expected:
            fault = "is not a weight of this network" if name in weights else "is missing"
            raise InputError(f"weight {quoted(name)} {fault}")
    return {name: _check(quoted(name), weights[name], like, dtype or like.dtype) for name, like in expected.items()}


def writable(weights: Mapping[str, Tensor], path: Path, dtype: torch.dtype | None = None) -> dict[str, Tensor]:
    """Return a network's weights on the CPU, ready to be written to ``path``; InputError as :func:`check_weights`."""
    try:
        checked = check_weights(weights, weights, dtype)
    except InputError as error:
        raise InputError(f"the network cannot be written to {path}: {error}.") from None
    return {name: weight.cpu().contiguous() for name, weight in checked.items()}


def _check(name: str, weight: Any, like: Tensor, dtype: torch.dtype) -> Tensor:
    dense = type(weight) in (Tensor, nn.Parameter) and weight.layout == torch.strided and not weight.is_nested
    if not dense or weight.is_meta or weight.dtype not in REAL:
        raise InputError(f"weight {name} is not a dense tensor of real floating-point numbers")
    if weight.shape != like.shape:  # check this before computing anything: a view can claim any shape
        raise InputError(f"weight {name} has shape {quoted(tuple(weight.shape))}, expected {quoted(tuple(like.shape))}")
    weight = weight.detach().to(dtype)
    if not torch.isfinite(weight).all():
        raise InputError(f"weight {name} holds numbers that are not finite as {str(dtype).removeprefix('torch.')}")
    return weight


def check_size(path: Path) -> None:
    """Raise InputError if ``path`` is not a regular file or far too large for a network; OSError if it is missing."""
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise InputError("it is not a file")
    if (size := found.st_size) > LARGEST_MODEL:
        raise InputError(f"it has {size:,} bytes, but a network's weights take at most {LARGEST_MODEL:,}")


def read_torch(path: Path) -> Any:
    """Read a file of ``torch.save`` that holds only tensors and plain values, on the CPU. No code in it is run.

    Unlike ``torch.load``, this compares the checksums in the file.

    Raises:
        InputError: the file is damaged, too large, not a torch file, or holds other objects. The message is a part of
            a sentence, without torch's advice to run the code in the file.
        OSError: the file is missing or cannot be read.
    """
    check_size(path)
    content = io.BytesIO(path.read_bytes())
    try:
        for pickle in _pickles(content):
            for opcode, name, _ in pickletools.genops(pickle):
                if opcode.name == "GLOBAL" and not PLAIN.fullmatch(str(name)):
                    raise InputError("it holds more than tensors and plain values")
        content.seek(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(content, map_location="cpu", weights_only=True)
    except (InputError, MemoryError):
        raise
    except Exception:  # zipfile, pickletools and torch raise many exceptions
        raise InputError("its content is not what torch.save wrote") from None


def _pickles(content: BinaryIO) -> Iterator[BinaryIO]:
    """Yield the pickles in a file. The members of a zip file must be uncompressed and match their checksums."""
    if content.read(4) != b"PK\3\4":  # before torch 1.6: magic number, version, system, content, names; then numbers
        content.seek(0)
        yield from (content for _ in range(5))
        return
    with zipfile.ZipFile(content) as archive:
        members = archive.infolist()
        if any(member.compress_size != member.file_size for member in members) or archive.testzip() is not None:
            raise InputError("its content differs from its checksums")
        yield from (io.BytesIO(archive.read(member)) for member in members if member.filename.lower().endswith(".pkl"))
