"""Which commits are benchmarked, what counts as worse, and that asv's page loads nothing from elsewhere."""

import math
import re
from pathlib import Path

import pytest

from history import publish, run

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    "done, last, expected",
    [
        ([], 2, ["c3", "c2"]),
        (["c3-virtualenv.json"], 2, ["c2", "c1"]),
        (["c2-virtualenv.json", "c3-virtualenv.json"], 5, ["c1"]),
        (["c1-a.json", "c2-a.json", "c3-a.json"], 5, []),
    ],
)
def test_the_newest_commits_without_results_are_chosen(done, last, expected):
    assert run.pending(["c3", "c2", "c1"], done, last) == expected


PAGE = """
<script src="https://elsewhere.net/3/jquery-3.3.1.min.js" integrity="s" crossorigin="anonymous" onerror="f()"></script>
<script language="javascript" type="text/javascript"
        src="asv.js">
</script>
<link rel="stylesheet" href="https://elsewhere.net/css/bootstrap.min.css" integrity="sha" crossorigin="anonymous">
<a href="https://elsewhere.net/asv/">asv</a>
"""


def test_the_page_loads_its_libraries_from_beside_itself():
    page = publish.localised(PAGE)
    assert '<script src="vendor/jquery-3.3.1.min.js" onerror="f()"></script>' in page
    assert '<link rel="stylesheet" href="vendor/bootstrap.min.css">' in page
    assert re.findall("https?://.*", page) == ['https://elsewhere.net/asv/">asv</a>']
    assert 'src="asv.js"' in page


def test_a_library_that_no_package_is_known_for_is_refused():
    with pytest.raises(SystemExit, match=r"asv's page loads new\.js"):
        publish.localised('<script src="https://elsewhere.net/new.js"></script>')


def test_every_library_of_the_installed_asv_is_known():
    asv = pytest.importorskip("asv")
    page = (Path(asv.__file__).parent / "www" / "index.html").read_text(encoding="utf-8")
    assert set(re.findall(r'="vendor/([^"]+)"', publish.localised(page))) == set(publish.FILES)


STEADY = [1.0, 1.01, 1.02, 1.0, 1.01, 1.03, 1.0, 1.02]


def measured(value, samples=None):
    """A result with asv's statistics of its samples."""
    from asv_runner.statistics import compute_stats

    from history.regressions import Measured

    if samples is None:
        return Measured(value, None, None)
    value, stats = compute_stats(samples, 1)
    return Measured(value, stats, samples)


def times(factor):
    return measured(None, [factor * sample for sample in STEADY])


def test_what_is_worse():
    regressions = pytest.importorskip("history.regressions")
    worse = regressions.is_worse
    assert worse(times(1), times(1.2), 0.1)
    assert not worse(times(1), times(1.2), 0.3)
    assert not worse(times(1.2), times(1), 0.1)
    noisy = measured(None, [1.2 * sample for sample in (0.5, 2, 1, 0.6, 1.9, 1, 0.7, 1.5)])
    assert not worse(times(1), noisy, 0.1)
    assert worse(measured(584), measured(600), 0.02)
    assert not worse(measured(584), measured(590), 0.02)
    assert worse(measured(0), measured(8), 0.02)
    assert worse(measured(1), measured(None), 0.02)
    assert not worse(measured(None), measured(None), 0.02)
    assert not worse(measured(math.nan), measured(5), 0.02)


def test_the_largest_threshold_that_matches_holds():
    regressions = pytest.importorskip("history.regressions")
    thresholds = {"conv": 0.1, r".*\.track_bytes": 0.02, "startup": 0.2}
    assert regressions.threshold("conv.track_time(a)", thresholds) == 0.1
    assert regressions.threshold("conv.track_bytes(a)", thresholds) == 0.1
    assert regressions.threshold("pools.track_bytes(a)", thresholds) == 0.02
    assert regressions.threshold("elsewhere.track_size", thresholds) == 0.05


def test_stored_results_name_no_machine_but_the_one_they_are_kept_for():
    """No path and no host name: only what `machine.json` says."""
    files = sorted((ROOT / "history" / "results").glob("*/*-*.json"))
    for path in files:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r'"/(?:home|root|tmp|work|usr)\b', text), path.name
        assert f'"machine": "{path.parent.name}"' in text, path.name
