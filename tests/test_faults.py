"""Memory and files that fail at each point of a call, one after the other: the next call is right, and helped."""

import ctypes
import errno
import shutil
import subprocess
import sys

import pytest
from subprocesses import run_python

SHIM = r"""
#include <errno.h>
#include <stddef.h>
extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
static long failing = -1, seen;
static size_t least;
void fail_from(long n, size_t bytes) { seen = 0, least = bytes, failing = n; }
long calm(void) { long count = seen; failing = -1; return count; }
static int fails(size_t bytes) {
    if (failing < 0 || bytes < least || __atomic_fetch_add(&seen, 1, 5) < failing) return 0;
    return errno = ENOMEM;
}
void *malloc(size_t n) { return fails(n) ? 0 : __libc_malloc(n); }
void *calloc(size_t n, size_t m) { return fails(n * m) ? 0 : __libc_calloc(n, m); }
void *realloc(void *p, size_t n) { return fails(n) ? 0 : __libc_realloc(p, n); }
"""

MEMORY = """
import ctypes, gc, sys, time, weakref
import numba, numpy as np, fastconv, fastconv.extending
from importlib.metadata import entry_points
from fastconv import functional, grad, ndimage, signal
from fastconv.kernels.team import BUSY, JOINED
if not any(point.value == "fastconv.extending:init" for point in entry_points(group="numba_extensions")):
    fastconv.extending.init()

@numba.njit
def compiled(x, w):
    return fastconv.correlate2d(x, w, algorithm="direct")

@numba.njit
def compiled_into(x, w, out):
    return fastconv.correlate2d(x, w, out=out, algorithm="direct")

shim = ctypes.PyDLL(sys.argv[1])
fastconv.set_num_threads(2)
rng = np.random.default_rng(0)
x, w = rng.standard_normal((1, 32, 40, 40), "f4"), rng.standard_normal((32, 32, 3, 3), "f4")
plane, given = x[0, 0], np.empty((1, 32, 38, 38), "f4")
calls = {
    "direct": lambda: fastconv.correlate2d(x, w, algorithm="direct"),
    "winograd": lambda: fastconv.correlate2d(x, w, algorithm="winograd"),
    "fft": lambda: fastconv.correlate2d(x, w, algorithm="fft"),
    "pool": lambda: fastconv.max_pool2d(x, 2, return_indices=True)[0],
    "patches": lambda: fastconv.extract_patches(plane, (3, 3)),
    "filter": lambda: ndimage.uniform_filter(plane, 5),
    "transposed": lambda: functional.conv_transpose2d(x, w),
    "weights": lambda: grad.conv2d_weight(x, w.shape, np.ones((1, 32, 38, 38), "f4")),
    "compiled": lambda: compiled(x, w),
    "compiled_into": lambda: compiled_into(x, w, given),
}
expected = {name: call().copy() for name, call in calls.items()}
team = __import__("fastconv.team").team
for team._LONG in team._LONG, 0:  # then all calls are made as those are that take long
    for name, call in calls.items():
        refused = failed = -1
        while refused == failed:
            refused += 1
            fastconv.release_workspace()
            shim.fail_from(ctypes.c_long(refused), ctypes.c_size_t(4000))
            got = None
            try:
                got = call()
            except MemoryError:
                pass
            except ValueError as error:
                assert name.startswith("compiled") and "there is no memory for the workspace" in str(error), error
            finally:
                failed = refused if shim.calm() > refused else None
            assert got is None or (got == expected[name]).all(), name
            assert (got is None) == (failed == refused), name
            assert (call() == expected[name]).all(), name
        assert refused > 0, name
words = team._teams["fastconv"].words
assert words[BUSY] == 0
assert team._teams["fastconv"].turn(words)  # nobody has it
team._teams["fastconv"].turn_back()
team._LONG, words[JOINED], end = 1e18, 0, time.monotonic() + 60
while words[JOINED] == 0 and time.monotonic() < end:
    assert (calls["direct"]() == expected["direct"]).all()
assert words[JOINED] > 0
"""


@pytest.mark.skipif(not sys.platform.startswith("linux") or not shutil.which("cc"), reason="needs cc and glibc")
def test_memory_that_is_not_there(tmp_path):
    (tmp_path / "shim.c").write_text(SHIM)
    command = ["cc", "-O1", "-shared", "-fPIC", "-o", tmp_path / "shim.so", tmp_path / "shim.c"]
    subprocess.run(command, check=True, timeout=60)
    try:
        ctypes.CDLL(str(tmp_path / "shim.so"))
    except OSError as error:
        pytest.skip(f"this C library has other names: {error}")
    run_python(MEMORY, tmp_path / "shim.so", LD_PRELOAD=tmp_path / "shim.so")


@pytest.mark.parametrize("where", ["_LongCall", "uninterrupted"])
def test_no_memory_for_what_another_thread_found(where, monkeypatch):
    """Its error is raised by who waits, which does so no longer; nothing of it is needed to say that it is done."""
    from fastconv.kernels import process

    from fastconv import team

    def fail(*_):
        raise MemoryError

    if where == "_LongCall":
        team._the_team()
        monkeypatch.setattr(team._Team, "wake", fail)
        with pytest.raises(MemoryError):
            team._LongCall(fail, (), 0, 2).result()
        assert team._the_team().turn(team._the_team().words)
        team._the_team().turn_back()
    else:
        monkeypatch.setattr(process._thread, "get_ident", lambda: {}.get)  # no number, and in no set
        monkeypatch.setattr(process, "_workers", type("Full", (set,), {"add": fail})())
        with pytest.raises(MemoryError):
            process.uninterrupted(max, 1, 2)
    assert not process._running


class Failing:
    """Functions of `os` that fail from the n-th call on, one call or all."""

    def __init__(self, monkeypatch, os):
        self.left, self.hit, self.error, self.is_over = -1, None, 0, True
        for name in ("stat", "lstat", "mkdir", "open", "replace", "unlink", "scandir", "getcwd"):
            monkeypatch.setattr(os, name, self.wrapped(name, getattr(os, name)))

    def wrapped(self, name, function):
        def call(*arguments, **options):
            if not self.is_over:
                self.left -= 1
                if self.left < 0:
                    self.hit, self.is_over = self.hit or name, self.once
                    raise OSError(self.error, "injected")
            return function(*arguments, **options)

        return call

    def arm(self, count, error, once):
        self.left, self.error, self.once, self.hit, self.is_over = count, error, once, None, False


@pytest.mark.parametrize("once", [True, False], ids=["once", "from then on"])
def test_files_that_fail_cost_no_call(tmp_path, monkeypatch, once):
    """Before and while a kernel is read, compiled and written."""
    import os

    from fastconv.kernels import jit, sources, store
    from numba import types

    (tmp_path / "sources").mkdir()
    (tmp_path / "sources" / "one.py").write_text("")
    monkeypatch.setattr(jit, "_BASE", tmp_path)
    failing = Failing(monkeypatch, os)

    def compile_anew():
        names = {"__name__": "fastconv.kernels.trial"}
        exec("def doubled(x):\n    return 2 * x\n", names)
        return jit.compiled(jit.entry(names["doubled"]), types.int64)(21)

    def kept():
        return [path for path in (tmp_path / "fastconv").rglob("*") if path.is_file()]

    hits = set()
    for error in (errno.ENOSPC, errno.EACCES):
        count = 0
        while count == 0 or failing.hit:
            shutil.rmtree(tmp_path / "fastconv", ignore_errors=True)
            monkeypatch.setattr(jit, "KERNELS", sources.Sources(tmp_path / "sources"))
            failing.arm(count, error, once)
            got = compile_anew()
            failing.is_over = True
            assert got == 42
            hits.add(failing.hit)
            count += 1
        assert count > 5
        assert compile_anew() == 42
        (path,) = kept()
        assert store.read(path)
    assert hits >= {"stat", "lstat", "mkdir", "open", "replace", None}


def test_sources_that_cannot_be_looked_at_have_no_hash(tmp_path, monkeypatch):
    import os

    from fastconv.kernels.sources import Sources

    (tmp_path / "a.py").write_text("")
    failing = Failing(monkeypatch, os)
    failing.arm(1, errno.ENOENT, once=True)  # it was listed, and is being replaced
    assert Sources(tmp_path).hash() is None
    assert failing.hit == "stat"
    assert Sources(tmp_path).hash()


def test_a_folder_under_a_working_directory_that_is_gone_is_none(tmp_path, monkeypatch):
    import os

    from fastconv.kernels import store

    monkeypatch.setattr(os, "getcwd", lambda: os.stat(tmp_path / "gone"))
    assert store.base("here") is None
