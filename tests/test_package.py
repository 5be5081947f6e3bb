"""The wheel: what is in it, what it asks for, and that it works where it is installed."""

import email
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import numba
import numpy as np
import pytest
from subprocesses import PATIENCE

import fastconv

ROOT = Path(__file__).parent.parent
# Looked for on disk: asking the import system for pip switches off a hook by which setuptools, and PyTorch, import.
HAS_PIP = Path(sysconfig.get_path("purelib"), "pip").is_dir()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not HAS_PIP, reason="pip builds and installs"),
]


def run(*command, cwd, **variables):
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**environment, **variables},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def pip(*arguments, cwd):
    return run(sys.executable, "-m", "pip", "--quiet", *arguments, cwd=cwd)


def built(source, folder):
    """The wheel of a source tree or archive, by the build system that pyproject.toml names."""
    pip("wheel", "--no-deps", "--wheel-dir", folder, source, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    return wheel


def contents(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """What a fresh clone holds: a build writes into its tree, and would take up what an earlier one left."""
    target = tmp_path_factory.mktemp("clone") / "fastconv"
    left_out = shutil.ignore_patterns(".*", "__pycache__", "build", "dist", "*.egg-info")
    shutil.copytree(ROOT, target, ignore=left_out)
    for folder in (".ci", ".github"):
        shutil.copytree(ROOT / folder, target / folder)
    return target


@pytest.fixture(scope="module")
def wheel(checkout, tmp_path_factory):
    return built(checkout, tmp_path_factory.mktemp("wheel"))


class Environment:
    """A new virtual environment that finds NumPy and Numba where these tests find them."""

    def __init__(self, folder):
        venv.create(folder, with_pip=False, symlinks=os.name != "nt")
        self.python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        self.site = Path(self.run("import sysconfig; answer = sysconfig.get_path('purelib')", folder))
        # Folders on this list are searched last, and their own lists, such as an editable fastconv's, are not read.
        paths = {Path(module.__file__).parent.parent for module in (np, numba)}
        paths.add(Path(sysconfig.get_path("purelib")))
        (self.site / "dependencies.pth").write_text("\n".join(map(str, sorted(paths))))

    def install(self, *arguments):
        run(
            sys.executable,
            "-m",
            "pip",
            "--quiet",
            "--python",
            self.python,
            "install",
            "--no-deps",
            *arguments,
            cwd=self.site,
        )

    def run(self, code, cwd):
        """What ``code`` leaves in ``answer``."""
        code += "\nimport json; print(json.dumps(answer))"
        return json.loads(run(self.python, "-W", "error", "-c", code, cwd=cwd))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    environment = Environment(tmp_path_factory.mktemp("environment"))
    environment.install(wheel)
    return environment


# The wheel -----------------------------------------------------------------------------------------------------------


def test_the_wheel_is_small_and_pure(wheel):
    assert wheel.name == f"fastconv-{fastconv.__version__}-py3-none-any.whl"
    assert wheel.stat().st_size < 1_000_000
    tags = email.message_from_bytes(contents(wheel)[f"fastconv-{fastconv.__version__}.dist-info/WHEEL"])
    assert tags["Root-Is-Purelib"] == "true"
    assert tags["Tag"] == "py3-none-any"


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    files = {name for name in contents(wheel) if ".dist-info/" not in name}
    expected = {
        path.relative_to(ROOT).as_posix() for path in (ROOT / "fastconv").rglob("*.py") if "kernels" not in path.parts
    }
    expected |= {f"fastconv/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "kernels").rglob("*.py")}
    assert {"fastconv/__main__.py", "fastconv/cli/demo.py", "fastconv/kernels/jit.py"} <= expected
    assert files == expected | {"fastconv/py.typed", "fastconv/__init__.pyi"}
    for name in files:
        source = name.removeprefix("fastconv/") if name.startswith("fastconv/kernels/") else name
        assert contents(wheel)[name] == (ROOT / source).read_bytes()


def test_the_wheels_metadata(wheel):
    held = contents(wheel)
    info = f"fastconv-{fastconv.__version__}.dist-info"
    metadata = email.message_from_bytes(held[f"{info}/METADATA"])
    assert metadata["Name"] == "fastconv"
    assert metadata["Version"] == fastconv.__version__
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "BSD-3-Clause"
    assert metadata.get_all("License-File") == ["LICENSE"]
    assert held[f"{info}/licenses/LICENSE"] == (ROOT / "LICENSE").read_bytes()
    requirements = metadata.get_all("Requires-Dist")
    needed = [re.match(r"[\w.-]+", line)[0].lower() for line in requirements if "extra ==" not in line]
    assert sorted(needed) == ["numba", "numpy"]
    assert {"bench", "demo", "bf16", "test", "dev"} <= set(metadata.get_all("Provides-Extra"))
    assert metadata.get_payload(decode=True).decode() == (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def archive(checkout, tmp_path_factory):
    pytest.importorskip("build")
    folder = tmp_path_factory.mktemp("archive")
    run(sys.executable, "-m", "build", "--sdist", "--outdir", folder, checkout, cwd=folder)
    (found,) = folder.glob("*.tar.gz")
    return found


def test_the_source_archive_holds_what_tests_and_documentation_need(checkout, archive):
    """All that a checkout has but git's own files and stored results."""
    with tarfile.open(archive) as held:
        names = {name.partition("/")[2] for name in held.getnames()}
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("git does not list this tree's files")
    wanted = {name for name in listed.stdout.splitlines() if not name.startswith(("history/results/", ".gitignore"))}
    assert wanted - names == set()


def test_a_wheel_of_the_source_archive_is_the_same(archive, wheel, tmp_path):
    again = contents(built(archive, tmp_path))
    assert {name: data for name, data in again.items() if not name.endswith("/RECORD")} == {
        name: data for name, data in contents(wheel).items() if not name.endswith("/RECORD")
    }


# Installed -----------------------------------------------------------------------------------------------------------

CALL = """
import sys, numpy as np, fastconv
got = fastconv.convolve1d(np.arange(1.0, 6)[None, None], np.array([[[1.0, 0, -1]]]))
modules = [name for name in sys.modules if name.partition(".")[0] == "kernels"]
answer = [got.tolist(), fastconv.__file__, sys.modules["fastconv.kernels"].__file__, modules]
"""
RIGHT = [[[2, 2, 2]]]


def test_an_installed_wheel_works_elsewhere(installed, tmp_path):
    got, package, kernels, top_level = installed.run(CALL, tmp_path)
    assert (got, top_level) == (RIGHT, [])
    assert Path(package) == installed.site / "fastconv" / "__init__.py"
    assert Path(kernels) == installed.site / "fastconv" / "kernels" / "__init__.py"
    assert not (installed.site / "kernels").exists()


def test_python_started_from_the_repositorys_root_mixes_nothing(installed):
    """The checkout is found first, there with its own kernels."""
    got, package, kernels, top_level = installed.run(CALL, ROOT)
    assert (got, top_level) == (RIGHT, [])
    assert Path(package) == ROOT / "fastconv" / "__init__.py"
    assert Path(kernels) == ROOT / "kernels" / "__init__.py"


def test_a_script_uses_the_wheel_from_the_repositorys_root_too(installed, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(CALL + "import json; print(json.dumps(answer))")
    got, package, kernels, top_level = json.loads(run(installed.python, "-W", "error", script, cwd=ROOT))
    assert (got, top_level) == (RIGHT, [])
    assert installed.site in Path(package).parents
    assert installed.site in Path(kernels).parents


@pytest.mark.parametrize("at_root", [False, True])
def test_the_commands_of_an_installed_wheel(installed, tmp_path, at_root):
    for command in ([installed.python, "-m", "fastconv"], [installed.python.with_name("fastconv")]):
        out = run(*command, "info", cwd=ROOT if at_root else tmp_path)
        assert re.match(rf"version +{re.escape(fastconv.__version__)}\n", out)


def test_every_module_of_an_installed_wheel_can_be_imported(installed, tmp_path):
    code = """
import importlib, pkgutil, fastconv
answer = [module.name for module in pkgutil.walk_packages(fastconv.__path__, "fastconv.")]
for name in answer:
    if name != "fastconv.__main__" and not name.startswith("fastconv.dask"):  # which needs an extra
        importlib.import_module(name)
"""
    names = installed.run(code, tmp_path)
    assert {"fastconv.conv", "fastconv.cli.bench", "fastconv.kernels.convolution.direct"} <= set(names)


def test_an_editable_installation_works_elsewhere(checkout, tmp_path):
    environment = Environment(tmp_path / "environment")
    environment.install("--editable", checkout)
    for folder in (tmp_path, checkout):
        got, package, kernels, top_level = environment.run(CALL, folder)
        assert (got, top_level) == (RIGHT, [])
        assert Path(package) == checkout / "fastconv" / "__init__.py"
        assert Path(kernels) == checkout / "kernels" / "__init__.py"
