"""Errors of the subcommands: one line, exit code 2, and unchanged files."""

import shlex

import cases
import finetuning
import jax
import nets
import numpy as np
import pytest

import jaxgru

_SHAPE = "expected (T, 3) or (..., T, 3), as gru.npz has 3 inputs"
_STATES = "expected (2, 12, 4), the shape of the states for xs.npy"
_REFUSED = {
    # The command line itself
    "": "the following arguments are required: SUBCOMMAND (see jaxgru --help)",
    "train": "argument SUBCOMMAND: invalid choice: 'train'",
    "inspect": "the following arguments are required: FILE (see jaxgru inspect --help)",
    # Weights
    "inspect none.npz": "none.npz: No such file or directory",
    "inspect csv": "csv: it is a directory: expected a file of weights",
    "inspect text.npz": "text.npz: it begins with b'wMatrix': expected",
    "inspect gru.npz --assume activation=swish": "argument --assume: 'activation=swish' given: "
    "assume['activation'] is 'swish': expected one of ",
    "inspect gru.npz --plot a.xyz": "a.xyz: its suffix is '.xyz': expected that of an image",
    "convert a b --to-equations tf": "argument --to-equations: invalid choice: 'tf'",
    "convert gru.npz out.h5": "out.h5 was not written: its suffix is '.h5': expected .",
    "convert gru.npz old.npz --to-equations notebook": "old.npz was not written: the recurrent "
    "bias of the cand",
    "export gru.npz gru.npz": "gru.npz is also the input gru.npz: expected another file",
    "export gru.npz none/net.onnx": "none/net.onnx: its folder is missing",
    "export gru.npz net.h5": "net.h5 was not written: its suffix is '.h5': expected .onnx or .s",
    "export gru.npz net.stablehlo --platforms gpu": "platforms are ('gpu',): expected some of cpu",
    "export gru.npz net.onnx --platforms cuda": "platforms is ('cuda',) for an ONNX model: exp",
    "export gru.npz net.onnx --layer x": "gru.npz: layer is 'x': expected one of 'gru'",
    # Arrays
    "run gru.npz none.npy -o old.npy": "none.npy: No such file or directory",
    "run gru.npz old.npz -o old.npy": "old.npz: it is damaged or not a .npz file",
    "run gru.npz wide.npy -o old.npy": f"wide.npy: it has shape (12, 4): {_SHAPE}",
    "run gru.npz flat.npy": f"flat.npy: it has shape (3,): {_SHAPE}",
    "run gru.npz scalar.npy": f"scalar.npy: it has shape (): {_SHAPE}",
    "run gru.npz complex.npy": "complex.npy: it has dtype complex128: expected real",
    "run gru.npz empty.npy --plot p.png": "empty.npy: it has shape (2, 0, 3): expected at",
    "run gru.npz log.csv": f"log.csv: it has shape (12, 4): {_SHAPE}; its columns are 't', 'ax', "
    "'ay', 'az' (--columns or --skip chooses)",
    "run gru.npz log.csv --columns x": "log.csv: it has no column 'x': expected 1 to 4, or one of ",
    "run gru.npz log.csv --columns t --skip t": "argument --skip: not allowed with argument --colu",
    **{
        f"run gru.npz xs.npy --h0 h{i}.npy": f"h{i}.npy: it has shape {shape}: expected (4,) or "
        "(2, 4)"
        for i, shape in enumerate([(5,), (3, 4), (2, 2), (2, 4, 1)])
    },
    "run gru.npz xs.npy --expect xs.npy": f"xs.npy: it has shape (2, 12, 3): {_STATES}",
    "run gru.npz xs.npy --tolerance -1": "argument --tolerance: it is '-1': expected a number, at",
    "run gru.npz xs.npy --tolerance nan": "argument --tolerance: it is 'nan': expected a number",
    "run gru.npz xs.npy --chunk 0": "argument --chunk: it is '0': expected a whole number",
    "run gru.npz xs.npy --chunk 2.5": "argument --chunk: it is '2.5': expected a whole number",
    "run gru.npz xs.npy --equations mine": "argument --equations: invalid choice: 'mine'",
    "run gru.npz xs.npy -o o.csv": "o.csv: the array has shape (2, 12, 4): expected (T, F), as",
    "run gru.npz xs.npy -o o.dat": "o.dat: its suffix is '.dat': expected one of .npy",
    "run gru.npz xs.npy --plot p.dat": "p.dat: its suffix is '.dat': expected that of an image",
    "run gru.npz xs.npy --layer a": "gru.npz: layer is 'a': expected",
    "run both.safetensors xs.npy --chunk 5": "--chunk is 5: expected None, as a ",
    "run both.safetensors xs.npy --h0 flat.npy": "flat.npy: it has shape (3,): expected (8,) or "
    "(2, 8): the states of net.forward (4), net.backward (4) side by side",
    # Fine-tuning
    "finetune gru.npz none.npz -o t.npz": "none.npz: No such file or directory",
    "finetune gru.npz data.npz": "the following arguments are required: -o/--output (see jaxgru fi",
    "finetune gru.npz data.npz -o t.foo": "t.foo was not written: its suffix is '.foo': expect",
    "finetune gru.npz data.npz -o t.npz --plot x.foo": "x.foo: its suffix is '.foo': expected ",
    "finetune gru.npz data.npz -o t.npz": "data.npz: its targets have 2 numbers and the states, "
    "which are the predictions, 4: expected --readout IN for a readout of the states, or ",
    "finetune gru.npz data.npz -o t.npz --readout r3.npz": "data.npz: targets has shape (8, 6, 2): "
    "expected (8, 6, 3)",
    "finetune gru.npz data.npz -o t.npz --readout r52.npz": "data.npz: layer 'readout': its "
    "kernel and bias have shapes ((5, 2), (2,)): expected (4, O) and (O,), as the net has 4 out",
    "finetune gru.npz data.npz -o t.npz --targets 1": "data.npz: --targets is '1': expected no ",
    "finetune gru.npz csv -o t.npz": "csv: --targets is not given: expected --targets COLUMNS for ",
    "finetune gru.npz csv -o t.npz --targets 1 --loss next-step": "csv: --targets is '1': expected",
    "finetune gru.npz classes.npz -o t.npz --loss classification": "classes.npz: its targets have "
    "7 classes and the states, which are the predictions, 4: expected --readout IN",
    "finetune gru.npz csv -o t.npz --targets x": "csv/0.csv: it has no column 'x': expected 1 to "
    "4, or one of t, ax, ay, az",
    "finetune gru.npz csv -o t.npz --targets 1,2,3,4": "csv/0.csv: all its columns are ",
    "finetune gru.npz csv -o t.npz --targets 4 --loss classification": "csv: its targets are not "
    "integers: expected whole numbers",
    "finetune gru.npz csv -o t.npz --targets 3,4 --loss classification": "csv: 2 columns are ",
    "finetune gru.npz step.npz -o t.npz": "1 sequences of 1 steps cannot be divided with ",
    "finetune pair data.npz -o t.safetensors --readout-output r.npz": "pair: the net returns a "
    "pair of outputs: expected one output",
    "finetune gru.npz unlike -o t.npz --targets 1": "unlike/1.csv: it has 3 columns: expected 4, "
    "as in unlike/0.csv",
    "finetune gru.npz none -o t.npz --targets 1": "none: its suffix is '': expected one of .npy, ",
    "finetune gru.npz hollow -o t.npz --targets 1": "hollow: it is a folder without .csv files",
    "finetune gru.npz gru.npz -o t.npz": "gru.npz: its arrays are 'biases', 'uMatrix', 'wMatrix': ",
    "finetune gru.npz xs.npz -o t.npz": "xs.npz: its arrays are 'inputs': expected one called 'tar",
    "finetune gru.npz data.npz -o t.npz --held-out 1": "argument --held-out: it is '1': expected a "
    "number between 0 and 1",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with weights, and with arrays of many shapes."""
    folder = tmp_path_factory.mktemp("refused")
    params = cases.random_params(jax.random.key(0), 3, 4)
    jaxgru.save(params, folder / "gru.npz")
    jaxgru.save(nets.random_net(jax.random.key(0), "sum"), folder / "both.safetensors")
    jaxgru.save(nets.random_net(jax.random.key(0), "pair"), folder / "pair", format="safetensors")
    for name in ("old.npz", "old.npy"):
        (folder / name).write_text("the old file")
    (folder / "text.npz").write_text("wMatrix")
    arrays = {"xs": (2, 12, 3), "wide": (12, 4), "flat": (3,), "scalar": (), "empty": (2, 0, 3)}
    arrays |= {"h0": (5,), "h1": (3, 4), "h2": (2, 2), "h3": (2, 4, 1)}
    for name, shape in arrays.items():
        np.save(folder / f"{name}.npy", np.zeros(shape, np.float32))
    np.save(folder / "complex.npy", np.zeros((12, 3), complex))
    data = finetuning.small_data()
    np.savez(folder / "data.npz", inputs=data.inputs, targets=data.targets)
    np.savez(folder / "xs.npz", inputs=data.inputs)
    np.savez(folder / "classes.npz", inputs=data.inputs, targets=np.full((8, 6), 6))
    np.savez(folder / "step.npz", inputs=np.ones((1, 3)), targets=np.ones((1, 4)))
    for name, shape in {"r3": (4, 3), "r52": (5, 2)}.items():
        np.savez(folder / f"{name}.npz", kernel=np.ones(shape), bias=np.ones(shape[1]))
    table = "t,ax,ay,az\n" + "0,0.1,0.2,0.3\n" * 12
    for name in ("log.csv", "csv/0.csv", "unlike/0.csv"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(table)
    (folder / "unlike" / "1.csv").write_text("1,2,3\n")
    (folder / "hollow").mkdir()
    return folder


@pytest.mark.parametrize("arguments", _REFUSED)
def test_an_error_is_one_line_and_changes_no_file(refused, folder, monkeypatch, arguments):
    monkeypatch.chdir(folder)
    assert refused(*shlex.split(arguments)).startswith(_REFUSED[arguments])


def test_debug_shows_the_traceback(run):
    for arguments in (["--debug", "inspect"], ["inspect", "--debug"]):
        code, _, errors = run(*arguments, "none.npz")
        assert code == 2
        assert errors[0] == "Traceback (most recent call last):"
        assert errors[-1].startswith("error: ")


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (KeyError("x"), 2, "error: KeyError: 'x' (--debug shows where)"),
        (KeyboardInterrupt(), 130, "interrupted"),  # 128 + SIGINT, as a shell reports it
    ],
)
def test_an_unexpected_error_is_one_line(run, folder, monkeypatch, error, code, line):
    def fail(*_args, **_options):
        raise error

    monkeypatch.setattr("jaxgru._cli.inspect.read_all", fail)
    assert run("inspect", folder / "gru.npz")[::2] == (code, [line])
