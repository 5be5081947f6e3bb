"""Random calls against the oracles, between protected pages: `make fuzz CASES=20000 SECONDS=600 SEED=1`.

A worker on each core plays every so-many-th case in a process of its own, which an access outside of an array ends.
A case that fails is shrunk, and printed as a line that runs it again: `make fuzz CASE='{...}'`.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread

PATIENCE = 600  # seconds for one case: the first of a dtype compiles
MOST = 4000  # cases of one process: what is compiled stays mapped, and Linux allows 65,530 mappings


def failure(case: dict) -> str | None:
    """How a case fails in a process of its own; None where it does not."""
    command = [sys.executable, __file__, "--case", json.dumps(case), "--quiet"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return f"no end after {PATIENCE} s"
    if done.returncode < 0:
        return signal.Signals(-done.returncode).name
    return done.stdout.strip() or done.stderr.strip() if done.returncode else None


def kind(message: str) -> str:
    """What stays the same while a case shrinks: how the message begins, whatever its numbers are."""
    return " ".join(re.sub(r"\d+", "0", message).split()[:3])


def shrink(
    case: dict, message: str, fails: Callable[[dict], str | None] = failure, most: int = 200
) -> tuple[dict, str]:
    """The smallest case found that fails alike, in so many runs."""
    import fuzz_cases

    runs, found = 0, True
    while found:
        found = False
        for each in fuzz_cases.smaller(case):
            if runs == most:
                return case, message
            runs += 1
            got = fails(each)
            if got is not None and kind(got) == kind(message):
                case, message, found = each, got, True
                break
    return case, message


def play(case: dict) -> str:
    """`done`, `refused`, or what went wrong, in one line."""
    import fuzz_cases

    try:
        fuzz_cases.play(case)
    except fuzz_cases.Refused:
        return "refused"
    except Exception as error:  # whatever it is, it is what this looks for
        return f"{type(error).__name__}: {' '.join(str(error).split())[:600]}"
    return "done"


def work(seed: int, first: int, step: int, end: int) -> None:
    """Play cases and say so, each before it begins and after it ended."""
    import fuzz_cases

    for number in range(first, end, step):
        case = fuzz_cases.draw(seed, number)
        print(number, case["family"], flush=True)
        print(play(case), flush=True)


class Worker:
    """A process that plays every `step`-th case, started again behind the case that ended it."""

    def __init__(self, command: list[str], first: int, step: int, end: int) -> None:
        self.command, self.next, self.step, self.end = command, first, step, end
        self.counts: Counter[tuple[str, str]] = Counter()
        self.failed: list[tuple[int, str]] = []
        self.process: subprocess.Popen[str] | None = None
        self.stopped = False
        self.thread = Thread(target=self.watch)
        self.thread.start()

    def watch(self) -> None:
        while self.next < self.end and not self.stopped:
            for number, family, result in self.results(min(self.end, self.next + MOST * self.step)):
                self.next = number + self.step
                if result in ("done", "refused"):
                    self.counts[family, result] += 1
                else:
                    self.failed.append((number, result))
                    print(f"case {number}, {family}: {result}", file=sys.stderr, flush=True)

    def results(self, end: int) -> Iterator[tuple[int, str, str]]:
        numbers = [str(each) for each in (self.next, self.step, end)]
        begun = None
        with subprocess.Popen([*self.command, *numbers], stdout=subprocess.PIPE, text=True) as self.process:
            for line in self.process.stdout or ():
                if begun is None:
                    number, family = line.split()
                    begun = int(number), family
                else:
                    yield *begun, line.strip()
                    begun = None
        code = self.process.returncode
        if self.stopped:
            return
        if begun is not None:
            yield *begun, signal.Signals(-code).name if code < 0 else f"SystemExit: {code}"
        elif code:
            self.failed.append((self.next, f"SystemExit: {code} between cases"))
            self.stopped = True

    def stop(self) -> None:
        self.stopped = True
        while self.thread.is_alive():
            if self.process:
                self.process.kill()
            self.thread.join(0.1)


def run(cases: int, seconds: float, seed: int, workers: int) -> int:
    """Play them side by side, and say how far it is; how many failed."""
    command = [sys.executable, __file__, "--work", str(seed)]
    start, team = time.monotonic(), [Worker(command, at, workers, cases) for at in range(workers)]
    shown = 0.0
    try:
        while any(each.thread.is_alive() for each in team) and time.monotonic() - start < seconds:
            for each in team:
                each.thread.join(1 / workers)
            if time.monotonic() - shown < (1 if sys.stderr.isatty() else 60):
                continue
            shown, failed = time.monotonic(), sum(len(each.failed) for each in team)
            done = sum(sum(each.counts.values()) for each in team) + failed
            end = "\r" if sys.stderr.isatty() else "\n"
            print(f"fuzz: {done:,} of {cases:,} cases, {failed} failed", end=end, file=sys.stderr, flush=True)
    finally:
        for each in team:
            each.stop()
    counts = sum((each.counts for each in team), Counter[tuple[str, str]]())
    for family in sorted({family for family, _ in counts}):
        print(f"{family:<12} {counts[family, 'done']:>8,} agree, {counts[family, 'refused']:>7,} are refused by both")
    failures = sorted(each for worker in team for each in worker.failed)
    print(
        f"{sum(counts.values()) + len(failures):,} cases of seed {seed} in {time.monotonic() - start:.0f} s; ", end=""
    )
    print(f"{len(failures)} failed")
    for number, message in failures[:5]:
        report(seed, number, message)
    return len(failures)


def report(seed: int, number: int, message: str) -> None:
    """Shrink it, and print the line that runs it again."""
    import fuzz_cases

    case, message = shrink(fuzz_cases.draw(seed, number), message)
    print(f"\ncase {number} of seed {seed}: {message}\nmake fuzz CASE='{json.dumps(case)}'", flush=True)


def main() -> int:
    """Play cases, or one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=20_000, help="how many; default: 20000")
    parser.add_argument("--seconds", type=float, default=600, help="for how long at most; default: 600")
    parser.add_argument("--seed", type=int, default=1, help="of what is drawn; default: 1")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes; default: one for each core")
    parser.add_argument("--case", help="play this one alone")
    parser.add_argument("--quiet", action="store_true", help="say no more than how it fails")
    parser.add_argument("--work", type=int, nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parent.parent))
    if args.work:
        work(*args.work)
        return 0
    if args.case:
        result = play(json.loads(args.case))
        if result in ("done", "refused") and args.quiet:
            return 0
        print(result)
        return result not in ("done", "refused")
    return run(args.cases, args.seconds, args.seed, args.workers) != 0


if __name__ == "__main__":
    sys.exit(main())
