"""Similarities by hand, and as losses of images in any range."""

import math

import pytest
import torch
from monai.losses.image_dissimilarity import GlobalMutualInformationLoss

from smoothmorph.networks import (
    SIMILARITIES,
    CharbonnierLoss,
    GradientMSELoss,
    LinearElasticityPenalty,
    LocalNCCLoss,
    MutualInformationLoss,
)


@pytest.fixture(params=[2, 3])
def images(request):
    draw = torch.Generator().manual_seed(0)
    return tuple(torch.rand(2, 1, *[12] * request.param, generator=draw) for _ in range(2))


@pytest.mark.parametrize("loss", [CharbonnierLoss(), GradientMSELoss(), LocalNCCLoss(2), LocalNCCLoss(3)])
def test_images_of_other_shapes_are_refused(images, loss):
    warped, fixed = images
    axes = warped.ndim - 2
    if isinstance(loss, LocalNCCLoss) and loss.spatial_dims != axes:
        with pytest.raises(ValueError, match=rf"with {loss.spatial_dims} spatial axes, got \(2, 1, 12"):
            loss(warped, fixed)
    else:
        with pytest.raises(ValueError, match=r"the images must have one shape \(B, C, \*spatial\).*got \(2, 1, 12"):
            loss(warped, fixed[..., :1])


def test_an_even_window_is_refused_at_once():
    with pytest.raises(ValueError, match="the side length of a window must be odd, found 4"):
        LocalNCCLoss(2, window=4)


def test_losses_show_their_arguments():
    shown = [repr(loss) for loss in (LocalNCCLoss(2, window=5), CharbonnierLoss(0.5), GradientMSELoss("none"))]
    assert shown == [
        "LocalNCCLoss(spatial_dims=2, window=5, reduction='mean')",
        "CharbonnierLoss(epsilon=0.5, reduction='mean')",
        "GradientMSELoss(reduction='none')",
    ]
    assert "mu=3.0" in repr(LinearElasticityPenalty(mu=3.0))


def test_the_charbonnier_loss_by_hand():
    # sqrt(0.03² + 0.04²) - 0.04 = 0.01, and 0 where the images are equal: the mean of both
    warped = torch.tensor([0.03, 0.0]).view(1, 1, 1, 2)
    assert float(CharbonnierLoss(0.04)(warped, 0 * warped)) == pytest.approx(0.005)
    far = torch.full((1, 1, 4, 4), 100.0)
    assert float(CharbonnierLoss()(far, 0 * far)) == pytest.approx(100, rel=1e-3)


def test_mutual_information_is_monais_on_images_from_0_to_1(images):
    for image in images:
        image.flatten(1)[:, :2] = torch.tensor([0.0, 1.0])
    torch.testing.assert_close(MutualInformationLoss()(*images), GlobalMutualInformationLoss()(*images))


def test_mutual_information_is_that_of_any_units(images):
    warped, fixed = images
    expected = MutualInformationLoss()(warped, fixed)
    torch.testing.assert_close(MutualInformationLoss()(100 * warped - 30, 0.1 * fixed + 7), expected, rtol=1e-3, atol=0)


def test_mutual_information_sees_through_a_contrast_that_is_turned_around(images):
    image, other = images
    same, inverted, foreign = (float(MutualInformationLoss()(each, image)) for each in (image, 1 - image, other))
    assert inverted == pytest.approx(same, rel=0.01)
    assert same < foreign - 1
    assert math.log(23) > -same > 0


@pytest.mark.parametrize("name", SIMILARITIES)
def test_a_blank_image_gives_a_number_and_a_gradient(images, name):
    warped = images[0].clone().requires_grad_()
    loss = SIMILARITIES[name](warped.ndim - 2)(warped, torch.zeros_like(warped))
    (gradient,) = torch.autograd.grad(loss, warped)
    assert torch.isfinite(loss)
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("loss", [CharbonnierLoss, GradientMSELoss, MutualInformationLoss])
def test_reductions(images, loss):
    each = loss(reduction="none")(*images)
    assert each.shape == (2,)
    torch.testing.assert_close(loss()(*images), each.mean())
    torch.testing.assert_close(loss(reduction="sum")(*images), each.sum())
