"""The cohort of synthetic brains: labels, anatomy, and that every subject is a function of the seed and its number."""

import json

import numpy as np
import pytest
import torch

from smoothmorph.pipeline.cohorts.loading import load_samples
from smoothmorph.pipeline.cohorts.opening import read_cohort
from smoothmorph.pipeline.cohorts.phantom.cohort import subject_generator
from smoothmorph.pipeline.cohorts.synthetic.anatomy import (
    AXES,
    CLASSES,
    LABEL_NAMES,
    REGIONS,
    SPACINGS,
    STEM,
    divide,
    label_of,
    read_atlas,
)
from smoothmorph.pipeline.cohorts.synthetic.cohort import VARIATION, folds, random_displacement
from smoothmorph.pipeline.settings.schema import CohortSettings, TrialSettings
from smoothmorph.transforms import InputError, jacobian_determinant

SHAPE = {2: (160, 192), 3: (80, 96, 80)}
TISSUE = np.array(CLASSES)


def settings(dims: int, **values) -> CohortSettings:
    return CohortSettings(reader="synthetic", spatial_dims=dims, **{"subjects": 2, **values})


@pytest.fixture(scope="module", params=[2, 3])
def dims(request) -> int:
    return request.param


@pytest.fixture(scope="module")
def samples(dims):
    cohort = read_cohort(settings(dims))
    return load_samples(cohort, cohort.ids)


def test_samples(dims, samples):
    assert list(samples) == ["synthetic-0000", "synthetic-0001"]
    for sample in samples.values():
        assert sample["image"].shape == sample["label"].shape == (1, *SHAPE[dims])
        assert (sample["image"].dtype, sample["label"].dtype) == (torch.float32, torch.int16)
        assert 0 == sample["image"].min() < 0.5 < sample["image"].max() <= 1
        assert not sample["image"][sample["label"] == 0].any()
        assert (sample["spacing"], sample["axes"]) == ((SPACINGS[dims][0],) * dims, AXES[dims])
        found = set(sample["label"].unique().tolist())
        assert found <= {0, *LABEL_NAMES}
        assert len(found) == 30 if dims == 3 else len(found) >= 12


def test_names_and_classes_agree():
    assert len(CLASSES) == len(LABEL_NAMES) + 1 == 30
    tissues = {"gray": 1, "white": 2, "CSF": 3, "ventricle": 3, "brainstem": 2}
    for value, name in LABEL_NAMES.items():
        assert [number for word, number in tissues.items() if word in name] == [CLASSES[value]]
    assert (
        LABEL_NAMES[label_of(np.array([1]), np.array([REGIONS.index("temporal")]))[0]] == "left temporal white matter"
    )
    right = np.array([STEM + 1 + REGIONS.index("deep")])
    assert LABEL_NAMES[label_of(np.array([2]), right)[0]] == "right ventricle"
    assert LABEL_NAMES[label_of(np.array([2]), right - 1 - REGIONS.index("deep"))[0]] == "brainstem"


@pytest.mark.parametrize(
    ("place", "region"),  # MNI, mm: well-known places of the template
    [
        ((-40, 40, 20), "frontal"),  # middle frontal gyrus
        ((-45, -35, 50), "parietal"),  # postcentral gyrus and behind
        ((-55, -15, -15), "temporal"),  # middle temporal gyrus
        ((-8, -90, 5), "occipital"),  # calcarine cortex
        ((-25, 0, 5), "deep"),  # putamen
        ((-12, -20, 8), "deep"),  # thalamus
        ((-25, -65, -40), "cerebellar"),
    ],
)
def test_known_places_lie_in_their_regions(place, region):
    left = divide(*(np.array([float(number)]) for number in place))
    assert left == REGIONS.index(region)
    assert divide(*(np.array([float(number)]) for number in (-place[0], *place[1:]))) == left + STEM + 1


def test_the_pons_is_brainstem():
    assert divide(np.array([-2.0]), np.array([-25.0]), np.array([-30.0])) == STEM


def test_left_is_where_ras_says(samples, dims):
    if dims == 3:
        label = samples["synthetic-0000"]["label"][0].numpy()
        left = (label > 0) & (label <= 14)
        right = (label > 14) & (label < 29)
        assert np.argwhere(left)[:, 0].mean() < 35 < 45 < np.argwhere(right)[:, 0].mean()
        frontal, occipital = (label == 1), (label == 4)
        assert np.argwhere(frontal)[:, 1].mean() > np.argwhere(occipital)[:, 1].mean() + 30
        assert np.argwhere(label == 29)[:, 2].mean() < 25  # the brainstem is at the bottom


def test_tissues_look_like_t1(samples):
    for sample in samples.values():
        tissue = TISSUE[sample["label"].numpy()]
        gray, white, csf = (float(sample["image"][torch.from_numpy(tissue == value)].mean()) for value in (1, 2, 3))
        assert csf < gray < white


def test_shares_of_tissues_are_plausible(samples, dims):
    for sample in samples.values():
        counts = np.bincount(TISSUE[sample["label"].numpy()].ravel(), minlength=4)
        gray, white, csf = counts[1:] / counts[1:].sum()
        assert 0.35 < gray < 0.65
        assert 0.25 < white < 0.5
        assert 0.05 < csf < 0.3


def test_a_subject_is_a_function_of_seed_and_number(dims, samples):
    cohort = read_cohort(settings(dims, subjects=9))
    again = cohort.load(cohort["synthetic-0001"])
    for key in ("image", "label"):
        assert torch.equal(again[key], samples["synthetic-0001"][key])
    other = read_cohort(settings(dims, seed=1))
    if dims == 2:
        assert not torch.equal(other.load(other.subjects[1])["label"], again["label"])


def test_deformations_are_strong_and_do_not_fold(dims):
    spacing = {2: 1, 3: 2}[dims]
    bound = sum(speed[1] for _, speed in VARIATION.velocities) / spacing
    displacement = random_displacement(dims, spacing, subject_generator(0, 1))
    assert 4 / spacing < float(displacement.norm(dim=1).max()) < bound
    assert float(jacobian_determinant(displacement).min()) > 0.05


def test_folds_prefer_csf_in_sulci_and_white_matter_between_them(dims):
    gray, white, csf = folds(SHAPE[dims], 1, subject_generator(0, 0))
    assert not gray.any()
    assert float(csf.max()) == pytest.approx(float(white.max()), rel=0.05)
    assert not ((csf > 0) & (white > 0)).any()  # the cortex is between them
    assert 0.02 < float((csf > 0).float().mean()) < 0.5


def test_spacings():
    assert read_cohort(settings(3, spacing=1)).reading["spacing"] == 1
    assert read_cohort(settings(3, spacing=2)).fingerprint() == read_cohort(settings(3)).fingerprint()
    assert read_cohort(settings(3, spacing=1)).fingerprint() != read_cohort(settings(3)).fingerprint()
    for dims, spacing, known in ((3, 1.5, "2 or 1 mm"), (2, 2, "voxels of 1 mm")):
        with pytest.raises(InputError, match=rf"cohort\.spacing is {spacing:g}, but synthetic brains .*{known}"):
            read_cohort(settings(dims, spacing=spacing))
    with pytest.raises(InputError, match=r"spacing is 2\.0, but the reader phantom has no such option"):
        read_cohort(CohortSettings(spacing=2))
    assert "spacing" not in TrialSettings().identity()["cohort"]  # finished trials keep their ids


def test_the_template_at_1_mm_is_that_of_2_mm_before_it_is_averaged():
    fine, coarse = read_atlas(3, 1), read_atlas(3, 2)
    assert fine.regions.shape == (160, 192, 160)
    blocks = fine.maps.reshape(4, 80, 2, 96, 2, 80, 2).mean((2, 4, 6))
    np.testing.assert_allclose(blocks, coarse.maps, atol=1e-6)
    read_atlas.cache_clear()


def test_fingerprint_and_defaults():
    before = read_cohort(settings(2))
    json.dumps(before.reading)
    for changed in (settings(2, seed=1), settings(2, subjects=3), settings(2, intensity="minmax"), settings(3)):
        assert read_cohort(changed).fingerprint() != before.fingerprint()
    assert [len(read_cohort(settings(dims, subjects=None)).subjects) for dims in (2, 3)] == [200, 100]
