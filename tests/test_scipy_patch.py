"""fastconv's functions in SciPy's place: who sees them, who does not, and that SciPy's own come back."""

import sys
import threading
from contextlib import ExitStack
from importlib.machinery import ModuleSpec
from importlib.metadata import entry_points
from importlib.util import find_spec
from types import ModuleType

import numpy as np
import pytest

import fastconv
from fastconv import extending, scipy_patch

ndimage = pytest.importorskip("scipy.ndimage")
signal = pytest.importorskip("scipy.signal")

SCIPY = {"ndimage": ndimage, "signal": signal}
OWN = {(module, name): getattr(theirs, name) for module, theirs in SCIPY.items() for name in theirs.__all__}


def gaussian_filter(input, sigma):
    return "ours", input, sigma


def sobel(input, axis=-1):
    return scipy_patch.original("ndimage", "sobel")(input, axis)


def convolve(in1, in2, mode="full", method="auto"):
    return "ours", in1, in2, mode, method


def beyond_scipy(x):
    return x


@pytest.fixture
def drop_ins(monkeypatch):
    """Modules that stand for `fastconv.ndimage` and `fastconv.signal`."""
    for name, functions in (("ndimage", (gaussian_filter, sobel, beyond_scipy)), ("signal", (convolve,))):
        module = ModuleType(f"fastconv.{name}")
        module.__spec__ = ModuleSpec(module.__name__, None)
        module.__all__ = [function.__name__ for function in functions]
        module.__dict__.update({function.__name__: function for function in functions})
        monkeypatch.setitem(sys.modules, module.__name__, module)


@pytest.fixture(autouse=True)
def left_as_found():
    assert {key: getattr(SCIPY[key[0]], key[1]) for key in OWN} == OWN
    yield
    fastconv.unpatch_scipy()
    assert not scipy_patch.is_patched()
    assert {key: getattr(SCIPY[key[0]], key[1]) for key in OWN} == OWN
    assert not hasattr(ndimage, "beyond_scipy")


def is_patched():
    theirs = [
        ndimage.gaussian_filter is OWN["ndimage", "gaussian_filter"],
        signal.convolve is OWN["signal", "convolve"],
    ]
    assert theirs == [not scipy_patch.is_patched()] * 2
    assert fastconv.show_config("dicts")["scipy_patched"] is scipy_patch.is_patched()
    return scipy_patch.is_patched()


def test_off_unless_asked_for(drop_ins):
    assert not is_patched()
    fastconv.unpatch_scipy()
    assert not is_patched()


def test_patch_and_unpatch_are_a_switch(drop_ins):
    for _ in range(2):
        fastconv.patch_scipy()
        fastconv.patch_scipy()
        assert is_patched()
        assert ndimage.gaussian_filter(1, sigma=2) == ("ours", 1, 2)
        assert ndimage.uniform_filter is OWN["ndimage", "uniform_filter"]
        fastconv.unpatch_scipy()
        assert not is_patched()


def test_blocks(drop_ins):
    with fastconv.scipy_patched():
        with fastconv.scipy_patched():
            assert is_patched()
        assert is_patched()
        fastconv.unpatch_scipy()
        assert is_patched()
    assert not is_patched()
    with fastconv.scipy_patched():
        fastconv.patch_scipy()
    assert is_patched()
    fastconv.unpatch_scipy()
    with pytest.raises(ZeroDivisionError), fastconv.scipy_patched():
        _ = 1 / 0
    assert not is_patched()


def test_drop_ins_reach_the_original(drop_ins):
    x = np.arange(12.0).reshape(3, 4)
    want = ndimage.sobel(x, 0)
    with fastconv.scipy_patched():
        np.testing.assert_array_equal(ndimage.sobel(x, 0), want)
        for (module, name), own in OWN.items():
            assert scipy_patch.original(module, name) is own
    for (module, name), own in OWN.items():
        assert scipy_patch.original(module, name) is own
    with pytest.raises(AttributeError, match="beyond_scipy"):
        scipy_patch.original("ndimage", "beyond_scipy")


def test_what_others_put_over_a_name_goes_with_it(drop_ins):
    with fastconv.scipy_patched():
        ours = ndimage.sobel
        ndimage.sobel = lambda *args: ours(*args)
        assert ndimage.sobel(np.ones((3, 3)), 0).shape == (3, 3)
    assert ndimage.sobel is OWN["ndimage", "sobel"]


def test_what_others_put_there_before_comes_back(drop_ins, monkeypatch):
    other = {}.get
    monkeypatch.setattr(ndimage, "gaussian_filter", other)
    with fastconv.scipy_patched():
        assert scipy_patch.original("ndimage", "gaussian_filter") is other
        assert ndimage.gaussian_filter is gaussian_filter
    assert ndimage.gaussian_filter is other


def test_a_change_that_an_interrupt_left_half_done_is_made_whole(drop_ins, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(scipy_patch, "setattr", interrupted, raising=False)
    with pytest.raises(KeyboardInterrupt):
        fastconv.patch_scipy()
    monkeypatch.delattr(scipy_patch, "setattr")
    fastconv.patch_scipy()
    assert is_patched()
    assert scipy_patch.original("signal", "convolve") is OWN["signal", "convolve"]


def test_threads(drop_ins):
    """A block is patched to its end, whatever blocks of other threads end meanwhile; originals are never ours."""
    wrong, start = [], threading.Barrier(8)

    def work(i):
        start.wait()
        for _ in range(300):
            with ExitStack() as stack:
                if i % 2:
                    stack.enter_context(fastconv.scipy_patched())
                    if ndimage.gaussian_filter is not gaussian_filter:
                        wrong.append("not patched")
                if scipy_patch.original("ndimage", "gaussian_filter") is not OWN["ndimage", "gaussian_filter"]:
                    wrong.append("not the original")

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert not is_patched()


@pytest.mark.parametrize("name", ["patch_scipy", "scipy_patched"])
def test_without_scipy(drop_ins, monkeypatch, name):
    for module in [name for name in sys.modules if name.partition(".")[0] == "scipy"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "scipy", None)
    message = rf"^{name}\(\): SciPy is not installed, which this needs; `pip install scipy` installs it$"
    with pytest.raises(ModuleNotFoundError, match=message), ExitStack() as stack:
        stack.enter_context(fastconv.scipy_patched()) if name == "scipy_patched" else fastconv.patch_scipy()
    with pytest.raises(ModuleNotFoundError, match=r"^sobel\(\): SciPy is not installed"):
        scipy_patch.original("ndimage", "sobel")
    fastconv.unpatch_scipy()
    assert not scipy_patch.is_patched()


def test_a_damaged_scipy_speaks_for_itself(drop_ins, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.signal", None)
    with pytest.raises(ModuleNotFoundError, match=r"scipy\.signal"):
        fastconv.patch_scipy()
    monkeypatch.undo()


def test_compiled_code_knows_both(drop_ins):
    numba = pytest.importorskip("numba")
    if not any(point.value == "fastconv.extending:init" for point in entry_points(group="numba_extensions")):
        extending.init()
    a, b, theirs = np.arange(5.0), np.array([1.0, 2.0]), signal.convolve
    with fastconv.scipy_patched():
        assert signal.convolve is convolve
        by_module = numba.njit(lambda a, b: signal.convolve(a, b))
        by_name = numba.njit(lambda a, b: theirs(a, b))
        for compiled in (by_module, by_name):
            np.testing.assert_allclose(compiled(a, b), np.convolve(a, b))


# With the real modules -----------------------------------------------------------------------------------------------


@pytest.fixture(params=["ndimage", "signal"])
def module(request):
    if not find_spec(f"fastconv.{request.param}"):
        pytest.skip(f"there is no fastconv.{request.param} yet")
    return request.param


def test_every_function_is_replaced(module):
    ours = getattr(fastconv, module)
    with fastconv.scipy_patched():
        for name in ours.__all__:
            if callable(getattr(ours, name)) and hasattr(SCIPY[module], name):
                assert getattr(SCIPY[module], name) is getattr(ours, name)
                assert scipy_patch.original(module, name) is OWN[module, name]


@pytest.mark.parametrize(
    "of, name, arguments",
    [
        ("ndimage", "gaussian_filter", (np.arange(40.0).reshape(5, 8), 1.5)),
        ("ndimage", "correlate", (np.arange(12).reshape(3, 4), np.ones((2, 2)), np.float64)),
        ("ndimage", "maximum_filter", (np.arange(12.0).reshape(3, 4), None, np.eye(3, dtype=bool))),
        ("signal", "convolve", (np.arange(5).astype(object), np.arange(3).astype(object))),
        ("signal", "correlate", (np.arange(5, dtype="g"), np.arange(3, dtype="g"))),
    ],
)
def test_what_falls_back_to_scipy_comes_to_its_end(module, of, name, arguments):
    if module == of:
        want = OWN[module, name](*arguments)
        with fastconv.scipy_patched():
            got = getattr(SCIPY[module], name)(*arguments)
        assert got.dtype == want.dtype
        np.testing.assert_allclose(got.astype("f8"), want.astype("f8"), rtol=1e-6)
