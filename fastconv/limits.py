"""Limits that `threadpoolctl` sets, where it is installed: known from the import on, with nothing else imported."""

from __future__ import annotations


def _obey_threadpoolctl() -> None:
    """Have `threadpoolctl.threadpool_limits` limit these threads as those of other libraries.

    It knows libraries by their files, when a limit is entered. Of all that has to be loaded, NumPy's is.
    """
    try:
        import threadpoolctl
    except ImportError:
        return

    class Controller(threadpoolctl.LibController):  # type: ignore[misc]
        user_api = internal_api = "fastconv"
        filename_prefixes = ("_multiarray_umath",)

        def get_num_threads(self) -> int:
            from .threads import process_count

            return process_count()

        def set_num_threads(self, num_threads: int) -> None:
            from .threads import MOST, set_num_threads

            set_num_threads(min(num_threads, MOST))

        def get_version(self) -> str:
            from . import __version__

            return __version__

    threadpoolctl.register(Controller)


_obey_threadpoolctl()
