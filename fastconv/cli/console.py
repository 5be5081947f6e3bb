"""What the commands print: a table in box characters, and progress with rich or in plain lines."""

import itertools
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager


@contextmanager
def progress(total: int) -> Iterator[Callable[[str], None]]:
    """Show progress on stderr: a bar where rich is installed, else a line for each step.

    Yields a function to call as each of the `total` steps begins, with its name.
    """
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    except ImportError:
        numbers = itertools.count(1)
        yield lambda step: print(f"[{next(numbers)}/{total}] {step}", file=sys.stderr, flush=True)
        return
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=total)
        begun = 0

        def begin(step: str) -> None:
            nonlocal begun
            bar.update(task, completed=begun, description=step)
            begun += 1

        yield begin
        bar.update(task, completed=total, description="done")


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay out a table for stdout: the first column to the left, the others to the right.

    Box characters become ASCII where stdout cannot encode them.
    """
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]

    def rule(left: str, middle: str, right: str) -> str:
        return left + middle.join("─" * (width + 2) for width in widths) + right

    def line(cells: Sequence[str]) -> str:
        aligned = (f"{cell:{'>' if column else '<'}{widths[column]}}" for column, cell in enumerate(cells))
        return f"│ {' │ '.join(aligned)} │"

    lines = [rule("┌", "┬", "┐"), line(header), rule("├", "┼", "┤"), *map(line, rows), rule("└", "┴", "┘")]
    text = "\n".join(lines)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return text.translate(str.maketrans("─│┌┬┐├┼┤└┴┘", "-|+++++++++"))
    return text
