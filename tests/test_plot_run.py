"""The picture of a run: what is drawn is what the oracle computes."""

import subprocess
import sys

import cases
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from jaxgru.plot_run import check_plot, plot_run

matplotlib = pytest.importorskip("matplotlib")

# Float32 against float64 over ten steps of states within 1: a few roundings of 6e-8 each.
TOLERANCE = 1e-6


@pytest.fixture
def figures(monkeypatch):
    """The figures that are saved, to look into."""
    from matplotlib.figure import Figure

    saved = []
    savefig = Figure.savefig

    def keep(figure, *arguments, **options):
        saved.append(figure)
        savefig(figure, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", keep)
    return saved


def drawn(figure):
    """Return the panels' values, each (T, H), whether lines or a heat map."""
    panels = []
    for ax in figure.axes[:4]:
        if ax.images:
            panels.append(ax.images[0].get_array().T)
        else:
            panels.append(np.stack([line.get_ydata() for line in ax.lines], axis=1))
    return panels


@pytest.mark.parametrize("units", [3, 8, 9])  # lines up to eight, then a heat map
@pytest.mark.parametrize("reverse", [False, True])
def test_every_panel_shows_what_the_oracle_computes(key, tmp_path, figures, units, reverse):
    keys = jax.random.split(key, 3)
    params = cases.random_params(keys[0], 2, units)
    xs = cases.random_inputs(keys[1], (10, 2))
    h0 = None if units == 8 else cases.random_inputs(keys[2], (units,))
    plot_run(params, xs, tmp_path / "run.png", h0, reverse=reverse)
    h = np.zeros(units) if h0 is None else h0
    steps = {}
    for t in reversed(range(10)) if reverse else range(10):
        steps[t] = oracle.cell(params, h, xs[t])
        h = steps[t]["h"]
    panels = drawn(figures[0])
    for panel, gate in zip(panels, "zrnh", strict=True):
        expected = np.stack([steps[t][gate] for t in range(10)])
        np.testing.assert_allclose(panel, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("units", [3, 9])
@pytest.mark.parametrize("time", [1, 7])
def test_the_time_axis_counts_from_the_first_step(key, tmp_path, figures, units, time):
    params = cases.random_params(key, 2, units)
    plot_run(params, jnp.ones((time, 2)), tmp_path / "run.png", first_step=100)
    assert figures[0].axes[3].get_xlim() == (99.5, 99.5 + time)
    assert figures[0].axes[3].get_xlabel() == "time step"


def test_nan_stands_out_and_leaves_the_colour_scale(key, tmp_path, figures):
    params = cases.random_params(key, 2, 9)
    xs = jnp.ones((7, 2)).at[4].set(jnp.nan)
    plot_run(params, xs, tmp_path / "run.png")
    update = figures[0].axes[0].images[0]
    assert update.get_clim() == (0, 1)
    np.testing.assert_array_equal(
        np.ma.getmaskarray(update.get_array()).all(axis=0), np.arange(7) >= 4
    )
    low, high = figures[0].axes[3].images[0].get_clim()
    assert 0 < high == -low < 1


@pytest.mark.parametrize(
    ("ending", "start"), [(".png", b"\x89PNG"), (".pdf", b"%PDF"), (".svg", b"<?xml")]
)
def test_the_ending_says_the_format(key, tmp_path, ending, start):
    path = tmp_path / f"run{ending}"
    plot_run(cases.random_params(key, 2, 3), jnp.ones((7, 2)), path)
    assert path.read_bytes().startswith(start)


@pytest.mark.parametrize("shape", [(2,), (0, 2), (3, 7, 2)])
def test_what_is_no_sequence_is_refused(key, tmp_path, shape):
    with pytest.raises(ValueError, match=r"xs has shape .*: expected \(T, I\), T at least 1"):
        plot_run(cases.random_params(key, 2, 3), jnp.ones(shape), tmp_path / "run.png")


def test_a_path_that_will_not_do_is_told_before_the_work(tmp_path):
    with pytest.raises(ValueError, match=r"its ending is '.txt', expected a picture: .*png"):
        check_plot(tmp_path / "run.txt")
    with pytest.raises(FileNotFoundError, match="its folder is missing"):
        check_plot(tmp_path / "absent" / "run.png")


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r'pip install "jaxgru\[plot\]"'):
        check_plot(tmp_path / "run.png")


def test_drawing_leaves_pyplot_alone(tmp_path):
    program = """
import sys, jax, jaxgru
from jaxgru.plot_run import plot_run
assert "matplotlib" not in sys.modules
plot_run(jaxgru.init(jax.random.key(0), 2, 3), jax.numpy.ones((7, 2)), sys.argv[1])
assert "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program, tmp_path / "run.png"], check=True)
