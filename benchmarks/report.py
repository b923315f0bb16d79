"""Printing and saving results."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure import Row
from jaxgru._atomic import replacing

RESULTS = Path(__file__).parent / "results"


def table(rows: Sequence[Row]) -> str:
    """Return the rows of one kind of run at one shape as text, times in microseconds."""
    peers = [row.timing.median for row in rows if not row.ours]
    fastest = min(peers or [row.timing.median for row in rows])
    lines = [
        f"{rows[0].kind} {rows[0].shape}",
        f"  {'':23} {'median us':>10} {'least':>10} {'quartiles':>21} {'calls':>5}"
        f" {'/ fastest peer':>14} {'compile s':>9} {'temp MB':>8}",
    ]
    for row in rows:
        median, least, lower, upper, calls = row.timing
        numbers = " ".join(f"{1e6 * seconds:10.1f}" for seconds in (median, least, lower, upper))
        compiled = _or_dash(row.compile_seconds, 1.0, 2)
        memory = _or_dash(row.temp_bytes, 1e-6, 1)
        lines.append(
            f"  {row.entry.name:23} {numbers} {calls:5d} {median / fastest:14.2f}"
            f" {compiled:>9} {memory:>8}"
        )
    return "\n".join(lines) + "\n"


def record(row: Row) -> dict[str, Any]:
    """Return a row for JSON, with times in seconds."""
    return {
        "kind": row.kind,
        "shape": row.shape._asdict(),
        "library": row.entry.library,
        "options": row.entry.options,
        **row.timing._asdict(),
        "compile_seconds": row.compile_seconds,
        "temp_bytes": row.temp_bytes,
    }


def save_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file, and print the path."""
    with replacing(path) as aside:
        aside.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {path}")


def _or_dash(number: float | None, scale: float, digits: int) -> str:
    return "-" if number is None else f"{scale * number:.{digits}f}"
