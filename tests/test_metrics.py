"""Metrics of fields and label maps against values computed by hand, MONAI and NumPy."""

import math

import numpy as np
import pytest
import torch
from monai.losses.deform import BendingEnergyLoss
from monai.metrics.hausdorff_distance import compute_hausdorff_distance
from monai.metrics.meandice import compute_dice

from smoothmorph.pipeline.evaluation.measured_pair import LabelMap, MeasuredPair
from smoothmorph.pipeline.evaluation.vocabulary import METRICS
from smoothmorph.transforms import identity_grid

EVERY = list(METRICS.values())
NO_IMAGE = torch.zeros(1, 1, 1, 1)


def similarity_metrics(warped, fixed):
    return MeasuredPair(warped, fixed).measure(EVERY)


def overlap_metrics(warped, fixed, names, spacing, hausdorff=True):
    pair = MeasuredPair(
        NO_IMAGE, NO_IMAGE, labels=tuple(LabelMap(labels, names, spacing) for labels in (warped, fixed))
    )
    return pair.measure([metric for metric in EVERY if "labels" in metric.needs and (hausdorff or not metric.slow)])


def field_metrics(field):
    metrics = [metric for metric in EVERY if metric.name.startswith("velocity")]
    row = MeasuredPair(NO_IMAGE, NO_IMAGE, velocity=field).measure(metrics)
    return {name.removeprefix("velocity_"): value for name, value in row.items()}


def target_registration_error(moving, fixed, displacement, spacing):
    pair = MeasuredPair(NO_IMAGE, NO_IMAGE, displacement, landmarks=(moving, fixed), spacing=spacing)
    return pair.measure([METRICS["tre"]])["tre"]


@pytest.fixture(params=[2, 3])
def dims(request):
    return request.param


def box(dims, start, stop, value=1, size=16):
    labels = torch.zeros(1, 1, *[size] * dims, dtype=torch.int16)
    labels[(0, 0, *[slice(start, stop)] * dims)] = value
    return labels


def test_similarity_by_hand(dims):
    fixed = torch.rand(1, 1, *[20] * dims, generator=torch.Generator().manual_seed(0))
    metrics = similarity_metrics(fixed + 0.5, fixed)
    assert metrics["mse"] == pytest.approx(0.25)
    assert similarity_metrics(2 * fixed, fixed)["ncc"] == pytest.approx(1, abs=1e-3)


def test_dice_by_hand(dims):
    # A cube of side 4 inside a cube of side 8: 2 · 4^D / (4^D + 8^D)
    metrics = overlap_metrics(box(dims, 4, 8), box(dims, 4, 12), {1: "cube"}, [1.0] * dims)
    assert metrics["dice/cube"] == pytest.approx(2 * 4**dims / (4**dims + 8**dims))
    assert metrics["dice"] == metrics["dice/cube"]


def test_hausdorff_is_in_mm(dims):
    # Two single voxels at a distance of three 2 mm voxels along the first axis
    ours, truth = box(dims, 5, 6), torch.roll(box(dims, 5, 6), 3, dims=2)
    metrics = overlap_metrics(ours, truth, {1: "dot"}, [2.0, *[1.0] * (dims - 1)])
    assert metrics["hd95"] == pytest.approx(6)
    assert metrics["dice"] == 0


def test_absent_labels(dims):
    names = {1: "here", 2: "only fixed", 3: "nowhere"}
    ours = box(dims, 2, 6)
    truth = ours + box(dims, 8, 10, value=2)
    metrics = overlap_metrics(ours, truth, names, [1.0] * dims)
    assert metrics["dice/here"] == 1
    assert metrics["dice/only fixed"] == 0
    assert math.isnan(metrics["dice/nowhere"])
    assert metrics["dice"] == 0.5  # over labels in at least one map
    assert metrics["hd95"] == 0  # over labels in both maps
    nothing = overlap_metrics(torch.zeros_like(ours), truth, names, [1.0] * dims)
    assert math.isnan(nothing["hd95"])


def test_fields_by_hand(dims):
    nothing = field_metrics(torch.zeros(1, dims, *[8] * dims))
    assert nothing["nonpositive_percent"] == nothing["nondiffeomorphic_percent"] == nothing["sdlogj"] == 0
    assert nothing["det_min"] == nothing["det_max"] == 1
    stretched = field_metrics(0.5 * identity_grid([8] * dims))
    assert stretched["det_p50"] == pytest.approx(1.5**dims)
    assert stretched["l2"] == pytest.approx(0.25 / dims)  # du_a/dx_a = 0.5 in one of D components, for each axis
    assert stretched["bending-hessian"] == pytest.approx(0, abs=1e-9)
    shifted = torch.zeros(1, dims, *[8] * dims)
    shifted[:, 0], shifted[:, 1] = 3, 4
    assert field_metrics(shifted)["magnitude"] == pytest.approx(5)


def test_fields_against_numpy_and_monai(dims):
    field = 0.4 * torch.randn(1, dims, *[10] * dims, generator=torch.Generator().manual_seed(0))
    metrics = field_metrics(field)
    gradients = np.stack([np.stack(np.gradient(component)) for component in field[0].double().numpy()])
    jacobian = np.moveaxis(gradients, (0, 1), (-2, -1)) + np.eye(dims)
    determinant = np.linalg.det(jacobian)
    assert metrics["nonpositive_percent"] == pytest.approx(100 * np.mean(determinant <= 0))
    assert metrics["det_p05"] == pytest.approx(np.percentile(determinant, 5), rel=1e-3)
    assert metrics["sdlogj"] == pytest.approx(np.log(determinant.clip(1e-9, 1e9)).std(), rel=1e-3)
    assert metrics["bending-hessian"] == pytest.approx(float(BendingEnergyLoss()(field)), rel=1e-5)


def test_landmarks_move_the_right_way(dims):
    # warped(x) = moving(x + u(x)): a field of +2 along the first axis maps fixed points to moving points 2 further
    fixed = torch.tensor([[4.0] * dims, [6.5] * dims])
    moving = fixed.clone()
    moving[:, 0] += 2
    spacing = [3.0, *[1.0] * (dims - 1)]
    displacement = torch.zeros(1, dims, *[12] * dims)
    assert target_registration_error(moving, fixed, None, spacing) == pytest.approx(6)
    assert target_registration_error(moving, fixed, displacement, spacing) == pytest.approx(6)
    displacement[:, 0] = 2
    assert target_registration_error(moving, fixed, displacement, spacing) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("dims", [2, 3])
def test_values_of_an_atlas_are_only_names(dims):
    ours = box(dims, 2, 8) + 2 * box(dims, 9, 12)
    truth = box(dims, 3, 9) + 2 * box(dims, 9, 12)
    names, large = {1: "a", 2: "b"}, {614454277: "a", 12: "b"}
    expected = overlap_metrics(ours, truth, names, [1.0] * dims)
    maps = [torch.where(labels == 1, 614454277, torch.where(labels == 2, 12, 700)) for labels in (ours, truth)]
    assert overlap_metrics(*maps, large, [1.0] * dims) == pytest.approx(expected)


def test_large_labels_in_any_memory_layout_warn_of_nothing(recwarn):
    labels = (997 + 2**53 * torch.eye(5, 6, dtype=torch.int64)).T[None, None]  # with the memory layout of files
    torch.set_warn_always(True)  # otherwise torch warns only once
    try:
        found = overlap_metrics(labels, labels, {997: "a", 997 + 2**53: "b"}, (1, 1), hausdorff=False)
    finally:
        torch.set_warn_always(False)
    assert found == {"dice": 1, "dice/a": 1, "dice/b": 1}
    assert not recwarn.list


def test_without_labels_there_is_no_overlap():
    assert np.isnan(list(overlap_metrics(box(2, 0, 1), box(2, 0, 1), {}, [1.0, 1.0]).values())).all()


@pytest.mark.parametrize("dims", [2, 3])
def test_overlap_equals_monais(dims):
    shape = (24, 32, 20)[:dims]
    generator = torch.Generator().manual_seed(0)
    mode = "bilinear" if dims == 2 else "trilinear"
    noise = torch.rand(2, 1, *[length // 4 for length in shape], generator=generator)
    warped, fixed = (6 * torch.nn.functional.interpolate(noise, shape, mode=mode)).floor().short()[:, None].unbind()
    names, spacing = {1: "a", 2: "b", 4: "d", 5: "e", 7: "absent"}, (1.0, 2.0, 0.5)[:dims]
    metrics = overlap_metrics(warped, fixed, names, spacing)
    masks = [torch.cat([labels == value for value in names], dim=1).float() for labels in (warped, fixed)]
    expected = compute_dice(*masks, ignore_empty=True)[0]
    for name, score in zip(names.values(), expected.tolist(), strict=True):
        assert metrics[f"dice/{name}"] == pytest.approx(score, nan_ok=True)
    both = [index for index in range(len(names)) if masks[0][0, index].any() and masks[1][0, index].any()]
    distances = compute_hausdorff_distance(
        masks[0][:, both], masks[1][:, both], include_background=True, percentile=95, spacing=spacing
    )
    assert metrics["hd95"] == pytest.approx(float(distances.mean()))


@pytest.mark.parametrize("name", METRICS)
def test_only_a_metric_with_a_direction_has_a_best_value(name):
    """A quantile of the Jacobian determinant is neither better low nor high: 1 keeps the volume."""
    entry = METRICS[name]
    assert not ("_det_" in name and entry.better)
    assert bool(entry.better) or entry.best is None
