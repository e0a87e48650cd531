"""What a library says again and again does not fill the disk: Kafka's clients write hundreds of lines a second while it is away."""

import io
import json
import logging

import pytest

from hub.observe import logs


def _said(out: io.StringIO) -> list[str]:
    return [json.loads(line)["event"] for line in out.getvalue().splitlines()]


def test_one_kind_of_message_passes_a_few_times_and_is_counted_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the bound and one past it; another kind is not held back; the next window says how many there were."""
    now = [1000.0]
    monkeypatch.setattr(logs.time, "monotonic", lambda: now[0])
    out = io.StringIO()
    logs.configure_logs(process="worker", stream=out)
    library = logging.getLogger("aiokafka")

    for node in range(logs.REPEATS_MAX):
        library.error("no connection to node %s", node)
    assert len(_said(out)) == logs.REPEATS_MAX
    for node in range(7):
        library.error("no connection to node %s", node)
    library.error("another kind")
    assert _said(out)[logs.REPEATS_MAX :] == ["another kind"]

    now[0] += logs.REPEATS_WINDOW_S
    library.error("no connection to node %s", 9)

    assert _said(out)[-1] == "no connection to node 9 (and 7 more since)"
