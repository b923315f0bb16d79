"""What the README shows is what happens."""

import ast
import re
import runpy
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
QUICKSTART = ROOT / "examples" / "quickstart.py"


def test_the_python_shown_is_the_quickstart():
    (shown,) = _blocks("python")
    source = QUICKSTART.read_text(encoding="utf-8")
    docstring = ast.parse(source).body[0]
    assert shown == "\n".join(source.split("\n")[docstring.end_lineno :]).strip()


# A reader's script runs under JAX's own promotion rules.
@pytest.mark.usefixtures("default_promotion")
def test_the_quickstart_prints_what_is_shown(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    runpy.run_path(str(QUICKSTART))
    printed = capsys.readouterr().out.strip()
    assert printed in _blocks("text")
    assert printed in QUICKSTART.read_text(encoding="utf-8")


def test_the_first_command_ends_as_shown(monkeypatch, capsys):
    cli = pytest.importorskip("jaxgru.cli")
    (command,) = (block for block in _blocks("sh") if "--expect" in block)
    arguments = shlex.split(command.split(".venv/bin/jaxgru ")[1])
    monkeypatch.chdir(ROOT)
    assert cli.main(arguments) == 0
    (shown,) = (block for block in _blocks("text") if "largest absolute error" in block)
    assert _without_numbers(capsys.readouterr().out).endswith(_without_numbers(shown))


def test_the_map_lists_every_module():
    (tree,) = (block for block in _blocks("text") if block.startswith("jaxgru/"))
    listed = set(re.findall(r"^  (\S+)", tree, flags=re.MULTILINE))
    modules = {path.name for path in (ROOT / "jaxgru").glob("*.py") if path.name[0] != "_"}
    packages = {f"{path.parent.name}/" for path in (ROOT / "jaxgru").glob("*/__init__.py")}
    assert listed == modules | packages


def _blocks(language):
    """Return the README's blocks of code in a language."""
    found = re.findall(rf"^```{language}\n(.*?)\n```$", README, flags=re.MULTILINE | re.DOTALL)
    assert found, f"the README has no block of {language}"
    return found


def _without_numbers(text):
    # The last digits, and with them the place of the largest error, are the processor's.
    return re.sub(r"-?\d+(\.\d+)?(e-?\d+)?", "#", text).strip()
