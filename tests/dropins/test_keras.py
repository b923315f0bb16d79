"""``jaxgru.keras`` in place of Keras' GRU. The oracle is Keras."""

import json
import zipfile

import fresh
import jax
import jax.numpy as jnp
import live_params
import numpy as np
import pytest
from compared import assert_alike, assert_no_worse, assert_same_gradients, weighted

import jaxgru

pytest.importorskip("h5py")
keras = pytest.importorskip("keras")
ours = pytest.importorskip("jaxgru.keras")
if keras.config.backend() != "jax":
    pytest.skip("Keras does not run on JAX", allow_module_level=True)

pytestmark = [
    pytest.mark.live,
    pytest.mark.usefixtures("default_promotion"),
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # Keras' own
]

BATCH, TIME, INPUTS, UNITS = 3, 7, 5, 6
MASK = np.arange(TIME) < np.array([[4], [7], [1]])
MASK[1, 2] = MASK[0, 0] = False
LAYERS = {
    "last output": {},
    "sequences and state": {"return_sequences": True, "return_state": True},
    "backwards": {"go_backwards": True, "return_sequences": True, "return_state": True},
    "backwards, last output": {"go_backwards": True, "return_state": True},
    "reset before": {"reset_after": False, "return_sequences": True},
    "no bias": {"use_bias": False, "return_sequences": True},
    "activations": {"activation": "relu", "recurrent_activation": "hard_sigmoid"},
    "no activation": {"activation": None, "return_state": True},
    "implementation 1": {"implementation": 1, "return_sequences": True},
    "zeros where masked": {"zero_output_for_mask": True, "return_state": True},
    "zeros where masked, backwards": {
        "zero_output_for_mask": True, "go_backwards": True, "return_sequences": True,
    },
}  # fmt: skip


def pair(key, **options):
    """Return Keras' layer and that of jaxgru, built, with the same random weights."""
    layers = [cls(UNITS, **options) for cls in (keras.layers.GRU, ours.GRU)]
    for layer in layers:
        layer.build((BATCH, TIME, INPUTS))
        layer.set_weights(live_params.random_like(key, layer.get_weights()))
    return layers


def run(layer, xs, weights=None, **options):
    """Return the outputs of a layer with other weights, as a list."""
    kept = [v.value for v in layer.non_trainable_variables]
    weights = [v.value for v in layer.trainable_variables] if weights is None else weights
    outputs, _ = layer.stateless_call(weights, kept, xs, **options)
    return outputs if isinstance(outputs, list | tuple) else [outputs]


@pytest.fixture
def xs(key):
    return jax.random.normal(key, (BATCH, TIME, INPUTS))


@pytest.mark.parametrize("mask", [None, MASK], ids=["", "masked"])
@pytest.mark.parametrize("case", LAYERS)
def test_outputs_and_gradients_are_those_of_keras(case, mask, key, xs):
    layers = pair(key, **LAYERS[case])
    options = {"mask": mask, "initial_state": jax.random.normal(key, (BATCH, UNITS))}
    theirs, found = (run(layer, xs, **options) for layer in layers)
    assert_alike(found, theirs)
    weights = [v.value for v in layers[0].trainable_variables]
    gradients = [
        jax.grad(lambda w, xs, lay=layer: weighted(run(lay, xs, w, **options)), (0, 1))(weights, xs)
        for layer in layers
    ]
    assert_same_gradients(gradients[1], gradients[0])


def test_one_step_and_integers(key):
    theirs, mine = pair(key, return_sequences=True)
    xs = jax.random.normal(key, (BATCH, 1, INPUTS))
    assert_alike(run(mine, xs), run(theirs, xs))
    xs = np.arange(BATCH * TIME * INPUTS).reshape(BATCH, TIME, INPUTS) % 3
    assert_alike(run(mine, xs), run(theirs, xs))


def test_half_precision_has_the_type_of_keras_and_no_larger_error(key, xs):
    # Keras cannot draw its default, an orthogonal matrix, in bfloat16.
    options = {"recurrent_initializer": "zeros", "dtype": "bfloat16"}
    layers = pair(key, return_sequences=True, **options)
    xs = xs.astype(jnp.bfloat16)
    (theirs,), (found,) = (run(layer, xs) for layer in layers)
    defaults = {"activation": "tanh", "recurrent_activation": "sigmoid", "reverse": False}
    params = jaxgru.from_keras(layers[0].get_weights(), assume=defaults)
    assert_no_worse(found, theirs, params, xs)


def test_mixed_bfloat16_keeps_float32_weights_and_trains_as_keras_does(key, xs):
    layers = pair(key, return_sequences=True, dtype="mixed_bfloat16")
    (theirs, found), weights = (layer(xs) for layer in layers), layers[0].get_weights()
    assert {w.dtype for w in layers[1].get_weights()} == {np.dtype("f4")}
    defaults = {"activation": "tanh", "recurrent_activation": "sigmoid", "reverse": False}
    rounded = [jnp.asarray(w, jnp.bfloat16) for w in weights]  # as Keras casts them
    params = jaxgru.from_keras(rounded, assume=defaults)
    assert_no_worse(found, theirs, params, xs.astype(jnp.bfloat16))
    losses, classes = [], np.array([0, 1, 1], np.int32)
    for layer in layers:
        layer.set_weights(weights)
        trained = keras.Sequential([keras.Input((TIME, INPUTS)), layer, keras.layers.Dense(2)])
        trained.layers[-1].set_weights([np.eye(UNITS, 2), np.zeros(2)])
        trained.compile(keras.optimizers.SGD(0.1), "mse")
        targets = np.eye(2, dtype="f4")[classes][:, None].repeat(TIME, 1)
        losses.append(trained.fit(xs, targets, epochs=3, shuffle=False, verbose=0).history["loss"])
    np.testing.assert_allclose(losses[1], losses[0], rtol=2e-2)  # bfloat16 has 8 bits
    assert losses[1][-1] < losses[1][0]


@pytest.mark.parametrize("cls", [keras.layers.GRU, ours.GRU])
def test_no_step_is_an_error_of_keras(cls, xs):
    layer = cls(UNITS)
    layer.build((BATCH, None, INPUTS))
    with pytest.raises(IndexError, match="size 0"):
        layer(xs[:, :0])


def test_a_sequence_without_a_valid_step_has_the_first_state(key, xs):
    layers = pair(key, return_state=True)
    state = jax.random.normal(key, (BATCH, UNITS))
    mask = MASK & np.array([[True], [False], [True]])
    theirs, (_, last) = (run(layer, xs, mask=mask, initial_state=state) for layer in layers)
    np.testing.assert_array_equal(last[1], state[1])
    np.testing.assert_array_equal(theirs[1][1], state[1])


@pytest.mark.parametrize("options", [{"dropout": 0.4}, {"dropout": 0.4, "return_sequences": True}])
@pytest.mark.parametrize("mask", [None, MASK], ids=["", "masked"])
def test_dropout_is_drawn_as_keras_draws_it(mask, options, key, xs):
    layers = pair(key, seed=3, **options)
    theirs, found = ([layer(xs, training=True, mask=mask) for _ in range(3)] for layer in layers)
    assert not np.allclose(theirs[0], theirs[1])
    assert_alike(found, theirs)
    assert_alike(*(layer(xs, training=False) for layer in layers))


def test_stateful(key, xs):
    layers = pair(key, stateful=True)
    for _ in range(2):
        theirs, found = ([layer(chunk) for chunk in (xs, xs[:, :2])] for layer in layers)
        assert_alike(found, theirs)
        for layer in layers:
            layer.reset_state()


HANDED_OVER = {
    "recurrent dropout": ({"recurrent_dropout": 0.4}, {"training": True}, "recurrent dropout"),
    "gates": ({"dropout": 1.0}, {"training": True}, "dropout of 1"),
    "unrolled": ({"unroll": True}, {"mask": MASK}, "a mask with unroll=True"),
    "an activation": ({"activation": lambda x: keras.ops.tanh(2 * x)}, {}, "lacks an activation"),
}


@pytest.mark.parametrize("case", HANDED_OVER)
def test_what_jaxgru_lacks_runs_in_keras_with_a_warning(case, key, xs):
    options, call, reason = HANDED_OVER[case]
    theirs, mine = pair(key, seed=3, **options)
    with pytest.warns(UserWarning, match=f"^Keras' gru.* runs the library's own loop: .*{reason}"):
        found = mine(xs, **call)
    assert_alike(found, theirs(xs, **call), atol=0)


def model(key, *, gru=None):
    """Return a model with GRUs of every kind of place, masked by its first layer."""
    gru = gru or keras.layers.GRU
    both = keras.layers.Bidirectional(gru(UNITS, return_sequences=True), merge_mode="sum")
    inner = keras.Sequential([keras.Input((None, UNITS)), gru(UNITS, return_sequences=True)])
    cell = keras.layers.RNN(keras.layers.GRUCell(UNITS, dropout=0.2, seed=1))
    made = keras.Sequential(
        [keras.Input((TIME, INPUTS)), keras.layers.Masking(), both, inner, cell,
         keras.layers.Dense(2, activation="softmax")]
    )  # fmt: skip
    made.set_weights(live_params.random_like(key, made.get_weights()))
    made.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
    return made


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Layer 'seq.* was passed an input with a mask:UserWarning")
def test_accelerate_a_compiled_model_in_place(key, xs, tmp_path):
    xs = np.where(MASK[..., None], xs, np.float32(0))
    plain, fast = model(key), model(key)
    before = fast.predict(xs, verbose=0)  # what Keras compiles here must not be used any more
    for _ in range(2):  # Keras draws for dropout in inference too: both are to go on alike
        plain.predict(xs, verbose=0)
    calls = []
    whole = ours.gru
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ours, "gru", lambda *a, **o: calls.append(1) or whole(*a, **o))
        assert ours.accelerate(fast) is fast
        ours.accelerate(fast)
        np.testing.assert_allclose(fast.predict(xs, verbose=0), before, rtol=0, atol=2e-6)
    assert len(calls) >= 4  # both directions, the model within, and the cell
    classes = np.array([0, 1, 1], np.int32)
    losses = [
        m.fit(xs, classes, epochs=3, shuffle=False, verbose=0).history["loss"]
        for m in (plain, fast)
    ]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)
    assert losses[0][-1] < losses[0][0]
    assert_alike(fast.get_weights(), plain.get_weights())
    fast.save(tmp_path / "fast.keras")
    with zipfile.ZipFile(tmp_path / "fast.keras") as archive:
        assert "jaxgru" not in json.dumps(json.loads(archive.read("config.json")))
    np.save(tmp_path / "xs.npy", xs)
    script = """
import sys, warnings
warnings.simplefilter("ignore")  # Keras' own, as above
sys.modules["jaxgru"] = None
import keras, numpy as np
folder = sys.argv[1]
model = keras.saving.load_model(folder + "/fast.keras")
np.save(folder + "/ys.npy", model.predict(np.load(folder + "/xs.npy"), verbose=0))
"""
    fresh.python("-c", script, tmp_path)
    np.testing.assert_allclose(
        np.load(tmp_path / "ys.npy"), fast.predict(xs, verbose=0), rtol=0, atol=2e-6
    )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Layer 'seq.* was passed an input with a mask:UserWarning")
def test_a_model_of_the_layer_is_saved_loaded_and_reads_the_weights_of_keras(key, xs, tmp_path):
    plain, mine = model(key), model(key, gru=ours.GRU)
    expected = plain.predict(xs, verbose=0)
    plain.save_weights(tmp_path / "plain.weights.h5")
    mine.set_weights([np.zeros_like(w) for w in mine.get_weights()])
    mine.load_weights(tmp_path / "plain.weights.h5")
    np.testing.assert_allclose(mine.predict(xs, verbose=0), expected, rtol=0, atol=2e-6)
    mine.save(tmp_path / "mine.keras")
    read = keras.saving.load_model(tmp_path / "mine.keras")
    assert type(read.layers[1].forward_layer) is ours.GRU
    np.testing.assert_allclose(read.predict(xs, verbose=0), expected, rtol=0, atol=2e-6)
    mine.save_weights(tmp_path / "mine.weights.h5")
    plain.load_weights(tmp_path / "mine.weights.h5")
    np.testing.assert_allclose(plain.predict(xs, verbose=0), expected, rtol=0, atol=2e-6)


def test_what_accelerate_refuses():
    dense = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)], name="dense_alone")
    with pytest.raises(
        ValueError, match=r"^there is no GRU in 'dense_alone': expected at least one"
    ):
        ours.accelerate(dense)
    with pytest.raises(ValueError, match=r"^model is a dict: expected a Keras model or layer"):
        ours.accelerate({})
