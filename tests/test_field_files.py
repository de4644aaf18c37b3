"""Field files compared with the code of the tools that write or read them: ITK, ANTs and VoxelMorph."""

import gzip
from dataclasses import replace
from pathlib import Path

import itk
import nibabel as nib
import numpy as np
import pytest
import torch

from official_voxelmorph import import_voxelmorph
from smoothmorph.transforms import Geometry, InputError, PhysicalField, read_field, warp, write_field
from world_cases import (
    GRIDS,
    TWO_PLACES,
    Case,
    grid,
    inner,
    itk_transform,
    itk_transform_of,
    make_case,
    make_field,
    place_twice,
    rotation,
    warped_by_ants,
    warped_by_itk,
)

AGREEMENT = 1e-3
"""Tolerance as a fraction of the intensity range, which is 1."""
FORMATS = (".nii", ".nii.gz", ".mha", ".nrrd", ".h5", ".npz")
OF_OTHERS = (".nii.gz", ".mha", ".nrrd", ".h5")


@pytest.fixture(scope="module", params=GRIDS)
def case(request, tmp_path_factory) -> Case:
    return make_case(request.param, tmp_path_factory.mktemp("case"))


def with_affine(case: Case) -> PhysicalField:
    return make_field(case.field.fixed, affine=True)


def check(case: Case, field: PhysicalField, theirs: np.ndarray) -> None:
    """Our warped image and another tool's agree away from edges, and the field changes the image."""
    warped, inside = field.warp(case.image, case.moving)
    keep = inner(inside)
    ours = warped[0].numpy()
    assert keep.mean() > 0.3
    assert np.abs(ours - theirs)[keep].max() < AGREEMENT
    still, _ = PhysicalField(torch.zeros_like(field.displacement), field.fixed).warp(case.image, case.moving)
    assert np.abs(ours - still[0].numpy())[keep].max() > 0.1


# Written by smoothmorph, read by other tools


@pytest.mark.parametrize("affine", [False, True], ids=["displacement", "with affine"])
@pytest.mark.parametrize("suffix", OF_OTHERS)
def test_itk_and_ants_warp_by_our_file_as_we_do(case, suffix, affine):
    field = with_affine(case) if affine else case.field
    file = write_field(case.folder / f"ours{affine}{suffix}", field)
    check(case, field, warped_by_itk(case, itk_transform(file)))
    check(case, field, warped_by_ants(case, [file]))


def test_the_affine_is_a_transform_of_its_own_in_h5(case):
    composite = itk.transformread(str(write_field(case.folder / "apart.h5", with_affine(case))))[0]
    kinds = [type(itk.down_cast(composite.GetNthTransform(n))).__name__ for n in range(2)]
    assert [kind.rstrip("D23") for kind in kinds] == ["itkAffineTransform", "itkDisplacementFieldTransform"]


def test_nifti_fields_have_five_axes_and_the_vector_intent(case):
    image = nib.load(write_field(case.folder / "header.nii.gz", case.field))
    world = case.field.fixed.world_axes
    assert image.shape[3:] == (1, world)
    assert image.header["intent_code"] == 1007
    assert (image.header["qform_code"], image.header["sform_code"]) == (1, 1)


def test_what_we_write_we_read(case):
    for affine in (False, True):
        field = with_affine(case) if affine else case.field
        for suffix in FORMATS:
            back = read_field(write_field(case.folder / f"back{suffix}", field))
            assert back.fixed.is_same(field.fixed)
            assert back.fixed.world_axes == field.fixed.world_axes
            assert (back.affine is not None) == (affine and suffix == ".h5")
            torch.testing.assert_close(back.dense().displacement, field.dense().displacement, atol=1e-4, rtol=0)


# Written by other tools, read by smoothmorph


@pytest.fixture(scope="module")
def spline(case):
    """A B-spline transform by ITK over the fixed grid, and its displacements sampled by ITK."""
    fixed = itk.imread(str(case.fixed_file), itk.F)
    world = fixed.GetImageDimension()
    transform = itk.BSplineTransform[itk.D, world, 3].New()
    initializer = itk.BSplineTransformInitializer[type(transform), type(fixed)].New()
    initializer.SetTransform(transform)
    initializer.SetImage(fixed)
    initializer.SetTransformDomainMeshSize([4] * world)
    initializer.InitializeTransform()
    numbers = np.random.default_rng(5).uniform(-4, 4, transform.GetNumberOfParameters()).reshape(world, -1)
    if case.field.fixed.axes < world:  # displacements stay within the slice
        axes = case.field.fixed.affine[:3, :2] / np.array(case.field.fixed.spacing)
        numbers = np.diag([-1.0, -1, 1]) @ axes @ axes.T @ np.diag([-1.0, -1, 1]) @ numbers
    transform.SetParameters(itk.OptimizerParameters[itk.D](numbers.ravel().tolist()))
    sampling = itk.TransformToDisplacementFieldFilter[itk.Image[itk.Vector[itk.F, world], world], itk.D].New()
    sampling.SetTransform(transform)
    sampling.SetReferenceImage(fixed)
    sampling.UseReferenceImageOn()
    sampling.Update()
    return transform, sampling.GetOutput()


@pytest.mark.parametrize("suffix", [".nii.gz", ".mha", ".nrrd"])
def test_we_warp_by_itks_file_as_itk_and_ants_do(case, spline, suffix):
    file = case.folder / f"theirs{suffix}"
    itk.imwrite(spline[1], str(file))
    if suffix == ".nii.gz" and case.field.fixed.axes < case.field.fixed.world_axes:
        # ITK ignores the position in such a file
        check(case, read_field(file), warped_by_itk(case, spline[0]))
        return
    check(case, read_field(file), warped_by_itk(case, itk_transform(file)))
    check(case, read_field(file), warped_by_ants(case, [file]))


def test_we_warp_by_itks_composite_as_itk_and_ants_do(case, spline):
    """A rigid transform about a centre, a field in double precision, and a composite within a composite."""
    world = case.field.fixed.world_axes
    displacement = itk_transform_of(spline[1])
    rigid = itk.Euler3DTransform[itk.D].New() if world == 3 else itk.Euler2DTransform[itk.D].New()
    if case.field.fixed.axes == world:
        rigid.SetCenter([3.0, -4.0, 5.0][:world])
        rigid.SetRotation(*([0.05, -0.04, 0.06] if world == 3 else [0.05]))
    rigid.SetTranslation([0.5, 0.0, -0.7][:world])  # in the plane of the coronal slice, too
    inner_composite = itk.CompositeTransform[itk.D, world].New()
    inner_composite.AddTransform(rigid)
    composite = itk.CompositeTransform[itk.D, world].New()
    composite.AddTransform(inner_composite)
    composite.AddTransform(displacement)
    flat = itk.CompositeTransform[itk.D, world].New()
    flat.AddTransform(rigid)
    flat.AddTransform(displacement)
    file = case.folder / "theirs.h5"
    itk.transformwrite([flat], str(file), compression=True)
    field = read_field(file)
    assert field.affine is not None
    for read in (field, field.dense()):
        check(case, read, warped_by_itk(case, composite))
        check(case, read, warped_by_ants(case, [file]))


@pytest.mark.parametrize("name", ["other moving grid", "2-D"])
def test_we_warp_by_the_result_of_ants_as_ants_does(name, tmp_path):
    """SyN with its affine: as separate files and as composites, in both directions."""
    ants = pytest.importorskip("ants")
    case = make_case(name, tmp_path)
    fixed, moving = ants.image_read(str(case.fixed_file)), ants.image_read(str(case.moving_file))
    # the fixed image is the warped moving image, so that there is a deformation to find
    fixed = fixed.new_image_like(make_field(case.field.fixed, affine=True).warp(case.image, case.moving)[0][0].numpy())
    settings = {"type_of_transform": "SyN", "reg_iterations": (10, 5), "aff_iterations": (50, 20), "random_seed": 1}
    settings |= {"aff_shrink_factors": (2, 1), "aff_smoothing_sigmas": (1, 0), "aff_metric": "meansquares"}
    found = ants.registration(fixed, moving, outprefix=f"{tmp_path}/", **settings)
    warp_file, affine_file = (Path(file) for file in found["fwdtransforms"])
    assert (warp_file.name, affine_file.name) == ("1Warp.nii.gz", "0GenericAffine.mat")
    field = read_field(warp_file)
    affine = read_field(affine_file, field.fixed)
    assert not affine.displacement.any()
    both = replace(field, affine=affine.affine)
    check(case, both, warped_by_ants(case, [warp_file, affine_file]))
    # the inverse, from moving to fixed: first the inverse affine, then the inverse field
    inverse = read_field(tmp_path / "1InverseWarp.nii.gz").followed_by(affine.inverse(case.moving))
    composites = ants.registration(
        fixed, moving, outprefix=f"{tmp_path}/all", write_composite_transform=True, **settings
    )
    forward = read_field(composites["fwdtransforms"])
    check(case, forward, warped_by_ants(case, [Path(composites["fwdtransforms"])]))
    backward = read_field(composites["invtransforms"], case.moving)
    points = torch.from_numpy(case.moving.affine[:-1, :-1] @ (np.array(case.moving.shape) / 2))[None]
    points = points + torch.tensor(case.moving.affine[:-1, -1])
    torch.testing.assert_close(inverse.map_points(points), backward.map_points(points), atol=2e-2, rtol=0)
    torch.testing.assert_close(forward.map_points(inverse.map_points(points)), points, atol=0.2, rtol=0)


def test_points_go_where_itk_sends_them(case):
    """The same map on points instead of images: LPS points in ITK, RAS points in smoothmorph."""
    field = with_affine(case)
    transform = itk_transform(write_field(case.folder / "points.h5", field))
    world, size = field.fixed.world_axes, np.array(field.fixed.lifted_shape)
    sign = np.array([-1.0, -1, 1])[:world]
    for share in (0.3, 0.45, 0.7):
        p = field.fixed.affine[:-1, :-1] @ ((size - 1) * share) + field.fixed.affine[:-1, -1]
        theirs = sign * np.array(transform.TransformPoint((sign * p).tolist()))
        np.testing.assert_allclose(field.map_points(torch.from_numpy(p)[None])[0].numpy(), theirs, atol=1e-3)


def test_ras_displacements_of_the_nifti_standard(tmp_path):
    """ITK reads intent 1006 as RAS, too."""
    field = make_field(GRIDS["oblique"][0])
    image = nib.load(write_field(tmp_path / "field.nii.gz", field))
    image.header.set_intent(1006)
    nib.save(nib.Nifti1Image(image.get_fdata() * [-1, -1, 1], image.affine, image.header), tmp_path / "ras.nii.gz")
    torch.testing.assert_close(read_field(tmp_path / "ras.nii.gz").displacement, field.displacement, atol=1e-5, rtol=0)


# VoxelMorph


@pytest.mark.filterwarnings("ignore:torch.meshgrid")
@pytest.mark.parametrize("shape", [(24, 20), (14, 16, 12)], ids=["2-D", "3-D"])
def test_voxelmorphs_warps_both_ways(shape, tmp_path):
    vxm = import_voxelmorph()
    geometry = grid(shape, (1.5, 0.7, 2.0)[: len(shape)], centre=(4, 5, 6)[: len(shape)])
    field = make_field(geometry)
    moving = torch.rand((1, 1, *shape), generator=torch.Generator().manual_seed(0))
    # as VoxelMorph's scripts/torch/register.py saves it, and with components last as scripts/tf/register.py does
    for name, array in (("torch", field.displacement.numpy()), ("tf", np.moveaxis(field.displacement.numpy(), 0, -1))):
        vxm.py.utils.save_volfile(array, str(tmp_path / f"{name}.npz"))
        back = read_field(tmp_path / f"{name}.npz", like=geometry)
        assert torch.equal(back.displacement, field.displacement)
        assert back.fixed is geometry
    # our file, loaded and applied by VoxelMorph's code
    loaded = vxm.py.utils.load_volfile(str(write_field(tmp_path / "ours.npz", field)))
    theirs = vxm.torch.layers.SpatialTransformer(shape)(moving, torch.from_numpy(loaded)[None])
    ours = warp(moving, read_field(tmp_path / "ours.npz").displacement[None], padding_mode="zeros")
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)
    assert read_field(tmp_path / "ours.npz").fixed.is_same(geometry)


# Files that cannot be read or written give one sentence with their name


@pytest.fixture
def good(tmp_path):
    return make_field(GRIDS["oblique"][0]), tmp_path


def refused(path: Path, sentence: str, like: Geometry | None = None) -> None:
    with pytest.raises(InputError) as caught:
        read_field(path, like)
    assert str(path) in str(caught.value)
    assert sentence in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_no_field_file(tmp_path):
    refused(tmp_path / "field.nii.gz", "does not exist")
    (tmp_path / "field.txt.zip").touch()
    refused(tmp_path / "field.txt.zip", "none of the endings of displacement fields: .nii, .nii.gz, .mha")
    for suffix in (*FORMATS, ".mat"):
        (tmp_path / f"rubbish{suffix}").write_bytes(b"no field " * 99)
        refused(
            tmp_path / f"rubbish{suffix}", {".h5": "is not an HDF5 file", ".mat": "not what its ending"}.get(suffix, "")
        )


@pytest.mark.parametrize("suffix", FORMATS)
def test_truncated(suffix, good, capfd):
    field, folder = good
    path = write_field(folder / f"field{suffix}", field)
    path.write_bytes(path.read_bytes()[:-2000])
    refused(path, "is truncated: it has " if suffix == ".h5" else "")
    assert "HDF5-DIAG" not in capfd.readouterr().err


def test_a_damaged_end(good):
    field, folder = good
    path = write_field(folder / "field.nii.gz", field)
    damaged = bytearray(path.read_bytes())
    damaged[-6] ^= 1  # a bit of the checksum
    path.write_bytes(damaged)
    refused(path, "truncated or damaged")


def test_images_are_no_fields(tmp_path):
    case = make_case("oblique", tmp_path)
    refused(case.moving_file, "has 30x28x26 values with intent code 0, so it is not a displacement field")
    for suffix in (".mha", ".nrrd"):
        itk.imwrite(itk.imread(str(case.moving_file)), str(tmp_path / f"image{suffix}"))
        refused(
            tmp_path / f"image{suffix}", "an image of 3 axes with 1 component per voxel, so it is not a displacement"
        )


def test_positions_are_no_displacements(good):
    field, folder = good
    image = nib.load(write_field(folder / "field.nii", field))
    image.header.set_intent(1007, name="Mapping")
    nib.save(image, folder / "y_spm.nii")
    refused(folder / "y_spm.nii", "holds positions (an SPM mapping), expected displacements")


def test_without_direction_cosines(good):
    field, folder = good
    image = nib.load(write_field(folder / "field.nii", field))
    image.header["qform_code"] = image.header["sform_code"] = 0
    nib.save(nib.Nifti1Image(image.get_fdata(), None, image.header), folder / "lost.nii")
    refused(folder / "lost.nii", "has no direction cosines (qform_code and sform_code are both 0)")
    for suffix, line in ((".mha", b"TransformMatrix"), (".nrrd", b"space directions")):
        content = write_field(folder / f"field{suffix}", field).read_bytes()
        start = content.index(line)
        end = content.index(b"\n", start) + 1
        (folder / f"lost{suffix}").write_bytes(content[:start] + content[end:])
        refused(folder / f"lost{suffix}", "has no direction cosines (its header has no " + line.decode())


@pytest.mark.parametrize("how", TWO_PLACES)
def test_a_field_in_two_places_or_none(how, good):
    field, folder = good
    refused(place_twice(write_field(folder / "field.nii", field), how), TWO_PLACES[how])


def test_a_field_lies_where_its_sform_says(good):
    field, folder = good
    path = place_twice(write_field(folder / "field.nii", field), "other sizes")
    assert read_field(path).fixed.is_same(field.fixed)


def test_nan(good):
    field, folder = good
    field.displacement[1, 3, 3, 3] = torch.nan
    refused(write_field(folder / "field.mha", field), "holds NaN or infinite displacements")


def test_a_field_out_of_the_plane_of_its_slice(tmp_path):
    geometry = grid((6, 5), (1, 1, 2), rotation(10, 20, 30))
    image = nib.load(write_field(tmp_path / "field.nii.gz", PhysicalField(torch.ones(2, 6, 5), geometry)))
    nib.save(nib.Nifti1Image(image.get_fdata() + 1, image.affine, image.header), tmp_path / "out.nii.gz")
    refused(tmp_path / "out.nii.gz", "the displacement leaves the plane of the slice")


def test_grids_that_no_file_of_itk_holds(tmp_path):
    sheared = np.eye(4)
    sheared[0, 1] = 0.2
    field = PhysicalField(torch.zeros(3, 5, 5, 5), Geometry((5, 5, 5), sheared))
    for suffix in OF_OTHERS:
        with pytest.raises(InputError, match=r"field.*: the axes of the grid are 11.3 degrees off perpendicular"):
            write_field(tmp_path / f"field{suffix}", field)
    assert not list(tmp_path.iterdir())  # no partial file
    assert read_field(write_field(tmp_path / "field.npz", field)).fixed.is_same(field.fixed)


def test_where_it_cannot_be_written(good):
    field, folder = good
    (folder / "file").touch()
    with pytest.raises(InputError, match=r"file is a file, not a folder\. Choose another folder, then run again"):
        write_field(folder / "file" / "field.mha", field)
    (folder / "folder.mha").mkdir()
    with pytest.raises(InputError, match=r"cannot write .*: it is a folder\. Choose another name, then run again"):
        write_field(folder / "folder.mha", field)
    with pytest.raises(InputError, match="none of the endings"):
        write_field(folder / "field.mat", field)


class TestVoxelMorphsFaults:
    def test_no_grid(self, tmp_path):
        np.savez(tmp_path / "warp.npz", vol=np.zeros((2, 8, 6), np.float32))
        refused(tmp_path / "warp.npz", "does not say where its grid lies; name the fixed image with --like")

    def test_another_grid(self, tmp_path):
        np.savez(tmp_path / "warp.npz", vol=np.zeros((2, 8, 6), np.float32))
        refused(tmp_path / "warp.npz", "a warp of 2x8x6 numbers, expected 2x8x7", grid((8, 7), (1, 1)))

    def test_no_warp(self, tmp_path):
        np.savez(tmp_path / "image.npz", vol=np.zeros((8, 6), np.float32), seg=np.zeros((8, 6), np.int16))
        refused(tmp_path / "image.npz", "holds vol 8x6 float32, seg 8x6 int16; expected a VoxelMorph warp")

    def test_one_array_is_no_archive(self, tmp_path):
        np.save(tmp_path / "field.npy", np.zeros((2, 8, 6), np.float32))
        (tmp_path / "field.npy").rename(tmp_path / "field.npz")
        refused(tmp_path / "field.npz", "it is a single numpy array (.npy), not an .npz archive")

    @pytest.mark.parametrize(
        ("affine", "found"),
        [(2.0, "one float64"), ("north", "one <U5"), (np.ones(3), "3 float64"), (1j, "one complex")],
    )
    def test_an_affine_that_is_none(self, tmp_path, affine, found):
        np.savez(tmp_path / "warp.npz", vol=np.zeros((2, 8, 6), np.float32), affine=affine)
        refused(tmp_path / "warp.npz", f"has an affine that is {found}")

    def test_an_affine_of_another_size(self, tmp_path):
        np.savez(tmp_path / "warp.npz", vol=np.zeros((2, 8, 6), np.float32), affine=np.eye(4)[:3])
        refused(tmp_path / "warp.npz", "cannot have an affine of 3x4 numbers")

    def test_pickles_are_not_opened(self, tmp_path):
        np.savez(tmp_path / "bad.npz", vol=np.array([{}], dtype=object))
        refused(tmp_path / "bad.npz", "allow_pickle=False")


class TestTransformsFaults:
    def test_an_affine_alone_needs_a_grid(self, tmp_path):
        itk.transformwrite([itk.AffineTransform[itk.D, 3].New()], str(tmp_path / "affine.mat"))
        refused(tmp_path / "affine.mat", "begins with an affine, so it does not say which grid its field is for")
        refused(tmp_path / "affine.mat", "is an affine in 3 dimensions, expected 2", grid((5, 5), (1, 1)))

    def test_other_kinds(self, tmp_path):
        itk.transformwrite([itk.BSplineTransform[itk.D, 3, 3].New()], str(tmp_path / "spline.h5"))
        refused(tmp_path / "spline.h5", "holds a BSplineTransform", grid((5, 5, 5), (1, 1, 1)))

    def test_several_transforms(self, tmp_path):
        affine = itk.AffineTransform[itk.D, 3].New()
        itk.transformwrite([affine, affine], str(tmp_path / "two.tfm"))
        refused(tmp_path / "two.tfm", "holds 2 transforms, expected one")

    def test_an_empty_composite(self, tmp_path):
        itk.transformwrite([itk.CompositeTransform[itk.D, 3].New()], str(tmp_path / "empty.h5"))
        refused(tmp_path / "empty.h5", "holds an empty transform")


def test_two_fields_and_affines_in_one_composite(tmp_path):
    """Any chain of transforms is one map, here A₂ ∘ field ∘ A₁. A₁ is applied first, on the fixed image's grid."""
    geometry = GRIDS["oblique"][0]
    field = make_field(geometry, affine=True)
    written = itk.transformread(str(write_field(tmp_path / "field.h5", field)))[0]
    first = itk.TranslationTransform[itk.D, 3].New()
    first.Translate([1.0, -2.0, 0.5])
    composite = itk.CompositeTransform[itk.D, 3].New()
    for number in range(2):
        composite.AddTransform(itk.down_cast(written.GetNthTransform(number)))
    composite.AddTransform(first)
    itk.transformwrite([composite], str(tmp_path / "chain.h5"))
    refused(tmp_path / "chain.h5", "begins with an affine")
    chain = read_field(tmp_path / "chain.h5", like=geometry)
    assert chain.affine is not None
    p = geometry.affine[:3, :3] @ np.array([15, 14, 12]) + geometry.affine[:3, 3]
    expected = field.map_points(torch.from_numpy(p + np.array([-1.0, 2.0, 0.5]))[None])  # LPS (1, -2, 0.5)
    torch.testing.assert_close(chain.map_points(torch.from_numpy(p)[None]), expected, atol=1e-3, rtol=0)


def test_not_gzip_inside_a_gz_name(good):
    field, folder = good
    write_field(folder / "field.nii", field).rename(folder / "field.nii.gz")
    refused(folder / "field.nii.gz", "it is not gzip-compressed; rename it to .nii")
    with gzip.open(folder / "field.mha.gz", "wb") as file:
        file.write(b"")
    refused(folder / "field.mha.gz", "none of the endings")
