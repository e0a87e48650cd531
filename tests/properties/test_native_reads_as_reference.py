"""The native reader of record batches takes what the reader in Python takes, byte for byte, and refuses the rest for the same reason."""

import random
from typing import Any

import pytest
from batch_mutations import forms, mutated, plain_batch

from hub.broker.batches import UnreadableBatch, read_records

native: Any = pytest.importorskip("hub.exchange._native", reason="the native kernel is not built")
ROUNDS = 250
MUTATIONS_OF_A_FORM = 4


def _in_python(batch: bytes) -> Any:
    try:
        return [(row.offset, row.key, row.value) for row in read_records(batch)]
    except UnreadableBatch as refusal:
        return refusal.code


def _natively(batch: bytes) -> Any:
    try:
        return native.read_records(batch)
    except ValueError as refusal:
        return str(refusal)


@pytest.mark.parametrize("seed", range(4))
def test_both_readers_say_the_same_of_whole_and_of_broken_batches(seed: int) -> None:
    """A batch that one kernel reads and the other sets aside would deliver different records."""
    rng, read = random.Random(seed), 0
    for _ in range(ROUNDS // 4):
        for form in forms(plain_batch(rng)):
            whole = _in_python(form)
            assert isinstance(whole, list)
            assert _natively(form) == whole
            for _ in range(MUTATIONS_OF_A_FORM):
                broken = mutated(rng, form)
                expected = _in_python(broken)
                assert _natively(broken) == expected, broken.hex()
                read += isinstance(expected, list)
    assert read > 50, "some mutations must still be readable, or nothing is compared"
