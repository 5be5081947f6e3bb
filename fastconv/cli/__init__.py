"""The command line: `fastconv`, or `python -m fastconv`, then `demo | bench | warmup | info | run`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from fastconv import __version__
from fastconv.cli import bench, demo, info, run, warmup

COMMANDS = {"demo": demo, "bench": bench, "warmup": warmup, "info": info, "run": run}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the process's exit code."""
    name = "fastconv" if Path(sys.argv[0]).stem == "fastconv" else "python -m fastconv"
    parser = argparse.ArgumentParser(prog=name, description="Convolution for NumPy arrays.")
    parser.add_argument("--version", action="version", version=f"fastconv {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for name, module in COMMANDS.items():
        about = module.__doc__ or ""
        command = commands.add_parser(
            name,
            help=about.partition("\n")[0],
            description=about,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    args = parser.parse_args(argv)
    code: int = args.run(args)
    return code
