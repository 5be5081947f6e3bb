"""Processes that others start, by a fork while another thread imports, compiles or computes, or anew; and their end."""

import sys

import pytest
from subprocesses import run, run_python

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no fork")

FORKS = """
import os, signal, sys, threading, time, warnings
import numpy as np
import fastconv

warnings.simplefilter("ignore")  # of forks with threads
x, w = np.arange(9.0).reshape(1, 1, 9), np.ones((1, 1, 3))
large, kernel = np.ones((1, 32, 40, 40), "f4"), np.ones((32, 32, 3, 3), "f4")
fastconv.set_num_threads(2)

def first_calls():
    for dtype in sys.argv[1].split():
        assert fastconv.max_unpool1d(np.ones((1, 1, 2), dtype), np.array([[[0, 3]]]), 2).tolist() == [[[1, 0, 0, 1]]]
    stop.set()

def large_calls():
    while not stop.is_set():
        check_large()

def check_large():
    assert (abs(fastconv.correlate2d(large, kernel) - 288) < 1e-2).all()

def child():
    signal.alarm(900)  # one that hangs dies
    first_calls()
    if work is not first_calls:
        check_large()

def fork():
    pid = os.fork()
    if pid == 0:
        try:
            child()
            os._exit(0)
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
    return pid

def first_large_call():
    check_large()
    stop.set()

stop = threading.Event()
work = {"first": first_calls, "large": large_calls, "first large": first_large_call}[sys.argv[2]]
if work is large_calls:
    check_large()
thread = threading.Thread(target=work)
thread.start()
children = []
for _ in range(int(sys.argv[3])):
    time.sleep(float(sys.argv[4]))
    children.append(fork())
    if stop.is_set():
        break
stop.set()
thread.join()
states = [os.waitpid(pid, 0)[1] for pid in children]
assert not any(states), states
assert fastconv.max_unpool1d(np.ones((1, 1, 2)), np.array([[[0, 3]]]), 2).tolist() == [[[1, 0, 0, 1]]]
print(len(children))
"""


def test_forks_while_another_thread_compiles(tmp_path):
    done = run_python(FORKS, "f8 f4", "first", 3, 0.8, NUMBA_CACHE_DIR=tmp_path)
    assert int(done.stdout) >= 1


def test_forks_while_another_thread_reads_compiled_code():
    done = run_python(FORKS, "f8 f4 i2", "first", 8, 0.15)
    assert int(done.stdout) >= 1


def test_forks_while_another_thread_imports_kernels():
    assert int(run_python(FORKS, "f8", "first", 5, 0.06).stdout) >= 1


def test_forks_while_another_thread_makes_its_first_large_call():
    assert int(run_python(FORKS, "f8", "first large", 5, 0.25).stdout) >= 1


def test_forks_while_helpers_compute():
    assert run_python(FORKS, "f8", "large", 6, 0.02).stdout == "6\n"


STARTED = """
import multiprocessing, sys
from concurrent.futures import ProcessPoolExecutor
import numpy as np
import fastconv

def work(seed):
    random = np.random.default_rng(seed)
    x, w = (random.standard_normal(shape).astype("f4") for shape in ((2, 24, 30, 31), (33, 24, 3, 3)))
    return fastconv.correlate2d(x, w, padding=1).tobytes()

if __name__ == "__main__":
    fastconv.set_num_threads(2)
    want = [work(seed) for seed in range(4)]  # threads run when the others are started
    with ProcessPoolExecutor(2, multiprocessing.get_context(sys.argv[1])) as pool:
        print(list(pool.map(work, range(4))) == want)
"""


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_processes_of_a_pool_have_the_same_bits(tmp_path, method):
    script = tmp_path / "started.py"
    script.write_text(STARTED)
    assert run(script, method).stdout == "True\n"


ENDED = """
import threading, time
import numpy as np
import fastconv

def work():
    while True:
        fastconv.correlate2d(x, w)
        calls.append(1)

x, w, calls = np.ones((1, 32, 64, 64), "f4"), np.ones((32, 32, 3, 3), "f4"), []
fastconv.set_num_threads(2)
for _ in range(3):
    threading.Thread(target=work, daemon=True).start()
while len(calls) < 20:
    time.sleep(0.01)
"""


def test_a_process_ends_while_daemon_threads_call():
    for _ in range(3):
        assert run_python(ENDED).stderr == ""
