"""The native steps of a stream: bit-for-bit those of the native ``gru``, and where they serve.

The oracle of the bits is ``gru``; test_stream.py has that of the values.
"""

import os
import subprocess
import sys
import threading
from pathlib import Path

import cases
import fresh
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgru
from jaxgru import Stream
from jaxgru._recurrence import library

_BUILD = Path(__file__).parents[1] / "native/build.py"
_INSTALLED = pytest.mark.skipif(
    library.stream_type()[1] is not None, reason=str(library.stream_type()[1])
)


def _stack(key, *sizes, dtype=jnp.float32, **variant):
    keys = jax.random.split(key, len(sizes) - 1)
    return tuple(
        cases.random_params(k, inputs, units, dtype=dtype, **variant)
        for k, inputs, units in zip(keys, sizes, sizes[1:], strict=False)
    )


def _inputs(*shape, dtype=np.float32):
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


@_INSTALLED
@pytest.mark.parametrize("reset_after", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("sizes", [(6, 6), (40, 64), (5, 33, 16, 7)])
def test_steps_have_the_bits_of_gru(key, x64, sizes, dtype, reset_after):
    net, xs = _stack(key, *sizes, dtype=dtype, reset_after=reset_after), _inputs(60, sizes[0])
    xs = xs.astype(dtype)
    ys, h = jaxgru.gru(net, xs, implementation="native")
    stream = Stream(net)
    assert (stream.implementation, stream.dtype) == ("native", dtype)
    parts = [stream(x)[None] for x in xs[:9]] + [stream(xs[9:11]), stream(xs[11:])]
    np.testing.assert_array_equal(np.concatenate(parts), ys)
    jax.tree.map(np.testing.assert_array_equal, stream.state, h)


@_INSTALLED
def test_many_streams_have_the_bits_of_gru(key):
    # Large enough for several threads, and for several rounds through the stack.
    net, xs = _stack(key, 8, 64, 24), _inputs(6, 1000, 8)
    active = np.random.default_rng(1).random(1000) < 0.7
    mask = np.broadcast_to(active, (6, 1000))
    ys, h = jaxgru.gru(net, xs, mask=jnp.array(mask), time_major=True, implementation="native")
    stream = Stream(net, 1000)
    np.testing.assert_array_equal(stream(xs, active=active), ys)
    jax.tree.map(np.testing.assert_array_equal, stream.state, h)


@_INSTALLED
def test_another_thread_runs_during_a_long_chunk_and_may_not_use_the_stream(key):
    net, xs = _stack(key, 64, 256), _inputs(20_000, 64)  # some tenths of a second
    stream, x = Stream(net), xs[0]
    expected = np.array(stream(xs)[-1])
    stream.reset()
    ready, found = threading.Event(), []

    def run():
        ready.set()
        found.append(stream(xs)[-1])

    thread = threading.Thread(target=run)
    thread.start()
    ready.wait()
    refused = 0
    while thread.is_alive():
        try:
            stream.state  # noqa: B018
        except RuntimeError:
            refused += 1
    thread.join()
    assert refused > 1
    np.testing.assert_array_equal(found[0], expected)
    stream(x)  # and goes on


@_INSTALLED
def test_no_step_is_one_of_jax():
    # A platform that does not exist: whatever asks JAX for a device fails.
    script = """
import numpy as np, jaxgru
ones = [np.ones(shape, np.float32) for shape in ((3, 15), (5, 15), (15,), (15,))]
stream = jaxgru.Stream(jaxgru.GRUParams(*ones), 2)
stream(np.ones((2, 3), np.float32), active=np.array([True, False]))
stream.reset([1])
stream.state = stream.state
print(stream)
"""
    assert fresh.python("-c", script, JAX_PLATFORMS="none") == (
        "Stream(3 inputs, 5 outputs, streams=2, float32, native)\n"
    )


@_INSTALLED
def test_the_type_of_the_library_checks_what_it_is_given():
    stream_type, _ = library.stream_type()
    kernel, recurrent, bias = (np.ones(s, np.float32) for s in ((3, 12), (4, 12), 12))
    state = np.zeros((2, 4), np.float32)
    layer = [kernel, recurrent, bias, None, True, state]

    def make(layers, rows=2, char="f"):
        return stream_type(np.ndarray, np.empty, state.dtype, char, rows, True, layers)

    make((tuple(layer),))
    for place, wrong in [
        (0, np.ones((3, 9), np.float32)),
        (0, kernel.astype(np.float64)),
        (0, None),
        (0, np.ones(36, np.float32)),
        (1, kernel),
        (2, kernel),
        (3, bias),
        (5, state[:1]),
        (5, np.zeros((2, 4))),
        (5, state.tobytes()),
    ]:
        given = [*layer]
        given[place] = wrong
        with pytest.raises(ValueError, match=r"^loops: "):
            make((tuple(given),))
    with pytest.raises(ValueError, match=r"^loops: shapes do not fit together"):
        make((tuple(layer), tuple(layer)))  # 4 outputs, 3 inputs
    good = (tuple(layer),)
    for layers, rows, char in [((), 2, "f"), ((layer,), 2, "f"), (good, 0, "f"), (good, 2, "e")]:
        with pytest.raises(ValueError, match=r"^loops: expected "):
            make(layers, rows, char)
    for layers in ((tuple(layer[:5]),), [tuple(layer)]):
        with pytest.raises(TypeError):
            make(layers)
    stream = make(good)
    with pytest.raises(TypeError):
        stream.run(np.ones((2, 3), np.float32))
    assert stream.run(np.ones((2, 4), np.float32), None, None) is NotImplemented
    assert (state == 0).all()


@_INSTALLED
@pytest.mark.slow
@pytest.mark.skipif(not _BUILD.exists(), reason="not in a checkout")
def test_without_headers_of_python_there_are_loops_and_compiled_steps(tmp_path):
    script = f"""
import sys, sysconfig
sysconfig.get_path = lambda *_: {str(tmp_path)!r}
sys.argv = ["build.py", {str(tmp_path / "loops.so")!r}, "-O0"]
sys.path.insert(0, {str(_BUILD.parent)!r})
import build
build.main()
"""
    environment = os.environ | {"JAXGRU_BUILD_NATIVE": "portable"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == (
        "build.py: jaxgru.Stream takes compiled steps of JAX: built without Python's headers: "
        f"no {tmp_path}/Python.h\n"
    )
    script = f"""
import pathlib, numpy as np
from jaxgru._recurrence import library
library._HERE = pathlib.Path({str(tmp_path)!r})
import jaxgru
print(library.native())
ones = [np.ones(shape, np.float32) for shape in ((3, 15), (5, 15), (15,), (15,))]
print(jaxgru.Stream(jaxgru.GRUParams(*ones)))
try:
    jaxgru.Stream(jaxgru.GRUParams(*ones), implementation="native")
except ValueError as error:
    print(error)
"""
    # The package is imported with the library of the checkout first.
    script = script.replace("import jaxgru\n", "library.native.cache_clear()\nimport jaxgru\n", 1)
    printed = fresh.python("-c", script).splitlines()
    assert printed[0].startswith("native loops, portable")
    assert printed[1:] == [
        "Stream(3 inputs, 5 outputs, streams=None, float32, scan)",
        "implementation is 'native': the library was built without Python's headers, or for "
        "another version",
    ]


def test_without_the_loops_it_takes_compiled_steps():
    script = """
import numpy as np, jaxgru
ones = [np.ones(shape, np.float32) for shape in ((3, 15), (5, 15), (15,), (15,))]
stream = jaxgru.Stream(jaxgru.GRUParams(*ones))
print(stream, stream(np.ones(3, np.float32)).shape)
try:
    jaxgru.Stream(jaxgru.GRUParams(*ones), implementation="native")
except ValueError as error:
    print(error)
"""
    assert fresh.python("-c", script, JAXGRU_IMPLEMENTATION="scan").splitlines() == [
        "Stream(3 inputs, 5 outputs, streams=None, float32, scan) (5,)",
        "implementation is 'native': JAXGRU_IMPLEMENTATION is scan",
    ]
