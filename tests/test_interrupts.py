"""An interrupt anywhere harms no later call: results are right, threads help, and nothing is kept alive."""

import ctypes
import threading

import pytest
from fastconv.kernels import process
from subprocesses import run_python

SHARED = """
import ctypes, random, signal, sys, threading, time, weakref
import numpy as np
import fastconv
from fastconv.kernels.team import BUSY, JOINED

fastconv.set_num_threads(2)
team = __import__("fastconv.team").team
never, made, new_words = float("inf"), [], team._new_words
team._LONG = never if sys.argv[1] == "short" else 0  # all calls are made as those are that take long
team._new_words = lambda: made.append(new_words()) or made[-1]
rng = np.random.default_rng(0)
w = rng.standard_normal((32, 32, 3, 3), "f4")
expected = fastconv.correlate2d(x := rng.standard_normal((1, 32, 40, 40), "f4"), w)
random.seed(0)

def stop(*_):
    raise KeyboardInterrupt

def interrupted(repetitions, arm, seconds=2):
    caught = 0
    for _ in range(repetitions):
        try:
            arm(random.uniform(1e-5, 5e-4))
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                fastconv.correlate2d(x, w)
        except KeyboardInterrupt:
            caught += 1
    return caught

signal.signal(signal.SIGALRM, stop)
assert interrupted(300, lambda seconds: signal.setitimer(signal.ITIMER_REAL, seconds)) == 300

# Exceptions that another thread sets come between any two instructions, too.
main, asked = threading.get_ident(), []
def ask():
    while not asked or asked[-1]:
        if asked and time.perf_counter() > asked[-1]:
            asked[-1] = float("inf")
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(main), ctypes.py_object(KeyboardInterrupt))
        time.sleep(0)
asker = threading.Thread(target=ask, daemon=True)
asker.start()
# CPython loses one that comes while a thread is being started, which here is much of the time of a long call.
ask_later = lambda seconds: asked.append(time.perf_counter() + seconds)
if team._LONG:
    assert interrupted(40, ask_later) >= 39
else:
    caught = 0
    for _ in range(25):
        if (caught := caught + interrupted(20, ask_later, 0.2)) >= 10:
            break
    assert caught >= 10
asked.append(0)

# An exception at each instruction of `share` and of what it calls, one after the other.
stopped = 0
for count in range(1000):
    seen = 0
    def trace(frame, event, argument):
        global seen
        if frame.f_code.co_filename == fastconv.team.__file__:
            frame.f_trace_opcodes = True
            if event == "opcode":
                seen += 1
                if seen == count + 1:
                    raise KeyboardInterrupt
            return trace
    sys.settrace(trace)
    try:
        fastconv.correlate2d(x, w)
        break
    except KeyboardInterrupt:
        stopped += 1
    finally:
        sys.settrace(None)
assert 50 < stopped < 1000, stopped

for team._LONG in team._LONG, never:
    end, joined = time.monotonic() + 60, False
    while not joined and time.monotonic() < end:  # helpers may be late, not every time
        team._teams["fastconv"].words[JOINED] = 0
        assert (fastconv.correlate2d(x, w) == expected).all()
        words = team._teams["fastconv"].words if team._LONG else made[-1]
        joined = words[JOINED] > 0
        assert words[BUSY] == 0
    assert joined
dead = weakref.ref(x)
del x
assert dead() is None
"""


@pytest.mark.parametrize("calls", ["short", "long"])
def test_interrupts_of_calls_that_share_their_work(calls):
    run_python(SHARED, calls)


LARGE = """
import _thread, ctypes, os, signal, sys, threading, time
import numpy as np
import fastconv
import fastconv.team

signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever the parent does with it
fastconv.set_num_threads(int(sys.argv[1]))
rng = np.random.default_rng(0)
x, w = rng.standard_normal((24, 64, 112, 112), "f4"), rng.standard_normal((64, 64, 3, 3), "f4")
out = np.empty((24, 64, 110, 110), "f4")
call = lambda: fastconv.correlate2d(x, w, out=out, algorithm="direct")
call()
begin = time.perf_counter()
expected, seconds = call().copy(), time.perf_counter() - begin

def sent(pause, send):
    time.sleep(pause)
    moments.append(time.perf_counter())
    send()

def stopped(pause, send):
    "Seconds from an interrupt to the end of a call, and what part of its result is missing."
    out.fill(np.nan)
    moments.clear()
    sender = threading.Thread(target=sent, args=(pause, send))
    try:
        sender.start()
        call()
        ended = None
        sender.join()
    except KeyboardInterrupt:
        ended = time.perf_counter() - moments[0]
    sender.join()
    rest = out.copy()
    time.sleep(0.05)
    assert ended is None or np.array_equal(rest, out, equal_nan=True), "written after the call has ended"
    return ended, np.isnan(rest).mean()

def soon(found):
    return any(late is not None and late < 0.2 + seconds / 2 and missing > 0.3 for late, missing in found)

moments, tries = [], []
while len(tries) < 50 and not soon(tries):
    try:
        tries.append(stopped(seconds * 0.2, lambda: os.kill(os.getpid(), signal.SIGINT)))
    except KeyboardInterrupt:
        pass  # it came between two calls
assert len(tries) < 50, tries

# The same for exceptions that are sent to a thread.
def work():
    found.append(stopped(seconds * 0.2, lambda: ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(threads[-1].ident), ctypes.py_object(KeyboardInterrupt))))
threads, found = [], []
while len(threads) < 50 and not soon(found):
    threads.append(threading.Thread(target=work))
    threads[-1].start()
    threads[-1].join()
assert len(threads) < 50, found

# A signal handler that calls the library, also for what takes long.
def handle(*_):
    small = fastconv.correlate2d(x[:1, :, :9, :9], w, algorithm="direct")
    large = fastconv.correlate2d(x, w, algorithm="direct")
    answers.append(np.allclose(small, expected[:1, :, :7, :7], atol=1e-3) and (large == expected).all())
answers = []
signal.signal(signal.SIGALRM, handle)
while not answers:
    signal.setitimer(signal.ITIMER_REAL, seconds / 2)
    assert (call() == expected).all()
    signal.setitimer(signal.ITIMER_REAL, 0)
assert all(answers)

# No memory, and no room for a thread.
take, start = fastconv.workspace.take, _thread.start_new_thread
def fail(*_):
    raise MemoryError
fastconv.workspace.take = fail
try:
    call()
    raise AssertionError
except MemoryError:
    pass
fastconv.workspace.take = take
def refuse(*_):
    raise RuntimeError("can't start new thread")
out.fill(np.nan)
_thread.start_new_thread = refuse
assert (call() == expected).all()
_thread.start_new_thread = start
out.fill(np.nan)
assert (call() == expected).all()
"""


@pytest.mark.parametrize("threads", [1, 2])
def test_a_large_call_ends_soon_after_an_interrupt(threads):
    run_python(LARGE, threads)


MEMORY = """
import time
import numpy as np
import fastconv
from fastconv.kernels.team import JOINED

fastconv.set_num_threads(2)
x, w = np.ones((1, 32, 40, 40), "f4"), np.ones((32, 32, 3, 3), "f4")
expected = fastconv.correlate2d(x, w)
take = fastconv.workspace.take
def fail(size):
    raise MemoryError
fastconv.workspace.take = fail
for _ in range(3):
    try:
        fastconv.correlate2d(x, w)
        raise AssertionError
    except MemoryError:
        pass
fastconv.workspace.take = take
words = fastconv.team._teams["fastconv"].words
end = time.monotonic() + 60
words[JOINED] = 0
while words[JOINED] == 0 and time.monotonic() < end:
    assert (fastconv.correlate2d(x, w) == expected).all()
assert words[JOINED] > 0
"""


def test_a_lack_of_memory_leaves_the_helpers_ready():
    run_python(MEMORY)


FIRST = """
import random, signal, sys
import numpy as np
import fastconv

calls = (
    lambda: fastconv.max_unpool1d(np.array([[[1.0, 2]]]), np.array([[[0, 3]]]), 2).tolist() == [[[1, 0, 0, 2]]],
    lambda: fastconv.max_unpool1d(np.array([[[1, 2]]]), np.array([[[0, 3]]]), 2).tolist() == [[[1, 0, 0, 2]]],
    lambda: fastconv.correlate1d(np.arange(9.0).reshape(1, 1, 9), np.ones((1, 1, 3)))[0, 0].tolist()
    == [3, 6, 9, 12, 15, 18, 21],
)

# Interrupts may come while the compiler is imported, by another thread. Of one that comes while the main thread itself
# imports, CPython may keep the lock of all imports.
fastconv.max_unpool1d, fastconv.correlate1d

def stop(*_):
    if sys.argv[1] == "handler":  # a signal handler makes new convolutions while its own thread is preparing one
        signal.setitimer(signal.ITIMER_REAL, 0)
        assert all(call() for call in calls)
    raise KeyboardInterrupt

signal.signal(signal.SIGALRM, stop)
random.seed(int(sys.argv[2]))
caught, patience = 0, 0.05
for call in calls:
    while True:
        try:
            signal.setitimer(signal.ITIMER_REAL, random.uniform(0.001, patience))
            result = call()
            signal.setitimer(signal.ITIMER_REAL, 0)
            break
        except KeyboardInterrupt:
            caught += 1
            patience *= 1.02  # until it is long enough on any machine
    assert result
print(caught)
"""


def test_interrupts_of_the_first_calls(tmp_path):
    done = run_python(FIRST, "interrupt", 0, NUMBA_CACHE_DIR=tmp_path)
    assert int(done.stdout) > 20  # also in the middle of imports and compilation
    for seed in range(1, 4):
        assert int(run_python(FIRST, "interrupt", seed, NUMBA_CACHE_DIR=tmp_path).stdout) > 3


def test_an_exception_that_is_sent_ends_the_wait_for_a_compilation():
    waiting, ended, compiled = threading.Event(), threading.Event(), threading.Event()

    def compile_long():
        waiting.set()
        compiled.wait()

    def call():
        try:
            process.uninterrupted(compile_long)
        except KeyboardInterrupt:
            ended.set()

    thread = threading.Thread(target=call)
    thread.start()
    waiting.wait()
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(KeyboardInterrupt))
    assert ended.wait(60)
    compiled.set()
    thread.join()


def test_the_end_of_the_process_waits_for_what_is_compiled_and_no_longer():
    """Also where the thread that has asked for it takes the word that it is done, and nobody gives it back."""
    for _ in range(5):
        waiting, compiled = threading.Event(), threading.Event()

        def compile_long(waiting=waiting, compiled=compiled):
            waiting.set()
            compiled.wait()

        asking = threading.Thread(target=process.uninterrupted, args=(compile_long,))
        asking.start()
        waiting.wait()
        ending = threading.Thread(target=process._wait, daemon=True)
        ending.start()
        ending.join(2 * process.SLICE)
        assert ending.is_alive()
        compiled.set()
        asking.join()
        ending.join(60)
        assert not ending.is_alive()


def test_a_thread_that_ends_before_it_begins_is_started_again(monkeypatch):
    start, refused = process._thread.start_new_thread, []

    def refuse_twice(*arguments):
        if len(refused) == 2:
            return start(*arguments)
        return refused.append(arguments)

    monkeypatch.setattr(process._thread, "start_new_thread", refuse_twice)
    assert process.uninterrupted(max, 1, 2) == 2
    assert len(refused) == 2


def test_a_signal_handler_that_makes_a_first_call():
    done = run_python(FIRST, "handler", 0)
    assert int(done.stdout) >= 1


NAMES = """
import importlib
import numpy as np
import fastconv

jit = importlib.import_module("fastconv.kernels.jit")
named, count = jit._named, 0
def fail(function):
    global count
    count += 1
    if count == 20:
        raise KeyboardInterrupt
    return named(function)
jit._named = fail
for _ in range(2):
    try:
        result = fastconv.max_unpool1d(np.array([[[1.0, 2]]]), np.array([[[0, 3]]]), 2)
    except KeyboardInterrupt:
        assert count == 20
assert result.tolist() == [[[1, 0, 0, 2]]]
"""


def test_an_import_that_failed_is_done_again():
    run_python(NAMES)


CALLERS = """
import random, signal, sys
import numba, numpy as np
import fastconv, fastconv.extending
from importlib.metadata import entry_points
if not any(point.value == "fastconv.extending:init" for point in entry_points(group="numba_extensions")):
    fastconv.extending.init()

def patches(x):
    return fastconv.extract_patches(x, (2,))
def largest(x):
    return fastconv.max_pool1d(x, 2)

def stop(number, frame):
    # What Numba and llvmlite do by themselves they do not always survive: llvmlite frees a module twice.
    packages = "fastconv", "numba", "llvmlite", "__main__"
    while (package := frame.f_globals["__name__"].partition(".")[0]) not in packages:
        frame = frame.f_back
    if package == "fastconv":
        raise KeyboardInterrupt
    if compiling:
        signal.setitimer(signal.ITIMER_REAL, 2e-4)

signal.signal(signal.SIGALRM, stop)
random.seed(int(sys.argv[1]))
numba.njit(lambda x: x + 1)(1)  # Numba's own first call is not what is asked about
caught, compiling = 0, False
for function, x, right in (
    (patches, np.arange(4.0), [[0, 1, 2], [1, 2, 3]]), (largest, np.arange(4.0).reshape(1, 1, 4), [[[1, 3]]])
):
    patience = 0.05
    while True:
        try:
            compiled = numba.njit(function)
            signal.setitimer(signal.ITIMER_REAL, random.uniform(0.001, patience))
            compiling = True
            result = compiled(x)
            compiling = False
            signal.setitimer(signal.ITIMER_REAL, 0)
            break
        except (KeyboardInterrupt, KeyError):  # which CPython makes of an interrupt in the hash of an OrderedDict's key
            caught += 1
            patience *= 1.1  # until it is long enough on any machine
    assert result.tolist() == right
print(caught)
"""


@pytest.mark.slow
def test_interrupts_while_callers_are_compiled():
    assert int(run_python(CALLERS, 0).stdout) > 4
