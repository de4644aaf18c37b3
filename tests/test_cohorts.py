import gzip
import json
import time
from dataclasses import replace

import nibabel
import numpy as np
import pytest
import torch
from monai.data.dataset import CacheDataset
from monai.transforms.compose import Compose
from monai.transforms.intensity.dictionary import ScaleIntensityd
from monai.transforms.transform import Transform

from cohort_files import SHAPE, image, label, neurite_id, write_image, write_neurite
from smoothmorph.pipeline import data_list, loading_transforms
from smoothmorph.pipeline.cohorts import loading
from smoothmorph.pipeline.cohorts.alignment import align_cohort
from smoothmorph.pipeline.cohorts.checks import check_cohort
from smoothmorph.pipeline.cohorts.loading import Transforms, load_samples
from smoothmorph.pipeline.cohorts.opening import read_cohort
from smoothmorph.pipeline.settings.schema import CohortSettings
from smoothmorph.transforms.basics.errors import InputError

NEURITE = CohortSettings(reader="neurite-oasis")


@pytest.fixture
def root(tmp_path):
    return write_neurite(tmp_path / "neurite")


class Watched(Transform):
    """Loads like a cohort, or by ``load``, and records the subject."""

    def __init__(self, cohort, tell, load=None):
        self.tell, self.load = tell, load or cohort.transform

    def __call__(self, item):
        self.tell(item["id"])
        return self.load(item)


@pytest.fixture
def table(tmp_path):
    """A function that writes CSV rows and reads them as a cohort."""

    def read(text: str | bytes, **settings):
        (tmp_path / "subjects.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
        for number in range(1, 4):
            write_image(tmp_path / f"{number}.nii", image(number))
            write_image(tmp_path / f"{number}-label.nii", label())
        return read_cohort(CohortSettings(reader="table", file="subjects.csv", **settings), tmp_path)

    return read


def test_neurite_subjects_names_and_tensors(root):
    cohort = read_cohort(NEURITE, root)
    assert cohort.ids == tuple(neurite_id(number) for number in range(1, 6))
    assert cohort.label_names == {1: "One", 2: "Two", 3: "Three"}
    sample = cohort.load(cohort.subjects[1])
    assert type(sample["image"]) is torch.Tensor
    assert sample["image"].dtype == torch.float32
    assert sample["image"].is_contiguous()
    assert torch.equal(sample["image"], torch.from_numpy(image(2))[None])
    assert sample["label"] is not None
    assert sample["label"].dtype == torch.int16
    assert torch.equal(sample["label"], torch.from_numpy(label().astype(np.int16))[None])
    assert sample["landmarks"] is None
    assert sample["spacing"] == (1.0, 1.0)


def test_suspected_duplicates_and_repeat_scans_share_a_group(tmp_path):
    write_neurite(tmp_path, [79, 80, 193])
    write_neurite(tmp_path, [80])
    (tmp_path / neurite_id(80)).rename(tmp_path / "OASIS_OAS1_0080_MR2")
    write_neurite(tmp_path, [80])
    groups = {subject.id: subject.group for subject in read_cohort(NEURITE, tmp_path).subjects}
    assert groups[neurite_id(193)] == groups[neurite_id(79)]
    assert groups["OASIS_OAS1_0080_MR2"] == groups[neurite_id(80)] != groups[neurite_id(79)]


def test_spacing_is_that_of_the_real_axes(tmp_path):
    write_neurite(tmp_path, [1, 2])
    affine = np.array([[-0.5, 0, 0, 80], [0, 0, 3, 0], [0, -2, 0, 96], [0, 0, 0, 1]])
    for name in ("slice_norm", "slice_seg24"):
        path = tmp_path / neurite_id(1) / f"{name}.nii.gz"
        write_image(path, nibabel.Nifti1Image.from_filename(path).get_fdata(dtype=np.float32), affine)
    assert read_cohort(NEURITE, tmp_path).load(read_cohort(NEURITE, tmp_path).subjects[0])["spacing"] == (0.5, 2.0)


def test_neurite_in_three_dimensions(tmp_path):
    for number in (1, 2):
        write_image(tmp_path / neurite_id(number) / "aligned_norm.nii.gz", image(number, (6, 7, 8)))
        write_image(tmp_path / neurite_id(number) / "aligned_seg35.nii.gz", label((6, 7, 8)))
    (tmp_path / "seg35_labels.txt").write_text("1 One\n2 Two\n")
    cohort = read_cohort(CohortSettings(reader="neurite-oasis", spatial_dims=3), tmp_path)
    assert cohort.load(cohort.subjects[0])["image"].shape == (1, 6, 7, 8)


def test_the_first_so_many_after_exclusion(root):
    settings = CohortSettings(reader="neurite-oasis", subjects=2, exclude=(neurite_id(1),))
    cohort = read_cohort(settings, root)
    assert cohort.ids == (neurite_id(2), neurite_id(3))
    assert cohort.left_out == {neurite_id(1), neurite_id(4), neurite_id(5)}


def test_intensity_and_size(root):
    def first(**settings):
        cohort = read_cohort(CohortSettings(reader="neurite-oasis", **settings), root)
        return cohort.load(cohort.subjects[0])

    original = torch.from_numpy(image(1))[None]
    low, high = original.min(), original.max()
    torch.testing.assert_close(first(intensity="minmax")["image"], (original - low) / (high - low))
    percentile = first(intensity="percentile")["image"]
    low, high = np.percentile(image(1), [1, 99])
    torch.testing.assert_close(percentile, ((original - low) / (high - low)).clamp(0, 1).float())
    resized = first(size=(24, 20))  # two more rows at each end, two fewer columns
    assert torch.equal(resized["image"][:, 2:-2], original[:, :, 2:-2])
    assert not resized["image"][:, [0, 1, -2, -1]].any()
    assert torch.equal(resized["label"][0, 2:-2], torch.from_numpy(label().astype(np.int16))[:, 2:-2])


@pytest.mark.filterwarnings("error")
def test_percentiles_that_coincide_are_refused(root):
    voxels = np.zeros((*SHAPE, 1), np.float32)
    voxels[3, 4] = 0.5
    path = write_image(root / neurite_id(2) / "slice_norm.nii.gz", voxels)
    cohort = read_cohort(NEURITE.model_copy(update={"intensity": "percentile"}), root)
    with pytest.raises(InputError, match=rf"^98 % of the voxels of {path} are 0, so its intensities cannot be scaled"):
        cohort.load(cohort.subjects[1])


def _break(root, name, how):
    path = root / neurite_id(2) / f"slice_{name}.nii.gz"
    voxels = nibabel.Nifti1Image.from_filename(path).get_fdata(dtype=np.float32)
    affine = np.eye(4)
    if how == "missing":
        path.unlink()
        return
    if how in ("cut", "no trailer"):
        path.write_bytes(path.read_bytes()[: -4 if how == "no trailer" else len(path.read_bytes()) // 2])
        return
    if how == "text":
        path.write_text("not an image")
        return
    if how == "empty":
        path.write_bytes(b"")
        return
    if how == "not compressed":
        path.write_bytes(gzip.decompress(path.read_bytes()))
        return
    if how == "no affine":
        header = bytearray(gzip.decompress(path.read_bytes()))
        header[252:256], header[280:328] = b"\0\0\2\0", bytes(48)  # NIfTI's qform_code, sform_code, srow_x to srow_z
        path.write_bytes(gzip.compress(header))
        return
    if how == "nan":
        voxels[3, 4] = np.nan
    elif how == "inf":
        voxels[3, 4] = -np.inf
    elif how == "constant":
        voxels[:] = 0.25
    elif how == "complex":
        voxels = voxels.astype(np.complex64) * (1 + 1j)
    elif how == "3-D":
        voxels = np.repeat(voxels, 2, axis=2)
    elif how == "half":
        voxels[3, 4] = 1.5
    elif how == "negative":
        voxels[3, 4] = -1
    elif how == "unnamed":
        voxels[3, 4] = 7
    elif how == "shape":
        voxels = voxels[:-1]
    elif how == "shifted":
        affine[0, 3] = 0.5
    write_image(path, voxels, affine)


@pytest.mark.parametrize(
    ("name", "how", "sentence"),
    [
        ("norm", "cut", "is truncated or damaged"),
        ("norm", "no trailer", "is truncated or damaged"),
        ("norm", "text", "is truncated or damaged"),
        ("norm", "empty", "cannot read .* as an image"),
        ("norm", "not compressed", r"as an image: it is not gzip-compressed; rename it to \.nii"),
        ("norm", "complex", "its voxels are complex64, expected real numbers"),
        ("norm", "no affine", "has voxel spacing 0x0 mm; every spacing must be positive"),
        ("norm", "nan", "holds NaN or infinite voxels"),
        ("norm", "inf", "holds NaN or infinite voxels"),
        ("norm", "constant", r"is constant \(every voxel is 0.25\)"),
        ("norm", "3-D", "has 20x24x2 voxels, expected 2 axes"),
        ("seg24", "cut", "is truncated or damaged"),
        ("seg24", "half", "holds 1.5; a label map holds integers only"),
        ("seg24", "nan", "holds nan; a label map holds integers only"),
        ("seg24", "negative", "holds label -1"),
        ("seg24", "unnamed", "holds label 7, which"),
        ("seg24", "shape", "has 19x24 voxels, but its image has 20x24"),
        ("seg24", "shifted", "lies up to 0.5 mm away from its image"),
    ],
)
def test_each_fault_is_one_sentence_with_the_file(root, name, how, sentence):
    _break(root, name, how)
    cohort = read_cohort(NEURITE, root)
    cohort.load(cohort.subjects[0])
    with pytest.raises(InputError, match=sentence) as error:
        cohort.load(cohort.subjects[1])
    assert str(root / neurite_id(2) / f"slice_{name}.nii.gz") in str(error.value)
    assert "\n" not in str(error.value)
    assert str(error.value).endswith(".")


@pytest.mark.parametrize(("name", "kind"), [("norm", "image"), ("seg24", "label")])
def test_a_subject_without_a_file_is_named(root, name, kind):
    _break(root, name, "missing")
    with pytest.raises(InputError, match=f"{neurite_id(2)} has no {kind}"):
        read_cohort(NEURITE, root)


def test_faults_of_the_folder_and_of_the_settings(root, tmp_path):
    def fails(sentence, settings=NEURITE, folder=root):
        with pytest.raises(InputError, match=sentence):
            read_cohort(settings, folder)

    fails("needs a data folder", folder=None)
    fails("does not exist", folder=tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    fails("is empty", folder=tmp_path / "empty")
    fails("is not a folder", folder=root / "seg4_labels.txt")
    fails("holds no subject folders", folder=root / neurite_id(1))
    fails("'seg35' is unknown", CohortSettings(reader="neurite-oasis", labels="seg35"))
    fails("exclude names 'nobody'", CohortSettings(reader="neurite-oasis", exclude=("nobody",)))
    fails("has only 5", CohortSettings(reader="neurite-oasis", subjects=6))
    all_but_one = tuple(neurite_id(number) for number in range(2, 6))
    fails(r"has 1 subject\(s\)", CohortSettings(reader="neurite-oasis", exclude=all_but_one))
    fails("does not exist; give the folder of one Decathlon task", CohortSettings(reader="decathlon", spatial_dims=3))
    fails("needs cohort.file", CohortSettings(reader="table"))
    fails("the reader decathlon has no such option", CohortSettings(reader="decathlon", labels="seg4"))
    (root / "seg24_labels.txt").write_text("one One\n")
    fails("'one One' is not a label value and a name")


def test_fingerprint_follows_the_content(root):
    before = read_cohort(NEURITE, root).fingerprint()
    assert read_cohort(NEURITE, root).fingerprint() == before
    assert read_cohort(CohortSettings(reader="neurite-oasis", intensity="minmax"), root).fingerprint() != before
    assert read_cohort(CohortSettings(reader="neurite-oasis", subjects=4), root).fingerprint() != before
    write_image(root / neurite_id(1) / "slice_norm.nii.gz", image(77)[..., None])
    assert read_cohort(NEURITE, root).fingerprint() != before


def test_fingerprint_of_large_files_sees_their_ends(tmp_path, table):
    text = "id,image\na,1.nii\nb,2.nii\n"
    table(text)
    large = np.zeros((1024, 600), np.float32)
    large[0, 0] = 1

    def fingerprint(column, row):
        changed = large.copy()
        changed[column, row] += 1
        write_image(tmp_path / "1.nii", changed)
        return read_cohort(CohortSettings(reader="table", file="subjects.csv"), tmp_path).fingerprint()

    assert len({fingerprint(0, 0), fingerprint(0, 1), fingerprint(1023, 599), fingerprint(1023, 598)}) == 4


def test_load_samples(root):
    cohort = read_cohort(NEURITE, root)
    done = []
    ids = [neurite_id(3), neurite_id(1), neurite_id(3)]
    samples = load_samples(cohort, ids, lambda *progress: done.append(progress))
    assert list(samples) == [neurite_id(1), neurite_id(3)]
    assert sorted(done) == [(1, 2), (2, 2)]
    assert torch.equal(samples[neurite_id(3)]["image"], torch.from_numpy(image(3))[None])
    with pytest.raises(InputError, match="no subject 'nobody'"):
        load_samples(cohort, ["nobody"])
    _break(root, "norm", "nan")
    with pytest.raises(InputError, match="NaN"):
        load_samples(cohort, cohort.ids)


@pytest.mark.parametrize(
    "settings", [CohortSettings(subjects=2), NEURITE, NEURITE.model_copy(update={"align": "centre"})]
)
def test_a_cohort_is_a_data_list_and_one_compose_for_monai(root, settings):
    items, transform = data_list(settings, root), loading_transforms(settings, root)
    assert all(set(item) >= {"id", "group"} for item in items)
    cohort = align_cohort(read_cohort(settings, root), settings, read_cohort(settings, root).ids)
    held = load_samples(cohort, cohort.ids)
    theirs = CacheDataset(items, Compose([transform, ScaleIntensityd("image", minv=0, maxv=2)]), progress=False)
    assert [sample["id"] for sample in theirs] == list(held)
    for sample in theirs:
        image = held[sample["id"]]["image"]
        assert torch.equal(sample["image"], 2 * (image - image.min()) / (image.max() - image.min()))
        assert torch.equal(sample["label"], held[sample["id"]]["label"])


def test_the_transforms_of_a_cohort_can_be_printed(root):
    settings = NEURITE.model_copy(update={"intensity": "percentile", "size": (16, 16)})
    lines = str(loading_transforms(settings, root)).splitlines()
    assert lines[1] == "    ReadImaged(keys=('image',), spatial_dims=2, labels=False, allow_missing_keys=False),"
    assert (
        sum("ScaleIntensityRangePercentilesd(keys=('image',), lower=1, upper=99, b_min=0" in line for line in lines)
        == 1
    )
    assert lines[-2:] == ["    ToSampled(),", ")"]
    assert "FindPlaced(reference='OASIS_OAS1_0001_MR1')" in str(
        loading_transforms(NEURITE.model_copy(update={"align": "affine"}), root)
    )


def test_what_exceeds_the_memory_is_mapped_from_files_that_are_kept(root, tmp_path, monkeypatch):
    cohort = read_cohort(NEURITE, root)
    held = load_samples(cohort, cohort.ids)
    monkeypatch.setattr(loading, "IN_MEMORY", 0)
    monkeypatch.setenv("SMOOTHMORPH_CACHE", str(tmp_path / "kept"))
    load_samples(cohort, cohort.ids)
    reads = []
    again = replace(cohort, transform=Transforms([Watched(cohort, reads.append)]))
    mapped = load_samples(again, cohort.ids)
    assert reads == [cohort.ids[0]]  # only to find the size of the samples
    for name, sample in held.items():
        for key, value in sample.items():
            same = (
                torch.equal(value, mapped[name][key]) if isinstance(value, torch.Tensor) else value == mapped[name][key]
            )
            assert same, key
    (folder,) = (tmp_path / "kept" / "samples").iterdir()
    (damaged,) = folder.glob(f"{cohort.ids[2]}-*.safetensors")
    damaged.write_bytes(damaged.read_bytes()[:100])
    assert torch.equal(load_samples(again, cohort.ids)[cohort.ids[2]]["image"], held[cohort.ids[2]]["image"])
    assert reads == [cohort.ids[0], cohort.ids[0], cohort.ids[2]]
    other = replace(cohort, reading={**cohort.reading, "intensity": "minmax"})
    load_samples(other, cohort.ids)
    assert len([*(tmp_path / "kept" / "samples").iterdir()]) == 2


@pytest.mark.parametrize("fault", [InputError, KeyboardInterrupt])
def test_after_a_fault_nothing_is_loaded_any_more(fault, root, monkeypatch):
    """Threads that still load while the interpreter exits would abort the process."""
    began, ended = [], []

    def load(item):
        try:
            if fault is InputError and item["id"] == neurite_id(1):
                raise InputError("damaged.")
            time.sleep(0.05)
            return whole.transform(item)
        finally:
            ended.append(item["id"])

    def stop(done, total):
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    whole = read_cohort(NEURITE, root)
    cohort = replace(whole, transform=Transforms([Watched(whole, began.append, load)]))
    with pytest.raises(fault):
        load_samples(cohort, cohort.ids, stop)
    assert sorted(began) == sorted(ended)
    assert len(began) < len(cohort.ids)


def test_different_shapes_need_a_size(root):
    for name in ("norm", "seg24"):
        _break(root, name, "shape")
    with pytest.raises(InputError, match=r"0002_MR1 has 19x24 voxels but .*0001_MR1 has 20x24; set cohort.size"):
        load_samples(read_cohort(NEURITE, root), [neurite_id(1), neurite_id(2)])
    cohort = read_cohort(CohortSettings(reader="neurite-oasis", size=SHAPE), root)
    assert {sample["image"].shape for sample in load_samples(cohort, cohort.ids).values()} == {(1, *SHAPE)}


def test_different_spacings_need_resampling(root):
    for number, size in ((2, 1.005), (3, 1.2)):
        for name in ("norm", "seg24"):
            path = root / neurite_id(number) / f"slice_{name}.nii.gz"
            voxels = nibabel.Nifti1Image.from_filename(path).get_fdata(dtype=np.float32)
            write_image(path, voxels, np.diag([size, 1, 1, 1]))
    cohort = read_cohort(NEURITE, root)
    assert len(load_samples(cohort, cohort.ids[:2])) == 2  # spacings in headers are rounded
    with pytest.raises(InputError, match=r"0003_MR1 has voxels of 1\.2x1 mm but .*0001_MR1 has 1x1 mm; resample"):
        load_samples(cohort, cohort.ids)


def test_table(table, tmp_path):
    rows = ["b,2.nii,2-label.nii,p,train", "a,1.nii,1-label.nii,p,train", "c,3.nii,3-label.nii,,test"]
    text = "\n".join(["id,image,label,group,split", *rows])
    cohort = table(text)
    assert cohort.ids == ("a", "b", "c")
    assert [subject.group for subject in cohort.subjects] == ["p", "p", "c"]
    assert cohort.declared_split == {"train": ("a", "b"), "test": ("c",)}
    assert cohort.label_names == {1: "label 1", 2: "label 2"}
    assert torch.equal(cohort.load(cohort["c"])["image"], torch.from_numpy(image(3))[None])
    (tmp_path / "names.txt").write_text("0 nothing\n1 left\n2 right\n")
    assert table(text, labels="names.txt").label_names == {1: "left", 2: "right"}


def test_a_table_keeps_further_columns(table):
    cohort = table("id,image,label,phase,age\na,1.nii,1-label.nii,ed,30\nb,2.nii,1-label.nii,es,\n")
    assert cohort["a"].columns == {"phase": "ed", "age": "30"}
    assert [cohort["b"].column(name) for name in ("phase", "age", "group", "none")] == ["es", "", "b", ""]
    assert set(cohort.data_list[0]) == {"id", "group", "image", "label"}


@pytest.mark.parametrize(("large", "dtype"), [(32768, torch.int32), (614454277, torch.int32), (2**62 + 1, torch.int64)])
def test_labels_of_any_size(large, dtype, table, tmp_path, monkeypatch):
    """Atlas ids are kept in memory, in mapped files and after padding; maps with small labels still use 16 bits."""
    rows = "id,image,label\na,1.nii,1-label.nii\nb,2.nii,large.nii\n"
    values = label().astype(np.int64)
    values[values == 2] = large
    write_image(tmp_path / "large.nii", values)
    for settings in ({}, {"size": (24, 28)}):
        cohort = table(rows, **settings)
        assert cohort.label_names == {1: "label 1", 2: "label 2", large: f"label {large}"}
        held = load_samples(cohort, cohort.ids)
        assert held["a"]["label"].dtype == torch.int16
        found = held["b"]["label"]
        assert found.dtype == dtype
        inner = found[0, 2:-2, 2:-2] if settings else found[0]
        assert torch.equal(inner.long(), torch.from_numpy(values))
    with monkeypatch.context() as patch:
        patch.setattr(loading, "IN_MEMORY", 0)
        patch.setenv("SMOOTHMORPH_CACHE", str(tmp_path / "kept"))
        assert torch.equal(load_samples(cohort, cohort.ids)["b"]["label"], found)
    assert {
        row.label: row.mean_voxels
        for row in check_cohort(CohortSettings(reader="table", file="subjects.csv"), tmp_path).labels.itertuples()
    }[large] == (values == large).sum()


def test_table_without_labels(table):
    cohort = table("id,image\na,1.nii\nb,2.nii\n")
    assert cohort.label_names == {}
    assert cohort.declared_split is None
    assert cohort.load(cohort["a"])["label"] is None


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("id,picture\na,1.nii\nb,2.nii\n", "has the columns id, picture"),
        ("id;image\na;1.nii\n", r"has the columns id;image \(that is one column: commas must separate the cells\)"),
        ("id,image,Labels\na,1.nii,3\nb,2.nii,4\n", "has a column 'Labels' and none of the name label; rename it"),
        ("id,image\na,1.nii,extra\nb,2.nii\n", "subjects.csv, line 2 has 3 cells, but there are 2 columns"),
        ("id,image\na,1.nii\n\nb,\n", "subjects.csv, line 4 has no image"),
        ("id,image\na,1.nii\nb,./1.nii\n", r"subjects.csv: a and b have the same image .*1\.nii; give it one id only"),
        (b"id,image\nJos\xe9,1.nii\n", r"subjects.csv is not UTF-8 text \(byte 13\); save it as UTF-8"),
        ("id,image\na,1.nii\nb," + 2**18 * "x", "subjects.csv, line 3: field larger than field limit"),
        ("id,image\na,1.nii\na,2.nii\n", "subject a is listed twice"),
        ("id,image,split\na,1.nii,training\nb,2.nii,\n", "has split 'training', expected train, validation, test"),
        ("id,image,label\na,1.nii,1-label.nii\nb,2.nii,\n", "subject b has no label but others have"),
        ("id,image\na,1.nii\nb,4.nii\n", "subject b has no image"),
        ("id,image\na,1.nii\n", r"has 1 subject\(s\)"),
        ("", "has the columns none"),
    ],
)
def test_faulty_tables(table, text, sentence):
    with pytest.raises(InputError, match=sentence):
        table(text)


def test_only_image_formats_are_opened(tmp_path, table):
    (tmp_path / "evil.npy").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    cohort = table("id,image\na,evil.npy\nb,2.nii\n")
    with pytest.raises(InputError, match=r"is not one of the image formats that can be read: \.nii"):
        cohort.load(cohort["a"])


def _write_decathlon(root, numbers=(1, 2, 3)):
    items = []
    for number in numbers:
        name = f"hippocampus_{number:03d}.nii.gz"
        shape = (6 + number, 7, 8)
        write_image(root / "imagesTr" / name, image(number, shape))
        write_image(root / "labelsTr" / name, label(shape))
        items.append({"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"})
    listing = {"name": "Hippocampus", "labels": {"0": "background", "1": "Anterior", "2": "Posterior"}}
    (root / "dataset.json").write_text(json.dumps({**listing, "training": items}))
    return root


def test_decathlon(tmp_path):
    _write_decathlon(tmp_path)
    cohort = read_cohort(CohortSettings(reader="decathlon", spatial_dims=3, size=(8, 8, 8)), tmp_path)
    assert cohort.ids == ("hippocampus_001", "hippocampus_002", "hippocampus_003")
    assert cohort.label_names == {1: "Anterior", 2: "Posterior"}
    samples = load_samples(cohort, cohort.ids)
    assert {sample["image"].shape for sample in samples.values()} == {(1, 8, 8, 8)}
    first, second, third = (subject.group for subject in cohort.subjects)
    assert first == second != third  # the two hippocampi of one person


def test_a_decathlon_entry_without_a_label_is_named(tmp_path):
    listing = _write_decathlon(tmp_path) / "dataset.json"
    content = json.loads(listing.read_text())
    del content["training"][1]["label"]
    listing.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"dataset\.json: subject hippocampus_002 has no label but others have"):
        read_cohort(CohortSettings(reader="decathlon", spatial_dims=3), tmp_path)


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"training": [], "labels": []}', '{"labels": {"1": "a"}}', '{"training": 3}']
)
def test_faulty_decathlon_listings(tmp_path, text):
    (tmp_path / "dataset.json").write_text(text)
    with pytest.raises(InputError):
        read_cohort(CohortSettings(reader="decathlon", spatial_dims=3), tmp_path)


def test_real_neurite_oasis(real_data):
    cohort = read_cohort(NEURITE, real_data / "neurite-oasis-2d")
    assert len(cohort.subjects) == 414
    assert len(cohort.label_names) == 24
    samples = load_samples(cohort, cohort.ids[:5])
    assert {sample["image"].shape for sample in samples.values()} == {(1, 160, 192)}


def test_real_hippocampus(real_data):
    settings = CohortSettings(reader="decathlon", spatial_dims=3, size=(48, 64, 48), intensity="percentile")
    cohort = read_cohort(settings, real_data / "Task04_Hippocampus")
    assert len(cohort.subjects) == 200
    for sample in load_samples(cohort, cohort.ids[:5]).values():
        assert sample["image"].shape == (1, 48, 64, 48)
        assert sample["image"].min() == 0
        assert sample["image"].max() == 1
        assert set(np.unique(sample["label"])) == {0, 1, 2}
