"""How many threads a call may use: one number for the whole process, within what others limit."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from .problem import as_int

_count = 0  # 0: not asked for yet
_MOST = 1024  # as many as the largest machines have; each has a workspace of its own


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
