"""Models of the layers that public Keras models with GRUs have, saved by Keras and read as wholes.

Each row is the layers of one model; weights are random, scaled by fan-in as trained ones are.
Tolerance: 1e-5 of the scale of the predictions, as both compute in float32 in other orders.
"""

import warnings

import jax
import numpy as np
import pytest

import jaxgru
from jaxgru._weights.libraries.keras.building import using_keras

pytestmark = [pytest.mark.slow, pytest.mark.live]
pytest.importorskip("keras")
pytest.importorskip("h5py")

# The features or, with ids, the rows and width of an Embedding; then the layers. s: all steps.
# b: reset gate before the product; h: recurrent hard sigmoid; 2: both directions; p: pruned.
CHAINS = [
    "1, gru 64 s, gru 64, drop .2, dense 1 sigmoid",
    "10, gru 32, dense 32 relu, dense 1",
    "ids 1000 128, drop .8, gru 64 2, drop .5, dense 6 sigmoid",
    "1, gru 20 relu, dense 1 sigmoid",
    "ids 512 32, gru 256, dense 6 softmax",
    "18, gru 64 s, drop .3, gru 64, drop .3, dense 1",
    "ids 10000 16, gru 32 2, dense 6 relu, dense 1 sigmoid",
    "1, gru 64 s, drop .2, dense 1 sigmoid",
    "ids 434 100, drop .2, gru 150 s, drop .2, gru 100, drop .2, dense 434 softmax",
    "7, gru 128 s, gru 64 relu, dense 25 relu, dense 1",
    "6, conv 128, conv 128, gru 256 s b, gru 256 b, dense 128 relu, drop .3, dense 64 relu, "
    "drop .5, dense 9 softmax",
    "1, gru 50 s, drop .2, gru 50, drop .2, dense 1",
    "1, gru 50, dense 1",
    "4, gru 128 relu, dense 32 relu, dense 5 relu",
    "23, gru 128 s 2, drop .3, norm, gru 64, drop .3, dense 64 relu, dense 1",
    "9, gru 50, dense 216, reshape 24 9",
    "1, gru 128 s, dense 1",
    "1, gru 50, drop .2, dense 1",
    "1, gru 64, dense 32 relu, dense 32 relu, dense 1",
    "1, gru 64 s h, gru 64 h, drop .2, dense 1 sigmoid",
    "2, gru 50 h b, drop .2, dense 1",
    "1, gru 80 2, drop .3, dense 40 relu, dense 1 sigmoid",
    "1, gru 50 s b, drop .2, gru 50 s b, drop .2, gru 50 s b, drop .2, gru 50 b, drop .2, dense 1",
    "8, gru 64, dense 64 relu, dense 4",
    "1, gru 64 s, gru 64, dense 1",
    "1, gru 64 s h b, drop .3, gru 64 h b, drop .3, dense 2 softmax",
    "2, gru 50 s, drop .2, gru 50 s, drop .2, gru 50, drop .2, dense 1",
    "1, gru 64 2, drop .3, dense 32 relu",
    "9, gru 100 s p, gru 64 p, drop .15, dense 64 tanh p, dense 6 softmax p",
]
# Those with padding: the Embedding, or a Masking before the first layer, makes the mask.
MASKED = {0, 2, 4, 5, 6, 8, 14, 16, 22, 27}


def _layer(L, words, is_masked):
    kind, size, *options = words
    flags = {"s", "b", "h", "2", "p"} & set(options)
    (activation,) = {*options} - flags or {None}
    if kind == "drop":
        return L.Dropout(float(size))
    if kind == "conv":
        return L.Conv1D(int(size), 3, padding="same", activation="relu")
    if kind == "norm":
        return L.BatchNormalization()
    if kind == "reshape":
        return L.Reshape((int(size), int(options[0])))
    if kind == "dense":
        layer = L.Dense(int(size), activation or "linear")
    else:
        layer = L.GRU(
            int(size), activation=activation or "tanh", return_sequences="s" in flags,
            recurrent_activation="hard_sigmoid" if "h" in flags else "sigmoid",
            reset_after="b" not in flags,
        )  # fmt: skip
        layer = L.Bidirectional(layer) if "2" in flags else layer
    return _pruned(layer) if "p" in flags else layer


def _pruned(layer):
    """Return a layer in a wrapper as that of TensorFlow's toolkit for pruning."""
    import keras

    class PruneLowMagnitude(keras.layers.Wrapper):
        def build(self, shape):
            super().build(shape)
            self.threshold = self.add_weight((), name="threshold", trainable=False)

        def call(self, xs):
            return self.layer(xs)

        def compute_output_shape(self, shape):
            return self.layer.compute_output_shape(shape)

    return PruneLowMagnitude(layer, name=f"prune_low_magnitude_{layer.name}")


def _built(keras, row, is_masked):
    L = keras.layers
    first, *rest = [part.split() for part in row.split(",")]
    if first[0] == "ids":
        layers = [keras.Input((None,), dtype="int32")]
        layers.append(L.Embedding(int(first[1]), int(first[2]), mask_zero=is_masked))
    else:
        layers = [keras.Input((None, int(first[0])))] + [L.Masking(0.0)] * is_masked
    layers += [_layer(L, [*words, ""][: max(2, len(words))], is_masked) for words in rest]
    model = keras.Sequential(layers)
    rng = np.random.default_rng(len(row))
    for weight in model.weights:
        fan_in = weight.shape[0] if len(weight.shape) > 1 else 4
        drawn = rng.normal(size=weight.shape, scale=max(fan_in, 4) ** -0.5)
        weight.assign(np.abs(drawn) + 0.5 if "variance" in weight.name else drawn)
    return model


def _inputs(row, steps, is_masked):
    first = row.split(",")[0].split()
    rng = np.random.default_rng(steps)
    if first[0] == "ids":
        xs = rng.integers(1, int(first[1]), (3, steps))
    else:
        xs = rng.normal(size=(3, steps, int(first[0]))).astype("f4")
    if is_masked and steps > 2:
        xs[0, steps - 3 :] = xs[1, steps // 2 :] = 0
    return xs


@pytest.mark.parametrize("number", range(len(CHAINS)))
def test_a_chain_predicts_as_keras_does(number, tmp_path):
    row, is_masked = CHAINS[number], number in MASKED
    suffixes = [".h5"] if " p" in row else [".keras", ".h5"][: 2 if number % 4 == 0 else 1]
    with using_keras("test") as keras, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = _built(keras, row, is_masked)
        for suffix in suffixes:
            theirs.save(tmp_path / f"model{suffix}")
        inputs = [_inputs(row, steps, is_masked) for steps in (1, 2, 50)]
        wanted = [np.asarray(theirs(xs)) for xs in inputs]
    for suffix in suffixes:
        model = jax.jit(jaxgru.load_model(tmp_path / f"model{suffix}"))
        for xs, want in zip(inputs, wanted, strict=True):
            atol = 1e-5 * max(np.abs(want).max(), 1e-3)
            np.testing.assert_allclose(model(xs), want, rtol=0, atol=atol)


def test_a_model_with_attention_is_refused_by_name(tmp_path):
    with using_keras("test") as keras, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        L = keras.layers
        xs = keras.Input((12, 5))
        first = L.Dropout(0.2)(L.GRU(16, return_sequences=True)(xs))
        second = L.Dropout(0.2)(L.GRU(8, return_sequences=True)(first))
        attended = L.Attention(name="attended")([second, second])
        ys = L.GRU(8, return_sequences=True)(L.Concatenate(name="joined")([second, attended]))
        keras.Model(xs, L.TimeDistributed(L.Dense(5))(ys)).save(tmp_path / "model.keras")
    with pytest.raises(jaxgru.WeightsError, match=r"layer joined \(Concatenate\) has several inp"):
        jaxgru.load_model(tmp_path / "model.keras")
    assert len(jaxgru.load_all(tmp_path / "model.keras")) == 3
