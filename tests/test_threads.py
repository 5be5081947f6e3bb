"""Several Python threads at once, and a fork: calls share compiled code and kept workspaces, never memory in use."""

import multiprocessing
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import oracle
import pytest
from cases import values
from fastconv.kernels.team import BUSY, JOINED
from subprocesses import run_python

import fastconv
from fastconv import ndimage

PROBLEMS = [
    (
        values((1, c, h, 9 + h), dtype, h),
        values((o, c, 3, 2), dtype, h + 1),
        {"stride": 1 + h % 2, "padding_mode": h % 3},
    )
    for h, (c, o) in enumerate([(1, 1), (3, 5), (8, 2), (2, 9), (5, 4)], start=5)
    for dtype in ("f4", "f8", "u1")
]


def at_once(count, work):
    """`work(i)` on as many threads, which begin together; what one raises is raised here."""
    start = threading.Barrier(count)

    def begin(i):
        start.wait()
        work(i)

    with ThreadPoolExecutor(count) as pool:
        for done in [pool.submit(begin, i) for i in range(count)]:
            done.result()


def test_threads_do_not_disturb_each_other():
    expected = [oracle.correlate(x, w, **options) for x, w, options in PROBLEMS]

    def work(first):
        for turn in range(60):
            i = (first + turn) % len(PROBLEMS)
            x, w, options = PROBLEMS[i]
            oracle.check(fastconv.correlate2d(x, w, **options), expected[i], f"problem {i}")
            best, _ = fastconv.max_pool2d(x, 2, return_indices=True)
            np.testing.assert_array_equal(best, oracle.max_pool(x, 2)[0])
            if turn % 20 == 0:
                fastconv.release_workspace()

    at_once(8, work)


# Enough work to be shared: few large slabs, many small ones, few channels, one plane, strides, a reduction in blocks.
LARGE = {
    "one slab": ((1, 96, 14, 14), (96, 96, 3, 3), {"padding_mode": 1}),
    "many slabs": ((2, 16, 70, 70), (32, 16, 3, 3), {"padding_mode": "same", "boundary": "wrap"}),
    "groups": ((1, 64, 40, 40), (64, 4, 3, 3), {"groups": 16, "stride": 2, "padding_mode": 1, "activation": "relu"}),
    "depthwise": ((3, 48, 60, 60), (48, 1, 5, 5), {"groups": 48, "padding_mode": 2}),
    "steps": ((1, 56, 112, 112), (56, 1, 3, 3), {"groups": 56, "stride": 2, "padding_mode": 1}),
    "plane": ((1, 1, 400, 500), (1, 1, 7, 7), {"padding_mode": 3}),
    "small images": ((6000, 1, 8, 8), (2, 1, 3, 3), {}),
    "images": ((8, 300, 7, 7), (48, 300, 3, 3), {"padding_mode": 1}),
    "blocks": ((2, 600, 10, 10), (12, 600, 3, 3), {"dilation": 2}),
}


@pytest.fixture
def threads():
    """Put back what a test sets."""
    before = fastconv.get_num_threads()
    yield
    fastconv.set_num_threads(before)


def large(name, dtype="f4"):
    x, w, options = LARGE[name]
    return values(x, dtype), values(w, dtype, 1), {**options, "bias": values((w[0],), dtype, 2)}


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("name", LARGE)
def test_the_same_bits_from_any_number_of_threads_and_any_batch(threads, name, dtype):
    x, w, options = large(name, dtype)
    fastconv.set_num_threads(1)
    expected = fastconv.correlate2d(x, w, **options)
    for count in (2, 3, 8):
        fastconv.set_num_threads(count)
        np.testing.assert_array_equal(fastconv.correlate2d(x, w, **options), expected)
        for n in range(x.shape[0]):
            np.testing.assert_array_equal(fastconv.correlate2d(x[n : n + 1], w, **options), expected[n : n + 1])


@pytest.mark.parametrize("pool", ["max_pool2d", "avg_pool2d", "indices"])
def test_pools_have_the_same_bits_from_any_number_of_threads(threads, pool):
    options = {"return_indices": True} if pool == "indices" else {}
    function = getattr(fastconv, "max_pool2d" if pool == "indices" else pool)
    planes = values((5, 67, 33, 41), "f4")
    for x, kernel, stride in ((planes, 3, 2), (planes, (33, 41), 1), (np.moveaxis(planes, -1, 1), 2, 1)):
        fastconv.set_num_threads(1)
        expected = function(x, kernel, stride=stride, **options)
        for count in (2, 3, 8):
            fastconv.set_num_threads(count)
            np.testing.assert_array_equal(function(x, kernel, stride=stride, **options), expected)


def test_large_calls_from_many_threads_at_once(threads):
    fastconv.set_num_threads(1)
    problems = [large(name) for name in LARGE]
    expected = [fastconv.correlate2d(x, w, **options) for x, w, options in problems]
    fastconv.set_num_threads(2)

    def work(first):
        for turn in range(20):
            i = (first + turn) % len(problems)
            x, w, options = problems[i]
            np.testing.assert_array_equal(fastconv.correlate2d(x, w, **options), expected[i])

    at_once(6, work)


# Steps of all kinds: taps and folds, in pairs and alone, in place, windows, settled sums, groups that lie side by side.
FILTERED = [
    ("gaussian_filter", (301, 400), "f4", (2.0,)),
    ("gaussian_filter", (201, 200, 3), "u1", (2.0, (0, 1, 0))),
    ("gaussian_filter", (40, 50, 61), "f8", (1.0,)),
    ("uniform_filter", (301, 400), "u1", (31,)),
    ("maximum_filter", (40, 50, 61), "u1", ((3, 15, 9),)),
    ("sobel", (301, 400), "u1", ()),
    ("correlate", (301, 400), "f4", (np.arange(35.0).reshape(7, 5),)),
    ("correlate", (301, 400), "u1", (np.arange(9).reshape(3, 3) / 36,)),
    ("grey_dilation", (301, 400), "u1", (None, np.eye(7))),
]


def filtered(i):
    name, shape, dtype, arguments = FILTERED[i]
    x = values(shape, dtype, i)
    return [getattr(ndimage, name)(x, *arguments), getattr(ndimage, name)(x, *arguments, output=x)]


def test_filters_have_the_same_bits_from_any_number_of_threads(threads):
    for i in range(len(FILTERED)):
        fastconv.set_num_threads(1)
        expected = filtered(i)
        for count in (2, 3):
            fastconv.set_num_threads(count)
            np.testing.assert_array_equal(filtered(i), expected, err_msg=FILTERED[i][0])


def test_filters_from_many_threads_at_once(threads):
    fastconv.set_num_threads(1)
    expected = [filtered(i) for i in range(len(FILTERED))]
    fastconv.set_num_threads(2)

    def work(first):
        for turn in range(2 * len(FILTERED)):
            i = (first + turn) % len(FILTERED)
            np.testing.assert_array_equal(filtered(i), expected[i], err_msg=FILTERED[i][0])

    at_once(6, work)


def test_long_and_short_calls_from_many_threads_at_once(threads, monkeypatch):
    x, w, options = large("many slabs")
    fastconv.set_num_threads(1)
    expected = fastconv.correlate2d(x, w, **options)
    fastconv.set_num_threads(2)
    monkeypatch.setattr(fastconv.team, "_LONG", 0)

    def work(first):
        for turn in range(20):
            fastconv.team._LONG = (
                0 if (first + turn) % 3 else float("inf")
            )  # from 0 on, a call is made as long ones are
            np.testing.assert_array_equal(fastconv.correlate2d(x, w, **options), expected)

    at_once(6, work)


def test_helpers_come_and_others_are_not_asked(threads):
    x, w, options = large("many slabs")
    fastconv.set_num_threads(4)
    expected = fastconv.correlate2d(x, w, **options)
    team = fastconv.team._teams["fastconv"]
    end = time.monotonic() + 60
    while team.words[JOINED] == 0 and time.monotonic() < end:  # they may be late, not every time
        fastconv.correlate2d(x, w, **options)
    assert team.words[JOINED] > 0
    fastconv.set_num_threads(2)  # three helpers may still be looking: one of them has a part of the workspace
    for _ in range(50):
        np.testing.assert_array_equal(fastconv.correlate2d(x, w, **options), expected)


@pytest.fixture
def sleepers(threads):
    """Calls large enough for two threads, and waits until the helpers sleep that come: all of them."""
    x, w, options = large("many slabs")
    fastconv.set_num_threads(2)

    def call():
        fastconv.correlate2d(x, w, **options)
        helpers, end = fastconv.team._teams["fastconv"]._helpers, time.monotonic() + 60
        while time.monotonic() < end and not (helpers and all(helper.is_asleep() for helper in helpers)):
            time.sleep(1e-3)
        return helpers

    call()
    return call


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no thread can be moved here")
def test_helpers_wake_where_their_caller_may_run_and_does_not(sleepers, monkeypatch):
    monkeypatch.setattr(fastconv.team, "_WORTH", 0)

    def from_processors(places):
        os.sched_setaffinity(0, places)
        return [os.sched_getaffinity(helper.thread) for helper in sleepers()[:1]]

    may = os.sched_getaffinity(0)
    with ThreadPoolExecutor(1) as pool:  # another thread, whose places are its own
        assert pool.submit(from_processors, {max(may)}).result() == [{max(may)}]
        (there,) = pool.submit(from_processors, may).result()
    assert there <= may and len(there) == max(len(may) - 1, 1)


def test_helpers_that_missed_a_call_are_moved_once(sleepers, monkeypatch):
    moved = []
    monkeypatch.setattr(fastconv.team, "_move_elsewhere", lambda helpers: moved.append(list(helpers)))
    monkeypatch.setattr(fastconv.team, "_WORTH", float("inf"))
    helper = sleepers()[0]
    assert not moved  # they were asleep, which does not show that they would be late
    monkeypatch.setattr(fastconv.team._Helper, "wake", lambda self: False)  # as if awake
    team = fastconv.team._teams["fastconv"]
    for joined, expected in ((1, []), (0, [[helper.thread]]), (0, [[helper.thread]])):
        team.words[JOINED] = joined
        team.wake(1, 0.0)
        assert moved == expected


@pytest.mark.parametrize("name", ["sched_getaffinity", "sched_setaffinity"])
@pytest.mark.parametrize("error", [OSError, AttributeError])
def test_helpers_come_where_threads_cannot_be_moved(sleepers, monkeypatch, name, error):
    def refuse(*arguments):
        raise error("refused")

    monkeypatch.setattr(fastconv.team, "_WORTH", 0)
    monkeypatch.setattr(os, name, refuse, raising=False)
    assert sleepers()


def test_pools_of_large_arrays_are_shared_in_small_parts(threads):
    x = np.resize(values((1 << 20) + 7, "f4"), (1, 20, 1 << 10, 1 << 10))  # more parts than four for each thread
    for pool, window in ((fastconv.max_pool2d, 3), (fastconv.avg_pool2d, 1 << 10)):
        results = []
        for count in (1, 2):
            fastconv.set_num_threads(count)
            results.append(pool(x, window))
        np.testing.assert_array_equal(*results)


def test_a_call_does_not_wait_for_the_helpers_of_another(threads):
    x, w, options = large("many slabs")
    fastconv.set_num_threads(2)
    expected = fastconv.correlate2d(x, w, **options)
    words = fastconv.team._teams["fastconv"].words
    words[BUSY] = 1
    np.testing.assert_array_equal(fastconv.correlate2d(x, w, **options), expected)
    assert words[BUSY] == 1
    words[BUSY] = 0
    np.testing.assert_array_equal(fastconv.correlate2d(x, w, **options), expected)


def test_numbers_of_threads(threads):
    fastconv.set_num_threads(3)
    assert fastconv.get_num_threads() == 3
    with fastconv.num_threads(2):
        assert fastconv.get_num_threads() == 2
    assert fastconv.get_num_threads() == 3
    with pytest.raises(RuntimeError, match="stop"), fastconv.num_threads(1):
        raise RuntimeError("stop")
    assert fastconv.get_num_threads() == 3
    with pytest.raises(ValueError, match=r"set_num_threads\(\): n is 0, expected 1 or more"):
        fastconv.set_num_threads(0)
    with pytest.raises(ValueError, match=r"set_num_threads\(\): n is 1000000000, expected 1024 or less"):
        fastconv.set_num_threads(10**9)
    with pytest.raises(ValueError, match=rf"set_num_threads\(\): n is {2**70}, expected 1024 or less"):
        fastconv.set_num_threads(2**70)
    with pytest.raises(TypeError, match=r"set_num_threads\(\): n is 1.5, expected an int"), fastconv.num_threads(1.5):
        pass
    assert fastconv.get_num_threads() == 3


@pytest.mark.parametrize(
    "value, expected", [("3", "3"), ("", None), ("0", "ValueError"), ("two", "ValueError"), ("1025", "ValueError")]
)
def test_the_number_of_threads_that_the_environment_asks_for(value, expected):
    code = "import fastconv\ntry: print(fastconv.get_num_threads())\nexcept ValueError as error: print(error)"
    run = run_python(code, FASTCONV_NUM_THREADS=value)
    if expected == "ValueError":
        assert f"FASTCONV_NUM_THREADS is {value!r}, expected an int from 1 to 1024" in run.stdout
    elif expected is None:
        assert 1 <= int(run.stdout) <= os.cpu_count()
    else:
        assert run.stdout.strip() == expected


def test_no_more_threads_are_started_than_processors_can_use(threads):
    x, w, options = large("many slabs")
    fastconv.set_num_threads(2)
    expected = fastconv.correlate2d(x, w, **options)
    fastconv.set_num_threads(1000)
    np.testing.assert_array_equal(fastconv.correlate2d(x, w, **options), expected)
    assert threading.active_count() + len(fastconv.team._teams["fastconv"]._helpers) < 4 * os.cpu_count() + 20


# Of control groups: what /proc/self/cgroup says, files with what they hold, and how many processors that grants.
GROUPS = {
    "version 2": ("0::/", {"cpu.max": "150000 100000"}, 2),
    "no limit": ("0::/", {"cpu.max": "max 100000"}, None),
    "none": (None, {}, None),
    "nested": (
        "0::/user.slice/one.scope",
        {"user.slice/cpu.max": "300000 100000", "user.slice/one.scope/cpu.max": "max 100000"},
        3,
    ),
    "inner": ("0::/a/b", {"a/cpu.max": "400000 100000", "a/b/cpu.max": "100000 100000"}, 1),
    "version 1": (
        "4:cpu,cpuacct:/\n1:name=systemd:/",
        {"cpu,cpuacct/cpu.cfs_quota_us": "250000", "cpu,cpuacct/cpu.cfs_period_us": "100000"},
        3,
    ),
    "version 1, free": ("4:cpu:/", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
    "version 1 in a container": (
        "4:cpu,cpuacct:/docker/0f",
        {"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"},
        1,
    ),
    "version 1, nested": ("4:cpu:/a/b", {"cpu/a/cpu.cfs_quota_us": "200000", "cpu/a/cpu.cfs_period_us": "100000"}, 2),
    "both versions": ("4:cpu:/a\n0::/c", {"cpu/a/cpu.cfs_quota_us": "200000", "cpu/a/cpu.cfs_period_us": "100000"}, 2),
    "outside of what is seen": ("0::/../c", {"cpu.max": "100000 100000"}, 1),
    "not a number": ("0::/", {"cpu.max": "much"}, None),
}


@pytest.mark.parametrize("groups, held, granted", GROUPS.values(), ids=GROUPS)
def test_what_control_groups_grant(tmp_path, groups, held, granted):
    from fastconv.threads import _UNLIMITED, _quota

    if groups is not None:
        (tmp_path / "listed").write_text(groups + "\n")
    for name, text in held.items():
        (tmp_path / "mounted" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mounted" / name).write_text(text + "\n")
    assert _quota(tmp_path / "listed", tmp_path / "mounted") == (granted or _UNLIMITED)


def test_what_joblib_tells_its_workers_is_obeyed():
    code = "import fastconv; print(fastconv.get_num_threads())"
    assert run_python(code, NUMBA_NUM_THREADS=1, FASTCONV_NUM_THREADS=None).stdout == "1\n"
    assert run_python(code, NUMBA_NUM_THREADS=1, FASTCONV_NUM_THREADS=3).stdout == "3\n"


LIMITED = """
import numpy, fastconv
from threadpoolctl import threadpool_info, threadpool_limits
with threadpool_limits(1):  # the first call comes later
    assert fastconv.get_num_threads() == 1
assert fastconv.get_num_threads() == 2
fastconv.set_num_threads(3)
with threadpool_limits(1):
    assert fastconv.get_num_threads() == 1
    (found,) = (each for each in threadpool_info() if each["user_api"] == "fastconv")
    assert (found["num_threads"], found["version"]) == (1, fastconv.__version__)
with threadpool_limits({"fastconv": 10_000}):
    assert fastconv.get_num_threads() == 1024
with threadpool_limits(1, user_api="blas"):
    assert fastconv.get_num_threads() == 3
assert fastconv.get_num_threads() == 3
"""


def test_limits_of_threadpoolctl_are_obeyed():
    pytest.importorskip("threadpoolctl")
    run_python(LIMITED, FASTCONV_NUM_THREADS=2)


def _child(connection):
    fastconv.set_num_threads(2)
    x, w, options = large("many slabs")
    connection.send(fastconv.correlate2d(x, w, **options))
    connection.close()


@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_computes_too(threads):
    x, w, options = large("many slabs")
    fastconv.set_num_threads(2)
    here = fastconv.correlate2d(x, w, **options)
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_child, args=(theirs,))
    child.start()
    assert ours.poll(60), "no answer from the child"
    np.testing.assert_array_equal(ours.recv(), here)
    child.join(60)
    assert child.exitcode == 0


# Numba's threads around fastconv's. Two Python threads may not enter `prange` at once on "workqueue", which aborts the
# process, and a process that ran it on "omp" may not fork: that is Numba's, so one thread runs it, and none forks.
PRANGE = """
import numba, numpy as np
import fastconv
from fastconv.kernels.team import JOINED

@numba.njit(parallel=True)
def each(x, w, out):
    for n in numba.prange(x.shape[0]):
        with numba.objmode():
            out[n : n + 1] = fastconv.correlate2d(x[n : n + 1], w)

fastconv.set_num_threads(2)
rng = np.random.default_rng(0)
x, w = rng.standard_normal((6, 16, 70, 70), "f4"), rng.standard_normal((32, 16, 3, 3), "f4")
expected = fastconv.correlate2d(x, w)
for _ in range(3):
    out = np.zeros_like(expected)
    each(x, w, out)
    assert (out == expected).all()
print(numba.threading_layer())
"""


@pytest.mark.parametrize("layer", ["workqueue", "omp", "tbb"])
def test_calls_from_the_threads_of_numba(layer):
    done = run_python(PRANGE, check=False, NUMBA_THREADING_LAYER=layer, NUMBA_NUM_THREADS=min(2, os.cpu_count()))
    if "No threading layer could be loaded" in done.stderr:
        pytest.skip(f"Numba has no threading layer {layer} here")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{layer}\n"


MAPS = """
import numpy as np
import fastconv
from fastconv.kernels.team import JOINED
fastconv.set_num_threads(2)
x, w = np.ones((1, 16, 130, 130), "f4"), np.ones((32, 16, 3, 3), "f4")
for algorithm in ("auto", "im2col"):
    fastconv.correlate2d(x, w, algorithm=algorithm)
fastconv.max_pool2d(x, 2)
print(open("/proc/self/maps").read())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc")
def test_openmp_is_not_loaded():
    """A process that used GNU OpenMP cannot fork and compute in the child: fastconv must not be the one that did."""
    done = run_python(MAPS)
    assert "llvmlite" in done.stdout  # the list is one
    for library in ("gomp", "libomp", "iomp", "omppool", "tbb"):
        assert library not in done.stdout
