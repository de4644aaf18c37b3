"""DICOM: every slice is placed by its own header, or refused in one sentence. Positions are computed by hand."""

from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import EnhancedMRImageStorage, ExplicitVRLittleEndian, MRImageStorage, RLELossless

from smoothmorph.pipeline.images.volumes import read_volume, stored_type
from smoothmorph.transforms import InputError

ROWS, COLUMNS, SLICES = 6, 5, 8
SPACING = (0.8, 1.2)
"""Distance in mm between rows, and between columns."""
FLAT = (1.0, 0, 0, 0, 1, 0)
UID = "1.2.826.0.1.3680043.2.1125."
VOXELS = np.arange(SLICES * ROWS * COLUMNS, dtype=np.int16).reshape(SLICES, ROWS, COLUMNS)


def straight(step=(0.0, 0, 4)) -> np.ndarray:
    """Positions (LPS mm) of slices at equal distances."""
    return np.array([10.0, -20, 30]) + np.arange(SLICES)[:, None] * np.array(step)


def dataset(kind: str, voxels: np.ndarray) -> Dataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = kind, ExplicitVRLittleEndian
    meta.MediaStorageSOPInstanceUID = UID + str(voxels.flat[0] + 7)
    made = Dataset()
    made.file_meta = meta
    made.SOPClassUID, made.SOPInstanceUID = kind, meta.MediaStorageSOPInstanceUID
    made.StudyInstanceUID, made.SeriesInstanceUID, made.FrameOfReferenceUID = UID + "1", UID + "2", UID + "3"
    made.Modality, made.PhotometricInterpretation, made.SamplesPerPixel = "MR", "MONOCHROME2", 1
    made.Rows, made.Columns = voxels.shape[-2:]
    made.BitsAllocated = made.BitsStored = 16
    made.HighBit, made.PixelRepresentation = 15, 1
    made.SliceThickness = 4
    made.PixelData = voxels.tobytes()
    return made


def place(target: Dataset, position, orientation=FLAT, spacing=SPACING) -> None:
    target.ImagePositionPatient = [f"{number:.6f}" for number in position]
    target.ImageOrientationPatient = [f"{number:.8f}" for number in orientation]
    target.PixelSpacing = list(spacing)


def write_series(folder: Path, positions: np.ndarray, change=None) -> Path:
    """Write one file per slice; the order of the names differs from that of the positions."""
    folder.mkdir()
    for number, position in enumerate(positions):
        made = dataset(MRImageStorage, VOXELS[number])
        made.InstanceNumber = number + 1
        place(made, position)
        if change is not None:
            change(number, made)
        made.save_as(folder / f"{(3 * number) % SLICES}.dcm", enforce_file_format=True)
    return folder


def write_frames(path: Path, positions: np.ndarray, change=None) -> Path:
    """Write one enhanced multi-frame file."""
    made = dataset(EnhancedMRImageStorage, VOXELS)
    made.NumberOfFrames = len(positions)
    shared, measures, orientation = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness, measures.SpacingBetweenSlices = list(SPACING), 4, 4
    orientation.ImageOrientationPatient = list(FLAT)
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
    made.SharedFunctionalGroupsSequence = [shared]
    groups = []
    for position in positions:
        group, plane = Dataset(), Dataset()
        plane.ImagePositionPatient = [float(number) for number in position]
        group.PlanePositionSequence = [plane]
        groups.append(group)
    made.PerFrameFunctionalGroupsSequence = groups
    if change is not None:
        change(made)
    made.save_as(path, enforce_file_format=True)
    return path


WRITERS = {
    "series": lambda folder, positions: write_series(folder / "series", positions),
    "frames": lambda folder, positions: write_frames(folder / "frames.dcm", positions),
}
TILT = np.radians(20)
STEPS = {
    "straight": (0, 0, 4),
    "tilted gantry": (0, 4 * np.sin(TILT), 4 * np.cos(TILT)),  # tilted by 20 degrees from the normal of the slices
    "table drift": (1, 0, 4),
}


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("name", STEPS)
def test_slices_lie_where_their_positions_say(name, writer, tmp_path):
    """The third column of the affine is the step from slice to slice (RAS), perpendicular or not."""
    positions = straight(STEPS[name])
    read = read_volume(WRITERS[writer](tmp_path, positions))
    expected = np.diag([-SPACING[1], -SPACING[0], 0, 1])
    expected[:3, 2] = np.array([-1, -1, 1]) * STEPS[name]
    expected[:3, 3] = -10, 20, 30
    np.testing.assert_allclose(read.grid.affine, expected, atol=1e-5)
    np.testing.assert_array_equal(read.values[0].numpy(), VOXELS.T)


@pytest.mark.parametrize("writer", WRITERS)
def test_slices_in_reverse_are_sorted(writer, tmp_path):
    read = read_volume(WRITERS[writer](tmp_path, straight()[::-1]))
    np.testing.assert_allclose(read.grid.affine[:3, 2:], [[0, -10], [0, 20], [4, 30]], atol=1e-5)
    np.testing.assert_array_equal(read.values[0].numpy(), VOXELS[::-1].T)


def test_compressed_frames_are_read(tmp_path):
    path = write_frames(tmp_path / "frames.dcm", straight(), lambda made: made.compress(RLELossless))
    np.testing.assert_array_equal(read_volume(path).values[0].numpy(), VOXELS.T)


def moved(*changes: tuple[int, tuple[float, float, float]]) -> np.ndarray:
    positions = straight()
    for start, shift in changes:
        positions[start:] += shift
    return positions


UNEVEN = {
    "a hole": (moved((4, (0, 0, 20))), "the distances between its slices differ by up to"),
    "a missing slice": (moved((4, (0, 0, 4))), "is a slice missing?"),
    "uneven distances": (
        moved((3, (0, 0, 0.5)), (5, (0, 0, -0.5))),
        "the distances between its slices differ by up to",
    ),
    "one position twice": (moved((4, (0, 0, -4))), "has several slices at one position"),
    "two times": (straight()[[0, 1, 2, 3, 0, 1, 2, 3]], "has several slices at one position"),
    "all at one position": (straight((0, 0, 0)), "has several slices at one position"),
    "a step aside": (moved((4, (2, 0, 0))), "mm off a straight line"),
}


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("name", UNEVEN)
def test_slices_that_are_no_grid_are_refused(name, writer, tmp_path):
    positions, sentence = UNEVEN[name]
    refused(WRITERS[writer](tmp_path, positions), sentence)


def refused(path: Path, sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        read_volume(path)
    assert sentence in str(caught.value)
    assert path.name in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


MIXED = {
    "orientation": ("ImageOrientationPatient", [1, 0, 0, 0, 0, 1], "have different orientations"),
    "spacing": ("PixelSpacing", [0.8, 1.3], "have different pixel spacings"),
    "size": ("Columns", COLUMNS - 1, "have different sizes"),
    "frame": ("FrameOfReferenceUID", UID + "9", "have different frames of reference"),
    "no position": (
        "ImagePositionPatient",
        None,
        "has no ImagePositionPatient, so the positions of its voxels are unknown",
    ),
    "no orientation": ("ImageOrientationPatient", None, "has no ImageOrientationPatient"),
    "no spacing": ("PixelSpacing", None, "has no PixelSpacing"),
    "sheared pixels": ("ImageOrientationPatient", [1, 0, 0, 0.1, 1, 0], "expected sizes above 0 and two perpendicular"),
    "no size": ("PixelSpacing", [0, 1], "expected sizes above 0"),
    "colour": ("SamplesPerPixel", 3, "it is in colour"),
    "mosaic": ("ImageType", ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"], "is a mosaic of slices"),
    "frames without places": ("NumberOfFrames", 3, "has 3 frames, but not the position of each frame"),
    "another series": ("SeriesInstanceUID", UID + "8", "holds 2 DICOM series"),
}


@pytest.mark.parametrize("name", MIXED)
def test_a_slice_that_does_not_belong_or_say_where_it_lies(name, tmp_path):
    keyword, value, sentence = MIXED[name]

    def change(number, made):
        if number == 5:
            if value is None:
                delattr(made, keyword)
            else:
                setattr(made, keyword, value)
            made.PixelData = bytes(2 * made.Rows * made.Columns * made.get("NumberOfFrames", 1))

    with pytest.raises(InputError) as caught:
        read_volume(write_series(tmp_path / "series", straight(), change))
    assert sentence in str(caught.value)


def test_slices_are_scaled_each_by_its_own_header(tmp_path):
    """The slope is 1 first and 0.5 later, as in PET. No value is rounded to the dtype of the first slice."""

    def change(number, made):
        made.RescaleSlope, made.RescaleIntercept, made.Modality = (0.5 if number > 3 else 1), 0, "PT"
        made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.128"

    read = read_volume(write_series(tmp_path / "series", straight(), change))
    expected = VOXELS * np.where(np.arange(SLICES) > 3, 0.5, 1)[:, None, None]
    np.testing.assert_array_equal(read.values[0].numpy(), expected.T)


def test_frames_scaled_differently_are_refused(tmp_path):
    def change(made):
        for number, group in enumerate(made.PerFrameFunctionalGroupsSequence):
            scale = Dataset()
            scale.RescaleSlope, scale.RescaleIntercept, scale.RescaleType = 1 + number, 0, "US"
            group.PixelValueTransformationSequence = [scale]

    refused(write_frames(tmp_path / "frames.dcm", straight(), change), "have different scales")


def test_one_slice_is_a_slice_in_space(tmp_path):
    folder = write_series(tmp_path / "series", straight())
    read = read_volume(folder / "3.dcm")  # the second slice
    assert read.grid.lifted_shape == (COLUMNS, ROWS, 1)
    np.testing.assert_allclose(read.grid.affine[:3, 2:], [[0, -10], [0, 20], [4, 34]], atol=1e-5)


def test_a_label_map_keeps_its_values(tmp_path):
    folder = write_series(tmp_path / "series", straight())
    labels = read_volume(folder, labels=True).values[0].numpy()
    assert labels.dtype == np.int64
    np.testing.assert_array_equal(labels, VOXELS.T)
    assert stored_type(folder) == np.int32


@pytest.mark.parametrize("bytes_off", [-240, -2, 2])
@pytest.mark.parametrize("number", [0, 5])
def test_voxels_of_another_length_than_the_header_states(bytes_off, number, tmp_path):
    """ITK would fill missing voxels with random memory."""

    def change(made):
        made.PixelData = (made.PixelData + bytes(2))[: len(made.PixelData) + bytes_off]

    refused(write_frames(tmp_path / "frames.dcm", straight(), change), "bytes of voxels, but its header states 480")
    series = write_series(tmp_path / "series", straight(), lambda at, made: change(made) if at == number else None)
    with pytest.raises(InputError, match="bytes of voxels, but its header states 60"):
        read_volume(series)


@pytest.mark.parametrize("cut", [1, 30, 200])
def test_truncated(cut, tmp_path):
    path = write_frames(tmp_path / "frames.dcm", straight())
    path.write_bytes(path.read_bytes()[:-cut])
    refused(path, "is truncated or damaged")
