"""Parity with official VoxelMorph (PyPI voxelmorph 0.2, PyTorch backend), against the real package."""

import numpy as np
import pytest
import torch

from official_voxelmorph import import_voxelmorph, official_network
from smoothmorph.networks import Objective, VoxelMorph, from_official, load_official, to_official
from smoothmorph.transforms import InputError, jacobian_determinant, resize_displacement

vxm = import_voxelmorph()

SHAPES = {2: (48, 32), 3: (32, 16, 48)}
CASES = [(dims, steps, downsize) for dims in (2, 3) for steps in (0, 7) for downsize in (1, 2)]


def official(shape, steps, downsize):
    """An official VxmDense whose random field, of some voxels, is large enough to test warping."""
    torch.manual_seed(len(shape) + steps + downsize)
    network = official_network(shape, steps, downsize)
    torch.nn.init.normal_(network.flow.weight, std=1.0)
    torch.nn.init.normal_(network.flow.bias, std=1.0)
    return network


def relative(ours, theirs):
    return float((ours - theirs).detach().abs().max() / theirs.detach().abs().max().clamp_min(1e-12))


def official_penalty(velocity):
    """vxm.losses.Grad('l2') per axis, for 2-D and 3-D; the code in version 0.2 is for 3-D only."""
    if velocity.ndim == 5:
        return vxm.losses.Grad("l2", loss_mult=2).loss(None, velocity)
    return 2 * sum(velocity.diff(dim=axis).square().mean() for axis in (2, 3)) / 2


# A rounding error that flips an activation's sign, or moves a point across a voxel's edge, changes a gradient much more
# than by itself: official float32 gradients differ from double precision by up to 3e-3. Which images have such a case
# depends on the CPU: with AVX-512 these have none, with AVX2 a gradient differs by 7e-5.
@pytest.mark.parametrize(
    ("dtype", "tolerance", "of_gradients"), [(torch.float32, 1e-5, 3e-3), (torch.float64, 1e-10, 1e-10)]
)
@pytest.mark.parametrize(("dims", "steps", "downsize"), CASES)
def test_outputs_loss_and_gradients_agree(dims, steps, downsize, dtype, tolerance, of_gradients):
    theirs = official(SHAPES[dims], steps, downsize)
    ours = from_official(theirs.state_dict(), integration_steps=steps, integration_downsize=downsize).to(dtype)
    theirs = theirs.to(dtype)
    generator = torch.Generator().manual_seed(12)
    moving, fixed = torch.rand(2, 2, 1, *SHAPES[dims], generator=generator).to(dtype)

    warped, velocity = theirs(moving, fixed)
    _, displacement = theirs(moving, fixed, registration=True)
    their_loss = vxm.losses.MSE().loss(fixed, warped) + 0.01 * official_penalty(velocity)
    their_loss.backward()

    registration = ours(moving, fixed)
    terms = Objective(dims, "mse", "l2", weight=0.01, multiplier=2.0)(registration, fixed)
    terms.loss.backward()

    assert float(displacement.detach().abs().mean()) > 0.3  # in voxels, so the compared fields are not 0
    assert relative(registration.warped, warped) < tolerance
    assert relative(registration.displacement, displacement) < tolerance
    assert relative(registration.velocity, velocity) < tolerance
    assert relative(terms.loss, their_loss) < tolerance
    gradients = to_official(_gradients_as_weights(ours))
    for name, parameter in theirs.named_parameters():
        assert relative(gradients[name], parameter.grad) < of_gradients, name


def _gradients_as_weights(model):
    """A copy of the network with its gradients as weights, so that they can be converted like weights."""
    copy = VoxelMorph(**model.config).to(next(model.parameters()).dtype)
    copy.load_state_dict({name: parameter.grad for name, parameter in model.named_parameters()})
    return copy


@pytest.mark.parametrize(("dims", "parameters"), [(2, 109_170), (3, 327_331)])
def test_weights_convert_both_ways(dims, parameters, tmp_path):
    theirs = official(SHAPES[dims], 7, 2)
    ours = from_official(theirs.state_dict())
    assert sum(parameter.numel() for parameter in ours.parameters()) == parameters
    back = to_official(ours)
    for name, parameter in theirs.named_parameters():
        assert torch.equal(back[name], parameter), name
    theirs.load_state_dict(back, strict=False)

    theirs.save(tmp_path / "official.pt")
    loaded = load_official(tmp_path / "official.pt")
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), ours.parameters(), strict=True))


def test_flow_starts_as_official():
    torch.manual_seed(0)
    flow = VoxelMorph(3).unet.net[1].final_conv_out.conv
    assert 0.5e-5 < float(flow.weight.detach().std()) < 2e-5
    assert float(flow.bias.detach().abs().max()) == 0


def test_other_weights_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"flow\.weight"):
        from_official({})
    state = official((32, 32), 7, 2).state_dict()
    state["unet_model.encoder.0.0.main.weight"] = torch.zeros(8, 2, 3, 3)
    with pytest.raises(InputError, match=r"encoder\.0"):
        from_official(state)
    (tmp_path / "broken.pt").write_bytes(b"not weights")
    with pytest.raises(InputError, match=r"broken\.pt"):
        load_official(tmp_path / "broken.pt")


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_resizing_equals_resize_transform(dims, factor):
    field = torch.randn(1, dims, *SHAPES[dims], generator=torch.Generator().manual_seed(1))
    theirs = vxm.layers.ResizeTransform(1 / factor, dims)(field)
    size = [int(length * factor) for length in SHAPES[dims]]
    assert relative(resize_displacement(field, size, factor), theirs) < 1e-6


@pytest.mark.parametrize("dims", [2, 3])
def test_jacobian_determinant_equals_official(dims):
    field = torch.randn(1, dims, *SHAPES[dims], generator=torch.Generator().manual_seed(2))
    theirs = vxm.py.utils.jacobian_determinant(np.moveaxis(field[0].numpy(), 0, -1))
    np.testing.assert_allclose(jacobian_determinant(field)[0].numpy(), theirs, rtol=1e-4, atol=1e-4)
