"""The subclasses of MONAI's blocks: the same numbers where MONAI's are correct, and correct where they are not."""

import pytest
import torch
from monai.networks.blocks import warp as monai_blocks

from smoothmorph.networks import DVF2DDF, VoxelMorph, Warp
from smoothmorph.transforms import random_velocity

SHAPES = {2: (20, 24), 3: (12, 14, 10)}
pytestmark = pytest.mark.filterwarnings("ignore:monai.networks.blocks.Warp")


def images_and_field(dims, dtype=torch.float32):
    generator = torch.Generator().manual_seed(dims)
    images = torch.rand(2, 3, *SHAPES[dims], generator=generator)
    field = torch.cat([random_velocity(SHAPES[dims], generator, 3.0, 2.0) for _ in range(2)])
    return images.to(dtype), field.to(dtype)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
@pytest.mark.parametrize("padding_mode", ["zeros", "border"])
def test_warp_is_monais(dims, mode, padding_mode):
    images, field = images_and_field(dims, torch.float64)
    expected = monai_blocks.Warp(mode, padding_mode)(images, field)
    torch.testing.assert_close(Warp(mode, padding_mode)(images, field), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("padding_mode", ["zeros", "border"])
def test_integration_is_monais(dims, padding_mode):
    _, velocity = images_and_field(dims, torch.float64)
    expected = monai_blocks.DVF2DDF(7, padding_mode=padding_mode)(velocity)
    torch.testing.assert_close(DVF2DDF(7, padding_mode=padding_mode)(velocity), expected, rtol=0, atol=1e-6)


def test_defaults_are_monais():
    assert (Warp().padding_mode, DVF2DDF().warp_layer.padding_mode, DVF2DDF().num_steps) == ("border", "zeros", 7)
    assert isinstance(Warp(), monai_blocks.Warp)
    assert isinstance(DVF2DDF(), monai_blocks.DVF2DDF)


def test_a_field_in_bfloat16_keeps_the_voxels_coordinates():
    """A shift by 1 voxel in an axis of 300: MONAI's grid would round coordinates above 256 to even numbers."""
    image = torch.arange(300.0).view(1, 1, 300, 1).expand(1, 1, 300, 2)
    shift = torch.zeros(1, 2, 300, 2, dtype=torch.bfloat16)
    shift[:, 0] = 1
    torch.testing.assert_close(Warp()(image, shift)[0, 0, :299, 0], torch.arange(1.0, 300.0), rtol=0, atol=1e-3)


def test_the_network_holds_them_and_their_weights_are_none():
    network = VoxelMorph(2, padding_mode="border")
    assert isinstance(network.warp, Warp)
    assert network.warp.padding_mode == "border"
    assert network.integrate.num_steps == 7
    assert VoxelMorph(2, integration_steps=0).integrate is None
    assert not [name for name in network.state_dict() if not name.startswith("unet.")]


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Warp("bicubic"), "bicubic"),
        (lambda: Warp(padding_mode="reflection"), "reflection"),
        (lambda: DVF2DDF(0), "num_steps"),
        (lambda: DVF2DDF(mode="nearest"), "nearest"),
    ],
)
def test_what_they_do_not_have_is_refused(make, told):
    with pytest.raises(ValueError, match=told):
        make()
