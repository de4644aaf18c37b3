"""``training.augment``: valid names, the random draws, and that only seed, epoch and index of a pair decide them."""

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from outside.entries import STRIPES
from smoothmorph.experiments.study.study import load_study
from smoothmorph.pipeline.cohorts.preparation import prepare, training_loader, validation_loader
from smoothmorph.pipeline.settings.augmentation import Augmentation
from smoothmorph.pipeline.settings.augmentation_steps import KEYS, augmentations
from smoothmorph.pipeline.settings.random_transforms import RANDOM_TRANSFORMS, RandomTransformEntry
from smoothmorph.pipeline.settings.schema import TrialSettings, parse
from smoothmorph.pipeline.trial import run_trial
from smoothmorph.transforms.basics.errors import InputError

BIAS = {"transform": "RandBiasFieldd", "keys": ["moving", "fixed"], "prob": 1.0, "coeff_range": [0.1, 0.3]}
DEFORM = {"transform": "RandDiffeomorphicd", "keys": ["moving", "moving_label"], "prob": 1.0, "magnitude": [2, 2]}
DEFORM |= {"smoothness": [4, 4]}
CROP = {"transform": "RandSpatialCropd", "keys": ["moving", "fixed"], "roi_size": [16, 8]}
SHAPE = {2: (20, 24), 3: (10, 12, 8)}


def trial(augment, dims=2, **training) -> TrialSettings:
    values = {
        "cohort": {"reader": "table", "file": "subjects.csv", "spatial_dims": dims},
        "pairs": {"validation": 2, "test": 2},
        "training": {"epochs": 2, "steps_per_epoch": 3, "augment": augment, **training},
    }
    return parse(TrialSettings, values, "trial")


def pair(dims: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(dims)
    images = {key: torch.rand(1, *SHAPE[dims], generator=generator) for key in KEYS[:2]}
    labels = {key: torch.randint(0, 3, (1, *SHAPE[dims]), generator=generator).short() for key in KEYS[2:]}
    return {**images, **labels}


@pytest.mark.parametrize("dims", [2, 3])
def test_image_and_label_are_deformed_alike_and_a_label_keeps_its_values(dims):
    given = pair(dims)
    before = {key: value.clone() for key, value in given.items()}
    given["moving_label"] = (given["moving"] * 1000).round().short()  # the labels are the rounded image
    before["moving_label"] = given["moving_label"].clone()
    made = Augmentation([{**DEFORM, "mode": "nearest"}], seed=0)(given, 1, 0)
    assert not torch.equal(made["moving"], given["moving"])
    assert torch.equal((made["moving"] * 1000).round().short(), made["moving_label"])
    made = Augmentation([DEFORM], seed=0)(given, 1, 0)  # images are sampled bilinearly, label maps by nearest neighbour
    assert set(made["moving_label"].unique().tolist()) <= set(given["moving_label"].unique().tolist())
    assert made["moving_label"].dtype == torch.int16
    assert torch.equal(made["fixed"], before["fixed"])
    assert all(torch.equal(given[key], before[key]) for key in KEYS)  # the input is not changed
    assert all(type(value) is torch.Tensor and value.is_contiguous() for value in made.values())


def test_the_place_of_a_pair_decides_what_is_drawn():
    draws = [
        Augmentation([BIAS, DEFORM], seed)(pair(2), *place)["moving"]
        for seed, *place in ((0, 1, 0), (0, 1, 0), (0, 1, 1), (0, 2, 0), (1, 1, 0))
    ]
    assert torch.equal(draws[0], draws[1])
    assert not any(torch.equal(draws[0], other) for other in draws[2:])
    augmentation = Augmentation([BIAS, DEFORM], 0)
    augmentation(pair(2), 7, 7)  # earlier draws have no effect
    assert torch.equal(augmentation(pair(2), 1, 0)["moving"], draws[0])


@pytest.mark.parametrize("dims", [2, 3])
def test_training_pairs_are_changed_and_others_are_not(dims, tiny_cohort):
    settings, plain = trial([BIAS, DEFORM], dims), trial([], dims)
    prepared = prepare(settings, tiny_cohort(dims))
    whole = list(training_loader(prepared, settings, 1, pin_memory=False))
    assert {"moving", "fixed", "moving_label", "fixed_label"} == set(whole[0])
    for index, batch in enumerate(training_loader(prepared, settings, 2, pin_memory=False)):
        assert torch.equal(batch["moving"], whole[3 + index]["moving"])
    unchanged = list(training_loader(prepared, plain, 1, pin_memory=False))
    assert {"moving", "fixed"} == set(unchanged[0])
    assert not any(torch.equal(one["moving"], other["moving"]) for one, other in zip(whole, unchanged, strict=True))
    for batch, names in zip(validation_loader(prepared, 1, False), prepared.validation_pairs, strict=True):
        assert torch.equal(batch["moving"][0], prepared.samples[names[0]]["image"])


def test_stopped_and_resumed_is_bit_identical(tiny_cohort, tmp_path):
    def stop(progress):
        if progress.stage == "training" and progress.done == 4:
            raise KeyboardInterrupt

    settings = trial([BIAS, DEFORM], epochs=3)
    run_trial(settings, tmp_path / "whole", tiny_cohort(2))
    with pytest.raises(KeyboardInterrupt):
        run_trial(settings, tmp_path / "stopped", tiny_cohort(2), stop)
    run_trial(settings, tmp_path / "stopped", tiny_cohort(2))
    weights = [
        torch.load(tmp_path / name / "checkpoint.pt", weights_only=True)["last"] for name in ("whole", "stopped")
    ]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    run_trial(trial([], epochs=3), tmp_path / "plain", tiny_cohort(2))
    plain = torch.load(tmp_path / "plain" / "checkpoint.pt", weights_only=True)["last"]
    assert not all(torch.equal(weights[0][name], plain[name]) for name in plain)


def test_trials_of_before_keep_their_ids_and_an_augmented_one_is_another():
    assert "augment" not in TrialSettings().identity()["training"]
    ids = {trial(steps).trial_id("data") for steps in ([], [BIAS], [DEFORM], [BIAS, DEFORM])}
    assert len(ids) == 4
    settings = trial([BIAS, DEFORM])
    assert parse(TrialSettings, json.loads(json.dumps(settings.identity())), "x").identity() == settings.identity()


@pytest.mark.parametrize(
    ("step", "sentence"),
    [
        ({"transform": "RandBiasField"}, r"\[0\]\.transform: 'RandBiasField' is not .*; did you mean RandBiasFieldd\?"),
        ({"transform": "SaveImaged"}, r"\[0\]\.transform: 'SaveImaged' is not a random dictionary transform"),
        ({"transform": "RandLambdad", "func": "os"}, "not a random dictionary transform"),
        ({"transform": "RandTorchVisiond", "name": "x"}, "not a random dictionary transform"),
        ({"transform": "os.system"}, "not a random dictionary transform that can be used here; known are Rand"),
        ({"transform": ["RandFlipd"]}, r"augment\[0\]\.transform = \['RandFlipd'\]: Input should be a valid string"),
        ({"keys": ["moving"]}, r"\[0\]\.transform is missing"),
        (
            {**BIAS, "coef_range": [0, 1]},
            r"\[0\]\.coef_range: RandBiasFieldd has no such argument; did you mean co",
        ),
        ({**BIAS, "prob": "/etc/passwd"}, r"\[0\]\.prob is '/etc/passwd', expected a number, a word, true"),
        ({**BIAS, "prob": {"a": 1}}, r"\[0\]\.prob is \{'a': 1\}, expected a number"),
        ({**BIAS, "prob": float("nan")}, r"\[0\]\.prob is nan, expected a number"),
        (
            {**DEFORM, "integration_steps": 0},
            r"\[0\]: RandDiffeomorphicd does not accept these arguments: integration_steps must",
        ),
        ({**BIAS, "keys": ["image"]}, r"\[0\]\.keys is \['image'\], expected a list of moving, fixed, moving_label"),
        ({"transform": "RandFlipd"}, r"\[0\]\.keys is None, expected"),
        ({**CROP, "lazy": True}, r"\[0\]\.lazy is true, but each transform is applied at once; leave it out"),
        ({**CROP, "random_size": True}, r"\[0\]\.random_size is true, but all crops must have one size"),
        ({**BIAS, "keys": ["moving", "moving_label"]}, r"\[0\]\.keys has a label map, but RandBiasFieldd wo"),
        (
            {**DEFORM, "mode": ["nearest", "bilinear"]},
            r"\[0\]\.mode is \['nearest', 'bilinear'\], expected nearest",
        ),
    ],
)
def test_what_cannot_be_is_one_sentence_that_names_the_field(step, sentence):
    with pytest.raises(InputError, match=sentence) as error:
        trial([step])
    assert "training.augment[0]" in str(error.value)
    assert "\n" not in str(error.value)


SHAPES = {"transform": "RandShapesd", "keys": ["moving_label", "fixed_label"]}
IMAGES = {
    "transform": "RandSyntheticImaged",
    "keys": ["moving", "fixed"],
    "label_keys": ["moving_label", "fixed_label"],
}
CLEAN = {**IMAGES, "clean_keys": ["moving_clean", "fixed_clean"]}
FLIP = {"transform": "RandFlipd", "keys": ["moving", "fixed", "moving_label", "fixed_label"]}


@pytest.mark.parametrize(
    ("steps", "sentence"),
    [
        ([CLEAN, FLIP], r"augment\[1\]: RandFlipd would not move the clean images; put it before .*\[0\] \(RandSynth"),
        ([SHAPES], r"augment\[0\]: RandShapesd replaces the label maps, so RandSyntheticImaged must follow it"),
        ([IMAGES, SHAPES], r"augment\[1\]: RandShapesd replaces"),
        ([{**SHAPES, "keys": ["moving_label"]}, IMAGES], r"\[0\]\.keys is \['moving_label'\], expected both of mov"),
        ([{**IMAGES, "same_contrast": "x"}], r"same_contrast must be a probability, 0 to 1, got 'x'"),
        (["RandFlipd"], r"augment\[0\] = 'RandFlipd': Input should be a mapping of keys to values"),
    ],
)
def test_an_order_that_leaves_images_and_labels_apart_is_one_sentence(steps, sentence):
    with pytest.raises(InputError, match=sentence) as error:
        trial(steps)
    assert not str(error.value).endswith("..")
    assert "instance" not in str(error.value)


def test_images_are_made_after_shapes_and_after_geometry():
    trial([FLIP, SHAPES, CLEAN, BIAS])
    trial([IMAGES, FLIP])


def test_what_fails_on_an_image_is_one_sentence(tiny_cohort):
    flip = {"transform": "RandFlipd", "keys": ["moving"], "prob": 1.0, "spatial_axis": 5}
    for step, sentence in (
        (flip, r"augment\[1\] \(RandFlipd\) fails on images of 32x32 voxels: "),
        ({**CROP, "keys": ["moving"]}, r"\(RandSpatialCropd\) changes .* to 16x8; a crop must name moving, fixed"),
        ({**CROP, "roi_size": [16, 5]}, r"makes images of 16x5 voxels of those of 32x32; give a size .* at least 6"),
        ({**CROP, "roi_size": 40}, r"makes images of 32x32 voxels of those of 32x32; give a size that is smaller"),
        (
            {"transform": "RandGridPatchd", "keys": ["moving"], "patch_size": [8, 8]},
            r"\(RandGridPatchd\) changes the size from 32x32 to .*; a transform must keep it",
        ),
    ):
        settings = trial([BIAS, step])
        with pytest.raises(InputError, match=sentence):
            list(training_loader(prepare(settings, tiny_cohort(2)), settings, 1, pin_memory=False))


def test_a_crop_takes_the_same_part_of_both_images(tiny_cohort):
    settings = trial([CROP])
    prepared = prepare(settings, tiny_cohort(2))
    batch = next(iter(training_loader(prepared, settings, 1, pin_memory=False)))
    whole = next(iter(training_loader(prepared, trial([]), 1, pin_memory=False)))
    assert batch["moving"].shape == batch["fixed"].shape == (len(whole["moving"]), 1, 16, 8)
    both = torch.cat([whole["moving"][:1], whole["fixed"][:1]], dim=1)
    part = torch.cat([batch["moving"][:1], batch["fixed"][:1]], dim=1)
    places = both.unfold(2, 16, 1).unfold(3, 8, 1).permute(0, 2, 3, 1, 4, 5)  # every place that a crop can have
    assert (places == part[:, None, None]).all((-1, -2, -3)).any()


def test_labels_that_are_not_there_are_refused(tiny_cohort, tmp_path):
    folder = tiny_cohort(2)
    (tmp_path / "subjects.csv").write_text(
        "\n".join(["id,image", *(f"s{number},{folder / f'image{number}.nii.gz'}" for number in range(12))])
    )
    settings = trial([DEFORM])
    with pytest.raises(
        InputError, match=r"training\.augment names label maps, but the subjects of the cohort have no label maps"
    ):
        training_loader(prepare(settings, tmp_path), settings, 1, pin_memory=False)


def entry(name: str, **changed) -> RandomTransformEntry:
    return dataclasses.replace(STRIPES, **{"name": name, "target": "outside.stripes:RandStripesd", **changed})


def test_a_transform_of_another_package_is_named_by_its_entry(monkeypatch):
    entries = [entry("stripes", arguments={"most": 0.0}), entry("moving-stripes", moves=True)]
    entries += [entry("flat", target="outside.stripes:MapTransform"), entry("gone", target="outside.stripes:Gone")]
    monkeypatch.setattr(RANDOM_TRANSFORMS, "_entries", {each.name: each for each in entries})
    given, both = pair(2), ["moving", "fixed"]
    made = Augmentation([{"transform": "stripes", "keys": both}], seed=0)(given, 1, 0)
    assert torch.equal(made["moving"], given["moving"])  # the entry's own arguments are kept
    moving = [{"transform": "moving-stripes", "keys": both, "most": 1.0}]
    first, second, again = (Augmentation(moving, seed)(given, 1, 0)["moving"] for seed in (0, 1, 0))
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    assert Augmentation(moving, 0).leaves_label_behind() == "training.augment[0] (RandStripesd)"
    assert Augmentation([{"transform": "stripes", "keys": both}], 0).leaves_label_behind() is None
    for name, keys, sentence in [
        ("stripes", [*both, "moving_label"], "keys has a label map, but RandStripesd would change its label values"),
        ("flat", both, "'outside.stripes:MapTransform', the target of 'flat', is no random dictionary transform"),
        ("gone", both, "cannot load 'outside.stripes:Gone'"),
        ("stripe", both, "'stripe' is not a random dictionary transform that can be used here; did you mean stripes"),
    ]:
        with pytest.raises(InputError, match=sentence):
            Augmentation([{"transform": name, "keys": keys}], seed=0)
    monkeypatch.setattr(RANDOM_TRANSFORMS, "faults", ["the entry point a = b:C cannot be read: no module"])
    with pytest.raises(
        InputError, match=r"did you mean stripes.* The entry point a = b:C cannot be read: no module\.$"
    ):
        Augmentation([{"transform": "stripe", "keys": both}], seed=0)


def test_only_transforms_that_keep_an_image_can_be_named():
    names = set(augmentations())
    assert {"RandBiasFieldd", "RandDiffeomorphicd", "RandAffined", "RandFlipd", "RandGaussianNoised"} <= names
    assert not {"RandLambdad", "RandTorchIOd", "RandCuCIMd", "SaveImaged", "RandWeightedCropd", "WarpImaged"} & names
    assert all(name.startswith("Rand") and name.endswith("d") for name in names)


def test_the_study_in_the_documentation_runs(tmp_path):
    text = (Path(__file__).parents[1] / "docs" / "monai.md").read_text(encoding="utf-8")
    (tmp_path / "augmented.yaml").write_text(re.search(r"```yaml\n(name: augmented.*?)```", text, re.DOTALL)[1])
    study = load_study(str(tmp_path / "augmented.yaml"), ["training.epochs=1", "training.steps_per_epoch=2"])
    assert study.varying() == ["training.augment", "seed"]
    settings = study.trials[3]
    batch = next(iter(training_loader(prepare(settings, None), settings, 1, pin_memory=False)))
    before = next(iter(training_loader(prepare(settings, None), study.trials[0], 1, pin_memory=False)))
    changed = [not np.array_equal(batch[key], before[key]) for key in ("moving", "fixed")]
    assert any(changed)


def test_a_study_without_augmentation_is_read_without_monai():
    code = "import sys; from smoothmorph.experiments import load_study; load_study('demo'); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "smoothmorph.pipeline.settings.schema" in loaded
    assert not {"monai", "torch", "smoothmorph.pipeline.settings.augmentation"} & set(loaded)


@pytest.mark.parametrize("dims", [2, 3])
def test_a_flip_of_the_first_axis_is_one_draw_for_all_that_it_is_given(dims):
    given, drawn = pair(dims), set()
    flip = {"transform": "RandFlipd", "keys": list(KEYS), "prob": 0.5, "spatial_axis": 0}
    for place in range(20):
        made = Augmentation([flip], seed=0)(given, 1, place)
        flipped = [torch.equal(made[key], given[key].flip(1)) for key in KEYS]
        same = [torch.equal(made[key], given[key]) for key in KEYS]
        assert all(flipped) or all(same)
        drawn.add(flipped[0])
    assert drawn == {True, False}
