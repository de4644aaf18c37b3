"""A MONAI bundle of a trained network: MONAI verifies and runs it, with the same results as the network."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
from monai.bundle import scripts
from monai.bundle.config_parser import ConfigParser
from monai.bundle.workflows import ConfigWorkflow
from monai.data.torchscript_utils import load_net_with_metadata

from monai_schema import SCHEMA
from smoothmorph.networks import VoxelMorph, load_model, refine, save_model
from smoothmorph.pipeline.cohorts.cohort import Subject
from smoothmorph.pipeline.cohorts.loading import file_transforms
from smoothmorph.pipeline.exports.bundle import write_bundle
from smoothmorph.pipeline.exports.bundle.configs import inference
from smoothmorph.pipeline.exports.formats import export
from smoothmorph.pipeline.models.card_texts import CardTexts
from smoothmorph.pipeline.models.trained_model import about, open_trained
from smoothmorph.pipeline.pair_list import read_pairs
from smoothmorph.pipeline.settings.schema import CohortSettings, TrialSettings, parse
from smoothmorph.pipeline.training.parts import build_objective
from smoothmorph.pipeline.trial import run_trial
from smoothmorph.transforms import InputError, read_field, warp

pytestmark = pytest.mark.filterwarnings("ignore:parsing config_file:UserWarning", "ignore:No hash value:UserWarning")


def settings_of(dims: int) -> TrialSettings:
    """A diffeomorphic model for unscaled images, and a displacement model for scaled and padded images."""
    cohort = {"reader": "table", "file": "subjects.csv", "spatial_dims": dims}
    values = {
        "cohort": cohort | ({"size": [18, 18, 20], "intensity": "minmax"} if dims == 3 else {}),
        "split": {"train": 0.5, "validation": 0.25, "test": 0.25},
        "pairs": {"validation": 2, "test": 2},
        "model": {"integration_steps": 7 if dims == 2 else 0, "padding_mode": "zeros" if dims == 2 else "border"},
        "training": {"epochs": 1, "steps_per_epoch": 2},
        "compute": {"device": "cpu", "threads": 1},
    }
    return parse(TrialSettings, values, "test")


@pytest.fixture(scope="module", params=[2, 3])
def trial(request, tiny_cohort, tmp_path_factory) -> Path:
    """A trial whose network moves images by about a voxel, which it would not learn in two steps of training."""
    folder = tmp_path_factory.mktemp("trial")
    settings = settings_of(request.param)
    run_trial(settings, folder, tiny_cohort(request.param))
    trained = open_trained(folder)
    assert trained.images.shape == ((32, 32) if request.param == 2 else (18, 18, 20))
    assert trained.images.spacing == (1.0,) * request.param
    assert trained.settings is not None
    assert trained.settings.identity() == settings.identity()
    assert trained.trial
    torch.manual_seed(0)
    torch.nn.init.normal_(trained.network.unet.convolutions[-1].weight, std=2.0)
    told = about(trained.trial, settings, trained.images)
    save_model(folder / "model.safetensors", trained.network, told)
    return folder


@pytest.fixture(scope="module")
def bundle(trial, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("exported") / "mine"
    write_bundle(
        open_trained(trial), out, rows=pd.read_parquet(trial / "pairs.parquet"), texts=CardTexts("A. Nonymous")
    )
    return out


def test_monai_verifies_it(bundle, tmp_path):
    schema = tmp_path / "schema.json"  # MONAI would download the schema, but uses an existing file
    schema.write_text(json.dumps(SCHEMA))
    metadata, config = str(bundle / "configs/metadata.json"), str(bundle / "configs/inference.json")
    scripts.verify_metadata(meta_file=metadata, filepath=schema)
    scripts.verify_net_in_out("network_def", meta_file=metadata, config_file=config, device="cpu")
    workflow = ConfigWorkflow(config, metadata, logging_file=False, workflow_type="infer", bundle_root=str(bundle))
    workflow.initialize()
    assert workflow.check_properties() == []
    assert {path.name for path in bundle.iterdir()} == {"configs", "docs", "models", "sample_data", "LICENSE"}
    assert "Apache License" in (bundle / "LICENSE").read_text()


def test_the_schema_refuses_what_monai_requires(bundle, tmp_path):
    schema, changed = tmp_path / "schema.json", tmp_path / "metadata.json"
    schema.write_text(json.dumps(SCHEMA))
    values = json.loads((bundle / "configs/metadata.json").read_text())
    del values["network_data_format"]["outputs"]["pred"]["dtype"]
    changed.write_text(json.dumps(values))
    with pytest.raises(ValueError, match="Failed validating"):
        scripts.verify_metadata(meta_file=str(changed), filepath=schema)


@pytest.fixture
def images(tiny_cohort, bundle, tmp_path):
    """Two pairs of the cohort with changed intensities and headers; the moving image is a one-slice volume."""
    network = load_network(bundle)
    folder, dims = tmp_path / "images", network.spatial_dims
    folder.mkdir()
    affine = np.array([[0, 0, 2, 5], [2, 0, 0, -7], [0, 2, 0, 11], [0, 0, 0, 1.0]])
    for index in range(4):
        image = np.asarray(nib.load(tiny_cohort(dims) / f"image{index}.nii.gz").dataobj)
        image = image[..., None] if dims == 2 and index % 2 == 0 else image
        place = affine.copy()
        place[:3, 3] += index
        nib.save(nib.Nifti1Image(200 * image.astype(np.float32), place), folder / f"i{index}.nii.gz")
    pairs = [
        {"moving": "i0.nii.gz", "fixed": "i1.nii.gz"},
        {"moving": "i2.nii.gz", "fixed": "i3.nii.gz", "name": "other"},
    ]
    (folder / "pairs.json").write_text(json.dumps(pairs))
    return folder


def read(file: Path, settings: CohortSettings) -> torch.Tensor:
    """An image (1, *spatial) as a trial reads it."""
    return file_transforms(settings)(Subject("a", "a", file).item)["image"]


def load_network(bundle: Path):
    """The network built from the bundle's configuration and weights."""
    parser = ConfigParser(json.loads((bundle / "configs/inference.json").read_text()))
    network = parser.get_parsed_content("network_def")
    network.load_state_dict(torch.load(bundle / "models/model.pt", weights_only=True))
    return network.network


def test_inference_writes_what_the_network_computes(trial, bundle, images, tmp_path):
    out = tmp_path / "registered"
    scripts.run(
        config_file=str(bundle / "configs/inference.json"),
        bundle_root=str(bundle),
        pairs=str(images / "pairs.json"),
        output_dir=str(out),
        device="cpu",
        logging_file=False,
    )
    trained = open_trained(trial)
    settings, dims = trained.settings.cohort, trained.network.spatial_dims
    for name, moving, fixed in (("i0_to_i1", "i0", "i1"), ("other", "i2", "i3")):
        pair = [read(images / f"{file}.nii.gz", settings)[None] for file in (moving, fixed)]
        own = read(images / f"{moving}.nii.gz", settings.model_copy(update={"intensity": "none"}))[None]
        with torch.no_grad():
            displacement = trained.network(*pair).displacement
        assert float(displacement.abs().mean()) > 0.2
        warped = warp(own, displacement, padding_mode=trained.network.padding_mode)
        if settings.size is not None:  # padding is cropped again
            inside = (..., *[slice((length - 16) // 2, (length - 16) // 2 + 16) for length in settings.size])
            displacement, warped = displacement[inside], warped[inside]
        file = nib.load(images / f"{fixed}.nii.gz")
        written = nib.load(out / name / f"{name}_warped.nii.gz")
        values = np.asarray(written.dataobj).reshape(warped.shape[2:])
        np.testing.assert_allclose(values, warped[0, 0].numpy(), rtol=0, atol=1e-4 * 200)
        np.testing.assert_allclose(written.affine, file.affine, atol=1e-5)
        field = read_field(out / name / f"{name}_displacement.nii.gz")
        assert field.fixed.shape == file.shape[:dims]
        np.testing.assert_allclose(field.fixed.affine, file.affine, atol=1e-5)
        torch.testing.assert_close(field.displacement, displacement[0], rtol=0, atol=1e-3)


def test_inference_refines_each_pair_by_a_second_config(trial, bundle, images, tmp_path):
    scripts.run(
        config_file=[str(bundle / "configs/inference.json"), str(bundle / "configs/refine.json")],
        bundle_root=str(bundle),
        pairs=str(images / "pairs.json"),
        output_dir=str(tmp_path),
        device="cpu",
        logging_file=False,
        **{"refinement::steps": 10},
    )
    trained = open_trained(trial)
    settings, network = trained.settings.cohort, trained.network
    pair = [read(images / f"{file}.nii.gz", settings)[None] for file in ("i0", "i1")]
    found = refine(network, build_objective(trained.settings), *pair, steps=10)
    assert found.gained > 0
    displacement = found.registration.displacement[0]
    if settings.size is not None:
        displacement = displacement[(..., *[slice((n - 16) // 2, (n - 16) // 2 + 16) for n in settings.size])]
    written = read_field(tmp_path / "i0_to_i1" / "i0_to_i1_displacement.nii.gz")
    torch.testing.assert_close(written.displacement, displacement, rtol=0, atol=1e-3)
    assert (tmp_path / "other" / "other_warped.nii.gz").exists()


def test_the_script_computes_the_same_without_smoothmorph(trial, bundle):
    script, told, _ = load_net_with_metadata(bundle / "models/model.ts")
    assert told == json.loads((bundle / "configs/metadata.json").read_text())
    network, shape = load_model(trial / "model.safetensors"), open_trained(trial).shape_or(None)
    pair = torch.rand(2, 2, *shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(script(pair), network(pair[:, :1], pair[:, 1:]).displacement, rtol=0, atol=1e-5)
    with pytest.raises(torch.jit.Error, match="this network takes images"):
        script(torch.zeros(1, 2, *(length + 16 for length in shape)))


def test_monai_loads_it_by_its_name(trial, bundle):
    network = scripts.load(
        bundle.name, workflow_type="inference", bundle_dir=bundle.parent, source="github", device="cpu"
    )
    expected = load_model(trial / "model.safetensors").state_dict()
    assert all(torch.equal(weight, expected[name]) for name, weight in network.network.state_dict().items())


def test_the_model_card_tells_what_was_measured(trial, bundle):
    card = (bundle / "docs/README.md").read_text(encoding="utf-8")
    metrics = json.loads((bundle / "configs/metadata.json").read_text())["eval_metrics"]
    rows = pd.read_parquet(trial / "pairs.parquet")
    assert metrics["mse"] == pytest.approx(rows["mse"].mean(), rel=1e-3)
    assert f"| Dice (mean over labels) | {metrics['dice_before']} | {metrics['dice']} |" in card
    assert "Means over 2 test pairs" in card
    assert "Authors: A. Nonymous" in card
    assert str(rows["trial"][0]) in card
    assert "{" not in card.replace('{"moving"', "")


def test_the_card_tells_refined_rows_apart(trial, tmp_path):
    rows = pd.read_parquet(trial / "pairs.parquet")
    alone, refined = rows.assign(refinement_steps=0), rows.assign(refinement_steps=50, mse=rows["mse"] / 2)
    texts = CardTexts(images="hearts of volunteers", terms="For research only.", note="As it was found.")
    write_bundle(open_trained(trial), tmp_path / "out", rows=pd.concat([alone, refined]), texts=texts)
    card = (tmp_path / "out/docs/README.md").read_text(encoding="utf-8")
    mean, half = (float(f"{value:.4g}") for value in (rows["mse"].mean(), rows["mse"].mean() / 2))
    assert "| | before | after | after at most 50 steps of refinement |\n|---|---|---|---|\n" in card
    assert f"| {mean} | {half} |" in card
    assert "Means over 2 test pairs" in card
    assert "\nAs it was found.\n" in card
    assert "- Trained on: hearts of volunteers.\n" in card
    assert "\nFor research only.\n" in card


def test_an_export_of_an_exported_model_keeps_its_terms(trial, tmp_path):
    texts = CardTexts("A. Nonymous", "hearts of volunteers", "For research only.", "As it was found.")
    export(open_trained(trial), "model", tmp_path / "one.safetensors", texts=texts)
    export(open_trained(tmp_path / "one.safetensors"), "model", tmp_path / "two.safetensors")
    export(open_trained(tmp_path / "two.safetensors"), "bundle", tmp_path / "three", texts=CardTexts(authors="B. Else"))
    for card in (tmp_path / "two.md", tmp_path / "three/docs/README.md"):
        told = card.read_text(encoding="utf-8")
        assert "- Trained on: hearts of volunteers.\n" in told
        assert "\nFor research only.\n" in told
        assert ("A. Nonymous" if card.name == "two.md" else "B. Else") in told
        assert "As it was found." not in told  # that is of the first export
    for before, after in (("two", "four"), ("four", "five")):  # other terms are added, once
        own = CardTexts(terms="Ask us first.")
        export(open_trained(tmp_path / f"{before}.safetensors"), "model", tmp_path / f"{after}.safetensors", texts=own)
        assert "\nFor research only. Ask us first.\n" in (tmp_path / f"{after}.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("card", [["terms"], {"note": "x"}, {"terms": 1}, {"terms": "x" * 20_000}])
def test_a_file_that_states_other_texts_is_one_sentence(card, trial, tmp_path):
    save_model(tmp_path / "bad.safetensors", load_model(trial / "model.safetensors"), {"card": card})
    with pytest.raises(InputError, match=r"bad\.safetensors: about\.card"):
        open_trained(tmp_path / "bad.safetensors")


def test_without_a_trial_the_card_says_that_nothing_is_known(trial, tmp_path):
    save_model(tmp_path / "bare.safetensors", load_model(trial / "model.safetensors"))
    trained = open_trained(tmp_path / "bare.safetensors")
    with pytest.raises(InputError, match="give --shape"):
        write_bundle(trained, tmp_path / "out")
    shape = (16,) * trained.network.spatial_dims
    write_bundle(trained, tmp_path / "out", shape)
    card = (tmp_path / "out/docs/README.md").read_text(encoding="utf-8")
    assert "Not measured." in card
    assert "How it was trained is not recorded." in card


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("intensity", ["none", "minmax", "percentile"])
def test_images_are_prepared_as_in_training(intensity, dims, tiny_cohort):
    check_preparation([tiny_cohort(dims) / f"image{index}.nii.gz" for index in (0, 1)], dims, intensity)


@pytest.mark.parametrize(
    ("files", "dims"),
    [
        (["neurite-oasis-2d/OASIS_OAS1_0001_MR1/slice_norm.nii.gz"] * 2, 2),
        ([f"Task04_Hippocampus/imagesTr/hippocampus_{number}.nii.gz" for number in ("003", "004")], 3),
    ],
)
def test_real_images_are_prepared_as_in_training(files, dims, real_data):
    check_preparation([real_data / file for file in files], dims, "percentile")


def check_preparation(files: list[Path], dims: int, intensity: str) -> None:
    settings = settings_of(dims)
    settings = settings.model_copy(update={"cohort": settings.cohort.model_copy(update={"intensity": intensity})})
    preparing = ConfigParser(inference(VoxelMorph(dims), settings)).get_parsed_content("preprocessing")
    prepared = preparing({"moving": files[0], "fixed": files[1], "name": "a"})
    for file, image, channel in zip(files, (prepared["moving"], prepared["fixed"]), prepared["image"], strict=True):
        expected = read(file, settings.cohort)
        assert torch.equal(image.as_tensor(), expected)
        assert torch.equal(channel.as_tensor(), expected[0])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "cannot read"),
        ("[", "is not valid JSON"),
        ("{}", "is not a list of pairs"),
        ("[]", "is not a list of pairs"),
        ('[{"moving": "a.nii"}]', 'pair 1 is {"moving": "a.nii"}; expected'),
        ('[{"moving": "a.nii", "fixed": 3}]', "every value must be text"),
        ('[{"moving": "a.nii", "fixed": "b.nii"}]', "the fixed image .*b.nii does not exist"),
        ('[{"moving": "a.nii", "fixed": "a.nii", "name": "x/y"}]', "cannot be a file name"),
        (
            '[{"moving": "a.nii", "fixed": "a.nii"}, {"moving": "a.nii", "fixed": "a.nii"}]',
            "two pairs with the name a_to_a",
        ),
    ],
)
def test_a_list_that_is_no_list_of_pairs(text, sentence, tmp_path):
    (tmp_path / "a.nii").touch()
    if text is not None:
        (tmp_path / "pairs.json").write_text(text)
    with pytest.raises(InputError, match=sentence):
        read_pairs(tmp_path / "pairs.json")
