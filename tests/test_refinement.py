import pytest
import torch

from smoothmorph.networks import Objective, VoxelMorph, refine


def ball(shape, shift):
    grid = torch.stack(torch.meshgrid(*[torch.arange(length) * 1.0 for length in shape], indexing="ij"))
    centre = torch.tensor(shape).reshape(-1, *[1] * len(shape)) / 2
    centre = centre + torch.tensor([shift, *[0.0] * (len(shape) - 1)]).reshape(centre.shape)
    return torch.sigmoid(shape[0] / 4 - (grid - centre).norm(dim=0))[None, None]


@pytest.fixture(params=[(2, 0), (2, 7), (3, 0), (3, 7)], ids=lambda p: f"{p[0]}-D, {p[1]} squarings")
def pair(request):
    dims, squarings = request.param
    torch.manual_seed(0)
    shape = (24,) * dims
    return VoxelMorph(dims, squarings), Objective(dims, weight=0.001), ball(shape, 1.5), ball(shape, -1.5)


def test_without_a_step_it_is_the_networks_registration(pair):
    network, objective, moving, fixed = pair
    found = refine(network, objective, moving, fixed, steps=0)
    with torch.no_grad():
        expected = network(moving, fixed)
    assert found.gained == 0
    for name in ("warped", "displacement", "velocity"):
        torch.testing.assert_close(getattr(found.registration, name), getattr(expected, name))


def test_it_registers_from_an_untrained_network(pair):
    network, objective, moving, fixed = pair
    steps = []
    found = refine(network, objective, moving, fixed, steps=60, report=lambda *state: steps.append(state[:2]))
    assert steps == [(done, 60) for done in range(61)]
    assert not found.registration.displacement.requires_grad
    assert found.losses[0] - found.gained == pytest.approx(min(found.losses))
    assert min(found.losses) < 0.3 * found.losses[0]
    loss = float(objective(found.registration, fixed).loss)
    assert loss == pytest.approx(min(found.losses), rel=1e-5)
    inside = (fixed[0, 0] > 0.9) & (fixed[0, 0] < 0.999)
    assert float(found.registration.displacement[0, 0][inside].median()) > 1  # from -1.5 back to +1.5: about 3
    assert all(parameter.grad is None for parameter in network.parameters())


def test_it_never_returns_something_worse(pair):
    network, objective, moving, fixed = pair
    found = refine(network, objective, moving, fixed, steps=5, learning_rate=50.0)
    assert min(found.losses) == float(objective(found.registration, fixed).loss) <= found.losses[0]
