"""Measures the tables of docs/conversion-tables.md, every variant against its library: a minute.

Prints it, and puts it into the page between the lines ``<!-- table: errors -->`` and
``<!-- end -->``. All libraries must be installed: ``pip install "jaxgru[test,live]" torch``.
"""

import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

# Before JAX and Keras are imported, and as the tests have it.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("KERAS_BACKEND", "jax")

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "conversion-tables.md"
END = "<!-- end -->"

HEADINGS = ("library", "variant", "files", "steps", "largest", "error in", "error out", "exact in")


def main() -> None:
    """Measure the table and put it into the page."""
    text = errors_table()
    print(text)
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(put(page, "errors", text), encoding="utf-8")


def errors_table() -> str:
    """Return a Markdown table of every library and variant."""
    import formats_libraries

    rows = [
        cells(library.name, measured(library, variant))
        for library in formats_libraries.LIBRARIES
        for variant in library.variants()
    ]
    return f"{machine()}\n\n{markdown(HEADINGS, rows)}"


def measured(library, variant):
    """Return the row of one variant."""
    import jax

    key = jax.random.fold_in(jax.random.key(0), library.variants().index(variant))
    with tempfile.TemporaryDirectory() as folder:
        return library.measure(variant, key, Path(folder))


def cells(library: str, row) -> tuple[str, ...]:
    """Return a row as text; where there is no way out, the reason stands in its place."""
    from formats_row import DTYPES

    out = row.error_out if isinstance(row.error_out, str) else _error(row.error_out)
    exact = ", ".join(row.exact) or "-"
    if len(row.exact) == len(DTYPES):
        exact = "all four types"
    if not row.steps:
        return library, row.variant, ", ".join(row.files), "-", "-", "-", "-", exact
    largest = f"{row.largest:.2f}"
    files = ", ".join(row.files)
    steps = str(row.steps)
    return library, row.variant, files, steps, largest, _error(row.error_in), out, exact


def machine() -> str:
    """Return what the figures were measured on."""
    from benchmarks.machine import describe_machine, heading

    machine = describe_machine()
    names = ("numpy", "torch", "keras", "flax", "dm-haiku", "equinox", "onnxruntime")
    versions = machine["versions"]
    others = ", ".join(f"{name} {versions[name]}" for name in names if name in versions)
    return f"Measured on {heading(machine)}; {others}."


def markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def put(page: str, name: str, text: str) -> str:
    """Return the page with the text between the marks of a table."""
    begin = f"<!-- table: {name} -->"
    before, _, rest = page.partition(begin)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"{PAGE.name} has no {begin} with {END} after it")
    return f"{before}{begin}\n{text}\n{end}{after}"


def rows_of(page: str, name: str) -> Iterator[list[str]]:
    """Give the cells of every row of a table in the page."""
    text = page.partition(f"<!-- table: {name} -->")[2].partition(END)[0]
    for line in [line for line in text.splitlines() if line.startswith("|")][2:]:
        yield [cell.strip() for cell in line.strip("|").split(" | ")]


def _error(value: float) -> str:
    return f"{value:.1e}"


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
