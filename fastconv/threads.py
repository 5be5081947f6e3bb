"""Threads: one number for the whole process, and a pool that shares a kernel's work among them.

Kernels release the GIL and take numbered items of work from a shared counter, so plain Python threads are enough.
Numba's own threading layers are not used: one aborts the process when two threads come at once, another kills the child
of a fork.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from .problem import as_int

_pool: ThreadPoolExecutor | None = None
_count = 0  # 0: not asked for yet


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


def share(work: Callable[[], object], count: int) -> None:
    """Call `work` on this thread and on up to `count - 1` others, and return when all calls that began have ended.

    A call takes what is left of the work, so one that never begins is not missed.
    """
    global _pool
    helpers = []
    try:
        if _pool is None or _pool._max_workers < count - 1:
            _pool = ThreadPoolExecutor(count - 1, thread_name_prefix="fastconv")
        helpers = [_pool.submit(work) for _ in range(count - 1)]
    except RuntimeError:  # the interpreter is shutting down, or has no room for a thread: this thread does it all
        pass
    work()
    for helper in helpers:
        if not helper.cancel():
            helper.result()


def _forget_pool() -> None:
    """A forked child has none of its parent's threads."""
    global _pool
    _pool = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)


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
