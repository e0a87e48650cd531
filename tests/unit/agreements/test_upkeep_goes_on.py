"""The duty that keeps topics outlives whatever one look meets."""

import threading
from typing import Any

import pytest

from hub.agreements import upkeep
from hub.agreements.upkeep import Upkeep
from hub.model.errors import HubError


@pytest.mark.parametrize("error", [HubError("HUB-BROKER-001", "no broker answers", "wait"), KeyError("an answer of another shape")])
def test_a_look_that_fails_is_followed_by_another(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that ended in silence would leave every lost topic lost until serve is restarted."""
    monkeypatch.setattr(upkeep, "EVERY_S", 0.01)
    stop, looks = threading.Event(), []

    class Failing(Upkeep):
        def mend(self) -> Any:
            looks.append(1)
            if len(looks) > 1:
                stop.set()
            raise error

    nothing: Any = None
    Failing(admin=nothing, engine=nothing, names=nothing, catalogue=nothing, shelf=nothing, replication=1).run(stop)

    assert len(looks) == 2
