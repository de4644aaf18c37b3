"""Statistics on data with known results: computed by hand, or by construction in many simulated studies."""

import re
from itertools import product

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy.stats import wilcoxon

import interval_coverage
import synthetic_run
from smoothmorph.experiments.figures.matched import matched
from smoothmorph.experiments.rows.rounding import with_interval
from smoothmorph.experiments.statistics import Limit, accuracies, analyse, recommend
from smoothmorph.experiments.statistics.amortization import amortization_gaps, gaps_in_words
from smoothmorph.experiments.statistics.arc import (
    REFERENCE_SDLOGJ,
    arc_areas,
    area,
    dominated_share,
    error,
    on_front,
)
from smoothmorph.experiments.statistics.curves import (
    Curve,
    Part,
    at_smoothness,
    common_range,
    curves,
    groups,
    pairs_at,
    targets,
    weight_at,
)
from smoothmorph.experiments.statistics.mixed_model import mixed_model
from smoothmorph.experiments.statistics.pair_variance import PairDesign, without_atlas
from smoothmorph.experiments.statistics.pairwise import compare, holm
from smoothmorph.experiments.statistics.sample import Sample
from smoothmorph.experiments.statistics.sentences import versus
from smoothmorph.experiments.statistics.variations import variations, variations_in_brief, variations_in_words
from smoothmorph.experiments.study.study import load_study
from smoothmorph.pipeline.evaluation import SDLOGJ
from smoothmorph.transforms.basics.errors import InputError

SUBJECTS, PAIRS, SEEDS = 60, 100, 3
MEAN = lambda means: means["y"]  # noqa: E731


def simulated(generator, subject=0.0, pair=0.0, seed=0.0, noise=0.0, mean=0.0, seeds=SEEDS):
    """A sample of one configuration: mean + effects of both subjects, of the pair and of the seed + noise."""
    couples = np.stack([generator.permutation(SUBJECTS)[:2] for _ in range(PAIRS)])
    effects = generator.normal(0, 1, SUBJECTS) * subject
    values = mean + effects[couples[:, 0]] + 0.5 * effects[couples[:, 1]] + pair * generator.normal(0, 1, PAIRS)
    values = values + seed * generator.normal(0, 1, (seeds, 1)) + noise * generator.normal(0, 1, (seeds, PAIRS))
    return sample_of({"y": values[None]}, *couples.T)


def sample_of(values, moving=None, fixed=None):
    configurations, seeds, pairs = next(iter(values.values())).shape
    moving = np.arange(pairs) if moving is None else moving
    fixed = np.arange(pairs) + pairs if fixed is None else fixed
    frame = pd.DataFrame({"penalty": "l2", "lambda": np.arange(configurations) + 1.0, "model": "diffeomorphic"})
    return Sample(frame, np.arange(seeds), moving, fixed, values)


@pytest.mark.parametrize(
    "spreads",
    [
        {"subject": 1.0, "pair": 0.2},
        {"subject": 0.1, "pair": 1.0},
        {"pair": 0.1, "seed": 1.0},
        {"subject": 1.0, "pair": 1.0, "seed": 0.2, "noise": 0.5},
        {"subject": 1.0, "pair": 1.0, "seeds": 1},
    ],
    ids=["subjects", "pairs", "seeds", "all", "one seed"],
)
def test_intervals_cover_the_truth_as_often_as_they_say(spreads):
    generator, hits, studies = np.random.default_rng(7), 0, 300
    for _ in range(studies):
        found = simulated(generator, mean=5.0, **spreads).interval(MEAN)
        hits += found.low[0] <= 5.0 <= found.high[0]
    assert 0.91 <= hits / studies <= 0.98  # 0.95 ± 2.5 standard errors, and a small margin for few subjects


@pytest.mark.parametrize(
    "design", [interval_coverage.across(8, 56), interval_coverage.within(8, 8)], ids=["across", "within"]
)
def test_intervals_of_eight_subjects_cover_the_truth_as_often_as_they_say(design):
    spread = interval_coverage.Spread(moving=1.0, fixed=0.7, pair=0.5)
    for share in interval_coverage.coverage(design, spread, studies=250).values():
        assert 0.91 <= share <= 0.985  # 0.95, with 2.5 standard errors; the former bootstrap had 0.80


def test_the_variance_of_disjoint_pairs_is_that_of_a_textbook():
    values = np.random.default_rng(1).normal(0, 1, (7, 2))
    for moving, fixed in ((np.arange(7), np.arange(7) + 7), (np.arange(7), np.arange(7))):
        variance, freedom = PairDesign(moving, fixed).variance(values)
        np.testing.assert_allclose(variance, values.var(axis=0, ddof=1) / 7)
        assert freedom == pytest.approx(6)


def test_the_variance_of_all_pairs_is_that_of_their_subjects():
    """Each value is the sum of its subjects' effects, so the mean is twice the mean of the five effects."""
    effects = np.array([0.0, 1.0, 3.0, 4.0, 7.0])
    moving, fixed = np.array([(m, f) for m in range(5) for f in range(5) if m != f]).T
    variance, freedom = PairDesign(moving, fixed).variance((effects[moving] + effects[fixed])[:, None])
    np.testing.assert_allclose(variance, 4 * effects.var(ddof=1) / 5)
    assert freedom == pytest.approx(4)


def test_slices_of_one_heart_are_no_more_hearts():
    """Equal values of all slices: the variance is that of the hearts, however many slices each has."""
    hearts = np.array([1.0, 2.0, 4.0, 9.0])
    owners = np.repeat(np.arange(4), 6)
    variance, freedom = PairDesign(owners, owners).variance(hearts[owners][:, None])
    np.testing.assert_allclose(variance, hearts.var(ddof=1) / 4)
    assert freedom == pytest.approx(3)


@pytest.mark.parametrize("atlas_moves", [False, True])
def test_pairs_with_an_atlas_have_the_textbook_interval_over_the_other_subjects(atlas_moves):
    others, atlas = np.arange(1, 41), np.zeros(40, int)
    moving, fixed = (atlas, others) if atlas_moves else (others, atlas)
    values = np.random.default_rng(0).normal(0.7, 0.05, (40, 1))
    variance, freedom = PairDesign(*without_atlas(moving, fixed)).variance(values)
    assert variance[0] == pytest.approx(values.var(ddof=1) / 40)
    assert freedom == 39


def test_an_atlas_is_one_subject_that_is_in_every_pair():
    every = np.array([0, 1, 2, 0]), np.array([1, 2, 0, 2])
    assert without_atlas(*every) == every
    both_ways = np.array([0, 1]), np.array([1, 0])
    assert without_atlas(*both_ways) == both_ways
    slices = np.zeros(5, int), np.zeros(5, int)
    assert without_atlas(*slices) == slices
    scans = np.array([0, 0, 4, 4]), np.array([2, 2, 2, 2])  # two scans of each of two people onto one atlas
    assert [part.tolist() for part in without_atlas(*scans)] == [[0, 0, 1, 1]] * 2


def test_two_subjects_have_no_interval():
    sample = sample_of({"y": np.array([[[1.0, 2.0]]])}, np.array([0, 1]), np.array([1, 0]))
    found = sample.interval(MEAN)
    assert found.estimate == 1.5
    assert np.isnan([found.low, found.high]).all()
    assert with_interval({"mean": 1.5, "low": np.nan, "high": np.nan}) == "1.5 (too few subjects for an interval)"


def test_rows_that_name_groups_have_intervals_over_groups(rows):
    """As slices of four patients; in rows without groups every subject is on its own."""
    patient = lambda column: "patient-" + (column.str[-3:].astype(int) // 10).astype(str)  # noqa: E731
    grouped = rows.assign(moving_group=patient(rows["moving"]), fixed_group=patient(rows["moving"]))
    alone, together = (Sample.of(frame, ["dice"]) for frame in (rows, grouped.assign(fixed=grouped["moving"] + "-ed")))
    assert len({*alone.moving, *alone.fixed}) == 41
    assert (together.moving == together.fixed).all()
    assert set(together.moving) == {0, 1, 2, 3}


def test_an_interval_that_took_pairs_as_independent_would_be_too_short():
    generator, ours, naive = np.random.default_rng(3), [], []
    for _ in range(50):
        sample = simulated(generator, subject=1.0, seeds=1)
        found = sample.interval(MEAN)
        ours.append(found.high[0] - found.low[0])
        naive.append(2 * 1.96 * sample.values["y"].std(ddof=1) / np.sqrt(PAIRS))
    assert np.mean(ours) > 1.3 * np.mean(naive)


def test_disjoint_pairs_give_the_textbook_interval():
    values = np.random.default_rng(0).normal(0, 1, (1, 1, 400))
    found = sample_of({"y": values}).interval(MEAN)
    textbook = 1.96 * values.std() / np.sqrt(400)
    assert found.high[0] - found.low[0] == pytest.approx(2 * textbook, rel=0.06)
    assert found.estimate[0] == pytest.approx(values.mean())


def test_the_interval_of_seeds_is_students():
    values = np.array([1.0, 2.0, 4.0])[None, :, None] * np.ones((1, 1, 10))
    found = sample_of({"y": values}).interval(MEAN)
    half = 4.303 * np.std([1, 2, 4], ddof=1) / np.sqrt(3)  # the 97.5 % point of Student's t with 2 degrees of freedom
    assert found.seeds == 3
    assert found.high[0] - found.low[0] == pytest.approx(2 * half, rel=0.1)


def test_the_paired_test_keeps_its_size_where_pairs_are_independent_and_the_interval_where_they_share_subjects():
    generator, wrong, outside, studies = np.random.default_rng(11), 0, 0, 400
    for _ in range(studies):
        independent = simulated(generator, pair=1.0, noise=0.3)
        wrong += compare(independent, independent.values["y"][0]).p < 0.05
        shared = simulated(generator, subject=1.0, pair=0.3)
        found = compare(shared, shared.values["y"][0])
        outside += not found.low <= 0 <= found.high
    assert 0.02 <= wrong / studies <= 0.08
    assert 0.02 <= outside / studies <= 0.09


def test_a_comparison_by_hand():
    differences = np.array([[1.0, 2.0, 3.0, -4.0]])
    found = compare(sample_of({"y": differences[None]}), differences)
    assert found.difference == 0.5
    assert found.effect == pytest.approx((1 + 2 + 3 - 4) / 10)
    assert found.p == wilcoxon([1, 2, 3, -4]).pvalue
    tied = np.array([[0.0, 0.0, 0.0, 1.0, -2.0]])  # the test ranks only pairs that differ, and so does the effect
    assert compare(sample_of({"y": tied[None]}), tied).effect == pytest.approx(-1 / 3)
    nothing = compare(sample_of({"y": differences[None]}), np.zeros((1, 4)))
    assert (nothing.difference, nothing.p, nothing.effect) == (0, 1, 0)


def test_holm_by_hand():
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03])), [0.03, 0.06, 0.06])
    np.testing.assert_allclose(holm(np.array([np.nan, 0.01, 0.02])), [np.nan, 0.02, 0.02])  # NaN is no test
    assert np.isnan(holm(np.array([np.nan]))).all()


def test_the_mixed_model_finds_the_mean_and_the_spreads_that_went_in():
    sample = simulated(np.random.default_rng(5), pair=0.0, seed=0.4, noise=0.5, mean=1.0, seeds=8)
    effects = np.random.default_rng(6).normal(0, 1, SUBJECTS)
    found = mixed_model(sample, sample.values["y"][0] + effects[sample.moving] + effects[sample.fixed])
    assert found is not None
    assert found.low < 1.0 < found.high
    assert found.sd_subjects == pytest.approx(1.0, rel=0.25)
    assert found.sd_residual == pytest.approx(0.5, rel=0.1)
    assert 0.1 < found.sd_seeds < 0.9


@pytest.mark.parametrize(("seeds", "subject", "seed"), [(1, 0.0, 0.0), (1, 0.2, 0.0), (1, 1.0, 0.0), (3, 0.3, 0.4)])
@pytest.mark.parametrize("number", range(4))
def test_the_mixed_model_is_where_the_likelihood_is_highest(seeds, subject, seed, number):
    sample = simulated(np.random.default_rng(number), subject, pair=0.0, seed=seed, noise=1.0, seeds=seeds)
    found = mixed_model(sample, sample.values["y"][0])
    assert found is not None
    ratios = np.array([found.sd_subjects, found.sd_seeds][: min(seeds, 2)]) / found.sd_residual
    best, error = restricted_likelihood(sample, ratios)
    assert (found.high - found.low) / 2 == pytest.approx(1.959964 * error, rel=1e-6)
    tried = np.linspace(0, 2, 81 if seeds == 1 else 7)
    for others in product(tried, repeat=len(ratios)):
        assert restricted_likelihood(sample, np.array(others))[0] <= best + 1e-5


def test_the_mixed_model_says_nothing_about_two_subjects():
    sample = sample_of({"y": np.linspace(0.9, 1.1, 4)[None, None]}, np.array([0, 1, 0, 1]), np.array([1, 0, 1, 0]))
    assert mixed_model(sample, sample.values["y"][0]) is None


def test_the_mixed_model_of_disjoint_pairs_tells_the_mean_but_not_where_the_spread_comes_from():
    values = np.random.default_rng(0).normal(1.0, 0.2, (1, 30))
    found = mixed_model(sample_of({"y": values[None]}), values)
    assert found is not None
    assert found.difference == pytest.approx(values.mean())
    error = values.std(ddof=1) / np.sqrt(30)
    assert (found.high - found.low) / 2 == pytest.approx(1.959964 * error, rel=1e-4)
    assert np.isnan([found.sd_subjects, found.sd_residual]).all()


def test_an_atlas_has_no_effect_in_the_mixed_model():
    """Its effect cannot be told from the mean, so the interval is that of the other subjects."""
    values = np.random.default_rng(0).normal(1.0, 0.2, (1, 30))
    with_atlas = mixed_model(sample_of({"y": values[None]}, np.arange(30), np.full(30, 30)), values)
    without = mixed_model(sample_of({"y": values[None]}), values)
    assert with_atlas is not None
    assert without is not None
    np.testing.assert_allclose(with_atlas[:4], without[:4])


def restricted_likelihood(sample, ratios):
    """Its logarithm at ratios of the standard deviations to the residual's, but for a constant; the mean's error."""
    values = sample.values["y"][0]
    seeds, pairs = values.shape
    subjects = np.zeros((pairs, SUBJECTS))
    for side in (sample.moving, sample.fixed):
        subjects[np.arange(pairs), side] += 1
    effects = np.tile(subjects, (seeds, 1)), np.repeat(np.eye(seeds), pairs, axis=0)
    parts = [ratio**2 * effect @ effect.T for ratio, effect in zip(ratios, effects, strict=False)]
    covariance = np.eye(values.size) + sum(parts)
    inverse = np.linalg.inv(covariance)
    rest = values.ravel() - (inverse @ values.ravel()).sum() / inverse.sum()
    variance = rest @ inverse @ rest / (values.size - 1)
    logarithm = (values.size - 1) * np.log(variance) + np.linalg.slogdet(covariance)[1] + np.log(inverse.sum())
    return -logarithm / 2, np.sqrt(variance / inverse.sum())


def curve_of(roughness, dice, weights=None):
    """A sample that is one curve, the same for every pair."""
    count = len(roughness)
    values = {"displacement_sdlogj": np.array(roughness), "dice": np.array(dice)}
    sample = sample_of({name: v[:, None, None] * np.ones((count, 2, 6)) for name, v in values.items()})
    return sample, Curve("l2", (), np.array(weights or 10.0 ** np.arange(count)), np.arange(count))


def test_reading_a_curve_by_hand():
    sample, curve = curve_of([0.4, 0.2, 0.1], [0.7, 0.6, 0.5])
    wanted = np.array([0.3, 0.2, 0.125])
    read = at_smoothness(curve, "displacement_sdlogj", "dice", wanted)(sample.means())
    np.testing.assert_allclose(read, [0.65, 0.6, 0.525], rtol=1e-6)
    np.testing.assert_allclose(weight_at(curve, sample, "displacement_sdlogj", wanted), [10**0.5, 10, 10**1.75], 1e-6)
    np.testing.assert_allclose(pairs_at(curve, sample, "displacement_sdlogj", "dice", 0.3), np.full((2, 6), 0.65))


def test_a_curve_that_noise_makes_rougher_is_held_level():
    sample, curve = curve_of([0.4, 0.1, 0.2], [0.7, 0.6, 0.5])
    read = at_smoothness(curve, "displacement_sdlogj", "dice", np.array([0.25]))(sample.means())
    np.testing.assert_allclose(read, [0.65], rtol=1e-6)


def test_no_weight_is_told_that_was_not_tested():
    """At a flat end of a curve, every point has the wanted smoothness."""
    sample, curve = curve_of([0.4, 0.1, 0.2], [0.7, 0.6, 0.5])
    told = weight_at(curve, sample, "displacement_sdlogj", np.array([0.1, 0.0999]))
    assert (told <= curve.weights.max() * (1 + 1e-9)).all()


def test_beyond_a_level_end_a_reading_stays_near():
    """If one of three trainings never learned, some resampled curves end rougher than the wanted smoothness."""
    roughness = np.array([[0.27, 0.28, 0.15], [0.40, 0.33, 0.26], [0.40, 0.33, 0.26]])
    means = {
        "displacement_sdlogj": roughness,
        "dice": np.array([[0.6, 0.61, 0.5], [0.7, 0.68, 0.64], [0.7, 0.68, 0.64]]),
    }
    _, curve = curve_of([0.4, 0.33, 0.26], [0.7, 0.68, 0.64])
    read = at_smoothness(curve, "displacement_sdlogj", "dice", np.array([0.30, 0.34]))(means)
    assert (np.abs(read - 0.65) < 0.1).all()


def test_weight_zero_and_folding_on_their_scales():
    sample, curve = curve_of([0.4, 0.2], [0.7, 0.6], [0.0, 1.0])
    np.testing.assert_allclose(weight_at(curve, sample, "displacement_sdlogj", np.array([0.3])), [0.5], rtol=1e-6)
    np.testing.assert_allclose(targets(0.01, 100, "displacement_nonpositive_percent", 3), [0.1, 1, 10])


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.1, 0.4, [0.15, 0.2, 0.25, 0.3, 0.35]),
        (0.24, 0.262, [0.24, 0.25, 0.26]),
        (0.301, 0.304, [0.301, 0.302, 0.303]),
        (1.02, 1.04, [1.02, 1.03, 1.04]),
        (0.25, 0.25, [0.25]),
        (1 / 3, 1 / 3, [1 / 3]),
    ],
)
def test_values_of_equal_smoothness_stay_within_the_range(low, high, expected):
    found = targets(low, high, SDLOGJ)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert found.min() >= low
    assert found.max() <= high
    np.testing.assert_allclose(targets(0.1, 0.5, "displacement_sdlogj", 3), [0.2, 0.3, 0.4])


def test_an_area_under_the_arc_that_one_can_count():
    """From 0.1 to 0.4 the Dice rises from 0.5 to 0.6 over a third of the way, and to 0.7 over the rest."""
    sample, curve = curve_of([0.4, 0.2, 0.1], [0.7, 0.6, 0.5])
    found = area(curve, "dice", 0.1, 0.4)(sample.means())
    np.testing.assert_allclose(found, [0.55 / 3 + 0.65 * 2 / 3], atol=1e-5)
    np.testing.assert_allclose(area(curve, "dice", 0.2, 0.4)(sample.means()), [0.65], atol=1e-6)


def rough_groups(rows):
    """The curves of a study whose every deformation is rougher than what counts."""
    rough = rows.assign(displacement_sdlogj=rows["displacement_sdlogj"] + REFERENCE_SDLOGJ)
    return groups(Sample.of(rough, ["dice", "displacement_sdlogj"]))


def test_the_areas_of_a_study_are_over_one_range_and_compared_with_the_best(rows):
    analysis = analyse(rows)
    table = analysis.tables["auc_arc"]
    assert set(table["metric"]) == {"dice", "mse"}
    assert table["to"].max() <= REFERENCE_SDLOGJ
    assert arc_areas([(group, ["dice"]) for group in rough_groups(rows)]).empty
    for (_, metric), part in table.groupby(["model", "metric"]):
        assert part["from"].nunique() == part["to"].nunique() == 1
        best = part.loc[part["auc_arc"].idxmin() if metric == "mse" else part["auc_arc"].idxmax()]
        others = part[part["penalty"] != best["penalty"]]
        np.testing.assert_allclose(others["difference"], others["auc_arc"] - best["auc_arc"])
        assert np.isnan(best["difference"])
        assert ((part["low"] < part["auc_arc"]) & (part["auc_arc"] < part["high"])).all()
    assert any(line.startswith("AUC-ARC, the mean Dice from an SDlogJ of 0.0") for line in analysis.words)


def test_an_amortization_gap_by_hand():
    """One optimum, and three trainings of a network that is smoother and less accurate at each λ."""
    seeds = np.array([-0.01, 0.0, 0.01])
    once = np.array([0.0, np.nan, np.nan])
    levels = {"displacement_sdlogj": [0.4, 0.2, 0.3, 0.1], "dice": [0.8, 0.7, 0.6, 0.5]}
    spread = {"displacement_sdlogj": 0 * seeds, "dice": seeds}
    values = {
        name: np.stack([level + (once if place < 2 else spread[name]) for place, level in enumerate(own)])[..., None]
        * np.ones(6)
        for name, own in levels.items()
    }
    sample = sample_of(values)
    sample.configurations["lambda"] = [0.1, 1.0, 0.1, 1.0]
    sample.configurations["method"] = ["optimization", "optimization", "voxelmorph", "voxelmorph"]
    table = amortization_gaps([Part(sample, [], ["dice"])], ["dice"])
    assert set(table["first"]) == {"optimization"}
    by_weight = table[table["matched_in"] == "lambda"].set_index(["at", "metric"])["difference"]
    for weight in (0.1, 1.0):
        assert by_weight[weight, "dice"] == pytest.approx(0.2)
        assert by_weight[weight, "displacement_sdlogj"] == pytest.approx(0.1)
    smooth = table[table["matched_in"] == "displacement_sdlogj"]
    assert smooth["at"].between(0.2, 0.3).all()
    np.testing.assert_allclose(smooth["difference"], 0.15)
    assert (smooth["low"] < 0.15).all()  # the trainings differ
    [words] = gaps_in_words({"amortization_gap": table}, "dice")
    assert words == "Dice, optimization minus trained network, at equal SDlogJ: L2 0.150 (0.125 to 0.175, at 0.25)."


def test_what_a_setting_changes_by_hand():
    """Of three settings, two have a radius of 1 and two are symmetric; the third λ of one is shared with nobody."""
    settings = [(1, "yes"), (0, "yes"), (1, "no")]
    levels = {"displacement_sdlogj": [0.4, 0.2, 0.3, 0.1, 0.4, 0.2], "dice": [0.8, 0.7, 0.6, 0.5, 0.8, 0.71]}
    values = {name: np.array(own)[:, None, None] * np.ones((1, 6)) for name, own in levels.items()}
    sample = sample_of(values)
    sample.configurations["lambda"] = [0.1, 1.0] * 3
    sample.configurations["model.radius"] = np.repeat([radius for radius, _ in settings], 2)
    sample.configurations["model.symmetric"] = np.repeat([symmetric for _, symmetric in settings], 2)
    table = variations([Part(sample, [], ["dice"])], ["dice"])
    assert list(dict.fromkeys(table["setting"])) == ["radius 0", "symmetric no"]
    by_weight = table[table["matched_in"] == "lambda"].set_index(["setting", "metric", "at"])["difference"]
    assert by_weight["radius 0", "dice", 0.1] == pytest.approx(-0.2)
    assert by_weight["radius 0", "displacement_sdlogj", 1.0] == pytest.approx(-0.1)
    smooth = table[(table["matched_in"] == SDLOGJ) & (table["setting"] == "radius 0")]
    np.testing.assert_allclose(smooth["difference"], -0.15)  # both are lines with a slope of 1 in 2
    words = list(variations_in_words({"variations": table}, "dice"))
    assert len(words) == 1
    assert words[0].startswith("Dice with L2 at equal SDlogJ, minus that of the usual settings: radius 0 -0.15")
    assert "; symmetric no 0.005" in words[0]
    assert list(variations_in_brief({"variations": table}, "dice")) == [
        "Compared with the usual settings, for L2 at equal SDlogJ: Dice changes by -0.15 with radius 0, 0.005 with "
        "symmetric no."
    ]


def test_settings_without_a_usual_one_are_not_compared(rows):
    assert "variations" not in analyse(rows).tables


def test_a_front_that_one_can_draw():
    errors, roughness = np.array([0.1, 0.2, 0.3, 0.3, 0.2]), np.array([0.4, 0.2, 0.1, 0.3, 0.2])
    assert on_front(errors, roughness).tolist() == [True, True, True, False, True]


def test_a_hypervolume_that_one_can_count():
    # In the box up to (0.5, 0.5), errors 0.2 and 0.4 at SDlogJ 0.4 and 0.2 dominate the fraction 0.6 x 0.2 + 0.2 x 0.4.
    sample, curve = curve_of([0.4, 0.2], [0.8, 0.6])
    found = sample.interval(dominated_share(curve, "dice", before=0.5))
    assert REFERENCE_SDLOGJ == 0.5
    np.testing.assert_allclose(found.estimate, [0.6 * 0.2 + 0.2 * 0.4])
    assert found.low == pytest.approx(found.estimate)
    sample, curve = curve_of([0.6, 0.2], [0.8, 0.4])  # too rough; worse than no registration
    np.testing.assert_allclose(dominated_share(curve, "dice", before=0.5)(sample.means()), [0.0])
    assert error("mse", np.array(0.3)) == 0.3


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """A complete synthetic study of two models."""
    return study_rows(tmp_path_factory.mktemp("study"), seeds=[0, 1, 2])


def study_rows(folder, **axes):
    names = {"penalties": "objective.penalty", "weights": "objective.lambda", "steps": "model.integration_steps"}
    values = {"penalties": ["l1", "l2"], "weights": [0.01, 0.1, 1.0], "steps": [0, 7], "seeds": [0], **axes}
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump({"name": "x", "axes": {names.get(k, "seed"): v for k, v in values.items()}}))
    frames = []
    for trial in load_study(str(path), ["pairs.test=40"]).trials:
        frames.append(synthetic_run.make_rows(trial).assign(trial=trial.trial_id("data")))
    return pd.concat(frames, ignore_index=True)


def test_every_table_of_a_study(rows):
    analysis = analyse(rows)
    assert list(analysis.tables) == [
        "means",
        "comparisons",
        "matched",
        "auc_arc",
        "mixed_model",
        "fronts",
        "hypervolume",
    ]
    assert all(table.attrs["title"] and table.attrs["note"] for table in analysis.tables.values())
    means, matched = analysis.tables["means"], analysis.tables["matched"]
    assert set(means["n_seeds"]) == {3}
    dice = means[(means["metric"] == "dice") & (means["penalty"] == "l2") & (means["lambda"] == 0.1)].iloc[0]
    own = rows[(rows["penalty"] == "l2") & (rows["lambda"] == 0.1) & (rows["model"] == "displacement")]
    assert dice["mean"] == pytest.approx(own["dice"].mean())
    assert (means["low"] <= means["mean"]).all()
    assert (means["mean"] <= means["high"]).all()
    assert set(matched["matched_in"]) == {"displacement_sdlogj", "displacement_nonpositive_percent"}
    assert set(matched.loc[matched["matched_in"] != "displacement_sdlogj", "model"]) == {"displacement"}
    comparisons = analysis.tables["comparisons"]
    assert (comparisons["p_holm"] >= comparisons["p"]).all()
    shared = comparisons[(comparisons["matched_in"] == "lambda") & (comparisons["at"] == 0.1)]
    assert len(shared) == 4  # two models x two metrics


def test_the_words_say_what_the_tables_hold(rows):
    text = "\n".join(analyse(rows).words)
    assert "The diffeomorphic model folds in no test pair" in text
    assert re.search(r"Dice at an SDlogJ of 0\.\d+ \(displacement model\): L2 ", text)
    assert "Hypervolume" in text
    assert "standard deviation" in text


def test_the_answer_names_the_best_penalty_of_each_model_and_what_folds(rows):
    analysis = analyse(rows)
    displacement, diffeomorphic, folding, seeds = analysis.answer
    assert re.fullmatch(
        r"At an SDlogJ of 0\.\d+ \(displacement model\), L2 has the best Dice, 0\.\d+ \(0\.\d+ to 0\.\d+\): "
        r"0\.\d+ \(0\.\d+ to 0\.\d+\) better than L1\.",
        displacement,
    )
    assert "(diffeomorphic model), L2 has the best Dice" in diffeomorphic
    assert re.fullmatch(r"Folded voxels: up to [\d.]+ % in the displacement model, none in the diffeo.*", folding)
    assert seeds == analysis.words[-1]


def test_how_much_better_by_hand():
    line = {"first": "l1", "second": "l2", "difference": -0.02, "low": -0.05, "high": -0.01}
    assert versus(line, "l2", "dice") == versus(line, "l1", "mse") == (0.02, 0.01, 0.05)
    assert versus(line, "l1", "dice") == versus(line, "l2", "mse") == (-0.02, -0.05, -0.01)


def test_curves_that_do_not_overlap_are_told(rows):
    rougher = rows["displacement_sdlogj"] + 5 * (rows["penalty"] == "l1")
    analysis = analyse(rows.assign(displacement_sdlogj=rougher))
    assert any("no SDlogJ is reached by all of them" in line for line in analysis.words)
    assert any("no SDlogJ is reached by all of them" in line for line in analysis.answer)
    alone = analyse(rows[rows["penalty"] == "l2"])
    assert not any("cannot be compared" in line for line in [*alone.words, *alone.answer])


def test_one_penalty_with_unsuitable_weights_does_not_prevent_all_comparisons(tmp_path):
    many = ["l1", "l2", "curvature", "bending-hessian"]
    rows = study_rows(tmp_path, penalties=many, steps=[7], weights=[0.001, 0.03, 1.0])
    smooth = rows["lambda"].map({0.001: 0.4, 0.03: 0.2, 1.0: 0.1}) + 1e-3 * rows["penalty"].map(many.index)
    tables = analyse(rows.assign(displacement_sdlogj=smooth)).tables
    assert set(tables["matched"]["penalty"]) == set(tables["auc_arc"]["penalty"]) == set(many)
    for shift in (5.0, 0.29):  # apart from the others; and with little in common
        analysis = analyse(rows.assign(displacement_sdlogj=smooth + shift * (rows["penalty"] == "curvature")))
        at = analysis.tables["matched"].query("matched_in == 'displacement_sdlogj'")
        assert set(at["penalty"]) == set(analysis.tables["auc_arc"]["penalty"]) == set(many) - {"curvature"}
        told = [line for line in analysis.words if line.startswith("Curvature is not compared at equal smoothness: ")]
        assert len(told) == 1
        assert f"its SDlogJ of {0.102 + shift:.3g} to {0.402 + shift:.3g}" in told[0]


def test_one_seed_and_one_weight_are_said(tmp_path):
    one = study_rows(tmp_path, weights=[0.1], steps=[7])
    analysis = analyse(one)
    assert "matched" not in analysis.tables
    text = "\n".join(analysis.words)
    assert "cannot be compared at equal smoothness: each penalty needs two or more λ." in text
    assert re.search(r"Dice at λ = 0\.1: L2 0\.\d+ \(0\.\d+ to 0\.\d+\) at an SDlogJ of 0\.\d+; L1 ", text)
    assert "one seed" in text
    *accuracy, seeds = analysis.words[1:]
    assert analysis.answer == [*accuracy, "Folded voxels: none in the diffeomorphic model.", seeds]


def test_penalties_without_a_common_seed_are_not_compared(tmp_path):
    """As after joining runs: the sentence says why, and the lines that are missing do not count for Holm."""
    rows = study_rows(tmp_path, penalties=["l1", "l2"], weights=[0.001, 0.03, 1.0], steps=[7], seeds=[0, 1])
    apart = rows[rows["seed"] == rows["penalty"].map({"l1": 0, "l2": 1})]
    analysis = analyse(apart)
    assert "comparisons" not in analysis.tables
    assert re.search(
        r"has the best Dice, .*: not compared with L[12], because they have no seed in common\.$", analysis.answer[0]
    )
    assert matched(analysis, "dice", SDLOGJ, "title") is None


def test_trials_without_a_common_pair_are_not_compared(rows):
    apart = pd.concat([rows[rows["penalty"] == "l1"], rows[rows["penalty"] == "l2"].assign(moving="other")])
    analysis = analyse(apart)
    assert (analysis.tables, analysis.words) == ({}, [])
    assert analysis.answer == [
        "The trials of this run share no test pair; statistics need pairs that all of them have."
    ]
    with pytest.raises(InputError, match="share no test pair"):
        recommend(apart, Limit("displacement_sdlogj", 0.2))


def test_a_missing_seed_is_left_out(rows):
    fewer = rows[~((rows["seed"] == 2) & (rows["penalty"] == "l1"))]
    means = analyse(fewer).tables["means"]
    assert set(means.loc[means["penalty"] == "l1", "n_seeds"]) == {2}
    assert set(means.loc[means["penalty"] == "l2", "n_seeds"]) == {3}


def test_a_trial_that_failed_does_not_narrow_the_intervals_of_other_penalties(rows):
    l2 = (rows["penalty"] == "l2") & (rows["lambda"] == 1.0)
    parts = [analyse(own).tables["matched"] for own in (rows, rows[~(l2 & (rows["seed"] > 0))])]
    whole, fewer = (part[part["penalty"] == "l1"].set_index(["model", "matched_in", "at", "metric"]) for part in parts)
    same = whole.index.intersection(fewer.index)
    assert len(same) > 0
    assert set(fewer["n_seeds"]) == {3}
    columns = ["mean", "low", "high"]
    np.testing.assert_allclose(fewer.loc[same, columns], whole.loc[same, columns])


def test_curves_are_told_apart_by_what_varies(rows):
    sample = Sample.of(rows, ["dice", "displacement_sdlogj"])
    found = curves(sample)
    assert list(found) == [("displacement",), ("diffeomorphic",)]
    assert [curve.penalty for curve in found["displacement",]] == ["l1", "l2"]
    reach = common_range(sample, found["displacement",], "displacement_sdlogj")
    assert reach is not None
    assert reach[0] < reach[1]
    assert common_range(sample, found["displacement",][:1], "displacement_sdlogj") is None


def test_a_curve_that_a_larger_weight_made_rougher_reaches_no_further_than_its_smallest_weight(rows):
    """As of a diverged training. Beyond it, the accuracy was extrapolated: a Dice that no pair had."""
    weights = sorted(rows["lambda"].unique())
    smooth = np.interp(np.arange(len(weights)), [0, len(weights) - 1], [0.5, 0.05])
    bent = smooth.copy()
    bent[:2] = 0.2, 0.4
    for first, reach in ((smooth, (0.05, 0.5)), (bent, (0.05, 0.2)), (smooth[::-1], None)):
        of = {"l1": dict(zip(weights, first, strict=True)), "l2": dict(zip(weights, smooth, strict=True))}
        changed = rows.assign(
            displacement_sdlogj=[of[name][weight] for name, weight in zip(rows["penalty"], rows["lambda"], strict=True)]
        )
        sample = Sample.of(changed, ["dice", "displacement_sdlogj"])
        group = curves(sample)["displacement",]
        found = common_range(sample, group, "displacement_sdlogj")
        assert found == (pytest.approx(reach) if reach else None)
        if found is None:
            continue
        dice = sample.means()["dice"]
        for curve in group:
            read = at_smoothness(curve, "displacement_sdlogj", "dice", targets(*found, "displacement_sdlogj"))
            values = read(sample.means())
            assert (values >= dice[curve.places].min() - 1e-9).all()
            assert (values <= dice[curve.places].max() + 1e-9).all()


def test_a_recommendation_is_the_most_accurate_within_the_limit(rows):
    found = recommend(rows, Limit("displacement_sdlogj", 0.15))
    means = rows.groupby(["penalty", "lambda", "model"])[["dice", "displacement_sdlogj"]].mean().reset_index()
    within = means[means["displacement_sdlogj"] <= 0.15]
    expected = within.loc[within["dice"].idxmax()]
    assert found.best[["penalty", "lambda"]].tolist() == expected[["penalty", "lambda"]].tolist()
    assert found.best["low"] <= found.best["mean"] <= found.best["high"]
    assert len(found.table) == len(means)
    assert found.table["within"].sum() == len(within)
    assert found.between is not None
    assert found.between[1] > found.best["mean"]


@pytest.mark.parametrize("limit", [0.0, 0.5, 2.0])
def test_a_tested_weight_on_the_limit_is_not_called_interpolated(rows, limit):
    folding = rows["lambda"].map({0.01: 2.0, 0.1: 0.5, 1.0: 0.0})
    dice = 0.8 - 0.1 * np.log10(rows["lambda"])
    measured = rows.assign(displacement_nonpositive_percent=folding, dice=dice)
    found = recommend(measured, Limit("displacement_nonpositive_percent", limit))
    assert found.between is None
    assert found.best["roughness"] == limit


def test_folding_below_what_is_told_apart_is_not_within_a_limit_of_none(rows):
    folding = rows["lambda"].map({0.01: 0.5, 0.1: 0.0008, 1.0: 0.0})
    measured = rows.assign(displacement_nonpositive_percent=folding, dice=0.8 - 0.1 * np.log10(rows["lambda"]))
    found = recommend(measured, Limit("displacement_nonpositive_percent", 0.0))
    assert (found.best["lambda"], found.between) == (1.0, None)


def test_a_recommendation_says_if_nothing_is_gained(rows):
    limit = Limit("displacement_sdlogj", 1.0)
    assert recommend(rows.assign(dice_before=rows["dice"] - 0.1), limit).unclear is None
    assert recommend(rows.drop(columns="dice_before", errors="ignore"), limit).unclear is None
    worse = rows.assign(dice_before=rows["dice"] + 0.1)
    assert recommend(worse, limit).unclear == pytest.approx(recommend(worse, limit).best["mean"] + 0.1)
    errors = rows.assign(mse_before=rows["mse"] + 0.1)
    assert recommend(errors, limit, "mse").unclear is None
    assert recommend(errors.assign(mse_before=errors["mse"] - 0.1), limit, "mse").unclear is not None


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Limit("dice", 0.1), "unknown metric for a limit: dice; expected"),
        (lambda: Limit("displacement_sdlogj", -1.0), "at least 0, found -1"),
        (lambda: Limit("displacement_sdlogj", float("nan")), "at least 0, found nan"),
    ],
)
def test_limits_that_mean_nothing(make, sentence):
    with pytest.raises(InputError, match=sentence):
        make()


def test_a_limit_that_nothing_keeps(rows):
    with pytest.raises(InputError, match=r"no configuration .* the lowest is .*, l1 at λ = 1"):
        recommend(rows, Limit("displacement_sdlogj", 0.001))
    with pytest.raises(InputError, match="this run did not measure tre; choose one of dice, mse"):
        recommend(rows, Limit("displacement_sdlogj", 0.2), "tre")


def test_a_range_below_what_folding_is_told_apart_by_is_none(rows):
    """The diffeomorphic model often folds nowhere or in one voxel of a million, so five targets would be equal."""
    tiny = rows.assign(displacement_nonpositive_percent=rows["displacement_sdlogj"] * 1e-4)
    sample = Sample.of(tiny, ["dice", "displacement_nonpositive_percent"])
    group = curves(sample)["displacement",]
    assert common_range(sample, group, "displacement_nonpositive_percent") is None
    assert targets(0.3, 0.302, "displacement_sdlogj").tolist() == [0.3]


def test_a_metric_that_some_trials_lack_is_left_out_for_them_alone(rows):
    """Such as a metric of another package that was installed after these trials were measured."""
    lacking = rows["lambda"] == 1.0
    whole, part = rows.assign(tre=rows["dice"]), rows.assign(tre=rows["dice"].where(~lacking))
    tables, expected = analyse(part).tables, analyse(rows).tables
    assert len(tables["means"]) == len(expected["means"]) + 8  # the configurations with two of the three λ, of 12
    for name, table in expected.items():
        others = tables[name]
        if "metric" in others and name != "mixed_model":
            others = others[others["metric"] != "tre"].reset_index(drop=True)
        own = [column for column in table if column != "p_holm"]
        pd.testing.assert_frame_equal(others[own], table[own])
    added = tables["comparisons"]
    assert set(added.loc[(added["metric"] == "tre") & (added["matched_in"] == "lambda"), "at"]) == {0.01, 0.1}
    assert accuracies(whole) == ["dice", "tre", "mse"]
    recommended = recommend(part, Limit("displacement_sdlogj", 10.0), "tre")
    assert set(recommended.table["lambda"]) == {0.01, 0.1}


def test_the_main_accuracy_is_one_that_every_trial_has(rows):
    part = rows.assign(dice=rows["dice"].where(rows["penalty"] == "l1"), tre=1.0)
    assert accuracies(part) == ["tre", "dice", "mse"]
    assert analyse(part).words
    known, unknown = rows.assign(similarity="ncc"), rows.assign(similarity="of a package that is not installed")
    assert [accuracies(frame)[-1] for frame in (known, unknown)] == ["ncc", "mse"]
