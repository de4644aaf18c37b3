"""The pyramid: its grids, its start, its symmetry, its gradients, and its local correlation."""

import pytest
import torch

from smoothmorph.networks.backbones.pyramid import Pyramid, correlation

SHAPES = {2: [(32, 48), (31, 45), (6, 7)], 3: [(12, 16, 12), (11, 14, 9), (6, 7, 6)]}
CASES = [(dims, shape) for dims, shapes in SHAPES.items() for shape in shapes]
SMALL = (4, 6, 8, 8)


def images(shape, batch=1):
    """Two smooth random images (B, 1, *shape), 0 to 1."""
    noise = torch.rand(2 * batch, 1, *[4] * len(shape), generator=torch.Generator().manual_seed(0))
    mode = "bilinear" if len(shape) == 2 else "trilinear"
    return torch.nn.functional.interpolate(noise, size=shape, mode=mode, align_corners=True).chunk(2)


def pyramid(dims, moving=False, seed=0, **settings):
    """A small network; ``moving`` gives it flows of about a voxel instead of the identity it starts from."""
    torch.manual_seed(seed)
    network = Pyramid(dims, SMALL, **settings)
    for level in network.levels if moving else ():
        torch.nn.init.normal_(level.flow.conv.weight, std=10.0)
    return network.eval()


@pytest.mark.parametrize(("dims", "shape"), CASES)
@pytest.mark.parametrize("symmetric", [False, True])
def test_the_velocity_has_half_the_voxels_of_any_size(dims, shape, symmetric):
    network = pyramid(dims, moving=True, symmetric=symmetric)
    velocity = network(*images(shape, batch=2))
    assert velocity.shape == (2, dims, *(length // 2 for length in shape))
    assert velocity.dtype == torch.float32
    assert float(velocity.detach().abs().max()) > 1e-2


@pytest.mark.parametrize(("dims", "shape"), CASES)
def test_a_displacement_model_works_on_the_whole_grid(dims, shape):
    network = pyramid(dims, moving=True, integration_steps=0, downsize=1)
    assert network(*images(shape)).shape == (1, dims, *shape)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("settings", [{}, {"symmetric": True}, {"repeats": 2, "residual": True, "convolutions": 3}])
def test_it_starts_at_the_identity(dims, settings):
    velocity = pyramid(dims, **settings)(*images(SHAPES[dims][0]))
    assert 0 < float(velocity.detach().abs().max()) < 1e-3


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("settings", [{}, {"symmetric": True}, {"integration_steps": 0, "downsize": 1}])
def test_the_gradient_reaches_every_parameter(dims, settings):
    moving, fixed = images(SHAPES[dims][0])
    # With seed 0 and in 3-D, the last activations all have one sign: of a symmetric network their bias then cancels.
    network = pyramid(dims, moving=True, seed=4, **settings)
    network(moving, fixed).square().sum().backward()
    without = [name for name, weight in network.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert without == []


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("repeats", [1, 2])
def test_exchanged_images_give_the_opposite_velocity(dims, repeats):
    moving, fixed = images(SHAPES[dims][1])
    network = pyramid(dims, moving=True, symmetric=True, repeats=repeats).double()
    with torch.no_grad():
        there, back = network(moving.double(), fixed.double()), network(fixed.double(), moving.double())
    assert float(there.abs().max()) > 0.05
    torch.testing.assert_close(back, -there, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dims", [2, 3])
def test_an_image_needs_no_registration_to_itself_when_symmetric(dims):
    image, _ = images(SHAPES[dims][0])
    velocity = pyramid(dims, moving=True, symmetric=True)(image, image)
    torch.testing.assert_close(velocity, torch.zeros_like(velocity))


def test_a_seed_decides_the_weights():
    first, second = pyramid(2).state_dict(), pyramid(2).state_dict()
    assert first.keys() == second.keys()
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_its_configuration_makes_it_again():
    network = pyramid(2, symmetric=True, radius=2, repeats=2)
    again = Pyramid(**network.config)
    again.load_state_dict(network.state_dict())
    pair = images((20, 24))
    assert torch.equal(again(*pair), network(*pair))


def test_the_correlation_of_one_bright_voxel_is_where_its_partner_is():
    first, second = torch.zeros(2, 1, 2, 5, 5).unbind()
    first[0, :, 2, 2] = torch.tensor([1.0, 2.0])
    second[0, :, 3, 2] = torch.tensor([3.0, 4.0])  # one voxel further along the first axis
    found = correlation(first, second, radius=1)
    assert found.shape == (1, 9, 5, 5)
    assert found[0, :, 2, 2].tolist() == [0, 0, 0, 0, 0, 0, 0, 5.5, 0]  # (1·3 + 2·4) / 2 at the offset (1, 0)
    assert float(found.sum()) == 5.5


def test_the_correlation_without_a_radius_compares_in_place():
    first, second = torch.rand(2, 1, 3, 4, 5, 6).unbind()
    torch.testing.assert_close(correlation(first, second, radius=0), (first * second).mean(1, keepdim=True))


@pytest.mark.parametrize("grid", [(4, 5), (3, 4, 3)])
@pytest.mark.parametrize("radius", [0, 1, 2])
def test_the_gradient_of_the_correlation_is_its_derivative(grid, radius):
    first, second = torch.rand(2, 1, 2, *grid, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).unbind()
    pair = first.requires_grad_(), second.requires_grad_()
    assert torch.autograd.gradcheck(lambda *features: correlation(*features, radius), pair, fast_mode=True)


@pytest.mark.parametrize(
    "wrong",
    [{"spatial_dims": 4}, {"channels": (8,)}, {"channels": (8, 0)}, {"radius": 5}, {"convolutions": 0}, {"repeats": 0}],
)
def test_what_cannot_be_built_is_refused(wrong):
    with pytest.raises(ValueError, match="must be a whole number from"):
        Pyramid(**{"spatial_dims": 2, **wrong})


def test_images_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="2-D pyramid takes moving and fixed images of the same shape"):
        pyramid(2)(torch.rand(1, 1, 8, 8), torch.rand(1, 1, 8, 9))
