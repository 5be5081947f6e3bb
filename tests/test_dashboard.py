"""asv's page in a browser: of the history that is kept here, and of a scratch repository where a commit was made worse.

`make test-dashboard` runs these. Screenshots are left in `.asv/screenshots`.
"""

import contextlib
import functools
import json
import os
import shutil
import subprocess
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest

pytestmark = [
    pytest.mark.dashboard,
    # Playwright's
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.timeout(900),
]
playwright = pytest.importorskip("playwright.sync_api")
pytest.importorskip("asv")

ROOT = Path(__file__).parent.parent
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
OPTIONS += ["--disable-sync", "--no-first-run", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]

CASE = "opt tiny_4x4"
TIME, BYTES = (f"reference.{name}" for name in ("track_time", "track_bytes_above_output"))
GOOD = BAD = 5  # commits before and after
WORSE = '''

_fast = convolve2d


def convolve2d(*args: Any, **options: Any) -> Any:
    """Made slower and larger."""
    import time

    taken = bytearray(100_000)
    time.sleep(len(taken) * 5e-8)  # long: asv sees no step to times that spread by a fifth, as short ones do
    return _fast(*args, **options)
'''


def run(*command, cwd):
    environment = {**os.environ, "PYTHONPATH": str(cwd), "ASV_PYTHONPATH": str(cwd)}
    done = subprocess.run([*map(str, command)], cwd=cwd, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@contextlib.contextmanager
def published(root):
    """Address of asv's page of a checkout."""
    run(sys.executable, "-m", "history.publish", cwd=root)

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=str(root / ".asv" / "html"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/index.html"
        server.shutdown()


def stored(root):
    """What is kept of each commit, by machine."""
    machines = {}
    for path in sorted((root / "history" / "results").glob("*/*-*.json")):
        machines.setdefault(path.parent.name, []).append(json.loads(path.read_text()))
    return machines


def described(root):
    """The benchmarks, by name."""
    benchmarks = json.loads((root / "history" / "results" / "benchmarks.json").read_text())
    del benchmarks["version"]
    return benchmarks


@pytest.fixture(scope="session")
def ours():
    if not (ROOT / ".git").exists() or not stored(ROOT):
        pytest.skip("no history is kept here")
    if run("git", "rev-parse", "--is-shallow-repository", cwd=ROOT).strip() == "true":
        pytest.skip("a shallow clone does not have the commits that the history is of")
    with published(ROOT) as address:
        yield address


@pytest.fixture(scope="session")
def scratch(tmp_path_factory):
    """A clone with commits of its own, the later ones worse, each benchmarked in place."""
    if not (ROOT / ".git").exists():
        pytest.skip("a clone needs a repository")
    root = tmp_path_factory.mktemp("scratch") / "fastconv"
    run("git", "clone", "--quiet", ROOT, root, cwd=ROOT)
    run("git", "config", "user.name", "Test", cwd=root)
    run("git", "config", "user.email", "test@localhost", cwd=root)
    run("git", "rm", "-r", "--quiet", "--ignore-unmatch", "history/results", cwd=root)
    command = [sys.executable, "-m", "history.asv", "run", "--environment", "existing:same", "--machine", "scratch"]
    command += ["--set-commit-hash", "HEAD", "--bench", rf"track_(time|bytes_above_output|blocks)\({CASE}\)"]
    for commit in range(GOOD + BAD):
        if commit == GOOD:
            with (root / "fastconv" / "conv.py").open("a") as file:
                file.write(WORSE)
        run("git", "commit", "--quiet", "--all", "--allow-empty", "--message", f"Commit {commit}", cwd=root)
        run(sys.executable, "-c", "from history.asv import name_machine; name_machine('scratch')", cwd=root)
        run(*command, cwd=root)
    assert [len(commits) for commits in stored(root).values()] == [GOOD + BAD]
    with published(root) as address:
        yield address


@pytest.fixture(scope="session")
def browser():
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser, request):
    """A page that must not complain, nor ask for anything but what this machine serves; a picture of it is kept."""
    page = browser.new_page(viewport={"width": 1500, "height": 950})
    complaints, asked = [], []
    page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("requestfailed", lambda failed: complaints.append(f"{failed.url}: {failed.failure}"))
    page.on("request", lambda sent: asked.append(sent.url))
    yield page
    folder = ROOT / ".asv" / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    page.evaluate("() => window.scrollTo(0, 0)")
    page.screenshot(path=folder / f"{request.node.name.removeprefix('test_')}.png", full_page=True)
    page.close()
    assert complaints == []
    assert asked
    assert {urlsplit(url).hostname for url in asked if not url.startswith(("data:", "blob:"))} == {"127.0.0.1"}


def points(page, address, benchmark, **options):
    """Number of points of each curve that a graph draws."""
    page.goto(f"{address}#{benchmark}?{urlencode(options)}")
    page.wait_for_function("() => $('#main-graph canvas').length && $('#main-graph').data('plot')")
    assert page.evaluate("() => $('#overview').offset().top + $('#overview').height() <= $(window).height()")
    curves = page.evaluate("() => $('#main-graph').data('plot').getData().map(curve => curve.data)")
    return [sum(value is not None for _, value in curve) for curve in curves]


def test_the_grid_lists_every_benchmark(page, ours):
    page.goto(ours)
    page.wait_for_selector(".benchmark-container")
    for tile in page.locator(".benchmark-container").all():  # drawn when they come into view
        tile.scroll_into_view_if_needed()
        tile.locator("canvas.flot-base").wait_for()
    names = page.eval_on_selector_all(".benchmark-container", "tiles => tiles.map(tile => tile.hash.slice(1))")
    assert sorted(names) == sorted(described(ROOT))
    headings = page.eval_on_selector_all(".benchmark-group h1", "titles => titles.map(title => title.textContent)")
    assert sorted(headings) == sorted({name.partition(".")[0] for name in described(ROOT)})


@pytest.mark.parametrize("benchmark", [TIME, BYTES], ids=["time", "allocation"])
def test_a_graph_has_a_point_for_every_commit(page, ours, benchmark):
    kept = stored(ROOT).values()
    assert sorted(points(page, ours, benchmark, **{"p-case": CASE})) == sorted(map(len, kept))
    for commits in kept:
        assert [result["commit_hash"] for result in commits if benchmark not in result["results"]] == []


def test_the_default_graph_of_a_family_shows_its_cases(page, ours):
    curves = points(page, ours, "conv.track_time")
    assert len(curves) == 8 * len(stored(ROOT))  # asv's most of one machine
    assert min(curves) >= 1


def test_the_list_of_benchmarks(page, ours):
    page.goto(f"{ours}#/summarylist")
    page.wait_for_selector("#summarylist-body table tbody tr")
    rows = page.locator("#summarylist-body tbody tr").all_inner_texts()
    assert sum(row.startswith("reference: time (") for row in rows) == 12


def test_the_stored_history_has_a_page_of_regressions(page, ours):
    page.goto(f"{ours}#/regressions")
    page.wait_for_selector("#regressions-body table")


@pytest.mark.parametrize("benchmark", [TIME, BYTES], ids=["time", "allocation"])
def test_a_graph_of_the_scratch_repository(page, scratch, benchmark):
    assert points(page, scratch, benchmark, **{"p-case": CASE}) == [GOOD + BAD]


def test_a_planted_regression_is_reported(page, scratch):
    page.goto(f"{scratch}#/regressions")
    page.wait_for_selector("#regressions-body table tbody tr")
    found = page.locator("#regressions-body table tbody tr").all_inner_texts()
    for benchmark in (TIME, BYTES):
        assert [row for row in found if f"{benchmark}({CASE})" in row], found
