"""Calls from users' own compiled code: the bits, and the words of errors, of the same call from Python."""

import threading
import time
from importlib.metadata import entry_points

import numba
import numpy as np
import pytest
from cases import LAYOUTS, OUT_LAYOUTS, representative, slow, values
from fastconv.kernels import jit
from numba.core.codegen import JITCodeLibrary
from subprocesses import run, run_python

import fastconv
import fastconv.numpy as fnp
from fastconv import extending, ndimage


@pytest.fixture(scope="module", autouse=True)
def told():
    """Numba finds fastconv by its entry point; where tests run without its metadata, they tell it."""
    if not any(point.value == "fastconv.extending:init" for point in entry_points(group="numba_extensions")):
        extending.init()


@numba.njit
def plain(x, w):
    return fastconv.correlate2d(x, w)


@numba.njit
def everything(x, w, groups, stride, before, after, dilation, fill, bias, out):
    return fastconv.convolve2d(
        x,
        w,
        groups=groups,
        stride=(stride, 1),
        padding_mode=((before, after), (after, 0)),
        dilation=dilation,
        fillvalue=fill,
        bias=bias,
        activation="relu",
        out=out,
    )


from_python = everything.py_func


@pytest.mark.parametrize("groups, outputs", [(1, 1), (1, 3), (1, 4), (1, 17), (2, 2), (2, 8), (6, 6), (6, 12), (3, 48)])
@pytest.mark.parametrize("stride, dilation", [(1, 1), (2, 1), (3, 2)])
def test_the_bits_of_the_call_from_python(groups, outputs, stride, dilation):
    x, w, bias = (
        values((2, 6, 20, 37), "f4"),
        values((outputs, 6 // groups, 3, 4), "f4", 1),
        values((outputs,), "f4", 2),
    )
    for before, after in ((0, 0), (1, 2), (30, 0)):
        numbers = groups, stride, before, after, dilation, 0.5, bias
        want = from_python(x, w, *numbers, None)
        out = np.full_like(want, np.nan)
        got = everything(x, w, *numbers, out)
        assert np.shares_memory(got, out)
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("layout", sorted(set(LAYOUTS) - {"byteswapped", "unaligned"}))
def test_any_strides_are_read_in_place(layout):
    x, w = LAYOUTS[layout](values((2, 4, 9, 11), "f4")), LAYOUTS[layout](values((5, 4, 3, 3), "f4", 1))
    np.testing.assert_array_equal(plain(x, w), fastconv.correlate2d(x, w))


@pytest.mark.parametrize("layout", sorted(set(OUT_LAYOUTS) - {"unaligned"}))
def test_any_strides_are_written_to(layout):
    x, w, bias = values((2, 4, 9, 11), "f4"), values((5, 4, 3, 3), "f4", 1), values((5,), "f4", 2)
    numbers = 1, 1, 1, 1, 1, 0.0, bias
    first = from_python(x, w, *numbers, None)
    out, want = LAYOUTS[layout](np.zeros_like(first)), LAYOUTS[layout](np.zeros_like(first))
    everything(x, w, *numbers, out)
    np.testing.assert_array_equal(out, from_python(x, w, *numbers, want))


@numba.njit
def same(x, w):
    return fastconv.correlate_nd(x, w, padding_mode="same", fillvalue=1, boundary="constant")


@numba.njit
def full_1d(x, w):
    return fastconv.convolve1d(x, w, padding_mode="full", boundary="wrap", stride=2)


@numba.njit
def plain_3d(x, w):
    return fastconv.correlate3d(x, w, padding_mode=(1, 0, 2), boundary=("edge", "wrap", "reflect"), dilation=(1, 2, 1))


@pytest.mark.parametrize(
    "dtypes", ["f4 f4", "c8 c8", "u1 f4", *map(slow, ["i2 i2", "f4 f8", "f8 f8", "u1 i4", "? ?", "i8 f4"])]
)
def test_dtypes_and_ranks(dtypes):
    first, second = dtypes.split()
    for function, x_shape, w_shape in (
        (same, (1, 3, 9, 8), (20, 3, 2, 3)),
        (full_1d, (2, 3, 9), (4, 3, 4)),
        (plain_3d, (1, 2, 5, 6, 7), (3, 2, 2, 3, 2)),
    ):
        x, w = values(x_shape, first), values(w_shape, second, 1)
        got, want = function(x, w), function.py_func(x, w)
        assert got.dtype == want.dtype
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("shape", [(0, 2, 5, 5), (2, 2, 0, 5)])
def test_empty_inputs(shape):
    x, w = np.zeros(shape, "f4"), values((3, 2, 3, 3), "f4")
    assert plain(x, w).shape == fastconv.correlate2d(x, w).shape


@numba.njit
def of_sequences(a, v):
    return (
        fnp.convolve(a, v), fnp.convolve(a, v, "same"), fnp.convolve(a, v, mode="valid"),
        fnp.correlate(a, v), fnp.correlate(a, v, "same"), fnp.correlate(a, v, mode="full"),
    )  # fmt: skip


@pytest.mark.parametrize("sizes", [(9, 4), (4, 9), (1, 5), (70, 8)])
@pytest.mark.parametrize("dtypes", ["f8 f8", "u1 f4", *map(slow, ["c8 c8", "c16 c16", "f4 i4"])])
def test_numpys_drop_ins(sizes, dtypes):
    a, v = (values((n,), dtype, i) for i, (n, dtype) in enumerate(zip(sizes, dtypes.split(), strict=True)))
    for mine, theirs in zip(of_sequences(a, v), of_sequences.py_func(a, v), strict=True):
        assert mine.dtype == theirs.dtype
        np.testing.assert_array_equal(mine, theirs)


def test_numpys_drop_ins_refuse_what_is_empty():
    full, empty = np.ones(3), np.ones(0)
    for pair in ((full, empty), (empty, full)):
        with pytest.raises(ValueError) as expected:
            fnp.convolve(*pair)
        with pytest.raises(ValueError) as raised:
            of_sequences(*pair)
        assert str(raised.value) == str(expected.value)


BIAS = np.zeros(4, "f4")
X, W = np.ones((2, 4, 8, 9), "f4"), np.ones((4, 2, 3, 3), "f4")
OUT = np.zeros((2, 4, 6, 7), "f4")
WRONG = {
    "groups": (X, W, 3, 1, 0, 0, 1, 0.0, BIAS, OUT),
    "no groups": (X, W, 0, 1, 0, 0, 1, 0.0, BIAS, OUT),
    "outputs": (X, W[:3], 2, 1, 0, 0, 1, 0.0, BIAS[:3], OUT),
    "stride": (X, W, 2, 0, 0, 0, 1, 0.0, BIAS, OUT),
    "dilation": (X, W, 2, 1, 0, 0, -1, 0.0, BIAS, OUT),
    "padding": (X, W, 2, 1, -1, 0, 1, 0.0, BIAS, OUT),
    "huge padding": (X, W, 2, 1, 2**62, 0, 1, 0.0, BIAS, OUT),
    "huge dilation": (X, W, 2, 1, 0, 0, 2**62, 0.0, BIAS, OUT),
    "huge result": (X, W, 2, 1, 2**58, 2**58, 1, 0.0, BIAS, OUT),
    "window": (X, W, 2, 1, 0, 0, 9, 0.0, BIAS, OUT),
    "empty kernel": (X, W[:, :, :0], 2, 1, 0, 0, 1, 0.0, BIAS, OUT),
    "bias": (X, W, 2, 1, 0, 0, 1, 0.0, BIAS[:3], OUT),
    "out": (X, W, 2, 1, 0, 0, 1, 0.0, BIAS, OUT[:1]),
    "out's channels": (X, W, 2, 1, 0, 0, 1, 0.0, BIAS, OUT[:, 1:]),
    "out's rows": (X, W, 2, 1, 0, 0, 1, 0.0, BIAS, OUT[:, :, 1:]),
    "overlap": (X, W, 2, 1, 0, 0, 1, 0.0, BIAS, X[:, :, 2:, 2:]),
    "repeats": (X, W, 2, 1, 0, 0, 1, 0.0, BIAS, np.lib.stride_tricks.as_strided(OUT, OUT.shape, (4, 4, 4, 4))),
}


@pytest.mark.parametrize("case", sorted(WRONG))
def test_errors_have_the_words_of_the_call_from_python(case):
    with pytest.raises(ValueError) as expected:
        from_python(*WRONG[case])
    with pytest.raises(ValueError) as raised:
        everything(*WRONG[case])
    assert str(raised.value) == str(expected.value)


@numba.njit
def far(x, w, stride, dilation, before, after):
    pads = ((before, after), (before, after))
    return fastconv.correlate2d(x, w, stride=stride, dilation=dilation, padding_mode=pads, fillvalue=7)


@pytest.mark.parametrize("outputs, channels", [(1, 1), (4, 1), (20, 1), (5, 40)])
@pytest.mark.parametrize(
    "numbers",
    [
        (2**40, 1, 2**40, 2**40),
        (2**39, 2**40 - 1, 2**41 + 5, 1),
        (2**50, 2**51, 2**52, 2**51),
        (2**59, 2**58, 2**59, 2**59),
        (2**60 - 1, 1, 2**59, 2**59),
    ],
)
def test_steps_and_pads_far_beyond_the_input(outputs, channels, numbers):
    x, w = values((1, channels, 5, 4), "f8"), values((outputs, channels, 3, 2), "f8", 1)
    np.testing.assert_array_equal(far(x, w, *numbers), far.py_func(x, w, *numbers))


@numba.njit
def four_axes(x, w, bias, stride, out):
    return fastconv.convolve_nd(x, w, groups=2, bias=bias, stride=stride, padding_mode="same", boundary="wrap", out=out)


@pytest.mark.parametrize("dtype", representative(["f4", "i2", "c8", "c16"]))
def test_more_axes_than_three(dtype):
    x, w, bias = values((1, 4, 3, 4, 3, 5), dtype), values((2, 2, 2, 1, 3, 2), dtype, 1), values((2,), dtype, 2)
    for stride in ((1, 1, 1, 1), (2, 1, 3, 2)):
        want = four_axes.py_func(x, w, bias, stride, None)
        np.testing.assert_array_equal(four_axes(x, w, bias, stride, None), want)
        out = np.zeros_like(want)
        np.testing.assert_array_equal(four_axes(x[..., ::-1], w, bias[::-1], stride, out[..., ::-1]), out[..., ::-1])
        np.testing.assert_array_equal(out[..., ::-1], four_axes.py_func(x[..., ::-1], w, bias[::-1], stride, None))
    for wrong in ((0, 1, 1, 1), (1, 1, 1, -2)):
        with pytest.raises(ValueError) as expected:
            four_axes.py_func(x, w, bias, wrong, None)
        with pytest.raises(ValueError) as raised:
            four_axes(x, w, bias, wrong, None)
        assert str(raised.value) == str(expected.value)


@numba.njit
def mixed(x, w):
    return fastconv.correlate2d(x, w, padding=1, groups=3)


@numba.njit
def in_floats(x, w, out):
    return fastconv.correlate2d(x, w, padding=1, dtype=np.float32, out=out), fastconv.max_pool2d(x, 2, dtype="float32")


def test_inputs_are_converted_as_they_are_read():
    x, w = values((2, 6, 9, 11), "u1"), values((6, 2, 3, 3), "f4", 1)
    want = fastconv.correlate2d(x, w, padding=1, groups=3)
    np.testing.assert_array_equal(mixed(x, w), want)
    x, w = values((1, 1, 4, 9), "u1"), values((1, 1, 3, 3), "i1", 1)
    out = np.empty((1, 1, 4, 9), "f4")
    got, largest = in_floats(x, w, out)
    np.testing.assert_array_equal(got, fastconv.correlate2d(x, w, padding=1, dtype="f4"))
    assert got.dtype == largest.dtype == np.float32
    np.testing.assert_array_equal(largest, fastconv.max_pool2d(x, 2))


def test_averages_in_a_dtype():
    x = values((1, 1, 4, 9), "u1")
    got = numba.njit(lambda x: fastconv.avg_pool2d(x, 2, dtype=np.float32))(x)
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, fastconv.avg_pool2d(x, 2, dtype=np.float32))


def test_out_in_the_memory_of_an_input_of_another_dtype():
    memory = np.zeros(100, "f4")
    x, out = memory.view("u1")[:36].reshape(1, 1, 4, 9), memory[8:44].reshape(1, 1, 4, 9)
    with pytest.raises(ValueError, match="out overlaps x, expected memory of its own"):
        in_floats(x, values((1, 1, 3, 3), "i1"), out)
    in_floats(x, values((1, 1, 3, 3), "i1"), memory[9:45].reshape(1, 1, 4, 9))


def test_out_beside_an_input_in_one_array():
    """Their memory is interleaved, and shares no element: only the interpreter can tell."""
    memory = np.ones((2, 4, 8, 18), "f4")
    x, out = memory[..., ::2], memory[:, :, :6, 1:15:2]
    everything(x, W, 2, 1, 0, 0, 1, 0.0, BIAS, out)
    np.testing.assert_array_equal(out, from_python(x, W, 2, 1, 0, 0, 1, 0.0, BIAS, None))


@pytest.mark.parametrize("which", ["x", "w"])
def test_elements_that_lie_between_addresses_of_their_type_are_refused(which):
    x, w = values((1, 1, 4, 4), "f4"), values((1, 1, 3, 3), "f4", 1)
    x, w = (LAYOUTS["unaligned"](x), w) if which == "x" else (x, LAYOUTS["unaligned"](w))
    with pytest.raises(ValueError, match="an array's elements do not lie where their type may"):
        plain(x, w)


def test_a_fill_value_that_the_result_cannot_hold():
    with pytest.raises(ValueError, match="fillvalue is a number that the result's dtype cannot hold"):
        everything(X, W, 2, 1, 1, 1, 1, 1e300, BIAS, OUT)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda x, w: fastconv.correlate2d(x, w, boundary="torus"), "boundary is 'torus', expected one of 'constant'"),
        (
            lambda x, w: fastconv.correlate2d(x, w, padding_mode="mid"),
            "padding_mode is 'mid', expected 'valid', 'same'",
        ),
        (lambda x, w: fastconv.correlate2d(x, w, activation="gelu"), "activation 'gelu' takes floating point"),
        (
            lambda x, w: fastconv.correlate2d(x, w, algorithm="im2col"),
            "algorithm is 'im2col', expected 'auto' or 'direct'",
        ),
        (lambda x, w: fastconv.correlate2d(x, w, stride=1.5), "stride is float64, expected an int or 2 of them"),
        (lambda x, w: fastconv.correlate1d(x, w), r"x has 4 dimensions, expected 3 dimensions \(N, C, W\)"),
        (lambda x, w: fastconv.correlate2d(x, w, out=w[0]), "out has 3 dimensions, expected 4"),
        (
            lambda x, w: fastconv.correlate2d(x, w, out=1.0 * x),
            "out has dtype float64, expected int32; for one like it pass dtype=np.float64",
        ),
        (lambda x, w: fastconv.correlate2d(x, w, dtype="spam"), "dtype is 'spam', expected bool, an integer"),
        (lambda x, w: fastconv.correlate2d(x, w, dtype=x[0]), "dtype is a variable, expected a constant"),
        (
            lambda x, w: fastconv.correlate2d(x, w, dtype="?"),
            "dtype is bool, and x has dtype int32, which does not cast",
        ),
        (lambda x, w: fastconv.avg_pool2d(x, 2, dtype=np.int64), "dtype is int64, which holds no averages"),
        (lambda x, w: fastconv.max_pool2d(x, 2, dtype=np.complex64), "dtype is complex64, which has no order"),
        (lambda x, w: fastconv.correlate2d(x, w, bias=1.5 * w[0, 0, 0]), "bias has dtype float64, which does not cast"),
        (lambda x, w: fastconv.correlate2d(x, w, fillvalue=0.5), "fillvalue is float64, expected int32"),
        (lambda x, w: fastconv.correlate2d(x, 3), r"w is \S*int\S*, expected an array"),
        (lambda x, w: fastconv.correlate2d(x, w, strides=2), "no argument 'strides'; did you mean 'stride'[?]"),
        (lambda x, w: fastconv.correlate2d(x, w, pad=1), "no argument 'pad'; did you mean 'padding'[?]"),
        (lambda x, w: fastconv.correlate2d(x, w, mode="same"), "no argument 'mode'; did you mean 'padding_mode'[?]"),
        (
            lambda x, w: fastconv.correlate2d(x, w, depth=1),
            "no argument 'depth'; the arguments are x, w, groups, stride",
        ),
    ],
)
def test_what_types_tell_is_a_typing_error(call, words):
    with pytest.raises(numba.TypingError, match=words):
        numba.njit(call)(np.ones((1, 1, 4, 4), "i4"), np.ones((1, 1, 3, 3), "i4"))


@numba.njit(parallel=True)
def in_prange(images, w):
    out = np.empty((images.shape[0], 1, w.shape[0], 30, 30), np.float32)
    for i in numba.prange(images.shape[0]):
        fastconv.correlate2d(images[i], w, out=out[i])
    return out


def test_what_is_part_of_a_caller_is_optimised_with_it_alone(monkeypatch):
    parts, optimised = [], []

    def noting(names, owner, method):
        then = getattr(owner, method)
        monkeypatch.setattr(owner, method, lambda library: (names.append(library.name), then(library)))

    noting(parts, jit._PartLibrary, "_finalize_final_module")
    noting(optimised, JITCodeLibrary, "_optimize_final_module")

    @numba.njit
    def blurred(x):
        return fastconv.max_pool2d(ndimage.gaussian_filter(x, 1.5)[None, None], 2)

    x = values((9, 11), "f8")
    np.testing.assert_array_equal(blurred(x), blurred.py_func(x))
    assert len(parts) > 3
    assert not set(parts) & set(optimised)
    assert sum(name.endswith("blurred") for name in optimised) == 1


def test_inside_prange():
    images, w = values((16, 1, 3, 32, 32), "f4"), values((5, 3, 3, 3), "f4", 1)
    np.testing.assert_array_equal(in_prange(images, w), [fastconv.correlate2d(image, w) for image in images])


@numba.njit(nogil=True)
def worker(x, w, begun, go, done):
    begun[0] = 1
    total = 0.0
    while go[0] == 0:  # the call may write anywhere, so that the flag is read again
        fastconv.correlate2d(x, w)
    for _ in range(1000):
        total += fastconv.correlate2d(x, w)[0, 0, 0, 0]
    done[0] = 1
    return total


@numba.njit
def hold(x, w, go, first, second):
    """Keep the interpreter's lock until both workers are done, or a while has passed."""
    go[0] = 1
    for _ in range(10_000_000):
        fastconv.correlate2d(x, w)
        if first[0] + second[0] == 2:
            return True
    return False


def test_two_threads_run_at_once_without_the_interpreter():
    x, w = values((1, 1, 8, 8), "f4"), values((1, 1, 3, 3), "f4", 1)
    go, *flags = np.zeros((5, 1), np.int64)
    want = worker(x, w, flags[0], np.ones(1, np.int64), flags[1])
    hold(x, w, np.zeros(1, np.int64), np.ones(1, np.int64), np.ones(1, np.int64))
    for flag in flags:
        flag[0] = 0
    results = []
    threads = [
        threading.Thread(
            target=lambda *pair: results.append(worker(x, w, pair[0], go, pair[1])), args=pair, daemon=True
        )
        for pair in (flags[:2], flags[2:])
    ]
    for thread in threads:
        thread.start()
    while not (flags[0][0] and flags[2][0]):
        time.sleep(1e-3)
    assert hold(x, w, go, flags[1], flags[3])
    for thread in threads:
        thread.join(30)
    assert results == [want, want]


def test_release_workspace_frees_what_compiled_callers_left():
    from fastconv.kernels.calls import frame

    x, w = values((1, 1, 32, 32), "f4"), values((1, 1, 3, 3), "f4", 1)
    plain(x, w)
    kept = extending.TABLE[frame.IN_TABLE.blocks : frame.FUNCTIONS]
    assert kept.any()
    fastconv.release_workspace()
    assert not kept.any()
    np.testing.assert_array_equal(plain(x, w), fastconv.correlate2d(x, w))


CACHED = """
import sys, numba, numpy as np, fastconv
from fastconv.njit import linking
{tell}
if sys.argv[1:]:
    linking.package_hash = lambda: sys.argv[1]

@numba.njit(parallel={parallel}, cache=True)
def f(x, w):
    out = np.zeros((4, 1, 1, 2, 2), np.float32)
    for i in numba.prange(4):
        out[i] = fastconv.correlate2d(x, w)
    return out

x, w = np.arange(16, dtype="f4").reshape(1, 1, 4, 4), np.ones((1, 1, 3, 3), "f4")
assert (f(x, w) == fastconv.correlate2d(x, w)).all()
print(sum(f.stats.cache_hits.values()))
"""


@pytest.mark.parametrize("parallel, runs", [(False, 2), slow((False, 4)), slow((True, 2))])
def test_what_callers_keep_in_numbas_cache(tmp_path, parallel, runs):
    """The second process reads its caller's code, and gets the functions behind it before that runs. After an upgrade
    of the kernels the caller is compiled anew, once."""
    points = entry_points(group="numba_extensions")
    known = any(point.value == "fastconv.extending:init" for point in points)
    script = tmp_path / "user.py"
    script.write_text(
        CACHED.format(parallel=parallel, tell="" if known else "import fastconv.extending; fastconv.extending.init()")
    )
    hits = [run(script, *version).stdout for version in ([], [], ["an upgrade"], ["an upgrade"])[:runs]]
    assert hits == ["0\n", "1\n", "0\n", "1\n"][:runs]


LAZY = """
import sys, time
begin = time.process_time()
import numba
best = numbas = time.process_time() - begin
for _ in range(5):
    for name in [name for name in sys.modules if name.startswith("fastconv")]:
        del sys.modules[name]
    begin = time.process_time()
    from fastconv.extending import init
    init()
    best = min(best, time.process_time() - begin)
imported = {name for name in sys.modules if name.startswith("fastconv")}
light = {"fastconv", *(f"fastconv.{name}" for name in ("extending", "limits", "sources", "kernels", "kernels.sources"))}
assert imported == light, imported
assert numba.njit(lambda a: a + 1)(1) == 2
print(best / numbas)
"""


def test_those_who_never_use_fastconv_wait_for_nothing():
    """A fortieth of what Numba's own import takes."""
    assert float(run_python(LAZY).stdout) < 0.1
