"""The history's page in a browser, read as a maintainer does: what became slower, and which commit did it?

`make test-dashboard` runs these, on a repository and results made for them, and on the history that is kept here.
Screenshots are left in `.asv/screenshots`.
"""

import contextlib
import datetime
import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from browser import launched, served, watched

pytestmark = [
    pytest.mark.dashboard,
    # Playwright's
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
pytest.importorskip("asv")

ROOT = Path(__file__).parent.parent
# Of the repository that is made: subjects, and by what each commit multiplies measures from it on.
COMMITS = [
    "Begin",
    "Tidy <names>",
    "A shorter inner loop",
    "Words",
    "Keep more in a list",
    "Faster sums, by mistake",
    "End",
]
SLOW, FAST = "conv.track_ratio", "pools.track_ratio"
CASES = ["resnet 3x3", "resnet 1x1", "stem 7x7"]
EFFECTS = {
    "A shorter inner loop": {(SLOW, "resnet 3x3"): 1.2, (FAST, "stem 7x7"): 0.5},
    "Keep more in a list": {("conv.track_bytes", "stem 7x7"): 3},
    "Faster sums, by mistake": {("accuracy.Accuracy.track_error", "resnet 1x1"): 8.5e6},
}
BENCHMARKS = {
    SLOW: ("conv: time over the reference's", "x", 1.0),
    FAST: ("pools: time over the reference's", "x", 0.9),
    "conv.track_bytes": ("conv: bytes above the output", "bytes", 1_000_000),
    "accuracy.Accuracy.track_error": ("accuracy: worst error over its bound", "x", 0.2),
}


def run(*command, cwd):
    environment = {**os.environ, "PYTHONPATH": str(cwd)}
    done = subprocess.run([*map(str, command)], cwd=cwd, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@contextlib.contextmanager
def published(root, machine):
    """Address of the page of a checkout."""
    run(sys.executable, "-m", "history.publish", "--machine", machine, cwd=root)

    with served(root / ".asv" / "page") as address:
        yield address


def describe():
    """What asv writes of benchmarks."""
    return {
        name: {
            "name": name,
            "params": [[repr(case) for case in CASES]],
            "param_names": ["case"],
            "pretty_name": title,
            "unit": unit,
            "version": "1",
        }
        for name, (title, unit, _) in BENCHMARKS.items()
    }


def store(root, commit, factors, noise, machine="made"):
    """What asv writes of a commit: times have samples, and noise of a hundredth or two."""
    from asv.results import Results
    from asv.runner import BenchmarkResult

    results = Results({"machine": machine, "python": "3"}, {}, commit, 0, "3", "env", {})
    for name, benchmark in describe().items():
        values = [BENCHMARKS[name][2] * factors.get((name, case), 1) for case in CASES]
        if name.endswith("ratio"):
            samples = [[value * noise.uniform(0.985, 1.015) for _ in range(3)] for value in values]
        else:
            samples = [None] * len(values)
        numbers = [1 if each else None for each in samples]
        result = BenchmarkResult(values, samples, numbers, 0, "", None)
        results.add_result(benchmark, result, datetime.datetime.now(datetime.UTC), 1.0, record_samples=True)
    results.save(str(root / "history" / "results"))


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """A repository of seven commits, with results."""
    root = tmp_path_factory.mktemp("made")
    shutil.copytree(ROOT / "history", root / "history", ignore=shutil.ignore_patterns("results", "__pycache__"))
    shutil.copy(ROOT / "asv.conf.json", root)
    (root / "fastconv").mkdir()
    run("git", "init", "--quiet", "--initial-branch=main", cwd=root)
    run("git", "config", "user.name", "A. Maintainer", cwd=root)
    run("git", "config", "user.email", "test@localhost", cwd=root)
    factors, noise = {}, random.Random(0)
    for subject in COMMITS:
        (root / "fastconv" / "code.py").write_text(subject)
        run("git", "add", "fastconv", cwd=root)
        run("git", "commit", "--quiet", "--message", subject, cwd=root)
        factors |= EFFECTS.get(subject, {})
        store(root, run("git", "rev-parse", "HEAD", cwd=root).strip(), factors, noise)
    store(root, run("git", "rev-parse", "HEAD", cwd=root).strip(), factors, noise, "another")
    (root / "history" / "results" / "benchmarks.json").write_text(json.dumps({**describe(), "version": 2}))
    with published(root, "local") as address:  # nothing is stored of it: what is stored is shown
        yield address


@pytest.fixture(scope="session")
def ours():
    """The history that is kept here."""
    machines = sorted({path.parent.name for path in (ROOT / "history" / "results").glob("*/*-*.json")} - {"local"})
    if not machines:
        pytest.skip("no history is kept here")
    if not (ROOT / ".git").exists() or run("git", "rev-parse", "--is-shallow-repository", cwd=ROOT).strip() == "true":
        pytest.skip("this clone does not have the commits that the history is of")
    with published(ROOT, machines[0]) as address:
        yield address


@pytest.fixture(scope="session")
def browser():
    with launched() as browser:
        yield browser


@pytest.fixture(params=[1500, 800])
def page(browser, request):
    picture = ROOT / ".asv" / "screenshots" / f"{request.node.name.removeprefix('test_')}.png"
    with watched(browser, request.param, picture) as page:
        yield page


def entries(page, title):
    """Texts of the commits under a heading."""
    found = page.locator(f"xpath=//h2[.='{title}']/following-sibling::section[preceding-sibling::h2[1][.='{title}']]")
    return found.all_inner_texts()


def test_a_planted_slowdown_is_found_with_its_commit(page, made):
    page.goto(made)
    worst, slower, larger = entries(page, "Worse, and still so, by commit")
    assert "Faster sums, by mistake" in worst
    assert "wrong or no longer there: accuracy: worst error over its bound: resnet 1x1 0.2 × →" in worst
    assert "A shorter inner loop" in larger or "A shorter inner loop" in slower
    slower, larger = sorted((slower, larger), key=lambda text: "inner loop" not in text)
    assert "worse: conv: time over the reference's: resnet 3x3 1.2" in slower
    assert "better: pools: time over the reference's: stem 7x7 0.5" in slower
    assert "Keep more in a list" in larger
    assert "worse: conv: bytes above the output: stem 7x7 1 MB → 3 MB" in larger

    page.get_by_role("link", name="A shorter inner loop").first.click()
    assert page.locator("h1").inner_text() == "A shorter inner loop"
    assert "A. Maintainer" in page.locator("p").first.inner_text()
    assert "Measured before it: Tidy <names>" in page.locator("body").inner_text()
    row = page.locator("tr", has_text="resnet 3x3").first.inner_text().split("\t")
    assert 1.1 < float(row[2].split()[0]) / float(row[1].split()[0]) < 1.3

    page.locator("li a", has_text="resnet 3x3").click()
    assert page.locator("h1").inner_text() == "conv"


def test_a_point_says_what_it_is_and_leads_to_its_commit(page, made):
    page.goto(f"{made}families/conv.html")
    figure = page.locator("figure", has=page.locator("figcaption", has_text="resnet 3x3"))
    points = figure.locator("svg a")
    assert points.count() == len(COMMITS)
    words = points.nth(COMMITS.index("A shorter inner loop")).locator("title").text_content()
    assert words.startswith("conv: time over the reference's, resnet 3x3: 1.")
    assert " × (" in words  # the range of the samples
    assert "\nA shorter inner loop\n" in words
    ticks = [text for text in figure.locator("svg text").all_text_contents() if "commit" not in text]
    assert len(ticks) >= 3
    assert all("×" in tick for tick in ticks[:3])
    points.nth(2).locator("circle").click()
    assert page.locator("h1").inner_text() == "A shorter inner loop"


def test_each_machine_has_its_own_pages(page, made):
    page.goto(f"{made}families/conv.html")
    page.get_by_role("link", name="on another").click()
    assert "1 of 7 commits are measured on another" in page.locator("p").first.inner_text()
    page.get_by_role("link", name="conv", exact=True).first.click()
    assert page.locator("figure svg a").count() == len(CASES)
    page.get_by_role("link", name="on made").click()
    assert "7 of 7 commits are measured on made" in page.locator("p").first.inner_text()


def test_the_overview_has_a_graph_for_each_family(page, made):
    page.goto(made)
    names = [text.split()[0] for text in page.locator("figcaption").all_inner_texts()]
    assert names == ["conv", "pools"]
    words = page.locator("figure title").first.text_content()
    assert words.startswith("conv, mean of 3 cases: ")
    page.locator("figcaption a").first.click()
    assert page.locator("h1").inner_text() == "conv"
    page.goto(made)


def test_what_never_changes_is_a_line_and_no_graph(page, made):
    page.goto(f"{made}families/conv.html")
    assert "The same at every commit: resnet 3x3 1 MB; resnet 1x1 1 MB." in page.locator("body").inner_text()


def test_noise_is_no_change(page, made):
    page.goto(f"{made}commits.html")
    blocks = page.locator("section.commit").all_inner_texts()
    assert [text.splitlines()[0].rsplit(" ", 3)[0] for text in blocks] == COMMITS[::-1]
    changed = [subject for subject, text in zip(COMMITS[::-1], blocks) if ": " in text]
    assert changed == [subject for subject in COMMITS[::-1] if subject in EFFECTS]


def test_every_page_of_the_history_that_is_kept_here(page, ours):
    page.goto(ours)
    links = page.eval_on_selector_all("nav a", "links => links.map(link => link.href)")
    for address in links:
        page.goto(address)
        assert page.locator("h1").count() == 1
    assert page.locator("nav a").count() > 10
    page.goto(f"{ours}families/conv.html")
    page.locator("svg a circle").last.click()
    assert "All values" in page.locator("body").inner_text()
    page.goto(ours)
