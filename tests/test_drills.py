"""Additions of another package work everywhere: a penalty and a metric by entry points, a similarity by public call.

One study on the built-in cohort in two workers, then every command on it; see `drill`.
"""

import html
import json
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from outside import elastic, jaccard, mutual_information
from outside.installation import environment_with

POINTS = {
    "smoothmorph.penalties": {"elastic": "outside.elastic:ENTRY"},
    "smoothmorph.metrics": {"jaccard": "outside.jaccard:ENTRY"},
}
OLD_WORDS = ("MSE + λ", "NCC loss", "MSE (a.u.²)", "MSE after", "NCC after", "NCC (1 is best)")
"""Words that would be wrong here, because no trial minimizes these similarities."""


@pytest.fixture(scope="module")
def drill(tmp_path_factory):
    """The folder of the study, and the output of each command."""
    folder = tmp_path_factory.mktemp("drill")
    environment = environment_with(tmp_path_factory.mktemp("installed"), POINTS) | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(Path(__file__).with_name("drill.py")), str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, json.loads((folder / "told.json").read_text(encoding="utf-8"))


def table(folder, name):
    return pd.read_csv(folder / "run" / "tables" / f"{name}.csv")


def words_of(folder, figure):
    """The text in a figure."""
    svg = (folder / "run" / "figures" / f"{figure}.svg").read_text(encoding="utf-8")
    return [html.unescape(re.sub("<.*?>", "", text)).strip() for text in re.findall(r"<text.*?</text>", svg, re.DOTALL)]


@pytest.fixture(scope="module")
def page(drill):
    """The text of the report, without markup and pictures."""
    text = (drill[0] / "run" / "report.html").read_text(encoding="utf-8").partition("<body")[2]
    text = re.sub(r"<(script|style|svg).*?</\1>", " ", text, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub("<[^<]*>", " ", text)).split())


def test_every_trial_is_trained_in_workers_that_were_told_of_the_entries(drill):
    assert "4 of 4 trials complete" in drill[1]["run"]


def test_rows_have_every_column_of_it(drill):
    rows = pd.read_parquet(drill[0] / "run" / "tables" / "rows.parquet")
    columns = {"mi", "mi_before", "jaccard", "jaccard_before", "displacement_elastic", "velocity_elastic"}
    assert columns <= set(rows)
    assert rows[sorted(columns)].notna().all(axis=None)
    structures = [name for name in rows if name.startswith("jaccard/")]
    assert len(structures) == len([name for name in rows if name.startswith("dice/")]) > 0
    of_one = rows[structures[0]]
    dice = rows[structures[0].replace("jaccard", "dice")]
    assert of_one.to_numpy() == pytest.approx((dice / (2 - dice)).to_numpy())  # because J = D / (2 - D)


def test_tables_and_statistics_have_it(drill):
    summary = table(drill[0], "summary").set_index(["penalty", "metric"])
    assert set(summary.loc[("elastic", "mi"), "unit"]) == {"nats"}
    assert ("elastic", "jaccard") in summary.index
    means = table(drill[0], "means")
    assert {"mi", "jaccard", "dice"} <= set(means.loc[means["penalty"] == "elastic", "metric"])
    assert (means["low"].isna() | (means["low"] <= means["high"])).all()  # two subjects are too few for an interval
    comparisons = table(drill[0], "comparisons")
    assert {"mi", "jaccard"} <= set(comparisons["metric"])
    assert set(comparisons["first"]) | set(comparisons["second"]) == {"l2", "elastic"}
    assert set(table(drill[0], "fronts")["penalty"]) == {"l2", "elastic"}


def test_every_figure_says_what_it_shows(drill):
    expected = {
        "loss_by_epoch": "Mutual information loss + λ·penalty (nats)",
        "similarity_by_epoch": "Mutual information loss (nats)",
        "similarity_vs_folding": "Mutual information after registration (nats)",
        "similarity_vs_lambda": "Mutual information after registration (nats)",
        "jaccard_vs_lambda": "Jaccard after registration (mean over structures)",
        "dice_vs_lambda": "Dice after registration (mean over labels)",
        "tre_vs_lambda": "TRE after registration (mm)",
        "pareto_front": "Dice (mean over labels)",
    }
    for figure, label in expected.items():
        assert label in words_of(drill[0], figure), figure
    assert "Jaccard against λ" in words_of(drill[0], "jaccard_vs_lambda")
    drawn = {path.stem for path in (drill[0] / "run" / "figures").glob("*.svg")}
    assert drawn >= set(expected) | {"penalty_by_epoch", "sdlogj_by_lambda", "folding_vs_lambda", "dice_per_structure"}
    for figure in sorted(drawn):
        words = words_of(drill[0], figure)
        assert any("Linear elastic" in word for word in words), figure
        assert not [word for word in words for old in OLD_WORDS if old in word], figure


def test_the_report_says_what_was_done_and_what_the_words_mean(page):
    loss = f"Mutual information loss (minus the {mutual_information.ENTRY.definition}) + λ · penalty"
    assert f"Objective {loss}" in page
    assert f"penalty Linear elastic {elastic.ENTRY.definition}" in page
    assert f"Mutual information (nats) {mutual_information.ENTRY.meaning}; higher is better" in page
    assert f"Jaccard {jaccard.ENTRY.meaning}; 1 is best; {jaccard.ENTRY.source}" in page
    assert "Jaccard against λ" in page
    assert "Penalties L2, Linear elastic" in page
    assert not [old for old in OLD_WORDS if old in page]


def test_a_recommendation_and_the_terminal_name_it(drill):
    assert re.search(r"and Jaccard 0\.\d+ \(too few subjects for an interval\)", drill[1]["recommend"])
    assert "nan" not in drill[1]["recommend"]
    assert "Mutual information" in drill[1]["run"]
    assert "NCC" not in drill[1]["run"]


def test_register_tells_of_the_similarity_that_it_optimizes(drill):
    lines = drill[1]["register"].splitlines()
    assert "Mutual information nats" in lines[0]
    place = lines[0].split().index("Mutual") + 1
    before, refined = (float(next(line for line in lines if line.startswith(state)).split()[place]) for state in
                       ("before", "refined"))  # fmt: skip
    assert refined > before
    assert "Mutual information" in (drill[0] / "overview.svg").read_text(encoding="utf-8")


def test_a_bundle_and_its_card_name_it(drill):
    bundle = drill[0] / "bundle"
    measured = json.loads((bundle / "configs" / "metadata.json").read_text(encoding="utf-8"))["eval_metrics"]
    assert {"mi", "mi_before", "jaccard", "jaccard_before"} <= set(measured)
    card = (bundle / "docs" / "README.md").read_text(encoding="utf-8")
    assert "Loss: Mutual information loss + λ · Linear elastic of the velocity" in card
    assert f"| Jaccard (mean over structures) | {measured['jaccard_before']} | {measured['jaccard']} |" in card
    assert f"| Mutual information (nats) | {measured['mi_before']} | {measured['mi']} |" in card
