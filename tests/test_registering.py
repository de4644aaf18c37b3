"""Registration of users' images: any orientation and voxel size, all outputs, and images that are refused."""

import locale
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import itk
import nibabel as nib
import numpy as np
import pytest
import torch
from scipy import ndimage
from scipy.spatial.transform import Rotation
from typer.testing import CliRunner

from smoothmorph.experiments.cli import app
from smoothmorph.networks import VoxelMorph, save_model
from smoothmorph.pipeline.images.volumes import Volume, read_volume, write_volume
from smoothmorph.pipeline.models.intensity_level import BRIGHT, TISSUE, percentile, shows
from smoothmorph.pipeline.models.trained_model import Trained, about
from smoothmorph.pipeline.models.training_images import TrainingImages
from smoothmorph.pipeline.registration import ImagePair, register
from smoothmorph.pipeline.settings.schema import TrialSettings, parse
from smoothmorph.transforms import Geometry, InputError, read_field
from world_cases import CORONAL, TWO_PLACES, blobs, grid, place_twice, rotation, save

STEP = (1.5, -1.0, 0.5)
"""The constant displacement that the test network returns, in voxels along each axis of the training images."""
AXES = {2: "LIA", 3: "LAI"}
SPACING = {2: (1.2, 0.8), 3: (1.2, 0.8, 1.0)}
ALONG = {"L": (-1, 0, 0), "R": (1, 0, 0), "A": (0, 1, 0), "P": (0, -1, 0), "S": (0, 0, 1), "I": (0, 0, -1)}


def answering(dims: int, steps: int = 0) -> VoxelMorph:
    network = VoxelMorph(dims, steps, 1, channels=(4, 4, 4, 4), final_channels=(4,))
    flow = network.unet.convolutions[-1]
    with torch.no_grad():
        flow.weight.zero_()
        flow.bias.copy_(torch.tensor(STEP[:dims]))
    return network


def trained(dims: int, **images) -> Trained:
    settings = parse(TrialSettings, {"cohort": {"spatial_dims": dims}, "objective": {"similarity": "mse"}}, "test")
    known = {"shape": (32, 32, 24)[:dims], "spacing": SPACING[dims], "axes": AXES[dims], "brightest": 1.0}
    return Trained(answering(dims), Path("model"), "trial", settings, TrainingImages(**{**known, **images}))


def volume(name: str, geometry: Geometry, seed: int = 0) -> Volume:
    return Volume(Path(name), torch.from_numpy(blobs(geometry.shape, seed))[None].double(), geometry)


def expected(dims: int) -> np.ndarray:
    """The displacement of the test network in RAS mm."""
    steps = zip(STEP, SPACING[dims], AXES[dims], strict=False)
    return np.sum([step * spacing * np.array(ALONG[letter]) for step, spacing, letter in steps], axis=0)


def turned(slice_: Geometry, degrees: float) -> Geometry:
    """A slice that is turned about its first axis through its centre, so that both slices cross."""
    axis = slice_.affine[:3, 0] / np.linalg.norm(slice_.affine[:3, 0])
    middle = slice_.affine[:3, :2] @ ((np.array(slice_.shape) - 1) / 2) + slice_.affine[:3, 3]
    affine, turn = slice_.affine.copy(), Rotation.from_rotvec(np.deg2rad(degrees) * axis).as_matrix()
    affine[:3, :3] = turn @ affine[:3, :3]
    affine[:3, 3] = turn @ (affine[:3, 3] - middle) + middle
    return Geometry(slice_.shape, affine)


PLACES = {
    "as in training": (3, grid((30, 28, 26), SPACING[3], np.diag([-1.0, 1, -1]), (4, 5, 6))),
    "other axes": (3, grid((26, 30, 28), (1.0, 1.2, 0.8), np.array([[0, -1.0, 0], [0, 0, 1], [1, 0, 0]]))),
    "other voxels": (3, grid((20, 22, 30), (2.0, 1.1, 0.7), np.diag([1.0, -1, 1]), (1, -70, 9))),
    "a slice": (2, grid((40, 36), (1.2, 0.8, 1), CORONAL, (0, -7, 3))),
    "a true 2-D image": (2, grid((40, 36), (1.2, 0.8), np.diag([-1.0, -1]))),
    "a turned slice": (2, grid((36, 40), (0.9, 1.1, 1), CORONAL @ np.array([[0, 1.0, 0], [-1, 0, 0], [0, 0, 1]]))),
}


@pytest.mark.parametrize("name", PLACES)
def test_the_field_is_that_of_the_network_in_the_world(name):
    """The displacement in mm is the same for any axes and voxel sizes of the image."""
    dims, place = PLACES[name]
    found = register(trained(dims), ImagePair(volume("moving", place), volume("fixed", place, 1)))
    world = place.affine[:-1, : place.axes] @ found.field.displacement.flatten(1).double().numpy()
    # a true 2-D image does not state its plane, so its own axes are used
    steps = place.affine[:2, :2] @ STEP[:2] if place.world_axes == 2 else expected(dims)
    np.testing.assert_allclose(world, np.broadcast_to(steps[:, None], world.shape), atol=1e-4)
    assert found.field.fixed is place
    assert found.field.affine is None


@pytest.mark.parametrize("dims", [2, 3])
def test_a_grid_of_training_voxels_is_kept_and_another_one_covered(dims):
    images = trained(dims).images
    own = PLACES["a slice" if dims == 2 else "as in training"][1]
    kept = images.grid_over(volume("fixed", own))
    offset = np.linalg.inv(kept.affine) @ own.affine
    np.testing.assert_allclose(offset[:dims, :dims], np.eye(dims), atol=1e-9)
    np.testing.assert_allclose(offset[:dims, -1], offset[:dims, -1].round(), atol=1e-9)  # voxels of both grids coincide
    assert kept.shape == tuple(map(max, own.shape, images.shape))
    turned = PLACES["a turned slice" if dims == 2 else "other voxels"][1]
    around = images.grid_over(volume("fixed", turned))
    np.testing.assert_allclose(around.spacing, SPACING[dims])
    assert "".join(nib.aff2axcodes(around.affine))[:dims] == AXES[dims][:dims]
    corners = np.stack([*np.ndindex(*[2] * dims)]) * (np.array(turned.shape) - 1)
    lifted = np.concatenate([corners, np.zeros((len(corners), 3 - dims)), np.ones((len(corners), 1))], axis=1)
    inside = (np.linalg.inv(around.affine) @ turned.affine @ lifted.T)[:dims].T
    assert (inside > -0.51).all()
    assert (inside < np.array(around.shape) - 0.49).all()


def test_intensities_far_from_the_training_are_scaled_and_it_is_said():
    place = PLACES["as in training"][1]
    bright = volume("bright.nii", place)
    bright = replace(bright, values=4000 * bright.values)
    found = register(trained(3), ImagePair(bright, volume("fixed.nii", place, 1)))
    assert ["bright.nii" in notice and "scaled to match" in notice for notice in found.notices] == [True]
    assert float(found.moving.max()) == pytest.approx(1, rel=0.2)


def seeing(images: TrainingImages, seen: list) -> Trained:
    """A model that records the inputs of its network."""
    model = trained(3, **{name: getattr(images, name) for name in ("brightest", "tissue", "darkest", "spread")})
    model.network.register_forward_pre_hook(lambda _, pair: seen.append(pair))
    return model


@pytest.mark.parametrize("known", [True, False], ids=["tissue noted", "older model"])
def test_the_units_of_either_image_change_nothing(known):
    """The network gets the same pair for all factors and offsets; a pair in the units of the training is unchanged."""
    place = PLACES["as in training"][1]
    fixed = replace(volume("fixed.nii", place), values=(volume("fixed.nii", place).values - 0.3).clamp(min=0))
    moving = replace(fixed, path=Path("moving.nii"), values=fixed.values.flip(1))
    noted = {"tissue": percentile(fixed.values[shows(fixed.values)], TISSUE), "spread": 1.2} if known else {}
    seen: list = []
    model = seeing(TrainingImages(brightest=percentile(fixed.values, BRIGHT), **noted), seen)
    assert register(model, ImagePair(moving, fixed)).notices == ()
    for one, other in ((255, 1), (1, 255), (1 / 255, 255), (4, 4), (3, 0.3)):
        offset = 0 if other == 1 else -7 * other
        pair = replace(moving, values=one * moving.values), replace(fixed, values=other * fixed.values + offset)
        (notice,) = register(model, ImagePair(*pair)).notices
        assert re.fullmatch(r"the network gets both images scaled to match .*: moving.nii x .*, fixed.nii x .*", notice)
    as_it_is, *others = seen
    for pair in others:
        for image, first, again in zip(as_it_is, others[0], pair, strict=True):
            torch.testing.assert_close(first, again, atol=2e-5, rtol=0)
            assert float((again / image)[image > 0].std()) < 1e-3
            torch.testing.assert_close(again, image, atol=0.1, rtol=0)


def test_an_offset_above_0_is_noticed():
    place = PLACES["as in training"][1]
    fixed = volume("fixed.nii", place, 1)
    high = replace(volume("moving.nii", place), values=volume("", place).values + 2)
    found = register(trained(3, darkest=0.0), ImagePair(high, fixed)).notices
    assert any(notice.startswith("the darkest voxels of moving.nii are 2.") for notice in found)
    assert not any("darkest voxels of fixed.nii" in notice for notice in found)


def test_the_affine_does_not_depend_on_the_units():
    place, moved = (
        grid((30, 34, 28), (1.2, 0.8, 1.0)),
        grid((30, 34, 28), (1.2, 0.8, 1.0), rotation(0, 0, 8), (4, -3, 2)),
    )
    moving, fixed = volume("moving.nii", moved), volume("fixed.nii", place)
    bright = replace(moving, values=255 * moving.values)
    one, other = (register(trained(3), ImagePair(image, fixed), affine=True) for image in (moving, bright))
    np.testing.assert_allclose(one.field.affine, other.field.affine, atol=0.02)


@pytest.mark.parametrize("dims", [2, 3])
def test_a_bright_scalp_does_not_darken_the_brain(dims):
    """A scalp makes the brightest voxels three times as bright, but the level of the brain stays."""
    shape = (64, 60, 40)[:dims]
    radius = np.sqrt(sum((((np.indices(shape)[axis]) - shape[axis] / 2) / shape[axis]) ** 2 for axis in range(dims)))
    brain = torch.from_numpy(np.where(radius < 0.3, 0.2 + 0.2 * blobs(shape), 0))[None].float()
    scalp = torch.from_numpy(((radius > 0.38) & (radius < 0.45)).astype(np.float32))[None]
    head = brain + 1.2 * scalp
    level = percentile(brain[brain > 0], TISSUE)
    images = TrainingImages(brightest=0.4, tissue=level, spread=1.02)
    everywhere = torch.ones(shape, dtype=torch.bool)
    assert images.units(brain, brain, brain, everywhere) is None
    for moving, fixed in ((head, brain), (brain, head)):
        assert images.units(moving, fixed, moving, everywhere) is None
        units = images.units(255 * moving, fixed, 255 * moving, everywhere)
        assert units is not None
        assert units[0].factor == pytest.approx(1 / 255, rel=0.03)
        assert units[1].factor == pytest.approx(1, rel=0.03)


def test_what_is_noted_of_the_training_images():
    images = [torch.linspace(0, 1, 1001).view(1, 7, 11, 13) * factor + 3 for factor in (1, 1.25, 2)]
    samples = {f"{n}": {"image": image, "spacing": (1.0, 1, 1), "axes": "RAS"} for n, image in enumerate(images)}
    found = TrainingImages.of(SimpleNamespace(samples=samples, split=SimpleNamespace(train=(*samples,))))
    assert found.darkest == pytest.approx(3.0025)
    assert found.brightest == pytest.approx(3 + 1.25 * 0.998)
    assert found.tissue == pytest.approx(3 + 1.25 * (1 - 0.15 * 0.949), abs=2e-3)  # 5.1 % of the voxels are background
    assert found.spread == pytest.approx(1.6, abs=0.01)
    assert TrainingImages.read(found.note(), 3, Path("model")) == found


@pytest.mark.parametrize("factor", [1000, 0.001], ids=["micrometres", "metres"])
@pytest.mark.parametrize("which", ["moving", "fixed"])
def test_an_image_that_is_not_in_mm(factor, which):
    place = PLACES["other voxels"][1]
    other = Geometry(place.shape, np.diag([factor, factor, factor, 1]) @ place.affine)
    pair = {"moving": volume("moving.nii", place), "fixed": volume("fixed.nii", place, 1)}
    pair[which] = volume(f"{which}.nii", other)
    with pytest.raises(InputError, match=rf"^{which}.nii spans .* voxels of 1.2x0.8x1 mm\); are its voxel sizes"):
        register(trained(3), ImagePair(**pair))


def test_a_grid_of_too_many_voxels():
    thick = Geometry((30, 28, 26), np.diag([1.2, 0.8, 1e5, 1]))
    with pytest.raises(
        InputError, match=r"^thick.nii \(30x28x26 .* needs 32x3250000x32 voxels of .* than 268,435,456;"
    ):
        trained(3, axes="RSA", shape=(32, 32, 32)).images.grid_over(volume("thick.nii", thick))


@pytest.mark.parametrize("intensity", ["none", "minmax", "percentile"])
@pytest.mark.filterwarnings("error")
def test_one_bright_voxel_is_no_image(intensity):
    place = PLACES["as in training"][1]
    values = torch.zeros(1, *place.shape, dtype=torch.float64)
    values[0, 9, 9, 9] = 7
    settings = parse(TrialSettings, {"cohort": {"spatial_dims": 3, "intensity": intensity}}, "test")
    pair = ImagePair(Volume(Path("spot.nii"), values, place), volume("fixed.nii", place))
    with pytest.raises(InputError, match=r"of spot.nii are .*; crop the image around"):
        register(replace(trained(3), settings=settings), pair)


def test_values_beyond_32_bits(tmp_path):
    place = PLACES["as in training"][1]
    save(tmp_path / "big.nii", 1e300 * blobs(place.shape).astype(np.float64), place)
    with pytest.raises(InputError, match=r"big.nii holds 1e\+300, which exceeds the limit of 32-bit floating point"):
        read_volume(tmp_path / "big.nii")


@pytest.mark.parametrize("times", [1, 2, 3, 4])
def test_repeating_voxels_makes_no_label_map(times):
    place = grid((34, 52, 35), (1, 1, 1))
    image = np.round(255 * blobs(place.shape) + np.random.default_rng(0).normal(0, 8, place.shape)).clip(0)
    for axis in range(3):
        image = image.repeat(times, axis)
    large = grid(image.shape, (1 / times,) * 3)
    assert not Volume(Path("image.nii"), torch.from_numpy(image)[None], large).looks_like_labels
    edges = np.digitize(ndimage.gaussian_filter(image, 3 * times), (120, 140))
    labels = torch.from_numpy(edges)[None].double()
    assert Volume(Path("labels.nii"), labels, large).looks_like_labels


@pytest.mark.parametrize("dims", [2, 3])
def test_refining_lowers_the_objective_and_keeps_the_rest(dims):
    place = PLACES["a slice" if dims == 2 else "as in training"][1]
    pair = ImagePair(volume("moving", place), volume("fixed", place))  # the images are equal: nothing should move
    told = []
    found = register(trained(dims), pair, steps=30, progress=lambda *state: told.append(state))
    by_name = {state.name: state for state in found.agreements}
    assert list(by_name) == ["before", "network", "refined"]
    assert by_name["refined"].measures["mse"] < 0.5 * by_name["network"].measures["mse"]
    assert by_name["before"].measures["mse"] == pytest.approx(0, abs=1e-10)
    assert told[-1][0].startswith("refining: objective")
    assert told[-1][1:] == (30, 30)


@pytest.mark.parametrize("dims", [2, 3])
def test_where_the_weight_map_is_large_the_field_stays_smooth(dims):
    place = PLACES["a slice" if dims == 2 else "other voxels"][1]
    pair, weights = ImagePair(volume("moving", place), volume("fixed", place, 1)), torch.ones(1, *place.shape)
    half = place.shape[0] // 2
    weights[:, :half] = 100
    mapped = replace(pair, weights=Volume(Path("map"), weights.double(), place))
    rough = []
    for one in (pair, mapped):
        field = register(trained(dims), one, steps=30).field.displacement
        rough.append([float(part.diff(dim=1).abs().mean()) for part in (field[:, : half - 3], field[:, half + 3 :])])
    assert rough[1][0] < 0.5 * rough[0][0]
    assert rough[1][1] > 0.7 * rough[0][1]


def test_an_affine_is_found_first_and_stays_apart():
    place, shift = grid((40, 44, 36), (1.2, 0.8, 1.0)), (9.0, -6, 4)
    moved = grid((40, 44, 36), (1.2, 0.8, 1.0), rotation(0, 0, 8), shift)
    found = register(trained(3), ImagePair(volume("moving", moved), volume("fixed", place)), affine=True)
    assert [state.name for state in found.agreements] == ["before", "affine", "network"]
    assert found.agreements[1].measures["mse"] < 0.1 * found.agreements[0].measures["mse"]
    assert found.field.affine is not None
    np.testing.assert_allclose(found.field.affine[:3, :3], rotation(0, 0, 8), atol=0.03)
    np.testing.assert_allclose(found.field.affine[:3, 3], shift, atol=0.8)


@pytest.mark.parametrize("dims", [2, 3])
def test_the_values_of_labels_change_nothing(dims):
    """Atlas ids, and two labels that are equal in 64-bit floating point."""
    place = PLACES["a slice" if dims == 2 else "as in training"][1]
    images = volume("moving", place), volume("fixed", place, 1)
    small = [replace(image, values=((image.values > 0.3) + 1 * (image.values > 0.6))) for image in images]
    ids = torch.tensor([0, 2**62 + 1, 2**62])
    large = [replace(labels, values=ids[labels.values]) for labels in small]
    dice = [
        [state.measures["dice"] for state in register(trained(dims), ImagePair(*images, *maps)).agreements]
        for maps in (small, large)
    ]
    assert 0.1 < dice[0][0] < 0.9
    assert dice[0] == dice[1]


@pytest.mark.parametrize(
    ("factors", "told"),
    [((0, 1), "m.nii holds no label"), ((1, 0), "f.nii holds no label"), ((1, 3), "share no label")],
)
def test_label_maps_that_cannot_agree_are_told(factors, told):
    images = volume("moving", PLACES["as in training"][1]), volume("fixed", PLACES["as in training"][1], 1)
    maps = [
        replace(image, path=Path(name), values=(image.values > 0.3).long() * factor)
        for image, name, factor in zip(images, ("m.nii", "f.nii"), factors, strict=True)
    ]
    (notice,) = register(trained(3), ImagePair(*images, *maps)).notices
    assert told in notice


# The command


@pytest.fixture
def call(tmp_path, monkeypatch):
    """`smoothmorph register` in a folder with models, images and labels in two and three dimensions."""
    monkeypatch.chdir(tmp_path)
    for dims in (2, 3):
        model = trained(dims)
        assert model.settings is not None
        told = about("trial", model.settings, model.images)
        save_model(tmp_path / f"model{dims}.safetensors", model.network, told)
        place = PLACES["a slice" if dims == 2 else "other voxels"][1]
        for number, name in enumerate(("moving", "fixed")):
            image = blobs(place.shape, number)
            save(tmp_path / f"{name}{dims}.nii.gz", image, place)
            save(tmp_path / f"{name}{dims}-seg.nii.gz", ((image > 0.3) + 1 * (image > 0.6)).astype(np.uint8), place)
    return lambda *words: CliRunner().invoke(app, ["register", *map(str, words)])


@pytest.mark.parametrize("dims", [2, 3])
def test_every_option(call, dims):
    result = call(
        f"moving{dims}.nii.gz", f"fixed{dims}.nii.gz", "--model", f"model{dims}.safetensors", "--affine",
        "--refine", 3, "--penalty", "bending-hessian", "--lambda", 0.1, "--similarity", "ncc",
        "--moving-labels", f"moving{dims}-seg.nii.gz", "--fixed-labels", f"fixed{dims}-seg.nii.gz",
        "--warped", "out/w.nii.gz", "--field", "out/f.h5", "--inverse-field", "out/i.h5", "--jacobian", "out/j.mha",
        "--report", "out/r.png",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["MSE", "↓", "NCC", "↑", "Dice", "↑", "folding", "%", "↓", "SDlogJ", "↓"]
    assert [line.split()[0] for line in lines[1:5]] == ["before", "affine", "network", "refined"]
    written = {"w.nii.gz", "w-labels.nii.gz", "j.mha", "r.png", "f.h5", "i.h5"}
    assert {path.name for path in Path("out").iterdir()} == written
    fixed, moving = read_volume(Path(f"fixed{dims}.nii.gz")), read_volume(Path(f"moving{dims}.nii.gz"))
    field = read_field("out/f.h5", fixed.grid)
    assert field.fixed.is_same(fixed.grid)
    warped, labels = read_volume(Path("out/w.nii.gz")), read_volume(Path("out/w-labels.nii.gz"), labels=True)
    again, _ = field.warp(moving.values, moving.grid)
    assert (again - warped.values).abs().max() < 1e-3
    source = read_volume(Path(f"moving{dims}-seg.nii.gz"), labels=True)
    again, _ = field.warp(source.values, source.grid, "nearest")
    assert float((again != labels.values).float().mean()) < 1e-3
    assert nib.load("out/w-labels.nii.gz").get_data_dtype() == np.uint8
    assert field.affine is not None
    determinant = read_volume(Path("out/j.mha")).values
    assert float(determinant.mean()) == pytest.approx(np.linalg.det(field.affine[:-1, :-1]), rel=0.2)
    points = torch.from_numpy(
        fixed.grid.affine[:-1, -1] + fixed.grid.affine[:-1, :dims] @ (np.array(fixed.grid.shape) / 2)
    )
    there = field.map_points(points[None])
    back = read_field("out/i.h5", moving.grid).map_points(there)
    assert float((back - points).norm()) < 0.1
    assert Path("out/r.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("dims", [2, 3])
def test_a_displacement_that_is_not_finite_is_not_written(call, dims):
    """Finite weights whose product is not finite."""
    model = trained(dims)
    with torch.no_grad():
        for convolution in model.network.field.convolutions:
            convolution.weight.fill_(1e20)
    assert model.settings is not None
    save_model(Path("huge.safetensors"), model.network, about("trial", model.settings, model.images))
    names = f"moving{dims}.nii.gz", f"fixed{dims}.nii.gz"
    done = call(*names, "--model", "huge.safetensors", "--field", "f.h5", "--warped", "w.nii.gz")
    assert done.exit_code == 2
    assert "error: the displacement by huge.safetensors (network) is not finite" in done.stderr
    assert not Path("f.h5").exists()
    assert not Path("w.nii.gz").exists()


def test_without_any_file_it_measures(call):
    result = call("moving3.nii.gz", "fixed3.nii.gz", "--model", "model3.safetensors")
    assert result.exit_code == 0, result.output
    assert "wrote" not in result.stdout
    assert "SDlogJ" in result.stdout


def test_a_dicom_series_is_an_image(call, tmp_path):
    place = grid((24, 26, 12), (1.1, 0.9, 2.5), rotation(10, -5, 20), (3, 40, -6))
    values = (1000 * blobs(place.shape)).astype(np.int16)
    write_series(tmp_path / "series", values, place)
    read = read_volume(tmp_path / "series")
    assert read.grid.is_same(place)
    assert np.array_equal(read.values[0].numpy(), values)
    result = call("series", "series", "--model", "model3.safetensors", "--warped", "w.nii.gz")
    assert result.exit_code == 0, result.output
    assert read_volume(Path("w.nii.gz")).grid.is_same(place)


@pytest.mark.parametrize("how", TWO_PLACES)
def test_an_image_in_two_places_or_none(how, tmp_path):
    place = PLACES["other voxels"][1]
    save(tmp_path / "image.nii", blobs(place.shape), place)
    with pytest.raises(InputError, match=re.escape(TWO_PLACES[how])):
        read_volume(place_twice(tmp_path / "image.nii", how))


def test_an_image_lies_where_its_sform_says(tmp_path):
    place = PLACES["other voxels"][1]
    save(tmp_path / "image.nii", blobs(place.shape), place)
    assert read_volume(place_twice(tmp_path / "image.nii", "other sizes")).grid.is_same(place)


def test_a_sheared_image_is_written_with_one_place(tmp_path):
    sheared = np.diag([1.0, 2, 1, 1])
    sheared[0, 1] = 0.3
    place = Geometry((8, 9, 7), sheared)
    written = write_volume(tmp_path / "image.nii", blobs(place.shape), place)
    assert read_volume(written).grid.is_same(place)
    assert int(nib.load(written).header["qform_code"]) == 0


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("short.nrrd", "short.nrrd is truncated or damaged (304 bytes of data, but its header states 504)"),
        ("short.mha", "short.mha is truncated or damaged (304 bytes of data, but its header states 504)"),
        ("gone.mhd", "gone.raw, which does not exist; put it there."),
        ("gone.nrrd", "gone.raw, which does not exist; put it there."),
        ("colour.mha", "each voxel has 3 numbers, expected one"),
    ],
)
def test_what_cannot_be_read_has_a_clear_reason(name, sentence, tmp_path):
    path, colour = tmp_path / name, name.startswith("colour")
    voxels = np.random.default_rng(0).integers(0, 255, (8, 9, 7, 3)[: 3 + colour]).astype(np.uint8)
    itk.imwrite(itk.image_from_array(voxels, is_vector=colour), str(path))
    if name.startswith("short"):
        path.write_bytes(path.read_bytes()[:-200])
    if name == "gone.mhd":
        (tmp_path / "gone.raw").unlink()
    if name == "gone.nrrd":
        head, blank, _ = path.read_bytes().partition(b"\n\n")
        path.write_bytes(head + b"\ndata file: gone.raw" + blank)
    with pytest.raises(InputError, match=re.escape(sentence)) as caught:
        read_volume(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_folder_without_dicom_is_told_of_once(tmp_path, capfd):
    (tmp_path / "notes.txt").write_text("none here")
    with pytest.raises(InputError, match="holds no DICOM series"):
        read_volume(tmp_path)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            "moving3.nii.gz fixed3.nii.gz -m model2.safetensors",
            "is for 2-D images, but moving3.nii.gz is 3-D",
        ),
        (
            "moving2.nii.gz F",
            "the model is for 3-D images, but moving2.nii.gz is 2-D; shipped models for 2-D images: br",
        ),
        ("moving3-seg.nii.gz F", "moving3-seg.nii.gz looks like a label map"),
        ("far.nii.gz F", "far.nii.gz and fixed3.nii.gz share 0 % of the smaller field of view; add --affine"),
        ("noise.nii.gz F --affine", "noise.nii.gz cannot be aligned with fixed3.nii.gz"),
        ("nowhere.nii.gz F", "nowhere.nii.gz has no direction cosines"),
        (
            "axial.nii.gz axial.nii.gz -m model2.safetensors",
            "axial.nii.gz is a slice of the axial plane, but the model was trained on",
        ),
        (
            "moving3.nii.gz F --warped w.nii --moving-labels fixed2-seg.nii.gz",
            "fixed2-seg.nii.gz lies on another grid than its image",
        ),
        (
            "tilted.nii.gz fixed2.nii.gz -m model2.safetensors --warped w.nii",
            "tilted.nii.gz and fixed2.nii.gz are slices of different planes, as their affines say; a 2-D registration",
        ),
        (
            "moving3.nii.gz F --moving-labels neg.nii.gz --fixed-labels fixed3-seg.nii.gz --warped w.nii",
            "neg.nii.gz holds label -1; labels must not be negative",
        ),
        ("none.nii.gz F", "none.nii.gz does not exist"),
        ("flat.nii.gz F", "flat.nii.gz is constant (every voxel is 1); there is nothing to register"),
        ("moving3.nii.gz fixed3.nii.gz -m none", "none"),
        ("moving3.nii.gz F --warped w.png", "w.png has none of the endings that it can be written with: .nii"),
        ("moving3.nii.gz F --field f.jpg", "f.jpg has none of the endings"),
        ("moving3.nii.gz F --warped moving3.nii.gz", "moving3.nii.gz is an input file"),
        ("moving3.nii.gz F --warped a.nii --jacobian a.nii", "two of the files to write have the same name"),
        ("moving3.nii.gz F --warped w.nii --field axial.nii.gz/f.h5", "axial.nii.gz is a file, not a folder"),
        (
            "moving3.nii.gz sheared.nii.gz -m model3.safetensors --warped w.nii --field f.h5",
            "cannot write f.h5 on the grid of sheared.nii.gz: the axes of the grid are 10.3 degrees off perp",
        ),
        ("sheared.nii.gz F --warped w.nii --inverse-field i.mha", "cannot write i.mha on the grid of sheared.nii.gz"),
        ("moving3.nii.gz F --refine 3 --penalty l3", "objective.penalty"),
        ("moving3.nii.gz F --device cuda:9", "the device is cuda:9, but torch sees"),
        ("moving3.nii.gz F --device meta", "the device is 'meta'; expected auto, cpu, cuda or cuda:N"),
        ("moving3.nii.gz F --device mps", "the device is 'mps'; expected auto"),
        ("moving3.nii.gz F --device gpu", "the device is 'gpu'; expected auto"),
        ("none F --warped-labels w.nii", "--warped-labels w.nii needs --moving-labels; give the label map"),
        ("none F --fixed-labels fixed3-seg.nii.gz", "fixed3-seg.nii.gz needs --moving-labels; give the label map"),
        ("none F --moving-labels moving3-seg.nii.gz", "--moving-labels moving3-seg.nii.gz has no effect alone; add"),
        ("moving3.nii.gz F --refine 3 --penalty l2+-1*l1", "the weight of l1 in 'l2+-1*l1' is '-1'; expected a finite"),
        (
            "moving3.nii.gz F --refine 3 --lambda-map fixed2-seg.nii.gz",
            "the weight map fixed2-seg.nii.gz lies on another grid than the fixed image",
        ),
        ("moving3.nii.gz F --refine 3 --lambda-map below.nii.gz", "below.nii.gz has the value -1, expected 0 or more"),
        ("moving3.nii.gz F --refine 3 --lambda-map lost.nii.gz", "lost.nii.gz does not exist"),
        ("none F --lambda-map below.nii.gz", "--lambda-map needs --refine"),
        (
            "moving3.nii.gz F --penalty l2",
            "--penalty has no effect on model3.safetensors, a network for one λ; add --refine N",
        ),
        (
            "moving3.nii.gz F --lambda 0.5",
            "--lambda has no effect on model3.safetensors, a network for one λ; add --re",
        ),
        (
            "moving3.nii.gz F --max-sdlogj 0.2",
            "--max-folding or --max-sdlogj has no effect on model3.safetensors, a network f",
        ),
        (
            "none F --max-sdlogj 0.2 --lambda 0.1",
            "--lambda and a limit exclude each other; give λ, or let the limit find",
        ),
        (
            "none F --max-sdlogj 0.2 --max-folding 1%",
            "give one limit: either --max-folding (such as 0.1%) or --max-sdlogj",
        ),
        ("none F --max-folding little", "--max-folding little: expected a percentage, such as 0.1%"),
        ("none F --max-sdlogj -1", "the limit on SDlogJ must be a number of at least 0, found -1"),
        ("none F --similarity ncc", "--similarity needs --refine"),
        ("empty F", "the folder empty holds no DICOM series"),
        ("gap F", "the distances between its slices differ by up to"),
    ],
)
def test_mistakes_are_one_sentence(call, tmp_path, words, sentence):
    words = words.replace("F", "fixed3.nii.gz --model model3.safetensors").split()
    place = PLACES["other voxels"][1]
    far = place.affine.copy()
    far[:3, 3] += 1000
    save(tmp_path / "far.nii.gz", blobs(place.shape), Geometry(place.shape, far))
    if "noise.nii.gz" in words:
        tiny = grid((20, 22, 30), (0.11, 0.11, 0.11), centre=(500, 0, 0))
        save(tmp_path / "noise.nii.gz", np.random.default_rng(0).random(tiny.shape).astype(np.float32), tiny)
    if "gap" in words:
        even = grid((12, 14, 8), (1, 1, 2))
        write_series(tmp_path / "gap", (1000 * blobs(even.shape)).astype(np.int16), even)
        (tmp_path / "gap" / "003.dcm").unlink()
    (tmp_path / "empty").mkdir()
    nowhere = nib.Nifti1Image(blobs(place.shape), None)
    nowhere.header.set_sform(None, 0)
    nowhere.header.set_qform(None, 0)
    nib.save(nowhere, tmp_path / "nowhere.nii.gz")
    save(tmp_path / "flat.nii.gz", np.ones(place.shape, np.float32), place)
    save(tmp_path / "below.nii.gz", np.full(place.shape, -1, np.float32), place)
    save(tmp_path / "neg.nii.gz", np.full(place.shape, -1, np.int8), place)
    slice_ = PLACES["a slice"][1]
    save(tmp_path / "tilted.nii.gz", blobs(slice_.shape), turned(slice_, 20))
    save(tmp_path / "axial.nii.gz", blobs((30, 32)), grid((30, 32), (1, 1, 1)))
    sheared = place.affine.copy()
    sheared[:3, 1] += 0.1 * sheared[:3, 0]
    nib.save(nib.Nifti1Image(blobs(place.shape), sheared), tmp_path / "sheared.nii.gz")
    result = call(*words)
    assert result.exit_code == 2, result.output
    assert not list(tmp_path.glob("w.*"))
    assert result.stderr.startswith("error: ")
    assert len(result.stderr.strip().splitlines()) == 1
    assert sentence in result.stderr


def test_what_was_written_before_a_fault_is_told(call, monkeypatch):
    def full(path, field):
        raise InputError(f"cannot write {path}: No space left on device.")

    monkeypatch.setattr("smoothmorph.transforms.write_field", full)
    words = "moving3.nii.gz fixed3.nii.gz -m model3.safetensors --warped w.nii --field f.h5"
    result = call(*words.split())
    assert result.exit_code == 2
    assert "wrote w.nii" in result.stdout
    assert "cannot write f.h5: No space left" in result.stderr


def write_series(folder: Path, values: np.ndarray, place: Geometry) -> None:
    """Write a DICOM series by ITK: one file per slice along the last axis."""
    folder.mkdir()
    kept = locale.setlocale(locale.LC_ALL)
    lps = np.diag([-1.0, -1, 1, 1]) @ place.affine
    spacing = np.array(place.spacing)
    direction = lps[:3, :3] / spacing
    for number in range(values.shape[2]):
        origin = lps[:3, 3] + number * lps[:3, 2]
        image = itk.image_from_array(np.ascontiguousarray(values[:, :, number : number + 1].T))
        image.SetSpacing(spacing.tolist())
        image.SetOrigin(origin.tolist())
        image.SetDirection(itk.matrix_from_array(np.ascontiguousarray(direction)))
        about_it = image.GetMetaDataDictionary()
        tags = {
            "0008|0060": "MR",
            "0008|0021": "20200101",
            "0018|0050": f"{spacing[2]:.8f}",
            "0020|000d": "1.2.826.0.1.3680043.2.1125.2",
            "0020|000e": "1.2.826.0.1.3680043.2.1125.1",
            "0020|0013": str(number + 1),
            "0020|0032": "\\".join(f"{value:.8f}" for value in origin),
            "0020|0037": "\\".join(f"{value:.8f}" for value in [*direction[:, 0], *direction[:, 1]]),
        }
        for tag, value in tags.items():
            about_it[tag] = value
        image.SetMetaDataDictionary(about_it)
        io = itk.GDCMImageIO.New()
        io.KeepOriginalUIDOn()
        itk.imwrite(image, str(folder / f"{number:03d}.dcm"), imageio=io)
    locale.setlocale(locale.LC_ALL, kept)  # GDCM's writer changes it, and later tests would read ASCII


def test_a_few_folded_voxels_of_a_pair_are_not_shown_as_none():
    from smoothmorph.experiments.commands.register_outputs import _shown
    from smoothmorph.pipeline.evaluation import FOLDING, METRICS, SDLOGJ

    assert [_shown(METRICS[FOLDING], value) for value in (0.0, 0.0004, 1.25)] == ["0", "0.0004", "1.25"]
    assert _shown(METRICS[SDLOGJ], 0.1464) == "0.146"
