"""The notebooks run from top to bottom, and print again what is stored in them."""

import re
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
NUMBER = re.compile(r"-?\d+\.?\d*(?:e-?\d+)?")

# The notebooks print four decimals of single-precision results: on another processor a number
# that lies between two of them may round to the other.
TOLERANCE = 1.01e-4


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_fresh_run_prints_what_is_stored(path, tmp_path):
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    pytest.importorskip("matplotlib")
    pytest.importorskip("optax")
    # In a copy, so that a notebook that writes leaves the checkout as it is.
    shutil.copytree(
        ROOT / "examples", tmp_path / "examples", ignore=shutil.ignore_patterns("__pycache__")
    )
    folder = tmp_path / "notebooks"
    folder.mkdir()
    stored = nbformat.read(path, as_version=4)
    fresh = nbformat.read(path, as_version=4)
    # Raises CellExecutionError, with the cell and its traceback, at the first cell that does.
    # A slow machine sends what a cell prints in several parts.
    resources = {"metadata": {"path": folder}}
    nbclient.NotebookClient(fresh, resources=resources, coalesce_streams=True).execute()

    for old, new in zip(_code_cells(stored), _code_cells(fresh), strict=True):
        assert old.execution_count == new.execution_count, "stored without a run in order"
        assert _kinds(old) == _kinds(new), old.source
        old_words, old_numbers = _printed(old)
        new_words, new_numbers = _printed(new)
        assert new_words == old_words, old.source
        assert new_numbers == pytest.approx(old_numbers, rel=0, abs=TOLERANCE), old.source


def _code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def _kinds(cell):
    """Return of each output whether it is a picture or printed text, and on which stream."""
    return [output.get("name", sorted(output.get("data", ()))) for output in cell.outputs]


def _printed(cell):
    """Return the words and the numbers of what a cell printed."""
    text = "".join(output.get("text", "") for output in cell.outputs)
    words = " ".join(NUMBER.sub(" # ", text).split())
    return words, [float(number) for number in NUMBER.findall(text)]
