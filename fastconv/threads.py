"""Threads: one number for the whole process, and a pool that shares a kernel's work among them.

Helpers are plain Python threads that wait in compiled code, without the GIL, and take numbered items of work from a
shared counter. Numba's own threading layers are not used: one aborts the process when two threads come at once, another
kills the child of a fork. A `ThreadPoolExecutor`'s threads sleep between two calls, and take 50 to 100 us to come.
"""

from __future__ import annotations

import _thread
import atexit
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from . import workspace
from .problem import as_int

_count = 0  # 0: not asked for yet
_MOST = 1024  # as many as the largest machines have; each has a workspace of its own
_SPIN = 0.5e-3  # seconds that a helper waits for the next call before it sleeps
_TRIAL = 4_000  # pauses that tell how long one takes


def get_num_threads() -> int:
    """How many threads a call may use.

    By default `FASTCONV_NUM_THREADS`, or else the processors that this process may use: its affinity, and the quota of
    its control group.

    Returns
    -------
    int
        1 or more.

    Raises
    ------
    ValueError
        If `FASTCONV_NUM_THREADS` is set to something else than an int from 1 to 1024.

    Examples
    --------
    >>> import fastconv
    >>> with fastconv.num_threads(1):
    ...     fastconv.get_num_threads()
    1
    """
    return 1 if _here.is_alone else _process_count()


def _process_count() -> int:
    global _count
    if _count == 0:
        _count = _default_count()
    return _count


def set_num_threads(n: int) -> None:
    """Set how many threads a call may use, for the whole process.

    Parameters
    ----------
    n : int
        From 1 to 1024. Results do not depend on it, to the last bit.

    Raises
    ------
    ValueError
        If `n` is less than 1 or more than 1024.
    TypeError
        If `n` is no int.

    Examples
    --------
    >>> import fastconv
    >>> before = fastconv.get_num_threads()
    >>> fastconv.set_num_threads(1)
    >>> fastconv.set_num_threads(before)
    """
    global _count
    number = as_int("set_num_threads", "n", n, 1)
    if number > _MOST:
        raise ValueError(f"set_num_threads(): n is {number}, expected {_MOST} or less")
    _count = number


@contextmanager
def num_threads(n: int) -> Iterator[None]:
    """Use another number of threads inside a ``with`` block. The number is the process's: other threads see it, too.

    Parameters
    ----------
    n : int
        From 1 to 1024.

    Returns
    -------
    context manager
        It gives the former number back at its end.

    Raises
    ------
    ValueError
        If `n` is less than 1 or more than 1024.
    TypeError
        If `n` is no int.

    Examples
    --------
    >>> import fastconv
    >>> with fastconv.num_threads(2):
    ...     fastconv.get_num_threads()
    2
    """
    before = _process_count()
    try:
        set_num_threads(n)
        yield
    finally:
        set_num_threads(before)


@contextmanager
def alone() -> Iterator[None]:
    """Calls of this Python thread use no other thread inside a ``with`` block; those of others do as they did.

    For schedulers that run many calls at once, each in a thread of its own.
    """
    before, _here.is_alone = _here.is_alone, True
    try:
        yield
    finally:
        _here.is_alone = before


class _Here(threading.local):
    """What holds for the calls of one Python thread."""

    is_alone = False


_here = _Here()


class _Team:
    """Helpers, threads that wait for work: spinning for as long as calls follow each other, then asleep.

    An interrupt may stop whoever calls `gather` anywhere, also for good, and signal handlers call it in the middle of
    itself. So it holds no lock and leaves nothing half done: a helper that was not woken is woken by the next call, and
    helpers enter themselves in the list, where those that are too many turn back.
    """

    def __init__(self) -> None:
        from .kernels import team

        block = np.zeros(team.WORDS + 8, np.int64)
        self.words = block[-block.ctypes.data % 64 // 8 :]
        self._busy = self.words[team.BUSY :]
        self._helpers: list[_Helper] = []
        self._entering = _thread.allocate_lock()  # held by helpers only, which no signal interrupts
        self._is_stopped = False

    def gather(self, count: int) -> bool:
        """Have so many helpers awake. False: they are at work on another call."""
        if self._busy[0]:
            return False
        helpers = self._helpers
        for helper in helpers[:count]:
            helper.wake()
        if len(helpers) < count:
            self._grow(count)
        return True

    def _grow(self, count: int) -> None:
        from .kernels import team
        from .launch import entry_point

        serve = entry_point(team.serve, "int64", "intp")
        try:
            for _ in range(count - len(self._helpers)):
                _thread.start_new_thread(self._help, (serve, count))
        except RuntimeError:  # the interpreter is shutting down, or has no room for a thread: fewer do it all
            pass

    def _help(self, serve: Callable[..., None], count: int) -> None:
        helper = _Helper()
        with self._entering:
            if len(self._helpers) >= count:
                return
            self._helpers.append(helper)
        try:
            pauses = int(_TRIAL * _SPIN / min(self._time_trial(serve) for _ in range(3)))
            while not self._is_stopped:
                serve(self.words, pauses)
                helper.sleep()
        finally:
            self._helpers.remove(helper)

    def _time_trial(self, serve: Callable[..., None]) -> float:
        begin = time.perf_counter()
        serve(np.zeros_like(self.words), _TRIAL)
        return time.perf_counter() - begin

    def stop(self) -> None:
        """Have the helpers end, for which the interpreter does not wait, before it ends: as many as do in a second."""
        self._is_stopped, end = True, time.monotonic() + 1
        while self._helpers and time.monotonic() < end:
            for helper in self._helpers[:]:
                helper.wake()
            time.sleep(1e-3)


class _Helper:
    """The sleep of a helper."""

    def __init__(self) -> None:
        self._alarm, self._is_asleep = _thread.allocate_lock(), False
        self._alarm.acquire()

    def sleep(self) -> None:
        self._is_asleep = True
        self._alarm.acquire()
        self._is_asleep = False

    def wake(self) -> None:
        """End the sleep of a helper, or the next one, if it is about to sleep."""
        if self._is_asleep and self._alarm.locked():
            with suppress(RuntimeError):  # another thread has woken it since
                self._alarm.release()


def share(kernel: Callable[..., Any], arguments: tuple[Any, ...], size: int, count: int) -> Any:
    """`kernel(*arguments, workspace, words, threads, 0)`, on up to `count` threads with `size` bytes of workspace each.

    Helpers serve one call at a time: others, from other Python threads, run alone meanwhile. The kernel itself takes
    the team and gives it back, and returns after all helpers have left: whatever stops this function, an interrupt
    between two of its instructions or a lack of memory, stops it before or after that.
    """
    words = _NO_WORDS
    if count > 1:
        team = _teams.get("fastconv") or _teams.setdefault("fastconv", _Team())
        words, count = team.words, count if team.gather(count - 1) else 1
    scratch = workspace.take(size * count)
    result = kernel(*arguments, scratch, words, count, 0)
    workspace.give(scratch)
    return result


_NO_WORDS = np.zeros(0, np.int64)  # what a call has for a team that runs alone
_teams: dict[str, _Team] = {}  # the only one, or none yet; threads and signal handlers that make it at once agree on it

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_teams.clear)  # a forked child has none of its parent's threads


@atexit.register
def _stop() -> None:
    for team in _teams.values():
        team.stop()


def _default_count() -> int:
    asked = os.environ.get("FASTCONV_NUM_THREADS", "")
    if asked:
        try:
            count = int(asked)
        except ValueError:
            count = 0
        if not 1 <= count <= _MOST:
            raise ValueError(f"FASTCONV_NUM_THREADS is {asked!r}, expected an int from 1 to {_MOST}")
        return count
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(count, _quota(), _MOST))


def _quota() -> int:
    """Whole processors that the control group grants, rounded up; a large number where nothing limits them."""
    unlimited = 1 << 30
    try:
        with open("/sys/fs/cgroup/cpu.max", encoding="ascii") as file:
            quota, period = file.read().split()
        return unlimited if quota == "max" else -(-int(quota) // int(period))
    except (OSError, ValueError):
        return unlimited
