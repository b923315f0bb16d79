"""What the README and the map of modules show is what happens."""

import ast
import re
import runpy
import shlex

import jax
import numpy as np
import pages
import pytest

import jaxgru

ROOT = pages.ROOT
README = pages.read("README.md")
QUICKSTART = ROOT / "examples" / "quickstart.py"

# A reader's script runs under JAX's own promotion rules.
pytestmark = pytest.mark.usefixtures("default_promotion")


def test_it_is_short():
    assert len(README.splitlines()) <= 120


def test_the_python_runs_and_saves(tmp_path, monkeypatch):
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    (code,) = pages.blocks(README, "python")
    assert len(code.splitlines()) <= 20
    names = {}
    exec(code, names)
    for name in ("before", "after"):
        (shown,) = re.findall(rf"^{name} = .*# ([\d.]+)$", code, flags=re.MULTILINE)
        # 500 steps of training add up the rounding of a processor.
        np.testing.assert_allclose(names[name], float(shown), rtol=0.05)
    saved = jaxgru.load_model("tuned.keras")
    assert jax.tree.all(jax.tree.map(np.array_equal, saved, names["model"]))


def test_the_first_command_ends_as_shown(monkeypatch, capsys):
    cli = pytest.importorskip("jaxgru._cli.command")
    (command,) = (block for block in pages.blocks(README, "sh") if "--expect" in block)
    arguments = shlex.split(command.split(".venv/bin/jaxgru ")[1])
    monkeypatch.chdir(ROOT)
    assert cli.main(arguments) == 0
    (shown,) = (block for block in pages.blocks(README, "text") if "absolute error" in block)
    # The last digits, and with them the place of the largest error, are the processor's.
    printed = pages.without_numbers(capsys.readouterr().out)
    assert printed.endswith(pages.without_numbers(shown))


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_every_link_leads_to_a_file(name):
    targets = re.findall(r"\]\(([^)]*)\)", pages.read(name))
    files = [target.split("#")[0] for target in targets if not target.startswith("https://")]
    assert files
    assert [target for target in files if not (ROOT / target).exists()] == []


def test_the_quickstart_is_the_one_of_the_documentation(monkeypatch, capsys):
    page = pages.read("docs/getting-started.md")
    source = QUICKSTART.read_text(encoding="utf-8")
    docstring = ast.parse(source).body[0]
    lines = source.split("\n")[docstring.end_lineno :]
    assert "\n".join(lines).strip() in pages.blocks(page, "python")
    monkeypatch.chdir(ROOT)
    runpy.run_path(str(QUICKSTART))
    printed = capsys.readouterr().out.strip()
    assert printed in pages.blocks(page, "text")
    assert printed in source


def test_the_map_lists_every_module():
    (tree,) = (
        block
        for block in pages.blocks(pages.read("CONTRIBUTING.md"), "text")
        if block.startswith("jaxgru/")
    )
    listed = set(re.findall(r"^  (\S+)", tree, flags=re.MULTILINE))
    modules = {path.name for path in (ROOT / "jaxgru").glob("*.py") if path.name[:2] != "__"}
    packages = {f"{path.parent.name}/" for path in (ROOT / "jaxgru").glob("*/__init__.py")}
    assert listed == modules | packages
