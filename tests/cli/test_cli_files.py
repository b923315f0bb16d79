"""No command may destroy what it reads: the refusals come before any file is opened.

The inputs here are no weights and no arrays, so any other error says that one was read first.
"""

import os
import sys

import pytest

COMMANDS = {
    "run": (["run", "WEIGHTS", "INPUTS", "--h0", "H0", "--expect", "STATES"], ["-o", "--plot"]),
    "inspect": (["inspect", "WEIGHTS"], ["--plot"]),
    "convert": (["convert", "WEIGHTS"], [None]),
    "finetune": (
        ["finetune", "WEIGHTS", "DATA", "--readout", "READOUT", "-o", "fresh.npz"],
        ["-o", "--readout-output", "--history", "--plot"],  # the last -o counts
    ),
}
PAIRS = [
    pytest.param(command, given, option, id=f"{command} {given} {option}")
    for command, (arguments, options) in COMMANDS.items()
    for given in filter(str.isupper, arguments)
    for option in options
]


@pytest.fixture
def fails(refused, tmp_path):
    """Run a command that has to fail, beside files that it must leave as they were."""
    for name in ("WEIGHTS", "INPUTS", "H0", "STATES", "READOUT"):
        (tmp_path / name).write_text(name)
    (tmp_path / "DATA").mkdir()
    (tmp_path / "DATA" / "1.csv").write_text("1,2")
    return refused


@pytest.mark.parametrize("link", [None, os.symlink, os.link])
@pytest.mark.parametrize(("command", "given", "option"), PAIRS)
def test_an_output_that_is_an_input_is_refused(fails, command, given, option, link):
    lost = "DATA/1.csv" if given == "DATA" else given
    output = lost
    if link is not None:
        link(os.path.abspath(lost), "link")
        output = "link"
    arguments = [*COMMANDS[command][0], *([] if option is None else [option]), output]
    assert fails(*arguments) == f"{output}: it is the input {lost}: expected another output"


def test_a_folder_to_write_into_is_an_output_too(fails):
    line = fails("finetune", "WEIGHTS", "DATA", "-o", "new.npz", "--checkpoints", "DATA")
    assert line.startswith("DATA: it is the input DATA")


def test_the_files_of_a_models_data_are_inputs(fails, tmp_path):
    (tmp_path / "WEIGHTS").write_bytes(b"\x0a\x08location\x12\x0aMODEL.data")
    (tmp_path / "MODEL.data").write_bytes(b"\0" * 8)
    (tmp_path / "other").write_bytes(b"")
    command = ["convert", "WEIGHTS", "--external-data"]
    assert fails(*command, "MODEL.data").startswith("MODEL.data: it is the input MODEL.data")
    # A file beside it that the model does not name is none: the next error is of the model.
    assert fails(*command, "other").startswith("WEIGHTS: ")


@pytest.mark.parametrize("exists", [False, True])
def test_two_outputs_are_two_files(fails, tmp_path, exists):
    if exists:
        (tmp_path / "new").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "new")
    line = fails("run", "WEIGHTS", "INPUTS", "-o", "new", "--plot", "link")
    assert line == "new: it is the output link too: expected two files"


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("DATA", "DATA: Is a directory"),
        ("absent/new.npz", "absent/new.npz: its folder is missing"),
        ("WEIGHTS/new.npz", "WEIGHTS/new.npz: its folder is missing"),
    ],
)
def test_a_place_that_cannot_be_written_is_refused(fails, output, message):
    assert fails("convert", "INPUTS", output) == message
    assert fails("finetune", "INPUTS", "H0", "-o", output) == message
    line = fails("finetune", "INPUTS", "H0", "-o", "new.npz", "--checkpoints", "WEIGHTS")
    assert line == "WEIGHTS: Not a directory"


@pytest.mark.skipif(sys.platform == "win32", reason="devices as POSIX has them")
def test_a_device_has_nothing_to_lose(fails):
    null = os.devnull
    line = fails("finetune", "WEIGHTS", "DATA", "-o", null, "--history", null, "--plot", null)
    assert not line.startswith(null)
