"""The crossing: connectors publish the CSV files, the worker carries them over, the collector posts the usage."""

import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from sqlalchemy import Engine

from hub.broker.admin import Admin
from hub.cli.demo.stage import Stage
from hub.cli.output import progress
from hub.exchange.status import LaneStatus, lane_statuses
from hub.ledger.books import read_positions
from hub.model.errors import HubError
from hub.model.names import Names, TopicPartition
from hub.store.engine import open_engine, reading

CROSS_WITHIN_S: Final = 900.0
STILL_WITHIN_S: Final = 60.0
"""A lane or the collector that has not moved for so long will not."""
LOOK_EVERY_S: Final = 0.5
POLL_S: Final = 0.2


def cross(stage: Stage, *, connectors: Sequence[str], topics: Sequence[str], records: int) -> tuple[list[Any], float]:
    """Run the connectors one after the other and wait until every record is decided; returns their reports and the seconds."""
    began = time.monotonic()
    with (
        Admin(stage.bootstrap, client_id="cityhub-demo") as admin,
        progress("across the hub", total=records) as shown,
    ):
        lanes = _Lanes(admin, names=stage.settings.names, topics=topics, tell=lambda done: shown.update(min(done, records)))
        reports = [
            stage.call("connector", "run", "--once", connector, timeout_s=CROSS_WITHIN_S, meanwhile=lanes.look) for connector in connectors
        ]
        _until(stage, lanes.all_decided, what="the worker")
        shown.update(records)
    return reports, time.monotonic() - began


def wait_for_ledger(stage: Stage) -> None:
    """Return when the collector has posted every usage step that there is."""
    settings = stage.settings
    engine = open_engine(settings.store_url)
    try:
        with Admin(stage.bootstrap, client_id="cityhub-demo") as admin:
            usage = [TopicPartition(settings.names.usage, number) for number in range(admin.partitions(settings.names.usage))]
            ends = {place.partition: end for place, end in admin.end_offsets(usage).items()}
        _until(stage, lambda: _posted(engine, settings.names, ends), what="the ledger's collector")
    finally:
        engine.dispose()


class _Lanes:
    """Where the lanes stand, asked for at most twice a second."""

    def __init__(self, admin: Admin, *, names: Names, topics: Sequence[str], tell: Callable[[int], None]) -> None:
        self._admin = admin
        self._names = names
        self._topics = topics
        self._tell = tell
        self._rows: Sequence[LaneStatus] = ()
        self._looked_at = 0.0

    def look(self) -> None:
        if time.monotonic() - self._looked_at < LOOK_EVERY_S:
            return
        self._rows = lane_statuses(self._admin, names=self._names, topics=self._topics)
        self._looked_at = time.monotonic()
        for row in self._rows:
            if row.code is not None:
                raise HubError(row.code, row.cause or "a lane stands still", row.fix or "")
        self._tell(sum((row.offset or 0) - (row.begin_offset or 0) for row in self._rows))

    def all_decided(self) -> tuple[bool, object]:
        """Tell whether every lane is at the end, and where they stand."""
        self.look()
        return bool(self._rows) and all(row.lag == 0 for row in self._rows), [row.offset for row in self._rows]


def _posted(engine: Engine, names: Names, ends: dict[int, int]) -> tuple[bool, object]:
    with reading(engine) as connection:
        positions = read_positions(connection, scope=names.scope)
    stand = {partition: positions[partition].next_offset if partition in positions else 0 for partition in ends}
    return all(stand[partition] >= end for partition, end in ends.items()), stand


def _until(stage: Stage, ask: Callable[[], tuple[bool, object]], *, what: str) -> None:
    """Return when ``ask`` says so; HUB-DEMO-002 when what it sees has not changed for a minute."""
    seen: object = None
    moved_at = time.monotonic()
    while True:
        stage.check()
        done, stand = ask()
        if done:
            return
        if stand != seen:
            seen, moved_at = stand, time.monotonic()
        if time.monotonic() - moved_at > STILL_WITHIN_S:
            raise HubError(
                "HUB-DEMO-002", f"{what} has not moved for {STILL_WITHIN_S:.0f} s", "run it again with `--keep` and look at the logs"
            )
        time.sleep(POLL_S)
