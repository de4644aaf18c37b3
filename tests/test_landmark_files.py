"""Slicer's landmarks: read in the coordinate system they state, warped, and written so that Slicer can load them."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from smoothmorph.pipeline.fields.landmarks import read_landmarks, warp_points
from smoothmorph.transforms import InputError, PhysicalField, write_field
from world_cases import grid

RAS = [[0.0, 1.0, 0.0], [1.5, -2.0, 3.0]]
"""Two points; the field below moves them by (-2, 0, -4)."""
MOVED = [[-2.0, 1.0, -4.0], [-0.5, -2.0, -1.0]]
COLUMNS = "id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID"
REST = '0,0,0,1,1,1,0,{list}-{n},"a, b",vtkMRMLNode1,2,0'
"""The cells after the coordinates, the last two without a column."""


def lps(points: list[list[float]]) -> list[list[float]]:
    return [[-x, -y, z] for x, y, z in points]


def fcsv(
    name: str, points, frame="LPS", rest='0,0,0,1,1,1,0,{list}-{n},"a, b",vtkMRMLNode1,2,0', columns=COLUMNS
) -> Path:
    lines = [f"# Markups fiducial file version = 5.6\n# CoordinateSystem = {frame}\n# columns = {columns}"]
    lines += [
        f"{n},{x},{y},{z}," + rest.format(n=n, list=Path(name).stem) for n, (x, y, z) in enumerate(points, start=1)
    ]
    Path(name).write_text("\n".join(lines) + "\n")
    return Path(name)


def markups(name: str, points, frame: str | None = "LPS", **other) -> Path:
    own = [{"id": str(n), "label": f"{Path(name).stem}-{n}", "position": p} for n, p in enumerate(points, start=1)]
    one = {"type": "Fiducial", "coordinateSystem": frame, "controlPoints": own, "measurements": [{"value": 3}]} | other
    Path(name).write_text(json.dumps({"@schema": "markups-schema-v1.0.3.json#", "markups": [one]}))
    return Path(name)


@pytest.fixture(autouse=True)
def field(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    geometry = grid((9, 8, 10), (2, 2, 2))
    displacement = torch.tensor([-1.0, 0, -2]).view(3, 1, 1, 1).expand(3, 9, 8, 10)
    return write_field("field.h5", PhysicalField(displacement, geometry))


FILES = {
    "fcsv, LPS": lambda: fcsv("F.fcsv", lps(RAS)),
    "fcsv, RAS": lambda: fcsv("F.fcsv", RAS, "RAS"),
    "fcsv, 1 as LPS": lambda: fcsv("F.fcsv", lps(RAS), "1"),
    "fcsv, 0 as RAS": lambda: fcsv("F.fcsv", RAS, "0", "0,0,0,1,1,1,0,F-{n},,"),
    "fcsv of Slicer 3's columns": lambda: fcsv("F.fcsv", RAS, "0", "1,1", "label,x,y,z,sel,vis"),
    "json, LPS": lambda: markups("F.mrk.json", lps(RAS)),
    "json, RAS": lambda: markups("F.mrk.json", RAS, "RAS"),
}


@pytest.mark.parametrize("how", FILES)
def test_slicers_points_are_in_the_frame_that_they_state(how, field):
    path = FILES[how]()
    assert read_landmarks(path, 3).points.tolist() == RAS
    warp_points(field, path, Path("out.csv"))
    assert pd.read_csv("out.csv")[["x", "y", "z"]].to_numpy().tolist() == MOVED  # RAS, like every .csv without --lps


@pytest.mark.parametrize("how", [how for how in FILES if "LPS" in how])
def test_lps_is_what_a_csv_is_written_in(how, field):
    warp_points(field, FILES[how](), Path("out.csv"), lps=True)
    assert pd.read_csv("out.csv")[["x", "y", "z"]].to_numpy().tolist() == lps(MOVED)


@pytest.mark.parametrize("how", FILES)
def test_what_slicer_loads_again_has_its_frame_and_all_else(how, field):
    path = FILES[how]()
    out = Path("out" + "".join(path.suffixes))
    done = warp_points(field, path, out)
    assert ("LPS mm" if "LPS" in how else "RAS mm") in done.told[0]
    assert read_landmarks(out, 3).points.tolist() == MOVED
    if path.suffix == ".fcsv":
        before, after = path.read_text().splitlines(), out.read_text().splitlines()
        assert before[:3] == after[:3]
        assert [line.split(",")[4:] for line in before[3:]] == [line.split(",")[4:] for line in after[3:]]
    else:
        before, after = json.loads(path.read_text()), json.loads(out.read_text())
        for content in (before, after):
            del content["markups"][0]["measurements"]
            for point in content["markups"][0]["controlPoints"]:
                del point["position"]
        assert before == after
        assert json.loads(out.read_text())["markups"][0]["measurements"] == []  # those of the old points are removed


def test_several_lists_in_one_file(field):
    path = markups("F.mrk.json", RAS, "RAS")
    content = json.loads(path.read_text())
    content["markups"] *= 2
    path.write_text(json.dumps(content))
    warp_points(field, path, Path("out.mrk.json"))
    assert read_landmarks(Path("out.mrk.json"), 3).points.tolist() == MOVED * 2


@pytest.mark.parametrize("other", ["csv", "fcsv", "json"])
@pytest.mark.parametrize("how", ["fcsv, LPS", "json, RAS"])
def test_tre_across_formats(how, other, field):
    """Different list names (F-1 and M-1) and Slicer's ids do not count as a difference."""
    table = pd.DataFrame(MOVED, columns=["x", "y", "z"]).assign(id=["p", "q"])
    table.to_csv("M.csv", index=False)
    truth = {
        "csv": lambda: Path("M.csv"),
        "fcsv": lambda: fcsv("M.fcsv", lps(MOVED)),
        "json": lambda: markups("M.mrk.json", lps(MOVED)),
    }
    done = warp_points(field, FILES[how](), Path("out.csv"), against=truth[other]())
    assert "TRE: mean 4.472 mm before, 0 mm after" in done.told[1]
    assert pd.read_csv("out.csv")["tre_after_mm"].tolist() == [0, 0]


def test_points_of_other_names_are_no_pairs(field):
    path, truth = fcsv("F.fcsv", RAS, "RAS"), fcsv("M.fcsv", MOVED, "RAS")
    truth.write_text(truth.read_text().replace("M-2", "M-3"))
    with pytest.raises(InputError, match=r"M.fcsv, row 2 has label '-3', but F.fcsv has '-2'; give the same"):
        warp_points(field, path, Path("out.csv"), against=truth)


def test_one_format_is_not_written_as_another(field):
    with pytest.raises(InputError, match=r"out.mrk.json has none of the endings .*: .csv, .fcsv\."):
        warp_points(field, fcsv("F.fcsv", RAS), Path("out.mrk.json"))
    pd.DataFrame(RAS, columns=["x", "y", "z"]).to_csv("F.csv", index=False)
    with pytest.raises(InputError, match=r"out.fcsv has none of the endings .*: .csv\."):
        warp_points(field, Path("F.csv"), Path("out.fcsv"))


def of_text(name: str, text: str) -> Path:
    Path(name).write_text(text)
    return Path(name)


def point(**other) -> list[dict]:
    return [{"label": "F-1", "position": [1, 2, 3]} | other]


FAULTS = {
    "IJK": (lambda: fcsv("F.fcsv", RAS, "IJK"), "does not state LPS or RAS as its coordinate system"),
    "2 as IJK": (lambda: fcsv("F.fcsv", RAS, "2"), "does not state LPS or RAS"),
    "no header": (lambda: of_text("F.fcsv", "1,2,3,4\n"), "line 1 has 4 cells, but there are 3 columns"),
    "a long row": (lambda: fcsv("F.fcsv", RAS, rest="0,0,0,1,1,1,0,F-1,,,2,0,7"), "has 17 cells, but there are 16 col"),
    "no place": (lambda: fcsv("F.fcsv", RAS, rest="0,0,0,1,1,1,0,F-1,,,0,0"), "point 1 has no position; place it in"),
    "a word": (lambda: fcsv("F.fcsv", [["far", 0, 0]]), "row 1: x is 'far', expected a number in mm"),
    "no frame": (lambda: markups("F.mrk.json", RAS, None), "does not state LPS or RAS as its coordinate system"),
    "unplaced": (
        lambda: markups("F.mrk.json", [], controlPoints=point(positionStatus="undefined", position=[0, 0, 0])),
        "point 1 has no position",
    ),
    "voxels": (lambda: markups("F.mrk.json", RAS, coordinateUnits="voxel"), "holds markups of 'voxel'; expected"),
    "a plane": (lambda: markups("F.mrk.json", RAS, type="Plane"), "holds markups of 'Plane'; expected Fiducial, Line"),
    "two numbers": (lambda: markups("F.mrk.json", [[1, 2]]), "holds no Slicer markups"),
    "text as number": (lambda: markups("F.mrk.json", [["1", 2, 3]]), "holds no Slicer markups"),
    "true as number": (lambda: markups("F.mrk.json", [[True, 2, 3]]), "holds no Slicer markups"),
    "NaN": (lambda: markups("F.mrk.json", [[float("nan"), 2, 3]]), "is not valid JSON: 'NaN' is not a finite number"),
    "no points": (lambda: markups("F.mrk.json", []), "holds no points"),
    "a list": (lambda: of_text("F.mrk.json", "[5]"), "holds no Slicer markups"),
    "no JSON": (lambda: of_text("F.mrk.json", "{"), "is not valid JSON: Expecting property name"),
    "deep JSON": (lambda: of_text("F.mrk.json", "[" * 100_000), "it has more than 50 levels"),
    "digits in JSON": (
        lambda: of_text("F.mrk.json", markups("F.mrk.json", RAS).read_text().replace("1.5", "9" * 100_000)),
        "a number has 100000 digits",
    ),
    "digits": (lambda: of_text("F.csv", f"x,y,z\n{'9' * 100_000},0,0\n"), "row 1: x is '99999"),
    "small digits": (lambda: of_text("F.csv", f"x,y,z\n0.{'1' * 100_000},0,0\n"), "row 1: x is '0.111"),
    "NUL": (lambda: of_text("F.csv", "x,y,z\n0,0,\0\n"), "F.csv holds NUL characters, so it is not text"),
    "long name": (lambda: of_text("F.csv", f"{'x' * 9999},y,z\n0,0,0\n"), "expected x, y, z in mm"),
}


@pytest.mark.parametrize("how", FAULTS)
def test_a_fault_is_one_sentence(how):
    make, sentence = FAULTS[how]
    with pytest.raises(InputError) as caught:
        read_landmarks(make(), 3)
    said = str(caught.value)
    assert said.startswith("F.")
    assert sentence in said
    assert len(said) < 250
    assert "\n" not in said


def test_lps_beside_a_file_in_ras_is_refused():
    with pytest.raises(InputError, match=r"F\.fcsv states that it is in RAS; leave out --lps"):
        read_landmarks(fcsv("F.fcsv", RAS, "RAS"), 3, lps=True)


def test_a_file_of_gigabytes_is_not_read():
    with open("F.csv", "wb") as file:
        file.truncate(1 << 33)
    with pytest.raises(InputError, match=r"F\.csv is longer than 64 MiB"):
        read_landmarks(Path("F.csv"), 3)


@pytest.mark.parametrize("frame", ["LPS", "RAS"])
def test_a_true_2_d_field_takes_the_first_two(frame, tmp_path):
    flat = grid((9, 8), (2, 2))
    field = write_field("flat.h5", PhysicalField(torch.ones(2, 9, 8), flat))
    warp_points(field, fcsv("F.fcsv", [[1, 2, 0]], frame), Path("out.fcsv"))
    cells = Path("out.fcsv").read_text().splitlines()[3].split(",")[1:4]
    np.testing.assert_allclose(np.array(cells, float), [-1, 0, 0] if frame == "LPS" else [3, 4, 0])
