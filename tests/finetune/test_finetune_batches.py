"""The order of the data: a function of key and position, all sequences once per epoch."""

import itertools

import equal
import finetuning
import numpy as np
import pytest

import jaxgru.finetune as ft

LENGTHS = finetuning.LENGTHS


@pytest.mark.parametrize("window", [None, 4])
@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_a_start_position_continues_the_same_batches(key, window, lengths):
    data = finetuning.small_data(lengths=lengths)
    whole = list(itertools.islice(ft.batches(data, 3, key, window=window), 16))
    assert whole[-1][0].epoch >= 2
    for done in (1, 2, 5, 11):
        start = whole[done - 1][0]
        rest = itertools.islice(ft.batches(data, 3, key, window=window, start=start), 16 - done)
        for (position, batch), (expected_position, expected) in zip(
            rest, whole[done:], strict=True
        ):
            assert position == expected_position
            assert equal.same(batch, expected)


def test_an_epoch_has_every_sequence_once_in_a_new_order(key):
    data = finetuning.small_data(lengths=LENGTHS)
    orders = []
    for epoch in range(3):
        rows = []
        for position, batch in ft.batches(data, 3, key, start=ft.Position(epoch)):
            assert len(batch.inputs) == 3
            for xs, targets, length in zip(batch.inputs, batch.targets, batch.lengths, strict=True):
                (row,) = np.flatnonzero((data.inputs == xs).all(axis=(1, 2)))
                assert np.array_equal(targets, data.targets[row])
                assert length in (LENGTHS[row], 0)
                if length:
                    rows.append(int(row))
            if position.epoch > epoch:
                break
        assert sorted(rows) == [0, 1, 2, 4, 5, 6, 7]
        orders.append(rows)
    assert len(set(map(tuple, orders))) == 3


def test_windows_cover_a_batch_until_its_longest_sequence_ends(key):
    data = finetuning.small_data(lengths=LENGTHS)
    position, parts = ft.Position(), []
    for position, batch in ft.batches(data, 8, key, window=4):
        parts.append(batch)
        if position.epoch == 1:
            break
    (first, second) = parts
    assert (first.begins, second.begins) == (True, False)
    assert (first.inputs.shape[1], second.inputs.shape[1]) == (4, 2)
    steps = np.concatenate([first.lengths[:, None], second.lengths[:, None]], axis=1)
    assert sorted(map(tuple, steps.tolist())) == sorted(
        [(4, 2), (1, 0), (4, 0), (0, 0), (3, 0), (4, 2), (2, 0), (4, 1)]
    )
    # Sequences of up to four steps need no second window.
    short = data._replace(lengths=np.minimum(data.lengths, 4))
    position, _ = next(ft.batches(short, 8, key, window=4))
    assert position == ft.Position(epoch=1)
