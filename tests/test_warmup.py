"""`python -m fastconv warmup`: it compiles every kernel, and what it compiled is never compiled again."""

import json
from pathlib import Path

import numpy as np
import pytest
from subprocesses import run, run_python

from fastconv.cli import main, warmup

ENTRIES = """
import importlib, json, pkgutil
import numpy as np
import fastconv
from numba.core.registry import CPUDispatcher
from fastconv import kernels, ndimage
from fastconv.cli import main
from fastconv.kernels import jit

def name(dispatcher):
    return f"{dispatcher.py_func.__module__}.{dispatcher.py_func.__qualname__}"

compile, asked = jit.compiled, set()
def compiled(dispatcher, *types):
    asked.add((name(dispatcher), str(types)))
    return compile(dispatcher, *types)
jit.compiled = compiled
assert main(["warmup"]) == 0
warm, entries = set(asked), set()
for module in pkgutil.walk_packages(kernels.__path__, "fastconv.kernels."):
    for value in vars(importlib.import_module(module.name)).values():
        if isinstance(value, CPUDispatcher) and isinstance(value._cache, jit._EntryCache):
            entries.add(name(value))

x, w = np.ones((2, 3, 6, 7), "f4"), np.ones((6, 1, 2, 3), "f4")
fastconv.col2im(fastconv.im2col(x.swapaxes(2, 3), 2, stride=2, padding=1), (7, 6), 2, stride=2, padding=1)
fastconv.max_unpool2d(x, np.zeros(x.shape, np.int64), 2)
fastconv.convolve2d(x, w, groups=3, boundary="wrap", padding_mode=2, bias=np.ones(6, "f4"), activation="relu")
fastconv.correlate1d(x[0], w[0, :, :1].repeat(6, 1), stride=2)
fastconv.correlate2d(x, np.ones((64, 3, 3, 3), "f4")), fastconv.correlate2d(x[:, :1], w, algorithm="im2col")
fastconv.avg_pool1d(x[0], 3), fastconv.min_pool2d(x, 2), fastconv.uniform_filter(x, (1, 2, 2, 2))
fastconv.max_pool3d(x[:, :, None], 1, return_indices=True), fastconv.minimum_filter(x, (2, 2, 2, 2))
ndimage.uniform_filter(x, 5), ndimage.laplace(x), ndimage.gaussian_filter(x, 2, output="f4")
ndimage.correlate(x, np.full((2, 3, 2, 1), 0.1)), ndimage.minimum_filter1d(x, 9)
print(json.dumps([sorted({name for name, _ in warm}), sorted(entries), sorted(asked - warm)]))
"""
WARMUP = """
from fastconv.cli import main, warmup
calls = tuple(call for call in warmup.calls() if call.name == "max_unpool")  # a kernel that compiles soon
warmup.calls = lambda: calls
main(["warmup", "--dtype", "float32", "uint8"])
"""


def files(cache):
    return {path: path.stat().st_mtime_ns for path in Path(cache).rglob("*") if path.is_file()}


def test_every_kernel_has_a_call_and_other_calls_need_no_more():
    done = run_python(ENTRIES, FASTCONV_NUM_THREADS=2)  # one needs no helpers
    asked, entries, more = json.loads(done.stdout.splitlines()[-1])
    assert asked == entries
    assert more == []


def test_what_was_compiled_is_not_compiled_again(tmp_path):
    output = run_python(WARMUP, NUMBA_CACHE_DIR=tmp_path).stdout
    kept = files(tmp_path)
    assert f"Compiled {len(kept)} kernels in " in output
    (folder,) = {path.parent for path in kept}
    assert output.endswith(f" s; they are kept in {folder}\n")
    again = run_python(WARMUP, NUMBA_CACHE_DIR=tmp_path).stdout
    assert "Compiled 0 kernels in " in again
    assert "was there" in again
    assert files(tmp_path) == kept


def test_every_dtype_can_be_asked_for(monkeypatch, capsys):
    called = []
    calls = [warmup.Call(name, lambda ones, name=name: called.append((name, ones(2).dtype.name))) for name in "ab"]
    monkeypatch.setattr(warmup, "calls", lambda: [calls[0], calls[1]._replace(ordered=True)])
    assert main(["warmup", "--all"]) == 0
    every = sorted(warmup._dtypes())
    assert len(every) >= 14
    assert sorted(called) == [("a", name) for name in every] + [("b", name) for name in every if "complex" not in name]
    out, err = capsys.readouterr()
    assert all(f"{name}: a" in out for name in every)
    assert f"{len(called)}/{len(called)}" in err
    with pytest.raises(SystemExit):
        main(["warmup", "--dtype", "float128"])
    assert "invalid choice: 'float128'" in capsys.readouterr().err
    assert np.dtype("f4") == warmup._dtypes()["float32"]


def test_where_nothing_can_be_kept(tmp_path):
    (tmp_path / "file").write_text("")
    cache = tmp_path / "file" / "cache"
    done = run("-m", "fastconv", "warmup", check=False, cwd=tmp_path, NUMBA_CACHE_DIR=cache)
    assert (done.returncode, done.stdout) == (1, "")
    told = "warmup: nothing can be kept: no folder is this user's alone to write; NUMBA_CACHE_DIR may name one\n"
    assert done.stderr == told
