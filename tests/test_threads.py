"""Several Python threads at once, and a fork: calls share compiled code and kept workspaces, never memory in use."""

import multiprocessing
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import oracle
import pytest
from cases import values

import fastconv

PROBLEMS = [
    (
        values((1, c, h, 9 + h), dtype, h),
        values((o, c, 3, 2), dtype, h + 1),
        {"stride": 1 + h % 2, "padding_mode": h % 3},
    )
    for h, (c, o) in enumerate([(1, 1), (3, 5), (8, 2), (2, 9), (5, 4)], start=5)
    for dtype in ("f4", "f8", "i2")
]


def test_threads_do_not_disturb_each_other():
    expected = [oracle.correlate(x, w, **options) for x, w, options in PROBLEMS]
    start = threading.Barrier(8)

    def work(first):
        start.wait()
        for turn in range(60):
            i = (first + turn) % len(PROBLEMS)
            x, w, options = PROBLEMS[i]
            oracle.check(fastconv.correlate2d(x, w, **options), expected[i], f"problem {i}")
            best, _ = fastconv.max_pool2d(x, 2, return_indices=True)
            np.testing.assert_array_equal(best, oracle.max_pool(x, 2)[0])
            if turn % 20 == 0:
                fastconv.release_workspace()

    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(work, i) for i in range(8)]:
            done.result()


def _child(connection):
    x, w, options = PROBLEMS[0]
    connection.send(fastconv.correlate2d(x, w, **options))
    connection.close()


@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_computes_too():
    x, w, options = PROBLEMS[0]
    here = fastconv.correlate2d(x, w, **options)
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_child, args=(theirs,))
    child.start()
    assert ours.poll(60), "no answer from the child"
    np.testing.assert_array_equal(ours.recv(), here)
    child.join(60)
    assert child.exitcode == 0
