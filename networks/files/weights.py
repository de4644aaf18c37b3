"""What a network's weights may be, wherever they come from, and how a file of torch's is read."""

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
"""The classes of torch's that a file may name: all of dense tensors. Others can claim memory that the file lacks."""


def check_weights(weights: Any, expected: Mapping[str, Tensor], dtype: torch.dtype | None = None) -> dict[str, Tensor]:
    """The weights of a network, checked.

    Args:
        weights: by name, as they come from a file or a network.
        expected: of the same names and shapes, such as the network's own; on any device, also torch's ``meta``.
        dtype: to convert to; None is that of ``expected``.

    Raises:
        InputError: one is missing or unknown, has another shape, is no dense tensor of real floating-point numbers, or
            holds a number that is not finite as ``dtype``. The message is a part of a sentence.
    """
    if not isinstance(weights, Mapping):
        raise InputError(f"there is {quoted(weights)} instead of weights")
    for name in [*expected, *weights]:
        if name not in weights or name not in expected:
            fault = "is none of this network's" if name in weights else "is missing"
            raise InputError(f"weight {quoted(name)} {fault}")
    return {name: _check(quoted(name), weights[name], like, dtype or like.dtype) for name, like in expected.items()}


def writable(weights: Mapping[str, Tensor], path: Path, dtype: torch.dtype | None = None) -> dict[str, Tensor]:
    """A network's own weights as they go into the file ``path``; InputError as :func:`check_weights`."""
    try:
        checked = check_weights(weights, weights, dtype)
    except InputError as error:
        raise InputError(f"the network cannot be written to {path}: {error}.") from None
    return {name: weight.cpu().contiguous() for name, weight in checked.items()}


def _check(name: str, weight: Any, like: Tensor, dtype: torch.dtype) -> Tensor:
    dense = type(weight) in (Tensor, nn.Parameter) and weight.layout == torch.strided and not weight.is_nested
    if not dense or weight.is_meta or weight.dtype not in REAL:
        raise InputError(f"weight {name} is no dense tensor of real floating-point numbers")
    if weight.shape != like.shape:  # before anything is computed: a view can claim any shape
        raise InputError(f"weight {name} has shape {quoted(tuple(weight.shape))}, expected {quoted(tuple(like.shape))}")
    weight = weight.detach().to(dtype)
    if not torch.isfinite(weight).all():
        raise InputError(f"weight {name} holds numbers that are not finite as {str(dtype).removeprefix('torch.')}")
    return weight


def check_size(path: Path) -> None:
    """Refuse, as InputError, what is no file or far larger than any network's; OSError if there is none."""
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise InputError("it is no file")
    if (size := found.st_size) > LARGEST_MODEL:
        raise InputError(f"it has {size:,} bytes, where no network's weights take more than {LARGEST_MODEL:,}")


def read_torch(path: Path) -> Any:
    """What ``torch.save`` wrote, on the CPU, if that is tensors and plain values; no code in the file is run.

    The checksums within the file are compared, which ``torch.load`` does not.

    Raises:
        InputError: a file that is damaged, too large, not torch's or holds other things. The message is a part of a
            sentence, without torch's advice to run the code in the file.
        OSError: no file, or one that cannot be read.
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
    except Exception:  # zipfile, pickletools and torch raise many kinds
        raise InputError("its content is not what torch wrote") from None


def _pickles(content: BinaryIO) -> Iterator[BinaryIO]:
    """The pickles in a file, whose members, of a zip file, have their checksums and are not compressed."""
    if content.read(4) != b"PK\3\4":  # before torch 1.6: magic number, version, system, content, names; then numbers
        content.seek(0)
        yield from (content for _ in range(5))
        return
    with zipfile.ZipFile(content) as archive:
        members = archive.infolist()
        if any(member.compress_size != member.file_size for member in members) or archive.testzip() is not None:
            raise InputError("its content differs from its checksums")
        yield from (io.BytesIO(archive.read(member)) for member in members if member.filename.lower().endswith(".pkl"))
