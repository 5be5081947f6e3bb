"""Interrupts and forks: neither may find kernels half imported or half compiled.

An interrupt is an exception in the main thread, between any two instructions. Numba and the import system are not
made for it: what it leaves behind may fail in all later calls. So both run on threads of their own, which it does not
reach.

A fork copies locks, but not the threads that hold them. So those that guard imports and compilation are taken before.
"""

import _thread
import atexit
import functools
import importlib
import operator
import os
import sys
import threading
import time

_importing = threading.RLock()
_workers = set()  # the threads that `uninterrupted` began
_running = set()  # a lock for each of them, held until it is done
_PATIENCE = 2.0  # seconds that someone at a terminal waits without a word
SLICE = 0.02  # seconds between looks at what only a running interpreter sees: exceptions that another thread has sent
_told = threading.Lock()  # taken once and for all, by the thread that says what takes so long


def uninterrupted(function, *arguments):
    """`function(*arguments)`, on a thread of its own. What interrupts this one ends the wait, not the work."""
    if _thread.get_ident() in _workers:
        return function(*arguments)
    # Places for a result and an error: there may be no memory left when it comes.
    done, outcome, starts = _thread.allocate_lock(), [None, None], [None]
    done.acquire()
    patience = time.monotonic() + _PATIENCE
    while not done.acquire(timeout=start_once(starts, _work, function, arguments, done, outcome, starts)):
        if time.monotonic() > patience and _is_watched() and _told.acquire(blocking=False):
            sys.stderr.write("fastconv: compiling, which takes some seconds once (FASTCONV_QUIET=1: no such line)\n")
    result, error = outcome
    outcome.clear()
    if error is None:
        return result
    try:
        raise error
    finally:
        del error


def start_once(starts, work, *arguments):
    """Have another thread do what nobody has begun, who would have taken the one item of `starts`; how long to wait.

    To be called again as long as that is there: CPython takes a thread that has not begun for the one that started it,
    and hands it an exception which is sent to that one. Then neither of the two comes to do anything.
    """
    if starts:
        try:
            _thread.start_new_thread(work, arguments)
        except (RuntimeError, MemoryError):  # the interpreter ends, or there is no room for a thread
            work(*arguments)
    return SLICE


def _is_watched():
    """Whether someone types calls and reads what stderr says, and did not ask for silence."""
    try:
        is_interactive = hasattr(sys, "ps1") or sys.flags.interactive
        return is_interactive and os.environ.get("FASTCONV_QUIET", "") in ("", "0") and sys.stderr.isatty()
    except (AttributeError, ValueError):  # there is no stderr, or it is closed
        return False


def _work(function, arguments, done, outcome, starts):
    try:
        starts.pop()
    except IndexError:  # another one was started, and came first
        return
    try:
        thread = _thread.get_ident()
        try:
            _workers.add(thread)
            _running.add(done)
            outcome[0] = function(*arguments)
        finally:
            _workers.discard(thread)
            _running.discard(done)
    except BaseException as error:
        outcome[1] = error
    finally:
        done.release()


# CPython keeps a thread's frames in chunks of 16 KiB, and gives each back as soon as it is left: a loop whose calls
# cross the end of one maps memory anew at every call, which took a tenth of a compilation's time. A first frame that
# asks for half a MiB, which it never touches, gets a chunk with as much room behind it.
_work.__code__ = _work.__code__.replace(co_stacksize=1 << 16)


def import_modules(names):
    """Import modules of this package, and with them Numba: one thread at a time, another may see half of a module."""
    if _is_importing():  # this thread may be in the middle of it, in a signal handler: nobody else could end it
        _import(names)
    else:
        uninterrupted(_import, names)


def _import(names):
    guard_forks()
    with _importing:
        for name in names:
            importlib.import_module(f".{name}", __package__)


def _is_importing():
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in ("numba", "llvmlite", "fastconv"):
            spec = getattr(module, "__spec__", None)
            if getattr(spec, "_initializing", False):
                return True
    return False


@atexit.register
def _wait():
    """The code of LLVM must not run while the process ends."""
    for done in list(_running):
        while done in _running:  # its lock is taken by who waits for the result, a thread that may never run again
            time.sleep(SLICE)


# ---- forks


class _Held(threading.local):
    """The locks that a thread takes before a fork, and one item for each that it has."""

    def __init__(self):
        self.locks, self.taken = [], []


_held = _Held()


def _locks():
    """Ours around imports, Numba's around compilation, llvmlite's around LLVM: in the order in which they nest."""
    compiler = getattr(sys.modules.get("numba.core.compiler_lock"), "global_compiler_lock", None)
    llvm = getattr(sys.modules.get("llvmlite.binding.ffi"), "lib", None)
    return [_importing, *([compiler._lock] if compiler else []), *([llvm._lock._lock] if llvm else [])]


def _before_fork():
    while True:
        _held.locks, _held.taken = _locks(), []
        # All in C: whatever interrupts it, what was taken is known.
        _held.taken.extend(map(operator.methodcaller("acquire"), _held.locks))
        if len(_held.locks) == len(_locks()):
            return
        _after_fork()  # Numba was imported meanwhile


def _after_fork():
    for lock in reversed(_held.locks[: len(_held.taken)]):
        lock.release()


def _after_fork_in_child():
    _workers.intersection_update([_thread.get_ident()])
    _running.clear()
    _after_fork()


@functools.cache
def guard_forks():
    """Take the locks before each fork from now on.

    What was registered last comes first. Two of Python's modules take locks, too, which imports need: they are to be
    taken after ours.
    """
    for name in ("logging", "concurrent.futures.thread"):
        importlib.import_module(name)

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child)
