import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from rich.console import Console
from typer.testing import CliRunner

import synthetic_run
from smoothmorph.experiments.cli import app
from smoothmorph.experiments.run.progress import following
from smoothmorph.experiments.study.study import load_study


@pytest.fixture
def call(tmp_path, monkeypatch):
    """Call the command line in an empty folder, with the stand-in for training."""
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
    assert "give the same command again to go on" in done.stderr
    marker.unlink()
    assert "1 of" in call("run", "demo", *SHORT, "--data-root", "root").output


def test_an_interruption_where_nothing_is_kept_says_so(call, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("smoothmorph.pipeline.models.trained_model.open_trained", stop)
    done = call("register", "a.nii", "b.nii", "--model", "brain-2d")
    assert done.exit_code == 130
    assert done.stderr == "interrupted; only files that it wrote already are kept: the same command starts anew.\n"


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
        (["run", "demo", "--cpus-per-trial", "2"], "--cpus-per-trial is for a Ray cluster; add --executor ray"),
        (["run", "demo", "--executor", "ray", "--workers", "2"], "--workers is for processes of this machine; with"),
        (["run", "demo", "--together", "2"], "--together is gone: trials share a GPU with --executor ray"),
        (["run", "demo", "--executor", "ray", "--address", "127.0.0.1:1"], "no Ray cluster answers at 127.0.0.1:1"),
        (["show", "demo", "--set", "objective.penalty=l9"], "objective.penalty = 'l9'"),
        (["bench", "step-2d", "--device", "cuda"], "`smoothmorph bench` is now `make bench`, in a checkout"),
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
        "error: runs/demo/.lock: Permission denied; see to its permissions and the free space, then run again.\n"
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


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ([], "give one limit"),
        (["--max-folding", "0.1%", "--max-sdlogj", "0.3"], "give one limit"),
        (["--max-folding", "little"], "--max-folding little: expected a percentage"),
        (["--max-folding=-1"], "must be a number of at least 0, found -1.0"),
    ],
)
def test_limits_that_cannot_be_recommended_for(options, sentence, tmp_path):
    result = CliRunner().invoke(app, ["recommend", str(tmp_path), *options])
    assert result.exit_code == 2
    assert sentence in result.output


@pytest.mark.parametrize(
    "words", [["show", "demo"], ["run", "dmo"], ["run", "demo", "--set", "training.epoch=3"], ["status", "nothing"]]
)
def test_a_study_and_a_mistake_are_shown_without_torch(words):
    """Which takes seconds to load; so do MONAI and ITK."""
    program = (
        "import sys\nfrom smoothmorph.experiments.cli import app\n"
        f"try:\n    app({words})\nexcept SystemExit:\n    pass\n"
        "assert not {'torch', 'monai', 'itk', 'nibabel'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
