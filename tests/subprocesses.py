"""Python in a process of its own, for what a process can do once only: start, be interrupted, fork, crash, end."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def start(*arguments, cwd=None, **environment):
    """Start ``python`` with these arguments. Variables of the environment that are None are not set."""
    variables = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env={name: str(value) for name, value in variables.items() if value is not None},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )


def finish(process, *, timeout=240, check=True):
    """Wait for the end; with ``check``, the process has to succeed."""
    try:
        output, errors = process.communicate(timeout=timeout)
    except BaseException:
        process.kill()
        process.communicate()
        raise
    if check:
        assert process.returncode == 0, f"{output}\n{errors}"
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def run(*arguments, timeout=240, check=True, cwd=None, **environment):
    """``python`` with these arguments, from its start to its end."""
    return finish(start(*arguments, cwd=cwd, **environment), timeout=timeout, check=check)


def run_python(code, *arguments, timeout=240, check=True, cwd=None, root=ROOT, **environment):
    """Run ``code`` with the package of the checkout ``root``; there, as in pytest, a warning is an error."""
    command = "-W", "error", "-c", code, *arguments
    return run(*command, timeout=timeout, check=check, cwd=cwd or root, **{"PYTHONPATH": root, **environment})
