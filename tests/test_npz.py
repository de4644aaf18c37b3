"""Untrusted .npz archives: the headers are compared with the content."""

import io
import json
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest

from smoothmorph.experiments.store.archive import KEPT_ARRAYS, read_examples
from smoothmorph.pipeline.evaluation.finished_pairs import FinishedPairs
from smoothmorph.transforms import Geometry, InputError, read_field
from smoothmorph.transforms.basics.npz import read_npz

GRID = Geometry((8, 6), np.eye(3))


def stated(descr: str, shape: tuple[int, ...], data: bytes = b"", order: str = "False") -> bytes:
    """An archive member with a given header."""
    header = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + data


def archive(path: Path, *members: tuple[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in members:
            file.writestr(name, content)
    return path


def whole(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", ">f8", "<f2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_warp_is_read_in_any_byte_order(dtype, order, tmp_path):
    numbers = np.arange(96).reshape(2, 8, 6).astype(dtype)
    np.savez(tmp_path / "warp.npz", vol=np.asarray(numbers, order=order))
    assert np.array_equal(read_field(tmp_path / "warp.npz", GRID).displacement.numpy(), numbers.astype(np.float32))


FAULTS = {
    "no array": ([("vol.npy", whole(np.zeros(3))), ("readme.txt", b"hello")], "members that are not arrays"),
    "no array inside": ([("vol.npy", b"hello")], "magic string is not correct|EOF"),
    "long double": ([("vol.npy", whole(np.zeros(3, np.longdouble)))], "is 3 .*, expected numbers of 64 bits"),
    "an absurd shape": ([("vol.npy", stated("'<f4'", (2, 1 << 40, 6), bytes(9)))], r"states 2x1\.09951e\+12x6 float32"),
    "a shape below 0": ([("vol.npy", stated("'<f4'", (-2, 8, 6)))], "impossible shape"),
    "many axes": ([("vol.npy", stated("'<f4'", (1,) * 60, bytes(4)))], "impossible shape"),
    "bytes left over": ([("vol.npy", whole(np.zeros(3)) + b"x")], "but has 153 bytes in all"),
    "a record": ([("vol.npy", stated("[('a', '<f4')]", (1,), bytes(4)))], "expected numbers of 64 bits"),
    "a header that is no header": ([("vol.npy", stated("'<f4'", (1,)).replace(b"'descr'", b"[[[[[[("))], "."),
    "an object": ([("vol.npy", whole(np.array([{}], dtype=object)))], "allow_pickle=False"),
    "one name twice": ([("vol.npy", whole(np.zeros(3)))] * 2, "two arrays with the same name"),
}  # fmt: skip


@pytest.mark.parametrize("how", FAULTS)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_fault_is_one_sentence(how, tmp_path):
    members, sentence = FAULTS[how]
    path = archive(tmp_path / "warp.npz", *members)
    with pytest.raises(ValueError, match=sentence) as caught:
        read_npz(path)
    assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(InputError, match=rf"cannot read {re.escape(str(path))} as a VoxelMorph warp: .*{sentence}"):
        read_field(path, GRID)


def test_an_archive_that_states_more_than_it_can_hold(tmp_path):
    """A zip bomb whose members share their bytes: a file of 300 bytes cannot hold 2^31 bytes."""
    path = archive(tmp_path / "warp.npz", ("vol.npy", whole(np.zeros(3))), compression=zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    at = content.index(b"PK\x01\x02")
    content[at + 24 : at + 28] = (2**31).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(ValueError, match="it states 2147483648 bytes in "):
        read_npz(path)


@pytest.mark.parametrize("at", [0.2, 0.5, 0.8])
def test_a_flipped_bit_is_noticed(at, tmp_path):
    np.savez(tmp_path / "x.npz", vol=np.random.default_rng(0).random(500))
    content = bytearray((tmp_path / "x.npz").read_bytes())
    content[int(at * len(content))] ^= 4
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(ValueError, match="CRC"):
        read_npz(tmp_path / "x.npz")


def test_only_the_named_arrays_are_read(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.ones(2), b=np.zeros(3))
    assert list(read_npz(tmp_path / "x.npz", ["b", "c"])) == ["b"]


# Archives of runs


@pytest.mark.parametrize("content", [b"", b"text", whole(np.zeros(3)), json.dumps([5]).encode()])
def test_a_finished_pair_that_is_damaged_is_measured_again(content, tmp_path):
    pairs = FinishedPairs(tmp_path)
    (tmp_path / "00000.npz").write_bytes(content)
    assert pairs.read(0, {"trial": "a", "moving": "b", "fixed": "c"}) is None


@pytest.mark.parametrize("row", [[5], "[" * 100_000, "no row"])
def test_a_finished_pair_without_a_row_is_measured_again(row, tmp_path):
    np.savez(tmp_path / "00000.npz", row=np.array(row if isinstance(row, str) else json.dumps(row)))
    assert FinishedPairs(tmp_path).read(0, {"trial": "a", "moving": "b", "fixed": "c"}) is None


def examples(**other: np.ndarray) -> dict[str, np.ndarray]:
    pictures = {name: np.zeros((3, 8, 6), np.float32) for name in ("moving", "fixed", "warped")}
    names = {name: np.array(["a", "b", "c"]) for name in ("moving_id", "fixed_id")}
    return {**pictures, "displacement": np.zeros((3, 2, 8, 6), np.float32), **names, **other}


def test_examples_are_read_without_the_velocity(tmp_path):
    np.savez(tmp_path / "examples.npz", **examples(velocity=np.zeros((3, 2, 4, 3))))
    assert set(read_examples(tmp_path / "examples.npz")) == set(KEPT_ARRAYS)


@pytest.mark.parametrize(
    "other",
    [
        {"fixed": np.zeros(())},
        {"fixed": np.zeros((3, 8, 6), int)},
        {"displacement": np.zeros((3, 3, 8, 6))},
        {"warped": np.zeros((2, 8, 6))},
        {"moving_id": np.zeros(3)},
        {"moving": np.zeros((3, 8, 6), np.longdouble)},
        {name: np.zeros((0, 8, 6)) for name in ("moving", "fixed", "warped")},
    ],
    ids=["no axes", "integers", "three components", "two pairs", "numeric names", "long double", "no pairs"],
)
def test_arrays_that_are_no_examples_are_one_sentence(other, tmp_path):
    np.savez(tmp_path / "examples.npz", **examples(**other))
    with pytest.raises(InputError, match=r"examples.npz (is damaged|has arrays that are not example pairs); delete"):
        read_examples(tmp_path / "examples.npz")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_refused(value, tmp_path):
    np.savez(tmp_path / "x.npz", a=np.array([1.0, value]))
    with pytest.raises(ValueError, match="its a holds NaN or infinite numbers"):
        read_npz(tmp_path / "x.npz")


def test_a_text_beyond_unicode_is_refused(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.array([0x110000], np.uint32).view("<U1"))
    with pytest.raises(ValueError, match="its a is not text"):
        read_npz(tmp_path / "x.npz")
