"""Arrays in files: written ones are read back, in parts or whole, and bad files are refused.

The oracle is NumPy's own reading and writing, bit for bit: no tolerance is needed.
"""

import errno
import itertools
import math
import os
import warnings
import zipfile

import numpy as np
import pytest

from jaxgru._arrayfiles import (
    FORMATS,
    ArrayFileError,
    ArrayFileWarning,
    Window,
    create_array,
    open_array,
)

BATCHED = (".npy", ".npz")


def read(path, key="inputs"):
    with open_array(path, key) as reader:
        whole = reader.read_all()
        assert whole.shape == reader.shape
        return whole


def numbers(shape, dtype=np.float32):
    """Numbers with every digit in use, of very different sizes."""
    rng = np.random.default_rng(7)
    return (rng.standard_normal(shape) * 10.0 ** rng.integers(-9, 9, shape)).astype(dtype)


def windows(shape, rows, steps):
    """Cut an array ``(..., T, F)`` into windows of so many rows and steps."""
    total = math.prod(shape[:-2])
    for row, step in itertools.product(range(0, total, rows), range(0, shape[-2], steps)):
        yield Window(slice(row, min(row + rows, total)), slice(step, min(step + steps, shape[-2])))


def store(path, array):
    """Write an array with NumPy alone."""
    if path.suffix == ".npz":
        np.savez_compressed(path, inputs=array)
    else:
        np.save(path, array)


def assert_holds(path, array):
    """Assert that a file holds an array, read as a whole and in windows."""
    np.testing.assert_array_equal(read(path).astype(array.dtype), array)
    flat = array.reshape(math.prod(array.shape[:-2]), *array.shape[-2:])
    with open_array(path, "inputs") as reader:
        for window in windows(array.shape, 3, 5):
            part = reader.read(window).astype(array.dtype)
            np.testing.assert_array_equal(part, flat[window.rows, window.steps])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("ending", FORMATS)
def test_parts_written_in_any_order_come_back_bit_for_bit(tmp_path, ending, dtype):
    path = tmp_path / f"array{ending}"
    shapes = [(11, 3), (1, 1)]
    if ending in BATCHED:
        shapes += [(4, 11, 3), (2, 3, 11, 2), (0, 3), (2, 0, 3), (0, 4, 3)]
    for shape in shapes:
        array = numbers(shape, dtype)
        with create_array(path, shape, dtype, "inputs") as writer:
            for window in reversed(list(windows(shape, 2, 4))):
                writer.write(window, window.take(array))
            assert not path.exists()
        # Text is read in double precision: the digits must still single out the float32.
        assert_holds(path, array)
        assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
        path.unlink()


@pytest.mark.parametrize("ending", BATCHED)
def test_fortran_order_reads_as_the_same_array(tmp_path, ending):
    path = tmp_path / f"array{ending}"
    for shape in [(7, 3), (2, 7, 3), (2, 4, 7, 3)]:
        array = numbers(shape)
        store(path, np.asfortranarray(array))
        assert_holds(path, array)


def test_every_type_of_real_numbers_is_read(tmp_path):
    for dtype in ["<i2", ">i8", "u1", "?", "<f2", ">f4", "<f8"]:
        array = np.array([[0, 1], [1, 0]], dtype)
        np.save(tmp_path / "array.npy", array)
        np.testing.assert_array_equal(read(tmp_path / "array.npy"), array)


def test_an_npz_with_several_arrays_is_asked_for_its_key(tmp_path):
    path = tmp_path / "arrays.npz"
    np.savez(path, inputs=np.ones((2, 1)), h0=np.zeros(3))
    assert read(path, "h0").shape == (3,)
    with pytest.raises(
        ArrayFileError,
        match=r"its arrays are 'h0', 'inputs': expected one, or one called 'outputs'",
    ):
        read(path, "outputs")


# Text


def test_a_text_is_read_in_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr("jaxgru._arrayfiles.text._BLOCK", 100)
    path = tmp_path / "rows.csv"
    good = "a,b\n" + "".join(f"{i},{-i}\n\n# {i}\n" for i in range(500))
    for bad in ("7\n", "7\n" + "8\n" * 200):  # which by themselves are good rows
        path.write_text(good + bad)
        with pytest.raises(ArrayFileError, match="line 1502 has 1 columns: expected 2, as in the"):
            read(path)
    path.write_text(good)
    with open_array(path, "inputs") as reader:
        assert reader.shape == (500, 2)
        part = reader.read(Window(slice(0, 1), slice(490, 493)))
        np.testing.assert_array_equal(part, [[[490, -490], [491, -491], [492, -492]]])


@pytest.mark.parametrize(
    "content",
    [
        "1,2\n3,4\n",
        "1,2\n3,4",
        "1,2\r\n3,4\r\n",
        " 1 ,\t2\n3e0,+4.0\n",
        "\ufeff1,2\n3,4\n",
        "\ufefftime,force\n1,2\n3,4\n",
        '"time, s","force"\n1,2\n"3","4"\n',
        "# made by hand\n\ntime,force\n1,2\n # halfway\n3,4\n\n",
        "1;2\n3;4\n",
        "time;force\n1;2\n3;4\n",
    ],
)
def test_the_many_ways_to_write_a_csv(tmp_path, content):
    path = tmp_path / "numbers.csv"
    path.write_bytes(content.encode())
    np.testing.assert_array_equal(read(path), [[1, 2], [3, 4]])


def test_white_space_of_any_kind_and_numbers_that_are_not_finite(tmp_path):
    path = tmp_path / "numbers.txt"
    path.write_text("  1\t 2   nan\n-inf 5 6  \n")
    np.testing.assert_array_equal(read(path), [[1, 2, np.nan], [-np.inf, 5, 6]])


@pytest.mark.parametrize(
    ("content", "names", "warning"),
    [
        # pandas writes 0,1,2 over columns without names.
        ("0,1\n0.5,2.0\n", (), "0,1, which is read as numbers: begin it with # if it is a header"),
        ("0,1\n", (), "0,1, which"),
        ("0\n0.5\n", (), "0, which is read as numbers"),
        ("0\n1\n", (), None),
        ("0.0,1.0\n0.5,2.0\n", (), None),
        ("0,2\n0.5,2.0\n", (), None),
        (",a\n0,0.5\n", ("", "a"), None),
    ],
)
def test_a_first_line_that_could_be_a_header_is_a_warning(tmp_path, content, names, warning):
    path = tmp_path / "numbers.csv"
    path.write_text(content)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with open_array(path, "inputs") as reader:
            assert reader.names == names
            assert reader.shape[0] == content.count("\n") - bool(names)
    assert [one.category for one in caught] == [] if warning is None else [ArrayFileWarning]
    if warning is not None:
        assert str(caught[0].message).startswith(f"{path}: its first line is {warning}")


# Columns


def test_columns_by_name_and_by_number(tmp_path):
    path = tmp_path / "signals.csv"
    path.write_text("t,a,b\n7,1.5,2\n8,2.5,3\n")
    with open_array(path, "inputs") as reader:
        assert reader.columns("b, a") == [2, 1]
        assert reader.columns("t,3") == [0, 2]
        part = reader.only([1, 0])
        assert (part.shape, part.names) == ((2, 2), ("a", "t"))
        np.testing.assert_array_equal(part.read_all(), [[1.5, 7], [2.5, 8]])
        part = reader.only([2]).read(Window(slice(0, 1), slice(1, 2)))
        np.testing.assert_array_equal(part, [[[3]]])
        for wanted, message in {
            "ay": "it has no column 'ay': expected 1 to 3, or one of t, a, b",
            "4": "it has no column '4': expected 1 to 3",
            "b,3": "column '3' is given twice: expected once",
        }.items():
            with pytest.raises(ArrayFileError, match=message):
                reader.columns(wanted)


# Damaged files


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"\n\n# only a remark\n", "it has no rows of numbers"),
        ("a.csv", b"1,2\n\n3\n", "line 3 has 1 columns: expected 2, as in the first row"),
        ("a.csv", b"1,2\n3,four\n", "line 2, column 2 is 'four': expected a number"),
        ("a.csv", b"1,2\n3,\n", "line 2, column 2 is '': expected a number"),
        ("a.csv", b",\n1,2\n", "line 1, column 1 is '': expected a number"),
        ("a.csv", b"time,2\n1,2\n", "line 1, column 1 is 'time': expected a number"),
        ("a.csv", b"1_000,2\n", "line 1, column 1 is '1_000': expected a number"),
        ("a.csv", b"1,\xff\xfe\n", r"line 1, column 2 is '\\ufffd\\ufffd': expected a number"),
        ("a.csv", b"1,2\n" + b'"' + b"x" * 200_000, "line 2 has 1 columns"),
        (
            "a.csv",
            b"0,5;2\n1,5;3\n",
            "column 2 is '5;2': expected a number with a decimal point, and",
        ),
        (
            "a.csv",
            b"a;b\n0,5;2\n",
            "line 2, column 1 is '0,5': expected a number with a decimal po",
        ),
        ("a.txt", b"1 2\n3 0x10\n", "line 2, column 2 is '0x10': expected a number"),
        ("a.npy", b"", "it is damaged or not a .npy file: EOF"),
        ("a.npy", b"\x93NUMPY\x01\x00\x04\x00{'a'", "it is damaged or not a .npy file: "),
    ],
)
def test_a_damaged_file(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ArrayFileError, match=message) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


class Explosive:
    """Fails the test that unpickles it."""

    def __reduce__(self):
        return pytest.fail, ("an object was built from a file",)


@pytest.mark.parametrize("ending", BATCHED)
@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([Explosive()], dtype=object), "[Oo]bject"),
        (np.array([[1 + 2j]]), "it has dtype complex128: expected real numbers"),
        (np.array([["1"]]), "it has dtype <U1: expected real numbers"),
        (np.zeros(3, [("a", "f4"), ("b", "f4")]), "expected real numbers"),
        (np.zeros((2, 2), "datetime64[s]"), "expected real numbers"),
    ],
)
def test_arrays_that_hold_no_real_numbers(tmp_path, ending, array, message):
    path = tmp_path / f"array{ending}"
    store(path, array)
    with pytest.raises(ArrayFileError, match=message):
        read(path)


@pytest.mark.parametrize("shape", [(3, 4), (10**9, 10**9), (10**30, 2), (-2, -3)])
def test_a_header_that_declares_more_than_the_file_has(tmp_path, shape):
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    with open(tmp_path / "array.npy", "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        file.write(b"\0" * 40)
    with zipfile.ZipFile(tmp_path / "array.npz", "w") as archive:
        archive.write(tmp_path / "array.npy", "inputs.npy")
    for ending in BATCHED:
        with pytest.raises(ArrayFileError, match=r"damaged|larger than memory"):
            read(tmp_path / f"array{ending}")


@pytest.mark.parametrize("ending", BATCHED)
def test_damage_anywhere_gives_an_error_of_ours_or_none(tmp_path, ending):
    path = tmp_path / f"array{ending}"
    array = numbers((6, 2))
    store(path, array)
    good = path.read_bytes()
    messages = []
    for place in range(len(good)):
        for bad in (good[:place], good[:place] + bytes([good[place] ^ 0x55]) + good[place + 1 :]):
            path.write_bytes(bad)
            # Some bytes do not matter, so an array may come out; nothing but ArrayFileError may.
            try:
                read(path)
            except ArrayFileError as error:
                messages.append(str(error))
    assert len(messages) > len(good)  # cut short, it is never right
    assert not any("\n" in message for message in messages)


def test_directories_and_pipes(tmp_path):
    (tmp_path / "folder.npy").mkdir()
    with pytest.raises(ArrayFileError, match="it is a directory: expected a file of numbers"):
        read(tmp_path / "folder.npy")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.csv")
        with pytest.raises(ArrayFileError, match="it is not a regular file"):
            read(tmp_path / "pipe.csv")


@pytest.mark.parametrize("ending", FORMATS)
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, ending):
    path = tmp_path / f"array{ending}"
    path.write_bytes(b"what was there before")
    array, reserved = (path, (1000, 3), np.float32, "outputs"), []

    def full(file, offset, size):
        reserved.append((offset, size))
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(ZeroDivisionError), create_array(*array) as writer:  # noqa: PT012
        writer.write(Window(slice(0, 1), slice(0, 1)), np.ones((1, 1, 3), np.float32))
        raise ZeroDivisionError
    if hasattr(os, "posix_fallocate"):
        # A full disk is an error before the work.
        monkeypatch.setattr(os, "posix_fallocate", full)
        message = "No space left on device"
        with pytest.raises(OSError, match=message) as caught, create_array(*array):
            pytest.fail("the work began")
        assert caught.value.filename == str(path)
        # The numbers, and in front of them the header that NumPy pads to a multiple of 64 bytes.
        assert reserved == [(0, 12000 + (128 if ending == ".npy" else 0))]
    assert path.read_bytes() == b"what was there before"
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
