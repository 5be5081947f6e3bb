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
