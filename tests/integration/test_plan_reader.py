"""A process that is asked often how lanes stand reads hub.plan once, and then what has come since."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hall import Hall, hall_settings

from hub.broker.embedded import EmbeddedBroker
from hub.broker.plan_log import PlanLog
from hub.exchange.plan import DEFAULT_LIMITS
from hub.exchange.plan_book import PlanBook
from hub.exchange.plan_reader import PlanReader
from hub.model.names import Names
from hub.store.keys import load_master_keys, load_trust_keys

pytestmark = pytest.mark.broker


@pytest.fixture
def hall(broker: EmbeddedBroker, names: Names, tmp_path: Path) -> Iterator[Hall]:
    """Give a hub that has signed one agreement, and keeps no watch."""
    made = Hall(hall_settings(bootstrap=broker.bootstrap, names=names, state=tmp_path / "state"), watch=False)
    made.open_dataset()
    made.sign()
    yield made
    made.close()


class Counted:
    """A reader whose records are counted as they are proven."""

    def __init__(self, hall: Hall) -> None:
        """Read the plan of ``hall``."""
        self.offsets: list[int] = []
        self.mark: object = 0
        folder = hall.hub.settings.keys_folder
        offsets = self.offsets

        class Book(PlanBook):
            def apply(
                self, value: bytes, *, offset: int, key: bytes | None = None, headers: Sequence[tuple[str, bytes | None]] = ()
            ) -> bool:
                offsets.append(offset)
                return super().apply(value, offset=offset, key=key, headers=headers)

        def book() -> PlanBook:
            return Book(
                scope=hall.names.scope,
                trust=load_trust_keys(folder),
                master_keys=load_master_keys(folder),
                limits=DEFAULT_LIMITS,
                alarm=lambda _: None,
            )

        self.reader = PlanReader(
            log=lambda: PlanLog(hall.hub.settings.bootstrap, hall.names.plan),
            book=book,
            mark=lambda: (self.mark, hall.hub.admin.topic_ids([hall.names.plan])),
        )


def test_many_who_ask_at_once_and_again_read_each_record_once(hall: Hall) -> None:
    """Reading thousands of agreements takes seconds of the interpreter, beside withdrawals."""
    counted = Counted(hall)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: counted.reader.ask(lambda book: book.topics), range(24)))
    assert set(answers) == {frozenset({hall.names.dept("vehicle-registry/vehicles")})}
    assert counted.offsets
    assert len(counted.offsets) == len(set(counted.offsets))
    counted.reader.close()


def test_what_has_come_since_is_known_and_nothing_else_is_read_again(hall: Hall) -> None:
    """Never a line of what stood there before."""
    counted = Counted(hall)
    counted.reader.ask(lambda book: book.topics)
    before = len(counted.offsets)
    hall.hub.control.agreements.suspend("parking-vehicles", actor=hall.hub.officer)
    counted.reader.ask(lambda book: book.topics)
    assert len(counted.offsets) == before + 1
    counted.reader.close()


def test_other_keys_or_another_topic_begin_anew(hall: Hall) -> None:
    """What other keys prove is another book, and a topic made again is another log, however long it is."""
    counted = Counted(hall)
    counted.reader.ask(lambda book: book.topics)
    first = list(counted.offsets)
    counted.mark = 1
    counted.reader.ask(lambda book: book.topics)
    assert counted.offsets == first * 2
    hall.hub.admin.delete_topics([hall.names.plan])
    hall.hub.ensure_topics()
    hall.keeper.repair()
    assert counted.reader.ask(lambda book: book.topics) == {hall.names.dept("vehicle-registry/vehicles")}
    assert len(counted.offsets) > 2 * len(first)
    counted.reader.close()
