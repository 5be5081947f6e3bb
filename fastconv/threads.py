"""How many threads a call may use: one number for the whole process, within what others limit."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .problem import as_int

_count = 0  # 0: not asked for yet
MOST = 1024  # as many as the largest machines have; each has a workspace of its own


def get_num_threads() -> int:
    """How many threads a call may use.

    By default `FASTCONV_NUM_THREADS`, or else the processors that this process may use: its affinity, the quota of its
    control groups, and `NUMBA_NUM_THREADS`, by which joblib limits the processes that it starts. Where `threadpoolctl`
    is installed, its `threadpool_limits` set the number, too.

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
    return 1 if _here.is_alone else process_count()


def process_count() -> int:
    """How many threads a call of the process may use."""
    global _count
    if _count == 0:
        _count = _default_count()
    return _count


def set_num_threads(n: int) -> None:
    """Set how many threads a call may use, for the whole process.

    Parameters
    ----------
    n : int
        From 1 to 1024. Results do not depend on it, to the last bit. No more threads are started than four for each
        processor.

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
    if number > MOST:
        raise ValueError(f"set_num_threads(): n is {number}, expected {MOST} or less")
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
    before = process_count()
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
        if not 1 <= count <= MOST:
            raise ValueError(f"FASTCONV_NUM_THREADS is {asked!r}, expected an int from 1 to {MOST}")
        return count
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(count, _quota(), _numbas_limit(), MOST))


_UNLIMITED = 1 << 30


def _numbas_limit() -> int:
    """How many threads Numba is to have in this process: what joblib tells the workers that it starts."""
    asked = os.environ.get("NUMBA_NUM_THREADS", "")
    return int(asked) if asked.isdecimal() else _UNLIMITED


def _quota(listed: str = "/proc/self/cgroup", mounted: str = "/sys/fs/cgroup") -> int:
    """Whole processors that control groups grant, rounded up; a large number where nothing limits them."""
    return min(map(_granted, _control_groups(listed, Path(mounted))))


def _control_groups(listed: str, mounted: Path) -> Iterator[Path]:
    """Folders of this process's control groups, of both versions, and of all that they are part of."""
    yield mounted
    try:
        lines = Path(listed).read_text(errors="surrogateescape").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        # A container may see its own group as the topmost one, under the path that it has outside.
        parts = [] if ".." in path else path.strip("/").split("/")
        for folder in {mounted / controllers, mounted / "cpu"} if controllers else {mounted, mounted / "unified"}:
            for count in range(len(parts) + 1):
                yield folder.joinpath(*parts[:count])


def _granted(folder: Path) -> int:
    """Whole processors that a control group grants."""
    try:
        if (folder / "cpu.max").exists():
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return -(-int(quota) // int(period)) if int(quota) > 0 else _UNLIMITED
    except (OSError, ValueError):  # there is none of it here; "max"
        return _UNLIMITED
