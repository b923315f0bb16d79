"""``import jaxgru`` needs jax and numpy alone, changes nothing and starts nothing."""

import fresh
import pytest

import jaxgru
from jaxgru._optional import need

# What jax itself stands on.
_ALLOWED = {"jaxgru", "jax", "jaxlib", "numpy", "scipy", "ml_dtypes", "opt_einsum"}


def test_core_needs_jax_and_numpy_alone():
    # Every module that is neither theirs nor the standard library's is refused, while jaxgru is
    # imported and while its core is used: an import inside a function counts too. JAX and SciPy
    # look for some such modules and do without.
    script = f"""
import sys
import jax, numpy

class Refuse:
    asked = []

    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top in {sorted(_ALLOWED)} or top in sys.stdlib_module_names:
            return None
        frame = sys._getframe(1)
        while frame.f_globals["__name__"].startswith("importlib"):
            frame = frame.f_back
        self.asked.append((name, frame.f_globals["__name__"]))
        raise ModuleNotFoundError(name, name=name)

sys.meta_path.insert(0, Refuse())
import jaxgru
params = jaxgru.init(jax.random.key(0), 3, 4, activation="gelu")
jax.grad(lambda params: jaxgru.gru(params, jax.numpy.ones((5, 3)))[0].sum())(params)
print([name for name, by in Refuse.asked if by.startswith("jaxgru")])
"""
    assert fresh.python("-c", script) == "[]\n"


def test_import_changes_no_setting_and_starts_no_backend():
    # A platform that does not exist: whatever asks for a device fails, and importing does not.
    script = """
import os, random, sys, warnings
import jax, numpy

def settings():
    return (
        dict(jax.config.values), dict(os.environ), list(warnings.filters), list(sys.path),
        numpy.geterr(), random.getstate(), repr(numpy.random.get_state()),
    )

before = settings()
import jaxgru
print(before == settings())
try:
    jax.devices()
except RuntimeError:
    print("no such platform")
"""
    printed = fresh.python("-c", script, JAX_PLATFORMS="no_such_platform")
    assert printed == "True\nno such platform\n"


def test_every_public_name_exists():
    assert [name for name in jaxgru.__all__ if not hasattr(jaxgru, name)] == []


def test_an_optional_library_that_lacks_one_of_its_own_is_its_own_error(tmp_path, monkeypatch):
    (tmp_path / "installed.py").write_text("import no_such_library")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match=r"^No module named 'no_such_library'$"):
        need("installed", "extra", "this")
    with pytest.raises(ImportError, match=r'this needs absent, .* pip install "jaxgru\[extra\]"'):
        need("absent", "extra", "this")
