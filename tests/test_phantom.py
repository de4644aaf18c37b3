import numpy as np
import pytest
import torch
from scipy import ndimage

from smoothmorph.pipeline.cohorts.loading import load_samples
from smoothmorph.pipeline.cohorts.opening import read_cohort
from smoothmorph.pipeline.cohorts.phantom.anatomy import LABEL_NAMES, LANDMARKS, SHAPE, SPACING, read_template
from smoothmorph.pipeline.cohorts.phantom.cohort import VARIATION, locate, random_displacement, subject_generator
from smoothmorph.pipeline.settings.schema import CohortSettings
from smoothmorph.transforms import jacobian_determinant, warp
from smoothmorph.transforms.basics.errors import InputError


def settings(dims: int, **values) -> CohortSettings:
    return CohortSettings(spatial_dims=dims, **{"subjects": 3, **values})  # type: ignore[arg-type]


@pytest.fixture(scope="module", params=[2, 3])
def dims(request) -> int:
    return request.param


@pytest.fixture(scope="module")
def samples(dims):
    cohort = read_cohort(settings(dims))
    return load_samples(cohort, cohort.ids)


def test_default_cohorts():
    assert len(read_cohort(CohortSettings()).subjects) == 40
    assert len(read_cohort(CohortSettings(spatial_dims=3)).subjects) == 24
    assert all(subject.group == subject.id for subject in read_cohort(CohortSettings()).subjects)


def test_samples(dims, samples):
    assert list(samples) == ["phantom-0000", "phantom-0001", "phantom-0002"]
    for sample in samples.values():
        assert sample["image"].shape == sample["label"].shape == (1, *SHAPE[dims])
        assert (sample["image"].dtype, sample["label"].dtype) == (torch.float32, torch.int16)
        assert 0 <= sample["image"].min() <= 0.5 < sample["image"].max() <= 1
        assert set(sample["label"].unique().tolist()) == {0, *LABEL_NAMES}
        assert sample["landmarks"].shape == (LANDMARKS[dims], dims)
        assert sample["spacing"] == (float(SPACING[dims]),) * dims


def test_skull_stripped_with_a_margin(dims, samples):
    for sample in samples.values():
        image = sample["image"][0]
        assert not image[sample["label"][0] == 0].any()
        for axis in range(dims):
            assert not image.select(axis, 0).any()
            assert not image.select(axis, -1).any()
        assert 0.15 < float((image > 0).float().mean()) < 0.6


def test_subjects_differ_but_are_brains(samples):
    flat = np.stack([sample["image"].numpy().ravel() for sample in samples.values()])
    correlation = np.corrcoef(flat)[np.triu_indices(len(flat), 1)]
    assert correlation.min() > 0.8
    assert correlation.max() < 0.98


def test_left_is_where_axis_0_ends(dims, samples):
    label = samples["phantom-0000"]["label"][0].numpy()
    left, right = ((label > 0) & (label <= 3), label > 3)
    assert np.argwhere(left)[:, 0].mean() > np.argwhere(right)[:, 0].mean() + SHAPE[dims][0] / 5
    assert 0.8 < left.sum() / right.sum() < 1.25


def test_tissues_look_like_t1(samples):
    for sample in samples.values():
        image, label = sample["image"][0], sample["label"][0]
        gray, white, csf = (image[(label == value) | (label == value + 3)].mean() for value in (1, 2, 3))
        assert csf < gray < white


def test_a_subject_does_not_depend_on_the_others(dims, samples):
    cohort = read_cohort(settings(dims, subjects=30))
    again = cohort.load(cohort["phantom-0001"])
    for key in ("image", "label", "landmarks"):
        assert torch.equal(again[key], samples["phantom-0001"][key])
    other = read_cohort(settings(dims, seed=1))
    assert not torch.equal(other.load(other.subjects[1])["image"], again["image"])


def test_displacement_is_a_diffeomorphism_of_about_five_voxels(dims):
    for index in range(3):
        displacement = random_displacement(dims, subject_generator(0, index))
        largest = float(displacement.norm(dim=1).max())
        assert 0.9 * VARIATION.displacement < largest <= VARIATION.displacement * 1.001
        assert float(jacobian_determinant(displacement).min()) > 0.2


def test_landmarks_are_exact(dims, samples):
    """Landmarks solve x + u(x) = p, with u interpolated as in warping."""
    template = read_template(dims)
    for index, sample in enumerate(samples.values()):
        displacement = random_displacement(dims, subject_generator(0, index))
        at = sample["landmarks"].T.double().numpy()
        moved = [ndimage.map_coordinates(u, at, order=1, mode="nearest") for u in displacement[0].double().numpy()]
        assert np.abs(at.T + np.stack(moved, axis=1) - template.landmarks).max() < 1e-3


def test_landmarks_follow_the_image(dims, samples):
    """A ball around each template landmark, warped like the image, is centred at the subject's landmark."""
    template = read_template(dims)
    sample = samples["phantom-0001"]
    displacement = random_displacement(dims, subject_generator(0, 1))
    grid = np.stack(np.meshgrid(*[np.arange(size) for size in SHAPE[dims]], indexing="ij"), axis=-1)
    for point, expected in zip(template.landmarks[:6], sample["landmarks"][:6].numpy(), strict=True):
        ball = np.exp(-((grid - point) ** 2).sum(axis=-1) / 2)
        warped = warp(torch.from_numpy(ball)[None, None].float(), displacement)[0, 0].numpy()
        centre = (grid * warped[..., None]).reshape(-1, dims).sum(axis=0) / warped.sum()
        assert np.linalg.norm(centre - expected) < 0.35


def test_landmarks_lie_on_structure_far_from_each_other(dims):
    template = read_template(dims)
    distances = np.linalg.norm(template.landmarks[:, None] - template.landmarks[None], axis=-1)
    assert distances[np.triu_indices(len(distances), 1)].min() > 8
    assert all(template.label[tuple(point.astype(int))] > 0 for point in template.landmarks)


def test_locate_inverts_a_known_displacement():
    # u(x) = 0.25 x + 1 along axis 0 and -2 along axis 1, so x is (p - 1) / 1.25 and p + 2
    rows = np.arange(40.0)[:, None]
    displacement = np.stack([np.broadcast_to(0.25 * rows + 1, (40, 30)), np.full((40, 30), -2.0)])
    points = np.array([[11.0, 5.0], [26.0, 20.0]])
    np.testing.assert_allclose(locate(points, displacement), [[8, 7], [20, 22]], atol=1e-3)


def test_locate_says_when_there_is_no_answer():
    collapse = np.stack([20 - np.arange(40.0)[:, None] * np.ones((1, 30)), np.zeros((40, 30))])
    with pytest.raises(RuntimeError, match="outside the grid"):
        locate(np.array([[30.0, 5.0]]), collapse)


def test_size_moves_the_landmarks():
    original = read_cohort(settings(2)).load(read_cohort(settings(2)).subjects[0])
    cohort = read_cohort(settings(2, size=(176, 180)))  # 8 more at each end of axis 0, 6 fewer of axis 1
    resized = cohort.load(cohort.subjects[0])
    assert torch.equal(resized["image"][0, 8:-8], original["image"][0, :, 6:-6])
    torch.testing.assert_close(resized["landmarks"], original["landmarks"] + torch.tensor([8.0, -6.0]))
    small = read_cohort(settings(2, size=(160, 64)))
    with pytest.raises(InputError, match="size 160x64 crops landmarks of phantom-0000"):
        small.load(small.subjects[0])


def test_fingerprint_names_the_recipe():
    before = read_cohort(settings(2)).fingerprint()
    assert before == read_cohort(settings(2)).fingerprint()
    for changed in (settings(2, seed=1), settings(2, subjects=4), settings(2, intensity="minmax"), settings(3)):
        assert read_cohort(changed).fingerprint() != before


def test_label_sets_are_refused():
    with pytest.raises(InputError, match="labels is 'seg4', but the reader phantom has no such option"):
        read_cohort(settings(2, labels="seg4"))
