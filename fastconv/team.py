"""Threads that share a kernel's work: helpers that wait for it, and one that makes a call which takes long.

Helpers are plain Python threads that wait in compiled code, without the GIL, and take numbered items of work from a
shared counter. Numba's own threading layers are not used: one aborts the process when two threads come at once, another
kills the child of a fork. A `ThreadPoolExecutor`'s threads sleep between two calls, and take 50 to 100 us to come.

An interrupt reaches the interpreter, not compiled code. So who asks for what takes long waits in the interpreter, while
another thread computes in its place; an interrupt lets all threads end the items that they have begun, and no more.
"""

from __future__ import annotations

import _thread
import atexit
import functools
import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import numpy as np

from . import workspace
from .kernels.process import SLICE, start_once
from .problem import Array

_SPIN = 0.5e-3  # seconds that a helper waits for the next call before it sleeps
_TRIAL = 4_000  # pauses that tell how long one takes
_LONG = 50e6  # nanoseconds that a call is predicted to take, from which on it can be stopped: 250 times what that costs
_WORTH = 1e6  # nanoseconds of work that make it worth to move helpers apart, 25 us, before it shows that it is needed
_MOST = 4 * (os.cpu_count() or 1)  # threads of a call: more of them would only take turns
_NO_MORE = 1 << 40  # a number that no item has


def share(kernel: Callable[..., Any], arguments: tuple[Any, ...], size: int, count: int, work: float) -> Any:
    """`kernel(*arguments, workspace, words, threads, 0)`, on up to `count` threads with `size` bytes of workspace each.

    `work` is about how many nanoseconds one thread takes for it. Helpers serve one call at a time: others, from other
    Python threads, run alone meanwhile. The kernel itself takes the team and gives it back, and returns after all
    helpers have left: whatever stops this function, an interrupt between two of its instructions or a lack of memory,
    stops it before or after that.
    """
    words = _NO_WORDS
    if count > 1:
        team = _the_team()
        count = min(count, _MOST)
        words, count = team.words, count if team.gather(count - 1, work) else 1
    if work > _LONG * count:
        return _LongCall(kernel, arguments, size, count).result()
    scratch = workspace.take(size * count)
    result = kernel(*arguments, scratch, words, count, 0)
    workspace.give(scratch)
    return result


def _new_words() -> Array:
    from .kernels import team

    block = np.zeros(team.WORDS + 8, np.int64)
    return block[-block.ctypes.data % 64 // 8 :]


_NO_WORDS = np.zeros(0, np.int64)  # what a call has for a team that runs alone


class _Team:
    """Helpers, threads that wait for work: spinning for as long as calls follow each other, then asleep.

    An interrupt may stop whoever calls `gather` anywhere, also for good, and signal handlers call it in the middle of
    itself. So it holds no lock and leaves nothing half done: a helper that was not woken is woken by the next call, and
    helpers enter themselves in the list, where those that are too many turn back.
    """

    def __init__(self) -> None:
        from .kernels import team

        self.words = self.served = _new_words()  # a long call has words of its own served for a while
        self._turn = _thread.allocate_lock()  # of the long call that does
        self._busy, self._joined = self.words[team.BUSY :], self.words[team.JOINED :]
        self._are_apart = False
        self._helpers: list[_Helper] = []
        self._entering = _thread.allocate_lock()  # held by helpers only, which no signal interrupts
        self._is_stopped = False

    def gather(self, count: int, work: float) -> bool:
        """Have so many helpers awake. False: they are at work on another call."""
        if self._busy[0]:
            return False
        self.wake(count, work)
        return True

    def turn(self, words: Array) -> bool:
        """Have helpers serve a long call, until `turn_back`. False: they serve another one."""
        is_free = self._turn.acquire(blocking=False)
        if is_free:
            self.served = words
        return is_free

    def turn_back(self) -> None:
        """Have helpers serve short calls again."""
        self.served = self.words
        self._turn.release()

    def wake(self, count: int, work: float) -> None:
        """Have so many helpers awake, or as many as there is room for; once, if that is worth it, on other processors.

        Linux often wakes a thread on the processor of who wakes it, and leaves it there, without a turn, for some
        15 ms.
        """
        helpers, was_asleep = self._helpers[:count], False
        for helper in helpers:
            was_asleep |= helper.wake()
        self._are_apart = self._are_apart and not was_asleep
        is_late = not was_asleep and self._joined[0] < len(helpers)  # some missed the last call, though they are awake
        if not self._are_apart and (is_late or work > _WORTH):
            self._are_apart = True
            _move_elsewhere(helper.thread for helper in helpers)
        if len(helpers) < count:
            self._grow(count)

    def _grow(self, count: int) -> None:
        from .kernels import team
        from .launch import entry_point

        serve = entry_point(team.serve, "int64", "intp")
        try:
            for _ in range(count - len(self._helpers)):
                _thread.start_new_thread(self._help, (serve, count))
        except (RuntimeError, MemoryError):  # the interpreter ends, or there is no room for a thread: fewer do it all
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
                words = self.served
                serve(words, pauses)
                helper.sleep(self, words)
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


def _move_elsewhere(threads: Iterable[int]) -> None:
    """Have threads run on other processors than this one's, of those that this one may use, if there are others."""
    with suppress(AttributeError, OSError):  # elsewhere than on Linux, or forbidden
        places = os.sched_getaffinity(0)
        places = places - {_c_library().sched_getcpu()} or places
        for thread in threads:
            os.sched_setaffinity(thread, places)


@functools.cache
def _c_library() -> Any:
    import ctypes

    return ctypes.CDLL(None)


class _Helper:
    """The sleep of a helper."""

    def __init__(self) -> None:
        self._alarm, self._is_asleep = _thread.allocate_lock(), False
        self._alarm.acquire()
        self.thread = _thread.get_native_id()

    def sleep(self, team: _Team, words: Array) -> None:
        """Sleep until woken, unless the team has others served by now: who did that may have seen nobody asleep."""
        self._is_asleep = True
        if team.served is words:
            self._alarm.acquire()
        self._is_asleep = False

    def is_asleep(self) -> bool:
        """Whether it sleeps, or is about to."""
        return self._is_asleep and self._alarm.locked()

    def wake(self) -> bool:
        """End the sleep of a helper, or the next one, if it is about to sleep. False: it is awake."""
        if not self.is_asleep():
            return False
        with suppress(RuntimeError):  # another thread has woken it since
            self._alarm.release()
        return True


class _LongCall:
    """A call of a kernel that another thread makes, while the one that asks for its result waits for interrupts."""

    def __init__(self, kernel: Callable[..., Any], arguments: tuple[Any, ...], size: int, count: int) -> None:
        self._kernel, self._arguments, self._size, self._count = kernel, arguments, size, count
        # Its own, and never used again: to stop this call means to write there, also when it has ended since.
        self._words = _new_words()
        self._starts: list[None] = [None]  # taken by who makes the call
        self._is_begun = self._is_stopped = self._is_over = False
        self._done = _thread.allocate_lock()
        self._done.acquire()
        self._result: Any = None
        self._error: BaseException | None = None

    def result(self) -> Any:
        try:
            while not self._done.acquire(timeout=start_once(self._starts, self._make)):
                pass
        except BaseException:
            self._stop()
            raise
        if self._error is None:
            return self._result
        try:
            raise self._error
        finally:
            self._error = None

    def _stop(self) -> None:
        """Have no more items begun, and wait until those are done that are: until then, `out` is written."""
        is_needed = True
        while is_needed:
            with suppress(BaseException):  # of several interrupts, the first one is raised
                from .kernels import team

                self._is_stopped = True
                self._words[team.COUNTER] = _NO_MORE  # again and again: the call may not have been open before
                self._done.acquire(timeout=SLICE)  # in vain, if the interrupt came just after the one that succeeded
                is_needed = self._is_begun and not self._is_over

    def _make(self) -> None:
        try:
            self._starts.pop()
        except IndexError:  # another thread was started, and came first
            return
        self._is_begun = True  # in this order: either this sees that it is stopped, or `_stop` that it is begun
        try:
            if not self._is_stopped:
                self._result = self._compute()
        except BaseException as error:
            self._error = error
        finally:
            self._is_over = True
            self._done.release()

    def _compute(self) -> Any:
        team = _the_team()
        is_served = self._count > 1 and team.turn(self._words)
        try:
            if is_served:
                team.wake(self._count - 1, _LONG)
            count = self._count if is_served else 1
            scratch = workspace.take(self._size * count)
            # Items are counted where there are two threads or more, of which one may be without the other.
            result = self._kernel(*self._arguments, scratch, self._words, max(count, 2), 0)
            workspace.give(scratch)
            return result
        finally:
            if is_served:
                team.turn_back()


_teams: dict[str, _Team] = {}  # the only one, or none yet; threads and signal handlers that make it at once agree on it


def _the_team() -> _Team:
    return _teams.get("fastconv") or _teams.setdefault("fastconv", _Team())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_teams.clear)  # a forked child has none of its parent's threads


@atexit.register
def _stop() -> None:
    for team in _teams.values():
        team.stop()
