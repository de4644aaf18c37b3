import numpy as np
import pytest
import torch
import torch.nn.functional as F
from monai.data.meta_tensor import MetaTensor
from monai.transforms.compose import Compose
from monai.transforms.utility.dictionary import CopyItemsd

from smoothmorph.networks import Objective, RefineRegistration, RefineRegistrationd, VoxelMorph, refine
from smoothmorph.transforms import InputError, JacobianDeterminantd, compose, jacobian_determinant


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
    found = refine(network, objective, moving, fixed, steps=5)
    assert min(found.losses) == float(objective(found.registration, fixed).loss) <= found.losses[0]


def test_the_transform_goes_on_from_a_networks_field_as_refine_does(pair):
    network, objective, moving, fixed = pair
    with torch.no_grad():
        start = network(moving, fixed).velocity[0]
    options = {"weight": 0.001, "steps": 20, "integration_steps": network.integration_steps}
    found = RefineRegistration(**options)(moving[0], fixed[0], start)
    expected = refine(network, objective, moving, fixed, steps=20).registration
    for name in ("warped", "displacement", "velocity"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name)[0], rtol=0, atol=1e-4)


@pytest.mark.parametrize("dims", [2, 3])
@torch.no_grad()
def test_the_dictionary_transform_refines_in_place_and_keeps_the_place_of_the_fixed_image(dims):
    shape, affine = (24,) * dims, torch.diag(torch.tensor([2.0, 2, 2, 1]))
    moving, fixed = ball(shape, 1.5)[0], MetaTensor(ball(shape, -1.5)[0], affine=affine, meta={"of": "fixed"})
    sample = {"moving": moving, "fixed": fixed, "displacement": np.zeros((dims, *shape), np.float32), "id": "a"}
    refined = RefineRegistrationd(steps=60, weight=0.001, velocity_key="velocity")
    found = Compose([CopyItemsd("moving", names="before"), refined, JacobianDeterminantd("displacement", "det")])(
        sample
    )
    before, after = (float((found[key] - fixed).square().mean()) for key in ("before", "warped"))
    assert after < 0.3 * before
    assert torch.equal(found["displacement"], found["velocity"])  # without integration
    assert torch.equal(found["displacement"].affine, affine.double())
    assert found["warped"].meta["of"] == "fixed"
    assert found["id"] == "a"
    assert not sample["displacement"].any()
    again = RefineRegistrationd(field_key=None, steps=60, weight=0.001)({"moving": moving, "fixed": fixed})
    assert torch.equal(again["displacement"], found["displacement"])


@pytest.mark.parametrize("dims", [2, 3])
def test_a_weight_map_keeps_one_half_still(dims):
    moving, fixed = ball((24,) * dims, 1.5)[0], ball((24,) * dims, -1.5)[0]
    still = torch.ones_like(fixed)
    still[:, :, : 24 // 2] = 1e4
    sample = {"moving": moving, "fixed": fixed, "still": still}
    found = RefineRegistrationd(weight=0.001, steps=40, weight_map_key="still")(sample)["displacement"]
    rough = [float(half.diff(dim=1).abs().mean()) for half in (found[:, :, :11], found[:, :, 13:])]
    assert rough[0] < 0.1 * rough[1]
    with pytest.raises(ValueError, match=r"the weight map .* is not on the grid of"):
        RefineRegistrationd(weight_map_key="still")(sample | {"still": still[:, 1:]})


@pytest.mark.parametrize("dims", [2, 3])
def test_the_transform_refines_both_directions_of_a_displacement(dims):
    moving, fixed = ball((24,) * dims, 1.5)[0], ball((24,) * dims, -1.5)[0]
    found = RefineRegistration(penalty="l2+inverse-consistency", weight=0.001, steps=60)(moving, fixed)
    assert found.displacement.shape == (dims, *[24] * dims)
    assert float((found.warped - fixed).square().mean()) < 0.3 * float((moving - fixed).square().mean())


def test_a_refined_velocity_does_not_fold_where_a_displacement_does():
    noise = torch.rand(2, 1, 5, 5, generator=torch.Generator().manual_seed(0))
    moving, fixed = F.interpolate(noise, (24, 24), mode="bicubic")
    folded = RefineRegistration(weight=3e-4, steps=60)(moving, fixed).displacement
    integrating = RefineRegistration(weight=3e-4, steps=60, integration_steps=7)
    smooth = integrating(moving, fixed, torch.zeros(2, 12, 12))
    assert smooth.velocity.shape == (2, 12, 12)
    assert smooth.displacement.shape == folded.shape == (2, 24, 24)
    least = [float(jacobian_determinant(field[None]).min()) for field in (folded, smooth.displacement)]
    assert least[0] < -1
    assert least[1] > 0


def test_what_does_not_belong_together_is_said_with_its_shapes():
    image = ball((24, 24), 0)[0]
    with pytest.raises(InputError, match=r"there is no penalty 'l3'; did you mean l[12]\?"):
        RefineRegistrationd(penalty="l3")
    with pytest.raises(ValueError, match=r"a shape of \[\(2, 24, 24\)\], got \(2, 12, 12\)"):
        RefineRegistration()(image, image, torch.zeros(2, 12, 12))
    with pytest.raises(ValueError, match=r"the same shape \(1, \*spatial\), got .* and \(1, 24, 20\)"):
        RefineRegistration()(image, image[..., :20])
    with pytest.raises(ValueError, match="two keys are needed, for the moving and the fixed image"):
        RefineRegistrationd(keys="moving")
    assert repr(RefineRegistration(steps=3)).startswith(
        "RefineRegistration(similarity='mse', penalty='l2', weight=0.01"
    )
    assert RefineRegistrationd(allow_missing_keys=True)({"moving": image}).keys() == {"moving"}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"steps": -1}, "steps must be 0 or more, got -1"),
        ({"integration_steps": 99}, "integration_steps must be a whole number from 0 to 16"),
        ({"padding_mode": "reflect"}, "padding_mode must be zeros or border"),
        ({"weight": -1.0}, "weight must be a number of 0 or more"),
        ({"acts_on": "nothing"}, "acts_on must be velocity or displacement"),
    ],
)
def test_a_bad_argument_is_refused_before_the_first_sample(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        RefineRegistration(**arguments)


def test_refinement_leaves_the_network_in_its_mode():
    network, pair = VoxelMorph(2).train(), (ball((16, 16), 1), ball((16, 16), 0))
    refine(network, Objective(2), *pair, 1)
    assert all(part.training for part in network.modules())
    refine(network.eval(), Objective(2), *pair, 1)
    assert not network.training
    with pytest.raises(ValueError, match="steps must be 0 or more, got -1"):
        refine(network, Objective(2), *pair, -1)
    with pytest.raises(ValueError, match=r"one pair of images .* got \(2, 1, 16, 16\), .*`optimize` takes several"):
        refine(network, Objective(2), *(torch.cat([image, image]) for image in pair), 1)


def test_both_directions_give_the_inverse_displacement_too():
    pair = ball((24, 24), 1)[0], ball((24, 24), -1)[0]
    found = RefineRegistration(penalty="l2+gradicon", weight=0.001, steps=20)(*pair)
    assert found.inverse_displacement is not None
    there, back = found.displacement[None], found.inverse_displacement[None]
    assert compose(there, back).abs().mean() < 0.2 * there.abs().mean()


@pytest.mark.parametrize("shapes", [((16, 16), (16, 16)), ((2, 16, 16), (2, 16, 16)), ((1, 16, 16), (1, 16, 15))])
def test_images_without_their_one_channel_are_refused(shapes):
    with pytest.raises(ValueError, match=r"moving and fixed must have the same shape \(1, \*spatial\), got"):
        RefineRegistration()(*(torch.zeros(shape) for shape in shapes))
