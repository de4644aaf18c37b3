"""Commands that are ended by a signal, and workers whose parent is killed."""

import os
import signal
import subprocess
import sys
import time

import pytest
from typer.testing import CliRunner

from smoothmorph.experiments.cli import app
from smoothmorph.experiments.run.signals import Stopped, handlers_kept, stoppable

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the signals are POSIX's")
PARENT = """
import multiprocessing, re, sys, time, types
if __name__ == "__mp_main__":  # the worker: its work is in the hand of a library that holds the interpreter
    processes = types.ModuleType("smoothmorph.experiments.run.worker_pool")
    def work(pipe):
        print("busy", flush=True)
        re.match("(a+)+$", 50 * "a" + "b")
    processes.work = work
    sys.modules[processes.__name__] = processes
if __name__ == "__main__":
    from smoothmorph.experiments.run.signals import follow
    ours, theirs = multiprocessing.Pipe()
    worker = multiprocessing.get_context("spawn").Process(target=follow, args=(theirs,), daemon=True)
    worker.start()
    print(worker.pid, flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def usual_handlers():
    """Restore the signal handlers of a foreground process; under nohup, some signals are ignored."""
    usual = {
        signal.SIGTERM: signal.SIG_DFL,
        signal.SIGHUP: signal.SIG_DFL,
        signal.SIGINT: signal.default_int_handler,
    }
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a worker ends as soon as it interprets Python again")
def test_a_worker_ends_with_its_killed_parent_whatever_it_is_doing(tmp_path):
    (tmp_path / "parent.py").write_text(PARENT)
    parent = subprocess.Popen([sys.executable, str(tmp_path / "parent.py")], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent.stdout:
        worker = int(parent.stdout.readline())
        assert parent.stdout.readline() == "busy\n"
        parent.kill()
        parent.wait()
        begin = time.monotonic()
        assert parent.stdout.read() == ""  # returns when the last process that could write has ended
    assert time.monotonic() - begin < 2
    assert not os.path.exists(f"/proc/{worker}/fd/0")


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [
        (signal.SIGTERM, 143, "stopped by SIGTERM"),
        (signal.SIGHUP, 129, "stopped by SIGHUP"),
        (signal.SIGINT, 130, "interrupted"),
    ],
)
def test_a_signal_ends_a_command_in_one_sentence(number, code, said, monkeypatch, tmp_path):
    def stop(*_):
        os.kill(os.getpid(), number)
        time.sleep(5)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("smoothmorph.pipeline.downloads.datasets.fetch", stop)
    done = CliRunner().invoke(app, ["data", "fetch", "hippocampus"])
    assert done.exit_code == code
    assert done.stderr == f"{said}; finished work is kept; repeat the same command to continue.\n"
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_second_signal_ends_the_process_at_once():
    left = []

    def command() -> None:
        with stoppable():
            try:
                os.kill(os.getpid(), signal.SIGTERM)
            finally:
                left.extend(signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP))

    with pytest.raises(Stopped, match="stopped by SIGTERM"):
        command()
    assert left == [signal.SIG_DFL, signal.SIG_DFL]


def test_a_signal_that_is_ignored_stays_ignored():  # nohup
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stoppable():
            os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_library_that_takes_sigterm_for_itself_gives_it_back():  # ray.init
    def command() -> None:
        with stoppable():
            with handlers_kept():
                signal.signal(signal.SIGTERM, lambda *_: sys.exit(15))
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped):
        command()
