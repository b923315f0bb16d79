"""Every variant of the layer computes what the oracle computes."""

import cases
import chex
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
import variants
from absl.testing import parameterized

import jaxgru

# Double precision: sums of about ten terms, three steps deep, and a gate such as the exponential
# amplifies an error at each. A hundred draws of every case stayed ten times below this.
_RTOL, _ATOL = 1e-12, 1e-13


@pytest.mark.usefixtures("x64")
class VariantsTest(chex.TestCase):
    @pytest.fixture(autouse=True)
    def _take_key(self, key):
        self.key = key

    @parameterized.parameters(*variants.ALL)
    def test_gates_equal_oracle(self, **variant):
        params, h, x = self._params_and_rows(variant)
        # Operation by operation: a program for each of the hundred would be compiled, run once.
        with jax.disable_jit():
            gates = jaxgru.gru_gates(params, h, x)
        np.testing.assert_allclose(np.stack(gates), _oracle_gates(params, h, x), _RTOL, _ATOL)

    def test_oracle_tells_variants_apart(self):
        # Else a variant could pass for another one above, as with rows whose candidate is clipped.
        results = [
            _oracle_gates(*self._params_and_rows(variant)).ravel() for variant in variants.ALL
        ]
        differences = np.abs(np.stack(results)[:, None] - np.stack(results)[None]).max(axis=-1)
        np.fill_diagonal(differences, np.inf)
        assert differences.min() > 1e-3

    @parameterized.parameters(*variants.SOME)
    def test_compiled_sequence_equals_oracle(self, **variant):
        self._check_sequence(jax.jit(jaxgru.gru), variant)

    @parameterized.parameters(*variants.SOME[::5])
    def test_sequence_equals_oracle(self, **variant):
        self._check_sequence(jaxgru.gru, variant)

    def _check_sequence(self, function, variant):
        params = cases.random_params(self.key, 3, 4, dtype=jnp.float64, **variant)
        h0 = cases.random_inputs(jax.random.fold_in(self.key, 1), (2, 4), jnp.float64)
        xs = cases.random_inputs(jax.random.fold_in(self.key, 2), (2, 3, 3), jnp.float64)

        ys, h = function(params, xs, h0)

        expected_ys, expected_h = oracle.gru_batch(params, xs, h0)
        np.testing.assert_allclose(ys, expected_ys, _RTOL, _ATOL)
        np.testing.assert_allclose(h, expected_h, _RTOL, _ATOL)

    def _params_and_rows(self, variant):
        params = cases.random_params(self.key, 3, 4, dtype=jnp.float64, **variant)
        h = cases.random_inputs(jax.random.fold_in(self.key, 1), (6, 4), jnp.float64)
        x = cases.random_inputs(jax.random.fold_in(self.key, 2), (6, 3), jnp.float64)
        return params, h, x


def _oracle_gates(params, h, x):
    """The oracle's gates for every row, (4, rows, H)."""
    rows = [list(oracle.cell(params, *row).values()) for row in zip(h, x, strict=True)]
    return np.swapaxes(rows, 0, 1)
