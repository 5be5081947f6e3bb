"""Calls inside `prange` that are refused: whichever thread makes them, the program is told of it.

Numba drops what threads of its own raise, and returns a result beside what the calling thread raised, a SystemError.
"""

import pytest
from cases import slow
from subprocesses import run_python

BEGIN = """
import sys, threading
from importlib.metadata import entry_points
import numba, numpy as np, fastconv, fastconv.extending
if not any(point.value == "fastconv.extending:init" for point in entry_points(group="numba_extensions")):
    fastconv.extending.init()
numba.config.THREADING_LAYER = sys.argv[1]
RUNS = 25
x, w = np.ones((16, 1, 1, 4, 4), np.float32), np.ones((1, 1, 9, 2), np.float32)
WORDS = "correlate2d(): the kernel is larger than the padded input on spatial axis 0"

@numba.njit(parallel=True)
def correlate(x, w, begin, end, out):
    for i in numba.prange(x.shape[0]):
        fastconv.correlate2d(x[i], w if begin <= i < end else w[:, :, :2], out=out[i])
    return out

@numba.njit(parallel=True)
def total(x, begin, end):
    found = 0.0
    for i in numba.prange(x.shape[0]):
        found += fastconv.max_pool2d(x[i], 9 if begin <= i < end else 2).sum()
    return found

def refused(function, *arguments):
    try:
        function(*arguments)
    except (ValueError, SystemError) as error:
        kind = type(error)
        if kind is ValueError:
            assert str(error).endswith("; raised inside prange, where the results of other calls may be missing, too")
        while error.__cause__ is not None:
            error = error.__cause__
        for _ in range(100):  # it is told once
            pass
        return kind, str(error)
    raise AssertionError("not refused")

def results(dtype=np.float32):
    return np.full((16, 1, 1, 3, 3), 7, dtype)

try:
    correlate(x, w, 0, 0, results())
except ValueError as error:
    assert "No threading layer could be loaded" in str(error), error
    print("no layer")
    sys.exit()
assert (correlate(x, w, 0, 0, results()) == 4).all() and total(x, 0, 0) == 64
"""

EVERY_CALL = """
for begin, end in ((0, 1), (5, 6), (15, 16), (0, 16)):
    for _ in range(RUNS):
        out = results()
        kind, text = refused(correlate, x, w, begin, end, out)
        assert kind is SystemError or text.startswith(WORDS), text
        assert (np.isin(out, (4, 7)) | np.isnan(out)).all(), out
        assert kind is SystemError or np.isnan(out[begin:end]).any(), out
        kind, text = refused(total, x, begin, end)
        assert kind is SystemError or text.startswith("max_pool2d(): the window is larger"), text
    assert (correlate(x, w, 0, 0, results()) == 4).all() and total(x, 0, 0) == 64
"""

INTEGERS = """
out = results(np.int16)
kind, text = refused(correlate, x.astype(np.int16), w.astype(np.int16), 15, 16, out)
assert kind is SystemError or (out[15] == 32767).all()
"""

NO_INPUT_CHANGES = """
@numba.njit(parallel=True)
def onto_itself(x, w):
    for i in numba.prange(x.shape[0]):
        fastconv.correlate2d(x[i], w, out=x[i])
    return 1

same = np.arange(16 * 16, dtype=np.float32).reshape(16, 1, 1, 4, 4)
kind, text = refused(onto_itself, same, w[:, :, :1, :1])
assert kind is SystemError or "out overlaps x" in text, text
assert (same.ravel() == np.arange(256)).all()
"""

BETWEEN_ELEMENTS = """
@numba.njit(parallel=True)
def beside(pairs, w):
    for i in numba.prange(pairs.shape[0]):
        fastconv.correlate2d(pairs[i, ..., 0], w, out=pairs[i, ..., 1])
    return 1

pairs = np.ones((16, 1, 1, 4, 4, 2), np.float32)
beside(pairs, 2 * w[:, :, :1, :1])
assert (pairs[..., 1] == 2).all() and (pairs[..., 0] == 1).all()
"""

IN_ANOTHER_THREAD = """
def from_another_thread():
    outcomes = []

    def work():
        try:
            outcomes.append(total(x, 15, 16))
        except SystemError as error:
            outcomes.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    for _ in range(100):
        pass
    if isinstance(outcomes[0], SystemError):
        raise outcomes[0]

for _ in range(RUNS):
    refused(from_another_thread)
"""


MORE = INTEGERS + NO_INPUT_CHANGES + BETWEEN_ELEMENTS


@pytest.mark.parametrize("layer, has_more", [("workqueue", False), slow(("workqueue", True)), slow(("omp", True))])
def test_a_refused_call_in_prange(layer, has_more):
    """All in one process, for all share what it compiles."""
    code = BEGIN + EVERY_CALL + MORE * has_more + IN_ANOTHER_THREAD
    # Where an error cannot be told yet, CPython asks at each check of its loop: too often for what traces lines.
    done = run_python(code, layer, NUMBA_NUM_THREADS=2, COVERAGE_PROCESS_CONFIG=None)
    if done.stdout == "no layer\n":
        pytest.skip(f"there is no {layer} here")
    assert "ignored" not in done.stderr
