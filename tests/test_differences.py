"""Finite differences against values computed by hand and numpy.gradient."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from smoothmorph.transforms import (
    central_differences,
    check_field,
    forward_differences,
    gradient,
    interior,
    second_difference,
)

SHAPES = {"2-D": (6, 7), "3-D": (5, 6, 4)}
SLOPES = (2.0, -3.0, 0.5)
SPACINGS = (0.5, 2.0, 1.25)


@pytest.fixture(params=SHAPES.values(), ids=SHAPES.keys())
def shape(request: pytest.FixtureRequest) -> tuple[int, ...]:
    return request.param


def coordinates(shape: tuple[int, ...]) -> Tensor:
    """The coordinates x of every voxel, (1, D, *shape), made without the tested code."""
    return torch.from_numpy(np.indices(shape, dtype=np.float64))[None]


def linear(shape: tuple[int, ...]) -> Tensor:
    """The image Σ slope_a · x_a, (1, 1, *shape)."""
    slopes = torch.tensor(SLOPES[: len(shape)], dtype=torch.float64)
    return torch.einsum("d,bd...->b...", slopes, coordinates(shape))[:, None]


def test_first_differences_of_a_linear_field_are_its_slopes(shape):
    field = linear(shape)
    for axis, slope in enumerate(SLOPES[: len(shape)]):
        forward, central = forward_differences(field)[axis], central_differences(field)[axis]
        assert forward.shape[2 + axis] == shape[axis] - 1
        assert central.shape == field.shape
        torch.testing.assert_close(forward, torch.full_like(forward, slope))
        torch.testing.assert_close(central, torch.full_like(central, slope))


def test_spacing_divides(shape):
    field, spacing = linear(shape), SPACINGS[: len(shape)]
    for axis, (slope, step) in enumerate(zip(SLOPES, spacing, strict=False)):
        for differences in (forward_differences, central_differences):
            result = differences(field, spacing)[axis]
            torch.testing.assert_close(result, torch.full_like(result, slope / step))


def test_second_difference_of_a_square_is_two(shape):
    for axis in range(len(shape)):
        square = coordinates(shape)[:, axis : axis + 1] ** 2
        result = second_difference(square, axis, axis)
        expected_shape = [size - 2 if other == axis else size for other, size in enumerate(shape)]
        assert list(result.shape[2:]) == expected_shape
        torch.testing.assert_close(result, torch.full_like(result, 2.0))
        step = SPACINGS[axis]
        torch.testing.assert_close(second_difference(square, axis, axis, SPACINGS[: len(shape)]), result / step**2)


def test_second_difference_of_a_product_is_one(shape):
    x = coordinates(shape)
    product = x[:, :1] * x[:, 1:2]
    result = second_difference(product, 0, 1)
    assert tuple(result.shape[2:]) == (shape[0] - 2, shape[1] - 2, *shape[2:])
    torch.testing.assert_close(result, torch.ones_like(result))
    torch.testing.assert_close(second_difference(product, 1, 0), result)
    spaced = second_difference(product, 0, 1, SPACINGS[: len(shape)])
    torch.testing.assert_close(spaced, result / (SPACINGS[0] * SPACINGS[1]))
    assert not second_difference(product, 0, 0).any()


def test_forward_differences_see_a_checkerboard_that_central_ones_miss(shape):
    parity = coordinates(shape).sum(1, keepdim=True) % 2
    assert all((forward.abs() == 1).all() for forward in forward_differences(parity))
    for axis, central in enumerate(central_differences(parity)):
        assert not central.narrow(axis + 2, 1, shape[axis] - 2).any()


@settings(max_examples=20, deadline=None, derandomize=True)
@given(
    sizes=st.lists(st.integers(2, 5), min_size=2, max_size=3),
    spacing=st.lists(st.floats(0.1, 10), min_size=3, max_size=3),
    seed=st.integers(0, 10**6),
)
def test_central_differences_are_numpy_gradient(sizes, spacing, seed):
    field = np.random.default_rng(seed).normal(size=(2, 3, *sizes))
    axes = tuple(range(2, field.ndim))
    expected = np.gradient(field, *spacing[: len(sizes)], axis=axes)
    for ours, theirs in zip(central_differences(torch.from_numpy(field), spacing[: len(sizes)]), expected, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-12, atol=1e-12)


def test_interior_drops_the_edge_of_every_axis_but_the_named(shape):
    field = linear(shape)
    assert tuple(interior(field).shape[2:]) == tuple(size - 2 for size in shape)
    assert interior(field, but=[0]).shape[2:] == (shape[0], *(size - 2 for size in shape[1:]))


def test_differences_are_differentiable(shape):
    field = torch.randn(1, 2, *[3] * len(shape), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda f: tuple(central_differences(f)) + tuple(forward_differences(f)), field)


@pytest.mark.parametrize("bad", [(1, 2, 5), (1, 3, 5, 5), (1, 2, 4, 4, 4), (2, 5, 5), (1, 1, 5, 5)])
def test_check_field_names_a_shape_that_is_no_vector_field(bad):
    with pytest.raises(ValueError, match=str(bad).replace("(", r"\(").replace(")", r"\)")):
        check_field(torch.zeros(bad))


def test_check_field_counts_the_axes(shape):
    assert check_field(torch.zeros(2, len(shape), *shape)) == len(shape)


def test_too_few_points_and_bad_spacing_are_named():
    with pytest.raises(ValueError, match=r"at least 2 points.*\(1, 2, 1, 5\)"):
        central_differences(torch.zeros(1, 2, 1, 5))
    with pytest.raises(ValueError, match=r"at least 3 points.*\(1, 2, 5, 2\)"):
        second_difference(torch.zeros(1, 2, 5, 2), 0, 1)
    for function, least in ((forward_differences, 2), (gradient, 2), (interior, 3)):
        with pytest.raises(ValueError, match=rf"at least {least} points.*\(1, 2, 5, 1\)"):
            function(torch.zeros(1, 2, 5, 1))
    for spacing in [(1.0,), (1.0, 0.0), (1.0, -1.0), (1.0, 1.0, 1.0), (1.0, float("inf")), (1.0, float("nan"))]:
        with pytest.raises(ValueError, match="2 positive numbers"):
            forward_differences(torch.zeros(1, 2, 5, 5), spacing)
