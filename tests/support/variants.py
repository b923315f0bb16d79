"""The variants of the layer, as arguments of ``cases.random_params``."""

import itertools

import cases

import jaxgru

# Each name once in either role, in unlike pairs, so that no mixed-up role goes unseen.
_ROTATED = jaxgru.ACTIVATIONS[7:] + jaxgru.ACTIVATIONS[:7]
_UNLIKE_PAIRS = list(zip(jaxgru.ACTIVATIONS, _ROTATED, strict=True))
_USUAL_PAIR = ("tanh", "sigmoid")

ALL = [
    {
        "reset_after": reset_after,
        "biases": biases,
        "clip": clip,
        "activation": activation,
        "recurrent_activation": recurrent_activation,
    }
    for biases in cases.BIASES
    # The biases act before the activations, so those are all tried with one choice of them.
    for activation, recurrent_activation in [
        _USUAL_PAIR,
        *(_UNLIKE_PAIRS if biases == "both biases" else []),
    ]
    for reset_after, clip in itertools.product((True, False), (None, 0.5))
]

# Pairs of activations by what their slopes are computed from.
_NEED_INPUT = {"silu", "gelu"}
SLOPES = {
    "usual": [_USUAL_PAIR],
    "of outputs": [pair for pair in _UNLIKE_PAIRS if not _NEED_INPUT & {*pair}],
    "of inputs": [pair for pair in _UNLIKE_PAIRS if _NEED_INPUT & {*pair}],
    "clipped": [("silu", "sigmoid"), ("tanh", "softsign")],
}
