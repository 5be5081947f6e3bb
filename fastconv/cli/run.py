"""Run a Python program, on request with fastconv's functions in the place of SciPy's.

As `python program.py ...` or `python -m module ...` would: arguments, exit codes and tracebacks are the same.
"""

import argparse
import builtins
import io
import os
import pkgutil
import runpy
import sys
from importlib.machinery import SourceFileLoader
from types import ModuleType, TracebackType
from typing import Any, NoReturn

import fastconv


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `run`."""
    parser.add_argument(
        "--patch-scipy", action="store_true", help="scipy.ndimage and scipy.signal hold fastconv's functions"
    )
    rest: dict[str, Any] = {"nargs": argparse.REMAINDER}
    parser.add_argument("-m", dest="module", metavar="module", help="run a module, with the arguments after it", **rest)
    parser.add_argument("program", help="the program and its arguments", **rest)


def run(args: argparse.Namespace) -> int:
    """Become the program."""
    words = args.module or args.program
    if not words:
        print("run: the program is missing, expected program.py or -m module", file=sys.stderr)
        return 2
    if args.patch_scipy:
        try:
            fastconv.patch_scipy()
        except ModuleNotFoundError as error:
            print(f"run: {error}", file=sys.stderr)
            return 1
    main = sys.modules["__main__"] = ModuleType("__main__")
    main.__dict__.update(__builtins__=builtins)
    try:
        if args.module:
            _find_modules_in(os.getcwd())
            sys.argv[:] = ["-m", *words[1:]]
            runpy._run_module_as_main(words[0])  # type: ignore[attr-defined]  # all that `python -m` does
        elif pkgutil.get_importer(words[0]):  # a folder or an archive with a __main__.py
            _find_modules_in(os.path.abspath(words[0]))
            sys.argv[:] = words
            runpy._run_module_as_main("__main__", alter_argv=False)  # type: ignore[attr-defined]
        else:
            _find_modules_in(os.path.dirname(os.path.realpath(words[0])))
            sys.argv[:] = words
            _run_file(os.path.join(os.getcwd(), words[0]), main)
    except SystemExit:
        raise
    except BaseException as error:
        _reraise(error, error.__traceback__)
    return 0


def _find_modules_in(folder: str) -> None:
    if not sys.flags.safe_path:
        sys.path[0] = folder


def _run_file(path: str, main: ModuleType) -> None:
    try:
        with io.open_code(path) as file:
            source = file.read()
    except OSError as error:
        print(f"run: can't open file {path!r}: [Errno {error.errno}] {error.strerror}", file=sys.stderr)
        sys.exit(2)
    main.__dict__.update(__file__=path, __cached__=None, __loader__=SourceFileLoader("__main__", path))
    exec(compile(source, path, "exec", dont_inherit=True), main.__dict__)


def _reraise(error: BaseException, trace: TracebackType | None) -> NoReturn:
    """Leave it to Python to say what happened and to end, and have it not show the frames of this file."""
    while trace and trace.tb_frame.f_globals is globals():
        trace = trace.tb_next
    hook = sys.excepthook

    def without_our_frames(kind: type[BaseException], value: BaseException, _: TracebackType | None) -> None:
        hook(kind, value.with_traceback(trace), trace)

    sys.excepthook = without_our_frames
    raise error
