"""The command line: `python -m fastconv demo | bench | warmup | info`."""

import argparse
from collections.abc import Sequence

from fastconv.cli import bench, demo, info, warmup

COMMANDS = {"demo": demo, "bench": bench, "warmup": warmup, "info": info}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the process's exit code."""
    parser = argparse.ArgumentParser(prog="python -m fastconv", description="Convolution for NumPy arrays.")
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
