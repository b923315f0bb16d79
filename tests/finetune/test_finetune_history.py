"""The history: a row per round, its file and its plot; the progress bar."""

import io
import re

import finetuning
import pytest

import jaxgru.finetune as ft


def test_rows_are_written_after_each_round_and_replace_the_old_file(tmp_path):
    path = tmp_path / "history.jsonl"
    path.write_text("the history of another run\n")
    data, written = finetuning.small_data(), []
    keep = ft.write_history(path)
    assert path.read_text() == "the history of another run\n"
    result = finetuning.tune(
        finetuning.small_model(), data, ft.Steps(3, every=1), validation=data,
        on_round=[keep, lambda now: written.append(ft.read_history(path))],
    )  # fmt: skip
    assert written == [result.history[:n] for n in (1, 2, 3)]
    assert [list(row) for row in result.history] == [
        ["step", "epoch", "loss", "seconds", "validation_loss"]
    ] * 3
    assert [row["epoch"] for row in result.history] == [0, 1, 1]
    # After another run, and after a resumed one, the file has all rows of that run.
    for rows in (result.history[:1], result.history):
        keep(ft.Round(None, rows, best=None, resumed=True))
        assert ft.read_history(path) == rows


def test_plot_has_a_line_for_each_loss(tmp_path, monkeypatch):
    figure = pytest.importorskip("matplotlib.figure")
    drawn = []
    save = figure.Figure.savefig
    monkeypatch.setattr(
        figure.Figure, "savefig", lambda self, path: (drawn.append(self.axes[0]), save(self, path))
    )
    rows = [{"step": i, "loss": 1 / i, "validation_loss": 2 / i} for i in (1, 2, 3)]
    ft.plot_history(rows, tmp_path / "history.png")
    ft.plot_history([{"step": 1, "loss": -1.0}], tmp_path / "history.png")
    both, one = drawn
    assert {line.get_label(): line.get_xydata().tolist() for line in both.lines} == {
        "training": [[1, 1], [2, 1 / 2], [3, 1 / 3]],
        "validation": [[1, 2], [2, 1], [3, 2 / 3]],
    }
    marked = ft.plot_history(rows, initial_loss=4.0, chosen_step=2, figsize=(3.4, 2.4)).axes[0]
    assert [line.get_label() for line in marked.lines[2:]] == [
        "validation before",
        "chosen, step 2",
    ]
    assert ft.plot_history(rows, ax=marked) is marked.figure
    assert (both.get_yscale(), one.get_yscale()) == ("log", "linear")
    assert [line.get_label() for line in one.lines] == ["training"]
    with pytest.raises(ValueError, match="the history has no rows"):
        ft.plot_history([], tmp_path / "history.png")


@pytest.mark.parametrize("is_terminal", [True, False])
def test_the_bar_is_shown_only_on_a_terminal(monkeypatch, is_terminal):
    pytest.importorskip("tqdm")
    stderr = io.StringIO()
    stderr.isatty = lambda: is_terminal
    monkeypatch.setattr("sys.stderr", stderr)
    finetuning.tune(finetuning.small_model(), finetuning.small_data(), ft.Steps(2), progress=True)
    # The loss, the completed steps and the remaining time.
    bar = re.search(r"1/2 \[.*<.*step.*, loss \d", stderr.getvalue())
    assert bar if is_terminal else stderr.getvalue() == ""
