"""``jaxgru run``: files of every format in and out, nets, checks, and what it says of bad input.

The oracle is the float64 loop of ``oracle.py``. Float32 against float64 over a dozen steps of
states within 1 is off by a few roundings of 6e-8 each: hence the tolerance of 1e-6.
"""

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
from jaxgru import cli
from jaxgru.cli import progress

INPUTS, UNITS, TIME = 3, 4, 12
TOLERANCE = 1e-6
# The suite makes warnings errors; here they are to reach the command line's stderr.
warnings_are_shown = pytest.mark.filterwarnings("always::jaxgru.arrayfiles.ArrayFileWarning")
FORMATS = (".npy", ".npz", ".csv", ".txt")
ROOT = Path(__file__).parents[2]


@pytest.fixture
def params(key):
    return cases.random_params(key, INPUTS, UNITS)


@pytest.fixture
def weights(params, tmp_path):
    """The path of a weights file."""
    jaxgru.save(params, tmp_path / "weights.npz")
    return tmp_path / "weights.npz"


@pytest.fixture
def run(capsys, weights):
    """Run the subcommand in this process: its exit code, output and error lines."""

    def run(*arguments, weights=weights):
        code = cli.main(["run", str(weights), *map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err.splitlines()

    return run


@pytest.fixture
def inputs(key, tmp_path):
    """The path of a batch of two good input sequences."""
    return store(tmp_path / "inputs.npy", numbers(key, (2, TIME, INPUTS)))


def numbers(key, shape):
    return np.asarray(cases.random_inputs(key, shape))


def store(path, array, name="inputs"):
    """Write an array with NumPy alone."""
    if path.suffix == ".npy":
        np.save(path, array)
    elif path.suffix == ".npz":
        np.savez(path, **{name: array}, other=np.zeros(1))
    else:
        np.savetxt(path, array, delimiter="," if path.suffix == ".csv" else " ")
    return path


def fetch(path):
    """Read an array with NumPy alone."""
    if path.suffix == ".npy":
        return np.load(path)
    if path.suffix == ".npz":
        return np.load(path)["outputs"]
    return np.loadtxt(path, delimiter="," if path.suffix == ".csv" else None, ndmin=2)


@pytest.mark.parametrize("reverse", [[], ["--reverse"]])
@pytest.mark.parametrize("ending", FORMATS)
def test_every_format_whole_and_in_chunks(run, params, key, tmp_path, ending, reverse):
    xs = numbers(key, (TIME, INPUTS))
    inputs, output = store(tmp_path / f"inputs{ending}", xs), tmp_path / f"states{ending}"
    expected, _ = oracle.gru(params, xs, reverse=bool(reverse))
    for chunk in ([], ["--chunk", 5], ["--chunk", 1000]):
        code, text, errors = run(inputs, "-o", output, *chunk, *reverse)
        assert (code, errors) == (0, [])
        assert text == f"{output}: states ({TIME}, {UNITS}) of float32\n"
        np.testing.assert_allclose(fetch(output), expected, rtol=0, atol=TOLERANCE)
    states = store(tmp_path / f"expected{ending}", expected, "outputs")
    code, text, errors = run(inputs, "--expect", states, *reverse)
    assert (code, errors) == (0, [])
    assert text.endswith(" of the largest state; within the tolerance of 1e-06\n")


@pytest.mark.parametrize("options", [[], ["--chunk", "5", "--reverse"]])
@pytest.mark.parametrize("ending", [".npy", ".npz"])
def test_a_batch_with_its_states(run, params, key, tmp_path, ending, options):
    keys = jax.random.split(key)
    xs, h0 = numbers(keys[0], (2, 3, TIME, INPUTS)), numbers(keys[1], (2, 3, UNITS))
    inputs = store(tmp_path / f"inputs{ending}", xs)
    state = store(tmp_path / f"h0{ending}", h0, "h0")
    output = tmp_path / f"states{ending}"
    code, _, errors = run(inputs, "-o", output, "--h0", state, *options)
    assert (code, errors) == (0, [])
    expected, _ = oracle.gru_batch(params, xs, h0, reverse="--reverse" in options)
    np.testing.assert_allclose(fetch(output), expected, rtol=0, atol=TOLERANCE)


def test_one_state_from_every_format(run, params, inputs, key, tmp_path):
    h0 = numbers(key, (UNITS,))
    expected, _ = oracle.gru_batch(params, np.load(inputs), h0)
    shapes = {".npy": (UNITS,), ".npz": (1, UNITS), ".csv": (1, UNITS), ".txt": (UNITS, 1)}
    for ending, shape in shapes.items():
        state = store(tmp_path / f"h0{ending}", h0.reshape(shape), "h0")
        code, _, errors = run(inputs, "-o", tmp_path / "states.npy", "--h0", state)
        assert (code, errors) == (0, [])
        states = np.load(tmp_path / "states.npy")
        np.testing.assert_allclose(states, expected, rtol=0, atol=TOLERANCE)


def test_the_notebooks_equations_give_its_state(run, params, key, tmp_path):
    xs = numbers(key, (1, INPUTS))
    store(tmp_path / "inputs.npy", xs)
    run(tmp_path / "inputs.npy", "-o", tmp_path / "states.npy", "--equations", "notebook")
    # From zero, with h' = z n + (1 - z) h, and both of the candidate's biases outside its gate.
    a = xs[0] @ params.kernel + params.bias + params.recurrent_bias
    expected = np.tanh(a[2 * UNITS :]) / (1 + np.exp(-a[:UNITS]))
    states = np.load(tmp_path / "states.npy")
    np.testing.assert_allclose(states[0], expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("shape", [(0, INPUTS), (0, TIME, INPUTS), (2, 0, INPUTS)])
def test_inputs_without_steps_give_states_without_steps(run, tmp_path, shape):
    store(tmp_path / "inputs.npy", np.zeros(shape))
    code, _, errors = run(tmp_path / "inputs.npy", "-o", tmp_path / "states.npy")
    assert (code, errors) == (0, [])
    assert np.load(tmp_path / "states.npy").shape == (*shape[:-1], UNITS)
    code, text, errors = run(tmp_path / "inputs.npy")
    assert (code, errors) == (0, [])
    assert text.endswith(f"states {(*shape[:-1], UNITS)}\n")


# Nets


def each_layer(net, xs, h0):
    """Return the outputs of a net and a list of the states of its layers, each from the oracle."""
    if nets.is_layer(net):
        states, _ = net_oracle.run(net, xs, h0)
        return states, [states]
    if isinstance(net, jaxgru.Backward):
        outputs, states = each_layer(net.net, xs[:, ::-1], h0.net)
        return outputs[:, ::-1], [one[:, ::-1] for one in states]
    if isinstance(net, jaxgru.Bidirectional):
        forward = each_layer(net.forward, xs, h0.forward)
        backward = each_layer(jaxgru.Backward(net.backward), xs, jaxgru.Backward(h0.backward))
        return net_oracle.MERGES[net.merge](forward[0], backward[0]), [*forward[1], *backward[1]]
    found = []
    for layer, h in zip(net, h0, strict=True):
        xs, states = each_layer(layer, xs, h)
        found += states
    return xs, found


@pytest.mark.parametrize(
    ("name", "chunk"),
    [("stack", ["--chunk", "6"]), ("bidirectional stack", []), ("pair", [])],
)
def test_nets_and_the_states_of_all_their_layers(run, key, tmp_path, name, chunk):
    keys = jax.random.split(key, 3)
    net = nets.random_net(keys[0], name)
    xs, h0 = numbers(keys[1], (2, TIME, INPUTS)), nets.random_state(keys[2], net, (2,))
    jaxgru.save(net, tmp_path / "net.safetensors")
    state = store(tmp_path / "h0.npy", np.concatenate(jax.tree.leaves(h0), axis=-1))
    given = [store(tmp_path / "i.npy", xs), "--h0", state, *chunk]
    outputs, states = each_layer(net, xs, h0)
    outputs = np.concatenate(outputs, axis=-1) if isinstance(outputs, tuple) else outputs
    for option, expected in (([], outputs), (["--all-layers"], np.concatenate(states, axis=-1))):
        wanted = store(tmp_path / "e.npy", expected)
        code, text, errors = run(
            *given, *option, "--expect", wanted, weights=tmp_path / "net.safetensors"
        )
        assert (code, errors) == (0, []), text
        assert f"states {expected.shape}" in text
        if option and name == "stack":
            assert text.splitlines()[1].split() == ["net[0]", "net[1]"]
            assert "net[0] in [..., 0:4], net[1] in [..., 4:6]" in text


def test_a_backward_layer_goes_from_the_end_in_chunks(run, params, key, tmp_path):
    xs = numbers(key, (TIME, INPUTS))
    jaxgru.save(jaxgru.Backward(params), tmp_path / "net.safetensors")
    given = [store(tmp_path / "i.csv", xs), "--chunk", 5, "-o", tmp_path / "o.npy"]
    code, _, errors = run(*given, weights=tmp_path / "net.safetensors")
    assert (code, errors) == (0, [])
    expected, _ = oracle.gru(params, xs, reverse=True)
    np.testing.assert_allclose(np.load(tmp_path / "o.npy"), expected, rtol=0, atol=TOLERANCE)


def test_what_a_net_that_goes_both_ways_cannot_do(run, params, inputs, tmp_path):
    weights = tmp_path / "net.safetensors"
    jaxgru.save((jaxgru.Bidirectional(params, params, "sum"),), weights)
    for option, message in {
        ("--chunk", 5): "its net goes both ways and needs whole sequences: expected no --chunk",
        ("--reverse",): "its net has a backward direction: expected no --reverse",
        ("--h0", inputs): "it has shape (2, 12, 3), expected (8,) or (2, 8): the states of "
        "net[0].forward (4), net[0].backward (4) side by side",
    }.items():
        code, text, errors = run(inputs, *option, weights=weights)
        name = inputs if "--h0" in option else weights
        assert (code, text, errors) == (2, "", [f"jaxgru: error: {name}: {message}"])


# Columns


def test_columns_of_a_file(run, params, key, tmp_path):
    xs = numbers(key, (TIME, INPUTS))
    table = np.column_stack([np.arange(TIME), xs[:, ::-1]])
    path, output = tmp_path / "log.csv", tmp_path / "states.npy"
    np.savetxt(path, table, delimiter=",", header="t,ax,ay,az", comments="")
    np.save(tmp_path / "log.npy", table)
    expected, _ = oracle.gru(params, xs)
    for source, choice in ((path, "az,ay,2"), (tmp_path / "log.npy", "4,3,2")):
        code, _, errors = run(source, "--columns", choice, "-o", output)
        assert (code, errors) == (0, [])
        np.testing.assert_allclose(np.load(output), expected, rtol=0, atol=TOLERANCE)
    code, _, errors = run(path, "--skip", "t", "-o", output)
    assert (code, errors) == (0, [])
    expected, _ = oracle.gru(params, xs[:, ::-1])
    np.testing.assert_allclose(np.load(output), expected, rtol=0, atol=TOLERANCE)
    for options, message in {
        (): f"{path}: it has shape (12, 4), expected (T, 3) or (..., T, 3), as {tmp_path}/weights"
        ".npz has 3 inputs; its columns are 't', 'ax', 'ay', 'az' (--columns or --skip chooses)",
        ("--columns", "ax,x"): f"{path}: it has no column 'x', expected 1 to 4, or one of t, ax, ",
        ("--columns", "t", "--skip", "t"): "argument --skip: not allowed with argument --columns",
    }.items():
        code, text, errors = run(path, *options)
        assert (code, text, len(errors)) == (2, "", 1)
        assert errors[0].startswith(f"jaxgru: error: {message}")


@warnings_are_shown
@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300])
def test_nan_and_inf_are_run_and_warned_about_once(run, tmp_path, bad):
    xs = np.zeros((2, TIME, INPUTS))
    xs[1, 7:, 2] = bad
    path = store(tmp_path / "inputs.npy", xs)
    code, _, errors = run(path, "--chunk", "5")
    assert code == 0
    assert errors == [f"jaxgru: warning: {path}: NaN or Inf at sequence 1, step 7, input 2"]


@warnings_are_shown
def test_warnings_name_the_column_and_the_header(run, tmp_path):
    path = tmp_path / "inputs.csv"
    path.write_text("0,1,2\n0.5,1.0,2.0\n0.5,nan,0.0\n")  # as pandas writes it
    state = store(tmp_path / "h0.npy", np.array([0, np.nan, 0, 0]))
    code, text, errors = run(path, "--h0", state)
    assert code == 0
    assert text.endswith("states (2, 4)\n")
    assert [line.removeprefix("jaxgru: warning: ") for line in errors] == [
        f"{path}: its first line, 0,1,2, was taken for a header, as pandas writes it: write 0.0 "
        "for a number",
        f"{state}: NaN or Inf at [1]",
        f"{path}: NaN or Inf at step 1, input 1 (1)",
    ]


# The table


def rows_of(text):
    """Return the table's numbers by step."""
    cells = [line.split() for line in text.splitlines()]
    return {int(row[0]): list(map(float, row[1:])) for row in cells if row and row[0].isdigit()}


def test_a_short_sequence_is_shown_whole(run, params, key, tmp_path):
    xs = numbers(key, (TIME, INPUTS))
    code, text, errors = run(store(tmp_path / "inputs.npy", xs))
    assert (code, errors) == (0, [])
    lines = text.splitlines()
    assert lines[0].split() == ["step", "unit", "0", "unit", "1", "unit", "2", "unit", "3"]
    assert lines[-1] == f"states ({TIME}, {UNITS})"
    rows = rows_of(text)
    assert list(rows) == list(range(TIME))
    expected, _ = oracle.gru(params, xs)
    np.testing.assert_allclose(list(rows.values()), expected, rtol=0, atol=TOLERANCE)


def test_of_a_long_sequence_both_ends_are_shown(run, params, key, tmp_path):
    xs = numbers(key, (60, INPUTS))
    _, text, _ = run(store(tmp_path / "inputs.npy", xs), "--chunk", "12")
    rows = rows_of(text)
    assert list(rows) == [*range(10), *range(50, 60)]
    assert [line.strip() for line in text.splitlines()].count("...") == 1
    assert text.splitlines()[-1] == f"states (60, {UNITS}), shown in part: -o writes all"
    expected, _ = oracle.gru(params, xs)
    np.testing.assert_allclose(list(rows.values()), expected[list(rows)], rtol=0, atol=TOLERANCE)


def test_of_many_sequences_and_units_the_first_are_shown(run, key, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    path = store(tmp_path / "inputs.npy", numbers(key, (2, 3, 1, INPUTS)))
    _, text, _ = run(path)
    lines = text.splitlines()
    named = [line for line in lines if line.startswith("sequence")]
    assert named == ["sequence (0, 0)", "sequence (0, 1)", "sequence (0, 2)"]
    assert max(map(len, lines[:-1])) <= 40
    assert lines[-1] == "states (2, 3, 1, 4), shown in part: -o writes all"


# --expect


def test_errors_are_reported_with_their_place(run, params, inputs, tmp_path):
    expected, _ = oracle.gru_batch(params, np.load(inputs))
    expected[1, 7, 2] += 0.25
    scale = np.abs(expected).max()
    states = store(tmp_path / "e.npy", expected)
    code, text, errors = run(inputs, "--expect", states, "-o", tmp_path / "o.npy", "--chunk", "5")
    assert (code, errors) == (1, [])
    assert text.splitlines()[-1] == (
        f"against {states}: largest absolute error 0.25 at sequence 1, step 7, unit 2, "
        f"{0.25 / scale:.3g} of the largest state; BEYOND the tolerance of 1e-06"
    )
    # The states are right whatever was expected: they are written all the same.
    assert (tmp_path / "o.npy").exists()
    code, text, _ = run(inputs, "--expect", states, "--tolerance", 0.26)
    assert code == 0
    assert "; within the tolerance of 0.26" in text
    code, text, _ = run(inputs, "--expect", tmp_path / "o.npy", "--tolerance", "0")
    assert code == 0
    assert "largest absolute error 0, 0 of the largest state; within" in text


@warnings_are_shown
@pytest.mark.parametrize("side", ["inputs", "expected"])
def test_nan_is_never_within_a_tolerance(run, params, key, tmp_path, side):
    xs = numbers(key, (TIME, INPUTS)).copy()
    expected, _ = oracle.gru(params, xs)
    if side == "inputs":
        xs[5, 0] = np.nan
        expected[5:] = np.nan
    else:
        expected[5, 0] = np.nan
    inputs, states = store(tmp_path / "i.npy", xs), store(tmp_path / "e.npy", expected)
    code, text, _ = run(inputs, "--expect", states, "--tolerance", "1e300")
    assert code == 1
    assert "largest absolute error inf at step 5, unit 0; BEYOND" in text


# --plot


@pytest.mark.parametrize("both_ways", [False, True])
def test_the_plot_shows_the_first_sequence(run, params, key, tmp_path, monkeypatch, both_ways):
    pytest.importorskip("matplotlib")
    drawn = []
    monkeypatch.setattr(cli.run, "plot_run", lambda *given, **named: drawn.append((given, named)))
    monkeypatch.setattr(cli.run, "_PLOTTED_STEPS", 5)
    net = jaxgru.Bidirectional(params, params) if both_ways else params
    jaxgru.save(net, tmp_path / "net.safetensors")
    keys = jax.random.split(key)
    units = 2 * UNITS if both_ways else UNITS
    xs, h0 = numbers(keys[0], (2, TIME, INPUTS)), numbers(keys[1], (2, units))
    inputs, state = store(tmp_path / "i.npy", xs), store(tmp_path / "h.npy", h0)
    for reverse, start in (([], 0), (["--reverse"], TIME - 5)):
        stop = start + 5
        if both_ways and reverse:
            break
        if both_ways:  # which has to see all steps
            start, stop = 0, TIME
        code, text, _ = run(
            inputs, "--h0", state, "--plot", tmp_path / "run.png", *reverse,
            weights=tmp_path / "net.safetensors",
        )  # fmt: skip
        assert code == 0
        assert f"of sequence 0, steps {start} to {stop - 1} of {TIME}" in text
        (_, plotted, _, first), named = drawn.pop()
        np.testing.assert_array_equal(plotted, xs[0, start:stop])
        np.testing.assert_array_equal(np.concatenate(jax.tree.leaves(first)), h0[0])
        assert named == {"reverse": bool(reverse), "first_step": start}


def test_the_plot_is_written(run, inputs, tmp_path):
    pytest.importorskip("matplotlib")
    code, text, errors = run(inputs, "--plot", tmp_path / "run.png")
    assert (code, errors) == (0, [])
    assert text.endswith("run.png: gates and state of sequence 0, steps 0 to 11 of 12\n")
    assert (tmp_path / "run.png").read_bytes().startswith(b"\x89PNG")


# Bad input: exit code 2, one line, and nothing written


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("i.npy", np.zeros((TIME, 4)), "it has shape (12, 4), expected (T, 3) or (..., T, 3), as "),
        ("i.npy", np.zeros(INPUTS), "it has shape (3,), expected (T, 3) or (..., T, 3), as "),
        ("i.npy", np.zeros(()), "it has shape (), expected (T, 3) or (..., T, 3), as "),
        ("i.npy", np.zeros((TIME, INPUTS), complex), "it has dtype complex128, expected real"),
        ("i.csv", b"", "it holds no rows of numbers"),
        ("i.csv", b"a,b,c\n1,2,3\n1,x,3\n", "line 3, column 2 is 'x', expected a number"),
        ("i.txt", b"1 2 3 4\n", "it has shape (1, 4), expected (T, 3)"),
        ("i.npz", b"no archive", "it is no .npz file, or damaged"),
        ("i.json", b"[]", "its ending is '.json', expected one of .npy, .npz, .csv, .txt"),
        ("i.npy", None, "No such file or directory"),
    ],
)
def test_inputs_that_will_not_do(run, tmp_path, name, content, message):
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        np.save(path, content)
    (tmp_path / "states.npy").write_bytes(b"old")
    code, text, errors = run(path, "-o", tmp_path / "states.npy")
    assert (code, text, len(errors)) == (2, "", 1)
    assert errors[0].startswith(f"jaxgru: error: {path}: {message}")
    assert (tmp_path / "states.npy").read_bytes() == b"old"


@pytest.mark.parametrize("shape", [(UNITS + 1,), (3, UNITS), (2, 2), (2, UNITS, 1), ()])
def test_a_state_that_does_not_fit(run, inputs, tmp_path, shape):
    state = store(tmp_path / "h0.npy", np.zeros(shape))
    code, text, errors = run(inputs, "--h0", state)
    assert (code, text) == (2, "")
    assert errors == [f"jaxgru: error: {state}: it has shape {shape}, expected (4,) or (2, 4)"]


@pytest.mark.parametrize("shape", [(TIME, UNITS), (2, TIME, UNITS + 1), (2, TIME + 1, UNITS)])
def test_expected_states_that_do_not_fit(run, inputs, tmp_path, shape):
    states = store(tmp_path / "states.npy", np.zeros(shape))
    code, text, errors = run(inputs, "--expect", states)
    assert (code, text) == (2, "")
    assert errors == [
        f"jaxgru: error: {states}: it has shape {shape}, expected (2, 12, 4), the shape of the "
        f"states for {inputs}"
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tolerance", "-1"], "argument --tolerance: '-1' given, expected a number from 0 on"),
        (["--tolerance", "nan"], "argument --tolerance: 'nan' given, expected a number from 0 on"),
        (["--chunk", "0"], "argument --chunk: '0' given, expected a whole number from 1 on"),
        (["--chunk", "2.5"], "argument --chunk: '2.5' given, expected a whole number from 1 on"),
        (["--equations", "mine"], "argument --equations: invalid choice: 'mine'"),
        (["-o", "{folder}/o.csv"], "{folder}/o.csv: it cannot hold shape (2, 12, 4), as text"),
        (["-o", "{folder}/o.dat"], "{folder}/o.dat: its ending is '.dat', expected one of .npy"),
        (["--h0", "{folder}/h0.npy"], "{folder}/h0.npy: No such file or directory"),
        (["--expect", "{folder}/e.npy"], "{folder}/e.npy: No such file or directory"),
        (["--plot", "{folder}/p.dat"], "{folder}/p.dat: its ending is '.dat', expected a picture"),
    ],
)
def test_arguments_that_will_not_do(run, inputs, tmp_path, arguments, message):
    before = sorted(tmp_path.rglob("*"))
    code, text, errors = run(inputs, *(part.format(folder=tmp_path) for part in arguments))
    assert (code, text, len(errors)) == (2, "", 1)
    assert errors[0].startswith(f"jaxgru: error: {message.format(folder=tmp_path)}")
    assert sorted(tmp_path.rglob("*")) == before


def test_no_step_gives_no_plot(run, tmp_path):
    path = store(tmp_path / "inputs.npy", np.zeros((0, INPUTS)))
    code, _, errors = run(path, "--plot", tmp_path / "run.png")
    assert code == 2
    assert errors == [f"jaxgru: error: {path}: its shape (0, 3) has no step to plot"]


def test_weights_that_cannot_be_read(run, tmp_path, inputs):
    (tmp_path / "bad.npz").write_bytes(b"no archive")
    code, _, errors = run(inputs, weights=tmp_path / "bad.npz")
    assert code == 2
    assert errors[0].startswith(f"jaxgru: error: {tmp_path / 'bad.npz'}: ")


# Processes of their own


@pytest.mark.slow
@pytest.mark.parametrize("installed", [False, True], ids=["python -m jaxgru", "jaxgru"])
def test_the_command_as_a_shell_runs_it(weights, inputs, tmp_path, installed):
    script = Path(sys.executable).with_name("jaxgru")
    if installed and not script.exists():
        pytest.skip("the script is not installed beside this Python")
    command = [script] if installed else [sys.executable, "-m", "jaxgru"]
    arguments = [*command, "run", weights, inputs, "--expect", tmp_path / "absent.npy"]
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.endswith("absent.npy: No such file or directory\n")
    assert done.stderr.count("\n") == 1  # no progress bar where stderr is no terminal


# What a shell starts in the background ignores SIGINT, and so does what that starts.
INTERRUPTIBLE = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from jaxgru.cli import run_and_exit
run_and_exit()
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
@pytest.mark.parametrize("ending", [".npy", ".csv"])
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_stopped_leaves_the_old_output(weights, tmp_path, ending, stop):
    inputs, folder = tmp_path / "inputs.npy", tmp_path / "outputs"
    # A sparse file, of more steps than can be done before the signal.
    np.lib.format.open_memmap(inputs, "w+", np.float32, (20_000_000, INPUTS))
    folder.mkdir()
    output = folder / f"states{ending}"
    output.write_bytes(b"the old output")
    command = [sys.executable, "-c", INTERRUPTIBLE, "run", weights, inputs, "-o", output]
    with subprocess.Popen([*command, "--chunk", "1000"], stderr=subprocess.PIPE) as process:
        while len(list(folder.iterdir())) == 1 and process.poll() is None:
            time.sleep(0.01)
        time.sleep(0.5)
        assert process.poll() is None
        process.send_signal(stop)
        errors = process.stderr.read().decode()
    assert output.read_bytes() == b"the old output"
    assert not list(folder.glob("states*.*"))[1:]
    if stop == signal.SIGINT:
        assert process.returncode == 130
        assert errors == "jaxgru: interrupted\n"
        assert list(folder.iterdir()) == [output]


# The progress bar


class Stream:
    """A stderr that somebody watches, or nobody."""

    def __init__(self, watched):
        self.shown, self.isatty = "", lambda: watched

    def write(self, text):
        self.shown += text

    def flush(self):
        pass


def test_the_bar_shows_how_far_a_long_run_is_to_who_watches(monkeypatch):
    pytest.importorskip("tqdm")
    terminal, file = Stream(True), Stream(False)
    monkeypatch.setattr(sys, "stderr", file)
    with progress.progress_bar(8) as unseen:
        monkeypatch.setattr(sys, "stderr", terminal)
        with progress.progress_bar(8) as advance:
            advance(2)
            assert terminal.shown == ""  # a short run needs no bar
            time.sleep(1.2)
            advance(4)
            unseen(4)
    assert "75%" in terminal.shown
    assert file.shown == ""


def test_without_tqdm_all_else_is_the_same(run, inputs, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    code, text, errors = run(inputs)
    assert (code, errors) == (0, [])
    assert text.endswith("states (2, 12, 4)\n")
