"""The command line: ``python -m fuzz --help``."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import fuzz
from fuzz.campaign import run_all
from fuzz.formats import FORMATS, NAMES, Format
from fuzz.judging import FAILED, judge
from fuzz.report import describe_failures, table


def main() -> int:
    """Run the campaigns of the command line; return 1 if there is a failure."""
    arguments = _parsed()
    if arguments.read is not None:
        return _read_one(arguments.read)
    summaries = run_all(
        list(_installed(arguments.format or NAMES)),
        seed=arguments.seed,
        start=arguments.start,
        count=arguments.count,
        jobs=arguments.jobs,
    )
    print(table(summaries))
    for summary in summaries:
        print(describe_failures(summary, arguments.out), end="")
    return 1 if any(summary.failures for summary in summaries) else 0


def _installed(names: Sequence[str]) -> Iterator[Format]:
    """Return the formats of these names whose libraries are installed, and print the others."""
    for known in FORMATS:
        if known.name in names and known.missing():
            print(f"{known.name}: skipped, as {', '.join(known.missing())} is not installed")
        elif known.name in names:
            yield known


def _read_one(path: Path) -> int:
    verdict = judge(path)
    print(f"{path}: {verdict.kind}{': ' * bool(verdict.reason)}{verdict.reason}")
    print(verdict.detail, end="")
    return 1 if verdict.kind == FAILED else 0


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=fuzz.__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="mutations of each format")
    parser.add_argument(
        "--format", action="append", choices=NAMES, help="only this one; repeatable"
    )
    parser.add_argument("--seed", type=int, default=0, help="other seeds give other mutations")
    parser.add_argument("--start", type=int, default=0, help="number of the first mutation")
    parser.add_argument("--jobs", type=int, default=1, help="formats at a time")
    parser.add_argument(
        "--out", type=Path, default=Path("fuzz-failures"), help="folder for files that failed"
    )
    parser.add_argument("--read", type=Path, metavar="FILE", help="judge this file, and no others")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
