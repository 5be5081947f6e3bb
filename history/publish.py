"""Make pages of what asv stored: `python -m history.publish --machine NAME`. Plain files, without scripts or a network.

What changed, worst first, and at which commit; a page for each commit; a page for each family, a graph for each case.
Times of two machines do not compare: the others that have results have pages of their own, in folders of their names.
"""

import argparse
import math
import shutil
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from history import RESULTS, ROOT, git
from history.graph import Point, graph, shown
from history.results import SMALL, Benchmark, Change, Measure, Step, Values, described, load, steps, thresholds, weight
from history.run import commits

HTML = ROOT / ".asv" / "page"
ORDER = "x", "seconds", "bytes", "blocks"  # of a family's measures, by their units
KINDS = {"error": "wrong or no longer there", "worse": "worse", "better": "better"}


class Commit(NamedTuple):
    """What git says of one."""

    hash: str
    date: str
    author: str
    subject: str

    @property
    def short(self) -> str:
        """As people write it."""
        return self.hash[:8]

    @property
    def words(self) -> str:
        """Below a value, where one hovers over it."""
        return f"{self.subject}\n{self.short}, {self.date}"


class History(NamedTuple):
    """All that the pages show, in the order of commits: those on the line, and of those with results what they are."""

    machine: str
    commits: list[Commit]  # all, the oldest first
    measured: list[int]  # places of those with results
    values: list[Values]  # of those
    benchmarks: dict[str, Benchmark]
    steps: list[list[Step]]  # at those

    def at(self, index: int) -> Commit:
        """The commit of the results with this index."""
        return self.commits[self.measured[index]]

    def unit(self, change: Change) -> str:
        """Of what changed."""
        return self.benchmarks[change.measure.benchmark].unit

    def weight(self, change: Change) -> float:
        """How much worse or better, for the order."""
        return weight(change, self.unit(change))


def machines(first: str) -> list[str]:
    """Those with results: the one that is asked for, then those with most."""
    counts = Counter(path.parent.name for path in RESULTS.glob("*/*-*.json"))
    return sorted(counts, key=lambda name: (name != first, -counts[name])) or [first]


def read(machine: str) -> History:
    """What is stored of a machine, along the commits."""
    benchmarks = described()
    stored = load(machine, benchmarks)
    line = commits()[::-1]
    lines = git("log", "--no-walk=unsorted", "--date=format:%Y-%m-%d %H:%M", "--format=%H%x00%ad%x00%an%x00%s", *line)
    history = [Commit(*text.split("\0")) for text in lines]
    measured = [at for at, commit in enumerate(history) if stored.get(commit.hash)]
    values: list[Values] = [stored[history[at].hash] for at in measured]
    found: list[list[Step]] = [[] for _ in measured]
    for step in steps(values, thresholds(benchmarks)):
        found[step.at].append(step)
    return History(machine, history, measured, values, benchmarks, found)


class Link(NamedTuple):
    """One of those at the head of each page."""

    target: str  # from the machine's folder
    text: str


def page(title: str, body: Iterable[str], head: Iterable[Link], up: str = "../") -> str:
    """A whole page."""
    links = "".join(f'<a href="{up}{each.target}">{escape(each.text)}</a>' for each in head)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">'
        f'<link rel="stylesheet" href="{up}style.css"><nav>{links}</nav><h1>{escape(title)}</h1>' + "".join(body)
    )


def link(commit: Commit, up: str = "") -> str:
    """A commit's subject, which leads to its page."""
    return (
        f'<a href="{up}commits/{commit.hash}.html">{escape(commit.subject)}</a> '
        f'<span class="note"><span class="hash">{commit.short}</span> {commit.date}</span>'
    )


def anchor(measure: Measure) -> str:
    """Of a case's graph in its family's page."""
    return "".join(each if each.isalnum() else "-" for each in f"{measure.benchmark}-{measure.case}")


def case_link(history: History, measure: Measure, up: str = "") -> str:
    """A case's name, which leads to its graph, where its family's page has one: newer commits may not have the case."""
    name = measure.case or history.benchmarks[measure.benchmark].title
    if measure.case not in history.benchmarks[measure.benchmark].cases:
        return escape(name)
    return f'<a href="{up}families/{measure.family}.html#{anchor(measure)}">{escape(name)}</a>'


def factor(history: History, change: Change) -> str:
    """What a change is, in words."""
    unit = history.unit(change)
    values = f"{shown(change.before.value, unit)} → {shown(change.after.value, unit)}"
    exact = not math.isfinite(change.factor) or unit in SMALL or change.kind == "error"
    return values if exact else f"{change.factor:.2f} times: {values}"


def effects(history: History, found: Sequence[Step], up: str = "") -> str:
    """A list: a line for each family and measure, worst first, with the case where it is most."""
    groups: dict[tuple[int, str], list[Change]] = {}
    for step in found:
        groups.setdefault(([*KINDS].index(step.change.kind), step.change.measure.benchmark), []).append(step.change)
    lines = []
    for (rank, benchmark), changes in groups.items():
        kind = [*KINDS][rank]
        most = (min if kind == "better" else max)(changes, key=history.weight)
        weight = history.weight(most) if kind == "better" else -history.weight(most)
        more = f", and {len(changes) - 1} more" if len(changes) > 1 else ""
        text = f"{escape(history.benchmarks[benchmark].title)}: {case_link(history, most.measure, up)}"
        line = f'<li><span class="{kind}">{KINDS[kind]}</span>: {text} {factor(history, most)}{more}</li>'
        lines.append((rank, weight, line))
    return f"<ul>{''.join(line for *_, line in sorted(lines))}</ul>"


def block(history: History, index: int, found: Sequence[Step]) -> str:
    """A commit in a list, with its effects."""
    commit, before = history.at(index), history.measured[index - 1] if index else -1
    between = history.measured[index] - before - 1
    note = f'<p class="note">or one of the {between} commits before it, which are not measured</p>' if between else ""
    errors = " errors" if any(step.change.kind == "error" for step in found) else ""
    return f'<section class="commit{errors}"><h3>{link(commit)}</h3>{note}{effects(history, found)}</section>'


def overview(history: History) -> Iterable[str]:
    """What changed: errors, what is worse and still so, what once was, what is better."""
    if not history.measured:
        yield "<p>Nothing is measured yet: <code>make history</code>.</p>"
        return
    counts = f"{len(history.measured)} of {len(history.commits)} commits are measured on {escape(history.machine)}"
    yield f"<p>{counts}, up to {link(history.at(-1))}. Times are ratios to a fixed version, measured in turns."
    yield " Lower is better.</p>"

    def worst(found: Sequence[Step]) -> tuple[bool, float]:
        changes = [step.change for step in found]
        errors = any(change.kind == "error" for change in changes)
        return errors, max((history.weight(change) for change in changes if change.kind != "better"), default=0.0)

    def open_steps(found: Sequence[Step]) -> list[Step]:
        return [step for step in found if step.change.kind != "better" and not step.repaired]

    def section(title: str, chosen: list[tuple[int, list[Step]]], none: str) -> Iterable[str]:
        yield f"<h2>{title}</h2>"
        yield from (block(history, index, found) for index, found in chosen)
        yield "" if chosen else f'<p class="note">{none}</p>'

    every = list(enumerate(history.steps))
    worse = [(index, found) for index, found in every if open_steps(found)]
    worse.sort(key=lambda each: worst(open_steps(each[1])), reverse=True)
    yield from section("Worse, and still so, by commit", worse, "Nothing.")
    once = [(index, found) for index, found in every if not open_steps(found) and worst(found)[1]]
    once.sort(key=lambda each: worst(each[1]), reverse=True)
    yield from section("Worse for a while, and good again", once, "Nothing.")
    better = [(index, found) for index, found in every if found and not worst(found)[1]]
    yield from section("Only better, newest first", better[::-1], "Nothing.")
    yield '<h2>Families: geometric means of times over the reference</h2><div class="grid-of-graphs">'
    yield from (tile(history, name) for name in history.benchmarks if name.endswith(".track_ratio"))
    yield "</div>"


def tile(history: History, name: str) -> str:
    """One graph for a family: of the cases that every commit has, lest a new one look like a step."""
    family = name.partition(".")[0]
    measures = [Measure(name, case) for case in history.benchmarks[name].cases]
    numbers = [[found[each].value if each in found else None for each in measures] for found in history.values]
    common = [at for at, column in enumerate(zip(*numbers)) if all(value and value > 0 for value in column)]
    if not common:
        return ""
    points = []
    for place, row in zip(history.measured, numbers):
        mean, commit = math.prod(row[at] or 1 for at in common) ** (1 / len(common)), history.commits[place]
        words = f"{family}, mean of {len(common)} cases: {shown(mean, 'x')}\n{commit.words}"
        points.append(Point(place, mean, mean, mean, f"commits/{commit.hash}.html", words))
    caption = (
        f'<a href="families/{family}.html">{family}</a> <small>{len(common)} cases, {shown(points[-1].value, "x")}'
    )
    return (
        f"<figure><figcaption>{caption}</small></figcaption>{graph(points, len(history.commits), 'x', family)}</figure>"
    )


def commit_list(history: History) -> Iterable[str]:
    """Every commit on the line, newest first."""
    index = {place: at for at, place in enumerate(history.measured)}
    for place, commit in reversed(list(enumerate(history.commits))):
        if place in index:
            yield block(history, index[place], history.steps[index[place]])
        else:
            yield f'<section class="commit note">{link(commit)}: not measured</section>'


def commit_page(history: History, place: int) -> Iterable[str]:
    """Who, when, what changed, and every value beside that of the commit measured before."""
    commit = history.commits[place]
    yield f'<p class="note">{commit.date}, {escape(commit.author)}, <span class="hash">{commit.hash}</span></p>'
    earlier = [index for index, other in enumerate(history.measured) if other < place]
    later = [index for index, other in enumerate(history.measured) if other > place]
    for words, indices in (("Measured before it", earlier[-1:]), ("Measured after it", later[:1])):
        yield from (f"<p>{words}: {link(history.at(index), '../')}</p>" for index in indices)
    if place not in history.measured:
        yield "<p>This commit is not measured: those around it do not differ, or were not looked between yet.</p>"
        return
    index = history.measured.index(place)
    yield "<h2>What changed, and lasted</h2>"
    found = history.steps[index]
    yield effects(history, found, "../") if found else '<p class="note">Nothing.</p>'
    yield "<h2>All values</h2>"
    values, before = history.values[index], history.values[index - 1] if index else {}
    kinds = {step.change.measure: step.change.kind for step in found}
    for benchmark, measures in groupby(values, key=lambda measure: measure.benchmark):
        known = history.benchmarks[benchmark]
        rows = [
            f"<tr><td>{case_link(history, measure, '../')}"
            f'<td class="number">{shown(before[measure].value, known.unit) if measure in before else ""}'
            f'<td class="number {kinds.get(measure, "")}">{shown(values[measure].value, known.unit)}'
            for measure in measures
            if values[measure].exists
        ]
        if rows:
            yield f'<h3>{escape(known.title)}</h3><div class="wide"><table><tr><th>case<th>before<th>here'
            yield from (*rows, "</table></div>")


def family_page(history: History, family: str) -> Iterable[str]:
    """A graph for each case of each measure, ratios first; what never changed stands in a line."""
    own = [each for each in history.benchmarks.items() if each[0].partition(".")[0] == family]
    for name, benchmark in sorted(own, key=lambda each: ORDER.index(each[1].unit)):
        yield f"<h2>{escape(benchmark.title.partition(': ')[2])}</h2>"
        graphs, same = [], []
        for case in benchmark.cases:
            measure = Measure(name, case)
            points = list(points_of(history, measure))
            if points and benchmark.unit in SMALL and len({point.value for point in points}) == 1:
                words = f"{escape(case or benchmark.title)} {shown(points[0].value, benchmark.unit)}"
                same.append(f'<span id="{anchor(measure)}">{words}</span>')
            elif points:
                drawn, last = graph(points, len(history.commits), benchmark.unit, case), points[-1].value
                caption = f"{escape(case or benchmark.title)} <small>{shown(last, benchmark.unit)}</small>"
                graphs.append(f'<figure id="{anchor(measure)}"><figcaption>{caption}</figcaption>{drawn}</figure>')
        yield f'<div class="grid-of-graphs">{"".join(graphs)}</div>' if graphs else ""
        yield f'<p class="note">The same at every commit: {"; ".join(same)}.</p>' if same else ""
        yield "" if graphs or same else '<p class="note">Not measured.</p>'


def points_of(history: History, measure: Measure) -> Iterable[Point]:
    """Of one case."""
    benchmark = history.benchmarks[measure.benchmark]
    for place, values in zip(history.measured, history.values):
        found, commit = values.get(measure), history.commits[place]
        if found and found.value is not None and found.exists:
            words = f"{benchmark.title}, {measure.case}: {shown(found.value, benchmark.unit)}"
            if found.low < found.high:
                words += f" ({shown(found.low, benchmark.unit)} to {shown(found.high, benchmark.unit)})"
            where = f"../commits/{commit.hash}.html"
            yield Point(place, found.value, found.low, found.high, where, f"{words}\n{commit.words}")


def write(history: History, folder: Path, others: Iterable[Link]) -> None:
    """All pages of a machine, with links to those of others."""
    for name in ("commits", "families"):
        (folder / name).mkdir(parents=True)
    shutil.copy(ROOT / "history" / "style.css", folder)
    families = sorted({name.partition(".")[0] for name in history.benchmarks})
    head = [Link("index.html", "What changed"), Link("commits.html", "Commits")]
    head += [*(Link(f"families/{family}.html", family) for family in families), *others]
    pages = {
        "index.html": page("What changed in fastconv", overview(history), head, ""),
        "commits.html": page("Commits", commit_list(history), head, ""),
    }
    for place, commit in enumerate(history.commits):
        pages[f"commits/{commit.hash}.html"] = page(commit.subject, commit_page(history, place), head)
    for family in families:
        pages[f"families/{family}.html"] = page(family, family_page(history, family), head)
    for name, text in pages.items():
        (folder / name).write_text(text, encoding="utf-8")


def main() -> int:
    """Publish what is stored, one machine first."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--machine", default="local", help="folder in history/results; default: local, or the one with most results"
    )
    first, *others = machines(parser.parse_args().machine)
    shutil.rmtree(HTML, ignore_errors=True)
    write(read(first), HTML, [Link(f"{name}/index.html", f"on {name}") for name in others])
    for name in others:
        more = [Link(f"../{each}/index.html", f"on {each}") for each in others if each != name]
        write(read(name), HTML / name, [Link("../index.html", f"on {first}"), *more])
    return 0


if __name__ == "__main__":
    sys.exit(main())
