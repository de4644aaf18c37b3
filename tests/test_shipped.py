"""The models that come with the package agree with their model cards."""

import re
from pathlib import Path

import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from checkout import ROOT
from smoothmorph.experiments.cli import app
from smoothmorph.experiments.outputs.tables import collect
from smoothmorph.experiments.store.run_folder import open_run
from smoothmorph.pipeline.cohorts.preparation import Prepared, find_data
from smoothmorph.pipeline.evaluation.rows import by_network, evaluate
from smoothmorph.pipeline.models.built_in import advice, find_model, shipped_models
from smoothmorph.pipeline.models.trained_model import open_trained

MODELS = {
    "brain-3d": ("brain-3d-repeats", ""),
    "brain-2d": ("conditional-pyramid-2d", "neurite-oasis-2d"),
    "cardiac-2d": ("conditional-pyramid-cardiac", "acdc-2d"),
    "hippocampus-3d": ("conditional-pyramid-hippocampus", "Task04_Hippocampus"),
}
"""Model name -> the study that trained it, and the folder of its data, if it needs any."""
CARD = {r"Dice \(mean over labels\)": "dice", "SDlogJ": "displacement_sdlogj"}


def rows_of(name: str) -> pd.DataFrame:
    """The study's rows of this model in one pass; of a model for every λ, at those that it recommends."""
    rows = collect(open_run(ROOT / "experiments" / "results" / MODELS[name][0]))
    rows = rows[rows.get("refinement_steps", pd.Series(0, rows.index)) == 0]
    trained = open_trained(Path(name))
    if trained.conditional is None:
        return rows[rows["trial"] == trained.trial]
    penalty, weight = trained.conditional.recommended
    return rows[(rows["penalty"] == penalty) & (rows["lambda"] == weight)]


def test_these_are_all_models():
    assert set(shipped_models()) == set(MODELS)
    assert all(path.stat().st_size < 2 << 20 for path in shipped_models().values())


@pytest.mark.parametrize("name", MODELS)
def test_the_card_says_what_the_committed_results_hold(name):
    card, rows = find_model(Path(name)).with_suffix(".md").read_text(encoding="utf-8"), rows_of(name)
    assert f"Means over {len(rows)} test pairs" in card
    for words, measure in CARD.items():
        (after,) = re.findall(rf"^\| {words} \| [^|]*\| ([\d.]+) \|", card, flags=re.M)
        assert float(after) == pytest.approx(rows[measure].mean(), rel=1e-3)
    assert "## Licence" in card
    assert "Not for diagnosis" in card


@pytest.mark.parametrize("name", MODELS)
def test_it_knows_its_images(name):
    trained = open_trained(Path(name))
    images = trained.images
    assert trained.settings is not None
    assert images.shape is not None
    assert name in advice(trained.network.spatial_dims)
    assert images.spacing is not None
    assert len(images.axes) == 3
    assert images.brightest is not None


@pytest.mark.parametrize("name", MODELS)
def test_in_half_precision_it_registers_as_it_did(name, real_data):
    trained = open_trained(Path(name))
    assert trained.settings is not None
    settings, folder = trained.settings, MODELS[name][1]
    root = real_data / folder if folder else None
    cohort, split = find_data(settings.cohort, settings.split, root, settings.pairs)
    before = rows_of(name).set_index(["moving", "fixed"])
    pairs = tuple(before.index[:2])
    samples = {subject: cohort.load(cohort[subject]) for pair in pairs for subject in pair}
    few = Prepared(cohort, split, (), pairs, samples, cohort.fingerprint())
    register = by_network(trained.network, settings, torch.device("cpu"))
    rows, _ = evaluate(register, settings, few, slow=False)
    for row in rows.to_dict("records"):
        then = before.loc[(row["moving"], row["fixed"])]
        assert row["dice"] == pytest.approx(then["dice"], abs=2e-3)
        assert row["displacement_sdlogj"] == pytest.approx(then["displacement_sdlogj"], abs=2e-3)


def test_the_command_lists_them():
    result = CliRunner().invoke(app, ["models"])
    assert result.exit_code == 0
    assert all(f"{name}\n  Trained on: " in result.stdout for name in MODELS)
