import pytest
from tensorflow_files import case

import jaxgru

_REFUSED = {
    "tf1_format_v1/model.ckpt-7": "of the first format.*tf.train.load_checkpoint",
    "tf1_gru_cell/model.ckpt-7.meta": r"graph of a TensorFlow checkpoint.*load the \.index file",
    "keras2_saved_chain/keras_metadata.pb": "configuration of a TensorFlow SavedModel.*the folder",
}


@pytest.mark.parametrize("path", _REFUSED)
def test_files_without_readable_weights_say_what_they_are(path, tmp_path):
    case(path.partition("/")[0], tmp_path)
    with pytest.raises(jaxgru.WeightsError, match=_REFUSED[path]):
        jaxgru.load(tmp_path / path)


@pytest.mark.parametrize("name", ["tf1_gru_cell", "tf1_saved_model", "keras2_weights_plain"])
def test_they_are_not_written_into(name, tmp_path):
    folder, _ = case(name, tmp_path)
    assume = {"activation": "tanh", "recurrent_activation": "sigmoid", "reverse": False}
    net = jaxgru.load(folder, assume=assume)
    with pytest.raises(jaxgru.WeightsError, match=r"numpy.savez, .* set_weights.*docs/from-tens"):
        jaxgru.save(net, tmp_path / "new", into=folder, assume=assume)
