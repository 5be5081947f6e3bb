"""Who waits at a terminal for a compilation is told so, once; nobody else is."""

import os
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest
from fastconv.kernels import process
from subprocesses import ROOT

LINE = "fastconv: compiling, which takes some seconds once (FASTCONV_QUIET=1: no such line)\n"


class Stderr:
    """What was written, by whatever thread, and whether it is a terminal."""

    def __init__(self, is_terminal):
        self.written, self.isatty = [], lambda: is_terminal

    def write(self, text):
        self.written.append(text)


@pytest.fixture
def system(monkeypatch):
    """What `sys` tells where an impatient user sits at an interpreter."""
    system = SimpleNamespace(ps1=">>> ", flags=sys.flags, stderr=Stderr(True))
    monkeypatch.setattr(process, "sys", system)  # pytest sets the stderr of the real one anew for each phase of a test
    monkeypatch.setattr(process, "_PATIENCE", 0.02)
    monkeypatch.setattr(process, "_told", threading.Lock())
    monkeypatch.delenv("FASTCONV_QUIET", raising=False)
    return system


def compile_slowly(value=1):
    time.sleep(0.5)  # against a patience of some hundredths: also where the machine is busy
    return value


def test_a_long_wait_is_told_once(system):
    assert process.uninterrupted(compile_slowly, 5) == 5
    assert process.uninterrupted(compile_slowly, 6) == 6
    assert system.stderr.written == [LINE]


def test_threads_that_wait_together_tell_it_once(system):
    threads = [threading.Thread(target=process.uninterrupted, args=(compile_slowly,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert system.stderr.written == [LINE]


def test_a_short_wait_is_not_told(system, monkeypatch):
    monkeypatch.setattr(process, "_PATIENCE", 10)
    assert process.uninterrupted(compile_slowly, 5) == 5
    assert system.stderr.written == []


def test_errors_of_a_long_wait_are_raised(system):
    def fail():
        compile_slowly()
        raise KeyError("wrong")

    with pytest.raises(KeyError, match="wrong"):
        process.uninterrupted(fail)
    assert system.stderr.written == [LINE]


@pytest.mark.parametrize(("quiet", "told"), [("1", []), ("0", [LINE]), ("", [LINE])])
def test_quiet(system, monkeypatch, quiet, told):
    monkeypatch.setenv("FASTCONV_QUIET", quiet)
    process.uninterrupted(compile_slowly)
    assert system.stderr.written == told


def test_programs_are_told_nothing(system):
    del system.ps1
    process.uninterrupted(compile_slowly)
    assert system.stderr.written == []


def test_files_are_told_nothing(system):
    system.stderr = Stderr(False)
    process.uninterrupted(compile_slowly)
    assert system.stderr.written == []


@pytest.mark.parametrize("closed", [False, True])
def test_without_stderr_nothing_fails(system, tmp_path, closed):
    with open(tmp_path / "closed", "w") as file:
        pass
    system.stderr = file if closed else None
    assert process.uninterrupted(compile_slowly, 5) == 5


@pytest.mark.parametrize("options", [("-q",), ("-i", "-c", "")])
def test_an_interpreter_at_a_terminal(options):
    pty = pytest.importorskip("pty")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "dumb"}
    environment.pop("FASTCONV_QUIET", None)
    terminal, side = pty.openpty()
    python = subprocess.Popen(
        [sys.executable, *options], cwd=ROOT, env=environment, stdin=side, stdout=side, stderr=side
    )
    os.close(side)
    lines = (
        "import time; from fastconv.kernels import process; process._PATIENCE = 0.02",
        "process.uninterrupted(time.sleep, 0.5)",
        "process.uninterrupted(time.sleep, 0.5)",
        "exit()",
    )
    os.write(terminal, "".join(f"{line}\n" for line in lines).encode())
    shown = b""
    try:
        while piece := os.read(terminal, 4096):
            shown += piece
    except OSError:  # how Linux says that the other side is closed
        pass
    os.close(terminal)
    assert python.wait(60) == 0
    assert shown.decode().replace("\r\n", "\n").count(LINE) == 1
