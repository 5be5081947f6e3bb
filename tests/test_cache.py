"""Compiled kernels on disk: written once, found again, renewed when a source changes, harmless when damaged."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CALL = """
import json, time
import numpy as np
import fastconv
start = time.perf_counter()
got = fastconv.convolve1d(np.arange(1.0, 6)[None, None], np.array([[[1.0, 0, -1]]]))
print(json.dumps([got.tolist(), time.perf_counter() - start]))
"""
RIGHT = [[[2, 2, 2]]]


def start(cache, root=ROOT):
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    environment |= {"NUMBA_CACHE_DIR": str(cache), "PYTHONPATH": str(root)}
    command = [sys.executable, "-W", "error", "-c", CALL]
    return subprocess.Popen(
        command, cwd=cache, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(process):
    output, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    assert not errors, errors
    return json.loads(output)


def files(cache):
    return {path: path.stat().st_mtime_ns for path in Path(cache).rglob("*") if path.is_file()}


def test_kernels_are_kept_and_found_again(tmp_path):
    got, cold = finish(start(tmp_path))
    assert got == RIGHT
    kept = files(tmp_path)
    assert kept, "nothing was kept"
    got, warm = finish(start(tmp_path))
    assert got == RIGHT
    assert files(tmp_path) == kept, "the second process compiled again"
    assert warm < cold


@pytest.mark.parametrize(
    "damage",
    [lambda data: b"", lambda data: data[: len(data) // 2], lambda data: b"x" * len(data)],
    ids=["empty", "half", "other"],
)
def test_damaged_files_are_not_believed(tmp_path, damage):
    finish(start(tmp_path))
    for path in files(tmp_path):
        path.write_bytes(damage(path.read_bytes()))
    got, _ = finish(start(tmp_path))
    assert got == RIGHT


def test_processes_that_compile_at_once_agree(tmp_path):
    assert [finish(p)[0] for p in [start(tmp_path) for _ in range(3)]] == [RIGHT] * 3
    left = [path.name for path in files(tmp_path) if path.name.startswith("tmp")]
    assert not left, "unfinished files"


def test_a_changed_source_is_compiled_again(tmp_path):
    """Also one that the cached function only calls into: here the last step of all, which adds the bias."""
    root, cache = tmp_path / "checkout", tmp_path / "cache"
    cache.mkdir()
    for folder in ("fastconv", "kernels"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    assert finish(start(cache, root))[0] == RIGHT
    source = root / "kernels" / "simd.py"
    changed = source.read_text().replace("builder.fadd(total, added)", "builder.fsub(added, total)")
    assert changed != source.read_text()
    time.sleep(0.01)
    source.write_text(changed)
    assert finish(start(cache, root))[0] == [[[-2, -2, -2]]]


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
