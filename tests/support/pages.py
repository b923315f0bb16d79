"""Runs the blocks of code of a Markdown page, and compares what they print with what it shows."""

import contextlib
import io
import re
import shlex
from pathlib import Path

from jaxgru._cli import command as cli

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)\n\1```$", re.MULTILINE | re.DOTALL)


def read(name):
    """Return the text of a page of the repository."""
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(page, language):
    """Return a page's blocks of code in a language."""
    found = [code for kind, code in _all_blocks(page) if kind == language]
    assert found, f"the page has no block of {language}"
    return found


def run(page, without=()):
    """Run every block of Python, in one namespace, and every ``jaxgru`` command, in order.

    A block of text after such a block is what it must print, but for the digits of numbers, which
    depend on the processor. Blocks that import a library of ``without`` are left out. Returns the
    namespace.
    """
    names = {"__name__": "__main__"}
    printed = None
    for language, code in _all_blocks(page):
        if language == "python":
            if set(without) & set(re.findall(r"^(?:import|from) (\w+)", code, re.MULTILINE)):
                continue
            printed = _printed(exec, compile(code, "<page>", "exec"), names)
        elif language == "sh":
            printed = "".join(map(_command, code.splitlines()))
        elif language == "text" and printed is not None:
            assert without_numbers(printed) == without_numbers(code)
            printed = None
        elif printed:
            raise AssertionError(f"not shown: {printed}")
    return names


def without_numbers(text):
    """Return a text with # in the place of each number, and no space at the ends of lines."""
    text = re.sub(r"(?<![\w.])-?\d+(\.\d+)?(e[-+]?\d+)?", "#", text)
    return "\n".join(" ".join(line.split()) for line in text.strip().splitlines())


def _all_blocks(page):
    found = []
    for indent, language, code in _BLOCK.findall(page):
        found.append((language, re.sub(rf"^{indent}", "", code, flags=re.MULTILINE)))
    return found


def _command(line):
    program, *arguments = shlex.split(line, comments=True)
    assert program == "jaxgru", line
    return _printed(_main, arguments)


def _main(arguments):
    assert cli.main(arguments) == 0


def _printed(function, *arguments):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        function(*arguments)
    return out.getvalue()
