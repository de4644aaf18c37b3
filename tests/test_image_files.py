"""Headers of image files: voxels equal those of ITK and nibabel, and faulty or hostile files give one sentence."""

import gzip
import os
import zlib
from pathlib import Path

import itk
import nibabel as nib
import numpy as np
import pytest
import torch

from smoothmorph.pipeline.images.reading import load_file
from smoothmorph.pipeline.images.volumes import read_volume, stored_type
from smoothmorph.transforms import InputError, read_field, write_field
from world_cases import GRIDS, itk_transform, make_field, rotation

SHAPES = {2: (4, 3), 3: (4, 3, 2)}
SPACING, ORIGIN = (1.5, 2.5, 3.5), (10.0, -20.0, 30.0)
TYPES = ["uint8", "int16", "uint16", "int32", "uint32", "float32", "float64"]
"""The voxel types that ITK's Python package supports."""


def turned(dims: int) -> np.ndarray:
    return rotation(*[10, -20, 30] if dims == 3 else [30])


def voxels(dims: int, kind: str) -> np.ndarray:
    values = np.arange(np.prod(SHAPES[dims])).reshape(SHAPES[dims]) * 3 - (0 if kind.startswith("u") else 20)
    return values.astype(kind)


def itk_image(dims: int, kind: str = "int16"):
    image = itk.image_from_array(np.ascontiguousarray(voxels(dims, kind).T))
    image.SetSpacing(SPACING[:dims])
    image.SetOrigin(ORIGIN[:dims])
    image.SetDirection(itk.matrix_from_array(np.ascontiguousarray(turned(dims))))
    return image


def refused(path: Path, sentence: str, read=load_file) -> None:
    """The file is refused in one sentence of a readable length."""
    with pytest.raises(InputError) as caught:
        read(path)
    message = str(caught.value)
    assert sentence in message
    assert path.name in message
    assert len(message.splitlines()) == 1
    assert len(message.replace(str(path.parent), "")) < 400


# Valid files


@pytest.mark.parametrize("compression", [False, True], ids=["raw", "compressed"])
@pytest.mark.parametrize("suffix", [".mha", ".mhd", ".nrrd", ".nii", ".nii.gz"])
@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("kind", TYPES)
def test_voxels_and_places_are_those_of_itk(kind, dims, suffix, compression, tmp_path):
    path = tmp_path / f"image{suffix}"
    itk.imwrite(itk_image(dims, kind), str(path), compression=compression)
    values, affine = load_file(path)
    np.testing.assert_array_equal(values.numpy(), voxels(dims, kind))
    assert stored_type(path) == np.dtype(kind)
    world = len(affine) - 1
    sign = np.diag([-1, -1, 1][:world])
    linear = np.eye(world)
    linear[:dims, :dims] = turned(dims) * SPACING[:dims]
    np.testing.assert_allclose(affine[:-1, :dims], (sign @ linear)[:, :dims], atol=1e-5)
    np.testing.assert_allclose(affine[:dims, -1], (sign @ np.resize(ORIGIN, world))[:dims], atol=1e-5)


def test_numbers_with_the_most_significant_byte_first(tmp_path):
    values = voxels(3, "int16")
    big = values.astype(">i2").tobytes(order="F")
    mha(tmp_path / "big.mha", big, ElementType="MET_SHORT", BinaryDataByteOrderMSB="True")
    nrrd(tmp_path / "big.nrrd", big, type="short", endian="big")
    nib.save(nib.Nifti1Image(values, np.eye(4), nib.Nifti1Header(endianness=">")), tmp_path / "big.nii")
    for suffix in ("mha", "nrrd", "nii"):
        np.testing.assert_array_equal(load_file(tmp_path / f"big.{suffix}")[0].numpy(), values)


@pytest.mark.parametrize("space", ["left-posterior-superior", "LAS", "right-anterior-superior"])
def test_nrrd_names_its_space(space, tmp_path):
    path = nrrd(tmp_path / "image.nrrd", space=space, directions="(2,0,0) (0,3,0) (0,0,4)", origin="(1,2,3)")
    image = itk.imread(str(path))
    ours = load_file(path)[1]
    theirs = np.column_stack(
        [itk.array_from_matrix(image.GetDirection()) * list(image.GetSpacing()), image.GetOrigin()]
    )
    np.testing.assert_allclose(ours[:3], np.diag([-1, -1, 1]) @ theirs, atol=1e-9)


def test_a_scaled_image_is_what_nibabel_reads(tmp_path):
    path = tmp_path / "scaled.nii.gz"
    nib.save(nib.Nifti1Image(np.linspace(-3, 5, 60).reshape(5, 4, 3), np.eye(4), dtype=np.int16), path)
    np.testing.assert_array_equal(load_file(path)[0].numpy(), nib.load(path).get_fdata())
    assert stored_type(path) == np.float32


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_an_extension_of_the_header_is_passed_over(suffix, tmp_path):
    image = nib.Nifti1Image(voxels(3, "int16"), np.eye(4))
    image.header.extensions.append(nib.nifti1.Nifti1Extension("afni", b"<AFNI/>" * 999))
    nib.save(image, tmp_path / f"image{suffix}")
    np.testing.assert_array_equal(load_file(tmp_path / f"image{suffix}")[0].numpy(), voxels(3, "int16"))


def test_a_field_of_mhd_and_raw_is_read(tmp_path):
    """A field as elastix writes it: deformationField.mhd and .raw."""
    field = make_field(GRIDS["oblique"][0])
    image = itk.imread(str(write_field(tmp_path / "field.mha", field)), pixel_type=itk.Vector[itk.F, 3])
    itk.imwrite(image, str(tmp_path / "deformationField.mhd"))
    assert (tmp_path / "deformationField.raw").exists()
    read = read_field(tmp_path / "deformationField.mhd")
    np.testing.assert_allclose(read.displacement, field.displacement, atol=1e-4)
    assert read.fixed.is_same(field.fixed)


@pytest.mark.parametrize("last", [False, True], ids=["components first", "components last"])
def test_a_field_of_nrrd_with_its_components_first_or_last(last, tmp_path):
    values = np.zeros((4, 3, 2, 3), np.float32)
    values[..., 2] = np.arange(24).reshape(4, 3, 2)
    axes = "domain domain domain vector" if last else "vector domain domain domain"
    directions = "(1,0,0) (0,1,0) (0,0,1)"
    path = nrrd(
        tmp_path / "field.nrrd",
        (values if last else np.moveaxis(values, -1, 0)).tobytes(order="F"),
        sizes="4 3 2 3" if last else "3 4 3 2",
        dimension="4",
        type="float",
        kinds=axes,
        directions=f"{directions} none" if last else f"none {directions}",
    )
    theirs = itk_transform(path)
    expected = [*theirs.TransformPoint([2.0, 1, 1])]
    moved = read_field(path).map_points(torch.tensor([[-2.0, -1, 1]]))[0].numpy()
    np.testing.assert_allclose(np.array([-1, -1, 1]) * moved, expected, atol=1e-5)


# Label maps


@pytest.mark.parametrize("kind", ["int64", "uint32", "int32"])
@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_a_label_of_64_bits_is_read_as_it_is(suffix, kind, tmp_path):
    labels = np.zeros((4, 3, 2), kind)
    labels[1, 1, 1], labels[2, 2, 0] = 614454277, np.iinfo(kind).max
    path, data = tmp_path / f"labels{suffix}", labels.tobytes(order="F")
    code = {"int64": "MET_LONG_LONG", "uint32": "MET_UINT", "int32": "MET_INT"}[kind]
    if suffix == ".mha":
        mha(path, data, ElementType=code)
    elif suffix == ".nrrd":
        nrrd(path, data, type=kind)
    else:
        nib.save(nib.Nifti1Image(labels, np.eye(4), dtype=kind), path)
    read = read_volume(path, labels=True).values
    assert read.dtype.is_floating_point is False
    np.testing.assert_array_equal(read[0].numpy(), labels)


@pytest.mark.parametrize("kind", [np.int16, np.uint8, np.int32])
@pytest.mark.parametrize("highest", [1, 5, 131])
def test_labels_that_nibabel_scaled_are_integers(highest, kind, tmp_path):
    """A float label map saved with an integer type: nibabel scales it, so 1 becomes 0.99998 or 0.9999999998."""
    labels = np.arange(60).reshape(5, 4, 3) % (highest + 1)
    path = tmp_path / "labels.nii.gz"
    image = nib.Nifti1Image(labels.astype(float), np.eye(4))
    image.set_data_dtype(kind)
    nib.save(image, path)
    if kind is np.uint8 and highest == 131:  # 1.9 steps between labels: the labels are lost
        refused(path, "a label map holds integers only", lambda name: read_volume(name, labels=True))
        return
    np.testing.assert_array_equal(read_volume(path, labels=True).values[0].numpy(), labels)


@pytest.mark.parametrize(("slope", "value"), [(0.5, 1.5), (0.9, 0.9), (0.01, 0.48), (1, 0)])
def test_scaled_values_that_are_no_labels(slope, value, tmp_path):
    stored = np.zeros((4, 3, 2), np.int16)
    stored[1, 1, 1] = round(value / slope)
    image = nib.Nifti1Image(stored, np.eye(4))
    image.header.set_slope_inter(slope, 0)
    nib.save(image, tmp_path / "scaled.nii")
    raw = bytearray((tmp_path / "scaled.nii").read_bytes())
    raw[112:116] = np.float32(slope).tobytes()
    raw[352:] = stored.tobytes(order="F")
    (tmp_path / "scaled.nii").write_bytes(raw)
    if value:
        sentence = f"holds {value:g}; a label map holds integers only"
        refused(tmp_path / "scaled.nii", sentence, lambda path: read_volume(path, labels=True))
    else:
        assert not read_volume(tmp_path / "scaled.nii", labels=True).values.any()


def test_a_label_beyond_64_bits(tmp_path):
    labels = np.full((4, 3, 2), 2**64 - 1, np.uint64)
    path = mha(tmp_path / "labels.mha", labels.tobytes(), ElementType="MET_ULONG_LONG")
    refused(path, "holds label 18446744073709551615", lambda name: read_volume(name, labels=True))


# Faulty and hostile headers


def mha(path: Path, data: bytes = bytes(24), **changes: str | None) -> Path:
    """A file of 4x3x2 bytes; ``changes`` to its fields, None to leave one out."""
    fields = {
        "ObjectType": "Image", "NDims": "3", "BinaryData": "True", "BinaryDataByteOrderMSB": "False",
        "TransformMatrix": "1 0 0 0 1 0 0 0 1", "Offset": "0 0 0", "ElementSpacing": "1 1 1", "DimSize": "4 3 2",
        "ElementType": "MET_UCHAR",
    }  # fmt: skip
    last = changes.pop("ElementDataFile", "LOCAL")
    lines = {**fields, **changes, "ElementDataFile": last}
    path.write_bytes("".join(f"{key} = {value}\n" for key, value in lines.items() if value is not None).encode() + data)
    return path


MHA = {
    "NDims": {"-3": "NDims '-3'; expected 1 integer from 2 to 4", "0": "NDims '0'", "1000000": "NDims '1000000'",
              "3.5": "NDims '3.5'", "9" * 5000: "NDims '9999", "nan": "NDims 'nan'"},
    "DimSize": {"4 3": "DimSize '4 3'; expected 3 integers", "4 0 6": "DimSize '4 0 6'", "-4 -3 2": "DimSize '-4 -3 2'",
                "1024 1024 1024": "states 1024x1024x1024 voxels, more than 536,870,912", "4 3 3": "24 bytes of data",
                "4 3 1": "24 bytes of data, but its header states 12"},
    "Offset": {"nan 0 0": "Offset 'nan 0 0'; expected 3 finite numbers", "0 inf 0": "Offset '0 inf 0'",
               "1e999 0 0": "Offset", "1 2": "Offset '1 2'", "a b c": "Offset 'a b c'"},
    "ElementSpacing": {"0 1 1": "expected numbers above 0", "1 -1 1": "expected numbers above 0", "1 1 nan": "finite"},
    "TransformMatrix": {"1 0 0 0 1 0 0 0 inf": "finite", "1": "expected 9 finite numbers",
                        None: "has no direction cosines (its header has no TransformMatrix)"},
    "ElementType": {"MET_NONE": "ElementType 'MET_NONE'; expected one of", "MET_FLOAT_ARRAY": "ElementType"},
    "ElementNumberOfChannels": {"0": "1 integer from 1 to 64", "2": "24 bytes of data, but its header states 48"},
    "BinaryData": {"False": "BinaryData 'False'; expected one of true"},
    "CompressedData": {"True": "is truncated or damaged"},
    "HeaderSize": {"-1": "HeaderSize '-1'", "100": "HeaderSize '100'"},
    "DistanceUnits": {"um": "DistanceUnits 'um'; expected one of mm"},
    "Position": {"1 2 3": "has Offset and Position; keep one"},
    "offset": {"1 2 3": "has 'offset' twice"},
    "ObjectType": {"Tube": "ObjectType 'Tube'"},
    "ElementDataFile": {
        "LIST": "keeps its voxels in 'LIST'; expected the name of one file in the header's own folder",
        "%s%s%s%s.raw 1 10 1": "keeps its voxels in '%s%s%s%s.raw 1 10 1'", "/etc/passwd": "keeps its voxels in '/etc",
        "../secret.raw": "keeps its voxels in '../secret.raw'", "/dev/zero": "'/dev/zero'", "..": "'..'",
        "sub/x.raw": "'sub/x.raw'", "link.raw": "which is not a regular file of that folder", ".": "'.'",
        "folder": "which is not a regular file of that folder", "pipe": "which is not a regular file of that folder",
        "gone.raw": "which does not exist; put it there", "long.raw": "25 bytes of data, but its header states 24",
        "short.raw": "23 bytes of data", "c:\\x.raw": "keeps its voxels in", "": "keeps its voxels in ''",
    },
}  # fmt: skip
FAULTS = [(key, value, sentence) for key, values in MHA.items() for value, sentence in values.items()]


@pytest.fixture
def trap(tmp_path) -> Path:
    """A folder with files that a header could name, and a file outside of it."""
    folder = tmp_path / "images"
    (folder / "sub").mkdir(parents=True)
    (folder / "folder").mkdir()
    (tmp_path / "secret.raw").write_bytes(bytes(24))
    (folder / "link.raw").symlink_to(tmp_path / "secret.raw")
    os.mkfifo(folder / "pipe")
    for name, length in (("sub/x.raw", 24), ("long.raw", 25), ("short.raw", 23), ("good.raw", 24)):
        (folder / name).write_bytes(bytes(length))
    return folder


@pytest.mark.parametrize(
    ("key", "value", "sentence"), FAULTS, ids=[f"{key} {str(value)[:20]}" for key, value, _ in FAULTS]
)
def test_faults_of_metaimage(key, value, sentence, trap):
    refused(mha(trap / "image.mha", **{key: value}), sentence, read_volume)


def test_a_metaimage_is_read_from_one_file_beside_it(trap):
    assert not load_file(mha(trap / "image.mhd", b"", ElementDataFile="good.raw"))[0].any()


def test_a_metaimage_that_is_none(tmp_path):
    for content in (b"", b"NDims = 3\n", b"no header " * 999, b"\0" * 9999, b" " * (1 << 21)):
        (tmp_path / "image.mha").write_bytes(content)
        refused(tmp_path / "image.mha", "its ending says MetaImage, but it is not such a file")


def nrrd(path: Path, data: bytes = bytes(24), **changes: str | None) -> Path:
    """A file of 4x3x2 bytes; ``changes`` to its fields, None to leave one out."""
    names = {
        "directions": "space directions", "origin": "space origin", "units": "space units", "axisunits": "units",
        "frame": "measurement frame", "datafile": "data file", "line": "line skip", "byte": "byte skip",
    }  # fmt: skip
    fields = {
        "type": "uint8", "dimension": "3", "space": "left-posterior-superior", "sizes": "4 3 2", "encoding": "raw",
        "directions": "(1,0,0) (0,1,0) (0,0,1)", "kinds": "domain domain domain", "endian": "little",
        "origin": "(0,0,0)",
    }  # fmt: skip
    lines = [f"{names.get(key, key)}: {value}\n" for key, value in {**fields, **changes}.items() if value is not None]
    path.write_bytes(b"NRRD0004\n# a comment\n" + "".join(lines).encode() + b"key:=value\n\n" + data)
    return path


NRRD = {
    "units": {'"um" "um" "um"': "spaceunits 'um'; expected mm; write it in mm", '"m" "mm" "mm"': "spaceunits 'm'"},
    "axisunits": {'"um" "um" "um"': "units 'um'"},
    "space": {"scanner-xyz": "space 'scanner-xyz'; expected one of right-anterior-superior", "3D-left-handed": "space",
              "left-posterior-superior-time": "space 'left-post", None: "space 'without a name'", "RASTime": "space"},
    "dimension": {"0": "dimension '0'", "1000000": "dimension", "-3": "dimension", "4": "sizes '4 3 2'; expected 4"},
    "sizes": {"4 3": "sizes '4 3'", "1024 1024 1024": "more than 536,870,912", "4 3 -2": "sizes", "4 3 1": "24 byt"},
    "directions": {"(1,0,0) (0,1,0) (0,0,nan)": "3 finite numbers", "(1,0,0)": "expected 3 vectors, or none",
                   "(1,0) (0,1) (1,1)": "3 finite numbers", "none (1,0) (0,1)": "2 axes in space and 1 others",
                   None: "has no direction cosines", "(1,0,0) (0,1,0) x (0,0,1)": "expected 3 vectors"},
    "origin": {"(0,0,inf)": "3 finite numbers", "(0,0)": "3 finite numbers"},
    "encoding": {"hex": "encoding 'hex'; expected one of raw, gzip, gz", "ascii": "encoding", "bzip2": "encoding"},
    "line": {"1": "lineskip '1'"},
    "byte": {"-1": "byteskip '-1'", "3": "21 bytes of data, but its header states 24"},
    "type": {"block": "type 'block'", "uint16": "24 bytes of data, but its header states 48"},
    "kinds": {"domain domain": "expected 3 words", "domain domain vector": "expected domain"},
    "datafile": {"/etc/passwd": "keeps its voxels in '/etc/passwd'", "../secret.raw": "'../secret.raw'",
                 "LIST": "'LIST'", "x%03d.raw 1 3 1": "'x%03d.raw 1 3 1'", "link.raw": "not a regular file",
                 "/dev/zero": "'/dev/zero'", "long.raw": "25 bytes of data"},
}  # fmt: skip
NRRD_FAULTS = [(key, value, sentence) for key, values in NRRD.items() for value, sentence in values.items()]


@pytest.mark.parametrize(("key", "value", "sentence"), NRRD_FAULTS)
def test_faults_of_nrrd(key, value, sentence, trap):
    refused(nrrd(trap / "image.nrrd", **{key: value}), sentence, read_volume)


def test_a_nrrd_is_read_from_one_file_beside_it(trap):
    assert not load_file(nrrd(trap / "image.nrrd", b"", datafile="./good.raw"))[0].any()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"space": "right-anterior-superior"}, "its space is right-anterior-superior, and tools interpret its vectors"),
        ({"frame": "(0,1,0) (1,0,0) (0,0,1)"}, "its measurement frame turns them"),
        ({"datafile": "/etc/passwd"}, "keeps its voxels in '/etc/passwd'"),
    ],
)
def test_fields_whose_vectors_point_nobody_knows_where(changes, sentence, tmp_path):
    vector = {
        "dimension": "4", "sizes": "3 4 3 2", "type": "float", "kinds": "vector domain domain domain",
        "directions": "none (1,0,0) (0,1,0) (0,0,1)",
    }  # fmt: skip
    path = nrrd(tmp_path / "field.nrrd", bytes(4 * 72), **vector)
    assert not read_field(path).displacement.any()
    refused(nrrd(path, bytes(4 * 72), **vector, **changes), sentence, read_field)


def nifti(path: Path, data: bytes = bytes(48), gz: bool = False, **changes) -> Path:
    """A file of 4x3x2 int16 with ``changes`` to its header, which nibabel does not repair."""
    header = nib.Nifti1Header()
    header.set_data_shape((4, 3, 2))
    header.set_data_dtype(np.int16)
    header.set_sform(np.eye(4), 1)
    header["magic"], header["vox_offset"] = b"n+1", 352
    for key, value in changes.items():
        header[key] = value
    content = header.binaryblock + bytes(4) + data
    path.write_bytes(gzip.compress(content) if gz else content)
    return path


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"bitpix": 32}, "states voxels of type int16 and of 32 bits; expected 16 bits (bitpix)"),
        ({"dim": [3, 1024, 1024, 1024, 1, 1, 1, 1]}, "states 1024x1024x1024 voxels, more than 536,870,912"),
        ({"dim": [3, 512, 512, 512, 1, 1, 1, 1]}, "400 bytes of data"),
        ({"dim": [3, 4, 3, -2, 1, 1, 1, 1]}, "has dim 3, 4x3x-2"),
        ({"dim": [3, 4, 0, 2, 1, 1, 1, 1]}, "has dim 3, 4x0x2"),
        ({"dim": [0, 4, 3, 2, 1, 1, 1, 1]}, "has dim 0"),
        ({"dim": [3, 4, 3, 1, 1, 1, 1, 1]}, "400 bytes of data"),
        ({"vox_offset": np.nan}, "has vox_offset nan"),
        ({"vox_offset": -5}, "has vox_offset -5"),
        ({"vox_offset": 360}, "400 bytes of data, but its header states 408"),
        ({"datatype": 1536, "bitpix": 128}, "expected real numbers of at most 64 bits"),
        ({"datatype": 77}, "has datatype 77, which is not a NIfTI type"),
        ({"magic": b"ni1"}, "not a single NIfTI file with header and voxels"),
        ({"scl_slope": np.inf}, "has an infinite scl_slope"),
        ({"scl_slope": 2, "scl_inter": np.nan}, "the header of image.nii is damaged: Valid slope but invalid inter"),
    ],
)
@pytest.mark.parametrize("gz", [False, True], ids=["nii", "nii.gz"])
def test_faults_of_nifti(changes, sentence, gz, tmp_path):
    path = nifti(tmp_path / f"image.nii{'.gz' * gz}", gz=gz, **changes)
    if gz:  # its length is known only after decompression
        sentence = "header states" if "bytes" in sentence else sentence.replace("image.nii", "image.nii.gz")
    refused_with_path(path, sentence)


def refused_with_path(path: Path, sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        load_file(path)
    assert sentence in str(caught.value).replace(f"{path.parent}/", "")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("suffix", [".nii.gz", ".mha", ".nrrd"])
def test_compressed_voxels_are_read_no_farther_than_the_header_states(suffix, tmp_path):
    """A file of 64 kB that decompresses to 64 MiB instead of 24 bytes; and one that states 256 MiB but holds none."""
    path, much = tmp_path / f"image{suffix}", bytes(1 << 26)

    def written(data: bytes, sizes: tuple[int, int, int]) -> Path:
        words = " ".join(map(str, sizes))
        if suffix == ".mha":
            return mha(path, zlib.compress(data), CompressedData="True", DimSize=words)
        if suffix == ".nrrd":
            return nrrd(path, gzip.compress(data), encoding="gzip", sizes=words)
        return nifti(path, data, gz=True, dim=[3, *sizes, 1, 1, 1, 1], datatype=2, bitpix=8)

    refused(written(much, (4, 3, 2)), "that its header states")
    refused(written(b"", (1024, 512, 512)), "its header states 268435")
    refused(written(bytes(23), (4, 3, 2)), "truncated or damaged")


def test_a_device_or_a_pipe_is_no_image(tmp_path):
    os.mkfifo(tmp_path / "pipe.mha")
    refused(tmp_path / "pipe.mha", "is not a regular file")
    (tmp_path / "zero.nii").symlink_to("/dev/zero")
    refused(tmp_path / "zero.nii", "is not a regular file")
