"""Makes files.tar.xz: small GRUs in the files of TensorFlow, and what it reads and computes.

    python tests/weights/tensorflow/make_files.py [a folder to leave the files in]

It needs tensorflow-cpu and tf-keras; for TensorFlow.js also tensorflowjs (``pip install --no-deps``
is enough) and, in the folder $TFJS, the npm packages @tensorflow/tfjs-layers, -core and
-backend-cpu. Each case is a folder with its files and ``expected.npz``:

=========  ========================================================================================
x, y       an input, and the model's output for it (there is no y where nothing can be run)
g:LAYER    for each layer of GRUs its output, given x; only where there are several
v:NAME     each variable, as TensorFlow's own reader returns it
=========  ========================================================================================

All weights are random, biases too. They are the same in all cases, so that the archive is small.
"""

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from unittest import mock

import numpy as np

ARCHIVE = Path(__file__).with_name("files.tar.xz")
UNITS, INPUTS, STEPS = 3, 2, 4


def main(folder):
    """Make all cases in a folder."""
    os.environ.update(
        TF_CPP_MIN_LOG_LEVEL="3",
        CUDA_VISIBLE_DEVICES="",
        TF_USE_LEGACY_KERAS="1",
        KERAS_BACKEND="tensorflow",
    )
    folder.mkdir(parents=True, exist_ok=True)
    for make in (keras_2, keras_3, checkpoints, tensorflow_1, frozen, javascript):
        make(folder)
        print(make.__name__, "made")


def pack(folder):
    """Write the archive: the same bytes for the same files."""

    def plain(entry):
        entry.mtime = entry.uid = entry.gid = 0
        entry.uname = entry.gname = ""
        return entry

    with tarfile.open(ARCHIVE, "w:xz", preset=9) as archive:
        # By their last names, so that similar files are beside one another.
        for path in sorted(folder.rglob("*"), key=lambda path: (path.name, path)):
            if path.is_file() and path.name != "fingerprint.pb":
                archive.add(path, path.relative_to(folder).as_posix(), filter=plain)
    print(f"{ARCHIVE}: {ARCHIVE.stat().st_size} bytes")


def randomize(weights):
    """Give every weight random values, biases too."""
    rng = np.random.default_rng(0)
    for weight in weights:
        weight.assign(_random(rng, weight.shape, weight.dtype))


def _random(rng, shape, dtype="float32"):
    import tensorflow as tf

    return tf.cast(rng.normal(size=tuple(shape)) * 0.5, dtype)


def inputs():
    """Return the input of every case."""
    return np.random.default_rng(1).normal(size=(2, STEPS, INPUTS)).astype(np.float32)


def expect(case, outputs, prefix=None):
    """Write what TensorFlow computes, and what it reads of the checkpoint with a prefix."""
    import tensorflow as tf

    arrays = dict(outputs)
    if prefix is not None:
        reader = tf.train.load_checkpoint(str(prefix))
        for name, dtype in reader.get_variable_to_dtype_map().items():
            if dtype.is_floating:
                arrays[f"v:{name}"] = reader.get_tensor(name)
    arrays = {name: np.asarray(array) for name, array in arrays.items()}
    # A file of NumPy has no bfloat16; float32 holds the same numbers.
    small = {name: a.astype("f4") if a.dtype == "bfloat16" else a for name, a in arrays.items()}
    np.savez(case / "expected.npz", **small)


def computed(model, layers=()):
    """Return the outputs of a model and of layers in it, by the names in ``expected.npz``."""
    x = inputs()
    found = {"x": x, "y": np.asarray(model(x), np.float32)}
    if layers:
        for layer in layers:
            found[f"g:{layer.name}"] = layer(x)
    return found


def chain(keras):
    """Return a model of a chain with several kinds of GRU, with names for the layers."""
    layers = keras.layers
    return keras.Sequential(
        [
            layers.Input((STEPS, INPUTS)),
            layers.GRU(
                UNITS, return_sequences=True, recurrent_activation="hard_sigmoid", name="encoder"
            ),
            layers.Bidirectional(
                layers.GRU(UNITS, return_sequences=True, reset_after=False),
                merge_mode="sum",
                name="both",
            ),
            layers.GRU(UNITS, activation="relu", use_bias=False, name="last"),
            layers.Dense(2, name="readout"),
        ]
    )


def plain(keras, dtype="float32", **options):
    """Return a model of one GRU."""
    layers = keras.layers
    options = {"recurrent_initializer": "zeros", "return_sequences": True, **options}
    given = layers.Input((STEPS, INPUTS), dtype=dtype)
    return keras.Sequential([given, layers.GRU(UNITS, dtype=dtype, name="gru", **options)])


def subclassed(keras):
    """Return a model of a class of a user's own, with layers in a list and a dictionary."""
    layers = keras.layers

    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.encoder = layers.GRU(UNITS, return_sequences=True)
            self.heads = [layers.GRU(UNITS, return_sequences=True)]
            self.table = {"a": layers.GRU(UNITS, reset_after=False, return_sequences=True)}

        def call(self, x):
            return self.table["a"](self.heads[0](self.encoder(x)))

    model = Model()
    model(inputs())
    return model


def keras_2(folder):
    """SavedModels of Keras 2, and weights as ``save_weights`` writes them."""
    import tensorflow as tf
    import tf_keras

    models = {
        "chain": chain(tf_keras),
        "plain": plain(tf_keras),
        "subclassed": subclassed(tf_keras),
        "cells": tf_keras.Sequential(
            [
                tf_keras.layers.Input((STEPS, INPUTS)),
                tf_keras.layers.RNN(
                    [tf_keras.layers.GRUCell(UNITS), tf_keras.layers.GRUCell(2)],
                    return_sequences=True,
                    name="stack",
                ),
            ]
        ),
        "float16": plain(tf_keras, "float16"),
        "bfloat16": plain(tf_keras, "bfloat16", kernel_initializer="zeros"),
    }
    for name, model in models.items():
        randomize(model.weights)
        if name in ("chain", "subclassed", "cells"):
            case = folder / f"keras2_saved_{name}"
            # Traces are most of its size; those of one model show what they look like.
            model.save(str(case), save_format="tf", save_traces=name == "chain")
            expect(case, computed(model), case / "variables/variables")
        case = folder / f"keras2_weights_{name}"
        case.mkdir()
        model.save_weights(str(case / "weights"), save_format="tf")
        expect(case, computed(model), case / "weights")
    case = folder / "keras2_tf_save"  # has no configuration
    tf.saved_model.save(models["plain"], str(case))
    expect(case, computed(models["plain"]), case / "variables/variables")

    case = folder / "keras2_weights_cudnn"  # cannot be run without a GPU
    case.mkdir()
    model = tf_keras.Sequential([tf_keras.layers.Input((STEPS, INPUTS))])
    model.add(tf.compat.v1.keras.layers.CuDNNGRU(UNITS, name="gru"))
    randomize(model.weights)
    model.save_weights(str(case / "weights"), save_format="tf")
    expect(case, {}, case / "weights")


def keras_3(folder):
    """What Keras 3 exports, which has no configuration."""
    import keras
    import tensorflow as tf

    for name, model in {"plain": plain(keras), "subclassed": subclassed(keras)}.items():
        randomize(model.trainable_weights)
        case = folder / f"keras3_export_{name}"
        model.export(str(case), verbose=False)
        expect(case, computed(model), case / "variables/variables")
    model = plain(keras)
    randomize(model.trainable_weights)
    archive = keras.export.ExportArchive()
    archive.track(model)
    shape = tf.TensorSpec((None, STEPS, INPUTS), tf.float32)
    archive.add_endpoint(name="serve", fn=model.call, input_signature=[shape])
    case = folder / "keras3_archive"
    archive.write_out(str(case), verbose=False)
    expect(case, computed(model), case / "variables/variables")


def checkpoints(folder):
    """Checkpoints of objects, with the state of an optimizer and several saves."""
    import keras
    import tensorflow as tf
    import tf_keras

    for name, library in {"keras2": tf_keras, "keras3": keras}.items():
        for kind, build in {"chain": chain, "subclassed": subclassed}.items():
            model = build(library)
            case = folder / f"{name}_checkpoint_{kind}"
            optimizer = library.optimizers.Adam()
            model.compile(optimizer, "mse")
            model.fit(inputs(), np.zeros_like(model(inputs())), verbose=0)
            randomize(model.trainable_weights)
            held = {"optimizer": optimizer} if kind == "chain" else {}
            manager = tf.train.CheckpointManager(
                tf.train.Checkpoint(net=model, **held), str(case), max_to_keep=2
            )
            manager.save()
            randomize(reversed(model.trainable_weights))  # others than in the latest
            manager.save()
            randomize(model.trainable_weights)
            latest = manager.save()
            expect(case, computed(model), latest)


def tensorflow_1(folder):
    """Checkpoints of the cells of TensorFlow 1, under the names of its versions."""
    import tensorflow as tf

    v1 = tf.compat.v1
    rnn = v1.nn
    cell = v1.nn.rnn_cell.GRUCell

    def dynamic(one, x, **options):
        return rnn.dynamic_rnn(one, x, dtype=tf.float32, **options)[0]

    def optimized(x):
        y = dynamic(cell(UNITS), x)
        v1.train.AdamOptimizer().minimize(tf.reduce_sum(y**2))
        tf.train.ExponentialMovingAverage(0.9).apply(v1.trainable_variables())
        return y

    def layer(kind):
        def build(x):
            import tf_keras

            gru = tf_keras.layers.GRU(
                UNITS, return_sequences=True, reset_after=kind == "keras", name="gru"
            )
            return (tf_keras.layers.Bidirectional(gru) if kind == "both" else gru)(x)

        return build

    cases = {
        "gru_cell": lambda x: dynamic(cell(UNITS), x),
        "multi": lambda x: dynamic(rnn.rnn_cell.MultiRNNCell([cell(UNITS), cell(2)]), x),
        "both": lambda x: tf.concat(
            rnn.bidirectional_dynamic_rnn(cell(UNITS), cell(UNITS), x, dtype=tf.float32)[0], -1
        ),
        "relu": lambda x: dynamic(cell(UNITS, activation=tf.nn.relu), x, scope="encoder/gru"),
        "optimized": optimized,
        "keras": layer("keras"),
        "keras_both": layer("both"),
    }
    for name, build in cases.items():
        saved(folder / f"tf1_{name}", build)
    parts = v1.fixed_size_partitioner(2, axis=0)
    saved(folder / "tf1_partitioned", cases["gru_cell"], partitioner=parts)
    saved(folder / "tf1_sharded", cases["gru_cell"], sharded=True)
    saved(folder / "tf1_format_v1", cases["gru_cell"], write_version=v1.train.SaverDef.V1)

    gates = {"gates/kernel", "gates/bias", "candidate/kernel", "candidate/bias"}
    old = {"kernel": "Linear/Matrix", "bias": "Linear/Bias"}
    names = {
        "tf1_names_1_1": lambda own: f"rnn/gru_cell/{own}".replace("kernel", "weights").replace(
            "bias", "biases"
        ),
        "tf1_names_0_12": lambda own: (
            "RNN/MultiRNNCell/Cell0/GRUCell/"
            + own.partition("/")[0].capitalize()
            + f"/{old[own.partition('/')[2]]}"
        ),
        "tf1_attention": lambda own: f"rnn/vec_att_gru_cell/{own}",  # has another equation
    }
    for case, called in names.items():
        renamed = {f"rnn/gru_cell/{own}": called(own) for own in gates}
        saved(folder / case, cases["gru_cell"], names=renamed)

    def block(x, w_ru="w_ru", w_c="w_c"):
        with v1.variable_scope("rnn/gru_cell"):
            sizes = {w_ru: (INPUTS + UNITS, 2 * UNITS), "b_ru": (2 * UNITS,)}
            sizes |= {w_c: (INPUTS + UNITS, UNITS), "b_c": (UNITS,)}
            weights = [v1.get_variable(name, shape) for name, shape in sizes.items()]
        h, states = tf.zeros((2, UNITS)), []
        for step in tf.unstack(x, axis=1):
            w, b, wc, bc = weights
            h = tf.raw_ops.GRUBlockCell(x=step, h_prev=h, w_ru=w, b_ru=b, w_c=wc, b_c=bc).h
            states.append(h)
        return tf.stack(states, 1)

    saved(folder / "tf1_block", block)
    saved(folder / "tf1_block_swapped", lambda x: block(x, "w_c", "w_ru"))

    def compatible(x):
        # The equations of CudnnCompatibleGRUCell, which TensorFlow 2 no longer has.
        sizes = {"gates/kernel": (INPUTS + UNITS, 2 * UNITS), "gates/bias": (2 * UNITS,)}
        for side, size in {"input": INPUTS, "hidden": UNITS}.items():
            sizes[f"candidate/{side}_projection/kernel"] = (size, UNITS)
            sizes[f"candidate/{side}_projection/bias"] = (UNITS,)
        scope = "cudnn_gru/rnn/multi_rnn_cell/cell_0/cudnn_compatible_gru_cell"
        with v1.variable_scope(scope):
            gk, gb, ik, ib, hk, hb = (v1.get_variable(name, size) for name, size in sizes.items())
        h, states = tf.zeros((2, UNITS)), []
        for step in tf.unstack(x, axis=1):
            r, u = tf.split(tf.sigmoid(tf.concat([step, h], 1) @ gk + gb), 2, 1)
            candidate = tf.tanh(step @ ik + ib + r * (h @ hk + hb))
            h = u * h + (1 - u) * candidate
            states.append(h)
        return tf.stack(states, 1)

    saved(folder / "tf1_cudnn_compatible", compatible)

    def opaque(x):
        v1.get_variable("cudnn_gru/opaque_kernel", (70,))
        return tf.identity(x)

    saved(folder / "tf1_cudnn_opaque", opaque)
    saved(folder / "tf1_saved_model", cases["gru_cell"], as_saved_model=True)


def saved(
    case, build, *, partitioner=None, names=None, as_saved_model=False, is_frozen=False, **options
):
    """Build a graph of TensorFlow 1, and save its variables."""
    import tensorflow as tf

    v1 = tf.compat.v1
    with tf.Graph().as_default() as graph, v1.Session(graph=graph) as session:
        v1.get_variable_scope().set_partitioner(partitioner)
        x = v1.placeholder(tf.float32, (2, STEPS, INPUTS), "x")
        y = tf.identity(build(x), "y")
        variables = v1.global_variables()
        session.run(v1.global_variables_initializer())
        rng = np.random.default_rng(0)
        for variable in variables:
            if variable.dtype.is_floating:
                value = rng.normal(size=tuple(variable.shape)) * 0.5
                variable.load(value.astype(variable.dtype.as_numpy_dtype), session)
        outputs = {"x": inputs(), "y": session.run(y, {x: inputs()})}
        if as_saved_model:
            builder = v1.saved_model.builder.SavedModelBuilder(str(case))
            builder.add_meta_graph_and_variables(session, ["serve"])
            builder.save()
            return expect(case, outputs, case / "variables/variables")
        case.mkdir()
        if is_frozen:
            content = v1.graph_util.convert_variables_to_constants(
                session, graph.as_graph_def(), ["y"]
            )
            (case / "frozen.pb").write_bytes(content.SerializeToString())
            for node in content.node:
                if node.op == "Const" and node.attr["dtype"].type in (1, 2, 14, 19):
                    outputs[f"v:{node.name}"] = tf.make_ndarray(node.attr["value"].tensor)
            return expect(case, outputs)
        by_name = {variable.op.name: variable for variable in variables}
        renamed = {names[name] if names else name: held for name, held in by_name.items()}
        saver = v1.train.Saver(variables if partitioner else renamed, **options)
        # One graph is enough to know such a file by.
        write_graph = case.name == "tf1_gru_cell"
        prefix = saver.save(
            session, str(case / "model.ckpt"), global_step=7, write_meta_graph=write_graph
        )
        return expect(case, outputs, prefix)


def frozen(folder):
    """Graphs whose variables are constants."""
    import tensorflow as tf

    v1 = tf.compat.v1

    def dynamic(x):
        return v1.nn.dynamic_rnn(v1.nn.rnn_cell.GRUCell(UNITS), x, dtype=tf.float32)[0]

    def layer(x):
        import tf_keras

        return tf_keras.layers.GRU(UNITS, return_sequences=True, name="gru")(x)

    saved(folder / "frozen_gru_cell", dynamic, is_frozen=True)
    saved(folder / "frozen_keras", layer, is_frozen=True)


# As TensorFlow.js' own library writes a model, and computes with it. Its layers have no
# reset_after, and another hard sigmoid than Keras 3.
_JAVASCRIPT = """
const tf = {...require('@tensorflow/tfjs-core'), ...require('@tensorflow/tfjs-layers')};
require('@tensorflow/tfjs-backend-cpu');
const fs = require('fs');
const [, , folder, given] = process.argv;
const {values, x, shape, from} = JSON.parse(fs.readFileSync(given));
const whole = x => ({dataSync: x.dataSync, v: Array.from(x.dataSync())}).v;

function made() {
  const model = tf.sequential({name: 'made'});
  const options = {units: 3, returnSequences: true, recurrentInitializer: 'zeros'};
  model.add(tf.layers.gru({...options, inputShape: [4, 2], name: 'encoder', trainable: false}));
  model.add(tf.layers.bidirectional({layer: tf.layers.gru({...options,
      recurrentActivation: 'sigmoid', activation: 'relu'}), mergeMode: 'mul', name: 'both'}));
  model.add(tf.layers.dense({units: 2, name: 'readout'}));
  return model;
}

async function read(path) {
  const json = JSON.parse(fs.readFileSync(path + '/model.json'));
  const bytes = Buffer.concat(json.weightsManifest.flatMap(g => g.paths).map(
      name => fs.readFileSync(path + '/' + name)));
  return tf.loadLayersModel({load: async () => ({
      modelTopology: json.modelTopology,
      weightSpecs: json.weightsManifest.flatMap(g => g.weights),
      weightData: bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length)})});
}

(async () => {
  const model = from ? await read(from) : made();
  if (!from) {
    let at = 0;
    model.setWeights(model.getWeights().map(w => {
      const own = values.slice(at, at += w.size);
      return tf.tensor(own, w.shape);
    }));
    await model.save({save: async one => {
      fs.mkdirSync(folder, {recursive: true});
      const paths = ['weights.bin'];
      fs.writeFileSync(folder + '/weights.bin', Buffer.from(one.weightData));
      fs.writeFileSync(folder + '/model.json', JSON.stringify({
          modelTopology: one.modelTopology, format: one.format, generatedBy: one.generatedBy,
          convertedBy: one.convertedBy, weightsManifest: [{paths, weights: one.weightSpecs}]}));
      return {modelArtifactsInfo: {}};
    }});
  }
  const y = model.predict(tf.tensor(x, shape));
  const weights = Object.fromEntries(model.weights.map(
      w => [w.originalName, {shape: w.shape, v: whole(w.read())}]));
  console.log(JSON.stringify({y: {shape: y.shape, v: whole(y)}, weights}));
})();
"""


def javascript(folder):
    """Models of TensorFlow.js: converted from Keras 2, and written by its own library."""
    import tf_keras

    if "TFJS" not in os.environ:
        print("TFJS is not set: the cases of TensorFlow.js are not made")
        return
    # What it imports of other kinds of models.
    for name in ("tensorflow_decision_forests", "tensorflow_hub"):
        sys.modules.setdefault(name, mock.MagicMock())
    sys.modules["tensorflowjs.converters.jax_conversion"] = mock.MagicMock()
    from tensorflowjs.converters import load_keras_model, save_keras_model

    ways = {
        "chain": (chain, {"weight_shard_size_bytes": 200}),
        "float16": (plain, {"quantization_dtype_map": {"float16": "*"}}),
        "uint8": (plain, {"quantization_dtype_map": {"uint8": "*"}}),
        "uint16": (plain, {"quantization_dtype_map": {"uint16": "*"}}),
        "before": (lambda keras: plain(keras, reset_after=False), {}),
    }
    for name, (build, options) in ways.items():
        case = folder / f"tfjs_{name}"
        model = build(tf_keras)
        randomize(model.weights)
        save_keras_model(model, str(case), **options)
        model = load_keras_model(str(case / "model.json"))  # quantized weights are others
        outputs = computed(model)
        if name == "before":  # the one that the library itself can run
            outputs["js"] = _node(folder, case, source=case)["y"]
        expect(case, outputs | {f"v:{weight.name}": weight for weight in model.weights})
    case = folder / "tfjs_library"
    values = np.random.default_rng(0).normal(size=200) * 0.5
    found = _node(folder, case, values=values.astype("f4").astype(float).tolist())
    expect(case, {"x": inputs(), **found})


def _node(folder, case, values=(), source=None):
    """Return what TensorFlow.js reads of a model, or of one that it makes, and computes."""
    import json

    given = folder.with_name("given.json")
    script = Path(os.environ["TFJS"]) / "case.cjs"
    script.write_text(_JAVASCRIPT)
    x = inputs()
    given.write_text(
        json.dumps(
            {
                "values": list(values),
                "x": x.ravel().tolist(),
                "shape": x.shape,
                "from": source and str(source),
            }
        )
    )
    out = subprocess.run(["node", script, case, given], check=True, capture_output=True, text=True)
    found = json.loads(out.stdout.splitlines()[-1])

    def array(held):
        return np.array(held["v"], np.float32).reshape(held["shape"])

    weights = {f"v:{name}": array(held) for name, held in found["weights"].items()}
    return {"y": array(found["y"]), **weights}


if __name__ == "__main__":
    target = Path(sys.argv[1]).resolve() if sys.argv[1:] else Path(tempfile.mkdtemp(), "files")
    shutil.rmtree(target, ignore_errors=True)
    main(target)
    pack(target)
