"""Whole models are trained as JAX's own gradient of the model would train them.

The oracle is gradient descent by hand on ``Model.__call__``, whose predictions are compared with
Keras' elsewhere. It shares neither batches, padding, masks in losses nor the choice of weights.
"""

import dataclasses

import equal
import finetuning
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxgru
import jaxgru.finetune as ft
from jaxgru.model import (
    BatchNormalization,
    Conv1D,
    Dense,
    Elementwise,
    Embedding,
    GlobalPooling1D,
    Masking,
    Model,
    Noise,
    Recurrent,
    Reshape,
)

RNG = np.random.default_rng(0)
RATE = 0.1
# float32: some hundred roundings of numbers near 1.
ROUNDING = {"rtol": 1e-5, "atol": 1e-6}


def _normal(*shape):
    return jnp.asarray(0.4 * RNG.normal(size=shape), jnp.float32)


def _net(inputs, units=4):
    wide = 3 * units
    return jaxgru.GRUParams(
        _normal(inputs, wide), _normal(units, wide), _normal(wide), _normal(wide)
    )


def _classifier(**change):
    """Return a classifier of sequences of integers, as Keras users have them."""
    return Model(
        {
            "words": Embedding(_normal(9, 3), mask_zero=True),
            "drop": Noise("SpatialDropout1D", 0.2),
            "encoder/gru": Recurrent(_net(3), return_sequences=True, recurrent_dropout=0.1),
            "summary": Recurrent(_net(4), return_sequences=False),
            "norm": BatchNormalization(_normal(4), _normal(4) ** 2, _normal(4), _normal(4)),
            "out": Dense(_normal(4, 3), _normal(3), "softmax"),
            **change,
        }
    )


IDS = RNG.integers(1, 9, (8, 6))
IDS[0, 2:] = IDS[3, 5:] = 0
CLASSES = RNG.integers(0, 3, 8)
DATA = ft.Sequences(IDS, CLASSES)


def _tune(model, data=DATA, until=ft.Steps(1), loss=None, **options):  # noqa: B008
    options = {"batch_size": 8, "optimizer": optax.sgd(RATE)} | options
    return finetuning.tune(model, data, until, loss=loss or ft.classification("last"), **options)


def _close(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, **ROUNDING)


def _by_hand(model, loss):
    gradient = jax.grad(lambda model: loss(model))(model)
    return jax.tree.map(lambda w, g: w - RATE * g, model, gradient)


def test_a_classifier_of_probabilities_with_its_own_mask():
    model = _classifier(drop=Noise("Dropout", 0.0), **{"encoder/gru": Recurrent(_net(3))})
    chosen = np.arange(8), CLASSES

    def loss(model):
        return -jnp.log(model(IDS)[chosen]).mean()

    result = _tune(model)
    np.testing.assert_allclose(result.history[0]["loss"], loss(model), rtol=1e-5)
    _close(result.model, _by_hand(model, loss))
    # In batches of 3, of which the last is filled up with sequences that do not count.
    got = ft.evaluate(model, DATA, ft.classification("last"), batch_size=3)
    np.testing.assert_allclose(got, loss(model), rtol=1e-5)


def test_predictions_at_every_step_count_within_the_mask():
    model = Model(words=Embedding(_normal(9, 3), True), gru=_net(3), out=Dense(_normal(4, 2)))
    targets = _normal(8, 6, 2)
    valid = (IDS != 0)[..., None]

    def loss(model):
        return jnp.where(valid, (model(IDS) - targets) ** 2, 0.0).sum() / float(2 * valid.sum())

    nan = np.where(valid, targets, np.nan)
    result = _tune(model, ft.Sequences(IDS, nan), loss=ft.regression())
    _close(result.model, _by_hand(model, loss))
    # Lengths make it smaller.
    lengths = np.array([1, *[6] * 7])
    valid[0, 1] = False
    got = ft.evaluate(model, ft.Sequences(IDS, nan, lengths), ft.regression(), batch_size=5)
    np.testing.assert_allclose(got, loss(model), rtol=1e-5)


def test_one_sigmoid_is_trained_by_the_binary_cross_entropy():
    model = _classifier(
        drop=Noise("Dropout", 0.0), out=Dense(_normal(4, 1)), end=Elementwise("sigmoid"),
        **{"encoder/gru": Recurrent(_net(3))},
    )  # fmt: skip
    classes = CLASSES % 2

    def loss(model):
        p = model(IDS)[:, 0]
        return -jnp.where(classes == 1, jnp.log(p), jnp.log(1 - p)).mean()

    _close(_tune(model, ft.Sequences(IDS, classes)).model, _by_hand(model, loss))


def test_several_labels_by_a_loss_of_logits():
    model = _classifier(
        drop=Noise("Dropout", 0.0), out=Dense(_normal(4, 2), _normal(2), "sigmoid"),
        **{"encoder/gru": Recurrent(_net(3))},
    )  # fmt: skip
    labels = RNG.integers(0, 2, (8, 2))

    def loss(model):
        p = model(IDS)
        return -jnp.where(labels == 1, jnp.log(p), jnp.log(1 - p)).mean()

    def costs(p, y):
        return optax.sigmoid_binary_cross_entropy(p, y).mean(-1)

    of_labels = ft.Loss(costs, "last", of_logits=True)
    _close(_tune(model, ft.Sequences(IDS, labels), loss=of_labels).model, _by_hand(model, loss))


def test_dropout_acts_at_its_rates_and_is_reproducible():
    model = _classifier()
    frozen = {"optimizer": optax.set_to_zero(), "until": ft.Steps(2, every=1)}
    losses = [row["loss"] for row in _tune(model, **frozen).history]
    assert abs(losses[0] - losses[1]) > 1e-4
    assert losses == [row["loss"] for row in _tune(model, **frozen).history]
    # The rates of options are for nets; those of layers are 0 only in a model without.
    options = ft.RunOptions(dropout=0.0, recurrent_dropout=0.0)
    plain = _classifier(drop=Noise("Dropout", 0.0))
    fixed = [row["loss"] for row in _tune(plain, options=options, **frozen).history]
    np.testing.assert_allclose(
        fixed, ft.evaluate(plain, DATA, ft.classification("last")), **ROUNDING
    )


def test_statistics_stay_and_every_other_weight_moves():
    model = _classifier()
    optimizer = optax.adamw(0.05, weight_decay=0.1)
    for patterns in (None, "*"):
        tuned = _tune(model, optimizer=optimizer, trainable=patterns, until=ft.Epochs(2)).model
        for path, one, other in zip(
            ft.leaf_paths(model), jax.tree.leaves(model), jax.tree.leaves(tuned), strict=True
        ):
            assert equal.same(one, other) == (path in ("norm.mean", "norm.variance")), path
    with pytest.raises(ValueError, match=r"'norm.mean' matches no weight: .* norm.gamma, norm.b"):
        ft.trainable_mask(model, "norm.mean")
    assert not ft.trainable_mask(model, "norm.*").norm.variance


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ("words.*", {"words.table"}),
        ("out.kernel", {"out.kernel"}),
        ("summary.*bias", {"summary.net.bias", "summary.net.recurrent_bias"}),
        (["encoder/gru.*kernel", "norm.*"],
         {"encoder/gru.net.kernel", "encoder/gru.net.recurrent_kernel", "norm.gamma", "norm.beta"}),
    ],
)  # fmt: skip
def test_patterns_reach_every_part(patterns, expected):
    model = _classifier()
    tuned = _tune(model, trainable=patterns).model
    pairs = zip(jax.tree.leaves(model), jax.tree.leaves(tuned), strict=True)
    moved = [not equal.same(one, other) for one, other in pairs]
    paths = ft.leaf_paths(model)
    assert {path for path, has in zip(paths, moved, strict=True) if has} == expected


def test_low_rank_changes_of_a_model(key):
    model = _classifier()
    low = ft.low_rank(model, key, rank=1, kernels=["summary.*kernel", "words.table"])
    np.testing.assert_array_equal(ft.predict(low, IDS, on="last"), model(IDS))
    tuned = _tune(low, trainable="deltas.*").model
    assert jax.tree.structure(tuned) == jax.tree.structure(model)
    change = np.asarray(tuned.summary.net.kernel - model.summary.net.kernel)
    singular = np.linalg.svd(change, compute_uv=False)
    assert singular[1] < 1e-6 < singular[0]
    assert equal.same(tuned.out, model.out)
    assert not equal.same(_tune(low).model.out, model.out)
    with pytest.raises(ValueError, match=r"layer 'summary': net.bias has shape \(12,\): expected"):
        ft.low_rank(model, key, rank=1, kernels="summary.*")


def test_a_run_of_a_model_resumes_and_one_of_other_rates_is_refused(tmp_path):
    pytest.importorskip("orbax.checkpoint")
    model = _classifier()
    whole = _tune(model, until=ft.Epochs(3), validation=DATA)
    _tune(model, until=ft.Epochs(1), validation=DATA, checkpoint_dir=tmp_path)
    rest = _tune(model, until=ft.Epochs(3), validation=DATA, checkpoint_dir=tmp_path)
    assert equal.same(rest.model, whole.model)
    other = _classifier(drop=Noise("SpatialDropout1D", 0.3))
    other = jax.tree.unflatten(jax.tree.structure(other), jax.tree.leaves(model))
    with pytest.raises(ValueError, match=r"layer drop Noise\(.*rate=0.2.* instead of .*rate=0.3"):
        _tune(other, checkpoint_dir=tmp_path, validation=DATA)


def test_devices_share_a_batch_of_integers():
    model = _classifier()
    shared = _tune(model, mesh=ft.data_mesh(jax.devices()[:1]), until=ft.Steps(2))
    _close(shared.model, _tune(model, until=ft.Steps(2)).model)


def test_windows_carry_the_state_of_every_net():
    model = Model(
        first=_net(3), between=Dense(_normal(4, 4)), second=_net(4), out=Dense(_normal(4, 2))
    )
    data = finetuning.small_data()
    ft_result = _tune(model, data, ft.Steps(1), ft.regression(), window=6)
    _close(ft_result.model, _tune(model, data, ft.Steps(1), ft.regression()).model)
    two = _tune(model, data, ft.Steps(2, every=1), ft.regression(), window=3)
    _, states = model(data.inputs[:, :3], return_state=True)

    def loss(model):
        return jnp.mean((model(data.inputs[:, 3:], h0=states) - data.targets[:, 3:]) ** 2)

    # The rate is 0: the second window begins with the states after the first.
    still = _tune(
        model, data, ft.Steps(2, every=1), ft.regression(), window=3, optimizer=optax.set_to_zero()
    )
    np.testing.assert_allclose(still.history[1]["loss"], loss(model), rtol=1e-5)
    assert not equal.same(two.model, model)
    backward = Model(first=jaxgru.Backward(_net(3)), out=Dense(_normal(4, 2)))
    mean = Model(
        conv=Conv1D(_normal(3, 3, 4), padding="same"), gru=_net(4), out=Dense(_normal(4, 2))
    )
    last = Model(gru=Recurrent(_net(3), return_sequences=False), back=Reshape((2, 2)))
    for wrong, message in (
        (backward, "layer 'first' has a backward direction"),
        (mean, "layer 'conv' is a Conv1D: expected only layers that"),
        (last, "layer 'gru' returns only its last output"),
    ):
        targets = data.targets if wrong is not last else data.targets[:, :2]
        with pytest.raises(ValueError, match=f"window is given, and {message}"):
            _tune(wrong, data._replace(targets=targets), loss=ft.regression(), window=3)


def test_padding_that_a_layer_sees_is_zero_and_warned_of():
    model = Model(
        conv=Conv1D(_normal(3, 3, 4), padding="same"), gru=_net(4),
        mean=GlobalPooling1D("max"), out=Dense(_normal(4, 2)),
    )  # fmt: skip
    lengths = np.array([6, 6, 4, 2, 6, 6, 6, 6])
    data = finetuning.small_data(lengths=lengths)
    data = data._replace(targets=data.targets[:, 0])
    outside = np.arange(6)[None, :, None] >= lengths[:, None, None]
    seen = []
    for filler in (np.nan, 7.0):
        padded = data._replace(inputs=np.where(outside, np.float32(filler), data.inputs))
        with pytest.warns(
            ft.FinetuneWarning, match="data: lengths is given, and layer 'conv' does not"
        ):
            seen.append(_tune(model, padded, loss=ft.regression("last")).model)
    assert equal.same(*seen)
    zeros = np.where(outside, 0, data.inputs)

    def loss(model):
        return jnp.mean((model(zeros) - data.targets) ** 2)

    _close(seen[0], _by_hand(model, loss))


def test_a_sequence_without_a_valid_step_has_no_gradient():
    ids = IDS.copy()
    ids[2] = 0
    net = Recurrent(_net(3))
    model = Model(
        words=Embedding(_normal(9, 3), True),
        gru=net,
        mean=GlobalPooling1D(),
        out=Dense(_normal(4, 3)),
    )
    targets = ft.Sequences(ids, CLASSES, np.where(np.arange(8) == 2, 0, 6))
    tuned = _tune(model, targets).model
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(tuned))
    assert np.isnan(model(ids)[2]).all()


def test_vectors_as_inputs():
    repeat = jaxgru.model.RepeatVector(3)
    model = Model({"repeat": repeat, "gru": _net(3), "out": Dense(_normal(4, 2))}, example_axes=1)
    inputs, targets = _normal(7, 3), _normal(7, 3, 2)

    def loss(model):
        return jnp.mean((model(inputs) - targets) ** 2)

    data = ft.Sequences(inputs, targets)
    result = _tune(model, data, loss=ft.regression(), batch_size=7)
    _close(result.model, _by_hand(model, loss))
    got = ft.evaluate(model, data, ft.regression(), batch_size=2)
    np.testing.assert_allclose(got, loss(model), rtol=1e-5)
    with pytest.raises(ValueError, match="lengths is given: expected None, because the in"):
        ft.evaluate(model, data._replace(lengths=np.full(7, 3)), ft.regression())


def test_the_loss_on_last_takes_the_last_valid_step_of_a_model_of_steps():
    model = Model(mask=Masking(9.0), gru=_net(3), out=Dense(_normal(4, 2), activation="tanh"))
    xs = finetuning.small_data().inputs.copy()
    xs[1, 4:] = 9.0
    targets = _normal(8, 2)
    last = np.stack([model(xs[i, : 4 if i == 1 else 6])[-1] for i in range(8)])
    got = ft.evaluate(model, ft.Sequences(xs, targets), ft.regression("last"))
    np.testing.assert_allclose(got, np.mean((last - targets) ** 2), rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": IDS + 1}, r"data: inputs\[\d, \d\] is 9: expected 0 to 8, a row of the Embed"),
        ({"inputs": IDS * 1.0}, "inputs has dtype float64: expected integers for the Embedding"),
        ({"inputs": IDS[0]}, r"inputs has shape \(6,\): expected \(N, T\)"),
        ({"inputs": 0 * IDS, "targets": np.zeros((8, 6), int)}, "no step is valid in the mask"),
        ({"targets": CLASSES[:7]}, r"targets has shape \(7,\): expected \(8, ...\), as inputs"),
    ],
)  # fmt: skip
def test_data_that_does_not_fit(change, message):
    model = _classifier()
    loss = ft.classification("last")
    if "dtype" not in message and np.ndim(change.get("targets", CLASSES)) == 2:
        summary = dataclasses.replace(model.summary, return_sequences=True)
        model, loss = Model({**model.layers, "summary": summary}), ft.classification()
    with pytest.raises(ValueError, match=message):
        ft.evaluate(model, DATA._replace(**change), loss)


def test_losses_that_do_not_fit():
    model = _classifier()
    with pytest.raises(
        ValueError, match=r"predictions have shape \(8, 3\), and the loss is on 'st"
    ):
        ft.evaluate(model, DATA, ft.classification())
    model = Model({**model.layers, "out": Dense(_normal(4, 3), activation="sigmoid")})
    with pytest.raises(ValueError, match="ends with 3 sigmoids, as for several labels"):
        ft.evaluate(model, DATA, ft.classification("last"))
    several = Model({**model.layers, "out": Dense(_normal(4, 6)), "end": Reshape((3, 2))})
    data = DATA._replace(targets=np.zeros((8, 3, 2), np.float32))
    with pytest.raises(ValueError, match=r"shape \(8, 3, 2\), and the loss is on 'last': expected"):
        ft.evaluate(several, data, ft.regression("last"))
    assert ft.evaluate(several, data, ft.regression()) > 0
