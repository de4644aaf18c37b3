"""Weighted sums of penalties and of similarities: what their text means, and that a study takes it all the way."""

import itertools
import math

import pytest
import torch
import yaml

from smoothmorph.experiments.study.json_schema import leaves
from smoothmorph.experiments.study.study import load_study
from smoothmorph.networks import PENALTIES, SIMILARITIES, Objective, Penalty, Registration, gradient_mse, l1_penalty
from smoothmorph.pipeline.settings.schema import TrialSettings, parse
from smoothmorph.transforms import InputError


@pytest.fixture(params=[2, 3])
def pair(request):
    """Three registered pairs of noise: their registration and the fixed images."""
    dims, draw = request.param, torch.Generator().manual_seed(0)
    warped, fixed = (torch.rand(3, 1, *[12] * dims, generator=draw) for _ in range(2))
    return Registration(warped, *(torch.randn(3, dims, *[12] * dims, generator=draw) for _ in range(3))), fixed


def trial(**objective) -> TrialSettings:
    return parse(TrialSettings, {"objective": objective}, "here")


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("l2", "l2"),
        (" 0.010*l2 + 1*l1 ".strip(), "0.01*l2+l1"),
        ("1*l2", "1*l2"),
        ("1e+20*l2+l1", "1e20*l2+l1"),
        ([{"name": "l2", "weight": 1e-5}, {"name": "l1"}], "1e-05*l2+l1"),
        ([{"name": "l2"}], "1*l2"),
        ([{"name": "l2", "weight": 0.1234567890123}], "0.1234567890123*l2"),
    ],
)
def test_a_sum_has_one_text(given, written):
    assert PENALTIES.check(PENALTIES.read(given)) == written
    assert PENALTIES.check(written) == written


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("l2+l3", "there is no penalty 'l3'; did you mean l"),
        ("l2+", r"a name is missing in 'l2\+'; a sum is written name\+name or"),
        ("*l2", r"the weight of l2 in '\*l2' is ''; expected a finite number above 0"),
        ("l2*0.01", r"the weight stands behind its name in 'l2\*0.01'; write 0.01\*l2"),
        ("l2+l2", r"l2 occurs twice in 'l2\+l2'"),
        ("nan*l2", "the weight of l2 in 'nan\\*l2' is 'nan'; expected a finite number above 0"),
        ([{"name": "l2", "weight": math.nan}], "the weight of l2 is nan; expected a finite number above 0"),
        ([{"name": "l2", "weight": -1}], "the weight of l2 is -1; expected"),
        ([{"name": "l2", "weight": 0}], "the weight of l2 is 0; expected"),
        ([{"name": "l2", "weight": True}], "the weight of l2 is True; expected"),
        ([{"name": "l2", "weight": "much"}], "the weight of l2 is 'much'; expected"),
        ([{"name": "l2", "wait": 1}], "is not a penalty with a weight; expected {name: ..., weight: ...}"),
        (["l2"], "'l2' is not a penalty with a weight"),
        ([], "a sum needs at least one penalty, found an empty list"),
    ],
)
def test_what_is_no_sum_is_told_in_a_sentence(given, told):
    with pytest.raises(InputError, match=f"here: objective.penalty = .*{told}"):
        trial(penalty=given)
    with pytest.raises(InputError, match="penalty and penalties are one setting; keep one of them"):
        trial(penalty="l2", penalties=[{"name": "l2"}])


def test_a_sum_is_an_entry_with_a_title_and_a_place_of_its_own():
    assert PENALTIES.title("0.01*l2+l1") == "0.01 · L2 + L1"
    assert "l2+l1" in PENALTIES
    assert "l2+l9" not in PENALTIES
    assert "l2+l1" not in list(PENALTIES)
    assert PENALTIES.in_order(["l2+l1", "l2", "gone", "l1"]) == ["l1", "l2", "gone", "l2+l1"]
    assert SIMILARITIES["mse+0.1*ncc"].loss == "MSE + 0.1 · NCC loss"
    assert SIMILARITIES["mse+gradient-mse"].unit == "a.u.²"
    assert SIMILARITIES["mse+ncc"].unit == ""


def test_the_objective_of_a_sum_is_the_sum_of_its_parts(pair):
    registration, fixed = pair
    dims = fixed.ndim - 2
    parts = [Objective(dims, similarity, penalty)(*pair) for similarity, penalty in (("mse", "l2"), ("ncc", "l1"))]
    whole = Objective(dims, "mse+0.1*ncc", "0.01*l2+3*l1", weight=2.0, multiplier=0.5)(*pair)
    torch.testing.assert_close(whole.similarity, parts[0].similarity + 0.1 * parts[1].similarity)
    torch.testing.assert_close(whole.penalty, 0.01 * parts[0].penalty + 3 * parts[1].penalty)
    torch.testing.assert_close(whole.loss, whole.similarity + whole.penalty)
    each = Penalty("0.01*l2+3*l1", reduction="none")(registration.velocity)
    torch.testing.assert_close(each.mean(), whole.penalty)


ALL = itertools.zip_longest([*SIMILARITIES, "mse+2*gradient-mse"], [*PENALTIES, "l2+0.5*l1"], fillvalue="")


def test_a_sum_as_a_loss_gets_both_directions_where_a_member_needs_them(pair):
    field, other = pair[0].displacement, pair[0].velocity
    whole = Penalty("l2+0.5*gradicon")(field, other)
    assert whole == pytest.approx(float(Penalty("l2")(field) + 0.5 * Penalty("gradicon")(field, other)), rel=1e-6)
    with pytest.raises(ValueError, match="needs the displacements of both directions"):
        Penalty("l2+gradicon")(field)


@pytest.mark.parametrize(("similarity", "penalty"), [(one or "mse", other or "l2") for one, other in ALL])
def test_without_reduction_each_sample_has_what_it_has_alone(pair, similarity, penalty):
    registration, fixed = pair
    dims = fixed.ndim - 2
    terms = Objective(dims, similarity, penalty, reduction="none")(registration, fixed)
    alone = [
        Objective(dims, similarity, penalty)(
            Registration(*(part[i : i + 1] for part in registration)), fixed[i : i + 1]
        )
        for i in range(3)
    ]
    for name in ("loss", "similarity", "penalty"):
        assert getattr(terms, name).shape == (3,)
        torch.testing.assert_close(getattr(terms, name), torch.stack([getattr(one, name) for one in alone]))


class Plain(torch.nn.Module):
    """A similarity that knows no reduction."""

    def forward(self, warped, fixed):
        return (warped - fixed).abs().mean()


def test_a_similarity_that_knows_no_reduction_is_taken_sample_by_sample(pair):
    from smoothmorph.networks.objective.similarities import PerSample

    warped, fixed = pair[0].warped, pair[1]
    torch.testing.assert_close(PerSample(Plain)(warped, fixed), (warped - fixed).abs().flatten(1).mean(1))


def test_gradient_mse_by_hand():
    # d = [[0, 1], [2, 4]]: along the first axis 2 and 3, along the second 1 and 2; (4 + 9) / 2 + (1 + 4) / 2 = 9
    fixed = torch.tensor([[0.0, 1.0], [2.0, 4.0]])[None, None]
    assert gradient_mse(torch.zeros_like(fixed), fixed).tolist() == [9.0]
    assert gradient_mse(fixed + 7, fixed).tolist() == [0.0]  # a constant has no gradient
    ramp = torch.arange(5.0).view(1, 1, 5, 1, 1).expand(1, 1, 5, 4, 3)
    assert gradient_mse(0 * ramp, 3 * ramp).tolist() == [9.0]  # the gradient is 3 along one axis


def test_a_study_takes_lists_and_texts_and_gives_a_sum_the_lambda_1(tmp_path):
    penalties = [[{"name": "l2", "weight": 0.01}, {"name": "l1"}], [{"name": "l1", "weight": 2}]]
    groups = [
        {"name": "sums", "axes": {"objective.penalties": penalties}},
        {"name": "single", "axes": {"objective.penalty": ["l2"]}},
        {"name": "swept", "axes": {"objective.penalty": ["l2+100*l1"], "objective.lambda": [0.1, 0.2]}},
    ]
    study = {"name": "x", "base": {"objective": {"similarities": [{"name": "mse"}, {"name": "gradient-mse"}]}}}
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(study | {"groups": groups}))
    found = load_study(str(tmp_path / "x.yaml"))
    settings = [(trial.objective.penalty, trial.objective.weight) for trial in found.trials]
    assert settings == [("0.01*l2+l1", 1), ("2*l1", 1), ("l2", 0.01), ("l2+100*l1", 0.1), ("l2+100*l1", 0.2)]
    assert {trial.objective.similarity for trial in found.trials} == {"mse+gradient-mse"}
    assert found.trials[0].readable == "l2+l1_1_diffeomorphic_s0"
    (tmp_path / "again.yaml").write_text(found.to_yaml())
    assert load_study(str(tmp_path / "again.yaml")).trials == found.trials
    bad = {"name": "x", "axes": {"objective.penalties": [[{"name": "l2", "weight": -1}]]}}
    (tmp_path / "bad.yaml").write_text(yaml.safe_dump(bad))
    with pytest.raises(InputError, match=r"bad\.yaml.*: objective\.penalty: the weight of l2 is -1"):
        load_study(str(tmp_path / "bad.yaml"))


def test_a_single_penalty_keeps_its_trial_id():
    assert trial().trial_id("data") == "l2_0.01_diffeomorphic_s0_e766615d5d"


def test_the_schema_takes_a_sum_and_refuses_what_is_none():
    import jsonschema

    fits = jsonschema.Draft202012Validator(dict(leaves())["objective.penalty"]).is_valid
    assert all(map(fits, ["l2", "0.01*l2+l1", "1e-3*bending-pure", [{"name": "l2", "weight": 0.5}, {"name": "l1"}]]))
    refused = ["l3", "l2+l3", "l2+", [], [{"name": "l2", "weight": 0}], [{"weight": 1}], ["l2"]]
    assert not any(map(fits, refused))
    assert l1_penalty(torch.zeros(1, 2, 3, 3)).item() == 0


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"weight": float("nan")}, "weight must be a number of 0 or more, got nan"),
        ({"weight": -1}, "weight must be a number of 0 or more, got -1"),
        ({"weight": "0.1"}, "weight must be a number of 0 or more, got '0.1'"),
        ({"multiplier": float("inf")}, "multiplier must be a number of 0 or more, got inf"),
        ({"acts_on": "field"}, "acts_on must be velocity or displacement, got 'field'"),
        ({"reduction": "sum"}, "reduction must be mean or none, got 'sum'"),
    ],
)
def test_an_objective_with_a_wrong_value_is_refused(wrong, told):
    with pytest.raises(ValueError, match=told):
        Objective(2, **wrong)
