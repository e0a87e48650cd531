"""A worker whose kernel is busy for longer than its group waits for a sign of life: it scrapes, reads hub.plan, and stays a member."""

import json
import time
import urllib.request
from pathlib import Path
from typing import Any

import msgspec
import pytest
from kernels import KERNELS
from town import Town, encode, terms, wait_until

from hub.broker.batches import build_batches
from hub.cli.worker import ALLOCATOR
from hub.model import agreement as words
from hub.model.agreement import Condition, Grant
from hub.model.entry import Kind
from hub.model.lifecycle import State

pytestmark = [pytest.mark.broker, pytest.mark.skipif("native" not in KERNELS, reason="the native kernel was not built: `make native`")]
DATASET = "transport/marks"
MARKED = {
    "type": "record",
    "name": "Marked",
    "fields": [{"name": "id", "type": "long"}, {"name": "marks", "type": {"type": "array", "items": "int"}}],
}
MARKS = 50
NO_MARK = range(1_000, 1_500)
"""As many conditions as an agreement's file may hold: a record that has none of them costs its worker half a millisecond."""
RECORDS = 16_000
"""One step of about eight seconds; the group gives a member up after six."""
BATCHES = 8
ANSWERS_MIN = 30
SUSPENDED_AT = ANSWERS_MIN // 2
"""By then the kernel is surely at work: so many answers take most of a second."""
SCRAPED_EVERY_S = 0.05
METRICS_TIMEOUT_S = 60


def _scrape(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=METRICS_TIMEOUT_S) as answer:
        text: str = answer.read().decode()
    return text


def _said(town: Town, event: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in town.log().splitlines() if line.startswith("{")]
    return [line for line in lines if line.get("event") == event]


def _publish(town: Town) -> tuple[str, int]:
    """Publish the dataset with a lane of one large step before it; returns topic and schema id."""
    schema_id = town.schema(DATASET, MARKED)
    topic = town.publish(DATASET, partitions=1)
    seldom = words.Any((*(Condition("marks[]", "eq", mark) for mark in NO_MARK), Condition("id", "eq", 7)))
    town.agree(terms("watched", dataset=DATASET, fields=(Grant("id"),), rows=seldom), partitions=1)
    values = [encode(schema_id, MARKED, {"id": number, "marks": list(range(MARKS))}) for number in range(RECORDS // BATCHES)]
    (batch,) = build_batches([(None, value) for value in values], bytes_max=900_000, timestamp_ms=0, codec=3)
    for _ in range(BATCHES):
        town.gate.append(topic, 0, batch.data)
    return topic, schema_id


def test_a_busy_kernel_keeps_nobody_waiting(town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one step is decided /metrics answers and a suspension is taken in; and the group still knows the worker that commits it."""
    for name in ALLOCATOR:
        monkeypatch.delenv(name, raising=False)
    topic, schema_id = _publish(town)
    active = town.agreements["watched"]
    suspended = town.entry(Kind.AGREEMENT, "watched", msgspec.structs.replace(active, state=State.SUSPENDED))
    replayed = town.entry(Kind.AGREEMENT, "watched", active, revision=1)
    drained, decided = tmp_path / "drained", tmp_path / "decided"
    failpoints = f"lane.drained@1=hang:{drained},lane.decided@1=hang:{decided}"
    answers: list[str] = []

    with town.worker(CITYHUB_FAILPOINT=failpoints, CITYHUB_KERNEL="native") as worker:
        wait_until(drained.exists, within_s=60, what=town.log)
        environment = dict(line.split("=", 1) for line in Path(f"/proc/{worker.pid}/environ").read_text().split("\0") if line)
        (served,) = _said(town, "health and metrics are served")
        drained.unlink()
        suspended_at = -1
        while not decided.exists():
            text = _scrape(served["port"])
            if not decided.exists():
                answers.append(text)
            if len(answers) == SUSPENDED_AT and suspended_at < 0:
                suspended_at = town.append([suspended, replayed]) - 1
            time.sleep(SCRAPED_EVERY_S)
        decided.unlink()
        town.produce(topic, [(0, None, encode(schema_id, MARKED, {"id": 7, "marks": []}))])
        town.wait_done(topic, partitions=1)

    assert len(answers) >= ANSWERS_MIN
    taken_in = 'cityhub_plan_alarms_total{code="HUB-PLAN-001"} 1.0'  # the entry behind the suspension: it is read, and refused
    assert taken_in not in answers[SUSPENDED_AT - 1]
    assert taken_in in answers[-1]
    first, last = town.usage()
    assert (first.records, first.entries[0].delivered, first.entries[0].filtered) == (RECORDS, BATCHES, RECORDS - BATCHES)
    assert (last.records, last.entries[0].denied, last.entries[0].denied_by) == (1, 1, "state")
    assert first.plan_offset < suspended_at <= last.plan_offset
    assert len(_said(town, "lane started")) == 1  # a member that the group had given up would have begun anew
    assert environment.items() >= ALLOCATOR.items()
    kernels = [line for line in answers[0].splitlines() if line.startswith("cityhub_kernel_info{")]
    assert kernels == ['cityhub_kernel_info{kernel="native"} 1.0']
