"""Times of one commit of fastconv beside those of a fixed version, in turns: a machine does the same to both.

Two processes take turns of a few milliseconds. What counts is the ratio of the shortest turns, which other work on the
machine only lengthens, over rounds that are spread over the whole measurement. Each has arrays of its own: where in
memory they lie makes differences of a tenth, too.
"""

import gc
import io
import itertools
import math
import os
import pickle
import random
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np

import fastconv

ROOT = Path(__file__).parent.parent
# Ratios to another version make another curve: its name is part of the benchmarks' versions.
REFERENCE = os.environ.get("FASTCONV_BENCHMARKS_REFERENCE", "4441e30c0c874f11fc94a19276328df44e866c85")
MATRIX_SIZE = 384  # three of them in float64 lie in a cache of 3 MB; larger ones take no less time for each product

GROUPS = 3  # of rounds: each gives a ratio, and their spread is the uncertainty
ROUNDS = int(os.environ.get("FASTCONV_BENCHMARKS_ROUNDS", "6"))
MOST_ROUNDS = 3 * ROUNDS
TURNS, SECONDS, SLOW = 4, 0.004, 0.008  # of a round; of a turn; a call that takes longer has turns of one call
STEADY = 0.03  # rounds are added where the groups differ by more


def sources(commit):
    """A folder with fastconv as a commit has it."""
    folder = ROOT / ".asv" / "reference" / commit
    if not folder.exists():
        command = ["git", "archive", commit, "fastconv", "kernels"]
        archive = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout
        part = folder.with_name(f"{commit}.{os.getpid()}")
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            tar.extractall(part, filter="data")
        part.rename(folder)
    return folder


def environment():
    """Of a process that imports fastconv from its working folder."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("ASV_")}
    variables["PYTHONPATH"] = str(ROOT)
    if "ASV_COMMIT" in os.environ:  # whose own kernels are in a folder that goes with it
        variables["NUMBA_CACHE_DIR"] = str(ROOT / ".asv" / "reference" / "kernels")
    return variables


def best_seconds(call, budget=0.05, least=3):
    """Time of the fastest of several calls, as many as fit into so many seconds, and a few at the least."""
    times, end = [], time.perf_counter() + budget
    while len(times) < least or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


class Here:
    """Calls in this process, on so many threads, of an algorithm other than the case's where one is named."""

    def __init__(self, threads=1, algorithm=None):
        self.threads, self.algorithm, self.kept = threads, algorithm, []

    def call_of(self, case):
        return (case._replace(algorithm=self.algorithm) if self.algorithm else case).call()

    def use_threads(self):
        """Whether this commit can; the first ones knew one thread only."""
        if not hasattr(fastconv, "set_num_threads"):
            return self.threads == 1
        fastconv.set_num_threads(self.threads)
        return True

    def offers(self, case):
        """Whether this commit has the function of a case, and takes its options; compiles."""
        try:
            self.call_of(case)()
        except (AttributeError, ImportError, ValueError, TypeError):
            return False
        return self.use_threads()

    def prepare(self, case):
        """Arrays at other addresses than those of the last rounds, which are kept until then."""
        self.use_threads()
        getattr(fastconv, "release_workspace", bool)()
        call = self.call_of(case)
        self.kept = [*self.kept[-4:], np.empty(random.randrange(1 << 20), np.uint8), (call, call())]
        self.take(call)

    def take(self, call):
        seconds = best_seconds(call, 0, 1)
        if seconds < SLOW:  # else the first call was one of many, whatever it did for the first time
            seconds = best_seconds(call, 0, 2)
        self.call, self.number = call, max(1, round(2e-4 / seconds))
        self.least = 2 if seconds < SLOW else 1

    def seconds(self):
        """Of the fastest call, or of short calls in a row, in one turn."""
        call, number = self.call, self.number
        self.use_threads()

        def calls():
            for _ in itertools.repeat(None, number):
                call()

        return best_seconds(calls, SECONDS if self.least > 1 else 0, self.least) / number

    def allocation(self, case):
        from .common import allocation

        self.use_threads()
        return allocation(self.call_of(case))


class Yardstick(Here):
    """The machine's best at what a call consists of: as much in NumPy's matrix product, or a copy."""

    def prepare(self, case):
        self.share = case.macs / MATRIX_SIZE**3 if hasattr(case, "macs") else 1
        if hasattr(case, "macs"):
            self.take(matrix_product(case.dtype))
        else:
            self.take(copy((math.prod(case.x) * np.dtype(case.dtype).itemsize + case.call()().nbytes) // 2))

    def seconds(self):
        return super().seconds() * self.share


class Elsewhere:
    """Calls of the fixed version, or of another folder's, in a process of its own."""

    def __init__(self, threads=1, folder=None):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "asv_benchmarks.turns", str(threads)],
            cwd=folder or sources(REFERENCE),
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()

    def ask(self, name, *arguments):
        pickle.dump((name, arguments), self.process.stdin)
        self.process.stdin.flush()
        return pickle.load(self.process.stdout)

    def offers(self, case):
        return self.ask("offers", case)

    def prepare(self, case):
        return self.ask("prepare", case)

    def seconds(self):
        return self.ask("seconds")

    def allocation(self, case):
        return self.ask("allocation", case)


def matrix_product(dtype):
    """A call that no commit can change: NumPy's product of two matrices, `MATRIX_SIZE ** 3` multiply-accumulates."""
    a, b = np.random.default_rng(0).standard_normal((2, MATRIX_SIZE, MATRIX_SIZE)).astype(dtype)
    out = np.empty_like(a)
    return lambda: np.matmul(a, b, out=out)


def copy(size):
    """A call that no commit can change: so many bytes read and as many written."""
    source, target = np.ones((2, max(size, 8) // 8))
    return lambda: np.copyto(target, source)


def a_round(case, sides):
    """The shortest turn of each side in a round."""
    for side in sides:
        side.prepare(case)
    best = [side.seconds() for side in sides]
    for _ in range(TURNS - 1 if best[0] < SLOW else 1):
        best = [min(turn, side.seconds()) for turn, side in zip(best, sides)]
    return best


def in_groups(rounds):
    """For each group the shortest turn of each side; neighbouring rounds are in different groups."""
    return [[min(side) for side in zip(*rounds[first::GROUPS])] for first in range(GROUPS)]


def ratios(rounds):
    """The first side over the fastest of the others, by group."""
    return [first / min(others) for first, *others in in_groups(rounds)]


def is_done(rounds):
    """Whether there are enough, of slow calls one for each group: where the groups do not agree yet, more are taken."""
    if not rounds or len(rounds) < (ROUNDS if rounds[0][0] < SLOW else GROUPS) or len(rounds) % GROUPS:
        return False
    found = ratios(rounds)
    return len(rounds) >= MOST_ROUNDS or max(found) < (1 + STEADY) * min(found)


def measure_times(sides):
    """By case, given its sides: `ratio` and `time` of the first, with samples as asv keeps statistics of."""
    rounds = {case: [] for case in sides}
    while todo := [case for case in sides if not is_done(rounds[case])]:
        gc.collect()
        for case in todo:
            rounds[case].append(a_round(case, sides[case]))
    times = {case: [first for first, *_ in in_groups(each)] for case, each in rounds.items()}
    return {
        case: {"ratio": {"samples": ratios(each), "number": 1}, "time": {"samples": times[case], "number": 1}}
        for case, each in rounds.items()
    }


def main():
    """Answer until the asking process is gone. What prints, prints on stderr."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    side = Here(int(sys.argv[1]))
    while True:
        try:
            name, arguments = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        pickle.dump(getattr(side, name)(*arguments), answers)
        answers.flush()


if __name__ == "__main__":
    # As a module of its name, so that both processes mean the same classes.
    from asv_benchmarks import turns

    turns.main()
