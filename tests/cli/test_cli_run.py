"""``jaxgru run``: files of every format in and out, checks, and what it says of bad input."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cases
import jax
import numpy as np
import oracle
import pytest

import jaxgru
from jaxgru import cli
from jaxgru.cli import progress

INPUTS, UNITS, TIME = 3, 4, 12
# Float32 against float64 over a dozen steps of states within 1: a few roundings of 6e-8 each.
TOLERANCE = 1e-6
# The suite makes warnings errors; here they are to reach the command line's stderr.
warnings_are_shown = pytest.mark.filterwarnings("always::jaxgru.arrayfiles.ArrayFileWarning")
FORMATS = (".npy", ".npz", ".csv", ".txt")
SCRIPT = Path(sys.executable).with_name("jaxgru")


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

    def run(*arguments):
        code = cli.main(["run", str(weights), *map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err.splitlines()

    return run


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


@pytest.mark.parametrize("to", FORMATS)
@pytest.mark.parametrize("of", FORMATS)
def test_from_every_format_to_every_format(run, params, key, tmp_path, of, to):
    xs = numbers(key, (TIME, INPUTS))
    inputs, output = store(tmp_path / f"inputs{of}", xs), tmp_path / f"states{to}"
    code, text, errors = run(inputs, "-o", output)
    assert (code, errors) == (0, [])
    assert text == f"{output}: states ({TIME}, {UNITS}) of float32\n"
    expected, _ = oracle.gru(params, xs)
    np.testing.assert_allclose(fetch(output), expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("options", [[], ["--chunk", "5"], ["--chunk", "5", "--reverse"]])
@pytest.mark.parametrize("ending", [".npy", ".npz"])
@pytest.mark.parametrize("batch", [(5,), (2, 3)])
def test_a_batch_with_its_states(run, params, key, tmp_path, batch, ending, options):
    keys = jax.random.split(key)
    xs, h0 = numbers(keys[0], (*batch, TIME, INPUTS)), numbers(keys[1], (*batch, UNITS))
    inputs = store(tmp_path / f"inputs{ending}", xs)
    state = store(tmp_path / f"h0{ending}", h0, "h0")
    output = tmp_path / f"states{ending}"
    code, _, errors = run(inputs, "-o", output, "--h0", state, *options)
    assert (code, errors) == (0, [])
    expected, _ = oracle.gru_batch(params, xs, h0, reverse="--reverse" in options)
    np.testing.assert_allclose(fetch(output), expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("reverse", [[], ["--reverse"]])
@pytest.mark.parametrize("ending", FORMATS)
def test_a_sequence_in_chunks_is_the_sequence(run, params, key, tmp_path, ending, reverse):
    xs = numbers(key, (TIME, INPUTS))
    inputs, output = store(tmp_path / f"inputs{ending}", xs), tmp_path / f"states{ending}"
    expected, _ = oracle.gru(params, xs, reverse=bool(reverse))
    for steps in (1, 5, TIME, 1000):
        code, _, errors = run(inputs, "-o", output, "--chunk", steps, *reverse)
        assert (code, errors) == (0, [])
        np.testing.assert_allclose(fetch(output), expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(
    ("ending", "shape"),
    [(".npy", (UNITS,)), (".npz", (1, UNITS)), (".csv", (1, UNITS)), (".txt", (UNITS, 1))],
)
@pytest.mark.parametrize("batch", [(), (5,)])
def test_one_state_from_every_format(run, params, key, tmp_path, batch, ending, shape):
    keys = jax.random.split(key)
    xs, h0 = numbers(keys[0], (*batch, TIME, INPUTS)), numbers(keys[1], (UNITS,))
    inputs = store(tmp_path / "inputs.npy", xs)
    state = store(tmp_path / f"h0{ending}", h0.reshape(shape), "h0")
    code, _, errors = run(inputs, "-o", tmp_path / "states.npy", "--h0", state)
    assert (code, errors) == (0, [])
    expected, _ = oracle.gru_batch(params, xs, h0)
    np.testing.assert_allclose(np.load(tmp_path / "states.npy"), expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("dtype", ["i1", ">i8", "?", "f2", ">f8"])
def test_numbers_of_every_type_are_taken_as_they_are(run, params, tmp_path, dtype):
    xs = (np.arange(TIME * INPUTS).reshape(TIME, INPUTS) % 3 - 1).astype(dtype)
    store(tmp_path / "inputs.npy", xs)
    code, _, errors = run(tmp_path / "inputs.npy", "-o", tmp_path / "states.npy")
    assert (code, errors) == (0, [])
    states = np.load(tmp_path / "states.npy")
    assert states.dtype == np.float32
    expected, _ = oracle.gru(params, xs)
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
    xs = numbers(key, (100, INPUTS))
    _, text, _ = run(store(tmp_path / "inputs.npy", xs), "--chunk", "30")
    rows = rows_of(text)
    assert list(rows) == [*range(10), *range(90, 100)]
    assert [line.strip() for line in text.splitlines()].count("...") == 1
    assert text.splitlines()[-1] == f"states (100, {UNITS}), shown in part: -o writes all"
    expected, _ = oracle.gru(params, xs)
    np.testing.assert_allclose(list(rows.values()), expected[list(rows)], rtol=0, atol=TOLERANCE)


def test_of_many_sequences_and_units_the_first_are_shown(capsys, key, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    jaxgru.save(cases.random_params(key, INPUTS, 20), tmp_path / "weights.npz")
    inputs = store(tmp_path / "inputs.npy", numbers(key, (2, 3, 1, INPUTS)))
    assert cli.main(["run", str(tmp_path / "weights.npz"), str(inputs)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("sequence")] == [
        "sequence 0",
        "sequence 1",
        "sequence 2",
    ]
    assert max(map(len, lines)) <= 60
    assert lines[-1] == "states (2, 3, 1, 20), shown in part: -o writes all"


# --expect


@pytest.mark.parametrize("ending", FORMATS)
def test_the_right_states_are_within_the_tolerance(run, params, key, tmp_path, ending):
    xs = numbers(key, (TIME, INPUTS))
    expected, _ = oracle.gru(params, xs)
    states = store(tmp_path / f"states{ending}", expected, "outputs")
    code, text, errors = run(store(tmp_path / "inputs.npy", xs), "--expect", states)
    assert (code, errors) == (0, [])
    assert text.splitlines()[-1].startswith(f"against {states}: largest absolute error ")
    assert text.endswith("; within the tolerance of 1e-06\n")


def test_errors_are_reported_with_their_place(run, params, key, tmp_path):
    xs = numbers(key, (3, TIME, INPUTS))
    expected, _ = oracle.gru_batch(params, xs)
    expected[1, 7, 2] += 0.25
    expected[2, 9, 0] *= 5
    inputs, states = store(tmp_path / "i.npy", xs), store(tmp_path / "e.npy", expected)
    largest = max(0.25, abs(expected[2, 9, 0]) * 0.8)
    place = "sequence 1, step 7, unit 2" if largest == 0.25 else "sequence 2, step 9, unit 0"
    relative = max(0.8, 0.25 / abs(expected[1, 7, 2]))
    code, text, errors = run(inputs, "--expect", states, "-o", tmp_path / "o.npy", "--chunk", "5")
    assert (code, errors) == (1, [])
    assert text.splitlines()[-1] == (
        f"against {states}: largest absolute error {largest:.3g} at {place}, "
        f"largest relative error {relative:.3g}; BEYOND the tolerance of 1e-06"
    )
    # The states are right whatever was expected: they are written all the same.
    assert (tmp_path / "o.npy").exists()
    code, text, _ = run(inputs, "--expect", states, "--tolerance", largest + 1e-3)
    assert code == 0
    assert "; within the tolerance of" in text


def test_equal_states_have_no_error(run, key, tmp_path):
    inputs = store(tmp_path / "inputs.npy", numbers(key, (TIME, INPUTS)))
    run(inputs, "-o", tmp_path / "states.npy")
    code, text, _ = run(inputs, "--expect", tmp_path / "states.npy", "--tolerance", "0")
    assert code == 0
    assert "largest absolute error 0, largest relative error 0; within" in text


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
    assert "largest absolute error inf at sequence 0, step 5, unit 0" in text


# --plot


def test_the_plot_shows_the_first_sequence(run, params, key, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    drawn = []
    monkeypatch.setattr(cli.run, "plot_run", lambda *given, **named: drawn.append((given, named)))
    monkeypatch.setattr(cli.run, "_PLOTTED_STEPS", 5)
    keys = jax.random.split(key)
    xs, h0 = numbers(keys[0], (2, 3, TIME, INPUTS)), numbers(keys[1], (2, 3, UNITS))
    inputs, state = store(tmp_path / "i.npy", xs), store(tmp_path / "h.npy", h0)
    for reverse, start in (([], 0), (["--reverse"], TIME - 5)):
        code, text, _ = run(inputs, "--h0", state, "--plot", tmp_path / "run.png", *reverse)
        assert code == 0
        assert f"steps {start} to {start + 4} of {TIME}" in text
        (_, plotted, _, first), named = drawn.pop()
        np.testing.assert_array_equal(plotted, xs[0, 0, start : start + 5])
        np.testing.assert_array_equal(first, h0[0, 0])
        assert named == {"reverse": bool(reverse), "first_step": start}


def test_the_plot_is_written(run, key, tmp_path):
    pytest.importorskip("matplotlib")
    inputs = store(tmp_path / "inputs.npy", numbers(key, (TIME, INPUTS)))
    code, text, errors = run(inputs, "--plot", tmp_path / "run.png")
    assert (code, errors) == (0, [])
    assert text.endswith(f"{tmp_path / 'run.png'}: gates and state, steps 0 to 11 of 12\n")
    assert (tmp_path / "run.png").read_bytes().startswith(b"\x89PNG")


# Bad input: exit code 2, one line, and nothing written


BAD_INPUTS = {
    "another number of inputs": (
        np.zeros((TIME, INPUTS + 1)),
        f"it has shape ({TIME}, 4), expected (T, 3) or (..., T, 3), as ",
    ),
    "one axis": (np.zeros(INPUTS), "it has shape (3,), expected (T, 3) or (..., T, 3), as "),
    "no axis": (np.zeros(()), "it has shape (), expected (T, 3) or (..., T, 3), as "),
    "objects": (np.array([[{}]]), "it holds Python objects, which are never loaded"),
    "complex": (np.zeros((TIME, INPUTS), complex), "it has dtype complex128, expected real"),
}


@pytest.mark.parametrize("case", BAD_INPUTS)
def test_inputs_that_do_not_fit(run, tmp_path, case):
    array, message = BAD_INPUTS[case]
    path = tmp_path / "inputs.npy"
    np.save(path, array)
    code, text, errors = run(path, "-o", tmp_path / "states.npy")
    assert (code, text, len(errors)) == (2, "", 1)
    assert errors[0].startswith(f"jaxgru: error: {path}: {message}")
    assert not (tmp_path / "states.npy").exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("i.csv", b"", "it holds no rows of numbers"),
        ("i.csv", b"1,2,3\n4,5\n", "line 2 has 2 columns, expected 3, as in the first row"),
        ("i.csv", b"a,b,c\n1,2,3\n1,x,3\n", "line 3, column 2 is 'x', expected a number"),
        ("i.txt", b"1 2 3 4\n", "it has shape (1, 4), expected (T, 3)"),
        ("i.npy", b"\x93NUMPY\x01\x00", "it has a damaged .npy header"),
        ("i.npz", b"no archive", "it is no .npz file, or damaged"),
        ("i.json", b"[]", "its ending is '.json', expected one of .npy, .npz, .csv, .txt"),
        ("i.npy", None, "No such file or directory"),
    ],
)
def test_files_that_cannot_be_read(run, tmp_path, name, content, message):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    (tmp_path / "states.npy").write_bytes(b"old")
    for arguments in ([path], [path, "-o", tmp_path / "states.npy"]):
        code, text, errors = run(*arguments)
        assert (code, text, len(errors)) == (2, "", 1)
        assert errors[0].startswith(f"jaxgru: error: {path}: {message}")
    assert (tmp_path / "states.npy").read_bytes() == b"old"


@pytest.fixture
def inputs(key, tmp_path):
    """The path of a batch of two good input sequences."""
    return store(tmp_path / "inputs.npy", numbers(key, (2, TIME, INPUTS)))


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
        (["--tolerance", "x"], "argument --tolerance: 'x' given, expected a number from 0 on"),
        (["--chunk", "0"], "argument --chunk: '0' given, expected a whole number from 1 on"),
        (["--chunk", "2.5"], "argument --chunk: '2.5' given, expected a whole number from 1 on"),
        (["--equations", "mine"], "argument --equations: invalid choice: 'mine'"),
        (["-o", "{folder}/o.csv"], "{folder}/o.csv: it cannot hold shape (2, 12, 4), as text"),
        (["-o", "{folder}/o.dat"], "{folder}/o.dat: its ending is '.dat', expected one of .npy"),
        (["-o", "{folder}/absent/o.npy"], "{folder}/absent/o.npy: its folder is missing"),
        (["-o", "{folder}/folder.npy"], "{folder}/folder.npy: Is a directory"),
        (["--h0", "{folder}/h0.npy"], "{folder}/h0.npy: No such file or directory"),
        (["--expect", "{folder}/e.npy"], "{folder}/e.npy: No such file or directory"),
        (["--plot", "{folder}/p.dat"], "{folder}/p.dat: its ending is '.dat', expected a picture"),
        (["--plot", "{folder}/absent/p.png"], "{folder}/absent/p.png: its folder is missing"),
    ],
)
def test_arguments_that_will_not_do(run, inputs, tmp_path, arguments, message):
    (tmp_path / "folder.npy").mkdir()
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


def test_weights_that_cannot_be_read(tmp_path, capsys, inputs):
    (tmp_path / "bad.npz").write_bytes(b"no archive")
    assert cli.main(["run", str(tmp_path / "bad.npz"), str(inputs)]) == 2
    assert capsys.readouterr().err.startswith(f"jaxgru: error: {tmp_path / 'bad.npz'}: ")


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
def test_nan_in_the_state_is_warned_about(run, inputs, tmp_path):
    state = store(tmp_path / "h0.npy", np.full(UNITS, np.nan))
    code, _, errors = run(inputs, "--h0", state)
    assert code == 0
    assert errors == [f"jaxgru: warning: {state}: NaN or Inf"]


# Processes of their own


@pytest.mark.parametrize(
    "command", [[sys.executable, "-m", "jaxgru"], [SCRIPT]], ids=["python -m jaxgru", "jaxgru"]
)
def test_the_command_as_a_shell_runs_it(weights, params, key, tmp_path, command):
    if not Path(command[0]).exists():
        pytest.skip("the script is not installed beside this Python")
    xs = numbers(key, (TIME, INPUTS))
    expected, _ = oracle.gru(params, xs)
    inputs, states = store(tmp_path / "i.csv", xs), store(tmp_path / "e.csv", expected)
    wrong = store(tmp_path / "w.csv", expected + 1)
    for path, code in ((states, 0), (wrong, 1), (tmp_path / "absent.csv", 2)):
        arguments = [*command, "run", weights, inputs, "--expect", path]
        done = subprocess.run(arguments, capture_output=True, text=True, check=False)
        assert done.returncode == code
        # No progress bar where stderr is no terminal, no traceback: nothing, or one error line.
        assert len(done.stderr.splitlines()) == (1 if code == 2 else 0)


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


FULL_DISK = """
import resource, sys
from jaxgru.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="the system cannot reserve space")
@pytest.mark.parametrize("ending", [".npy", ".csv"])
def test_a_disk_without_room_is_told_before_the_work(weights, tmp_path, ending):
    store(tmp_path / "inputs.npy", np.full((TIME * 100, INPUTS), np.nan))
    output = tmp_path / f"states{ending}"
    output.write_bytes(b"the old output")
    before = sorted(tmp_path.iterdir())
    command = ["run", weights, tmp_path / "inputs.npy", "-o", output]
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, *command], capture_output=True, text=True, check=False
    )
    # Had the work begun, a warning of NaN would stand before it.
    assert (done.returncode, done.stderr) == (2, f"jaxgru: error: {output}: File too large\n")
    assert output.read_bytes() == b"the old output"
    assert sorted(tmp_path.iterdir()) == before


# The progress bar


class Terminal:
    """A stderr that somebody watches."""

    def __init__(self):
        self.shown = ""

    def isatty(self):
        return True

    def write(self, text):
        self.shown += text

    def flush(self):
        pass


def test_the_bar_shows_how_far_a_long_run_is(monkeypatch):
    pytest.importorskip("tqdm")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress.progress_bar(8) as advance:
        advance(2)
        assert terminal.shown == ""  # a short run needs no bar
        time.sleep(1.2)
        advance(4)
    assert "75%" in terminal.shown


def test_there_is_no_bar_without_a_terminal(capsys):
    with progress.progress_bar(8) as advance:
        time.sleep(1.2)
        advance(4)
    assert capsys.readouterr().err == ""


def test_without_tqdm_all_else_is_the_same(run, inputs, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    code, text, errors = run(inputs)
    assert (code, errors) == (0, [])
    assert text.endswith("states (2, 12, 4)\n")
