"""The fuzz harness finds what a reader may not do, and finds none of it in ours.

The readers here are broken on purpose; the campaign of 10,000 mutations a format is a step of its
own: ``python -m fuzz``.
"""

import os
import re
import signal
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

import jaxgru

# Keras, haiku and others build their layers in their own way.
pytestmark = pytest.mark.usefixtures("default_promotion")

ROOT = Path(__file__).parents[2]
NAMES = (
    "npz", "npz-jax", "msgpack", "safetensors", "safetensors-torch", "keras", "keras-weights",
    "keras-weights-newer", "keras-legacy", "keras-legacy-weights", "torch", "torch-legacy",
    "torch-objects", "pickle", "json", "onnx",
)  # fmt: skip
# Of each format; the full count is for the command.
COUNT = 150


@pytest.fixture(autouse=True)
def _fuzz_on_path(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)


def raise_another_error(path):
    raise KeyError("weights")


def raise_of_several_lines(path):
    raise jaxgru.WeightsError(f"{path}: one\ntwo")


def raise_without_path(path):
    raise jaxgru.WeightsError("it is damaged")


def hide_want_of_memory(path):
    try:
        np.ones(2**40)
    except MemoryError:
        raise jaxgru.WeightsError(f"{path}: it is damaged") from None


def warn(path):
    warnings.warn("look out", UserWarning, stacklevel=1)


def give_nothing(path):
    return {}


def give_unfit_net(path):
    from jaxgru._weights.results import Found

    return {"gru": Found((_layer(2, 3), _layer(2, 3)))}


def run_a_program():
    os.system("true")


def read_another_file():
    Path("/etc/hostname").read_text()


def evaluate_text():
    eval("1 + 1")


def take_memory():
    bytearray(600 * 2**20)


MISDEEDS = {
    run_a_program: "Forbidden in test_fuzz.py:run_a_program: os.system",
    read_another_file: "open with",
    evaluate_text: "exec with",
    take_memory: "MemoryError in test_fuzz.py:take_memory",
}
_open_misdeeds = list(MISDEEDS)


def do_another_misdeed(path):
    """Do one at each read, and tell of damage where an exception came of it."""
    try:
        _open_misdeeds.pop(0)()
    except Exception as error:
        raise jaxgru.WeightsError(f"{path}: it is damaged") from error


def hang(path):
    signal.setitimer(signal.ITIMER_PROF, 0.1)  # for the test not to wait for the true limit
    while True:
        pass


def wait(path):
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    time.sleep(1000)


def crash_now_and_then(path):
    """A crash at some files, a refusal at others: all by the file's content."""
    content = path.read_bytes()
    if _makes_crash(content):
        os.kill(os.getpid(), signal.SIGSEGV)
    raise jaxgru.WeightsError(f"{path}: it ends in {content[-1]}")


def _layer(inputs, units):
    rng = np.random.default_rng(0)
    shapes = {"kernel": (inputs, 3 * units), "recurrent_kernel": (units, 3 * units)}
    arrays = {name: rng.normal(size=shape).astype("f4") for name, shape in shapes.items()}
    return jaxgru.GRUParams(**arrays, bias=None, recurrent_bias=None)


@pytest.mark.parametrize(
    ("reader", "cause"),
    [
        (raise_another_error, "KeyError"),
        (raise_of_several_lines, "one line"),
        (raise_without_path, "does not begin with the path"),
        (hide_want_of_memory, "MemoryError in numeric.py:ones"),
        (warn, "UserWarning"),
        (give_nothing, "nothing was loaded"),
        (give_unfit_net, "does not fit together"),
    ],
)
def test_judge_finds(reader, cause, tmp_path):
    from fuzz.judging import FAILED, judge

    verdict = judge(tmp_path / "weights", reader)
    assert verdict.kind == FAILED
    assert cause in verdict.reason


@pytest.mark.slow
def test_worker_finds_what_is_forbidden(tmp_path):
    summary = _campaign(do_another_misdeed, tmp_path, count=len(MISDEEDS))
    found = list(summary.failures)
    assert len(found) == len(MISDEEDS)
    for cause, expected in zip(found, MISDEEDS.values(), strict=True):
        assert expected in cause


@pytest.mark.slow
@pytest.mark.parametrize(
    ("reader", "cause"),
    [
        (hang, "it took more than 5 s of processor time"),
        (wait, "it took more than 60 s"),
    ],
)
def test_worker_that_hangs_is_ended(reader, cause, tmp_path):
    summary = _campaign(reader, tmp_path, count=1)
    assert list(summary.failures) == [cause]
    assert reader.__name__ in summary.failures[cause].verdict.detail


@pytest.mark.slow
def test_campaign_goes_on_after_a_crash(tmp_path):
    summary = _campaign(crash_now_and_then, tmp_path, count=12)
    assert summary.done == 12
    crashing = [number for number in range(12) if _makes_crash(summary.task.content(number))]
    assert crashing
    assert list(summary.failures) == ["the process crashed by SIGSEGV"]
    (failure,) = summary.failures.values()
    assert (failure.number, failure.times) == (crashing[0], len(crashing))
    assert list(summary.refusals) == ["it ends in N"]


# Those whose real files take no other library to be made.
QUICK = {"npz", "safetensors", "safetensors-torch", "json"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name not in QUICK)) for name in NAMES]
)
def test_format_stands_a_few_mutations(name, tmp_path):
    # In this process, unlike the command's: a worker takes longer to start than these to be read.
    from fuzz.judging import FAILED, LOADED, REFUSED, judge

    task, again = (_task(name, tmp_path) for _ in range(2))
    contents = [task.content(number) for number in range(20)]
    assert contents == [again.content(number) for number in range(20)]
    assert len(set(contents)) > 10
    path = tmp_path / "mutated"
    kinds = set()
    for number in range(COUNT):
        path.write_bytes(task.content(number))
        verdict = judge(path)
        assert verdict.kind != FAILED, f"mutation {number}: {verdict.reason}\n{verdict.detail}"
        kinds.add(verdict.kind)
    assert kinds == {LOADED, REFUSED}


def test_every_format_is_named_here():
    from fuzz import formats

    assert formats.NAMES == NAMES


@pytest.mark.slow
def test_command_prints_a_table_and_saves_what_failed(tmp_path, monkeypatch, capsys):
    from fuzz import __main__, campaign, worker

    def with_another_reader(*arguments):
        return worker.Task(*arguments, read=raise_another_error)

    arguments = ["fuzz", "--format", "npz", "--count", "30", "--out", str(tmp_path)]
    monkeypatch.setattr("sys.argv", arguments)
    assert __main__.main() == 0
    assert re.search(r"npz +30 ", capsys.readouterr().out)
    assert not list(tmp_path.iterdir())

    monkeypatch.setattr(campaign, "Task", with_another_reader)
    assert __main__.main() == 1
    printed = capsys.readouterr().out
    assert "KeyError in test_fuzz.py:raise_another_error" in printed
    assert "--format npz --seed 0 --start 0 --count 1" in printed
    (saved,) = tmp_path.iterdir()
    monkeypatch.setattr("sys.argv", ["fuzz", "--read", str(saved)])
    assert __main__.main() == 0  # for our own reader the file is none that fails


def _task(name, folder):
    from fuzz.formats import FORMATS
    from fuzz.worker import Task

    (chosen,) = (known for known in FORMATS if known.name == name)
    if chosen.missing():
        pytest.skip(f"{', '.join(chosen.missing())} is not installed")
    return Task(name, chosen.make_files(), 0, 0, 0, folder)


def _makes_crash(content):
    return content[-1] != 0  # as where a cut was made


def _campaign(reader, folder, count):
    from fuzz.campaign import run
    from fuzz.seeds.arrays import npz_of_the_seed
    from fuzz.worker import Task

    return run(Task("npz", npz_of_the_seed()[:1], 0, 0, count, folder, reader))
