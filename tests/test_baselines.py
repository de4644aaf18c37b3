"""Methods without training: displacements follow the contract, trials resume, and rows are like those of networks."""

import io
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from rich.console import Console
from scipy.ndimage import gaussian_filter

from smoothmorph.experiments.run.runner import run_study
from smoothmorph.experiments.study.study import load_study
from smoothmorph.pipeline.evaluation.finished_pairs import FinishedPairs
from smoothmorph.pipeline.methods import elastix
from smoothmorph.pipeline.methods.without_training import by_baseline
from smoothmorph.pipeline.settings.schema import TrialSettings, parse
from smoothmorph.pipeline.settings.vocabulary import METHODS, without_objective
from smoothmorph.pipeline.trial import TrialFailed, prepare, run_trial
from smoothmorph.transforms import InputError, warp

SHAPES = {2: (40, 48), 3: (18, 20, 24)}
SPACINGS = {2: (1.0, 2.5), 3: (0.8, 1.0, 1.3)}
FEW = {"iterations": [30, 6]}


@pytest.fixture(autouse=True)
def few_iterations(monkeypatch):
    """Parameters of elastix for small images."""
    few = {"MaximumNumberOfIterations": ("80",), "NumberOfSpatialSamples": ("800",)}
    monkeypatch.setattr(elastix, "PARAMETERS", elastix.PARAMETERS | few)


def settings_of(method, dims=2, **sections) -> TrialSettings:
    """A trial on the tiny cohort."""
    values = {
        "cohort": {"reader": "table", "file": "subjects.csv", "spatial_dims": dims},
        "split": {"train": 0.5, "validation": 0.25, "test": 0.25},
        "pairs": {"validation": 2, "test": 3},
        "model": {"method": method},
        "baseline": FEW,
        "compute": {"device": "cpu", "threads": 1},
    }
    return parse(TrialSettings, {**values, **sections}, "test")


def sample(image, dims):
    tensor = torch.from_numpy(np.ascontiguousarray(image, np.float32))[None]
    return {"id": "someone", "image": tensor, "label": None, "landmarks": None, "spacing": SPACINGS[dims]}


def blobs(dims):
    """A smooth texture that fades to 0 at the border and differs along each axis."""
    texture = gaussian_filter(np.random.default_rng(0).normal(size=SHAPES[dims]), 1.5)
    grid = np.meshgrid(*[np.linspace(-1, 1, size) for size in SHAPES[dims]], indexing="ij")
    window = np.prod([np.clip(1.6 * (1 - axis**2), 0, 1) for axis in grid], axis=0)
    return (texture / texture.std() * 0.2 + 1) * window


def translated(image, translation):
    """Images (moving, fixed) with moving(x + t) = fixed(x)."""
    dims = image.ndim
    back = torch.tensor([-step for step in translation]).view(1, dims, *[1] * dims).expand(1, dims, *image.shape)
    moving = warp(torch.from_numpy(image)[None, None].float(), back, padding_mode="zeros")[0, 0].numpy()
    return moving, image


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("method", ["syn", "elastix"])
def test_a_known_translation_comes_back_in_voxels_and_in_axis_order(method, dims, tmp_path, monkeypatch):
    """The translation differs in size and sign between axes, and voxels are anisotropic."""
    monkeypatch.chdir(tmp_path)
    translation = (1.5, -1.0, 0.75)[:dims]
    moving, fixed = translated(blobs(dims), translation)
    registration, seconds = by_baseline(settings_of(method, dims))(sample(moving, dims), sample(fixed, dims))
    assert seconds > 0
    inside = (slice(None), *(slice(size // 3, -(size // 3)) for size in SHAPES[dims]))
    found = registration.displacement[0][inside].flatten(1).median(dim=1).values
    assert found.tolist() == pytest.approx(translation, abs=0.25)
    after, before = ((image - fixed)[inside[1:]].std() for image in (registration.warped[0, 0].numpy(), moving))
    assert after < 0.4 * before
    assert torch.equal(registration.velocity, registration.displacement)
    assert not any(tmp_path.iterdir())  # the tools write no files to the working directory


@pytest.mark.parametrize("dims", [2, 3])
def test_elastix_gives_the_same_on_several_threads(dims):
    """With several threads, its two metrics would crash the process."""
    moving, fixed = translated(blobs(dims), (1.5, -1.0, 0.75)[:dims])
    images = [image.astype(np.float32) for image in (moving, fixed)]
    one, two = (elastix.elastix(*images, SPACINGS[dims], 6, 5, threads=threads) for threads in (1, 2))
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("dims", [2, 3])
def test_our_warp_by_the_displacement_is_the_tools_own_warped_image(dims, monkeypatch):
    """The difference to ANTs and elastix is below 1e-3 of the range, away from the border."""
    ants, itk = pytest.importorskip("ants"), pytest.importorskip("itk")
    moving, fixed = translated(blobs(dims), (1.5, -1.0, 0.75)[:dims])
    theirs, register = {}, ants.registration

    def keep_ants(*args, **settings):
        found = register(*args, **settings)
        theirs["syn"] = found["warpedmovout"].numpy()
        return found

    monkeypatch.setattr(ants, "registration", keep_ants)
    monkeypatch.setitem(elastix.PARAMETERS, "WriteResultImage", ("true",))
    loaded, made = elastix.load(dims), []

    class Kept:
        @staticmethod
        def New(*images):  # noqa: N802 (ITK's)
            made.append(loaded[1].registration.New(*images))
            return made[-1]

    monkeypatch.setattr(elastix, "load", lambda dims: (loaded[0], loaded[1]._replace(registration=Kept)))
    for method in ("syn", "elastix"):
        ours, _ = by_baseline(settings_of(method, dims))(sample(moving, dims), sample(fixed, dims))
        if method == "elastix":
            theirs[method] = itk.array_from_image(made[-1].GetOutput()).T
        inside = tuple(slice(3, -3) for _ in range(dims))
        difference = np.abs(ours.warped[0, 0].numpy() - theirs[method])[inside].max()
        assert difference < 1e-3 * np.ptp(moving)
        assert np.abs(theirs[method] - moving)[inside].max() > 0.1 * np.ptp(moving)  # the image was really changed


@pytest.mark.parametrize("method", [name for name in without_objective() if not METHODS[name].reads_files])
@pytest.mark.parametrize("dims", [2, 3])
def test_a_trial_has_the_rows_of_a_network_and_repeats_bit_for_bit(method, dims, tiny_cohort, tmp_path):
    settings, events = settings_of(method, dims, baseline={"iterations": [20, 2]}), []
    for name in ("one", "two"):
        run_trial(settings, tmp_path / name, tiny_cohort(dims), events.append)
    one, two = (pd.read_parquet(tmp_path / name / "pairs.parquet") for name in ("one", "two"))
    pd.testing.assert_frame_equal(one.drop(columns="seconds"), two.drop(columns="seconds"), check_exact=True)
    prepared = prepare(settings, tiny_cohort(dims))
    assert list(zip(one["moving"], one["fixed"], strict=True)) == list(prepared.test_pairs)
    assert (one["trial"] == settings.trial_id(prepared.fingerprint)).all()
    assert set(one["model"]) == {method}
    assert (set(one["penalty"]), set(one["lambda"])) == ({"none"}, {0.0})
    measured = ["mse", "ncc", "dice", "hd95", "displacement_sdlogj", "velocity_nonpositive_percent", "seconds"]
    assert one[measured].notna().all(axis=None)
    if method == "identity":
        assert one["mse"].to_numpy() == pytest.approx(one["mse_before"].to_numpy(), rel=1e-6)
        assert one["dice"].tolist() == one["dice_before"].tolist()
        assert (one[["displacement_sdlogj", "displacement_magnitude"]] == 0).all(axis=None)
    else:
        assert one["dice"].mean() > one["dice_before"].mean() + 0.05
    kept = {path.name for path in (tmp_path / "one").iterdir()}
    assert kept == {"trial.yaml", "environment.json", "examples.npz", "pairs.parquet", "log.txt"}
    assert {event.stage for event in events} >= {"registering", "done"}
    packages = json.loads((tmp_path / "one" / "environment.json").read_text())["packages"]
    assert {METHODS[name].package for name in without_objective()} & {*packages} == {METHODS[method].package} - {""}


def test_a_trial_that_was_stopped_goes_on_from_its_last_pair(tiny_cohort, tmp_path):
    settings, done = settings_of("syn"), []

    def stop(event):
        if event.stage == "registering" and event.done == 2:
            raise KeyboardInterrupt

    run_trial(settings, tmp_path / "whole", tiny_cohort(2))
    with pytest.raises(KeyboardInterrupt):
        run_trial(settings, tmp_path / "part", tiny_cohort(2), stop)
    kept = sorted((tmp_path / "part" / "finished").iterdir())
    assert len(kept) == 2
    before = [json.loads(str(np.load(path)["row"]))["seconds"] for path in kept]
    kept[1].write_bytes(kept[1].read_bytes()[:100])  # and damage one file
    run_trial(settings, tmp_path / "part", tiny_cohort(2), lambda event: done.append(event.stage))
    whole, part = (pd.read_parquet(tmp_path / name / "pairs.parquet") for name in ("whole", "part"))
    pd.testing.assert_frame_equal(whole.drop(columns="seconds"), part.drop(columns="seconds"), check_exact=True)
    assert part["seconds"].iloc[0] == before[0]
    assert part["seconds"].iloc[1] != before[1]
    examples = [np.load(tmp_path / name / "examples.npz") for name in ("whole", "part")]
    assert all(np.array_equal(examples[0][name], examples[1][name]) for name in examples[0].files)


def test_finished_pairs_of_another_trial_are_not_taken(tmp_path):
    pairs, about = FinishedPairs(tmp_path / "finished"), {"trial": "syn_1", "moving": "a", "fixed": "b"}
    assert pairs.read(0, about) is None
    pairs.write(0, {**about, "dice/left & right": 0.5, "loss": float("nan")}, {"warped": np.eye(2)})
    kept = pairs.read(0, about)
    assert kept is not None
    row, example = kept
    assert row["dice/left & right"] == 0.5
    assert np.isnan(row["loss"])
    assert np.array_equal(example["warped"], np.eye(2))
    for key in about:
        assert pairs.read(0, {**about, key: "other"}) is None
    assert FinishedPairs(tmp_path / "finished", "another network").read(0, about) is None
    pairs.clear()
    assert pairs.read(0, about) is None


def test_a_package_that_is_not_installed_is_one_sentence_before_anything_runs(monkeypatch, tiny_cohort, tmp_path):
    monkeypatch.setitem(METHODS._entries, "syn", replace(METHODS["syn"], package="antspyx-that-is-not-there"))
    sentence = r"model\.method = syn needs the package antspyx-that.*pip install antspyx-that-is-not-there`"
    with pytest.raises(InputError, match=sentence):
        METHODS["syn"].require()
    for method in ("identity", "elastix", "voxelmorph"):
        METHODS[method].require()
    with pytest.raises(InputError, match=sentence):
        run_trial(settings_of("syn"), tmp_path / "trial", tiny_cohort(2))
    assert not (tmp_path / "trial").exists()
    study = tmp_path / "study.yaml"
    study.write_text(yaml.safe_dump({"name": "tried", "axes": {"model.method": ["voxelmorph", "syn"]}}))
    with pytest.raises(InputError, match=sentence):
        run_study(
            load_study(str(study)), tmp_path / "run", console=Console(file=io.StringIO()),
            task=lambda *_: pytest.fail("something ran"), fingerprint=lambda *_: "data",
        )  # fmt: skip


def test_a_tool_that_gives_up_is_one_sentence(monkeypatch):
    def fail(*_):
        raise RuntimeError("Too many samples map outside\nmoving image buffer")

    monkeypatch.setattr(elastix, "by_elastix", lambda settings: fail)
    with pytest.raises(TrialFailed, match=r"^elastix cannot register someone to someone: Too many .* buffer$"):
        by_baseline(settings_of("elastix"))(sample(blobs(2), 2), sample(blobs(2), 2))


def test_a_baseline_is_the_same_trial_whatever_networks_are_trained_by():
    one = settings_of("syn")
    for changes in ({"objective": {"lambda": 0.5}}, {"training": {"epochs": 1}}, {"seed": 5}, {"compute": {}}):
        assert settings_of("syn", **changes).trial_id("data") == one.trial_id("data")
    for changes in ({"baseline": {"iterations": [5]}}, {"pairs": {"test": 9}}, {"model": {"method": "identity"}}):
        assert settings_of("syn", **changes).trial_id("data") != one.trial_id("data")
    smoother = settings_of("syn", baseline={**FEW, "total_variance": 1.0})
    assert smoother.trial_id("data") != one.trial_id("data")
    assert "update_variance" not in one.identity()["baseline"]  # as it was before SyN's smoothing could be set
    assert settings_of("elastix", seed=5).trial_id("data") != settings_of("elastix").trial_id("data")
    network = settings_of("voxelmorph")
    assert settings_of("voxelmorph", baseline={"iterations": [5]}).trial_id("data") == network.trial_id("data")
    assert "method" not in network.identity()["model"]


@pytest.mark.parametrize(
    ("study", "networks", "methods"),
    [
        ("baselines", "regularizers", ("identity", "syn", "elastix")),
        ("hippocampus-baselines", "hippocampus", ("identity", "elastix")),
    ],
)
def test_the_studies_of_baselines_are_on_the_pairs_of_networks(study, networks, methods):
    trials, others = load_study(study).trials, load_study(networks).trials
    assert tuple(trial.model.method for trial in trials) == methods
    for part in ("cohort", "split", "pairs"):
        assert {getattr(trial, part) for trial in trials} == {getattr(trial, part) for trial in others}
