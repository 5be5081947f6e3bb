"""Compiled kernels on disk: written once, found again, renewed when a source changes, harmless when damaged."""

import json
import shutil
import time
from pathlib import Path

import pytest
import subprocesses
from fastconv.kernels import store
from subprocesses import ROOT

CALL = """
import json
import numpy as np
import fastconv
got = fastconv.max_unpool1d(np.array([[[1.0, 2]]]), np.array([[[0, 3]]]), 2)  # the kernel that compiles soonest
print(json.dumps(got.tolist()))
"""
RIGHT = [[[1, 0, 0, 2]]]


def start(cache, root=ROOT, code=CALL, **variables):
    variables |= {"NUMBA_CACHE_DIR": cache, "PYTHONPATH": root}
    return subprocesses.start("-W", "error", "-c", code, cwd=cache, **variables)


def finish(process):
    """What it printed, which is JSON."""
    done = subprocesses.finish(process)
    assert not done.stderr, done.stderr
    return json.loads(done.stdout)


def files(cache):
    return {path: path.stat().st_mtime_ns for path in Path(cache).rglob("*") if path.is_file()}


def test_kernels_are_kept_and_found_again(tmp_path):
    assert finish(start(tmp_path)) == RIGHT
    kept = files(tmp_path)
    assert kept, "nothing was kept"
    assert finish(start(tmp_path)) == RIGHT
    assert files(tmp_path) == kept, "the second process compiled again"


def test_damaged_files_are_not_believed(tmp_path):
    finish(start(tmp_path))
    (path,) = files(tmp_path)
    whole, middle = path.read_bytes(), path.stat().st_size // 2
    hole = whole[:middle] + b"\0" * 900 + whole[middle + 900 :]
    assert store.read(path)
    for damaged in (b"", whole[:middle], b"x" * len(whole), hole):
        path.write_bytes(damaged)
        assert store.read(path) is None
    assert finish(start(tmp_path)) == RIGHT


def test_processes_that_compile_at_once_agree(tmp_path):
    assert [finish(p) for p in [start(tmp_path) for _ in range(3)]] == [RIGHT] * 3
    assert not list(tmp_path.rglob("tmp*")), "unfinished files"


def test_code_for_other_settings_of_numba_is_not_found(tmp_path):
    finish(start(tmp_path))
    kept = files(tmp_path)
    assert finish(start(tmp_path, NUMBA_OPT="1")) == RIGHT
    assert len(files(tmp_path)) == 2 * len(kept)


# When the code is to be kept, the folder is gone, and is made again; or the disk is full.
SPOILT = {
    "gone": "import shutil; shutil.rmtree(jit.cache_directory())",
    "full": """
import os
def replace(*paths): raise OSError(28, "No space left on device")
os.replace = replace
""",
}


@pytest.mark.parametrize("how", SPOILT)
def test_a_folder_that_cannot_be_written_any_more(tmp_path, how):
    code = f"from fastconv.kernels import jit\njit.cache_directory()\n{SPOILT[how]}{CALL}"
    assert finish(start(tmp_path, code=code)) == RIGHT
    assert bool(files(tmp_path)) == (how == "gone")
    assert not list(tmp_path.rglob("tmp*")), "unfinished files"


SETTINGS = """
import json
from numba.core import config
def settings():
    return {name: repr(value) for name, value in vars(config).items() if name.isupper()}
before = settings()
import numpy as np
import fastconv
fastconv.max_unpool1d(np.ones((1, 1, 2)), np.array([[[0, 3]]]), 2)
fastconv.show_config("dicts")
after = settings()
assert len(before) > 50
print(json.dumps([[name, before.get(name), after.get(name)] for name in before | after
                  if before.get(name) != after.get(name)]))
"""


def test_the_configuration_of_numba_is_left_alone(tmp_path):
    assert finish(start(tmp_path, code=SETTINGS)) == []


def test_a_changed_source_is_compiled_again(tmp_path):
    """Also one that the cached function only calls into: here what nothing is put into."""
    root, cache = tmp_path / "checkout", tmp_path / "cache"
    cache.mkdir()
    for folder in ("fastconv", "kernels"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    assert finish(start(cache, root)) == RIGHT
    source = root / "kernels" / "strided.py"
    changed = source.read_text().replace("get_constant_null(array.compute)", "get_constant(array.compute, 7)")
    assert changed != source.read_text()
    time.sleep(0.01)
    source.write_text(changed)
    assert finish(start(cache, root)) == [[[1, 7, 7, 2]]]


def test_no_two_compiled_functions_share_a_name():
    """Numba would tell them apart by a number that differs between processes: kept code could call the wrong one."""
    from fastconv.kernels import jit

    def make(factor):
        def scaled(x):
            return x * factor

        return scaled

    def another(x):
        return x - 3

    names = [jit.kernel(make(factor)).py_func.__qualname__ for factor in (2, 3, 3)]  # the last one is the same again
    assert names[0] != names[1] == names[2]
    another.__qualname__ = names[1]
    with pytest.raises(RuntimeError, match=r"two compiled functions are called .*scaled_3"):
        jit.kernel(another)
