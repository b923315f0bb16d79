"""The report of campaigns: a table, and every cause of failure with its file."""

from collections.abc import Sequence
from pathlib import Path

from fuzz.campaign import Summary
from fuzz.judging import FAILED, LOADED, REFUSED

HEADINGS = ("format", "mutations", "loaded", "refused", "reasons", "failures", "CPU s", "peak MiB")


def rows(summaries: Sequence[Summary]) -> list[tuple[str, ...]]:
    """Return the cells of the table; peak memory is beyond the initial memory of the worker."""
    return [
        (
            summary.task.format,
            f"{summary.done:,}",
            f"{summary.counts[LOADED]:,}",
            f"{summary.counts[REFUSED]:,}",
            str(len(summary.refusals)),
            str(summary.counts[FAILED]),
            f"{summary.cpu_seconds:.1f}",
            f"{summary.peak_bytes / 2**20:.0f}",
        )
        for summary in summaries
    ]


def table(summaries: Sequence[Summary]) -> str:
    """Return the table as text."""
    cells = [HEADINGS, *rows(summaries)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    )


def describe_failures(summary: Summary, folder: Path) -> str:
    """Save the first file of each cause of failure, and return its description."""
    lines = []
    task = summary.task
    for cause, failure in summary.failures.items():
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{task.format}-{task.seed}-{failure.number}"
        path.write_bytes(task.content(failure.number))
        lines += [
            f"\n{task.format}: {cause} ({failure.times} times, first at {failure.number})",
            failure.verdict.detail.rstrip(),
            f"again: python -m fuzz --format {task.format} --seed {task.seed} "
            f"--start {failure.number} --count 1",
            f"or: python -m fuzz --read {path}",
        ]
    if summary.done < task.count:
        lines.append(f"\n{task.format}: given up after {summary.done} of {task.count} mutations")
    return "".join(f"{line}\n" for line in lines)
