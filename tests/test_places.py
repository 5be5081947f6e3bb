"""Where compiled kernels are kept: folders that are read only, relative, or of another version than what runs."""

import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cases import slow
from subprocesses import PATIENCE, ROOT, run_python

CALL = """
import numpy as np
import fastconv
assert fastconv.max_unpool1d(np.array([[[1.0, 2]]]), np.array([[[0, 3]]]), 2).tolist() == [[[1, 0, 0, 2]]]
"""
COUNTED = (
    CALL
    + """
from fastconv.kernels.windows.scatter import unpool
print(sum(unpool.stats.cache_hits.values()))
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
import errno, os
make = os.open
def refuse(*args, **options):
    raise OSError(errno.EROFS, "Read-only file system")
os.mkdir = os.replace = refuse
os.open = lambda path, flags, *args, **options: (refuse if flags & os.O_CREAT else make)(path, flags, *args, **options)
"""


def test_a_folder_for_reading_only_is_read(warm):
    before = files(warm)
    assert run_python(READ_ONLY + COUNTED, NUMBA_CACHE_DIR=warm).stdout == "1\n"
    # What has to be compiled, and cannot be kept.
    more = "fastconv.max_unpool1d(np.ones((1, 1, 2), 'f4'), np.array([[[0, 3]]]), 2)"
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
print(fastconv.show_config("dicts")["cache_directory"], flush=True)  # imports and hashes kernels, not those of pools
input()
assert not fastconv.max_unpool1d(np.array([[[1.0, 2]]]), np.array([[[0, 3]]]), 2).any()
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
    source = checkout / "kernels" / "windows" / "scatter.py"
    swap(source, "out.data[to + indices.data[i + p2 * i2]] = values.data[v + p2 * v2]", "pass")
    _, errors = process.communicate("\n", timeout=PATIENCE)
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


# ---- files that are not to be believed, and places that others may write


def spoil(path, payload):
    """Write a file as the store does, with a right digest of what is no machine code."""
    from fastconv.kernels import store

    path.write_bytes(store._digest(path, payload) + payload)


SPOILT = {
    "nothing": b"",
    "no pickle": b"x" * 100,
    "another pickle": pickle.dumps(([1, 2], "three")),
    "a name that is gone": b"cfastconv.kernels.jit\ngone\n.",
}


@pytest.fixture
def copied(warm, tmp_path):
    """A folder that holds what `CALL` needs, to be spoilt: where it is, and the file of its kernel."""
    shutil.copytree(warm, tmp_path / "kept")
    (kernel,) = (path for path in files(tmp_path / "kept") if path.name.startswith("windows.scatter.unpool."))
    return tmp_path / "kept", kernel


@pytest.mark.parametrize("payload", [each if each == "another pickle" else slow(each) for each in SPOILT])
def test_what_holds_no_code_is_compiled_anew(copied, payload):
    folder, kernel = copied
    spoil(kernel, SPOILT[payload])
    assert run_python(COUNTED, NUMBA_CACHE_DIR=folder).stdout == "0\n"
    assert run_python(COUNTED, NUMBA_CACHE_DIR=folder).stdout == "1\n"


def test_the_code_of_another_kernel_or_version_is_not_believed(copied):
    from fastconv.kernels import store

    _, kernel = copied
    assert store.read(kernel)
    other, version = kernel.with_name("another"), kernel.parent.with_name("version")
    version.mkdir()
    for place in (other, version / kernel.name):
        shutil.copy(kernel, place)
        assert store.read(place) is None
    assert store.read(kernel)


def test_a_place_that_is_no_file_is_not_read(tmp_path):
    from fastconv.kernels import store

    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")  # reading it would never end
    for name in ("folder", "pipe", "none"):
        assert store.read(tmp_path / name) is None


posix = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="files have no owners and permissions of this kind")


@posix
@pytest.mark.parametrize("mode", [0o664, 0o646])
def test_files_and_folders_that_others_may_write_are_not_trusted(tmp_path, mode):
    from fastconv.kernels import store

    folder = store.open_folder(tmp_path, "version")
    store.write(folder / "kernel", b"code")
    assert store.read(folder / "kernel") == b"code"
    (folder / "kernel").chmod(mode)
    assert store.read(folder / "kernel") is None
    for each in (folder, folder.parent):
        each.chmod(mode | 0o111)
        assert store.open_folder(tmp_path, "version") is None
        each.chmod(0o755)
    assert store.open_folder(tmp_path, "version") == folder


@posix
def test_what_another_user_owns_is_not_trusted(tmp_path, monkeypatch):
    from fastconv.kernels import store

    folder = store.open_folder(tmp_path, "version")
    store.write(folder / "kernel", b"code")
    (folder / "link").symlink_to(folder / "kernel")
    assert store.is_trusted(folder / "link", os.path.isfile)
    owner = os.lstat(folder).st_uid
    stranger = owner + 1 if owner else 1
    if owner == 0:  # the superuser's files are everybody's to read: this one belongs to somebody else
        for path in (folder / "kernel", folder):
            os.chown(path, stranger, -1)
            assert not store.is_trusted(path, os.path.exists)
            os.chown(path, owner, -1)
        os.lchown(folder / "link", stranger, -1)  # a link that somebody else made to a file of one's own
        assert not store.is_trusted(folder / "link", os.path.isfile)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: stranger)
        assert store.read(folder / "kernel") is None
        assert store.open_folder(tmp_path, "version") is None


@posix
def test_what_is_kept_nobody_else_may_write_whatever_the_mask(tmp_path):
    from fastconv.kernels import store

    before = os.umask(0)
    try:
        folder = store.open_folder(tmp_path / "new", "version")
        store.write(folder / "kernel", b"code")
    finally:
        os.umask(before)
    assert store.read(folder / "kernel") == b"code"
    assert {path.stat().st_mode & 0o777 for path in (folder, folder.parent)} == {0o755}


@posix
def test_without_a_home_nothing_is_kept(monkeypatch):
    from fastconv.kernels import store

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    assert store.base("") is None
    assert store.base("here") == Path.cwd() / "here"
