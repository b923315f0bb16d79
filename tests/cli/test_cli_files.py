"""No command may overwrite its input: the error comes before any file is opened.

The inputs here are neither weights nor arrays, so any other error shows that one was read first.
"""

import os
import sys

import pytest

COMMANDS = {
    "run": (["run", "WEIGHTS", "INPUTS", "--h0", "H0", "--expect", "STATES"], ["-o", "--plot"]),
    "inspect": (["inspect", "WEIGHTS"], ["--plot"]),
    "convert": (["convert", "WEIGHTS"], [None]),
    "finetune": (
        ["finetune", "WEIGHTS", "INPUTS", "--readout", "READOUT", "-o", "fresh.npz"],
        ["-o", "--readout-output", "--history", "--plot", "--split-output"],  # the last -o counts
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
    output = given
    if link is not None:
        link(os.path.abspath(given), "link")
        output = "link"
    arguments = [*COMMANDS[command][0], *([] if option is None else [option]), output]
    assert fails(*arguments) == f"{output} is also the input {given}: expected another file"


@pytest.mark.parametrize("exists", [False, True])
def test_two_outputs_are_two_files(fails, tmp_path, exists):
    if exists:
        (tmp_path / "new").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "new")
    line = fails("run", "WEIGHTS", "INPUTS", "-o", "new", "--plot", "link")
    assert line == "new is also the output link: expected another file"


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("DATA", "DATA: Is a directory"),
        ("absent/new.npz", "absent/new.npz: its folder is missing"),
        ("WEIGHTS/new.npz", "WEIGHTS/new.npz: its folder is missing"),
    ],
)
def test_a_path_that_cannot_be_written_is_refused(fails, output, message):
    assert fails("convert", "INPUTS", output) == message
    assert fails("finetune", "INPUTS", "H0", "-o", output) == message


@pytest.mark.skipif(sys.platform == "win32", reason="devices as POSIX has them")
def test_a_device_may_be_every_output(fails):
    null = os.devnull
    line = fails("finetune", "WEIGHTS", "DATA", "-o", null, "--history", null, "--plot", null)
    assert not line.startswith(null)
