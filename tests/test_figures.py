from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
import yaml
from matplotlib.figure import Figure

import synthetic_run
from smoothmorph.experiments.figures import draw_figures
from smoothmorph.experiments.figures.axes import lambda_axis, percent_axis
from smoothmorph.experiments.figures.distributions import sdlogj_by_lambda
from smoothmorph.experiments.figures.fields import _choose
from smoothmorph.experiments.figures.kinds import kinds
from smoothmorph.experiments.figures.loss import EVERY, term_by_epoch
from smoothmorph.experiments.figures.overview import overview
from smoothmorph.experiments.figures.panels import determinant_of, draw_grid
from smoothmorph.experiments.figures.penalty_curves import smoothness_axis
from smoothmorph.experiments.figures.structures import dice_per_structure
from smoothmorph.experiments.figures.style import (
    COLOURS,
    COLOURS_OF_SUMS,
    LONGEST_LINE,
    MARKERS,
    caption,
    colour_of,
    curves,
    marker_of,
    new_figure,
    save,
    title_panel,
)
from smoothmorph.experiments.outputs.tables import collect, collect_history
from smoothmorph.experiments.rows.summaries import summary
from smoothmorph.experiments.statistics import analyse
from smoothmorph.experiments.store.run_folder import claim, open_run
from smoothmorph.experiments.study.study import load_study
from smoothmorph.networks import PENALTIES
from smoothmorph.pipeline.evaluation import SDLOGJ
from smoothmorph.transforms.basics.errors import InputError

KINDS = ["dice_vs_lambda", "flow_fields", "folding_vs_lambda", "loss_by_epoch", "similarity_vs_folding"]
KINDS += ["similarity_vs_lambda", "warped_grids", "similarity_by_epoch", "penalty_by_epoch", "pareto_front"]
KINDS += ["sdlogj_by_lambda", "dice_per_structure"]
CURVES = ["across_lambda", "matched_sdlogj"]  # if penalties have several λ


@pytest.fixture
def make_run(tmp_path):
    def make(axes, *overrides, name="run"):
        (tmp_path / "study.yaml").write_text(yaml.safe_dump({"name": "figures", "axes": axes}))
        study = load_study(str(tmp_path / "study.yaml"), ["training.epochs=2", "pairs.test=6", *overrides])
        run = claim(tmp_path / name, study, [trial.trial_id("data") for trial in study.trials])
        for trial, settings in run.trials.items():
            synthetic_run.trial(settings, run.path / trial, None, lambda progress: None)
        return run

    return make


def make_figures(path):
    run = open_run(path)
    rows = collect(run)
    return draw_figures(run, rows, collect_history(run), analyse(rows))


@pytest.fixture
def unsaved(monkeypatch):
    """Draw figures only once and small, for the many cases in which drawing must not fail."""
    drawn: list[Figure] = []

    def save(figure, folder, name):
        figure.savefig(Path(folder).parent / "figure.png", dpi=20)
        drawn.append(figure)
        return [Path(name)]

    monkeypatch.setattr("smoothmorph.experiments.figures.save", save)
    return drawn


def test_all_kinds_as_png_and_svg(make_run):
    run = make_run({"objective.penalty": ["l1", "l2"], "objective.lambda": [0.01, 0.1]})
    paths = make_figures(run.path)
    assert sorted(path.name for path in paths) == sorted(
        f"{kind}.{end}" for kind in KINDS + CURVES for end in ("png", "svg")
    )
    for path in paths:
        assert path.parent == run.path / "figures"
        if path.suffix == ".png":
            assert path.read_bytes().startswith(b"\x89PNG")
        else:
            assert ElementTree.parse(path).getroot().tag.endswith("svg")
    before = {path: path.read_bytes() for path in paths}
    assert {path: path.read_bytes() for path in make_figures(run.path)} == before  # the same rows give the same files


@pytest.mark.parametrize(
    ("axes", "overrides"),
    [
        ({"objective.penalty": ["l2"]}, ()),
        ({"objective.penalty": ["l2", "l2+2*folding", "l2+3*folding"], "objective.lambda": [0.01, 0.1]}, ()),
        ({"objective.penalty": ["l2"], "objective.lambda": [0]}, ("training.epochs=1", "pairs.test=1")),
        ({"objective.penalty": ["l1", "bending-pure"], "objective.lambda": [0, 0.01, 0.1], "seed": [0, 1]}, ()),
        ({"model.integration_steps": [0, 7], "training.learning_rate": [0.001, 0.01]}, ()),
        ({"objective.lambda": [10.0**-power for power in range(9)]}, ("objective.similarity=ncc",)),
        ({"objective.penalty": ["l2"]}, ("cohort.spatial_dims=3",)),
    ],
)
def test_any_part_of_a_study_can_be_drawn(axes, overrides, make_run, unsaved):
    run = make_run(axes, *overrides)
    names = {str(path) for path in make_figures(run.path)}
    kinds = {name.split("_")[0] for name in names}
    assert kinds - {"across", "matched"} == {kind.split("_")[0] for kind in KINDS}
    assert len(unsaved) == len(names)


def test_the_pairs_of_refined_fields_are_not_counted_twice(make_run):
    rows = collect(make_run({"objective.lambda": [0.01, 0.1]}))
    figure = sdlogj_by_lambda(pd.concat([rows.assign(refinement_steps=steps) for steps in (0, 5)]), "")
    assert figure is not None
    counted = len(rows) // 2
    words = " ".join(" ".join(text.get_text() for text in figure.texts).split())
    assert f"quartiles over {counted} test pairs;" in words
    assert [axes.get_ylim()[0] for axes in figure.axes] == [0, 0]  # a row of panels for each of the two


@pytest.mark.parametrize(("count", "labelled"), [(6, [0, 1, 2, 3, 4, 5]), (11, [0, 2, 4, 6, 8, 10])])
def test_labels_of_many_lambda_do_not_touch(make_run, count, labelled):
    weights = [0.001 * 2**place for place in range(count)]
    figure = sdlogj_by_lambda(collect(make_run({"objective.lambda": weights})), "")
    assert figure is not None
    labels = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert labels == [f"{weight:g}" if place in labelled else "" for place, weight in enumerate(weights)]


@pytest.mark.parametrize(("ends", "labels"), [((0.1, 0.5), "0.1 0.2 0.3 0.4 0.5"), ((0.183, 0.184), "0.183 0.184")])
def test_long_labels_of_smoothness_are_few(ends, labels):
    axes = Figure().subplots()
    axes.set_xlim(*ends)
    smoothness_axis(axes, "displacement_sdlogj")
    assert " ".join(label.get_text() for label in axes.get_xticklabels()) == labels


def test_lambda_of_similar_smoothness_is_chosen_with_and_without_refinement_alone(make_run):
    rows = collect(make_run({"objective.penalty": ["l1", "l2"], "objective.lambda": [0.01, 0.1]}))
    at = {("l1", 0.01): 0.22, ("l1", 0.1): 0.18}
    alone = at | {("l2", 0.01): 0.25, ("l2", 0.1): 0.1}  # 0.01 is nearest to the middle of the common range
    refined = at | {("l2", 0.01): 0.35, ("l2", 0.1): 0.21}  # 0.1 is
    keys = pd.MultiIndex.from_frame(rows[["penalty", "lambda"]])
    parts = [rows.assign(refinement_steps=n, **{SDLOGJ: keys.map(known)}) for n, known in ((0, alone), (5, refined))]
    figure = dice_per_structure(pd.concat(parts), "")
    assert figure is not None
    words = " ".join(" ".join(text.get_text() for text in figure.texts).split())
    assert "not refined: L1 λ = 0.01, L2 λ = 0.01" in words
    assert "refined, at most 5 steps: L1 λ = 0.01, L2 λ = 0.1" in words


def test_a_training_that_trials_share_is_drawn_once(make_run, unsaved):
    run = make_run({"objective.penalty": ["l1", "l2"], "objective.lambda": [0.01, 0.1]})
    own = collect_history(run)
    first = own[own["trial"] == own["trial"].iloc[0]].drop(columns=["trial", "penalty", "lambda"])
    labels = ["trial", "penalty", "lambda"]
    copies = [
        first.assign(trial=f"{line[0]} again", penalty=line[1], **{"lambda": line[2]})
        for line in own[labels].drop_duplicates().itertuples(index=False)
    ]
    figure = term_by_epoch(pd.concat(copies, ignore_index=True), "loss", "")
    assert [axes.get_title() for axes in figure.axes] == [EVERY]
    assert len(figure.axes[0].lines) == 2  # training and validation
    figure = term_by_epoch(pd.concat([own.assign(seconds=1.0 + own.index), *copies], ignore_index=True), "loss", "")
    assert [axes.get_title().split("\n")[0] for axes in figure.axes] == ["L1", "L2", EVERY]
    assert [len(axes.lines) for axes in figure.axes] == [4, 4, 2]


def test_the_report_presents_every_figure_once(make_run, unsaved):
    looks = [name for kind in kinds() for name in kind.looks()]
    assert len(looks) == len(set(looks))
    drawn = {str(path) for path in make_figures(make_run({"objective.penalty": ["l2", "l1"]}).path)}
    assert len(drawn) > 10
    assert all(any(name == look or name.startswith(f"{look}_") for look in looks) for name in drawn)


def test_without_labels_examples_or_history(make_run, unsaved):
    run = make_run({"objective.penalty": ["l2", "l1"]})
    for file in [*run.path.glob("*/examples.npz"), *run.path.glob("*/history.parquet")]:
        file.unlink()
    rows = collect(run)
    rows = rows[[name for name in rows if not name.startswith("dice")]]
    names = {str(path) for path in draw_figures(run, rows, collect_history(run), analyse(rows))}
    others = {"pareto_front", "sdlogj_by_lambda"}
    assert names == {"similarity_vs_folding", "similarity_vs_lambda", "folding_vs_lambda"} | others


@pytest.mark.parametrize("how", ["cut", "text", "other arrays"])
def test_damaged_examples_are_named_and_the_other_figures_drawn(how, make_run, unsaved):
    run = make_run({"seed": [0]})
    (path,) = run.path.glob("*/examples.npz")
    if how == "other arrays":
        np.savez(path, moving=np.zeros(3))
    else:
        path.write_bytes(path.read_bytes()[:2000] if how == "cut" else b"text")
    rows = path.with_name("pairs.parquet")
    with pytest.raises(InputError, match=rf"{path} is damaged; delete {path} and {rows} and run the study"):
        make_figures(run.path)
    assert len(unsaved) == len(KINDS) - 2


def test_every_penalty_has_a_look_of_its_own():
    assert len({*COLOURS, *COLOURS_OF_SUMS}) == len(COLOURS) + len(COLOURS_OF_SUMS)
    assert len(COLOURS) >= len(MARKERS) == len(set(MARKERS)) == 12
    assert colour_of("0.5*l1+l2") in COLOURS_OF_SUMS
    assert len({(colour_of(name), marker_of(name)) for name in PENALTIES}) == len(PENALTIES)


def test_a_curve_per_penalty_and_model_in_order_of_lambda(make_run):
    run = make_run(
        {"objective.penalty": ["l2", "l1"], "objective.lambda": [0.1, 0.01], "model.integration_steps": [0, 7]}
    )
    found = curves(summary(collect(run)), "mse")
    assert [curve.label for curve in found] == [
        "L1, diffeomorphic model", "L1, displacement model", "L2, diffeomorphic model", "L2, displacement model",
    ]  # fmt: skip
    assert [list(curve.points["lambda"]) for curve in found] == [[0.01, 0.1]] * 4
    assert [curve.hollow for curve in found] == [False, True] * 2


def test_zero_has_a_place_on_the_axes():
    axes = Figure().subplots()
    lambda_axis(axes, [0.1, 0.0, 0.01])
    note = percent_axis(axes, "y", np.array([0.0, 0.003, 12.0]), "%")
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "0.01", "0.1"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["0", "0.001", "0.01", "0.1", "1", "10"]
    assert "first tick after 0" in note
    for low, high in (axes.get_xlim(), axes.get_ylim()):
        assert low < 0 < high


def test_lambda_that_lie_close_within_a_decade_have_the_outer_two_as_labels():
    axes = Figure().subplots()
    lambda_axis(axes, [0.0375, 0.05, 0.125])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0.0375", "0.125"]


def test_nothing_folded_is_a_linear_axis_with_its_zero():
    axes = Figure().subplots()
    assert percent_axis(axes, "x", np.zeros(3), "%") == ""
    assert axes.get_xscale() == "linear"
    assert "0" in [label.get_text() for label in axes.get_xticklabels()]


def test_the_examples_are_at_a_lambda_that_all_penalties_have(make_run):
    run = make_run({"objective.penalty": ["l2", "l1"], "objective.lambda": [0.001, 0.01, 0.1]})
    rows = collect(run)
    assert [(e.penalty, e.weight) for e in _choose(run, rows)] == [("l1", 0.01), ("l2", 0.01)]
    part = rows[(rows["penalty"] == "l2") | (rows["lambda"] == 0.1)]
    assert [(e.penalty, e.weight) for e in _choose(run, part)] == [("l1", 0.1), ("l2", 0.1)]
    part = rows[(rows["penalty"] == "l2") != (rows["lambda"] == 0.1)]
    assert [(e.penalty, e.weight) for e in _choose(run, part)] == [("l1", 0.1), ("l2", 0.01)]


def test_the_grid_is_where_the_image_takes_it_and_folds_are_marked():
    axes = Figure().subplots()
    shift = np.zeros((2, 30, 40))
    shift[0] = 3.0  # moving(x + 3): the moving image's line at 10 appears at 7
    draw_grid(axes, shift, determinant_of(shift))
    lines, folded = axes.collections[0], axes.collections[-1]
    assert len(folded.get_offsets()) == 0
    places = sorted({round(float(path.vertices[:, 0].mean()), 6) for path in lines.get_paths() if len(path.vertices)})
    levels = np.arange(1.0, 30, 2)
    assert places == [level - 3 for level in levels if 0 <= level - 3 <= 29]
    reflection = np.zeros((2, 30, 40))
    reflection[0, 10:20] = -2.0 * np.arange(10)[:, None]  # du/dx = -2: the determinant is -1
    axes = Figure().subplots()
    draw_grid(axes, reflection, determinant_of(reflection))
    assert 8 * 40 <= len(axes.collections[-1].get_offsets()) <= 12 * 40


@pytest.mark.parametrize("shape", [(20, 24), (12, 14, 10)])
def test_the_overview_has_a_row_of_pictures_for_each_section(shape, tmp_path):
    generator = np.random.default_rng(0)
    moving, fixed, warped = generator.random((3, *shape))
    spacing = (1.0, 2.0, 3.0)[: len(shape)]
    figure = overview(moving, fixed, warped, np.zeros((len(shape), *shape)), "Pair", "words", spacing)
    figure.savefig(tmp_path / "overview.png")
    panels = [axes for axes in figure.axes if axes.images]
    rows = 1 if len(shape) == 2 else 3
    assert len(panels) == 7 * rows
    last = panels[2::7][-1]  # the warped image; in 3-D, a slice with axes 0 and 1
    shown = warped if len(shape) == 2 else warped[:, :, 5]
    np.testing.assert_array_equal(last.images[0].get_array(), shown.T.astype(np.float32))
    assert last.get_aspect() == 2.0


def test_a_subject_whose_id_looks_like_a_formula_is_drawn(tmp_path):
    figure = Figure()
    caption(figure, r"$\nothing$ onto $a_{.")
    assert [path.name for path in save(figure, tmp_path, "x")] == ["x.png", "x.svg"]


def test_a_long_title_of_a_panel_stays_within_its_panel():
    """Two panels beside each other, as narrow as in the figure of determinants."""
    part = pd.DataFrame({"penalty": ["l2"] * 2, "model": "diffeomorphic", "method": "voxelmorph"})
    part["refinement_steps"] = [0, 6]
    axes = new_figure(3, 2, "x").subplots()
    title_panel(axes, "L2", "black", part.iloc[1:], part)
    assert max(map(len, axes.get_title().split("\n"))) <= LONGEST_LINE
