"""scikit-image's own tests say the same of scikit-image on fastconv as of scikit-image on SciPy, test by test.

Its wheels hold their tests up to version 0.25: ``pip install "scikit-image<0.26"``.
"""

from importlib.util import find_spec
from pathlib import Path
from xml.etree import ElementTree

import pytest
from subprocesses import run

SKIMAGE = find_spec("skimage")  # importing it warns of what its dependencies do
HAS_TESTS = SKIMAGE is not None and (Path(SKIMAGE.origin).parent / "filters" / "tests").is_dir()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not HAS_TESTS, reason="there is no scikit-image with tests of its own"),
]


def outcomes(report, *options, package):
    """What became of each test of a package: passed, failed, error or skipped."""
    pytest_options = "-q", "-p", "no:cacheprovider", f"--junitxml={report}", "--pyargs", f"skimage.{package}"
    done = run(
        "-m", "fastconv", "run", *options, "-m", "pytest", *pytest_options,
        cwd=report.parent, check=False, OMP_NUM_THREADS=1,
    )  # fmt: skip
    assert done.returncode in (0, 1), f"{done.stdout}\n{done.stderr}"  # all passed, or some did not
    found = {}
    for case in ElementTree.parse(report).iter("testcase"):
        name = f"{case.get('classname')}.{case.get('name')}"
        found[name] = next((child.tag for child in case if child.tag in ("failure", "error", "skipped")), "passed")
    return found


def test_the_page_says_what_is_so(tmp_path):
    """The script compares all that the page's pipeline makes, on SciPy and on fastconv."""
    pytest.importorskip("matplotlib")
    done = run("docs/scikit_image.py", tmp_path / "picture.png")
    assert done.stdout.count("\n| `") == 7
    assert (tmp_path / "picture.png").stat().st_size > 100_000


@pytest.mark.parametrize("package", ["feature", "filters", "metrics", "segmentation"])
def test_its_own_tests(package, tmp_path):
    want = outcomes(tmp_path / "scipy.xml", package=package)
    got = outcomes(tmp_path / "fastconv.xml", "--patch-scipy", package=package)
    assert list(want.values()).count("passed") > 50
    assert got.keys() == want.keys()
    assert {name: (want[name], got[name]) for name in want if got[name] != want[name]} == {}
