"""Nothing is printed before an error message, whatever the libraries print or warn about."""

import logging
import os
import threading
import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

from smoothmorph.experiments.cli import app
from smoothmorph.experiments.commands.common import guarded
from smoothmorph.pipeline.images.volumes import write_volume
from smoothmorph.transforms import Geometry, PhysicalField
from smoothmorph.transforms.basics.errors import InputError
from smoothmorph.transforms.basics.quiet import without_prints
from smoothmorph.transforms.field_files import write_field

resource = pytest.importorskip("resource")  # not on Windows
GRID = Geometry((20, 20, 20), np.eye(4))


@pytest.fixture
def full_disk():
    """Limit the files of this process to 3,000 bytes, like a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".mha", ".nrrd"])
@pytest.mark.parametrize("kind", ["field", "image"])
def test_a_full_disk_is_one_sentence_and_no_page_of_a_library(kind, ending, tmp_path, full_disk, capfd):
    values = np.random.default_rng(0).normal(size=(3, 20, 20, 20))
    path = tmp_path / f"x{ending}"
    field, voxels = PhysicalField(torch.from_numpy(values), GRID, None), values[0].astype(np.float32)
    with pytest.raises(InputError) as error:
        write_field(path, field) if kind == "field" else write_volume(path, voxels, GRID)
    assert str(error.value).startswith(f"cannot write {path}: ")
    assert str(error.value).endswith(" Free space or choose another folder, then run again.")
    assert capfd.readouterr().err == ""
    assert list(tmp_path.iterdir()) == []


def test_prints_are_held_back_from_several_threads_and_come_again(capfd):
    both, first_left = threading.Barrier(2), threading.Event()

    def hold(first: bool) -> None:
        with without_prints():
            both.wait()
            os.write(2, b"page\n")
            if not first:
                first_left.wait()
                os.write(2, b"page\n")
        first_left.set()

    threads = [threading.Thread(target=hold, args=(first,)) for first in (True, False)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os.write(2, b"told\n")
    assert capfd.readouterr().err == "told\n"


def test_a_process_without_standard_error_can_write():
    process = os.fork()
    if process == 0:
        os.close(2)
        with without_prints():
            pass
        os._exit(0)
    assert os.waitpid(process, 0)[1] == 0


@pytest.fixture
def command():
    """A command that warns in every way and then ends in a given way."""

    def make(end: BaseException | None):
        def run() -> None:
            warnings.warn("a library's warning", UserWarning, stacklevel=2)
            logging.getLogger("some.library").error("a library's log")
            if end is not None:
                raise end

        return guarded(run)

    return make


@pytest.mark.parametrize(("end", "said"), [(InputError("x is y."), "error: x is y.\n"), (OSError(28, "full"), None)])
def test_warnings_do_not_come_before_an_error(end, said, command, capfd):
    with pytest.raises(typer.Exit) as told:
        command(end)()
    assert told.value.exit_code == 2
    err = capfd.readouterr().err
    assert err == (said or "error: full; check its permissions and the free space, then repeat the command.\n")
    assert not logging.root.manager.disable


@pytest.mark.filterwarnings("default")
def test_warnings_are_told_where_the_command_has_worked(command):
    with pytest.warns(UserWarning, match="a library's warning"):
        command(None)()


def test_what_nibabel_says_of_a_header_does_not_come_before_the_error(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    image = nib.Nifti1Image(np.zeros((4, 4, 4), np.float32), np.eye(4))
    nib.save(image, "x.nii")
    content = bytearray(Path("x.nii").read_bytes())
    content[80:84] = np.float32(-1).tobytes()  # pixdim[1]
    Path("x.nii").write_bytes(content)
    done = CliRunner().invoke(app, ["jacobian", "x.nii", "--out", "j.nii"])
    assert done.exit_code == 2
    assert len(done.stderr.splitlines()) == 1
    assert capfd.readouterr().err == ""
