"""Atomic writes, and the leftovers of a killed process."""

import multiprocessing
import os
import threading
import time
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from smoothmorph.transforms.basics import atomic
from smoothmorph.transforms.basics.atomic import remove_leftovers, temporary_folder, write_atomically, write_folder
from smoothmorph.transforms.basics.errors import InputError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write_for_ever(path: Path, begun: Event) -> None:
    def write(temporary: Path) -> None:
        temporary.write_text("half")
        begun.set()
        time.sleep(60)

    write_atomically(path, write)


@pytest.fixture
def writer(tmp_path):
    """A process that is writing ``a.png`` at this moment."""
    if "fork" not in multiprocessing.get_all_start_methods():
        pytest.skip("the locks are of systems that fork")
    context = multiprocessing.get_context("fork")
    begun = context.Event()
    process = context.Process(target=write_for_ever, args=(tmp_path / "a.png", begun), daemon=True)
    process.start()
    assert begun.wait(30)
    yield process
    process.kill()
    process.join()


def test_what_a_live_process_writes_is_left_alone_and_what_a_killed_one_left_is_removed(writer, tmp_path):
    assert names(tmp_path) == [".a.png.partial"]
    remove_leftovers(tmp_path)
    write_atomically(tmp_path / "a.png", lambda path: path.write_text("whole"))
    assert names(tmp_path) == [".a.png.partial", "a.png"]
    writer.kill()
    writer.join()
    remove_leftovers(tmp_path)
    assert names(tmp_path) == ["a.png"]
    assert (tmp_path / "a.png").read_text() == "whole"


def test_the_next_write_of_the_same_file_removes_what_a_killed_process_left(writer, tmp_path):
    writer.kill()
    writer.join()
    write_atomically(tmp_path / "a.png", lambda path: path.write_text("whole"))
    assert names(tmp_path) == ["a.png"]


def test_leftovers_of_every_kind_are_removed_and_nothing_else(tmp_path):
    kept = [".hidden", ".lock", "x.tar.partial", "b.png", ".link.partial"]
    for name in kept[:-1]:
        (tmp_path / name).touch()
    (tmp_path / kept[-1]).symlink_to(tmp_path / "b.png")
    for name in (".a.png.k2j_.partial", ".f.nii.gz.k2j_.partial.nii.gz"):  # names used by earlier versions
        (tmp_path / name).touch()
    for name in (".set.unpacking", ".trial.partial", ".b.npz.partial.3"):
        (tmp_path / name / "in").mkdir(parents=True)
    remove_leftovers(tmp_path)
    assert names(tmp_path) == sorted(kept)
    remove_leftovers(tmp_path / "none")


def test_without_locks_only_what_is_a_day_old_is_a_leftover(tmp_path, monkeypatch):
    def lacking(*_: object, **__: object) -> bool:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(atomic, "lock_descriptor", lacking)
    write_atomically(tmp_path / "a.txt", lambda path: path.write_text("x"))
    assert names(tmp_path) == ["a.txt"]
    for name, age in ((".old.partial", 25 * 3600), (".new.partial", 3600)):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    remove_leftovers(tmp_path)
    assert names(tmp_path) == [".new.partial", "a.txt"]


def test_threads_may_write_one_file_at_once(tmp_path):
    together = threading.Barrier(4)

    def write(path: Path) -> None:
        together.wait()
        path.write_text("whole")

    threads = [threading.Thread(target=write_atomically, args=(tmp_path / "a.txt", write)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert names(tmp_path) == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "whole"


@pytest.mark.parametrize("fault", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_write_that_fails_leaves_the_old_file(fault, tmp_path):
    (tmp_path / "a.txt").write_text("old")

    def write(path: Path) -> None:
        path.write_text("half")
        raise fault

    with pytest.raises(InputError if isinstance(fault, OSError) else KeyboardInterrupt):
        write_atomically(tmp_path / "a.txt", write)
    with pytest.raises(InputError if isinstance(fault, OSError) else KeyboardInterrupt):
        write_folder(tmp_path / "b", lambda folder: write(folder / "x"))
    assert names(tmp_path) == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


def test_a_folder_appears_whole(tmp_path):
    write_folder(tmp_path / "new" / "b", lambda folder: (folder / "x").write_text("1"))
    assert names(tmp_path / "new") == ["b"]
    assert (tmp_path / "new" / "b").stat().st_mode & 0o777 == 0o755
    with pytest.raises(InputError, match="exists; choose another name"):
        write_folder(tmp_path / "new" / "b", lambda folder: None)
    with temporary_folder(tmp_path / "c") as folder:
        assert names(folder) == []
    assert names(tmp_path) == ["new"]
