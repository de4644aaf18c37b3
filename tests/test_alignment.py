"""Aligned cohorts: the grid they are resampled on, copying or interpolating of voxels, and cached results."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from cohort_files import image, label, write_image
from smoothmorph.pipeline.cohorts import alignment
from smoothmorph.pipeline.cohorts.alignment import align_cohort
from smoothmorph.pipeline.cohorts.loading import load_samples
from smoothmorph.pipeline.cohorts.opening import read_cohort
from smoothmorph.pipeline.cohorts.preparation import prepare
from smoothmorph.pipeline.images.relative_position import in_voxels, resample
from smoothmorph.pipeline.settings.schema import CohortSettings, TrialSettings, parse
from smoothmorph.transforms.basics.errors import InputError

SHAPE = {2: (20, 24), 3: (10, 12, 8)}


def write_table(folder: Path, affines: dict[str, np.ndarray], voxels: dict[str, np.ndarray], labels=True) -> Path:
    lines = ["id,image" + (",label" if labels else "")]
    for name, affine in affines.items():
        write_image(folder / f"{name}.nii", voxels[name], affine)
        write_image(folder / f"{name}-label.nii", label(voxels[name].shape), affine)
        lines.append(f"{name},{name}.nii" + (f",{name}-label.nii" if labels else ""))
    (folder / "subjects.csv").write_text("\n".join(lines))
    return folder


def aligned(folder: Path, dims: int, align: str, **more):
    settings = CohortSettings(reader="table", file="subjects.csv", spatial_dims=dims, align=align, **more)
    cohort = align_cohort(read_cohort(settings, folder), settings, ["a"])
    return cohort, load_samples(cohort, cohort.ids)


@pytest.mark.parametrize("dims", [2, 3])
def test_without_alignment_the_cohort_is_the_same(tmp_path, dims):
    voxels = {name: image(seed, SHAPE[dims]) for seed, name in enumerate("ab")}
    write_table(tmp_path, dict.fromkeys("ab", np.eye(4)), voxels)
    settings = CohortSettings(reader="table", file="subjects.csv", spatial_dims=dims)
    cohort = read_cohort(settings, tmp_path)
    assert align_cohort(cohort, settings, ["a"]) is cohort


@pytest.mark.parametrize("dims", [2, 3])
def test_centre_copies_voxels_where_only_axes_and_places_differ(tmp_path, dims):
    first = image(0, SHAPE[dims])
    turned = np.flip(np.swapaxes(first, 0, 1), 0).copy()  # the same image with other axes
    place = np.eye(4)
    place[:2, :2] = [[0, 1], [-1, 0]]
    place[:3, 3] = 100, 50, -7
    write_table(tmp_path, {"a": np.eye(4), "b": place}, {"a": first, "b": turned}, labels=False)
    for size in (None, tuple(length + 6 for length in SHAPE[dims]), tuple(length - 4 for length in SHAPE[dims])):
        _, samples = aligned(tmp_path, dims, "centre", size=size)
        assert torch.equal(samples["b"]["image"], samples["a"]["image"])
        plain = CohortSettings(reader="table", file="subjects.csv", spatial_dims=dims, size=size)
        stored = read_cohort(plain, tmp_path)
        assert torch.equal(samples["a"]["image"], stored.load(stored["a"])["image"])


def test_centre_is_what_padding_does_to_crops_of_one_grid(tmp_path):
    shapes = {"a": (13, 16, 11), "b": (12, 14, 12), "c": (9, 20, 10)}
    voxels = {name: image(number, shape) for number, (name, shape) in enumerate(shapes.items())}
    write_table(tmp_path, dict.fromkeys(shapes, np.eye(4)), voxels)
    _, centred = aligned(tmp_path, 3, "centre", size=(24, 24, 24), intensity="percentile")
    settings = CohortSettings(
        reader="table", file="subjects.csv", spatial_dims=3, size=(24, 24, 24), intensity="percentile"
    )
    for name, sample in load_samples(read_cohort(settings, tmp_path), shapes).items():
        assert torch.equal(centred[name]["image"], sample["image"])
        assert torch.equal(centred[name]["label"], sample["label"])


@pytest.mark.parametrize("dims", [2, 3])
def test_centre_brings_other_voxels_onto_those_of_the_reference(tmp_path, dims):
    def ramp(shape, spacing):  # the first world coordinate, from the centre of the grid
        first = (np.arange(shape[0]) - (shape[0] - 1) / 2) * spacing
        return np.broadcast_to(first.reshape(-1, *[1] * (dims - 1)), shape).astype(np.float32)

    fine, coarse = SHAPE[dims], tuple(length // 2 for length in SHAPE[dims])
    affines = {"a": np.diag([2.0, 2, 2, 1]), "b": np.diag([1.0, 1, 1, 1])}
    write_table(tmp_path, affines, {"a": ramp(coarse, 2.0), "b": ramp(fine, 1.0)})
    cohort, samples = aligned(tmp_path, dims, "centre")
    assert samples["b"]["spacing"] == samples["a"]["spacing"] == (2.0,) * dims
    inner = (0, slice(2, -2))  # without the edges, where smoothing has no data
    torch.testing.assert_close(samples["b"]["image"][inner], samples["a"]["image"][inner])
    assert samples["b"]["label"].dtype == torch.int16
    assert set(samples["b"]["label"].unique().tolist()) <= {0, 1, 2}
    assert cohort.reading["reference"] == "a"


def scene(shape, shift, width) -> np.ndarray:
    """Smooth blobs around the centre, moved by ``shift`` voxels."""
    generator = np.random.default_rng(3)
    grid = np.stack(np.meshgrid(*[np.arange(length) for length in shape], indexing="ij"), axis=-1)
    middle, values = (np.array(shape) - 1) / 2, np.zeros(shape)
    for _ in range(12):
        centre = middle + generator.uniform(-0.25, 0.25, len(shape)) * shape + shift
        values += generator.uniform(0.3, 1) * np.exp(-((grid - centre) ** 2).sum(-1) / (2 * width**2))
    return values.astype(np.float32)


@pytest.mark.parametrize("dims", [2, 3])
def test_affine_finds_the_shift_keeps_it_and_repeats_it(tmp_path, dims, monkeypatch):
    shape = (48, 40, 36)[:dims]
    shift = np.array([4, -3, 2][:dims])
    voxels = {"a": scene(shape, 0 * shift, 4), "b": scene(shape, shift, 4)}
    write_table(tmp_path, dict.fromkeys("ab", np.eye(4)), voxels)
    monkeypatch.setenv("SMOOTHMORPH_CACHE", str(tmp_path / "kept"))
    cohort, samples = aligned(tmp_path, dims, "affine")
    assert torch.equal(samples["a"]["image"][0], torch.from_numpy(voxels["a"]))  # the reference is not interpolated
    before = np.abs(voxels["b"] - voxels["a"]).mean()
    assert float((samples["b"]["image"] - samples["a"]["image"]).abs().mean()) < 0.25 * before
    (kept,) = (tmp_path / "kept" / "affine").iterdir()
    transform = np.array(json.loads(kept.read_text()))
    # world and voxel coordinates are equal here: x in the reference is x + shift in the other image
    middle = np.array([*(np.array(shape) - 1) / 2, *[0] * (3 - dims), 1])
    assert (transform @ middle - middle)[:dims] == pytest.approx(shift, abs=0.5)

    def refuse(*_):
        raise AssertionError("it has been found before")

    monkeypatch.setattr(alignment, "register_affine", refuse)
    again = pickle.loads(pickle.dumps(cohort))  # as when it is sent to another process
    assert torch.equal(again.load(again["b"])["image"], samples["b"]["image"])
    kept.write_text("[[1, 2")  # damaged: it is computed again
    with pytest.raises(AssertionError, match="found before"):
        cohort.load(cohort["b"])


def test_another_content_is_another_map(tmp_path, monkeypatch):
    found = []
    monkeypatch.setattr(alignment, "register_affine", lambda *_: found.append(1) or np.eye(4))
    large = {name: np.zeros((80, 80, 64), np.float32) for name in "abc"}  # fingerprints read only parts of them
    for number, name in enumerate("abc"):
        large[name][40, 40, 30 + number] = 1
    write_table(tmp_path, dict.fromkeys("abc", np.eye(4)), large, labels=False)
    aligned(tmp_path, 3, "affine")
    assert len(found) == 2
    aligned(tmp_path, 3, "affine")
    assert len(found) == 2


def test_where_nothing_can_be_kept_it_is_found_each_time(tmp_path, monkeypatch):
    monkeypatch.setattr(alignment, "register_affine", lambda *_: np.eye(4))
    (tmp_path / "file").touch()
    monkeypatch.setenv("SMOOTHMORPH_CACHE", str(tmp_path / "file" / "under"))
    voxels = {name: image(seed, SHAPE[3]) for seed, name in enumerate("ab")}
    write_table(tmp_path, dict.fromkeys("ab", np.eye(4)), voxels)
    _, samples = aligned(tmp_path, 3, "affine")
    assert torch.equal(samples["b"]["image"][0], torch.from_numpy(voxels["b"]))


def test_faults_are_sentences(tmp_path):
    voxels = {name: image(seed, SHAPE[2]) for seed, name in enumerate("ab")}
    plane = np.eye(4)[:, [0, 2, 1, 3]]
    write_table(tmp_path, {"a": np.eye(4), "b": plane}, voxels)
    with pytest.raises(InputError, match=r"b\.nii and .*a\.nii are slices of different planes"):
        aligned(tmp_path, 2, "centre")
    with pytest.raises(InputError, match="no subject 'nobody'"):
        aligned(tmp_path, 2, "centre", reference="nobody")
    with pytest.raises(InputError, match=r"cohort\.reference is 'a', but cohort.align is none"):
        aligned(tmp_path, 2, "none", reference="a")
    with pytest.raises(InputError, match=r"cohort\.align is 'affine', but the images of .* phantom are on one grid"):
        read_cohort(CohortSettings(align="affine"))


def test_the_first_training_subject_is_the_reference_and_part_of_the_data(tmp_path):
    voxels = {name: image(seed, SHAPE[2]) for seed, name in enumerate("abcdefgh")}
    write_table(tmp_path, dict.fromkeys(voxels, np.eye(4)), voxels)

    def prepared(**cohort):
        values = {"reader": "table", "file": "subjects.csv", **cohort}
        split = {"train": 0.5, "validation": 0.25, "test": 0.25}
        return prepare(parse(TrialSettings, {"cohort": values, "split": split}, "test"), tmp_path)

    centred = prepared(align="centre")
    assert centred.cohort.reading["reference"] == centred.split.train[0]
    other = prepared(align="centre", reference=centred.split.train[1])
    assert len({centred.fingerprint, other.fingerprint, prepared().fingerprint}) == 3


def test_settings_of_before_keep_their_ids():
    assert "align" not in TrialSettings().identity()["cohort"]
    assert "reference" not in TrialSettings().identity()["cohort"]
    assert parse(TrialSettings, {"cohort": {"align": "centre"}}, "x").identity()["cohort"]["align"] == "centre"


def test_resampling_by_hand():
    values = torch.arange(6.0).view(1, 6)
    halves = np.array([[1, 0.5], [0, 1]])
    expected = torch.tensor([[0.5, 1.5, 2.5, 3.5, 4.5, 2.5]])  # half of the last voxel lies outside
    torch.testing.assert_close(resample(values, halves, (6,), order=1), expected)
    shifted = np.array([[1.0, 2], [0, 1]])
    assert resample(values.short(), shifted, (6,), order=0).tolist() == [[2, 3, 4, 5, 0, 0]]
    large = torch.tensor([[2**62 + 1, 2**62 + 3, 614454277, 0, 7, 2**62 + 1]])  # not exact in 64-bit floats
    assert resample(large, shifted, (6,), order=0).tolist() == [[614454277, 0, 7, 2**62 + 1, 0, 0]]
    coarse = np.array([[4.0, 1.5], [0, 1]])
    noise = torch.tensor([[1.0, -1] * 32])
    assert resample(noise, coarse, (14,), order=1)[:, 2:].abs().max() < 0.05  # noise is smoothed away, not sampled


def test_almost_whole_voxels_become_whole():
    nearly = np.eye(4)
    nearly[:3] += 1e-6
    assert np.array_equal(in_voxels(nearly, (20, 20, 20), whole=False), np.eye(4))
    half = np.eye(4)
    half[:3, 3] = 0.5, -0.5, 2.2
    assert in_voxels(half.copy(), (20, 20, 20), whole=True)[:3, 3].tolist() == [1, 0, 2]
    assert in_voxels(half.copy(), (20, 20, 20), whole=False)[:3, 3].tolist() == [0.5, -0.5, 2.2]
