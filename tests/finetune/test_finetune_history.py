"""The history: a row a round, as it goes; its plot; a bar where there is somebody to see it."""

import io
import re

import finetuning
import pytest

import jaxgru.finetune as ft


def test_rows_are_written_as_they_come_and_replace_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "history.jsonl"
    path.write_text("what another run left")
    data = finetuning.small_data()
    seen = []
    validate = ft.fit.__globals__["mean_loss"]

    def look(*args, **kwargs):
        seen.append(len(ft.read_history(path)))
        return validate(*args, **kwargs)

    monkeypatch.setitem(ft.fit.__globals__, "mean_loss", look)
    result = finetuning.tune(
        *finetuning.small_model(), data, steps=3, every=1, validation=data, history_path=path
    )
    assert seen == [0, 1, 2]
    assert ft.read_history(path) == result.history
    assert [list(row) for row in result.history] == [
        ["step", "epoch", "loss", "seconds", "validation_loss"]
    ] * 3
    assert [row["epoch"] for row in result.history] == [0, 1, 1]


def test_file_that_is_no_history(tmp_path):
    path = tmp_path / "history.jsonl"
    path.write_text('{"step": 1}\n[]\n{"step": 3}\n')
    with pytest.raises(ValueError, match=r"history\.jsonl: line 2 is no JSON object"):
        ft.read_history(path)
    path.write_text("loss: 1\n")
    with pytest.raises(ValueError, match=r"history\.jsonl: line 1 is no JSON: "):
        ft.read_history(path)


def test_history_that_cannot_be_written(tmp_path):
    with pytest.raises(OSError, match="No such file or directory"):
        finetuning.tune(
            *finetuning.small_model(),
            finetuning.small_data(),
            steps=1,
            history_path=tmp_path / "missing" / "history.jsonl",
        )


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
    assert (both.get_yscale(), one.get_yscale()) == ("log", "linear")
    assert [line.get_label() for line in one.lines] == ["training"]
    with pytest.raises(ValueError, match="the history has no rows"):
        ft.plot_history([], tmp_path / "history.png")


@pytest.mark.parametrize("is_terminal", [True, False])
def test_bar_is_seen_on_a_terminal_alone(monkeypatch, is_terminal):
    pytest.importorskip("tqdm")
    stderr = io.StringIO()
    stderr.isatty = lambda: is_terminal
    monkeypatch.setattr("sys.stderr", stderr)
    result = finetuning.tune(
        *finetuning.small_model(), finetuning.small_data(), steps=2, progress=True
    )
    shown = stderr.getvalue()
    if not is_terminal:
        assert shown == ""
        return
    # Loss, how much is done and how long the rest may take.
    assert re.search(r"1/2 \[.*<.*step.*, loss \d", shown)
    assert result.stopped == "steps"
