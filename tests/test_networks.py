"""The network's contract, the objective's terms, and model files."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.losses.image_dissimilarity import LocalNormalizedCrossCorrelationLoss
from monai.networks.nets.voxelmorph import VoxelMorphUNet
from safetensors.torch import save

from smoothmorph.networks import LocalNCCLoss, Objective, Registration, VoxelMorph, load_model, save_model
from smoothmorph.networks.backbones import unet
from smoothmorph.networks.backbones.convolution_kernels import make_kernels
from smoothmorph.networks.backbones.unet import UNet
from smoothmorph.networks.objective.window_sums import window_sums
from smoothmorph.transforms import InputError, compose, warp

SHAPES = {2: (32, 48), 3: (16, 32, 16)}
ODD_SHAPES = {2: (31, 45), 3: (15, 18, 21)}


@pytest.fixture(params=[2, 3])
def dims(request):
    return request.param


def moving_network(dims, **settings):
    """A network with a smooth random field of about a voxel instead of the initial identity."""
    torch.manual_seed(0)
    network = VoxelMorph(dims, **settings)
    torch.nn.init.normal_(network.unet.net[1].final_conv_out.conv.weight, std=0.3)
    return network.eval()


def images(shape, batch=1):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, batch, 1, *shape, generator=generator).unbind()


@pytest.mark.parametrize("steps", [0, 7])
@pytest.mark.parametrize("downsize", [1, 2])
@pytest.mark.parametrize("shapes", [SHAPES, ODD_SHAPES])
def test_named_parts_have_the_promised_shapes(dims, steps, downsize, shapes):
    shape = shapes[dims]
    network = moving_network(dims, integration_steps=steps, integration_downsize=downsize)
    moving, fixed = images(shape, batch=2)
    registration = network(moving, fixed)
    assert registration.warped.shape == moving.shape
    assert registration.displacement.shape == (2, dims, *shape)
    halved = tuple(length // 2 for length in shape)
    assert registration.velocity.shape == (2, dims, *(halved if steps and downsize == 2 else shape))
    assert registration.inverse_displacement is None
    torch.testing.assert_close(registration.warped, warp(moving, registration.displacement, padding_mode="zeros"))


def test_it_starts_at_the_identity(dims):
    torch.manual_seed(0)
    moving, fixed = images(SHAPES[dims])
    assert float(VoxelMorph(dims)(moving, fixed).displacement.detach().abs().max()) < 1e-3


def test_padding_does_not_shift_the_field(dims):
    # Away from the border, a size that needs padding gives the same field as images padded by hand.
    network = moving_network(dims, integration_steps=0)
    moving, fixed = images(SHAPES[dims])
    moving[..., -1:] = fixed[..., -1:] = 0
    odd = network(moving[..., :-1], fixed[..., :-1]).displacement
    assert torch.equal(odd, network(moving, fixed).displacement[..., :-1])


@pytest.mark.parametrize("steps", [0, 7])
def test_inverse_displacement_undoes_the_displacement(dims, steps):
    network = moving_network(dims, integration_steps=steps, padding_mode="border")
    torch.nn.init.normal_(network.unet.net[1].final_conv_out.conv.weight, std=0.05)
    moving, fixed = (torch.nn.functional.avg_pool2d(i, 9, 1, 4) if dims == 2 else i for i in images(SHAPES[dims]))
    registration = network(moving, fixed, inverse=True)
    residual = compose(registration.displacement, registration.inverse_displacement)
    inside = residual[(..., *[slice(4, -4)] * dims)]
    assert float(inside.detach().norm(dim=1).mean()) < 0.05 * float(
        registration.displacement.detach().norm(dim=1).mean()
    )


def test_shapes_that_do_not_fit_are_told():
    with pytest.raises(ValueError, match=r"2-D VoxelMorph.*\(1, 1, 16, 16, 16\)"):
        VoxelMorph(2)(*images((16, 16, 16)))
    with pytest.raises(ValueError, match=r"\(1, 1, 16, 32\)"):
        VoxelMorph(2)(torch.zeros(1, 1, 16, 16), torch.zeros(1, 1, 16, 32))
    with pytest.raises(ValueError, match="integration_downsize"):
        VoxelMorph(2, integration_downsize=3)


def test_coordinates_stay_in_float32_under_autocast(dims):
    network = moving_network(dims)
    moving, fixed = images(SHAPES[dims])
    with torch.autocast("cpu", torch.bfloat16):
        registration = network(moving, fixed)
    assert {part.dtype for part in registration[:3]} == {torch.float32}


def test_objective_is_the_sum_of_its_terms(dims):
    moving, fixed = images(SHAPES[dims])
    field = torch.zeros(1, dims, *SHAPES[dims])
    field[:, 0] = torch.arange(SHAPES[dims][0]).view(-1, *[1] * (dims - 1)) * 0.5
    registration = Registration(moving, torch.zeros_like(field), field)
    terms = Objective(dims, "mse", "l2", weight=0.1, multiplier=2.0)(registration, fixed)
    assert float(terms.similarity) == pytest.approx(float((moving - fixed).square().mean()))
    assert float(terms.penalty) == pytest.approx(0.25 / dims**2)
    assert float(terms.loss) == pytest.approx(float(terms.similarity) + 0.2 * 0.25 / dims**2)
    on_displacement = Objective(dims, "mse", "l2", weight=0.1, acts_on="displacement")(registration, fixed)
    assert float(on_displacement.penalty) == 0


def test_unknown_terms_are_told():
    with pytest.raises(ValueError, match="'l3'"):
        Objective(2, penalty="l3")


@pytest.mark.parametrize("window", [1, 3, 5, 9])
def test_sums_over_windows_by_hand(dims, window):
    image = torch.rand(2, 3, *[10] * dims, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    pool = torch.nn.functional.avg_pool2d if dims == 2 else torch.nn.functional.avg_pool3d
    expected = pool(image, window, 1, window // 2, divisor_override=1)
    torch.testing.assert_close(window_sums(image, window), expected)
    image.requires_grad_()
    assert torch.autograd.gradcheck(lambda field: window_sums(field, window), [image[:1, :1, :4, :4]])


def test_a_window_has_a_centre():
    with pytest.raises(ValueError, match="odd, found 4"):
        window_sums(torch.zeros(1, 1, 8, 8), 4)


class TestLocalNCC:
    @pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
    def test_it_is_monais_loss(self, dims, reduction):
        """With the fixed image's range 0 to 1, to which ours scales; in single precision."""
        image, other = images([24] * dims)
        image = (image - image.min()) / (image.max() - image.min())
        pair = ((image + other).requires_grad_(), image)
        values = [
            loss(dims, 9, reduction=reduction)(*pair) for loss in (LocalNCCLoss, LocalNormalizedCrossCorrelationLoss)
        ]
        torch.testing.assert_close(*values, rtol=1e-5, atol=1e-6)
        gradients = [torch.autograd.grad(value.sum(), pair[0])[0] for value in values]
        torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-5 * float(gradients[0].abs().max()))

    def test_a_linear_relation_is_perfect(self, dims):
        image = torch.rand(1, 1, *[24] * dims, generator=torch.Generator().manual_seed(0))
        assert float(LocalNCCLoss(dims)(0.3 * image, image)) == pytest.approx(-1, abs=1e-3)

    def test_noise_is_unrelated(self, dims):
        # both images are 0 beyond the border, which makes them slightly similar there
        assert -0.25 < float(LocalNCCLoss(dims)(*images([24] * dims))) < 0

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
    def test_a_blank_background_stays_finite(self, dims, dtype):
        blank = torch.zeros(1, 1, *[24] * dims, dtype=dtype, requires_grad=True)
        image = torch.zeros(1, 1, *[24] * dims, dtype=dtype)
        image[..., 8:16, 8:16] = 1
        for one, other in ((blank, image), (blank, torch.zeros_like(image)), (blank + image, image)):
            loss = LocalNCCLoss(dims)(one, other)
            (gradient,) = torch.autograd.grad(loss, blank)
            assert torch.isfinite(loss)
            assert torch.isfinite(gradient).all()

    @pytest.mark.parametrize(("seed", "value"), [(0, 0.95), (1, 0.37), (5, 0.75), (4, 1.0)])
    def test_where_both_images_are_constant_rounding_is_no_contrast(self, dims, seed, value):
        """Without its second floor, the loss is below -37 at a voxel of the first and of the third case in 3-D."""
        image, other = torch.rand(2, 1, 1, *[48] * dims, generator=torch.Generator().manual_seed(seed)).unbind(0)
        block, inside = ((..., *[slice(low, 48 - low)] * dims) for low in (8, 18))
        image[block] = other[block] = value
        image.requires_grad_()
        loss = LocalNCCLoss(dims, reduction="none")(image, other)
        (gradient,) = torch.autograd.grad(loss.mean(), image)
        assert float(loss.detach().min()) >= -1
        assert float(loss.detach()[inside].abs().max()) < 1e-3
        assert float(gradient[inside].abs().max()) < 1e-2 * float(gradient.abs().max())

    @pytest.mark.parametrize(("low", "high"), [(1 / 3, 5 / 6), (-1000.3, 400.0), (0.0, 1e-3)])
    def test_neither_the_background_nor_the_range_counts(self, dims, low, high):
        """Correlation does not depend on scale and offset, but sums of squares in single precision do."""
        image, other = images([24] * dims)
        inside = torch.zeros_like(image)
        inside[(..., *[slice(8, 16)] * dims)] = 1
        pair = [(low + (high - low) * inside * part) for part in (image, (image + other) / 2)]
        expected = LocalNCCLoss(dims)(*(inside * part for part in (image, (image + other) / 2)))
        assert float(LocalNCCLoss(dims)(*pair)) == pytest.approx(float(expected), abs=2e-3)


class TestModelFiles:
    def test_round_trip(self, dims, tmp_path):
        network = moving_network(dims, integration_steps=5, integration_downsize=1, padding_mode="border")
        save_model(tmp_path / "model.safetensors", network, {"note": "test"})
        loaded = load_model(tmp_path / "model.safetensors")
        assert loaded.config == network.config
        pair = images(SHAPES[dims])
        assert torch.equal(loaded(*pair).warped, network(*pair).warped)

    def test_bad_files_are_one_sentence(self, tmp_path):
        with pytest.raises(InputError, match="no model at"):
            load_model(tmp_path / "none.safetensors")
        path = tmp_path / "model.safetensors"
        save_model(path, VoxelMorph(2))
        path.write_bytes(path.read_bytes()[:5000])
        with pytest.raises(InputError, match="damaged"):
            load_model(path)
        from safetensors.torch import save_file

        save_file({"weight": torch.zeros(1)}, path)
        with pytest.raises(InputError, match="not a smoothmorph model"):
            load_model(path)


def small() -> VoxelMorph:
    torch.manual_seed(0)
    return VoxelMorph(2, channels=(2, 2), final_channels=(2,))


FLOW = "unet.net.1.final_conv_out.conv.bias"
DEEP = [1]
for _ in range(200):
    DEEP = [DEEP]


def weights_of(model: VoxelMorph) -> dict[str, torch.Tensor]:
    return {name: weight.contiguous() for name, weight in model.state_dict().items()}


def write_model(path: Path, about: object = None, weights: dict[str, torch.Tensor] | None = None, **config) -> None:
    """A changed model file without a checksum, as in earlier versions."""
    model = small()
    description = {"model": {**model.config, **config}, "about": {} if about is None else about}
    path.write_bytes(save({**weights_of(model), **(weights or {})}, metadata={"smoothmorph": json.dumps(description)}))


WRONG_CONFIGS = {
    "integration_steps": [10**9, 10**30, 10**3000, 1.5, -1, True, "7", None, [7], float("nan")],
    "integration_downsize": [0, 3, 2.0],
    "padding_mode": ["foo", 1, ["zeros"], "reflection", "x" * 10_000],
    "spatial_dims": [1, 4, 2.0, "2", DEEP],
    "channels": [[], [2], [2, 2, 2], [10**6, 2], [0, 2], [2, -2], [2.0, 2], "22", 2, [2, 2] * 500, [DEEP, 2], None],
    "final_channels": [[10**9], [2] * 500, 2, {"2": 2}],
    "levels": [3],
}
WRONG_WEIGHTS = {
    "NaN": ({FLOW: torch.tensor([0.0, torch.nan])}, "holds numbers that are not finite as float32"),
    "infinite": ({FLOW: torch.tensor([0.0, -torch.inf])}, "holds numbers that are not finite as float32"),
    "beyond float32": ({FLOW: torch.tensor([0.0, 1e300], dtype=torch.float64)}, "not finite as float32"),
    "complex": ({FLOW: torch.tensor([0.0, 1j])}, "is not a dense tensor of real floating-point numbers"),
    "integers": ({FLOW: torch.tensor([0, 1])}, "is not a dense tensor of real floating-point numbers"),
    "8 bits": ({FLOW: torch.zeros(2).to(torch.float8_e4m3fn)}, "is not a dense tensor of real floating-point numbers"),
    "of another shape": ({FLOW: torch.zeros(3)}, "has shape (3,), expected (2,)"),
    "unknown": ({"x": torch.zeros(3)}, "weight 'x' is not a weight of this network"),
}


class TestHostileModelFiles:
    """A file that does not describe a network is refused in one sentence, and its claims allocate no memory."""

    @pytest.fixture
    def path(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        return Path("model.safetensors")

    def refused(self, path: Path) -> str:
        with pytest.raises(InputError) as told:
            load_model(path)
        sentence = str(told.value)
        assert len(sentence) < 400
        assert "\n" not in sentence
        assert sentence.startswith(
            (f"{path} is not a smoothmorph model: ", f"{path} is damaged", f"no model at {path}")
        )
        return sentence

    def test_a_file_without_a_checksum_is_read(self, path):
        write_model(path)
        expected = small().state_dict()
        assert all(torch.equal(weight, expected[name]) for name, weight in load_model(path).state_dict().items())

    @pytest.mark.parametrize("name", WRONG_CONFIGS)
    def test_a_configuration_that_no_network_has(self, name, path):
        for value in WRONG_CONFIGS[name]:
            write_model(path, **{name: value})
            assert name in self.refused(path)

    @pytest.mark.parametrize("name", WRONG_WEIGHTS)
    def test_weights_that_no_network_has(self, name, path):
        weights, words = WRONG_WEIGHTS[name]
        write_model(path, weights=weights)
        assert words in self.refused(path)

    def test_a_network_that_is_larger_than_its_file_takes_no_memory(self, path, monkeypatch):
        devices = []

        class Watched(VoxelMorph):
            def __init__(self, **config) -> None:
                devices.append(torch.get_default_device().type)
                super().__init__(**config)

        monkeypatch.setattr("smoothmorph.networks.files.checkpoints.VoxelMorph", Watched)
        write_model(path, spatial_dims=3, channels=[1024] * 16)  # 2 GiB of weights
        assert "is missing" in self.refused(path)
        assert devices == ["meta"]

    @pytest.mark.parametrize(
        ("description", "words"),
        [
            (None, "does not describe its network; give a file that smoothmorph wrote"),
            ("{", "Expecting property name"),
            ("[" * 100_000, ""),
            ("5", "has no mapping 'model'"),
            ('{"model": {}}', "has no mapping 'about'"),
            ('{"model": {}, "about": [1]}', "has no mapping 'about'"),
            ('{"model": {"padding_mode": "zeros", "padding_mode": "border"}, "about": {}}', "'padding_mode' twice"),
            ('{"model": {}, "about": {}, "x": ' + "1" * 5000 + "}", ""),
            (" " * (1 << 21), "more than 1,048,576 characters"),
        ],
        ids=lambda value: str(value)[:20],
    )
    def test_what_a_file_says_of_itself(self, description, words, path):
        metadata = {} if description is None else {"smoothmorph": description}
        path.write_bytes(save(weights_of(small()), metadata=metadata))
        assert words in self.refused(path)

    def test_a_flipped_bit_of_a_weight_or_of_the_description(self, path):
        save_model(path, small(), {"images": {"brightest": 0.25}, 2: {10: "", 9: ""}})
        load_model(path)
        whole = path.read_bytes()
        places = [whole.index(b'integration_steps\\": 7') + 21, whole.index(b"0.25") + 3]
        for byte in [*places, *range(len(whole) - 40, len(whole))]:
            damaged = bytearray(whole)
            damaged[byte] ^= 4
            path.write_bytes(damaged)
            assert "its content differs from its checksum" in self.refused(path)

    def test_no_file_of_safetensors(self, path):
        contents = [b"", b"x", struct.pack("<Q", 5 << 30) + b"{}", struct.pack("<Q", 1 << 20) + b"[" * (1 << 20)]
        for content in contents:
            path.write_bytes(content)
            assert "is damaged or not a safetensors file" in self.refused(path)
        path.unlink()
        path.mkdir()
        assert self.refused(path) == "no model at model.safetensors."

    @pytest.mark.parametrize(("value", "dtype"), [(torch.nan, torch.float32), (1e6, torch.float16)])
    def test_a_broken_network_is_not_written(self, value, dtype, path):
        network = small()
        with torch.no_grad():
            network.get_parameter(FLOW).fill_(value)
        with pytest.raises(InputError, match=f"cannot be written.*not finite as {str(dtype)[6:]}"):
            save_model(path, network, dtype=dtype)
        assert not path.exists()


def test_numbers_of_numpy_are_settings():
    network = VoxelMorph(np.int64(2), np.int32(3), channels=[np.int64(2)] * 2, final_channels=[])
    assert json.loads(json.dumps(network.config)) == network.config
    assert (network.integration_steps, network.config["channels"]) == (3, [2, 2])


@pytest.mark.parametrize("dims", [2, 3])
def test_unet_equals_monais(dims):
    network = UNet(dims, (16, 32, 32, 32), (16,)).double()
    pair = torch.rand(2, 2, *[8, 12, 4][:dims], generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(network(pair), VoxelMorphUNet.forward(network, pair), rtol=0, atol=1e-12)


@pytest.mark.parametrize("dims", [2, 3])
def test_gradients_of_the_kernels(dims):
    network = UNet(dims, (2, 3, 2, 2), (2,)).double()
    parameters = [tensor for convolution in network.convolutions for tensor in (convolution.weight, convolution.bias)]

    def kernels(*_: torch.Tensor) -> list[torch.Tensor]:
        made = make_kernels(network.convolutions, network.skips)
        return [tensor for kernel in made for tensor in kernel if tensor is not None]

    assert torch.autograd.gradcheck(kernels, parameters, fast_mode=True)
    assert torch.autograd.gradgradcheck(kernels, parameters, fast_mode=True)


def test_gradients_of_each_sample():
    network, pairs = moving_network(2), torch.rand(3, 2, 1, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    parameters = dict(network.named_parameters())

    def loss(weights: dict[str, torch.Tensor], pair: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(network, weights, tuple(pair)).velocity.square().mean()

    together = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(parameters, pairs)
    for index, pair in enumerate(pairs):
        alone = torch.autograd.grad(loss(parameters, pair), list(parameters.values()))
        for ours, expected in zip(together.values(), alone, strict=True):
            torch.testing.assert_close(ours[index], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("shape", [(32, 48, 32), (48, 16, 48), (16, 48, 32), (16, 16, 16), (48, 48, 48)])
def test_gradients_in_bfloat16_on_grids_of_few_voxels(shape):
    # torch's own gradients read unwritten memory if the lowest level is two voxels deep or one voxel high
    network, pair = moving_network(3), torch.rand(2, 1, 1, *shape, generator=torch.Generator().manual_seed(0))
    parameters = list(network.parameters())

    def gradients(precision: torch.dtype) -> list[torch.Tensor]:
        never_written = [torch.full((count,), 1e30) for count in (1_000, 27_648, 65_536, 200_000) for _ in range(6)]
        del never_written
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
            velocity = network(*pair).velocity
        return list(torch.autograd.grad(velocity.square().mean(), parameters))

    expected = gradients(torch.float32)
    for _ in range(3):
        for ours, theirs in zip(gradients(torch.bfloat16), expected, strict=True):
            assert (ours - theirs).norm() < 0.15 * theirs.norm()


@pytest.mark.parametrize("dims", [2, 3])
def test_a_large_grid_in_slabs_gives_the_same(dims, monkeypatch):
    network = moving_network(dims).double()
    images = torch.rand(2, 1, 1, *[48, 32, 16][:dims], generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    whole = network(*images)
    monkeypatch.setattr(unet, "SLAB_VOXELS", 8 * images[0, 0, 0, 0].numel())
    with torch.no_grad():
        for ours, expected in zip(network(*images)[:3], whole[:3], strict=True):
            torch.testing.assert_close(ours, expected, rtol=0, atol=1e-12)
