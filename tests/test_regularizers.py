"""Penalties beyond first differences and bending: answers by hand, other implementations, weights, both directions."""

import math

import numpy as np
import pytest
import torch

from smoothmorph.networks import (
    PENALTIES,
    SIMILARITIES,
    CurvaturePenalty,
    DigitalFoldingPenalty,
    DivergencePenalty,
    FoldingPenalty,
    GradICONPenalty,
    InverseConsistencyPenalty,
    LinearElasticityPenalty,
    LogJacobianPenalty,
    Objective,
    Penalty,
    PenaltyEntry,
    Registration,
    SobolevPenalty,
    TotalVariationPenalty,
    VoxelMorph,
    bending_energy,
    l2_penalty,
    refine,
    refine_field,
)
from smoothmorph.transforms import InputError, identity_grid, integrate, nondiffeomorphic_percent, warp

SHAPES = {2: (9, 12), 3: (6, 7, 8)}
SINGLE = [name for name, entry in PENALTIES.items() if not entry.both_directions]


@pytest.fixture(params=[2, 3])
def dims(request):
    return request.param


def field_of(dims, *functions):
    """The field with u_a = functions[a](x_0, x_1), and 0 for the other components."""
    grid = identity_grid(SHAPES[dims], torch.float64)
    field = torch.zeros_like(grid)
    for axis, function in enumerate(functions):
        field[:, axis] = function(grid[:, 0], grid[:, 1])
    return field


def noise(dims, seed=0, size=2, scale=1.0):
    draw = torch.Generator().manual_seed(seed)
    return scale * torch.randn(size, dims, *SHAPES[dims], generator=draw, dtype=torch.float64)


def slopes(field, spacing):
    """g[a][b] = ∂u_b/∂x_a of one field in mm, forward differences at all points but the last, in NumPy."""
    values = field.numpy() * np.reshape(spacing, (-1, *[1] * (field.ndim - 1)))
    own = (slice(None), *[slice(length - 1) for length in values.shape[1:]])
    return np.stack([np.diff(values, axis=a + 1)[(*own[: a + 1], slice(None), *own[a + 2 :])] / step
                     for a, step in enumerate(spacing)])  # fmt: skip


# By hand


def test_a_stretch_a_shear_and_a_rotation_of_an_elastic_body(dims):
    stretch, shear = field_of(dims, lambda x, y: 0.5 * x), field_of(dims, lambda x, y: 0.5 * y)
    turn = field_of(dims, lambda x, y: -0.3 * y, lambda x, y: 0.3 * x)
    elastic = LinearElasticityPenalty(mu=3.0, lam=5.0)
    assert float(elastic(stretch)) == pytest.approx(0.25 * (3 + 5 / 2))  # μ a² + λ/2 a²
    assert float(elastic(shear)) == pytest.approx(3 * 0.25 / 2)  # μ/4 · 2 b²
    assert float(elastic(turn)) == pytest.approx(0, abs=1e-12)
    assert float(DivergencePenalty()(stretch)) == pytest.approx(0.25)
    assert float(DivergencePenalty()(shear)) == float(DivergencePenalty()(turn)) == pytest.approx(0, abs=1e-12)


def test_total_variation_is_the_length_of_the_gradient_but_for_huber(dims):
    steep = field_of(dims, lambda x, y: 0.3 * x, lambda x, y: 0.4 * x)
    assert float(TotalVariationPenalty()(steep)) == pytest.approx(0.5 - 0.005)
    flat = field_of(dims, lambda x, y: 0.003 * x, lambda x, y: 0.004 * x)
    assert float(TotalVariationPenalty()(flat)) == pytest.approx(0.005**2 / 0.02)
    assert float(TotalVariationPenalty(epsilon=0.001)(flat)) == pytest.approx(0.005 - 0.0005)


def test_only_total_variation_lets_a_field_jump(dims):
    jump, ramp = field_of(dims, lambda x, y: 4.0 * (x > 2)), field_of(dims, lambda x, y: x.clamp(1, 5) - 1)
    variation = TotalVariationPenalty(epsilon=1e-6)
    assert float(variation(jump)) == pytest.approx(float(variation(ramp)), rel=1e-4)
    assert float(l2_penalty(jump)) == pytest.approx(4 * float(l2_penalty(ramp)))


def test_doubling_a_volume_costs_as_much_as_halving_it(dims):
    doubled, halved = field_of(dims, lambda x, y: x), field_of(dims, lambda x, y: -0.5 * x)
    for field in (doubled, halved):
        assert float(LogJacobianPenalty()(field)) == pytest.approx(math.log(2) ** 2)
    log = math.log(0.1)
    for slope, determinant in ((-1, 0), (-2, -1)):  # beyond 0.1 the tangent goes on
        folded = field_of(dims, lambda x, y, slope=slope: slope * x)
        assert float(LogJacobianPenalty()(folded)) == pytest.approx(log**2 + 20 * log * (determinant - 0.1))


def test_the_log_jacobian_has_no_kink_where_its_tangent_begins():
    slope = torch.linspace(-0.9 - 1e-6, -0.9 + 1e-6, 3, dtype=torch.float64, requires_grad=True)
    field = slope.view(-1, 1, 1, 1) * field_of(2, lambda x, y: x)
    (gradient,) = torch.autograd.grad(LogJacobianPenalty(reduction="sum")(field), slope)
    torch.testing.assert_close(gradient, gradient[1].expand(3), rtol=1e-4, atol=0)


def test_a_field_turned_inside_out_is_folded_by_one(dims):
    inside_out = field_of(dims, lambda x, y: -2 * x)  # det = -1
    assert float(FoldingPenalty()(inside_out)) == pytest.approx(1)
    assert float(DigitalFoldingPenalty()(inside_out)) == pytest.approx(1)
    squeezed = field_of(dims, lambda x, y: -0.9 * x)
    assert float(FoldingPenalty()(squeezed)) == float(DigitalFoldingPenalty()(squeezed)) == 0


def test_only_the_digital_folding_sees_a_fold_between_voxels(dims):
    zigzag = field_of(dims, lambda x, y: 0.75 - 1.5 * (x % 2))  # edges of 1 - 1.5 and 1 + 1.5 voxels
    edges = SHAPES[dims][0] - 1
    inner = torch.zeros_like(zigzag[:, :1])
    inner[:, :, 1:-1] = 1  # at the ends, differences are one-sided
    assert float(FoldingPenalty()(zigzag, weight=inner)) == 0  # central differences of a zigzag are 0: det = 1
    assert float(DigitalFoldingPenalty()(zigzag)) == pytest.approx(0.5 * math.ceil(edges / 2) / edges)


def test_digital_folding_is_the_metric_of_that_name(dims):
    field = noise(dims)
    expected = nondiffeomorphic_percent(field) / 100
    assert expected.min() > 0
    torch.testing.assert_close(DigitalFoldingPenalty(reduction="none")(field), expected)


def test_curvature_is_the_laplacian_inside_and_more_at_the_edges(dims):
    length = SHAPES[dims][0]
    square = field_of(dims, lambda x, y: x**2)  # 2 inside; mirrored, 1 at the first and -(2 n - 3) at the last point
    expected = (4 * (length - 2) + 1 + (2 * length - 3) ** 2) / length / dims
    assert float(CurvaturePenalty()(square)) == pytest.approx(expected)
    inner = torch.zeros_like(square)
    core = (..., *[slice(2, -2)] * dims)
    inner[core] = noise(dims, size=1)[core]
    points, fewer = math.prod(SHAPES[dims]), math.prod(length - 2 for length in SHAPES[dims])
    assert float(CurvaturePenalty()(inner)) * points == pytest.approx(float(bending_energy(inner, "laplacian")) * fewer)


def test_the_sobolev_norm_of_a_wave_is_its_own_times_a_factor(dims):
    length, waves = SHAPES[dims][0], 2
    wave = field_of(dims, lambda x, y: torch.cos(math.pi * waves * (x + 0.5) / length))
    factor = (1 + 9 * (2 - 2 * math.cos(math.pi * waves / length))) ** 2
    assert float(SobolevPenalty(length=3.0)(wave)) == pytest.approx(factor * float(wave.square().mean()))
    assert float(SobolevPenalty()(field_of(dims, lambda x, y: 0 * x + 2))) == pytest.approx(4 / dims)  # a translation


def test_there_and_back_again(dims):
    there = field_of(dims, lambda x, y: 0 * x + 1.5)
    for penalty in (InverseConsistencyPenalty(), GradICONPenalty()):
        assert float(penalty(there, -there)) == pytest.approx(0, abs=1e-12)
    assert float(InverseConsistencyPenalty()(there, 0 * there)) == pytest.approx(1.5**2)
    assert float(GradICONPenalty()(there, 0 * there)) == pytest.approx(0, abs=1e-12)  # a constant residual is free
    stretch = field_of(dims, lambda x, y: 0.5 * x)
    assert float(GradICONPenalty()(stretch, 0 * stretch)) == pytest.approx(0.25)
    with pytest.raises(ValueError, match="gradicon needs the displacements of both directions"):
        GradICONPenalty()(there)


def test_the_flows_of_a_velocity_and_of_its_negative_are_consistent(dims):
    velocity = field_of(dims, lambda x, y: torch.sin(x) * torch.sin(y))
    there, back = (integrate(sign * velocity, padding_mode="border") for sign in (1, -1))
    assert float(InverseConsistencyPenalty()(there, back)) < 0.03 * float(InverseConsistencyPenalty()(there, 0 * there))


# Other implementations


@pytest.mark.parametrize("spacing", [None, (1.5, 0.8, 2.0)])
def test_elasticity_divergence_and_total_variation_are_those_of_numpy(dims, spacing):
    field, own = noise(dims), None if spacing is None else spacing[:dims]
    for place, one in enumerate(field):
        gradients = slopes(one, own or (1.0,) * dims)
        strain = (gradients + np.swapaxes(gradients, 0, 1)) / 2
        trace = np.einsum("aa...->...", gradients)
        energy = 2.0 * (strain**2).sum((0, 1)) + 0.7 / 2 * trace**2
        length = np.sqrt((gradients**2).sum((0, 1)))
        variation = np.where(length < 0.5, length**2 / 1.0, length - 0.25)
        expected = {
            LinearElasticityPenalty(2.0, 0.7, own, reduction="none"): energy.mean(),
            DivergencePenalty(own, reduction="none"): (trace**2).mean(),
            TotalVariationPenalty(0.5, own, reduction="none"): variation.mean(),
        }
        for penalty, value in expected.items():
            assert float(penalty(field)[place]) == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize("spacing", [None, (1.5, 0.8, 2.0)])
def test_curvature_and_sobolev_are_those_of_a_padded_array(dims, spacing):
    field, own = noise(dims, size=1), spacing and spacing[:dims]
    steps = own or (1.0,) * dims
    values = field[0].numpy() * np.reshape(steps, (-1, *[1] * dims))
    laplacian = np.zeros_like(values)
    for axis, step in enumerate(steps, start=1):
        wide = np.pad(values, [(1, 1) if a == axis else (0, 0) for a in range(dims + 1)], mode="edge")
        low, high = (np.take(wide, range(start, start + values.shape[axis]), axis) for start in (0, 2))
        laplacian += (high - 2 * values + low) / step**2
    assert float(CurvaturePenalty(own)(field)) == pytest.approx((laplacian**2).mean(), rel=1e-6)
    assert float(SobolevPenalty(2.0, own)(field)) == pytest.approx(((values - 4 * laplacian) ** 2).mean(), rel=1e-6)


def test_determinants_are_those_of_numpy(dims):
    field = noise(dims, size=1, scale=0.5)
    rows = [[np.gradient(field[0, b].numpy(), axis=a) + (a == b) for b in range(dims)] for a in range(dims)]
    determinant = np.linalg.det(np.moveaxis(np.array(rows), (0, 1), (-2, -1)))
    assert determinant.min() < 0
    assert float(FoldingPenalty()(field)) == pytest.approx(np.maximum(-determinant, 0).mean(), rel=1e-6)
    least, log = 0.1, math.log(0.1)
    tangent = log**2 + 2 * log / least * (determinant - least)
    costs = np.where(determinant < least, tangent, np.log(np.maximum(determinant, least)) ** 2)
    assert float(LogJacobianPenalty()(field)) == pytest.approx(costs.mean(), rel=1e-6)


# λ as a field


def of_all(name, field, weight=None):
    """A penalty of a field, or of both it and another one; one value per sample."""
    inverse = noise(field.shape[1], seed=9, scale=0.3) if PENALTIES[name].both_directions else None
    return Penalty(name, reduction="none")(field, inverse, weight)


@pytest.mark.parametrize("name", PENALTIES)
def test_a_weight_is_a_factor_and_weights_add_up(dims, name):
    field = noise(dims, scale=0.5)
    weight = torch.rand(1, 1, *SHAPES[dims], dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    whole = of_all(name, field)
    torch.testing.assert_close(of_all(name, field, torch.full_like(weight, 2.0)), 2 * whole)
    torch.testing.assert_close(of_all(name, field, weight) + of_all(name, field, 1 - weight), whole)
    assert of_all(name, field, weight)[0] != pytest.approx(float(whole[0]))


def test_between_two_voxels_their_mean_weight_counts():
    # along the first axis the differences are 1 and 3, their weights (0 + 2) / 2 and (2 + 4) / 2
    field = torch.tensor([[0.0], [1.0], [4.0]]).repeat(1, 3)[None, None].repeat(1, 2, 1, 1) * torch.tensor(
        [1.0, 0]
    ).view(1, 2, 1, 1)
    weight = torch.tensor([[0.0], [2.0], [4.0]]).repeat(1, 3)[None, None]
    assert float(l2_penalty(field, weight=weight)) == pytest.approx((1 * 1 + 3 * 9) / 2 / 2 / 2)


def test_a_weight_map_is_interpolated_on_the_grid_of_the_velocity():
    velocity, displacement = torch.randn(1, 2, 6, 6), torch.randn(1, 2, 11, 11)
    registration = Registration(torch.zeros(1, 1, 11, 11), displacement, velocity)
    ramp = torch.linspace(0, 10, 11).view(1, 1, 11, 1).repeat(1, 1, 1, 11)
    found = Objective(2)(registration, torch.zeros(1, 1, 11, 11), ramp).penalty
    coarse = torch.linspace(0, 10, 6).view(1, 1, 6, 1).repeat(1, 1, 1, 6)
    torch.testing.assert_close(found, l2_penalty(velocity, weight=coarse)[0])
    with pytest.raises(ValueError, match=r"the weight map \(1, 1, 6, 6\) is not on the grid of \(1, 1, 11, 11\)"):
        Objective(2)(registration, torch.zeros(1, 1, 11, 11), torch.ones(1, 1, 6, 6))


def test_a_penalty_that_takes_no_weight_says_so():
    entry = PenaltyEntry(name="own", title="Own", meaning="none", target="test_regularizers:without_weight")
    with pytest.raises(InputError, match="the penalty own cannot be weighted by voxel; leave the weight map out"):
        Penalty(entry)(noise(2), weight=torch.ones(1, 1, *SHAPES[2]))


def without_weight(field, spacing=None):
    return field.flatten(1).mean(1)


# Each in an objective


def ball(dims, shift):
    grid = identity_grid((16,) * dims)
    centre = torch.tensor([8.0 + shift, *[8.0] * (dims - 1)]).view(1, -1, *[1] * dims)
    return torch.sigmoid(4 - (grid - centre).norm(dim=1, keepdim=True))


def rough(dims, scale=0.7):
    """A field that folds."""
    return scale * torch.randn(1, dims, *[16] * dims, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("name", [*PENALTIES, "0.5*l2+folding+gradicon"])
def test_a_step_down_lowers_every_penalty(dims, name):
    """Of a displacement, alone: the images are alike, and the weight is large."""
    image, objective = ball(dims, 0), Objective(dims, penalty=name, weight=1e3)
    start = rough(dims)

    def register(field, moving):
        return Registration(warp(moving, field), field, field)

    found = refine_field(register, start, objective, image, image, steps=3)
    assert all(map(math.isfinite, found.losses))
    assert found.losses == sorted(found.losses, reverse=True)
    assert found.losses[-1] < found.losses[0]
    assert torch.isfinite(found.registration.displacement).all()


@pytest.mark.parametrize("similarity", [*SIMILARITIES, "mse+gradient-mse"])
def test_a_step_down_makes_images_more_alike_by_every_similarity(dims, similarity):
    moving, fixed = ball(dims, 1), ball(dims, -1)
    network, objective = VoxelMorph(dims, integration_downsize=1), Objective(dims, similarity, weight=0.0)
    found = refine(network, objective, moving, fixed, steps=5)
    assert all(map(math.isfinite, found.losses))
    assert found.losses == sorted(found.losses, reverse=True)
    assert found.losses[-1] < found.losses[0]


@pytest.mark.parametrize("name", ["inverse-consistency", "gradicon"])
@pytest.mark.parametrize("squarings", [0, 7])
def test_both_directions_of_a_network_are_refined_together(dims, squarings, name):
    torch.manual_seed(0)
    network, objective = VoxelMorph(dims, squarings), Objective(dims, penalty=f"l2+{name}", weight=0.01)
    moving, fixed = ball(dims, 1), ball(dims, -1)
    calls = []
    network.register_forward_hook(lambda *parts: calls.append(parts[1]))
    found = refine(network, objective, moving, fixed, steps=30)
    assert [pair[0] is moving for pair in calls] == [True, False]
    assert min(found.losses) < 0.5 * found.losses[0]
    there, back = found.registration.displacement, found.registration.inverse_displacement
    assert there.shape == back.shape == (1, dims, *[16] * dims)
    assert float(InverseConsistencyPenalty()(there, back)) < 0.3 * float(InverseConsistencyPenalty()(there, 0 * back))


def test_the_objective_of_both_directions_is_the_mean_of_each(dims):
    network, moving, fixed = VoxelMorph(dims), ball(dims, 1), ball(dims, -1)
    velocities = torch.randn(2, 1, dims, *[8] * dims, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        there, back = (network.register_with(*pair) for pair in zip(velocities, (moving, fixed), strict=True))
        both = Registration(*(torch.cat(parts) for parts in zip(there[:3], back[:3], strict=True)))
        objective = Objective(dims, penalty="gradicon", weight=0.3)
        terms = objective.of_both(both, moving, fixed)
        penalties = [
            GradICONPenalty()(*pair)
            for pair in ((there.displacement, back.displacement), (back.displacement, there.displacement))
        ]
    similarity = ((there.warped - fixed).square().mean() + (back.warped - moving).square().mean()) / 2
    torch.testing.assert_close(terms.similarity, similarity)
    torch.testing.assert_close(terms.penalty, sum(penalties) / 2)
    torch.testing.assert_close(terms.loss, terms.similarity + 0.3 * terms.penalty)
    weighted = objective.of_both(both, moving, fixed, torch.full_like(fixed, 3.0))
    torch.testing.assert_close(weighted.penalty, 3 * terms.penalty)
    each = Objective(dims, penalty="gradicon", weight=0.3, reduction="none").of_both(both, moving, fixed)
    torch.testing.assert_close(each.loss, terms.loss[None])


def test_penalties_of_the_determinant_act_on_the_displacement():
    registration = Registration(torch.zeros(1, 1, 9, 12), field_of(2, lambda x, y: -2 * x), torch.zeros(1, 2, 5, 6))
    for acts_on in ("velocity", "displacement"):
        terms = Objective(2, penalty="l2+folding", acts_on=acts_on)(registration, torch.zeros(1, 1, 9, 12))
        assert float(terms.penalty) == pytest.approx(1 if acts_on == "velocity" else 1 + 4 / 4)
