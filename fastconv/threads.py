"""Threads: one number for the whole process, and a pool that shares a kernel's work among them.

Helpers are plain Python threads that wait in compiled code, without the GIL, and take numbered items of work from a
shared counter. Numba's own threading layers are not used: one aborts the process when two threads come at once, another
kills the child of a fork. A `ThreadPoolExecutor`'s threads sleep between two calls, and take 50 to 100 us to come.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from . import workspace
from .problem import Array, as_int

_count = 0  # 0: not asked for yet
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
        If `FASTCONV_NUM_THREADS` is set to something else than an int of 1 or more.

    Examples
    --------
    >>> import fastconv
    >>> with fastconv.num_threads(1):
    ...     fastconv.get_num_threads()
    1
    """
    global _count
    if _count == 0:
        _count = _default_count()
    return _count


def set_num_threads(n: int) -> None:
    """Set how many threads a call may use, for the whole process.

    Parameters
    ----------
    n : int
        1 or more. Results do not depend on it, to the last bit.

    Raises
    ------
    ValueError
        If `n` is less than 1.
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
    _count = as_int("set_num_threads", "n", n, 1)


@contextmanager
def num_threads(n: int) -> Iterator[None]:
    """Use another number of threads inside a ``with`` block. The number is the process's: other threads see it, too.

    Parameters
    ----------
    n : int
        1 or more.

    Returns
    -------
    context manager
        It gives the former number back at its end.

    Raises
    ------
    ValueError
        If `n` is less than 1.
    TypeError
        If `n` is no int.

    Examples
    --------
    >>> import fastconv
    >>> with fastconv.num_threads(2):
    ...     fastconv.get_num_threads()
    2
    """
    before = get_num_threads()
    set_num_threads(n)
    try:
        yield
    finally:
        set_num_threads(before)


class _Helper:
    """A thread that waits for work: spinning for as long as calls follow each other, then asleep."""

    def __init__(self, serve: Callable[..., None], words: Array) -> None:
        self._serve, self._words = serve, words
        self._alarm, self._asleep, self._stopped = threading.Lock(), False, False
        self._alarm.acquire()
        self._thread = threading.Thread(target=self._run, name="fastconv", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        pauses = int(_TRIAL * _SPIN / min(self._time_trial() for _ in range(3)))
        while not self._stopped:
            self._serve(self._words, pauses)
            self._asleep = True
            self._alarm.acquire()
            self._asleep = False

    def _time_trial(self) -> float:
        begin = time.perf_counter()
        self._serve(np.zeros_like(self._words), _TRIAL)
        return time.perf_counter() - begin

    def wake(self) -> None:
        """Called by one thread at a time, which an interrupt may stop anywhere: the next one wakes it."""
        if self._asleep and self._alarm.locked():
            self._alarm.release()

    def stop(self) -> None:
        self._stopped = True
        while self._thread.is_alive():
            self.wake()
            self._thread.join(1e-3)


class _Team:
    """Helpers of one call at a time, and the memory in which they find its work."""

    def __init__(self) -> None:
        self.busy = threading.Lock()
        self.words: Array = np.zeros(0, np.int64)
        self._helpers: list[_Helper] = []
        self._held: object = None

    def gather(self, count: int, held: object) -> None:
        """Have `count - 1` helpers awake for a call on memory that is held until `leave`."""
        self._held = held
        for helper in self._helpers[: count - 1]:
            helper.wake()
        if len(self._helpers) < count - 1:
            self._grow(count - 1)

    def _grow(self, count: int) -> None:
        from .kernels import team
        from .launch import entry_point

        if self.words.size == 0:
            block = np.zeros(team.WORDS + 8, np.int64)
            self.words = block[-block.ctypes.data % 64 // 8 :]
        try:
            while len(self._helpers) < count:
                self._helpers.append(_Helper(entry_point(team.serve, "int64", "intp"), self.words))
        except RuntimeError:  # the interpreter is shutting down, or has no room for a thread: fewer do it all
            pass

    def leave(self) -> None:
        """Wait for those that are still at work. An interrupt here leaves the team busy, and what it holds alive."""
        from .kernels.team import JOINED, LEFT

        while self.words[LEFT] != self.words[JOINED]:
            _yield()
        self._held = None
        self.busy.release()

    def stop(self) -> None:
        if self.busy.acquire(timeout=1):
            for helper in self._helpers:
                helper.stop()


def share(kernel: Callable[..., Any], arguments: tuple[Any, ...], size: int, count: int) -> Any:
    """`kernel(*arguments, workspace, words, threads, 0)`, on up to `count` threads with `size` bytes of workspace each.

    Helpers serve one call at a time: others, from other Python threads, run alone meanwhile.
    """
    team = _team
    if count == 1 or not team.busy.acquire(blocking=False):
        scratch = workspace.take(size)
        result = kernel(*arguments, scratch, team.words, 1, 0)
    else:
        scratch = workspace.take(size * count)
        try:
            team.gather(count, (arguments, scratch))
            result = kernel(*arguments, scratch, team.words, count, 0)
        finally:
            team.leave()
    workspace.give(scratch)
    return result


_team = _Team()
_yield: Callable[[], None] = getattr(os, "sched_yield", lambda: time.sleep(0))


def _renew_team() -> None:
    """A forked child has none of its parent's threads."""
    global _team
    _team = _Team()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_team)
atexit.register(lambda: _team.stop())


def _default_count() -> int:
    asked = os.environ.get("FASTCONV_NUM_THREADS", "")
    if asked:
        try:
            return as_int("FASTCONV_NUM_THREADS", "its value", int(asked), 1)
        except ValueError:
            raise ValueError(f"FASTCONV_NUM_THREADS is {asked!r}, expected an int of 1 or more") from None
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(count, _quota()))


def _quota() -> int:
    """Whole processors that the control group grants, rounded up; a large number where nothing limits them."""
    unlimited = 1 << 30
    try:
        with open("/sys/fs/cgroup/cpu.max", encoding="ascii") as file:
            quota, period = file.read().split()
        return unlimited if quota == "max" else -(-int(quota) // int(period))
    except (OSError, ValueError):
        return unlimited
