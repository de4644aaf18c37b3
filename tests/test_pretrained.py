"""The method `pretrained` measures an existing network; its rows are those of the trial that trained it."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch

from knob_model import write_knob
from smoothmorph.pipeline import prepare
from smoothmorph.pipeline.models.suitability import differences, digest_of
from smoothmorph.pipeline.models.trained_model import open_trained
from smoothmorph.pipeline.settings.schema import SHARED, TrialSettings, from_identity, parse
from smoothmorph.pipeline.trial import run_trial
from smoothmorph.transforms import InputError
from test_conditional import trial

OWN = ["trial", "method", "seconds"]


def pretrained(network: object, /, **sections) -> TrialSettings:
    """A trial on the tiny cohort that takes a network."""
    values = {"objective": {"condition": {"penalties": []}}, "model": {"method": "pretrained"}}
    own = {"model": str(network), **sections.pop("pretrained", {})}
    for section, changes in sections.items():
        values[section] = {**values.get(section, {}), **changes}
    return trial(pretrained=own, **values)


def rows_of(settings: TrialSettings, folder: Path, root: Path) -> pd.DataFrame:
    run_trial(settings, folder, root)
    return pd.read_parquet(folder / "pairs.parquet")


def test_the_rows_are_those_of_the_trial_that_trained_the_network(tiny_cohort, tmp_path):
    refined = {"refinement": {"steps": 2}}
    own = rows_of(trial(**refined), tmp_path / "trained", tiny_cohort(2))
    file = next((tmp_path / SHARED).iterdir()) / "model.safetensors"
    for number, model in enumerate((tmp_path / "trained", file)):  # the network of one λ, and that of all
        again = rows_of(pretrained(model, **refined), tmp_path / f"pretrained{number}", tiny_cohort(2))
        pd.testing.assert_frame_equal(again.drop(columns=OWN), own.drop(columns=OWN), check_exact=True)
        assert set(again["method"]) == {"pretrained"}
        assert again["refinement_steps"].tolist() == [0, 0, 2, 2]
        assert again["trial"].iloc[0].startswith("l2_0.1_diffeomorphic_pretrained_")
    assert not (tmp_path / "pretrained1" / "model.safetensors").exists()


def test_a_network_computes_in_float32_as_register_does_whatever_it_was_trained_in(tiny_cohort, tmp_path):
    in_training = rows_of(trial(training={"precision": "bfloat16"}), tmp_path / "trained", tiny_cohort(2))
    rows = rows_of(pretrained(tmp_path / "trained"), tmp_path / "pretrained", tiny_cohort(2))
    network = open_trained(tmp_path / "trained").network
    settings = pretrained(tmp_path / "trained")
    prepared = prepare(settings, tiny_cohort(2))
    for row in rows.itertuples():
        moving, fixed = (prepared.samples[name]["image"][None] for name in (row.moving, row.fixed))
        with torch.no_grad():
            warped = network(moving, fixed).warped
        assert row.mse == pytest.approx(float((warped - fixed).square().mean()), rel=1e-5)
    assert not (rows["mse"] == in_training["mse"]).all()


def test_a_network_for_many_lambda_is_taken_at_that_of_the_trial(tiny_cohort, tmp_path):
    file = write_knob(tmp_path / "knob.safetensors")
    rough = []
    for weight in (0.01, 0.1, 1.0):
        settings = pretrained(file, model={"integration_steps": 0}, objective={"lambda": weight})
        rows = rows_of(settings, tmp_path / f"{weight}", tiny_cohort(2))
        assert rows[["penalty", "lambda", "model"]].drop_duplicates().to_numpy().tolist() == [
            ["l2", weight, "displacement"]
        ]
        rough.append(rows["displacement_sdlogj"].mean())
    assert rough[0] > rough[1] > rough[2] == pytest.approx(0, abs=1e-6)


def test_the_section_is_part_of_the_id_of_this_method_only():
    def ids(**sections):
        methods = ({}, {"method": "optimization"}, {"method": "syn"}, {"method": "pretrained"})
        return [parse(TrialSettings, {"model": model, **sections}, "test").trial_id("data") for model in methods]

    before = ids()
    for own in ({"model": "other"}, {"digest": "0" * 12}):
        after = ids(pretrained=own)
        assert [one == other for one, other in zip(before, after, strict=True)] == [True, True, True, False]
    unused = ids(refinement={"tolerance": 0.5}, training={"epochs": 1})
    assert unused[3] == before[3]
    used = ids(refinement={"steps": 3})
    assert [one == other for one, other in zip(before, used, strict=True)] == [False, True, True, False]
    settings = parse(TrialSettings, {"model": {"method": "pretrained"}}, "test")
    assert not settings.concerns("refinement.tolerance")
    assert settings.concerns("refinement.steps")
    assert "pretrained" not in parse(TrialSettings, {}, "test").identity()
    assert from_identity(settings.identity(), "test").trial_id("data") == before[3]


@pytest.fixture(scope="module")
def models(tmp_path_factory, tiny_cohort) -> Path:
    """A folder with a network for many λ, of displacements, and a trial's folder with one for l2 at λ = 0.1."""
    folder = tmp_path_factory.mktemp("models")
    write_knob(folder / "knob.safetensors")
    short = {"epochs": 1, "steps_per_epoch": 1}
    run_trial(trial(objective={"condition": {"penalties": []}}, training=short), folder / "plain", tiny_cohort(2))
    return folder


DISPLACEMENT = {"model": {"integration_steps": 0}}


@pytest.mark.parametrize(
    ("model", "sections", "sentence"),
    [
        (
            "none",
            {},
            "no model at .*none; give the folder of a trial that trained a network, a file, or a name; shipped ",
        ),
        (
            "plain",
            {"objective": {"lambda": 0.2}},
            "was trained for l2 at λ = 0.1, but the trial asks for l2 at λ = 0.2;",
        ),
        (
            "plain",
            {"objective": {"penalty": "l1"}},
            "was trained for l2 at λ = 0.1, but the trial asks for l1 at λ = 0.1",
        ),
        ("plain", DISPLACEMENT, "is a diffeomorphic model, but model.integration_steps is 0; set it to 7"),
        (
            "plain",
            {"objective": {"similarity": "ncc"}},
            "trained with objective.similarity mse, but the trial has ncc;",
        ),
        ("plain", {"pretrained": {"digest": "0" * 12}}, "but pretrained.digest is 000000000000: it is another network"),
        ("knob.safetensors", {}, "is a displacement model, but model.integration_steps is 7; set it to 0"),
        (
            "knob.safetensors",
            {**DISPLACEMENT, "objective": {"lambda": 5}},
            "knob.safetensors: λ = 5 of l2 is out of the trained range; the highest is 1",
        ),
        (
            "knob.safetensors",
            {**DISPLACEMENT, "objective": {"penalty": "curvature"}},
            "the network knows the penalties l2, l1, but not curvature",
        ),
    ],
)
def test_a_network_that_does_not_fit_the_trial_is_one_sentence(
    models, model, sections, sentence, tiny_cohort, tmp_path
):
    with pytest.raises(InputError, match=sentence) as error:
        run_trial(pretrained(models / model, **sections), tmp_path / "trial", tiny_cohort(2))
    assert "\n" not in str(error.value)


def test_a_network_with_other_axes_is_one_sentence(models, tiny_cohort, tmp_path):
    settings = pretrained(models / "plain", cohort={"spatial_dims": 3})
    with pytest.raises(InputError, match=r"is for 2-D images, but cohort.spatial_dims is 3; choose another network"):
        run_trial(settings, tmp_path / "trial", tiny_cohort(3))


@pytest.mark.parametrize("digest", ["abc", "Z" * 12])
def test_a_digest_is_twelve_digits(digest):
    with pytest.raises(InputError, match=r"pretrained\.digest = .*: expected the first 12 hexadecimal digits"):
        pretrained("brain-2d", pretrained={"digest": digest})


def test_the_right_digest_is_accepted_and_noted(models, tiny_cohort, tmp_path):
    digest = digest_of(models / "plain" / "model.safetensors")
    run_trial(pretrained(models / "plain", pretrained={"digest": digest}), tmp_path / "trial", tiny_cohort(2))
    assert digest in (tmp_path / "trial" / "log.txt").read_text()


def test_images_unlike_those_of_the_training_are_noticed(models, tiny_cohort):
    settings = pretrained(models / "plain")
    prepared, found = prepare(settings, tiny_cohort(2)), open_trained(models / "plain")
    assert [*differences(found, settings, prepared)] == []
    assert found.images.tissue is not None
    other = replace(found.images, spacing=(1.0, 2.0), axes="LAS", tissue=found.images.tissue * 10)
    grid, orientation, units = differences(replace(found, images=other), settings, prepared)
    assert grid.startswith("the images have voxels of 1x1 mm, but the network was trained on voxels of 1x2 mm")
    assert orientation.startswith("the images have the orientation RAS, but the network was trained on LAS")
    assert units.endswith("; multiply the images by 10")
    scaled = pretrained(models / "plain", cohort={"intensity": "minmax"})
    assert [*differences(found, scaled, prepared)] == [
        "cohort.intensity is minmax, but the network was trained with none"
    ]


def test_slices_of_another_plane_are_refused_or_noticed_before_more_training(models, tiny_cohort):
    settings = pretrained(models / "plain")
    prepared, found = prepare(settings, tiny_cohort(2)), open_trained(models / "plain")
    axial = replace(found, images=replace(found.images, axes="RPS"))
    coronal = replace(axial, images=replace(found.images, axes="RSA"))
    meant = "the images are slices of the axial plane, but the network was trained on slices of the coronal one"
    (orientation,) = differences(axial, settings, prepared)
    assert orientation.startswith("the images have the orientation RAS")
    with pytest.raises(InputError, match=f"^{meant}; choose another network"):
        list(differences(coronal, settings, prepared))
    assert [*differences(coronal, settings, prepared, same_plane=False)] == [meant]
