"""Where compiled kernels are kept: folders that are read only, relative, or of another version than what runs."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from subprocesses import ROOT, run_python

CALL = """
import numpy as np
import fastconv
assert fastconv.extract_patches(np.arange(1.0, 5), (2,), padding=1).tolist() == [[0, 1, 2, 3, 4], [1, 2, 3, 4, 0]]
"""
COUNTED = (
    CALL
    + """
from fastconv.kernels.windows.patches import extract
print(sum(extract.stats.cache_hits.values()))
"""
)


@pytest.fixture(scope="module")
def warm(tmp_path_factory):
    """A folder that holds what `CALL` needs, made under a relative name."""
    folder = tmp_path_factory.mktemp("places")
    code = CALL + "import os; os.chdir('/'); print(fastconv.show_config('dicts')['cache_directory'])"
    done = run_python(code, cwd=folder, NUMBA_CACHE_DIR="kept")
    assert Path(done.stdout.strip()).is_relative_to(folder / "kept")
    return folder / "kept"


def files(folder):
    return {path for path in folder.rglob("*") if path.is_file()}


def test_a_relative_folder_is_used(warm):
    assert files(warm)
    assert run_python(COUNTED, cwd=warm.parent, NUMBA_CACHE_DIR="kept").stdout == "1\n"


# Nobody's permissions bind the superuser: calls that write fail here as they do on a mount for reading only.
READ_ONLY = """
import errno, os, pathlib, tempfile
def refuse(*args, **options):
    raise OSError(errno.EROFS, "Read-only file system")
os.mkdir = os.replace = tempfile.mkdtemp = tempfile.TemporaryFile = refuse
"""


def test_a_folder_for_reading_only_is_read(warm):
    before = files(warm)
    assert run_python(READ_ONLY + COUNTED, NUMBA_CACHE_DIR=warm).stdout == "1\n"
    more = "fastconv.extract_patches(np.arange(5, dtype='f4'), (2,))"  # has to be compiled, and cannot be kept
    run_python(READ_ONLY + CALL + more, NUMBA_CACHE_DIR=warm)
    assert files(warm) == before


def test_no_optimisation_is_too_little_for_kernels(tmp_path):
    run_python(CALL, NUMBA_CACHE_DIR=tmp_path, NUMBA_OPT=0)
    assert run_python(COUNTED, NUMBA_CACHE_DIR=tmp_path, NUMBA_OPT=0).stdout == "1\n"


def test_kernels_are_not_run_without_compiling():
    done = run_python(CALL, NUMBA_DISABLE_JIT=1, check=False)
    assert "RuntimeError: NUMBA_DISABLE_JIT is set, but fastconv's kernels run compiled only: unset it" in done.stderr


# ---- other versions


@pytest.fixture
def checkout(tmp_path):
    """A copy of the package, to be changed."""
    root = tmp_path / "checkout"
    for folder in ("fastconv", "kernels"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    return root


def swap(path, old, new):
    """Write a changed file in the place of another, as installers do."""
    text = path.read_text()
    assert old in text
    path.with_suffix(".new").write_text(text.replace(old, new))
    os.replace(path.with_suffix(".new"), path)


UPGRADED = """
import numpy as np
import fastconv
print(fastconv.show_config("dicts")["cache_directory"], flush=True)  # imports and hashes kernels, not those of patches
input()
assert not fastconv.extract_patches(np.arange(1.0, 5), (2,), padding=1).any()
assert fastconv.show_config("dicts")["cache_directory"] is None
"""


def test_an_upgrade_under_a_running_process_keeps_nothing(checkout, tmp_path):
    """Kernels imported after it are new: under the hash of the old ones they would be kept for other processes."""
    environment = os.environ | {"PYTHONPATH": str(checkout), "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    process = subprocess.Popen(
        [sys.executable, "-c", UPGRADED], cwd=checkout, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    folder = Path(process.stdout.readline().strip())
    assert folder.is_dir()
    source = checkout / "kernels" / "windows" / "patches.py"
    swap(source, "if not is_inside or top == bottom or left == right:", "if True:")
    _, errors = process.communicate("\n", timeout=120)
    assert process.returncode == 0, errors
    assert not files(tmp_path / "cache")


CALLER = """
import sys
import numba, numpy as np, fastconv, fastconv.extending
from importlib.metadata import entry_points
if not any(point.value == "fastconv.extending:init" for point in entry_points(group="numba_extensions")):
    fastconv.extending.init()

@numba.njit(cache=True)
def patches(x):
    return fastconv.extract_patches(x, (2,))

assert patches(np.arange(4.0)).tolist() == [[0, 1, 2], [1, 2, 3]]
print(sum(patches.stats.cache_hits.values()))
"""


def test_an_upgrade_of_what_emits_callers_renews_them(checkout, tmp_path):
    script = tmp_path / "caller.py"
    script.write_text(CALLER)
    code = f"exec(compile(open({str(script)!r}).read(), {str(script)!r}, 'exec'))"
    frames = checkout / "fastconv" / "njit" / "frames.py"
    hits = [run_python(code, root=checkout).stdout for _ in range(2)]
    # What the old caller wrote in one word, the new code would read in another.
    swap(frames, "self.put(AT.bad_index, -1)", "self.put(AT.bad_index, -1, 0)")
    hits += [run_python(code, root=checkout).stdout for _ in range(2)]
    assert hits == ["0\n", "1\n", "0\n", "1\n"]


def test_sources_that_change_have_no_hash_any_more(tmp_path):
    from fastconv.kernels.sources import Sources

    (tmp_path / "a.py").write_text("1")
    first, second = Sources(tmp_path), Sources(tmp_path)
    assert first.hash() == second.hash() is not None
    swap(tmp_path / "a.py", "1", "2")
    assert first.hash() is None
    assert Sources(tmp_path).hash() not in (None, second._digest)
    swap(tmp_path / "a.py", "2", "1")
    assert first.hash() is None  # something else may have been imported meanwhile
    assert Sources(tmp_path).hash() == second._digest
    (tmp_path / "b.py").write_text("")
    assert Sources(tmp_path).hash() not in (None, second._digest)
    assert Sources(tmp_path / "none").hash() is None
