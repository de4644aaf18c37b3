"""Fields that another tool wrote: their rows are those of the method that wrote them, whatever the kind of file."""

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch

from smoothmorph.pipeline import prepare
from smoothmorph.pipeline.evaluation.measured_pair import LabelMap, MeasuredPair
from smoothmorph.pipeline.evaluation.surface_elements import robust_hausdorff, surface_elements
from smoothmorph.pipeline.evaluation.vocabulary import METRICS
from smoothmorph.pipeline.settings.schema import TrialSettings, parse
from smoothmorph.pipeline.trial import run_trial
from smoothmorph.transforms import Geometry, InputError, PhysicalField, write_field


def settings_of(dims=2, **sections) -> TrialSettings:
    values = {
        "cohort": {"reader": "table", "file": "subjects.csv", "spatial_dims": dims},
        "split": {"train": 0.5, "validation": 0.25, "test": 0.25},
        "pairs": {"validation": 1, "test": 3},
        "model": {"method": "fields"},
        "fields": {"folder": "theirs"},
        "compute": {"device": "cpu", "threads": 1},
    }
    return parse(TrialSettings, {**values, **sections}, "test")


@pytest.fixture
def cohort(tmp_path):
    """A function (dims, offset) -> folder of volumes, or slices in space, of voxels 2 mm wide, ``offset`` mm apart."""

    def make(dims, offset=0.0):
        rng = np.random.default_rng(0)
        for subject in range(12):
            image = rng.random((12, 10, 8)[:dims] + (1,) * (3 - dims)).astype(np.float32)
            affine = np.diag([-2.0, 2, 2, 1])
            affine[0, 3] = offset * subject
            nib.save(nib.Nifti1Image(image, affine), tmp_path / f"image{subject}.nii.gz")
        lines = ["id,image", *(f"s{subject},image{subject}.nii.gz" for subject in range(12))]
        (tmp_path / "subjects.csv").write_text("\n".join(lines))
        (tmp_path / "theirs").mkdir()
        return tmp_path

    return make


def write_all(settings, root, ending=".nii.gz", name="{}_to_{}", shift=1.0):
    """Fields that move one voxel along the first axis, in the voxels of both images."""
    for moving, fixed in prepare(settings, root).test_pairs:
        grids = []
        for subject in (moving, fixed):
            image = nib.load(root / f"image{subject[1:]}.nii.gz")
            grids.append(Geometry(image.shape[: settings.cohort.spatial_dims], image.affine))
        displacement = torch.zeros(grids[1].axes, *grids[1].shape)
        displacement[0] = shift
        affine = grids[0].affine @ np.linalg.inv(grids[1].affine)
        field = PhysicalField(displacement, grids[1], None if np.allclose(affine, np.eye(4)) else affine)
        write_field(root / "theirs" / (name.format(moving, fixed) + ending), field)


@pytest.mark.parametrize(
    ("dims", "ending", "offset"),
    [
        (2, ".nii.gz", 0.0),
        (3, ".nii.gz", 0.0),
        (3, ".mha", 0.0),
        (3, ".npz", 0.0),
        (3, ".nii.gz", 3.0),
        (3, ".h5", 3.0),
    ],
)
def test_the_rows_are_those_of_the_displacement_in_voxels(dims, ending, offset, cohort, tmp_path):
    """The images may lie apart in the world: their voxels are compared, and a file says where it leads in mm."""
    root = cohort(dims, offset)
    settings = settings_of(dims, fields={"folder": "theirs", "file": "MOVING_to_FIXED" + ending})
    write_all(settings, root, ending)
    run_trial(settings, tmp_path / "trial", root)
    rows = pd.read_parquet(tmp_path / "trial" / "pairs.parquet")
    assert (rows["model"] == "fields").all()
    assert rows["seconds"].isna().all()  # nobody knows
    assert rows["displacement_magnitude"].to_numpy() == pytest.approx(1, abs=1e-4)
    assert rows["displacement_sdlogj"].to_numpy() == pytest.approx(0, abs=1e-4)
    samples = prepare(settings, root).samples
    for line in rows.to_dict("records"):
        moving, fixed = (samples[line[side]]["image"][0] for side in ("moving", "fixed"))
        shifted = torch.zeros_like(moving)
        shifted[:-1] = moving[1:]
        assert line["mse"] == pytest.approx(float((shifted - fixed).square().mean()), abs=1e-4)


def test_a_fault_in_the_files_is_one_sentence_that_names_the_pair(cohort, tmp_path):
    root = cohort(3)

    def run(**fields):
        run_trial(settings_of(3, fields=fields), tmp_path / str(len([*tmp_path.iterdir()])), root)

    with pytest.raises(InputError, match=r"model.method reads field files: give their folder as fields.folder.$"):
        run()
    with pytest.raises(InputError, match=r"fields.file = 'a.mha': expected MOVING or FIXED in the name"):
        run(folder="theirs", file="a.mha")
    with pytest.raises(InputError, match=r"^fields.file: MOVING_to_FIXED.foo has none of the endings .*: \.nii, \.nii"):
        run(folder="theirs", file="MOVING_to_FIXED.foo")
    with pytest.raises(InputError, match=r"^fields.folder: .*nowhere does not exist.$"):
        run(folder="nowhere")
    sentence = r"^there is no field of (s\d+) to (s\d+), .*theirs/\1_to_\2.nii.gz, nor for 2 more of the 3 test pairs.$"
    with pytest.raises(InputError, match=sentence):
        run(folder="theirs")
    settings = settings_of(3)
    write_all(settings, root)
    with pytest.raises(InputError, match=r"^fields.file = FIXED.nii.gz gives the pairs .* the same file, s\d+"):
        run(folder="theirs", file="FIXED.nii.gz")
    moving, fixed = prepare(settings, root).test_pairs[0]
    path = root / "theirs" / f"{moving}_to_{fixed}.nii.gz"
    other = Geometry((12, 10, 8), np.diag([-2.0, 2, 3, 1]))
    write_field(path, PhysicalField(torch.zeros(3, 12, 10, 8), other))
    with pytest.raises(
        InputError, match=rf"{path.name}, the field of {moving} to {fixed}, lies on .* expected the grid"
    ):
        run(folder="theirs")
    path.write_bytes(b"nothing")
    with pytest.raises(InputError, match=path.name):
        run(folder="theirs")
    with pytest.raises(InputError, match=r"fields.file = 'all.nii.gz'"):
        settings_of(3, fields={"file": "all.nii.gz"})


# Learn2Reg's HD95


@pytest.mark.parametrize(("dims", "area"), [(2, 4 * 0.5**0.5), (3, 8 * 3**0.5 / 8)])
def test_the_surface_of_a_voxel_is_a_diamond_or_an_octahedron(dims, area):
    mask = np.zeros((3,) * dims, bool)
    mask[(1,) * dims] = True
    places, areas = surface_elements(mask)
    assert len(places) == 2**dims
    assert set(places.ravel()) == {0.5, 1.5}
    assert areas.sum() == pytest.approx(area)


def test_each_element_counts_with_its_area():
    """Of a bar of 20 voxels and one 2 voxels longer, the elements beyond are 3 of 45 in number and less in length."""
    short, long = (np.zeros((3, 40), bool) for _ in range(2))
    short[1, 5:25], long[1, 5:27] = True, True
    assert robust_hausdorff(short, short) == 0
    assert robust_hausdorff(short, long, 100) == 2
    length = 2 * 21 + 4 * 0.5**0.5  # of the long one: 21 corners on each side and 4 at its ends
    beyond = 2 * 0.5**0.5  # its end, 2 voxels away
    assert robust_hausdorff(short, long, 100 * (1 - beyond / length) - 1e-6) == 1
    assert robust_hausdorff(short, long, 100 * (1 - beyond / length) + 1e-3) == 2


@pytest.mark.parametrize("dims", [2, 3])
def test_it_is_in_voxels_and_over_the_structures_in_both_maps(dims):
    maps = torch.zeros(2, 1, 1, *(12,) * dims, dtype=torch.long)
    maps[(0, 0, 0, 3) + (5,) * (dims - 1)] = 1
    maps[(1, 0, 0, 6) + (5,) * (dims - 1)] = 1
    maps[(1, 0, 0, 9) + (5,) * (dims - 1)] = 2
    names, image = {1: "dot", 2: "only fixed"}, torch.zeros(1, 1, *(12,) * dims)
    labels = LabelMap(maps[0], names, (2.0,) * dims), LabelMap(maps[1], names, (2.0,) * dims)
    pair = MeasuredPair(image, image, labels=labels, spacing=(2.0,) * dims)
    assert METRICS["hd95_l2r"](pair) == 3  # of each dot's corners, those on its far side are 3 voxels from the other's
    nothing = MeasuredPair(image, image, labels=(labels[0], LabelMap(maps[1] * 0, names, (2.0,) * dims)))
    assert np.isnan(METRICS["hd95_l2r"](nothing))
