"""Random changes that make valid files hostile; a seeded generator makes every input reproducible.

An input is a small folder, ``{name: bytes}``. Containers are opened, changed inside and closed again, so that their
checksums stay valid.
"""

import copy
import gzip
import io
import json
import math
import re
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any

import numpy as np
import pandas as pd
import torch

Files = dict[str, bytes]
HEAD = 1 << 12
"""Number of bytes with headers: text is changed only there, numbers mostly there."""
OUTSIDE = "@OUTSIDE@"
"""Placeholder for a folder next to the input's; replaced on writing, because its path differs between runs."""
NUMBERS = (
    *("-1", "0", "1", "3", "1.5", "255", "65536", "1000000", "2147483648", "18446744073709551616", "1e300", "1e309"),
    *("nan", "inf", "-inf", "0777", "190:20:30", "1_000", "1e-320", "9" * 5000, "9" * 100_000),
)
WORDS = (
    *("", "x", "true", "null", "~", "[/x]", "[red]x", "%s%s%s%s", "%n", "../../../../evil", "/dev/zero", "none", "a b"),
    *(f"{OUTSIDE}/evil", f"{OUTSIDE}/secret.raw", "../../outside/secret.raw", '=HYPERLINK("http://x")', "x" * 5000),
    *(
        "\x1b[2Jx",
        "a\nb",
        "a\rb",
        "nul\0",
        "é",
        "\u202ex",
        "\ud800",
        "!!python/object/apply:os.system [ls]",
        "*a",
        "&a",
    ),
    *(
        "LOCAL",
        "LIST",
        "LIST\nimage.raw",
        "%s%s%s%s.raw 1 10 1",
        "{}",
        "[]",
        "[1, 2]",
        "{a: 1}",
        '"',
        "'",
        "#",
        ",",
        "\t",
    ),
)
MERGES = "m0: &m0 {k: 1}\n" + "".join(f"m{n}: &m{n} {{<<: [{', '.join([f'*m{n - 1}'] * 9)}]}}\n" for n in range(1, 10))
BOMBS = (
    "[" * 20_000,
    "{a: " * 5_000,
    '{"a":' * 20_000,
    "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10)),
    MERGES,
    "loop: &loop [*loop]",
)
VALUES: tuple[Any, ...] = (
    *(-1, 0, 1, 7, 1.5, 2**31, 10**30, 1e300, math.nan, math.inf, True, None, [], {}, [1], {"x": 1}, [[[]]]),
    *WORDS,
)


def mutated(seeds: Sequence[Files], rng: Random, changed: str = "") -> Files:
    """One of the seeds with one or a few changes in files whose names match ``changed``."""
    files = dict(rng.choice(seeds))
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        names = sorted(name for name in files if re.search(changed, name))
        if not names:
            break
        name, draw = rng.choice(names), rng.random()
        if draw < 0.02:
            del files[name]
        elif draw < 0.04:
            files[name] = files[rng.choice(names)]
        elif draw < 0.06:
            other = rng.choice(seeds).get(name, b"")
            files[name] = files[name][: rng.randrange(len(files[name]) + 1)] + other[rng.randrange(len(other) + 1) :]
        else:
            files[name] = change(name, files[name], rng)
    return files


def change(name: str, data: bytes, rng: Random) -> bytes:
    """Make one change that fits the file's format; if an earlier change broke the file, change its bytes."""
    if rng.random() < 0.2:
        return change_bytes(data, rng)
    ways = [way for ending, way in WAYS.items() if name.endswith(ending)]
    try:
        return rng.choice(ways or [change_bytes])(data, rng)
    except Exception:  # libraries can raise anything; the result depends on the input only
        return change_bytes(data, rng)


def change_bytes(data: bytes, rng: Random) -> bytes:
    """Flip a bit, replace a number, or cut off, add, move or repeat a part."""
    size = len(data)
    start = rng.randrange(min(size, HEAD // 8) or 1) if rng.random() < 0.6 else rng.randrange(size or 1)
    length = rng.choice((1, 2, 4, 8, 64, 512))
    before, part, after = data[:start], data[start : start + length], data[start + length :]
    way = rng.randrange(9)
    if way == 8:
        return change_digits(data, rng)
    if way == 0 and part:
        return before + bytes([part[0] ^ 1 << rng.randrange(8)]) + part[1:] + after
    if way in (1, 2):
        kind = rng.choice(("<b", "<h", "<i", "<q", "<f", "<d", ">h", ">i", ">f"))
        value = rng.choice((math.nan, math.inf, 1e30, -1.0, 0.0) if kind[1] in "fd" else (-1, 0, 1, 3, 127, -128))
        if kind[1] in "hiq" and rng.random() < 0.4:
            value = rng.choice((2 ** (8 * struct.calcsize(kind) - 1) - 1, -(2 ** (8 * struct.calcsize(kind) - 1))))
        number, start = struct.pack(kind, value), start & -2
        return data[:start] + number + data[start + len(number) :]
    if way == 3:
        return data[:start]
    if way == 4:
        return data + rng.randbytes(length)
    if way == 5:
        return before + after
    if way == 6:
        return before + part + part + after
    return before + rng.randbytes(length) + after


def change_digits(data: bytes, rng: Random) -> bytes:
    """Replace a decimal number in a binary header by another of the same length."""
    found = list(re.finditer(rb"\d+", data[:HEAD]))
    if not found:
        return data
    spot = rng.choice(found)
    size = len(spot[0])
    number = rng.choice((b"9" * size, b"0" * size, rng.randbytes(size), b"-1".rjust(size)[-size:], b"nan"))
    return data[: spot.start()] + number + data[spot.start() + len(number) :]


def change_text(data: bytes, rng: Random) -> bytes:
    """Replace a word or value by a hostile one, or remove, repeat or move a line; only in the first ``HEAD`` bytes."""
    head, rest = data[:HEAD], data[HEAD:]
    way = rng.randrange(10)
    if way < 6:
        pattern = rb"[^\s,;:=\[\]{}\"']+" if way < 3 else rb"(?<=[=:,]) *[^\r\n,]+"
        found = list(re.finditer(pattern, head))
        if found:
            spot = rng.choice(found)
            return head[: spot.start()] + _word(rng) + head[spot.end() :] + rest
    if way == 6:
        return _word(rng, BOMBS) + b"\n" + data
    lines = head.split(b"\n")
    one, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    if way == 7:
        del lines[one]
    elif way == 8:
        lines[one], lines[other] = lines[other], lines[one]
    else:
        lines.insert(one, lines[other] if rng.random() < 0.5 else _word(rng))
    return b"\n".join(lines) + rest


def _word(rng: Random, among: Sequence[str] | None = None) -> bytes:
    words = among or rng.choice((NUMBERS, WORDS))
    return rng.choice(words).encode("utf-8", "surrogatepass")


def change_tree(tree: Any, rng: Random, leaf: Callable[[Any, Random], Any] | None = None) -> Any:
    """A copy of nested mappings and lists with one change; ``leaf`` changes other values."""
    tree = copy.deepcopy(tree)
    places = list(_places(tree))
    if not places:
        return rng.choice(VALUES)
    inner, key = rng.choice(places)
    way = rng.randrange(6)
    if way == 0:
        del inner[key]
    elif way == 1 and isinstance(inner, dict):
        inner[rng.choice((*WORDS[:20], 5))] = inner.pop(key)
    elif way == 2:
        elsewhere, other = rng.choice(places)
        inner[key] = elsewhere[other]
    elif way == 3:
        inner[key] = rng.choice(([inner[key]], {"x": inner[key]}, [inner[key]] * 50))
    elif leaf is not None and rng.random() < 0.7:
        inner[key] = leaf(inner[key], rng)
    else:
        inner[key] = rng.choice(VALUES)
    return tree


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    for key in list(tree) if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ():
        yield tree, key
        yield from _places(tree[key])


def change_json(data: bytes, rng: Random) -> bytes:
    return json.dumps(change_tree(json.loads(data), rng)).encode()


def change_gzip(data: bytes, rng: Random) -> bytes:
    if rng.random() < 0.02:  # a gzip file may have many members: here 1 GiB of zeros
        return data + gzip.compress(bytes(1 << 24), mtime=0) * 64
    inner = gzip.decompress(data)
    way = change_tar if inner[257:262] == b"ustar" else change_bytes
    return gzip.compress(way(inner, rng), mtime=0)


def change_tar(data: bytes, rng: Random) -> bytes:
    if rng.random() < 0.3:
        return change_bytes(data, rng)
    written = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(data)) as old, tarfile.open(fileobj=written, mode="w") as new:
        members = old.getmembers()
        hostile = rng.randrange(len(members))
        for place, member in enumerate(members):
            content = old.extractfile(member)
            if place == hostile:
                _spoil(member, rng)
            new.addfile(member, content)
    return written.getvalue()


def _spoil(member: tarfile.TarInfo, rng: Random) -> None:
    kinds = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE, b"7")
    way = rng.randrange(4)
    if way == 0:
        member.name = rng.choice((*WORDS[:20], "/".join("d" * 1500), "C:\\x", "a/../../b", "..", ".", "a//b"))
    elif way == 1:
        member.type, member.linkname = rng.choice(kinds), rng.choice(("../../evil", f"{OUTSIDE}/secret.raw", "", "x"))
    elif way == 2:
        member.mode = rng.choice((0, 0o7777, 0o000))
    else:
        member.mtime, member.uid = rng.choice((-1, 2**40, 0)), rng.choice((0, 2**30))


def change_zip(data: bytes, rng: Random) -> bytes:
    """Change an ``.npz``: an array's header or numbers, a member's name; remove, repeat or replace a member."""
    with zipfile.ZipFile(io.BytesIO(data)) as old:
        members = [(name, old.read(name)) for name in old.namelist()]
    place = rng.randrange(len(members))
    name, content = members[place]
    way = rng.randrange(8)
    if way < 4 and name.endswith(".npy"):
        members[place] = name, _change_npy(content, rng)
    elif way == 4:
        members[place] = rng.choice((*WORDS[:20], "x.npy", name.removesuffix(".npy"))), content
    elif way == 5:
        del members[place]
    elif way == 6:
        members.append(rng.choice(((name, content), ("x.txt", b"x"), ("x.npy", b"x"), ("vol.npy", b""))))
    else:
        members[place] = name, change_bytes(content, rng)
    return closed_zip(members)


def closed_zip(members: Sequence[tuple[str, bytes]]) -> bytes:
    """An uncompressed zip file with a fixed date."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as new:
        for name, content in members:
            new._didModify = True  # so that two members with one name give no warning
            new.NameToInfo.pop(name, None)
            new.writestr(zipfile.ZipInfo(name), content)
    return written.getvalue()


def _change_npy(content: bytes, rng: Random) -> bytes:
    array = np.lib.format.read_array(io.BytesIO(content))
    header: dict[str, Any] = np.lib.format.header_data_from_array_1_0(array)
    numbers = array.tobytes()
    way = rng.randrange(3)
    if way == 0:
        shapes = [(10**9,), (10**6, 10**6, 10**6), (-1, 2), (), (0,), (*array.shape[:-1], 0), array.shape[::-1]]
        header["shape"] = rng.choice([*shapes, (*array.shape, 1), (1.5,), "x", (2**63,)])
    elif way == 1:
        kinds = (">f4", "<f16", "<f8", "<f2", "|O", "<c8", "<i4", "|S5", "<U3", "|V8", "<M8[s]", "|b1", "x", "<f4,<f4")
        header["descr"] = rng.choice(kinds)
    elif array.dtype.kind == "f" and array.size:
        array = array.copy()
        array.flat[rng.randrange(array.size)] = rng.choice((np.nan, np.inf, 1e38, -1e5))
        numbers = array.tobytes()
    text = (repr(header) + "\n").encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + numbers


def change_safetensors(data: bytes, rng: Random) -> bytes:
    """Change the header, the description in it, or a weight."""
    (length,) = struct.unpack("<Q", data[:8])
    header, weights = json.loads(data[8 : 8 + length]), data[8 + length :]
    way = rng.randrange(4)
    if way == 0:
        header = change_tree(header, rng)
    elif way < 3:
        told = header["__metadata__"]
        key = rng.choice(sorted(told))
        told[key] = json.dumps(change_tree(json.loads(told[key]), rng))
    else:
        start = rng.randrange(len(weights)) & -4
        number = struct.pack("<f", rng.choice((math.nan, math.inf, -math.inf, 1e38)))
        weights = weights[:start] + number + weights[start + 4 :]
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + weights


def change_pt(data: bytes, rng: Random) -> bytes:
    """Change a file saved by torch: a value, a tensor, or the bytes of its parts."""
    written = io.BytesIO()
    if rng.random() < 0.2:
        with zipfile.ZipFile(io.BytesIO(data)) as old:
            members = [(name, old.read(name)) for name in old.namelist()]
        place = rng.randrange(len(members))
        members[place] = members[place][0], change_bytes(members[place][1], rng)
        return closed_zip(members)
    torch.save(change_tree(torch.load(io.BytesIO(data), weights_only=True), rng, _change_leaf), written)
    return written.getvalue()


def _change_leaf(value: Any, rng: Random) -> Any:
    if not torch.is_tensor(value):
        return rng.choice((*VALUES, torch.tensor(3), torch.zeros(2)))
    ways: tuple[Callable[[torch.Tensor], Any], ...] = (
        *(_with(math.nan), _with(math.inf), _with(1e38), torch.Tensor.half, torch.Tensor.double, torch.Tensor.long),
        *(torch.Tensor.to_sparse, torch.Tensor.flatten, lambda t: t[:0], lambda t: t.to("meta"), torch.Tensor.tolist),
        *(lambda t: torch.complex(t.float(), t.float()), lambda t: torch.zeros(1).expand(10**6, 10**6)),
        lambda t: torch.quantize_per_tensor(t.float(), 0.1, 0, torch.qint8),
        lambda t: t.float().T.contiguous() if t.ndim == 2 else t[None],
    )
    return rng.choice(ways)(value)


def _with(number: float) -> Callable[[torch.Tensor], torch.Tensor]:
    def put(tensor: torch.Tensor) -> torch.Tensor:
        tensor = tensor.clone().float()
        tensor.view(-1)[0] = number
        return tensor

    return put


def change_parquet(data: bytes, rng: Random) -> bytes:
    """Remove, rename or convert a column, change a cell, or remove or repeat rows."""
    frame = pd.read_parquet(io.BytesIO(data))
    column, row = rng.choice(list(frame.columns)), rng.randrange(len(frame))
    way = rng.randrange(8)
    if way == 0:
        frame = frame.drop(columns=column)
    elif way == 1:
        frame = frame.rename(columns={column: rng.choice([name for name in WORDS if "\ud800" not in name])})
    elif way == 2:
        frame[column] = rng.choice(["x", None, True, pd.Timestamp("2020-01-01"), 1e300, -1, 10**18])
    elif way == 3:
        frame[column] = frame[column].astype(str)
    elif way == 4:
        frame = pd.concat([frame, frame.iloc[[row]]])
    elif way == 5:
        frame = frame.iloc[: rng.choice((0, 1, len(frame) - 1))]
    elif frame[column].dtype.kind in "if":
        frame[column] = frame[column].astype(float)
        frame.iloc[row, list(frame.columns).index(column)] = rng.choice((math.nan, math.inf, -1.0, 1e300, 0.5))
    else:
        frame.iloc[row, list(frame.columns).index(column)] = rng.choice(("x", "[/x]", '=HYPERLINK("http://x")', None))
    written = io.BytesIO()
    frame.to_parquet(written)
    return written.getvalue()


WAYS: dict[str, Callable[[bytes, Random], bytes]] = {
    **dict.fromkeys((".yaml", ".csv", ".tsv", ".txt", ".tfm", ".mha", ".mhd", ".nrrd", ".fcsv", "set"), change_text),
    **dict.fromkeys((".nii.gz", ".tar.gz"), change_gzip),
    ".dcm": change_digits,
    ".json": change_text,
    "json": change_json,
    ".tar": change_tar,
    ".npz": change_zip,
    ".safetensors": change_safetensors,
    ".pt": change_pt,
    ".parquet": change_parquet,
}
"""Changes by the ending of a file name; if two endings match, one is drawn at random."""
