import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import typer.main
import yaml
from rich.console import Console
from typer.testing import CliRunner

import synthetic_run
from knob_model import write_knob
from smoothmorph.experiments.cli import app, data_app
from smoothmorph.experiments.run.progress import following
from smoothmorph.experiments.study.study import load_study
from smoothmorph.networks import VoxelMorph
from smoothmorph.pipeline.cohorts.opening import read_cohort
from smoothmorph.pipeline.exports.formats import export
from smoothmorph.pipeline.models.trained_model import Trained
from smoothmorph.pipeline.settings.schema import CohortSettings


@pytest.fixture
def call(tmp_path, monkeypatch):
    """Call the command line in an empty folder, with the fast replacement for training."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr("smoothmorph.experiments.run.runner._pipeline_fingerprint", synthetic_run.fingerprint)
    monkeypatch.setattr("smoothmorph.pipeline.trial.run_trial", synthetic_run.trial)
    monkeypatch.setattr("smoothmorph.experiments.figures.draw_figures", lambda *_: [Path("a.png")])
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


SHORT = ("--set", "training.epochs=2", "--set", "pairs.test=4", "--workers", "1")


def test_run_status_figures(call, tmp_path):
    done = call("run", "demo", *SHORT)
    assert done.exit_code == 0, done.output
    assert "trials complete" in done.output
    assert (tmp_path / "runs" / "demo" / "tables" / "summary.csv").exists()
    for name in ("demo", "runs/demo", tmp_path / "runs" / "demo"):
        told = call("status", name)
        assert told.exit_code == 0
        assert told.output.count("complete") == len(load_study("demo").trials)
    drawn = call("figures", "demo")
    assert (drawn.exit_code, drawn.output.splitlines()[-1]) == (0, "a.png")


def test_a_failed_trial_is_exit_code_1(call, tmp_path):
    (tmp_path / "root").mkdir()
    penalty, weight = (lambda objective: (objective.penalty, objective.weight))(load_study("demo").trials[0].objective)
    (tmp_path / "root" / f"fail-{penalty}-{weight:g}").touch()
    done = call("run", "demo", *SHORT, "--data-root", "root", "--out", "out")
    assert done.exit_code == 1
    assert "training diverged: the loss is nan in epoch 1." in done.stdout
    assert call("status", "out").output.count("failed") == 1
    drawn = call("figures", "out")
    assert drawn.exit_code == 1
    assert "training diverged: the loss is nan in epoch 1." in drawn.stdout
    assert drawn.stdout.splitlines()[-1] == "a.png"


def test_an_interruption_is_exit_code_130_and_says_how_to_go_on(call, tmp_path):
    (tmp_path / "root").mkdir()
    objective = load_study("demo").trials[1].objective
    marker = tmp_path / "root" / f"stop-{objective.penalty}-{objective.weight:g}"
    marker.touch()
    done = call("run", "demo", *SHORT, "--data-root", "root")
    assert done.exit_code == 130
    assert "repeat the same command to continue" in done.stderr
    marker.unlink()
    assert "1 of" in call("run", "demo", *SHORT, "--data-root", "root").output


def test_an_interruption_where_nothing_is_kept_says_so(call, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("smoothmorph.pipeline.images.volumes.check_headers", stop)
    done = call("register", "a.nii", "b.nii", "--model", "brain-2d")
    assert done.exit_code == 130
    lost = "only files that were already written are kept; the same command starts from the beginning"
    assert done.stderr == f"interrupted; {lost}.\n"


@pytest.mark.parametrize(("seconds", "lines"), [(3600.0, ""), (-1.0, "refining: loss 0.1 (2 of 9)\n")])
def test_where_there_is_no_terminal_long_work_tells_lines(seconds, lines, monkeypatch, capsys):
    monkeypatch.setattr("smoothmorph.experiments.run.progress.SECONDS_BETWEEN_LINES", seconds)
    with following(Console(stderr=True)) as tell:
        tell("refining: loss 0.1", 2, 9)
    assert capsys.readouterr().err == lines


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["run", "dmo"], "unknown study 'dmo'; did you mean demo?"),
        (["run", "none.yaml"], "cannot read none.yaml"),
        (["run", "demo", "--set", "training.epoch=3"], "did you mean training.epochs"),
        (["run", "demo", "--set", "objective.lambda=-1"], "greater than or equal to 0"),
        (["run", "demo", "--out", "file/run"], "cannot write in file/run"),
        (["run", "demo", "--executor", "slurm"], "unknown executor 'slurm'; expected local or ray."),
        (["run", "demo", "--cpus-per-trial", "2"], "--cpus-per-trial needs a Ray cluster; add --executor ray"),
        (["run", "demo", "--executor", "ray", "--workers", "2"], "--workers is the number of processes on this"),
        (["run", "demo", "--together", "2"], "--together was removed; to share a GPU, use --executor ray"),
        (["run", "demo", "--executor", "ray", "--address", "127.0.0.1:1"], "no Ray cluster answers at 127.0.0.1:1"),
        (["show", "demo", "--set", "objective.penalty=l9"], "objective.penalty = 'l9'"),
        (["bench", "step-2d", "--device", "cuda"], "`smoothmorph bench` was removed; use `make bench`, in a checkout"),
        (["join", "one", "other"], "`smoothmorph join` was removed; use `smoothmorph figures RUN OTHER`, or"),
        (["status", "nothing"], "there is no run 'nothing'"),
        (["status", "."], "holds no run"),
        (["figures", "nothing"], "there is no run 'nothing'"),
        (["data", "check", "nothing"], "reader = 'nothing'"),
        (["data", "check", "neurite-oasis", "--root", "missing"], "missing"),
        (["data", "fetch", "nothing"], "unknown data set 'nothing'"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(words, sentence, call, tmp_path):
    (tmp_path / "file").touch()
    done = call(*words)
    assert done.exit_code == 2
    assert sentence in done.stderr
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_file_without_permission_is_one_line(call, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied", "runs/demo/.lock")

    monkeypatch.setattr("smoothmorph.experiments.run.runner.run_study", refuse)
    done = call("run", "demo")
    assert done.exit_code == 2
    assert done.stderr == (
        "error: runs/demo/.lock: Permission denied; check its permissions and the free space, "
        "then repeat the command.\n"
    )


def test_a_fault_of_ours_keeps_its_traceback(call, monkeypatch):
    def fail(*_):
        raise ValueError("a fault")

    monkeypatch.setattr("smoothmorph.experiments.study.study.load_study", fail)
    done = call("show", "demo")
    assert type(done.exception) is ValueError


def test_show_lists_the_trials(call):
    told = call("show", "published")
    assert told.exit_code == 0
    assert "9 trials" in told.output
    assert "bending-pure" in told.output
    assert "regularizers" in told.output


def test_show_as_yaml_is_a_study_file(call, tmp_path):
    told = call("show", "published", "--yaml", "--set", "training.epochs=3")
    (tmp_path / "mine.yaml").write_text(told.output)
    assert yaml.safe_load(told.output)["base"]["training"]["epochs"] == 3
    assert load_study(str(tmp_path / "mine.yaml")).trials == load_study("published", ["training.epochs=3"]).trials


def test_data_check_of_the_phantom(call):
    told = call("data", "check", "phantom", "--set", "cohort.subjects=2")
    assert told.exit_code == 0
    assert "2 subjects" in told.output


def test_data_check_of_a_faulty_cohort_is_exit_code_1(call, tmp_path, tiny_cohort):
    folder = tmp_path / "cohort"
    folder.mkdir()
    for path in tiny_cohort(2).iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    words = ("data", "check", "table", "--root", folder, "--set", "cohort.file=subjects.csv")
    assert call(*words).exit_code == 0
    (folder / "image3.nii.gz").write_bytes((folder / "image3.nii.gz").read_bytes()[:60])
    told = call(*words)
    assert told.exit_code == 1
    assert "image3.nii.gz" in told.output


def test_help_and_version_need_no_heavy_import():
    code = (
        "import sys; from smoothmorph.experiments.cli import app\n"
        "try: app([{word!r}])\n"
        "except SystemExit: pass\n"
        "print(sorted({{'torch', 'monai', 'matplotlib', 'pandas', 'pydantic'}} & set(sys.modules)))"
    )
    for word, answer in (("--help", "Usage"), ("--version", "smoothmorph 0.")):
        done = subprocess.run([sys.executable, "-c", code.format(word=word)], capture_output=True, text=True)
        assert answer in done.stdout
        assert done.stdout.splitlines()[-1] == "[]"


EXAMPLES = {
    f"{group} {name}".strip(): command.epilog.removeprefix("Example:\n\n")
    for group, commands in {"": typer.main.get_command(app), "data": typer.main.get_command(data_app)}.items()
    for name, command in commands.commands.items()
    if not command.hidden and not hasattr(command, "commands")
}


@pytest.fixture
def files(call, tmp_path):
    """The files that the examples name: two subjects of the built-in phantom, and landmarks."""
    cohort = read_cohort(CohortSettings(reader="phantom", subjects=2))
    for name, subject in zip(("moving", "fixed"), cohort.subjects, strict=True):
        sample = cohort.load(subject)
        for kind, ending, dtype in (("image", "", np.float32), ("label", "_seg", np.uint8)):
            nib.save(nib.Nifti1Image(sample[kind][0].numpy().astype(dtype), np.eye(4)), f"{name}{ending}.nii.gz")
    (tmp_path / "images").mkdir()
    for name in ("moving", "fixed"):
        (tmp_path / "images" / f"{name}.nii.gz").symlink_to(tmp_path / f"{name}.nii.gz")
    (tmp_path / "landmarks.csv").write_text("x,y\n-20,-30\n")
    (tmp_path / "data").mkdir()
    lines = [f"{name},../{name}.nii.gz,../{name}_seg.nii.gz" for name in ("moving", "fixed")]
    (tmp_path / "data" / "subjects.csv").write_text("\n".join(["id,image,label", *lines]))
    write_knob(tmp_path / "conditional.safetensors")
    export(Trained(VoxelMorph(2), tmp_path / "any.safetensors"), "official", tmp_path / "weights.pt", (64, 64))
    return call


def test_the_help_of_every_command_ends_with_an_example(call):
    assert len(EXAMPLES) == 23
    for command, example in EXAMPLES.items():
        assert example.startswith(f"smoothmorph {command}"), command
        assert len(example) < 79  # one line of a terminal
        told = call(*command.split(), "--help")
        assert told.output.rstrip().splitlines()[-1].strip() == example


def test_every_example_works(files, tmp_path, monkeypatch):
    """One after the other, with short studies; the download is only asked for."""
    asked = []
    monkeypatch.setattr("smoothmorph.pipeline.downloads.datasets.fetch", lambda name, to, *_: asked.append((name, to)))
    for command, example in EXAMPLES.items():
        if command == "compose":
            for name in ("first.h5", "second.h5"):
                shutil.copy("field.h5", name)
        short = SHORT if command == "run" else ()
        short = ("--pairs", "2", "--count", "2") if command == "tune" else short
        told = files(*shlex.split(example)[1:], *short)
        assert told.exit_code == 0, (command, told.output)
    assert asked == [("hippocampus", Path("data"))]
    written = {"field.h5", "warped_seg.nii.gz", "both.h5", "inverse.h5", "determinant.nii.gz", "field.nii.gz"}
    written |= {"warped_landmarks.csv", "demo.html", "brain-2d-bundle", "model.safetensors", "subjects.csv"}
    assert written | {"study.schema.json", "demo-archive"} <= {path.name for path in tmp_path.iterdir()}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ([], "give one limit"),
        (["--max-folding", "0.1%", "--max-sdlogj", "0.3"], "give one limit"),
        (["--max-folding", "little"], "--max-folding little: expected a percentage"),
        (["--max-folding", "101%"], "--max-folding 101%: expected a percentage of the voxels, at most 100%"),
        (["--max-folding=-1"], "must be a number of at least 0, found -1.0"),
    ],
)
def test_limits_that_cannot_be_recommended_for(options, sentence, tmp_path):
    result = CliRunner().invoke(app, ["recommend", str(tmp_path), *options])
    assert result.exit_code == 2
    assert sentence in result.output


PUBLISHED = Path(__file__).parents[1] / "experiments/results/published"
MISTAKES = {
    "register": [
        ("none.nii.gz b.nii.gz -m brain-2d", "none.nii.gz does not exist"),
        ("a.nii.gz notes.txt -m brain-2d", "notes.txt is not one of the image formats"),
        ("a.nii.gz b.nii.gz -m brian-2d", "no model at brian-2d"),
        ("a.nii.gz b.nii.gz", "--model is missing; shipped models: brain-2d, "),
        ("a.nii.gz b.nii.gz -m brain-2d --warped w.jpg", "w.jpg has none of the endings"),
        ("a.nii.gz b.nii.gz -m brain-2d --field a.nii.gz", "a.nii.gz is an input file"),
        ("a.nii.gz b.nii.gz -m brain-2d --refine 2 --penalty l3", "did you mean l2?"),
        ("a.nii.gz b.nii.gz -m brain-2d --refine 2 --similarity mi", "there is no similarity 'mi'"),
        ("a.nii.gz b.nii.gz -m brain-2d --device gpu", "the device is 'gpu'"),
        ("a.nii.gz b.nii.gz -m brain-2d --moving-labels none.mha --warped w.mha", "none.mha does not exist"),
    ],
    "tune": [
        ("none", "no model at none"),
        ("brain-2d", "the table reader needs a data folder"),
        ("brain-2d --data-root empty", "the data folder empty is empty"),
        ("brain-2d --data-root full", "full has no table of subjects"),
        ("brain-2d --reader phantm", "did you mean phantom?"),
        ("brain-2d --reader phantom --penalty l3", "did you mean l2?"),
        ("brain-2d --reader phantom --accuracy dise", "did you mean dice?"),
        ("brain-2d --reader phantom --max-folding much", "--max-folding much: expected a percentage"),
        ("brain-2d --reader phantom --set cohort.subject=3", "did you mean cohort.subjects"),
        ("brain-2d --reader phantom --device gpu", "the device is 'gpu'"),
    ],
    "apply": [
        ("none.h5 a.nii.gz -o o.mha", "none.h5 does not exist"),
        ("f.md a.nii.gz -o o.mha", "f.md has none of the endings of displacement fields"),
        ("f.h5 none.nii.gz -o o.mha", "none.nii.gz does not exist"),
        ("f.h5 a.nii.gz -o o.jpg", "o.jpg has none of the endings"),
        ("f.h5 a.nii.gz -o a.nii.gz", "a.nii.gz is an input file"),
        ("f.h5 a.nii.gz -o o.mha --like none.nii", "none.nii does not exist"),
        ("f.h5 a.nii.gz -o o.mha --affine none.mat", "none.mat does not exist"),
    ],
    "compose": [
        ("f.h5 -o o.mha", "compose needs two fields or more"),
        ("f.h5 none.h5 -o o.mha", "none.h5 does not exist"),
        ("f.h5 g.h5 -o g.h5", "g.h5 is an input file"),
    ],
    "invert": [
        ("none.h5 -o o.mha", "none.h5 does not exist"),
        ("f.h5 -o o.jpg", "o.jpg has none of the endings"),
        ("f.h5 -o o.mha --fixed none.nii", "none.nii does not exist"),
    ],
    "jacobian": [
        ("none.h5 -o o.mha", "none.h5 does not exist"),
        ("f.h5 -o o.h5", "o.h5 has none of the endings"),
        ("f.h5 -o o.mha --like none.nii", "none.nii does not exist"),
    ],
    "convert": [
        ("none.h5 -o o.mha", "none.h5 does not exist"),
        ("f.h5 -o f.h5", "f.h5 is an input file"),
        ("f.h5 -o o.mat", "o.mat has none of the endings"),
    ],
    "points": [
        ("none.h5 p.csv -o q.csv", "none.h5 does not exist"),
        ("f.h5 none.csv -o q.csv", "cannot read none.csv"),
        ("f.h5 p.csv -o q.csv --against none.csv", "cannot read none.csv"),
        ("f.h5 p.csv -o p.csv", "p.csv is an input file"),
        ("f.h5 p.csv -o q.txt", "q.txt has none of the endings"),
    ],
    "export": [
        ("brian-2d model o.safetensors", "no model at brian-2d"),
        ("brain-2d modle o.safetensors", "unknown kind 'modle'"),
        ("brain-2d model o.pt", "o.pt has none of the endings"),
        ("brain-2d model notes.txt", "notes.txt exists"),
        ("brain-2d model o.safetensors --shape axb", "--shape axb: expected numbers of voxels"),
        ("brain-2d official o.pt --authors me", "--authors is only for a bundle or a model"),
        ("brain-2d bundle notes.txt/x", "notes.txt is a file, not a folder"),
    ],
    "import": [
        ("none.pt o.safetensors", "no weights at none.pt"),
        ("notes.txt o.pt", "o.pt has none of the endings"),
        ("notes.txt f.h5", "f.h5 exists"),
    ],
    "data check": [
        ("phantm", "reader = 'phantm'"),
        ("table --root none", "the data folder none does not exist"),
        ("neurite-oasis", "the neurite-oasis reader needs a data folder"),
        ("table --root empty", "the data folder empty is empty"),
        ("table --root full --set cohort.file=none.csv", "cannot read full/none.csv"),
        ("phantom --set cohort.subject=3", "did you mean cohort.subjects"),
    ],
    "data fetch": [
        ("hipocampus", "unknown data set 'hipocampus'"),
        ("hippocampus --to notes.txt", "cannot create the folder notes.txt"),
    ],
    "data table": [
        ("--out o.csv", "give either --bids FOLDER"),
        ("--out o.txt --bids empty", "o.txt has none of the endings"),
        ("--out o.csv --bids none", "none is not a folder"),
        ("--out o.csv --bids empty", "empty is not a BIDS data set"),
        ("--out o.csv --images none/*.nii", "matches no file"),
        ("--out p.csv --images *.nii.gz", "p.csv exists"),
    ],
    "run": [
        ("dmo", "did you mean demo?"),
        ("demo --set training.epoch=3", "did you mean training.epochs"),
        ("demo --executor rai", "unknown executor 'rai'"),
        ("demo --out full", "full is not empty and has no study.yaml"),
        ("published --data-root none", "the data folder none does not exist"),
    ],
    "show": [("dmo", "did you mean demo?")],
    "status": [("none", "there is no run 'none'"), ("empty", "empty holds no run")],
    "figures": [
        ("none", "there is no run 'none'"),
        (f"{PUBLISHED} none", "there is no run 'none'"),
        ("empty", "holds no run"),
    ],
    "report": [("none", "there is no run 'none'"), ("empty --out o.pdf", "o.pdf has none of the endings")],
    "recommend": [
        ("none --max-folding 1%", "there is no run 'none'"),
        ("empty --max-folding 1%", "empty holds no run"),
        ("empty", "give one limit"),
    ],
    "archive": [("none out", "there is no run 'none'"), (f"{PUBLISHED} full", "full is not empty")],
}
"""Command -> arguments with a mistake, and the expected message."""


def _ends_in(folder, words):
    """Exit codes and outputs of command lines that run one after the other in one process without torch."""
    program = (
        "import contextlib, io, json, sys\n"
        "from smoothmorph.experiments.cli import app\n"
        "ends = []\n"
        f"for words in {words!r}:\n"
        "    with contextlib.redirect_stdout(io.StringIO()) as screen, contextlib.redirect_stderr(screen):\n"
        "        try:\n"
        "            app(words)\n"
        "        except SystemExit as end:\n"
        "            ends.append((end.code, screen.getvalue()))\n"
        "print(json.dumps([ends, sorted({'torch', 'monai', 'itk', 'pandas', 'matplotlib'} & {*sys.modules})]))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    ends, loaded = json.loads(done.stdout)
    assert loaded == []
    return ends


def test_a_study_is_shown_without_torch(tmp_path):
    """Torch takes seconds to load; so do MONAI, ITK and the packages for figures and tables."""
    assert _ends_in(tmp_path, [["show", "demo"]])[0][0] == 0


@pytest.mark.parametrize("command", MISTAKES)
def test_a_mistake_is_told_without_torch(tmp_path, command):
    """Each mistake is reported in less than a second of CPU time."""
    for name in ("a.nii.gz", "b.nii.gz"):
        nib.save(nib.Nifti1Image(np.ones((4, 4, 4), np.float32), np.eye(4)), tmp_path / name)
    for name in ("f.h5", "g.h5", "notes.txt", "p.csv", "full/thing"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x,y,z\n1,2,3\n")
    (tmp_path / "empty").mkdir()
    ends = _ends_in(tmp_path, [[*command.split(), *words.split()] for words, _ in MISTAKES[command]])
    for (code, screen), (words, sentence) in zip(ends, MISTAKES[command], strict=True):
        assert code == 2, (words, screen)
        assert sentence in screen
        assert screen.count("\n") == 1, screen
