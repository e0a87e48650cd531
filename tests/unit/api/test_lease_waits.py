"""Whoever stands by waits for a database that does not answer: it is there for that."""

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from hub.api import server
from hub.api.server import Serve
from hub.model.errors import HubError


class Lease:
    """A lease whose database answers from the third question on."""

    def __init__(self, code: str) -> None:
        """Refuse with ``code``."""
        self.asked, self.code = 0, code

    def take(self) -> bool:
        """Take it, in the end."""
        self.asked += 1
        if self.asked < 3:
            raise HubError(self.code, "too many clients", "ask again")
        return True


def standing_by(lease: Lease) -> Any:
    """Return as much of a serve as waits for its lease."""
    return SimpleNamespace(_lease=lease, _stop=threading.Event(), trouble=None)


def test_a_database_that_refuses_for_a_while_ends_no_stand_by(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same restart ends the leader: with both gone nobody withdraws anything."""
    monkeypatch.setattr(server, "RETRY_S", 0.0)
    serve = standing_by(Lease("HUB-STORE-001"))

    assert not Serve._take_lease(serve)
    assert serve.trouble == "HUB-STORE-001 too many clients"
    assert [Serve._take_lease(serve), Serve._take_lease(serve)] == [False, True]
    assert serve.trouble is None


def test_any_other_refusal_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A newer hub's database does not become an older one by waiting."""
    monkeypatch.setattr(server, "RETRY_S", 0.0)
    with pytest.raises(HubError, match="HUB-STORE-002"):
        Serve._take_lease(standing_by(Lease("HUB-STORE-002")))
