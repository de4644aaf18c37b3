"""Small valid inputs for every reader; each is a folder, ``{name: bytes}``, made on request."""

import gzip
import io
import json
import locale
import tarfile
import tempfile
import textwrap
from collections.abc import Callable
from pathlib import Path

import itk
import nibabel as nib
import numpy as np
import torch
import yaml
from rich.console import Console

import synthetic_run
from fuzz.mutate import MERGES, Files
from smoothmorph.experiments import figures, statistics
from smoothmorph.experiments.outputs.study_result import archive
from smoothmorph.experiments.store.run_folder import claim
from smoothmorph.experiments.study.study import load_study
from smoothmorph.networks import VoxelMorph, save_model
from smoothmorph.networks.files.official_weights import save_official
from smoothmorph.pipeline.evaluation.finished_pairs import FinishedPairs
from smoothmorph.pipeline.images.volumes import write_volume
from smoothmorph.pipeline.models.trained_model import about
from smoothmorph.pipeline.models.training_images import TrainingImages
from smoothmorph.pipeline.settings.schema import TrialSettings
from smoothmorph.pipeline.training.handlers import TrainingState
from smoothmorph.pipeline.training.parts import build_optimizer, build_schedule
from smoothmorph.transforms import Geometry, PhysicalField, write_field

PLACE = np.array([[0.0, -2, 0, 5], [2, 0, 0, -7], [0, 0, 3, 1], [0, 0, 0, 1]])
GRID = Geometry((7, 6, 5), PLACE)
SLICE = Geometry((12, 10), PLACE)
CSV = "id,image,label,group,split\n"
STUDY = {
    "name": "small",
    "title": "A title",
    "question": "Why?",
    "base": {"training": {"epochs": 2, "steps_per_epoch": 1}, "pairs.test": 6},
    "groups": [
        {"name": "one", "axes": {"objective.penalty": ["l1", "l2"], "objective.lambda": [0.01]}},
        {"name": "two", "set": {"objective.similarity": "ncc", "seed": 7}, "axes": {"cohort.size": [[32, 32]]}},
    ],
}


def made(make: Callable[[Path], object]) -> Files:
    """The files that ``make`` writes to an empty folder."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder)
        files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def voxels(shape: tuple[int, ...], dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(0).integers(1, 120, shape).astype(dtype)


def nifti(values: np.ndarray, intent: str = "none") -> bytes:
    image = nib.Nifti1Image(values, PLACE)
    image.header.set_intent(intent)
    image.set_qform(PLACE, code=1)
    return image.to_bytes()


def images(ending: str) -> list[Files]:
    """``image`` as bytes, as floats, and as a slice in space."""
    found = []
    for grid, dtype in ((GRID, np.uint8), (GRID, np.float32), (SLICE, np.int16)):
        values = voxels(grid.shape, dtype)
        found.append(made(lambda folder, v=values, g=grid: write_volume(folder / f"image{ending}", v, g)))
    return found


def text_images(ending: str) -> list[Files]:
    """Text headers as ITK writes them, followed by the voxels or, for .mhd and .nhdr, with a separate voxel file."""

    def write(folder: Path, dtype: type, compress: bool) -> None:
        image = itk.image_from_array(voxels((5, 6, 7), dtype))
        image.SetSpacing([2.0, 2.0, 3.0])
        itk.imwrite(image, str(folder / f"image{ending}"), compression=compress)

    kinds = ((np.uint8, False), (np.float32, False), (np.uint8, True))
    return [made(lambda folder, k=kind: write(folder, *k)) for kind in kinds]


def dicom() -> list[Files]:
    """A series of three slices."""

    def write(folder: Path) -> None:
        kept = locale.setlocale(locale.LC_ALL)
        for number in range(3):
            image = itk.image_from_array(voxels((1, 8, 8), np.int16))
            image.SetOrigin([0.0, 0.0, 4.0 * number])
            for tag, value in {
                "0008|0060": "MR",
                "0008|0021": "20200101",
                "0020|000d": "1.2.826.0.1.3680043.2.1125.2",
                "0020|000e": "1.2.826.0.1.3680043.2.1125.1",
                "0008|0018": f"1.2.826.0.1.3680043.2.1125.3.{number}",
                "0020|0013": str(number + 1),
                "0020|0032": f"0\\0\\{4 * number}",
                "0020|0037": "1\\0\\0\\0\\1\\0",
            }.items():
                image.GetMetaDataDictionary()[tag] = value
            writer = itk.GDCMImageIO.New()
            writer.KeepOriginalUIDOn()
            itk.imwrite(image, str(folder / f"{number}.dcm"), imageio=writer)
        locale.setlocale(locale.LC_ALL, kept)

    return [made(write)]


def field(grid: Geometry, affine: bool = False) -> PhysicalField:
    displacement = torch.rand(grid.axes, *grid.shape, generator=torch.Generator().manual_seed(0)) - 0.5
    matrix = np.eye(grid.world_axes + 1) + 0.01 * np.arange((grid.world_axes + 1) ** 2).reshape(grid.world_axes + 1, -1)
    matrix[-1] = np.eye(grid.world_axes + 1)[-1]
    return PhysicalField(displacement, grid, matrix if affine else None)


def fields(ending: str) -> list[Files]:
    """``field`` in 3-D, in 2-D and with an affine."""
    flat = Geometry((7, 6), PLACE[[0, 1, 3]][:, [0, 1, 3]])
    kinds = [field(GRID), field(flat), field(GRID, affine=True)]
    return [made(lambda folder, f=f: write_field(folder / f"field{ending}", f)) for f in kinds]


def transforms(ending: str) -> list[Files]:
    """``affine`` as ITK's text format, or as ITK writes it."""
    if ending != ".mat":
        text = (
            "#Insight Transform File V1.0\n#Transform 0\nTransform: AffineTransform_double_3_3\n"
            "Parameters: 1.1 0 0 0 0.9 0.1 0 0 1 5 -3 2\nFixedParameters: 1 2 3\n"
        )
        others = {"AffineTransform_double_3_3": "Euler3DTransform_double_3_3", "1.1 0 0 0 0.9 0.1 0 0 1 5": "0.1 0 0 1"}
        rigid = text
        for old, new in others.items():
            rigid = rigid.replace(old, new)
        return [{f"affine{ending}": one.encode()} for one in (text, rigid)]

    def write(folder: Path) -> None:
        affine = itk.AffineTransform[itk.D, 3].New()
        affine.Translate([1.0, 2.0, 3.0])
        itk.transformwrite(affine, str(folder / f"affine{ending}"))

    return [made(write)]


def tables() -> list[Files]:
    rows = "".join(f"s{n},s{n}.nii,l{n}.nii,g{n},{'train' if n < 3 else 'validation'}\n" for n in range(5))
    pictures = {f"s{n}.nii": nifti(voxels((8, 8), np.float32) + n) for n in range(5)}
    labels = {f"l{n}.nii": nifti(voxels((8, 8)) % 3) for n in range(5)}
    sides = {"train.txt": b"s0\ns1\n", "validation.txt": b"# two\ns2\ns3\n", "test.txt": b"s4\n"}
    names = {"names.txt": b"#ID Name\n0 Unknown 0 0 0 0\n1 One 1 2 3 0\n2 Two\n3 Three\n"}
    return [{"subjects.csv": (CSV + rows).encode(), **names, **sides, **pictures, **labels}]


def decathlon() -> list[Files]:
    items = [{"image": f"./im/hippocampus_{n}.nii", "label": f"./lb/hippocampus_{n}.nii"} for n in range(1, 4)]
    listing = {"name": "x", "labels": {"0": "background", "1": "Anterior", "2": "Posterior"}, "training": items}
    files = {item[kind][2:]: nifti(voxels((8, 8, 8)) % 3) for item in items for kind in ("image", "label")}
    return [{"dataset.json": json.dumps({**listing, "test": []}, indent=1).encode(), **files}]


def neurite() -> list[Files]:
    names = b"#ID Name\n0 Unknown 0 0 0 0\n1 One 1 2 3 0\n2 Two 1 2 3 0\n3 Three\n"
    folders = [f"OASIS_OAS1_{number:04d}_MR1" for number in range(1, 4)]
    files = {f"{folder}/slice_norm.nii.gz": nifti(voxels((8, 8))) for folder in folders}
    return [{"seg4_labels.txt": names, **files, **{f"{folder}/slice_seg4.nii.gz": b"" for folder in folders}}]


def bids() -> list[Files]:
    files = {f"sub-{n:02d}/anat/sub-{n:02d}_T1w.nii": nifti(voxels((8, 8, 8))) for n in range(1, 4)}
    people = "participant_id\tage\tsplit\nsub-01\t30\ttrain\nsub-02\t40\tvalidation\nsub-03\tn/a\tn/a\n"
    return [{"participants.tsv": people.encode(), **files}]


def pairs() -> list[Files]:
    items = [{"moving": "a.nii", "fixed": "b.nii"}, {"moving": "b.nii", "fixed": "a.nii", "name": "back"}]
    return [{"pairs.json": json.dumps(items, indent=1).encode(), "a.nii": b"x", "b.nii": b"x"}]


def landmarks() -> list[Files]:
    rows = "".join(f"{n},{1.5 * n},{-n},{n + 0.25},p{n}\n" for n in range(4))
    return [{"points.csv": f"id,x,y,z,name\n{rows}".encode()}]


def studies() -> list[Files]:
    axes = {"name": "axes", "axes": {"model.integration_steps": [0, 7], "objective.lambda": [1e-3, 0.1, 1]}}
    return [{"study.yaml": yaml.safe_dump(study, sort_keys=False).encode()} for study in (STUDY, axes)]


def huge_studies() -> list[Files]:
    """1.6e9 trials, and nested merges that multiply; both files are small."""
    axes = {key: list(range(1, 201)) for key in ("seed", "training.epochs", "pairs.test", "pairs.validation")}
    merges = "name: x\nbase:\n" + textwrap.indent(MERGES, "  ")
    return [{"study.yaml": text.encode()} for text in (yaml.safe_dump({"name": "x", "axes": axes}), merges)]


def overrides() -> list[Files]:
    """Texts for the option ``--set``."""
    texts = ("training.epochs=3", "cohort.size=[32, 32]", "objective.lambda=1e-3", "cohort.exclude=[a, b]", "seed=7")
    return [{"set": text.encode()} for text in texts]


def network(dims: int = 2) -> VoxelMorph:
    torch.manual_seed(0)
    return VoxelMorph(dims, channels=[2] * 8, final_channels=[2])


def models() -> list[Files]:
    images_2d = TrainingImages((12, 10), (2.0, 2.0), "ALS", 100.0)
    told = about("l2_0.01_diffeomorphic_s0_0123456789", TrialSettings(), images_2d)
    return [
        made(lambda folder: save_model(folder / "model.safetensors", network(), told)),
        made(lambda folder: save_model(folder / "model.safetensors", network())),
    ]


def official() -> list[Files]:
    torch.manual_seed(0)
    return [made(lambda folder: save_official(folder / "weights.pt", VoxelMorph(2), (32, 32)))]


def checkpoint_settings() -> TrialSettings:
    return TrialSettings.model_validate({"training": {"epochs": 3, "steps_per_epoch": 2}})


def checkpoints() -> list[Files]:
    """A checkpoint after two of three epochs."""

    def write(folder: Path) -> None:
        settings, model = checkpoint_settings(), network()
        optimizer = build_optimizer(settings, model)
        schedule = build_schedule(settings, optimizer)
        sum(weight.sum() for weight in model.parameters()).backward()
        for _ in range(2 * settings.training.steps_per_epoch):
            optimizer.step()
            schedule.step()
        row = {"train_loss": 0.1, "train_similarity": 0.1, "train_penalty": 0.1, "seconds": 1.0}
        row |= {"validation_loss": 0.1, "validation_similarity": 0.1, "validation_penalty": 0.1}
        history = [{"epoch": epoch, **row} for epoch in (1, 2)]
        best = {name: weight.detach().clone() for name, weight in model.state_dict().items()}
        state = TrainingState(2, history, 0.1, 1, best)
        state.save(folder, settings, model, {"optimizer": optimizer, "schedule": schedule})

    files = made(write)
    return [{"checkpoint.pt": files["checkpoint.pt"]}]


def write_run(path: Path, axes: dict[str, list], complete: int = 2) -> None:
    """A run with complete trials, followed by one that failed."""
    path.mkdir(parents=True)
    file = path.with_suffix(".yaml")
    file.write_text(yaml.safe_dump({"name": "small", "axes": axes}))
    study = load_study(str(file), ["training.epochs=2", "pairs.test=6"])
    file.unlink()
    ids = [trial.trial_id(synthetic_run.fingerprint(trial, None)) for trial in study.trials]
    run = claim(path, study, ids)
    for trial in ids[:complete]:
        synthetic_run.trial(run.trials[trial], path / trial, None, lambda progress: None)
        arrays = synthetic_run.make_examples(run.trials[trial], 1)
        small = {name: array[..., ::8, ::8] if array.ndim > 2 else array for name, array in arrays.items()}
        np.savez_compressed(path / trial / "examples.npz", **small)
        noted = {"packages": {"torch": "2"}, "data": "d", "test_pairs": "t"}
        (path / trial / "environment.json").write_text(json.dumps(noted))
    for trial in ids[complete:]:
        (path / trial).mkdir()
        (path / trial / "trial.yaml").write_text(run.trials[trial].to_yaml())
        (path / trial / "failure.json").write_text('{"reason": "the loss is not finite"}')


def runs() -> list[Files]:
    """``run``: two complete trials and one that failed, or only an archive; ``a/b/host``: another run with its data."""

    def write(folder: Path) -> None:
        write_run(folder / "run", {"objective.penalty": ["l1", "l2", "bending-pure"]})
        write_run(folder / "a/b/host", {"objective.penalty": ["l1"], "objective.lambda": [0.1]}, 1)

    def keep(folder: Path) -> None:
        write(folder)
        figures.draw_figures = lambda *_: []
        statistics.analyse = lambda *_: statistics.Analysis({}, [], [])
        archive(folder / "run", folder / "kept", console=Console(file=io.StringIO()))

    whole, kept = made(write), made(keep)
    names = ("kept/study.yaml", "kept/archive/")
    kept = {name.replace("kept", "run", 1): kept[name] for name in kept if name.startswith(names)}
    return [whole, {**{name: whole[name] for name in whole if name.startswith("a/b/host")}, **kept}]


def runs_outside() -> list[Files]:
    """``run`` with a complete trial whose name points out of the folder, to its files."""
    whole = runs()[0]
    first = next(name.split("/")[1] for name in sorted(whole) if name.startswith("run/l1"))
    outside = {
        name.replace(first, "../../../../evil"): content.replace(first.encode(), b"../../../../evil")
        for name, content in whole.items()
        if first in name or name == "run/study.yaml"
    }
    return [{**whole, **outside}]


def finished() -> list[Files]:
    row = {"trial": "t", "moving": "a", "fixed": "b", "mse": 0.1}
    example = {"warped": np.ones((4, 4), np.float32), "displacement": np.ones((2, 4, 4), np.float32)}
    return [made(lambda folder: FinishedPairs(folder).write(0, row, example))]


def archives(ending: str) -> list[Files]:
    """A data set folder with a marker, a table and a picture."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as tar:
        for name, content in (("data/dataset.json", b"{}"), ("data/im/1.nii", bytes(3000)), ("data/a.txt", b"text")):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    if ending == ".tar.gz":
        return [{"set.tar.gz": gzip.compress(written.getvalue(), mtime=0)}]
    return [{"set.tar": written.getvalue()}]
