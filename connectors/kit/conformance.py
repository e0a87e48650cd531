"""What every source must hold, as tests: inherit ``SourceConformance`` and give it a ``rig`` fixture. Real broker, real process.

A rig runs the connector as its users do, in a process of its own that can be killed, and reads the topic with a client that did
not write it. A new source is one rig; the promises are the same for all.
"""

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple, Protocol

from connectors.kit.positions import POSITION_BYTES_MAX
from connectors.kit.records import SOURCE_ID_BYTES_MAX

ROWS: Final = 300
"""Of an input here: more than one transaction, see ``SourceRig.run``."""
KILLS_BETWEEN_ROWS: Final = 3
INPUTS: Final = 40
POINTS: Final = ("connector.row_sent", "connector.before_commit", "connector.after_commit")


class Published(NamedTuple):
    """One committed record, in the order of its partition."""

    partition: int
    source_id: str
    row: int
    """What the rig's rows carry: the number given to ``drop``."""


class SourceRig(Protocol):
    """How the suite drives one source. Rows are numbers: the rig makes whatever its source reads out of them."""

    def drop(self, rows: Sequence[int], *, name: str) -> None:
        """Put an input there that holds a row for each number, in this order; the same numbers are the same content."""

    def run(self) -> int:
        """Run once to the end, with transactions of at most 100 rows; returns the exit code."""

    def kill_at(self, point: str, *, visit: int) -> None:
        """Run until a failpoint is visited for the ``visit``-th time, then ``kill -9``."""

    def terminate_at(self, point: str, *, visit: int) -> int:
        """Run until a failpoint is visited, send SIGTERM, let it go on; returns the exit code."""

    def published(self) -> list[Published]:
        """Read every committed record with a foreign client."""

    def position(self) -> str:
        """Return the metadata that Kafka holds."""

    def open_transactions(self) -> int:
        """Return how many transactions are open on the cluster under this connector's id."""

    def open_foreign_transaction(self) -> Callable[[], None]:
        """Let another producer write to the topic and leave its transaction open; returns what ends it by an abort."""


class SourceConformance:
    """Promises of a source. Subclasses are collected by pytest; the fixture ``rig`` is theirs."""

    def test_every_row_is_published_once_and_in_the_order_of_its_partition(self, rig: SourceRig) -> None:
        """Order within a partition is all that a consumer can build on."""
        rig.drop(range(ROWS), name="first")
        _hold(rig.run() == 0, "the run ends well")
        _hold_each_once(rig.published(), range(ROWS))

    def test_an_input_dropped_again_under_another_name_is_a_no_op(self, rig: SourceRig) -> None:
        """People drop files twice; whoever pays per record must not pay twice."""
        rig.drop(range(ROWS), name="first")
        rig.run()
        rig.drop(range(ROWS), name="second")
        _hold(rig.run() == 0, "the second run ends well")
        _hold_each_once(rig.published(), range(ROWS))

    def test_a_kill_at_any_point_of_a_transaction_loses_and_doubles_nothing(self, rig: SourceRig) -> None:
        """Between rows, between sending and committing, and right after the commit, in the first and in a later transaction."""
        rig.drop(range(ROWS), name="first")
        rig.drop(range(ROWS, 2 * ROWS), name="second")
        for point in POINTS:
            rig.kill_at(point, visit=1)
        rig.kill_at("connector.before_commit", visit=2)
        _hold(rig.run() == 0, "the last run ends well")
        _hold_each_once(rig.published(), range(2 * ROWS))

    def test_kills_between_rows_anywhere_lose_and_double_nothing(self, rig: SourceRig) -> None:
        """The rows at which it dies are drawn; the seed is in the message."""
        seed = random.randrange(2**32)  # noqa: S311 - a place to die is no secret
        dice = random.Random(seed)  # noqa: S311 - same
        rig.drop(range(ROWS), name="first")
        for _ in range(KILLS_BETWEEN_ROWS):
            rig.kill_at("connector.row_sent", visit=dice.randrange(1, 40))
        rig.run()
        _hold_each_once(rig.published(), range(ROWS), about=f"seed {seed}")

    def test_sigterm_finishes_the_transaction_and_leaves_none_open(self, rig: SourceRig) -> None:
        """An open transaction hides what others committed until its time-out."""
        rig.drop(range(ROWS), name="first")
        _hold(rig.terminate_at("connector.row_sent", visit=20) == 0, "it ends well")
        _hold(rig.open_transactions() == 0, "no transaction is open")
        before = len(rig.published())
        _hold(0 < before < ROWS, f"it stopped in between, at {before}")
        rig.run()
        _hold_each_once(rig.published(), range(ROWS))

    def test_an_open_foreign_transaction_hides_no_position(self, rig: SourceRig) -> None:
        """A reader of a topic would stop at the last stable offset and begin again; the position stands elsewhere."""
        rig.drop(range(ROWS), name="first")
        rig.kill_at("connector.after_commit", visit=1)
        end = rig.open_foreign_transaction()
        try:
            _hold(rig.run() == 0, "the run beside it ends well")
        finally:
            end()
        _hold_each_once(rig.published(), range(ROWS))

    def test_the_position_stays_small_however_many_inputs_there_were(self, rig: SourceRig) -> None:
        """Kafka refuses more than 4,096 bytes, in the middle of a transaction."""
        rig.drop([0], name="input-000")
        rig.run()
        first = len(rig.position().encode())
        for number in range(1, INPUTS):
            rig.drop([number], name=f"input-{number:03}")
        rig.run()
        last = len(rig.position().encode())
        _hold(last <= POSITION_BYTES_MAX, f"at most {POSITION_BYTES_MAX} bytes, not {last}")
        _hold(last - first <= len(str(INPUTS)), f"it does not grow with the inputs: {first} bytes, then {last}")
        _hold_each_once(rig.published(), range(INPUTS))


def _hold_each_once(found: Iterable[Published], rows: Iterable[int], *, about: str = "") -> None:
    """Hold that each row is there once, in order within its partition, under an id of its own."""
    by_partition: dict[int, list[int]] = defaultdict(list)
    ids = []
    for record in found:
        by_partition[record.partition].append(record.row)
        ids.append(record.source_id)
    there, wanted = sorted(row for partition in by_partition.values() for row in partition), sorted(rows)
    lost, doubled = len(set(wanted) - set(there)), len(there) - len(set(there))
    _hold(there == wanted, f"{lost} rows lost, {doubled} doubled of {len(wanted)} {about}")
    _hold(all(partition == sorted(partition) for partition in by_partition.values()), f"each partition keeps the order {about}")
    _hold(len(set(ids)) == len(ids), f"each record has a source id of its own {about}")
    _hold(all(0 < len(one.encode()) <= SOURCE_ID_BYTES_MAX for one in ids), f"source ids have at most {SOURCE_ID_BYTES_MAX} bytes {about}")


def _hold(truth: bool, promise: str) -> None:  # noqa: FBT001 - read as a sentence: hold that …
    if not truth:
        raise AssertionError(f"not held: {promise}")
