"""Every variant of the layer computes the gates that the oracle computes."""

import cases
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import variants

import jaxgru

# Double precision: sums of about ten terms, and a gate such as the exponential amplifies an error.
# A hundred draws of every variant stayed ten times below this.
_CLOSE = {"rtol": 1e-12, "atol": 1e-13}


def test_gates_equal_oracle(key, x64):
    found = []
    for variant in variants.ALL:
        params, h, x = _params_and_rows(key, variant)
        # Operation by operation: a program for each of the hundreds would be compiled, run once.
        with jax.disable_jit():
            found.append(np.stack(jaxgru.gru_gates(params, h, x)))
        expected = _oracle_gates(params, h, x)
        np.testing.assert_allclose(found[-1], expected, **_CLOSE, err_msg=str(variant))
    # Else one variant could pass for another above, as with rows whose candidate is clipped.
    flat = np.stack(found).reshape(len(found), -1)
    differences = np.abs(flat[:, None] - flat[None]).max(axis=-1)
    np.fill_diagonal(differences, np.inf)
    assert differences.min() > 1e-3


def _params_and_rows(key, variant):
    params = cases.random_params(key, 3, 4, dtype=jnp.float64, **variant)
    h = cases.random_inputs(jax.random.fold_in(key, 1), (6, 4), jnp.float64)
    x = cases.random_inputs(jax.random.fold_in(key, 2), (6, 3), jnp.float64)
    return params, h, x


def _oracle_gates(params, h, x):
    """The oracle's gates for every row, (4, rows, H)."""
    rows = [list(oracle.cell(params, *row).values()) for row in zip(h, x, strict=True)]
    return np.swapaxes(rows, 0, 1)
