"""``import fastconv`` is light, changes nothing, and finds its kernels wherever Python was started."""

import json
import os
import re
from operator import attrgetter

import pytest
from subprocesses import ROOT, run_python

import fastconv


def python(code, cwd, path=True, **variables):
    """Run ``code`` in a new process; what it prints is JSON."""
    environment = dict.fromkeys(name for name in os.environ if name.startswith("FASTCONV_"))
    environment["PYTHONPATH"] = ROOT if path else None  # the package may not be installed
    done = run_python(code, cwd=cwd, **{**environment, **variables})
    assert not done.stderr, done.stderr
    return json.loads(done.stdout)


def test_numba_is_not_imported(tmp_path):
    heavy = python("import sys, json, fastconv; print(json.dumps(sorted(sys.modules)))", tmp_path)
    for name in ("numba", "llvmlite", "scipy", "torch", "dask", "ml_dtypes", "rich", "matplotlib"):
        assert name not in heavy, f"import fastconv imports {name}"


def test_asking_what_is_there_does_not_import_numba(tmp_path):
    code = (
        "import sys, json, fastconv, pydoc\n"
        "names = dir(fastconv); public = list(getattr(fastconv, '__all__', []))\n"
        "[getattr(fastconv, name) for name in public]\n"
        "print(json.dumps(['numba' in sys.modules, public]))"
    )
    numba, public = python(code, tmp_path)
    assert not numba
    expected = [f"{op}{d}" for op in ("correlate", "convolve") for d in ("1d", "2d", "3d", "_nd")]
    expected += [f"{op}{d}" for op in ("avg_pool", "max_pool", "min_pool", "max_unpool") for d in ("1d", "2d", "3d")]
    expected += ["extract_patches", "combine_patches", "im2col", "col2im"]
    expected += ["maximum_filter", "minimum_filter", "uniform_filter"]
    assert set(expected) <= set(public)


GLOBAL_STATE = """
import json, os, sys, threading, warnings, signal, locale, random
import numpy as np

def state():
    return [
        dict(os.environ),
        [str(f) for f in warnings.filters],
        threading.active_count(),
        np.geterr(),
        {k: str(v) for k, v in np.get_printoptions().items()},
        str(sys.getrecursionlimit()),
        str(sys.path),
        str(signal.getsignal(signal.SIGINT)),
        str(locale.setlocale(locale.LC_ALL)),
        str(random.getstate())[:200] + str(np.random.get_state()[1][:5]),
        os.getcwd(),
        len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 0,
    ]

before = state()
import fastconv
after = state()
print(json.dumps([[b, a] for b, a in zip(before, after) if b != a]))
"""


def test_importing_changes_no_global_state(tmp_path):
    assert python(GLOBAL_STATE, tmp_path) == []


def test_a_call_changes_no_warning_filter_and_no_environment_variable(tmp_path):
    code = GLOBAL_STATE.replace(
        "before = state()\nimport fastconv", "import fastconv, numba\nbefore = state()[:4]"
    ).replace(
        "after = state()",
        "threads = numba.get_num_threads()\n"
        "fastconv.correlate1d(np.ones((1, 1, 5)), np.ones((1, 1, 2)))\n"
        "assert numba.get_num_threads() == threads\n"
        "after = state()[:4]",
    )
    assert python(code, tmp_path) == []


WORKS = """
import json
import numpy as np
import fastconv
got = fastconv.convolve1d(np.arange(1.0, 6)[None, None], np.array([[[1.0, 0, -1]]]))
print(json.dumps([got.tolist(), fastconv.__version__]))
"""


@pytest.mark.parametrize("where", ["root", "elsewhere"])
def test_a_call_works_from_anywhere(tmp_path, where):
    at_root = where == "root"
    result, version = python(WORKS, ROOT if at_root else tmp_path, path=not at_root)
    assert result == [[[2, 2, 2]]]
    assert version.count(".") >= 2


def test_a_call_works_where_no_cache_can_be_written(tmp_path):
    """No home, and a cache folder that is a file."""
    (tmp_path / "file").write_text("")
    blocked = str(tmp_path / "file" / "cache")
    variables = {"HOME": blocked, "XDG_CACHE_HOME": blocked, "NUMBA_CACHE_DIR": blocked, "FASTCONV_CACHE_DIR": blocked}
    result, _ = python(WORKS, tmp_path, **variables)
    assert result == [[[2, 2, 2]]]


def test_importing_is_quick(tmp_path):
    """Beyond NumPy; it takes some fortieth of what Numba takes."""
    code = (
        "import json, time, numpy\n"
        "start = time.process_time(); import fastconv; ours = time.process_time() - start\n"
        "start = time.process_time(); import numba; print(json.dumps([ours, time.process_time() - start]))"
    )
    ours, numbas = python(code, tmp_path, COVERAGE_PROCESS_CONFIG=None)  # tracing lines takes longer than they do
    assert ours < numbas / 10


# What is asked for by name -------------------------------------------------------------------------------------------


def test_submodules_load_when_they_are_asked_for(tmp_path):
    code = (
        "import sys, json, fastconv\n"
        "found = fastconv.numpy.convolve([1, 2], [1, 1]).tolist()\n"
        "light = 'fastconv.kernels.lessons' not in sys.modules\n"
        "print(json.dumps([found, light, fastconv.kernels.lessons.__name__, fastconv.numpy.__name__]))"
    )
    assert python(code, tmp_path) == [[1, 3, 2], True, "fastconv.kernels.lessons", "fastconv.numpy"]


def test_dir_shows_public_names_only(tmp_path):
    code = "import json, fastconv; import fastconv.conv; print(json.dumps([dir(fastconv), fastconv.__all__]))"
    shown, public = python(code, tmp_path)
    assert shown == sorted(shown)
    shown = {name for name in shown if not name.startswith("__")}
    assert shown == {*public, "dask", "functional", "grad", "kernels", "ndimage", "numpy", "signal"} - {"__version__"}


PLAIN = "{0}1d, {0}2d, {0}3d, {0}_nd, or {0} of fastconv.ndimage, fastconv.numpy or fastconv.signal"
LAYER = "correlate{0}, which does what networks call a convolution, or convolve{0}, which flips the kernel"


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("conv2d", f"; use {LAYER.format('2d')}"),
        ("Conv1d", f"; use {LAYER.format('1d')}"),
        ("convolve", f"; use {PLAIN.format('convolve')}"),
        ("correlate", f"; use {PLAIN.format('correlate')}"),
        ("fftconvolve", "; use fastconv.signal.fftconvolve"),
        ("LFilter", "; use fastconv.signal.lfilter"),
        ("gaussian_filter", "; use fastconv.ndimage.gaussian_filter"),
        ("GaussianBlur", "; use fastconv.ndimage.gaussian_filter"),
        ("sobel", "; use fastconv.ndimage.sobel"),
        ("max_pool", "; use max_pool1d, max_pool2d or max_pool3d"),
        ("MaxPool2d", "; did you mean max_pool2d?"),
        ("corelate2d", "; did you mean correlate2d?"),
        ("numpyy", "; did you mean numpy?"),
        ("median_filter", ""),
        ("import_modul", ""),
        ("_correlate2d", ""),
    ],
)
def test_an_unknown_name_is_told_what_to_use(name, advice):
    with pytest.raises(AttributeError) as caught:
        getattr(fastconv, name)
    assert str(caught.value) == f"module 'fastconv' has no attribute '{name}'{advice}"
    assert (caught.value.name, caught.value.obj) == (name, None)  # Python adds no guess of its own


def test_what_is_advised_exists():
    for words in fastconv._INSTEAD.values():
        names = [word for word in re.findall(r"[a-z_.0-9]+", words) if re.search(r"\dd$|_|\.", word)]
        assert names
        for name in names:
            assert attrgetter(name.removeprefix("fastconv."))(fastconv)


def test_kernels_say_what_they_do_not_have():
    with pytest.raises(AttributeError, match=r"^module 'fastconv.kernels' has no attribute 'lesson'$"):
        fastconv.kernels.lesson  # noqa: B018
