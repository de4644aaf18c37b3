"""Networks, refined networks and optimization beside each other: rows, curves, figures and sentences of all three."""

import json

import pandas as pd
import pytest
import torch

from smoothmorph.experiments.figures.arc import pareto_front
from smoothmorph.experiments.figures.gap import amortization_gap
from smoothmorph.experiments.outputs.tables import collect
from smoothmorph.experiments.outputs.terminal_tables import recommendation_view
from smoothmorph.experiments.report.protocol import protocol
from smoothmorph.experiments.rows.summaries import configuration, penalized, summary
from smoothmorph.experiments.statistics import Limit, analyse, recommend
from smoothmorph.experiments.store.trial_tables import lacks_pairs, read_parquet
from smoothmorph.networks import VoxelMorph
from smoothmorph.pipeline.evaluation.refined import by_refinement, refinement_objective
from smoothmorph.pipeline.settings.schema import PairSettings, TrialSettings, parse
from smoothmorph.pipeline.trial import run_trial
from smoothmorph.transforms import InputError
from test_beside import METHODS, drawn, legend_of, make, text_of  # noqa: F401 (fixtures)

WEIGHTS = {"objective.penalty": ["l1", "l2"], "objective.lambda": [0.001, 0.01, 0.1]}
NETWORKS = {"name": "networks", "axes": {**WEIGHTS, "seed": [0, 1]}}
OPTIMA = {"name": "optima", "set": {"model.method": "optimization"}, "axes": WEIGHTS}


def settings_of(**sections) -> TrialSettings:
    values = {
        "cohort": {"reader": "table", "file": "subjects.csv"},
        "split": {"train": 0.5, "validation": 0.25, "test": 0.25},
        "pairs": {"validation": 1, "test": 3},
        "training": {"epochs": 1, "steps_per_epoch": 2},
        "objective": {"lambda": 0.001},
        "compute": {"device": "cpu", "threads": 1},
    }
    return parse(TrialSettings, {**values, **sections}, "test")


def test_optimization_is_a_curve_over_lambda_beside_that_of_networks(make, drawn):  # noqa: F811
    run = make(NETWORKS, OPTIMA, METHODS)
    rows = collect(run)
    assert configuration(rows) == ["penalty", "lambda", "model", "method"]
    assert set(penalized(rows)["method"]) == {"voxelmorph", "optimization"}
    found = analyse(rows)
    assert len(found.tables["fronts"]) == 12
    assert set(found.tables["matched"]["method"]) == {"voxelmorph", "optimization"}
    words = " ".join(found.words)
    assert "(trained network)" in words
    assert "(optimization)" in words
    assert "Optimization takes" in words
    assert "A trained network takes" in words
    assert "Networks and optima as smooth as SyN" in words
    assert "Networks and optima against baselines" in found.tables["baselines"].attrs["title"]
    terms = [term for term, _ in protocol(run)]
    assert terms.count("Objective") == 2
    assert "optimization" in terms
    from smoothmorph.experiments.figures import draw_figures
    from smoothmorph.experiments.outputs.tables import collect_history

    draw_figures(run, rows, collect_history(run), found)
    front = drawn["pareto_front"]
    assert [axes.get_title() for axes in front.axes] == ["diffeomorphic model"]
    assert {"trained network", "optimization"} <= set(legend_of(front))
    ranges = [line for line in front.axes[0].lines if line.get_transform() == front.axes[0].get_xaxis_transform()]
    assert {line.get_linestyle() for line in ranges} == {"-", "--"}  # AUC-ARC's, one for each way
    assert "Grey lines at the bottom: the ranges of AUC-ARC." in front.get_supxlabel().replace("\n", " ")
    assert "L2, optimization" in legend_of(drawn["dice_vs_lambda"])
    _check_gaps(found, drawn["amortization_gap"])


def _check_gaps(found, figure) -> None:
    """Optimization minus network, per penalty: at each λ, and at equal SDlogJ."""
    table = found.tables["amortization_gap"]
    assert set(zip(table["first"], table["second"], strict=True)) == {("optimization", "trained network")}
    at_weights = table[table["matched_in"] == "lambda"]
    assert set(at_weights["at"]) == {0.001, 0.01, 0.1}
    means = found.tables["means"].set_index(["penalty", "lambda", "method", "metric"])["mean"]
    for line in at_weights.to_dict("records"):
        one, two = (means[line["penalty"], line["at"], way, line["metric"]] for way in ("optimization", "voxelmorph"))
        assert line["difference"] == pytest.approx(one - two)
        assert line["low"] <= line["difference"] <= line["high"]
    assert set(at_weights["metric"]) == {"dice", "mse", "displacement_sdlogj"}
    assert any(
        line.startswith("Dice, optimization minus trained network, at equal SDlogJ: L1 ") for line in found.words
    )
    assert figure.axes[0].get_title() == "diffeomorphic model:\noptimization minus trained network"


def test_networks_that_differ_in_much_are_named_by_their_backbone_and_compared_with_the_optimum(make, drawn):  # noqa: F811
    longer = {"model.backbone": "pyramid", "training.steps_per_epoch": 4, "training.learning_rate": 0.002}
    condition = {"objective.condition.penalties": ["l1", "l2"], "objective.condition.lambda": [0.001, 0.1]}
    networks = [
        {"name": "voxelmorph", "axes": WEIGHTS},
        {"name": "pyramid", "set": longer | condition, "axes": WEIGHTS},
    ]
    rows = collect(run := make(OPTIMA, *networks, METHODS))
    assert {"model.backbone", "training.learning_rate", "objective.condition.lambda"} <= set(configuration(rows))
    found = analyse(rows)
    assert len(found.tables["fronts"]) == 18
    gaps = set(map(tuple, found.tables["amortization_gap"][["first", "second"]].to_numpy()))
    assert gaps == {("optimization", "VoxelMorph"), ("optimization", "Pyramid"), ("Pyramid", "VoxelMorph")}
    words = " ".join(found.words)
    assert all(f"({name})" in words for name in ("optimization", "VoxelMorph", "Pyramid"))
    assert "A trained network (Pyramid) takes" in words
    from smoothmorph.experiments.figures import draw_figures
    from smoothmorph.experiments.outputs.tables import collect_history

    draw_figures(run, rows, collect_history(run), found)
    assert [axes.get_title() for axes in drawn["pareto_front"].axes] == ["diffeomorphic model"]
    assert {"optimization", "VoxelMorph", "Pyramid"} <= set(legend_of(drawn["pareto_front"]))
    assert {"L2, optimization", "L2, VoxelMorph", "L2, Pyramid"} <= set(legend_of(drawn["dice_vs_lambda"]))
    assert all(len(axes.get_title()) < 80 for figure in drawn.values() for axes in figure.axes)
    limit = Limit("displacement_sdlogj", 10.0)
    for method, told in (("optimization", "optimization"), ("voxelmorph", "Pyramid")):  # the best one has no backbone
        gain = 0.2 * ((rows["method"] == method) & (rows["model.backbone"] != "voxelmorph"))
        chosen = recommend(rows.assign(dice=rows["dice"].clip(upper=0.7) + gain), limit)
        sentence, *lines = text_of(recommendation_view(chosen, limit, False), 200).splitlines()
        assert f"with the diffeomorphic model, {told}: a mean" in sentence
        assert not any("nan" in line for line in lines)


def test_one_network_for_every_lambda_is_compared_with_separate_ones(make, drawn):  # noqa: F811
    """Their trainings may differ, as four times the steps do."""
    condition = {"objective.condition.penalties": ["l1", "l2"], "objective.condition.lambda": [0.001, 0.1]}
    one = {"name": "one", "set": {"training.steps_per_epoch": 4, **condition}, "axes": WEIGHTS}
    rows = collect(run := make({"name": "separate", "axes": WEIGHTS}, one))
    found = analyse(rows)
    gaps = found.tables["amortization_gap"]
    words = ("one network for every λ of 2 penalties", "a network for each λ")
    assert set(map(tuple, gaps[["first", "second"]].to_numpy())) == {words}
    assert set(gaps.loc[gaps["matched_in"] == "lambda", "at"]) == {0.001, 0.01, 0.1}
    from smoothmorph.experiments.figures import draw_figures

    draw_figures(run, rows, pd.DataFrame(), found)
    assert [axes.get_title() for axes in drawn["pareto_front"].axes] == ["diffeomorphic model"]
    assert set(words) <= set(legend_of(drawn["pareto_front"]))
    both = {**one, "axes": {**WEIGHTS, "objective.condition.kind": ["modulation", "weights"]}}
    found = analyse(collect(make({"name": "separate", "axes": WEIGHTS}, both, name="both")))
    gaps = set(map(tuple, found.tables["amortization_gap"][["first", "second"]].to_numpy()))
    kinds = [f"{words[0]}, λ enters by {kind}" for kind in ("modulation", "weights")]
    assert gaps == {tuple(kinds), *((kind, words[1]) for kind in kinds)}


@pytest.mark.parametrize("order", [1, -1])
def test_settings_of_one_backbone_tell_networks_apart_in_any_order(order, make, drawn):  # noqa: F811
    """Also more ways than there are line styles: each is drawn."""
    backbones = [{"name": "voxelmorph", "axes": WEIGHTS}]
    backbones += [
        {"name": f"repeats {n}", "set": {"model.backbone": "pyramid", "model.repeats": n}, "axes": WEIGHTS}
        for n in range(1, 8)
    ]
    rows = collect(make(*backbones[::order], OPTIMA))
    assert {"model.backbone", "model.repeats"} <= set(configuration(rows))
    found = analyse(rows)
    assert len(found.tables["fronts"]) == 9 * 6
    figure = pareto_front(found, "dice", "")
    named = set(legend_of(figure))
    assert {"optimization", "VoxelMorph", *(f"Pyramid, repeats {n}" for n in range(1, 8))} <= named
    assert len(figure.axes) == 1
    curves = [line for line in figure.axes[0].get_lines() if len(line.get_xdata()) == 3]
    assert len(curves) == 9 * 2  # two penalties
    gaps = amortization_gap(found, "dice", "")
    assert gaps is not None
    assert len(gaps.axes) == 2 * 8  # all against the optimum, not all against all


def test_optimization_alone_has_curves_and_a_recommendation_and_speaks_of_no_training(make):  # noqa: F811
    rows = collect(make(OPTIMA))
    assert configuration(rows) == ["penalty", "lambda", "model"]
    found = analyse(rows)
    words = " ".join(found.words)
    assert "trained" not in words
    assert "network" not in words
    assert "seed" not in " ".join(found.answer)
    assert set(summary(rows)["penalty"]) == {"l1", "l2"}
    assert recommend(rows, Limit("displacement_sdlogj", 0.3)).best["penalty"] in ("l1", "l2")


def test_rows_with_and_without_refinement_are_told_apart(make, drawn):  # noqa: F811
    run = make({"name": "networks", "axes": WEIGHTS})
    for path in run.path.glob("*/pairs.parquet"):
        alone = pd.read_parquet(path).assign(refinement_steps=0)
        pd.concat([alone, alone.assign(refinement_steps=20, dice=alone["dice"] + 0.01)]).to_parquet(path)
        assert not lacks_pairs(read_parquet(path), PairSettings(test=12))
        assert lacks_pairs(read_parquet(path).iloc[1:], PairSettings(test=12))
    rows = collect(run)
    assert configuration(rows) == ["penalty", "lambda", "model", "refinement_steps"]
    found = analyse(rows)
    means = found.tables["means"].query("metric == 'dice'").groupby("refinement_steps")["mean"].mean()
    assert means[20] - means[0] == pytest.approx(0.01)
    assert "(refined, at most 20 steps)" in " ".join(found.words)
    from smoothmorph.experiments.figures import draw_figures

    draw_figures(run, rows, pd.DataFrame(), found)
    assert {"not refined", "refined, at most 20 steps"} <= set(legend_of(drawn["pareto_front"]))


def test_a_pair_that_is_twice_in_rows_without_another_refinement_is_a_fault(make):  # noqa: F811
    path = next(make({"name": "one", "axes": {"objective.lambda": [0.01]}}).path.glob("*/pairs.parquet"))
    rows = pd.read_parquet(path)
    pd.concat([rows, rows]).to_parquet(path)
    with pytest.raises(InputError, match="has a pair twice"):
        read_parquet(path)


def test_one_training_gives_rows_of_the_network_and_of_its_refinement(tiny_cohort, tmp_path):
    stages = []
    run_trial(
        settings_of(refinement={"steps": 8}), tmp_path / "trial", tiny_cohort(2), lambda told: stages.append(told.stage)
    )
    rows = pd.read_parquet(tmp_path / "trial" / "pairs.parquet")
    alone, refined = (part.reset_index(drop=True) for _, part in rows.groupby("refinement_steps"))
    assert rows["refinement_steps"].unique().tolist() == [0, 8]
    pd.testing.assert_frame_equal(alone[["moving", "fixed", "mse_before"]], refined[["moving", "fixed", "mse_before"]])
    assert (refined["loss"] < alone["loss"]).all()
    assert "refining" in stages
    assert not (tmp_path / "trial" / "finished").exists()
    run_trial(settings_of(), tmp_path / "plain", tiny_cohort(2))
    plain = pd.read_parquet(tmp_path / "plain" / "pairs.parquet")
    assert "refinement_steps" not in plain
    assert plain["loss"].tolist() == alone["loss"].tolist()


def test_refinement_has_an_objective_of_its_own_where_it_is_given():
    own = refinement_objective(settings_of(refinement={"steps": 1, "lambda": 0.3, "similarity": "ncc"}))
    assert (own.weight, own.minimizes, own.acts_on) == (0.3, "ncc", "velocity")
    assert refinement_objective(settings_of()).weight == 0.001


def test_a_refined_field_that_is_not_finite_is_one_sentence(monkeypatch):
    from smoothmorph.pipeline.trial import TrialFailed

    network = VoxelMorph(2)
    torch.nn.init.constant_(next(network.parameters()), torch.nan)
    image = {"id": "someone", "image": torch.rand(1, 16, 16), "label": None}
    with pytest.raises(
        TrialFailed, match="the displacement by the refined network of someone to someone is not finite"
    ):
        by_refinement(network, settings_of(refinement={"steps": 1}), torch.device("cpu"))(image, image)


def test_without_steps_the_settings_of_refinement_are_no_part_of_a_trial():
    plain = settings_of().trial_id("data")
    assert settings_of(refinement={"lambda": 0.3}).trial_id("data") == plain
    assert settings_of(refinement={"steps": 5}).trial_id("data") != plain
    assert "refinement" not in json.dumps(settings_of().identity())
    assert settings_of().concerns("refinement.steps")
    assert not settings_of().concerns("refinement.lambda")
    with pytest.raises(InputError, match=r"refinement.penalty = 'l3': there is no penalty 'l3'; did you mean l"):
        settings_of(refinement={"penalty": "l3"})
    with pytest.raises(InputError, match=r"refinement.steps = -1: .*greater than or equal to 0"):
        settings_of(refinement={"steps": -1})


def test_a_recommendation_without_training_names_its_method_and_no_seeds(make):  # noqa: F811
    rows = collect(make(OPTIMA))
    worse = rows.assign(dice=rows["dice_before"] - 0.01)
    sentence = " ".join(
        text_of(
            recommendation_view(
                recommend(worse, Limit("displacement_sdlogj", 10.0)), Limit("displacement_sdlogj", 10.0)
            ),
            200,
        ).split()
    )
    assert "with the diffeomorphic model, by optimization: a mean SDlogJ" in sentence
    assert "seed" not in sentence
    assert "there may be too few pairs to tell" in sentence
