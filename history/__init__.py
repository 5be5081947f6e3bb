"""The history of fastconv's speed and memory: asv over its commits, asv's page, and a verdict on HEAD."""

from pathlib import Path

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "history" / "results"  # as asv.conf.json has it
