"""Weights that PyTorch computes from others: pruned, weight-normed, and those of other kinds."""

import numpy as np
import pytest

import jaxgru

pytestmark = [
    pytest.mark.live,
    pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:RNN module weights are not part of single:UserWarning"),
]
of_torch = pytest.mark.filterwarnings(
    "ignore:torch:UserWarning", "ignore:torch:FutureWarning", "ignore::DeprecationWarning"
)
NAME = "weight_hh_l1_reverse"


@pytest.fixture
def torch():
    found = pytest.importorskip("torch")
    found.manual_seed(0)
    return found


def _read(gru):
    """Return the weight that is read, in PyTorch's order, and the one that PyTorch computes."""
    read = np.asarray(jaxgru.from_torch(gru)[1].backward.recurrent_kernel).T
    z, r, n = np.split(read, 3)
    return np.concatenate([r, z, n]), getattr(gru, NAME).detach().numpy()


def _gru(torch):
    return torch.nn.GRU(3, 4, num_layers=2, bidirectional=True)


def test_a_pruned_weight_is_exact(torch):
    from torch.nn.utils import prune

    gru = prune.l1_unstructured(_gru(torch), NAME, 0.3)
    read, expected = _read(gru)
    np.testing.assert_array_equal(read, expected)
    assert np.count_nonzero(read == 0) == round(0.3 * read.size)


@pytest.mark.parametrize("dim", [0, 1, None])
@pytest.mark.parametrize("is_new", [True, False])
def test_a_weight_norm_is_within_the_rounding_of_pytorch(torch, dim, is_new):
    utils = torch.nn.utils
    norm = utils.parametrizations.weight_norm if is_new else utils.weight_norm
    gru = norm(_gru(torch), NAME, dim)
    norms = getattr(gru.parametrizations, NAME).original0 if is_new else getattr(gru, f"{NAME}_g")
    with torch.no_grad():
        norms *= 1.7
        if not is_new:  # computed by a hook before each call
            gru(torch.ones(2, 1, 3))
    with pytest.warns(jaxgru.WeightsWarning, match=f"{NAME} was computed from its weight norm"):
        read, expected = _read(gru)
    # PyTorch computes the norm, the quotient and the product in float32: some of its roundings.
    np.testing.assert_allclose(read, expected, rtol=3e-7, atol=0)
    assert abs(read - expected / 1.7).max() > 0.1


@pytest.mark.parametrize("kind", ["old spectral", "spectral_norm", "orthogonal"])
def test_other_parametrizations_are_refused(torch, kind):
    utils = torch.nn.utils
    old = utils.spectral_norm
    change = old if kind == "old spectral" else getattr(utils.parametrizations, kind)
    gru = change(_gru(torch), NAME)
    with pytest.raises(
        jaxgru.WeightsError, match=f"{NAME} is stored as .*: expected the weight it"
    ):
        jaxgru.from_torch(gru)


@of_torch
def test_a_quantized_gru_is_said_to_be_one_and_can_be_read_dequantized(torch, tmp_path):
    gru = torch.nn.GRU(3, 4, bidirectional=True)
    model = torch.nn.Sequential(gru, torch.nn.Linear(8, 2))
    kinds = {torch.nn.GRU, torch.nn.Linear}
    quantized = torch.ao.quantization.quantize_dynamic(model, kinds, dtype=torch.qint8)
    torch.save(quantized.state_dict(), tmp_path / "state.pt")
    torch.save(quantized, tmp_path / "module.pt")
    for read in (
        lambda: jaxgru.from_torch(quantized),
        lambda: jaxgru.load(tmp_path / "state.pt"),
        lambda: jaxgru.load(tmp_path / "module.pt"),
    ):
        with pytest.raises(jaxgru.WeightsError, match=r"quantized.*get_weight"):
            read()
    # The step that the error names.
    weights = {k: v.dequantize() for k, v in quantized[0].get_weight().items()}
    torch.save(weights | quantized[0].get_bias(), tmp_path / "float.pt")
    net = jaxgru.load(tmp_path / "float.pt")
    step = max(float(v.q_scale()) for v in quantized[0].get_weight().values())
    exact = np.asarray(jaxgru.from_torch(gru).backward.kernel)
    assert 0 < abs(np.asarray(net.backward.kernel) - exact).max() <= step / 2 * 1.001


@of_torch
def test_a_folder_of_distributed_checkpoints_names_the_step_that_makes_a_file(torch, tmp_path):
    dcp = pytest.importorskip("torch.distributed.checkpoint")
    from torch.distributed.checkpoint.format_utils import dcp_to_torch_save

    gru, folder, path = _gru(torch), tmp_path / "dcp", tmp_path / "model.pt"
    dcp.save({"model": gru.state_dict()}, checkpoint_id=str(folder), no_dist=True)
    with pytest.raises(jaxgru.WeightsError, match="dcp_to_torch_save"):
        jaxgru.load(folder)
    dcp_to_torch_save(str(folder), str(path))
    expected = gru.weight_hh_l0.detach().numpy().T
    kernel = np.asarray(jaxgru.load(path)[0].forward.recurrent_kernel)
    np.testing.assert_array_equal(kernel[:, 8:], expected[:, 8:])
