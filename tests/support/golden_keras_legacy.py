"""Keras' legacy HDF5 files of versions no longer installed, made by writing their layout.

Each builder writes a file and returns the nets that it holds by name, which are random.
"""

import json

import numpy as np

import jaxgru

INPUTS, UNITS = 3, 4


def random_net(seed, *, reset_after, inputs=INPUTS, **fields):
    """Return the ``GRUParams`` of a layer with random weights: each seed has others."""
    random, wide = np.random.default_rng(seed), 3 * UNITS
    shapes = [(inputs, wide), (UNITS, wide), wide, *[wide] * reset_after]
    drawn = (random.standard_normal(shape).astype(np.float32) for shape in shapes)
    return jaxgru.GRUParams(*drawn, reset_after=reset_after, **fields)


def arrays(net):
    """Return the arrays of Keras 2 and 3's ``get_weights``."""
    bias = np.stack([net.bias, net.recurrent_bias]) if net.reset_after else net.bias
    return {"kernel": net.kernel, "recurrent_kernel": net.recurrent_kernel, "bias": bias}


def arrays_by_gate(net):
    """Return the nine arrays of Keras 1's ``get_weights``."""
    by_name = {"W": net.kernel, "U": net.recurrent_kernel, "b": net.bias}
    return {
        f"{name}_{gate}": np.split(array, 3, axis=-1)[i]
        for i, gate in enumerate("zrh")
        for name, array in by_name.items()
    }


def write(path, layers, *, model=None, version=None, root="model_weights", text=False, split=()):
    """Write a file: ``layers`` has for each its weights by name, both in the model's order.

    ``text`` has names as str, not bytes; ``split`` names attributes to cut in two, as Keras does
    with those beyond 64 kB.
    """
    import h5py

    def store(attributes, name, values):
        values = list(values) if text else np.array([value.encode() for value in values])
        if name not in split:
            attributes[name] = values
            return
        for i, piece in enumerate((values[:1], values[1:])):
            attributes[f"{name}{i}"] = piece

    with h5py.File(path, "w") as file:
        group = file.require_group(root) if root else file
        for attributes in (file.attrs, group.attrs):
            if version is not None:
                attributes["keras_version"] = version if text else version.encode()
                attributes["backend"] = b"tensorflow"
        if model is not None:
            file.attrs["model_config"] = json.dumps(model).encode()
        store(group.attrs, "layer_names", layers)
        for name, weights in layers.items():
            inner = group.create_group(name)
            store(inner.attrs, "weight_names", weights)
            for weight, value in weights.items():
                inner[weight] = value


def weights(place, net, by_gate=False):
    """Return the arrays of a cell by their names at a place."""
    held = arrays_by_gate(net) if by_gate else arrays(net)
    return {f"{place}{'_' if by_gate else '/'}{name}:0": array for name, array in held.items()}


def dense(name):
    """Return the weights of a Dense layer, which belong to no GRU."""
    return {f"{name}/kernel:0": np.ones((4, 2), np.float32), f"{name}/bias:0": np.ones(2)}


def layer(class_name, name, **config):
    """Return a layer's configuration."""
    return {"class_name": class_name, "config": {"name": name, "trainable": True} | config}


def keras_1(path):
    """Keras 1.2: a list of layers, output_dim, inner_activation, three arrays for each gate."""
    first = random_net(1, reset_after=False, recurrent_activation="hard_sigmoid_keras2")
    forward, backward = (random_net(i, reset_after=False, inputs=UNITS) for i in (2, 3))
    joined = random_net(4, reset_after=False, activation="relu")

    def gru(name, inner="hard_sigmoid", activation="tanh"):
        options = {"output_dim": UNITS, "inner_activation": inner, "activation": activation}
        return layer("GRU", name, **options, go_backwards=False, consume_less="cpu")

    both = layer("Bidirectional", "both", merge_mode="sum", layer=gru("inner", "sigmoid"))
    layers = [gru("gru_2"), both, gru("gru_1", "sigmoid", "relu"), layer("Dense", "dense_1")]
    sides = weights("forward_inner", forward, True) | weights("backward_inner", backward, True)
    names = zip("WUb", arrays(joined).values(), strict=True)
    held = {
        "gru_2": weights("gru_2", first, by_gate=True),
        "both": sides,
        "gru_1": {f"gru_1_{name}:0": array for name, array in names},
        "dense_1": {"dense_1_W:0": np.ones((4, 2)), "dense_1_b:0": np.ones(2)},
    }
    write(path, held, model={"class_name": "Sequential", "config": layers})
    return {"gru_2": first, "both": jaxgru.Bidirectional(forward, backward, "sum"), "gru_1": joined}


def keras_1_weights(path):
    """The same without a model, as Theano named them."""
    net = random_net(5, reset_after=False, recurrent_activation="hard_sigmoid_keras2")
    held = {f"param_{i}": array for i, array in enumerate(arrays_by_gate(net).values())}
    write(path, {"gru_1": held, "dropout_1": {}}, root="")
    return {"gru_1": net}


def keras_2_1(path):
    """Keras 2.1: no reset_after; a stack of cells in one group, their arrays numbered."""
    first = random_net(6, reset_after=False, recurrent_activation="hard_sigmoid_keras2")
    stack = tuple(random_net(i, reset_after=False, inputs=UNITS) for i in (7, 8))
    options = {"units": UNITS, "activation": "tanh", "use_bias": True}
    cells = [layer("GRUCell", f"c{i}", **options, recurrent_activation="sigmoid") for i in (1, 2)]
    stacked = {"class_name": "StackedRNNCells", "config": {"cells": cells}}
    gru = layer("GRU", "gru_1", **options, recurrent_activation="hard_sigmoid", unroll=True)
    model = {"class_name": "Sequential", "config": [gru, layer("RNN", "rnn_1", cell=stacked)]}
    numbered = {
        f"rnn_1/{name}{number}:0": array
        for number, net in zip(("", "_1"), stack, strict=True)
        for name, array in arrays(net).items()
    }
    held = {"gru_1": weights("gru_1", first), "rnn_1": numbered}
    write(path, held, model=model, version="2.1.6")
    return {"gru_1": first, "rnn_1": stack}


def keras_2_2(path):
    """Keras 2.2: CuDNNGRU with its own layout, and a layer that goes backwards."""
    first = random_net(9, reset_after=True)
    second = random_net(10, reset_after=True, inputs=UNITS, activation="linear")
    options = {"units": UNITS, "recurrent_activation": "sigmoid", "reset_after": True}
    layers = [
        layer("CuDNNGRU", "cu_dnngru_1", units=UNITS, return_sequences=True),
        layer("GRU", "gru_1", **options, activation=None, go_backwards=True),
    ]
    cudnn = {f"cu_dnngru_1/{name}:0": array for name, array in cudnn_arrays(first).items()}
    held = {"cu_dnngru_1": cudnn, "gru_1": weights("gru_1", second)}
    write(path, held, model=layer("Sequential", "sequential_1", layers=layers), version="2.2.4")
    return {"cu_dnngru_1": first, "gru_1": jaxgru.Backward(second)}


def cudnn_arrays(net):
    """Return the arrays of a ``CuDNNGRU``, gate by gate: what lies in memory is W transposed."""
    gates = np.split(net.kernel, 3, axis=1)
    recurrent_gates = np.split(net.recurrent_kernel, 3, axis=1)
    return {
        "kernel": np.hstack([np.ravel(W, order="F").reshape(W.shape) for W in gates]),
        "recurrent_kernel": np.hstack([U.T for U in recurrent_gates]),
        "bias": np.concatenate([net.bias, net.recurrent_bias]),
    }


def tensorflow_2(path):
    """tf.keras 2.4: a level for the cell, a model within the model, frozen layers last."""
    zz, forward, backward, last, timed = (random_net(i, reset_after=True) for i in range(11, 16))
    options = {"units": UNITS, "activation": "tanh", "reset_after": True, "use_bias": True}
    options["recurrent_activation"] = {"class_name": "function", "config": "sigmoid"}

    def gru(name):
        return layer("GRU", name, **options, go_backwards=False)

    both = layer("Bidirectional", "both", layer=gru("gru_8"), merge_mode="ave")
    layers = [
        layer("InputLayer", "input_1"),
        layer("Functional", "encoder", layers=[gru("zz"), both, layer("Dense", "dense")]),
        gru("gru_9"),
        layer("TimeDistributed", "timed", layer=gru("gru_7")),
    ]
    held = {
        "input_1": {},
        "encoder": weights("both/forward_gru_8/gru_cell_1", forward)
        | weights("both/backward_gru_8/gru_cell_2", backward)
        | dense("dense")
        | weights("zz/gru_cell", zz),
        "gru_9": weights("gru_9/gru_cell_5", last),
        "timed": weights("timed/gru_cell_6", timed),
    }
    model = layer("Functional", "model", layers=layers)
    write(path, held, model=model, version="2.4.0", text=True, split=("layer_names",))
    names = ("encoder/zz", "encoder/both", "gru_9", "timed/gru_7")
    nets = (zz, jaxgru.Bidirectional(forward, backward, "ave"), last, timed)
    return dict(zip(names, nets, strict=True))


def tensorflow_2_weights(path):
    """The weights of a model within a model alone: both directions by their names."""
    zz, forward, backward, last = (random_net(i, reset_after=True) for i in range(16, 20))
    lstm = {"kernel:0": np.ones((3, 16)), "recurrent_kernel:0": np.ones((4, 16))}
    held = {
        "encoder": weights("zz/gru_cell", zz)
        | weights("both/forward_gru_8/gru_cell_1", forward)
        | weights("both/backward_gru_8/gru_cell_2", backward),
        "forward_gru": weights("forward_gru/gru_cell", last),
        "lstm": {f"lstm/lstm_cell/{name}": array for name, array in lstm.items()},
    }
    write(path, held, root="", version="2.6.0", split=("weight_names",))
    both = jaxgru.Bidirectional(forward, backward, "concat")
    return {"encoder/zz": zz, "encoder/both": both, "forward_gru": last}


ALL = {
    function.__name__: function
    for function in [
        *(keras_1, keras_1_weights, keras_2_1, keras_2_2),
        *(tensorflow_2, tensorflow_2_weights),
    ]
}
