"""A reader, a method and a backbone of another package work everywhere, and no text claims that they are ours."""

import html
import json
import os
import re
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml

import synthetic_run
from outside import entries
from smoothmorph.experiments.figures.fields import _suffix, field_figures
from smoothmorph.experiments.outputs.tables import collect
from smoothmorph.experiments.report.protocol import protocol
from smoothmorph.experiments.rows.naming import variant
from smoothmorph.experiments.store.run_folder import claim
from smoothmorph.experiments.study.json_schema import leaves
from smoothmorph.experiments.study.study import load_study
from smoothmorph.networks import BACKBONES, VoxelMorph, load_model, save_model, save_official
from smoothmorph.pipeline.cohorts.opening import list_cohort
from smoothmorph.pipeline.settings.schema import TrialSettings, parse
from smoothmorph.pipeline.settings.vocabulary import METHODS, READERS
from smoothmorph.transforms import InputError
from smoothmorph.transforms.basics.registry import Registry

TESTS = Path(__file__).parent
ENTRY_POINTS = """\
[smoothmorph.readers]
pictures = outside.entries:PICTURES
[smoothmorph.intensities]
window = outside.entries:WINDOW
[smoothmorph.random_transforms]
stripes = outside.entries:STRIPES
[smoothmorph.methods]
shift = outside.entries:SHIFT
[smoothmorph.backbones]
slim = outside.entries:SLIM
"""
STUDY = {
    "name": "drill",
    "base": {
        "cohort": {"reader": "pictures", "spatial_dims": 2, "intensity": "window"},
        "split": {"train": 0.4, "validation": 0.2, "test": 0.4},
        "pairs": {"validation": 2, "test": 6},
        "training": {"epochs": 2, "steps_per_epoch": 20, "learning_rate": 1e-2},
        "model": {"backbone": "slim", "slope": 0.1},
        "baseline": {"longest": 50},
        "compute": {"device": "cpu", "threads": 1},
    },
    "groups": [
        {"name": "networks", "axes": {"objective.lambda": [0.01, 1.0]}},
        {"name": "tools", "axes": {"model.method": ["identity", "shift"]}},
    ],
}
WAY = """
import glob, sys
from smoothmorph.experiments import figures
from smoothmorph.experiments.cli import app

def call(*words):
    print("$", *words, flush=True)
    code = app(list(words), standalone_mode=False)
    if code:
        print("exit", code, flush=True)

root, draw = sys.argv[1], figures.draw_figures
call("show", "study.yaml")
print("torch was loaded:", "torch" in sys.modules)
call("data", "check", "pictures", "--root", root)
figures.draw_figures = lambda *_: []  # `report` draws them
augment = "training.augment=[{transform: stripes, keys: [moving, fixed], most: 0.2}]"  # to check it loads torch
call("run", "study.yaml", "--set", augment, "--data-root", root, "--out", "run", "--workers", "1")
figures.draw_figures = draw
call("report", "run")
call("recommend", "run", "--max-folding", "5%")
model = glob.glob("run/l2_1_*")[0]
pair = [f"{root}/image0.nii.gz", f"{root}/image1.nii.gz"]
call("register", *pair, "--model", model, "--refine", "3", "--field", "field.nii.gz")
call("export", model, "bundle", "bundle")
call("export", model, "model", "slim.safetensors")
call("export", model, "official", "slim.pt")
"""


@pytest.fixture(scope="module")
def way(tmp_path_factory, tiny_cohort) -> tuple[Path, dict[str, str]]:
    """The folder of the study, and the output of each command."""
    folder = tmp_path_factory.mktemp("drill")
    site = folder / "site" / "outside-1.0.dist-info"
    site.mkdir(parents=True)
    (site / "METADATA").write_text("Metadata-Version: 2.1\nName: outside\nVersion: 1.0\n")
    (site / "entry_points.txt").write_text(ENTRY_POINTS)
    (folder / "study.yaml").write_text(yaml.safe_dump(STUDY))
    path = os.pathsep.join([str(site.parent), str(TESTS)])
    environment = os.environ | {"PYTHONPATH": path, "COLUMNS": "200", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", WAY, str(tiny_cohort(2))],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    parts = re.split(r"^\$ (\w+)", done.stdout, flags=re.MULTILINE)
    printed: dict[str, str] = {"errors": done.stderr}
    for command, text in zip(parts[1::2], parts[2::2], strict=True):
        printed[command] = printed.get(command, "") + text
    return folder, printed


def page(folder: Path) -> str:
    """The text of the report, without pictures."""
    text = re.sub(r"(?s)<(style|script).*?</\1>|data:[^\"]*", "", (folder / "run" / "report.html").read_text())
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", text)))


def test_every_command_goes_its_way(way):
    folder, printed = way
    assert "torch was loaded: False" in printed["show"]
    assert "12 subjects in 12 groups, 0 of them faulty" in printed["data"]
    assert "4 of 4 trials complete" in printed["run"]
    assert "Use l2 at λ =" in printed["recommend"]
    assert re.search(r"^refined +[\d.]+", printed["register"], re.MULTILINE)
    assert [command for command, text in printed.items() if "exit" in text] == ["export"]
    assert printed["export"].count("exit 2") == 1
    assert printed["errors"].splitlines() == [
        "error: this network has the backbone slim, which official VoxelMorph does not have; choose another kind "
        "of export."
    ]
    assert not (folder / "slim.pt").exists()
    figures = {path.stem for path in (folder / "run" / "figures").glob("*.svg")}
    assert figures >= {"similarity_vs_lambda", "folding_vs_lambda", "flow_fields", "pareto_front", "across_lambda"}


def test_the_method_is_in_every_table_and_statistic(way):
    folder, _ = way
    rows = pd.read_parquet(folder / "run" / "tables" / "rows.parquet")
    assert set(rows["model"]) == {"diffeomorphic", "identity", "shift"}
    dice = rows.groupby("model")["dice"].mean()
    assert dice["shift"] > 0.95 > 0.85 > dice["identity"]  # the discs differ by a shift of nearly whole voxels
    means = pd.read_csv(folder / "run" / "tables" / "means.csv")
    assert {"identity", "shift"} < set(means["model"])
    words = page(folder)
    assert "Without training, whole shift reaches a Dice" in words
    assert "whole shift one step of phase correlation, at most 50 voxels; seed 0 changes nothing" in words
    assert "the phase of both images tells; Kuglin and Hines, 1975" in words
    assert "whole shift" in (folder / "run" / "figures" / "pareto_front.svg").read_text()


def test_the_report_names_what_was_trained_on_what(way):
    folder, _ = way
    words = page(folder)
    trained, _, file = words.partition("The study file, drill.yaml")
    assert "voxelmorph" not in trained.lower()
    assert "official" not in trained
    assert file.lower().count("voxelmorph") == 1  # as the value of model.method
    assert (
        "Network Slim net, 2‑D, slope 0.1 (298 parameters); three convolutions on the grid of the integration; The "
        "outside" in words
    )
    assert "Cohort pictures of discs in one folder, 2‑D" in words
    assert "pip install -c constraints.txt -e . # and outside" in words
    assert "which is not part of smoothmorph smoothmorph run drill.yaml --data-root DIR" in words
    notes = [json.loads(path.read_text()) for path in (folder / "run").glob("*/environment.json")]
    assert [note["packages"]["outside"] for note in notes] == ["1.0"] * 4


def test_the_exports_name_their_network_and_its_images(way):
    folder, _ = way
    for card in (folder / "slim.md", folder / "bundle" / "docs" / "README.md"):
        text = card.read_text()
        assert "voxelmorph" not in text.lower()
        assert "Slim net, 298 parameters, scaling and squaring in 7 steps." in text
        assert "- Trained on: discs drawn by the outside package." in text
        assert "- The outside package, 2026" in text
    assert "Nobody minds what is done with the discs." in (folder / "slim.md").read_text()
    values = json.loads((folder / "bundle" / "configs" / "metadata.json").read_text())
    assert values["description"].startswith("Slim net, diffeomorphic model: ")
    assert values["required_packages_version"]["outside"] == "1.0"
    assert values["data_source"] == "discs drawn by the outside package"
    config = json.loads((folder / "bundle" / "configs" / "inference.json").read_text())
    assert config["network_def"]["network"]["backbone"] == "slim"
    steps = [step["_target_"] for step in config["preprocessing"]["transforms"]]
    assert "monai.transforms.ScaleIntensityRanged" in steps
    assert "0 to 2 becomes 0 to 1, and what is beyond is clipped" in (folder / "slim.md").read_text()


@pytest.fixture
def added(monkeypatch):
    """The entries of the outside package, added by the public call for one test."""
    for registry, entry in ((READERS, entries.PICTURES), (METHODS, entries.SHIFT), (BACKBONES, entries.SLIM)):
        len(registry)  # loads the other entries first
        monkeypatch.setattr(registry, "_entries", dict(registry._entries))
        assert registry.add(entry) is entry


def test_a_package_that_is_broken_stops_only_who_asks_for_it(monkeypatch):
    points = [
        EntryPoint("slim", "outside.entries:SLIM", "x"),
        EntryPoint("lost", "outside.nowhere:LOST", "x"),
        EntryPoint("path", "outside.entries:Path", "x"),
    ]
    monkeypatch.setattr("smoothmorph.transforms.basics.registry.entry_points", lambda group: points)
    monkeypatch.setattr("smoothmorph.transforms.basics.registry.REGISTRIES", {})  # workers would look for this one
    registry = Registry("backbone", "x")
    assert list(registry) == ["slim"]
    with pytest.raises(InputError) as told:
        registry.check("lost")
    assert "the entry point lost = outside.nowhere:LOST cannot be read: No module named 'outside.nowhere'" in str(
        told.value
    )
    assert "the entry point path = outside.entries:Path cannot be read: " in str(told.value)


def settings(**model) -> TrialSettings:
    return parse(TrialSettings, {"model": model}, "test")


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize(("steps", "downsize"), [(7, 2), (7, 1), (0, 2)])
def test_a_backbone_gives_its_field_where_the_network_integrates(added, dims, steps, downsize, tmp_path):
    network = VoxelMorph(dims, steps, downsize, backbone="slim", channels=[3, 5])
    torch.nn.init.normal_(network.get_parameter("backbone.flow.weight"), std=0.1)
    moving, fixed = torch.rand(2, 1, 1, *[9, 12, 6][:dims], generator=torch.Generator().manual_seed(0))
    found = network(moving, fixed)
    factor = downsize if steps else 1
    assert found.velocity.shape[2:] == tuple(size // factor for size in moving.shape[2:])
    assert found.displacement.shape[2:] == moving.shape[2:]
    save_model(tmp_path / "slim.safetensors", network)
    again = load_model(tmp_path / "slim.safetensors")
    assert again.config["backbone"] == "slim"
    assert again.config["channels"] == [3, 5]
    assert torch.equal(again(moving, fixed).displacement, found.displacement)
    with pytest.raises(InputError, match="has the backbone slim, which official VoxelMorph does not have"):
        save_official(tmp_path / "slim.pt", network, (16,) * dims)


def test_a_model_whose_backbone_is_not_installed_is_one_sentence(added, tmp_path, monkeypatch):
    save_model(tmp_path / "slim.safetensors", VoxelMorph(2, backbone="slim"))
    monkeypatch.delitem(BACKBONES._entries, "slim")
    with pytest.raises(InputError, match=r"slim.safetensors is not a .* model: there is no backbone 'slim'; known are"):
        load_model(tmp_path / "slim.safetensors")


def test_a_field_on_another_grid_is_told(added, monkeypatch):
    network = VoxelMorph(2, backbone="slim")
    network.backbone.downsize = 4
    with pytest.raises(ValueError, match=r"backbone slim gives a field \(1, 2, 4, 4\) for images of \(16, 16\)"):
        network(*torch.rand(2, 1, 1, 16, 16))


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({"backbone": "voxelmorf"}, "there is no backbone 'voxelmorf'; did you mean voxelmorph?"),
        ({"method": "elastics"}, "there is no method 'elastics'; did you mean elastix?"),
        ({"channels": [16, 32, 16]}, r"model.channels must be given in pairs, \(down, up\) per level, got 3 of them"),
        ({"channels": []}, "model.channels must be given in pairs"),
        ({"backbone": "slim", "slope": 2}, "model.slope = 2: Input should be less than or equal to 1"),
        ({"slope": 0.1}, "model.slope is 0.1, but the backbone voxelmorph has no such option; remove it"),
        ({"slop": 0.1}, r"unknown key 'model.slop' \(did you mean slope\?\)"),
        (
            {"backbone": "slim", "final_channels": [4]},
            r"model.final_channels is \(4,\), but the backbone slim has no such",
        ),
    ],
)
def test_what_a_study_cannot_mean_is_one_sentence(added, model, words):
    with pytest.raises(InputError, match=words):
        settings(**model)


def test_the_trials_of_before_keep_their_ids(added):
    before = settings().identity()["model"]
    assert before == {"integration_steps": 7, "integration_downsize": 2, "padding_mode": "zeros"}
    assert settings(backbone="slim").identity()["model"] == {**before, "backbone": "slim"}
    assert settings(channels=[8, 8]).identity()["model"] == {**before, "channels": [8, 8]}
    assert settings(method="shift").identity().keys() == {"cohort", "split", "pairs", "model", "seed"}
    assert settings(backbone="slim", slope=0.1).identity()["model"] == {**before, "backbone": "slim", "slope": 0.1}
    shift = parse(TrialSettings, {"model": {"method": "shift"}, "baseline": {"longest": 3}}, "test")
    assert shift.identity()["baseline"] == {"longest": 3.0}
    assert not settings(backbone="slim").concerns("model.final_channels")
    assert settings(backbone="slim").concerns("model.slope")
    assert not settings().concerns("model.slope")


def test_an_option_of_an_added_entry_is_a_setting_like_all_others(added, tmp_path, tiny_cohort):
    """It is known on the command line, in the schema for editors, and to another reader as a mistake."""
    values = {"name": "own", "base": {"model.backbone": "slim"}, "axes": {"model.slope": [0.1, 0.2]}}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(values))
    study = load_study(str(tmp_path / "study.yaml"), ["model.channels=[3,5]", "cohort.reader=pictures"])
    assert [trial.model.options for trial in study.trials] == [
        {"channels": (3, 5), "slope": 0.1},
        {"channels": (3, 5), "slope": 0.2},
    ]
    leaf = dict(leaves())["model.slope"]
    assert (leaf["description"], leaf["default"]) == ("slim: slope of the activation below 0; null: 0.2", None)
    assert dict(leaves())["model.channels"]["description"].count(": channels of the") == 3
    with pytest.raises(InputError, match=r"unknown key 'model.slop'; did you mean model.slope"):
        load_study(str(tmp_path / "study.yaml"), ["model.slop=1"])
    wrong = parse(TrialSettings, {"cohort": {"reader": "table", "file": "subjects.csv", "first": "picture"}}, "test")
    with pytest.raises(InputError, match=r"cohort.first is 'picture', but the reader table has no such option"):
        list_cohort(wrong.cohort, tiny_cohort(2))
    right = parse(TrialSettings, {"cohort": {"reader": "pictures", "first": "label"}}, "test")
    assert len(list_cohort(right.cohort, tiny_cohort(2)).subjects) == 12
    assert right.identity()["cohort"]["first"] == "label"
    assert "first" not in settings().identity()["cohort"]
    aligned = parse(TrialSettings, {"cohort": {"reader": "pictures", "align": "centre"}}, "test")
    assert len(list_cohort(aligned.cohort, tiny_cohort(2)).subjects) == 12


def test_figures_over_widths_have_plain_names(tmp_path):
    axes = {"model.channels": [[16] + [32] * 7, [8] * 8], "objective.lambda": [0.01, 0.1]}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump({"name": "widths", "axes": axes}))
    study = load_study(str(tmp_path / "study.yaml"), ["training.epochs=2", "pairs.test=6"])
    run = claim(tmp_path / "run", study, [trial.trial_id("data") for trial in study.trials])
    for trial, own in run.trials.items():
        synthetic_run.trial(own, run.path / trial, None, lambda progress: None)
    rows = collect(run)
    kinds, widths = ("flow_fields", "warped_grids", "across_lambda"), ("channels_16_32x7", "channels_8x8")
    assert set(field_figures(run, rows)) == {f"{kind}_{own}" for kind in kinds for own in widths}
    assert "channels [16, 32, 32, 32, 32, 32, 32, 32]" in {
        word for _, line in rows.iterrows() for word in variant(line, rows)
    }
    said = dict(protocol(run))["Network"]
    assert said.startswith("VoxelMorph, 2‑D, channels [16, 32, 32, 32, 32, 32, 32, 32] (109,170 parameters); outside")
    assert "official" not in said


def test_names_of_figures_that_would_be_one_are_told_apart():
    drawn: dict[str, None] = {}
    for words in (["a" * 80 + "1"], ["a" * 80 + "2"], ["size (1, 2)/3"], []):
        drawn[f"flow_fields{_suffix(words, drawn)}"] = None
    assert list(drawn) == [
        f"flow_fields_{'a' * 59}",
        f"flow_fields_{'a' * 59}_2",
        "flow_fields_size_1_2_3",
        "flow_fields",
    ]
