"""The plot of the tasks: loss over steps, where all curves should agree, and over time."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from benchmarks.contenders import OURS
from benchmarks.learning.race import Run
from benchmarks.learning.task import BLOCK, Task
from benchmarks.plots import COLORS, save


def plot_tasks(path: Path, races: Mapping[Task, Sequence[Mapping[str, Run]]], title: str) -> None:
    """Draw the curves of every run.

    Args:
        path: the PNG to write.
        races: for each task and seed the runs by entry.
        title: the machine.
    """
    figure = Figure(figsize=(13, 1 + 3.6 * len(races)), layout="constrained")
    panels = figure.subplots(len(races), 2, sharey="row", squeeze=False)
    for (over_steps, over_time), (task, by_seed) in zip(panels, races.items(), strict=True):
        for runs in by_seed:
            for name, run in runs.items():
                style = _style(name, labelled=runs is by_seed[0])
                steps = BLOCK * (1 + np.arange(len(run.losses)))
                over_steps.semilogy(steps, run.losses, **style)
                over_time.semilogy(run.seconds, run.losses, **style)
        over_steps.set_xlabel("steps")
        over_steps.set_ylabel(f"{task.name}\n\nloss, nats")
        over_time.set_xlabel("seconds of training, compiling left out")
        for axes in (over_steps, over_time):
            axes.axhline(task.target, color="k", linewidth=0.8, linestyle=":")
            axes.set_xlim(left=0)
            axes.grid(alpha=0.3)
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=9)
    seeds = len(next(iter(races.values())))
    figure.suptitle(
        f"Learning from scratch, {seeds} seeds; dotted: the target; broad, below: jaxgru\n{title}"
    )
    save(figure, path)


def _style(name: str, *, labelled: bool) -> dict[str, object]:
    """Return the style of the line of an entry, dashed for one with options.

    The line of jaxgru is broad and below the others, so that equal curves are visible.
    """
    library = next(
        library for library in COLORS if name == library or name.startswith(f"{library} ")
    )
    return {
        "color": COLORS[library],
        "linewidth": 3 if library == OURS else 1,
        "alpha": 0.6 if library == OURS else 1,
        "zorder": 1 if library == OURS else 2,
        "linestyle": "-" if name == library else "--",
        "label": name if labelled else None,
    }
