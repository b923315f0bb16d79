"""The command line, run in the process of the tests and in a folder of the test's own."""

from pathlib import Path

import pytest

from jaxgru._cli import command as cli


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    """Run the command line; its exit code, output, and error lines without the program's name."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        code = cli.main([*map(str, arguments)])
        out, err = capsys.readouterr()
        return code, out, [line.removeprefix("jaxgru: ") for line in err.splitlines()]

    return run


@pytest.fixture
def done(run):
    """Run a command that must succeed without output on stderr; its output."""

    def done(*arguments):
        code, output, errors = run(*arguments)
        assert (code, errors) == (0, [])
        return output

    return done


@pytest.fixture
def refused(run):
    """Run a command that must fail in one line and change no file; that line."""

    def content():
        return {path: path.is_file() and path.read_bytes() for path in Path().rglob("*")}

    def refused(*arguments):
        before = content()
        code, output, errors = run(*arguments)
        assert (code, output, len(errors)) == (2, "", 1), errors
        assert content() == before
        return errors[0].removeprefix("error: ")

    return refused
