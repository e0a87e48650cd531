"""``cityhub worker --processes N`` on real Kafka: the partitions are shared, a dead process is replaced, all end together."""

import itertools
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from town import FLIGHT, Town, encode, end, flight, terms, wait_until

pytestmark = pytest.mark.broker


def _said(log: str) -> list[dict[str, Any]]:
    return [row for line in log.splitlines() if line.startswith("{") and (row := json.loads(line)).get("processes")]


def test_two_processes_share_the_partitions_and_one_that_dies_is_replaced(town: Town) -> None:
    """Every record once, also of the partitions of the process that was killed; the end of the first is the end of all."""
    schema_id = town.schema("transport/flights", FLIGHT)
    topic = town.publish("transport/flights")
    town.agree(terms("all"))
    published = itertools.count()

    def publish(count: int) -> None:
        numbers = itertools.islice(published, count)
        town.produce(topic, [(number % 2, None, encode(schema_id, FLIGHT, flight(number))) for number in numbers])

    worker = town.start_worker(("-m", "hub.cli", "worker", "--processes", "2", "--json"))
    try:
        wait_until(lambda: _said(town.log()), within_s=30, what=town.log)
        (said,) = _said(town.log())
        pids = [row["pid"] for row in said["processes"]]
        assert [row["process"] for row in said["processes"]] == ["worker 1", "worker 2"]

        def shared() -> bool:
            publish(100)
            return len({step.worker_id for step in town.usage()}) == 2

        wait_until(shared, within_s=60, what=town.log)

        os.kill(pids[0], signal.SIGKILL)
        publish(2_000)
        town.wait_done(topic)
        wait_until(lambda: "was killed by signal 9 (SIGKILL)" in town.log(), within_s=30, what=town.log)
        children = Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text(encoding="utf-8").split()
    finally:
        status = end(worker)

    assert status == 0
    assert sorted(row["id"] for row in town.shared("all")) == list(range(next(published)))
    assert pids[1] in map(int, children)
    assert not any(Path(f"/proc/{child}").exists() for child in children)
