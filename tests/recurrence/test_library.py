"""The library of the native loops: what an installation says of it, and what it does without."""

import os
import pathlib
import subprocess
import sys

import fresh
import jax
import pytest

from jaxgru._recurrence import library

_BUILD = pathlib.Path(__file__).parents[2] / "native/build.py"
_INSTALLED = pytest.mark.skipif(
    library.native().reason is not None, reason=str(library.native().reason)
)


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"JAXGRU_BUILD_NATIVE": "0"}, "built with JAXGRU_BUILD_NATIVE=0"),
        (
            {"JAXGRU_BUILD_NATIVE": "avx2,sse"},
            "JAXGRU_BUILD_NATIVE is 'avx2,sse': expected 0, 1",
        ),
        ({"CXX": "/bin/false"}, "built without the loops: /bin/false failed: exit code 1"),
        ({"CXX": "no_such_compiler"}, "built without a C++ compiler: no no_such_compiler"),
    ],
)
@pytest.mark.skipif(not _BUILD.exists(), reason="not in a checkout")
def test_a_build_without_the_loops_has_a_reason(environment, reason, tmp_path):
    output = tmp_path / "loops.so"
    done = subprocess.run(
        [sys.executable, _BUILD, output],
        env=os.environ | {"CXX": "c++", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"build.py: {reason}")
    assert not output.exists()


def test_an_installation_without_the_loops_says_why(monkeypatch, tmp_path):
    monkeypatch.setattr(library, "_HERE", tmp_path)
    monkeypatch.delenv("JAXGRU_IMPLEMENTATION", raising=False)
    find = library.native.__wrapped__
    assert str(find()) == "scans (this checkout has not been built: python native/build.py)"
    (tmp_path / "loops.txt").write_text("built with JAXGRU_BUILD_NATIVE=0\n")
    assert str(find()) == "scans (built with JAXGRU_BUILD_NATIVE=0)"
    (tmp_path / "loops.so").write_text("no library")
    assert find().reason.startswith("the library of the loops does not load: ")


def test_the_environment_turns_them_off():
    script = """
import jax, jax.numpy as jnp, jaxgru
from jaxgru._recurrence.library import native
print(native())
params, xs = jaxgru.init(jax.random.key(0), 3, 4), jnp.ones((5, 3))
print("jaxgru_forward" in jax.jit(jaxgru.gru).lower(params, xs).as_text())
try:
    jaxgru.gru(params, xs, implementation="native")
except ValueError as error:
    print(error)
"""
    printed = fresh.python("-c", script, JAXGRU_IMPLEMENTATION="scan").splitlines()
    reason = "JAXGRU_IMPLEMENTATION is scan"
    assert printed[:2] == [f"scans ({reason})", "False"]
    assert printed[2] == (
        "implementation is 'native': expected the native loops, which are not available: " + reason
    )


@_INSTALLED
@pytest.mark.parametrize(
    ("version", "reason"),
    [
        ((0, 2), "JAX's interface for custom calls has version 0.2: expected 0.3 or a later 0"),
        ((1, 4), "JAX's interface for custom calls has version 1.4: expected 0.3 or a later 0"),
        ((0, 99), None),
        (None, "the version of JAX's interface for custom calls is missing in "),
    ],
)
def test_another_version_of_the_interface_is_not_registered(version, reason, monkeypatch, tmp_path):
    header = tmp_path / "xla/ffi/api/c_api.h"
    header.parent.mkdir(parents=True)
    if version is not None:
        header.write_text(
            "#define XLA_FFI_API_MAJOR {}\n\n#define XLA_FFI_API_MINOR {}\n".format(*version)
        )
    registered = []
    monkeypatch.setattr(jax.ffi, "include_dir", lambda: str(tmp_path))
    monkeypatch.setattr(
        jax.ffi, "register_ffi_target", lambda *given, **_: registered.append(given)
    )
    found = library.native.__wrapped__()
    if reason is None:
        assert found.reason is None
        assert len(registered) == len(library._HANDLERS)
    else:
        assert found.reason.startswith(reason)
        assert registered == []


@_INSTALLED
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("JAXGRU_IMPLEMENTATION", "fast"),
        ("JAXGRU_NATIVE_ISA", "sse"),
        ("JAXGRU_NUM_THREADS", "two"),
        ("JAXGRU_NUM_THREADS", "0"),
        ("JAXGRU_NUM_THREADS", "2 "),
    ],
)
def test_a_wrong_setting_is_a_warning_and_ignored(name, value, monkeypatch):
    for other in ("JAXGRU_IMPLEMENTATION", "JAXGRU_NATIVE_ISA", "JAXGRU_NUM_THREADS"):
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, value)
    monkeypatch.setattr(jax.ffi, "register_ffi_target", lambda *_, **__: None)
    with pytest.warns(RuntimeWarning, match=f"^{name} is '{value}': expected .*; it is ignored$"):
        assert library.native.__wrapped__().reason is None
