"""No access outside an array, no write to an input, no copy of the input, nothing allocated beside ``out``."""

import gc
import signal
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from cases import slow, values
from subprocesses import run

import fastconv
from fastconv import functional, grad, ndimage

HERE = Path(__file__).parent
WORKSPACE = 2 << 20  # bytes that a call may take beside its output

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mprotect through the C library of Linux")

GUARDED = [f"{calls}-direct" for calls in ("convolution", "outputs")] + ["unpools"]
MORE = [f"{calls}-im2col" for calls in ("convolution", "outputs")]
MORE += ["patches", "filters", "pools"]  # beside patch_boxes, patch_lines, ndimage and pool_vectors below
GUARDED += map(slow, [*(f"{case}-more" for case in GUARDED + MORE), *MORE])
GUARDED += ["blocks-f4", *(slow(f"blocks-{dtype}") for dtype in ("f2", "c16", "i8"))]
GUARDED += ["depthwise-f4", *(slow(f"depthwise-{dtype}") for dtype in ("f8", "f2", "i4"))]
GUARDED += ["grouped-f4", *(slow(f"grouped-{dtype}") for dtype in ("f8", "c8", "f2"))]
GUARDED += ["fft_tiles-f4", slow("fft_tiles-f8")]
GUARDED += ["tiled-f4", slow("tiled-f8"), slow("tiled-u1-f4")]
GUARDED += ["pool_vectors-f4", *(slow(f"pool_vectors-{dtype}") for dtype in ("f8", "u1", "i1"))]
GUARDED += ["patch_boxes-f4", *(slow(f"patch_boxes-{dtype}") for dtype in ("u1", "f8", "f2", "c16"))]
GUARDED += ["patch_lines-f4", *(slow(f"patch_lines-{dtype}") for dtype in ("u1", "f2", "c16"))]
# Read as another dtype:
GUARDED += ["blocks-u1-f4", *map(slow, ["depthwise-u1-f4", "grouped-u1-f4", "converted_pools"])]
GUARDED += ["transformed-f4", slow("transformed-f8"), slow("transformed-c8"), slow("transformed-u1-f4")]
GUARDED += [slow("depthwise-f4-f8"), slow("grouped-f4-f8")]
GUARDED += ["ndimage-f4", *(slow(f"ndimage-{dtypes}") for dtypes in ("u1", "f8", "i2", "u1-f4", "f4-i2"))]
GUARDED += ["transposed-f4", slow("transposed-f8")]
GUARDED += ["weights-f4", *(slow(f"weights-{dtype}") for dtype in ("f2", "f8", "c8", "i8"))]


def guarded(case):
    return run(HERE / "guarded.py", case, check=False)


@linux
@pytest.mark.parametrize("fault", ["read_after", "read_before", "write_after", "write_read_only"])
def test_the_guard_catches(fault):
    done = guarded(fault)
    assert done.returncode in (-signal.SIGSEGV, -signal.SIGBUS), f"{fault} went unnoticed: {done.stdout}{done.stderr}"


@linux
@pytest.mark.parametrize("case", GUARDED)
def test_nothing_outside_the_arrays_is_touched(case):
    done = guarded(case)
    last = (done.stdout.splitlines() or ["nothing was run"])[-1]
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        pytest.fail(f"{case}: {name}, an access outside an array or a write to an input, at: {last}\n{done.stderr}")
    assert done.returncode == 0, f"{case} failed at: {last}\n{done.stderr}"
    assert last == "done"


def traced(call):
    """Largest amount of memory above the start while ``call`` runs, as far as Python and NumPy took it."""
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        call()
        call()  # after the collection, which empties the interpreter's lists of objects to use again
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        result = call()
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
        gc.enable()
    return peak, result


@pytest.mark.parametrize(
    "x_shape, w_shape, options",
    [
        ((1, 1, 4, 4), (1, 1, 3, 3), {}),
        ((1, 4, 16, 16), (8, 4, 3, 3), {}),
        ((4, 4, 16, 16), (8, 4, 3, 3), {"padding_mode": 1}),
        ((1, 8, 64, 64), (8, 2, 3, 3), {"groups": 4, "stride": 2, "padding_mode": "same"}),
        ((2, 4, 300), (4, 4, 5), {"dilation": 2, "padding_mode": ((3, 1),), "boundary": "wrap"}),
        ((1, 2, 8, 8, 8), (2, 2, 3, 3, 3), {"bias": np.ones(2, "f4"), "activation": "relu"}),
    ],
    ids=str,
)
@pytest.mark.skipif(sys.gettrace() is not None, reason="what traces lines allocates, too")
@pytest.mark.parametrize("operation", ["correlate", "convolve"])
def test_a_call_with_out_allocates_next_to_nothing(operation, x_shape, w_shape, options):
    """A few hundred bytes: the numbers and tuples that a call is described by."""
    x, w = values(x_shape, "f4"), values(w_shape, "f4", 1)
    f = getattr(fastconv, f"{operation}{len(x_shape) - 2}d")
    out = f(x, w, **options)
    peak, result = traced(lambda: f(x, w, out=out, **options))
    assert result is out
    assert peak < 1536, f"{peak} bytes"  # the look-up's key: a few tuples and ints, whatever the arrays' sizes


STRIDED = {
    "transposed": lambda a: a.swapaxes(2, 3),
    "reversed": lambda a: a[:, :, ::-1, ::-1],
    "stepped": lambda a: np.repeat(a, 2, axis=3)[:, :, :, ::2],
    "channels_last": lambda a: np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 1, -1)), -1, 1),
    "broadcast": lambda a: np.broadcast_to(a[:, :1], a.shape),
}
CALLS = {
    "correlate2d": lambda x: fastconv.correlate2d(x, np.ones((1, x.shape[1], 3, 3), "f4"), stride=4, padding_mode=1),
    "convolve2d": lambda x: fastconv.convolve2d(x, np.ones((1, x.shape[1], 3, 3), "f4"), stride=4, boundary="wrap"),
    "max_pool2d": lambda x: fastconv.max_pool2d(x, 4),
    "avg_pool2d": lambda x: fastconv.avg_pool2d(x, 4, padding_spec="same"),
    "adaptive_avg_pool2d": lambda x: functional.adaptive_avg_pool2d(x, (100, 77)),
    "adaptive_max_pool2d": lambda x: functional.adaptive_max_pool2d(x, (100, 77)),
    "lp_pool2d, squares": lambda x: functional.lp_pool2d(x, 2, 4),
    "lp_pool2d, cubes": lambda x: functional.lp_pool2d(x, 3, 4),
    "functional.unfold": lambda x: functional.unfold(x, 2, stride=4),
    "avg_pool2d_input": lambda x: grad.avg_pool2d_input((*x.shape[:2], *(n + 1 for n in x.shape[2:])), x, 2, 1),
    "maximum_filter": lambda x: fastconv.maximum_filter(x, (4, 4)),
    "uniform_filter": lambda x: fastconv.uniform_filter(x, (4, 4)),
    "extract_patches": lambda x: fastconv.extract_patches(x, (2, 2), stride=4),
    "im2col": lambda x: fastconv.im2col(x, 2, stride=4),
}


@pytest.mark.parametrize("layout", STRIDED)
@pytest.mark.parametrize("name", CALLS)
def test_strided_inputs_are_not_copied(name, layout):
    """12 MB of input, of which a copy would show."""
    x = STRIDED[layout](values((1, 3, 1024, 1024), "f4"))
    peak, result = traced(lambda: CALLS[name](x))
    assert result.size
    assert peak - result.nbytes < WORKSPACE, f"{peak - result.nbytes} bytes beside the result"


FILTERS = {
    "gaussian_filter": (3.0,),
    "uniform_filter": (25,),
    "maximum_filter": (25,),
    "sobel": (),
    "correlate": (np.arange(9.0).reshape(3, 3),),
}
FILTERED = {  # how the input lies, its dtype, and the output's
    "uint8 to float32": (lambda a: a, "u1", "f4"),
    "float64": (lambda a: a, "f8", "f8"),
    "channels_last": (lambda a: a.reshape(a.shape[0], -1, 3), "u1", "u1"),
    "channels_first": (lambda a: np.moveaxis(a.reshape(a.shape[0], -1, 3), -1, 0), "f4", "f4"),
    "transposed": (lambda a: a.T, "u1", "f4"),
    "transposed, reversed": (lambda a: a.T[::-1, ::-1], "i2", "f8"),
}


@pytest.mark.parametrize("case", FILTERED)
@pytest.mark.parametrize("name", FILTERS)
def test_filters_convert_nothing_whole(name, case):
    """3 MB and more of input and of output; one copied, or an intermediate one would show."""
    layout, given, result = FILTERED[case]
    x = layout(values((2000, 1500), given))
    arguments = FILTERS[name]
    if name == "correlate" and x.ndim == 3:
        arguments = (np.arange(9.0).reshape([1 if n == 3 else 3 for n in x.shape]),)
    out = np.empty_like(x, result)

    def call():
        fastconv.release_workspace()
        return getattr(ndimage, name)(x, *arguments, output=out)

    peak, filtered = traced(call)
    assert filtered is out
    assert peak < WORKSPACE, f"{peak} bytes"


# tracemalloc does not see what compiled code takes for itself; the kernel's account of the process does.
RESIDENT = """
import re, sys
import numpy as np
import fastconv
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) << 10
def call(name, side):
    x = np.ones((1, 4, side, side), "f4").swapaxes(2, 3)[:, :, ::-1]
    if name == "correlate2d":
        w, out = np.ones((4, 4, 3, 3), "f4"), np.ones((1, 4, side, side), "f4")
        f = lambda: fastconv.correlate2d(x, w, padding_mode="same", boundary="reflect", algorithm=sys.argv[2], out=out)
    else:
        f = lambda: fastconv.max_pool2d(x, 16)
    f()
    if side < 2000:
        return
    open("/proc/self/clear_refs", "w").write("5")
    before = peak()
    f()
    print(peak() - before)
call(sys.argv[1], 64)
call(sys.argv[1], 2000)
"""


@linux
@pytest.mark.parametrize("name, algorithm", [("correlate2d", "auto"), ("correlate2d", "direct"), ("max_pool2d", "")])
def test_compiled_code_takes_a_bounded_workspace(name, algorithm):
    """64 MB of input and of output, both taken before; 4 MB of grain that the operating system counts in."""
    taken = int(run("-c", RESIDENT, name, algorithm).stdout)
    assert taken < WORKSPACE + (4 << 20), f"{taken >> 20} MB beside the result"


@pytest.mark.parametrize("name", ["correlate2d", "max_pool2d", "avg_pool2d", "im2col", "extract_patches"])
def test_repeated_calls_leave_nothing_behind(name):
    x = values((1, 3, 32, 32), "f4")
    calls = {**CALLS}
    call = lambda: calls[name](x)  # noqa: E731
    traced(call)
    gc.collect()
    tracemalloc.start()
    try:
        for _ in range(3):
            call()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(1000):
            call()
        gc.collect()
        left = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    # Some 400 free tuples that CPython keeps count, too; an object a call would be more.
    assert left < 40_000, f"{left} bytes after 1000 calls"


KEPT = """
import gc, re, signal
import numba, numpy as np, fastconv, fastconv.extending
from importlib.metadata import entry_points
if not any(point.value == "fastconv.extending:init" for point in entry_points(group="numba_extensions")):
    fastconv.extending.init()

@numba.njit
def compiled(x, w):
    return fastconv.correlate2d(x, w)

@numba.njit
def compiled_into(x, w, out):
    fastconv.correlate2d(x, w, out=out)

def refused():
    try:
        fastconv.correlate2d(w, x)
    except ValueError:
        pass

def stop(*_):
    raise KeyboardInterrupt

def interrupted():
    try:
        signal.setitimer(signal.ITIMER_REAL, 2e-4)
        while True:
            fastconv.correlate2d(x, w)
    except KeyboardInterrupt:
        pass

def long():
    team._LONG = 0
    fastconv.correlate2d(large[..., :100, :100], weights, algorithm="direct")
    team._LONG = 1e18

def resident():
    gc.collect()
    return int(re.search(r"VmRSS:\\s+(\\d+)", open("/proc/self/status").read())[1]) << 10

signal.signal(signal.SIGALRM, stop)
fastconv.set_num_threads(2)
team = __import__("fastconv.team").team
x, w, out = np.ones((1, 1, 8, 8), "f4"), np.ones((1, 1, 3, 3), "f4"), np.ones((1, 1, 6, 6), "f4")
large, weights = np.ones((1, 4, 512, 512), "f4"), np.ones((4, 4, 3, 3), "f4")
for call, count in (
    (lambda: fastconv.correlate2d(x, w), 20_000),
    (lambda: fastconv.max_pool2d(x, 2), 20_000),
    (lambda: fastconv.correlate2d(large, weights), 50),
    (refused, 2000), (interrupted, 1000), (long, 500),
    (lambda: compiled(x, w), 50_000), (lambda: compiled_into(x, w, out), 50_000),
    (lambda: compiled(large, weights), 50),
):
    for _ in range(count // 2):
        call()
    before = resident()
    for _ in range(count):
        call()
    assert resident() - before < 1 << 19, (call, count, resident() - before)
"""


@linux
@pytest.mark.slow
def test_no_kind_of_call_makes_the_process_grow():
    """Also where it is refused, interrupted, made by another thread, or made by compiled code."""
    run("-c", KEPT)
