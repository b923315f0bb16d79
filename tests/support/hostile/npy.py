"""Hostile .npy files, as entries of npz files."""

import os
import pickle
import struct

import numpy as np

from hostile.cases import refused, shell
from hostile.sound import archive, npy, npy_header, npz_entries


class _Runs:
    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@refused("wMatrix has dtype .*O")
def object_array(folder):
    """An array of Python objects, which is a pickle that runs a program."""
    array = np.array([_Runs(shell(folder))], object)
    return archive(npz_entries(wMatrix=npy(array)))


@refused("wMatrix is damaged .*it begins with")
def pickle_for_an_array(folder):
    """A pickle where an array should be, which old readers of npz load."""
    return archive(npz_entries(wMatrix=pickle.dumps(_Runs(shell(folder)))))


@refused("wMatrix is damaged .*header has no dtype")
def header_that_is_a_program(folder):
    """A header that is an expression, for a reader that evaluates it."""
    text = f"__import__('os').system({shell(folder)!r})\n".encode()
    header = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text
    return archive(npz_entries(wMatrix=header + bytes(72)))


@refused("wMatrix is damaged .*header has 4294967295 bytes")
def header_of_4_gibibytes(folder):
    """A header of 4 GiB by its own length."""
    return archive(npz_entries(wMatrix=b"\x93NUMPY\x02\x00\xff\xff\xff\xff{"))


@refused("wMatrix has dtype")
def records(folder):
    """An array of records with an object among their fields."""
    header = npy_header((2, 9), [("a", "<f4"), ("b", "|O")])
    return archive(npz_entries(wMatrix=header + bytes(12 * 18)))


@refused("wMatrix has dtype .*V1073741824")
def type_of_a_gibibyte(folder):
    """A type of which a single element is a gibibyte."""
    return archive(npz_entries(wMatrix=npy_header((1,), f"|V{2**30}")))
