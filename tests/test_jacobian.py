"""Jacobian determinants and regularity statistics against values computed by hand and with NumPy."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from smoothmorph.transforms import (
    integrate,
    jacobian_determinant,
    jacobian_statistics,
    nondiffeomorphic_percent,
    random_velocity,
)
from smoothmorph.transforms.fields import jacobian
from smoothmorph.transforms.fields.jacobian import _simplex_measures

SHAPES = {"2-D": (9, 8), "3-D": (8, 7, 6)}
PERCENTILES = {"det_p01": 1, "det_p05": 5, "det_p50": 50, "det_p95": 95, "det_p99": 99}


@pytest.fixture(params=SHAPES.values(), ids=SHAPES.keys())
def shape(request: pytest.FixtureRequest) -> tuple[int, ...]:
    return request.param


def still(shape: tuple[int, ...]) -> Tensor:
    return torch.zeros(1, len(shape), *shape)


def noise(shape: tuple[int, ...], seed: int = 0, strength: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return strength * torch.randn((1, len(shape), *shape), generator=generator, dtype=torch.float64)


def affine(matrix: np.ndarray, shape: tuple[int, ...]) -> Tensor:
    """The displacement of the map x ↦ A x, float64."""
    x = np.indices(shape, dtype=np.float64)
    return torch.from_numpy(np.einsum("ij,j...->i...", matrix - np.eye(len(shape)), x))[None]


def along_first_axis(positions: list[float], other: tuple[int, ...]) -> Tensor:
    """The displacement that moves point i of the first axis to positions[i]."""
    u = torch.zeros(1, 1 + len(other), len(positions), *other, dtype=torch.float64)
    moves = torch.tensor(positions, dtype=torch.float64) - torch.arange(len(positions))
    u[0, 0] = moves.view(-1, *[1] * len(other))
    return u


def numpy_determinant(u: Tensor) -> np.ndarray:
    """The determinants (B, *spatial) by np.gradient and np.linalg.det."""
    results = []
    for sample in u.numpy():
        gradients = np.array([np.gradient(component) for component in sample])  # (component, axis, *spatial)
        matrices = np.moveaxis(gradients, (0, 1), (-2, -1)) + np.eye(len(sample))
        results.append(np.linalg.det(matrices))
    return np.array(results)


class TestDeterminant:
    def test_is_one_where_nothing_moves_or_all_moves_alike(self, shape):
        for u in (still(shape), still(shape) + 3.5):
            determinant = jacobian_determinant(u)
            assert determinant.shape == (1, *shape)
            assert (determinant == 1).all()

    def test_of_scaling_is_the_power_of_the_factor(self, shape):
        determinant = jacobian_determinant(affine(1.5 * np.eye(len(shape)), shape))
        torch.testing.assert_close(determinant, torch.full_like(determinant, 1.5 ** len(shape)))

    def test_of_a_reflection_is_negative(self, shape):
        reflection = np.diag([-1.0, *[1.0] * (len(shape) - 1)])
        assert (jacobian_determinant(affine(reflection, shape)) == -1).all()

    def test_of_an_affine_map_is_that_of_its_matrix(self, shape):
        matrix = np.array([[1.1, 0.3, -0.2], [0.1, 0.8, 0.4], [-0.3, 0.2, 1.2]])[: len(shape), : len(shape)]
        determinant = jacobian_determinant(affine(matrix, shape))
        torch.testing.assert_close(determinant, torch.full_like(determinant, np.linalg.det(matrix)))

    def test_of_a_fold_made_by_hand(self):
        """Points 0 1 2 3 4 move to 0 2 3 1 4, so central differences are 2, 1.5, -0.5, 0.5, 3."""
        determinant = jacobian_determinant(along_first_axis([0, 2, 3, 1, 4], (3,)))
        expected = torch.tensor([2, 1.5, -0.5, 0.5, 3], dtype=torch.float64)
        torch.testing.assert_close(determinant, expected.view(1, 5, 1).expand(1, 5, 3))

    def test_is_numpys(self, shape):
        u = torch.cat([noise(shape, seed) for seed in range(3)])
        np.testing.assert_allclose(jacobian_determinant(u).numpy(), numpy_determinant(u), atol=1e-10)

    def test_does_not_depend_on_how_the_axes_are_ordered(self, shape):
        u = noise(shape)
        turned = u.transpose(2, 3)[:, [1, 0, *range(2, len(shape))]]
        torch.testing.assert_close(jacobian_determinant(turned), jacobian_determinant(u).transpose(1, 2))

    def test_of_half_precision_is_computed_in_float32(self, shape):
        u = noise(shape).bfloat16()
        assert jacobian_determinant(u).dtype == torch.float32
        torch.testing.assert_close(jacobian_determinant(u), jacobian_determinant(u.float()))

    def test_has_gradients(self, shape):
        small = noise(tuple(3 for _ in shape)).requires_grad_()
        assert torch.autograd.gradcheck(jacobian_determinant, small)

    def test_names_a_shape_that_is_no_field(self):
        with pytest.raises(ValueError, match=r"\(1, 3, 5, 5\)"):
            jacobian_determinant(torch.zeros(1, 3, 5, 5))
        with pytest.raises(ValueError, match="at least 2 points"):
            jacobian_determinant(torch.zeros(1, 2, 1, 5))


class TestStatistics:
    def test_of_no_deformation(self, shape):
        statistics = jacobian_statistics(still(shape))
        ones = {"det_min", "det_max", *PERCENTILES}
        zeros = {"nonpositive_percent", "nondiffeomorphic_percent", "sdlogj", "sdlogj_l2r"}
        assert set(statistics) == ones | zeros
        for name, value in statistics.items():
            assert value.shape == (1,)
            assert float(value) == pytest.approx(1.0 if name in ones else 0.0, abs=1e-6), name

    def test_of_a_reflection(self, shape):
        statistics = jacobian_statistics(affine(np.diag([-1.0, *[1.0] * (len(shape) - 1)]), shape))
        assert float(statistics["nonpositive_percent"]) == 100
        assert float(statistics["nondiffeomorphic_percent"]) == pytest.approx(100)

    def test_nonpositive_counts_voxels_in_percent_and_zero_counts(self):
        folded = along_first_axis([0, 2, 3, 1, 4], (3,))  # one row of five
        assert float(jacobian_statistics(folded)["nonpositive_percent"]) == pytest.approx(20)
        flat = along_first_axis([0, 1, 2, 2, 2, 3, 4, 5, 6, 7], (4, 4))  # central difference 0 at one of ten
        assert float(jacobian_statistics(flat)["nonpositive_percent"]) == pytest.approx(10)

    def test_sdlogj_by_hand(self):
        """Points move to 0 1 2 4 8, so determinants are 1, 1, 3/2, 3, 4."""
        statistics = jacobian_statistics(along_first_axis([0, 1, 2, 4, 8], (6,)))
        assert float(statistics["sdlogj"]) == pytest.approx(np.std(np.log([1, 1, 1.5, 3, 4])))
        assert float(statistics["det_max"]) == 4

    def test_sdlogj_of_a_fold_takes_the_smallest_allowed_determinant(self):
        statistics = jacobian_statistics(along_first_axis([0, 2, 3, 1, 4], (3,)))
        assert float(statistics["sdlogj"]) == pytest.approx(np.std(np.log([2, 1.5, 1e-9, 0.5, 3])))

    def test_sdlogj_l2r_is_learn2regs_formula(self, shape):
        u = noise(shape)
        determinant = numpy_determinant(u)[(0, *[slice(2, -2)] * len(shape))]
        expected = np.log(np.clip(determinant + 3, 1e-9, 1e9)).std()
        assert float(jacobian_statistics(u)["sdlogj_l2r"]) == pytest.approx(expected)

    def test_percentiles_are_numpys(self, shape):
        u = torch.cat([noise(shape, seed, strength=0.2) for seed in range(2)])
        statistics, determinants = jacobian_statistics(u), numpy_determinant(u).reshape(2, -1)
        for name, percent in PERCENTILES.items():
            np.testing.assert_allclose(statistics[name], np.percentile(determinants, percent, axis=1), rtol=1e-9)
        np.testing.assert_allclose(statistics["det_min"], determinants.min(1))
        np.testing.assert_allclose(statistics["det_max"], determinants.max(1))
        np.testing.assert_allclose(statistics["nonpositive_percent"], 100 * (determinants <= 0).mean(1))
        np.testing.assert_allclose(statistics["sdlogj"], np.log(determinants.clip(1e-9, 1e9)).std(1))

    def test_are_per_sample(self, shape):
        u = torch.cat([noise(shape, seed) for seed in range(3)])
        together = jacobian_statistics(u)
        for index in range(3):
            for name, value in jacobian_statistics(u[index : index + 1]).items():
                torch.testing.assert_close(together[name][index : index + 1], value, equal_nan=True)

    def test_of_small_and_of_half_precision_fields(self):
        small = jacobian_statistics(noise((4, 4)))
        assert small["sdlogj_l2r"].isnan()
        assert small["sdlogj"].isfinite()
        assert all(value.dtype == torch.float32 for value in jacobian_statistics(noise((6, 6)).half()).values())


class TestNondiffeomorphic:
    def test_sees_the_checkerboard_that_central_differences_miss(self, shape):
        """u₀ = ±a: the differences along axis 0 alternate between 2a and -2a, so half of the simplices at the corners
        have the determinant 1 - 2a; the shear along the other axes does not count."""
        a = 0.75
        parity = torch.from_numpy(np.indices(shape).sum(0) % 2)
        u = still(shape).double()
        u[0, 0] = a * (1 - 2.0 * parity)
        inside = jacobian_determinant(u)[(0, *[slice(1, -1)] * len(shape))]
        assert (inside == 1).all()
        percent = float(nondiffeomorphic_percent(u))
        if len(shape) == 2:
            assert percent == pytest.approx(100 * (2 * a - 1) / 2)
        else:  # 4 of the 8 corners, a sixth each; both central tetrahedra are of one parity and only shift
            assert percent == pytest.approx(100 * 4 * (2 * a - 1) / 6 / 2)
        u[0, 0] *= 0.4 / a
        assert float(nondiffeomorphic_percent(u)) == 0

    def test_of_one_vertex_pushed_past_its_neighbour_2d(self):
        """By t along axis 0: in the two cells beyond it, the two triangles with the edge to the neighbour get the area
        (1 - t) / 2; the cells behind grow. 4 (t - 1) / 2 of 2 · 16 units of area."""
        u = still((5, 5))
        u[0, 0, 2, 2] = 2.0
        assert float(nondiffeomorphic_percent(u)) == pytest.approx(100 * 2 / 32)
        u[0, 0, 2, 2] = 0.99
        assert float(nondiffeomorphic_percent(u)) == 0

    def test_of_one_vertex_pushed_past_its_neighbour_3d(self):
        """As in 2-D, in four cells: eight tetrahedra at corners of (1 - t) / 6, four central ones of (2 - t) / 6."""
        u = still((5, 5, 5))
        for t, inverted in ((0.99, 0), (1.5, 8 * 0.5 / 6), (3.0, 8 * 2 / 6 + 4 * 1 / 6)):
            u[0, 0, 2, 2, 2] = t
            assert float(nondiffeomorphic_percent(u)) == pytest.approx(100 * inverted / (2 * 64)), t

    def test_simplices_fill_every_cell_twice(self, shape):
        """Under an affine map of determinant 1 the signed measures of both cuts sum to two cells."""
        shear = np.array([[1, 0.7, -0.4], [0, 1, 0.6], [0, 0, 1]])[: len(shape), : len(shape)]
        turn = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1.0]])[: len(shape), : len(shape)]
        for matrix in (np.eye(len(shape)), shear, turn, shear.T @ turn @ shear):
            measures = list(_simplex_measures(affine(matrix, shape)))
            assert len(measures) == {2: 4, 3: 10}[len(shape)]
            total = torch.stack(measures).sum(0)
            torch.testing.assert_close(total, torch.full_like(total, 2.0))
            assert all((measure > 0).all() for measure in measures)
            assert float(nondiffeomorphic_percent(affine(matrix, shape))) == 0

    def test_either_cut_of_a_2d_cell_has_its_whole_area(self):
        a, b, c, d = _simplex_measures(noise((7, 6)))  # at the corners 00, 01, 10, 11
        torch.testing.assert_close(a + d, b + c)

    @settings(max_examples=15, deadline=None, derandomize=True)
    @given(seed=st.integers(0, 10**6), axes=st.sampled_from([2, 3]), strength=st.floats(0.05, 0.5))
    def test_central_determinant_is_the_mean_of_its_one_sided_ones(self, seed, axes, strength):
        """A digitally diffeomorphic field has no non-positive voxel; the converse fails for central differences."""
        shape = (6, 5, 4)[:axes]
        u = noise(shape, seed, strength)
        corner_measures = list(_simplex_measures(u))[: 2**axes]
        total = torch.zeros([size - 2 for size in shape], dtype=torch.float64)
        for number, measure in enumerate(corner_measures):  # measure in the cell that has the voxel at this corner
            offsets = [(number >> (axes - 1 - axis)) & 1 for axis in range(axes)]
            total += measure[0][tuple(slice(1 - o, size - 1 - o) for o, size in zip(offsets, shape, strict=True))]
        mean = total * (2 if axes == 2 else 6) / 2**axes
        central = jacobian_determinant(u)[(0, *[slice(1, -1)] * axes)]
        torch.testing.assert_close(central, mean)
        if float(nondiffeomorphic_percent(u)) == 0:
            assert (jacobian_determinant(u) > 0).all()

    @settings(max_examples=10, deadline=None, derandomize=True)
    @given(seed=st.integers(0, 10**6), axes=st.sampled_from([2, 3]))
    def test_is_zero_for_an_integrated_velocity_and_not_for_noise(self, seed, axes):
        shape = (18, 17, 16)[:axes]
        velocity = random_velocity(shape, torch.Generator().manual_seed(seed), 2.0, 3.0)
        assert float(nondiffeomorphic_percent(integrate(velocity))) == 0
        assert float(nondiffeomorphic_percent(noise(shape, seed))) > 1

    def test_is_per_sample(self, shape):
        u = torch.cat([still(shape).double(), noise(shape)])
        percent = nondiffeomorphic_percent(u)
        assert percent.shape == (2,)
        assert float(percent[0]) == 0
        assert float(percent[1]) == pytest.approx(float(nondiffeomorphic_percent(u[1:])))


@pytest.mark.parametrize("dims", [2, 3])
def test_slabs_change_nothing(dims, monkeypatch):
    field = torch.randn(2, dims, *[7, 6, 5][:dims], generator=torch.Generator().manual_seed(0))
    whole = jacobian_statistics(field)
    monkeypatch.setattr(jacobian, "_SLAB_VOXELS", {"cpu": 2 * field[0, 0, 0].numel()})  # two planes
    for name, value in jacobian_statistics(field).items():
        torch.testing.assert_close(value, whole[name])
