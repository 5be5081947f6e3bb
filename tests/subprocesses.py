"""Python in a process of its own, for what a process can do once only: start, be interrupted, fork, crash, end."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PATIENCE = 1700  # seconds, less than those of pyproject.toml: what hangs is ended, and what it wrote is shown


def start(*arguments, cwd=None, root=ROOT, **environment):
    """Start ``python`` with the package of a checkout. A variable of the environment that is None is taken away."""
    variables = {**os.environ, "PYTHONPATH": str(root), **environment}
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        cwd=cwd or root,
        env={name: str(value) for name, value in variables.items() if value is not None},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )


def finish(process, *, timeout=PATIENCE, check=True):
    """Wait for the end; with ``check``, the process has to succeed."""
    try:
        output, errors = process.communicate(timeout=timeout)
    except BaseException:
        process.kill()
        process.communicate()
        raise
    if check:
        assert process.returncode == 0, f"exit code {process.returncode}\n{output}\n{errors}"
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def run(*arguments, timeout=PATIENCE, check=True, **where):
    """``python`` with these arguments, from its start to its end."""
    return finish(start(*arguments, **where), timeout=timeout, check=check)


def run_python(code, *arguments, **options):
    """Run ``code`` in a process of its own, where a warning is an error."""
    return run("-W", "error", "-c", code, *arguments, **options)
