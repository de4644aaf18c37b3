import io

import numpy as np
import pandas as pd
import pytest
import yaml
from rich.console import Console

import synthetic_run
from smoothmorph.experiments.outputs.tables import collect, collect_history, published, write_tables
from smoothmorph.experiments.outputs.terminal_tables import summary_table
from smoothmorph.experiments.report.protocol import protocol
from smoothmorph.experiments.rows.summaries import counts, per_label, summary
from smoothmorph.experiments.statistics import analyse
from smoothmorph.experiments.store.run_folder import claim, open_run
from smoothmorph.experiments.study.study import load_study
from smoothmorph.transforms.basics.errors import InputError


@pytest.fixture
def make_run(tmp_path):
    """A complete run folder of a study, without figures."""

    def make(study, *overrides, name="run"):
        if isinstance(study, dict):
            (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
            study = str(tmp_path / "study.yaml")
        loaded = load_study(study, ["training.epochs=3", "pairs.test=10", *overrides])
        run = claim(tmp_path / name, loaded, [trial.trial_id("data") for trial in loaded.trials])
        for trial, settings in run.trials.items():
            synthetic_run.trial(settings, run.path / trial, None, lambda progress: None)
        return run

    return make


def rows_of(**columns):
    settings = {"penalty": "l2", "lambda": 0.1, "model": "diffeomorphic", "similarity": "mse", "acts_on": "velocity"}
    return pd.DataFrame({**settings, "multiplier": 1.0, "seed": 0, **columns})


def test_a_summary_by_hand():
    first, second = rows_of(mse=[1.0, 3.0], mse_before=[5.0, 7.0]), rows_of(mse=[4.0, 8.0], mse_before=6.0, seed=1)
    table = summary(pd.concat([first, second]))
    (line,) = table.to_dict("records")
    assert line["metric"], line["unit"] == ("mse", "a.u.²")
    assert line["mean"] == 4.0  # the mean of the seeds' means 2 and 6
    assert line["std_pairs"] == pytest.approx(np.sqrt((2.0 + 8.0) / 2))  # from the seeds' variances 2 and 8
    assert line["std_seeds"] == pytest.approx(np.sqrt(8.0))
    assert line["before"] == 6.0
    assert (line["n_pairs"], line["n_seeds"]) == (2, 2)
    assert counts(table) == "2 test pairs, 2 seeds per point"


def test_one_seed_has_no_deviation_over_seeds_and_a_pair_without_value_is_not_counted():
    line = summary(rows_of(mse=[1.0, np.nan, 2.0])).iloc[0]
    assert np.isnan(line["std_seeds"])
    assert (line["mean"], line["n_pairs"]) == (1.5, 2)


def test_configurations_are_told_apart_by_what_varies_but_the_seed():
    whole = summary(
        pd.concat([rows_of(mse=[1.0]), rows_of(mse=[2.0], acts_on="displacement"), rows_of(mse=3.0, seed=[1])])
    )
    assert list(whole.columns[:5]) == ["penalty", "lambda", "model", "acts_on", "metric"]
    assert dict(zip(whole["acts_on"], whole["mean"], strict=True)) == {"displacement": 2.0, "velocity": 2.0}


def test_penalties_and_weights_are_in_order():
    rows = [
        rows_of(mse=[1.0], penalty=p, **{"lambda": w}) for p, w in [("l2", 0.1), ("bending-pure", 0.1), ("l1", 0.0)]
    ]
    assert list(summary(pd.concat(rows))["penalty"]) == ["l1", "l2", "bending-pure"]


def test_rows_name_every_setting_that_varies(make_run):
    axes = {"training.learning_rate": [0.001, 0.01], "model.integration_steps": [0, 5, 7], "seed": [0, 1]}
    run = make_run({"name": "more", "base": {"objective.penalty": "l1"}, "axes": axes})
    rows = collect(run.path)
    assert set(rows["trial"]) == set(run.trials)
    assert set(rows["model.integration_steps"]) == {0, 5, 7}
    whole = summary(rows)
    keys = list(whole.columns[: list(whole.columns).index("metric")])
    assert keys == ["penalty", "lambda", "model", "model.integration_steps", "training.learning_rate"]
    assert whole.groupby(keys).ngroups == 6
    assert set(whole["n_seeds"]) == {2}
    assert "model.integration_steps" not in collect(
        make_run({"name": "x", "axes": {"model.integration_steps": [0, 7]}}, name="b")
    )


def test_settings_that_are_no_numbers_everywhere_are_words_in_rows(tmp_path):
    """`null` beside numbers, and true and false: a column of a file has one type."""
    axes = {"model.symmetric": [True, False], "training.weight_averaging": [None, 0.9], "model.backbone": ["pyramid"]}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump({"name": "parts", "axes": axes}))
    study = load_study(str(tmp_path / "study.yaml"), ["training.epochs=1", "pairs.test=2"])
    run = claim(tmp_path / "run", study, [trial.trial_id("data") for trial in study.trials])
    for trial, own in run.trials.items():
        synthetic_run.trial(own, run.path / trial, None, lambda progress: None)
    rows = collect(run)
    write_tables(run, rows, collect_history(run), analyse(rows))
    kept = pd.read_parquet(run.path / "tables" / "rows.parquet")
    assert set(kept["model.symmetric"]) == {"yes", "no"}
    assert set(kept["training.weight_averaging"]) == {"none", "0.9"}
    assert dict(protocol(run))["Network"].startswith("Pyramid, 2‑D, symmetric yes (181,328 parameters); ")


def test_true_and_false_are_values_of_switches_alone(tmp_path):
    (tmp_path / "study.yaml").write_text("name: x\nbase: {training: {both_directions: true}}\naxes: {seed: [0]}\n")
    assert load_study(str(tmp_path / "study.yaml")).trials[0].training.both_directions is True
    with pytest.raises(InputError, match=r"training.epochs is True; expected a number or a word, not true or false"):
        load_study(str(tmp_path / "study.yaml"), ["training.epochs=true"])
    with pytest.raises(InputError, match=r"training.both_directions = 'maybe'"):
        load_study(str(tmp_path / "study.yaml"), ["training.both_directions=maybe"])


def test_tables_of_the_published_study(make_run):
    run = make_run("published", "training.epochs=42")
    rows = collect(run)
    whole = write_tables(run, rows, collect_history(run), analyse(rows))
    folder = run.path / "tables"
    names = {"rows.parquet", "summary.parquet", "summary.csv", "per_label.csv", "history.csv", "published.csv"}
    names |= {"means.csv", "comparisons.csv", "fronts.csv", "hypervolume.csv"}
    assert {path.name for path in folder.iterdir()} == names
    assert len(pd.read_parquet(folder / "rows.parquet")) == 90
    pd.testing.assert_frame_equal(pd.read_parquet(folder / "summary.parquet"), whole)
    assert len(pd.read_csv(folder / "history.csv")) == 9 * 42
    labels = pd.read_csv(folder / "per_label.csv")
    assert set(labels["label"]) == set(synthetic_run.LABELS)
    l2 = whole[(whole["penalty"] == "l2") & (whole["lambda"] == 0.01)]
    assert set(l2["n_seeds"]) == {2}  # L2 is in both tables of the study


def test_published_numbers_beside_ours(make_run):
    run = make_run("published", "training.epochs=42")
    rows, history = collect(run), collect_history(run)
    table = published(run, rows, history)
    assert list(table["table"]) == ["regularizers"] * 3 + ["sweep"] * 6
    assert list(table["seed"]) == [0] * 3 + [1] * 6
    for line in table.to_dict("records"):
        own = (rows["penalty"] == line["penalty"]) & (rows["lambda"] == line["lambda"]) & (rows["seed"] == line["seed"])
        assert line["our_velocity_nonpositive_percent"] == pytest.approx(
            rows[own]["velocity_nonpositive_percent"].mean()
        )
        assert line["published_velocity_nonpositive_percent"] == pytest.approx(100 * line["published_fraction"])
        losses = history[history["trial"] == rows[own]["trial"].iloc[0]].set_index("epoch")["validation_loss"]
        assert line["our_loss"] == losses[[1, 21, 41, 42]].min()
    first = table.iloc[0]
    assert (first["published_loss"], first["published_velocity_nonpositive_percent"]) == (0.003223, 0.2898)


def test_published_numbers_stand_alone_where_a_trial_is_missing(make_run):
    run = make_run("published")
    rows = collect(run, [next(iter(run.trials))])
    table = published(run, rows, collect_history(run))
    assert table["our_loss"].notna().sum() == 1
    assert table["published_loss"].notna().all()


def test_any_study_may_have_published_numbers_beside_it(tmp_path):
    study, numbers = tmp_path / "mine.yaml", tmp_path / "mine.numbers.yaml"
    study.write_text(
        "{name: mine, groups: [{name: nets, axes: {objective.lambda: [0.01, 0.1]}}, {name: tools, axes: "
        "{model.method: [identity]}}]}"
    )
    numbers.write_text(
        "{note: as printed, validation_every: 2, lines: [{group: nets, lambda: 0.1, loss: 0.5, dice: 0.7}, "
        "{group: tools, model: identity, dice: 0.6}, {group: nets, lambda: 0.2, dice: 0.8}]}"
    )
    loaded = load_study(str(study), ["training.epochs=4"])
    run = claim(tmp_path / "run", loaded, [trial.trial_id("data") for trial in loaded.trials])
    for trial, settings in run.trials.items():
        synthetic_run.trial(settings, run.path / trial, None, lambda progress: None)
    run = open_run(run.path)  # it stores them next to its study
    rows, history = collect(run), collect_history(run)
    table = published(run, rows, history)
    assert list(table["published_dice"]) == [0.7, 0.6, 0.8]
    dice = rows.groupby(["model", "lambda"])["dice"].mean()
    assert table["our_dice"].tolist() == pytest.approx(
        [dice["diffeomorphic", 0.1], dice["identity", 0.0], float("nan")], nan_ok=True
    )
    losses = history[history["lambda"] == 0.1].set_index("epoch")["validation_loss"]
    assert table["our_loss"].iloc[0] == losses[[1, 3, 4]].min()
    assert table["our_loss"].isna().tolist() == [False, True, True]
    assert table.attrs["note"] == "as printed"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "{lines: [{group: a, penalti: l2}]}",
            r"mine.numbers.yaml: penalti is 'l2'; expected a setting of a trial, or a",
        ),
        ("{lines: 3}", r"mine.numbers.yaml: lines = 3"),
        ("{numbers: []}", "mine.numbers.yaml: .*unknown key 'numbers'"),
    ],
)
def test_published_numbers_that_are_none_are_one_sentence(tmp_path, text, words):
    (tmp_path / "mine.yaml").write_text("{name: mine, axes: {objective.lambda: [0.01]}}")
    (tmp_path / "mine.numbers.yaml").write_text(text)
    with pytest.raises(InputError, match=words):
        load_study(str(tmp_path / "mine.yaml"))


def test_without_labels_there_is_no_dice():
    rows = rows_of(mse=[1.0, 2.0])
    assert per_label(rows).empty
    assert set(summary(rows)["metric"]) == {"mse"}


def test_a_damaged_file_is_named(make_run):
    run = make_run("demo")
    trial = next(iter(run.trials))
    path = run.path / trial / "pairs.parquet"
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(InputError, match=rf"{trial}/pairs.parquet cannot be read .* delete .*{trial}/pairs.parquet"):
        collect(run.path)
    assert len(collect(run, [name for name in run.trials if name != trial])) == 10 * (len(run.trials) - 1)


def test_a_file_without_permission_is_not_taken_for_a_damaged_one(make_run, monkeypatch):
    run = make_run("demo")

    def refuse(path, **_):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(pd, "read_parquet", refuse)
    with pytest.raises(PermissionError):
        collect(run)


def test_no_run_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match="holds no run"):
        collect(tmp_path)


def test_the_summary_fits_a_terminal(make_run):
    rows = collect(make_run("published"))
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(summary_table(summary(rows.assign(tre=2.0, tre_before=4.0)), "title"))
    text = console.export_text()
    assert "…" not in text
    assert "bending-pure" in text
    assert "before" in text
