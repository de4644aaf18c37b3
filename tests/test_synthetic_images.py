"""Images made from label maps, and label maps of random shapes."""

import numpy as np
import pytest
import torch
from monai.data.meta_tensor import MetaTensor
from monai.transforms.compose import Compose
from monai.transforms.utility.dictionary import EnsureTyped

import smoothmorph.transforms as sm
from smoothmorph.networks import Objective, VoxelMorph
from smoothmorph.pipeline.settings.augmentation import Augmentation
from smoothmorph.pipeline.training.step import evaluate_batch
from smoothmorph.transforms import RandShapes, RandShapesd, RandSyntheticImage, RandSyntheticImaged, warp

CLEAN = {"texture": 0, "blur": 0, "bias": 0, "gamma": (1, 1), "thickness": 1, "noise": 0}
KEYS = (["moving", "fixed"], ["moving_label", "fixed_label"])
SHAPE = {2: (12, 16), 3: (12, 16, 8)}


def blocks(dims: int) -> torch.Tensor:
    """Labels 0, 3, 5 and 9 in four slabs along the first axis."""
    slabs = torch.tensor([0, 3, 5, 9], dtype=torch.int16).repeat_interleave(3)
    return slabs.reshape(1, -1, *[1] * (dims - 1)).expand(1, *SHAPE[dims]).clone()


def values(image: torch.Tensor) -> list[float]:
    """The value of each slab, which must have only one."""
    found = [image[:, start : start + 3].unique() for start in range(0, 12, 3)]
    assert [len(each) for each in found] == [1, 1, 1, 1]
    return [float(each) for each in found]


@pytest.fixture(params=[2, 3])
def dims(request) -> int:
    return request.param


class TestRandSyntheticImage:
    def test_a_clean_region_has_exactly_one_value(self, dims):
        make = RandSyntheticImage(**CLEAN).set_random_state(seed=0)
        for _ in range(5):
            image = make(blocks(dims))
            assert image.dtype == torch.float32
            assert image.shape == (1, *SHAPE[dims])
            assert len(set(values(image))) == 4
            assert (float(image.min()), float(image.max())) == (0, 1)

    def test_values_are_the_drawn_means_scaled_to_0_and_1(self, dims):
        make = RandSyntheticImage(zero_background=1, **CLEAN).set_random_state(seed=1)
        image = make(blocks(dims))
        means, deviations = make.contrast([0, 3, 5, 9], make.drawn)
        assert means[0] == 0
        assert deviations == [0, 0, 0, 0]
        np.testing.assert_allclose(values(image), np.array(means) / max(means), rtol=1e-6)

    def test_the_background_is_0_as_often_as_asked(self):
        make = RandSyntheticImage(zero_background=0.7).set_random_state(seed=0)
        label = blocks(2)
        zero = [bool((make(label)[label == 0] == 0).all()) for _ in range(300)]
        assert sum(zero) == pytest.approx(210, abs=25)
        always = RandSyntheticImage(zero_background=1, noise=0.3).set_random_state(seed=0)
        assert not always(label)[label == 0].any()  # noise does not reach it either
        never = RandSyntheticImage(zero_background=0, intensity=(0.5, 0.6), **CLEAN).set_random_state(seed=0)
        assert all(never(label)[label == 0].unique().numel() == 1 for _ in range(5))

    def test_regions_of_one_class_have_one_value(self, dims):
        classes = [0, 9, 9, 1, 9, 2, 9, 9, 9, 1]  # labels 3 and 9 are of class 1
        make = RandSyntheticImage(classes=classes, class_prob=1, **CLEAN).set_random_state(seed=0)
        background, three, five, nine = values(make(blocks(dims)))
        assert three == nine != five
        assert background != five
        make = RandSyntheticImage(classes=classes, class_prob=0, **CLEAN).set_random_state(seed=0)
        assert len(set(values(make(blocks(dims))))) == 4

    def test_the_intensity_of_a_region_does_not_depend_on_the_others(self):
        make = RandSyntheticImage(**CLEAN).set_random_state(seed=2)
        make.randomize()
        alone = make.contrast([5], make.drawn)[0]
        assert make.contrast([1, 5, 700_000_000_000], make.drawn)[0][1:2] == alone

    @pytest.mark.parametrize(
        ("fault", "largest"),
        [("texture", 0.2), ("blur", 2.0), ("bias", 0.5), ("thickness", 6.0), ("noise", 0.2)],
    )
    def test_each_fault_alone_changes_the_image(self, dims, fault, largest):
        label = blocks(dims).transpose(1, 2).contiguous() if fault == "thickness" else blocks(dims)
        clean, faulty = (
            RandSyntheticImage(**{**CLEAN, **change}).set_random_state(seed=3) for change in ({}, {fault: largest})
        )
        assert any(not torch.equal(clean(label), faulty(label)) for _ in range(6))

    def test_gamma_is_a_power_of_the_intensity(self):
        linear, curved = (
            RandSyntheticImage(zero_background=1, **{**CLEAN, "gamma": (gamma, gamma)}).set_random_state(seed=4)
            for gamma in (1, 2)
        )
        np.testing.assert_allclose(values(curved(blocks(2))), np.square(values(linear(blocks(2)))), atol=1e-6)

    def test_one_seed_is_one_image_and_the_last_draw_can_be_repeated(self, dims):
        label = blocks(dims)
        images = [RandSyntheticImage().set_random_state(seed=seed)(label) for seed in (0, 0, 1)]
        assert torch.equal(images[0], images[1])
        assert not torch.equal(images[0], images[2])
        make = RandSyntheticImage().set_random_state(seed=0)
        first = make(label)
        assert torch.equal(make(label, randomize=False), first)
        assert not torch.equal(make(label), first)
        assert torch.equal(RandSyntheticImage().set_random_state(seed=0)(label, randomize=False), first)

    def test_types_metadata_and_prob(self):
        affine = torch.diag(torch.tensor([2.0, 3, 1, 1], dtype=torch.float64))
        label = MetaTensor(blocks(2), affine=affine)
        image = RandSyntheticImage()(label)
        assert isinstance(image, MetaTensor)
        assert torch.equal(image.affine, affine)
        for dtype in (np.uint16, np.int64, np.float32):
            assert RandSyntheticImage(**CLEAN)(blocks(2).numpy().astype(dtype)).dtype == torch.float32
        untouched = RandSyntheticImage(prob=0)(label)
        assert torch.equal(torch.as_tensor(untouched), blocks(2))
        constant = RandSyntheticImage(zero_background=0, **CLEAN)(torch.ones(1, 5, 5))
        assert constant.unique().numel() == 1

    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            ({"intensity": (1, 0)}, r"intensity must be \(lowest, highest\)"),
            ({"gamma": (0, 1)}, "gamma must be a range of exponents above 0"),
            ({"noise": -0.1}, "noise must be the largest strength, 0 or more, got -0.1"),
            ({"thickness": 0.5}, "thickness must be the largest slice thickness, 1 voxel or more"),
            ({"zero_background": 2}, "zero_background must be a probability"),
            ({"classes": []}, "classes must be numbers from 0 on"),
        ],
    )
    def test_arguments_that_cannot_be(self, arguments, sentence):
        with pytest.raises(ValueError, match=sentence):
            RandSyntheticImage(**arguments)

    @pytest.mark.parametrize(
        ("label", "sentence"),
        [
            (torch.zeros(2, 5, 5), r"a label map must be \(1, \*spatial\)"),
            (torch.full((1, 5, 5), 0.5), "integers from 0 on"),
            (torch.full((1, 5, 5), -1), "integers from 0 on"),
            (torch.full((1, 5, 5), 3), "holds 3, but classes are given for 0 to 2"),
        ],
    )
    def test_what_is_no_label_map(self, label, sentence):
        with pytest.raises(ValueError, match=sentence):
            RandSyntheticImage(classes=[0, 1, 2])(label)


class TestRandSyntheticImaged:
    def sample(self, dims=2):
        label = blocks(dims)
        return {"moving": torch.zeros(label.shape), "moving_label": label, "fixed_label": label.clone()}

    def test_two_keys_have_their_own_contrast_and_one_geometry(self, dims):
        made = RandSyntheticImaged(*KEYS, **CLEAN).set_random_state(seed=0)(self.sample(dims))
        one, other = values(made["moving"]), values(made["fixed"])
        assert one != other
        assert torch.equal(made["moving_label"], blocks(dims))

    def test_the_same_contrast_keeps_faults_apart(self):
        made = RandSyntheticImaged(*KEYS, same_contrast=1, **CLEAN).set_random_state(seed=0)(self.sample())
        assert values(made["moving"]) == values(made["fixed"])
        made = RandSyntheticImaged(*KEYS, same_contrast=1).set_random_state(seed=0)(self.sample())
        assert not torch.equal(made["moving"], made["fixed"])

    def test_the_same_contrast_where_a_label_is_missing(self):
        sample = self.sample()
        sample["fixed_label"][sample["fixed_label"] == 3] = 5
        make = RandSyntheticImaged(*KEYS, same_contrast=1, intensity=(0.2, 0.9), zero_background=1, **CLEAN)
        make.set_random_state(seed=1)
        made = make(sample)
        ratio = np.array(values(made["moving"])[2:]) / np.array(values(made["fixed"])[2:])
        assert ratio[0] == pytest.approx(ratio[1])  # up to the scale of the brightest region

    def test_one_state_is_one_sample_and_prob_is_of_the_sample(self):
        one, other = (RandSyntheticImaged(*KEYS).set_random_state(seed=5)(self.sample()) for _ in range(2))
        assert all(torch.equal(one[key], other[key]) for key in ("moving", "fixed"))
        left = RandSyntheticImaged(*KEYS, prob=0)(self.sample())
        assert "fixed" not in left
        assert not left["moving"].any()

    def test_missing_label_maps_and_wrong_keys(self):
        make = RandSyntheticImaged("image", "label")
        with pytest.raises(KeyError, match="no label map 'label' to make 'image' from"):
            make({"image": torch.zeros(1, 4, 4)})
        given = {"image": torch.zeros(1, 4, 4)}
        assert set(RandSyntheticImaged("image", "label", allow_missing_keys=True)(given)) == {"image"}
        with pytest.raises(ValueError, match="one label key per key"):
            RandSyntheticImaged(["a", "b"], "c")
        with pytest.raises(ValueError, match="one clean key per key"):
            RandSyntheticImaged(["a", "b"], ["c", "d"], clean_keys=["e"])
        with pytest.raises(ValueError, match="same_contrast must be a probability"):
            RandSyntheticImaged("a", "b", same_contrast=3)

    def test_clean_images_have_one_contrast_and_regions_of_one_value(self, dims):
        make = RandSyntheticImaged(*KEYS, clean_keys=["a", "b"]).set_random_state(seed=2)
        made = make(self.sample(dims))
        assert values(made["a"]) == values(made["b"])
        assert values(made["a"]) != values(make(self.sample(dims))["a"])

    def test_in_a_compose(self):
        chain = Compose([EnsureTyped("label"), RandSyntheticImaged("image", "label")]).set_random_state(seed=0)
        assert chain({"label": blocks(3)})["image"].shape == (1, *SHAPE[3])


class TestThickSlices:
    def test_two_voxels_become_their_mean_in_the_middle(self):
        image = torch.tensor([0.0, 4, 4, 0, 2, 2]).reshape(1, 6, 1).expand(1, 6, 2)
        thick = sm.thick_slices(image, 1, 2.0)  # slices of 2, 2, 2, interpolated: ends constant, between linear
        assert thick[0, :, 0].tolist() == [2, 2, 2, 2, 2, 2]
        ramp = torch.arange(8.0).reshape(1, 1, 8)
        assert sm.thick_slices(ramp, 2, 2.0).flatten().tolist() == [0.5, 1, 2, 3, 4, 5, 6, 6.5]

    def test_one_voxel_is_the_image_itself(self):
        image = torch.rand(1, 5, 7, 6)
        for axis in (1, 2, 3):
            assert torch.equal(sm.thick_slices(image, axis, 1.0), image)
            one = sm.thick_slices(image, axis, 100.0)
            torch.testing.assert_close(one, image.mean(axis, keepdim=True).expand_as(image))


class TestShapes:
    def test_labels_are_the_largest_of_the_noise_images(self, dims):
        generator = torch.Generator().manual_seed(0)
        noise = torch.stack([sm.smooth_noise(SHAPE[dims], generator, 3.0) for _ in range(4)])
        label = sm.random_shapes(SHAPE[dims], torch.Generator().manual_seed(0), 4, 3.0)
        assert label.dtype == torch.int16
        assert torch.equal(label[0].long(), noise.argmax(0))

    def test_shapes_on_the_coarse_grid_are_as_wide(self):
        def borders(smoothness: float) -> float:
            label = sm.random_shapes((96, 96), torch.Generator().manual_seed(1), 16, smoothness)[0]
            return float((label[1:] != label[:-1]).float().mean())

        assert borders(8.0) == pytest.approx(borders(7.9), rel=0.25)  # the last fine grid, the first coarse one
        assert borders(16.0) == pytest.approx(borders(8.0) / 2, rel=0.35)

    def test_smooth_noise_has_the_deviation_1(self, dims):
        noise = sm.smooth_noise(SHAPE[dims], None, 1.5)
        assert float(noise.std()) == pytest.approx(1, rel=0.02)
        assert noise.dtype == torch.float32

    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [(((4,), None, 3, 2.0), "2 or 3 sizes"), (((4, 4), None, 1, 2.0), "regions"), (((4, 4), None, 3, 0), "smooth")],
    )
    def test_shapes_that_cannot_be(self, arguments, sentence):
        with pytest.raises(ValueError, match=sentence):
            sm.random_shapes(*arguments)

    def test_a_label_map_is_replaced_on_its_grid(self, dims):
        make = RandShapes(1.0, regions=6, smoothness=(3, 4), magnitude=(1, 1), velocity_smoothness=(3, 3))
        label = MetaTensor(blocks(dims))
        made = make.set_random_state(seed=0)(label)
        assert isinstance(made, MetaTensor)
        assert made.dtype == torch.int16
        assert made.shape == label.shape
        assert set(made.unique().tolist()) <= set(range(6))
        assert torch.equal(make(label, randomize=False), made)
        undrawn = RandShapes(1.0, regions=6, smoothness=(3, 4), magnitude=(1, 1), velocity_smoothness=(3, 3))
        assert torch.equal(undrawn.set_random_state(seed=0)(label, randomize=False), made)
        assert torch.equal(torch.as_tensor(RandShapes(0.0)(label)), blocks(dims))

    def test_the_keys_of_a_sample_show_the_same_shapes_deformed_apart(self, dims):
        settings = {"regions": 6, "smoothness": (3, 4), "velocity_smoothness": (3, 3)}
        sample = {"moving_label": blocks(dims), "fixed_label": blocks(dims).int()}
        still = RandShapesd(list(sample), 1.0, magnitude=(0, 0), **settings).set_random_state(seed=0)(sample)
        assert torch.equal(still["moving_label"].int(), still["fixed_label"])
        moved = RandShapesd(list(sample), 1.0, magnitude=(2, 2), **settings).set_random_state(seed=0)(sample)
        same = (moved["moving_label"].int() == moved["fixed_label"]).float().mean()
        assert 0.4 < same < 1
        assert moved["fixed_label"].dtype == torch.int32
        again = RandShapesd(list(sample), 1.0, magnitude=(2, 2), **settings).set_random_state(seed=0)(sample)
        assert all(torch.equal(moved[key], again[key]) for key in sample)

    def test_shapes_of_other_sizes_are_refused(self):
        with pytest.raises(ValueError, match="the same shapes need one spatial shape"):
            RandShapesd(["a", "b"], 1.0)({"a": torch.zeros(1, 8, 8), "b": torch.zeros(1, 8, 9)})
        with pytest.raises(ValueError, match="smoothness must be"):
            RandShapes(smoothness=(0, 1))
        with pytest.raises(ValueError, match="regions must be 2 or more"):
            RandShapes(regions=1)


LABEL_KEYS = ["moving_label", "fixed_label"]
SHAPES = {"transform": "RandShapesd", "keys": LABEL_KEYS, "prob": 1.0, "smoothness": [3, 4]}
IMAGES = {"transform": "RandSyntheticImaged", "keys": ["moving", "fixed"], "label_keys": LABEL_KEYS}


class TestInTraining:
    def pair(self):
        label = blocks(2)
        image = torch.rand(label.shape)
        return {"moving": image, "fixed": image.clone(), "moving_label": label, "fixed_label": label.clone()}

    def test_each_image_has_its_own_contrast_and_labels_stay(self):
        augmentation = Augmentation([IMAGES], seed=0)
        assert augmentation.labels  # the loader puts them into the pair
        made = augmentation(self.pair(), 1, 0)
        assert not torch.equal(made["moving"], made["fixed"])
        assert torch.equal(made["moving_label"], blocks(2))
        again, other = augmentation(self.pair(), 1, 0), augmentation(self.pair(), 1, 1)
        assert torch.equal(again["moving"], made["moving"])
        assert not torch.equal(other["moving"], made["moving"])

    def test_shapes_take_the_place_of_brains(self):
        made = Augmentation([SHAPES, {**IMAGES, "texture": 0, "noise": 0}], seed=0)(self.pair(), 1, 0)
        assert not torch.equal(made["moving_label"], blocks(2))
        assert made["moving_label"].dtype == torch.int16
        assert made["moving"].dtype == torch.float32

    @pytest.mark.parametrize(
        ("change", "sentence"),
        [
            ({"keys": ["moving", "moving_label"]}, r"\[0\]\.keys is .* needs a list of moving, fixed\."),
            ({"label_keys": ["moving", "fixed_label"]}, r"\[0\]\.label_keys is .* list of moving_label, fixed_label\."),
            ({"label_keys": None}, r"\[0\]\.label_keys is None, but RandSyntheticImaged needs"),
            ({"label_keys": ["moving_label"]}, r"\[0\]: RandSyntheticImaged .* one label key per key"),
        ],
    )
    def test_wrong_keys_are_one_sentence(self, change, sentence):
        with pytest.raises(ValueError, match=sentence):
            Augmentation([{**IMAGES, **change}], seed=0)

    def test_the_similarity_compares_clean_images_and_the_network_sees_others(self):
        step = {**IMAGES, "clean_keys": ["moving_clean", "fixed_clean"]}
        made = Augmentation([step], seed=0)(self.pair(), 1, 0)
        assert values(made["moving_clean"]) == values(made["fixed_clean"])  # one contrast, no faults
        assert not torch.equal(made["moving"], made["fixed"])
        left = Augmentation([{**step, "prob": 0.0}], seed=0)(pair := self.pair(), 1, 0)
        assert torch.equal(left["moving_clean"], pair["moving"])
        assert "moving_clean" not in Augmentation([IMAGES], seed=0)(self.pair(), 1, 0)

    @pytest.mark.parametrize("both", [False, True])
    def test_a_second_channel_is_warped_by_the_field_of_the_first(self, both):
        torch.manual_seed(0)
        seen, compared = torch.rand(2, 2, 1, 16, 16), torch.rand(2, 2, 1, 16, 16)
        model = VoxelMorph(2, channels=(4, 4), final_channels=(4,))
        with torch.no_grad():  # a field that is not 0
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        objective, precision = Objective(2, "mse", "l2", 0.5), torch.autocast("cpu", enabled=False)
        images = [torch.cat([seen[k], compared[k]], dim=1) for k in range(2)]
        terms = evaluate_batch(model, objective, precision, *images, both_directions=both)
        there, back = model(*seen), model(*seen.flip(0))
        expected = (warp(compared[0], there.displacement, padding_mode="zeros") - compared[1]).square().mean()
        if both:
            other = (warp(compared[1], back.displacement, padding_mode="zeros") - compared[0]).square().mean()
            expected = (expected + other) / 2
        torch.testing.assert_close(terms.similarity, expected)
        torch.testing.assert_close(
            terms.penalty, evaluate_batch(model, objective, precision, *seen, both_directions=both).penalty
        )
        assert float(there.displacement.detach().abs().max()) > 0.1

    @pytest.mark.parametrize(
        "change",
        [{"clean_keys": ["fixed_clean", "moving_clean"]}, {"clean_keys": ["moving"]}, {"keys": ["fixed", "moving"]}],
    )
    def test_wrong_clean_keys_are_one_sentence(self, change):
        step = {**IMAGES, "clean_keys": ["moving_clean", "fixed_clean"], **change}
        with pytest.raises(ValueError, match=r"\[0\]\.clean_keys is .* takes \[moving_clean, fixed_clean\]"):
            Augmentation([step], seed=0)
