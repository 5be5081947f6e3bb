"""Tests on an emulated 64-bit ARM machine, whose kernels this machine compiles: `tests/emulated.py ROOT TESTS...`

An emulated compiler takes minutes for a kernel. So the emulated process, of which this file is a plugin of pytest, asks
for machine code that is not on disk yet, and waits: LLVM here makes the code that it would make there, and the same
file of it. CONTRIBUTING.md says how a folder with Python for ARM is made.

An emulator on x86 orders memory as x86 does, more strictly than ARM: what threads see of each other is not tested.
"""

import importlib
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent
TRIPLE = "aarch64-unknown-linux-gnu"
# Vectors of 128 bits; on both sides, lest either looks at what it runs on.
CPU = {"NUMBA_CPU_NAME": "cortex-a72", "NUMBA_CPU_FEATURES": "+fp-armv8,+neon,+crc"}
COPY, WISHES, PACKAGES = "fastconv", "fastconv-wishes", "packages"  # folders in the root
OPEN, DONE = ".open", ".done"


def pytest_configure():
    """In the emulated process: ask for what is not on disk, and wait until it is."""
    from fastconv.kernels.jit import _EntryCache

    load = _EntryCache.load_overload

    def load_or_ask(cache, signature, context):
        found = load(cache, signature, context)
        if found is None:
            with tempfile.NamedTemporaryFile(dir=f"/{WISHES}", delete=False) as file:
                pickle.dump((cache._name, signature, str(cache._path(signature, context.codegen()))), file)
            os.rename(file.name, file.name + OPEN)
            while not os.path.exists(file.name + DONE):
                time.sleep(0.02)
            found = load(cache, signature, context)
        return found

    _EntryCache.load_overload = load_or_ask


def aim():
    """Have Numba compile for the other CPU; nothing that it makes can be called here."""
    import llvmlite.binding as llvm

    os.environ.update(CPU)
    sys.path.insert(0, str(REPOSITORY))
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    llvm.get_process_triple = lambda: TRIPLE


def grant(wish, root):
    """Compile an entry, and write the file that is asked for."""
    import numba
    from fastconv.kernels import store

    class Cache:
        """Of an entry for one compilation: nothing is there, and what comes has its place."""

        def load_overload(self, signature, context):
            return None

        def save_overload(self, signature, data):
            store.write(Path(f"{root}{path}"), numba.core.serialize.dumps(data._reduce()))

    entry, signature, path = pickle.loads(wish.read_bytes())
    module, _, name = entry.rpartition(".")
    found = vars(importlib.import_module(f"fastconv.kernels.{module}")).values()
    (dispatcher,) = {each for each in found if getattr(getattr(each, "py_func", None), "__name__", "") == name}
    dispatcher._cache = Cache()
    dispatcher.compile(signature)
    wish.with_suffix(DONE).touch()
    wish.unlink()


def main(root, tests):
    """Copy the sources there, start the tests, and compile what they ask for until they end."""
    for folder in (COPY, WISHES):
        shutil.rmtree(root / folder, ignore_errors=True)
    (root / WISHES).mkdir()
    for folder in ("fastconv", "kernels", "tests"):
        shutil.copytree(REPOSITORY / folder, root / COPY / folder)
    shutil.copy(REPOSITORY / "pyproject.toml", root / COPY)
    variables = CPU | {
        "HOME": "/root",
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "PYTHONPATH": f"/{COPY}:/{COPY}/tests:/{PACKAGES}",
    }
    inside = f'cd /{COPY} && exec python3 -m pytest -p emulated "$@"'
    emulated = subprocess.Popen(["chroot", root, "sh", "-c", inside, "sh", *tests], env=variables)
    try:
        aim()
        while emulated.poll() is None:
            for wish in sorted((root / WISHES).glob(f"*{OPEN}")):
                grant(wish, root)
            time.sleep(0.02)
        return emulated.returncode
    finally:
        emulated.kill()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve(), sys.argv[2:]))
