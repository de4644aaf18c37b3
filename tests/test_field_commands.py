"""The commands apply, compose, invert, jacobian, convert and points, on files like those of users."""

from itertools import pairwise
from pathlib import Path

import itk
import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from smoothmorph.experiments.cli import app
from smoothmorph.pipeline.images.volumes import read_volume, write_volume
from smoothmorph.transforms import Geometry, InputError, PhysicalField, jacobian_statistics, read_field, write_field
from world_cases import CORONAL, GRIDS, Case, blobs, grid, inner, make_case, make_field, save


@pytest.fixture
def call(tmp_path, monkeypatch):
    """The command line in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def done(call):
    """Call a command that must succeed."""

    def run(*words):
        result = call(*words)
        assert result.exit_code == 0, result.output
        return result

    return run


@pytest.fixture(params=["other moving grid", "2-D", "slice in space"])
def case(request, tmp_path) -> Case:
    made = make_case(request.param, tmp_path)
    write_field(tmp_path / "field.nii.gz", made.field)
    return made


@pytest.fixture
def translation(tmp_path) -> PhysicalField:
    """By hand: 2 mm voxels, first axis to the left, u = (1, 0, -2), so T(p) = p + (-2, 0, -4) in RAS mm."""
    geometry = Geometry((9, 8, 10), np.array([[-2.0, 0, 0, 8], [0, 2, 0, -7], [0, 0, 2, -9], [0, 0, 0, 1]]))
    field = PhysicalField(torch.tensor([1.0, 0, -2]).view(3, 1, 1, 1).expand(3, *geometry.shape), geometry)
    write_field(tmp_path / "field.nii.gz", field)
    save(tmp_path / "fixed.nii.gz", blobs(geometry.shape), geometry)
    return field


# apply


def test_apply(case, done):
    told = done("apply", "field.nii.gz", "moving.nii.gz", "--like", "fixed.nii.gz", "-o", "warped.nii.gz")
    assert told.stdout.startswith("wrote warped.nii.gz: moving.nii.gz on the fixed grid, ")
    assert "% of the voxels map outside of moving.nii.gz; they are set to 0." in told.stderr
    warped = nib.load("warped.nii.gz")
    assert warped.get_data_dtype() == np.float32
    assert warped.shape == nib.load("fixed.nii.gz").shape
    np.testing.assert_allclose(warped.affine, nib.load("fixed.nii.gz").affine, atol=1e-5)
    expected, inside = case.field.warp(case.image, case.moving)
    difference = np.abs(warped.get_fdata().reshape(case.field.fixed.shape) - expected[0].numpy())
    assert difference[inner(inside)].max() < 1e-5


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.float32])
@pytest.mark.parametrize("suffix", [".nii.gz", ".mha", ".nrrd"])
def test_labels_keep_type_and_values(dtype, suffix, translation, done):
    labels = np.random.default_rng(0).integers(0, 200, translation.fixed.shape).astype(dtype)
    labels[1, :2, 0] = 2**24 if dtype == np.float32 else np.iinfo(dtype).max, 127
    write_volume(Path(f"labels{suffix}"), labels, translation.fixed)
    told = done("apply", "field.nii.gz", f"labels{suffix}", "--labels", "-o", f"out{suffix}")
    assert "nearest neighbour" in told.stdout
    written = read_volume(Path(f"out{suffix}"), labels=True)
    expected = np.zeros_like(labels)
    expected[:-1, :, 2:] = labels[1:, :, :-2]
    np.testing.assert_array_equal(written.values[0].numpy(), expected)
    if suffix == ".nii.gz":
        assert nib.load(f"out{suffix}").get_data_dtype() == dtype


def test_labels_of_64_bits_below_zero_need_nifti(translation, done):
    labels = np.full(translation.fixed.shape, -(2**40))
    with pytest.raises(InputError, match=r"cannot write low.nrrd: it would hold -1099511627776, .*; choose .nii.gz."):
        write_volume(Path("low.nrrd"), labels, translation.fixed)
    written = read_volume(write_volume(Path("low.nii.gz"), labels, translation.fixed), labels=True)
    np.testing.assert_array_equal(written.values[0].numpy(), labels)


def test_a_label_map_as_an_image_is_noticed(translation, done):
    labels = (np.indices(translation.fixed.shape)[0] // 5).astype(np.uint8)
    save("labels.nii.gz", labels, translation.fixed)
    told = done("apply", "field.nii.gz", "labels.nii.gz", "-o", "out.nii.gz")
    assert (
        "notice: labels.nii.gz looks like a label map and was interpolated; if it is one, add --labels" in told.stderr
    )
    assert "label map" not in done("apply", "field.nii.gz", "fixed.nii.gz", "-o", "out.nii.gz").stderr


def test_a_mask_of_the_field_of_view_is_warped(translation, done):
    save("mask.nii.gz", np.ones(translation.fixed.shape, np.float32), translation.fixed)
    done("apply", "field.nii.gz", "mask.nii.gz", "-o", "out.nii.gz")
    warped = nib.load("out.nii.gz").get_fdata()
    assert (warped[-1] == 0).all()
    assert (warped[:-1, :, 2:] == 1).all()


def test_the_background(translation, done):
    done("apply", "field.nii.gz", "fixed.nii.gz", "-o", "out.nii.gz", "--background", "-1000")
    warped = nib.load("out.nii.gz").get_fdata()
    assert (warped[-1] == -1000).all()
    assert (warped[:-1, :, 2:] >= 0).all()


def test_a_slice_of_another_plane_is_refused(tmp_path, call, done):
    coronal = Geometry((6, 5), np.eye(4)[:, [0, 2, 1, 3]])
    axial = Geometry((6, 5), np.eye(4))
    write_field(tmp_path / "slice.nii.gz", PhysicalField.identity(coronal))
    for name, plane in (("coronal", coronal), ("axial", axial)):
        save(f"{name}.nii.gz", np.indices(plane.shape)[0][..., None].astype(np.float32), plane)
    done("apply", "slice.nii.gz", "coronal.nii.gz", "-o", "out.nii.gz")
    told = call("apply", "slice.nii.gz", "axial.nii.gz", "-o", "out.nii.gz")
    assert told.exit_code == 2
    assert "axial.nii.gz and slice.nii.gz are slices of different planes, as their affines say" in told.output


def test_apply_with_an_affine_of_ants(tmp_path, done):
    """ANTs' list [1Warp.nii.gz, 0GenericAffine.mat] equals our field with an affine, p ↦ A(p + d(p))."""
    ants = pytest.importorskip("ants")
    case = make_case("other moving grid", tmp_path, affine=True)
    write_field(tmp_path / "1Warp.nii.gz", PhysicalField(case.field.displacement, case.field.fixed))
    lps = np.diag([-1.0, -1, 1, 1]) @ case.field.affine @ np.diag([-1.0, -1, 1, 1])
    parameters = np.concatenate([lps[:3, :3].ravel(), lps[:3, 3]])
    affine = ants.create_ants_transform("AffineTransform", dimension=3, parameters=parameters)
    ants.write_transform(affine, str(tmp_path / "0GenericAffine.mat"))
    words = ("1Warp.nii.gz", "moving.nii.gz", "--affine", "0GenericAffine.mat", "-o", "warped.nii.gz")
    done("apply", *words)
    fixed, moving = ants.image_read("fixed.nii.gz"), ants.image_read("moving.nii.gz")
    theirs = ants.apply_transforms(fixed, moving, ["1Warp.nii.gz", "0GenericAffine.mat"]).numpy()
    _, inside = case.field.warp(case.image, case.moving)
    assert np.abs(nib.load("warped.nii.gz").get_fdata() - theirs)[inner(inside)].max() < 1e-3
    told = done("convert", "1Warp.nii.gz", "--affine", "0GenericAffine.mat", "-o", "all.h5")
    assert "affine stored separately" in told.stdout
    assert read_field("all.h5").affine is not None


# compose, invert, jacobian, convert


def test_compose_warps_in_the_order_given(translation, done):
    """By hand: FIRST is p + (-2, 0, -4), SECOND doubles p, so their composition is p ↦ 2 p + (-2, 0, -4)."""
    doubling = PhysicalField(torch.zeros_like(translation.displacement), translation.fixed, np.diag([2.0, 2, 2, 1]))
    write_field("second.mha", doubling)
    told = done("compose", "field.nii.gz", "second.mha", "-o", "both.h5")
    assert "wrote both.h5: warps an image with field.nii.gz, then second.mha" in told.stdout
    assert "det from 8 to 8" in told.stdout
    p = torch.tensor([[1.0, 2, 3]])
    torch.testing.assert_close(read_field("both.h5").map_points(p), torch.tensor([[0.0, 4, 2]]).double())
    done("compose", "second.mha", "field.nii.gz", "-o", "swapped.h5")
    torch.testing.assert_close(read_field("swapped.h5").map_points(p), torch.tensor([[-2.0, 4, -2]]).double())
    # the same for images
    done("apply", "both.h5", "fixed.nii.gz", "-o", "at_once.nii.gz")
    done("apply", "field.nii.gz", "fixed.nii.gz", "-o", "once.nii.gz")
    done("apply", "second.mha", "once.nii.gz", "-o", "twice.nii.gz")
    at_once, twice = (nib.load(f"{name}.nii.gz").get_fdata()[3:6, 3:5, 5:7] for name in ("at_once", "twice"))
    np.testing.assert_allclose(at_once, twice, atol=1e-4)


def test_invert(case, done):
    told = done("invert", "field.nii.gz", "--like", "moving.nii.gz", "-o", "inverse.nii.gz")
    assert "from the moving image to the fixed one" in told.stdout
    assert "inverse-consistency error |T⁻¹(T(p)) - p|: mean 0.0" in told.stdout
    inverse = read_field("inverse.nii.gz")
    assert inverse.fixed.is_same(case.moving)
    middle = case.field.fixed.affine @ np.array([*(size // 2 for size in case.field.fixed.lifted_shape), 1])
    p = torch.from_numpy(middle[:-1])[None]
    torch.testing.assert_close(inverse.map_points(case.field.map_points(p)), p, atol=0.1, rtol=0)


def test_a_translation_inverts_to_its_opposite(translation, done):
    done("invert", "field.nii.gz", "-o", "inverse.nii.gz")
    expected = -translation.displacement
    torch.testing.assert_close(read_field("inverse.nii.gz").displacement, expected, atol=2e-3, rtol=0)


@pytest.fixture
def shifted(tmp_path) -> Case:
    """``chain.h5``: a translation by 40 mm, then a field, written by ITK; ``moving.nii.gz`` has a distant grid."""
    made = make_case("other moving grid", tmp_path)
    away = np.eye(4)
    away[:3, 3] = -40, 0, 0  # RAS; LPS +40
    fixed = Geometry(made.field.fixed.shape, np.linalg.inv(away) @ made.field.fixed.affine)
    save(made.fixed_file, blobs(fixed.shape, seed=1), fixed)
    itk.transformwrite([chain(write_field(tmp_path / "part.h5", made.field), away)], str(tmp_path / "chain.h5"))
    return made


def chain(path: Path, first: np.ndarray) -> "itk.CompositeTransform":
    """The map p ↦ T(first · p) by ITK, with T from a file and ``first`` an affine in RAS mm."""
    composite = itk.transformread(str(path))[0]
    before, lps = itk.AffineTransform[itk.D, 3].New(), np.diag([-1.0, -1, 1])
    before.SetMatrix(itk.matrix_from_array(lps @ first[:3, :3] @ lps))
    before.SetOffset((lps @ first[:3, 3]).tolist())
    made = itk.CompositeTransform[itk.D, 3].New()
    for number in range(composite.GetNumberOfTransforms()):
        made.AddTransform(itk.down_cast(composite.GetNthTransform(number)))
    made.AddTransform(before)
    return made


def test_what_begins_with_an_affine_inverts_on_the_grid_that_it_is_for(shifted, call, done):
    """Reading the field on the moving image's grid would crop it at the edge of that grid."""
    refused = call("invert", "chain.h5", "--like", "moving.nii.gz", "-o", "inverse.h5")
    assert refused.exit_code == 2
    assert "chain.h5 begins with an affine" in refused.stderr
    assert "name the fixed image with --like (invert: --fixed)" in refused.stderr
    done("invert", "chain.h5", "--like", "moving.nii.gz", "--fixed", "fixed.nii.gz", "-o", "inverse.h5")
    inverse, grid = read_field("inverse.h5"), read_volume(shifted.fixed_file).grid
    assert inverse.fixed.is_same(shifted.moving)
    theirs = itk.transformread("chain.h5")[0]
    middle = (np.array(grid.shape) - 1) / 2
    for voxel in np.random.default_rng(0).uniform(middle - 5, middle + 5, (20, 3)):
        p = grid.affine[:3, :3] @ voxel + grid.affine[:3, 3]
        q = np.array(theirs.TransformPoint((p * [-1, -1, 1]).tolist())) * [-1, -1, 1]
        back = inverse.map_points(torch.from_numpy(q)[None])[0].numpy()
        assert np.abs(back - p).max() < 0.1


@pytest.mark.parametrize("kind", ["composite", "field alone"])
@pytest.mark.parametrize("first", [(-1, -1, 1), (-1, 1, 1)], ids=["180 degrees", "a mirror"])
def test_what_begins_with_a_turn_is_inverted(first, kind, tmp_path, done):
    """Composites of other tools contain the rotation from their array axes to world axes."""
    case = make_case("axis-aligned", tmp_path)
    turn = np.diag([*first, 1.0])
    itk.transformwrite([chain(write_field(tmp_path / "part.h5", case.field), turn)], str(tmp_path / "chain.h5"))
    if kind == "field alone":
        done("convert", "chain.h5", "--like", "fixed.nii.gz", "-o", "chain.nii.gz")
    file = "chain.h5" if kind == "composite" else "chain.nii.gz"
    p = np.random.default_rng(0).integers(-7, 8, (20, 3)) + 0.5 * np.array([1, 1, 1])  # at voxel centres
    there = itk.transformread("chain.h5")[0]
    q = np.array([there.TransformPoint((one * [-1, -1, 1]).tolist()) for one in p]) * [-1, -1, 1]
    write_csv("moving.csv", x=q[:, 0], y=q[:, 1], z=q[:, 2])
    told = done("points", file, "moving.csv", "--inverse", "--like", "fixed.nii.gz", "-o", "back.csv")
    assert "notice" not in told.stderr
    np.testing.assert_allclose(coordinates("back.csv"), p, atol=0.01)
    for out in ("inverse.h5", "inverse.nii.gz"):
        told = done("invert", file, "--like", "fixed.nii.gz", "--fixed", "fixed.nii.gz", "-o", out)
        assert "folds" not in told.stderr
        assert "folding: 0 % of the voxels" in told.stdout
        back = read_field(out, case.field.fixed).map_points(torch.from_numpy(q))
        assert np.abs(back.numpy() - p).max() < 0.2  # the field is interpolated between voxels


def test_an_affine_alone_inverts_on_any_grid(shifted, done):
    itk.transformwrite([itk.down_cast(itk.transformread("chain.h5")[0].GetNthTransform(1))], "alone.tfm")
    done("invert", "alone.tfm", "--like", "fixed.nii.gz", "-o", "inverse.h5")
    p = torch.tensor([[1.0, 2, 3]])
    torch.testing.assert_close(read_field("inverse.h5").map_points(p), torch.tensor([[41.0, 2, 3]]).double())


def test_points_beyond_the_first_field_are_noticed(translation, done):
    affine = translation.fixed.affine
    save("half.nii.gz", blobs((9, 8, 5)), Geometry((9, 8, 5), affine))
    done("convert", "field.nii.gz", "--like", "half.nii.gz", "-o", "half.mha")
    told = done("compose", "half.mha", "field.nii.gz", "-o", "both.nii.gz")
    # field.nii.gz maps 8 of 9 voxels of the first axis into the grid, and k from 2 to 6 to k - 2 in 0 to 4
    percent = 100 * (1 - 8 / 9 * 5 / 10)
    assert f"notice: {percent:.3g} % of the points that field.nii.gz maps to lie outside of half.mha" in told.stderr


def test_jacobian_includes_the_affine(tmp_path, done):
    geometry = GRIDS["oblique"][0]
    field = PhysicalField(torch.zeros(3, *geometry.shape), geometry, np.diag([2.0, 1.5, 1, 1]))
    write_field(tmp_path / "field.h5", field)
    told = done("jacobian", "field.h5", "-o", "jacobian.nii.gz")
    np.testing.assert_allclose(nib.load("jacobian.nii.gz").get_fdata(), 3.0, atol=1e-4)  # 2 · 1.5 · 1
    assert "folding: 0 % of the voxels have det <= 0" in told.stdout
    assert "det from 3 to 3" in told.stdout


def test_jacobian_tells_of_folding(tmp_path, done):
    geometry = grid((20, 18), (1, 1.5))
    x = torch.arange(20.0).view(20, 1).expand(20, 18)
    field = PhysicalField(torch.stack([-3 * torch.exp(-((x - 9) ** 2) / 8) * (x - 9), 0 * x]), geometry)
    write_field(tmp_path / "field.nii.gz", field)
    told = done("jacobian", "field.nii.gz", "-o", "jacobian.nii.gz")
    percent = float(jacobian_statistics(field.displacement[None])["nonpositive_percent"])
    assert percent > 5
    assert f"folding: {percent:.3g} %" in told.stdout
    assert 100 * (nib.load("jacobian.nii.gz").get_fdata() <= 0).mean() == pytest.approx(percent)


def test_convert_to_every_kind_and_back(case, done):
    names = ["field.nii.gz", "a.mha", "b.nrrd", "c.h5", "d.npz", "e.nii"]
    for source, target in pairwise(names):
        assert f"wrote {target}: " in done("convert", source, "-o", target).stdout
    torch.testing.assert_close(read_field("e.nii").displacement, case.field.displacement, atol=1e-4, rtol=0)


def test_convert_onto_another_grid(translation, done):
    finer = grid((17, 15, 19), (1, 1, 1))
    save("finer.nii.gz", blobs(finer.shape), finer)
    told = done("convert", "field.nii.gz", "--like", "finer.nii.gz", "-o", "finer.mha")
    assert "was resampled from its own grid" in told.stderr
    field = read_field("finer.mha")
    assert field.fixed.is_same(finer)
    expected = torch.tensor([-2.0, 0, -4]).view(3, 1, 1, 1).expand_as(field.displacement)
    torch.testing.assert_close(field.displacement, expected, atol=1e-4, rtol=0)


def test_voxelmorphs_warp_takes_the_grid_of_like(translation, done, call):
    np.savez("warp.npz", vol=translation.displacement.numpy())
    refused = call("apply", "warp.npz", "fixed.nii.gz", "-o", "out.nii.gz")
    assert refused.exit_code == 2
    done("convert", "warp.npz", "--like", "fixed.nii.gz", "-o", "warp.nii.gz")
    torch.testing.assert_close(read_field("warp.nii.gz").displacement, translation.displacement, atol=1e-5, rtol=0)
    done("apply", "warp.npz", "fixed.nii.gz", "--like", "fixed.nii.gz", "-o", "out.nii.gz")
    save("elsewhere.nii.gz", blobs((9, 8, 10)), grid((9, 8, 10), (2, 2, 2)))
    refused = call("apply", "warp.npz", "elsewhere.nii.gz", "--like", "fixed.nii.gz", "-o", "out.nii.gz")
    assert "is a VoxelMorph warp, for moving and fixed images on one grid, but elsewhere.nii.gz" in refused.stderr


def test_real_slices(real_data, done):
    """Coronal OASIS slices of 160x192x1 voxels: ITK and ANTs see three axes, so the written field has three, too."""
    folders = sorted((real_data / "neurite-oasis-2d").glob("OASIS_OAS1_*_MR1"))[:2]
    moving, fixed = (folder / "slice_norm.nii.gz" for folder in folders)
    geometry = read_volume(fixed).grid
    assert (geometry.shape, geometry.world_axes) == ((160, 192), 3)
    field = make_field(geometry)
    write_field("field.nii.gz", field)
    done("apply", "field.nii.gz", moving, "--like", fixed, "-o", "warped.nii.gz")
    done("apply", "field.nii.gz", folders[0] / "slice_seg24.nii.gz", "--labels", "--like", fixed, "-o", "seg.nii.gz")
    assert nib.load("seg.nii.gz").get_data_dtype() == np.uint8
    ants = pytest.importorskip("ants")
    theirs = ants.apply_transforms(ants.image_read(str(fixed)), ants.image_read(str(moving)), ["field.nii.gz"])
    assert np.abs(nib.load("warped.nii.gz").get_fdata() - theirs.numpy())[3:-3, 3:-3].max() < 1e-3


# points


def write_csv(name: str, **columns) -> None:
    pd.DataFrame(columns).to_csv(name, index=False)


def coordinates(name: str) -> list[list[float]]:
    return pd.read_csv(name)[["x", "y", "z"]].round(4).to_numpy().tolist()


def test_points_go_from_fixed_to_moving(translation, done):
    """By hand: T(p) = p + (-2, 0, -4) in RAS mm; --inverse gives the opposite."""
    write_csv("fixed.csv", label=["a", "b"], x=[0, 1.5], y=[1, -2], z=[0, 3])
    told = done("points", "field.nii.gz", "fixed.csv", "-o", "moving.csv")
    assert coordinates("moving.csv") == [[-2, 1, -4], [-0.5, -2, -1]]
    assert pd.read_csv("moving.csv")["label"].tolist() == ["a", "b"]
    assert "2 points of the fixed image (fixed.csv) mapped to the moving image, T(p)" in told.stdout
    assert "RAS mm" in told.stdout
    told = done("points", "field.nii.gz", "moving.csv", "--inverse", "-o", "back.csv")
    assert coordinates("back.csv") == [[0, 1, 0], [1.5, -2, 3]]
    assert "points of the moving image (moving.csv) mapped to the fixed image" in told.stdout


def test_points_in_lps(translation, done):
    write_csv("fixed.csv", x=[0.0], y=[-1.0], z=[0.0])
    done("points", "field.nii.gz", "fixed.csv", "--lps", "-o", "moving.csv")
    assert coordinates("moving.csv") == [[2, -1, -4]]  # RAS (0, 1, 0) -> (-2, 1, -4)


def test_points_agree_with_ants(tmp_path, done):
    ants = pytest.importorskip("ants")
    case = make_case("other moving grid", tmp_path, affine=True)
    write_field(tmp_path / "field.nii.gz", case.field)
    middle = np.array([0.0, -30.0, -20.0])  # centre of the fixed grid, LPS
    table = pd.DataFrame(middle + np.random.default_rng(0).uniform(-6, 6, (5, 3)), columns=["x", "y", "z"])
    table.to_csv("fixed.csv", index=False)
    done("points", "field.nii.gz", "fixed.csv", "--lps", "-o", "moving.csv")
    theirs = ants.apply_transforms_to_points(3, table, [str(tmp_path / "field.nii.gz")])
    np.testing.assert_allclose(pd.read_csv("moving.csv")[["x", "y", "z"]], theirs[["x", "y", "z"]], atol=1e-3)


def test_a_table_keeps_what_is_not_a_coordinate(translation, done):
    Path("fixed.csv").write_text('name, x ,y,z,"note, free"\r\n"a ""b""", 0,1,0,NA\r\n\r\n001,0,0,0,\r\n')
    done("points", "field.nii.gz", "fixed.csv", "-o", "out.csv")
    table = pd.read_csv("out.csv", dtype=str, keep_default_na=False)
    assert table.columns.tolist() == ["name", "x", "y", "z", "note, free"]
    assert table[["name", "note, free"]].to_numpy().tolist() == [['a "b"', "NA"], ["001", ""]]
    assert coordinates("out.csv") == [[-2, 1, -4], [-2, 0, -4]]


def test_tre(translation, done):
    write_csv("fixed.csv", id=[1, 2, 3], x=[0, 1, 2], y=[0, 0, 0], z=[0, 0, 0])
    write_csv("moving.csv", id=[1, 2, 3], x=[-2, -1, 0], y=[0, 0, 3], z=[-4, -4, 0])
    told = done("points", "field.nii.gz", "fixed.csv", "--against", "moving.csv", "-o", "out.csv")
    table = pd.read_csv("out.csv")
    assert table["tre_before_mm"].round(3).tolist() == [4.472, 4.472, 3.606]  # √(2² + 4²), √(2² + 3²)
    assert table["tre_after_mm"].round(3).tolist() == [0, 0, 5]  # √(3² + 4²)
    assert "TRE: mean 4.183 mm before, 1.667 mm after; median 4.472 mm before, 0 mm after." in told.stdout


def test_points_beyond_the_grid_are_noticed(translation, done):
    write_csv("fixed.csv", x=[0, 500], y=[0, 0], z=[0, 0])
    told = done("points", "field.nii.gz", "fixed.csv", "-o", "out.csv")
    assert "notice: 1 of 2 points lie outside of the fixed grid" in told.stderr
    assert coordinates("out.csv")[1] == [498, 0, -4]


def test_points_without_an_inverse_are_noticed(tmp_path, done):
    geometry = grid((16, 16), (1, 1))
    x = torch.arange(16.0).view(16, 1).expand(16, 16)
    field = PhysicalField(torch.stack([6 * torch.exp(-((x - 8) ** 2) / 4) * (x - 8), 0 * x]), geometry)
    write_field("field.nii.gz", field)
    write_csv("moving.csv", x=[1.9, 7.4], y=[0, 0])
    told = done("points", "field.nii.gz", "moving.csv", "--inverse", "-o", "out.csv")
    assert "have no reliable inverse" in told.stderr
    told = done("invert", "field.nii.gz", "-o", "inverse.nii.gz")
    assert "notice: field.nii.gz: " in told.stderr
    assert "of the voxels have no reliable inverse" in told.stderr


# Mistakes: one line, exit code 2


@pytest.fixture
def mistakes(translation):
    """Files that do not fit."""
    other = grid((9, 8, 12), (2, 2, 2))
    save("other.nii.gz", blobs(other.shape), other)
    save("far.nii.gz", blobs((9, 8, 10)), grid((9, 8, 10), (2, 2, 2), centre=(500, 0, 0)))
    save("flat.nii.gz", blobs((9, 8)), grid((9, 8), (2, 2)))
    save("slice.nii.gz", blobs((9, 8)), grid((9, 8), (2, 2, 2), CORONAL))
    nib.save(nib.Nifti1Image(blobs((9, 8, 10)), None), "lost.nii.gz")
    nib.save(nib.Nifti1Image(np.ones((9, 8, 10, 4), np.float32), translation.fixed.affine), "series.nii.gz")
    write_field("far_field.nii.gz", make_field(grid((9, 8, 10), (2, 2, 2), centre=(500, 0, 0))))
    write_field("flat_field.nii.gz", make_field(GRIDS["2-D"][0]))
    write_field("also.nii.gz", translation)
    write_csv("good.csv", x=[0, 1], y=[0, 0], z=[0, 0])
    write_csv("short.csv", x=[0], y=[0], z=[0])
    write_csv("named.csv", label=["a", "b"], x=[0, 1], y=[0, 0], z=[0, 0])
    write_csv("renamed.csv", label=["b", "a"], x=[0, 1], y=[0, 0], z=[0, 0])
    write_csv("flat.csv", x=[0], y=[0])
    write_csv("word.csv", x=[0, "far"], y=[0, 0], z=[0, 0])
    write_csv("none.csv", x=[], y=[], z=[])
    Path("empty.csv").touch()
    Path("longer.csv").write_text("x,y,z\n0,0,0,7\n1,0,0,7\n")
    Path("trailing.csv").write_text("x,y,z\n0,0,0\n1,0,0,\n")
    Path("shorter.csv").write_text("id,x,y,z\na,0,0\n")
    Path("twice.csv").write_text("x,y,z,x\n0,0,0,1\n")
    Path("quote.csv").write_text('id,x,y,z\n"a,0,0,0\nb,0,0,0\n')


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["apply", "field.nii.gz", "fixed.nii.gz", "--like", "other.nii.gz"], "lies on another grid than other.nii.gz"),
        (["apply", "field.nii.gz", "fixed.nii.gz", "--labels"], "a label map holds integers only"),
        (["apply", "field.nii.gz", "lost.nii.gz"], "lost.nii.gz has no direction cosines"),
        (["apply", "field.nii.gz", "fixed.nii.gz", "--like", "lost.nii.gz"], "lost.nii.gz has no direction cosines"),
        (["apply", "field.nii.gz", "field.nii.gz"], "each voxel has 3 numbers, expected one"),
        (["apply", "field.nii.gz", "series.nii.gz"], "has 9x8x10x4 values, expected one image of 2 or 3 axes"),
        (["apply", "fixed.nii.gz", "fixed.nii.gz"], "so it is not a displacement field of ITK or ANTs"),
        (["apply", "field.nii.gz", "far.nii.gz"], "maps no point into far.nii.gz"),
        (["apply", "field.nii.gz", "flat.nii.gz"], "field.nii.gz lies in 3-D space, but flat.nii.gz in two dimensions"),
        (["apply", "flat_field.nii.gz", "slice.nii.gz"], "lies in two dimensions, but slice.nii.gz in 3-D space"),
        (["apply", "field.nii.gz", "none.nii.gz"], "none.nii.gz does not exist"),
        (["apply", "field.nii.gz", "fixed.nii.gz", "--affine", "also.nii.gz"], "also.nii.gz must hold only an affine"),
        (["compose", "field.nii.gz"], "compose needs two fields or more, got 1"),
        (["compose", "flat_field.nii.gz", "field.nii.gz"], "lies in two dimensions, but field.nii.gz in 3-D"),
        (["compose", "field.nii.gz", "also.nii.gz", "--like", "other.nii.gz"], "another grid than other.nii.gz"),
        (
            ["compose", "far_field.nii.gz", "field.nii.gz"],
            "field.nii.gz maps no point into far_field.nii.gz (",
        ),
        (
            ["compose", "also.nii.gz", "far_field.nii.gz", "also.nii.gz"],
            "also.nii.gz maps no point into far_field.nii.gz",
        ),
        (["invert", "field.nii.gz", "--like", "far.nii.gz"], "field.nii.gz maps no point into far.nii.gz ("),
        (["invert", "field.nii.gz", "--fixed", "other.nii.gz"], "lies on another grid than other.nii.gz"),
        (["convert", "field.nii.gz", "--like", "far.nii.gz"], "far.nii.gz lies completely outside of field.nii.gz"),
        (["invert", "none.nii.gz"], "none.nii.gz does not exist"),
        (["jacobian", "fixed.nii.gz"], "not a displacement field"),
        (["convert", "field.nii.gz", "--affine", "none.mat"], "none.mat does not exist"),
        (["convert", "field.nii.gz", "--like", "flat.nii.gz"], "field.nii.gz lies in 3-D space, but flat.nii.gz"),
        (
            ["apply", "field.nii.gz", "fixed.nii.gz", "-o", "x.nii.gz", "--background", "nan"],
            "the background is nan, expected a number that a voxel in float32 can have",
        ),
        (
            ["apply", "field.nii.gz", "fixed.nii.gz", "-o", "x.nii.gz", "--background", "1e39"],
            "the background is 1e+39, expected a number",
        ),
        (["points", "field.nii.gz", "flat.csv"], "flat.csv has the columns x, y; expected x, y, z in mm"),
        (["points", "field.nii.gz", "word.csv"], "word.csv, row 2: x is 'far', expected a number in mm"),
        (["points", "field.nii.gz", "none.csv"], "none.csv holds no points"),
        (["points", "field.nii.gz", "empty.csv"], "empty.csv has the columns none; expected x, y, z in mm"),
        (["points", "field.nii.gz", "longer.csv"], "longer.csv, line 2 has 4 cells, but there are 3 columns"),
        (["points", "field.nii.gz", "trailing.csv"], "trailing.csv, line 3 has 4 cells, but there are 3 columns"),
        (["points", "field.nii.gz", "shorter.csv"], "shorter.csv, line 2 has 3 cells, but there are 4 columns"),
        (["points", "field.nii.gz", "twice.csv"], "twice.csv has 2 columns 'x'; keep one of them"),
        (["points", "field.nii.gz", "quote.csv"], "quote.csv, line 3: unexpected end of data; save it as plain CSV"),
        (["points", "field.nii.gz", "good.csv", "--against", "longer.csv"], "longer.csv, line 2 has 4 cells"),
        (["points", "field.nii.gz", "missing.csv"], "cannot read missing.csv"),
        (["points", "field.nii.gz", "good.csv", "--against", "short.csv"], "short.csv holds 1 points, but good.csv"),
        (["points", "field.nii.gz", "named.csv", "--against", "renamed.csv"], "row 1 has label 'b', but named.csv"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(words, sentence, call, mistakes):
    out = "out.csv" if words[0] == "points" else "out.nii.gz"
    result = call(*words, "-o", out)
    assert result.exit_code == 2, result.output
    assert sentence in result.stderr
    assert result.stderr.startswith("error: ")
    assert len(result.stderr.strip().splitlines()) == 1
    assert not Path(out).exists()


@pytest.mark.parametrize("command", ["apply", "compose", "invert", "jacobian", "convert", "points"])
def test_an_unknown_ending_is_refused_before_anything_is_read(command, call):
    """None of the inputs exists, so only the first check can report its fault."""
    words = ["field.nii.gz", "fixed.nii.gz"][: 2 if command in ("apply", "compose", "points") else 1]
    result = call(command, *words, "-o", "out.jpg")
    assert result.exit_code == 2
    expected = ".csv" if command == "points" else ".nii, .nii.gz"
    assert f"out.jpg has none of the endings that it can be written with: {expected}" in result.stderr


@pytest.mark.parametrize(
    ("words", "out"),
    [
        ("apply field.nii.gz moving.nii.gz", "moving.nii.gz"),
        ("apply field.nii.gz moving.nii.gz", "field.nii.gz"),
        ("apply field.nii.gz moving.nii.gz --like fixed.nii.gz", "fixed.nii.gz"),
        ("apply field.nii.gz moving.nii.gz", "linked.nii.gz"),
        ("compose field.nii.gz also.nii.gz", "./also.nii.gz"),
        ("invert field.nii.gz", "field.nii.gz"),
        ("jacobian field.nii.gz --like fixed.nii.gz", "fixed.nii.gz"),
        ("convert field.nii.gz --like fixed.nii.gz", "fixed.nii.gz"),
        ("points field.nii.gz points.csv", "points.csv"),
        ("points field.nii.gz points.csv --against truth.csv", "truth.csv"),
    ],
)
def test_an_input_is_never_replaced(words, out, translation, call):
    write_field("also.nii.gz", translation)
    save("moving.nii.gz", blobs(translation.fixed.shape), translation.fixed)
    Path("linked.nii.gz").symlink_to("moving.nii.gz")
    for name in ("points.csv", "truth.csv"):
        write_csv(name, x=[0], y=[1], z=[0])
    before = {path: path.read_bytes() for path in Path().iterdir()}
    result = call(*words.split(), "-o", out)
    assert result.exit_code == 2, result.output
    assert f"{Path(out)} is an input file, and writing would replace it; choose another name" in result.stderr
    assert {path: path.read_bytes() for path in Path().iterdir()} == before


@pytest.mark.parametrize(
    ("out", "sentence"),
    [
        ("fixed.nii.gz/out.nii.gz", "fixed.nii.gz is a file, not a folder; choose another folder"),
        ("fixed.nii.gz/new/out.nii.gz", "fixed.nii.gz is a file, not a folder; choose another folder"),
        ("folder.nii.gz", "it is a folder; choose another name"),
    ],
)
def test_a_place_where_nothing_can_be_written(out, sentence, translation, call):
    Path("folder.nii.gz").mkdir()
    result = call("convert", "none.nii.gz", "-o", out)
    assert result.exit_code == 2
    assert f"error: cannot write {out}: {sentence}" in result.stderr
