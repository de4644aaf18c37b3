"""ITK's transform files: matrices by hand, every kind compared with ITK's reader, and hostile files."""

import random
import struct
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import h5py
import itk
import numpy as np
import pytest
import torch

from smoothmorph.transforms import Geometry, InputError, read_field, write_field
from smoothmorph.transforms.field_files import is_affine, lps
from smoothmorph.transforms.field_files.hdf5 import write_hdf5
from smoothmorph.transforms.field_files.linear import ANY, PLANAR, SPATIAL
from world_cases import GRIDS, make_field

GRID = {2: Geometry((8, 9), np.eye(3)), 3: Geometry((8, 9, 7), np.eye(4))}


def affine_of(path: Path, world: int = 3) -> np.ndarray:
    """The matrix of a file, in LPS mm."""
    assert is_affine(path)
    affine = read_field(path, GRID[world]).affine
    assert affine is not None
    return lps.turn(affine)


def refused(path: Path, sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        read_field(path, GRID[3])
    said = str(caught.value)
    assert str(path) in said
    assert sentence in said
    assert len(said.splitlines()) == 1
    assert len(said) < len(str(path)) + 400


def sentence_of(path: Path, like: Geometry) -> str | None:
    """Why a file is refused; None if it is read."""
    try:
        read_field(path, like)
    except InputError as error:
        return str(error)
    return None


def insight(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(["#Insight Transform File V1.0", "#Transform 0", *lines]) + "\n")
    return path


def matlab(path: Path, *vectors: tuple[str, list[float]], order: str = "<", single: bool = False) -> Path:
    """A file in MATLAB's level 4 format."""
    code, kind = (1000 if order == ">" else 0) + 10 * single, "f" if single else "d"
    with open(path, "wb") as file:
        for name, numbers in vectors:
            file.write(struct.pack(f"{order}5i", code, len(numbers), 1, 0, len(name) + 1) + name.encode() + b"\0")
            file.write(struct.pack(f"{order}{len(numbers)}{kind}", *numbers))
    return path


QUARTER = [0, -1, 0, 1, 0, 0, 0, 0, 1, 5, 6, 7]
"""A quarter turn about z and a translation."""
ABOUT = np.array([[0, -1, 0, 5 + 10 + 20], [1, 0, 0, 6 + 20 - 10], [0, 0, 1, 7], [0, 0, 0, 1]])
"""The same rotation about the centre c = (10, 20, 30): R (p - c) + c + t."""


@pytest.mark.parametrize("kind", ["MatrixOffsetTransformBase", "AffineTransform", "ScalableAffineTransform"])
@pytest.mark.parametrize("precision", ["double", "float"])
def test_a_matrix_turns_about_its_centre(kind, precision, tmp_path):
    name, centre = f"{kind}_{precision}_3_3", [10, 20, 30]
    lines = [f"Transform: {name}", "Parameters: 0 -1 0 1 0 0 0 0 1 5 6 7", "FixedParameters: 10 20 30"]
    files = [
        insight(tmp_path / "snap.txt", *lines),
        insight(tmp_path / "snap.tfm", lines[0], lines[2] + " ", "", lines[1]),
        matlab(tmp_path / "ants.mat", (name, QUARTER), ("fixed", centre), single=precision == "float"),
        matlab(tmp_path / "big-endian.mat", (name, QUARTER), ("fixed", centre), order=">"),
    ]
    for file in files:
        np.testing.assert_allclose(affine_of(file), ABOUT, atol=1e-12)


def test_a_matrix_in_two_dimensions(tmp_path):
    lines = ["Transform: MatrixOffsetTransformBase_double_2_2", "Parameters: 0 -1 1 0 5 6", "FixedParameters: 10 20"]
    np.testing.assert_allclose(
        affine_of(insight(tmp_path / "flat.txt", *lines), 2), [[0, -1, 35], [1, 0, 16], [0, 0, 1]], atol=1e-12
    )


@pytest.mark.parametrize(
    ("kind", "parameters", "fixed", "expected"),
    [
        ("TranslationTransform", "1 2 3", "", [[1, 0, 0, 1], [0, 1, 0, 2], [0, 0, 1, 3]]),
        ("ScaleTransform", "2 3 4", "1 1 1", [[2, 0, 0, -1], [0, 3, 0, -2], [0, 0, 4, -3]]),
        # half of a right angle's quaternion, (0, 0, sin 45°)
        ("VersorRigid3DTransform", "0 0 0.7071067811865476 5 6 7", "10 20 30", ABOUT[:3]),
        ("Euler3DTransform", "0 0 1.5707963267948966 5 6 7", "10 20 30 0", ABOUT[:3]),
        ("Euler3DTransform", "0 0 1.5707963267948966 5 6 7", "10 20 30", ABOUT[:3]),  # before ITK 4.9
        ("IdentityTransform", "", "", np.eye(4)[:3]),
    ],
)
def test_other_linear_kinds_by_hand(kind, parameters, fixed, expected, tmp_path):
    file = insight(
        tmp_path / "x.tfm", f"Transform: {kind}_double_3_3", f"Parameters: {parameters}", f"FixedParameters: {fixed}"
    )
    np.testing.assert_allclose(affine_of(file)[:3], expected, atol=1e-12)


def transforms(world: int) -> list:
    """One transform of each linear kind, with a centre and small parameters, so that it is near the identity."""
    generator, found = np.random.default_rng(3), []
    own = PLANAR if world == 2 else SPATIAL
    for name in (*[f"{kind}Transform" for kind in (*ANY, *own)], "MatrixOffsetTransformBase"):
        template = getattr(itk, name)
        key = (itk.D, world) if name[: -len("Transform")] in ANY else (itk.D, world, world)
        transform = (template[itk.D] if name[: -len("Transform")] in own else template[key]).New()
        fixed, numbers = list(transform.GetFixedParameters()), np.array(list(transform.GetParameters()))
        fixed[:world] = [11.0, -7.0, 5.0][: min(world, len(fixed))]
        transform.SetFixedParameters(itk.OptimizerParameters[itk.D](fixed))
        if name != "Rigid3DTransform":
            numbers = numbers + generator.uniform(0.01, 0.1, len(numbers))
        transform.SetParameters(itk.OptimizerParameters[itk.D](numbers.tolist()))
        found.append((name, transform))
    return found


@pytest.mark.parametrize("world", [2, 3])
@pytest.mark.parametrize("suffix", [".h5", ".tfm", ".mat"])
def test_every_linear_kind_that_itk_writes_maps_as_itk_maps(world, suffix, tmp_path):
    for name, transform in transforms(world):
        path = tmp_path / f"{name}{suffix}"
        itk.transformwrite([transform], str(path))
        with suppress(RuntimeError):  # ITK's Python package cannot read all its own files
            transform = itk.transformread(str(path))[0]
        matrix = affine_of(path, world)
        for point in (np.zeros(world), np.array([30.0, -20, 10])[:world]):
            expected = np.array(transform.TransformPoint(point.tolist()))
            np.testing.assert_allclose(matrix[:-1, :-1] @ point + matrix[:-1, -1], expected, atol=1e-3, err_msg=name)


@pytest.mark.parametrize("suffix", [".h5", ".tfm"])
@pytest.mark.parametrize("precision", [itk.F, itk.D])
def test_a_composite_that_itk_writes_is_applied_last_first(suffix, precision, tmp_path):
    """A rotation about a centre after a translation, in one composite."""
    turn, first = itk.AffineTransform[precision, 3].New(), itk.AffineTransform[precision, 3].New()
    turn.SetFixedParameters(itk.OptimizerParameters[itk.D]([10.0, 20, 30]))
    turn.SetParameters(itk.OptimizerParameters[precision](list(map(float, QUARTER))))
    first.Translate([1.0, 2, 3])
    composite = itk.CompositeTransform[precision, 3].New()
    composite.AddTransform(turn)
    composite.AddTransform(first)
    writer = itk.TransformFileWriterTemplate[precision].New()
    writer.SetFileName(str(tmp_path / f"both{suffix}"))
    writer.SetInput(composite)
    writer.Update()
    moved = np.eye(4)
    moved[:3, 3] = 1, 2, 3
    np.testing.assert_allclose(affine_of(tmp_path / f"both{suffix}"), ABOUT @ moved, atol=1e-5)


def test_the_affine_of_ants_is_what_ants_makes_of_it(tmp_path):
    ants = pytest.importorskip("ants")
    written = ants.create_ants_transform(
        transform_type="AffineTransform", dimension=3, matrix=np.array(QUARTER[:9]).reshape(3, 3),
        translation=(5, 6, 7), center=(10, 20, 30),
    )  # fmt: skip
    ants.write_transform(written, str(tmp_path / "ants.mat"))
    np.testing.assert_allclose(affine_of(tmp_path / "ants.mat"), ABOUT, atol=1e-5)
    np.testing.assert_allclose(written.apply_to_point((1.0, 2, 3)), (ABOUT @ [1, 2, 3, 1])[:3], atol=1e-4)


@pytest.mark.parametrize("world", [2, 3])
def test_itk_reads_the_composite_that_we_write(world, tmp_path):
    """The numbers of affine, grid and displacements, without an image."""
    field = make_field(GRIDS["2-D" if world == 2 else "oblique"][0], affine=True)
    composite = itk.transformread(str(write_field(tmp_path / "ours.h5", field)))[0]
    affine, displacement = (itk.down_cast(composite.GetNthTransform(index)) for index in (0, 1))
    np.testing.assert_allclose(itk.array_from_matrix(affine.GetMatrix()), lps.turn(field.affine)[:-1, :-1], atol=1e-6)
    image = displacement.GetDisplacementField()
    assert tuple(itk.size(image)) == field.fixed.lifted_shape
    np.testing.assert_allclose(list(image.GetSpacing()), field.fixed.spacing, atol=1e-9)
    np.testing.assert_allclose(itk.array_from_image(image).T, lps.vectors(replace(field, affine=None)))


# Files that are refused


FIELD_HEAD = "Transform: DisplacementFieldTransform_double_3_3"
UNIT = "0 0 0 1 1 1 1 0 0 0 1 0 0 0 1"
"""Origin, spacing and direction."""


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ((FIELD_HEAD, "Parameters: 0", f"FixedParameters: 700 700 700 {UNIT}"), "states 3.43e+08"),
        ((FIELD_HEAD, "Parameters: 0", f"FixedParameters: 1e30 1 1 {UNIT}"), "states 1e+30 vox"),
        ((FIELD_HEAD, "Parameters: 0", f"FixedParameters: -1 1 1 {UNIT}"), "must have whole sizes"),
        ((FIELD_HEAD, "Parameters: 0", "FixedParameters: 7"), "has 1 fixed parameters, expected 18"),
        (("Transform: BSplineTransform_double_3_3", "Parameters: 0", "FixedParameters: 900 900"), "a BSplineTransform"),
        (("Transform: GaussianExponentialDiffeomorphicTransform_double_3_3",), "holds a GaussianExponentialDiffeo"),
        (("Transform: AffineTransform_double_3_3", "Parameters: 1 0 0", "FixedParameters: 0 0 0"), "has 3 parameters"),
        (("Transform: AffineTransform_double_3_3", "Parameters: 1 nan"), "holds NaN or infinite numbers"),
        (("Transform: AffineTransform_double_3_3", "Parameters: " + "9" * 100_000), "is not a number"),
        (("Transform: TranslationTransform_double_3_3", "Parameters: 1e99 0 0"), "expected one that can be inverted"),
        (("Transform: AffineTransform_double_3_3", "Parameters: 1_0 0"), "'1_0' is not a number"),
        (("Transform: ../../x",), "'../../x', which is not a transform"),
        (("Transform: CompositeTransform_double_3_3", "ComponentTransformFile: /etc/passwd"), "is not expected"),
        (("Parameters: 1",), "is not expected"),
        (("Transform: CompositeTransform_double_3_3",) * 2, "a composite whose parts cannot be told apart"),
        (
            ("Transform: CompositeTransform_double_3_3", "Transform: IdentityTransform_double_2_2"),
            "in 2 and in 3 dimensions",
        ),
        (("Transform: Rigid3DTransform_double_3_3", "Parameters: 2 0 0 0 1 0 0 0 1 0 0 0", "FixedParameters: 0 0 0"),
         "its Rigid3DTransform is invalid"),
        (("Transform: ScaleTransform_double_3_3", "Parameters: 0 1 1", "FixedParameters: 0 0 0"), "can be inverted"),
    ],
)  # fmt: skip
def test_a_text_that_is_no_transform_is_one_sentence(lines, sentence, tmp_path):
    refused(insight(tmp_path / "x.tfm", *lines), sentence)


def test_bytes_that_are_no_text(tmp_path):
    (tmp_path / "x.txt").write_bytes(b"#Insight Transform File V1.0\nTransform: \xff\xfe\n")
    refused(tmp_path / "x.txt", "cannot read")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda content: content[:30], "ends before the numbers"),
        (lambda content: content[:10], "ends within a header"),
        (lambda content: struct.pack("<5i", 0, 2**30, 2**30, 0, 4) + content[20:], "ends before the numbers"),
        (lambda content: struct.pack("<5i", 0, -1, 1, 0, 4) + content[20:], "not a MATLAB level-4 file"),
        (lambda content: struct.pack("<5i", 0, 12, 1, 1, 4) + content[20:], "not a MATLAB level-4 file"),
        (lambda content: content + content, "expected one, or one composite"),
        (lambda content: content.replace(b"fixed", b"mixed"), "not alternating parameters and fixed parameters"),
        (lambda content: content.replace(b"Affine", b"\xff\xff\xff\xff\xff\xff"), "cannot read"),
        (lambda content: b"MATLAB 5.0 MAT-file, Platform: GLNXA64" + bytes(200), "not a MATLAB level-4 file"),
    ],
)
def test_a_damaged_mat_is_one_sentence(change, sentence, tmp_path):
    path = matlab(tmp_path / "x.mat", ("AffineTransform_double_3_3", QUARTER), ("fixed", [0, 0, 0]))
    path.write_bytes(change(path.read_bytes()))
    refused(path, sentence)


@pytest.fixture
def composite(tmp_path) -> Path:
    return write_field(tmp_path / "composite.h5", make_field(GRIDS["oblique"][0], affine=True))


HOSTILE = {
    "a link into another file": (
        lambda group: group.__setitem__("TransformParameters", h5py.ExternalLink("/etc/passwd", "/x")),
        "has no TransformParameters",
    ),
    "a link within the file": (
        lambda group: group.__setitem__("TransformParameters", h5py.SoftLink("/TransformGroup/1/TransformParameters")),
        "has no TransformParameters",
    ),
    "voxels in another file": (
        lambda group: group.create_dataset(
            "TransformParameters", shape=(65520,), dtype="f4", external=[("/etc/passwd", 0, 262080)]
        ),
        "are in other files",
    ),
    "a size without numbers": (
        lambda group: group.create_dataset("TransformParameters", shape=(3 << 29,), dtype="f4", chunks=(1 << 20,)),
        "cannot hold",
    ),
    "a size beyond every field": (
        lambda group: group.create_dataset("TransformParameters", shape=(1 << 40,), dtype="f4", chunks=(1 << 20,)),
        "cannot hold",
    ),
    "another filter": (
        lambda group: group.create_dataset("TransformParameters", data=np.zeros(65520, "f4"), compression="lzf"),
        "not compressed by gzip",
    ),
    "two axes": (
        lambda group: group.create_dataset("TransformParameters", data=np.zeros((3, 21840), "f4")),
        "expected a list of float32 or float64",
    ),
    "text": (
        lambda group: group.create_dataset("TransformParameters", data=["far"]),
        "expected a list of float32 or float64",
    ),
    "too few": (
        lambda group: group.create_dataset("TransformParameters", data=np.zeros(9, "f4")),
        "states 2.184e+04 voxels, but has 9 parameters",
    ),
    "NaN": (
        lambda group: group.create_dataset("TransformParameters", data=np.full(65520, np.nan, "f4")),
        "holds NaN or infinite numbers",
    ),
    "a group": (lambda group: group.create_group("TransformParameters"), "has no TransformParameters"),
    "nothing": (lambda group: None, "has no TranformParameters"),
}


@pytest.mark.parametrize("how", HOSTILE)
def test_a_hostile_composite_is_one_sentence(how, composite):
    change, sentence = HOSTILE[how]
    with h5py.File(composite, "a") as file:
        del file["TransformGroup/2/TransformParameters"]
        change(file["TransformGroup/2"])
    refused(composite, sentence)


def test_the_old_misspelled_names_are_read(composite):
    before = read_field(composite)
    with h5py.File(composite, "a") as file:
        for index in "12":
            for name in ("Parameters", "FixedParameters"):
                file.move(f"TransformGroup/{index}/Transform{name}", f"TransformGroup/{index}/Tranform{name}")
    assert torch.equal(read_field(composite).displacement, before.displacement)


def test_damaged_composites_are_read_or_refused_in_one_sentence(tmp_path, capfd):
    """These files are read in this process, so a crash would end the tests. ITK's reader crashes on some of them."""
    itk.transformwrite([itk.Euler3DTransform[itk.D].New()], str(tmp_path / "good.h5"))
    composite = write_field(tmp_path / "composite.h5", make_field(GRIDS["2-D"][0], affine=True))
    generator, refusals = random.Random(7), 0
    for good, like in ((tmp_path / "good.h5", GRID[3]), (composite, GRID[2])):
        content = good.read_bytes()
        used = [place for place in range(len(content)) if any(content[max(place - 8, 0) : place + 8])]
        for _ in range(60):
            damaged = bytearray(content)
            for _ in range(generator.choice([1, 2, 8])):
                damaged[generator.choice(used)] = generator.choice([0, 1, 255, generator.randrange(256)])
            (tmp_path / "damaged.h5").write_bytes(damaged)
            said = sentence_of(tmp_path / "damaged.h5", like)
            refusals += said is not None
            assert len((said or "").splitlines()) <= 1
    assert 20 < refusals < 120
    assert "HDF5-DIAG" not in capfd.readouterr().err


def of_its_heap(path: Path, change) -> Path:
    """A transform file with a ``change`` to its bytes, which gets the offsets of the type's reference and its heap."""
    itk.transformwrite([itk.Euler3DTransform[itk.D].New()], str(path))
    content = bytearray(path.read_bytes())
    with h5py.File(path) as file:
        at = file["TransformGroup/0/TransformType"].id.get_offset()
    (heap,) = struct.unpack_from("<Q", content, at + 4)
    change(content, at, heap)
    path.write_bytes(content)
    return path


def test_a_type_that_is_nowhere_is_refused(tmp_path):
    """A reference of zeros points to no string; ITK's reader crashes on it."""
    refused(
        of_its_heap(tmp_path / "x.h5", lambda content, at, heap: struct.pack_into("<IQI", content, at, 0, 0, 0)),
        "its TransformType is lost",
    )


def test_a_heap_of_strings_without_an_end_is_refused(tmp_path):
    """An object of size -16 before the requested one: HDF5's own reader loops for ever."""
    refused(
        of_its_heap(
            tmp_path / "x.h5",
            lambda content, at, heap: struct.pack_into("<HHIQ", content, heap + 16, 99, 0, 0, 2**64 - 16),
        ),
        "its TransformType is lost",
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_one_error_without_pages_of_the_library(capfd):
    with pytest.raises(OSError, match="No space left"):
        write_hdf5(Path("/dev/full"), 3, [("AffineTransform", np.array(QUARTER), np.zeros(3))])
    assert capfd.readouterr().err == ""
