"""Keras on JAX: masks, its two dropouts, ``Bidirectional``, and layers one after the other."""

from collections.abc import Sequence
from typing import Any

# First, because it sets the backend before Keras is imported.
from benchmarks.contenders.keras_gru import Keras

# isort: split
import jax
import jax.numpy as jnp
import keras

from benchmarks.contenders import Program
from benchmarks.featured.case import RATE, Case, Featured, jax_programs
from benchmarks.problem import Array, Weights


def enter(case: Case) -> Featured:
    """Return the features of Keras: no resets, and one draw of input dropout for all steps."""
    contender = Keras()  # raises if Keras does not run on JAX
    first = case.layers[:1]
    times = jnp.arange(case.shape.time, dtype=jnp.int32)

    def layer(**options: Any) -> keras.Layer:
        return keras.layers.GRU(case.shape.units, **{"return_sequences": True, **options})

    def programs(layers: list[keras.Layer], weights: Sequence[Weights]) -> dict[str, Program]:
        return _programs(contender, layers, weights, case.xs)

    def with_mask(layer: keras.Layer, mask: Any, given: Array) -> dict[str, Program]:
        layer.build(case.xs.shape)
        rest = [variable.value for variable in layer.non_trainable_variables]

        def states(leaves: list[jax.Array], xs: jax.Array, given: jax.Array) -> jax.Array:
            return layer.stateless_call(leaves, rest, xs, mask=mask(given))[0]

        return jax_programs(states, contender.weights(case.layers[0]), case.xs, given)

    rows = {
        "plain layer": programs([layer()], first),
        "lengths, padding zero": with_mask(
            layer(zero_output_for_mask=True),
            lambda lengths: times[None] < lengths[:, None],
            case.lengths,
        ),
        "mask, states held": with_mask(layer(), lambda mask: mask, case.mask),
        "input dropout, one draw": programs([layer(dropout=RATE, seed=0)], first),
        "recurrent dropout": programs([layer(recurrent_dropout=RATE, seed=0)], first),
        "last state alone": programs([layer(return_sequences=False)], first),
        "Bidirectional": programs([keras.layers.Bidirectional(layer())], [*first, case.backward]),
        "3-layer stack": programs([layer(), layer(), layer()], case.layers),
    }
    return Featured(contender, rows, options={})


def _programs(
    contender: Keras, layers: list[keras.Layer], weights: Sequence[Weights], xs: Array
) -> dict[str, Program]:
    """Return the programs for a stack of layers, with weights in order."""
    shape = xs.shape
    for layer in layers:
        layer.build(shape)
        shape = layer.compute_output_shape(shape)
    leaves = [leaf for one in weights for leaf in contender.weights(one)]
    # The state of the random draws is among these.
    rest = [[variable.value for variable in layer.non_trainable_variables] for layer in layers]

    def states(leaves: list[jax.Array], xs: jax.Array, rest: Any) -> jax.Array:
        leaves = list(leaves)
        for layer, others in zip(layers, rest, strict=True):
            mine = [leaves.pop(0) for _ in layer.trainable_variables]
            xs, _ = layer.stateless_call(mine, others, xs, training=True)
        return xs

    return jax_programs(states, leaves, xs, rest)
