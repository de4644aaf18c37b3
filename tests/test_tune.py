"""`tune` finds the best λ of a network for own pairs: by accuracy, per structure, or within a limit."""

import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from knob_model import RANGES, write_knob
from smoothmorph.experiments.cli import app
from smoothmorph.experiments.statistics.tuning import parabola, top, tune
from smoothmorph.experiments.study.tuning import spread, study_name
from smoothmorph.networks import LambdaRanges, save_model
from smoothmorph.pipeline.evaluation.limit import Limit
from smoothmorph.pipeline.models.trained_model import about, open_trained
from smoothmorph.transforms import InputError

WEIGHTS = (0.01, 0.03, 0.1, 0.3, 1.0)


# Interpolation


def test_a_parabola_is_read_by_shares_that_sum_to_1():
    assert parabola(np.array([0.0, 1.0, 3.0]), 1.0).tolist() == [0, 1, 0]
    shares = parabola(np.array([0.0, 1.0, 2.0]), 0.5)
    assert shares.tolist() == [0.375, 0.75, -0.125]
    assert shares @ np.array([0.0, 1.0, 4.0]) == 0.25  # x² at 1/2


@pytest.mark.parametrize(
    ("values", "weight", "how"),
    [
        ((0, 1, 0), 0.1, "tested"),  # the top is at the tested λ itself
        ((0, 1, 1), 10**-0.5, "parabola"),  # midway, in log λ, between two of one value
        ((0, 1, 0.5), 10 ** (-1 + 1 / 6), "parabola"),
        ((1, 0, 0), 0.01, "tested"),  # nothing is known beyond the ends
        ((0, 0, 1), 1.0, "tested"),
        ((1, 1, 1), 0.01, "tested"),
    ],
)
def test_the_top_of_three_values_is_that_of_their_parabola(values, weight, how):
    found = top(np.array([0.01, 0.1, 1.0]), np.array(values))
    assert found.weight == pytest.approx(weight)
    assert found.how == how
    assert found.shares.sum() == pytest.approx(1)
    assert found.shares @ np.array(values) >= max(values) - 1e-12


def test_a_forbidden_lambda_is_neither_chosen_nor_used():
    allowed = np.array([False, True, True])
    assert top(np.array([0.01, 0.1, 1.0]), np.array([2.0, 1.0, 0.5]), allowed).weight == 0.1


def test_lambda_is_spread_evenly_in_its_logarithm_over_the_trained_range():
    ranges = LambdaRanges(RANGES)
    assert spread(ranges, "l2", 3) == (0.01, 0.1, 1.0)
    assert spread(ranges, "l2", 5) == (0.01, 0.0316, 0.1, 0.316, 1.0)
    low, *_, high = spread(ranges, "0.5*l2+2*l1", 4)
    assert (low, high) == ranges.bounds("0.5*l2+2*l1")
    with pytest.raises(InputError, match="the network knows the penalties l2, l1, but not curvature"):
        spread(ranges, "curvature", 3)


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("brain-2d", "tune-brain-2d"),
        ("models/knob.safetensors", "tune-knob"),
        ("runs/a/networks/conditional_s0_12/model.safetensors", "tune-conditional_s0_12"),
        ("runs/a/l2+l1_0.1_s0_12", "tune-l2-l1_0.1_s0_12"),
    ],
)
def test_a_run_is_named_for_its_network(model, name):
    assert study_name(Path(model)) == name


# The best λ of made-up rows


def rows(best=0.03, tops=(0.03, 0.3), noise=0.001) -> pd.DataFrame:
    """Dice falls with the squared distance of log λ from its best; SDlogJ is -log10 λ / 10 + 0.1 at every pair."""
    generator, lines = np.random.default_rng(0), []
    for penalty in ("l2", "l1"):
        for weight in WEIGHTS:
            for pair in range(12):

                def dice(at, weight=weight, penalty=penalty):
                    return 0.8 - 0.05 * np.log10(weight / at) ** 2 - 0.2 * (penalty == "l1")

                line = {"trial": f"{penalty}{weight}", "penalty": penalty, "lambda": weight, "model": "diffeomorphic"}
                line |= {"method": "pretrained", "seed": 0, "similarity": "mse", "acts_on": "velocity"}
                line |= {"moving": f"m{pair}", "fixed": f"f{pair}", "mse": weight, "loss": 1.0}
                line |= {"displacement_sdlogj": 0.1 - np.log10(weight) / 10, "displacement_nonpositive_percent": 0.0}
                line |= {f"dice/{name}": dice(at) for name, at in zip(("small", "large"), tops, strict=True)}
                lines.append(line | {"dice": dice(best) + noise * generator.standard_normal()})
    return pd.DataFrame(lines)


def test_the_best_lambda_is_interpolated_and_each_structure_has_its_own():
    found = tune(rows(best=0.05, noise=0))
    assert found.found.best[["penalty", "lambda"]].tolist() == ["l2", 0.03]
    assert found.how == "parabola"
    assert found.weight == 0.05  # Dice is a parabola
    assert found.expected.estimate[0] == pytest.approx(0.8)
    assert found.others["displacement_sdlogj"] == pytest.approx(0.1 - np.log10(0.05) / 10)
    assert found.structures["structure"].tolist() == ["small", "large"]
    assert found.structures["lambda"].to_numpy() == pytest.approx([0.03, 0.3])
    assert found.structures["gain"].to_numpy() == pytest.approx([0.05 * np.log10(0.05 / at) ** 2 for at in (0.03, 0.3)])
    assert found.curve[["penalty", "lambda"]].to_numpy().tolist() == [[p, w] for p in ("l1", "l2") for w in WEIGHTS]
    assert found.edge == ""


def test_lambda_that_are_not_clearly_worse_are_told_and_the_smoothest_of_them():
    clear = tune(rows(noise=0.001))
    assert clear.alike == (0.03, 0.03)
    assert clear.smoothest is None
    unclear = tune(rows(best=0.05, noise=0.1))
    assert unclear.alike is not None
    assert unclear.alike[0] <= unclear.found.best["lambda"] < unclear.alike[1]
    assert unclear.smoothest is not None
    assert unclear.smoothest["lambda"] >= unclear.alike[1]
    assert unclear.smoothest["behind_low"] <= 0 <= unclear.smoothest["behind"]


@pytest.mark.parametrize(("best", "edge"), [(1e-4, "lowest"), (1e3, "highest"), (0.1, "")])
def test_a_best_lambda_at_an_end_of_the_range_is_told(best, edge):
    found = tune(rows(best=best))
    assert found.edge == edge
    assert found.how == ("tested" if edge else "parabola")


def test_a_limit_is_just_met_where_accuracy_asks_for_more():
    limit = Limit("displacement_sdlogj", 0.2001)  # 0.2 at λ = 0.1
    assert tune(rows(best=0.01, noise=0), limit).weight == pytest.approx(0.1, rel=0.01)
    met = tune(rows(best=0.01, noise=0), Limit("displacement_sdlogj", 0.225))
    assert met.how == "limit"
    assert met.weight == pytest.approx(10**-1.25, rel=0.01)
    assert met.others["displacement_sdlogj"] == pytest.approx(0.225)
    assert tune(rows(best=0.3, noise=0), limit).weight == pytest.approx(0.3)  # within the limit as it is
    assert tune(rows(best=0.01, noise=0), limit).structures["lambda"].iloc[0] == 0.1
    with pytest.raises(InputError, match=r"no configuration of this run has a mean SDlogJ of at most 0\.05"):
        tune(rows(), Limit("displacement_sdlogj", 0.05))


def test_the_similarity_counts_where_there_are_no_labels():
    alone = rows(noise=0).drop(columns=["dice", "dice/small", "dice/large"])
    found = tune(alone, Limit("displacement_sdlogj", 0.2001))
    assert (found.found.metric, found.found.best["lambda"], len(found.structures)) == ("mse", 0.1, 0)


# The command


@pytest.fixture
def folder(tiny_cohort, tmp_path, monkeypatch) -> Path:
    """A working folder with own images in ``data`` and ``unlabelled``, and the network ``knob.safetensors``."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny_cohort(2), tmp_path / "data")
    shutil.copytree(tiny_cohort(2), tmp_path / "unlabelled")
    table = pd.read_csv("data/subjects.csv")
    table.drop(columns="label").to_csv("unlabelled/subjects.csv", index=False)
    write_knob(tmp_path / "knob.safetensors")
    return tmp_path


def call(*words: object):
    return CliRunner().invoke(app, [*map(str, words)], env={"COLUMNS": "200"})


OPTIONS = ("--pairs", 4, "--count", 3, "--device", "cpu")


@pytest.mark.usefixtures("folder", "no_figures")
def test_a_curve_a_recommendation_and_the_command_to_use_it_are_printed():
    told = call("tune", "knob.safetensors", "--data-root", "data", *OPTIONS)
    assert told.exit_code == 0, told.output
    lines = [line.split() for line in told.stdout.splitlines()]
    assert [line[1] for line in lines if line[:1] == ["l2"]] == ["0.01", "0.1", "1"]
    assert re.search(r"Use l2 at λ = \S+\. Expected: Dice \S+ \(.*\), SDlogJ \S+, folding \S+ %, MSE", told.stdout)
    assert "label 1" in told.stdout  # the only structure
    last = told.stdout.splitlines()[-1]
    found = re.fullmatch(
        r"To use it: smoothmorph (register A B --model knob.safetensors --penalty l2 --lambda \S+)", last
    )
    assert found is not None
    words = found[1].replace("A B", "data/image0.nii.gz data/image1.nii.gz").split()
    assert call(*words).exit_code == 0
    again = call("tune", "knob.safetensors", "--data-root", "data", *OPTIONS)
    assert "3 of 3 trials are complete, 0 to run" in again.output
    assert again.stdout == told.stdout
    recommended = call("recommend", "runs/tune-knob", "--max-sdlogj", 1e6)
    assert recommended.exit_code == 0
    assert "Use l2 at λ" in recommended.output


@pytest.mark.usefixtures("folder", "no_figures")
def test_without_labels_a_limit_chooses_and_recommend_says_that_any_lambda_can_be_used():
    told = call(
        "tune", "knob.safetensors", "--data-root", "unlabelled", *OPTIONS, "--all-penalties", "--max-sdlogj", 0.1
    )
    assert told.exit_code == 0, told.output
    assert {line.split()[0] for line in told.stdout.splitlines() if line.startswith("l")} == {"l1", "l2"}
    assert "Dice" not in told.stdout
    recommended = call("recommend", "runs/tune-knob", "--max-sdlogj", 0.1)
    assert recommended.exit_code == 0
    if "Interpolated" in recommended.output:
        assert "The network takes every λ: this one can be used as it is" in recommended.output


@pytest.mark.usefixtures("folder", "no_figures")
def test_the_network_sees_images_as_in_its_training_and_only_as_many_subjects_as_needed_are_read(folder):
    write_knob(folder / "scaled.safetensors", intensity="minmax")
    told = call("tune", "scaled.safetensors", "--data-root", "data", "--pairs", 3, "--count", 2, "--device", "cpu")
    assert told.exit_code == 0, told.output
    study = (folder / "runs/tune-scaled/study.yaml").read_text()
    assert "intensity: minmax" in study
    assert "test: 0.5\n" in study  # 6 of the 12 subjects


MISTAKES = [
    (
        "none --data-root data",
        "no model at none; give the folder of a trial that trained a network, a file, or a name; shipped models: ",
    ),
    ("plain.safetensors --data-root data", "is a network for one λ, l2 at λ = "),
    ("knob.safetensors", "the table reader needs a data folder"),
    ("knob.safetensors --data-root none", "the data folder none does not exist"),
    ("knob.safetensors --data-root empty", "the data folder empty is empty"),
    ("knob.safetensors --data-root full", "full has no table of subjects; make one with `smoothmorph data table"),
    (
        "knob.safetensors --data-root several",
        "several has 2 tables, a.csv, b.csv; name one with --set cohort.file=FILE",
    ),
    ("knob.safetensors --data-root unlabelled", "the similarity alone would always choose a rough field"),
    ("knob.safetensors --data-root data --accuracy mse", "the similarity alone would always choose a rough field"),
    ("knob.safetensors --data-root data --accuracy dise", "--accuracy 'dise': did you mean dice?"),
    ("knob.safetensors --data-root data --penalty l3", "there is no penalty 'l3'; did you mean l2?"),
    ("knob.safetensors --data-root data --penalty curvature", "knows the penalties l2, l1, but not curvature"),
    ("knob.safetensors --data-root data --penalty l1 --all-penalties", "give either --penalty or --all-penalties"),
    ("knob.safetensors --data-root data --max-folding 1% --max-sdlogj 0.1", "give one limit"),
    ("knob.safetensors --data-root data --reader tabel", "there is no reader 'tabel'; did you mean table?"),
    ("knob.safetensors --data-root data --set seed=3", "this command only takes keys of cohort, split and pairs"),
    ("knob.safetensors --data-root data --set cohort.spatial_dims=3", "but knob.safetensors is for 2-D images"),
    ("solid.safetensors --data-root data", "expected 3 axes"),
    ("knob.safetensors --data-root data --out full", "full is not empty and has no study.yaml"),
    (
        "knob.safetensors --data-root data --accuracy tre",
        "--accuracy tre is not measured on these pairs; choose one of dice, mse.",
    ),
]


def test_a_mistake_is_one_sentence(folder):
    for name in ("full/thing", "several/a.csv", "several/b.csv"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("x")
    (folder / "empty").mkdir()
    write_knob(folder / "solid.safetensors", dims=3)
    plain = open_trained(folder / "knob.safetensors")
    save_model(folder / "plain.safetensors", plain.network, about("trial", plain.settings, plain.images))
    for words, sentence in MISTAKES:
        told = call("tune", *words.split(), "--pairs", 2, "--count", 2, "--device", "cpu")
        assert told.exit_code == 2, (words, told.output, told.exception)
        assert sentence in told.output, (words, told.output)
        assert told.output.strip().count("\n") == 0, (words, told.output)
