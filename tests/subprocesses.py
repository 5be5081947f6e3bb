"""Python in a process of its own, for what a process can do once only: start, be interrupted, fork, crash, end."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def run_python(code, *arguments, timeout=240, check=True, cwd=None, root=ROOT, **environment):
    """What `python -W error -c code` did, with the package of a checkout. Variables that are None are not set."""
    variables = {**os.environ, "PYTHONPATH": str(root), **environment}
    variables = {name: str(value) for name, value in variables.items() if value is not None}
    command = [sys.executable, "-W", "error", "-c", code, *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd or root, env=variables, capture_output=True, text=True, timeout=timeout)
    assert not check or done.returncode == 0, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done
