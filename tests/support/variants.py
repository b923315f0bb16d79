"""The grid of all variants of the layer, as arguments of ``cases.random_params``."""

import itertools

import cases

import jaxgru

# Each name once in either role, in unlike pairs, so that no mixed-up role goes unseen.
_ROTATED = jaxgru.ACTIVATIONS[7:] + jaxgru.ACTIVATIONS[:7]
_UNLIKE_PAIRS = list(zip(jaxgru.ACTIVATIONS, _ROTATED, strict=True))
_USUAL_PAIR = ("tanh", "sigmoid")


def _product(biases, clips, pairs):
    for reset_after, bias, clip, (activation, recurrent_activation) in itertools.product(
        (True, False), biases, clips, pairs
    ):
        yield {
            "reset_after": reset_after,
            "biases": bias,
            "clip": clip,
            "activation": activation,
            "recurrent_activation": recurrent_activation,
        }


ALL = list(_product(cases.BIASES, (None, 0.5), [_USUAL_PAIR, *_UNLIKE_PAIRS]))

# A sequence is compiled for each case: so every axis in full, but not their whole product.
SOME = [
    *_product(cases.BIASES, (None, 0.5), [_USUAL_PAIR]),
    *_product(["both biases"], [None], _UNLIKE_PAIRS),
]


def name(variant):
    """Return a short name of a variant, for the name of its test."""
    return "-".join(str(value) for value in variant.values()).replace(" ", "_")
