"""The pyramid: grids, initial field, symmetry, gradients and local correlation."""

import itertools

import pytest
import torch

from smoothmorph.networks import (
    BACKBONES,
    DisplacementNetwork,
    Integration,
    Objective,
    VoxelMorph,
    export_program,
    export_torchscript,
    load_model,
    refine,
    save_model,
    save_official,
)
from smoothmorph.networks.backbones.correlation import correlation
from smoothmorph.networks.backbones.pyramid import Pyramid
from smoothmorph.networks.backbones.pyramid_level import SLOPE, Level
from smoothmorph.pipeline.settings.schema import ModelSettings, TrialSettings, parse
from smoothmorph.transforms import InputError
from smoothmorph.transforms.basics.options import names

SHAPES = {2: [(32, 48), (31, 45), (6, 7)], 3: [(12, 16, 12), (11, 14, 9), (6, 7, 6)]}
CASES = [(dims, shape) for dims, shapes in SHAPES.items() for shape in shapes]
SMALL = (4, 6, 8, 8)
DISPLACEMENT = Integration(0, 2, "border")


def images(shape, batch=1):
    """Two smooth random images (B, 1, *shape), 0 to 1."""
    noise = torch.rand(2 * batch, 1, *[4] * len(shape), generator=torch.Generator().manual_seed(0))
    mode = "bilinear" if len(shape) == 2 else "trilinear"
    return torch.nn.functional.interpolate(noise, size=shape, mode=mode, align_corners=True).chunk(2)


def pyramid(dims, moving=False, seed=0, **settings):
    """A small network; ``moving`` gives it fields of about a voxel instead of the initial identity."""
    torch.manual_seed(seed)
    network = Pyramid(dims, **{"channels": SMALL, "symmetric": False, "repeats": 1, **settings})
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
    network = pyramid(dims, moving=True, integration=DISPLACEMENT)
    assert network(*images(shape)).shape == (1, dims, *shape)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("settings", [{}, {"symmetric": True}, {"repeats": 2, "residual": True, "convolutions": 3}])
def test_it_starts_at_the_identity(dims, settings):
    velocity = pyramid(dims, **settings)(*images(SHAPES[dims][0]))
    assert 0 < float(velocity.detach().abs().max()) < 1e-3


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("settings", [{}, {"symmetric": True}, {"integration": DISPLACEMENT}])
def test_the_gradient_reaches_every_parameter(dims, settings):
    moving, fixed = images(SHAPES[dims][0])
    # With seed 0 in 3-D, all last activations have one sign, so that their bias cancels in a symmetric network.
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


def test_its_options_make_it_again():
    network = pyramid(2, symmetric=True, radius=2, repeats=2)
    again = Pyramid(2, **network.options)
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
@pytest.mark.parametrize("both", [False, True])
def test_the_gradient_of_the_correlation_is_its_derivative(grid, radius, both):
    first, second = torch.rand(2, 1, 2, *grid, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).unbind()
    pair = first.requires_grad_(), second.requires_grad_()
    assert torch.autograd.gradcheck(lambda *features: correlation(*features, radius, both), pair, fast_mode=True)


@pytest.mark.parametrize("grid", [(5, 19), (4, 3, 9)])
@pytest.mark.parametrize("radius", [0, 1, 2])
def test_the_correlation_is_the_mean_product_at_every_offset(grid, radius):
    first, second = torch.rand(2, 2, 3, *grid, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    padded = torch.nn.functional.pad(second, [radius] * 2 * len(grid))
    expected = []
    for offsets in itertools.product(range(2 * radius + 1), repeat=len(grid)):
        there = padded[(..., *(slice(start, start + length) for start, length in zip(offsets, grid, strict=True)))]
        expected.append((first * there).mean(1))
    torch.testing.assert_close(correlation(first, second, radius), torch.stack(expected, dim=1))


@pytest.mark.parametrize("grid", [(5, 19), (4, 3, 9)])
def test_the_correlation_in_both_orders_is_that_of_each(grid):
    first, second = torch.rand(2, 2, 3, *grid, generator=torch.Generator().manual_seed(0))
    each = torch.cat([correlation(first, second, 1), correlation(second, first, 1)])
    torch.testing.assert_close(correlation(first, second, 1, both=True), each)


@pytest.mark.parametrize("grid", [(5, 19), (4, 3, 9)])
def test_the_correlation_of_a_large_grid_is_computed_in_slabs(grid, monkeypatch):
    def computed():
        pair = [features.clone().requires_grad_() for features in made]
        found = correlation(*pair, 1, both=True)
        return found, *torch.autograd.grad(found.square().sum(), pair)

    made = torch.rand(2, 1, 3, *grid, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    whole, slabs = computed(), []
    monkeypatch.setattr("smoothmorph.networks.backbones.correlation.SLAB_NUMBERS", 300)
    bmm = torch.bmm
    monkeypatch.setattr(torch, "bmm", lambda *factors: slabs.append(1) or bmm(*factors))
    for ours, theirs in zip(computed(), whole, strict=True):
        torch.testing.assert_close(ours, theirs)
    assert len(slabs) > 6


@pytest.mark.parametrize("dims", [2, 3])
def test_sums_and_differences_are_the_convolution_of_both_orders(dims):
    torch.manual_seed(0)
    level = Level(dims, 4, 0, symmetric=True, radius=1, convolutions=1, residual=False).double()
    torch.nn.init.normal_(level.flow.conv.weight)
    there, back = torch.rand(2, 1, 4, *(5, 6, 7)[:dims]).double()
    lacking, hidden = level(level.kernels(), there, back, None)
    parts = [torch.cat([one, other, correlation(one, other, 1)], 1) for one, other in ((there, back), (back, there))]
    expected = torch.nn.functional.leaky_relu(level.first(torch.cat(parts)), SLOPE)
    torch.testing.assert_close(hidden, expected)
    forward, backward = level.flow(expected).chunk(2)
    torch.testing.assert_close(lacking, forward - backward)


@pytest.mark.parametrize("shape", [(24, 20), (8, 20, 24), (6, 7, 6)])
def test_bfloat16_changes_the_gradients_little(shape):
    """In 3-D on coarse grids of one and two voxels, too, where a library reads memory that was never written."""
    pair, gradients = images(shape), []
    for enabled in (False, True):
        network = pyramid(len(shape), moving=True, repeats=2)  # symmetric, small differences would be left of it
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            velocity = network(*pair)
        assert velocity.dtype == torch.float32
        velocity.square().mean().backward()
        gradients.append(torch.cat([weight.grad.flatten() for weight in network.parameters()]))
    assert float((gradients[1] - gradients[0]).norm()) < 0.1 * float(gradients[0].norm())


WRONG = {
    "channels": [(8,), (8, 0), (8,) * 10, 8, (8, 2.5)],
    "radius": [-1, 5, True],
    "convolutions": [0, 17],
    "repeats": [0, "3"],
    "symmetric": [1, None],
    "residual": ["yes"],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_what_cannot_be_built_is_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} must be "):
        Pyramid(2, **{name: value})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"channels": [8]}, "model.channels must be 2 to 9 whole numbers from 1 to 1024, one per level, got (8,)"),
        ({"radius": 9}, "model.radius = 9: Input should be less than or equal to 4"),
        (
            {"final_channels": [8]},
            "model.final_channels is (8,), but the backbone pyramid has no such option; remove it",
        ),
        (
            {"backbone": "voxelmorph", "repeats": 2},
            "model.repeats is 2, but the backbone voxelmorph has no such option; remove it",
        ),
        ({"backbone": "pyramide"}, "there is no backbone 'pyramide'; did you mean pyramid?"),
    ],
)
def test_what_a_study_cannot_mean_is_one_sentence(options, words):
    with pytest.raises(InputError) as told:
        parse(TrialSettings, {"model": {"backbone": "pyramid", **options}}, "test")
    assert words in str(told.value)


def test_the_settings_tell_the_defaults_of_the_network():
    own = Pyramid(2).options
    entry = BACKBONES["pyramid"]
    assert set(own) == set(names(entry.options))
    for name in own.keys() - {"channels"}:
        told = str(ModelSettings.options_model().model_fields[name].description)
        assert told.endswith(f"null: {str(own[name]).lower()}")


def test_images_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="2-D Pyramid takes moving and fixed images of the same shape"):
        pyramid(2)(torch.rand(1, 1, 8, 8), torch.rand(1, 1, 8, 9))


def network(dims, steps=7, downsize=2, **options):
    """A registration network whose pyramid moves images by about a voxel."""
    options = {"channels": SMALL, **options}
    made = VoxelMorph(dims, steps, downsize, "border", backbone="pyramid", **options)
    torch.manual_seed(0)
    for level in made.field.levels:
        torch.nn.init.normal_(level.flow.conv.weight, std=10.0)
    return made.eval()


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize(("steps", "downsize"), [(7, 2), (7, 1), (0, 2)])
def test_a_saved_network_is_the_same_again(dims, steps, downsize, tmp_path):
    moving, fixed = images(SHAPES[dims][1])
    made = network(dims, steps, downsize, radius=0, repeats=2)
    found = made(moving, fixed)
    factor = downsize if steps else 1
    assert found.velocity.shape[2:] == tuple(length // factor for length in moving.shape[2:])
    assert found.displacement.shape[2:] == moving.shape[2:]
    save_model(tmp_path / "pyramid.safetensors", made)
    again = load_model(tmp_path / "pyramid.safetensors")
    assert again.config == made.config
    assert again.config["radius"] == 0
    assert torch.equal(again(moving, fixed).displacement, found.displacement)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("steps", [0, 7])
@pytest.mark.parametrize("symmetric", [True, False])
def test_both_directions_at_once_are_the_registrations_of_each(dims, steps, symmetric):
    moving, fixed = (image.double() for image in images(SHAPES[dims][1], batch=2))
    made = network(dims, steps, symmetric=symmetric).double()
    passes = []
    made.field.register_forward_hook(lambda module, given, field: passes.append(len(given[0])))
    with torch.no_grad():
        both, there, back = made.register_both(moving, fixed), made(moving, fixed), made(fixed, moving)
    assert passes == [2 if symmetric else 4, 2, 2]
    assert float(there.displacement.abs().max()) > 0.05
    for name in ("warped", "displacement", "velocity"):
        expected = torch.cat([getattr(there, name), getattr(back, name)])
        torch.testing.assert_close(getattr(both, name), expected, rtol=0, atol=1e-10, msg=name)


@pytest.mark.parametrize("dims", [2, 3])
def test_it_becomes_a_graph_that_runs_alone(dims):
    made, shape = network(dims, steps=1, channels=(3, 4), repeats=2), SHAPES[dims][1]
    pair = torch.cat(images(shape), dim=1)
    with torch.no_grad():
        expected = DisplacementNetwork(made)(pair)
        for exported in (export_program(made, shape).module(), export_torchscript(made, shape)):
            torch.testing.assert_close(exported(pair), expected)
        with pytest.raises((ValueError, RuntimeError, AssertionError)):
            export_torchscript(made, shape)(torch.cat([pair, pair]))


@pytest.mark.parametrize("dims", [2, 3])
def test_its_field_is_refined(dims):
    moving, fixed = images(SHAPES[dims][0])
    made = network(dims)
    refined = refine(made, Objective(dims), moving, fixed, steps=5)
    assert refined.losses[-1] < refined.losses[0]
    assert refined.registration.velocity.shape == made(moving, fixed).velocity.shape


def test_official_voxelmorph_has_no_such_backbone(tmp_path):
    with pytest.raises(InputError, match="has the backbone pyramid"):
        save_official(tmp_path / "x.pt", network(2), (16, 16))
