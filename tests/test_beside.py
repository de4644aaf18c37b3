"""Baselines together with networks: every table and figure has both, and runs can be joined."""

import io
import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
import yaml
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from rich.console import Console
from typer.testing import CliRunner

import synthetic_run
from smoothmorph.experiments.cli import app
from smoothmorph.experiments.figures import draw_figures
from smoothmorph.experiments.figures.arc import pareto_front
from smoothmorph.experiments.figures.baselines import baselines_of, curves_of
from smoothmorph.experiments.figures.style import legend, new_figure, styled
from smoothmorph.experiments.outputs.study_result import StudyResult, archive, print_summary, rebuild
from smoothmorph.experiments.outputs.tables import collect, collect_history, further_settings
from smoothmorph.experiments.outputs.terminal_tables import status_table, summary_table
from smoothmorph.experiments.report.page import build_page, render
from smoothmorph.experiments.report.protocol import protocol
from smoothmorph.experiments.rows.naming import configuration_name
from smoothmorph.experiments.rows.summaries import baselines, configuration, penalized, summary
from smoothmorph.experiments.statistics import Limit, analyse, recommend
from smoothmorph.experiments.store.archive import examples_file, read_examples
from smoothmorph.experiments.store.joining import join
from smoothmorph.experiments.store.run_folder import claim, open_run, states
from smoothmorph.experiments.study.description import study_view, without_effect
from smoothmorph.experiments.study.study import built_in_studies, load_study
from smoothmorph.pipeline.evaluation import DICE, SDLOGJ
from smoothmorph.transforms.basics.errors import InputError

METHODS = {"name": "baselines", "axes": {"model.method": ["identity", "syn", "elastix"]}}
WEIGHTS = {"name": "weights", "set": {"model.method": "elastix"}, "axes": {"baseline.bending_weight": [1.0, 20.0]}}
NETWORKS = {
    "name": "networks",
    "axes": {"objective.penalty": ["l1", "l2"], "objective.lambda": [0.001, 0.01, 0.1], "seed": [0, 1]},
}


@pytest.fixture
def make(tmp_path):
    """A complete run of a study with these groups, made by the fast replacement for training."""

    def make(*groups, name="run", overrides=(), pairs="pairs"):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump({"name": name, "groups": list(groups)}))
        study = load_study(str(tmp_path / f"{name}.yaml"), ["training.epochs=2", "pairs.test=12", *overrides])
        run = claim(tmp_path / name, study, [trial.trial_id("data") for trial in study.trials])
        for trial, settings in run.trials.items():
            synthetic_run.trial(settings, run.path / trial, None, lambda progress: None)
            noted = {"data": "data", "test_pairs": pairs}
            (run.path / trial / "environment.json").write_text(json.dumps(noted))
        return run

    return make


@pytest.fixture
def drawn(monkeypatch):
    """Draw figures small and keep them by name."""
    figures: dict[str, Figure] = {}

    def save(figure, folder, name):
        figure.savefig(io.BytesIO(), dpi=20)
        figures[name] = figure
        return [folder / f"{name}.png"]

    monkeypatch.setattr("smoothmorph.experiments.figures.save", save)
    return figures


def text_of(view, width=100) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(view)
    return console.file.getvalue()


def legend_of(figure: Figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


# Rows and tables


def test_rows_of_baselines_have_no_penalty_and_set_no_network_apart(make):
    run = make(NETWORKS, METHODS)
    rows = collect(run)
    assert further_settings(run) == []
    assert configuration(rows) == ["penalty", "lambda", "model"]
    own = baselines(rows)
    assert own["model"].unique().tolist() == ["identity", "syn", "elastix"]
    assert (own["penalty"] == "none").all()
    assert (own["lambda"] == 0).all()
    assert len(penalized(rows)) + len(own) == len(rows)
    assert own["trial"].nunique() == 3
    lines = summary(rows).query("metric == 'seconds'").set_index("model")["mean"]
    assert lines["syn"] == 4.0
    assert set(collect_history(run)["model"]) == {"diffeomorphic"}


def test_the_networks_numbers_are_those_of_a_run_without_baselines(make):
    alone, beside = collect(make(NETWORKS, name="alone")), collect(make(NETWORKS, METHODS, name="beside"))
    pd.testing.assert_frame_equal(
        summary(alone), penalized(summary(beside)).reset_index(drop=True), check_dtype=False, check_index_type=False
    )
    one, two = analyse(alone), analyse(beside)
    for name in one.tables:
        table = penalized(two.tables[name]).reset_index(drop=True)
        pd.testing.assert_frame_equal(table, one.tables[name], check_dtype=False)
    assert two.words[: len(one.words)] == one.words
    assert two.answer[:-1] == one.answer[:-1]
    assert re.fullmatch(r"Dice without training: SyN reaches 0.* at an SDlogJ of .*; elastix .*", two.answer[-1])
    limit = Limit("displacement_sdlogj", 0.3)
    assert recommend(alone, limit).table.equals(recommend(beside, limit).table)


def test_several_settings_of_one_baseline_are_told_apart_by_what_differs(make):
    run = make(NETWORKS, METHODS, WEIGHTS)
    rows = collect(run)
    assert further_settings(run) == ["baseline.bending_weight"]
    assert rows.loc[rows["model"] != "elastix", "baseline.bending_weight"].isna().all()
    whole = summary(rows)
    names = {configuration_name(line, whole) for _, line in whole.iterrows()}
    assert {"SyN", "No registration", "elastix, bending weight 20", "L2, λ 0.01"} <= names
    assert analyse(rows).tables["means"]["baseline.bending_weight"].nunique() == 3


def test_refinement_is_a_further_setting_only_where_trials_differ_in_it_alone(make):
    """Otherwise the rows' own column says which are refined, and one refined trial stays on the curve of the others."""
    few = {"name": "few", "axes": {"objective.lambda": [0.01, 0.1]}}
    one = {"name": "one", "set": {"objective.lambda": 0.001, "refinement.steps": 10}}
    assert further_settings(make(few, one)) == []
    both = {"name": "both", "axes": {"refinement.steps": [10, 20]}}
    assert further_settings(make(both, name="other")) == ["refinement.steps"]


def test_a_run_of_baselines_alone_has_tables_words_and_a_sentence_where_nothing_can_be_chosen(make):
    rows = collect(make(METHODS))
    found = analyse(rows)
    assert list(found.tables) == ["means"]
    assert [words.split(",")[0] for words in found.words] == [
        "Without registration", "Without training", "Without training"
    ]  # fmt: skip
    assert "4 s per pair" in found.words[1]
    assert found.answer == found.words
    with pytest.raises(InputError, match="this run has no trial with a penalty"):
        recommend(rows, Limit("displacement_sdlogj", 0.3))


def test_networks_are_compared_with_a_baseline_at_its_smoothness_by_hand(make):
    """A curve with Dice and SDlogJ linear between two λ, evaluated half way between them."""
    rows = collect(make(NETWORKS, METHODS))
    sdlogj = {0.001: 0.4, 0.01: 0.3, 0.1: 0.1}
    dice = {0.001: 0.8, 0.01: 0.7, 0.1: 0.6}
    trained = rows["penalty"] != "none"
    rows.loc[trained, "displacement_sdlogj"] = rows["lambda"].map(sdlogj)
    rows.loc[trained, "dice"] = rows["lambda"].map(dice)
    for method, roughness, overlap in (("syn", 0.2, 0.72), ("elastix", 0.5, 0.9), ("identity", 0.0, 0.5)):
        rows.loc[rows["model"] == method, ["displacement_sdlogj", "dice"]] = roughness, overlap
    found = analyse(rows)
    table = found.tables["baselines"].query("metric == 'dice'")
    assert table["baseline"].tolist() == ["syn", "syn"]  # no curve reaches the SDlogJ of the others
    assert table["penalty"].tolist() == ["l1", "l2"]
    assert table["difference"].to_numpy() == pytest.approx(0.65 - 0.72)
    assert table["lambda"].to_numpy() == pytest.approx(np.sqrt(0.01 * 0.1))
    assert any(
        "Networks as smooth as SyN (SDlogJ 0.2), their Dice minus that of SyN: L1 worse" in line for line in found.words
    )


def test_a_curve_that_a_larger_weight_made_rougher_is_not_compared_beyond_its_smallest_weight(make):
    """As of a diverged training: the accuracy would be extrapolated."""
    rows = collect(make(NETWORKS, METHODS))
    trained = rows["penalty"] != "none"
    rows.loc[trained, "displacement_sdlogj"] = rows["lambda"].map({0.001: 0.2, 0.01: 0.4, 0.1: 0.1})
    for method, roughness in (("syn", 0.15), ("elastix", 0.3), ("identity", 0.0)):
        rows.loc[rows["model"] == method, "displacement_sdlogj"] = roughness
    assert set(analyse(rows).tables["baselines"]["baseline"]) == {"syn"}


# Terminal, report and figures


def test_the_terminal_shows_baselines_without_penalty_and_with_seconds(make):
    run = make(NETWORKS, METHODS)
    rows = collect(run)
    told = text_of(summary_table(summary(rows), "title"), 80)
    assert all(len(line) <= 80 for line in told.splitlines())
    assert "s per" in told
    line = next(line for line in told.splitlines() if "elastix" in line)
    assert "none" not in line
    assert "s per" not in text_of(summary_table(summary(penalized(rows)), "title"))


def test_an_axis_that_no_method_uses_is_told(make):
    run = make({"name": "idle", "set": {"model.method": "elastix"}, "axes": {"baseline.iterations": [[5], [9]]}})
    told = text_of(study_view(run.study), 200)
    assert "· 1 trial\n" in told
    assert "The axis baseline.iterations of idle has no effect: no method of this group uses it." in told


def test_one_change_at_a_time_is_named_by_what_changed(make, drawn):
    """Ten settings in seven keys; a name has only what is not usual, and no figure is wider than five panels."""
    base = {"model.backbone": "pyramid", "model.channels": [4, 4, 4], "model.radius": 1, "model.repeats": 2}
    changes = [{}, {"model.symmetric": False}, {"model.radius": 0}, {"model.repeats": 1}, {"model.channels": [4, 4]}]
    changes += [{"training.weight_averaging": 0.9}, {"objective.similarity": "ncc"}]
    weights = {"objective.lambda": [0.01, 0.1]}
    run = make(*({"name": str(i), "set": {**base, **change}, "axes": weights} for i, change in enumerate(changes)))
    rows = collect(run)
    names = {configuration_name(line, rows) for _, line in rows.iterrows() if line["lambda"] == 0.1}
    assert names == {
        f"L2, λ 0.1, {own}"
        for own in (
            *("usual settings", "symmetric no", "radius 0", "repeats 1", "channels [4, 4]"),
            *("weight averaging 0.9", "similarity NCC"),
        )
    }
    analysis = analyse(rows)
    draw_figures(run, rows, collect_history(run), analysis)
    arc = drawn["pareto_front"]
    assert [axes.get_title() for axes in arc.axes] == ["usual settings", *dict.fromkeys(_settings(analysis))]
    assert arc.get_figwidth() < 25
    assert [label.get_text() for label in drawn["variations"].axes[0].get_yticklabels()] == _settings(analysis)[::-1]
    assert any("minus that of the usual settings" in words for words in analysis.words)
    assert any(
        words.startswith("Compared with the usual settings, for L2 at equal SDlogJ") for words in analysis.answer
    )


def _settings(analysis) -> list[str]:
    return list(dict.fromkeys(analysis.tables["variations"]["setting"]))


def test_a_setting_that_no_method_uses_is_told(tmp_path):
    idle = {"name": "idle", "set": {"model.method": "elastix", "training.epochs": 5}}
    base = {"refinement": {"steps": 9}, "compute.threads": 1}
    told = {}
    for groups in ([idle], [idle, NETWORKS]):
        (tmp_path / "study.yaml").write_text(yaml.safe_dump({"name": "study", "base": base, "groups": groups}))
        study = load_study(str(tmp_path / "study.yaml"))
        told[len(groups)] = without_effect(study)
        (tmp_path / "whole.yaml").write_text(study.to_yaml())  # with every default
        assert without_effect(load_study(str(tmp_path / "whole.yaml"))) == told[len(groups)]
    of_group = "The setting training.epochs of idle has no effect: no method of this group uses it."
    assert told[1] == ["refinement.steps in base has no effect: no method of this study uses it.", of_group]
    assert told[2] == [of_group]


@pytest.mark.parametrize("name", built_in_studies())
def test_every_setting_of_a_built_in_study_has_an_effect(name):
    assert without_effect(load_study(name)) == []


@pytest.mark.parametrize(("trained_on", "other"), [("mse", "ncc"), ("ncc", "mse")])
def test_the_terminal_shows_the_similarity_that_was_trained_on(trained_on, other, make):
    run = make(NETWORKS, overrides=[f"objective.similarity={trained_on}"])
    rows, console = collect(run), Console(file=io.StringIO(), width=80)
    print_summary(StudyResult(run, list(run.trials), rows=rows, summary=summary(rows)), console)
    assert trained_on.upper() in console.file.getvalue()
    assert other.upper() not in console.file.getvalue()


def test_the_terminal_tells_of_their_states_and_settings(make):
    run = make(NETWORKS, METHODS)
    state = text_of(status_table(run, states(run), False), 160)
    assert next(line for line in state.splitlines() if "syn_" in line).count("of") == 0
    study = text_of(study_view(run.study), 200)
    assert "syn" in study
    assert "iterations" in study
    assert "iterations" not in text_of(study_view(load_study("demo")), 200).replace("integration", "")


@pytest.mark.parametrize("groups", [(NETWORKS, METHODS), (NETWORKS, METHODS, WEIGHTS), (METHODS,), (WEIGHTS,)])
def test_figures_show_baselines_beside_the_curves_and_alone(groups, make, drawn):
    run = make(*groups)
    rows = collect(run)
    draw_figures(run, rows, collect_history(run), analyse(rows))
    both = {"pareto_front", "dice_per_structure", "warped_grids", "flow_fields"}
    over_weights = {"similarity_vs_folding", "folding_vs_lambda", "dice_vs_lambda", "sdlogj_by_lambda"}
    assert both <= set(drawn)
    assert (over_weights <= set(drawn)) == (groups[0] is NETWORKS)
    for name in (both | over_weights) & set(drawn) - {"warped_grids", "flow_fields"}:
        assert any("elastix" in label for label in legend_of(drawn[name])), name
    shown = [axes.get_title() for axes in drawn["warped_grids"].axes]
    assert any(title.startswith("elastix") for title in shown)
    curves = [line for line in drawn["pareto_front"].axes[0].get_lines() if len(line.get_xdata()) > 1]
    assert len(curves) == (2 if groups[0] is NETWORKS else 0)  # one curve per penalty, none for baselines


def test_the_lambda_axis_does_not_hold_the_zero_of_baselines(make, drawn):
    run = make(NETWORKS, METHODS)
    rows = collect(run)
    draw_figures(run, rows, collect_history(run), analyse(rows))
    for name in ("dice_vs_lambda", "folding_vs_lambda"):
        assert drawn[name].axes[0].get_xlim()[0] > 0


@pytest.mark.parametrize("groups", [(NETWORKS, METHODS, WEIGHTS), (METHODS,)])
def test_the_report_tells_of_baselines(groups, make, drawn):
    run = make(*groups)
    rows, history = collect(run), collect_history(run)
    complete = list(run.trials)
    result = StudyResult(run, complete, rows=rows, history=history, summary=summary(rows), analysis=analyse(rows))
    html = render(build_page(result))
    assert "SyN" in html
    assert "seconds per pair" in html
    assert "&#39;.[baselines]&#39;" in html
    terms = dict(protocol(run))
    assert "100 × 100 × 50 iterations" in terms["SyN"]
    assert ("Network" in terms) == (groups[0] is NETWORKS)
    assert "elastix" not in terms.get("Model", "")


def test_an_archive_keeps_baselines(make, tmp_path, no_figures):
    run = make(NETWORKS, METHODS)
    archive(run.path, tmp_path / "kept", console=Console(file=io.StringIO()))
    kept = open_run(tmp_path / "kept")
    assert {state.state for state in states(kept).values()} == {"complete"}
    pd.testing.assert_frame_equal(collect(kept), collect(run), check_dtype=False, rtol=1e-6)


# Runs that are joined


def test_joined_runs_are_the_run_of_both(make):
    run, other = make(NETWORKS, name="one"), make(METHODS, name="other", overrides=["training.epochs=9"])
    whole = make(NETWORKS, METHODS, name="whole")
    joined = join(run.path, other.path)
    assert list(joined.trials) == list(whole.trials)
    found = open_run(run.path)
    assert list(found.trials) == list(whole.trials)
    assert {state.state for state in states(found).values()} == {"complete"}
    pd.testing.assert_frame_equal(collect(found), collect(whole))
    assert [group.name for group in found.study.groups] == ["networks", "baselines"]
    before = (run.path / "study.yaml").read_text()
    join(run.path, other.path)
    assert (run.path / "study.yaml").read_text() == before
    assert not list(run.path.glob(".*.partial"))


def test_two_runs_of_one_study_complete_each_other(make):
    whole, part = make(NETWORKS, METHODS, name="whole"), make(METHODS, name="part")
    for trial in part.trials:
        shutil.rmtree(whole.path / trial)
    assert [state.state for state in states(whole).values()].count("missing") == 3
    join(whole.path, part.path)
    assert {state.state for state in states(open_run(whole.path)).values()} == {"complete"}


@pytest.mark.parametrize("command", ["figures", "report"])
def test_figures_and_report_of_several_runs_take_the_others_into_the_first(make, tmp_path, no_figures, command):
    run, methods, weights = make(NETWORKS, name="one"), make(METHODS, name="two"), make(WEIGHTS, name="three")
    told = CliRunner().invoke(app, [command, *(str(one.path) for one in (run, methods, weights))])
    assert told.exit_code == 0, told.output
    assert set(open_run(run.path).trials) == {*run.trials, *methods.trials, *weights.trials}
    measured = pd.read_csv(run.path / "tables" / "summary.csv")["model"]
    assert {"diffeomorphic", "identity", "syn", "elastix"} == set(measured)
    assert set(open_run(methods.path).trials) == set(methods.trials)
    assert (run.path / "report.html").exists() == (command == "report")


def test_joined_networks_keep_their_own_settings(make):
    run = make(NETWORKS, name="one")
    longer = {"name": "networks", "axes": {"objective.penalty": ["l2"]}}
    other = make(longer, name="longer", overrides=["training.epochs=5", "objective.multiplier=2"])
    found = open_run(join(run.path, other.path).path)
    assert set(found.trials) == {*run.trials, *other.trials}
    assert [group.name for group in found.study.groups] == ["networks", "longer-networks"]
    (trial,) = other.trials
    assert found.trials[trial].training.epochs == 5
    assert found.trials[trial].objective.multiplier == 2


def test_a_joined_sum_of_penalties_keeps_its_own_default_lambda(make):
    run = make(NETWORKS, name="one", overrides=["objective.lambda=0.05"])
    penalties = {"name": "sums", "axes": {"objective.penalty": ["l2", "l2+folding"]}}
    other = make(penalties, name="two")
    found = join(run.path, other.path)
    assert {*run.trials, *other.trials} == {*found.trials}
    weights = {found.trials[trial].objective.penalty: found.trials[trial].objective.weight for trial in other.trials}
    assert weights == {"l2": 0.01, "l2+folding": 1.0}
    assert found.study.title == "one; two"


def test_runs_on_other_pairs_are_not_joined(make):
    run, other = make(NETWORKS, name="one"), make(METHODS, name="other", pairs="other pairs")
    with pytest.raises(InputError, match=r"do not have the same test pairs \(hash pairs, and other pairs\)"):
        join(run.path, other.path)
    assert set(open_run(run.path).trials) == set(run.trials)


def test_a_run_that_tells_nothing_of_its_pairs_is_not_joined(make):
    run, other = make(NETWORKS, name="one"), make(METHODS, name="other")
    for path in other.path.glob("*/environment.json"):
        path.unlink()
    with pytest.raises(InputError, match=r"other has no environment\.json"):
        join(run.path, other.path)


def test_archived_trials_are_joined_with_their_rows_pictures_and_history(make, tmp_path, no_figures):
    run, other, whole = make(NETWORKS, name="one"), make(METHODS, name="other"), make(NETWORKS, METHODS, name="whole")
    archive(other.path, tmp_path / "kept", console=Console(file=io.StringIO()))
    archive(run.path, tmp_path / "networks", console=Console(file=io.StringIO()))
    for path, guest in ((run.path, tmp_path / "kept"), (other.path, tmp_path / "networks")):
        found = join(path, guest)
        assert {state.state for state in states(found).values()} == {"complete"}
        order = ["trial", "moving", "fixed"]
        joined, expected = (collect(one).sort_values(order, ignore_index=True) for one in (found, whole))
        pd.testing.assert_frame_equal(joined[expected.columns], expected, check_dtype=False, rtol=1e-6)
        assert len(collect_history(found)) == len(collect_history(whole))
        pictured = [trial for trial in found.trials if examples_file(path, trial)]
        assert any(trial.startswith("syn") for trial in pictured)
        assert any(trial.startswith("l2") for trial in pictured)
        assert join(path, guest).study == found.study


def test_figures_show_the_example_pairs_that_all_trials_have(make, tmp_path, drawn):
    """A trial keeps three example pairs, an archived one fewer."""
    run, other = make(NETWORKS, name="one"), make(METHODS, name="other")
    archive(other.path, tmp_path / "kept", console=Console(file=io.StringIO()))
    assert len(read_examples(examples_file(tmp_path / "kept", next(iter(other.trials))))["fixed"]) == 1
    rebuild(join(run.path, tmp_path / "kept").path, Console(file=io.StringIO()))
    assert {"warped_grids", "flow_fields"} <= {name.removesuffix("_diffeomorphic_model") for name in drawn}


def test_an_archive_with_a_symbolic_link_is_not_joined(make, tmp_path, no_figures):
    run, other = make(NETWORKS, name="one"), make(METHODS, name="other")
    archive(other.path, tmp_path / "kept", console=Console(file=io.StringIO()))
    link = next((tmp_path / "kept" / "archive" / "examples").glob("syn_*"))
    link.unlink()
    link.symlink_to("/etc/hostname")
    with pytest.raises(InputError, match="is a symbolic link, expected a file"):
        join(run.path, tmp_path / "kept")


def test_a_method_with_many_settings_is_a_curve_with_one_entry_in_the_legend(make, drawn):
    """The points are joined in the order of the setting; over λ, where they have no place, they are left out."""
    weights = {"name": "weights", "set": {"model.method": "elastix"}, "axes": {"baseline.bending_weight": [1.0, 20, 9]}}
    run = make(NETWORKS, METHODS, weights)
    rows = collect(run)
    draw_figures(run, rows, collect_history(run), analyse(rows))
    labels = legend_of(drawn["pareto_front"])
    assert "elastix, 4 settings" in labels
    assert "SyN" in labels
    assert not [label for label in legend_of(drawn["dice_vs_lambda"]) if "elastix" in label]
    found = baselines_of(summary(rows))
    (curve,) = curves_of(found)
    assert [baseline.label for baseline in curve] == [f"elastix, bending weight {weight}" for weight in (1, 5, 9, 20)]
    (shown,) = drawn["dice_per_structure"].legends
    looks = [(line.get_color(), line.get_marker()) for line in shown.get_lines()]
    assert len(set(looks)) == len(looks) >= 6  # alone, each configuration is told from the others


def test_a_baseline_far_beyond_the_curves_is_named_and_does_not_squeeze_them(make):
    rows = collect(make(NETWORKS, METHODS))
    networks = rows["penalty"] != "none"
    rows.loc[rows["model"] == "syn", SDLOGJ] = 1.2 * rows.loc[networks, SDLOGJ].max()
    rows.loc[rows["model"] == "elastix", SDLOGJ] = 5 * (rough := rows.loc[networks, SDLOGJ].max())
    figure = pareto_front(analyse(rows), DICE, "title")
    assert rough < figure.axes[0].get_xlim()[1] < 2 * rough
    words = figure._supxlabel.get_text().replace("\n", " ")
    assert f"Beyond the panel: elastix at {5 * rough:.2f}." in words
    assert "SyN" not in words
    near = pareto_front(analyse(rows[rows["model"] != "elastix"]), DICE, "title")
    assert "Beyond" not in near._supxlabel.get_text()


def test_a_figure_grows_with_its_legend():
    with styled():
        few, many = (new_figure(6, 3, "title") for _ in range(2))
        legend(few, [Line2D([], [], label="one")])
        legend(many, [Line2D([], [], label=str(number)) for number in range(40)])
        many.canvas.draw()
    assert few.get_figheight() == 3
    (box,) = (one.get_window_extent() for one in many.legends)
    assert box.y0 >= 0
    assert box.y1 <= many.bbox.height
