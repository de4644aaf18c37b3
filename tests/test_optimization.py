"""Optimization without a network: its parts have answers that can be computed; its trials are like others."""

import re

import pandas as pd
import pytest
import torch

from smoothmorph.networks import FieldModel, Objective, Schedule, has_converged, optimize
from smoothmorph.networks.descent import SobolevGradient
from smoothmorph.networks.lbfgs import minimize
from smoothmorph.pipeline.settings.schema import TrialSettings, parse
from smoothmorph.pipeline.trial import TrialFailed, run_trial
from smoothmorph.transforms import InputError, integrate, resize_displacement, warp
from test_refinement import ball


def settings_of(dims=2, **sections) -> TrialSettings:
    """A trial on the tiny cohort."""
    values = {
        "cohort": {"reader": "table", "file": "subjects.csv", "spatial_dims": dims},
        "split": {"train": 0.5, "validation": 0.25, "test": 0.25},
        "pairs": {"validation": 2, "test": 3},
        "model": {"method": "optimization"},
        "objective": {"lambda": 0.001},
        "optimization": {"levels": 2, "steps": 20, "batch_size": 2},
        "compute": {"device": "cpu", "threads": 1},
    }
    return parse(TrialSettings, {**values, **sections}, "test")


# The stopping rule


def test_an_optimization_is_done_when_its_gain_over_the_window_is_a_small_share():
    values = torch.tensor([[4.0, 4.0, -1.0], [3.0, 2.0, -2.0], [2.9, 1.0, -2.01], [2.9, 0.5, -2.0]])
    assert has_converged(values, 0.05, 2).tolist() == [True, False, True]
    assert has_converged(values[:2], 0.05, 2).tolist() == [False] * 3  # too early to tell
    assert has_converged(values, 0.0, 1).tolist() == [True, False, True]


# L-BFGS


def test_it_finds_the_minimum_of_quadratics_that_differ_in_curvature_and_counts_their_evaluations():
    """|√a (x - c)|² with curvatures a from 1 to 100: the minimum is c."""
    curvatures = torch.logspace(0, 2, 12).view(1, 2, 2, 3) * torch.tensor([1.0, 30.0]).view(2, 1, 1, 1)
    centres = torch.linspace(-1, 1, 24).view(2, 2, 2, 3)

    def value(fields, places):
        return (curvatures[places] * (fields - centres[places]).square()).flatten(1).sum(1)

    found = minimize(value, torch.zeros(2, 2, 2, 3), steps=80, tolerance=1e-9)
    torch.testing.assert_close(found.fields, centres, rtol=0, atol=1e-3)
    assert (found.values < 1e-4).all()
    assert (found.steps < 80).all()


def test_fields_do_not_hear_of_each_other():
    """One that is done leaves the others as they are, and one whose objective is not finite stays where it started."""

    def value(fields, places):
        powers = torch.tensor([2.0, 4.0, 2.0])[places]
        own = (fields - 1).abs().flatten(1).pow(powers[:, None]).sum(1)
        return torch.where(places == 2, torch.nan, own)

    start = torch.zeros(3, 2, 3, 3)
    together = minimize(value, start, steps=30, tolerance=1e-4)
    alone = minimize(lambda fields, places: value(fields, places + 1), start[:1], steps=30, tolerance=1e-4)
    assert together.steps[0] < together.steps[1] == alone.steps[0]
    torch.testing.assert_close(together.fields[1], alone.fields[0])
    assert torch.equal(together.fields[2], start[2])


@pytest.mark.parametrize("grid", [(6, 9), (4, 5, 6)])
def test_a_sobolev_gradient_solves_its_equation(grid):
    """(1 - α Δ) of it is the gradient, Δ with mirrored borders; a constant stays as it is."""
    field = torch.randn(2, len(grid), *grid, generator=torch.Generator().manual_seed(0))
    smooth = SobolevGradient(grid, 5.0)(field)
    padded = torch.nn.functional.pad(smooth, [1, 1] * len(grid), mode="replicate")
    laplacian = sum(
        padded.narrow(axis + 2, start, grid[axis])[tuple(slice(None) if other in (0, 1, axis + 2) else slice(1, -1)
                                                        for other in range(padded.ndim))] - smooth
        for axis in range(len(grid)) for start in (0, 2)
    )  # fmt: skip
    torch.testing.assert_close(smooth - 5.0 * laplacian, field, rtol=0, atol=1e-4)
    torch.testing.assert_close(SobolevGradient(grid)(torch.ones_like(field)), torch.ones_like(field))


# Registration


@pytest.mark.parametrize(("dims", "squarings", "downsize"), [(2, 0, 2), (2, 7, 2), (2, 7, 1), (3, 7, 2)])
def test_a_field_is_integrated_on_its_grid_and_warps_on_that_of_the_image(dims, squarings, downsize):
    model, moving = FieldModel(squarings, downsize), ball((20,) * dims, 1.5)
    field = torch.randn(1, dims, *model.grid(moving.shape[2:]), generator=torch.Generator().manual_seed(0))
    displacement = integrate(field, squarings)
    if squarings and downsize == 2:
        assert field.shape[2:] == (10,) * dims
        displacement = resize_displacement(displacement, moving.shape[2:], 2.0)
    found = model.register_with(field, moving)
    torch.testing.assert_close(found.displacement, displacement)
    torch.testing.assert_close(found.warped, warp(moving, displacement, padding_mode="zeros"))
    assert found.velocity is field
    assert not model.register_with(model.identity(moving), moving).displacement.any()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"integration_downsize": 3}, "integration_downsize 1 or 2, got 7 and 3"),
        ({"integration_steps": -1}, "from 0 to 16 and integration_downsize 1 or 2, got -1 and 2"),
        ({"padding_mode": "reflect"}, "padding_mode must be zeros or border, got 'reflect'"),
    ],
)
def test_a_field_model_that_means_nothing_is_refused(options, told):
    with pytest.raises(ValueError, match=re.escape(told)):
        FieldModel(**options)


@pytest.mark.parametrize(("dims", "squarings"), [(2, 0), (2, 7), (3, 7)])
def test_it_registers_pairs_from_nothing_and_each_as_if_it_were_alone(dims, squarings):
    shape = (24,) * dims if dims == 2 else (16, 18, 20)
    moving = torch.cat([ball(shape, 1.5), ball(shape, 0.5)])
    fixed = torch.cat([ball(shape, -1.5), ball(shape, 0.0)])
    objective, schedule = Objective(dims, weight=0.001, reduction="none"), Schedule(levels=2, steps=60)
    found = optimize(FieldModel(squarings), objective, moving, fixed, schedule)
    before = (moving - fixed).square().flatten(1).mean(1)
    assert (found.values < 0.1 * before).all()
    torch.testing.assert_close(objective(found.registration, fixed).loss, found.values)
    inside = (fixed[0, 0] > 0.9) & (fixed[0, 0] < 0.999)
    assert float(found.registration.displacement[0, 0][inside].median()) == pytest.approx(3, abs=0.6)
    alone = optimize(FieldModel(squarings), objective, moving[:1], fixed[:1], schedule)
    torch.testing.assert_close(
        alone.registration.displacement[0], found.registration.displacement[0], atol=0.02, rtol=0
    )
    again = optimize(FieldModel(squarings), objective, moving, fixed, schedule)
    assert torch.equal(again.registration.displacement, found.registration.displacement)


def test_an_objective_on_both_directions_optimizes_both_fields():
    moving, fixed = ball((24, 24), 1.5), ball((24, 24), -1.5)
    objective = Objective(2, penalty="inverse-consistency+0.01*l2", weight=0.1, reduction="none")
    found = optimize(FieldModel(0), objective, moving, fixed, Schedule(levels=2, steps=60)).registration
    assert found.inverse_displacement is not None
    inside = (fixed[0, 0] > 0.9) & (fixed[0, 0] < 0.999)
    back = (moving[0, 0] > 0.9) & (moving[0, 0] < 0.999)
    assert float(found.displacement[0, 0][inside].median()) > 2
    assert float(found.inverse_displacement[0, 0][back].median()) < -2


def test_one_weight_map_serves_all_pairs_also_when_some_are_done():
    moving = torch.cat([ball((24, 24), 1.5), ball((24, 24), 0.1)])
    fixed = torch.cat([ball((24, 24), -1.5), ball((24, 24), 0.0)])
    schedule, maps = Schedule(2, 60, 2e-2, 5), torch.full((1, 1, 24, 24), 2.0)
    one, other = Objective(2, weight=0.001, reduction="none"), Objective(2, weight=0.002, reduction="none")
    found = optimize(FieldModel(), one, moving, fixed, schedule, weight_map=maps)
    assert found.steps[0] != found.steps[1]
    torch.testing.assert_close(found.values, optimize(FieldModel(), other, moving, fixed, schedule).values)


def test_images_in_double_precision_give_fields_in_double_precision():
    moving, fixed = ball((24, 24), 1.5), ball((24, 24), -1.5)
    objective, schedule = Objective(2, weight=0.001, reduction="none"), Schedule(levels=2, steps=20)
    found = optimize(FieldModel(), objective, moving.double(), fixed.double(), schedule)
    assert found.registration.displacement.dtype == torch.float64
    expected = optimize(FieldModel(), objective, moving, fixed, schedule)
    torch.testing.assert_close(found.values.float(), expected.values, rtol=0, atol=1e-5)


IMAGE = torch.rand(2, 1, 16, 16)


@pytest.mark.parametrize(
    ("images", "options", "told"),
    [
        ((IMAGE[:1], IMAGE), {}, "the same shape (B, 1, *spatial), got (1, 1, 16, 16) and (2, 1, 16, 16)"),
        ((IMAGE[:0], IMAGE[:0]), {}, "the same shape (B, 1, *spatial), got (0, 1, 16, 16)"),
        ((IMAGE.byte(), IMAGE.byte()), {}, "the moving images must be finite floating numbers, got torch.uint8"),
        ((IMAGE, IMAGE / 0), {}, "the fixed images must be finite floating numbers, got torch.float32 with NaN or"),
        ((IMAGE, IMAGE), {"weight_map": IMAGE[..., 1:]}, "the weight map (2, 1, 16, 15) is not on the grid of (2, 1"),
        ((IMAGE[..., :3, :3], IMAGE[..., :3, :3]), {}, "at least 2 points per axis, got a field of (2, 2, 1, 1)"),
    ],
    ids=["batches", "empty", "whole numbers", "infinity", "weight map", "tiny"],
)
def test_images_that_cannot_be_registered_are_refused(images, options, told):
    with pytest.raises(ValueError, match=re.escape(told)):
        optimize(FieldModel(), Objective(2, reduction="none"), *images, **options)


def test_an_objective_of_the_whole_batch_is_refused():
    with pytest.raises(ValueError, match="needs reduction=\"none\", one value per pair, got 'mean'"):
        optimize(FieldModel(), Objective(2), IMAGE, IMAGE)


@pytest.mark.parametrize("wrong", [{"levels": 0}, {"steps": 0}, {"window": 0}, {"tolerance": float("nan")}])
def test_a_schedule_that_means_nothing_is_refused(wrong):
    with pytest.raises(ValueError, match="levels, steps and window must be 1 or more and tolerance a number"):
        Schedule(**wrong)


@pytest.fixture(scope="module")
def phantom_pairs():
    from smoothmorph.pipeline import prepare

    prepared = prepare(parse(TrialSettings, {"cohort": {"subjects": 10}, "pairs": {"test": 4}}, "test"), None)
    moving, fixed = (
        torch.stack([prepared.samples[pair[side]]["image"] for pair in prepared.test_pairs[:2]]) for side in (0, 1)
    )
    return moving, fixed


@pytest.mark.parametrize("weight", [0.02, 0.005])
def test_twice_the_steps_change_nothing_that_counts(weight, phantom_pairs):
    """On the phantom: SDlogJ by less than 0.005, the objective by less than 0.5 %."""
    from smoothmorph.transforms import jacobian_statistics

    objective, found = Objective(2, weight=weight, reduction="none"), []
    for steps, tolerance in ((60, 1e-3), (120, 0.0)):
        optimum = optimize(FieldModel(7), objective, *phantom_pairs, Schedule(3, steps, tolerance))
        statistics = jacobian_statistics(optimum.registration.displacement)
        found.append((float(optimum.values.mean()), float(statistics["sdlogj"].mean())))
    (value, smoothness), (lower, same) = found
    assert lower <= value < 1.005 * lower
    assert smoothness == pytest.approx(same, abs=0.005)


# Trials


@pytest.mark.parametrize(("dims", "squarings"), [(2, 7), (2, 0), (3, 7)])
def test_a_trial_has_rows_with_penalty_model_and_steps_and_repeats_bit_for_bit(dims, squarings, tiny_cohort, tmp_path):
    settings, events = settings_of(dims, model={"method": "optimization", "integration_steps": squarings}), []
    for name in ("one", "two"):
        run_trial(settings, tmp_path / name, tiny_cohort(dims), events.append)
    one, two = (pd.read_parquet(tmp_path / name / "pairs.parquet") for name in ("one", "two"))
    pd.testing.assert_frame_equal(one.drop(columns="seconds"), two.drop(columns="seconds"), check_exact=True)
    kind = "diffeomorphic" if squarings else "displacement"
    assert one["trial"].iloc[0].startswith(f"l2_0.001_{kind}_optimization_")
    columns = one[["penalty", "lambda", "model", "method"]].drop_duplicates().to_numpy().tolist()
    assert columns == [["l2", 0.001, kind, "optimization"]]
    assert one["optimization_steps"].between(2, 42).all()
    assert (one["loss"] < 0.2 * one["mse_before"]).all()
    assert one["dice"].mean() > one["dice_before"].mean() + 0.05
    assert {event.stage for event in events} >= {"registering", "done"}
    assert {path.name for path in (tmp_path / "one").iterdir()} == {
        "trial.yaml", "environment.json", "examples.npz", "pairs.parquet", "log.txt"
    }  # fmt: skip


def test_a_trial_that_was_stopped_within_a_batch_ends_with_the_same_rows(tiny_cohort, tmp_path):
    def stop(event):
        if event.stage == "registering" and event.done == 1:
            raise KeyboardInterrupt

    run_trial(settings_of(), tmp_path / "whole", tiny_cohort(2))
    with pytest.raises(KeyboardInterrupt):
        run_trial(settings_of(), tmp_path / "part", tiny_cohort(2), stop)
    assert len(list((tmp_path / "part" / "finished").iterdir())) == 1
    run_trial(settings_of(), tmp_path / "part", tiny_cohort(2))
    whole, part = (pd.read_parquet(tmp_path / name / "pairs.parquet") for name in ("whole", "part"))
    pd.testing.assert_frame_equal(whole.drop(columns="seconds"), part.drop(columns="seconds"), check_exact=True)


def test_an_objective_that_is_not_finite_is_one_sentence(tiny_cohort, tmp_path):
    with pytest.raises(
        TrialFailed, match=r"^the objective of s\d+ to s\d+ is not finite: intensities or λ are too large"
    ):
        run_trial(settings_of(objective={"lambda": 1e38, "multiplier": 1e38}), tmp_path, tiny_cohort(2))


def test_training_and_seeds_do_not_change_the_trial_and_its_own_settings_no_network():
    one = settings_of().trial_id("data")
    for changes in (
        {"training": {"epochs": 1}},
        {"seed": 5},
        {"model": {"method": "optimization", "channels": [8] * 8}},
    ):
        assert settings_of(**changes).trial_id("data") == one
    own = ({"optimization": {"levels": 1}}, {"objective": {"lambda": 0.1}}, {"pairs": {"test": 9}})
    for changes in (*own, {"model": {"method": "optimization", "integration_steps": 0}}):
        assert settings_of(**changes).trial_id("data") != one
    network = settings_of(model={}).trial_id("data")
    assert settings_of(model={}, optimization={"levels": 1}).trial_id("data") == network


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"levels": 0}, r"optimization.levels = 0: .*greater than or equal to 1"),
        ({"tolerance": -1}, r"optimization.tolerance = -1: .*greater than or equal to 0"),
        ({"rate": 1}, r"unknown key 'optimization.rate'"),
    ],
)
def test_a_setting_that_cannot_be_is_one_sentence(values, sentence):
    with pytest.raises(InputError, match=sentence):
        settings_of(optimization=values)
