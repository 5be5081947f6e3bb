"""The command that looks for failures finds those that are planted, and none else."""

import json
import math
import sys
from pathlib import Path

import pytest
from fuzz import Worker
from subprocesses import run, run_python

HERE = Path(__file__).parent
PLANTED = """
import json, sys
sys.path.insert(0, {here!r})
import fuzz, fuzz_cases, fastconv

def planted(x, kernel_size, **options):
    out = right(x, kernel_size, **options)
    if out.size > 40:
        out.reshape(-1)[37] += 1
    return out

right, fastconv.im2col = fastconv.im2col, planted
drawn = (fuzz_cases.draw(1, each) for each in range(4000))
cases = (each for each in drawn if (each["family"], each.get("name")) == ("patches", "im2col"))

def fails(case):
    return None if (message := fuzz.play(case)) in ("done", "refused") else message

case, message = next((case, message) for case in cases if (message := fails(case)))
case, message = fuzz.shrink(case, message, fails)
print(json.dumps([case, message]))
"""
# A worker that dies in its second case, and again of something else in the one after.
DYING = """
import os, signal, sys
first, step, end = map(int, sys.argv[1:])
for number in range(first, end, step):
    print(number, "pool", flush=True)
    if number == 5:
        os.kill(os.getpid(), signal.SIGSEGV)
    if number == 8:
        print("AssertionError: wrong", flush=True)
        continue
    print("done", flush=True)
"""


@pytest.mark.slow
def test_a_planted_error_is_found_and_shrunk():
    case, message = json.loads(run_python(PLANTED.format(here=str(HERE))).stdout)
    assert message.startswith("AssertionError") and "elements" in message
    assert case["name"] == "im2col" and set(case["views"]) == {"contiguous"}
    assert math.prod(case["x"]) <= 50, f"not shrunk: {case}"


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_worker_that_dies_is_started_again_behind_its_case(tmp_path):
    script = tmp_path / "dying.py"
    script.write_text(DYING)
    worker = Worker([sys.executable, str(script)], 2, 3, 15)
    worker.thread.join()
    assert worker.failed == [(5, "SIGSEGV"), (8, "AssertionError: wrong")]
    assert worker.counts == {("pool", "done"): 3}


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_a_fixed_set_of_cases():
    done = run(HERE / "fuzz.py", "--cases", "400", "--seed", "0", "--seconds", "2400", timeout=2900, check=False)
    assert done.returncode == 0, done.stdout
    assert "400 cases of seed 0" in done.stdout and "; 0 failed" in done.stdout


MIXED = """
import random, sys, threading, time
sys.path.insert(0, {here!r})
import fuzz_cases, fuzz_drop_ins, fastconv, numpy as np

calls = []
def note(case, expected, function, *arguments, **options):
    if isinstance(options.get("output"), np.ndarray):
        options["output"] = options["output"].dtype
    calls.append((function, arguments, {{name: value for name, value in options.items() if name != "out"}}))
    raise fuzz_cases.Refused

def outcome(function, arguments, options):
    try:
        got = function(*arguments, **options)
    except ValueError as error:
        return str(error)
    return [(each.dtype, each.shape, each.tobytes()) for each in (got if isinstance(got, tuple) else (got,))]

def work(thread):
    pick = random.Random(thread)
    while time.monotonic() < end:
        if pick.random() < 0.1:
            fastconv.set_num_threads(pick.randint(1, 4))
        if pick.random() < 0.1:
            fastconv.release_workspace()
        i = pick.randrange(len(calls))
        found.append((i, outcome(*calls[i])))

fuzz_cases.call = fuzz_drop_ins.call = note
for number in range({cases}):
    try:
        fuzz_cases.play(fuzz_cases.draw({seed}, number))
    except fuzz_cases.Refused:
        pass
found, end = [], time.monotonic() + {seconds}
threads = [threading.Thread(target=work, args=(thread,)) for thread in range(32)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert len(found) >= 32  # no thread has ended before its first result
fastconv.set_num_threads(1)
alone = {{i: outcome(*calls[i]) for i in {{i for i, _ in found}}}}
assert all(got == alone[i] for i, got in found)
"""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_threads_that_mix_all_functions_have_the_results_of_one():
    """First calls, compiled callers, errors, other numbers of threads and released workspaces among them."""
    run_python(MIXED.format(here=str(HERE), cases=40, seed=5, seconds=5), timeout=280)
