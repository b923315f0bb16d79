"""What type checkers know of the public names: a user's script, and where Any is left."""

import ast
import importlib
import inspect
import re
import shutil
import subprocess
import sys
import typing
from pathlib import Path

import pytest

import jaxgru
from jaxgru._net import MERGES, Merge
from jaxgru._weights.defaults import ALLOWED

_ROOT = Path(__file__).parents[2]
_PATHS = sorted((_ROOT / "jaxgru").rglob("*.py"))
_SCRIPT = "tests/typing/user_script.py"


@pytest.mark.slow
def test_the_script_passes_mypy():
    pytest.importorskip("mypy")
    command = [sys.executable, "-m", "mypy", "--strict", _SCRIPT]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_the_script_passes_basedpyright():
    command = shutil.which("basedpyright", path=str(Path(sys.executable).parent))
    if command is None:
        pytest.skip("basedpyright is not installed")
    # Without an activated environment, it would look for another Python.
    command = [command, "--pythonpath", sys.executable]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_names_for_checkers_are_those_at_run_time():
    merges, _ = typing.get_args(Merge)  # the names, and None
    assert {*typing.get_args(merges), None} == set(MERGES)
    assert jaxgru.Assume.__annotations__.keys() == ALLOWED.keys()


@pytest.mark.parametrize("module", ["jaxgru", "jaxgru.finetune"])
def test_any_has_a_reason_beside_it(module):
    public = importlib.import_module(module)
    found = [use for name in public.__all__ for use in _uses_of_any(getattr(public, name))]
    assert [line for line in found if "# Any: " not in line] == []


def _uses_of_any(thing):
    """Return the lines of a public function or class on which its signatures have Any."""
    if not (inspect.isclass(thing) or inspect.isfunction(thing)):
        return []
    # By name, as a class names the public module instead of its own.
    opening = re.compile(rf"^(class|def) {thing.__name__}\b", re.MULTILINE)
    folder = _ROOT / thing.__module__.replace(".", "/")
    paths = [path for path in _PATHS if opening.search(path.read_text())]
    # Two packages may each have a class of that name.
    (path,) = [path for path in paths if folder in path.parents] if len(paths) > 1 else paths
    module = importlib.import_module(".".join(path.relative_to(_ROOT).with_suffix("").parts))
    nodes = ast.parse(path.read_text()).body
    *_, node = (node for node in nodes if getattr(node, "name", "") == thing.__name__)
    hidden = {
        name
        for name, value in vars(module).items()
        if typing.get_origin(value) is not None and "typing.Any" in repr(value)
    } | {"Any"}
    for each in _PATHS:  # aliases that have the reason themselves
        hidden -= {*re.findall(r"^(\w+): TypeAlias = .*# Any: ", each.read_text(), re.MULTILINE)}
    hidden -= {"DTypeLike"}  # of JAX
    lines = path.read_text().splitlines()
    return [
        lines[name.end_lineno - 1]
        for annotation in _annotations(node)
        for name in ast.walk(annotation)
        if isinstance(name, ast.Name) and name.id in hidden
    ]


def _annotations(node):
    """Yield the annotations of a function, or of the public fields and methods of a class."""
    if isinstance(node, ast.FunctionDef):
        arguments = node.args
        several = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        for argument in [*several, arguments.vararg, arguments.kwarg]:
            if argument is not None and argument.annotation is not None:
                yield argument.annotation
        if node.returns is not None:
            yield node.returns
        return
    for part in node.body:
        if isinstance(part, ast.AnnAssign) and not part.target.id.startswith("_"):
            yield part.annotation
        public = isinstance(part, ast.FunctionDef) and not part.name.startswith("_")
        if public or (isinstance(part, ast.FunctionDef) and part.name in ("__init__", "__call__")):
            yield from _annotations(part)
