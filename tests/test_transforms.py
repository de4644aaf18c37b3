"""The array transforms and their dictionary versions, alone and in MONAI pipelines."""

from typing import Any

import numpy as np
import pytest
import torch
from monai.bundle.config_parser import ConfigParser
from monai.data.dataloader import DataLoader
from monai.data.dataset import CacheDataset
from monai.data.meta_obj import set_track_meta
from monai.data.meta_tensor import MetaTensor
from monai.data.utils import decollate_batch
from monai.transforms.compose import Compose
from monai.transforms.intensity.dictionary import ScaleIntensityd
from monai.transforms.post.dictionary import Invertd
from monai.transforms.spatial.array import Flip
from monai.transforms.utility.dictionary import Identityd
from monai.utils.misc import set_determinism
from torch import Tensor

import smoothmorph.transforms as sm

SHAPES = {"2-D": (32, 28), "3-D": (18, 20, 16)}
GENTLE: dict[str, Any] = {"magnitude": (1.0, 2.0), "smoothness": (3.0, 4.0)}


@pytest.fixture(params=SHAPES.values(), ids=SHAPES.keys())
def shape(request: pytest.FixtureRequest) -> tuple[int, ...]:
    return request.param


def blob(shape: tuple[int, ...]) -> Tensor:
    """An image (1, *shape) with a smooth bright blob at the centre."""
    x = torch.from_numpy(np.indices(shape, dtype=np.float32))
    centre = (torch.tensor(shape) - 1).view(-1, *[1] * len(shape)) / 2
    return torch.exp(-((x - centre) / 5).square().sum(0) / 2)[None]


def labels(shape: tuple[int, ...]) -> Tensor:
    """A label map (1, *shape) int16 with 0, 2 and 5 by the brightness of the blob."""
    return (2 * (blob(shape) > 0.3) + 3 * (blob(shape) > 0.7)).to(torch.int16)


def tracked(tensor: Tensor) -> MetaTensor:
    return MetaTensor(tensor.clone(), affine=torch.diag(torch.tensor([2.0, 3.0, 4.0, 1.0])), meta={"name": "a.nii.gz"})


def sample(shape: tuple[int, ...]) -> dict[str, Any]:
    return {"image": tracked(blob(shape)), "label": tracked(labels(shape)), "id": "a"}


def some_displacement(shape: tuple[int, ...]) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return sm.integrate(sm.random_velocity(shape, generator, 2.0, 3.0))[0]


def plain(data: Any) -> Tensor:
    return data.as_tensor() if isinstance(data, MetaTensor) else data


class TestRandDiffeomorphic:
    def test_warps_with_the_displacement_that_it_tells(self, shape):
        deform = sm.RandDiffeomorphic(prob=1.0, **GENTLE).set_random_state(seed=0)
        warped = deform(blob(shape))
        displacement = deform.displacement(shape)
        assert displacement.shape == (len(shape), *shape)
        assert displacement.abs().max() > 0.3
        torch.testing.assert_close(plain(warped), sm.warp(blob(shape)[None], displacement[None])[0])
        assert torch.equal(plain(deform(blob(shape), randomize=False)), plain(warped))

    def test_draws_within_the_ranges_and_as_often_as_asked(self):
        deform = sm.RandDiffeomorphic(prob=0.3, magnitude=(2, 3), smoothness=(4, 6)).set_random_state(seed=0)
        drawn = []
        for _ in range(400):
            deform.randomize()
            drawn.append(dict(deform.drawn))
        done = [draw for draw in drawn if draw["magnitude"] > 0]
        assert len(done) == pytest.approx(120, abs=30)
        assert all(2 <= draw["magnitude"] <= 3 and 4 <= draw["smoothness"] <= 6 for draw in done)
        assert len({draw["seed"] for draw in done}) == len(done)

    def test_magnitude_bounds_the_displacement(self, shape):
        deform = sm.RandDiffeomorphic(prob=1.0, magnitude=(2.0, 2.0), smoothness=(3.0, 3.0)).set_random_state(seed=1)
        for _ in range(5):
            deform.randomize()
            assert 0.8 < deform.displacement(shape).norm(dim=0).max() <= 2.0 + 1e-4

    @pytest.mark.parametrize("ratio", [1.0, 2.0])
    def test_does_not_fold(self, shape, ratio):
        deform = sm.RandDiffeomorphic(prob=1.0, magnitude=(2 * ratio, 2 * ratio), smoothness=(2.0, 4.0))
        deform.set_random_state(seed=2)
        for _ in range(5):
            deform.randomize()
            assert float(sm.nondiffeomorphic_percent(deform.displacement(shape)[None])) == 0

    def test_is_reproducible(self, shape):
        first, again, other = (
            sm.RandDiffeomorphic(prob=1.0, **GENTLE).set_random_state(seed=seed)(blob(shape)) for seed in (3, 3, 4)
        )
        assert torch.equal(first, again)
        assert not torch.equal(first, other)

    def test_leaves_the_image_alone_with_probability_0(self, shape):
        deform = sm.RandDiffeomorphic(prob=0.0)
        image = tracked(labels(shape))
        result = deform(image)
        assert torch.equal(plain(result), labels(shape))
        assert result.dtype == torch.int16
        assert not deform.displacement(shape).any()
        assert not image.applied_operations  # the caller's object is not changed, either
        assert torch.equal(plain(deform.inverse(result)), labels(shape))

    @pytest.mark.parametrize("padding_mode", ["border", "zeros"])
    def test_inverse_brings_the_image_back(self, shape, padding_mode):
        deform = sm.RandDiffeomorphic(prob=1.0, padding_mode=padding_mode, **GENTLE).set_random_state(seed=5)
        image = tracked(blob(shape))
        warped = deform(image)
        assert warped.applied_operations[-1]["class"] == "RandDiffeomorphic"
        deform.randomize()  # a later draw must have no effect
        back = deform.inverse(warped)
        moved = (plain(warped) - blob(shape)).abs().max()
        assert moved > 0.1
        assert (plain(back) - blob(shape)).abs().max() < 0.2 * moved
        assert not back.applied_operations

    def test_keeps_metadata_and_makes_it_from_numpy_as_monai_does(self, shape):
        deform = sm.RandDiffeomorphic(prob=1.0, **GENTLE).set_random_state(seed=0)
        warped = deform(tracked(blob(shape)))
        assert isinstance(warped, MetaTensor)
        assert torch.equal(warped.affine, tracked(blob(shape)).affine)
        assert warped.meta["name"] == "a.nii.gz"
        from_numpy = deform(blob(shape).numpy().astype(np.float64), randomize=False)
        assert type(from_numpy) is type(Flip(0)(blob(shape).numpy()))
        assert from_numpy.dtype == torch.float32
        torch.testing.assert_close(plain(from_numpy), plain(warped))
        set_track_meta(False)
        try:
            assert type(deform(blob(shape).numpy())) is Tensor
            twin = sm.RandDiffeomorphicd("image", prob=1.0, displacement_key="u", **GENTLE)
            assert {type(value) for value in twin({"image": blob(shape)}).values()} == {Tensor}
        finally:
            set_track_meta(True)

    @pytest.mark.parametrize(
        ("arguments", "named"),
        [
            ({"magnitude": (3.0, 1.0)}, "magnitude"),
            ({"smoothness": (-1.0, 1.0)}, "smoothness"),
            ({"smoothness": (1.0,)}, "smoothness"),
            ({"magnitude": (0.0, float("nan"))}, "magnitude"),
            ({"integration_steps": 0}, "integration_steps"),
        ],
    )
    def test_bad_arguments_are_named(self, arguments, named):
        with pytest.raises(ValueError, match=named):
            sm.RandDiffeomorphic(**arguments)


class TestRandDiffeomorphicd:
    def make(self, **arguments: Any) -> sm.RandDiffeomorphicd:
        settings = {"keys": ("image", "label"), "prob": 1.0, "mode": ("bilinear", "nearest"), **GENTLE, **arguments}
        return sm.RandDiffeomorphicd(**settings)

    def test_all_keys_share_one_draw(self, shape):
        deform = self.make(displacement_key="displacement").set_random_state(seed=0)
        data = sample(shape)
        result = deform(data)
        u = plain(result["displacement"])
        torch.testing.assert_close(plain(result["image"]), sm.warp(blob(shape)[None], u[None])[0])
        assert torch.equal(plain(result["label"]), sm.warp(labels(shape)[None], u[None], mode="nearest")[0])
        assert u.abs().max() > 0.3
        assert result["id"] == "a"
        assert "displacement" not in data
        assert torch.equal(plain(data["image"]), blob(shape))

    def test_labels_stay_labels(self, shape):
        result = self.make().set_random_state(seed=0)(sample(shape))["label"]
        assert result.dtype == torch.int16
        assert set(result.unique().tolist()) <= {0, 2, 5}
        assert torch.equal(result.affine, sample(shape)["label"].affine)

    def test_draws_what_the_array_transform_draws(self, shape):
        twin = self.make().set_random_state(seed=6)(sample(shape))["image"]
        array = sm.RandDiffeomorphic(prob=1.0, **GENTLE).set_random_state(seed=6)(blob(shape))
        assert torch.equal(plain(twin), plain(array))

    def test_gives_a_displacement_of_zero_when_it_leaves_a_sample_alone(self, shape):
        result = self.make(prob=0.0, displacement_key="displacement")(sample(shape))
        assert result["displacement"].shape == (len(shape), *shape)
        assert not result["displacement"].any()
        assert torch.equal(plain(result["image"]), blob(shape))
        assert torch.equal(result["displacement"].affine, result["image"].affine)

    def test_missing_keys(self, shape):
        only_image = {"image": blob(shape)}
        with pytest.raises(KeyError, match="label"):
            self.make()(only_image)
        result = self.make(allow_missing_keys=True).set_random_state(seed=0)(only_image)
        assert set(result) == {"image"}
        assert self.make(allow_missing_keys=True)({"id": "a"}) == {"id": "a"}

    def test_images_of_different_shape_are_named(self):
        data = {"image": torch.zeros(1, 8, 8), "label": torch.zeros(1, 8, 9)}
        with pytest.raises(ValueError, match=r"label.*\(1, 8, 9\).*image.*\(1, 8, 8\)"):
            self.make()(data)

    def test_inverse_in_a_compose(self, shape):
        pipeline = Compose([Identityd(keys="image"), self.make()]).set_random_state(seed=0)
        result = pipeline(sample(shape))
        back = pipeline.inverse(result)
        assert (plain(back["image"]) - blob(shape)).abs().max() < 0.1
        assert (plain(back["label"]) != labels(shape)).float().mean() < 0.02
        assert back["label"].dtype == torch.int16
        assert not back["image"].applied_operations

    def test_one_class_under_three_names(self):
        parts = ("RandDiffeomorphic", "WarpImage", "JacobianDeterminant", "DeformationGrid")
        for name in (*parts, "DropSingletons", "PairImages"):
            assert getattr(sm, name + "d") is getattr(sm, name + "D") is getattr(sm, name + "Dict")


class TestInMonaisPipelines:
    def pipeline(self) -> Compose:
        deform = sm.RandDiffeomorphicd(
            ["image", "label"], prob=1.0, mode=("bilinear", "nearest"), displacement_key="displacement", **GENTLE
        )
        determinant = sm.JacobianDeterminantd("displacement", output_keys="determinant")
        return Compose([ScaleIntensityd("image"), deform, determinant])

    def loader(self, workers: int) -> DataLoader:
        data = [{**sample((16, 16)), "id": str(index)} for index in range(4)]
        dataset = CacheDataset(data, self.pipeline(), num_workers=1, progress=False)
        return DataLoader(dataset, batch_size=2, num_workers=workers)

    @pytest.mark.parametrize("workers", [0, 2])
    def test_cached_and_loaded(self, workers):
        """Each sample in each epoch and worker gets its own random draw, and the same seed repeats all draws."""
        runs = []
        for _ in range(2):
            set_determinism(seed=0)
            try:
                loader = self.loader(workers)
                runs.append([plain(batch["image"]) for _ in range(2) for batch in loader])
            finally:
                set_determinism(seed=None)
        assert all(torch.equal(first, again) for first, again in zip(*runs, strict=True))
        images = torch.cat(runs[0])
        assert images.shape == (8, 1, 16, 16)
        assert len({tuple(image.flatten().tolist()) for image in images}) == 8

    def test_a_batch_can_be_taken_apart_and_inverted(self):
        loader = self.loader(workers=0)
        batch = next(iter(loader))
        assert batch["displacement"].shape == (2, 2, 16, 16)
        assert batch["determinant"].shape == (2, 1, 16, 16)
        undo = Invertd("image", loader.dataset.transform, orig_keys="image", nearest_interp=False)
        items: Any = decollate_batch(batch)
        for item in items:
            expected = blob((16, 16))
            expected = (expected - expected.min()) / (expected.max() - expected.min())
            assert (plain(undo(item)["image"]) - expected).abs().max() < 0.2

    def test_from_a_bundle_configuration(self):
        parser = ConfigParser(
            {
                "pipeline": {
                    "_target_": "Compose",
                    "transforms": [
                        {
                            "_target_": "smoothmorph.transforms.RandDiffeomorphicd",
                            "keys": ["image", "label"],
                            "prob": 1.0,
                            "magnitude": [1.0, 2.0],
                            "smoothness": [3.0, 4.0],
                            "mode": ["bilinear", "nearest"],
                            "displacement_key": "u",
                        },
                        {
                            "_target_": "smoothmorph.transforms.DeformationGridd",
                            "keys": "u",
                            "output_keys": "grid",
                            "spacing": 4,
                        },
                        {"_target_": "smoothmorph.transforms.WarpImaged", "keys": "image", "displacement_key": "u"},
                    ],
                }
            }
        )
        result = parser.get_parsed_content("pipeline")(sample((16, 16)))
        assert {"image", "label", "u", "grid"} <= set(result)
        assert result["grid"].shape == (1, 16, 16)


@pytest.mark.parametrize(
    "dtype", ["uint8", "uint16", "int32", "uint32", "int64", "uint64", "float16", "float64", "bool"]
)
@pytest.mark.parametrize("axes", [2, 3])
def test_labels_of_any_type_come_back_as_they_were(dtype, axes):
    """Warping and its inverse, for arrays and tensors, alone and in a dictionary."""
    values = {"bool": (0, 1), "float16": (0.25, 60000), "float64": (0.1, 1e300)}.get(dtype)
    values = values or (int(np.iinfo(dtype).max), min(614454277, int(np.iinfo(dtype).max) - 1))
    labels = np.resize(np.array(values, dtype=dtype), (1, *(12, 11, 10)[:axes]))
    u = np.zeros((axes, *labels.shape[1:]), np.float32)
    deform = sm.RandDiffeomorphic(prob=1.0, magnitude=(1, 1), smoothness=(3, 3), mode="nearest").set_random_state(0)
    several = sm.RandDiffeomorphicd("label", 1.0, (1, 1), (3, 3), mode="nearest").set_random_state(0)
    for given in (labels, torch.from_numpy(labels)):
        kept = sm.WarpImage("nearest")(given, u)
        assert kept.numpy().dtype == dtype
        assert (kept.numpy() == labels).all()
        moved, sample = deform(given), several({"label": given})
        for found in (moved, deform.inverse(moved), sample["label"], several.inverse(sample)["label"]):
            assert found.numpy().dtype == dtype
            assert set(found.numpy().ravel().tolist()) == set(labels.ravel().tolist())


class TestWarpImage:
    def test_warps_as_the_function_does(self, shape):
        u = some_displacement(shape)
        for mode in ("bilinear", "nearest"):
            expected = sm.warp(blob(shape)[None], u[None], mode=mode, padding_mode="zeros")[0]
            warped = sm.WarpImage(mode, padding_mode="zeros")(tracked(blob(shape)), u)
            assert torch.equal(plain(warped), expected)
            assert torch.equal(warped.affine, tracked(blob(shape)).affine)
        from_numpy = sm.WarpImage()(blob(shape).numpy(), u.numpy())
        assert type(from_numpy) is type(Flip(0)(blob(shape).numpy()))

    def test_twin_has_a_mode_per_key(self, shape):
        data = {**sample(shape), "displacement": some_displacement(shape)}
        result = sm.WarpImaged(["image", "label"], mode=["bilinear", "nearest"])(data)
        assert torch.equal(result["image"], sm.WarpImage()(data["image"], data["displacement"]))
        assert torch.equal(result["label"], sm.WarpImage("nearest")(data["label"], data["displacement"]))
        assert result["label"].dtype == torch.int16
        assert sm.WarpImaged("absent", allow_missing_keys=True)(data).keys() == data.keys()

    def test_twice_is_the_composition(self, shape):
        u = some_displacement(shape)
        twice = sm.WarpImage()(sm.WarpImage()(blob(shape), u), u)
        once = sm.WarpImage()(blob(shape), sm.compose(u[None], u[None])[0])
        assert (twice - once).abs().max() < 0.05

    def test_lies_where_a_reference_lies(self, shape):
        moving, fixed = tracked(blob(shape)), MetaTensor(blob(shape), meta={"name": "b.nii.gz"})
        warped = sm.WarpImage()(moving, some_displacement(shape), reference=fixed)
        assert torch.equal(plain(warped), plain(sm.WarpImage()(moving, some_displacement(shape))))
        assert torch.equal(warped.affine, fixed.affine)
        assert warped.meta["name"] == "b.nii.gz"
        assert moving.meta["name"] == "a.nii.gz"
        data = {"moving": moving, "fixed": fixed, "displacement": some_displacement(shape)}
        twin = sm.WarpImaged("moving", reference_key="fixed")(data)["moving"]
        assert torch.equal(plain(twin), plain(warped))
        assert torch.equal(twin.affine, fixed.affine)


class TestDropSingletons:
    @pytest.mark.parametrize("trailing", [(), (1,), (1, 1)])
    def test_drops_them_and_stays_in_place(self, shape, trailing):
        image = tracked(blob(shape).reshape(1, *shape, *trailing))
        image.meta["spatial_shape"] = [*shape, *trailing]
        dropped = sm.DropSingletonsd("image", len(shape))({"image": image})["image"]
        assert torch.equal(plain(dropped), blob(shape))
        assert torch.equal(dropped.affine, image.affine)
        assert dropped.meta["spatial_shape"] == list(shape)
        assert image.meta["spatial_shape"] == [*shape, *trailing]

    @pytest.mark.parametrize("other", [(1, 5), (1, 5, 6, 2), (1, 5, 6, 1, 2)])
    def test_other_axes_are_refused(self, other):
        with pytest.raises(ValueError, match="is not 2-D"):
            sm.DropSingletons(2)(torch.zeros(other))

    def test_a_short_axis_of_the_image_stays(self):
        assert sm.DropSingletons(2)(torch.zeros(1, 5, 1)).shape == (1, 5, 1)


class TestPairImages:
    def test_moving_then_fixed_on_the_fixed_grid(self, shape):
        moving, fixed = MetaTensor(2 * blob(shape)), tracked(blob(shape))
        pair = sm.PairImages()(moving, fixed)
        assert torch.equal(plain(pair), torch.cat([2 * blob(shape), blob(shape)]))
        assert torch.equal(pair.affine, fixed.affine)
        assert pair.meta["name"] == "a.nii.gz"

    def test_results_are_named_by_the_pair(self, shape):
        data = {"moving": tracked(blob(shape)), "fixed": tracked(blob(shape)), "name": "a_to_b"}
        paired = sm.PairImagesd(output_key="pair")(data)
        assert {paired[key].meta["filename_or_obj"] for key in ("pair", "fixed")} == {"a_to_b.nii.gz"}
        assert "filename_or_obj" not in data["fixed"].meta
        assert sm.PairImagesd(allow_missing_keys=True)({"moving": data["moving"]}).keys() == {"moving"}

    def test_an_image_with_nan_is_named(self, shape):
        bad = MetaTensor(blob(shape), meta={"filename_or_obj": "bad.nii.gz"})
        bad[(0,) * bad.ndim] = float("nan")
        for data in ({"moving": blob(shape), "fixed": bad}, {"moving": bad, "fixed": blob(shape)}):
            with pytest.raises(ValueError, match=r"\(bad.nii.gz\) holds NaN or infinite voxels"):
                sm.PairImagesd()({**data, "name": "a_to_b"})

    def test_plain_tensors_without_tracking(self, shape):
        set_track_meta(False)
        try:
            assert type(sm.PairImages()(blob(shape), blob(shape))) is Tensor
        finally:
            set_track_meta(True)

    def test_what_makes_no_pair_is_named(self):
        fixed = MetaTensor(torch.zeros(1, 4, 5), meta={"filename_or_obj": "f.nii.gz"})
        with pytest.raises(
            ValueError, match=r"moving \(1, 4, 6\) and fixed \(1, 4, 5\) \(f.nii.gz\) must have the same shape"
        ):
            sm.PairImages()(torch.zeros(1, 4, 6), fixed)
        with pytest.raises(ValueError, match="two keys"):
            sm.PairImagesd(["moving"])


class TestJacobianDeterminant:
    def test_is_the_function(self, shape):
        u = some_displacement(shape)
        determinant = sm.JacobianDeterminant()(tracked(u))
        assert determinant.shape == (1, *shape)
        assert torch.equal(plain(determinant), sm.jacobian_determinant(u[None]))
        assert torch.equal(determinant.affine, tracked(u).affine)

    def test_twin_writes_in_place_or_beside(self, shape):
        u = some_displacement(shape)
        expected = sm.jacobian_determinant(u[None])
        in_place = sm.JacobianDeterminantd("u")({"u": u})
        assert torch.equal(plain(in_place["u"]), expected)
        beside = sm.JacobianDeterminantd(["u", "v"], output_keys=["a", "b"])({"u": u, "v": u.numpy()})
        assert torch.equal(plain(beside["a"]), expected)
        assert torch.equal(plain(beside["b"]), expected)
        assert torch.equal(beside["u"], u)
        with pytest.raises(ValueError, match="one output key per key"):
            sm.JacobianDeterminantd(["u", "v"], output_keys="a")


class TestDeformationGrid:
    def test_at_rest_has_lines_at_the_spacing(self, shape):
        grid = plain(sm.DeformationGrid(spacing=4, thickness=1)(torch.zeros(len(shape), *shape)))
        assert grid.shape == (1, *shape)
        on_line = [torch.from_numpy(np.indices(shape)[axis] % 4 == 2) for axis in range(len(shape))]
        expected = torch.stack(on_line).any(0)[None].float()
        torch.testing.assert_close(grid, expected, atol=1e-5, rtol=0)

    def test_is_warped_with_the_displacement(self, shape):
        picture = sm.DeformationGrid(spacing=4, thickness=2)
        at_rest = plain(picture(torch.zeros(len(shape), *shape)))
        u = some_displacement(shape)
        grid = plain(picture(u))
        torch.testing.assert_close(grid, sm.warp(at_rest[None], u[None])[0], atol=1e-4, rtol=0)
        assert grid.min() >= 0
        assert grid.max() <= 1 + 1e-6
        assert ((grid > 0.1) & (grid < 0.9)).any()
        twin = sm.DeformationGridd("u", output_keys="grid", spacing=4, thickness=2)({"u": u})
        assert torch.equal(plain(twin["grid"]), grid)

    def test_can_leave_an_axis_without_lines(self):
        """A section across that axis shows the lines of the other two axes, and no grid plane lies in the section."""
        grid = plain(sm.DeformationGrid(spacing=4, axes=(0, 2))(torch.zeros(3, 12, 8, 12)))
        flat = plain(sm.DeformationGrid(spacing=4)(torch.zeros(2, 12, 12)))
        for section in range(8):
            torch.testing.assert_close(grid[:, :, section], flat, atol=1e-5, rtol=0)

    @pytest.mark.parametrize("arguments", [{"spacing": 4, "thickness": 4}, {"thickness": 0}])
    def test_bad_arguments_are_named(self, arguments):
        with pytest.raises(ValueError, match="thickness"):
            sm.DeformationGrid(**arguments)
