"""What ``gru`` is given: objects of other libraries, traced flags, weak types, NaN in padding."""

import re

import cases
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgru


@pytest.fixture
def params(key):
    return cases.random_params(key, 3, 5)


class _Tensor:
    """An array of another library, as its users see it: a shape and a conversion."""

    shape = (2, 3)

    def __array__(self, dtype=None, copy=None):
        return np.ones(self.shape)


_Tensor.__module__ = "torch"


@pytest.mark.parametrize(
    ("xs", "what", "way"),
    [
        (_Tensor(), "torch._Tensor", "; np.asarray(xs) makes one"),
        (np.ma.ones((2, 3)), "numpy.MaskedArray", "; np.asarray(xs) makes one without its mask"),
        ([[1.0, 2.0, 3.0]], "list", "; np.asarray(xs) makes one"),
        ("xs.npy", "str", ""),
    ],
)
def test_other_arrays(params, xs, what, way):
    message = f"xs is a {what}: expected a JAX or NumPy array{way}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        jaxgru.gru(params, xs)


@pytest.mark.parametrize("library", ["torch", "keras", "flax", "equinox", "onnx"])
def test_other_nets(library):
    module = type("GRU", (), {"__module__": f"{library}.nn"})
    message = rf"^net is a {library}.GRU: expected .*; jaxgru.from_{library} makes one of it$"
    with pytest.raises(ValueError, match=message):
        jaxgru.gru(module(), np.ones((2, 3)))
    # A class of the user's own is known by what it inherits from.
    own = type("Mine", (module,), {"__module__": "__main__"})
    with pytest.raises(ValueError, match=rf"jaxgru.from_{library} makes one of it$"):
        jaxgru.gru(own(), np.ones((2, 3)))


@pytest.mark.parametrize(
    ("name", "value"), [("reverse", True), ("zero_masked", True), ("remat", 2), ("dropout", 0.5)]
)
def test_traced_flags(params, name, value):
    message = f"^{name} is a traced value: .* name '{name}' in the static_argnames of jax.jit"
    with pytest.raises(ValueError, match=message):
        jax.jit(jaxgru.gru)(params, jnp.ones((4, 3)), **{name: value})


@pytest.mark.parametrize(("inputs", "units"), [(0, 1), (1, 0), (0, 0)])
def test_no_inputs_or_no_units(inputs, units):
    net = jaxgru.GRUParams(jnp.zeros((inputs, 3 * units)), jnp.zeros((units, 3 * units)))
    with pytest.raises(ValueError, match=r"expected at least one input and one unit$"):
        jaxgru.gru(net, jnp.ones((2, inputs)))


@pytest.mark.parametrize("promotion", ["standard", "strict"])
def test_a_weak_type_gives_way(params, x64, promotion):
    h0 = jnp.broadcast_to(jnp.asarray(0.5), (5,))
    assert h0.weak_type
    assert h0.dtype == jnp.float64
    with jax.numpy_dtype_promotion(promotion):
        ys, h = jaxgru.gru(params, jnp.ones((4, 3), jnp.float32), h0)
        one = jaxgru.gru_cell(params, h0, jnp.ones(3, jnp.float32))
    assert ys.dtype == h.dtype == one.dtype == jnp.float32


def test_nan_in_padding_where_jax_looks_for_nan(params):
    xs = jnp.ones((2, 4, 3)).at[1, 2:].set(jnp.nan)
    lengths = jnp.array([4, 2])
    expected = jaxgru.gru(params, jnp.nan_to_num(xs), lengths=lengths)
    with jax.debug_nans(True):
        found = jaxgru.gru(params, xs, lengths=lengths)
        gradient = jax.grad(lambda p: jaxgru.gru(p, xs, lengths=lengths)[1].sum())(params)
    # The same program on the same numbers: equal to the bit.
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_print_shows_shapes(params):
    shown = "kernel=float32[3,15], recurrent_kernel=float32[5,15], bias=float32[15]"
    assert repr(params).startswith(
        f"GRUParams({shown}, recurrent_bias=float32[15], reset_after=True"
    )
    assert "float32[3,15]" in repr((params, jaxgru.Backward(params)))
