"""Few cases in which every two values of any two options meet."""

import itertools
import random


def pairwise(options, impossible=frozenset(), given=(), seed=0):
    """Return cases, ``{option: value}``, that hold every possible pair of values of two options.

    ``options`` maps each option to its values, ``impossible`` holds pairs that never go together:
    ``frozenset({(option, value), (option, value)})``, and ``given`` the first cases. Each other
    case begins with a pair that no case has yet, and takes for one option after the other the value
    that adds most new pairs, or the first of those that do.
    """
    draw = random.Random(seed)
    cases = list(given)
    held = set().union(*map(_pairs_in, cases))
    missing = dict.fromkeys(  # in order, so that seeds decide
        pair for pair in pairs_of(options, impossible) if pair not in held
    )
    while missing:
        rows = [_row(options, impossible, missing, draw) for _ in range(8)]
        row = max(filter(None, rows), key=lambda row: len(_pairs_in(row) & missing.keys()))
        for pair in _pairs_in(row) & missing.keys():
            del missing[pair]
        cases.append({name: row[name] for name in options})
    return cases


def pairs_of(options, impossible=frozenset()):
    """Return every possible pair of values of two options."""
    by_option = [[(name, value) for value in values] for name, values in options.items()]
    return [
        pair
        for one, other in itertools.combinations(by_option, 2)
        for pair in map(frozenset, itertools.product(one, other))
        if pair not in impossible
    ]


def _row(options, impossible, missing, draw):
    """Return a case with at least one missing pair, or None at a dead end."""
    row = dict(draw.choice(list(missing)))
    names = [name for name in options if name not in row]
    draw.shuffle(names)
    for name in names:

        def new_pairs(value, name=name):
            return {frozenset({(name, value), chosen}) for chosen in row.items()}

        values = [value for value in options[name] if not new_pairs(value) & impossible]
        if not values:
            return None
        row[name] = max(values, key=lambda value: len(new_pairs(value) & missing.keys()))
    return row


def _pairs_in(row):
    return {frozenset(pair) for pair in itertools.combinations(row.items(), 2)}
