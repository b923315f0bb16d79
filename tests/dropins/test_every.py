"""What holds of every drop-in module: the error without its library, and its examples."""

import doctest
import importlib

import fresh
import pytest

LIBRARIES = {
    "linen": "flax", "nnx": "flax", "equinox": "equinox", "haiku": "haiku", "keras": "keras",
}  # fmt: skip


@pytest.mark.parametrize("module", LIBRARIES)
def test_the_extra_is_named(module):
    library = LIBRARIES[module]
    script = f"""
import sys
import jaxgru
assert "jaxgru.{module}" not in sys.modules

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {library!r}:
            raise ModuleNotFoundError(name, name={library!r})

sys.meta_path.insert(0, Absent())
try:
    import jaxgru.{module}
except ImportError as error:
    print(error)
"""
    assert fresh.python("-c", script) == (
        f"jaxgru.{module} needs {library}, which is not installed: "
        f'pip install "jaxgru[{library}]"\n'
    )


@pytest.mark.live
@pytest.mark.usefixtures("default_promotion")
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras' own
@pytest.mark.parametrize("module", LIBRARIES)
def test_examples_of_the_docstrings(module):
    pytest.importorskip(LIBRARIES[module])
    assert doctest.testmod(importlib.import_module(f"jaxgru.{module}")).failed == 0
