"""Compiled kernels on disk: written once, found again, renewed when a source changes, harmless when damaged."""

import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import subprocesses
from subprocesses import ROOT

CALL = """
import json
import numpy as np
import fastconv
got = fastconv.extract_patches(np.arange(1.0, 5), (2,), padding=1)  # a kernel that compiles soon
print(json.dumps(got.tolist()))
"""
RIGHT = [[0, 1, 2, 3, 4], [1, 2, 3, 4, 0]]


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


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[: len(data) // 2],
        lambda data: b"x" * len(data),
        lambda data: data[: len(data) // 2] + b"\0" * 9000 + data[len(data) // 2 + 9000 :],
    ],
    ids=["empty", "half", "other", "hole"],
)
def test_damaged_files_are_not_believed(tmp_path, damage):
    finish(start(tmp_path))
    for path in files(tmp_path):
        path.write_bytes(damage(path.read_bytes()))
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
fastconv.col2im(fastconv.im2col(np.ones((1, 1, 5)), 2), (5,), 2)
fastconv.show_config("dicts")
after = settings()
assert len(before) > 50
print(json.dumps([[name, before.get(name), after.get(name)] for name in before | after
                  if before.get(name) != after.get(name)]))
"""


def test_the_configuration_of_numba_is_left_alone(tmp_path):
    assert finish(start(tmp_path, code=SETTINGS)) == []


def test_a_changed_source_is_compiled_again(tmp_path):
    """Also one that the cached function only calls into: here what padding holds."""
    root, cache = tmp_path / "checkout", tmp_path / "cache"
    cache.mkdir()
    for folder in ("fastconv", "kernels"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    assert finish(start(cache, root)) == RIGHT
    source = root / "kernels" / "simd" / "boxes.py"
    changed = source.read_text().replace("words), word(0)", f"words), word({np.float64(7).view(int)})")
    assert changed != source.read_text()
    time.sleep(0.01)
    source.write_text(changed)
    assert finish(start(cache, root)) == [[7, 1, 2, 3, 4], [1, 2, 3, 4, 7]]


def test_no_two_compiled_functions_share_a_name():
    """Numba would tell them apart by a number that differs between processes: kept code could call the wrong one."""
    from fastconv.kernels import jit

    def make(factor):
        def scaled(x):
            return x * factor

        return scaled

    assert jit.kernel(make(2)).py_func.__qualname__ != jit.kernel(make(3)).py_func.__qualname__
    with pytest.raises(RuntimeError, match=r"two compiled functions are called .*scaled_3"):
        jit.kernel(make(3))
