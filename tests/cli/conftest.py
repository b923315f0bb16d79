"""The command line, run in the process of the tests and in a folder of the test's own."""

import pytest

from jaxgru import cli


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    """Run the command line; its exit code, output, and error lines without the name of it."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        code = cli.main([*map(str, arguments)])
        out, err = capsys.readouterr()
        return code, out, [line.removeprefix("jaxgru: ") for line in err.splitlines()]

    return run
