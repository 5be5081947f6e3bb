"""The history of fastconv's speed and memory: asv over its commits, a page of what changed, a verdict."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "history" / "results"  # as asv.conf.json has it


def git(*arguments: str) -> list[str]:
    """Lines that git prints."""
    done = subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True)
    return done.stdout.splitlines()
