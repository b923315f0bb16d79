"""``jaxgru run``: files of every format, nets, checks, plots and interrupts.

The oracle is the float64 loop of ``oracle.py``. Float32 against float64 over a dozen steps of
states within 1 is off by a few roundings of 6e-8 each: hence the tolerance of 1e-6.
"""

import contextlib
import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cases
import jax
import net_oracle
import nets
import numpy as np
import oracle
import pytest

import jaxgru
from jaxgru._cli import command as cli
from jaxgru._progress import progress_bar

INPUTS, UNITS, TIME = 3, 4, 12
TOLERANCE = 1e-6
# The suite makes warnings errors; here they are to reach the command line's stderr.
warnings_are_shown = pytest.mark.filterwarnings("always::jaxgru._arrayfiles.ArrayFileWarning")
FORMATS = (".npy", ".npz", ".csv", ".txt")
ROOT = Path(__file__).parents[2]


@pytest.fixture
def params(key, run):
    """The weights in weights.npz of the folder that the test is run in."""
    params = cases.random_params(key, INPUTS, UNITS)
    jaxgru.save(params, "weights.npz")
    return params


@pytest.fixture
def run_net(run, params):
    """Run the subcommand with these weights: its exit code, output and error lines."""
    return lambda *arguments: run("run", "weights.npz", *arguments)


@pytest.fixture
def shown(done, params):
    """Run it, or that of another file, without an error or a warning: its output."""
    return lambda *arguments, weights="weights.npz": done("run", weights, *arguments)


@pytest.fixture
def xs(key, params):
    """Two sequences, in xs.npy as well."""
    xs = numbers(key, (2, TIME, INPUTS))
    np.save("xs.npy", xs)
    return xs


def numbers(key, shape):
    return np.array(cases.random_inputs(key, shape))


def store(name, array, key="inputs"):
    """Write an array with NumPy alone."""
    if name.endswith(".npy"):
        np.save(name, array)
    elif name.endswith(".npz"):
        np.savez(name, **{key: array}, other=np.zeros(1))
    else:
        np.savetxt(name, array, delimiter="," if name.endswith(".csv") else " ")
    return name


def fetch(name):
    """Read an array with NumPy alone."""
    if name.endswith(".npy"):
        return np.load(name)
    if name.endswith(".npz"):
        return np.load(name)["outputs"]
    if name.endswith(".csv"):  # its first line is a header
        return np.loadtxt(name, delimiter=",", ndmin=2, skiprows=1)
    return np.loadtxt(name, ndmin=2)


def assert_close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("ending", FORMATS)
def test_every_format_whole_and_in_chunks(shown, params, xs, ending):
    inputs = store(f"inputs{ending}", xs[0])
    for reverse in ([], ["--reverse"]):
        expected, _ = oracle.gru(params, xs[0], reverse=bool(reverse))
        for chunk in ([], ["--chunk", 5]):
            text = shown(inputs, "-o", f"out{ending}", *chunk, *reverse)
            assert text == f"out{ending}: states ({TIME}, {UNITS}) of float32\n"
            assert_close(fetch(f"out{ending}"), expected)
        shown(inputs, "--expect", f"out{ending}", *reverse)  # what is written is read
        states = store(f"expected{ending}", expected, "outputs")
        text = shown(inputs, "--expect", states, *reverse)
        assert text.endswith(" of the largest state; within the tolerance of 1e-06\n")


@pytest.mark.parametrize("ending", FORMATS)
def test_first_states(shown, params, xs, key, ending):
    h0 = numbers(key, (2, UNITS))
    shapes = {".npy": (UNITS,), ".npz": (1, UNITS), ".csv": (1, UNITS), ".txt": (UNITS, 1)}
    given = [h0[0].reshape(shapes[ending]), *([h0] if ending in (".npy", ".npz") else [])]
    for state in given:
        shown("xs.npy", "-o", "o.npy", "--h0", store(f"h{ending}", state, "h0"))
        assert_close(fetch("o.npy"), oracle.gru_batch(params, xs, state.reshape(-1, UNITS))[0])


def test_the_notebooks_equations_give_its_state(shown, params, xs):
    shown("xs.npy", "-o", "o.npy", "--equations", "notebook")
    # From zero, with h' = z n + (1 - z) h, and both of the candidate's biases outside its gate.
    a = xs[0, 0] @ params.kernel + params.bias + params.recurrent_bias
    assert_close(fetch("o.npy")[0, 0], np.tanh(a[2 * UNITS :]) / (1 + np.exp(-a[:UNITS])))


def test_inputs_without_steps_give_states_without_steps(shown):
    for shape in [(0, INPUTS), (0, TIME, INPUTS), (2, 0, INPUTS)]:
        store("empty.npy", np.zeros(shape))
        shown("empty.npy", "-o", "o.npy")
        assert fetch("o.npy").shape == (*shape[:-1], UNITS)
        assert shown("empty.npy").endswith(f"states {(*shape[:-1], UNITS)}\n")


# Nets


@pytest.mark.parametrize("name", ["stack", "bidirectional stack", "pair", "backward"])
def test_nets_and_the_states_of_all_their_layers(shown, xs, key, name):
    net = nets.random_net(key, name)
    h0 = nets.random_state(key, net, (2,))
    jaxgru.save(net, "net.safetensors")
    state = store("h0.npy", np.concatenate(jax.tree.leaves(h0), axis=-1))
    states = []

    def layer(params, xs, h0, reset_state, factors, reverse):
        ys, h = oracle.gru_batch(params, xs, h0, reverse=reverse)
        states.append(ys)
        return ys, h

    outputs, _ = net_oracle.walk(layer, net, xs, h0, h0)
    outputs = np.concatenate(outputs, axis=-1) if isinstance(outputs, tuple) else outputs
    chunk = ["--chunk", "6"] if name in ("stack", "backward") else []
    for option, expected in (([], outputs), (["--all-layers"], np.concatenate(states, axis=-1))):
        given = "--h0", state, *chunk, *option, "--expect", store("e.npy", expected)
        text = shown("xs.npy", *given, weights="net.safetensors")
        assert f"states {expected.shape}" in text
        if option and name == "stack":
            assert text.splitlines()[1].split() == ["net[0]", "net[1]"]
            assert "net[0] in [..., 0:4], net[1] in [..., 4:6]" in text


# Columns, headers, NaN


def test_columns_of_a_file(shown, params, xs):
    table = np.column_stack([np.arange(TIME), xs[0, :, ::-1]])
    np.savetxt("log.csv", table, delimiter=",", header="t,ax,ay,az", comments="")
    np.save("log.npy", table)
    for options, inputs in {
        ("log.csv", "--columns", "az,ay,2"): xs[0],
        ("log.npy", "--columns", "4,3,2"): xs[0],
        ("log.csv", "--skip", "t"): xs[0, :, ::-1],
    }.items():
        shown(*options, "-o", "o.npy")
        assert_close(fetch("o.npy"), oracle.gru(params, inputs)[0])


@warnings_are_shown
@pytest.mark.parametrize("bad", [np.nan, 1e300])
def test_nan_and_inf_are_run_and_warned_about_once(run_net, xs, bad):
    xs = np.array(xs, float)
    xs[1, 7:, 2] = bad
    code, _, errors = run_net(store("bad.npy", xs), "--chunk", "5")
    assert code == 0
    assert errors == ["warning: bad.npy: NaN or Inf at sequence 1, step 7, input 2"]


@warnings_are_shown
def test_warnings_name_the_column_and_the_header(run_net):
    Path("xs.csv").write_text("0,1,2\n0.5,nan,0.0\n")  # a header, as pandas writes it, or not
    code, text, errors = run_net("xs.csv", "--h0", store("h0.npy", np.array([0, np.nan, 0, 0])))
    assert code == 0
    assert text.endswith("states (2, 4)\n")
    assert [line.removeprefix("warning: ") for line in errors] == [
        "xs.csv: its first line is 0,1,2, which is read as numbers: begin it with # if it is a "
        "header",
        "h0.npy: NaN or Inf at [1]",
        "xs.csv: NaN or Inf at step 1, input 1",
    ]


# The table


def test_of_a_long_sequence_both_ends_are_shown(shown, params, key):
    xs = numbers(key, (60, INPUTS))
    lines = shown(store("long.npy", xs), "--chunk", "12").splitlines()
    assert lines[0].split() == ["step", "unit", "0", "unit", "1", "unit", "2", "unit", "3"]
    assert lines[-1] == f"states (60, {UNITS}); truncated; -o writes all"
    rows = {int(line.split()[0]): line.split()[1:] for line in lines if line.split()[0].isdigit()}
    assert list(rows) == [*range(10), *range(50, 60)]
    assert [line.strip() for line in lines].count("...") == 1
    expected, _ = oracle.gru(params, xs)
    assert_close(np.array(list(rows.values()), float), expected[list(rows)])
    text = shown(store("short.npy", xs[:TIME]))
    assert text.count("\n") == 1 + TIME + 1
    assert text.endswith(f"\nstates ({TIME}, {UNITS})\n")


def test_of_many_sequences_and_units_the_first_are_shown(shown, key, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    lines = shown(store("many.npy", numbers(key, (2, 3, 1, INPUTS)))).splitlines()
    named = [line for line in lines if line.startswith("sequence")]
    assert named == ["sequence (0, 0)", "sequence (0, 1)", "sequence (0, 2)"]
    assert max(map(len, lines[:-1])) <= 40
    assert lines[-1] == "states (2, 3, 1, 4); truncated; -o writes all"


# --expect


def test_errors_are_reported_with_their_place(run_net, shown, params, xs):
    expected, _ = oracle.gru_batch(params, xs)
    expected[1, 7, 2] += 0.25
    code, text, errors = run_net(
        "xs.npy", "--expect", store("e.npy", expected), "-o", "o.npy", "--chunk", "5"
    )
    assert (code, errors) == (1, [])
    assert text.splitlines()[-1] == (
        "against e.npy: largest absolute error 0.25 at sequence 1, step 7, unit 2, "
        f"{0.25 / np.abs(expected).max():.3g} of the largest state; "
        "BEYOND the tolerance of 1e-06"
    )
    # The states are written although they differ from the expected ones.
    for options, message in {
        ("e.npy", "--tolerance", 0.26): "; within the tolerance of 0.26",
        ("o.npy", "--tolerance", 0): "largest absolute error 0, 0 of the largest state; within",
    }.items():
        assert message in shown("xs.npy", "--expect", *options)


@warnings_are_shown
@pytest.mark.parametrize("side", ["inputs", "expected"])
def test_nan_is_never_within_a_tolerance(run_net, params, xs, side):
    expected, _ = oracle.gru(params, xs[0])
    if side == "inputs":
        xs[0, 5, 0] = np.nan
        expected[5:] = np.nan
    else:
        expected[5, 0] = np.nan
    given = store("i.npy", xs[0]), "--expect", store("e.npy", expected)
    code, text, _ = run_net(*given, "--tolerance", "1e300")
    assert code == 1
    assert "largest absolute error inf at step 5, unit 0; BEYOND" in text


# --plot


@pytest.mark.parametrize(
    ("both_ways", "options", "first", "last"),
    [(False, [], 0, 4), (False, ["--reverse"], TIME - 5, TIME - 1), (True, [], 0, TIME - 1)],
)
def test_the_plot_shows_the_first_sequence(
    shown, params, xs, key, monkeypatch, both_ways, options, first, last
):
    pytest.importorskip("matplotlib")
    drawn = []
    monkeypatch.setattr(cli.run, "plot_run", lambda *given, **named: drawn.append((given, named)))
    monkeypatch.setattr(cli.run, "_PLOTTED_STEPS", 5)
    jaxgru.save(jaxgru.Bidirectional(params, params) if both_ways else params, "n.safetensors")
    h0 = numbers(key, (2, 2 * UNITS if both_ways else UNITS))
    given = "xs.npy", "--h0", store("h.npy", h0), "--plot", "run.png"
    text = shown(*given, *options, weights="n.safetensors")
    # A bidirectional net needs all steps.
    assert f"of sequence 0, steps {first} to {last} of {TIME}" in text
    ((_, plotted, _, state), named) = drawn.pop()
    np.testing.assert_array_equal(plotted, xs[0, first : last + 1])
    np.testing.assert_array_equal(np.concatenate(jax.tree.leaves(state)), h0[0])
    assert named == {"reverse": bool(options), "first_step": first}


def test_the_plot_is_written(shown, xs):
    pytest.importorskip("matplotlib")
    text = shown("xs.npy", "--plot", "run.png")
    assert text.endswith("run.png: gates and state of sequence 0, steps 0 to 11 of 12\n")
    assert Path("run.png").read_bytes().startswith(b"\x89PNG")


# Processes of their own


@pytest.mark.slow
@pytest.mark.parametrize("installed", [False, True], ids=["python -m jaxgru", "jaxgru"])
def test_the_command_as_a_shell_runs_it(params, xs, tmp_path, installed):
    script = Path(sys.executable).with_name("jaxgru")
    if installed and not script.exists():
        pytest.skip("the script is not installed beside this Python")
    command = [script] if installed else [sys.executable, "-m", "jaxgru"]
    files = [tmp_path / name for name in ("weights.npz", "xs.npy", "absent.npy")]
    arguments = [*command, "run", *files[:2], "--expect", files[2]]
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    # No progress bar where stderr is no terminal.
    assert done.stderr == f"jaxgru: error: {files[2]}: No such file or directory\n"


# What a shell starts in the background ignores SIGINT, and so does what that starts.
INTERRUPTIBLE = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from jaxgru._cli.command import run_and_exit
run_and_exit()
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
@pytest.mark.parametrize("ending", [".npy", ".csv"])
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_stopped_leaves_the_old_output(params, tmp_path, ending, stop):
    # A sparse file, of more steps than can be done before the signal.
    np.lib.format.open_memmap("inputs.npy", "w+", np.float32, (20_000_000, INPUTS))
    folder = tmp_path / "outputs"
    folder.mkdir()
    output = folder / f"states{ending}"
    output.write_bytes(b"the old output")
    arguments = ["run", "weights.npz", "inputs.npy", "-o", output, "--chunk", "1000"]
    command = [sys.executable, "-c", INTERRUPTIBLE, *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        while len(list(folder.iterdir())) == 1 and process.poll() is None:
            time.sleep(0.01)
        time.sleep(0.5)
        assert process.poll() is None
        # Again where Python drops the interrupt, as it does within a callback of the collector.
        for _ in range(10):
            process.send_signal(stop)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
                break
        errors = process.stderr.read().decode()
    assert output.stat().st_size == len(b"the old output")
    assert output.read_bytes() == b"the old output"
    assert not list(folder.glob("states*.*"))[1:]
    if stop == signal.SIGINT:
        assert process.returncode == 130
        assert errors == "jaxgru: interrupted\n"
        assert list(folder.iterdir()) == [output]


# The progress bar


def test_the_bar_is_shown_on_a_terminal_in_a_long_run(monkeypatch):
    pytest.importorskip("tqdm")
    terminal, file = io.StringIO(), io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", file)
    with progress_bar(8, "step", delay=1) as unseen:
        monkeypatch.setattr(sys, "stderr", terminal)
        with progress_bar(8, "step", delay=1) as advance:
            advance(2)
            assert terminal.getvalue() == ""  # a short run needs no bar
            time.sleep(1.2)
            advance(6)
            unseen(4)
    assert "75%" in terminal.getvalue()
    assert file.getvalue() == ""


def test_tqdm_is_not_needed(shown, xs, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    assert shown("xs.npy").endswith("states (2, 12, 4)\n")
