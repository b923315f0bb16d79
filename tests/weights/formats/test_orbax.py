"""Checkpoints of Orbax, in every way that it writes them, against the arrays that were saved."""

import functools
import json
import shutil

import cases
import chex
import jax
import jax.numpy as jnp
import pytest

import jaxgru


def _orbax():
    return pytest.importorskip("orbax.checkpoint")  # not before a test: it takes seconds


@pytest.fixture(scope="module")
def params():
    return cases.random_params(jax.random.key(0), 3, 4)


@pytest.fixture(scope="module")
def tree(params):
    gru = {"w_i": params.kernel, "w_h": params.recurrent_kernel, "b": params.bias}
    return {"params": {"gru": gru, "head": jnp.ones(3)}, "step": 3, "opt_state": [{"gru": gru}]}


def _write(folder, tree, **options):
    """Write a checkpoint with options of its handler: another layout of its arrays."""
    ocp = _orbax()
    ocp.Checkpointer(ocp.PyTreeCheckpointHandler(**options)).save(folder, tree)


def _write_step(folder, tree, **more):
    ocp = _orbax()
    with ocp.CheckpointManager(folder) as manager:
        args = ocp.args.StandardSave(tree)
        if more:
            args = ocp.args.Composite(state=args, about=ocp.args.JsonSave(more))
        manager.save(7, args=args)


WAYS = {
    "standard": _write,
    "zarr": functools.partial(_write, use_ocdbt=False),
    "zarr3": functools.partial(_write, use_zarr3=True),
    "step": _write_step,
    "step of items": functools.partial(_write_step, a=1),
}


@pytest.mark.parametrize("way", WAYS)
def test_ways_of_writing(tree, params, tmp_path, way):
    folder = tmp_path / "checkpoint"
    WAYS[way](folder, tree)
    found = jaxgru.load_all(folder)
    # The optimizer's own copy of the arrays is passed over.
    assert list(found) == ["params/gru"]
    gru = jaxgru.from_haiku({"gru": tree["params"]["gru"]})
    chex.assert_trees_all_equal(found["params/gru"], gru)


def test_bfloat16_and_several_items(tree, tmp_path):
    half = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.bfloat16), tree["params"])
    with _orbax().CheckpointManager(tmp_path / "run") as manager:
        for step in (1, 10):
            args = {
                "one": _orbax().args.StandardSave(half),
                "two": _orbax().args.StandardSave(half),
            }
            manager.save(step, args=_orbax().args.Composite(**args))
    with pytest.raises(jaxgru.WeightsError, match=r"the steps 1, 10: expected one .*/run/10$"):
        jaxgru.load(tmp_path / "run")
    found = jaxgru.load_all(tmp_path / "run" / "10")
    assert list(found) == ["one/gru", "two/gru"]
    assert found["one/gru"].kernel.dtype == jnp.bfloat16


@pytest.fixture(scope="module")
def written(tree, tmp_path_factory):
    folder = tmp_path_factory.mktemp("orbax") / "zarr"
    _write(folder, tree, use_ocdbt=False)
    return folder


def _huge(folder):
    units = 2**28
    shapes = {"w_h": [units, 3 * units], "w_i": [2, 3 * units], "b": [3 * units]}
    for name, shape in shapes.items():
        sizes = {"shape": shape, "chunks": shape}
        path = folder / f"params.gru.{name}" / ".zarray"
        path.write_text(json.dumps(json.loads(path.read_text()) | sizes))


DAMAGES = {
    "no names": (lambda f: (f / "_METADATA").write_text("{}"), "_METADATA has no tree_metadata"),
    "a list": (lambda f: (f / "_METADATA").write_text("[]"), "_METADATA has no tree_metadata"),
    "no JSON": (lambda f: (f / "_METADATA").write_text("{"), "_METADATA is not JSON"),
    "no keys": (
        lambda f: (f / "_METADATA").write_text('{"tree_metadata": {"a": {}}}'),
        "_METADATA has an entry without keys",
    ),
    "no metadata": (lambda f: (f / "_METADATA").unlink(), "it has no _METADATA: expected one"),
    "a long one": (
        lambda f: (f / "_METADATA").write_bytes(bytes(2**24 + 1)),
        "_METADATA has 16777217 bytes: expected at most",
    ),
    "a chunk missing": (
        lambda f: (f / "params.gru.w_h" / "0.0").unlink(),
        "'params/gru/w_h' is missing or damaged",
    ),
    "a chunk cut short": (
        lambda f: (f / "params.gru.w_h" / "0.0").write_bytes(b"x"),
        "'params/gru/w_h' is missing or damaged",
    ),
    "an array missing": (lambda f: shutil.rmtree(f / "params.gru.w_h"), "is missing or damaged"),
    "a huge array": (_huge, "'params/gru/w_h' declare 864691128455135232 bytes: expected at most"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage(written, tmp_path, name):
    damage, message = DAMAGES[name]
    folder = tmp_path / "checkpoint"
    shutil.copytree(written, folder)
    damage(folder)
    with pytest.raises(jaxgru.WeightsError) as error:
        jaxgru.load(folder)
    assert str(error.value).startswith(f"{folder}: ")
    assert message in str(error.value)
    assert str(error.value).isprintable()


def test_without_the_library(written, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tensorstore", None)
    with pytest.raises(ImportError, match=r'pip install "jaxgru\[orbax\]"'):
        jaxgru.load(written)
