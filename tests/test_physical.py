"""Fields in world coordinates against values computed by hand: direction, position and composition."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from smoothmorph.pipeline.fields.tools import regularity
from smoothmorph.transforms import Geometry, InputError, PhysicalField, compose, invert, jacobian_determinant, warp
from world_cases import CORONAL, GRIDS, grid, make_field, rotation, small_affine

FEW = settings(max_examples=15, deadline=None, derandomize=True)


@pytest.fixture(params=GRIDS)
def name(request) -> str:
    return request.param


def fixed_points(geometry: Geometry, count: int = 40, margin: float = 4.0) -> torch.Tensor:
    """Points inside a grid, (N, W) RAS mm."""
    sizes = np.array(geometry.lifted_shape)
    low = np.minimum(margin, (sizes - 1) / 2)
    voxels = np.random.default_rng(3).uniform(low, np.maximum(sizes - 1 - margin, low), (count, len(sizes)))
    return torch.from_numpy(voxels @ geometry.affine[:-1, :-1].T + geometry.affine[:-1, -1])


# Directions


def test_a_translation_by_hand():
    """u is 2 voxels of 3 mm along the first axis, which points to the left: T(p) = p + (-6, 0, 0)."""
    geometry = Geometry((8, 6, 5), np.diag([-3.0, 1, 1, 1]))
    field = PhysicalField(torch.tensor([2.0, 0, 0]).view(3, 1, 1, 1).expand(3, 8, 6, 5), geometry)
    landmark = torch.tensor([[-9.0, 2.0, 3.0]])  # voxel (3, 2, 3)
    assert field.map_points(landmark).tolist() == [[-15.0, 2.0, 3.0]]  # the position in the moving image
    assert field.unmap_points(torch.tensor([[-15.0, 2.0, 3.0]]))[0].tolist() == [[-9.0, 2.0, 3.0]]
    moving = torch.zeros(1, 8, 6, 5)
    moving[0, 5, 2, 3] = 1.0  # the voxel at (-15, 2, 3)
    warped, inside = field.warp(moving, geometry)
    assert warped.nonzero().tolist() == [[0, 3, 2, 3]]  # it appears at (-9, 2, 3)
    assert inside[:6].all()
    assert not inside[6:].any()


def test_the_affine_comes_after_the_displacement():
    geometry = grid((6, 6, 6), (1, 1, 1))
    doubled = np.diag([2.0, 2, 2, 1])
    field = PhysicalField(torch.ones(3, 6, 6, 6), geometry, doubled)
    assert field.map_points(torch.tensor([[0.5, 0, -0.5]])).tolist() == [[3.0, 2.0, 1.0]]  # 2 (p + 1), not 2 p + 1


def test_a_moving_image_of_another_grid():
    """A grid with half the voxel size and its origin at 1 mm: the point (2, 2) mm is its voxel (2, 2)."""
    fixed, moving = Geometry((4, 4), np.eye(3)), Geometry((9, 9), np.array([[0.5, 0, 1], [0, 0.5, 1], [0, 0, 1]]))
    ramp = torch.arange(9.0).view(1, 9, 1).expand(1, 9, 9)
    warped, inside = PhysicalField(torch.zeros(2, 4, 4), fixed).warp(ramp, moving, background=-7.0)
    assert warped[0, :, 2].tolist() == [-7.0, 0.0, 2.0, 4.0]
    assert inside[:, 2].tolist() == [False, True, True, True]


def test_labels_keep_their_type_and_values():
    geometry = Geometry((5, 5), np.eye(3))
    field = PhysicalField(torch.full((2, 5, 5), 0.4), geometry)
    for dtype in (torch.int64, torch.int32, torch.uint16, torch.uint8):
        labels = torch.randint(0, 100, (1, 5, 5), generator=torch.Generator().manual_seed(0)).to(dtype)
        labels[0, 0, :2] = torch.tensor([torch.iinfo(dtype).max, torch.iinfo(dtype).max - 1], dtype=dtype)
        warped, _ = field.warp(labels, geometry, "nearest")
        assert warped.dtype == dtype
        assert torch.equal(warped, labels)


def test_on_the_moving_images_grid_it_is_warp(name):
    field = make_field(GRIDS[name][0])
    image = torch.rand((1, *field.fixed.shape), generator=torch.Generator().manual_seed(1))
    warped, inside = field.warp(image, field.fixed)
    expected = warp(image[None], field.displacement[None])[0]
    torch.testing.assert_close(warped[0][inside], expected[0][inside], atol=1e-4, rtol=0)
    assert not warped[0][~inside].any()


# Maps: every operation is compared with T at points


@pytest.mark.parametrize("affine", [False, True], ids=["displacement", "with affine"])
class TestOperations:
    def test_unmap_undoes_map(self, name, affine):
        field = make_field(GRIDS[name][0], affine)
        points = fixed_points(field.fixed)
        back, missed = field.unmap_points(field.map_points(points))
        assert float(missed.max()) < 1e-3
        torch.testing.assert_close(back, points, atol=5e-3, rtol=0)

    def test_dense_is_the_same_map(self, name, affine):
        field = make_field(GRIDS[name][0], affine)
        points = fixed_points(field.fixed)
        assert field.dense().affine is None
        torch.testing.assert_close(field.dense().map_points(points), field.map_points(points), atol=1e-4, rtol=0)

    def test_resampled_onto_another_grid(self, name, affine):
        """A displacement that is linear in space is the same on any grid."""
        field = linear_field(GRIDS[name][0], affine)
        other, points = inner_grid(field.fixed), fixed_points(field.fixed, margin=8)
        resampled = field.resampled_onto(other)
        assert resampled.fixed is other
        torch.testing.assert_close(resampled.map_points(points), field.map_points(points), atol=1e-4, rtol=0)

    def test_followed_by_is_the_composition_of_maps(self, name, affine):
        fixed, _ = GRIDS[name]
        first, second = linear_field(inner_grid(fixed), affine), linear_field(fixed, affine, scale=0.02)
        points = fixed_points(fixed, margin=8)
        expected = first.map_points(second.map_points(points))
        composed = first.followed_by(second)
        assert composed.fixed is fixed
        torch.testing.assert_close(composed.map_points(points), expected, atol=2e-3, rtol=0)

    def test_inverse_on_the_moving_grid(self, name, affine):
        fixed, moving = GRIDS[name]
        field = make_field(fixed, affine)
        inverse = field.inverse(moving)
        assert inverse.fixed is moving
        q = fixed_points(moving).numpy()  # at voxels of the inverse, so that nothing is interpolated
        voxels = np.round(np.linalg.inv(moving.affine)[:-1] @ np.column_stack([q, np.ones(len(q))]).T)
        q = torch.from_numpy((moving.affine[:-1, :-1] @ voxels).T + moving.affine[:-1, -1])
        torch.testing.assert_close(field.map_points(inverse.map_points(q)), q, atol=5e-3, rtol=0)
        error = field.inverse_error(inverse)  # between voxels
        assert 0 < float(error.median()) < 0.1

    def test_the_determinant_is_that_in_mm(self, name, affine):
        """Finite differences of T in world mm against the determinant of the field in voxels."""
        field = make_field(GRIDS[name][0], affine)
        points, axes = fixed_points(field.fixed, 5), field.fixed.axes
        voxels = torch.from_numpy(np.linalg.inv(field.fixed.affine)[:-1]) @ torch.cat([points, torch.ones(5, 1)], 1).T
        voxels = voxels[:axes].round()
        world = field.fixed.affine
        columns = []
        for axis in range(axes):  # central differences over one voxel in both directions along each grid axis
            ends = []
            for side in (1, -1):
                x = voxels.numpy().copy()
                x[axis] += side
                x = np.concatenate([x, np.zeros((world.shape[0] - 1 - axes, 5))])
                ends.append(field.map_points(torch.from_numpy(x.T @ world[:-1, :-1].T + world[:-1, -1])))
            columns.append((ends[0] - ends[1]) / (2 * field.fixed.spacing[axis]))
        derivative = torch.stack(columns, -1)  # ∂T/∂s along the axes, (5, W, D)
        directions = torch.from_numpy(world[:-1, :axes] / np.array(field.fixed.spacing))
        in_axes = torch.linalg.pinv(directions) @ derivative  # for a slice, within its plane
        expected = torch.linalg.det(in_axes)
        determinant = jacobian_determinant(field.dense().displacement[None])[0]
        found = determinant[tuple(voxels.long())].double()
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def linear_field(fixed: Geometry, affine: bool, scale: float = 0.03) -> PhysicalField:
    x = fixed.points()[: fixed.axes].reshape(fixed.axes, *fixed.shape)
    centre = ((torch.tensor(fixed.shape) - 1) / 2).view(-1, *[1] * fixed.axes)
    turn = scale * torch.tensor([[1.0, 2, -1], [-1, 0.5, 1], [0.5, -2, 1]])[: fixed.axes, : fixed.axes]
    return PhysicalField(
        torch.einsum("ab,b...->a...", turn, x - centre), fixed, small_affine(fixed) if affine else None
    )


def inner_grid(fixed: Geometry) -> Geometry:
    """A finer, rotated and larger grid at the same position."""
    angles = (7,) if fixed.world_axes == 2 else (5, -8, 7)
    turn = rotation(*angles)
    axes = fixed.affine[:-1, :-1] / np.linalg.norm(fixed.affine[:-1, :-1], axis=0)
    if fixed.axes < fixed.world_axes:
        turn = axes @ rotation(0, 0, 7) @ axes.T
    middle = fixed.affine[:-1, -1] + fixed.affine[:-1, :-1] @ ((np.array(fixed.lifted_shape) - 1) / 2)
    spacing = [0.8 * step for step in np.linalg.norm(fixed.affine[:-1, :-1], axis=0)]
    return grid(tuple(int(1.2 * size) for size in fixed.shape), spacing, turn @ axes, middle)


def test_on_one_grid_the_operations_are_those_of_voxels(name):
    field = make_field(GRIDS[name][0])
    other = PhysicalField(0.5 * field.displacement.flip(0), field.fixed)
    expected = compose(field.displacement[None], other.displacement[None])[0]
    torch.testing.assert_close(field.followed_by(other).displacement, expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(field.inverse().displacement, invert(field.displacement[None])[0], atol=3e-3, rtol=0)
    torch.testing.assert_close(field.resampled_onto(field.fixed).displacement, field.displacement, atol=1e-4, rtol=0)


def test_a_warning_where_no_inverse_is_found():
    geometry = Geometry((16, 16), np.eye(3))
    x = torch.arange(16.0).view(16, 1).expand(16, 16)
    field = PhysicalField(torch.stack([6 * torch.exp(-((x - 8) ** 2) / 4) * (x - 8), 0 * x]), geometry)
    with pytest.warns(UserWarning, match="no reliable inverse"):
        field.inverse()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make_field(GRIDS["2-D"][0]).inverse()


# Maps that rotate or flip axes are correct on the fixed grid, whatever the extrapolated displacement does beyond it


TURNS = {
    "180 degrees": np.diag([-1.0, -1, 1]),
    "a mirror": np.diag([-1.0, 1, 1]),
    "a mirror of the second axis": np.diag([1.0, -1, 1]),
    "90 degrees": np.array([[0, -1.0, 0], [1, 0, 0], [0, 0, 1]]),
    "30 degrees": np.block([[rotation(30), np.zeros((2, 1))], [np.zeros((1, 2)), np.eye(1)]]),
    "80 degrees and a mirror": np.block([[rotation(80), np.zeros((2, 1))], [np.zeros((1, 2)), -np.eye(1)]]),
    "twice as large": np.diag([2.0, 2, 2]),
}


def turn_then_bend(turn: np.ndarray, fixed: Geometry, back: bool, x: np.ndarray) -> np.ndarray:
    """A rotation about the centre, in mm along the axes, then a bend by 1 mm that keeps axis 1; or its inverse.

    ``x``: voxels (D, N).
    """
    axes = fixed.axes
    matrix, step = turn[:axes, :axes], np.array(fixed.spacing)[:, None]
    middle = (np.array(fixed.shape)[:, None] - 1) / 2

    def bent(mm: np.ndarray, sign: int) -> np.ndarray:
        return np.concatenate([mm[:1] + sign * np.sin(mm[1:2] / 7), mm[1:]])

    mm = (x - middle) * step
    return middle + (np.linalg.inv(matrix) @ bent(mm, -1) if back else bent(matrix @ mm, 1)) / step


def turned_field(turn: np.ndarray, fixed: Geometry) -> PhysicalField:
    x = np.stack([*np.ndindex(fixed.shape)], axis=1).astype(float)
    moved = turn_then_bend(turn, fixed, False, x) - x
    return PhysicalField(torch.from_numpy(moved.reshape(fixed.axes, *fixed.shape)), fixed)


def world_of(fixed: Geometry, x: np.ndarray) -> torch.Tensor:
    """Convert voxels (D, N) to world mm (N, W)."""
    return torch.from_numpy((fixed.affine[:-1, : fixed.axes] @ x + fixed.affine[:-1, -1:]).T)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("where", ["anisotropic", "oblique", "2-D", "slice in space"])
class TestTurns:
    def test_points_go_back_to_where_they_were(self, where, turn):
        fixed = GRIDS[where][0]
        x = np.random.default_rng(0).uniform(2, np.array(fixed.shape)[:, None] - 3, (fixed.axes, 50))
        field = turned_field(TURNS[turn], fixed)
        q = world_of(fixed, turn_then_bend(TURNS[turn], fixed, False, x))
        back, missed = field.unmap_points(q)
        assert float(missed.max()) < 1e-3
        assert float((back - world_of(fixed, x)).norm(dim=1).max()) < 0.01 * min(fixed.spacing)

    def test_the_inverse_is_the_analytic_one(self, where, turn):
        fixed = GRIDS[where][0]
        x = np.stack([*np.ndindex(fixed.shape)], axis=1).astype(float)
        p = turn_then_bend(TURNS[turn], fixed, True, x)
        inside = ((p > 0) & (p < np.array(fixed.shape)[:, None] - 1)).all(0)
        assert inside.sum() > 20
        field = turned_field(TURNS[turn], fixed)
        inverse = field.inverse()
        found = inverse.map_points(world_of(fixed, x[:, inside]))
        assert float((found - world_of(fixed, p[:, inside])).norm(dim=1).max()) < 0.01 * min(fixed.spacing)
        assert float(field.inverse_error(inverse).median()) < 0.05
        there = field.map_points(inverse.map_points(world_of(fixed, x)))  # also beyond the grid
        assert float((there - world_of(fixed, x)).norm(dim=1).max()) < 0.01 * min(fixed.spacing)

    def test_a_field_of_voxels_inverts(self, where, turn):
        fixed = GRIDS[where][0]
        field = turned_field(TURNS[turn], fixed)
        x = np.stack([*np.ndindex(fixed.shape)], axis=1).astype(float)
        p = turn_then_bend(TURNS[turn], fixed, True, x)
        inside = ((p > 0) & (p < np.array(fixed.shape)[:, None] - 1)).all(0)
        found = x + invert(field.displacement[None])[0].flatten(1).double().numpy()
        assert np.abs(found - p)[:, inside].max() < 0.01


def test_a_mirror_is_no_fold_but_a_fold_in_a_mirror_is_one():
    fixed = GRIDS["2-D"][0]
    mirrored = turned_field(TURNS["a mirror"], fixed)
    assert "folding: 0 % of the voxels have det >= 0 in a map that flips the axes" in regularity(mirrored)
    assert "median -1." in regularity(mirrored)
    x = fixed.points()[:1] - 20
    folds = torch.cat([6 * torch.exp(-(x**2) / 4) * x, 0 * x])
    folded = PhysicalField(mirrored.displacement + folds, fixed)
    share = 100 * float((folded.jacobian_determinant() >= 0).double().mean())
    assert share > 5
    assert f"folding: {share:.3g} % of the voxels" in regularity(folded)
    with pytest.warns(UserWarning, match="no reliable inverse"):
        folded.inverse()


def test_an_image_lies_where_points_say(name):
    """Warping the world coordinates of the moving image gives T(p) at the fixed voxels."""
    fixed, moving = GRIDS[name]
    field = make_field(fixed, affine=True)
    where = torch.einsum("ab,b...->a...", torch.tensor(moving.affine[:-1, :-1]).float(), moving.points())
    where = where + torch.tensor(moving.affine[:-1, -1]).float().view(-1, *[1] * moving.world_axes)
    warped, _ = field.warp(where.reshape(moving.world_axes, *moving.shape), moving)
    voxels = [tuple(int(size * share) for size in fixed.shape) for share in (0.4, 0.5, 0.6)]
    for voxel in voxels:
        x = np.array([*voxel, 0][: fixed.world_axes])
        p = torch.from_numpy(fixed.affine[:-1, :-1] @ x + fixed.affine[:-1, -1])[None]
        torch.testing.assert_close(warped[(slice(None), *voxel)].double(), field.map_points(p)[0], atol=1e-3, rtol=0)


# Algebra on any grid


@st.composite
def geometries(draw) -> Geometry:
    dims = draw(st.sampled_from([2, 3]))
    angles = [draw(st.floats(-180, 180)) for _ in range(3 if dims == 3 else 1)]
    flips = np.diag([draw(st.sampled_from([-1.0, 1.0])) for _ in range(dims)])
    spacing = [draw(st.floats(0.2, 4)) for _ in range(dims)]
    centre = [draw(st.floats(-100, 100)) for _ in range(dims)]
    shape = tuple(draw(st.integers(3, 9)) for _ in range(dims))
    return grid(shape, spacing, rotation(*angles) @ flips, centre)


@FEW
@given(geometries(), st.integers(0, 100))
def test_a_constant_displacement_is_a_translation_in_the_world(geometry, seed):
    vector = torch.randn(geometry.axes, generator=torch.Generator().manual_seed(seed))
    field = PhysicalField(vector.view(-1, *[1] * geometry.axes).expand(-1, *geometry.shape), geometry)
    points = torch.from_numpy(np.random.default_rng(seed).uniform(-90, 90, (7, geometry.axes)))
    expected = points + torch.tensor(geometry.affine[:-1, :-1]) @ vector.double()
    torch.testing.assert_close(field.map_points(points), expected, atol=1e-4, rtol=0)
    back, _ = field.unmap_points(expected)
    torch.testing.assert_close(back, points, atol=1e-4, rtol=0)


@FEW
@given(geometries(), geometries())
def test_resampling_there_and_back_keeps_a_translation(one, other):
    if one.axes != other.axes:
        return
    field = PhysicalField(torch.ones(one.axes, *one.shape), one)
    back = field.resampled_onto(other).resampled_onto(one)
    torch.testing.assert_close(back.displacement, field.displacement, atol=1e-3, rtol=0)


# Inputs that do not fit together


def test_a_grid_knows_when_it_is_the_same():
    fixed = GRIDS["oblique"][0]
    moved = fixed.affine.copy()
    moved[:3, 3] += 0.05
    assert fixed.is_same(Geometry(fixed.shape, moved))
    moved[:3, 3] += 0.5
    assert not fixed.is_same(Geometry(fixed.shape, moved))
    assert not fixed.is_same(Geometry(fixed.shape[::-1], fixed.affine))
    assert fixed.spacing == pytest.approx((1, 1.2, 1.4))


@pytest.mark.parametrize(
    ("shape", "affine", "sentence"),
    [
        ((5, 1, 5), np.eye(4), "a grid of 5x1x5 voxels is no volume and no slice"),
        ((5, 5, 5, 5), np.eye(5), "expected 2 or 3 axes"),
        ((5, 5, 5), np.eye(3), "cannot have an affine of 3x3 numbers"),
        ((5, 5, 5), np.diag([1.0, 0, 1, 1]), "an affine that cannot be inverted"),
        ((5, 5), np.diag([1.0, np.nan, 1]), "an affine that cannot be inverted"),
    ],
)
def test_no_grid(shape, affine, sentence):
    with pytest.raises(InputError, match=sentence):
        Geometry(shape, affine)


def test_a_slice_stays_in_its_plane():
    geometry = grid((6, 6), (1, 1, 1), CORONAL)
    tilted = np.eye(4)
    tilted[:3, :3] = rotation(20, 0, 0)  # the normal of a coronal slice is y
    with pytest.raises(InputError, match="leaves the plane of the slice"):
        PhysicalField(torch.zeros(2, 6, 6), geometry, tilted).dense()


def test_two_dimensions_and_slices_in_space_do_not_mix():
    flat, space = PhysicalField(torch.zeros(2, 6, 6), grid((6, 6), (1, 1))), grid((6, 6), (1, 1, 1), CORONAL)
    for call in (flat.inverse, flat.resampled_onto, lambda other: flat.warp(torch.zeros(1, 6, 6), other)):
        with pytest.raises(InputError, match=r"truly 2-D but .* lies in 3-D space"):
            call(space)
    with pytest.raises(ValueError, match=r"displacement of \(2, 6, 6\), got \(3, 6, 6\)"):
        PhysicalField(torch.zeros(3, 6, 6), space)


def test_nothing_is_changed_in_place():
    field = make_field(GRIDS["2-D"][0], affine=True)
    before = field.displacement.clone(), field.affine.copy()
    for result in (field.dense(), field.inverse(), field.resampled_onto(field.fixed), field.followed_by(field)):
        assert result.displacement is not field.displacement
    assert torch.equal(field.displacement, before[0])
    assert np.array_equal(field.affine, before[1])
    with pytest.raises(ValueError, match="read-only"):
        field.fixed.affine[0, 0] = 2
