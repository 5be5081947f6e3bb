"""Show what fastconv runs on."""

import argparse

import fastconv


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`info` takes no arguments."""


def run(args: argparse.Namespace) -> int:
    """Print the configuration."""
    fastconv.show_config()
    return 0
