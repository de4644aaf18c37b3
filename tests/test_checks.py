import numpy as np
import pytest
import torch

from cohort_files import image, label, neurite_id, write_image, write_neurite
from smoothmorph.pipeline.cohorts.checks import check_cohort
from smoothmorph.pipeline.cohorts.cohort import Subject
from smoothmorph.pipeline.cohorts.duplicates import Thumbnails, find_duplicates
from smoothmorph.pipeline.settings.schema import CohortSettings
from smoothmorph.transforms.basics.errors import InputError

NEURITE = CohortSettings(reader="neurite-oasis")


def test_a_sound_cohort(tmp_path):
    write_neurite(tmp_path)
    done = []
    report = check_cohort(NEURITE, tmp_path, lambda *progress: done.append(progress))
    assert report.ok
    assert (report.subjects, report.groups, report.faults, report.duplicates) == (5, 5, (), ())
    assert done == [(number, 5) for number in range(1, 6)]
    assert set(report.tables()) == {"shapes", "intensities", "labels"}
    assert report.tables()["shapes"].to_dict("records") == [{"shape": "20x24", "spacing": "1x1", "subjects": 5}]
    first = report.images.iloc[0]
    assert first["minimum"] == pytest.approx(image(1).min())
    assert first["p50"] == pytest.approx(np.median(image(1)))
    assert first["maximum"] == pytest.approx(image(1).max())


def test_label_presence(tmp_path):
    write_neurite(tmp_path, range(1, 5))
    one = label()
    one[one == 2] = 1
    write_image(tmp_path / neurite_id(3) / "slice_seg24.nii.gz", one[..., None])
    table = check_cohort(NEURITE, tmp_path).labels.set_index("name")
    # half of 20 rows x 23 columns for each label; 460 if label 1 has all
    assert table.loc["One", "subjects_percent"] == 100
    assert table.loc["One", "mean_voxels"] == (3 * 230 + 460) / 4
    assert table.loc["Two", "subjects_percent"] == 75
    assert table.loc["Two", "mean_voxels"] == 230
    assert table.loc["Three", "subjects_percent"] == 0


def test_it_reports_every_fault_and_goes_on(tmp_path):
    write_neurite(tmp_path, range(1, 8))
    (tmp_path / neurite_id(2) / "slice_norm.nii.gz").unlink()
    (tmp_path / neurite_id(3) / "slice_seg24.nii.gz").unlink()
    path = tmp_path / neurite_id(4) / "slice_norm.nii.gz"
    path.write_bytes(path.read_bytes()[:300])
    write_image(tmp_path / neurite_id(5) / "slice_norm.nii.gz", np.full((20, 24, 1), np.nan, np.float32))
    report = check_cohort(NEURITE, tmp_path)
    assert not report.ok
    assert len(report.faults) == 4
    for fault, number, word in zip(
        report.faults, (2, 3, 4, 5), ("no image", "no label", "truncated", "NaN"), strict=True
    ):
        assert neurite_id(number) in fault
        assert word in fault
    assert len(report.images) == 3
    assert all(fault in report.to_text() for fault in report.faults)
    assert "7 subjects in 7 groups, 4 of them faulty" in str(report)


def test_a_cohort_with_nothing_but_faults(tmp_path):
    write_neurite(tmp_path, range(1, 3))
    for number in (1, 2):
        (tmp_path / neurite_id(number) / "slice_norm.nii.gz").unlink()
    report = check_cohort(NEURITE, tmp_path)
    assert len(report.faults) == 2
    assert report.to_text()


def test_it_looks_at_the_stored_values(tmp_path):
    write_neurite(tmp_path)
    settings = CohortSettings(reader="neurite-oasis", intensity="minmax", size=(8, 8))
    assert check_cohort(settings, tmp_path).images["maximum"].iloc[0] == pytest.approx(image(1).max())
    assert check_cohort(settings, tmp_path).images["shape"].iloc[0] == "20x24"


def test_what_cannot_be_listed_is_an_error(tmp_path):
    with pytest.raises(InputError, match="is empty"):
        check_cohort(NEURITE, tmp_path)


def test_many_shapes_are_a_range(tmp_path):
    rows = ["id,image"]
    for number in range(8):
        write_image(tmp_path / f"{number}.nii", image(number, (20 + number, 30 - number)))
        rows.append(f"s{number},{number}.nii")
    (tmp_path / "list.csv").write_text("\n".join(rows))
    report = check_cohort(CohortSettings(reader="table", file="list.csv"), tmp_path)
    assert report.tables()["shapes"].to_dict("records") == [{"spacing": "1x1", "shape": "20-27x23-30", "subjects": 8}]
    assert "labels" not in report.tables()


def _smooth(generator: torch.Generator, shape=(32, 32)) -> torch.Tensor:
    coarse = torch.randn((1, 1, *[size // 4 for size in shape]), generator=generator)
    return torch.nn.functional.interpolate(coarse, shape, mode="bilinear" if len(shape) == 2 else "trilinear")[0]


@pytest.mark.parametrize("count", [2, 3, 8, 600])
def test_duplicates_are_found_and_others_are_not(count):
    generator = torch.Generator().manual_seed(count)
    common = 3 * _smooth(generator)  # so that all images correlate, as brains do
    thumbnails = Thumbnails()
    for number in range(count):
        thumbnails.add(Subject(f"s{number}", f"s{number}"), common + _smooth(generator))
    assert find_duplicates(thumbnails) == ()
    last = torch.from_numpy(thumbnails.vectors[-1]).view(1, 32, 32)
    thumbnails.add(Subject("copy", "copy"), 2 * last + 1)  # identical up to scale and offset
    noise = 0.08 * last.std() * torch.randn(last.shape, generator=generator)
    thumbnails.add(Subject("rescan", f"s{count - 1}"), last + noise)
    pairs = {(pair.first, pair.second): pair for pair in find_duplicates(thumbnails)}
    copy = pairs[f"s{count - 1}", "copy"]
    assert copy.identical
    assert not copy.same_group
    if count > 2:  # with four subjects, three of six pairs cannot be outliers
        assert set(pairs) == {(f"s{count - 1}", "copy"), (f"s{count - 1}", "rescan"), ("copy", "rescan")}
        rescan = pairs[f"s{count - 1}", "rescan"]
        assert rescan.same_group
        assert not rescan.identical
        assert rescan.correlation == pytest.approx(1 / np.sqrt(1 + 0.08**2), abs=2e-3)


def test_repeat_scans_of_everybody_are_found():
    generator = torch.Generator().manual_seed(0)
    common = 3 * _smooth(generator)
    thumbnails = Thumbnails()
    for number in range(20):
        brain = common + _smooth(generator)
        for scan in range(2):
            thumbnails.add(
                Subject(f"s{number}-{scan}", f"s{number}-{scan}"),
                brain + 0.1 * torch.randn(brain.shape, generator=generator),
            )
    assert {(pair.first[:-2], pair.second[:-2]) for pair in find_duplicates(thumbnails)} == {
        (f"s{number}", f"s{number}") for number in range(20)
    }


def test_duplicates_of_different_shape_and_three_axes():
    generator = torch.Generator().manual_seed(1)
    thumbnails = Thumbnails()
    images = [_smooth(generator, (60, 48, 52)) for _ in range(6)]
    images.append(torch.nn.functional.interpolate(images[2][None], (50, 52, 44), mode="trilinear")[0])
    for number, voxels in enumerate(images):
        thumbnails.add(Subject(f"s{number}", f"s{number}"), voxels)
    assert thumbnails.vectors[0].shape == (40**3,)
    assert [(pair.first, pair.second) for pair in find_duplicates(thumbnails)] == [("s2", "s6")]


@pytest.mark.parametrize(("dims", "count"), [(2, 40), (3, 4)])
def test_phantoms_are_no_duplicates(dims, count):
    report = check_cohort(CohortSettings(spatial_dims=dims, subjects=count))
    assert report.ok
    assert report.duplicates == ()


def test_real_neurite_oasis_has_one_suspected_pair(real_data):
    report = check_cohort(NEURITE, real_data / "neurite-oasis-2d")
    assert report.ok
    assert (report.subjects, report.groups) == (414, 413)
    (pair,) = report.duplicates
    assert (pair.first, pair.second) == (neurite_id(79), neurite_id(193))
    assert pair.correlation == pytest.approx(0.984, abs=1e-3)
    assert pair.same_group
    assert not pair.identical
    assert report.labels["subjects_percent"].min() > 92
    assert report.images["maximum"].min() == pytest.approx(0.44, abs=0.01)


def test_real_hippocampus_has_none(real_data):
    report = check_cohort(CohortSettings(reader="decathlon", spatial_dims=3), real_data / "Task04_Hippocampus")
    assert report.ok
    assert report.duplicates == ()
    assert report.tables()["shapes"]["shape"].tolist() == ["31-43x40-59x24-46"]
    assert [difference.split("; ")[1][:15] for difference in report.differences] == ["set cohort.size"]


def test_what_a_study_would_refuse_is_told_once_per_kind(tmp_path):
    generator = np.random.default_rng(0)
    grids = {"a": ((20, 24), 1.0), "b": ((20, 24), 2.0), "c": ((18, 24), 2.0), "d": ((16, 24), 1.0)}
    for name, (shape, spacing) in grids.items():
        affine = np.diag([spacing, 1.0, 1.0, 1.0])
        write_image(tmp_path / f"{name}.nii.gz", generator.random(shape, np.float32), affine)
    (tmp_path / "subjects.csv").write_text("id,image\n" + "".join(f"{name},{name}.nii.gz\n" for name in grids))
    settings = CohortSettings(reader="table", file="subjects.csv")
    report = check_cohort(settings, tmp_path)
    assert report.ok  # each can be read
    spacing, shape = report.differences
    assert spacing.startswith("b has voxels of 2x1 mm but a has 1x1 mm; ")
    assert shape.startswith("c has 18x24 voxels but a has 20x24; set cohort.size")
    assert f"what a study would refuse\n{spacing}\n{shape}" in report.to_text()
    assert check_cohort(settings.model_copy(update={"size": (20, 24)}), tmp_path).differences == (spacing,)
    assert check_cohort(settings.model_copy(update={"align": "centre"}), tmp_path).differences == ()


def test_an_image_that_is_too_flat_to_register_is_a_fault(tmp_path):
    for name in "ab":
        write_image(tmp_path / f"{name}.nii.gz", np.random.default_rng(0).random((20, 20, 1), np.float32))
    (tmp_path / "subjects.csv").write_text("id,image\na,a.nii.gz\nb,b.nii.gz\n")
    report = check_cohort(CohortSettings(reader="table", file="subjects.csv", spatial_dims=3), tmp_path)
    assert len(report.faults) == 2
    assert "the image of a has 20x20x1 voxels" in report.faults[0]
    assert report.faults[0].endswith("set cohort.spatial_dims to 2.")
