"""The order of layers in the configuration of a functional Keras model."""

import numpy as np
import pytest

from jaxgru._weights.defaults import Fields
from jaxgru._weights.errors import WeightsError
from jaxgru._weights.libraries.keras.config import model_of
from jaxgru._weights.libraries.keras.models import build_model

RNG = np.random.default_rng(0)
ARRAYS = {
    "inner/d/kernel": RNG.normal(size=(3, 4)).astype("f4"),
    "inner/d/bias": RNG.normal(size=4).astype("f4"),
    "d/kernel": RNG.normal(size=(4, 2)).astype("f4"),
    "d/bias": RNG.normal(size=2).astype("f4"),
}


def _layer(kind, name, *sources, **config):
    calls = [[[*source, {}] for source in sources]] if sources else []
    return {"class_name": kind, "config": {"name": name, **config}, "inbound_nodes": calls}


def _model(*sources):
    """Return a functional model of another one and a layer with these sources."""
    inner = [_layer("Dense", "d", units=4)]
    layers = [
        _layer("InputLayer", "x", batch_input_shape=[None, None, 3]),
        _layer("Sequential", "inner", ["x", 0, 0], layers=inner),
        _layer("Dense", "d", *sources, units=2),
    ]
    ends = {"input_layers": [["x", 0, 0]], "output_layers": [["d", 0, 0]]}
    config = {"name": "m", "layers": layers, **ends}
    return model_of({"class_name": "Functional", "config": config})


@pytest.mark.parametrize("call", [0, 1])  # TensorFlow counts the building of a sub-model
def test_a_sub_model_is_entered(call):
    model = build_model(_model(["inner", call, 0]), {}.__getitem__, ARRAYS, "2.15.0", Fields({}))
    xs = RNG.normal(size=(2, 5, 3)).astype("f4")
    hidden = xs @ ARRAYS["inner/d/kernel"] + ARRAYS["inner/d/bias"]
    want = hidden @ ARRAYS["d/kernel"] + ARRAYS["d/bias"]
    np.testing.assert_allclose(model(xs), want, rtol=0, atol=1e-5)
    assert list(model.layers) == ["inner/d", "d"]


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        ([["inner", 0, 0], ["x", 0, 0]], r"layer d \(Dense\) has several inputs"),
        ([["x", 0, 0]], r"layer inner \(Sequential\) is not between"),
        ([["inner", 0, 1]], r"layer inner \(Sequential\) is called several times, or has several"),
    ],
)
def test_what_is_no_chain_is_refused(sources, message):
    with pytest.raises(WeightsError, match=message):
        build_model(_model(*sources), {}.__getitem__, ARRAYS, "2.15.0", Fields({}))


def test_an_elu_of_another_alpha_is_refused():
    layers = [
        _layer("InputLayer", "x", batch_input_shape=[None, None, 3]),
        _layer("ELU", "e", ["x", 0, 0], alpha=0.5),
    ]
    ends = {"input_layers": [["x", 0, 0]], "output_layers": [["e", 0, 0]]}
    model = model_of({"class_name": "Functional", "config": {"layers": layers, **ends}})
    with pytest.raises(WeightsError, match=r"alpha is 0.5: expected 1; "):
        build_model(model, {}.__getitem__, {}, "2.15.0", Fields({}))
