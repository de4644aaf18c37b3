"""Penalties against values computed by hand, MONAI and the formula of official VoxelMorph."""

import re

import pytest
import torch
from monai.losses.deform import BendingEnergyLoss

from smoothmorph.networks import PENALTIES, BendingEnergy, L1Penalty, L2Penalty, bending_energy, l1_penalty, l2_penalty
from smoothmorph.transforms import identity_grid

SHAPES = {2: (9, 12), 3: (6, 7, 8)}


@pytest.fixture(params=[2, 3])
def dims(request):
    return request.param


def field_of(dims, function):
    """The field with u_0 = function(x_0, x_1) and the other components 0."""
    grid = identity_grid(SHAPES[dims], torch.float64)
    field = torch.zeros_like(grid)
    field[:, 0] = function(grid[:, 0], grid[:, 1])
    return field


SINGLE = [name for name, entry in PENALTIES.items() if not entry.both_directions]
"""Those of one field."""


@pytest.mark.parametrize("name", [name for name in SINGLE if name != "sobolev"])
def test_a_translation_costs_nothing(dims, name):
    assert float(PENALTIES[name]()(torch.full((2, dims, *SHAPES[dims]), 3.7))) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("name", [name for name in PENALTIES if name.startswith("bending")])
def test_an_affine_field_does_not_bend(dims, name):
    field = field_of(dims, lambda x, y: 0.3 * x - 0.2 * y + 1)
    assert float(PENALTIES[name]()(field)) == pytest.approx(0, abs=1e-12)


def test_stretching_by_a_half(dims):
    # du_0/dx_0 = 0.5 in one of D components and one of D axes
    field = field_of(dims, lambda x, y: 0.5 * x)
    assert float(l1_penalty(field)) == pytest.approx(0.5 / dims**2)
    assert float(l2_penalty(field)) == pytest.approx(0.25 / dims**2)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_field_in_half_precision_keeps_its_small_squares(dims, dtype):
    field = field_of(dims, lambda x, y: 0.001 * x).to(dtype)  # a square of 1e-6 is 0 in float16
    found = L2Penalty()(field)
    assert found.dtype == torch.float32
    assert float(found) == pytest.approx(float(l2_penalty(field.double())), rel=1e-4)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(L2Penalty()(field), found)


def test_a_square_bends_by_four(dims):
    # u_0 = x_0², its second difference is 2 and its square 4, in one of D components
    field = field_of(dims, lambda x, y: x**2)
    assert float(bending_energy(field, "hessian")) == pytest.approx(4 / dims)
    assert float(bending_energy(field, "laplacian")) == pytest.approx(4 / dims)
    assert float(bending_energy(field, "pure")) == pytest.approx(4 / dims**2)


def test_only_the_hessian_sees_a_twist(dims):
    # u_0 = x_0 x_1 has the mixed derivative 1, counted twice, in one of D components
    field = field_of(dims, lambda x, y: x * y)
    assert float(bending_energy(field, "hessian")) == pytest.approx(2 / dims)
    assert float(bending_energy(field, "laplacian")) == pytest.approx(0, abs=1e-12)
    assert float(bending_energy(field, "pure")) == pytest.approx(0, abs=1e-12)


def test_only_the_laplacian_misses_a_saddle(dims):
    field = field_of(dims, lambda x, y: x**2 - y**2)
    assert float(bending_energy(field, "laplacian")) == pytest.approx(0, abs=1e-12)
    assert float(bending_energy(field, "hessian")) == pytest.approx(8 / dims)
    assert float(bending_energy(field, "pure")) == pytest.approx(8 / dims**2)


def test_forward_differences_see_a_checkerboard(dims):
    # MONAI's central differences give 0 here; every forward difference is 2
    field = torch.stack([identity_grid(SHAPES[dims]).sum(1) % 2 * 2 - 1] * dims, dim=1)
    assert float(l2_penalty(field)) == pytest.approx(4)
    assert float(l1_penalty(field)) == pytest.approx(2)


def test_hessian_equals_monai(dims):
    field = torch.randn(2, dims, *SHAPES[dims], generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(BendingEnergy("hessian")(field), BendingEnergyLoss()(field))


def test_pure_is_the_formula_of_the_published_study(dims):
    field = torch.randn(1, dims, *SHAPES[dims], generator=torch.Generator().manual_seed(1))
    second = []
    for axis in range(2, dims + 2):
        middle, low, high = (field.narrow(axis, start, field.shape[axis] - 2) for start in (1, 0, 2))
        second.append(((high - 2 * middle + low) ** 2).mean())
    torch.testing.assert_close(BendingEnergy("pure", multiplier=2.0)(field), 2 * sum(second) / dims)


@pytest.mark.parametrize("name", [name for name in SINGLE if name != "sobolev"])
def test_penalties_do_not_depend_on_the_unit_of_an_isotropic_grid_but_by_its_power(dims, name):
    field = torch.randn(1, dims, *SHAPES[dims], generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    in_voxels, in_mm = PENALTIES[name]()(field), PENALTIES[name](spacing=[2.0] * dims)(field)
    # first derivatives (mm per mm) have no unit; squared second derivatives are per mm²
    power = 4 if name.startswith("bending") or name == "curvature" else 1
    torch.testing.assert_close(in_mm * power, in_voxels)


def test_anisotropic_spacing_by_hand(dims):
    # u_0 = 0.5 x_1 in voxels of 3 mm x 2 mm: 1.5 mm per 2 mm
    field = field_of(dims, lambda x, y: 0.5 * y)
    spacing = [3.0, 2.0, 5.0][:dims]
    assert float(l1_penalty(field, spacing)) == pytest.approx(0.75 / dims**2)


def test_reductions_and_multiplier(dims):
    field = torch.randn(3, dims, *SHAPES[dims], generator=torch.Generator().manual_seed(3))
    each = L2Penalty(reduction="none")(field)
    assert each.shape == (3,)
    torch.testing.assert_close(each[1], L2Penalty()(field[1:2]))
    torch.testing.assert_close(L2Penalty(reduction="sum")(field), each.sum())
    torch.testing.assert_close(L1Penalty(multiplier=2.0)(field), 2 * L1Penalty()(field))


@pytest.mark.parametrize("name", SINGLE)
def test_gradients_are_right(dims, name):
    field = torch.randn(1, dims, *[4] * dims, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    torch.autograd.gradcheck(PENALTIES[name](), field.requires_grad_())


def test_wrong_shapes_and_names_are_told():
    with pytest.raises(ValueError, match=r"\(1, 3, 8, 8\)"):
        L2Penalty()(torch.zeros(1, 3, 8, 8))
    with pytest.raises(ValueError, match="at least 3 points"):
        BendingEnergy()(torch.zeros(1, 2, 2, 8))
    with pytest.raises(ValueError, match="hessian, laplacian, pure"):
        BendingEnergy("curvature")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="spacing"):
        L1Penalty(spacing=[1.0])(torch.zeros(1, 2, 8, 8))
    with pytest.raises(ValueError, match="median"):
        L1Penalty(reduction="median")


@pytest.mark.parametrize("name", PENALTIES)
@pytest.mark.parametrize("shape", [(1, 1, 9, 9), (1, 1, 10, 10), (1, 1, 7, 7), (2, 1, 8, 8), (1, 2, 8, 8), (8, 8)])
def test_a_weight_of_another_shape_is_refused(name, shape):
    field = torch.rand(1, 2, 8, 8)
    both = {"inverse": -field} if PENALTIES[name].both_directions else {}
    with pytest.raises(ValueError, match=re.escape(f"a weight of {shape} is not a factor (B or 1, 1, *spatial)")):
        PENALTIES[name]()(field, **both, weight=torch.ones(shape))


@pytest.mark.parametrize("name", PENALTIES)
def test_an_axis_with_one_point_is_refused_or_counts_nothing(name):
    field = torch.rand(1, 3, 8, 8, 1)
    both = {"inverse": -field} if PENALTIES[name].both_directions else {}
    if name in ("curvature", "sobolev", "inverse-consistency"):  # they need no neighbour
        assert torch.isfinite(PENALTIES[name]()(field, **both))
    else:
        with pytest.raises(ValueError, match=r"at least [23] points per axis, got a field of \(1, 3, 8, 8, 1\)"):
            PENALTIES[name]()(field, **both)
