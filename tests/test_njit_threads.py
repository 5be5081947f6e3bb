"""Callers that many threads compile at once, the first ones of their process."""

import pytest
from subprocesses import run_python

AT_ONCE = """
import threading
import numba, numpy as np, fastconv, fastconv.extending
from importlib.metadata import entry_points
if not any(point.value == "fastconv.extending:init" for point in entry_points(group="numba_extensions")):
    fastconv.extending.init()
{before}

def caller(i):
    if i % 2:
        return numba.njit(lambda x: fastconv.extract_patches(x, (2,)))
    return numba.njit(lambda x: fastconv.im2col(x.reshape(1, 1, 4), 2)[0])

def work(i):
    function = caller(i)
    start.wait()
    try:
        results[i] = function(np.arange(4.0)).tolist()
    except BaseException as error:
        results[i] = repr(error)

count = 10
start, results = threading.Barrier(count), [None] * count
threads = [threading.Thread(target=work, args=(i,)) for i in range(count)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert results == [[[0, 1, 2], [1, 2, 3]]] * count, results
"""


@pytest.mark.parametrize("before", ["", "fastconv.im2col, fastconv.extract_patches"], ids=["unknown", "known"])
def test_callers_compiled_by_many_threads_at_once(before):
    run_python(AT_ONCE.format(before=before))
