"""Plots show the values of the oracle, and the weights.

Float32 against float64 over ten steps of states within 1 is off by a few roundings of 6e-8 each.
"""

import itertools
import sys

import cases
import fresh
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

import jaxgru
from jaxgru.plot import check_plot, plot_run, plot_weights

matplotlib = pytest.importorskip("matplotlib")

TOLERANCE = 1e-6


@pytest.fixture
def figures(monkeypatch):
    """The figures that are saved, to look into; they are not drawn."""
    from matplotlib.figure import Figure

    saved = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, path, **_: saved.append(figure))
    return saved


def drawn(figure, panels):
    """Return the values of the first panels, each (T, H), whether lines or a heat map."""
    values = []
    for ax in figure.axes[:panels]:
        if ax.images:
            values.append(ax.images[0].get_array().T)
        else:
            values.append(np.stack([line.get_ydata() for line in ax.lines], axis=1))
    return values


def gates_of(params, xs, h, reverse):
    """Return z, r, n and h of every step, from the oracle."""
    steps = {}
    for t in reversed(range(len(xs))) if reverse else range(len(xs)):
        steps[t] = oracle.cell(params, h, xs[t])
        h = steps[t]["h"]
    return {gate: np.stack([steps[t][gate] for t in range(len(xs))]) for gate in "zrnh"}


# Lines up to eight units, then a heat map.
@pytest.mark.parametrize(("units", "reverse"), [(8, False), (9, True)])
def test_every_panel_shows_what_the_oracle_computes(key, tmp_path, figures, units, reverse):
    keys = jax.random.split(key, 3)
    params = cases.random_params(keys[0], 2, units)
    xs = cases.random_inputs(keys[1], (10, 2))
    h0 = None if units == 8 else cases.random_inputs(keys[2], (units,))
    plot_run(params, xs, tmp_path / "run.png", h0, reverse=reverse, first_step=100)
    expected = gates_of(params, xs, np.zeros(units) if h0 is None else h0, reverse)
    for panel, gate in zip(drawn(figures[0], 4), "zrnh", strict=True):
        np.testing.assert_allclose(panel, expected[gate], rtol=0, atol=TOLERANCE)
    direction = ", last to first" if reverse else ""
    assert figures[0].get_suptitle() == f"GRU of {units} units, steps 100 to 109{direction}"
    last = figures[0].axes[3]
    assert (last.get_xlim(), last.get_xlabel()) == ((99.5, 109.5), "time step")


def test_the_layers_of_a_net_stand_side_by_side(key, tmp_path, figures):
    keys = jax.random.split(key, 3)
    forward, backward = (cases.random_params(k, 2, 3) for k in keys[:2])
    xs = cases.random_inputs(keys[2], (10, 2))
    h0 = jaxgru.Bidirectional(jnp.ones(3), None)
    plot_run([jaxgru.Bidirectional(forward, backward)], xs, tmp_path / "run.png", [h0])
    expected = [gates_of(forward, xs, np.ones(3), False), gates_of(backward, xs, np.zeros(3), True)]
    # Row by row: the gate of each layer, and then the next gate.
    for i, panel in enumerate(drawn(figures[0], 8)):
        np.testing.assert_allclose(panel, expected[i % 2]["zrnh"[i // 2]], rtol=0, atol=TOLERANCE)
    assert figures[0].get_suptitle() == "GRU of 2 layers, steps 0 to 9"
    assert [ax.get_ylim() for ax in figures[0].axes[:4]] == [(-0.03, 1.03)] * 4
    titles = [ax.get_title(loc="left") for ax in figures[0].axes[:2]]
    assert titles[0].startswith("net[0].forward, 3 units\n")
    assert titles[1].startswith("net[0].backward, 3 units\n")


def test_many_units_are_sorted_and_distributions(key):
    params = cases.random_params(key, 2, 65)
    xs = cases.random_inputs(key, (10, 2))
    figure = plot_run(params, xs, time=0.5, inputs=True, figsize=(3.4, 6), dpi=100)
    states = jaxgru.gru(params, xs)[0]
    order = np.argsort(-np.asarray(states, np.float64).std(0), kind="stable")
    panels = drawn(figure, 5)
    np.testing.assert_array_equal(panels[0], xs)
    shown = panels[4].std(0)
    assert (np.diff(shown) <= 1e-6).all()
    np.testing.assert_allclose(panels[4], np.asarray(states)[:, order], rtol=0, atol=TOLERANCE)
    assert figure.axes[4].get_xlim() == (-0.25, 4.75)
    assert (figure.get_size_inches().tolist(), figure.dpi) == ([3.4, 6.0], 100)
    figure = plot_weights(params)
    counts = [sum(p.get_path().vertices[:, 1].max() > 0 for p in ax.patches) for ax in figure.axes]
    assert counts == [1] * 6 + [2] * 3
    for time in (np.ones(9), np.zeros(10), -1.0, np.array([0, 1, 2, 3, 4, 5, 6, 7, 8, 20.0])):
        with pytest.raises(ValueError, match=r"time has shape .*: expected the seconds per step"):
            plot_run(params, xs, time=time)


def test_axes_of_the_caller(key):
    given = cases.random_params(key, 2, 3), np.ones((5, 2), np.float32)
    figure = plot_run(*given)
    again = plot_run(*given, ax=figure.axes, time=np.arange(5.0))
    assert again is figure
    assert figure.axes[-1].get_xlabel() == "time (s)"
    with pytest.raises(ValueError, match="ax has 2 axes for 1 layers: expected 4 for one"):
        plot_run(*given, ax=figure.axes[:2])
    figure = matplotlib.figure.Figure()
    axes = figure.subplots(3, 4)[:, 1:]
    assert plot_weights(given[0], ax=axes) is figure
    assert [len(ax.images) for ax in axes.flat] == [1] * 9
    np.testing.assert_array_equal(
        axes[1, 2].images[0].get_array(), given[0].recurrent_kernel[:, 6:]
    )
    for net, ax, message in (
        (given[0], axes[:2], "ax has 6 axes for 1 layers: expected 9 for one"),
        ([given[0], cases.random_params(key, 3, 3)], axes, "ax has 9 axes for 2 layers: expected"),
    ):
        with pytest.raises(ValueError, match=message):
            plot_weights(net, ax=ax)


def test_text_is_text(key, tmp_path):
    before = dict(matplotlib.rcParams)
    for suffix in (".pdf", ".svg"):
        plot_weights(cases.random_params(key, 1, 1), tmp_path / f"weights{suffix}")
    assert b"/Type3" not in (tmp_path / "weights.pdf").read_bytes()
    assert b"<text" in (tmp_path / "weights.svg").read_bytes()
    assert dict(matplotlib.rcParams) == before


def test_nan_stands_out_and_leaves_the_color_scale(key, tmp_path, figures):
    params = cases.random_params(key, 2, 9)
    xs = jnp.ones((10, 2)).at[4].set(jnp.nan)
    plot_run(params, xs, tmp_path / "run.png")
    update = figures[0].axes[0].images[0]
    assert update.get_clim() == (0, 1)
    assert update.get_cmap().get_bad().tolist() == list(matplotlib.colors.to_rgba("limegreen"))
    np.testing.assert_array_equal(
        np.ma.getmaskarray(update.get_array()).all(axis=0), np.arange(10) >= 4
    )
    state = figures[0].axes[3].images[0]
    low, high = state.get_clim()
    assert 0 < high == -low < 1
    assert (update.get_cmap().name, state.get_cmap().name) == ("viridis", "RdBu_r")


@pytest.mark.parametrize("biases", ["no bias", "input bias", "both biases"])
def test_weights_are_drawn_block_by_block(key, tmp_path, figures, biases):
    params = jax.tree.map(np.array, cases.random_params(key, 2, 32, biases=biases))
    params.recurrent_kernel[1, 1] = np.nan
    params.recurrent_kernel[2, 2] = 100
    plot_weights(params, tmp_path / "weights.png")
    rows = [params.kernel, params.recurrent_kernel]
    stacked = [b for b in (params.bias, params.recurrent_bias) if b is not None]
    rows += [np.stack(stacked)] if stacked else []
    maps = [ax.images[0] for ax in figures[0].axes if ax.images][: 3 * len(rows)]
    for array, images in zip(rows, np.reshape(maps, (-1, 3)), strict=True):
        for block, image in zip(np.split(array, 3, axis=1), images, strict=True):
            np.testing.assert_array_equal(image.get_array(), np.ma.masked_invalid(block))
    # A large number in one array leaves the colors of another as they are.
    assert maps[3].get_clim() == (-100, 100)
    assert maps[0].get_clim()[1] == pytest.approx(np.abs(params.kernel).max())


def test_ticks_stand_apart(key, tmp_path, figures):
    plot_weights(cases.random_params(key, 6, 32), tmp_path / "weights.png")
    (figure,) = figures
    figure.canvas.draw()
    for ax in figure.axes:
        for axis in (ax.xaxis, ax.yaxis):
            boxes = [label.get_window_extent() for label in axis.get_ticklabels()]
            shown = [box for box in boxes if box.width > 0]
            assert not any(a.overlaps(b) for a, b in itertools.pairwise(shown))


def test_the_ending_says_the_format(key, tmp_path):  # .png in the tests of the command line
    plot_weights(cases.random_params(key, 1, 1), tmp_path / "weights.svg")
    assert (tmp_path / "weights.svg").read_bytes().startswith(b"<?xml")
    assert len(list(tmp_path.iterdir())) == 1


def test_bad_arguments(key, tmp_path, monkeypatch):
    for shape in [(2,), (0, 2), (3, 7, 2)]:
        with pytest.raises(ValueError, match=r"xs has shape .*: expected \(T, I\), T at least 1"):
            plot_run(cases.random_params(key, 2, 3), np.ones(shape), tmp_path / "run.png")
    with pytest.raises(ValueError, match=r"its suffix is '.txt': expected that of an image: .*png"):
        check_plot(tmp_path / "run.txt")
    with pytest.raises(FileNotFoundError, match="its folder is missing"):
        check_plot(tmp_path / "absent" / "run.png")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r'pip install "jaxgru\[plot\]"'):
        check_plot(tmp_path / "run.png")


@pytest.mark.slow
def test_drawing_leaves_pyplot_alone(tmp_path):
    program = """
import sys, jax, jaxgru
from jaxgru.plot import plot_run, plot_weights
assert "matplotlib" not in sys.modules
params = jaxgru.init(jax.random.key(0), 2, 3)
plot_run(params, jax.numpy.ones((7, 2)), sys.argv[1])
plot_weights(params, sys.argv[1])
assert "matplotlib.pyplot" not in sys.modules
"""
    fresh.python("-c", program, tmp_path / "run.png")
