"""fastconv's functions in SciPy's place: `scipy.ndimage` and `scipy.signal` hold those of `fastconv.ndimage` and
`fastconv.signal`, so that programs and libraries that look them up there are served unchanged.

What another module imported before by its own name (`from scipy.ndimage import gaussian_filter`) stays SciPy's, and so
do SciPy's own calls, which go by its private modules. Drop-ins reach SciPy through `original`, never by public names.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import Any

_MODULES = "ndimage", "signal"

_lock = threading.RLock()  # a signal handler may ask in the middle of a change
_is_on, _blocks = False, 0  # by `patch_scipy`, and how many `with` blocks are entered
_ours: dict[tuple[str, str], Callable[..., Any]] = {}  # by module and name
_theirs: dict[tuple[str, str], Callable[..., Any]] = {}
_is_patched = False


def is_patched() -> bool:
    """Whether SciPy's names are fastconv's now."""
    return _is_patched


def original(module: str, name: str) -> Any:
    """SciPy's own function `scipy.<module>.<name>`, patched or not.

    It takes no lock, and may be asked in the middle of a change: `_theirs` is written before any name of SciPy's.
    """
    found, key = getattr(_scipy(name, module), name), (module, name)
    return _theirs[key] if key in _theirs and (_is_patched or found is _ours.get(key)) else found


def patch_scipy() -> None:
    """Put fastconv's functions in the place of SciPy's in `scipy.ndimage` and `scipy.signal`.

    For the whole process, until `unpatch_scipy`; a second call changes nothing. What a module has imported before by
    its own name, as ``from scipy.ndimage import gaussian_filter`` does, stays SciPy's.

    Raises
    ------
    ModuleNotFoundError
        If SciPy is not installed.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.patch_scipy()
    >>> fastconv.show_config("dicts")["scipy_patched"]
    True
    >>> fastconv.unpatch_scipy()
    """
    _change("patch_scipy", is_on=True)


def unpatch_scipy() -> None:
    """Give `scipy.ndimage` and `scipy.signal` their own functions back.

    Without `patch_scipy` before, nothing happens. While a block of `scipy_patched` runs in any thread, SciPy stays
    patched until the last of them ends.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.patch_scipy()
    >>> fastconv.unpatch_scipy()
    >>> fastconv.show_config("dicts")["scipy_patched"]
    False
    """
    _change("unpatch_scipy", is_on=False)


@contextmanager
def scipy_patched() -> Iterator[None]:
    """Put fastconv's functions in the place of SciPy's inside a ``with`` block; blocks may be nested.

    Other threads see it, too: the names are the process's.

    Returns
    -------
    context manager
        At the end of the last block, SciPy's functions are back, unless `patch_scipy` put them there.

    Raises
    ------
    ModuleNotFoundError
        If SciPy is not installed.

    Examples
    --------
    >>> import fastconv
    >>> with fastconv.scipy_patched():
    ...     fastconv.show_config("dicts")["scipy_patched"]
    True
    """
    _change("scipy_patched", entered=1)
    try:
        yield
    finally:
        _change("scipy_patched", entered=-1)


def _scipy(function: str, module: str) -> Any:
    try:
        return import_module(f"scipy.{module}")
    except ModuleNotFoundError:
        if find_spec("scipy"):
            raise
        message = f"{function}(): SciPy is not installed, which this needs; `pip install scipy` installs it"
        raise ModuleNotFoundError(message, name="scipy") from None


def _pairs(function: str) -> dict[tuple[str, str], Callable[..., Any]]:
    """Our functions whose names SciPy has, too; an older SciPy lacks some."""
    pairs = {}
    for module in _MODULES:
        theirs = _scipy(function, module)
        ours = import_module(f".{module}", __package__)
        pairs.update({(module, name): getattr(ours, name) for name in ours.__all__ if hasattr(theirs, name)})
    return {key: value for key, value in pairs.items() if callable(value)}


def _change(function: str, is_on: bool | None = None, entered: int = 0) -> None:
    global _is_on, _blocks, _ours, _theirs, _is_patched
    may_begin = is_on or entered > 0
    pairs = _pairs(function) if may_begin and not _is_patched else _ours  # imports, before the lock is taken
    with _lock:
        _is_on, _blocks = _is_on if is_on is None else is_on, _blocks + entered
        wanted = _is_on or _blocks > 0
        if wanted and not _is_patched:
            _ours = pairs  # first, since `original` looks there for what it finds in `_theirs`
            _theirs = {(module, name): getattr(_scipy(function, module), name) for module, name in pairs}
            _is_patched = True
        if _is_patched:
            # Every name, whatever an interrupt left half done or others have put there: a wrapper of ours that stayed
            # in SciPy would be taken for SciPy's own.
            for (module, name), value in (_ours if wanted else _theirs).items():
                setattr(_scipy(function, module), name, value)
            _is_patched = wanted
