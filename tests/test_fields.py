"""Displacement and velocity fields against translations by hand, SciPy, ITK and the matrix exponential."""

import math
import warnings

import itk
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import expm
from scipy.ndimage import map_coordinates
from torch import Tensor

from smoothmorph.transforms import (
    compose,
    displace_points,
    identity_grid,
    integrate,
    invert,
    mm_to_voxel,
    random_velocity,
    resize_displacement,
    voxel_to_mm,
    warp,
)

SHAPES = {"2-D": (24, 20), "3-D": (14, 16, 12)}
FEW = settings(max_examples=8, deadline=None, derandomize=True)


@pytest.fixture(params=SHAPES.values(), ids=SHAPES.keys())
def shape(request: pytest.FixtureRequest) -> tuple[int, ...]:
    return request.param


def seeded(number: int) -> torch.Generator:
    return torch.Generator().manual_seed(number)


def image_of(shape: tuple[int, ...], channels: int = 1) -> Tensor:
    return torch.rand((1, channels, *shape), generator=seeded(0))


def constant(vector: tuple[float, ...], shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Tensor:
    """The translation by ``vector``, (1, D, *shape)."""
    return torch.tensor(vector, dtype=dtype).view(1, -1, *[1] * len(shape)).expand(1, -1, *shape).contiguous()


def inner(field: Tensor, margin: int) -> Tensor:
    return field[(..., *[slice(margin, -margin)] * (field.ndim - 2))]


def linear_field(matrix: np.ndarray, shape: tuple[int, ...]) -> Tensor:
    """The field A (x - centre), (1, D, *shape) float64."""
    centre = (torch.tensor(shape, dtype=torch.float64) - 1) / 2
    x = torch.from_numpy(np.indices(shape, dtype=np.float64)) - centre.view(-1, *[1] * len(shape))
    return torch.einsum("ij,j...->i...", torch.from_numpy(matrix), x)[None]


class TestIdentityGrid:
    def test_holds_voxel_coordinates(self, shape):
        grid = identity_grid(shape, dtype=torch.float64)
        np.testing.assert_array_equal(grid[0].numpy(), np.indices(shape))
        assert grid.shape == (1, len(shape), *shape)

    def test_a_caller_cannot_corrupt_the_kept_grid(self, shape):
        image, still = image_of(shape), torch.zeros(1, len(shape), *shape)
        before = warp(image, still)
        identity_grid(shape).fill_(-100.0)
        torch.testing.assert_close(identity_grid(shape)[0].numpy(), np.indices(shape, dtype=np.float32))
        torch.testing.assert_close(warp(image, still), before)

    def test_inference_then_training(self):
        shape = (9, 7)  # used in no other test, so that its grid is first made in inference mode
        with torch.inference_mode():
            integrate(random_velocity(shape, seeded(0), 1.0, 2.0))
            identity_grid(shape)
        velocity = random_velocity(shape, seeded(0), 1.0, 2.0).requires_grad_()
        warp(image_of(shape), integrate(velocity)).sum().backward()
        assert velocity.grad is not None
        assert velocity.grad.abs().sum() > 0
        (identity_grid(shape) + velocity).sum().backward()


class TestWarp:
    def test_of_no_displacement_is_the_image(self, shape):
        image = image_of(shape, channels=2)
        for padding_mode in ("border", "zeros"):
            torch.testing.assert_close(
                warp(image, torch.zeros(1, len(shape), *shape), padding_mode=padding_mode), image, atol=1e-5, rtol=0
            )

    def test_by_whole_voxels_shifts(self, shape):
        image, vector = image_of(shape), (2.0, -3.0, 1.0)[: len(shape)]
        expected = torch.roll(image, [-int(step) for step in vector], dims=list(range(2, image.ndim)))
        for padding_mode in ("border", "zeros"):
            warped = warp(image, constant(vector, shape), padding_mode=padding_mode)
            torch.testing.assert_close(inner(warped, 3), inner(expected, 3), atol=1e-5, rtol=0)

    def test_padding_repeats_the_edge_or_is_zero(self, shape):
        image, far = image_of(shape), constant((100.0, *[0.0] * (len(shape) - 1)), shape)
        edge = image[:, :, -1:].expand_as(image)
        torch.testing.assert_close(warp(image, far, padding_mode="border"), edge, atol=1e-5, rtol=0)
        assert not warp(image, far, padding_mode="zeros").any()

    def test_components_are_in_axis_order(self, shape):
        for axis in range(len(shape)):
            ramp = identity_grid(shape)[:, axis : axis + 1]
            vector = [0.0] * len(shape)
            vector[axis] = 1.5
            moved = warp(ramp, constant(tuple(vector), shape))
            torch.testing.assert_close(inner(moved, 2), inner(ramp + 1.5, 2), atol=1e-4, rtol=0)

    def test_is_scipys_linear_interpolation(self, shape):
        image = image_of(shape)
        u = 3 * torch.randn((1, len(shape), *shape), generator=seeded(1))
        x = np.indices(shape) + u[0].numpy()
        expected = map_coordinates(image[0, 0].numpy(), x, order=1, mode="nearest")
        np.testing.assert_allclose(warp(image, u)[0, 0].numpy(), expected, atol=1e-5)

    def test_is_itks_warp(self, shape):
        """ITK's result for identity direction and unit spacing. Its vectors and arrays have reverse axis orders."""
        image, u = image_of(shape), integrate(random_velocity(shape, seeded(2), 2.0, 3.0))
        field = np.ascontiguousarray(np.moveaxis(u[0].numpy(), 0, -1)[..., ::-1])
        moving = itk.image_from_array(image[0, 0].numpy())
        vectors = itk.image_from_array(field, ttype=(itk.Image[itk.Vector[itk.F, len(shape)], len(shape)],))
        expected = itk.array_from_image(itk.warp_image_filter(moving, displacement_field=vectors))
        np.testing.assert_allclose(warp(image, u)[0, 0].numpy(), expected, atol=1e-5)

    def test_nearest_keeps_labels(self, shape):
        u = integrate(random_velocity(shape, seeded(3), 3.0, 3.0))
        for dtype in (torch.int16, torch.uint8, torch.int64, torch.float32, torch.bool):
            labels = torch.randint(0, 2, (1, 1, *shape), generator=seeded(4)).to(dtype)
            warped = warp(labels, u, mode="nearest")
            assert warped.dtype == dtype
            assert set(warped.unique().tolist()) <= set(labels.unique().tolist())

    @pytest.mark.parametrize("padding_mode", ["border", "zeros"])
    def test_nearest_keeps_every_value_of_every_type(self, shape, padding_mode):
        """Labels are warped like their indices, which float32 holds: an Allen atlas id, the limits of each dtype."""
        u = integrate(random_velocity(shape, seeded(3), 3.0, 3.0)).repeat(2, *[1] * (1 + len(shape))) + 1
        places = torch.arange(1.0, 2 * math.prod(shape) + 1).view(2, 1, *shape)
        expected = warp(places, u, "nearest", padding_mode).long()
        assert (expected == 0).any() == (padding_mode == "zeros")
        whole = (torch.uint8, torch.int16, torch.uint16, torch.int32, torch.uint32, torch.int64, torch.uint64)
        for dtype in (*whole, torch.bool, torch.float16, torch.float64):
            ends = [1 / 3, torch.finfo(dtype).max] if dtype.is_floating_point else [0, 1]
            if dtype in whole:
                ends = [min(614454277, torch.iinfo(dtype).max - 1), torch.iinfo(dtype).max]
            values = np.resize(np.array(ends, dtype=object), 2 * math.prod(shape))
            labels = torch.from_numpy(values.astype(str(dtype).removeprefix("torch."))).view(2, 1, *shape)
            warped = warp(labels, u, "nearest", padding_mode)
            assert warped.dtype == dtype
            found = np.concatenate([np.zeros(1, labels.numpy().dtype), labels.numpy().ravel()])[expected.numpy()]
            assert (warped.numpy() == found).all(), dtype

    def test_nearest_has_gradients_to_the_image(self):
        image = torch.arange(9.0).view(1, 1, 3, 3).requires_grad_()
        warp(image, constant((1.0, 0.0), (3, 3)), "nearest").sum().backward()
        assert image.grad[0, 0, :, 0].tolist() == [0, 1, 2]

    def test_computes_coordinates_in_float32(self):
        shape = (200, 8)  # in bfloat16, coordinates above 128 would be rounded to integers
        ramp, u = identity_grid(shape)[:, :1], constant((0.5, 0.0), shape)
        for image, field in ((ramp, u.bfloat16()), (ramp.bfloat16(), u), (ramp.bfloat16(), u.bfloat16())):
            warped = warp(image, field)
            assert warped.dtype == torch.float32
            expected = warp(image.float(), u)
            torch.testing.assert_close(warped, expected)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            torch.testing.assert_close(warp(ramp, u), warp(ramp, u.float()))
            assert integrate(u).dtype == torch.float32

    def test_each_sample_of_a_batch_has_its_own_field(self, shape):
        images = torch.rand((3, 2, *shape), generator=seeded(5))
        fields = torch.randn((3, len(shape), *shape), generator=seeded(6))
        together = warp(images, fields)
        for index in range(3):
            one = slice(index, index + 1)
            torch.testing.assert_close(together[one], warp(images[one], fields[one]))

    def test_has_gradients(self):
        for shape in ((4, 5), (3, 4, 3)):
            image = torch.rand((1, 2, *shape), generator=seeded(0), dtype=torch.float64).requires_grad_()
            # Away from whole voxels, where linear interpolation is not differentiable.
            u = 0.3 + 0.4 * torch.rand((1, len(shape), *shape), generator=seeded(1), dtype=torch.float64)
            for padding_mode in ("border", "zeros"):
                assert torch.autograd.gradcheck(
                    lambda i, f, padding=padding_mode: warp(i, f, padding_mode=padding), (image, u.requires_grad_())
                )

    def test_errors_name_what_does_not_fit(self):
        with pytest.raises(ValueError, match=r"\(1, 1, 5, 5\).*\(1, 2, 5, 6\)"):
            warp(torch.zeros(1, 1, 5, 5), torch.zeros(1, 2, 5, 6))
        with pytest.raises(ValueError, match="batch"):
            warp(torch.zeros(2, 1, 5, 5), torch.zeros(1, 2, 5, 5))
        with pytest.raises(ValueError, match=r"\(1, 3, 5, 5\)"):
            warp(torch.zeros(1, 1, 5, 5), torch.zeros(1, 3, 5, 5))
        with pytest.raises(ValueError, match="cubic"):
            warp(torch.zeros(1, 1, 5, 5), torch.zeros(1, 2, 5, 5), mode="cubic")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="mirror"):
            warp(torch.zeros(1, 1, 5, 5), torch.zeros(1, 2, 5, 5), padding_mode="mirror")  # type: ignore[arg-type]


class TestCompose:
    def test_translations_add(self, shape):
        first, second = (
            constant((1.5, -0.5, 2.0)[: len(shape)], shape),
            constant((0.25, 1.0, -3.0)[: len(shape)], shape),
        )
        torch.testing.assert_close(compose(first, second), first + second)

    def test_warps_with_first_and_then_with_second(self, shape):
        """If linear interpolation reproduces the image exactly, warping twice equals warping with the composition."""
        first, second = (integrate(random_velocity(shape, seeded(seed), 1.5, 3.0)) for seed in (1, 2))
        image = (identity_grid(shape) * torch.tensor([1.0, 2.0, 3.0][: len(shape)]).view(1, -1, *[1] * len(shape))).sum(
            1, keepdim=True
        )
        twice = warp(warp(image, first), second)
        torch.testing.assert_close(inner(warp(image, compose(first, second)), 2), inner(twice, 2), atol=1e-3, rtol=0)

    def test_order_matters(self):
        shape = (20, 20)
        shift = constant((3.0, 0.0), shape)
        stretch = linear_field(np.diag([0.2, 0.0]), shape).float()
        difference = inner(compose(shift, stretch) - compose(stretch, shift), 4)
        # x + 3 after 1.2 x, compared with 1.2 (x + 3)
        torch.testing.assert_close(difference[:, 0], torch.full_like(difference[:, 0], -0.6), atol=1e-4, rtol=0)

    @FEW
    @given(seed=st.integers(0, 10**6), axes=st.sampled_from([2, 3]))
    def test_identity_is_neutral(self, seed, axes):
        shape = (12, 11, 10)[:axes]
        u = integrate(random_velocity(shape, seeded(seed), 2.0, 3.0))
        still = torch.zeros_like(u)
        torch.testing.assert_close(compose(u, still), u, atol=1e-5, rtol=0)
        torch.testing.assert_close(compose(still, u), u, atol=1e-5, rtol=0)

    @FEW
    @given(seed=st.integers(0, 10**6), axes=st.sampled_from([2, 3]))
    def test_is_associative_up_to_interpolation(self, seed, axes):
        shape = (20, 19, 18)[:axes]
        a, b, c = (integrate(random_velocity(shape, seeded(seed + i), 1.0, 4.0)) for i in range(3))
        difference = compose(compose(a, b), c) - compose(a, compose(b, c))
        assert difference.norm(dim=1).max() < 0.06  # the largest of 120 random cases was 0.042


class TestInvert:
    def test_of_a_translation_is_its_negative(self, shape):
        u = constant((1.5, -0.5, 2.0)[: len(shape)], shape)
        torch.testing.assert_close(invert(u), -u)

    @FEW
    @given(seed=st.integers(0, 10**6), axes=st.sampled_from([2, 3]))
    def test_undoes_a_smooth_field(self, seed, axes):
        shape = (24, 22, 20)[:axes]
        u = integrate(random_velocity(shape, seeded(seed), 1.5, 4.0))
        inverse = invert(u, tolerance=1e-4)
        assert compose(u, inverse).norm(dim=1).max() < 1e-3  # the fixed-point iteration solves exactly this order
        assert compose(inverse, u).norm(dim=1).max() < 0.1  # the other order is exact up to interpolation

    def test_warns_of_a_field_without_inverse(self):
        fold = 3 * torch.randn((1, 2, 16, 16), generator=seeded(0))
        with pytest.warns(UserWarning, match="invert: off by"):
            invert(fold)

    @pytest.mark.parametrize("axes", [2, 3])
    @pytest.mark.parametrize("stretch", [3.0, 12.0])
    def test_where_the_map_stretches_much(self, axes, stretch):
        """The field stretches up to 13 times and does not fold. An iteration with constant step would oscillate."""
        size = 64
        x = torch.arange(float(size)) - size / 2
        u = stretch * torch.tanh(x) * torch.exp(-((x / 20) ** 2))
        assert (x[1:] + u[1:] > x[:-1] + u[:-1]).all()
        assert (u[1:] - u[:-1]).max() > 0.7 * stretch
        field = torch.zeros(1, axes, size, *[6] * (axes - 1))
        field[0, 0] = u.view(-1, *[1] * (axes - 1))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            inverse = invert(field)
        assert compose(field, inverse).abs().max() < 2e-3


class TestIntegrate:
    def test_without_steps_is_the_velocity(self, shape):
        velocity = random_velocity(shape, seeded(0), 1.0, 2.0)
        assert integrate(velocity, steps=0) is velocity

    def test_of_a_constant_velocity_is_a_translation(self, shape):
        velocity = constant((1.0, -1.5, 0.5)[: len(shape)], shape)
        torch.testing.assert_close(integrate(velocity, padding_mode="border"), velocity, atol=1e-4, rtol=0)
        # With zeros, interpolation smears the effect of the edge through which the flow leaves.
        torch.testing.assert_close(inner(integrate(velocity), 5), inner(velocity, 5), atol=1e-3, rtol=0)

    def test_of_a_linear_velocity_is_the_matrix_exponential(self, shape):
        matrix = np.array([[0.10, -0.15, 0.05], [0.20, -0.05, 0.0], [-0.05, 0.1, 0.08]])[: len(shape), : len(shape)]
        velocity = linear_field(matrix, shape)
        expected = linear_field(expm(matrix) - np.eye(len(shape)), shape)
        # Linear interpolation is exact here; the rest is the error of the first Euler step v / 2ⁿ, halved per squaring.
        errors = [float(inner(integrate(velocity, steps) - expected, 5).abs().max()) for steps in (7, 8, 12)]
        assert errors[0] < 2e-3
        assert errors[1] == pytest.approx(errors[0] / 2, rel=0.02)
        assert errors[2] == pytest.approx(errors[0] / 32, rel=0.05)

    @FEW
    @given(seed=st.integers(0, 10**6), axes=st.sampled_from([2, 3]), padding_mode=st.sampled_from(["zeros", "border"]))
    def test_of_the_negative_velocity_is_the_inverse(self, seed, axes, padding_mode):
        shape = (24, 22, 20)[:axes]
        velocity = random_velocity(shape, seeded(seed), 1.5, 4.0)
        forth, back = integrate(velocity, padding_mode=padding_mode), integrate(-velocity, padding_mode=padding_mode)
        assert compose(forth, back).norm(dim=1).max() < 0.1  # the largest of 120 random cases was 0.055
        assert (back - invert(forth)).norm(dim=1).max() < 0.1

    def test_zeros_stop_the_flow_at_the_edge_and_border_does_not(self):
        velocity = constant((4.0, 0.0), (24, 24))
        zeros, border = integrate(velocity), integrate(velocity, padding_mode="border")
        torch.testing.assert_close(border, velocity)
        assert zeros[0, 0, -1].max() < 1  # the flow leaves the grid immediately
        torch.testing.assert_close(zeros[:, :, :16], velocity[:, :, :16])

    def test_has_gradients(self):
        for shape in ((4, 5), (3, 4, 3)):
            velocity = torch.rand((1, len(shape), *shape), generator=seeded(1), dtype=torch.float64).requires_grad_()
            assert torch.autograd.gradcheck(lambda v: integrate(v, steps=3), velocity)

    def test_rejects_negative_steps(self):
        with pytest.raises(ValueError, match="-1"):
            integrate(torch.zeros(1, 2, 4, 4), steps=-1)


class TestResize:
    def test_is_exact_for_linear_fields(self, shape):
        matrix = np.array([[0.1, -0.2, 0.3], [0.2, 0.1, -0.1], [-0.3, 0.0, 0.2]])[: len(shape), : len(shape)]
        field = linear_field(matrix, shape)
        for size in ([2 * s - 1 for s in shape], [s // 2 for s in shape], [s + i - 1 for i, s in enumerate(shape)]):
            ratio = torch.tensor([(new - 1) / (old - 1) for new, old in zip(size, shape, strict=True)])
            # On the new grid x' = r x and u' = r u, so A' = R A R⁻¹.
            scaled = np.diag(ratio.numpy()) @ matrix @ np.diag(1 / ratio.numpy())
            expected = linear_field(scaled, tuple(size))
            torch.testing.assert_close(resize_displacement(field, size), expected, atol=1e-6, rtol=1e-6)

    def test_up_and_down_again_is_the_field(self, shape):
        field = torch.randn((2, len(shape), *shape), generator=seeded(0))
        finer = resize_displacement(field, [2 * s - 1 for s in shape])
        torch.testing.assert_close(resize_displacement(finer, shape), field, atol=1e-5, rtol=1e-5)

    def test_to_its_own_size_is_itself(self, shape):
        field = torch.randn((1, len(shape), *shape), generator=seeded(0))
        torch.testing.assert_close(resize_displacement(field, shape), field)

    def test_with_voxelmorphs_plain_factor(self, shape):
        field = constant((1.0, -2.0, 3.0)[: len(shape)], shape)
        half = resize_displacement(field, [s // 2 for s in shape], scale=0.5)
        torch.testing.assert_close(half, constant((0.5, -1.0, 1.5)[: len(shape)], tuple(s // 2 for s in shape)))
        torch.testing.assert_close(resize_displacement(half, shape, scale=2.0), field)

    def test_commutes_with_warping(self):
        """Warping on a finer grid and resampling back equals warping on the original grid."""
        shape, finer = (17, 15), (33, 29)
        u = integrate(random_velocity(shape, seeded(0), 2.0, 4.0))
        ramp = identity_grid(shape)[:, :1]
        fine_ramp = identity_grid(finer)[:, :1] / 2
        there = warp(fine_ramp, resize_displacement(u, finer))[:, :, ::2, ::2]
        torch.testing.assert_close(there, warp(ramp, u), atol=1e-4, rtol=0)

    def test_rejects_a_size_of_other_dimension(self):
        with pytest.raises(ValueError, match="2 numbers"):
            resize_displacement(torch.zeros(1, 2, 4, 4), (4, 4, 4))


class TestUnits:
    def test_each_component_is_multiplied_by_its_own_spacing(self, shape):
        spacing = (2.0, 0.5, 3.0)[: len(shape)]
        field = torch.ones(1, len(shape), *shape)
        for component, step in enumerate(spacing):
            assert (voxel_to_mm(field, spacing)[:, component] == step).all()

    @FEW
    @given(spacing=st.lists(st.floats(0.01, 100), min_size=3, max_size=3), axes=st.sampled_from([2, 3]))
    def test_there_and_back(self, spacing, axes):
        field = torch.randn((2, axes, *(4, 5, 3)[:axes]), generator=seeded(0), dtype=torch.float64)
        torch.testing.assert_close(mm_to_voxel(voxel_to_mm(field, spacing[:axes]), spacing[:axes]), field)

    def test_a_spacing_of_other_dimension_is_rejected(self):
        with pytest.raises(ValueError, match="2 positive numbers"):
            voxel_to_mm(torch.zeros(1, 2, 4, 4), (1.0, 1.0, 1.0))


class TestDisplacePoints:
    def test_on_voxels_adds_their_displacement(self, shape):
        u = torch.randn((1, len(shape), *shape), generator=seeded(0))
        indices = torch.stack([torch.randint(0, size, (20,), generator=seeded(1)) for size in shape], 1)
        expected = indices + u[(0, slice(None), *indices.T)].T
        torch.testing.assert_close(displace_points(indices.float(), u), expected, atol=1e-4, rtol=0)

    def test_between_voxels_is_exact_for_linear_fields(self, shape):
        matrix = np.array([[0.1, -0.2, 0.3], [0.2, 0.1, -0.1], [-0.3, 0.0, 0.2]])[: len(shape), : len(shape)]
        centre = (torch.tensor(shape, dtype=torch.float64) - 1) / 2
        points = torch.rand((30, len(shape)), generator=seeded(2), dtype=torch.float64) * 2 * centre
        expected = points + (points - centre) @ torch.from_numpy(matrix).T
        torch.testing.assert_close(displace_points(points, linear_field(matrix, shape)), expected)

    def test_follows_a_bright_voxel(self):
        """warped(x) = moving(x + u(x)): the voxel x becomes bright if x + u(x) is the bright voxel."""
        moving = torch.zeros(1, 1, 16, 16)
        moving[0, 0, 9, 5] = 1
        u = constant((4.0, -2.0), (16, 16))
        fixed_point = (warp(moving, u)[0, 0] > 0.9).nonzero().float()
        torch.testing.assert_close(displace_points(fixed_point, u), torch.tensor([[9.0, 5.0]]))

    def test_rejects_points_of_other_dimension(self):
        with pytest.raises(ValueError, match=r"\(4, 3\)"):
            displace_points(torch.zeros(4, 3), torch.zeros(1, 2, 5, 5))


class TestRandomVelocity:
    def test_is_reproducible(self, shape):
        first, again = (random_velocity(shape, seeded(7), 3.0, 2.0) for _ in range(2))
        assert torch.equal(first, again)
        assert not torch.equal(first, random_velocity(shape, seeded(8), 3.0, 2.0))

    def test_draws_from_the_global_generator_if_none_is_given(self, shape):
        with torch.random.fork_rng():
            torch.manual_seed(7)
            assert torch.equal(random_velocity(shape, None, 3.0, 2.0), random_velocity(shape, seeded(7), 3.0, 2.0))

    def test_has_the_magnitude(self, shape):
        velocity = random_velocity(shape, seeded(0), 3.0, 2.0)
        assert velocity.shape == (1, len(shape), *shape)
        assert velocity.dtype == torch.float32
        assert float(velocity.norm(dim=1).max()) == pytest.approx(3.0)
        assert not random_velocity(shape, seeded(0), 0.0, 2.0).any()
        assert integrate(velocity).norm(dim=1).max() <= 3.0 + 1e-4

    def test_is_as_smooth_as_asked(self):
        """Noise filtered with standard deviation s has the correlation exp(-d² / 4s²) at distance d."""
        smoothness, distance = 4.0, 6
        fields = torch.cat([random_velocity((96, 96), seeded(seed), 1.0, smoothness) for seed in range(8)])
        middle = inner(fields, 8)
        product = (middle[:, :, distance:] * middle[:, :, :-distance]).mean() / middle.square().mean()
        assert float(product) == pytest.approx(np.exp(-(distance**2) / (4 * smoothness**2)), abs=0.08)

    def test_slides_along_the_faces(self, shape):
        velocity = random_velocity(shape, seeded(0), 3.0, 2.0)
        for axis in range(len(shape)):
            for face in (0, -1):
                assert not velocity[:, axis].select(axis + 1, face).any()
                assert velocity[:, (axis + 1) % len(shape)].select(axis + 1, face).any()
        assert torch.equal(integrate(velocity, padding_mode="zeros"), integrate(velocity, padding_mode="border"))

    @pytest.mark.parametrize(
        ("arguments", "named"),
        [
            (((5,), None, 1.0, 1.0), r"\(5,\)"),
            (((5, 2), None, 1.0, 1.0), r"\(5, 2\)"),
            (((5, 5), None, -1.0, 1.0), "magnitude"),
            (((5, 5), None, 1.0, float("nan")), "smoothness"),
        ],
    )
    def test_errors_name_what_is_wrong(self, arguments, named):
        with pytest.raises(ValueError, match=named):
            random_velocity(*arguments)
