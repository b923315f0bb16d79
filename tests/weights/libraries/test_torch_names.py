"""GRUs among arrays under PyTorch's names: which are found, and what is said of the others."""

import numpy as np
import pytest

from jaxgru import Bidirectional, GRUParams, WeightsError
from jaxgru._weights.dtypes import Unread
from jaxgru._weights.libraries.finding import find
from jaxgru._weights.results import LoadedGRU

INPUTS, UNITS = 2, 3


def _arrays(prefix="", layers=1, sides=("",), *, bias=True, rows=3, dtype=np.float32):
    """Return random arrays under the names of a torch.nn.GRU, or of a layer of other rows."""
    random, found = np.random.default_rng(0), {}
    for layer in range(layers):
        inputs = INPUTS if layer == 0 else len(sides) * UNITS
        shapes = {"weight_ih": (rows * UNITS, inputs), "weight_hh": (rows * UNITS, UNITS)}
        if bias:
            shapes |= {"bias_ih": (rows * UNITS,), "bias_hh": (rows * UNITS,)}
        for side in sides:
            for kind, shape in shapes.items():
                name = f"{prefix}{kind}_l{layer}{side}"
                found[name] = random.normal(size=shape).astype(dtype)
    return found


def _cell(prefix=""):
    return {name.removesuffix("_l0"): array for name, array in _arrays(prefix).items()}


def _only(arrays, assume=()):
    """Return the one GRU that is found: a net, or the error."""
    [found] = find(arrays, dict(assume)).values()
    return found.net if isinstance(found, LoadedGRU) else found


@pytest.mark.parametrize("prefix", ["", "lstm.", "encoder.rnn.", "encoder/rnn/", "['a']['b']."])
def test_found_by_its_rows_whatever_its_name(prefix):
    name = {"": "gru", "['a']['b'].": "a/b"}.get(prefix, prefix[:-1])
    assert list(find(_arrays(prefix), {})) == [name]
    assert list(find(_cell(prefix), {})) == [name]


def test_structure():
    assert isinstance(_only(_arrays()), GRUParams)
    assert isinstance(_only(_arrays(sides=("", "_reverse"))), Bidirectional)
    stack = _only(_arrays(layers=11, sides=("", "_reverse")))
    assert [type(layer) for layer in stack] == [Bidirectional] * 11
    assert _only(_arrays(bias=False)).recurrent_bias is None


def test_order_is_the_files_but_that_of_numbers_is_theirs():
    prefixes = ["z.gru_10.", "z.gru_9.", "a.", "z.gru_1.", "layers.10.b.", "layers.2.b."]
    arrays = {}
    for prefix in prefixes:
        arrays |= _arrays(prefix)
    expected = ["z.gru_1", "z.gru_9", "z.gru_10", "a", "layers.2.b", "layers.10.b"]
    assert list(find(arrays, {})) == expected


def _without(*names, **options):
    return {k: v for k, v in _arrays(**options).items() if k not in names}


_STACK = {"layers": 3, "sides": ("", "_reverse")}
_MISSING = "is missing: expected both weights"
_NORMED = "as by a weight norm or a parametrization"


def _but(part):
    return {name: array for name, array in _arrays(**_STACK).items() if part not in name}


def _with(name, shape, dtype="f4", **options):
    return _arrays(**options) | {name: np.ones(shape, dtype)}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (_without("weight_hh_l0"), f"^weight_hh_l0 {_MISSING} and both biases in every layer$"),
        (_without("weight_hh_l0", bias=False), f"^weight_hh_l0 {_MISSING} in every layer$"),
        (_without("bias_hh_l0"), f"^bias_hh_l0 {_MISSING}"),
        (_without("bias_hh_l1", "bias_ih_l1", **_STACK), f"^bias_ih_l1 {_MISSING}"),
        (_without("weight_hh_l2_reverse", **_STACK), "^weight_hh_l2_reverse .* layer and direct"),
        (_but("_l1"), f"^weight_ih_l1 {_MISSING}"),
        (_arrays() | _cell(), "weights of a GRU and of a GRU cell are at one place"),
        (_with("weight_hh_l0", (10, 3)), r"hh_l0 has shape \(10, 3\): exp"),
        (_with("weight_hh_l0", 9), r"hh_l0 has shape \(9,\): expected \(3H,"),
        (_with("bias_hh_l0", (1, 9)), r"bias_hh_l0 has shape \(1, 9\): exp"),
        (
            _with("weight_ih_l1", (9, 2), layers=2),
            r"weight_ih_l1 has shape \(9, 2\): expected \(3H, H\) for 3 units",
        ),
        (
            _arrays() | {"weight_hh_l0": Unread((9, 3), "F8_E4M3")},
            "weight_hh_l0 has dtype F8_E4M3: expected floating-point numbers",
        ),
        (_with("bias_hh_l0", 9, "f2"), "expected one dtype in a GRU"),
        (
            _without("weight_hh_l0") | {"weight_hh_l0_g": np.ones((9, 1), "f")},
            f"weight_hh_l0 is stored as weight_hh_l0_g, {_NORMED}",
        ),
        (
            _with("weight_hh_l0_raw", (9, 3)),
            f"weight_hh_l0 is stored as weight_hh_l0_raw, {_NORMED}",
        ),
        (
            _without("weight_hh_l0")
            | {"parametrizations.weight_hh_l0.original": np.ones((9, 3), "f")},
            f"weight_hh_l0 is stored as weight_hh_l0_original, {_NORMED}",
        ),
    ],
)
def test_gru_that_is_not_whole(arrays, message):
    with pytest.raises(WeightsError, match=message):
        raise _only(arrays)


@pytest.mark.parametrize(
    ("assume", "message"),
    [
        ({"reset_after": False}, "reset_after is True in the file: expected the same in"),
        ({"recurrent_activation": "hard_sigmoid"}, "recurrent_activation is 'sigmoid' in the file"),
        ({"merge": "sum"}, "merge is 'concat' in the file"),
    ],
)
def test_pytorch_leaves_nothing_unsaid(assume, message):
    with pytest.raises(WeightsError, match=message):
        raise _only(_arrays(sides=("", "_reverse")), assume)
    found = find(_arrays(), {})["gru"]
    assert found.notes == ()


_PROJECTED = _arrays("p.", rows=4) | {"p.weight_hr_l0": np.ones((2, 3), "f")}
_LSTM = {"n.weight_hh_l0_g": np.ones((12, 1), "f"), "n.weight_hh_l0_v": np.ones((12, 3), "f")}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, r"no GRU is among its 0 arrays \(\): expected weight_ih_l0 \(3H, I\)"),
        (
            dict.fromkeys(("a", "b\n", "c", "d"), np.ones(2)),
            r"among its 4 arrays \('a', 'b\\n', 'c' and 1 more\): expected",
        ),
        (_arrays("x.", rows=4), r" and 1 more\), an LSTM called 'x': expected"),
        (_arrays("x.", rows=1), r" and 1 more\), a plain RNN called 'x': expected"),
        (_PROJECTED, r" and 2 more\), an LSTM with projections called 'p': expected"),
        (_LSTM, r"_v'\), an LSTM called 'n': expected"),
    ],
)
def test_no_gru_at_all(arrays, message):
    with pytest.raises(WeightsError, match=message):
        find(arrays, {})
    # Beside a GRU it does not matter.
    assert list(find(arrays | _arrays("g."), {})) == ["g"]


def test_two_libraries_in_one_place():
    haiku = {"w_i": (INPUTS, 9), "w_h": (UNITS, 9), "b": (9,)}
    found = find(_arrays("g.") | {f"g.{k}": np.ones(s, "f") for k, s in haiku.items()}, {})
    with pytest.raises(
        WeightsError, match="the file has GRUs of two libraries at one place: expec"
    ):
        raise found["g"]
