"""jaxgru: every feature is an argument of ``jaxgru.gru``, or the structure of its net."""

import functools

import jax
import jax.numpy as jnp

import jaxgru
from benchmarks.contenders.jaxgru_layer import Jaxgru
from benchmarks.featured.case import RATE, Case, Featured, jax_programs

_STEP = jaxgru.Dropout(RATE, on="inputs")
_SHARED = jaxgru.Dropout(RATE, on="inputs", shared=True)
_KEY = jax.random.key(0)


def enter(case: Case) -> Featured:
    """Return all features, and both nets by hand."""
    stack = tuple(jaxgru.GRUParams(*weights) for weights in case.layers)
    layer, backward = stack[0], jaxgru.GRUParams(*case.backward)

    def plain(params, xs):
        return jaxgru.gru(params, xs)[0]

    def lengths(params, xs, lengths):
        return jaxgru.gru(params, xs, lengths=lengths, zero_masked=True)[0]

    def mask(params, xs, mask):
        return jaxgru.gru(params, xs, mask=mask)[0]

    def resets(params, xs, resets):
        return jaxgru.gru(params, xs, resets=resets)[0]

    def input_dropout(dropout, params, xs, key):
        return jaxgru.gru(params, xs, dropout=dropout, key=key)[0]

    def recurrent_dropout(params, xs, key):
        return jaxgru.gru(params, xs, recurrent_dropout=RATE, key=key)[0]

    def last(params, xs):
        return jaxgru.gru(params, xs, return_sequences=False)[0]

    def two_passes(layers, xs):
        forward, backward = layers
        there = plain(forward, xs)
        back = jnp.flip(plain(backward, jnp.flip(xs, axis=1)), axis=1)
        return jnp.concatenate([there, back], axis=-1)

    def three_calls(layers, xs):
        for params in layers:
            xs = plain(params, xs)
        return xs

    rows = {
        "plain layer": (plain, layer),
        "lengths, padding zero": (lengths, layer, case.lengths),
        "mask, states held": (mask, layer, case.mask),
        "resets": (resets, layer, case.resets),
        "input dropout, each step": (functools.partial(input_dropout, _STEP), layer, _KEY),
        "input dropout, one draw": (functools.partial(input_dropout, _SHARED), layer, _KEY),
        "recurrent dropout": (recurrent_dropout, layer, _KEY),
        "last state alone": (last, layer),
        "two passes, by hand": (two_passes, (layer, backward)),
        "Bidirectional": (plain, jaxgru.Bidirectional(layer, backward)),
        "three calls": (three_calls, stack),
        "3-layer stack": (plain, stack),
    }
    return Featured(
        Jaxgru(),
        {
            feature: jax_programs(states, weights, case.xs, *given)
            for feature, (states, weights, *given) in rows.items()
        },
        options={},
    )
